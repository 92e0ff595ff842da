//! One source: a generation of a file, how far it was read, and what it is waiting for.
//!
//! A tail holds no bytes. What a read did not settle is read again, so ten thousand files with an
//! unfinished line cost nothing, and a rewritten file can never be glued to what was there before.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::batch::Batch;
use crate::discover::RawPath;
use crate::engine::Amount;
use crate::frame::{ByteOrder, Form};
use crate::ledger::{Ledger, Mark};
use crate::plan::{READ_BYTES_MAX, READ_BYTES_MIN};
use crate::position::{Nanos, Position};
use crate::source::{FINGERPRINT_BYTES_MAX, FileId, Fingerprint, GUARD_BYTES_MAX, Guard, Origin, SourceId};
use crate::trail::Trail;

/// What a source is waiting for.
#[derive(Debug)]
pub(crate) enum State {
    /// For a hint: everything is read, or the file is ignored. It may have a descriptor.
    Idle,
    /// For a descriptor to become free.
    WantsOpen,
    /// For the file system.
    Opening,
    /// For its predecessor, from whose next look at its end on this one may be read.
    Blocked {
        /// The predecessor's count of looks when the waiting began.
        look: u32,
    },
    /// For a decision: it begins like the file `of` that may be about to be truncated.
    Suspect {
        /// The file whose copy it may be.
        of: SourceId,
        /// When it is taken for a file of its own.
        until: Nanos,
    },
    /// For its turn.
    Ready,
    /// For a read. At most one per file, so bytes arrive in order.
    Reading,
    /// For time to pass: at its end while busy, out of rate, or after a failure.
    Resting {
        /// When it is ready again.
        until: Nanos,
    },
    /// For the sink to take its batch.
    Held {
        /// What waits.
        batch: Batch,
        /// `framed` as it was before, to go back to when the sink cannot take it at all.
        before: Mark,
    },
    /// For a delivery of its own: it has its share of the budget in flight.
    Throttled,
    /// The generation is over: only deliveries are awaited.
    Ended,
}

/// What follows when the present read is settled.
#[derive(Copy, Clone, Debug)]
pub(crate) enum After {
    /// There is more: another turn.
    Turn,
    /// At the end of a busy file: look again soon.
    Rest {
        /// When.
        until: Nanos,
    },
    /// At the end.
    AtEnd,
}

/// Why a generation is over.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Ending {
    /// The file is shorter than what was read, or holds something else there.
    Truncated,
    /// No name is left and everything is read.
    Unlinked,
    /// No name is left, and what was not read can no longer be.
    Gone,
    /// Its item is no longer configured.
    Retired,
    /// Its file system is not mounted any more, and may come back.
    Away,
}

/// A source and everything the engine knows of it.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) origin: Arc<Origin>,
    pub(crate) file: FileId,
    /// All names under which the file is listed; empty when it is unlinked.
    pub(crate) names: Vec<RawPath>,
    pub(crate) state: State,
    pub(crate) after: After,
    /// The driver holds a descriptor.
    pub(crate) open: bool,
    /// A modify watch is armed, as far as is known.
    pub(crate) armed: bool,
    /// No watch can be armed: look now and then.
    pub(crate) unwatched: bool,
    /// `framed`, with its guard: where the next read begins.
    pub(crate) framed: Mark,
    /// Bytes seen behind `framed` that are not settled.
    pub(crate) unsettled: usize,
    /// The largest size seen.
    pub(crate) size: Position,
    /// When it was modified, as the last listing says that found it without a descriptor, in nanoseconds since the
    /// epoch.
    pub(crate) modified_ns: i64,
    /// How many bytes the next read asks for, beside the guard.
    pub(crate) want: usize,
    pub(crate) ledger: Ledger,
    /// While something is in flight: when something last came back, or when the first of it was sent.
    pub(crate) answered_at: Nanos,
    /// What is in lost batches, as long as it is open whether it can be read again.
    pub(crate) lost: Amount,
    pub(crate) fingerprint: Fingerprint,
    /// The first bytes, while the fingerprint still grows.
    pub(crate) head: Vec<u8>,
    /// What the first bytes say of the others, if those are UTF-16.
    pub(crate) order: ByteOrder,
    /// What of this generation is on the disk for certain.
    pub(crate) durable: Position,
    /// The checkpoint waits to be saved.
    pub(crate) unsaved: bool,
    /// Must be read to its end before this one.
    pub(crate) predecessor: Option<SourceId>,
    /// Waits for this one.
    pub(crate) successor: Option<SourceId>,
    /// Reads submitted so far.
    pub(crate) looks: u32,
    /// What the read that is under way may bring, 0 when none is.
    pub(crate) asked: usize,
    /// When bytes last arrived.
    pub(crate) productive_at: Nanos,
    /// When it came to its end, without a wish of its own to look again.
    pub(crate) idle_since: Nanos,
    /// When the unsettled end last changed; a flush is due some time after.
    pub(crate) unsettled_at: Nanos,
    /// Its directory is gone, or the file system of that is another one, or it was not found because names were
    /// changing: it is not deleted, may come back, and is not finished by force.
    pub(crate) away: bool,
    /// When the last name went.
    pub(crate) unlinked_at: Option<Nanos>,
    /// After a refusal batches are sent one by one up to here.
    pub(crate) cautious_until: Position,
    /// How many events such a batch has at most: half of what was refused, twice what was taken. So the
    /// `k` refused events among `n` are found with O(`k` log `n`) batches.
    pub(crate) cautious_events: usize,
    /// `framed` lies within a line, whose beginning was sent as it was.
    pub(crate) torn: bool,
    /// The last read ended inside the guard.
    pub(crate) cut: bool,
    /// Failures in a row, for the back-off.
    pub(crate) failures: u32,
    /// Openings in a row that found another file under its name, or none.
    pub(crate) misses: u32,
    /// A checkpoint said where to begin.
    pub(crate) resumed: bool,
    /// No pattern matches its name: it is read because of its checkpoint, as a file that was rotated.
    pub(crate) by_checkpoint: bool,
    /// Its first opening was told.
    pub(crate) introduced: bool,
    /// Its first bytes were compared with those of its family; see the engine's `ending`.
    pub(crate) examined: bool,
    /// Goes on where a file ended of which it is a copy, which may be shorter.
    pub(crate) copied: Option<Trail>,
    /// Where its own copies could go on.
    pub(crate) trail: Trail,
    /// Why a batch was lost.
    pub(crate) lost_code: i32,
    /// One was lost on the way, and not refused: what failed may fail again at once.
    pub(crate) lost_on_the_way: bool,
    /// `framed` is the end of the file at first sight, or not known: there is no guard until it is opened, and a line
    /// that is not whole there is skipped.
    pub(crate) unseen: bool,
    /// While it is unseen: it begins with its first line of this time or later, which the opening finds. Until then
    /// `framed` is 0.
    pub(crate) since: Option<i64>,
    /// The settled state of the ledger is to be followed by this ending.
    pub(crate) ending: Option<Ending>,
    /// Copies that wait for the end of this generation.
    pub(crate) suspects: Vec<SourceId>,
}

impl Tail {
    pub(crate) fn new(origin: Arc<Origin>, file: FileId, name: RawPath, start: Mark, now: Nanos) -> Tail {
        Tail {
            origin,
            file,
            names: alloc::vec![name],
            state: State::Idle,
            after: After::Turn,
            open: false,
            armed: false,
            unwatched: false,
            framed: start,
            unsettled: 0,
            size: start.position,
            modified_ns: 0,
            want: READ_BYTES_MIN,
            ledger: Ledger::new(start),
            answered_at: now,
            lost: Amount::default(),
            fingerprint: Fingerprint::default(),
            head: Vec::new(),
            order: ByteOrder::default(),
            durable: Position::ZERO,
            unsaved: false,
            predecessor: None,
            successor: None,
            looks: 0,
            asked: 0,
            productive_at: Nanos(0),
            idle_since: now,
            unsettled_at: now,
            away: false,
            unlinked_at: None,
            cautious_until: Position::ZERO,
            cautious_events: 1,
            torn: false,
            cut: false,
            failures: 0,
            misses: 0,
            resumed: false,
            by_checkpoint: false,
            introduced: false,
            examined: false,
            copied: None,
            trail: Trail::default(),
            lost_code: 0,
            lost_on_the_way: false,
            unseen: false,
            since: None,
            ending: None,
            suspects: Vec::new(),
        }
    }

    /// `read`: how far bytes were seen.
    pub(crate) fn read(&self) -> Position {
        self.framed.position.plus(self.unsettled)
    }

    /// A copy may have been made before the last lines were written that were read from its original: it goes on
    /// from a mark of the original that it reaches. Whether that is so.
    pub(crate) fn fit_copy(&mut self, size: Position) -> bool {
        let Some(trail) = self.copied.take() else { return false };
        if size >= self.framed.position {
            return false;
        }
        let mark = trail.within(size);
        (self.framed, self.size, self.ledger) = (mark, size, Ledger::new(mark));
        // The position of the original may have been saved and synced already.
        self.durable = self.durable.min(mark.position);
        true
    }

    /// Takes the guard of a position that was never read from the bytes before it. Whether the file reaches
    /// that far.
    pub(crate) fn look_before(&mut self, position: Position, before: &[u8], form: Form) -> bool {
        if !core::mem::take(&mut self.unseen) {
            return true;
        }
        self.since = None;
        // What is read first is not how the file begins.
        self.examined |= position != Position::ZERO;
        let reaches = before.len() as u64 == position.0.min(GUARD_BYTES_MAX as u64);
        let torn = form.torn_bytes(position).min(before.len());
        let before = &before[..before.len() - torn];
        let mark = Mark {
            position: Position(position.0 - torn as u64),
            guard: Guard::before_end_of(before),
            skipping: !form.begins_line(self.order, before),
        };
        (self.framed, self.ledger) = (mark, Ledger::new(mark));
        reaches
    }

    /// Whether a batch that begins there was sent with a single event in mind, and nothing else: if it has more, they
    /// belong together.
    pub(crate) fn is_smallest(&self, start: Position) -> bool {
        start < self.cautious_until && self.cautious_events <= 1 && !self.ledger.is_lossy()
    }

    /// Bytes that are known to be there and not yet acknowledged.
    pub(crate) fn lag_bytes(&self) -> u64 {
        self.size.since(self.ledger.acked().position)
    }

    /// Left alone as too old (`ignore_older`) until it changes.
    pub(crate) fn is_dormant(&self) -> bool {
        matches!(self.state, State::Idle) && !self.introduced
    }

    /// Everything is read and acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.ledger.is_settled() && self.read() >= self.size
    }

    /// Asserts the chain of positions. A broken chain is a bug, and restarting from `durable` is safe.
    pub(crate) fn assert_chain(&self) {
        let acked = self.ledger.acked().position;
        assert!(
            self.durable <= acked && acked <= self.framed.position && self.read() <= self.size,
            "positions of {}: durable {:?} acked {:?} framed {:?} read {:?} size {:?}",
            self.origin.path,
            self.durable,
            acked,
            self.framed.position,
            self.read(),
            self.size,
        );
    }

    /// Whether the file begins with something else than it did: where nothing of it is settled there is no
    /// guard, and only this tells that it was truncated and written anew.
    pub(crate) fn begins_otherwise(&self, data: &[u8]) -> bool {
        if data.is_empty() {
            return false;
        }
        let common = self.head.len().min(data.len());
        match common {
            0 => !self.fingerprint.admits(data),
            _ => self.head[..common] != data[..common],
        }
    }

    /// Whether the first bytes are those of a file with this fingerprint, of which `other` is kept as long as it grows:
    /// as many as are known of both, and not none.
    pub(crate) fn begins_like(&self, fingerprint: Fingerprint, other: &[u8]) -> bool {
        let known = self.fingerprint.len.min(fingerprint.len);
        let cut = |whole: Fingerprint, head: &[u8]| match usize::from(known) {
            _ if whole.len == known => Some(whole),
            // Of what is complete only the hash is left.
            known => head.get(..known).map(Fingerprint::of),
        };
        let own = cut(self.fingerprint, &self.head);
        known > 0 && own.is_some() && own == cut(fingerprint, other)
    }

    /// The first bytes are kept only as long as the fingerprint grows, but those of a possible copy until it is
    /// known what it is.
    pub(crate) fn forget_full_head(&mut self) {
        if self.head.len() >= FINGERPRINT_BYTES_MAX {
            self.head = Vec::new();
        }
    }

    /// Lets the fingerprint grow with bytes that were read at `position`.
    pub(crate) fn extend_fingerprint(&mut self, position: Position, data: &[u8]) {
        self.forget_overwritten(position, data);
        let have = self.head.len();
        if have >= FINGERPRINT_BYTES_MAX || self.fingerprint.len as usize >= FINGERPRINT_BYTES_MAX {
            return;
        }
        let from = usize::try_from((have as u64).saturating_sub(position.0)).unwrap_or(usize::MAX);
        if position.0 > have as u64 || from >= data.len() {
            return;
        }
        let upto = data.len().min(from + FINGERPRINT_BYTES_MAX - have);
        self.head.extend_from_slice(&data[from..upto]);
        self.fingerprint = Fingerprint::of(&self.head);
        if self.head.len() >= FINGERPRINT_BYTES_MAX {
            self.head = Vec::new();
        }
    }

    /// What was not settled may have been written over: then it is no longer how the file begins.
    fn forget_overwritten(&mut self, position: Position, data: &[u8]) {
        let Some(known) = usize::try_from(position.0).ok().and_then(|from| self.head.get(from..)) else {
            return;
        };
        let common = known.len().min(data.len());
        if known[..common] != data[..common] {
            self.head.truncate(position.0 as usize);
            self.fingerprint = Fingerprint::of(&self.head);
        }
    }

    /// The size of the next read follows what the last one brought.
    pub(crate) fn adapt(&mut self, got: usize, asked: usize) {
        self.want = if got >= asked {
            (asked * 4).clamp(READ_BYTES_MIN, READ_BYTES_MAX)
        } else {
            (got * 2).next_power_of_two().clamp(READ_BYTES_MIN, READ_BYTES_MAX)
        };
    }

    /// How long to stay away after the `failures`-th failure in a row: 100 ms doubling to 30 s.
    pub(crate) fn back_off(&mut self) -> Duration {
        self.failures = (self.failures + 1).min(10);
        Duration::from_millis((50u64 << self.failures).min(30_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{GenerationId, ItemId};

    fn tail() -> Tail {
        let origin = Origin { item: ItemId(0), generation: GenerationId(1), path: "/l/a".into(), family: 0 };
        Tail::new(Arc::new(origin), FileId::default(), Arc::from(&b"/l/a"[..]), Mark::default(), Nanos(0))
    }

    #[test]
    fn the_fingerprint_grows_with_contiguous_bytes_up_to_its_bound() {
        let mut tail = tail();
        tail.extend_fingerprint(Position(0), b"one\n");
        tail.extend_fingerprint(Position(2), b"e\ntwo\n");
        assert_eq!(tail.fingerprint, Fingerprint::of(b"one\ntwo\n"));
        tail.extend_fingerprint(Position(100), b"far away");
        assert_eq!(tail.fingerprint.len, 8);
        tail.extend_fingerprint(Position(8), &[b'x'; 5000]);
        assert_eq!(tail.fingerprint.len as usize, FINGERPRINT_BYTES_MAX);
        assert!(tail.head.is_empty());
        tail.extend_fingerprint(Position(0), b"other");
        assert_eq!(tail.fingerprint.len as usize, FINGERPRINT_BYTES_MAX);
    }

    #[test]
    fn reads_grow_with_what_they_bring_and_shrink_again() {
        let mut tail = tail();
        tail.adapt(READ_BYTES_MIN, READ_BYTES_MIN);
        assert_eq!(tail.want, READ_BYTES_MIN * 4);
        tail.adapt(tail.want, tail.want);
        tail.adapt(tail.want, tail.want);
        assert_eq!(tail.want, READ_BYTES_MAX);
        tail.adapt(10, READ_BYTES_MAX);
        assert_eq!(tail.want, READ_BYTES_MIN);
    }
}
