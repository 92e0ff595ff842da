//! S02, S03 with the real kernel: the agent is killed before single system calls of its state, and the disk of
//! the state fails under load.
//!
//! Every operation of the store on its own, without an agent around it, is `tests/state_kernel.rs`.

use std::path::PathBuf;

use crate::lines::{Family, assert_complete, assert_no_loss, assert_order_of_firsts};
use crate::process::Agent;
use crate::site::Site;
use crate::wait::until_true;

/// What a kill may send again: what was written between two looks.
const DUPLICATES_MAX: usize = 400;

/// Everything of the state folder that system calls may name.
fn state_paths(site: &Site) -> Vec<PathBuf> {
    let state = site.state();
    let files = ["positions", "positions.new", "catalog.json", "catalog.json.new", "lock"];
    files.iter().map(|file| state.join(file)).chain([state.clone()]).collect()
}

/// Ships, rotates and waits for the disk of the state, until the agent dies of that. Whether it did.
fn ship_until_death(site: &Site, family: &mut Family, mut agent: Agent) -> bool {
    for round in 0..9 {
        family.write(50);
        if round % 3 == 2 {
            let number = family.lines.len();
            family.rotate(&family.beside(&format!("{number}")));
        }
        let sent = family.lines.len();
        // A look at the status is only good if the agent is still there.
        until_true("lines and state arrive, or the end", || {
            let arrived = site.topic.count() >= sent && agent.metric_now("logdrive_file_lag_bytes") == Some(0.0);
            !agent.is_alive() || (arrived && (round % 3 != 1 || is_durable(&agent)))
        });
        if !agent.is_alive() {
            return true;
        }
    }
    false
}

/// Whether the disk has everything, as far as one can hear.
fn is_durable(agent: &Agent) -> bool {
    let Some((_, body)) = agent.http("/status") else { return false };
    let Ok(status) = serde_json::from_str::<serde_json::Value>(&body) else { return false };
    let files = status["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    status["state"]["healthy"] == true
        && files.iter().all(|file| file["positions"]["durable"] == file["positions"]["size"])
}

/// Starts an agent after the death of another one, and judges what arrived in all.
fn check_after_death(site: &Site, family: &mut Family, what: &str) {
    let agent = site.reading("app.log*").start();
    family.write(10);
    site.topic.await_value(family.last());
    until_true("every file is read to its end", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    let records = site.whole();
    let duplicates = assert_no_loss(&records, &[family]);
    assert!(duplicates <= DUPLICATES_MAX, "{what}: {duplicates} duplicates");
    assert_order_of_firsts(&records, &[family]);
}

/// The calls that a first start and the shipping after it make on the state, and how often in one thread at
/// least. The syncer's own come in the next two tests, since the thread that starts is ahead of it here.
const FIRST_START: [(&str, usize); 7] = [
    ("mkdir", 1),
    ("openat", 6),
    ("fallocate", 3),
    ("pwrite64", 10),
    ("fdatasync", 3),
    ("rename,renameat,renameat2", 2),
    ("fsync", 2),
];

#[test]
fn s02_killed_at_each_step_of_a_first_start() {
    for (call, times) in FIRST_START {
        for time in 1..=times {
            let site = Site::new();
            let mut family = Family::create(site.log("app.log"));
            family.write(300);
            let rule = format!("{call}:signal=KILL:when={time}");
            let agent = site.reading("app.log*").injecting_at(&state_paths(&site), &[&rule]).start();
            assert!(ship_until_death(&site, &mut family, agent), "{call} is not made {time} times");
            check_after_death(&site, &mut family, &rule);
        }
    }
}

/// What a start on a known state, and the shipping after it, make at least. All syncs and replacements are the
/// syncer's.
const KNOWN_STATE: [(&str, usize); 7] = [
    ("openat", 4),
    ("unlinkat", 2),
    ("pwrite64", 8),
    ("fdatasync", 4),
    ("fallocate", 1),
    ("rename,renameat,renameat2", 1),
    ("fsync", 1),
];

#[test]
fn s02_killed_at_each_step_of_keeping_the_state() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(300);
    let agent = site.reading("app.log*").start();
    site.topic.await_count(300);
    agent.stop();
    let mut deaths = 0;
    for (call, times) in KNOWN_STATE {
        for time in 1..=times {
            let rule = format!("{call}:signal=KILL:when={time}");
            let agent = site.reading("app.log*").injecting_at(&state_paths(&site), &[&rule]).start();
            assert!(ship_until_death(&site, &mut family, agent), "{call} is not made {time} times");
            deaths += 1;
            let agent = site.reading("app.log*").start();
            family.write(10);
            site.topic.await_value(family.last());
            until_true("every file is read to its end", || agent.metric("logdrive_file_lag_bytes") == 0.0);
            agent.stop();
        }
    }
    let records = site.whole();
    let duplicates = assert_no_loss(&records, &[&family]);
    assert!(duplicates <= deaths * DUPLICATES_MAX, "{duplicates} duplicates after {deaths} deaths");
    assert_order_of_firsts(&records, &[&family]);
}

/// The file of the positions is given up after a failed sync, and a new one put in its place.
#[test]
fn s02_killed_at_each_step_of_replacing_a_poisoned_file() {
    for step in ["openat:signal=KILL:when=5", "fallocate:signal=KILL:when=1", "renameat,rename:signal=KILL:when=1", "fsync:signal=KILL:when=1"] {
        let site = Site::new();
        let mut family = Family::create(site.log("app.log"));
        family.write(300);
        let agent = site.reading("app.log*").start();
        site.topic.await_count(300);
        agent.stop();
        let positions = [site.state().join("positions"), site.state().join("positions.new"), site.state()];
        let rules = ["fdatasync:error=EIO:when=1", step];
        let agent = site.reading("app.log*").injecting_at(&positions, &rules).start();
        assert!(ship_until_death(&site, &mut family, agent), "{step} is never made");
        check_after_death(&site, &mut family, step);
    }
}
