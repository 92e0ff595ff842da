//! Records that are written together: the body of a bulk request, and the records themselves.
//!
//! The records are kept, not copied, until all of them are where they belong: whoever has to give one to the dead
//! letters needs it as it was. Their bytes stay in librdkafka's own buffers.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::document::{Writer, Written};
use crate::ledger::{BatchId, Partition};
use crate::record::Record;

/// Records, in the order in which they came.
#[derive(Debug)]
pub(super) struct Batch<'c> {
    /// Which one.
    pub(super) id: BatchId,
    /// Two lines for each document.
    pub(super) body: Vec<u8>,
    /// Where each document ends in `body`.
    pub(super) ends: Vec<u32>,
    /// The record of each document.
    pub(super) records: Vec<BorrowedMessage<'c>>,
    /// Of each partition the offset behind its last record, those without a document included.
    pub(super) spans: Vec<(Partition, i64)>,
    /// When its first record came.
    pub(super) begun_at: Option<Instant>,
    /// The time of the oldest record, in milliseconds since the Unix epoch.
    pub(super) oldest_ms: i64,
}

impl<'c> Batch<'c> {
    /// One without records.
    #[must_use]
    pub(super) fn new(id: BatchId) -> Batch<'c> {
        Batch {
            id,
            body: Vec::new(),
            ends: Vec::new(),
            records: Vec::new(),
            spans: Vec::new(),
            begun_at: None,
            oldest_ms: i64::MAX,
        }
    }

    /// Takes a record.
    pub(super) fn take(
        &mut self,
        message: BorrowedMessage<'c>,
        writer: &mut Writer,
        now: Instant,
    ) -> Written {
        let next = message.offset() + 1;
        match self.spans.last_mut() {
            Some((last, end)) if last.number == message.partition() && *last.topic == *message.topic() => {
                *end = next
            }
            _ => self.span(message.topic(), message.partition(), next),
        }
        self.begun_at.get_or_insert(now);
        let record = Record::of(&message);
        self.oldest_ms = self.oldest_ms.min(record.timestamp_ms);
        let written = writer.write(&record, &mut self.body);
        if written != Written::Nothing {
            self.ends.push(u32::try_from(self.body.len()).expect("bodies are far smaller than 4 GiB"));
            self.records.push(message);
        }
        written
    }

    fn span(&mut self, topic: &str, number: i32, next: i64) {
        let is_it = |partition: &Partition| partition.number == number && *partition.topic == *topic;
        match self.spans.iter().position(|(partition, _)| is_it(partition)) {
            Some(at) => {
                // To the end, where it is found at once.
                let (partition, _) = self.spans.remove(at);
                self.spans.push((partition, next));
            }
            None => self.spans.push((Partition { topic: Arc::from(topic), number }, next)),
        }
    }

    /// A partition has gone to another member, who reads its records anew. Those of it that are here may be written
    /// all the same, but say nothing about how far we are if it comes back.
    pub(super) fn forget(&mut self, partition: &Partition) {
        self.spans.retain(|(kept, _)| kept != partition);
    }

    /// Whether nothing was taken, not even a record without a document.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.begun_at.is_none()
    }
}
