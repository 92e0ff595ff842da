//! What survives the process: acknowledged positions and identities.
//!
//! Not a database, and no log of its own: one small file of fixed slots (`positions`), in which each
//! acknowledged position is one `pwrite` into the page cache, so that a killed process loses nothing,
//! and which a thread of its own syncs on request, so that a power cut loses no more than the time since
//! the last sync. Names, which change rarely, are kept beside it in `catalog.json`. Formats and
//! guarantees are in `docs/state.md`.
//!
//! ```text
//! driver ── claim, put, free ──> positions (table + page cache)     format: bytes
//!    └───── request_sync ──────> syncer (thread) ── storage ──> disk
//! ```
//!
//! Nothing here knows Kafka or reads log files, and no time is read: `now` is an argument.

use std::path::Path;

mod catalog;
mod edit;
mod error;
mod folder;
mod format;
mod holder;
mod open;
mod positions;
#[cfg(test)]
mod samples;
mod show;
mod storage;
mod store;
mod syncer;

pub use catalog::{Catalog, Names, Seen, Sight};
pub use edit::{Selector, forget, forget_damaged, set};
pub use error::StateError;
pub use holder::Holder;
pub use positions::{Durable, Slot};
pub use show::{Row, Snapshot, inspect};
pub use storage::{Disk, Storage, StorageFile};
pub use store::{SlotsInUse, StateStore, SyncedUpTo};
pub use syncer::Syncer;

const POSITIONS: &str = "positions";
const POSITIONS_NEW: &str = "positions.new";
const CATALOG: &str = "catalog.json";
const CATALOG_NEW: &str = "catalog.json.new";
const CATALOG_DAMAGED: &str = "catalog.json.damaged";

/// How items are named in a [`logdrive_core::checkpoint::Checkpoint`]: xxh3 of the name.
#[must_use]
pub fn item_hash(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

fn failed(operation: &'static str, dir: &Path, name: &str, source: std::io::Error) -> StateError {
    StateError::Io { operation, path: dir.join(name), source }
}
