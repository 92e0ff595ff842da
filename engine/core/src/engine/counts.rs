//! What the engine counts, and how a source stands.
//!
//! Each line that is framed ends as exactly one of the [`Amount`]s of its item, and one that is read
//! again counts again; so the sums hold at any time, see [`ItemCounts`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::AddAssign;
use core::time::Duration;

use super::Engine;
use crate::batch::Batch;
use crate::discover::RawPath;
use crate::frame::{Dropped, Framed, Tally};
use crate::position::{Nanos, Position};
use crate::source::{GenerationId, ItemId, Origin, SourceId};
use crate::tail::State;

/// Counters of the whole engine since its start.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Bytes of unfinished lines and events that were fetched again: the only bytes copied twice.
    pub reread_bytes: u64,
    /// Files that got another name.
    pub rotations: u64,
    /// Generations that ended by truncation or replacement.
    pub truncations: u64,
    /// Reads that brought something, and all reads.
    pub reads_productive: u64,
    /// Reads finished.
    pub reads: u64,
    /// Batches sent.
    pub batches_sent: u64,
    /// Batches lost on the way and read again.
    pub batches_lost: u64,
    /// Time in which a file could have been read, had the process not used its share of the processor.
    pub held: Duration,
    /// Time in which a file could have been read, had the pace of all items allowed it.
    pub paced: Duration,
}

/// Lines and their bytes, terminators included.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Amount {
    /// How many lines.
    pub lines: u64,
    /// How many bytes. Without lines: parts of lines.
    pub bytes: u64,
}

impl Amount {
    /// All of the span of a batch, sent or not.
    pub(super) fn of(batch: &Batch) -> Amount {
        let Dropped { filtered, long, .. } = batch.dropped;
        let lines = batch.lines + filtered.lines + long.lines;
        Amount { lines: lines.into(), bytes: batch.span.bytes() }
    }

    /// All of what a pass settled.
    pub(super) fn of_framed(framed: &Framed) -> Amount {
        let Dropped { filtered, long, .. } = framed.dropped;
        let lines = framed.lines + filtered.lines + long.lines;
        Amount { lines: lines.into(), bytes: framed.settled as u64 }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Amount) {
        self.lines += more.lines;
        self.bytes += more.bytes;
    }
}

impl From<Tally> for Amount {
    fn from(tally: Tally) -> Amount {
        Amount { lines: tally.lines.into(), bytes: tally.bytes.into() }
    }
}

/// Counters of one item since the start, in lines and in bytes:
///
/// ```text
/// read = acked + diverted + filtered + long + refused + vanished + replayed + in flight
/// ```
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemCounts {
    /// What was framed; what is framed again counts again.
    pub read: Amount,
    /// What Kafka has acknowledged.
    pub acked: Amount,
    /// What Kafka refused for good and is kept as dead letters.
    pub diverted: Amount,
    /// What the item's filters left out.
    pub filtered: Amount,
    /// Over-long lines that were dropped, and what was cut off the others.
    pub long: Amount,
    /// What Kafka refused for good, and is kept nowhere else.
    pub refused: Amount,
    /// What was lost on the way and cannot be read again: its file is truncated or gone.
    pub vanished: Amount,
    /// What was lost on the way or given up, and is read again.
    pub replayed: Amount,
    /// What is none of these yet.
    pub in_flight: Amount,
    /// Over-long lines of which the beginning was sent.
    pub lines_truncated: u64,
    /// Lines of containers that could not be unwrapped.
    pub lines_damaged: u64,
    /// Byte sequences that are no character of the item's encoding.
    pub characters_replaced: u64,
    /// Bytes known to be there and never framed, because the file went first.
    pub bytes_gone: u64,
    /// Time in which a file of it could have been read, had its rate limits allowed it.
    pub paced: Duration,
}

/// How something that was in flight ends.
#[derive(Copy, Clone, Debug)]
pub(super) enum Fate {
    Acked,
    Diverted,
    Refused,
    Vanished,
    Replayed,
}

impl ItemCounts {
    pub(super) fn add_framed(&mut self, framed: &Framed) {
        self.read += Amount::of_framed(framed);
        self.in_flight += Amount::of_framed(framed);
    }

    /// A span is settled: what of it was sent ends as `fate`, the rest as dropped. Only now, for a span
    /// that is read again drops the same lines again.
    pub(super) fn settle(&mut self, mut amount: Amount, dropped: Dropped, fate: Fate) {
        for tally in [dropped.filtered, dropped.long] {
            let tally = Amount::from(tally);
            amount.lines -= tally.lines;
            amount.bytes -= tally.bytes;
            self.in_flight.lines -= tally.lines;
            self.in_flight.bytes -= tally.bytes;
        }
        self.filtered += dropped.filtered.into();
        self.long += dropped.long.into();
        self.lines_truncated += u64::from(dropped.truncated);
        self.lines_damaged += u64::from(dropped.damaged);
        self.characters_replaced += u64::from(dropped.replaced);
        self.land(amount, fate);
    }

    /// What was in flight is no longer.
    pub(super) fn land(&mut self, amount: Amount, fate: Fate) {
        self.in_flight.lines -= amount.lines;
        self.in_flight.bytes -= amount.bytes;
        *match fate {
            Fate::Acked => &mut self.acked,
            Fate::Diverted => &mut self.diverted,
            Fate::Refused => &mut self.refused,
            Fate::Vanished => &mut self.vanished,
            Fate::Replayed => &mut self.replayed,
        } += amount;
    }
}

/// What all sources together have before them.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Bytes known to be in the files and not acknowledged.
    pub lag_bytes: u64,
    /// When the oldest of what is in flight was read.
    pub oldest_read_at: Option<Nanos>,
}

/// How one source stands.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Its name in the engine.
    pub id: SourceId,
    /// Its current path, or the last one.
    pub path: Option<RawPath>,
    /// Item, generation and first path.
    pub origin: Arc<Origin>,
    /// The six positions: durable, acked, produced, framed, read, size.
    pub positions: [Position; 6],
    /// Whether a descriptor is open.
    pub open: bool,
    /// What it waits for, in a few words.
    pub state: &'static str,
    /// Failures in a row.
    pub failures: u32,
}

impl Engine {
    /// Counters of the whole engine.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { held: self.hold_waited.total(), paced: self.byte_waited.total(), ..self.counts }
    }

    /// Counters of one item.
    #[must_use]
    pub fn item_counts(&self, item: ItemId) -> ItemCounts {
        let item = &self.items[item.0 as usize];
        ItemCounts { paced: item.waited.total(), ..item.counts }
    }

    /// How many items there are, retired ones included.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.items.len()
    }

    /// Known sources, open files, bytes of chunks that exist.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.tails.len(), self.open_count, self.pool.allocated_bytes())
    }

    /// What all sources together have before them; looks at each.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.tails.iter().fold(Backlog::default(), |sum, (_, tail)| {
            let held = match &tail.state {
                State::Held { batch, .. } => Some(batch.read_at),
                _ => None,
            };
            let oldest = [sum.oldest_read_at, tail.ledger.oldest_read_at(), held];
            Backlog {
                lag_bytes: sum.lag_bytes + tail.lag_bytes(),
                oldest_read_at: oldest.into_iter().flatten().min(),
            }
        })
    }

    /// All sources as they stand.
    #[must_use]
    pub fn statuses(&self) -> Vec<SourceStatus> {
        self.tails.iter().map(|(id, _)| self.status(id).expect("just listed")).collect()
    }

    /// One source as it stands.
    #[must_use]
    pub fn status(&self, id: SourceId) -> Option<SourceStatus> {
        let tail = self.tails.get(id)?;
        let framed = tail.framed.position;
        let produced = match &tail.state {
            State::Held { batch, .. } => batch.span.start,
            _ => framed,
        };
        Some(SourceStatus {
            id,
            path: tail.names.first().cloned(),
            origin: tail.origin.clone(),
            positions: [tail.durable, tail.ledger.acked().position, produced, framed, tail.read(), tail.size],
            open: tail.open,
            state: tail.state.word(),
            failures: tail.failures,
        })
    }

    /// The generation that a path names now.
    #[must_use]
    pub fn generation_at(&self, path: &[u8]) -> Option<GenerationId> {
        let directory = self.directories.get(super::opening::directory_of(path))?;
        self.tails.get(*directory.names.get(path)?).map(|tail| tail.origin.generation)
    }
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            State::Idle => "at end",
            State::WantsOpen => "waiting for a descriptor",
            State::Opening => "opening",
            State::Blocked { .. } => "behind its predecessor",
            State::Suspect { .. } => "possible copy",
            State::Ready => "waiting for its turn",
            State::Reading => "reading",
            State::Resting { .. } => "resting",
            State::Held { .. } => "waiting for kafka's queue",
            State::Throttled => "waiting for acknowledgements",
            State::Ended => "over",
        }
    }
}
