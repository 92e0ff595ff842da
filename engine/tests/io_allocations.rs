//! A read allocates nothing in the steady state. A binary of its own, for its allocator counts.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

#[path = "../core/tests/counting/mod.rs"]
mod counting;

use std::io::Write;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use counting::ALLOCATIONS;
use logdrive::bell::Bell;
use logdrive::io::blocking::BlockingReads;
use logdrive::io::probe::{Io, choose};
use logdrive::io::uring::{self, UringReads};
use logdrive::io::{Read, Reads};
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;

/// Allocations during 20,000 reads, after 2,000 that grow what has to grow once.
async fn allocations_of(mut reads: impl Reads, bell: Bell) -> u64 {
    let mut buffers = Vec::with_capacity(8);
    for index in 0..8 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b'x'; 8192]).unwrap();
        reads.adopt(SourceId { index, epoch: 0 }, file.into());
        buffers.push(BytesMut::with_capacity(4096));
    }
    let mut before = 0;
    for round in 0..2_750 {
        if round == 250 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        for index in 0..8 {
            let buffer = buffers.pop().expect("one for each file");
            let source = SourceId { index, epoch: 0 };
            reads.submit(Read { source, position: Position(1), buffer, want: 4000 });
        }
        while buffers.len() < 8 {
            match reads.poll_done() {
                Some(done) => {
                    assert_eq!(done.buffer.len(), 4000);
                    buffers.push(done.buffer);
                }
                None => bell.wait().await,
            }
        }
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn reads_allocate_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bell = Bell::default();
    let threads = BlockingReads::new(bell.clone()).unwrap();
    assert_eq!(runtime.block_on(allocations_of(threads, bell)), 0);
    drop(runtime);

    if let Err(refused) = choose(Io::Uring) {
        eprintln!("not run: {}", refused.advice());
        return;
    }
    let count = uring::start(async {
        let bell = Bell::default();
        allocations_of(UringReads::new(bell.clone()), bell).await
    });
    assert_eq!(count, 0);
}
