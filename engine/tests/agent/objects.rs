//! What else matches a glob: files that may not be read, and things that are no files.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::lines::{Family, append, assert_complete};
use crate::site::{NOBODY, Site};

#[test]
fn f04_a_file_becomes_readable_later() {
    let site = Site::new();
    let mut agent = site.agent().set("watch.reconcile=200ms");
    if rustix::process::geteuid().is_root() {
        fs::create_dir(site.state()).unwrap();
        for (path, mode) in [(site.state(), 0o700), (site.root().into(), 0o755), (site.log(""), 0o755)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        chown(site.state(), Some(NOBODY), Some(NOBODY)).unwrap();
        agent = agent.user(NOBODY);
    }
    let (mut open, mut shut) = (Family::create(site.log("open.log")), Family::create(site.log("shut.log")));
    shut.write(10);
    fs::set_permissions(shut.path(), Permissions::from_mode(0o000)).unwrap();
    let mut agent = agent.start();
    agent.await_log(&["shut.log", "Permission denied", "CAP_DAC_READ_SEARCH"]);
    for _ in 0..20 {
        open.write(10);
        shut.write(10);
        site.topic.await_value(open.last());
    }
    assert_eq!(agent.count_log(&["shut.log"]), 1, "said once for a while:\n{}", agent.log());
    fs::set_permissions(shut.path(), Permissions::from_mode(0o644)).unwrap();
    site.topic.await_value(shut.last());
    agent.stop();
    assert_complete(&site.whole(), &[&open, &shut]);
}

#[test]
fn f05_things_that_are_no_files_never_block() {
    let site = Site::new();
    mknodat(CWD, site.log("fifo.log"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _listener = UnixListener::bind(site.log("socket.log")).unwrap();
    fs::create_dir(site.log("directory.log")).unwrap();
    append(site.log("directory.log/inside.log"), "not of this glob\n");
    symlink("/dev/zero", site.log("zero.log")).unwrap();
    symlink("/dev/tty", site.log("tty.log")).unwrap();
    symlink(site.log("fifo.log"), site.log("link-to-fifo.log")).unwrap();
    symlink(site.log("nowhere"), site.log("dangling.log")).unwrap();
    symlink(site.log("loop.log"), site.log("loop.log")).unwrap();
    let mut named = vec!["fifo.log", "socket.log", "zero.log", "tty.log"];
    let device = mknodat(CWD, site.log("device.log"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 5));
    named.extend(device.is_ok().then_some("device.log"));
    let mut family = Family::create(site.log("plain.log"));
    let mut agent = site.agent().set("watch.reconcile=100ms").start();
    for name in &named {
        agent.await_log(&[name, "only regular files are read"]);
    }
    for _ in 0..20 {
        family.write(10);
        site.topic.await_value(family.last());
    }
    for name in named {
        let said = agent.log().lines().filter(|line| line.contains(&format!("/{name}"))).count();
        assert_eq!(said, 1, "{name} is named once:\n{}", agent.log());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn f07_loops_of_links_and_deep_trees_end() {
    let site = Site::new();
    let mut deep = site.log("");
    for _ in 0..300 {
        deep.push("d");
        fs::create_dir(&deep).unwrap();
    }
    symlink(site.log(""), site.log("d/back")).unwrap();
    symlink(site.log("d/self"), site.log("d/self")).unwrap();
    let mut family = Family::create(site.log("d/d/d/app.log"));
    family.write(10);
    for policy in ["owner", "follow"] {
        let agent = site
            .reading("**/*.log")
            .set(format!("item.symlinks={policy}"))
            .set("watch.reconcile=100ms")
            .start();
        site.topic.await_value(family.last());
        family.write(10);
        site.topic.await_value(family.last());
        agent.stop();
    }
    assert_complete(&site.whole(), &[&family]);
}
