//! Turns, reads, and what becomes of what was read.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::counts::{Amount, Fate};
use super::{Engine, Op};
use crate::batch::{Batch, BatchId};
use crate::frame::{ByteOrder, Copied, End, Form, Limit, Stretch};
use crate::ledger::Mark;
use crate::position::{Nanos, Position, Span};
use crate::source::{Guard, SourceId};
use crate::tail::{After, Ending, State, Tail};

/// A read for the driver to submit; answered by [`Engine::handle_read`].
#[derive(Debug)]
pub struct ReadRequest {
    /// Of which open file.
    pub source: SourceId,
    /// From where: the guard's bytes come first.
    pub position: Position,
    /// An empty buffer.
    pub buffer: BytesMut,
    /// Bytes to read at most.
    pub want: usize,
}

/// Batches that the sink has refused and that wait: beyond this many, nothing more is read.
const HELD_MAX: usize = 64;
/// Events in one batch at most, so that no batch outgrows the sink's limit of messages.
const BATCH_EVENTS_MAX: usize = 32 * 1024;
/// A file is busy while bytes arrive at least this often: it is looked at again and again, without a
/// watch, which would make an event for each write.
const BUSY_NANOS: u64 = 8_000_000;
/// Before looking again at an unfinished end, this much time for each of its bytes: a writer that adds
/// single bytes to a long line must not have it fetched whole each time.
const UNSETTLED_NANOS_PER_BYTE: u64 = 100;
/// A file whose lines come back no more is not read on after this time: what waits for one partition must
/// not take the memory of all.
const SILENCE_NANOS: u64 = 2_000_000_000;
/// A file that cannot be watched is looked at this often.
const UNWATCHED_NANOS: u64 = 250_000_000;

impl Engine {
    /// The next read, if there is one and memory for it. `admits` says whether a source's file system takes
    /// another read now; one that hangs must not take all.
    pub fn poll_read(&mut self, now: Nanos, admits: impl Fn(SourceId) -> bool) -> Option<ReadRequest> {
        self.none_to_evict = false;
        self.held_up_until = None;
        // Operations come first: a read may need the descriptor or the watch that one of them sets up.
        if self.draining || self.held.len() >= HELD_MAX || !self.ops.is_empty() {
            return None;
        }
        if self.is_held_up(now) {
            return None;
        }
        for _ in 0..self.schedule.ready_count() {
            let (item_id, id) = self.schedule.next()?;
            let Some(tail) = self.tails.get(id) else { continue };
            if !matches!(tail.state, State::Ready) {
                continue;
            }
            let item = &mut self.items[tail.origin.item.0 as usize];
            let away = item.away_until;
            let paced = item.ready_at(now);
            if paced > now {
                item.waited.wait(now, paced);
            }
            if away.max(paced) > now {
                self.rest(id, away.max(paced));
                continue;
            }
            if !item.byte_pace.as_ref().is_none_or(|pace| pace.admits(now)) {
                // Reads of this item are under way, and when one is back, this is asked again.
                self.schedule.queue(item_id, id);
                continue;
            }
            if self.is_throttled(tail, now) {
                self.set_state(id, State::Throttled);
                continue;
            }
            if !admits(id) {
                self.schedule.park(tail.file.dev, item_id, id);
                continue;
            }
            let guard = tail.framed.guard.len as usize;
            // An event that was found too long for the portion before is fetched whole.
            let portion = if tail.unsettled == 0 { self.portion(tail.origin.item, now) } else { usize::MAX };
            let want = (guard + tail.want.min(portion)).min(self.pool.chunk_bytes());
            let buffer = self.pool.lease(want);
            self.starved = buffer.is_none();
            let Some(buffer) = buffer else {
                self.schedule.requeue(item_id, id);
                return None;
            };
            let tail = self.tails.get_mut(id).expect("found above");
            tail.state = State::Reading;
            tail.looks = tail.looks.wrapping_add(1);
            self.reads_in_flight += 1;
            let position = Position(tail.framed.position.0 - guard as u64);
            self.read_begins(id, want);
            return Some(ReadRequest { source: id, position, buffer, want });
        }
        None
    }

    /// A read has come back: its file system takes another, and so do the paces.
    fn read_returned(&mut self, id: SourceId, want: usize) {
        self.reads_in_flight -= 1;
        self.read_ends(id, want);
        match self.tails.get(id) {
            Some(tail) => self.schedule.unpark(tail.file.dev),
            None => self.schedule.unpark_any(),
        }
    }

    /// Whether a source has its share of the budget in flight, or must wait for what is in flight.
    pub(super) fn is_throttled(&self, tail: &Tail, now: Nanos) -> bool {
        if tail.ledger.is_settled() {
            return false;
        }
        let cautious = tail.framed.position < tail.cautious_until;
        let silent = now.0 >= tail.answered_at.0 + SILENCE_NANOS;
        let share = (self.limits.chunks_bytes / 2) as u64;
        cautious || silent || tail.ledger.is_lossy() || tail.ledger.in_flight_bytes() >= share
    }

    /// Takes a finished read: its buffer holds what was there, at most `want` bytes from `position`;
    /// less means the end of the file. `wall_ms` becomes the record timestamp.
    pub fn handle_read(&mut self, read: ReadRequest, now: Nanos, wall_ms: i64) {
        let ReadRequest { source: id, position, buffer, want } = read;
        self.read_returned(id, want);
        self.counts.reads += 1;
        let Some(tail) = self.tails.get_mut(id).filter(|tail| matches!(tail.state, State::Reading)) else {
            self.pool.settle(buffer, 0, 0);
            return;
        };
        let guard = tail.framed.guard;
        let guarded = guard.len as usize;
        if position.plus(guarded) != tail.framed.position {
            // The source was sent back to what is acknowledged while this read was under way.
            tail.cut = false;
            self.pool.settle(buffer, 0, 0);
            self.make_ready(id);
            return;
        }
        // A read that ends inside what is known may be a short one: it is believed the second time.
        let at_start = tail.framed.position == Position::ZERO;
        let known = if at_start { tail.fingerprint.len as usize } else { guarded };
        let cut = !buffer.is_empty() && buffer.len() < known;
        if cut && !core::mem::replace(&mut tail.cut, true) {
            self.pool.settle(buffer, 0, 0);
            self.make_ready(id);
            return;
        }
        tail.cut = false;
        let replaced = at_start && tail.begins_otherwise(&buffer);
        if buffer.len() < guarded || !guard.admits(&buffer[..guarded]) || replaced {
            self.pool.settle(buffer, 0, 0);
            self.begin_again(id, now);
            return;
        }
        let first = buffer.len() > guarded && !core::mem::replace(&mut tail.examined, true);
        if first && self.is_copy(id, &buffer, now) {
            self.pool.settle(buffer, 0, 0);
            return;
        }
        self.frame_read(id, buffer, want, now, wall_ms);
    }

    /// The read of a file failed: the descriptor is given up, and the file is opened again later.
    pub fn handle_read_failed(&mut self, read: ReadRequest, now: Nanos) {
        let id = read.source;
        self.read_returned(id, read.want);
        self.pool.settle(read.buffer, 0, 0);
        // A generation that is over meanwhile stays over.
        let reading = |tail: &&mut Tail| matches!(tail.state, State::Reading);
        let Some(tail) = self.tails.get_mut(id).filter(reading) else { return };
        let back_off = tail.back_off();
        self.release(id);
        self.rest(id, now + back_off);
        self.release_successor(id);
    }

    fn frame_read(&mut self, id: SourceId, buffer: BytesMut, want: usize, now: Nanos, wall_ms: i64) {
        let Some(mut copied) = self.room_to_copy(id, &buffer) else {
            // The file is read again when a batch has given its memory back.
            self.pool.settle(buffer, 0, 0);
            self.rest(id, now + self.limits.rest);
            return;
        };
        let mut events = self.spare_events.pop().unwrap_or_default();
        let mut details = Vec::new();
        let tail = self.tails.get_mut(id).expect("the caller found it");
        let item = &mut self.items[tail.origin.item.0 as usize];
        let policy = &item.policy.frame;
        let guarded = tail.framed.guard.len as usize;
        let data = &buffer[guarded..];
        let seen = data.len();
        let short = buffer.len() < want;
        tail.extend_fingerprint(tail.framed.position, data);
        if tail.framed.position == Position::ZERO {
            tail.order = ByteOrder::of(data);
        }

        let closing = tail.is_closing(now, item.policy.unlinked.grace);
        let rested = policy.flush_after.is_some_and(|after| now >= tail.unsettled_at + after);
        // What has not changed since the last look may be finished by force; what has, may not.
        let end = match short && seen == tail.unsettled {
            true if closing && !tail.away => End::Closed,
            true if rested => End::Flush,
            _ => End::More,
        };
        let cautious = tail.framed.position < tail.cautious_until;
        let allowed = item.lines_allowed(now);
        let events_max = if cautious { tail.cautious_events.min(BATCH_EVENTS_MAX) } else { BATCH_EVENTS_MAX };
        let limit = Limit { events_max, lines_max: allowed.max(1) };
        let skipping = tail.framed.skipping;
        let framed = match (policy.form, &mut copied) {
            (Form::Wrapped(wrapping), Some(bytes)) => {
                details = self.spare_details.pop().unwrap_or_default();
                let into = Copied { bytes, events: &mut events, details: &mut details };
                policy.unwrap_lines(wrapping, data, skipping, end, limit, into)
            }
            (Form::Encoded(charset), Some(bytes)) => {
                details = self.spare_details.pop().unwrap_or_default();
                let into = Copied { bytes, events: &mut events, details: &mut details };
                let file = Stretch { bytes: data, position: tail.framed.position, order: tail.order };
                policy.decode_lines(charset, file, skipping, end, limit, into)
            }
            _ => policy.frame(data, skipping, end, limit, &mut events),
        };
        let limited = events.len() >= limit.events_max || framed.lines >= limit.lines_max || framed.cramped;
        if framed.settled > 0 {
            let settled = &data[..framed.settled];
            tail.torn = end != End::More && !policy.form.begins_line(tail.order, settled);
        }

        let span = Span::of(tail.framed.position, framed.settled);
        let mark = Mark {
            position: span.end,
            guard: Guard::before_end_of(&buffer[..guarded + framed.settled]),
            skipping: framed.skipping,
        };
        let lines = framed.lines + framed.dropped.filtered.lines + framed.dropped.long.lines;
        if let Some(pace) = &mut item.pace {
            pace.take(lines.into(), now);
        }
        for pace in [&mut item.byte_pace, &mut self.byte_pace].into_iter().flatten() {
            pace.take(framed.settled, now);
        }
        item.counts.add_framed(&framed);
        self.counts.reread_bytes += tail.unsettled.min(seen) as u64;

        let productive = seen > tail.unsettled;
        self.counts.reads_productive += u64::from(productive);
        let flushed = end != End::More;
        let grown = Grown { short, seen, productive, closing, limited, flushed };
        let before = core::mem::replace(&mut tail.framed, mark);
        tail.failures = 0;
        tail.size = if short {
            mark.position.plus(seen - framed.settled)
        } else {
            tail.size.max(span.start.plus(seen))
        };
        let buffer_min = policy.buffer_bytes_min();
        tail.plan_next(framed.settled, grown, buffer_min, self.limits.rest.as_nanos() as u64, now);

        let bytes = match copied {
            None => self.pool.settle(buffer, guarded, framed.settled),
            Some(copied) => {
                let len = copied.len();
                self.pool.settle(buffer, 0, 0);
                self.pool.settle(copied, 0, len)
            }
        };
        if framed.settled == 0 {
            self.spare(events, details);
            self.proceed(id, now);
            return;
        }
        self.batches += 1;
        let batch_id = BatchId(self.batches);
        if events.is_empty() {
            // Everything was filtered out or skipped: settled without a word to Kafka.
            item.counts.settle(Amount::of_framed(&framed), framed.dropped, Fate::Acked);
            tail.ledger.sent(batch_id, span, mark, now);
            self.spare(events, details);
            self.settle_span(id, batch_id);
            self.proceed(id, now);
            return;
        }
        let origin = tail.origin.clone();
        let batch = Batch {
            id: batch_id,
            source: id,
            origin,
            span,
            bytes,
            events,
            details,
            lines: framed.lines,
            dropped: framed.dropped,
            read_at: now,
            read_at_ms: wall_ms,
        };
        tail.state = State::Held { batch, before };
        self.held.push_back(id);
    }

    /// A buffer for the events of a read, if they have to be copied out of it; `None` if there is no memory.
    fn room_to_copy(&mut self, id: SourceId, read: &BytesMut) -> Option<Option<BytesMut>> {
        let tail = self.tails.get(id);
        let want = tail.map_or(0, |tail| self.frame_policy(tail).form.copied_bytes_max(read.len()));
        if want == 0 {
            return Some(None);
        }
        // A whole chunk holds what belongs together, whatever becomes of it.
        let buffer = self.pool.lease(want.min(self.pool.chunk_bytes()));
        self.starved = buffer.is_none();
        Some(Some(buffer?))
    }

    /// After a read is settled and its batch, if there was one, is with the sink: what next.
    pub(super) fn proceed(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.assert_chain();
        match tail.after {
            After::Turn => self.next_turn(id),
            After::Rest { until } => {
                self.rest(id, until);
                self.release_successor(id);
            }
            After::AtEnd => {
                self.at_end(id, now);
                self.release_successor(id);
            }
        }
    }

    /// There is more to read. Where files wait for a descriptor and none is at rest, it has had its turn and
    /// is opened again for the next one; files without a name could not be.
    fn next_turn(&mut self, id: SourceId) {
        let wanting = self.opening.front().filter(|_| self.open_count >= self.limits.open_files);
        if let (Some((wanting, _)), Some(tail)) = (wanting, self.tails.get(id))
            && !tail.names.is_empty()
            && self.spares_descriptor(tail.origin.item, wanting)
        {
            self.release(id);
        }
        self.make_ready(id);
    }

    /// At the end of a file that is not busy: close it, or watch it and look once more, or idle.
    fn at_end(&mut self, id: SourceId, now: Nanos) {
        let grace = self.tails.get(id).map(|tail| self.policy(tail.origin.item).unlinked.grace);
        let (Some(tail), Some(grace)) = (self.tails.get_mut(id), grace) else { return };
        // The descriptor is kept until Kafka has everything: a lost batch is read again through it.
        let finished = tail.unsettled == 0 || tail.away;
        if tail.is_closing(now, grace) && finished && tail.ledger.is_settled() {
            return self.end(id, Ending::Unlinked, now);
        }
        if tail.unwatched {
            self.rest(id, Nanos(now.0 + UNWATCHED_NANOS));
            return;
        }
        if !tail.armed && tail.open {
            // Bytes that came before the watch was armed make no event: look once more.
            tail.armed = true;
            self.ops.push_back(Op::Arm { source: id });
            self.make_ready(id);
            return;
        }
        tail.state = State::Idle;
        tail.idle_since = now;
        // What is due already waits for deliveries, and they wake it.
        let release_at = tail.release_at(grace).filter(|&at| at > now);
        for at in [release_at, self.flush_at(id), self.close_at(id)].into_iter().flatten() {
            self.schedule.wake_at(at, id);
        }
    }

    /// When an unfinished end is to be sent as it is.
    fn flush_at(&self, id: SourceId) -> Option<Nanos> {
        let tail = self.tails.get(id)?;
        let after = self.frame_policy(tail).flush_after?;
        (tail.unsettled > 0).then(|| tail.unsettled_at + after)
    }

    /// When the descriptor of an idle file is to be given up.
    fn close_at(&self, id: SourceId) -> Option<Nanos> {
        let tail = self.tails.get(id).filter(|tail| tail.open && !tail.names.is_empty())?;
        Some(tail.idle_since + self.policy(tail.origin.item).close_after?)
    }

    /// An alarm for an idle source: an unfinished end is to be flushed, or an unlinked file released.
    pub(super) fn wake_idle(&mut self, id: SourceId, now: Nanos) {
        let flush = self.flush_at(id).is_some_and(|at| at <= now);
        let unlinked = self.tails.get(id).is_some_and(|tail| tail.unlinked_at.is_some());
        if flush || unlinked {
            self.make_ready(id);
        } else if self.close_at(id).is_some_and(|at| at <= now) {
            self.release(id);
        }
    }

    /// inotify says that a file was written to, or its watch is gone.
    pub fn handle_modified(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.armed = false;
        if matches!(tail.state, State::Idle) {
            self.make_ready(id);
        }
    }

    /// The watch could not be armed: the file is looked at now and then instead.
    pub fn handle_unwatched(&mut self, id: SourceId) {
        if let Some(tail) = self.tails.get_mut(id) {
            tail.unwatched = true;
            tail.armed = false;
        }
    }

    /// A source has been read to its end: its successor may follow, if it waited for this look. If it
    /// waits for the next one, because it appeared while this one was under way, then that is taken now.
    pub(super) fn release_successor(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get(id) else { return };
        let (looks, failed, next) = (tail.looks, tail.failures > 0, tail.successor);
        let idle = matches!(tail.state, State::Idle);
        let Some(next) = next else { return };
        let Some(successor) = self.tails.get_mut(next) else { return };
        let State::Blocked { look } = successor.state else { return };
        if failed || looks.wrapping_sub(look) as i32 > 0 {
            successor.predecessor = None;
            self.make_ready(next);
        } else if idle {
            self.make_ready(id);
        }
    }
}

/// What a read found out about its file.
#[derive(Copy, Clone)]
struct Grown {
    /// The read ended at the end of the file.
    short: bool,
    /// Bytes from `framed` on that were seen.
    seen: usize,
    /// Some of them for the first time.
    productive: bool,
    /// The last look before the file is closed for good.
    closing: bool,
    /// Framing stopped at a limit: there is more in what was read.
    limited: bool,
    /// What is unfinished was to be settled as it is.
    flushed: bool,
}

impl Tail {
    fn plan_next(&mut self, settled: usize, grown: Grown, buffer_min: usize, rest: u64, now: Nanos) {
        let unsettled = grown.seen - settled;
        // A part of a character is not flushed: it is asked for again when its time has passed again.
        if grown.productive || settled > 0 || grown.flushed {
            self.unsettled_at = now;
        }
        let arrived_at = self.productive_at;
        if grown.productive {
            self.productive_at = now;
        }
        self.unsettled = unsettled;
        self.after = if grown.limited {
            After::Turn
        } else if !grown.short {
            if settled == 0 {
                self.want = (self.want * 2).min(buffer_min.max(self.want));
            } else {
                self.adapt(grown.seen, self.want);
            }
            After::Turn
        } else {
            self.adapt(grown.seen, self.want);
            let busy = now.0.saturating_sub(arrived_at.0) < BUSY_NANOS && !self.armed && !grown.closing;
            let rest = rest.max(unsettled as u64 * UNSETTLED_NANOS_PER_BYTE);
            if busy || (grown.productive && unsettled > 4096) {
                After::Rest { until: Nanos(now.0 + rest) }
            } else {
                After::AtEnd
            }
        };
    }

    /// Unlinked, and nothing came for the grace time.
    fn is_closing(&self, now: Nanos, grace: core::time::Duration) -> bool {
        self.release_at(grace).is_some_and(|at| now >= at)
    }

    fn release_at(&self, grace: core::time::Duration) -> Option<Nanos> {
        let unlinked_at = self.unlinked_at?;
        Some(unlinked_at.max(self.productive_at) + grace)
    }
}
