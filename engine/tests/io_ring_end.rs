//! S17: a ring that ends with reads in it. The allocator of this process watches the buffers that the kernel has:
//! when one is freed, its read is made to complete at that very moment, and the memory is kept to see
//! whether the kernel wrote into it.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use bytes::BytesMut;
use logdrive::bell::Bell;
use logdrive::io::probe::{Io, choose};
use logdrive::io::uring::{LANES, UringReads};
use logdrive::io::{Read, Reads, uring};
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;

/// Nothing else in this process is of that size.
const BUFFER_BYTES: usize = 7919;
const FREED: u8 = 0xee;

/// The ends of the pipes that are read from; 0 is none.
static WRITERS: [AtomicI32; LANES] = [const { AtomicI32::new(0) }; LANES];
/// Buffers that were freed, and are not.
static QUARANTINE: [AtomicPtr<u8>; 2 * LANES] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 2 * LANES];
static QUARANTINED: AtomicUsize = AtomicUsize::new(0);

struct Watching;

// SAFETY: every call goes to the system's allocator unchanged, but that buffers are never given back to it.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if layout.size() != BUFFER_BYTES {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(ptr, layout) };
        }
        // SAFETY: nobody may use the block any more, and it is of that size.
        unsafe { ptr.write_bytes(FREED, BUFFER_BYTES) };
        if let Some(place) = QUARANTINE.get(QUARANTINED.fetch_add(1, Ordering::SeqCst)) {
            place.store(ptr, Ordering::SeqCst);
        }
        for writer in &WRITERS {
            let writer = writer.load(Ordering::SeqCst);
            if writer != 0 {
                // SAFETY: one byte to an open descriptor.
                unsafe { libc::write(writer, c"x".as_ptr().cast(), 1) };
            }
        }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

#[test]
fn s17_a_ring_that_ends_frees_no_buffer_that_the_kernel_has() {
    if let Err(refused) = choose(Io::Uring) {
        eprintln!("not tested: {}", refused.advice());
        return;
    }
    let mut pipes = uring::start(async {
        let mut reads = UringReads::new(Bell::default());
        let mut pipes = Vec::new();
        for (index, place) in WRITERS.iter().enumerate() {
            let source = SourceId { index: index as u32, epoch: 1 };
            let (reader, writer) = std::io::pipe().unwrap();
            reads.adopt(source, reader.into());
            let buffer = BytesMut::with_capacity(BUFFER_BYTES);
            reads.submit(Read { source, position: Position(0), buffer, want: BUFFER_BYTES });
            place.store(writer.as_raw_fd(), Ordering::SeqCst);
            pipes.push(writer);
        }
        for _ in 0..4 * LANES {
            tokio::task::yield_now().await;
        }
        assert!(reads.poll_done().is_none(), "nothing was written yet");
        pipes
    });
    WRITERS.iter().for_each(|writer| writer.store(0, Ordering::SeqCst));
    for writer in &mut pipes {
        assert!(writer.write_all(b"x").is_err(), "the ring has closed every file");
    }
    for block in QUARANTINE.iter().map(|place| place.load(Ordering::SeqCst)).filter(|block| !block.is_null())
    {
        // SAFETY: the block is in quarantine, so it is still there.
        let block = unsafe { std::slice::from_raw_parts(block, BUFFER_BYTES) };
        assert!(block.iter().all(|&byte| byte == FREED), "the kernel wrote into a buffer after it was freed");
    }
}
