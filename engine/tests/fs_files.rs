//! Files that are not what they seem, and files that are.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use logdrive::fs::{FileErrorKind, Symlinks};
use logdrive_core::engine::Start;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::time::{ClockId, clock_gettime};

mod fs_world;
mod refused;
use fs_world::{World, give_away};
use refused::with_refused;

/// A file of root that everyone can read, as the secret that nobody may reach through a link.
const SECRET: &str = "/etc/passwd";

/// Returns when a change of a file from now on has another time than one before.
fn next_file_time() {
    let start = clock_gettime(ClockId::RealtimeCoarse);
    while clock_gettime(ClockId::RealtimeCoarse) == start {
        std::thread::yield_now();
    }
}

#[test]
fn an_opened_file_comes_with_the_evidence_of_what_it_is() {
    let world = World::new(Symlinks::Owner);
    let content = "0123456789".repeat(300);
    world.write("a", &content);
    let listed = world.list("");
    let entry = listed.entry("a").unwrap();
    assert!(listed.complete && listed.problems.is_empty() && entry.size == 3000);
    for (before, expected) in [(0, 0..0), (5, 0..5), (300, 60..300), (3000, 2760..3000), (3010, 2770..3000)] {
        let opened = world.open_at("a", before).unwrap();
        assert_eq!((opened.file, opened.size), (entry.file, 3000));
        assert_eq!(opened.head, content.as_bytes()[..1024]);
        assert_eq!(opened.before, content.as_bytes()[expected], "before {before}");
        let mut bytes = [0; 10];
        File::from(opened.fd).read_exact_at(&mut bytes, 2990).unwrap();
        assert_eq!(&bytes, b"0123456789");
    }
    assert_eq!(world.open_at("a", 5000).unwrap().before, b"");
    assert_eq!(world.open_at("a", u64::MAX).unwrap().before, b"");
    world.write("empty", "");
    assert_eq!(world.open("empty").unwrap().head, b"");
    assert_eq!(world.open("missing").unwrap_err().kind(), FileErrorKind::Vanished);
    assert!(!world.list("missing").entries.iter().any(|_| true));
    assert_eq!(world.list("missing").problem("missing"), Some(FileErrorKind::Vanished));
}

/// 2026-11-26T00:00:00Z.
const MIDNIGHT_NS: i64 = 1_795_651_200_000_000_000;

fn set_modified(path: &Path, ns: i64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(ns as u64);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_file_is_opened_where_it_begins_to_be_of_a_time() {
    let world = World::new(Symlinks::Owner);
    let line = |minute: usize| format!("2026-11-26T00:{minute:02}:00Z {}\n", "x".repeat(179));
    let content: String = (0..60).map(line).collect();
    world.write("a", &content);
    let since = |name: &str, minutes: i64| {
        let opened = world.open_from(name, Start::Since(MIDNIGHT_NS + minutes * 60_000_000_000)).unwrap();
        assert_eq!(opened.head, fs::read(world.path(name)).unwrap()[..opened.head.len()]);
        (opened.position.0 as usize, opened.before, opened.timeless)
    };
    let before = |position: usize| content.as_bytes()[position.saturating_sub(240)..position].to_vec();
    for (minutes, position) in [(-1, 0), (0, 0), (1, 201), (30, 30 * 201), (60, 60 * 201)] {
        assert_eq!(
            since("a", minutes),
            (position, before(position), false),
            "{minutes} minutes after midnight"
        );
    }
    // A file without times has its own.
    world.write("b", "one\ntwo\n");
    set_modified(&world.path("b"), MIDNIGHT_NS);
    assert_eq!(since("b", 0), (0, Vec::new(), true));
    assert_eq!(since("b", 1), (8, b"one\ntwo\n".to_vec(), true));
    world.write("empty", "");
    assert_eq!(since("empty", 0), (0, Vec::new(), false));
}

#[test]
fn files_with_holes_of_a_terabyte_are_opened_where_they_begin_to_be_of_a_time() {
    let world = World::new(Symlinks::Owner);
    let since = |minutes: i64| {
        let opened = world.open_from("holes", Start::Since(MIDNIGHT_NS + minutes * 60_000_000_000)).unwrap();
        (opened.position.0, opened.timeless)
    };
    world.write("holes", "");
    let file = File::options().write(true).open(world.path("holes")).unwrap();
    let size: u64 = 1 << 40;
    file.set_len(size).unwrap();
    set_modified(&world.path("holes"), MIDNIGHT_NS);
    assert_eq!(since(0), (0, true));
    assert_eq!(since(1), (size, true));
    // With lines at both ends.
    file.write_all_at(b"2026-11-26T00:01:00Z old\n", 0).unwrap();
    file.write_all_at(b"\n2026-11-26T00:02:00Z new\n", size - 26).unwrap();
    assert_eq!(since(1), (0, false));
    assert_eq!(since(3), (size, false));
    // What is in the hole may be of that time.
    assert_eq!(since(2), (25, false));
}

#[test]
fn a_file_that_matches_nothing_is_listed_since_it_may_be_a_renamed_one() {
    let world = World::new(Symlinks::Owner);
    world.write(".rotated", "one\n");
    world.write("a", "one\n");
    world.link(".link", "a");
    fs::create_dir(world.path("sub")).unwrap();
    let listed = world.list("");
    assert_eq!(listed.entry(".rotated").unwrap().item, None);
    assert!(listed.entry("a").unwrap().item.is_some());
    assert!(listed.entry(".link").is_none() && listed.has_directory("sub"));
}

#[test]
fn f05_fifo_socket_directory_and_device_are_never_opened() {
    for symlinks in [Symlinks::Owner, Symlinks::Follow] {
        let world = World::new(symlinks);
        rustix::fs::mknodat(CWD, world.path("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).unwrap();
        fs::create_dir(world.path("directory")).unwrap();
        world.link("zero", "/dev/zero");
        world.link("tty", "/dev/tty");
        world.link("linked-fifo", "fifo");
        world.write("regular", "one\n");
        let listed = world.list("");
        assert!(listed.complete && listed.entries.len() == 1 && listed.entry("regular").is_some());
        for name in ["fifo", "socket", "directory", "zero", "tty", "linked-fifo"] {
            let error = world.open(name).unwrap_err();
            let kind = error.kind();
            // A tester's own link to a device of root is refused even earlier.
            let early = symlinks == Symlinks::Owner && kind == FileErrorKind::Link;
            assert!(kind == FileErrorKind::NotRegular || early, "{error}");
            let expected = (name != "directory").then_some(kind);
            assert_eq!(listed.problem(name), expected, "{name}");
            assert!(!error.to_string().contains('\n'));
        }
        // Nobody has the FIFO open for reading.
        let writer = rustix::fs::open(world.path("fifo"), OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
        assert_eq!(writer.unwrap_err(), rustix::io::Errno::NXIO);
    }
}

#[test]
fn f07_loops_and_dangling_links_and_deep_trees_end() {
    let world = World::new(Symlinks::Follow);
    world.link("self", "self");
    world.link("dangling", "nowhere");
    fs::create_dir_all(world.path("a/b")).unwrap();
    world.link("a/b/up", "..");
    world.link("a/b/root", world.root());
    world.link("a/b/here", ".");
    fs::create_dir(world.path("other")).unwrap();
    world.link("a/b/sideways", "../../other");
    let listed = world.list("");
    assert_eq!(listed.problem("self"), Some(FileErrorKind::Link));
    assert_eq!(listed.problem("dangling"), None);
    assert!(listed.complete && listed.entries.is_empty() && listed.has_directory("a"));
    let below = world.list("a/b");
    assert!(below.has_directory("a/b/sideways") && below.directories.len() == 1);
    for name in ["up", "root", "here"] {
        assert_eq!(below.problem(name), Some(FileErrorKind::Link), "{name}");
    }

    let mut name = "deep".to_owned();
    let mut depth = 0;
    loop {
        fs::create_dir_all(world.path(&name).join("d")).unwrap();
        let listed = world.list(&name);
        if let Some(problem) = listed.problems.first() {
            assert!(
                listed.directories.is_empty() && problem.to_string().contains("deeper than"),
                "{problem}"
            );
            break;
        }
        assert!(listed.has_directory("d"));
        name.push_str("/d");
        depth += 1;
        assert!(depth < 200, "a bound is met");
    }
}

#[test]
fn f07_links_to_directories_are_entered_only_by_policy_and_never_on_the_way() {
    for symlinks in [Symlinks::Never, Symlinks::Owner, Symlinks::Follow] {
        let world = World::new(symlinks);
        fs::create_dir(world.path("real")).unwrap();
        world.write("real/a", "one\n");
        world.link("linked", "real");
        let follows = symlinks == Symlinks::Follow;
        assert_eq!(world.list("").has_directory("linked"), follows);
        let through = world.list("linked");
        assert_eq!(through.entry("a").is_some(), follows);
        assert_eq!(through.complete, follows);
        for refuse in [false, true] {
            let open = || world.open("linked/a").map(|opened| opened.head);
            let opened = if refuse { with_refused(libc::SYS_openat2, libc::ENOSYS, open) } else { open() };
            match opened {
                Ok(head) => assert!(follows && head == b"one\n"),
                Err(error) => assert!(!follows && error.kind() == FileErrorKind::Link, "{error}"),
            }
            let real = || world.open("real/a").is_ok();
            assert!(if refuse { with_refused(libc::SYS_openat2, libc::EPERM, real) } else { real() });
        }
    }
}

#[test]
fn r14_hard_links_are_one_file() {
    let world = World::new(Symlinks::Owner);
    world.write("a", "one\n");
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    let listed = world.list("");
    assert_eq!(listed.entry("a").unwrap().file, listed.entry("b").unwrap().file);
    fs::remove_file(world.path("a")).unwrap();
    assert_eq!(world.open("b").unwrap().file, listed.entry("a").unwrap().file);
}

#[test]
fn r15_a_swapped_link_has_the_identity_of_its_new_target() {
    let world = World::new(Symlinks::Owner);
    fs::create_dir(world.path("releases")).unwrap();
    for name in ["releases/1", "releases/2"] {
        world.write(name, name);
    }
    let targets = world.list("releases");
    world.link("middle", "./releases//1");
    world.link("current", "middle");
    for number in ["1", "2"] {
        world.link(".next", world.path("releases").join(number));
        fs::rename(world.path(".next"), world.path("middle")).unwrap();
        let file = targets.entry(number).unwrap().file;
        assert_eq!(world.list("").entry("current").unwrap().file, file);
        let opened = world.open("current").unwrap();
        assert_eq!((opened.file, opened.head), (file, format!("releases/{number}").into_bytes()));
    }
    let never = World { symlinks: Symlinks::Never, ..world };
    assert_eq!(never.list("").problem("current"), Some(FileErrorKind::Link));
    assert_eq!(never.open("current").unwrap_err().kind(), FileErrorKind::Link);
}

#[test]
fn r11_a_reused_inode_has_another_birth_time() {
    let world = World::new(Symlinks::Owner);
    let mut before = None;
    let mut reused = 0;
    for _ in 0..50 {
        world.write("a", "one\n");
        let file = world.list("").entry("a").unwrap().file;
        if file.birth_ns == 0 {
            eprintln!("not run: this file system has no birth times");
            return;
        }
        assert_ne!(Some(file), before);
        reused += usize::from(before.is_some_and(|before| before.ino == file.ino));
        before = Some(file);
        fs::remove_file(world.path("a")).unwrap();
        next_file_time();
    }
    eprintln!("{reused} of 49 inodes were reused");
}

#[test]
fn f10_a_write_through_a_mapping_is_seen_by_the_listing() {
    use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
    let world = World::new(Symlinks::Owner);
    let path = world.write("a", "one\n");
    let before = world.list("").entry("a").unwrap().clone();
    next_file_time();
    let file = File::options().read(true).write(true).open(path).unwrap();
    file.set_len(4096).unwrap();
    let grown = world.list("").entry("a").unwrap().clone();
    assert_eq!(grown.size, 4096);
    next_file_time();
    // SAFETY: a fresh mapping of a page that the file has, written within its bounds and unmapped.
    unsafe {
        let both = ProtFlags::READ | ProtFlags::WRITE;
        let page = mmap(std::ptr::null_mut(), 4096, both, MapFlags::SHARED, file.as_fd(), 0).unwrap();
        page.cast::<u8>().write_volatile(b'x');
        msync(page, 4096, MsyncFlags::SYNC).unwrap();
        munmap(page, 4096).unwrap();
    }
    let written = world.list("").entry("a").unwrap().clone();
    assert!(before.modified_ns < grown.modified_ns && grown.modified_ns < written.modified_ns);
    assert_eq!(before.file, written.file);
}

#[test]
fn x08_a_link_that_somebody_put_where_everyone_writes_never_leads_to_roots_file() {
    let world = World::new(Symlinks::Owner);
    fs::set_permissions(world.root(), fs::Permissions::from_mode(0o1777)).unwrap();
    give_away(&world.link("x.log", SECRET));
    give_away(&world.link("chain.log", "x.log"));
    give_away(&world.link("relative.log", Path::new("../../../../../..").join(&SECRET[1..])));
    give_away(&world.write("own", "mine\n"));
    give_away(&world.link("own.log", "own"));
    let listed = world.list("");
    for name in ["x.log", "chain.log", "relative.log"] {
        assert!(listed.entry(name).is_none(), "{name}");
        assert_eq!(listed.problem(name), Some(FileErrorKind::Link), "{name}");
        for refuse in [false, true] {
            let open = || world.open(name).unwrap_err();
            let error = if refuse { with_refused(libc::SYS_openat2, libc::ENOSYS, open) } else { open() };
            assert_eq!(error.kind(), FileErrorKind::Link, "{error}");
        }
    }
    assert_eq!(world.open("own.log").unwrap().head, b"mine\n");
    assert!(listed.entry("own.log").is_some());
    // The policy is the administrator's.
    let follow = World { symlinks: Symlinks::Follow, ..world };
    assert!(follow.list("").entry("x.log").is_some() && follow.open("x.log").is_ok());
}

#[test]
fn x08_a_hard_link_that_somebody_may_have_made_is_listed_and_not_opened() {
    let world = World::new(Symlinks::Owner);
    fs::set_permissions(world.root(), fs::Permissions::from_mode(0o1777)).unwrap();
    let secret = world.write("secret", "not for everybody\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&secret, world.path("x.log")).unwrap();
    for name in ["x.log", "secret"] {
        assert!(world.list("").entry(name).is_some(), "what is being read goes on");
        let error = world.open(name).unwrap_err();
        assert_eq!(error.kind(), FileErrorKind::Link, "{error}");
        assert!(error.to_string().contains("may have been linked"), "{error}");
    }
    // The directory where a link leads counts, and not the one where it lies.
    fs::create_dir(world.path("safe")).unwrap();
    world.link("safe/link", "../x.log");
    assert_eq!(world.open("safe/link").unwrap_err().kind(), FileErrorKind::Link);
    fs::hard_link(&secret, world.path("safe/own")).unwrap();
    assert_eq!(world.open("safe/own").unwrap().head, b"not for everybody\n");
    let follow = World { symlinks: Symlinks::Follow, ..world };
    assert!(follow.open("x.log").is_ok(), "the policy is the administrator's");
}

/// Somebody swaps the directory of a file for a link to `/etc` and back, and the file for a link.
#[test]
fn x09_a_racer_that_swaps_names_never_wins() {
    const SWAPS: usize = 100_000;
    let world = World::new(Symlinks::Owner);
    let secret = fs::metadata(SECRET).unwrap();
    fs::create_dir(world.path("sub")).unwrap();
    give_away(&world.path("sub"));
    give_away(&world.write("sub/passwd", "mine\n"));
    give_away(&world.link("sub/.evil", SECRET));
    give_away(&world.link(".evil", "/etc"));
    let exchange = |a: &Path, b: &Path| rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for swap in 0..SWAPS {
                if swap % 4 < 2 {
                    exchange(&world.path("sub"), &world.path(".evil")).unwrap();
                } else {
                    exchange(&world.path("sub/passwd"), &world.path("sub/.evil")).unwrap();
                }
            }
            finished.store(true, Ordering::SeqCst);
        });
        let race = || {
            let (mut opened, mut refused) = (0, 0);
            while !finished.load(Ordering::SeqCst) {
                match world.open("sub/passwd") {
                    Ok(file) => {
                        assert_ne!(file.file.ino, secret.ino(), "the secret was opened");
                        assert_eq!(file.head, b"mine\n");
                        opened += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), FileErrorKind::Link, "{error}");
                        refused += 1;
                    }
                }
                for entry in world.list("sub").entries {
                    let leaked = (entry.file.ino, entry.size) == (secret.ino(), secret.len());
                    assert!(!leaked, "the secret was listed");
                }
            }
            eprintln!("{opened} opened, {refused} refused");
        };
        scope.spawn(race);
        with_refused(libc::SYS_openat2, libc::ENOSYS, race);
    });
}
