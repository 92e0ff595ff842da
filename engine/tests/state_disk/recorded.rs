//! A store whose every step is written down, on whatever disk counts its operations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logdrive::state::{Slot, SlotsInUse, StateError, StateStore, Storage, SyncedUpTo, Syncer, item_hash};
use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::{FileId, Fingerprint, GenerationId, Guard};

use super::history::History;
use super::state_disk::Disk;

/// A disk that can be asked how far it has come.
pub(crate) trait Counted: Storage + Clone + 'static {
    /// How many operations have changed it.
    fn ops(&self) -> usize;
}

impl Counted for Disk {
    fn ops(&self) -> usize {
        Disk::ops(self)
    }
}

pub(crate) fn checkpoint(generation: u64, position: u64) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(generation),
        file: FileId { dev: 1, ino: 100 + generation, birth_ns: 7 },
        position: Position(position),
        guard: Guard::before_end_of(&position.to_le_bytes()),
        fingerprint: Fingerprint::of(&generation.to_le_bytes()),
        item: item_hash("web"),
        family: 3,
        skipping: false,
    }
}

pub(crate) fn open(
    disk: &(impl Storage + Clone + 'static),
) -> Result<(StateStore, SlotsInUse, Syncer), StateError> {
    StateStore::open_on(Arc::new(disk.clone()), Path::new("/state"))
}

pub(crate) fn positions(slots: &SlotsInUse) -> BTreeMap<u64, u64> {
    slots.iter().map(|(_, held)| (held.generation.0, held.position.0)).collect()
}

/// See the module.
pub(crate) struct Recorded<D> {
    pub(crate) disk: D,
    pub(crate) store: StateStore,
    pub(crate) syncer: Syncer,
    slots: BTreeMap<u64, Slot>,
    pub(crate) history: History,
    requested: BTreeMap<SyncedUpTo, BTreeMap<u64, u64>>,
    /// Each request is some seconds after the one before, so that whatever waits for its time is due.
    now: Nanos,
}

impl<D: Counted> Recorded<D> {
    /// On a disk without a state.
    pub(crate) fn on(disk: D) -> Recorded<D> {
        let (store, slots, syncer) = open(&disk).unwrap();
        assert!(slots.is_empty());
        let (slots, history, requested, now) = Default::default();
        Recorded { disk, store, syncer, slots, history, requested, now }
    }

    /// Ends, and begins again on what is there.
    pub(crate) fn reopened(self) -> Recorded<D> {
        let Recorded { disk, store, history, requested, now, .. } = self;
        drop(store);
        let (store, slots, syncer) = open(&disk).unwrap();
        let slots = slots.iter().map(|(slot, held)| (held.generation.0, *slot)).collect();
        Recorded { disk, store, syncer, slots, history, requested, now }
    }

    pub(crate) fn put(&mut self, generation: u64, position: u64) {
        let before = self.disk.ops();
        match self.slots.get(&generation) {
            Some(&slot) => self.store.put(slot, &checkpoint(generation, position)),
            None => {
                let slot = self.store.claim(&checkpoint(generation, position));
                self.slots.insert(generation, slot);
            }
        }
        self.history.writes.push((before, self.disk.ops(), generation, Some(position)));
    }

    pub(crate) fn free(&mut self, generation: u64) {
        let before = self.disk.ops();
        self.store.free(self.slots.remove(&generation).unwrap());
        self.history.writes.push((before, self.disk.ops(), generation, None));
    }

    pub(crate) fn request(&mut self) {
        let point = self.ask();
        self.requested.insert(point, self.now());
    }

    /// Lets the syncer do one job and reports it.
    pub(crate) fn step(&mut self) {
        self.syncer.step();
        while let Some(result) = self.store.poll_synced() {
            let point = result.unwrap();
            let ops = self.disk.ops();
            self.history.syncs.push((ops, self.requested[&point].clone()));
        }
    }

    pub(crate) fn sync(&mut self) {
        self.request();
        while !self.store.is_synced() {
            self.step();
            self.ask();
        }
    }

    fn ask(&mut self) -> SyncedUpTo {
        self.now = self.now + Duration::from_secs(10);
        self.store.request_sync(self.now)
    }

    /// What the store holds.
    pub(crate) fn now(&self) -> BTreeMap<u64, u64> {
        let held = |&slot: &Slot| self.store.checkpoint(slot).unwrap();
        self.slots.values().map(held).map(|held| (held.generation.0, held.position.0)).collect()
    }
}
