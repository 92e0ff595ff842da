//! Values for the tests of the state.

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, Fingerprint, GenerationId, Guard};

/// A checkpoint in which no field is zero and every one depends on the arguments.
pub(super) fn checkpoint(generation: u64, position: u64) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(generation),
        file: FileId { dev: 64769, ino: 1000 + generation, birth_ns: -5 - generation as i64 },
        position: Position(position),
        guard: Guard::before_end_of(&position.to_le_bytes()),
        fingerprint: Fingerprint::of(&generation.to_le_bytes()),
        item: super::item_hash("web"),
        family: generation * 31,
        skipping: position % 2 == 1,
    }
}
