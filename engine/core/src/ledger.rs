//! Turns out-of-order deliveries into one mark: how far every byte of a source is acknowledged.
//!
//! The ledger knows neither Kafka nor files. It is told of the batches sent and of what became of
//! each, and answers with `acked`. It does not retry: when a batch is lost it waits until nothing of
//! the source is under way any more, and then says from where to send again. There is one ledger for
//! one generation; a truncated file gets a new one, so batches of the old are unknown to it.

use alloc::collections::VecDeque;

use crate::batch::BatchId;
use crate::position::{Nanos, Position, Span};
use crate::source::Guard;

/// A place between two batches, with all that is needed to go on from there.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Mark {
    /// The end of what lies before.
    pub position: Position,
    /// The bytes just before it.
    pub guard: Guard,
    /// It lies inside a line whose rest is to be skipped, see [`crate::frame::Framed::skipping`].
    pub skipping: bool,
}

/// The batches of one source between `acked` and `produced`.
#[derive(Debug)]
pub struct Ledger {
    /// The end of the contiguous prefix that is delivered. Never moves back.
    acked: Mark,
    /// Batches behind `acked` in the order of sending: ids increase, spans touch. The first one is
    /// never delivered. Its memory is kept, so that the steady state allocates nothing.
    entries: VecDeque<Entry>,
    /// Entries whose fate is [`Fate::InFlight`].
    in_flight: usize,
    /// Bytes of their spans.
    in_flight_bytes: u64,
    /// Entries whose fate is [`Fate::Lost`].
    lost: usize,
}

#[derive(Debug)]
struct Entry {
    id: BatchId,
    bytes: u64,
    end: Mark,
    read_at: Nanos,
    fate: Fate,
}

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Fate {
    InFlight,
    Delivered,
    Lost,
}

impl Ledger {
    /// The ledger of a source of which everything before `acked` is done.
    #[must_use]
    pub fn new(acked: Mark) -> Ledger {
        Ledger { acked, entries: VecDeque::new(), in_flight: 0, in_flight_bytes: 0, lost: 0 }
    }

    /// A batch that was read at `read_at` is on its way: `span` begins at [`Ledger::produced`], and `end`
    /// is the mark of its end.
    /// Bytes that were settled without an event (filtered, skipped) are sent and delivered in one go,
    /// under an id of their own, so that they too wait for what lies before them.
    ///
    /// # Panics
    /// When the span does not continue the one before or the id is not a newer one: the chain of
    /// positions is broken, and nothing after it could be trusted.
    pub fn sent(&mut self, id: BatchId, span: Span, end: Mark, read_at: Nanos) {
        let produced = self.produced();
        assert!(span.start == produced, "{id:?} starts at {:?}, produced is {produced:?}", span.start);
        assert!(end.position == span.end, "{id:?} of {span:?} is marked to end at {:?}", end.position);
        let last = self.entries.back().map(|entry| entry.id);
        assert!(last < Some(id), "{id:?} is sent behind {last:?}");
        self.in_flight += 1;
        self.in_flight_bytes += span.bytes();
        self.entries.push_back(Entry { id, bytes: span.bytes(), end, read_at, fate: Fate::InFlight });
    }

    /// A batch is stored, or dropped by a rule that counted it. Answers with the new `acked` when it
    /// has moved. An id that is not in flight is ignored: it belongs to a time before a rewind.
    pub fn delivered(&mut self, id: BatchId) -> Option<Mark> {
        self.resolve(id, Fate::Delivered);
        let mut moved = None;
        while let Some(entry) = self.entries.front().filter(|entry| entry.fate == Fate::Delivered) {
            self.acked = entry.end;
            moved = Some(entry.end);
            self.entries.pop_front();
        }
        moved
    }

    /// A batch is not known to be stored, or has to be sent in another way: it must be read again.
    pub fn lost(&mut self, id: BatchId) {
        if self.resolve(id, Fate::Lost) {
            self.lost += 1;
        }
    }

    /// The mark to read from again, once a batch is lost and the fate of all others is known; batches
    /// delivered behind the lost one are sent again. Until then `None`, and nothing should be sent.
    pub fn rewind(&mut self) -> Option<Mark> {
        if !self.is_lossy() || self.in_flight > 0 {
            return None;
        }
        self.entries.clear();
        self.lost = 0;
        Some(self.acked)
    }

    /// The end of the contiguous prefix that is delivered.
    #[must_use]
    pub fn acked(&self) -> Mark {
        self.acked
    }

    /// The end of what was sent.
    #[must_use]
    pub fn produced(&self) -> Position {
        self.entries.back().map_or(self.acked, |entry| entry.end).position
    }

    /// When the first of what is not acknowledged was read; `None` when all of it is.
    #[must_use]
    pub fn oldest_read_at(&self) -> Option<Nanos> {
        self.entries.front().map(|entry| entry.read_at)
    }

    /// Bytes of the file in batches whose fate is not known yet.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Whether all that was sent is acknowledged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a batch is lost and [`Ledger::rewind`] is due.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.lost > 0
    }

    /// Whether `id` was in flight. Deliveries come mostly in order, so the first entry is tried first.
    fn resolve(&mut self, id: BatchId, fate: Fate) -> bool {
        let at = match self.entries.front() {
            Some(first) if first.id == id => Ok(0),
            _ => self.entries.binary_search_by_key(&id, |entry| entry.id),
        };
        let Some(entry) = at.ok().map(|at| &mut self.entries[at]) else { return false };
        if entry.fate != Fate::InFlight {
            return false;
        }
        entry.fate = fate;
        self.in_flight -= 1;
        self.in_flight_bytes -= entry.bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn mark(position: u64) -> Mark {
        Mark {
            position: Position(position),
            guard: Guard { len: 1, hash: position },
            skipping: position % 2 == 1,
        }
    }

    fn send(ledger: &mut Ledger, id: u64, bytes: usize) {
        let span = Span::of(ledger.produced(), bytes);
        ledger.sent(BatchId(id), span, mark(span.end.0), Nanos(id));
    }

    #[test]
    fn acked_waits_for_the_first_batch_and_then_takes_all() {
        let mut ledger = Ledger::new(mark(5));
        (1..=3).for_each(|id| send(&mut ledger, id, 10));
        assert_eq!(ledger.delivered(BatchId(2)), None);
        assert_eq!((ledger.acked(), ledger.in_flight_bytes()), (mark(5), 20));
        assert_eq!(ledger.oldest_read_at(), Some(Nanos(1)));
        assert_eq!(ledger.delivered(BatchId(1)), Some(mark(25)));
        assert_eq!(ledger.oldest_read_at(), Some(Nanos(3)));
        assert_eq!(ledger.delivered(BatchId(1)), None);
        assert!(!ledger.is_settled());
        assert_eq!(ledger.delivered(BatchId(3)), Some(mark(35)));
        assert!(ledger.is_settled());
        assert_eq!(ledger.oldest_read_at(), None);
        assert_eq!((ledger.in_flight_bytes(), ledger.produced()), (0, Position(35)));
    }

    #[test]
    fn a_lost_batch_is_read_again_when_nothing_is_under_way() {
        let mut ledger = Ledger::new(Mark::default());
        (1..=4).for_each(|id| send(&mut ledger, id, 10));
        ledger.lost(BatchId(2));
        assert_eq!(ledger.delivered(BatchId(3)), None);
        assert_eq!(ledger.delivered(BatchId(1)), Some(mark(10)));
        assert_eq!(ledger.rewind(), None, "4 is under way");
        assert_eq!(ledger.delivered(BatchId(4)), None);
        assert_eq!(ledger.rewind(), Some(mark(10)));
        assert_eq!((ledger.rewind(), ledger.is_settled()), (None, true));
        send(&mut ledger, 5, 30);
        assert_eq!(ledger.delivered(BatchId(2)), None, "it was forgotten with the rewind");
        assert_eq!(ledger.delivered(BatchId(5)), Some(mark(40)));
    }

    #[test]
    fn a_late_delivery_of_an_older_generation_moves_nothing() {
        let mut old = Ledger::new(Mark::default());
        send(&mut old, 1, 10);
        let mut new = Ledger::new(Mark::default());
        send(&mut new, 2, 10);
        assert_eq!(new.delivered(BatchId(1)), None);
        new.lost(BatchId(1));
        assert_eq!((new.acked(), new.is_lossy(), new.in_flight_bytes()), (Mark::default(), false, 10));
    }

    #[test]
    fn the_steady_state_keeps_its_memory() {
        let mut ledger = Ledger::new(Mark::default());
        (0..8).for_each(|id| send(&mut ledger, id, 1));
        let capacity = ledger.entries.capacity();
        for id in 8..10_000 {
            assert!(ledger.delivered(BatchId(id - 8)).is_some());
            send(&mut ledger, id, 1);
        }
        assert_eq!(ledger.entries.capacity(), capacity);
    }

    #[test]
    #[should_panic(expected = "BatchId(2) starts at 11, produced is 10")]
    fn a_gap_between_batches_is_a_bug() {
        let mut ledger = Ledger::new(Mark::default());
        send(&mut ledger, 1, 10);
        ledger.sent(BatchId(2), Span::of(Position(11), 1), mark(12), Nanos(0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send { bytes: usize },
        Deliver { nth: u64 },
        Lose { nth: u64 },
        Rewind,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..20_usize).prop_map(|bytes| Step::Send { bytes }),
            6 => (0..8_u64).prop_map(|nth| Step::Deliver { nth }),
            1 => (0..8_u64).prop_map(|nth| Step::Lose { nth }),
            1 => Just(Step::Rewind),
        ]
    }

    /// The plain model: every byte that was delivered, whatever batch it came with.
    #[derive(Default)]
    struct Model {
        delivered: Vec<bool>,
        /// Spans under way by id.
        in_flight: BTreeMap<u64, Span>,
        lost: Vec<Span>,
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn acked_is_the_end_of_the_contiguous_delivered_prefix(
            steps in prop::collection::vec(any_step(), 0..100),
        ) {
            let (mut ledger, mut model, mut next) = (Ledger::new(mark(0)), Model::default(), 100);
            for step in steps {
                let acked = ledger.acked().position;
                match step {
                    Step::Send { bytes } if !ledger.is_lossy() => {
                        let span = Span::of(ledger.produced(), bytes);
                        send(&mut ledger, next, bytes);
                        model.delivered.resize(span.end.0 as usize, false);
                        model.in_flight.insert(next, span);
                        next += 1;
                    }
                    Step::Send { .. } => {}
                    Step::Deliver { nth } => {
                        let id = next.saturating_sub(nth);
                        let moved = ledger.delivered(BatchId(id));
                        if let Some(span) = model.in_flight.remove(&id) {
                            model.delivered[span.start.0 as usize..span.end.0 as usize].fill(true);
                        }
                        prop_assert!(moved.is_none_or(|mark| mark == ledger.acked()));
                        prop_assert!(moved.is_some() || ledger.acked().position == acked);
                    }
                    Step::Lose { nth } => {
                        let id = next.saturating_sub(nth);
                        ledger.lost(BatchId(id));
                        model.lost.extend(model.in_flight.remove(&id));
                    }
                    Step::Rewind => {
                        let due = !model.lost.is_empty() && model.in_flight.is_empty();
                        prop_assert_eq!(ledger.rewind(), due.then(|| ledger.acked()));
                        if due {
                            model.lost.clear();
                            model.delivered.truncate(acked.0 as usize);
                        }
                    }
                }
                let prefix = model.delivered.iter().take_while(|&&delivered| delivered).count() as u64;
                prop_assert_eq!(ledger.acked(), mark(prefix));
                prop_assert!(ledger.acked().position >= acked);
                let first_lost = model.lost.iter().map(|span| span.start).min();
                prop_assert!(first_lost.is_none_or(|start| ledger.acked().position <= start));
                let in_flight_bytes: u64 = model.in_flight.values().map(|span| span.bytes()).sum();
                prop_assert_eq!(ledger.in_flight_bytes(), in_flight_bytes);
                prop_assert_eq!(ledger.is_lossy(), !model.lost.is_empty());
            }
        }
    }
}
