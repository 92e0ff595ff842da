//! Batches to the sink, deliveries back, and what is worth remembering.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::counts::{Amount, Fate};
use super::{Engine, Note, Op};
use crate::batch::{Batch, BatchId, Delivery, Event, Outcome, Sink, TrySend};
use crate::checkpoint::Checkpoint;
use crate::frame::Detail;
use crate::ledger::Mark;
use crate::position::{Nanos, Position};
use crate::source::{GenerationId, SourceId};
use crate::tail::State;

/// How long an item is left alone whose topic is not to be had.
const UNAVAILABLE_NANOS: u64 = 100_000_000;
/// How long a file is left alone whose partition takes nothing.
const BLOCKED_NANOS: u64 = 200_000_000;
/// With more lines in flight the next delivery is awaited.
const NAP_LINES_MAX: u64 = 16 * 1024;
/// Event lists that are kept for use again.
const SPARE_EVENTS_MAX: usize = 256;

impl Engine {
    /// Offers the sink all batches that wait, in order, until it is full.
    pub fn offer<S: Sink>(&mut self, sink: &mut S, now: Nanos) {
        while let Some(id) = self.held.pop_front() {
            let Some(tail) = self.tails.get_mut(id) else { continue };
            if !matches!(tail.state, State::Held { .. }) {
                continue;
            }
            let State::Held { batch, before } = core::mem::replace(&mut tail.state, State::Ready) else {
                continue;
            };
            if tail.ledger.is_lossy() {
                // What it follows is lost: it is read again behind that.
                tail.framed = before;
                tail.unsettled = 0;
                tail.state = State::Throttled;
                self.give_up(batch);
                continue;
            }
            let (batch_id, span, mark, read_at) = (batch.id, batch.span, tail.framed, batch.read_at);
            match sink.try_send(batch) {
                TrySend::Sent => {
                    if tail.ledger.is_settled() {
                        tail.answered_at = now;
                    }
                    tail.ledger.sent(batch_id, span, mark, read_at);
                    self.counts.batches_sent += 1;
                    self.proceed(id, now);
                }
                TrySend::Full(batch) => {
                    tail.state = State::Held { batch, before };
                    self.held.push_front(id);
                    return;
                }
                TrySend::Unavailable(batch) => {
                    let until = Nanos(now.0 + UNAVAILABLE_NANOS);
                    self.items[batch.origin.item.0 as usize].away_until = until;
                    self.unread(id, batch, before, until);
                }
                TrySend::Blocked(batch) => {
                    self.unread(id, batch, before, Nanos(now.0 + BLOCKED_NANOS));
                }
            }
        }
    }

    /// A batch that has nowhere to go is forgotten and will be read again.
    fn unread(&mut self, id: SourceId, batch: Batch, before: Mark, until: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.framed = before;
        tail.unsettled = 0;
        self.give_up(batch);
        self.rest(id, until);
    }

    /// A batch that was never sent is forgotten; its lines will be read again.
    pub(super) fn give_up(&mut self, batch: Batch) {
        let counts = &mut self.items[batch.origin.item.0 as usize].counts;
        counts.land(Amount::of(&batch), Fate::Replayed);
        self.recycle(batch);
    }

    fn recycle(&mut self, batch: Batch) {
        drop(batch.bytes);
        self.spare(batch.events, batch.details);
    }

    /// Keeps lists for use again.
    pub(super) fn spare(&mut self, mut events: Vec<Event>, mut details: Vec<Detail>) {
        if self.spare_events.len() < SPARE_EVENTS_MAX {
            events.clear();
            self.spare_events.push(events);
        }
        if details.capacity() > 0 && self.spare_details.len() < SPARE_EVENTS_MAX {
            details.clear();
            self.spare_details.push(details);
        }
    }

    /// Takes a batch back from Kafka.
    pub fn handle_delivery(&mut self, delivery: Delivery, now: Nanos) {
        let Delivery { batch, outcome } = delivery;
        let (id, batch_id, span, amount) = (batch.source, batch.id, batch.span, Amount::of(&batch));
        let dropped = batch.dropped;
        let events = batch.events.len();
        let item = batch.origin.item.0 as usize;
        self.recycle(batch);
        let counts = &mut self.items[item].counts;
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.answered_at = now;
        match outcome {
            Outcome::Acked => {
                counts.settle(amount, dropped, Fate::Acked);
                if span.start < tail.cautious_until {
                    tail.cautious_events = tail.cautious_events.saturating_mul(2);
                }
                self.settle_span(id, batch_id);
            }
            Outcome::Diverted => {
                counts.settle(amount, dropped, Fate::Diverted);
                self.settle_span(id, batch_id);
            }
            Outcome::Refused { code } if events == 1 || tail.is_smallest(span.start) => {
                counts.settle(amount, dropped, Fate::Refused);
                let path = tail.names.first().cloned();
                let path = path.unwrap_or_else(|| Arc::from(tail.origin.path.as_bytes()));
                self.ops.push_back(Op::Note(Note::Refused { path, position: span.start, code }));
                self.settle_span(id, batch_id);
            }
            Outcome::Refused { code } => {
                tail.lost += amount;
                tail.cautious_until = tail.cautious_until.max(span.end);
                tail.cautious_events = events / 2;
                tail.lost_code = code;
                tail.ledger.lost(batch_id);
            }
            Outcome::Lost { code } => {
                tail.lost += amount;
                tail.lost_on_the_way = true;
                self.counts.batches_lost += 1;
                tail.lost_code = code;
                tail.ledger.lost(batch_id);
            }
        }
        self.after_delivery(id, now);
    }

    /// Takes a settled span into the ledger, and has the checkpoint saved if `acked` moved.
    pub(super) fn settle_span(&mut self, id: SourceId, batch: BatchId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if let Some(mark) = tail.ledger.delivered(batch) {
            tail.trail.add(mark);
            self.mark_unsaved(id);
        }
    }

    /// Whether something could go on at once if deliveries came in.
    #[must_use]
    pub fn awaits_deliveries(&self) -> bool {
        let in_flight = || self.items.iter().map(|item| item.counts.in_flight.lines).sum::<u64>();
        self.draining
            || !self.held.is_empty()
            || self.schedule.ready_count() > 0
            || in_flight() > NAP_LINES_MAX
    }

    fn after_delivery(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if let Some(mark) = tail.ledger.rewind() {
            self.read_again(id, mark, now);
        }
        let Some(tail) = self.tails.get(id) else { return };
        match tail.state {
            State::Ended => self.finish_if_settled(id, now),
            State::Throttled if !self.is_throttled(tail, now) => self.make_ready(id),
            // Unlinked and held open only for this: the next look at the end closes it.
            State::Idle if tail.unlinked_at.is_some() && tail.ledger.is_settled() => self.make_ready(id),
            _ => {}
        }
    }

    /// Kafka has answered for everything that was in flight, and some of it is lost: the source goes
    /// back to what is acknowledged.
    fn read_again(&mut self, id: SourceId, mark: Mark, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let on_the_way = core::mem::take(&mut tail.lost_on_the_way);
        let pause = if on_the_way { tail.back_off() } else { Duration::ZERO };
        let ended = matches!(tail.state, State::Ended);
        if ended {
            return;
        }
        let lost = core::mem::take(&mut tail.lost);
        self.items[tail.origin.item.0 as usize].counts.land(lost, Fate::Replayed);
        tail.framed = mark;
        tail.unsettled = 0;
        let path = tail.names.first().cloned();
        let path = path.unwrap_or_else(|| Arc::from(tail.origin.path.as_bytes()));
        let note = Note::Replayed { path, position: mark.position, code: tail.lost_code };
        self.ops.push_back(Op::Note(note));
        match &tail.state {
            // The read under way is at the old position and will be discarded.
            State::Reading | State::WantsOpen | State::Opening | State::Blocked { .. } => {}
            State::Held { .. } => {
                let State::Held { batch, .. } = core::mem::replace(&mut tail.state, State::Idle) else {
                    return;
                };
                self.give_up(batch);
                self.rest(id, now + pause);
            }
            _ => self.rest(id, now + pause),
        }
    }

    pub(super) fn mark_unsaved(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if !core::mem::replace(&mut tail.unsaved, true) {
            self.unsaved.push_back(id);
        }
    }

    /// What is to be remembered of a source now.
    pub(super) fn checkpoint(&self, source: SourceId) -> Option<Checkpoint> {
        let tail = self.tails.get(source)?;
        let acked = tail.ledger.acked();
        Some(Checkpoint {
            generation: tail.origin.generation,
            file: tail.file,
            position: acked.position,
            guard: acked.guard,
            fingerprint: tail.fingerprint,
            item: self.items[tail.origin.item.0 as usize].policy.name,
            family: tail.origin.family,
            skipping: acked.skipping,
        })
    }

    /// The next checkpoint to save: one for each source whose `acked` moved since the last.
    pub(super) fn next_save(&mut self) -> Option<Op> {
        loop {
            let source = self.unsaved.pop_front()?;
            let Some(tail) = self.tails.get_mut(source) else { continue };
            tail.unsaved = false;
            let Some(checkpoint) = self.checkpoint(source) else { continue };
            return Some(Op::Save { source, checkpoint });
        }
    }

    /// A saved position is on the disk for certain.
    pub fn handle_durable(&mut self, id: SourceId, generation: GenerationId, position: Position) {
        let tail = self.tails.get_mut(id);
        if let Some(tail) = tail.filter(|tail| tail.origin.generation == generation) {
            tail.durable = tail.durable.max(position.min(tail.ledger.acked().position));
        }
    }
}
