//! The store as the driver uses it: writes go through at once, syncs are asked for and reported.
//!
//! A failed write or sync poisons the file: `durable` stands still, the error is reported once, and the
//! file is never believed again, because a second sync of it may answer "done" for pages that the
//! kernel has dropped. The way back is a complete new file, tried every [`REWRITE_RETRY`]. Meanwhile the
//! table goes on in memory, and as far as it can in the old file, so that shipping goes on and a killed
//! process still finds most of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::Nanos;
use logdrive_core::source::GenerationId;

use super::catalog::{Catalog, Names, Sight};
use super::folder::Lock;
use super::open::{self, Loaded};
use super::positions::{Durable, Positions, Slot};
use super::storage::{Access, Disk, Storage};
use super::syncer::{Done, Job, Syncer};
use super::{CATALOG, POSITIONS, StateError, failed, folder};
use crate::bell::Bell;

/// Time from one attempt to write a new file to the next.
const REWRITE_RETRY: Duration = Duration::from_secs(5);
/// The catalog is written at most this often.
const CATALOG_INTERVAL: Duration = Duration::from_secs(1);

/// The slots in use with what they hold.
pub type SlotsInUse = Vec<(Slot, Checkpoint)>;

/// Every write up to this number is on the disk.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug, Default)]
pub struct SyncedUpTo(pub u64);

/// Whether the file on the disk is believed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Health {
    Sound,
    /// A write or sync failed. A new file is written at the first request from `retry_at` on.
    Poisoned {
        retry_at: Nanos,
    },
}

/// What the syncer is doing for the positions.
#[derive(Copy, Clone, Debug)]
enum Flight {
    None,
    /// Making durable what was written up to `sequence`, in the first `slots` slots.
    Sync {
        sequence: u64,
        slots: u32,
    },
    /// The same in a new file, asked for at `since`.
    Rewrite {
        sequence: u64,
        slots: u32,
        since: Nanos,
    },
}

/// The catalog's way to the disk.
#[derive(Debug, Default)]
struct CatalogWrites {
    changed: bool,
    in_flight: bool,
    /// Nothing is written before this time.
    due: Nanos,
    /// The last write failed, and that is reported.
    failed: bool,
}

/// The open state of one agent.
#[derive(Debug)]
pub struct StateStore {
    dir: PathBuf,
    positions: Positions,
    catalog: Catalog,
    catalog_writes: CatalogWrites,
    health: Health,
    /// The failure that poisoned the file, until it is reported.
    failure: Option<StateError>,
    flight: Flight,
    /// A request that came during a flight: it needs another one.
    again: Option<Nanos>,
    /// What the flight makes durable, and what the last one did.
    syncing: Vec<Durable>,
    synced: Vec<Durable>,
    synced_up_to: SyncedUpTo,
    /// `None` only while the store ends.
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// Let go after the thread has ended, which may still put a file in place.
    _lock: Option<Lock>,
}

impl StateStore {
    /// Opens the state in `dir` (created if missing) under its lock, with the slots in use. A thread is
    /// started that rings `bell` when [`StateStore::poll_synced`] has something. `wall_ms`, milliseconds
    /// since the epoch, is what a second agent is told as the start of this one.
    ///
    /// # Errors
    /// Everything that could make positions be forgotten in silence: see [`StateError`].
    pub fn open(dir: &Path, bell: Bell, wall_ms: i64) -> Result<(StateStore, SlotsInUse), StateError> {
        let (folder, lock) = folder::open_locked(dir, wall_ms)?;
        let storage = Arc::new(Disk::new(folder, Access::ReadWrite));
        let (mut store, slots, syncer) = StateStore::open_on(storage, dir)?;
        store._lock = Some(lock);
        let thread = std::thread::Builder::new().name("state".into()).spawn(move || syncer.run(&bell));
        let thread = thread.map_err(|error| failed("start a thread for", dir, POSITIONS, error))?;
        store.thread = Some(thread);
        Ok((store, slots))
    }

    /// Opens the state on any storage, without lock and thread: the caller runs the [`Syncer`]. `dir`
    /// only appears in messages.
    ///
    /// # Errors
    /// As [`StateStore::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
    ) -> Result<(StateStore, SlotsInUse, Syncer), StateError> {
        let Loaded { positions, catalog, catalog_changed, synced, sound } = open::load(&*storage, dir)?;
        let (jobs, job_queue) = channel();
        let (done_queue, done) = channel();
        let slots = positions.live().map(|(slot, checkpoint)| (slot, *checkpoint)).collect();
        let store = StateStore {
            dir: dir.to_path_buf(),
            positions,
            catalog,
            catalog_writes: CatalogWrites { changed: catalog_changed, ..CatalogWrites::default() },
            health: if sound { Health::Sound } else { Health::Poisoned { retry_at: Nanos(0) } },
            failure: None,
            flight: Flight::None,
            again: None,
            syncing: Vec::new(),
            synced: Vec::new(),
            synced_up_to: SyncedUpTo(synced),
            jobs: Some(jobs),
            done,
            thread: None,
            _lock: None,
        };
        Ok((store, slots, Syncer::new(storage, job_queue, done_queue)))
    }

    /// Gives a new generation a slot. The slot is good even if the write failed: that is reported by
    /// [`StateStore::poll_synced`] and mended later.
    pub fn claim(&mut self, checkpoint: &Checkpoint) -> Slot {
        let (slot, result) = self.positions.claim(checkpoint);
        self.note(result);
        slot
    }

    /// Writes a newer checkpoint of the slot's generation to the page cache: one `pwrite`, no
    /// allocation. From then on it survives a kill of the process.
    ///
    /// # Panics
    /// If the slot is not held by that generation, which would be a bug that loses lines.
    pub fn put(&mut self, slot: Slot, checkpoint: &Checkpoint) {
        let result = self.positions.put(slot, checkpoint);
        self.note(result);
    }

    /// Forgets the slot's generation and its names; the slot will be used again.
    ///
    /// # Panics
    /// If the slot is free already.
    pub fn free(&mut self, slot: Slot) {
        if let Some(checkpoint) = self.positions.checkpoint(slot) {
            self.catalog_writes.changed |= self.catalog.names.remove(&checkpoint.generation.0).is_some();
        }
        let result = self.positions.free(slot);
        self.note(result);
    }

    /// What a slot holds.
    #[must_use]
    pub fn checkpoint(&self, slot: Slot) -> Option<&Checkpoint> {
        self.positions.checkpoint(slot)
    }

    /// How many generations are remembered.
    #[must_use]
    pub fn slots_in_use(&self) -> usize {
        self.positions.live_count()
    }

    /// Asks for everything written so far to be made durable; never waits. `Ok` of at least the number
    /// returned here will come from [`StateStore::poll_synced`]. Costs nothing when nothing was written
    /// since the last one. While the file is poisoned this is also what tries to write a new one.
    pub fn request_sync(&mut self, now: Nanos) -> SyncedUpTo {
        if self.catalog_writes.changed && !self.catalog_writes.in_flight && now >= self.catalog_writes.due {
            self.catalog_writes.due = now + CATALOG_INTERVAL;
            self.write_catalog();
        }
        match self.flight {
            Flight::None => self.start(now),
            Flight::Sync { .. } | Flight::Rewrite { .. } => self.again = Some(now),
        }
        SyncedUpTo(self.positions.sequence())
    }

    /// The next result: how far the disk has followed, or once what went wrong. After an error `durable`
    /// stands still until the next `Ok`.
    pub fn poll_synced(&mut self) -> Option<Result<SyncedUpTo, StateError>> {
        loop {
            if let Some(error) = self.failure.take() {
                return Some(Err(error));
            }
            let done = self.done.try_recv().ok()?;
            if let Some(result) = self.finish(done) {
                return Some(result);
            }
        }
    }

    /// The positions that the last `Ok` of [`StateStore::poll_synced`] made durable: only those that had
    /// changed since the one before.
    #[must_use]
    pub fn synced(&self) -> &[Durable] {
        &self.synced
    }

    /// Whether everything is durable, so that no request is needed.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.is_healthy()
            && self.synced_up_to.0 == self.positions.sequence()
            && !self.catalog_writes.changed
            && !self.catalog_writes.in_flight
    }

    /// Whether the disk takes what it is given.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health == Health::Sound && !self.catalog_writes.failed
    }

    /// When an item was seen for the first time ever (milliseconds since the epoch), if that is now or lasts: then
    /// `read_from` holds for the files that are there. The answer is remembered, and under [`Sight::Once`] not given
    /// again.
    pub fn first_sight(&mut self, item: &str, sight: Sight, wall_ms: i64) -> Option<i64> {
        let (first, news) = self.catalog.first_sight(item, sight, wall_ms);
        self.catalog_writes.changed |= news;
        first
    }

    /// Ends a first sight that lasts.
    pub fn seen(&mut self, item: &str) {
        self.catalog_writes.changed |= self.catalog.seen(item);
    }

    /// Notes under which path a generation is found now; the first one stays its origin.
    pub fn name(&mut self, generation: GenerationId, path: &str) {
        self.catalog_writes.changed |= self.catalog.name(generation, path);
    }

    /// The paths of a generation.
    #[must_use]
    pub fn names(&self, generation: GenerationId) -> Option<&Names> {
        self.catalog.names.get(&generation.0)
    }

    /// Makes everything durable and ends the thread; waits for the disk.
    ///
    /// # Errors
    /// The first failure, if the disk does not have everything in the end.
    pub fn close(mut self, now: Nanos) -> Result<(), StateError> {
        let mut error = self.failure.take();
        // The second round is the new file that a failure of the first one asks for.
        for _ in 0..2 {
            if let Health::Poisoned { retry_at } = &mut self.health {
                *retry_at = now;
            }
            self.catalog_writes.due = now;
            self.request_sync(now);
            while self.thread.is_some() && self.in_flight() {
                let Ok(done) = self.done.recv() else { break };
                if let Some(Err(next)) = self.finish(done) {
                    error.get_or_insert(next);
                }
                error = error.or(self.failure.take());
            }
            if self.is_synced() {
                error = None;
                break;
            }
        }
        error.map_or(Ok(()), Err)
    }

    fn in_flight(&self) -> bool {
        !matches!(self.flight, Flight::None) || self.catalog_writes.in_flight
    }

    fn start(&mut self, now: Nanos) {
        let (sequence, slots) = (self.positions.sequence(), self.positions.slots());
        match self.health {
            Health::Sound if self.synced_up_to.0 == sequence => {}
            Health::Sound => {
                self.positions.take_changed(&mut self.syncing);
                self.flight = Flight::Sync { sequence, slots };
                self.send(Job::Sync(Arc::clone(self.positions.file())));
            }
            Health::Poisoned { retry_at } if now < retry_at => {}
            Health::Poisoned { .. } => {
                let bytes = self.positions.rewritten(&mut self.syncing);
                self.flight = Flight::Rewrite { sequence, slots, since: now };
                self.send(Job::Rewrite(bytes));
            }
        }
    }

    fn write_catalog(&mut self) {
        self.catalog_writes.changed = false;
        self.catalog_writes.in_flight = true;
        self.send(Job::Catalog(self.catalog.to_json()));
    }

    fn send(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("there until the store ends");
        jobs.send(job).expect("the syncer lives as long as the store");
    }

    fn finish(&mut self, done: Done) -> Option<Result<SyncedUpTo, StateError>> {
        let flight = match done {
            Done::Catalog(_) => Flight::None,
            _ => mem::replace(&mut self.flight, Flight::None),
        };
        let result = match (done, flight) {
            (Done::Catalog(result), _) => return self.finish_catalog(result),
            (Done::Synced(result), Flight::Sync { sequence, slots }) => {
                self.finish_sync(result, sequence, slots)
            }
            (Done::Rewritten(new), Flight::Rewrite { sequence, slots, since }) => {
                let adopted = new.file.map(|file| self.positions.adopt(file, sequence, slots));
                let result = new.result.and(adopted.unwrap_or(Ok(())));
                self.finish_rewrite(result, sequence, since)
            }
            (done, flight) => unreachable!("{done:?} came while waiting for {flight:?}"),
        };
        if let Some(now) = self.again.take() {
            self.start(now);
        }
        result.map(Ok)
    }

    fn finish_sync(&mut self, result: io::Result<()>, sequence: u64, slots: u32) -> Option<SyncedUpTo> {
        if let Err(error) = result {
            self.poison("sync", error);
        }
        if self.health != Health::Sound {
            return None;
        }
        self.believe(sequence);
        let proven = self.positions.prove(slots);
        self.note(proven);
        Some(self.synced_up_to)
    }

    fn finish_rewrite(&mut self, result: io::Result<()>, sequence: u64, since: Nanos) -> Option<SyncedUpTo> {
        match result {
            Ok(()) => {
                self.health = Health::Sound;
                self.believe(sequence);
                Some(self.synced_up_to)
            }
            // It was reported when the file was poisoned.
            Err(_) => {
                self.health = Health::Poisoned { retry_at: since + REWRITE_RETRY };
                None
            }
        }
    }

    fn finish_catalog(&mut self, result: io::Result<()>) -> Option<Result<SyncedUpTo, StateError>> {
        self.catalog_writes.in_flight = false;
        let reported = mem::replace(&mut self.catalog_writes.failed, result.is_err());
        self.catalog_writes.changed |= result.is_err();
        let error = result.err().filter(|_| !reported)?;
        Some(Err(failed("write", &self.dir, CATALOG, error)))
    }

    fn believe(&mut self, sequence: u64) {
        self.synced_up_to = SyncedUpTo(sequence);
        mem::swap(&mut self.synced, &mut self.syncing);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.poison("write", error);
        }
    }

    fn poison(&mut self, operation: &'static str, error: io::Error) {
        if self.health == Health::Sound {
            self.health = Health::Poisoned { retry_at: Nanos(0) };
            self.failure = Some(failed(operation, &self.dir, POSITIONS, error));
        }
    }
}

impl Drop for StateStore {
    /// Waits for the job under way, so that no file is replaced after the lock is let go.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
