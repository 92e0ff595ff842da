//! One suite for both implementations of [`Reads`].

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

use bytes::BytesMut;
use logdrive::bell::Bell;
use logdrive::io::blocking::BlockingReads;
use logdrive::io::mixed::MixedReads;
use logdrive::io::probe::{Io, choose};
use logdrive::io::uring::UringReads;
use logdrive::io::{Read, ReadDone, Reads, uring};
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;
use rustix::fs::MemfdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Runs a story inside the ring's runtime, where the kernel has a ring for us.
fn on_the_ring(story: impl AsyncFnOnce(Bell)) {
    match choose(Io::Uring) {
        Ok(_) => uring::start(story(Bell::default())),
        Err(refused) => eprintln!("not run: {}", refused.advice()),
    }
}

/// Runs every story over the ring, over the threads, and over what takes each for its files.
macro_rules! conformance {
    ($($story:ident),* $(,)?) => {
        mod over_uring {
            use super::*;
            $(#[test] fn $story() {
                on_the_ring(async |bell| super::$story(UringReads::new(bell.clone()), bell).await);
            })*
        }
        mod over_both {
            use super::*;
            $(#[test] fn $story() {
                on_the_ring(async |bell| super::$story(MixedReads::new(bell.clone()), bell).await);
            })*
        }
        mod over_threads {
            use super::*;
            $(#[test] fn $story() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let bell = Bell::default();
                    super::$story(BlockingReads::new(bell.clone()).unwrap(), bell).await;
                });
            })*
        }
    };
}

conformance![
    a_file_is_read_in_order_to_its_end,
    a_read_past_the_end_is_empty,
    the_buffer_comes_back_and_holds_at_most_what_was_wanted,
    a_directory_and_an_impossible_position_are_errors_with_an_empty_buffer,
    a_file_that_is_not_open_is_an_error_and_not_a_read_of_another,
    a_released_file_is_closed_and_its_read_still_delivered,
    a_slot_that_is_used_again_closes_what_was_in_it,
    ten_thousand_files_are_each_read_whole,
];

fn source(index: u32) -> SourceId {
    SourceId { index, epoch: 7 }
}

fn file_of(bytes: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.into()
}

fn read(source: SourceId, position: u64, room: usize, want: usize) -> Read {
    Read { source, position: Position(position), buffer: BytesMut::with_capacity(room), want }
}

async fn next(reads: &mut impl Reads, bell: &Bell) -> ReadDone {
    loop {
        if let Some(done) = reads.poll_done() {
            return done;
        }
        bell.wait().await;
    }
}

async fn a_file_is_read_in_order_to_its_end<R: Reads>(mut reads: R, bell: Bell) {
    let content: Vec<u8> = (0..100_003u32).map(|n| (n % 251) as u8).collect();
    reads.adopt(source(0), file_of(&content));
    let mut found = Vec::new();
    loop {
        assert!(reads.ready() && reads.admits(source(0)));
        reads.submit(read(source(0), found.len() as u64, 4096, 4096));
        let done = next(&mut reads, &bell).await;
        done.result.unwrap();
        assert_eq!((done.source, done.position), (source(0), Position(found.len() as u64)));
        if done.buffer.is_empty() {
            break;
        }
        found.extend_from_slice(&done.buffer);
    }
    assert_eq!(found, content);
}

async fn a_read_past_the_end_is_empty<R: Reads>(mut reads: R, bell: Bell) {
    reads.adopt(source(1), file_of(b"one\n"));
    for position in [4, 5, 1 << 40] {
        reads.submit(read(source(1), position, 64, 64));
        let done = next(&mut reads, &bell).await;
        assert!(done.result.is_ok() && done.buffer.is_empty(), "{done:?}");
    }
}

async fn the_buffer_comes_back_and_holds_at_most_what_was_wanted<R: Reads>(mut reads: R, bell: Bell) {
    reads.adopt(source(0), file_of(b"one\ntwo\n"));
    for (position, want, found) in
        [(0, 3, &b"one"[..]), (4, 64, b"two\n"), (4, 4, b"two\n"), (0, 1000, b"one\ntwo\n"), (0, 0, b"")]
    {
        let mut chunk = BytesMut::with_capacity(64);
        chunk.extend_from_slice(b"stale");
        let address = chunk.as_ptr();
        reads.submit(Read { source: source(0), position: Position(position), buffer: chunk, want });
        let done = next(&mut reads, &bell).await;
        assert!(done.result.is_ok());
        assert_eq!(&done.buffer[..], found);
        assert_eq!((done.buffer.as_ptr(), done.buffer.capacity()), (address, 64));
    }
}

async fn a_directory_and_an_impossible_position_are_errors_with_an_empty_buffer<R: Reads>(
    mut reads: R,
    bell: Bell,
) {
    let directory = tempfile::tempdir().unwrap();
    reads.adopt(source(0), File::open(directory.path()).unwrap().into());
    reads.submit(read(source(0), 0, 64, 64));
    let done = next(&mut reads, &bell).await;
    assert_eq!(done.result.unwrap_err().kind(), std::io::ErrorKind::IsADirectory);
    assert!(done.buffer.is_empty() && done.buffer.capacity() == 64);

    reads.adopt(source(1), file_of(b"one\n"));
    reads.submit(read(source(1), u64::MAX, 64, 64));
    let done = next(&mut reads, &bell).await;
    assert_eq!(done.result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert!(done.buffer.is_empty());
}

async fn a_file_that_is_not_open_is_an_error_and_not_a_read_of_another<R: Reads>(mut reads: R, bell: Bell) {
    reads.adopt(source(0), file_of(b"one\n"));
    let stale = SourceId { index: 0, epoch: 6 };
    assert!(reads.fd(stale).is_none());
    reads.release(stale);
    assert!(reads.fd(source(0)).is_some());
    for unknown in [stale, source(99)] {
        reads.submit(read(unknown, 0, 64, 64));
        let done = next(&mut reads, &bell).await;
        assert_eq!(done.source, unknown);
        assert!(done.result.is_err() && done.buffer.is_empty());
    }
}

#[test]
fn f11_the_ring_never_sees_a_non_blocking_file() {
    use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
    if choose(Io::Uring).is_err() {
        return;
    }
    uring::start(async {
        let mut reads = UringReads::new(Bell::default());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        reads.adopt(source(0), open("/proc/self/status", flags, Mode::empty()).unwrap());
        assert!(!fcntl_getfl(reads.fd(source(0)).unwrap()).unwrap().contains(OFlags::NONBLOCK));
    });
}

/// An open file whose closing can be waited for: the reading end of a pipe.
fn pipe() -> (OwnedFd, Sender) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), Sender::from_owned_fd(writer.into()).unwrap())
}

async fn closed(writer: &Sender) {
    writer.ready(Interest::ERROR).await.unwrap();
}

async fn a_released_file_is_closed_and_its_read_still_delivered<R: Reads>(mut reads: R, bell: Bell) {
    let (idle, idle_writer) = pipe();
    reads.adopt(source(0), idle);
    reads.release(source(0));
    assert!(reads.fd(source(0)).is_none());
    closed(&idle_writer).await;

    // A pipe has no positions, so the threads get an error; the ring waits for the byte.
    let (busy, busy_writer) = pipe();
    reads.adopt(source(1), busy);
    reads.submit(read(source(1), 0, 64, 64));
    reads.release(source(1));
    busy_writer.writable().await.unwrap();
    let _ = busy_writer.try_write(b"x");
    let done = next(&mut reads, &bell).await;
    assert_eq!(done.source, source(1));
    assert!(done.result.is_err() || &done.buffer[..] == b"x");
    closed(&busy_writer).await;
}

async fn a_slot_that_is_used_again_closes_what_was_in_it<R: Reads>(mut reads: R, bell: Bell) {
    let (before, writer) = pipe();
    reads.adopt(source(0), before);
    let next_source = SourceId { index: 0, epoch: 8 };
    let file = file_of(b"one\n");
    let number = file.as_raw_fd();
    reads.adopt(next_source, file);
    closed(&writer).await;
    assert_eq!(reads.fd(next_source).unwrap().as_raw_fd(), number);
    reads.submit(read(next_source, 0, 64, 64));
    assert_eq!(&next(&mut reads, &bell).await.buffer[..], b"one\n");
}

/// The two runs of the next story would not both fit under a usual limit of descriptors.
static DESCRIPTORS: Mutex<()> = Mutex::new(());

fn raise_descriptor_limit(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(u64::MAX).min((wanted + 500) as u64).max(current.unwrap_or(u64::MAX));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
    (most as usize - 500).min(wanted)
}

async fn ten_thousand_files_are_each_read_whole<R: Reads>(mut reads: R, bell: Bell) {
    let _alone = DESCRIPTORS.lock();
    let count = raise_descriptor_limit(10_000);
    let content = |index: usize| format!("{index} {}\n", "x".repeat(index % 97)).into_bytes();
    for index in 0..count {
        let file = rustix::fs::memfd_create("one of many", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, &content(index)).unwrap();
        reads.adopt(source(index as u32), file);
    }
    let (mut submitted, mut finished) = (0, 0);
    // More is wanted than any of them holds.
    while finished < count {
        while submitted < count && reads.ready() {
            reads.submit(read(source(submitted as u32), 1, 256, 200));
            submitted += 1;
        }
        let done = next(&mut reads, &bell).await;
        done.result.unwrap();
        assert_eq!(&done.buffer[..], &content(done.source.index as usize)[1..]);
        reads.release(done.source);
        finished += 1;
    }
    assert!(reads.poll_done().is_none());
}
