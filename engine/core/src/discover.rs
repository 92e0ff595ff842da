//! What a directory holds, as the shell saw it. The listing is the truth; inotify is only a hint.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::source::{FileId, ItemId};

/// A path as the kernel knows it: bytes, absolute, not necessarily UTF-8.
pub type RawPath = Arc<[u8]>;

/// One regular file in a listing.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Entry {
    /// Its absolute path.
    pub path: RawPath,
    /// The first item whose patterns match the path; `None` for a file that is listed only because a
    /// rotated file may have got this name.
    pub item: Option<ItemId>,
    /// Its identity (of the target, where the path is a symbolic link that the item follows).
    pub file: FileId,
    /// Size in bytes when listed.
    pub size: u64,
    /// Modification time in nanoseconds since the epoch, for the order of rotated files.
    pub modified_ns: i64,
}

/// All regular files of one directory that matter.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Listing {
    /// The directory.
    pub directory: RawPath,
    /// Its files, in no particular order.
    pub entries: Vec<Entry>,
    /// Whether the listing reached the end without an error: only then does absence mean anything.
    pub complete: bool,
}
