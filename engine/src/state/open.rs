//! Reading the state at start: what is believed, what is mended, and what is refused.
//!
//! The rule: nothing that was ever synced may be missing in silence. What is refused stays untouched.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::catalog::{self, Catalog};
use super::format::{self, Header, Image, Repair, SlotImage, Unreadable};
use super::positions::Positions;
use super::storage::{self, Storage, StorageFile};
use super::{CATALOG, CATALOG_DAMAGED, CATALOG_NEW, POSITIONS, POSITIONS_NEW, StateError, failed};

/// What a start finds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) positions: Positions,
    pub(super) catalog: Catalog,
    /// The catalog is to be written: it was lost.
    pub(super) catalog_changed: bool,
    /// Number of the last write that is surely on the disk.
    pub(super) synced: u64,
    /// Whether the file is as it should be; otherwise a new one must be written.
    pub(super) sound: bool,
}

/// Reads the state, or creates an empty one where there is none yet.
pub(super) fn load(storage: &dyn Storage, dir: &Path) -> Result<Loaded, StateError> {
    let stored_catalog = read_catalog(storage, dir)?;
    let Some(file) = storage.open(POSITIONS).map_err(|error| failed("open", dir, POSITIONS, error))? else {
        if !matches!(stored_catalog, StoredCatalog::Missing) {
            return Err(StateError::Lost { path: dir.join(POSITIONS), evidence: dir.join(CATALOG) });
        }
        return create(storage, dir);
    };
    let bytes = file.read_all().map_err(|error| failed("read", dir, POSITIONS, error))?;
    let image = decode(&bytes, dir)?;
    let (catalog, catalog_changed) = settle_catalog(stored_catalog, storage, dir, &image);
    // What an interrupted replacement left behind.
    for leftover in [POSITIONS_NEW, CATALOG_NEW] {
        storage.remove(leftover).map_err(|error| failed("remove", dir, leftover, error))?;
    }
    let loaded = settle_positions(storage, dir, file, image, bytes.len() as u64);
    Ok(Loaded { catalog, catalog_changed, ..loaded })
}

/// The image of a file in which nothing that was synced is missing.
pub(super) fn decode(bytes: &[u8], dir: &Path) -> Result<Image, StateError> {
    let path = dir.join(POSITIONS);
    match format::decode_file(bytes) {
        Ok(image) if image.broken.is_empty() => Ok(image),
        Ok(image) => Err(StateError::Damaged {
            path,
            what: format!("{} of {} slots have no valid copy", image.broken.len(), image.slots.len()),
            way_out: "Bring back a copy of the file, or let `logdrive state forget --damaged` drop those \
                      slots (the files whose slots they were are then read from their beginning)"
                .to_owned(),
        }),
        Err(Unreadable::Newer(version)) => Err(StateError::Newer { path, version, known: format::VERSION }),
        Err(Unreadable::Header) => Err(StateError::Damaged {
            path,
            what: format!("its {} bytes do not begin with a valid header", bytes.len()),
            way_out: format!(
                "Bring back a copy of the file, or move it and {CATALOG} away to begin anew (items are \
                 then read by their `read_from`)"
            ),
        }),
    }
}

/// A first start. The catalog comes second, so that a catalog without positions means a loss.
fn create(storage: &dyn Storage, dir: &Path) -> Result<Loaded, StateError> {
    let file = create_file(storage, dir, POSITIONS, POSITIONS_NEW, &empty_file())?;
    let catalog = Catalog::default();
    create_file(storage, dir, CATALOG, CATALOG_NEW, &catalog.to_json())?;
    let image = Image { sequence: 1, ..Image::default() };
    let positions = Positions::of(file, image, format::file_bytes(0));
    Ok(Loaded { positions, catalog, catalog_changed: false, synced: 1, sound: true })
}

fn empty_file() -> Vec<u8> {
    format::encode_file(Header { sequence: 1, proven: 0 }, [].into_iter())
}

fn create_file(
    storage: &dyn Storage,
    dir: &Path,
    name: &str,
    temporary: &str,
    bytes: &[u8],
) -> Result<Arc<dyn StorageFile>, StateError> {
    let replaced = storage::replace(storage, name, temporary, bytes);
    let file = replaced.result.and_then(|()| replaced.file.ok_or(io::ErrorKind::NotFound.into()));
    file.map_err(|error| failed("create", dir, name, error))
}

/// Writes the state anew, for what was read is the page cache's word only: a process that ran before may have
/// been told that a sync failed, after which the kernel takes the pages for clean, and a later sync for
/// nothing to do. If that fails (the disk may be full), the old file serves until the store can try again.
fn settle_positions(
    storage: &dyn Storage,
    dir: &Path,
    file: Arc<dyn StorageFile>,
    image: Image,
    file_bytes: u64,
) -> Loaded {
    if !image.repairs.is_empty() {
        tracing::warn!(
            path = %dir.join(POSITIONS).display(),
            places = image.repairs.len(),
            "the state file had bad copies whose twins are good; it is written anew: {}",
            describe(&image.repairs),
        );
    }
    let (bytes, compact) = compacted(&image);
    let replaced = storage::replace(storage, POSITIONS, POSITIONS_NEW, &bytes);
    let sound = replaced.result.is_ok();
    if let Err(error) = replaced.result {
        let path = dir.join(POSITIONS);
        tracing::warn!(path = %path.display(), %error, "the state file could not be written anew; shipping goes on, and it is tried again");
    }
    let synced = if sound { compact.sequence } else { 0 };
    let positions = match replaced.file {
        Some(new) => Positions::of(new, compact, bytes.len() as u64),
        None => Positions::of(file, image, file_bytes),
    };
    Loaded { positions, catalog: Catalog::default(), catalog_changed: false, synced, sound }
}

/// A file of the live slots only, without gaps.
pub(super) fn compacted(image: &Image) -> (Vec<u8>, Image) {
    let slots: Vec<SlotImage> =
        image.slots.iter().filter(|slot| slot.checkpoint.is_some()).copied().collect();
    let header = Header { sequence: image.sequence, proven: slots.len() as u32 };
    let bytes = format::encode_file(header, slots.iter().copied());
    let compact = Image { proven: header.proven, sequence: image.sequence, slots, ..Image::default() };
    (bytes, compact)
}

fn describe(repairs: &[Repair]) -> String {
    let first: Vec<String> = repairs.iter().take(5).map(|repair| format!("{repair:?}")).collect();
    first.join(", ")
}

/// The catalog as found.
pub(super) enum StoredCatalog {
    Missing,
    Damaged(String),
    Read(Catalog),
}

pub(super) fn read_catalog(storage: &dyn Storage, dir: &Path) -> Result<StoredCatalog, StateError> {
    let file = storage.open(CATALOG).map_err(|error| failed("open", dir, CATALOG, error))?;
    let Some(file) = file else { return Ok(StoredCatalog::Missing) };
    let json = file.read_all().map_err(|error| failed("read", dir, CATALOG, error))?;
    match Catalog::of_json(&json) {
        Ok(catalog) => Ok(StoredCatalog::Read(catalog)),
        Err(catalog::Unreadable::Damaged(what)) => Ok(StoredCatalog::Damaged(what)),
        Err(catalog::Unreadable::Newer(version)) => {
            Err(StateError::Newer { path: dir.join(CATALOG), version, known: catalog::VERSION })
        }
    }
}

/// The catalog to go on with, and whether it must be written. A lost one costs names only, as long as
/// items are not taken for new ones because of it.
fn settle_catalog(
    stored: StoredCatalog,
    storage: &dyn Storage,
    dir: &Path,
    image: &Image,
) -> (Catalog, bool) {
    let holds_checkpoints = image.slots.iter().any(|slot| slot.checkpoint.is_some());
    let what = match stored {
        StoredCatalog::Missing if !holds_checkpoints => {
            // The first start was cut short. It is made up for at once: positions without a catalog mean that it is
            // lost, and there will be positions soon.
            let catalog = Catalog::default();
            let written = create_file(storage, dir, CATALOG, CATALOG_NEW, &catalog.to_json());
            return (catalog, written.is_err());
        }
        StoredCatalog::Read(mut catalog) => {
            let known = catalog.names.len();
            let live: std::collections::HashSet<u64> =
                image.slots.iter().filter_map(|slot| Some(slot.checkpoint?.generation.0)).collect();
            catalog.names.retain(|generation, _| live.contains(generation));
            let changed = catalog.names.len() != known;
            return (catalog, changed);
        }
        StoredCatalog::Missing => "it is missing".to_owned(),
        StoredCatalog::Damaged(what) => {
            // Kept for whoever wants to look; losing it too would change nothing.
            let _evidence = storage.rename(CATALOG, CATALOG_DAMAGED);
            what
        }
    };
    if holds_checkpoints {
        tracing::warn!(
            path = %dir.join(CATALOG).display(),
            "the catalog of the state cannot be read ({what}): paths of known files are forgotten, all \
             items count as seen before; positions are not affected"
        );
    }
    (Catalog { assume_seen: holds_checkpoints, ..Catalog::default() }, true)
}
