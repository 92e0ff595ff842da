//! Changes by hand, for `logdrive state set` and `forget`: under the lock, so never beside an agent.

use std::path::Path;
use std::sync::Arc;

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::{GenerationId, Guard};

use super::storage::{self, Access, Disk, Storage};
use super::store::SlotsInUse;
use super::{POSITIONS, POSITIONS_NEW, Slot, StateError, StateStore, failed, folder, format, open};
use crate::bell::Bell;

/// The shortest beginning of a generation number that names it.
const PREFIX_DIGITS_MIN: usize = 4;

/// Which generations are meant: what an operator types.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Selector(String);

impl Selector {
    /// A generation (16 hexadecimal digits, or at least the first 4), or a path as it is listed.
    #[must_use]
    pub fn new(typed: &str) -> Selector {
        Selector(typed.to_owned())
    }

    /// Whether a generation with these paths is meant.
    pub(super) fn matches<'a>(
        &self,
        generation: GenerationId,
        mut paths: impl Iterator<Item = &'a str>,
    ) -> bool {
        let digits = self.0.len() >= PREFIX_DIGITS_MIN && self.0.bytes().all(|b| b.is_ascii_hexdigit());
        (digits && format!("{generation:?}").starts_with(&self.0.to_ascii_lowercase()))
            || paths.any(|path| path == self.0)
    }

    pub(super) fn none(&self) -> StateError {
        StateError::NoMatch { what: self.0.clone() }
    }
}

/// Lets the one generation that is meant go on at `position`. Returns the checkpoint as it is now.
///
/// # Errors
/// None or several match, or the state cannot be opened or written: see [`StateError`].
pub fn set(
    dir: &Path,
    selector: &Selector,
    position: Position,
    wall_ms: i64,
) -> Result<Checkpoint, StateError> {
    let (mut store, slots) = open_existing(dir, wall_ms)?;
    let found = select(&store, &slots, selector)?;
    let [(slot, checkpoint)] = found[..] else {
        let found = found.iter().map(|(_, checkpoint)| checkpoint.generation).collect();
        return Err(StateError::Ambiguous { what: selector.0.clone(), found });
    };
    // Nobody has read what is before the new position, so there is no guard and no line to skip.
    let checkpoint = Checkpoint { position, guard: Guard::default(), skipping: false, ..checkpoint };
    store.put(slot, &checkpoint);
    store.close(Nanos(0))?;
    Ok(checkpoint)
}

/// Forgets every generation that is meant. Returns what was forgotten.
///
/// # Errors
/// None matches, or the state cannot be opened or written: see [`StateError`].
pub fn forget(dir: &Path, selector: &Selector, wall_ms: i64) -> Result<Vec<Checkpoint>, StateError> {
    let (mut store, slots) = open_existing(dir, wall_ms)?;
    let found = select(&store, &slots, selector)?;
    for (slot, _) in &found {
        store.free(*slot);
    }
    store.close(Nanos(0))?;
    Ok(found.into_iter().map(|(_, checkpoint)| checkpoint).collect())
}

/// Drops the slots of a damaged file that cannot be read and keeps all others. Returns how many were
/// dropped.
///
/// # Errors
/// The header is damaged too or newer, or the state cannot be opened or written: see [`StateError`].
pub fn forget_damaged(dir: &Path, wall_ms: i64) -> Result<usize, StateError> {
    folder::open(dir)?;
    let (folder, _lock) = folder::open_locked(dir, wall_ms)?;
    let storage: Arc<dyn Storage> = Arc::new(Disk::new(folder, Access::ReadWrite));
    let file = storage.open(POSITIONS).map_err(|error| failed("open", dir, POSITIONS, error))?;
    let file = file.ok_or_else(|| failed("open", dir, POSITIONS, std::io::ErrorKind::NotFound.into()))?;
    let bytes = file.read_all().map_err(|error| failed("read", dir, POSITIONS, error))?;
    let Ok(image) = format::decode_file(&bytes) else {
        return open::decode(&bytes, dir).map(|_| 0);
    };
    let broken = image.broken.len();
    let (bytes, _kept) = open::compacted(&image);
    let replaced = storage::replace(&*storage, POSITIONS, POSITIONS_NEW, &bytes);
    replaced.result.map_err(|error| failed("write", dir, POSITIONS, error))?;
    Ok(broken)
}

/// Opens a state that exists: a mistyped folder must not become a new one.
fn open_existing(dir: &Path, wall_ms: i64) -> Result<(StateStore, SlotsInUse), StateError> {
    folder::open(dir)?;
    StateStore::open(dir, Bell::default(), wall_ms)
}

fn select(
    store: &StateStore,
    slots: &[(Slot, Checkpoint)],
    selector: &Selector,
) -> Result<SlotsInUse, StateError> {
    let meant = |checkpoint: &Checkpoint| {
        let names = store.names(checkpoint.generation);
        let paths = names.into_iter().flat_map(|names| [&*names.current, &*names.origin]);
        selector.matches(checkpoint.generation, paths)
    };
    let found: Vec<_> = slots.iter().filter(|(_, checkpoint)| meant(checkpoint)).copied().collect();
    if found.is_empty() { Err(selector.none()) } else { Ok(found) }
}
