//! Reads by `pread` on a few threads: the twin of [`super::uring`] where the ring is refused.
//!
//! More than one thread, so that a read that hangs on a dead mount does not hold the others; few, since
//! the kernel's copy is the work. A read costs two short holds of one lock and no allocation. The threads
//! are not joined: one of them may never come back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use logdrive_core::source::SourceId;

use super::table::{Adopted, Device, Shares, Table};
use super::{Read, ReadDone, Reads};
use crate::bell::Bell;

/// How many threads read.
pub const THREADS: usize = 4;

/// Reads that may wait for a thread: enough that a thread never waits for the driver.
const UNDER_WAY_MAX: usize = 4 * THREADS;

/// [`Reads`] on threads.
#[derive(Debug)]
pub struct BlockingReads {
    files: Table<Arc<OwnedFd>>,
    shared: Arc<Shared>,
    /// Finished reads taken from the threads, so that the lock is held once for many.
    done: VecDeque<ReadDone>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
    bell: Bell,
}

#[derive(Debug)]
struct Queues {
    /// Submitted, not yet taken by a thread.
    reads: VecDeque<(Device, Arc<OwnedFd>, Read)>,
    /// Released files that nobody reads, not yet closed.
    closes: VecDeque<(Device, OwnedFd)>,
    /// Released files, closed by no thread yet.
    closing: usize,
    done: VecDeque<ReadDone>,
    /// Reads submitted and not yet done.
    under_way: usize,
    /// Reads and closes on the threads.
    shares: Shares,
    /// The owner is gone: threads end.
    stopped: bool,
}

/// What a thread does next.
enum Work {
    Read(Device, Arc<OwnedFd>, Read),
    Close(Device, OwnedFd),
}

impl BlockingReads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(bell: Bell) -> io::Result<BlockingReads> {
        let queues = Queues {
            reads: VecDeque::with_capacity(UNDER_WAY_MAX),
            closes: VecDeque::with_capacity(UNDER_WAY_MAX),
            closing: 0,
            done: VecDeque::with_capacity(UNDER_WAY_MAX),
            under_way: 0,
            shares: Shares::new(THREADS),
            stopped: false,
        };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), work: Condvar::new(), bell });
        let done = VecDeque::with_capacity(UNDER_WAY_MAX);
        let reads = BlockingReads { files: Table::new(), shared, done };
        for index in 0..THREADS {
            let shared = Arc::clone(&reads.shared);
            std::thread::Builder::new().name(format!("read-{index}")).spawn(move || shared.serve())?;
        }
        Ok(reads)
    }

    /// Closes a file that is no longer in the table, now or after its read.
    fn close(&mut self, adopted: Adopted<Arc<OwnedFd>>) {
        let mut queues = self.shared.lock();
        queues.closing += 1;
        // While a read is in flight its thread has the file as well, and closes it.
        if let Some(fd) = Arc::into_inner(adopted.file) {
            queues.closes.push_back((adopted.device, fd));
            self.shared.work.notify_one();
        }
    }
}

impl Reads for BlockingReads {
    fn adopt(&mut self, source: SourceId, fd: OwnedFd) {
        let device = Device::of(&fd);
        if let Some(before) = self.files.insert(source, device, Arc::new(fd)) {
            self.close(before);
        }
    }

    fn fd(&self, source: SourceId) -> Option<BorrowedFd<'_>> {
        Some(self.files.find(source)?.file.as_fd())
    }

    fn release(&mut self, source: SourceId) {
        if let Some(adopted) = self.files.remove(source) {
            self.close(adopted);
        }
    }

    fn closing(&self) -> usize {
        self.shared.lock().closing
    }

    fn ready(&self) -> bool {
        self.shared.lock().under_way < UNDER_WAY_MAX
    }

    fn admits(&self, source: SourceId) -> bool {
        let queues = self.shared.lock();
        let admitted = |adopted: &Adopted<_>| {
            let waiting = queues.reads.iter().filter(|(device, ..)| *device == adopted.device).count();
            // A read that only waits for a thread of a live file system holds nobody up.
            queues.shares.admits(adopted.device) || waiting < UNDER_WAY_MAX / 4
        };
        queues.under_way < UNDER_WAY_MAX && self.files.find(source).is_none_or(admitted)
    }

    fn submit(&mut self, read: Read) {
        let adopted = self.files.find(read.source);
        match read.checked(adopted) {
            Ok((read, adopted)) => {
                let mut queues = self.shared.lock();
                queues.under_way += 1;
                queues.reads.push_back((adopted.device, Arc::clone(&adopted.file), read));
                drop(queues);
                self.shared.work.notify_one();
            }
            Err(done) => {
                self.done.push_back(done);
                self.shared.bell.ring();
            }
        }
    }

    fn poll_done(&mut self) -> Option<ReadDone> {
        if self.done.is_empty() {
            std::mem::swap(&mut self.done, &mut self.shared.lock().done);
        }
        self.done.pop_front()
    }
}

impl Drop for BlockingReads {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing that holds the lock can leave the queues half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn serve(&self) {
        let mut queues = self.lock();
        loop {
            let Some(work) = queues.take() else {
                if queues.stopped {
                    return;
                }
                queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queues);
            queues = match work {
                Work::Read(device, file, read) => {
                    let done = read_once(&file, read);
                    let mut queues = self.lock();
                    queues.under_way -= 1;
                    queues.shares.give(device);
                    queues.done.push_back(done);
                    if let Some(released) = Arc::into_inner(file) {
                        queues.closes.push_back((device, released));
                    }
                    self.bell.ring();
                    queues
                }
                Work::Close(device, fd) => {
                    drop(fd);
                    let mut queues = self.lock();
                    queues.shares.give(device);
                    queues.closing -= 1;
                    self.bell.ring();
                    queues
                }
            };
        }
    }
}

impl Queues {
    /// The first work whose file system does not hold its share of the threads, reads first.
    fn take(&mut self) -> Option<Work> {
        if let Some(at) = self.reads.iter().position(|(device, ..)| self.shares.admits(*device))
            && let Some((device, file, read)) = self.reads.remove(at)
        {
            self.shares.take(device);
            return Some(Work::Read(device, file, read));
        }
        let at = self.closes.iter().position(|(device, _)| self.shares.admits(*device))?;
        let (device, fd) = self.closes.remove(at)?;
        self.shares.take(device);
        Some(Work::Close(device, fd))
    }
}

fn read_once(fd: &OwnedFd, read: Read) -> ReadDone {
    let Read { source, position, mut buffer, want } = read;
    buffer.clear();
    let want = want.min(buffer.capacity());
    let result = loop {
        let room = &mut buffer.spare_capacity_mut()[..want];
        match rustix::io::pread(fd, room, position.0).map(|(filled, _)| filled.len()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => break Err(error.into()),
            Ok(count) => {
                // SAFETY: the kernel has filled the first `count` bytes of the spare capacity.
                unsafe { buffer.set_len(count) };
                break Ok(());
            }
        }
    };
    ReadDone { source, position, want, buffer, result }
}
