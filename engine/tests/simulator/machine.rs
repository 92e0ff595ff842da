//! The agent's process on its machine: started, turned, killed and started again.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::num::{NonZeroU32, NonZeroU64};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use logdrive::driver::{Driver, Files, Moment, Watches};
use logdrive::fs::{Done, Job};
use logdrive::io::{Read, ReadDone, Reads};
use logdrive::monitor::AgentMetrics;
use logdrive::state::{Sight, StateError, StateStore, Syncer};
use logdrive::watch::Hint;
use logdrive_core::batch::{Batch, Delivery, Outcome, Sink, TrySend};
use logdrive_core::discover::RawPath;
use logdrive_core::engine::Engine;
use logdrive_core::frame::{CarriageReturn, Charset, EventUnit, Form, FramePolicy, LongLine};
use logdrive_core::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
use logdrive_core::position::Nanos;
use logdrive_core::source::{GenerationId, ItemId, SourceId, family_of};

use crate::judge::{Judge, LINE_BYTES_MAX};
use crate::random::Random;
use crate::state_disk::Disk;
use crate::world::{DIRECTORY, WIDE_ITEM, World};

pub(crate) const PARTITIONS: usize = 3;
const IN_FLIGHT_MAX: usize = 12;
const CHUNKS_BYTES: usize = 2 << 20;

/// Kafka with its producer: what it was given, in order, for each partition.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    partitions: [VecDeque<Batch>; PARTITIONS],
    done: VecDeque<Delivery>,
    pub(crate) full: bool,
    pub(crate) away: bool,
    pub(crate) blocked: Option<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Everything {
    pub(crate) world: World,
    pub(crate) broker: Broker,
    pub(crate) judge: Judge,
}

type Shared = Rc<RefCell<Everything>>;

/// The driver's view of the simulated world: one of these for each of its four parts.
#[derive(Debug)]
pub(crate) struct Part {
    all: Shared,
    files: BTreeMap<SourceId, OwnedFd>,
}

impl Reads for Part {
    fn adopt(&mut self, source: SourceId, fd: OwnedFd) {
        self.all.borrow_mut().world.adopt(source, &fd);
        self.files.insert(source, fd);
    }
    fn fd(&self, source: SourceId) -> Option<BorrowedFd<'_>> {
        self.files.get(&source).map(AsFd::as_fd)
    }
    fn release(&mut self, source: SourceId) {
        self.files.remove(&source);
        self.all.borrow_mut().world.release(source);
    }
    fn closing(&self) -> usize {
        0
    }
    fn ready(&self) -> bool {
        self.all.borrow().world.reads.len() < 8
    }
    fn admits(&self, _source: SourceId) -> bool {
        self.ready()
    }
    fn submit(&mut self, read: Read) {
        self.all.borrow_mut().world.reads.push(read);
    }
    fn poll_done(&mut self) -> Option<ReadDone> {
        self.all.borrow_mut().world.reads_done.pop_front()
    }
}

impl Files for Part {
    fn submit(&mut self, job: Job) {
        self.all.borrow_mut().world.submit(job);
    }
    fn poll_done(&mut self) -> Option<Done> {
        self.all.borrow_mut().world.jobs_done.pop_front()
    }
    fn tick(&mut self, _now: Nanos) {}
}

impl Watches for Part {
    type Error = Infallible;
    fn directory(&mut self, _path: &RawPath) -> Result<(), Infallible> {
        self.all.borrow_mut().world.watch();
        Ok(())
    }
    fn forget(&mut self, _path: &RawPath) {}
    fn arm(&mut self, source: SourceId, file: BorrowedFd<'_>) -> Result<(), Infallible> {
        self.all.borrow_mut().world.arm(source, file);
        Ok(())
    }
    fn disarm(&mut self, source: SourceId) {
        self.all.borrow_mut().world.disarm(source);
    }
    fn catch_up(&mut self) {}
    fn poll_hint(&mut self) -> Option<Hint> {
        self.all.borrow_mut().world.hints.pop_front()
    }
}

impl Sink for Part {
    fn try_send(&mut self, batch: Batch) -> TrySend {
        let Everything { broker, judge, .. } = &mut *self.all.borrow_mut();
        let blocked =
            |base: u8| batch.origin.family == family_of(["/l/a.log", "/l/b.log", "/l/c.log"][base as usize]);
        if broker.away {
            return TrySend::Unavailable(batch);
        }
        if broker.blocked.is_some_and(blocked) {
            return TrySend::Blocked(batch);
        }
        // What is lost or refused, and not told yet, is in a producer that takes no more.
        if broker.done.iter().any(|delivery| delivery.outcome != Outcome::Acked) {
            return TrySend::Full(batch);
        }
        if broker.full || broker.partitions.iter().map(VecDeque::len).sum::<usize>() >= IN_FLIGHT_MAX {
            return TrySend::Full(batch);
        }
        judge.sent(&batch);
        broker.partitions[(batch.origin.family % PARTITIONS as u64) as usize].push_back(batch);
        TrySend::Sent
    }
    fn poll_delivery(&mut self) -> Option<Delivery> {
        self.all.borrow_mut().broker.done.pop_front()
    }
}

impl Broker {
    /// Stores and acknowledges up to `count` batches of one partition, in order. The news of them may
    /// come in another order.
    fn ack(&mut self, judge: &mut Judge, partition: usize, count: usize, random: &mut Random) -> Vec<Excuse> {
        let mut excuses = Vec::new();
        let count = count.min(self.partitions[partition].len());
        let batches: Vec<Batch> = self.partitions[partition].drain(..count).collect();
        let turned = random.percent(20);
        for batch in batches {
            let outcome = if judge.is_poisoned(&batch) {
                excuses.push((batch.source, batch.origin.generation));
                Outcome::Refused { code: 87 }
            } else {
                judge.stored(&batch);
                Outcome::Acked
            };
            let delivery = Delivery { batch, outcome };
            if turned { self.done.push_front(delivery) } else { self.done.push_back(delivery) }
        }
        excuses
    }

    /// A partition's producer gives up: a prefix is stored, the rest is not, and little of it is known.
    fn lose(&mut self, judge: &mut Judge, partition: usize, random: &mut Random) -> Vec<Excuse> {
        let batches = std::mem::take(&mut self.partitions[partition]);
        let stored = random.below(batches.len() + 1);
        let mut excuses = Vec::new();
        for (at, batch) in batches.into_iter().enumerate() {
            let kept = at < stored && !judge.is_poisoned(&batch);
            if kept {
                judge.stored(&batch);
            }
            excuses.push((batch.source, batch.origin.generation));
            let outcome =
                if kept && random.percent(50) { Outcome::Acked } else { Outcome::Lost { code: -195 } };
            self.done.push_back(Delivery { batch, outcome });
        }
        excuses
    }

    /// The process that holds the queues is gone.
    fn forget_process(&mut self, judge: &mut Judge, random: &mut Random) {
        self.done.clear();
        for partition in &mut self.partitions {
            let stored = random.below(partition.len() + 1);
            for batch in partition.drain(..).take(stored) {
                if judge.is_poisoned(&batch) {
                    break;
                }
                judge.stored(&batch);
            }
        }
    }
}

/// Of whom more than what was lost will be sent again.
type Excuse = (SourceId, GenerationId);

/// How a process ends.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Crash {
    Kill,
    PowerCut,
}

pub(crate) struct Machine {
    pub(crate) all: Shared,
    pub(crate) disk: Disk,
    driver: Option<Driver<Part, Part, Part, Part>>,
    syncer: Option<Syncer>,
    limits: Limits,
    /// Of each item: how many hundred lines a second it may send at most, 0 for any number.
    paces: [u8; 2],
    pub(crate) now: u64,
    started: u64,
    starts: u64,
    /// Operations of the disk before the last turn.
    ops_before: usize,
    pub(crate) turns: u64,
    /// Turns in a row that ended with a wish to be called again at once, though nothing was done.
    restless: u32,
}

fn policy(item: usize, pace: u8, is_wide: bool) -> ItemPolicy {
    ItemPolicy {
        name: 70 + item as u64,
        frame: FramePolicy {
            line_bytes_max: LINE_BYTES_MAX,
            on_long_line: LongLine::Truncate,
            carriage_return: CarriageReturn::Keep,
            multiline_start: None,
            flush_after: None,
            unit: EventUnit::Line,
            include_lines: None,
            exclude_lines: None,
            form: match is_wide && item == WIDE_ITEM {
                true => Form::Encoded(Charset::named("utf-16").expect("a label")),
                false => Form::Plain,
            },
        },
        read_from: ReadFrom::Beginning,
        seen_before: true,
        // One item is paced by lines, the other by bytes.
        rate_limit: NonZeroU32::new(100 * u32::from(pace)).filter(|_| item == 0),
        rate_limit_bytes: NonZeroU64::new(2_000 * u64::from(pace)).filter(|_| item != 0),
        ignore_older: None,
        close_after: None,
        unlinked: UnlinkedHold {
            grace: Duration::from_secs(5),
            undrained_max: None,
            undrained_bytes_max: None,
        },
    }
}

impl Machine {
    pub(crate) fn new(random: &mut Random) -> Machine {
        let all = Shared::default();
        {
            let world = &mut all.borrow_mut().world;
            world.has_births = random.percent(80);
            world.device = 1;
            world.wall_ns = 1_700_000_000_000_000_000;
        }
        let limits = Limits {
            chunks_bytes: CHUNKS_BYTES,
            open_files: if random.percent(25) { 2 } else { 100 },
            sources: 1000,
            rest: Duration::from_millis(4),
            reconcile: Duration::from_secs(10),
        };
        let mut machine = Machine {
            all,
            disk: Disk::default(),
            driver: None,
            syncer: None,
            limits,
            paces: [0; 2],
            now: 1_000_000_000,
            started: 0,
            starts: 0,
            ops_before: 0,
            turns: 0,
            restless: 0,
        };
        machine.start();
        machine
    }

    /// What an item is told.
    fn policy(&self, item: usize) -> ItemPolicy {
        policy(item, self.paces[item], self.all.borrow().world.is_wide)
    }

    /// Starts the agent on what the state's disk holds.
    fn start(&mut self) -> BTreeMap<GenerationId, u64> {
        self.starts += 1;
        self.started = self.now;
        self.restless = 0;
        let open = || StateStore::open_on(Arc::new(self.disk.clone()), Path::new("/state"));
        // A first start on a disk that takes nothing ends; it is made again when the disk is well.
        let opened = open().or_else(|error| {
            assert!(matches!(error, StateError::Io { .. }), "the state cannot be opened: {error}");
            self.disk.mend();
            open()
        });
        let (store, slots, syncer) =
            opened.unwrap_or_else(|error| panic!("the state cannot be opened: {error}"));
        let found = slots.iter().map(|(_, held)| (held.generation, held.position.0)).collect();
        let strays = slots.iter().map(|(_, checkpoint)| *checkpoint).collect();
        let line_buffers = [0, 1].map(|item| self.policy(item).frame.buffer_bytes_min());
        let line_buffer_max = line_buffers.into_iter().max().expect("of two");
        let mut engine = Engine::new(self.limits, line_buffer_max, self.starts, strays);
        for item in 0..2 {
            engine.add_item(self.policy(item));
            if self.all.borrow().world.retired[item] {
                engine.retire_item(ItemId(item as u32), Nanos(0));
            }
        }
        engine.add_root(DIRECTORY.into());
        let part = || Part { all: self.all.clone(), files: BTreeMap::new() };
        let slots = slots.iter().map(|(slot, checkpoint)| (checkpoint.generation.0, *slot));
        let world = (part(), part(), part(), Some(part()));
        let mut driver = Driver::new(engine, world, store, slots, AgentMetrics::default());
        driver.first_sight("a", Sight::Once, 0);
        (self.driver, self.syncer) = (Some(driver), Some(syncer));
        found
    }

    fn driver(&mut self) -> &mut Driver<Part, Part, Part, Part> {
        self.driver.as_mut().expect("the agent runs between two steps")
    }

    /// How the sources stand, for the report of a failure.
    pub(crate) fn statuses(&mut self) -> String {
        let of = |status: logdrive_core::engine::SourceStatus| {
            format!(
                "{} {:?} {}, {} failures; ",
                status.origin.path, status.positions, status.state, status.failures
            )
        };
        self.driver().engine.statuses().into_iter().map(of).collect()
    }

    pub(crate) fn is_caught_up(&mut self) -> bool {
        self.driver().engine.is_caught_up()
    }

    /// How many generations are remembered, and how many files are known.
    pub(crate) fn remembered(&mut self) -> (usize, usize) {
        (self.driver().store().slots_in_use(), self.driver().engine.statuses().len())
    }

    /// One turn, and what must hold after it.
    pub(crate) fn turn(&mut self) {
        self.ops_before = self.disk.ops();
        self.turns += 1;
        let moment = Moment { now: Nanos(self.now - self.started), wall_ns: self.all.borrow().world.wall_ns };
        let more = self.driver().turn(moment);
        let (wakes_at, (_, open, bytes)) = (self.driver().timeout(), self.driver().engine.sizes());
        self.restless = if !more && wakes_at <= moment.now { self.restless + 1 } else { 0 };
        let all = self.all.clone();
        let Everything { world, judge, .. } = &mut *all.borrow_mut();
        if self.restless > 3 {
            judge.condemn(format!(
                "the agent spins: at {:?} it wants to be woken at {wakes_at:?}",
                moment.now
            ));
        }
        if bytes > CHUNKS_BYTES || open > self.limits.open_files.max(1) {
            judge.condemn(format!("B: {bytes} bytes of chunks, {open} files open"));
        }
        for (source, inode, seen) in world.take_released() {
            let over = self.driver().engine.status(source).is_none_or(|status| status.state == "over");
            // With few descriptors a file is closed for another's sake, and may be gone when it is wanted.
            if over
                && self.limits.open_files > 2
                && !world.retired.contains(&true)
                && let Some(line) = judge.missing(&world.inodes[inode].lines, seen)
            {
                judge.condemn(format!("L: a deleted file was closed before {line:?} had arrived"));
            }
        }
    }

    /// Some work is finished, then a turn is taken.
    pub(crate) fn pump(&mut self, random: &mut Random) {
        self.all.borrow_mut().world.work(Some(random));
        if random.percent(30) {
            self.sync();
        }
        self.turn();
    }

    fn sync(&mut self) {
        while self.syncer.as_ref().is_some_and(Syncer::step) {}
    }

    /// Everything but Kafka comes to rest, and time passes.
    pub(crate) fn wait(&mut self, nanos: u64) {
        let until = self.now + nanos;
        for _ in 0..20_000 {
            self.all.borrow_mut().world.work(None);
            self.sync();
            self.turn();
            let idle = {
                let world = &self.all.borrow().world;
                world.reads_done.is_empty() && world.reads.is_empty() && !world.has_jobs()
            };
            if !idle {
                continue;
            }
            let at = self.started.saturating_add(self.driver().timeout().0);
            if at >= until || self.all.borrow().judge.wrong.is_some() {
                break;
            }
            self.pass(at.max(self.now) - self.now);
        }
        self.pass(until - self.now);
    }

    pub(crate) fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        self.all.borrow_mut().world.wall_ns += nanos as i64;
    }

    pub(crate) fn ack(&mut self, count: usize, random: &mut Random) {
        let partition = random.below(PARTITIONS);
        let all = self.all.clone();
        let Everything { broker, judge, .. } = &mut *all.borrow_mut();
        let excuses = broker.ack(judge, partition, count, random);
        self.excuse(judge, &excuses);
    }

    /// Kafka takes everything that is under way; whether there was anything.
    pub(crate) fn ack_all(&mut self) -> bool {
        let all = self.all.clone();
        let Everything { broker, judge, .. } = &mut *all.borrow_mut();
        let any = broker.partitions.iter().any(|partition| !partition.is_empty());
        for partition in 0..PARTITIONS {
            let excuses = broker.ack(judge, partition, usize::MAX, &mut Random::of(0));
            self.excuse(judge, &excuses);
        }
        any
    }

    pub(crate) fn lose(&mut self, partition: usize, random: &mut Random) {
        let all = self.all.clone();
        let Everything { broker, judge, .. } = &mut *all.borrow_mut();
        let excuses = broker.lose(judge, partition, random);
        self.excuse(judge, &excuses);
    }

    fn excuse(&mut self, judge: &mut Judge, excuses: &[Excuse]) {
        for &(source, generation) in excuses {
            if let Some(status) = self.driver().engine.status(source) {
                judge.excuse_behind(generation, status.positions[1].0);
            }
        }
    }

    pub(crate) fn retire(&mut self, item: usize) {
        let now = Nanos(self.now - self.started);
        self.all.borrow_mut().world.retire(item);
        self.driver().engine.retire_item(ItemId(item as u32), now);
        self.driver().engine.list_all();
    }

    /// The files of an item are in UTF-16, if there is none yet. Without birth times an empty file may be taken for one
    /// of the other item, and nothing in it tells.
    pub(crate) fn widen(&mut self) {
        let may_be = {
            let world = &mut self.all.borrow_mut().world;
            let may_be = world.has_births && world.inodes.is_empty();
            world.is_wide |= may_be;
            may_be
        };
        if may_be {
            self.reload(WIDE_ITEM, self.paces[WIDE_ITEM]);
        }
    }

    /// Another configuration of an item is in force.
    pub(crate) fn reload(&mut self, item: usize, pace: u8) {
        self.paces[item] = pace;
        if !self.all.borrow().world.retired[item] {
            let policy = self.policy(item);
            self.driver().engine.change_item(ItemId(item as u32), policy);
            self.driver().engine.list_all();
        }
    }

    pub(crate) fn restore(&mut self, item: usize) {
        if std::mem::take(&mut self.all.borrow_mut().world.retired[item]) {
            let policy = self.policy(item);
            self.driver().engine.change_item(ItemId(item as u32), policy);
            self.driver().engine.list_all();
        }
    }

    /// The process ends without a word, and another one starts.
    pub(crate) fn crash(&mut self, crash: Crash, random: &mut Random) {
        let healthy = self.driver().store().is_healthy();
        let statuses = self.driver().engine.statuses();
        let ops = self.disk.ops();
        let midway = random.percent(30) && self.ops_before < ops;
        let at = if midway { self.ops_before + random.below(ops - self.ops_before) } else { ops };
        let disk = match crash {
            Crash::Kill => self.disk.after_kill(at),
            Crash::PowerCut => {
                Disk::holding(&self.disk.powered_off_once(at, |choices| random.below(choices + 1)))
            }
        };
        (self.driver, self.syncer) = (None, None);
        {
            let Everything { world, broker, judge } = &mut *self.all.borrow_mut();
            world.forget_process();
            broker.forget_process(judge, random);
        }
        self.disk = disk;
        let found = self.start();
        let judge = &mut self.all.borrow_mut().judge;
        for status in statuses {
            let [durable, acked, ..] = status.positions;
            let promised = if crash == Crash::Kill && healthy && !midway { acked } else { durable };
            let position = found.get(&status.origin.generation).copied().unwrap_or(0);
            if position < promised.0 && status.state != "over" {
                let path = &status.origin.path;
                judge.condemn(format!("S: after {crash:?} {path} is at {position}, and was at {promised:?}"));
            }
        }
        for generation in judge.generations() {
            judge.excuse_behind(generation, found.get(&generation).copied().unwrap_or(0));
        }
    }
}
