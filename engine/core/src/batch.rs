//! What moves from the files to Kafka: events inside one shared chunk, with their span of the file.
//!
//! A batch is never a list of byte strings: it is offsets into one shared buffer, so that building it
//! costs no allocation and no atomic per line. It carries its own progress (`span`), so that whoever
//! learns of its fate needs to know nothing else.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::frame::{Detail, Dropped};
use crate::position::{Nanos, Position, Span};
use crate::source::{Origin, SourceId};

/// Names a batch; increasing in the order of creation, never reused within a process.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct BatchId(pub u64);

/// One event (a line, a multiline event, or under `framing = "chunk"` a run of lines): a contiguous
/// range of the batch's bytes without its final terminator.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Event {
    /// Offset into [`Batch::bytes`].
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Events of one source, to be sent in order to one partition.
#[derive(Debug)]
pub struct Batch {
    /// Its name in deliveries.
    pub id: BatchId,
    /// The generation that it came from.
    pub source: SourceId,
    /// Path, item and family of that generation.
    pub origin: Arc<Origin>,
    /// What of the file is settled when every event is: includes lines that were filtered out.
    pub span: Span,
    /// The bytes of `span`, exactly: byte 0 is at `span.start`. With `details`: what was copied out of them.
    pub bytes: Bytes,
    /// The events, in order, not overlapping; never empty.
    pub events: Vec<Event>,
    /// For each event where it comes from, if it was copied out of the file; else empty.
    pub details: Vec<Detail>,
    /// How many source lines the events hold; equals `events.len()` unless events span lines.
    pub lines: u32,
    /// What of `span` is not sent, by reason: settled, and counted, together with the events.
    pub dropped: Dropped,
    /// When they were read, on the monotonic clock.
    pub read_at: Nanos,
    /// Wall clock at which the lines were read, milliseconds since the epoch: the record timestamp.
    pub read_at_ms: i64,
}

impl Batch {
    /// Where the `index`-th event begins in the file.
    #[must_use]
    pub fn place(&self, index: usize) -> Position {
        let start = self.details.get(index).map_or(self.events[index].start, |detail| detail.place);
        self.span.start.plus(start as usize)
    }

    /// The bytes of one event.
    #[must_use]
    pub fn event(&self, event: Event) -> &[u8] {
        &self.bytes[event.start as usize..(event.start + event.len) as usize]
    }
}

/// What became of a batch. Everything that is not an acknowledgement by Kafka is one of the others:
/// "queued" is no outcome.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Outcome {
    /// Every event is acknowledged as `acks` demands.
    Acked,
    /// Kafka refuses at least one event for good (too large, invalid). A batch of several events is
    /// read again and sent in halves; a single event falls under the item's policy.
    Refused {
        /// Kafka's error code.
        code: i32,
    },
    /// Kafka refuses the only event for good, and a copy of it is safe elsewhere: a dead letter.
    Diverted,
    /// Not known to be stored: the source is read again from `acked`.
    Lost {
        /// Kafka's (or librdkafka's) error code.
        code: i32,
    },
}

/// A batch comes back with its outcome, so that its memory can be used again.
#[derive(Debug)]
pub struct Delivery {
    /// The batch as it was sent.
    pub batch: Batch,
    /// What became of it.
    pub outcome: Outcome,
}

/// The answer to an attempt to send; refusal hands the batch back.
#[derive(Debug)]
pub enum TrySend {
    /// Taken; a [`Delivery`] will follow.
    Sent,
    /// The queue is full. Try the same batch again after the next delivery or ring of the bell.
    Full(Batch),
    /// The topic is not to be had now: the batch is not kept, its lines are read again later.
    Unavailable(Batch),
    /// Its partition takes nothing now, others may: as [`TrySend::Unavailable`], but for its file alone.
    Blocked(Batch),
}

/// Where batches go: librdkafka, later a producer of our own, and the simulator's broker.
pub trait Sink {
    /// Sends all events of a batch to one partition, in order, behind everything sent before.
    fn try_send(&mut self, batch: Batch) -> TrySend;

    /// The next finished batch, in the order in which they finished.
    fn poll_delivery(&mut self) -> Option<Delivery>;
}
