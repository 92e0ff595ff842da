//! Positioned reads of open files, many in flight, at most one for each file.

use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::BytesMut;
use logdrive_core::position::Position;
use logdrive_core::source::SourceId;

/// A read to submit.
#[derive(Debug)]
pub struct Read {
    /// Which open file.
    pub source: SourceId,
    /// From where.
    pub position: Position,
    /// An empty buffer; its capacity may be larger than `want`.
    pub buffer: BytesMut,
    /// How many bytes to read at most.
    pub want: usize,
}

/// A finished read.
#[derive(Debug)]
pub struct ReadDone {
    /// Which file.
    pub source: SourceId,
    /// From where.
    pub position: Position,
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
    /// Closes a file when its read, if one is under way, is finished.
    fn release(&mut self, source: SourceId);
    /// Whether another read can be submitted now.
    fn ready(&self) -> bool;
    /// Submits a read; the bell rings when it is done.
    fn submit(&mut self, read: Read);
    /// The next finished read.
    fn poll_done(&mut self) -> Option<ReadDone>;
}
