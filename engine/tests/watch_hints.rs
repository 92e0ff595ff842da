//! What inotify tells, and what it does not.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use logdrive::watch::{Hint, Watch};
use logdrive_core::discover::RawPath;
use logdrive_core::source::SourceId;

mod refused;
use refused::with_refused;

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

fn raw(path: &Path) -> RawPath {
    path.as_os_str().as_bytes().into()
}

fn source(index: u32) -> SourceId {
    SourceId { index, epoch: 1 }
}

/// All hints of what has happened so far: a mark is made in a directory of its own and waited for.
async fn hints(watch: &mut Watch) -> Vec<Hint> {
    let marks = tempfile::tempdir().unwrap();
    watch.directory(&raw(marks.path())).unwrap();
    File::create(marks.path().join("mark")).unwrap();
    let mark = Hint::Directory(raw(marks.path()));
    let mut found = Vec::new();
    loop {
        watch.readable().await.unwrap();
        while let Some(hint) = watch.poll_hint() {
            if hint == mark {
                watch.forget(&raw(marks.path()));
                return found;
            }
            found.push(hint);
        }
    }
}

#[test]
fn names_that_come_go_and_change_their_mode_are_one_hint_for_each_read() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (raw(directory.path()), directory.path().join("a.log"));
        let mut watch = Watch::new().unwrap();
        assert!(watch.directory(&path).unwrap());
        assert!(!watch.directory(&path).unwrap(), "it is watched already");
        type Step<'a> = &'a dyn Fn();
        let steps: [Step<'_>; 5] = [
            &|| drop(File::create(&file).unwrap()),
            &|| fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap(),
            &|| fs::rename(&file, directory.path().join("a.log.1")).unwrap(),
            &|| fs::remove_file(directory.path().join("a.log.1")).unwrap(),
            &|| (0..100).for_each(|n| drop(File::create(directory.path().join(n.to_string())).unwrap())),
        ];
        for step in steps {
            step();
            assert_eq!(hints(&mut watch).await, [Hint::Directory(path.clone())]);
        }
        fs::write(directory.path().join("7"), "a write makes no event of the directory").unwrap();
        assert_eq!(hints(&mut watch).await, []);
        watch.forget(&path);
        File::create(&file).unwrap();
        assert_eq!(hints(&mut watch).await, []);
    });
}

#[test]
fn f14_a_directory_that_went_or_moved_is_gone_and_can_be_watched_again() {
    run(async {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("logs");
        let path = raw(&logs);
        let mut watch = Watch::new().unwrap();
        fs::create_dir(&logs).unwrap();
        watch.directory(&path).unwrap();
        fs::rename(&logs, root.path().join("elsewhere")).unwrap();
        assert_eq!(hints(&mut watch).await, [Hint::DirectoryGone(path.clone())]);
        assert!(watch.directory(&path).is_err());

        fs::create_dir(&logs).unwrap();
        assert!(watch.directory(&path).unwrap());
        fs::remove_dir(&logs).unwrap();
        assert_eq!(hints(&mut watch).await.last(), Some(&Hint::DirectoryGone(path.clone())));

        // Replaced while nobody looked: asking again finds the new one.
        fs::create_dir(&logs).unwrap();
        watch.directory(&path).unwrap();
        fs::remove_dir(&logs).unwrap();
        fs::create_dir(&logs).unwrap();
        assert!(watch.directory(&path).unwrap());
        File::create(logs.join("a.log")).unwrap();
        assert!(hints(&mut watch).await.contains(&Hint::Directory(path)));
    });
}

#[test]
fn an_armed_file_makes_one_hint_however_often_it_is_written_and_whatever_its_name() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.arm(source(1), reader.as_fd()).unwrap();
        assert_eq!(hints(&mut watch).await, []);
        for _ in 0..1000 {
            writer.write_all(b"line\n").unwrap();
        }
        assert_eq!(hints(&mut watch).await, [Hint::Modified(source(1))]);
        writer.write_all(b"not armed\n").unwrap();
        assert_eq!(hints(&mut watch).await, []);

        for _ in 0..100 {
            fs::rename(&path, directory.path().join("a.log.1")).unwrap();
            watch.arm(source(1), reader.as_fd()).unwrap();
            watch.arm(source(1), reader.as_fd()).unwrap();
            writer.write_all(b"line\n").unwrap();
            fs::rename(directory.path().join("a.log.1"), &path).unwrap();
            assert_eq!(hints(&mut watch).await, [Hint::Modified(source(1))]);
        }
        watch.arm(source(1), reader.as_fd()).unwrap();
        writer.set_len(0).unwrap();
        assert_eq!(hints(&mut watch).await, [Hint::Modified(source(1))], "a truncation");
        watch.arm(source(1), reader.as_fd()).unwrap();
        watch.disarm(source(1));
        writer.write_all(b"line\n").unwrap();
        assert_eq!(hints(&mut watch).await, []);
    });
}

#[test]
fn r14_two_sources_of_one_inode_are_both_told() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        let mut writer = File::create(&a).unwrap();
        fs::hard_link(&a, &b).unwrap();
        let (reader_a, reader_b) = (File::open(&a).unwrap(), File::open(&b).unwrap());
        let mut watch = Watch::new().unwrap();
        watch.arm(source(1), reader_a.as_fd()).unwrap();
        watch.arm(source(2), reader_b.as_fd()).unwrap();
        writer.write_all(b"line\n").unwrap();
        assert_eq!(hints(&mut watch).await, [Hint::Modified(source(1)), Hint::Modified(source(2))]);

        watch.arm(source(1), reader_a.as_fd()).unwrap();
        watch.arm(source(2), reader_b.as_fd()).unwrap();
        watch.disarm(source(1));
        writer.write_all(b"line\n").unwrap();
        assert_eq!(hints(&mut watch).await, [Hint::Modified(source(2))]);
    });
}

#[test]
fn an_event_that_is_not_read_yet_is_not_lost_by_arming_again() {
    run(async {
        let mut writer = tempfile::NamedTempFile::new().unwrap();
        let reader = File::open(writer.path()).unwrap();
        let mut watch = Watch::new().unwrap();
        for _ in 0..3 {
            watch.arm(source(1), reader.as_fd()).unwrap();
            writer.write_all(b"line\n").unwrap();
        }
        let first = hints(&mut watch).await;
        assert!(!first.is_empty() && first.iter().all(|hint| *hint == Hint::Modified(source(1))));
        watch.arm(source(1), reader.as_fd()).unwrap();
        writer.write_all(b"line\n").unwrap();
        assert_eq!(hints(&mut watch).await, [Hint::Modified(source(1))]);
    });
}

#[test]
fn f10_a_write_through_a_mapping_makes_no_event() {
    use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
    run(async {
        let writer = tempfile::NamedTempFile::new().unwrap();
        writer.as_file().set_len(4096).unwrap();
        let reader = File::open(writer.path()).unwrap();
        let mut watch = Watch::new().unwrap();
        watch.arm(source(1), reader.as_fd()).unwrap();
        // SAFETY: a fresh mapping of a page that the file has, written within its bounds and unmapped.
        unsafe {
            let both = ProtFlags::READ | ProtFlags::WRITE;
            let page = mmap(std::ptr::null_mut(), 4096, both, MapFlags::SHARED, writer.as_fd(), 0).unwrap();
            page.cast::<u8>().write_volatile(b'x');
            msync(page, 4096, MsyncFlags::SYNC).unwrap();
            munmap(page, 4096).unwrap();
        }
        assert_eq!(fs::read(writer.path()).unwrap()[0], b'x');
        assert_eq!(hints(&mut watch).await, []);
    });
}

#[test]
fn f09_a_limit_that_is_reached_is_a_value_that_names_it() {
    let error =
        with_refused(libc::SYS_inotify_init1, libc::EMFILE, || run(async { Watch::new().unwrap_err() }));
    assert!(error.exhausted() && error.to_string().contains("fs.inotify.max_user_instances"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let path = raw(directory.path());
    with_refused(libc::SYS_inotify_add_watch, libc::ENOSPC, || {
        run(async {
            let mut watch = Watch::new().unwrap();
            let file = tempfile::tempfile().unwrap();
            for error in
                [watch.directory(&path).unwrap_err(), watch.arm(source(1), file.as_fd()).unwrap_err()]
            {
                assert!(error.exhausted(), "{error}");
                assert!(error.to_string().contains("fs.inotify.max_user_watches"), "{error}");
                assert!(!error.to_string().contains('\n'));
            }
        });
    });
    run(async {
        let missing = Watch::new().unwrap().directory(&raw(&directory.path().join("missing"))).unwrap_err();
        assert!(!missing.exhausted(), "{missing}");
    });
}

#[test]
fn events_that_did_not_fit_are_one_overflow_and_watching_goes_on() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut watch = Watch::new().unwrap();
        watch.directory(&raw(directory.path())).unwrap();
        for _ in 0..limit {
            drop(File::create(&path).unwrap());
            fs::remove_file(&path).unwrap();
        }
        let mut overflows = 0;
        while overflows == 0 {
            watch.readable().await.unwrap();
            while let Some(hint) = watch.poll_hint() {
                overflows += usize::from(hint == Hint::Overflow);
            }
        }
        assert_eq!(overflows, 1);
        drop(File::create(&path).unwrap());
        assert_eq!(hints(&mut watch).await, [Hint::Directory(raw(directory.path()))]);
    });
}
