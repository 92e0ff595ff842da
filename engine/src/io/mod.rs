//! Positioned reads of open files, many in flight, at most one for each file.
//!
//! Two implementations keep the same promises and pass the same suite: [`uring`] and, where the ring is
//! refused, [`blocking`]; [`mixed`] takes each for the files that it is good for. [`probe`] chooses
//! between them before anything is started. The driver is generic over [`Reads`]; nothing here knows
//! what the bytes mean, and nothing is retried but an interrupted call: an error or a short read is told
//! as it is.

use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::BytesMut;
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;

pub mod blocking;
pub mod mixed;
pub mod probe;
mod table;
pub mod uring;

/// A read to submit.
#[derive(Debug)]
pub struct Read {
    /// Which open file.
    pub source: SourceId,
    /// From where.
    pub position: Position,
    /// An empty buffer; its capacity may be larger than `want`.
    pub buffer: BytesMut,
    /// How many bytes to read at most, and never more than the buffer's capacity.
    pub want: usize,
}

/// A finished read.
#[derive(Debug)]
pub struct ReadDone {
    /// Which file.
    pub source: SourceId,
    /// From where.
    pub position: Position,
    /// How many bytes were wanted: fewer came at the end of the file.
    pub want: usize,
    /// The buffer, its length the number of bytes read (0 at or past the end of the file).
    pub buffer: BytesMut,
    /// What the kernel said; the buffer is empty when it is an error.
    pub result: std::io::Result<()>,
}

/// Open files and the reads under way in them.
pub trait Reads {
    /// Takes over an open file.
    fn adopt(&mut self, source: SourceId, fd: OwnedFd);
    /// The descriptor of an adopted file.
    fn fd(&self, source: SourceId) -> Option<BorrowedFd<'_>>;
    /// Closes a file when its read, if one is under way, is finished. That read is still delivered.
    fn release(&mut self, source: SourceId);
    /// How many released descriptors are not closed yet; the bell rings when one is.
    fn closing(&self) -> usize;
    /// Whether another read can be submitted now.
    fn ready(&self) -> bool;
    /// Whether a read of this file can be submitted now: as [`Reads::ready`], and its file system does
    /// not already hold its share of the reads, so that a dead mount never takes them all.
    fn admits(&self, source: SourceId) -> bool;
    /// Submits a read; the bell rings when it is done. A read of a file that is not open is done at
    /// once with an error.
    fn submit(&mut self, read: Read);
    /// The next finished read.
    fn poll_done(&mut self) -> Option<ReadDone>;
}

impl Read {
    /// With its file, when the kernel can be asked; or else done, with an error.
    fn checked<F>(mut self, file: Option<F>) -> Result<(Read, F), ReadDone> {
        // The ring takes an offset of -1 for "the current position": it must never get there.
        let error = match file {
            Some(file) if i64::try_from(self.position.0).is_ok() => return Ok((self, file)),
            Some(_) => rustix::io::Errno::INVAL,
            None => rustix::io::Errno::BADF,
        };
        self.buffer.clear();
        let Read { source, position, want, buffer } = self;
        Err(ReadDone { source, position, want, buffer, result: Err(error.into()) })
    }
}
