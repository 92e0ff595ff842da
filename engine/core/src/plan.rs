//! What the engine is told to do: policies of the collection items, and limits.
//!
//! No patterns and no topics here: which file belongs to which item is decided where directories are
//! listed, and where a batch goes is the sink's affair.

use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use crate::frame::FramePolicy;

/// Where reading begins in a file that was there when its item was first seen.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ReadFrom {
    /// At its first byte.
    Beginning,
    /// Behind its last complete line. Files that appear later are always read from the beginning.
    End,
    /// At its first line of this time (nanoseconds since the epoch) or later. Which that is, whoever opens it finds
    /// out: lines and their times mean nothing here.
    Since(i64),
}

/// How long a file that has lost its last name is read on after its end was reached.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct UnlinkedHold {
    /// A writer may still append; the descriptor is released this long after the last growth.
    pub grace: Duration,
    /// Give up an undrained file after this time, counting what is lost; `None`: never.
    pub undrained_max: Option<Duration>,
    /// Give it up when more than this many bytes of it are not read; `None`: never.
    pub undrained_bytes_max: Option<u64>,
}

/// One collection item, as far as reading is concerned.
#[derive(Clone, Debug)]
pub struct ItemPolicy {
    /// Hash of the item's name: ties its files to their checkpoints.
    pub name: u64,
    /// How its files are cut into events.
    pub frame: FramePolicy,
    /// Where reading begins in files that are there at first sight.
    pub read_from: ReadFrom,
    /// Whether the state has seen this item before: then every unknown file is a new file.
    pub seen_before: bool,
    /// Lines a second over all files of the item; `None`: no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Bytes a second over all files of the item; `None`: no limit.
    pub rate_limit_bytes: Option<NonZeroU64>,
    /// Files not modified for longer than this are left alone until they grow.
    pub ignore_older: Option<Duration>,
    /// The descriptor of a file without news is given up after this time; `None`: when another needs it.
    pub close_after: Option<Duration>,
    /// What happens to deleted files.
    pub unlinked: UnlinkedHold,
}

/// Bounds of everything that could grow.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Memory of chunks, in bytes.
    pub chunks_bytes: usize,
    /// Files open at once.
    pub open_files: usize,
    /// Sources known at once.
    pub sources: usize,
    /// How long a busy file rests at its end before the next look.
    pub rest: Duration,
    /// All directories are listed again this often.
    pub reconcile: Duration,
}

/// The largest single read. Larger ones leave the cache before they are split.
pub const READ_BYTES_MAX: usize = 256 * 1024;
/// The smallest single read.
pub const READ_BYTES_MIN: usize = 16 * 1024;
const _: () = assert!(READ_BYTES_MIN <= READ_BYTES_MAX);
