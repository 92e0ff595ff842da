//! Everything that may hang on a file system: listing and opening, on threads of their own.
//!
//! The driver never calls a file system that might be a dead network mount. It hands jobs to the pool
//! and takes answers; a job that hangs holds up only its own directory.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use logdrive_core::discover::{Listing, RawPath};
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, ItemId, SourceId};

/// Work for the pool.
#[derive(Debug)]
pub enum Job {
    /// Lists one directory.
    List {
        /// Its path.
        directory: RawPath,
    },
    /// Opens one file for reading.
    Open {
        /// For whom.
        source: SourceId,
        /// The item whose symlink policy holds.
        item: ItemId,
        /// Where it was seen.
        path: RawPath,
        /// The position whose preceding bytes are wanted in [`Opened::before`].
        before: Position,
    },
}

/// A finished job.
#[derive(Debug)]
pub enum Done {
    /// A directory was listed (perhaps in part).
    Listed {
        /// What it holds.
        listing: Listing,
        /// Subdirectories in which a pattern may match: to be watched and listed too.
        directories: Vec<RawPath>,
        /// What was found and will not be read, or why the listing is not complete.
        problems: Vec<FileError>,
    },
    /// A file was opened or not.
    Opened {
        /// For whom.
        source: SourceId,
        /// The open file.
        result: Result<Opened, FileError>,
    },
}

/// An open regular file with the evidence of what it is.
#[derive(Debug)]
pub struct Opened {
    /// Open for reading, non-blocking, close-on-exec.
    pub fd: OwnedFd,
    /// Identity of what is open, from the descriptor.
    pub file: FileId,
    /// Size in bytes at the time of opening.
    pub size: u64,
    /// Its first bytes, at most `FINGERPRINT_BYTES_MAX`.
    pub head: Vec<u8>,
    /// The at most `GUARD_BYTES_MAX` bytes before the position that was asked for.
    pub before: Vec<u8>,
}

/// One operation failed on one file or directory; the others go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct FileError {
    /// The operation: `open`, `list`, `read`, ...
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}
