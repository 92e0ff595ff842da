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

/// What system calls of the state are about. A folder stands for all names in it.
fn paths(site: &Site) -> [PathBuf; 5] {
    let state = site.state();
    [
        state.join("positions"),
        state.join("positions.new"),
        state.join("catalog.json.new"),
        state.join("lock"),
        state,
    ]
}

/// A site whose state knows one file to its end.
fn remembered() -> (Site, Family) {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(300);
    let agent = site.reading("app.log*").start();
    site.topic.await_count(300);
    agent.stop();
    (site, family)
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
            let arrived =
                site.topic.count() >= sent && agent.metric_now("logdrive_file_lag_bytes") == Some(0.0);
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
/// least. The thread that starts is ahead of the syncer in all of them; the next two tests are about that one.
const FIRST_START: [(&str, usize); 9] = [
    ("mkdirat", 1),
    ("openat", 5),
    ("flock", 1),
    ("ftruncate", 1),
    ("fallocate", 3),
    ("pwrite64", 10),
    ("fdatasync", 3),
    ("renameat", 2),
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
            let agent = site.reading("app.log*").injecting_at(&paths(&site), &[&rule]).start();
            assert!(ship_until_death(&site, &mut family, agent), "{call} is not made {time} times");
            check_after_death(&site, &mut family, &rule);
        }
    }
}

#[test]
fn s02_a_folder_that_a_killed_start_has_made_is_synced_by_the_next_one() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(300);
    // The folder is named in its parent, and the parent is not on the disk yet.
    let rule = "fsync:signal=KILL:when=1";
    for start in ["the first", "the second"] {
        let parent = [site.root().to_path_buf()];
        let agent = site.reading("app.log*").injecting_at(&parent, &[rule]).start();
        assert!(ship_until_death(&site, &mut family, agent), "{start} start does not sync the parent");
        assert!(site.state().is_dir() && !site.state().join("positions").exists());
    }
    check_after_death(&site, &mut family, rule);
}

/// What a start on a known state, and the shipping after it, make at least. All syncs and replacements are the
/// syncer's.
const KNOWN_STATE: [(&str, usize); 7] = [
    ("openat", 3),
    ("unlinkat", 2),
    ("pwrite64", 8),
    ("fdatasync", 4),
    ("fallocate", 1),
    ("renameat", 1),
    ("fsync", 1),
];

#[test]
fn s02_killed_at_each_step_of_keeping_the_state() {
    let (site, mut family) = remembered();
    let mut deaths = 0;
    for (call, times) in KNOWN_STATE {
        for time in 1..=times {
            let rule = format!("{call}:signal=KILL:when={time}");
            let agent = site.reading("app.log*").injecting_at(&paths(&site), &[&rule]).start();
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
    for call in ["fallocate", "renameat", "fsync"] {
        let (site, mut family) = remembered();
        let step = &format!("{call}:signal=KILL:when=1");
        let rules = ["fdatasync:error=EIO:when=1", step];
        let agent = site.reading("app.log*").injecting_at(&paths(&site), &rules).start();
        assert!(ship_until_death(&site, &mut family, agent), "{step} is never made");
        check_after_death(&site, &mut family, step);
    }
}

/// Generations and one of their positions, whether the disk is said to be well, and whether all is acknowledged.
fn told(agent: &Agent) -> (Vec<(String, u64)>, bool, bool) {
    let status = agent.status();
    let files = status["files"].as_array().unwrap();
    let of = |file: &serde_json::Value, which: &str| file["positions"][which].as_u64().unwrap();
    let durable = files.iter().map(|file| (file["generation"].to_string(), of(file, "durable"))).collect();
    let acked = files.iter().all(|file| of(file, "acked") == of(file, "size"));
    (durable, status["state"]["healthy"] == true, acked)
}

#[test]
fn s03_shipping_goes_on_and_durable_stands_still_while_every_sync_fails() {
    let (site, mut family) = remembered();
    let rule = "fdatasync:error=EIO:when=2+";
    let mut agent = site.reading("app.log*").injecting_at(&paths(&site), &[rule]).start();
    family.write(100);
    site.topic.await_count(family.lines.len());
    // The one sync that succeeds may come before all of it is acknowledged; then the next has failed.
    until_true("the first sync is done", || is_durable(&agent) || !told(&agent).1);
    let (before, ..) = told(&agent);
    for _ in 0..5 {
        family.write(100);
        site.topic.await_count(family.lines.len());
        agent.await_log(&["state", "positions", "Input/output error", "shipping goes on"]);
        until_true("all is acknowledged", || told(&agent).2);
        let (durable, healthy, _) = told(&agent);
        assert_eq!((&durable, healthy), (&before, false), "a failed sync was believed");
    }
    assert!(agent.metric("logdrive_checkpoint_errors_total") >= 1.0);
    assert_eq!(agent.count_log(&["Input/output error"]), 1, "it is said once:\n{}", agent.log());
    // The disk fails, the page cache does not.
    agent.kill();
    let agent = site.reading("app.log*").start();
    family.write(1);
    site.topic.await_count(family.lines.len());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn s03_the_state_recovers_from_every_failing_call_by_itself() {
    let failures: [&[&str]; 6] = [
        &["fdatasync:error=EIO:when=1"],
        // The new file fails too, at first.
        &["fdatasync:error=EIO:when=1..2"],
        // The new file bears the name, but the folder was not synced.
        &["fdatasync:error=EIO:when=1", "fsync:error=EIO:when=1"],
        &["fdatasync:error=EIO:when=1", "renameat:error=EIO:when=1"],
        // Of the thread that starts, the first is the lock's.
        &["pwrite64:error=EIO:when=3..4"],
        &["pwrite64:error=ENOSPC:when=3"],
    ];
    for rules in failures {
        let (site, mut family) = remembered();
        let mut agent = site.reading("app.log*").injecting_at(&paths(&site), rules).start();
        for _ in 0..5 {
            family.write(100);
            site.topic.await_count(family.lines.len());
            until_true("all is acknowledged", || told(&agent).2);
        }
        agent.await_log(&["state", "positions", "shipping goes on"]);
        until_true("the disk has everything", || is_durable(&agent));
        agent.kill();
        let agent = site.reading("app.log*").start();
        family.write(1);
        site.topic.await_count(family.lines.len());
        agent.stop();
        assert_complete(&site.whole(), &[&family]);
    }
}
