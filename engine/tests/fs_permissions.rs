//! F04, X11: without the right to read, as a user who is not root.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use logdrive::fs::{FileErrorKind, Symlinks};
use logdrive::watch::{Hint, Watch};
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

mod fs_world;
use fs_world::{NOBODY, World, is_root, raw};

/// Runs a story on a thread without root's rights: identity belongs to the thread.
fn as_nobody(story: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if is_root() {
                let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
                set_thread_groups(&[]).unwrap();
                set_thread_res_gid(group, group, group).unwrap();
                set_thread_res_uid(user, user, user).unwrap();
            }
            story();
        });
        thread.join().expect("the story failed");
    });
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn f04_a_file_without_permission_is_reported_and_read_after_a_hint_when_it_has_one() {
    let world = World::new(Symlinks::Owner);
    chmod(world.root(), 0o755);
    let path = world.write("a", "one\n");
    chmod(&path, 0o000);
    as_nobody(|| {
        assert!(world.list("").entry("a").is_some(), "it can be seen");
        let error = world.open("a").unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Denied);
        assert!(error.to_string().contains("grant CAP_DAC_READ_SEARCH"), "{error}");
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = Watch::new().unwrap();
        watch.directory(&raw(world.root())).unwrap();
        chmod(&path, 0o644);
        watch.readable().await.unwrap();
        assert_eq!(watch.poll_hint(), Some(Hint::Directory(raw(world.root()))));
    });
    as_nobody(|| assert_eq!(world.open("a").unwrap().head, b"one\n"));
}

#[test]
fn f04_a_directory_that_may_not_be_read_or_entered_proves_nothing_absent() {
    let world = World::new(Symlinks::Owner);
    chmod(world.root(), 0o755);
    fs::create_dir(world.path("closed")).unwrap();
    world.write("closed/a", "one\n");
    world.write("closed/b", "one\n");
    for mode in [0o000, 0o644] {
        chmod(&world.path("closed"), mode);
        as_nobody(|| {
            let listed = world.list("closed");
            assert!(!listed.complete && listed.entries.is_empty());
            assert_eq!(listed.problems.len(), 1, "{:?}", listed.problems);
            assert_eq!(listed.problems[0].kind(), FileErrorKind::Denied);
        });
    }
    chmod(&world.path("closed"), 0o755);
    as_nobody(|| assert!(world.list("closed").complete));
}
