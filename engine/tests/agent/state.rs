//! Faults S: kills, full disks, damaged and borrowed state. What was acknowledged is not sent again, and
//! what was not is.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::lines::{Family, append, assert_complete, assert_no_loss, assert_order_of_firsts, values};
use crate::process::{Agent, Launch, find_line};
use crate::site::{Site, is_root};
use crate::wait::{until, until_true};
use crate::writer::{AHEAD, Writer};

#[test]
fn s01_killed_ten_times_under_load_and_rotation() {
    let site = Site::new();
    let writer = Writer::start(&site, 120_000);
    let mut seed = 7u64;
    for _ in 0..10 {
        let agent = site.reading("*.log*").start();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let more = 1000 + (seed >> 33) as usize % 10_000;
        let enough = site.topic.count() + more;
        site.topic.await_that("some lines before the kill", |records| {
            writer.seen.store(records.len(), Ordering::Relaxed);
            records.len() >= enough
        });
        agent.kill();
    }
    let agent = site.reading("*.log*").start();
    until_true("everything is written", || {
        // Duplicates count as seen: the bound only keeps the writer near.
        writer.seen.store(site.topic.count(), Ordering::Relaxed);
        writer.thread.is_finished()
    });
    let families = writer.finish();
    for family in &families {
        site.topic.await_value(family.last());
    }
    agent.stop();
    let records = site.whole();
    let families: Vec<&Family> = families.iter().collect();
    let duplicates = assert_no_loss(&records, &families);
    assert_order_of_firsts(&records, &families);
    assert!(duplicates <= 10 * AHEAD, "{duplicates} duplicates after 10 kills");
    println!("{duplicates} duplicates in {} lines after 10 kills", records.len());
}

#[test]
fn s01_what_is_acknowledged_is_not_sent_again_after_a_kill() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    for _ in 0..5 {
        let agent = site.agent().start();
        family.write(2000);
        site.topic.await_count(family.lines.len());
        until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        agent.kill();
    }
    let agent = site.agent().start();
    family.write(1);
    site.topic.await_count(10_001);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

/// A site whose state remembers one file, read and acknowledged to its end.
pub(crate) fn remembered() -> Site {
    let site = Site::with_partitions(1);
    site.append("app.log", "one\n");
    let agent = site.agent().start();
    site.topic.await_count(1);
    agent.stop();
    site
}

/// Refuses to start, says all of this in one line, and leaves the file as it is.
fn assert_refused(site: &Site, file: &Path, words: &[&str]) {
    let before = fs::read(file).ok();
    let exit = site.agent().finish().with_code(1).saying(words);
    let line = find_line(&exit.stderr, words).expect("all of it in one line");
    assert!(line.starts_with("error: "), "{line}");
    assert_eq!(fs::read(file).ok(), before, "it was to be left untouched");
    assert_eq!(site.topic.count(), 1, "nothing was to be sent");
}

#[test]
fn s04_a_damaged_state_is_refused_and_left_untouched() {
    let site = remembered();
    let file = site.state().join("positions");
    let whole = fs::read(&file).unwrap();
    for damaged in [
        whole.iter().map(|byte| byte ^ 0x10).collect(),
        whole[..whole.len() / 16].to_vec(),
        [vec![0xff; 8192], whole[8192..].to_vec()].concat(),
        [whole[..8192].to_vec(), vec![0xff; whole.len() - 8192]].concat(),
    ] {
        fs::write(&file, &damaged).unwrap();
        assert_refused(&site, &file, &["positions", "damaged", "nothing was changed"]);
    }
    // One flipped bit costs nothing: every slot is there twice.
    for at in [9, 4096 + 9, 8192 + 50, 12288 + 50] {
        let mut flipped = if at == 9 { whole.clone() } else { fs::read(&file).unwrap() };
        flipped[at] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let agent = site.agent().start();
        site.append("app.log", format!("{at}\n"));
        site.topic.await_value(at.to_string().as_bytes());
        agent.stop();
    }
    let arrived = values(&site.whole());
    assert!(arrived.len() <= 9, "at most the last update is sent again: {arrived:?}");
}

#[test]
fn s05_an_empty_or_missing_state_is_never_a_fresh_start() {
    let site = remembered();
    let file = site.state().join("positions");
    let whole = fs::read(&file).unwrap();
    for damaged in [Vec::new(), vec![0; whole.len()]] {
        fs::write(&file, damaged).unwrap();
        assert_refused(&site, &file, &["positions", "damaged"]);
    }
    fs::remove_file(&file).unwrap();
    assert_refused(&site, &file, &["positions", "missing", "bring the file back"]);
    // The way out that the message names.
    fs::remove_file(site.state().join("catalog.json")).unwrap();
    let agent = site.agent().start();
    site.topic.await_count(2);
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "one"]);
}

#[test]
fn s06_the_state_of_a_newer_version_is_left_untouched() {
    let site = remembered();
    let file = site.state().join("positions");
    let mut newer = fs::read(&file).unwrap();
    for header in newer[..8192].chunks_mut(4096) {
        header[8..12].copy_from_slice(&99u32.to_le_bytes());
        let sum = crc32c::crc32c(&header[..4092]);
        header[4092..].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&file, newer).unwrap();
    assert_refused(&site, &file, &["version 99", "newer"]);
}

#[test]
fn s07_the_disk_of_the_state_is_full_for_a_while() {
    if !is_root("mounting a small tmpfs") {
        return;
    }
    let site = Site::new();
    let small = SmallDisk::mount(&site.root().join("small"));
    let launch = || site.agent_in(&small.0.join("state"));
    let mut families = vec![Family::create(site.log("first.log"))];
    families[0].write(10);
    let mut agent = launch().start();
    site.topic.await_count(10);
    let ballast = small.fill();
    // More files than the state has room for without growing.
    for at in 0..600 {
        let mut family = Family::create(site.log(&format!("f{at}.log")));
        family.write(5);
        families.push(family);
    }
    site.topic.await_count(3010);
    agent.await_log(&["state", "No space left on device", "shipping goes on"]);
    let durable = |agent: &Agent| {
        let status = agent.status();
        let files = status["files"].as_array().unwrap();
        let durable = files.iter().filter(|file| file["positions"]["durable"] == file["positions"]["size"]);
        (files.len(), durable.count(), status["state"]["healthy"] == true)
    };
    for round in 1..=3 {
        families.iter_mut().for_each(|family| family.write(5));
        site.topic.await_count(3010 + round * 3005);
        // Acknowledged and not durable, all of them: what was synced before has grown since.
        assert_eq!(durable(&agent), (601, 0, false));
    }
    assert!(agent.metric("logdrive_checkpoint_age_seconds") > 0.0);
    assert!(agent.count_log(&["No space left on device"]) <= 3, "a flood:\n{}", agent.log());
    // What is deleted is let go all the same, or the disk of the logs would fill up too.
    let gone = families.pop().unwrap();
    fs::remove_file(gone.path()).unwrap();
    until_true("the deleted file is closed", || {
        let held = |link: &String| link.contains("/logs/") && link.ends_with("(deleted)");
        durable(&agent).0 == 600 && !agent.descriptors().iter().any(held)
    });
    fs::remove_file(ballast).unwrap();
    until_true("everything is durable", || durable(&agent) == (600, 600, true));
    agent.kill();
    let agent = launch().start();
    families.iter_mut().for_each(|family| family.write(1));
    site.topic.await_count(3010 + 3 * 3005 + 600);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().chain([&gone]).collect::<Vec<_>>());
}

/// A file system of one MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> SmallDisk {
        fs::create_dir(at).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("small", at, "tmpfs", flags, c"size=1m").unwrap();
        SmallDisk(at.into())
    }

    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        until("the disk is full", || {
            use std::io::Write;
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&ballast).unwrap();
            file.write_all(&[1; 4096]).err()
        });
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn s09_a_state_folder_that_cannot_be_used_ends_the_start() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let in_state = |path: &Path| site.agent_in(path);
    let missing = site.root().join("no/such/parent");
    in_state(&missing).finish().with_code(1).saying(&["no/such/parent", "create the parent folder first"]);
    let file = site.root().join("file");
    append(&file, "");
    in_state(&file).finish().with_code(1).saying(&["is not a folder", "state.dir"]);
    let open = site.root().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    in_state(&open).finish().with_code(1).saying(&["other users may write in it", "chmod 0700"]);
    if is_root("folders of other users, and being another user") {
        let foreign = site.root().join("foreign");
        fs::create_dir(&foreign).unwrap();
        chown(&foreign, Some(65_534), Some(65_534)).unwrap();
        in_state(&foreign).finish().with_code(1).saying(&["belongs to uid 65534", "chown"]);
        let fixed = site.root().join("fixed");
        fs::create_dir(&fixed).unwrap();
        fs::set_permissions(site.root(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&fixed, Permissions::from_mode(0o500)).unwrap();
        chown(&fixed, Some(65_534), Some(65_534)).unwrap();
        in_state(&fixed).user(65_534).finish().with_code(1).saying(&["fixed", "Permission denied"]);
    }
    assert_eq!(site.topic.count(), 0, "nothing is ever sent without a state");
}

#[test]
fn s10_a_second_agent_is_told_who_holds_the_state() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    let first = site.agent().start();
    site.topic.await_count(10);
    let holder = first.pid().as_raw_nonzero().to_string();
    for _ in 0..3 {
        site.agent().finish().with_code(1).saying(&["is in use by", &holder, "state.dir"]);
    }
    // No stale lock: the kernel lets it go with the process.
    first.kill();
    let next = site.agent().start();
    family.write(10);
    site.topic.await_count(20);
    next.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn s12_stopped_and_continued_during_rotation() {
    let site = Site::new();
    let agent = site.reading("*.log*").start();
    let mut family = Family::create(site.log("app.log"));
    for round in 0..10 {
        family.write(3000);
        let paused = agent.pause();
        family.write(500);
        family.rotate(&family.beside(&format!("{}", 100 + round)));
        family.write(500);
        paused.resume();
        site.topic.await_value(family.last());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn s13_a_stop_while_the_broker_is_down_ends_in_time() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    let agent = site.agent().set("shutdown_timeout=500ms").start();
    site.topic.await_count(10);
    site.broker_down();
    family.write(1000);
    until_true("lines are in flight", || agent.metric("logdrive_in_flight_lines") > 0.0);
    agent.stop().saying(&["what is not acknowledged is read again at the next start"]);
    site.broker_up();
    let agent = site.agent().start();
    site.topic.await_count(1010);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn s13_a_second_signal_ends_at_once() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    let mut agent = site.agent().set("shutdown_timeout=1h").start();
    site.topic.await_count(10);
    site.broker_down();
    family.write(1000);
    until_true("lines are in flight", || agent.metric("logdrive_in_flight_lines") > 0.0);
    agent.signal(rustix::process::Signal::TERM);
    agent.await_log(&["stopping"]);
    agent.signal(rustix::process::Signal::TERM);
    agent.exit().with_code(0);
    site.broker_up();
    let agent = site.agent().start();
    site.topic.await_count(1010);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn s14_a_thousand_files_and_no_broker_in_bounded_memory() {
    let site = Site::new();
    let agent = site.agent().start();
    site.append("first.log", "first\n");
    site.topic.await_count(1);
    site.broker_down();
    let line = [b"z".repeat(199), b"\n".to_vec()].concat();
    for at in 0..1000 {
        append(site.log(&format!("f{at}.log")), line.repeat(1000));
    }
    until_true("all files are known and reading has paused", || {
        agent.metric("logdrive_files_known") == 1001.0 && agent.metric("logdrive_in_flight_bytes") > 1e6
    });
    site.broker_up();
    site.topic.await_count(1_000_001);
    let peak = agent.peak_mib();
    agent.stop();
    assert!(peak < 128, "{peak} MiB were resident");
    assert_eq!(site.whole().len(), 1_000_001);
}

#[test]
fn the_state_is_listed_shown_set_and_forgotten() {
    let site = remembered();
    site.append("app.log", "two\n");
    let agent = site.agent().start();
    site.topic.await_count(2);
    // A running agent is not disturbed, and nothing is changed under it.
    let state = |words: &str| Launch::verb("state").args(words).arg("--state-dir").arg(site.state());
    let list = state("list").finish().with_code(0);
    let row = find_line(&list.stdout, &["app.log"]).expect("a row for the file");
    let id = row.split_whitespace().next().expect("an id").to_owned();
    state(&format!("set {id} 4")).finish().with_code(1).saying(&["is in use by"]);
    agent.stop();
    state(&format!("show {id}")).finish().with_code(0);
    state(&format!("set {id} 4")).finish().with_code(0);
    let agent = site.agent().start();
    site.topic.await_count(3);
    agent.stop();
    state(&format!("forget {id}")).finish().with_code(0);
    state(&format!("forget {id}")).finish().with_code(1).saying(&["nothing in the state matches"]);
    let agent = site.agent().start();
    site.topic.await_count(5);
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "two", "two", "one", "two"]);
}
