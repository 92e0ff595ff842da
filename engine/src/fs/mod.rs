//! Everything that may hang on a file system: listing and opening, on threads of their own.
//!
//! The driver never calls a file system that might be a dead network mount. It hands jobs to the pool
//! and takes answers; a job that hangs holds up only its own directory (or its dead mount).
//!
//! Nothing is remembered here between jobs: what a listing means is the core's business, and what a
//! pattern matches is behind [`Rules`].

use std::os::fd::OwnedFd;

use logdrive_core::discover::{Listing, RawPath};
use logdrive_core::engine::Start;
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, ItemId, SourceId};

mod error;
mod hard_link;
mod list;
mod mounts;
mod open;
mod pool;
mod resolve;
mod since;

pub use error::{FileError, FileErrorKind};
pub(crate) use open::size_now;
pub use pool::FsPool;

/// Which files the configuration means, and how far links are followed for them.
///
/// The path of a file or directory has a part that a pattern spells out, like `/var/log` in
/// `/var/log/*/x.log`: the administrator's own choice, opened like any path. Names below it were made by
/// whoever may write there, and links among them are traps until the item's policy says otherwise.
pub trait Rules: Send + Sync {
    /// The first item whose patterns match the path of a file.
    fn first_match(&self, path: &[u8]) -> Option<ItemId>;
    /// Whether a pattern could match a file somewhere below this directory.
    fn could_match_below(&self, directory: &[u8]) -> bool;
    /// The policy of an item.
    fn symlinks(&self, item: ItemId) -> Symlinks;
    /// Whether one of the items that could match below this directory has the policy
    /// [`Symlinks::Follow`].
    fn follows_below(&self, directory: &[u8]) -> bool;
    /// How many leading bytes of this directory's path some pattern spells out: whole components, so
    /// 8 of `/var/log/a/b` with the pattern above, and all 8 of `/var/log`.
    fn spelled_out(&self, directory: &[u8]) -> usize;
}

/// What to do with a symbolic link that matches.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Symlinks {
    /// It is not read.
    Never,
    /// It is read when its owner could have read the target anyway: it belongs to root or to the
    /// target's owner, and lies in a directory where nobody else can put links.
    #[default]
    Owner,
    /// It is read, and links to directories are entered. For directories that only trusted users write.
    Follow,
}

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
        /// Where it was seen; absolute.
        path: RawPath,
        /// From where it is to be read.
        start: Start,
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
        /// The file system of the directory, or, if it is not there, of the nearest one above it.
        device: Option<u64>,
    },
    /// A file was opened or not.
    Opened {
        /// For whom.
        source: SourceId,
        /// The open file.
        result: Result<Opened, FileError>,
    },
    /// A job takes longer than it should; the others go on. Said once for each job, whose own answer
    /// follows if it ever comes.
    Hung(FileError),
}

impl Job {
    /// Does it, on this thread.
    #[must_use]
    pub fn run(self, rules: &dyn Rules) -> Done {
        match self {
            Job::List { directory } => list::list(&directory, rules),
            Job::Open { source, item, path, start } => {
                Done::Opened { source, result: open::open(item, &path, start, rules) }
            }
        }
    }

    /// The directory that it may hang on.
    fn directory(&self) -> RawPath {
        match self {
            Job::List { directory } => directory.clone(),
            Job::Open { path, .. } => split(path).0.into(),
        }
    }
}

/// The directory of an absolute path, and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"/", path),
    }
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
    /// Where reading begins: where it was asked for, or at the line that was found.
    pub position: Position,
    /// The at most `GUARD_BYTES_MAX` bytes before that.
    pub before: Vec<u8>,
    /// A line of some time was looked for, and no line has any: `position` is by the file's own time.
    pub timeless: bool,
}
