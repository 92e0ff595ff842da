//! What the state remembers of one generation: enough to find it again and go on.

use crate::position::Position;
use crate::source::{FileId, Fingerprint, GenerationId, Guard};

/// The acknowledged position of one generation with the evidence to recognise it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Checkpoint {
    /// Whose it is.
    pub generation: GenerationId,
    /// What the file system called the file.
    pub file: FileId,
    /// Everything before it is acknowledged.
    pub position: Position,
    /// The bytes before `position`.
    pub guard: Guard,
    /// The first bytes of the file.
    pub fingerprint: Fingerprint,
    /// Hash of the item's name: an item that is gone and comes back resumes.
    pub item: u64,
    /// Family of the path, see [`crate::source::family_of`].
    pub family: u64,
    /// `position` lies inside a line whose rest is to be skipped (long-line policy).
    pub skipping: bool,
}
