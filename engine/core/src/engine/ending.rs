//! The end of a generation, and the copies that go on where it ended.
//!
//! `copytruncate` makes a copy and truncates the original. The copy is a new file that begins like the
//! old one: it must not be sent again, and what was appended between the last read and the truncation
//! is only in it. So a new file of the same family that begins like a known one is held back: if the
//! known one is truncated, the copy goes on where it ended; if not, it is a file of its own.

use alloc::sync::Arc;

use super::counts::Fate;
use super::{Engine, Note, Op};
use crate::ledger::{Ledger, Mark};
use crate::position::Nanos;
use crate::source::{FINGERPRINT_BYTES_MAX, Fingerprint, Origin, SourceId};
use crate::tail::{Ending, State, Tail};
use crate::trail::Trail;

/// How long a possible copy is held back, and how long an ended generation is remembered for its copy.
const COPY_NANOS: u64 = 10_000_000_000;
/// Ended generations that are remembered at most.
const GHOSTS_MAX: usize = 1024;

/// An ended generation that a copy may continue.
#[derive(Debug)]
pub(super) struct Ghost {
    family: u64,
    fingerprint: Fingerprint,
    mark: Mark,
    trail: Trail,
    until: Nanos,
}

impl Engine {
    /// A file holds something else than what was read from it: its generation is over, and the next
    /// begins at 0, on the same descriptor.
    pub(super) fn begin_again(&mut self, id: SourceId, now: Nanos) {
        let Some(file) = self.tails.get(id).map(|old| old.file) else { return };
        let stray = self.take_stray(file);
        let Some(old) = self.tails.get_mut(id) else { return };
        if old.by_checkpoint && stray.is_none() {
            // No pattern asks for the file: only what was read of it was to be finished.
            old.size = old.framed.position;
            self.end(id, Ending::Truncated, now);
            return;
        }
        let (origin, position) = (old.origin.clone(), old.framed.position);
        let names = core::mem::take(&mut old.names);
        let path = names.first().cloned().unwrap_or_else(|| Arc::from(origin.path.as_bytes()));
        let was_open = core::mem::replace(&mut old.open, false);
        let (unlinked_at, away, by_checkpoint) = (old.unlinked_at, old.away, old.by_checkpoint);
        let (modified_ns, order) = (old.modified_ns, old.order);
        old.away = false;
        let (copy, successor) = (old.suspects.first().copied(), old.successor.take());
        old.state = State::Ended;
        old.ending = Some(Ending::Truncated);
        self.counts.truncations += 1;
        self.ops.push_back(Op::Note(Note::Replaced { path: path.clone(), position }));

        let generation = stray.map_or_else(|| self.next_generation(), |stray| stray.generation);
        let origin = Origin { generation, path: origin.path.clone(), ..*origin };
        let start = stray.map_or_else(Mark::default, |stray| stray.mark());
        let mut tail = Tail::new(Arc::new(origin), file, path, start, now);
        tail.names.clone_from(&names);
        tail.open = was_open;
        (tail.modified_ns, tail.order) = (modified_ns, order);
        tail.introduced = true;
        tail.examined = true;
        (tail.unlinked_at, tail.away) = (unlinked_at, away);
        tail.by_checkpoint = by_checkpoint;
        tail.predecessor = copy;
        tail.fingerprint = stray.map_or_else(Fingerprint::default, |stray| stray.fingerprint);
        let family = tail.origin.family;
        let new = self.add_source(tail);
        let copy = copy.and_then(|copy| self.tails.get_mut(copy));
        if let Some(waiting) = copy.and_then(|copy| copy.successor.replace(new)) {
            // Only one can wait for it.
            self.unblock(waiting);
        }
        self.by_file.insert(file, new);
        self.join_family(family, new);
        for name in names {
            self.rename_in_directory(&name, new);
        }
        if was_open {
            self.ops.push_back(Op::Succeed { old: id, new });
        }
        self.mark_unsaved(new);
        self.make_ready(new);
        if let Some(next) = successor {
            self.unblock(next);
        }
        self.finish_if_settled(id, now);
    }

    /// No name is left: the generation is over.
    pub(super) fn end(&mut self, id: SourceId, ending: Ending, now: Nanos) {
        self.release(id);
        let Some(tail) = self.tails.get_mut(id) else { return };
        if let State::Held { batch, before } = core::mem::replace(&mut tail.state, State::Ended) {
            tail.framed = before;
            self.give_up(batch);
        }
        let Some(tail) = self.tails.get_mut(id) else { return };
        let (ending, lost_bytes) = match tail.away {
            // It is read on when it is back.
            true => (Ending::Away, 0),
            false => (ending, tail.size.since(tail.framed.position)),
        };
        tail.state = State::Ended;
        tail.ending = Some(ending);
        let (item, successor, file) = (tail.origin.item, tail.successor.take(), tail.file);
        let path = Arc::from(tail.origin.path.as_bytes());
        self.items[item.0 as usize].counts.bytes_gone += lost_bytes;
        self.ops.push_back(Op::Note(Note::Over { path, ending, lost_bytes }));
        if self.by_file.get(&file) == Some(&id) {
            self.by_file.remove(&file);
        }
        if ending == Ending::Away {
            self.leaving.insert(file, id);
            self.await_return(file, now);
        }
        if let Some(next) = successor {
            self.unblock(next);
        }
        self.finish_if_settled(id, now);
    }

    /// Forgets an ended generation when Kafka has answered for all of it.
    pub(super) fn finish_if_settled(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if !matches!(tail.state, State::Ended) || !tail.ledger.is_settled() {
            return;
        }
        let acked = tail.ledger.acked();
        let (lost, unread) = (tail.lost, tail.size.since(tail.framed.position));
        let (item, family, generation) = (tail.origin.item, tail.origin.family, tail.origin.generation);
        let (ending, fingerprint) = (tail.ending, tail.fingerprint);
        let suspects = core::mem::take(&mut tail.suspects);
        let (head, torn) = (core::mem::take(&mut tail.head), tail.torn);
        let trail = core::mem::take(&mut tail.trail);
        let kept = matches!(ending, Some(Ending::Retired | Ending::Away));
        if kept {
            self.park(id);
        } else {
            self.ops.push_back(Op::Forget { source: id, generation });
        }
        self.read_over(id);
        self.tails.remove(id);
        self.items[item.0 as usize].sources -= 1;
        self.leave_family(family, id);
        // What goes on within a line would never be that line.
        let mut trail = Some(trail);
        let adopted = suspects.into_iter().filter(|_| !torn).find(|&suspect| {
            let known = self.tails.get(suspect).is_some_and(|tail| tail.begins_like(fingerprint, &head));
            known && self.adopt(suspect, acked, &mut trail)
        });
        let counts = &mut self.items[item.0 as usize].counts;
        let again = adopted.is_some() || kept;
        counts.land(lost, if again { Fate::Replayed } else { Fate::Vanished });
        if ending == Some(Ending::Truncated) && adopted.is_none() {
            counts.bytes_gone += unread;
            self.ghosts.retain(|ghost| ghost.until > now);
            let trail = trail.filter(|_| fingerprint.len > 0 && !torn && self.ghosts.len() < GHOSTS_MAX);
            if let Some(trail) = trail {
                let until = Nanos(now.0 + COPY_NANOS);
                self.ghosts.push(Ghost { family, fingerprint, mark: acked, trail, until });
            }
        }
    }

    /// Whether a new file, of which `data` are the first bytes, begins like one of its family that is,
    /// or may soon be, truncated. If so it is held back.
    pub(super) fn is_copy(&mut self, id: SourceId, data: &[u8], now: Nanos) -> bool {
        let Some(tail) = self.tails.get(id) else { return false };
        let (family, path) = (tail.origin.family, tail.origin.path.clone());
        let begins_like = |other: Fingerprint| other.len > 0 && other.admits(data);
        let ghost = self
            .ghosts
            .iter()
            .position(|ghost| ghost.family == family && ghost.until > now && begins_like(ghost.fingerprint));
        if let Some(at) = ghost {
            let ghost = self.ghosts.swap_remove(at);
            return self.adopt(id, ghost.mark, &mut Some(ghost.trail));
        }
        let members = self.families.get(&family).cloned().unwrap_or_default();
        let of = members.into_iter().find(|&other| {
            // A file that has taken the other's name is its successor, not its copy.
            let apart = |other: &&Tail| other.origin.path != path;
            other != id
                && self.tails.get(other).filter(apart).is_some_and(|other| begins_like(other.fingerprint))
        });
        let Some(of) = of else { return false };
        let until = Nanos(now.0 + COPY_NANOS);
        if let Some(tail) = self.tails.get_mut(id) {
            // The original may grow: at its end more is compared.
            tail.head = data[..data.len().min(FINGERPRINT_BYTES_MAX)].to_vec();
            tail.fingerprint = Fingerprint::of(&tail.head);
        }
        self.tails.get_mut(of).expect("found above").suspects.push(id);
        self.set_state(id, State::Suspect { of, until });
        self.schedule.wake_at(until, id);
        true
    }

    /// A possible copy whose original was not truncated in time is a file of its own.
    pub(super) fn acquit(&mut self, id: SourceId, now: Nanos) {
        let Some(State::Suspect { of, .. }) = self.tails.get(id).map(|tail| &tail.state) else { return };
        let of = *of;
        if let Some(original) = self.tails.get_mut(of) {
            if matches!(original.state, State::Ended) {
                // Truncated, but Kafka has not answered for all of it: the copy may be needed.
                let until = Nanos(now.0 + COPY_NANOS);
                self.set_state(id, State::Suspect { of, until });
                self.schedule.wake_at(until, id);
                return;
            }
            original.suspects.retain(|&suspect| suspect != id);
        }
        if let Some(tail) = self.tails.get_mut(id) {
            tail.forget_full_head();
        }
        self.make_ready(id);
    }

    /// Lets a copy go on at `mark`, where its original ended, or at one of `trail`, which it takes, if it is shorter.
    /// The next read checks the guard.
    fn adopt(&mut self, id: SourceId, mark: Mark, trail: &mut Option<Trail>) -> bool {
        let Some(tail) = self.tails.get_mut(id) else { return false };
        if matches!(tail.state, State::Ended) || tail.names.is_empty() {
            return false;
        }
        tail.framed = mark;
        tail.ledger = Ledger::new(mark);
        tail.size = tail.size.max(mark.position);
        tail.copied = trail.take();
        tail.forget_full_head();
        self.ops.extend(tail.open.then_some(Op::Measure { source: id }));
        let path = tail.names[0].clone();
        self.ops.push_back(Op::Note(Note::Adopted { path, position: mark.position }));
        self.mark_unsaved(id);
        self.make_ready(id);
        true
    }

    pub(super) fn unblock(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.predecessor = None;
        if matches!(tail.state, State::Blocked { .. }) {
            self.make_ready(id);
        }
    }

    pub(super) fn join_family(&mut self, family: u64, id: SourceId) {
        self.families.entry(family).or_default().push(id);
    }

    fn leave_family(&mut self, family: u64, id: SourceId) {
        if let Some(members) = self.families.get_mut(&family) {
            members.retain(|&member| member != id);
            if members.is_empty() {
                self.families.remove(&family);
            }
        }
    }
}
