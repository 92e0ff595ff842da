//! A file system, a broker and a state of a few lines each, driven by a script.
//!
//! `run` lets the engine do all it can at the present time; time passes only with `wait`. After each
//! step the chain of positions is asserted by the engine itself.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::num::NonZeroU64;
use core::time::Duration;

use expect_test::Expect;

use crate::batch::{Batch, Delivery, Outcome, Sink, TrySend};
use crate::checkpoint::Checkpoint;
use crate::discover::{Entry, Listing};
use crate::engine::{Amount, Engine, Note, Op, OpenFailure, Opened, ReadRequest, Start};
use crate::frame::{CarriageReturn, EventUnit, Form, FramePolicy, LongLine};
use crate::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
use crate::position::{Nanos, Position};
use crate::source::{FileId, GUARD_BYTES_MAX, GenerationId, ItemId, SourceId};

pub(super) fn frame_policy() -> FramePolicy {
    FramePolicy {
        line_bytes_max: 100,
        on_long_line: LongLine::Truncate,
        carriage_return: CarriageReturn::Keep,
        multiline_start: None,
        flush_after: None,
        unit: EventUnit::Line,
        include_lines: None,
        exclude_lines: None,
        form: Form::Plain,
    }
}

pub(super) fn item_policy() -> ItemPolicy {
    ItemPolicy {
        name: 7,
        frame: frame_policy(),
        read_from: ReadFrom::Beginning,
        seen_before: false,
        rate_limit: None,
        rate_limit_bytes: None,
        ignore_older: None,
        close_after: None,
        unlinked: UnlinkedHold {
            grace: Duration::from_secs(5),
            undrained_max: None,
            undrained_bytes_max: None,
        },
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        chunks_bytes: 8 << 20,
        open_files: 100,
        sources: 1000,
        rest: Duration::from_millis(2),
        reconcile: Duration::from_secs(10),
    }
}

#[derive(Default)]
struct Broker {
    pending: Vec<Batch>,
    done: VecDeque<Delivery>,
    full: bool,
    away: bool,
    /// The file whose partition takes nothing.
    blocked: Option<String>,
    log: String,
    names: Vec<u64>,
}

impl Sink for Broker {
    fn try_send(&mut self, batch: Batch) -> TrySend {
        if self.away {
            return TrySend::Unavailable(batch);
        }
        if self.blocked.as_deref() == Some(&*batch.origin.path) {
            return TrySend::Blocked(batch);
        }
        if self.full {
            return TrySend::Full(batch);
        }
        let text: Vec<String> = batch
            .events
            .iter()
            .map(|event| String::from_utf8_lossy(batch.event(*event)).into_owned())
            .collect();
        let text = if text.len() > 9 { format!("{} lines", text.len()) } else { text.join("|") };
        self.names.push(batch.id.0);
        writeln!(
            self.log,
            "send #{} {}{:?} {}",
            self.names.len(),
            batch.origin.path,
            batch.span,
            text.escape_debug()
        )
        .unwrap();
        self.pending.push(batch);
        TrySend::Sent
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        self.done.pop_front()
    }
}

/// Bytes that are written as two digits each, spaces aside.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

struct File {
    id: FileId,
    content: Vec<u8>,
    modified_ns: i64,
}

pub(super) struct World {
    engine: Engine,
    item: ItemPolicy,
    limits: Limits,
    files: BTreeMap<u64, File>,
    names: BTreeMap<Vec<u8>, u64>,
    open: BTreeMap<SourceId, u64>,
    saved: BTreeMap<SourceId, Checkpoint>,
    broker: Broker,
    /// Reads that are under way until `finish`; `None`: reads take no time.
    reading: Option<Vec<ReadRequest>>,
    now: Nanos,
    births: u64,
    quiet: bool,
    /// The next listing misses this name: it came while the directory was read.
    overlooked: Option<Vec<u8>>,
    /// Nothing is in the directory but the mount point.
    unmounted: bool,
    /// The engine does nothing yet.
    asleep: bool,
    /// No file can be opened.
    forbidden: bool,
    /// The item of all names that end in `.three` is configured.
    has_third: bool,
}

impl World {
    pub(super) fn new(item: ItemPolicy, limits: Limits) -> World {
        let engine = World::engine(&item, limits, Vec::new());
        World {
            engine,
            item,
            limits,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            open: BTreeMap::new(),
            saved: BTreeMap::new(),
            broker: Broker::default(),
            reading: None,
            now: Nanos(1_000_000_000),
            births: 0,
            quiet: false,
            overlooked: None,
            unmounted: false,
            asleep: false,
            forbidden: false,
            has_third: false,
        }
    }

    fn engine(item: &ItemPolicy, limits: Limits, strays: Vec<Checkpoint>) -> Engine {
        let mut engine = Engine::new(limits, item.frame.buffer_bytes_min(), strays.len() as u64, strays);
        engine.add_item(item.clone());
        // The item of all names that end in `.two`.
        engine.add_item(ItemPolicy { name: item.name + 1, ..item.clone() });
        engine.add_root(Arc::from(&b"/l"[..]));
        engine
    }

    pub(super) fn check(mut self, script: &str, expected: Expect) {
        for command in script.split(';').map(str::trim).filter(|command| !command.is_empty()) {
            self.step(command);
        }
        expected.assert_eq(&self.broker.log);
    }

    /// Answers as a broker that refuses each batch with a `bad` line, until everything is settled: how many
    /// batches it takes, and what is acknowledged.
    pub(super) fn judge(&mut self, script: &str, bad: &str) -> (usize, Vec<String>) {
        self.step(script);
        let mut taken = Vec::new();
        while let Some(batch) = self.broker.pending.first() {
            let text = |event| String::from_utf8_lossy(batch.event(event)).into_owned();
            let lines: Vec<String> = batch.events.iter().map(|event| text(*event)).collect();
            let number = self.broker.names.iter().position(|&id| id == batch.id.0).unwrap() + 1;
            match lines.iter().any(|line| line == bad) {
                true => self.step(&format!("refuse #{number}")),
                false => {
                    self.step(&format!("ack #{number}"));
                    taken.extend(lines);
                }
            }
            self.step("wait 200");
        }
        (self.broker.names.len(), taken)
    }

    pub(super) fn step(&mut self, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let path = format!("/l/{first}").into_bytes();
        match verb {
            "append" | "create" | "bytes" => {
                let text = second.trim_matches('"').replace("\\n", "\n").replace("\\r", "\r");
                let bytes = if verb == "bytes" { unhex(&text) } else { text.into_bytes() };
                let ino = *self.names.entry(path).or_insert_with(|| {
                    self.births += 1;
                    // Inode numbers are handed out again and again; the birth time tells apart.
                    let ino = self.births;
                    let id = FileId { dev: 1, ino: 1 + ino % 2, birth_ns: ino as i64 };
                    self.files.insert(ino, File { id, content: Vec::new(), modified_ns: 0 });
                    ino
                });
                let file = self.files.get_mut(&ino).unwrap();
                file.content.extend_from_slice(&bytes);
                file.modified_ns = self.now.0 as i64;
                self.hint(ino);
            }
            "fill" => {
                let lines: String =
                    (0..second.parse().unwrap()).map(|at| format!("line {at:05}\\n")).collect();
                self.step(&format!("append {first} {lines}"));
            }
            "truncate" => {
                let ino = self.names[&path];
                self.files.get_mut(&ino).unwrap().content.clear();
                self.hint(ino);
            }
            "rename" => {
                let ino = self.names.remove(&path).unwrap();
                self.names.insert(format!("/l/{second}").into_bytes(), ino);
            }
            "link" | "copy" => {
                let ino = self.names[&path];
                let to = format!("/l/{second}");
                if verb == "link" {
                    self.names.insert(to.into_bytes(), ino);
                } else {
                    let content = String::from_utf8(self.files[&ino].content.clone()).unwrap();
                    self.step(&format!("append {second} {}", content.replace('\n', "\\n")));
                }
            }
            "unlink" => drop(self.names.remove(&path)),
            "ack" | "lose" | "divert" | "refuse" => {
                let outcome = match verb {
                    "ack" => Outcome::Acked,
                    "lose" => Outcome::Lost { code: -1 },
                    "divert" => Outcome::Diverted,
                    _ => Outcome::Refused { code: 10 },
                };
                self.deliver(first, outcome);
            }
            "full" => self.broker.full = first == "on",
            "overlook" => self.overlooked = Some(path),
            // The directory cannot be listed: nothing in it is found meanwhile.
            "unmount" | "mount" => self.unmounted = verb == "unmount",
            "sleep" | "wake" => self.asleep = verb == "sleep",
            "forbid" => self.forbidden = first == "on",
            "quiet" => self.quiet = first == "on",
            "block" => self.broker.blocked = (!first.is_empty()).then(|| format!("/l/{first}")),
            "away" => self.broker.away = first == "on",
            "wait" => {
                let wait = Duration::from_millis(first.parse().unwrap());
                let until = self.now + wait;
                while let Some(at) = self.engine.poll_timeout().filter(|&at| at <= until && !self.asleep) {
                    self.now = self.now.max(at);
                    self.run();
                }
                self.now = until;
            }
            "slow" => self.reading = Some(Vec::new()),
            "finish" => {
                for read in self.reading.replace(Vec::new()).expect("reads are slow") {
                    self.finish(read);
                }
            }
            "counts" => self.counts(),
            "hold" => self.engine.hold_reads(self.now + Duration::from_millis(first.parse().unwrap())),
            "pace" => self.engine.pace_bytes(first.parse().ok().and_then(NonZeroU64::new)),
            "waited" => {
                let (engine, item) = (self.engine.counts(), self.engine.item_counts(ItemId(0)));
                let waited = format!("held {:?}, all {:?}, item {:?}", engine.held, engine.paced, item.paced);
                writeln!(self.broker.log, "waited {waited}").unwrap();
            }
            "retire" => self.engine.retire_item(ItemId(0), self.now),
            "restore" => {
                self.engine.change_item(ItemId(0), self.item.clone());
                self.engine.list_all();
            }
            "add" => {
                self.engine.add_item(ItemPolicy { name: self.item.name + 2, ..self.item.clone() });
                self.engine.list_below(b"/l", |_| true);
                self.has_third = true;
            }
            "list" => self.engine.handle_directory_hint(b"/l"),
            "positions" => self.positions(),
            "sight" => {
                let first = self.engine.is_first_sight(ItemId(0));
                writeln!(self.broker.log, "first sight {first}").unwrap();
            }
            "saved" => {
                for checkpoint in self.saved.values() {
                    writeln!(self.broker.log, "saved {:?}", checkpoint.position).unwrap();
                }
            }
            "kill" => {
                let strays = self.saved.values().copied().collect();
                self.engine = World::engine(&self.item, self.limits, strays);
                self.open.clear();
                self.saved.clear();
                self.broker.pending.clear();
                self.broker.log.push_str("kill\n");
            }
            other => panic!("no such step: {other}"),
        }
        if !self.asleep {
            self.run();
            self.assert_balance();
        }
    }

    /// Whatever was read is accounted for, in lines and in bytes.
    fn assert_balance(&self) {
        let counts = self.engine.item_counts(ItemId(0));
        let ends =
            [counts.acked, counts.diverted, counts.filtered, counts.long, counts.refused, counts.vanished];
        let sum = ends.into_iter().chain([counts.replayed, counts.in_flight]).fold(
            Amount::default(),
            |mut sum, amount| {
                sum += amount;
                sum
            },
        );
        assert_eq!(sum, counts.read, "{counts:?}");
    }

    fn hint(&mut self, ino: u64) {
        let sources: Vec<SourceId> =
            self.open.iter().filter(|(_, open)| **open == ino).map(|(id, _)| *id).collect();
        for id in sources {
            self.engine.handle_modified(id);
        }
    }

    fn deliver(&mut self, which: &str, outcome: Outcome) {
        let wanted = which.trim_start_matches('#').parse::<usize>().ok();
        let names = self.broker.names.clone();
        let pending = core::mem::take(&mut self.broker.pending);
        for batch in pending {
            let number = names.iter().position(|&id| id == batch.id.0).unwrap() + 1;
            if wanted.is_none_or(|wanted| wanted == number) {
                self.broker.done.push_back(Delivery { batch, outcome });
            } else {
                self.broker.pending.push(batch);
            }
        }
    }

    /// The counts that are not 0.
    fn counts(&mut self) {
        let counts = self.engine.item_counts(ItemId(0));
        let amounts = [
            ("read", counts.read),
            ("acked", counts.acked),
            ("diverted", counts.diverted),
            ("filtered", counts.filtered),
            ("long", counts.long),
            ("refused", counts.refused),
            ("vanished", counts.vanished),
            ("replayed", counts.replayed),
            ("in flight", counts.in_flight),
            ("truncated", Amount { lines: counts.lines_truncated, bytes: 0 }),
            ("gone", Amount { lines: 0, bytes: counts.bytes_gone }),
        ];
        let moved = amounts.iter().filter(|(_, amount)| *amount != Amount::default());
        let texts: Vec<String> =
            moved.map(|(name, amount)| format!("{name} {}/{}", amount.lines, amount.bytes)).collect();
        writeln!(self.broker.log, "counts {}", texts.join(", ")).unwrap();
    }

    fn positions(&mut self) {
        for status in self.engine.statuses() {
            let [durable, acked, produced, framed, read, size] = status.positions;
            let path = status.path.map_or("-".to_owned(), |path| String::from_utf8_lossy(&path).into_owned());
            writeln!(
                self.broker.log,
                "{path} {durable:?}<={acked:?}<={produced:?}<={framed:?}<={read:?}<={size:?} {}",
                status.state
            )
            .unwrap();
        }
    }

    fn run(&mut self) {
        for round in 0.. {
            assert!(round < 100_000, "the engine does not come to rest");
            let mut busy = false;
            while let Some(op) = self.engine.poll_op(self.now) {
                busy = true;
                self.operate(op);
            }
            while let Some(delivery) = self.broker.poll_delivery() {
                busy = true;
                self.engine.handle_delivery(delivery, self.now);
            }
            self.engine.offer(&mut self.broker, self.now);
            while let Some(read) = self.engine.poll_read(self.now, |_| true) {
                busy = true;
                match &mut self.reading {
                    Some(reading) => reading.push(read),
                    None => self.finish(read),
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn finish(&mut self, mut read: ReadRequest) {
        // Who has closed the file meanwhile takes no notice of what comes back.
        let open = self.open.get(&read.source);
        let content = open.map_or(&[][..], |ino| &self.files[ino].content);
        let from = (read.position.0 as usize).min(content.len());
        let upto = content.len().min(from + read.want);
        read.buffer.extend_from_slice(&content[from..upto]);
        self.engine.handle_read(read, self.now, 0);
        self.engine.offer(&mut self.broker, self.now);
    }

    fn operate(&mut self, op: Op) {
        match op {
            Op::List { directory } => {
                let overlooked = self.overlooked.take();
                let seen = |name: &Vec<u8>| !self.quiet && overlooked.as_ref() != Some(name);
                let listed = self.names.iter().filter(|(name, _)| seen(name));
                let entries = listed.map(|(name, ino)| {
                    let file = &self.files[ino];
                    Entry {
                        path: Arc::from(&name[..]),
                        item: item_of(name, self.has_third),
                        file: file.id,
                        size: file.content.len() as u64,
                        modified_ns: file.modified_ns,
                    }
                });
                let entries = if self.unmounted { Vec::new() } else { entries.collect() };
                let complete = !self.quiet;
                self.engine.handle_device(&directory, if self.unmounted { 9 } else { 1 });
                let listing = Listing { directory, entries, complete };
                if overlooked.is_some() {
                    self.engine.handle_directory_hint(b"/l");
                }
                self.engine.handle_listing(listing, Vec::new(), self.now, self.now.0 as i64);
            }
            Op::Open { source, path, start, .. } => match self.names.get(&path[..]) {
                None => self.engine.handle_open_failed(source, OpenFailure::Vanished, self.now),
                Some(_) if self.forbidden => {
                    self.engine.handle_open_failed(source, OpenFailure::Other, self.now);
                }
                Some(ino) => {
                    let file = &self.files[ino];
                    let position = match start {
                        Start::At(position) => position,
                        Start::Since(time) => Position(first_since(&file.content, time)),
                    };
                    let before = (position.0 as usize).min(file.content.len());
                    let opened = Opened {
                        file: file.id,
                        size: file.content.len() as u64,
                        head: file.content[..file.content.len().min(1024)].to_vec(),
                        position,
                        before: file.content[before.saturating_sub(GUARD_BYTES_MAX)..before].to_vec(),
                    };
                    self.open.insert(source, *ino);
                    self.engine.handle_opened(source, opened, self.now);
                }
            },
            Op::Measure { source } => {
                let size = self.files[&self.open[&source]].content.len() as u64;
                self.engine.handle_measured(source, size);
            }
            Op::Release { source } => drop(self.open.remove(&source)),
            Op::Succeed { old, new } => {
                let ino = self.open.remove(&old).unwrap();
                self.open.insert(new, ino);
            }
            Op::Save { source, checkpoint } => drop(self.saved.insert(source, checkpoint)),
            Op::Park { .. } => {}
            Op::Forget { source, .. } => drop(self.saved.remove(&source)),
            Op::ForgetStray { checkpoint, away } => {
                let why = if away { "away" } else { "stray" };
                writeln!(self.broker.log, "forget {why} {:?}", checkpoint.position).unwrap();
            }
            Op::Note(note) => self.note(&note),
            Op::Watch { .. } | Op::Unwatch { .. } | Op::Arm { .. } => {}
        }
    }

    fn note(&mut self, note: &Note) {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let log = &mut self.broker.log;
        match note {
            Note::Found { path, position, resumed: true } => {
                writeln!(log, "resume {} at {position:?}", text(path))
            }
            Note::Found { path, position, resumed: false } => {
                writeln!(log, "found {} at {position:?}", text(path))
            }
            Note::Renamed { from, to } => writeln!(log, "renamed {} {}", text(from), text(to)),
            Note::Over { path, ending, lost_bytes } => {
                writeln!(log, "over {} {ending:?} lost {lost_bytes}", text(path))
            }
            Note::Replaced { path, position } => writeln!(log, "replaced {} at {position:?}", text(path)),
            Note::Adopted { path, position } => writeln!(log, "adopted {} at {position:?}", text(path)),
            Note::TooManyFiles { path, files } => {
                writeln!(log, "too many files: {files}, as {}", text(path))
            }
            Note::Refused { path, position, code } => {
                writeln!(log, "refused {} at {position:?} code {code}", text(path))
            }
            Note::Replayed { path, position, .. } => {
                writeln!(log, "replay {} from {position:?}", text(path))
            }
        }
        .unwrap();
    }
}

fn item_of(name: &[u8], has_third: bool) -> Option<ItemId> {
    match name.rsplit(|&byte| byte == b'.').next() {
        Some(b"out") => None,
        Some(b"two") => Some(ItemId(1)),
        Some(b"three") => has_third.then_some(ItemId(2)),
        _ => Some(ItemId(0)),
    }
}

/// Where the first line begins that starts with a number of at least `time`; the end if there is none.
fn first_since(content: &[u8], time: i64) -> u64 {
    let text = core::str::from_utf8(content).expect("stories are text");
    let said = |line: &str| line.split([' ', '\n']).next().and_then(|word| word.parse::<i64>().ok());
    let earlier = text.split_inclusive('\n').take_while(|line| said(line).is_none_or(|said| said < time));
    earlier.map(|line| line.len() as u64).sum()
}

/// A generation's name does not matter to any story.
#[test]
fn generations_are_told_apart() {
    let mut engine = Engine::new(limits(), 100, 1, Vec::new());
    engine.add_item(item_policy());
    assert_ne!(GenerationId(0), GenerationId(1));
    assert!(engine.poll_timeout().is_some());
}
