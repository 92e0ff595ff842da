//! Faults F: files are found whatever tells of them: many at once, without inotify, through a mapping.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};

use crate::lines::{Family, assert_complete, values};
use crate::process::{Launch, spawn};
use crate::site::Site;

#[test]
fn f01_twenty_thousand_files_appear_at_once() {
    let site = Site::new();
    let agent = site.agent().start();
    agent.await_ready();
    for at in 0..20_000 {
        fs::write(site.log(&format!("f{at:05}.log")), format!("{at:05}\n")).unwrap();
    }
    site.topic.await_count(20_000);
    agent.stop();
    let mut arrived = values(&site.whole());
    arrived.sort();
    assert!(arrived.into_iter().eq((0..20_000).map(|at| format!("{at:05}"))));
}

/// The agent in a user namespace of its own, in which a limit of inotify is small.
fn with_inotify_limit(launch: Launch, limit: &str, value: u32) -> Option<Launch> {
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$@\"");
    let prefix = ["unshare", "-U", "-r", "sh", "-c", &script, "sh"];
    let mut possible = spawn(Command::new(prefix[0]).args(&prefix[1..]).arg("true"));
    if possible.wait().unwrap().success() {
        Some(launch.under(&prefix))
    } else {
        eprintln!("not tested, it needs user namespaces: {limit}={value}");
        None
    }
}

#[test]
fn f09_without_inotify_files_are_found_by_looking() {
    for (limit, value) in
        [("max_inotify_instances", 0), ("max_inotify_watches", 0), ("max_inotify_watches", 3)]
    {
        let site = Site::new();
        let launch = site.agent().set("watch.reconcile=100ms");
        let Some(launch) = with_inotify_limit(launch, limit, value) else { return };
        let mut agent = launch.start();
        let advice = limit.replace("max_inotify_", "fs.inotify.max_user_");
        let mut families = Vec::new();
        for at in 0..10 {
            let mut family = Family::create(site.log(&format!("f{at}.log")));
            family.write(5);
            site.topic.await_value(family.last());
            families.push(family);
        }
        for _ in 0..5 {
            for family in &mut families {
                family.write(5);
                site.topic.await_value(family.last());
            }
        }
        agent.await_log(&[&advice]);
        assert_eq!(agent.count_log(&[&advice]), 1, "once:\n{}", agent.log());
        agent.stop();
        assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
    }
}

/// A file that is written through memory, which makes no event and changes no size.
struct Mapped {
    memory: &'static mut [u8],
    at: usize,
}

impl Mapped {
    fn of(file: &File, bytes: usize) -> Mapped {
        file.set_len(bytes as u64).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let none = std::ptr::null_mut();
        // SAFETY: a new mapping anywhere; it is never unmapped, and only this value refers to it.
        let memory = unsafe {
            let start = rustix::mm::mmap(none, bytes, protection, MapFlags::SHARED, file.as_fd(), 0).unwrap();
            std::slice::from_raw_parts_mut(start.cast::<u8>(), bytes)
        };
        Mapped { memory, at: 0 }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.memory[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        let start = self.memory.as_mut_ptr().cast();
        // SAFETY: the whole of a mapping that exists.
        unsafe { rustix::mm::msync(start, self.memory.len(), MsyncFlags::SYNC) }.unwrap();
    }
}

#[test]
fn f10_writes_through_a_mapping_are_found_by_looking() {
    let site = Site::new();
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(site.log("app.log")).unwrap();
    let agent = site.agent().set("watch.reconcile=100ms").start();
    // As mapping appenders do: a region of zeros is filled from its beginning, then the file is cut.
    let mut mapped = Mapped::of(&file, 4096);
    for line in ["one", "two", "three"] {
        mapped.append(format!("{line}\n").as_bytes());
        site.topic.await_value(line.as_bytes());
    }
    let written = mapped.at as u64;
    file.set_len(written).unwrap();
    site.append("app.log", "four\n");
    site.topic.await_value(b"four");
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "two", "three", "four"]);
}

#[test]
fn f14_a_directory_is_removed_and_comes_back() {
    let site = Site::new();
    let agent = site.reading("*/*.log").start();
    let mut families = Vec::new();
    for round in 0..5 {
        fs::create_dir(site.log("app")).unwrap();
        let mut family = Family::named(&format!("r{round}"), site.log("app/a.log"));
        family.write(20);
        site.topic.await_value(family.last());
        fs::remove_dir_all(site.log("app")).unwrap();
        families.push(family);
    }
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn f14_the_directory_of_the_glob_comes_later() {
    let site = Site::new();
    let later = site.root().join("later/deep");
    let agent = site
        .connected(Launch::run())
        .args("--read-from end --topic logs --include")
        .arg(later.join("*.log"))
        .set("watch.reconcile=100ms")
        .start();
    agent.await_ready();
    fs::create_dir_all(&later).unwrap();
    let mut family = Family::create(later.join("app.log"));
    family.write(10);
    site.topic.await_count(10);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}
