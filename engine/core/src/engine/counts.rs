//! What the engine counts, and how a source stands.
//!
//! For every item, read = acked + dropped + replayed + in flight, in lines: each line that is framed
//! ends as exactly one of them, and one that is read again counts again.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Engine;
use crate::discover::RawPath;
use crate::frame::Dropped;
use crate::position::Position;
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
}

/// Counters of one item since the start.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemCounts {
    /// Lines framed.
    pub lines_read: u64,
    /// Bytes settled by framing, terminators included.
    pub bytes_read: u64,
    /// Lines acknowledged by Kafka.
    pub lines_acked: u64,
    /// Bytes of files that were acknowledged.
    pub bytes_acked: u64,
    /// Lines that the item's filters left out.
    pub lines_filtered: u64,
    /// Bytes of them.
    pub bytes_filtered: u64,
    /// Over-long lines that were dropped whole.
    pub lines_long: u64,
    /// Bytes of over-long lines that were not sent.
    pub bytes_long: u64,
    /// Over-long lines of which the beginning was sent.
    pub lines_truncated: u64,
    /// Lines that Kafka refused for good.
    pub lines_refused: u64,
    /// Bytes of them.
    pub bytes_refused: u64,
    /// Lines that were lost on the way and read again.
    pub lines_replayed: u64,
    /// Lines sent and not yet settled.
    pub lines_in_flight: u64,
    /// Bytes known to be there and never read, because the file went first.
    pub bytes_gone: u64,
}

impl ItemCounts {
    pub(super) fn add_dropped(&mut self, dropped: Dropped) {
        self.lines_filtered += u64::from(dropped.filtered.lines);
        self.bytes_filtered += dropped.filtered.bytes;
        self.lines_long += u64::from(dropped.long.lines);
        self.bytes_long += dropped.long.bytes;
        self.lines_truncated += u64::from(dropped.truncated);
    }
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
    /// What it waits for, in a word.
    pub state: &'static str,
}

impl Engine {
    /// Counters of the whole engine.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Counters of one item.
    #[must_use]
    pub fn item_counts(&self, item: ItemId) -> ItemCounts {
        self.items[item.0 as usize].counts
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

    /// Sums over all sources: bytes not yet acknowledged, bytes in flight.
    #[must_use]
    pub fn lag(&self) -> (u64, u64) {
        self.tails.iter().fold((0, 0), |(lag, flight), (_, tail)| {
            (lag + tail.lag_bytes(), flight + tail.ledger.in_flight_bytes())
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
