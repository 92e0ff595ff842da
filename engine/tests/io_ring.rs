//! S17: the ring at its limits: no completion is lost, none comes to another read (its end is in `io_ring_end`).
//!
//! What keeps the kernel waiting here is a pipe without bytes. These run under a sanitizer too
//! (`scripts/checks/memory-safety.sh`).

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::io::{PipeWriter, Write};

use bytes::BytesMut;
use logdrive::bell::Bell;
use logdrive::io::probe::{Io, choose};
use logdrive::io::uring::{LANES, UringReads};
use logdrive::io::{Read, ReadDone, Reads, uring};
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;

fn has_ring() -> bool {
    match choose(Io::Uring) {
        Ok(_) => true,
        Err(refused) => {
            eprintln!("not tested: {}", refused.advice());
            false
        }
    }
}

fn source(index: usize) -> SourceId {
    SourceId { index: index as u32, epoch: 1 }
}

/// A read of each of so many pipes, and the ends to write to.
fn submit(reads: &mut UringReads, count: usize) -> (Vec<PipeWriter>, Vec<*const u8>) {
    (0..count)
        .map(|index| {
            let (reader, writer) = std::io::pipe().unwrap();
            reads.adopt(source(index), reader.into());
            let buffer = BytesMut::with_capacity(64);
            let address = buffer.as_ptr();
            reads.submit(Read { source: source(index), position: Position(0), buffer, want: 64 });
            (writer, address)
        })
        .unzip()
}

/// Lets the lanes run until they can do no more.
async fn settle() {
    for _ in 0..4 * LANES {
        tokio::task::yield_now().await;
    }
}

async fn next(reads: &mut UringReads, bell: &Bell) -> ReadDone {
    loop {
        if let Some(done) = reads.poll_done() {
            return done;
        }
        bell.wait().await;
    }
}

/// Every read comes back once, with the byte of its pipe in its own buffer.
async fn assert_each_once(reads: &mut UringReads, bell: &Bell, addresses: &[*const u8]) {
    let mut seen = vec![false; addresses.len()];
    for _ in addresses {
        let done = next(reads, bell).await;
        let index = done.source.index as usize;
        done.result.unwrap();
        assert_eq!((&done.buffer[..], done.buffer.as_ptr()), (&[index as u8][..], addresses[index]));
        assert!(!std::mem::replace(&mut seen[index], true), "{index} came twice");
        reads.release(done.source);
    }
    assert!(reads.poll_done().is_none());
}

#[test]
fn s17_more_reads_than_lanes_come_back_each_once() {
    if !has_ring() {
        return;
    }
    uring::start(async {
        let bell = Bell::default();
        let mut reads = UringReads::new(bell.clone());
        let (mut writers, addresses) = submit(&mut reads, 3 * LANES);
        assert!(!reads.ready(), "every lane is taken");
        settle().await;
        assert!(reads.poll_done().is_none());
        for (index, writer) in writers.iter_mut().enumerate().rev() {
            writer.write_all(&[index as u8]).unwrap();
        }
        assert_each_once(&mut reads, &bell, &addresses).await;
    });
}

/// Completions that had no room in the queue, as the kernel lists them for every ring of this process.
fn overflown() -> usize {
    let rings = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("[io_uring]"))
    });
    let texts = rings.filter_map(|entry| {
        std::fs::read_to_string(std::path::Path::new("/proc/self/fdinfo").join(entry.file_name())).ok()
    });
    let after = |text: String| {
        text.split("CqOverflowList:").nth(1).map_or(0, |list| list.matches("user_data").count())
    };
    texts.map(after).sum()
}

#[test]
fn s17_completions_that_overflow_their_queue_are_not_lost() {
    if !has_ring() {
        return;
    }
    // Queues of 4 submissions and 8 completions: the agent's own have room for all lanes.
    tokio_uring::builder().entries(4).start(async {
        let bell = Bell::default();
        let mut reads = UringReads::new(bell.clone());
        for _ in 0..20 {
            let (mut writers, addresses) = submit(&mut reads, LANES);
            settle().await;
            // All of them complete before anybody looks at the queue.
            for (index, writer) in writers.iter_mut().enumerate() {
                writer.write_all(&[index as u8]).unwrap();
            }
            assert!(overflown() > 0, "the queue had room for all");
            assert_each_once(&mut reads, &bell, &addresses).await;
        }
    });
}

#[test]
fn s17_a_ring_is_made_again_at_once() {
    // More often than a process may have descriptors, and fast enough for the memory of a ring to be missed.
    for _ in 0..1500 {
        if !has_ring() {
            return;
        }
        uring::start(async {
            let bell = Bell::default();
            let mut reads = UringReads::new(bell.clone());
            let (mut writers, addresses) = submit(&mut reads, 4);
            for (index, writer) in writers.iter_mut().enumerate() {
                writer.write_all(&[index as u8]).unwrap();
            }
            assert_each_once(&mut reads, &bell, &addresses).await;
        });
    }
}
