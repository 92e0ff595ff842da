//! The state as a person reads it, for `logdrive state list` and `show`.
//!
//! Reads without the lock and changes nothing, so it works beside a running agent; what it shows may be
//! a moment old.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use logdrive_core::checkpoint::Checkpoint;
use serde::Serialize;

use super::catalog::{Catalog, Seen};
use super::edit::Selector;
use super::open::{StoredCatalog, decode, read_catalog};
use super::storage::{Access, Disk, Storage};
use super::{CATALOG, POSITIONS, StateError, failed, folder, item_hash};
use crate::columns::{Align, columns};
use crate::logging::plain;

/// What the state held when it was read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Every generation that is remembered, by path.
    pub rows: Vec<Row>,
    /// Every item that was seen.
    pub items: BTreeMap<String, Seen>,
    /// What could not be read besides; empty when all is well.
    pub notes: Vec<String>,
}

/// One generation.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Row {
    /// 16 hexadecimal digits.
    pub generation: String,
    /// The next byte to send, once everything before it is acknowledged.
    pub position: u64,
    /// Where the file was found last; empty when that is not known.
    pub path: String,
    /// Where it was found first.
    pub origin: String,
    /// The collection item; its hash in hexadecimal when its name is not known.
    pub item: String,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Birth time in nanoseconds since the epoch, 0 if unknown.
    pub birth_ns: i64,
    /// How many of the first bytes of the file are known by their hash.
    pub fingerprint_bytes: u16,
    /// How many bytes before the position are known by their hash.
    pub guard_bytes: u8,
    /// The position lies in a line whose rest is skipped.
    pub skipping: bool,
}

/// Reads the state of `dir`.
///
/// # Errors
/// There is none, or it is damaged or newer: see [`StateError`].
pub fn inspect(dir: &Path) -> Result<Snapshot, StateError> {
    let storage: Arc<dyn Storage> = Arc::new(Disk::new(folder::open(dir)?, Access::ReadOnly));
    let file = storage.open(POSITIONS).map_err(|error| failed("open", dir, POSITIONS, error))?;
    let file = file.ok_or_else(|| failed("open", dir, POSITIONS, std::io::ErrorKind::NotFound.into()))?;
    let bytes = file.read_all().map_err(|error| failed("read", dir, POSITIONS, error))?;
    let image = decode(&bytes, dir)?;
    let mut notes = Vec::new();
    if !image.repairs.is_empty() {
        notes.push(format!("{} bad copies whose twins are good", image.repairs.len()));
    }
    let catalog = match read_catalog(&*storage, dir)? {
        StoredCatalog::Read(catalog) => catalog,
        StoredCatalog::Missing => {
            notes.push(format!("{CATALOG} is missing: paths are not known"));
            Catalog::default()
        }
        StoredCatalog::Damaged(what) => {
            notes.push(format!("{CATALOG} cannot be read ({what}): paths are not known"));
            Catalog::default()
        }
    };
    let live = image.slots.iter().filter_map(|slot| slot.checkpoint.as_ref());
    let mut rows: Vec<Row> = live.map(|checkpoint| row(checkpoint, &catalog)).collect();
    rows.sort_by(|a, b| (&a.path, &a.generation).cmp(&(&b.path, &b.generation)));
    Ok(Snapshot { rows, items: catalog.items, notes })
}

fn row(checkpoint: &Checkpoint, catalog: &Catalog) -> Row {
    let names = catalog.names.get(&checkpoint.generation.0);
    let item = catalog.items.keys().find(|name| item_hash(name) == checkpoint.item);
    Row {
        generation: format!("{:?}", checkpoint.generation),
        position: checkpoint.position.0,
        path: names.map(|names| names.current.clone()).unwrap_or_default(),
        origin: names.map(|names| names.origin.clone()).unwrap_or_default(),
        item: item.cloned().unwrap_or_else(|| format!("{:016x}", checkpoint.item)),
        dev: checkpoint.file.dev,
        ino: checkpoint.file.ino,
        birth_ns: checkpoint.file.birth_ns,
        fingerprint_bytes: checkpoint.fingerprint.len,
        guard_bytes: checkpoint.guard.len,
        skipping: checkpoint.skipping,
    }
}

impl Snapshot {
    /// Only the rows that are meant.
    ///
    /// # Errors
    /// [`StateError::NoMatch`] if there are none.
    pub fn only(mut self, selector: &Selector) -> Result<Snapshot, StateError> {
        self.rows.retain(|row| {
            let paths = [row.path.as_str(), row.origin.as_str()];
            let id = u64::from_str_radix(&row.generation, 16).unwrap_or_default();
            selector.matches(logdrive_core::source::GenerationId(id), paths.into_iter())
        });
        if self.rows.is_empty() { Err(selector.none()) } else { Ok(self) }
    }

    /// One line for each generation, in aligned columns under a headline.
    #[must_use]
    pub fn table(&self) -> String {
        let rows: Vec<[String; 4]> = self
            .rows
            .iter()
            .map(|row| {
                let path = if row.path.is_empty() { "(not known)" } else { &row.path };
                [row.generation.clone(), row.position.to_string(), row.item.clone(), path.to_owned()]
            })
            .collect();
        let (left, right) = (Align::Left, Align::Right);
        let head = [("GENERATION", left), ("POSITION", right), ("ITEM", left), ("PATH", left)];
        columns(head, &rows) + &self.noted()
    }

    /// Everything about each generation, one field a line.
    #[must_use]
    pub fn details(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let skipping = if row.skipping { ", inside a line whose rest is skipped" } else { "" };
            let _infallible = write!(
                text,
                "generation   {}\npath         {}\nfirst found  {}\nitem         {}\nposition     {}{}\n\
                 file         device {}, inode {}, born {} ns\nknown by     first {} bytes, {} bytes \
                 before the position\n\n",
                row.generation,
                plain(&row.path),
                plain(&row.origin),
                plain(&row.item),
                row.position,
                skipping,
                row.dev,
                row.ino,
                row.birth_ns,
                row.fingerprint_bytes,
                row.guard_bytes,
            );
        }
        text + &self.noted()
    }

    /// The rows as a JSON array.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.rows).expect("strings and numbers always serialise") + "\n"
    }

    fn noted(&self) -> String {
        self.notes.iter().map(|note| format!("note: {note}\n")).collect()
    }
}
