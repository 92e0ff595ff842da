//! The loop between the core and the world: takes results in, carries operations out, holds no policy.
//!
//! One `turn` does everything that can be done now and never waits; whoever calls it waits for the bell,
//! for hints or for [`Driver::timeout`]. It is generic over its world, so that a simulator runs this very
//! code.

mod notes;
mod world;

use std::collections::HashMap;
use std::time::Duration;

use logdrive_core::batch::Sink;
use logdrive_core::engine::{Engine, Op, OpenFailure, Opened, ReadRequest};
use logdrive_core::position::Nanos;
use logdrive_core::source::{ItemId, SourceId};
use tracing::warn;

use self::notes::Notes;
pub use self::world::{Files, Watches};
use crate::fs::{Done, FileError, Job};
use crate::io::{Read, Reads};
use crate::kafka::KafkaSink;
use crate::monitor::AgentMetrics;
use crate::state::{Sight, Slot, StateError, StateStore, SyncedUpTo};
use crate::watch::Hint;

/// The three clocks of a turn: monotonic for decisions, wall for records and file ages.
#[derive(Copy, Clone, Debug)]
pub struct Moment {
    /// Since the start of the agent.
    pub now: Nanos,
    /// Nanoseconds since the epoch.
    pub wall_ns: i64,
}

/// How often at most a turn goes round before others get the thread.
const ROUNDS_MAX: usize = 64;
/// The state is made durable this often.
const SYNC_NANOS: u64 = 1_000_000_000;
/// Unused read buffers are given back this long after the last read that brought something.
const TRIM_NANOS: u64 = 5_000_000_000;

/// The core and its world.
#[derive(Debug)]
pub struct Driver<R, S, F, W> {
    /// The core.
    pub engine: Engine,
    /// Where batches go.
    pub sink: S,
    reads: R,
    files: F,
    watch: Option<W>,
    store: StateStore,
    slots: HashMap<SourceId, Slot>,
    sources: HashMap<Slot, SourceId>,
    /// Slots of checkpoints that no source has claimed yet, by generation.
    strays: HashMap<u64, Slot>,
    metrics: AgentMetrics,
    notes: Notes,
    synced_at: Nanos,
    /// A request to the state that is not answered, and when it was made.
    sync_asked: Option<(SyncedUpTo, Nanos)>,
    /// Everything that was acknowledged until then is durable.
    durable_at: Nanos,
    productive_at: Nanos,
    reads_productive: u64,
    trimmed: bool,
}

impl<R, S, F, W> Driver<R, S, F, W> {
    /// What was told as it happened.
    #[must_use]
    pub fn metrics(&self) -> &AgentMetrics {
        &self.metrics
    }

    /// What is remembered.
    #[must_use]
    pub fn store(&self) -> &StateStore {
        &self.store
    }

    /// How long ago everything that was acknowledged was durable.
    #[must_use]
    pub fn checkpoint_age(&self, now: Nanos) -> Duration {
        now.since(self.durable_at)
    }
}

impl<R: Reads, S: Sink, F: Files, W: Watches> Driver<R, S, F, W> {
    /// Puts the parts together. `slots` are those of the checkpoints that the engine was given as strays.
    pub fn new(
        engine: Engine,
        world: (R, S, F, Option<W>),
        store: StateStore,
        slots: impl IntoIterator<Item = (u64, Slot)>,
        metrics: AgentMetrics,
    ) -> Self {
        let (reads, sink, files, watch) = world;
        Driver {
            engine,
            sink,
            reads,
            files,
            watch,
            store,
            slots: HashMap::new(),
            sources: HashMap::new(),
            strays: slots.into_iter().collect(),
            metrics,
            notes: Notes::default(),
            synced_at: Nanos(0),
            sync_asked: None,
            durable_at: Nanos(0),
            productive_at: Nanos(0),
            reads_productive: 0,
            trimmed: true,
        }
    }

    /// Does everything that can be done now. Returns whether more is waiting to be done at once.
    pub fn turn(&mut self, moment: Moment) -> bool {
        self.take_hints();
        for _ in 0..ROUNDS_MAX {
            if !self.round(moment) {
                self.keep(moment.now);
                return false;
            }
        }
        self.keep(moment.now);
        true
    }

    /// When to take the next turn at the latest.
    #[must_use]
    pub fn timeout(&self) -> Nanos {
        let mut at = self.engine.poll_timeout().unwrap_or(Nanos(u64::MAX));
        if !self.store.is_synced() {
            at = at.min(Nanos(self.synced_at.0 + SYNC_NANOS));
        }
        if !self.trimmed {
            at = at.min(Nanos(self.productive_at.0 + TRIM_NANOS));
        }
        at
    }

    /// The hints' descriptor, to wait for.
    pub fn watch_mut(&mut self) -> Option<&mut W> {
        self.watch.as_mut()
    }

    /// One pass from the world to the core and back; whether anything happened.
    fn round(&mut self, moment: Moment) -> bool {
        let mut busy = false;
        self.engine.handle_closing(self.reads.closing());
        while let Some(done) = self.reads.poll_done() {
            busy = true;
            self.finish_read(done, moment);
        }
        while let Some(delivery) = self.sink.poll_delivery() {
            busy = true;
            self.metrics.delivered(&delivery, moment.now);
            self.engine.handle_delivery(delivery, moment.now);
        }
        while let Some(done) = self.files.poll_done() {
            busy = true;
            self.finish_job(done, moment);
        }
        while let Some(op) = self.engine.poll_op(moment.now) {
            busy = true;
            self.operate(op, moment);
        }
        self.engine.offer(&mut self.sink, moment.now);
        while self.reads.ready()
            && let Some(request) = self.engine.poll_read(moment.now, |source| self.reads.admits(source))
        {
            busy = true;
            let ReadRequest { source, position, buffer, want } = request;
            self.reads.submit(Read { source, position, buffer, want });
        }
        busy
    }

    fn finish_read(&mut self, done: crate::io::ReadDone, moment: Moment) {
        let crate::io::ReadDone { source, position, buffer, want, result } = done;
        let request = ReadRequest { source, position, buffer, want };
        match result {
            Ok(()) => {
                self.engine.handle_read(request, moment.now, moment.wall_ns / 1_000_000);
                self.engine.offer(&mut self.sink, moment.now);
            }
            Err(error) => {
                let path = self.engine.status(source).map(|status| status.origin.path.clone());
                let path = path.as_deref().unwrap_or("?").into();
                self.complain(&FileError { operation: "read", path, source: error }, moment.now);
                self.engine.handle_read_failed(request, moment.now);
            }
        }
    }

    fn finish_job(&mut self, done: Done, moment: Moment) {
        match done {
            Done::Listed { listing, directories, problems, device } => {
                let gone = problems.iter().any(|problem| {
                    problem.operation == "list" && problem.source.kind() == std::io::ErrorKind::NotFound
                });
                for problem in &problems {
                    self.complain(problem, moment.now);
                }
                // The engine is to know what has changed meanwhile: it may be missing in the listing.
                if let Some(watch) = &mut self.watch {
                    watch.catch_up();
                }
                self.take_hints();
                if let Some(device) = device {
                    self.engine.handle_device(&listing.directory, device);
                }
                if gone {
                    self.engine.handle_directory_gone(&listing.directory, moment.now);
                } else {
                    self.engine.handle_listing(listing, directories, moment.now, moment.wall_ns);
                }
            }
            Done::Hung(problem) => self.complain(&problem, moment.now),
            Done::Opened { source, result: Ok(opened) } => {
                let crate::fs::Opened { fd, file, size, head, position, before, timeless } = opened;
                if timeless && let Some(status) = self.engine.status(source) {
                    Notes::timeless(&status.origin.path, position);
                }
                self.reads.adopt(source, fd);
                let opened = Opened { file, size, head, position, before };
                self.engine.handle_opened(source, opened, moment.now);
            }
            Done::Opened { source, result: Err(error) } => {
                let failure = match error.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => OpenFailure::Descriptors,
                    Some(rustix::io::Errno::NOENT) => OpenFailure::Vanished,
                    _ => OpenFailure::Other,
                };
                if failure != OpenFailure::Vanished {
                    self.complain(&error, moment.now);
                }
                self.engine.handle_open_failed(source, failure, moment.now);
            }
        }
    }

    fn operate(&mut self, op: Op, moment: Moment) {
        match op {
            Op::List { directory } => self.files.submit(Job::List { directory }),
            Op::Open { source, item, path, start } => {
                self.files.submit(Job::Open { source, item, path, start });
            }
            Op::Watch { directory } => {
                if let Some(watch) = &mut self.watch
                    && let Err(error) = watch.directory(&directory)
                {
                    self.notes.cannot_watch(&error, moment.now);
                }
            }
            Op::Unwatch { directory } => {
                if let Some(watch) = &mut self.watch {
                    watch.forget(&directory);
                }
            }
            Op::Arm { source } => self.arm(source, moment.now),
            Op::Release { source } => {
                if let Some(watch) = &mut self.watch {
                    watch.disarm(source);
                }
                self.reads.release(source);
                self.engine.handle_closing(self.reads.closing());
            }
            Op::Measure { source } => {
                if let Some(size) = self.reads.fd(source).and_then(crate::fs::size_now) {
                    self.engine.handle_measured(source, size);
                }
            }
            Op::Succeed { old, new } => self.succeed(old, new, moment.now),
            Op::Save { source, checkpoint } => {
                self.metrics.checkpoint_written();
                if let Some(&slot) = self.slots.get(&source) {
                    self.store.put(slot, &checkpoint);
                    return;
                }
                let slot = match self.strays.remove(&checkpoint.generation.0) {
                    Some(slot) => {
                        self.store.put(slot, &checkpoint);
                        slot
                    }
                    None => self.store.claim(&checkpoint),
                };
                self.slots.insert(source, slot);
                self.sources.insert(slot, source);
            }
            Op::Forget { source, generation } => {
                // A source that was over before its first save has what the start found.
                if let Some(slot) = self.slots.remove(&source) {
                    self.sources.remove(&slot);
                    self.store.free(slot);
                } else if let Some(slot) = self.strays.remove(&generation.0) {
                    self.store.free(slot);
                }
            }
            Op::Park { source, checkpoint } => {
                let slot = match self.slots.remove(&source) {
                    Some(slot) => {
                        self.sources.remove(&slot);
                        self.store.put(slot, &checkpoint);
                        slot
                    }
                    None => match self.strays.get(&checkpoint.generation.0) {
                        // It may have got on since it was resumed, and have come to its end within one turn.
                        Some(&slot) => {
                            self.store.put(slot, &checkpoint);
                            slot
                        }
                        None => self.store.claim(&checkpoint),
                    },
                };
                self.strays.insert(checkpoint.generation.0, slot);
            }
            Op::ForgetStray { checkpoint, away } => {
                if let Some(slot) = self.strays.remove(&checkpoint.generation.0) {
                    if !away {
                        self.notes.forgotten(&self.store, &checkpoint);
                    }
                    self.store.free(slot);
                }
            }
            Op::Note(note) => {
                self.notes.name(&mut self.store, &self.engine, &note);
                self.notes.tell(&note, moment.now);
            }
        }
    }

    fn arm(&mut self, source: SourceId, now: Nanos) {
        let Some(fd) = self.reads.fd(source) else { return };
        let Some(watch) = &mut self.watch else { return self.engine.handle_unwatched(source) };
        if let Err(error) = watch.arm(source, fd) {
            self.notes.cannot_watch(&error, now);
            self.engine.handle_unwatched(source);
        }
    }

    /// A new generation on the same open file: the descriptor changes hands.
    fn succeed(&mut self, old: SourceId, new: SourceId, now: Nanos) {
        let copy = self.reads.fd(old).map(|fd| fd.try_clone_to_owned());
        if let Some(watch) = &mut self.watch {
            watch.disarm(old);
        }
        self.reads.release(old);
        match copy {
            Some(Ok(fd)) => self.reads.adopt(new, fd),
            Some(Err(error)) => {
                warn!(%error, "cannot duplicate a descriptor; the file is opened again");
                self.engine.handle_descriptor_lost(new, now);
            }
            None => self.engine.handle_descriptor_lost(new, now),
        }
    }

    fn take_hints(&mut self) {
        while let Some(hint) = self.watch.as_mut().and_then(Watches::poll_hint) {
            match hint {
                Hint::Directory(directory) => self.engine.handle_directory_hint(&directory),
                Hint::DirectoryGone(directory) => self.engine.handle_directory_hint(&directory),
                Hint::Modified(source) => self.engine.handle_modified(source),
                Hint::Overflow => self.engine.handle_overflow(),
            }
        }
    }

    /// What is done now and then: the state to the disk, unused buffers back to the allocator.
    fn keep(&mut self, now: Nanos) {
        while let Some(result) = self.store.poll_synced() {
            match result {
                Ok(up_to) => {
                    self.settle_durable();
                    if let Some((wanted, at)) = self.sync_asked
                        && up_to >= wanted
                    {
                        self.durable_at = at;
                        self.sync_asked = None;
                    }
                }
                Err(error) => {
                    self.metrics.state_failed(&error);
                    self.notes.state_failed(&error, now);
                }
            }
        }
        if now.0 >= self.synced_at.0 + SYNC_NANOS && !self.store.is_synced() {
            self.synced_at = now;
            let wanted = self.store.request_sync(now);
            // Later requests are not noted before this one is answered, or a slow disk would never be.
            self.sync_asked.get_or_insert((wanted, now));
        }
        if self.store.is_synced() {
            self.durable_at = now;
        }
        let productive = self.engine.counts().reads_productive;
        if productive != self.reads_productive {
            self.reads_productive = productive;
            self.productive_at = now;
            self.trimmed = false;
        } else if !self.trimmed && now.0 >= self.productive_at.0 + TRIM_NANOS {
            self.engine.trim();
            self.trimmed = true;
        }
    }

    fn settle_durable(&mut self) {
        for durable in self.store.synced() {
            if let Some(&source) = self.sources.get(&durable.slot) {
                self.engine.handle_durable(source, durable.generation, durable.position);
            }
        }
    }

    /// The rules of discovery live with the files.
    pub fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// When the state saw an item for the first time, if that is now or lasts: see [`StateStore::first_sight`].
    pub fn first_sight(&mut self, item: &str, sight: Sight, wall_ms: i64) -> Option<i64> {
        self.store.first_sight(item, sight, wall_ms)
    }

    /// Ends the first sight of an item: see [`StateStore::seen`].
    pub fn seen(&mut self, item: &str) {
        self.store.seen(item);
    }

    /// Says what an item is called in the metrics.
    pub fn name_item(&mut self, id: ItemId, name: &str) {
        self.metrics.name_item(id, name);
    }

    fn complain(&mut self, problem: &FileError, now: Nanos) {
        self.metrics.file_error(problem, now);
        self.notes.file_error(problem, now);
    }
}

impl<R: Reads, F: Files, W: Watches> Driver<R, KafkaSink, F, W> {
    /// What has to be done about once a second.
    pub fn tick(&mut self, now: Nanos) {
        self.files.tick(now);
        self.sink.starve(self.engine.is_starved());
        self.sink.tick(now);
    }

    /// Another connection to Kafka: what is in flight in the old one is read again.
    pub fn replace_sink(&mut self, sink: KafkaSink, now: Nanos) {
        let mut old = std::mem::replace(&mut self.sink, sink);
        old.give_up();
        self.take_deliveries(&mut old, now);
    }

    /// Ends everything: what Kafka has acknowledged until now is remembered for certain.
    ///
    /// # Errors
    /// The state could not be written.
    pub fn close(mut self, moment: Moment) -> Result<(), StateError> {
        self.sink.shutdown(Duration::ZERO);
        while let Some(delivery) = self.sink.poll_delivery() {
            self.metrics.delivered(&delivery, moment.now);
            self.engine.handle_delivery(delivery, moment.now);
        }
        while let Some(op) = self.engine.poll_op(moment.now) {
            if matches!(op, Op::Save { .. } | Op::Forget { .. } | Op::Park { .. }) {
                self.operate(op, moment);
            }
        }
        let Driver { store, reads, .. } = self;
        // To close a file of a mount that hangs takes for ever. The process is about to end anyway.
        std::mem::forget(reads);
        store.close(moment.now)
    }

    fn take_deliveries(&mut self, sink: &mut KafkaSink, now: Nanos) {
        while let Some(delivery) = sink.poll_delivery() {
            self.metrics.delivered(&delivery, now);
            self.engine.handle_delivery(delivery, now);
        }
    }
}
