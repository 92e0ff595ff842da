//! F03: no descriptors left. A binary of its own, since the limit is the process's.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use logdrive::fs::{FileErrorKind, Symlinks};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod fs_world;
use fs_world::World;

#[test]
fn f03_without_descriptors_a_file_is_refused_by_that_name_and_opened_when_some_are_closed() {
    let world = World::new(Symlinks::Owner);
    world.write("a", "one\n");
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let mut taken = Vec::new();
    while let Ok(fd) = rustix::io::dup(std::io::stderr()) {
        taken.push(fd);
    }
    // With each one more that is free, the job gets one step further.
    for free in 0..3 {
        let error = world.open("a").unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Descriptors, "{free} free: {error}");
        assert!(error.to_string().contains("LimitNOFILE="), "{error}");
        taken.pop();
    }
    let listed = world.list("");
    assert!(listed.complete, "a listing needs one");
    drop(taken);
    let mut taken = Vec::new();
    while let Ok(fd) = rustix::io::dup(std::io::stderr()) {
        taken.push(fd);
    }
    let listed = world.list("");
    assert!(!listed.complete && listed.problems[0].kind() == FileErrorKind::Descriptors);
    drop(taken);
    assert_eq!(world.open("a").unwrap().head, b"one\n");
    assert!(world.list("").complete);
}
