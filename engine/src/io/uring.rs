//! Reads through io_uring, on the driver's own thread.
//!
//! A fixed set of lanes (local tasks that live as long as [`UringReads`]) takes submitted reads from a
//! queue, so that no read starts a task or allocates. Page cache hits complete while they are submitted;
//! a cold read waits in the kernel and holds its lane, not the thread. Closing goes through the ring
//! too, since closing a file on a FUSE mount asks its server.
//!
//! Everything lives on one thread: `Rc` and `RefCell`, no borrow across an await. A runtime that is dropped
//! asks the kernel to give up its reads and waits for that; a process with a read on a dead mount has to leave
//! by `exit`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use logdrive_core::source::SourceId;
use rustix::fs::OFlags;
use tokio_uring::buf::{BoundedBuf, IoBuf, IoBufMut};
use tokio_uring::fs::File;

use super::table::{Adopted, Device, Shares, Table};
use super::{Read, ReadDone, Reads};
use crate::bell::Bell;

/// Reads in flight at most.
pub const LANES: usize = 32;

/// Entries of the submission queue; the probe asks for as many.
pub const RING_ENTRIES: u32 = 64;

const _: () = assert!(LANES < RING_ENTRIES as usize, "the lanes never fill the queue");

/// Runs `future` on a current-thread runtime with a ring. [`super::probe`] first: this panics where the
/// ring is refused.
pub fn start<F: Future>(future: F) -> F::Output {
    tokio_uring::builder().entries(RING_ENTRIES).start(future)
}

/// [`Reads`] through the ring of the runtime it is made in.
#[derive(Debug)]
pub struct UringReads {
    files: Table<Rc<File>>,
    shared: Rc<RefCell<Shared>>,
    bell: Bell,
}

/// What the lanes and their owner share.
#[derive(Debug)]
struct Shared {
    /// Submitted, not yet taken by a lane.
    reads: VecDeque<(Device, Rc<File>, Read)>,
    /// Released files that nobody reads, not yet closed.
    closes: VecDeque<(Device, File)>,
    /// Released files, closed by no lane yet.
    closing: usize,
    done: VecDeque<ReadDone>,
    /// Reads submitted and not yet done.
    under_way: usize,
    shares: Shares,
    /// Lanes that wait, and how to wake each: a lane is in `idle` exactly when it has a waker here.
    idle: Vec<usize>,
    wakers: Vec<Option<Waker>>,
    /// The owner is gone: lanes end.
    stopped: bool,
}

/// What a lane does next.
enum Work {
    Read(Device, Rc<File>, Read),
    Close(Device, File),
}

impl UringReads {
    /// Starts the lanes. Only inside [`start`].
    #[must_use]
    pub fn new(bell: Bell) -> UringReads {
        let shared = Rc::new(RefCell::new(Shared {
            reads: VecDeque::with_capacity(LANES),
            closes: VecDeque::with_capacity(LANES),
            closing: 0,
            done: VecDeque::with_capacity(LANES),
            under_way: 0,
            shares: Shares::new(LANES),
            idle: Vec::with_capacity(LANES),
            wakers: vec![None; LANES],
            stopped: false,
        }));
        for index in 0..LANES {
            tokio_uring::spawn(lane(index, Rc::clone(&shared), bell.clone()));
        }
        UringReads { files: Table::new(), shared, bell }
    }

    /// Closes a file that is no longer in the table, now or after its read.
    fn close(&mut self, adopted: Adopted<Rc<File>>) {
        let mut shared = self.shared.borrow_mut();
        shared.closing += 1;
        // While a read is in flight its lane has the file as well, and closes it.
        if let Ok(file) = Rc::try_unwrap(adopted.file) {
            shared.closes.push_back((adopted.device, file));
            shared.wake_one();
        }
    }
}

impl Reads for UringReads {
    fn adopt(&mut self, source: SourceId, fd: OwnedFd) {
        // A non-blocking file is one that the ring takes to be readable without waiting: on NFS and FUSE,
        // which know no such thing, it would wait for the server right here (older kernels: EAGAIN).
        if let Ok(flags) = rustix::fs::fcntl_getfl(&fd)
            && flags.contains(OFlags::NONBLOCK)
        {
            let _ = rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK);
        }
        let device = Device::of(&fd);
        let file = Rc::new(File::from_std(std::fs::File::from(fd)));
        if let Some(before) = self.files.insert(source, device, file) {
            self.close(before);
        }
    }

    fn fd(&self, source: SourceId) -> Option<BorrowedFd<'_>> {
        let adopted = self.files.find(source)?;
        // SAFETY: the table owns the file, and is borrowed for as long as the descriptor.
        Some(unsafe { BorrowedFd::borrow_raw(adopted.file.as_raw_fd()) })
    }

    fn release(&mut self, source: SourceId) {
        if let Some(adopted) = self.files.remove(source) {
            self.close(adopted);
        }
    }

    fn closing(&self) -> usize {
        self.shared.borrow().closing
    }

    fn ready(&self) -> bool {
        self.shared.borrow().under_way < LANES
    }

    fn admits(&self, source: SourceId) -> bool {
        let shared = self.shared.borrow();
        let admitted = |adopted: &Adopted<_>| shared.shares.admits(adopted.device);
        shared.under_way < LANES && self.files.find(source).is_none_or(admitted)
    }

    fn submit(&mut self, read: Read) {
        let mut shared = self.shared.borrow_mut();
        let adopted = self.files.find(read.source);
        match read.checked(adopted) {
            Ok((read, adopted)) => {
                shared.under_way += 1;
                shared.shares.take(adopted.device);
                shared.reads.push_back((adopted.device, Rc::clone(&adopted.file), read));
                shared.wake_one();
            }
            Err(done) => {
                shared.done.push_back(done);
                self.bell.ring();
            }
        }
    }

    fn poll_done(&mut self) -> Option<ReadDone> {
        self.shared.borrow_mut().done.pop_front()
    }
}

impl Drop for UringReads {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.stopped = true;
        while !shared.idle.is_empty() {
            shared.wake_one();
        }
    }
}

impl Shared {
    fn wake_one(&mut self) {
        if let Some(waker) = self.idle.pop().and_then(|lane| self.wakers[lane].take()) {
            waker.wake();
        }
    }

    /// The next work for a lane, reads first; `None` ends it.
    fn poll_work(&mut self, lane: usize, cx: &Context<'_>) -> Poll<Option<Work>> {
        if let Some((device, file, read)) = self.reads.pop_front() {
            return Poll::Ready(Some(Work::Read(device, file, read)));
        }
        if let Some(at) = self.closes.iter().position(|(device, _)| self.shares.admits(*device))
            && let Some((device, file)) = self.closes.remove(at)
        {
            self.shares.take(device);
            return Poll::Ready(Some(Work::Close(device, file)));
        }
        if self.stopped {
            return Poll::Ready(None);
        }
        if self.wakers[lane].replace(cx.waker().clone()).is_none() {
            self.idle.push(lane);
        }
        Poll::Pending
    }
}

/// One lane: one operation in the ring at a time.
async fn lane(index: usize, shared: Rc<RefCell<Shared>>, bell: Bell) {
    while let Some(work) = poll_fn(|cx| shared.borrow_mut().poll_work(index, cx)).await {
        match work {
            Work::Read(device, file, read) => {
                let done = read_once(&file, read).await;
                let mut shared = shared.borrow_mut();
                shared.under_way -= 1;
                shared.shares.give(device);
                shared.done.push_back(done);
                if let Ok(released) = Rc::try_unwrap(file) {
                    shared.closes.push_back((device, released));
                }
                bell.ring();
            }
            Work::Close(device, file) => {
                // The descriptor is gone whatever the answer; nothing was written through it.
                let _ = file.close().await;
                let mut shared = shared.borrow_mut();
                shared.shares.give(device);
                shared.closing -= 1;
                bell.ring();
            }
        }
    }
}

async fn read_once(file: &File, read: Read) -> ReadDone {
    let Read { source, position, mut buffer, want } = read;
    buffer.clear();
    let want = want.min(buffer.capacity());
    if want == 0 {
        // An empty slice is refused by the ring's buffers, and there is nothing to ask the kernel for.
        return ReadDone { source, position, want, buffer, result: Ok(()) };
    }
    loop {
        let (outcome, slice) = file.read_at(Lent(buffer).slice(..want), position.0).await;
        buffer = slice.into_inner().back();
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            return ReadDone { source, position, want, buffer, result: outcome.map(drop) };
        }
    }
}

/// A buffer that the kernel has.
///
/// A runtime that ends with reads in it drops their buffers first, and only then asks the kernel to give the
/// reads up (tokio-uring 0.5, `Drop for Driver`): what completes in between would be written into freed
/// memory. So a buffer that does not come [`back`](Lent::back) is not freed at all.
struct Lent(BytesMut);

impl Lent {
    fn back(mut self) -> BytesMut {
        mem::take(&mut self.0)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.0));
    }
}

// SAFETY: the bytes of a `BytesMut` are on the heap and stay there when it is moved; `Lent` never gives them up
// while the kernel may have them.
unsafe impl IoBuf for Lent {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }

    fn bytes_total(&self) -> usize {
        self.0.capacity()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Lent {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, init_len: usize) {
        if self.0.len() < init_len {
            // SAFETY: the caller has initialised so many bytes, which are within the capacity.
            unsafe { self.0.set_len(init_len) };
        }
    }
}
