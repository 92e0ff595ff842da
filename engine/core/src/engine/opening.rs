//! Descriptors: who gets one, and whether what was opened is what was expected.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Engine, Note, Op};
use crate::frame::ByteOrder;
use crate::position::{Nanos, Position};
use crate::source::{FINGERPRINT_BYTES_MAX, FileId, Fingerprint, ItemId, SourceId};
use crate::tail::State;

/// Where a file that is opened is to be read from.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Start {
    /// From here.
    At(Position),
    /// From its first line of this time (nanoseconds since the epoch) or later, which is to be found.
    Since(i64),
}

/// What the shell found when it opened a file.
#[derive(Debug)]
pub struct Opened {
    /// Identity from the descriptor.
    pub file: FileId,
    /// Size in bytes.
    pub size: u64,
    /// The first bytes, at most [`FINGERPRINT_BYTES_MAX`].
    pub head: Vec<u8>,
    /// Where reading begins: the position that was asked for, or the beginning of the line that was found.
    pub position: Position,
    /// The bytes before `position`, at most the guard's length. Read before `head`, which so vouches for them.
    pub before: Vec<u8>,
}

/// Why a file could not be opened.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum OpenFailure {
    /// No file has this name any more.
    Vanished,
    /// The process or the system has no descriptor left.
    Descriptors,
    /// Anything else: permission, a FIFO, an I/O error. Tried again with a growing pause.
    Other,
}

/// After running out of descriptors, no file is opened for this long.
const DESCRIPTORS_PAUSE_NANOS: u64 = 1_000_000_000;

/// A file that is not found under its name is looked for again after so long, then after twice as long, and so on.
const MISS_PAUSE: Duration = Duration::from_millis(30);
/// Beyond so many misses, 6 s in all, its successors do not wait for it any more.
const MISSES_MAX: u32 = 20;

/// Descriptors beyond the limit that may be on their way out. They are closed while others are opened
/// already, and the process has few to spare.
const CLOSING_MAX: usize = 16;

impl Engine {
    /// Hands out descriptors by turns; files that only wait give theirs up when none is left.
    pub(super) fn start_openings(&mut self, now: Nanos) {
        if self.draining || self.open_again_at.is_some_and(|again| now < again) {
            return;
        }
        self.open_again_at = None;
        while let Some((item, id)) = self.opening.front() {
            let wanted = self.tails.get(id).is_some_and(|tail| matches!(tail.state, State::WantsOpen));
            if !wanted {
                self.opening.pop_front();
                continue;
            }
            let closing = self.releasing + self.closing;
            if self.open_count >= self.limits.open_files && (closing >= CLOSING_MAX || !self.evict(item)) {
                return self.yield_order(id);
            }
            self.opening.pop_front();
            let tail = self.tails.get_mut(id).expect("wanted");
            let Some(path) = tail.names.first().cloned() else {
                self.end(id, crate::tail::Ending::Gone, now);
                continue;
            };
            tail.state = State::Opening;
            let start = tail.since.map_or(Start::At(tail.framed.position), Start::Since);
            self.open_count += 1;
            self.ops.push_back(Op::Open { source: id, item, path, start });
        }
    }

    /// A successor without a name cannot give up its descriptor: it does not wait for one that has none.
    fn yield_order(&mut self, id: SourceId) {
        let successor = self.tails.get(id).and_then(|tail| tail.successor);
        let stuck =
            |next: &SourceId| self.tails.get(*next).is_some_and(|next| next.open && next.names.is_empty());
        if let Some(next) = successor.filter(stuck) {
            self.unblock(next);
        }
    }

    /// Takes the descriptor of a file that can be found again by name: of one at its end, or else of one that
    /// waits for others. Looks for one once in a round, since it looks at every file.
    fn evict(&mut self, wanting: ItemId) -> bool {
        let rests = |state: &State| matches!(state, State::Idle | State::Resting { .. });
        let waits =
            |state: &State| matches!(state, State::Throttled | State::Blocked { .. } | State::Suspect { .. });
        if self.none_to_evict {
            return false;
        }
        let found = self.evict_one(rests, wanting) || self.evict_one(waits, wanting);
        self.none_to_evict = !found;
        found
    }

    fn evict_one(&mut self, may_go: impl Fn(&State) -> bool, wanting: ItemId) -> bool {
        let count = self.tails.slots();
        for step in 0..count {
            let index = (self.evict_cursor + step) % count;
            let Some(id) = self.tails.at(index) else { continue };
            let tail = self.tails.get(id).expect("just found");
            let possible = may_go(&tail.state) && tail.open && !tail.names.is_empty();
            if possible && self.spares_descriptor(tail.origin.item, wanting) {
                self.evict_cursor = index + 1;
                self.release(id);
                return true;
            }
        }
        false
    }

    /// Gives up the descriptor of a source, if it has one.
    pub(super) fn release(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if tail.open {
            tail.open = false;
            self.items[tail.origin.item.0 as usize].open -= 1;
            self.open_count -= 1;
            self.releasing += 1;
            self.ops.push_back(Op::Release { source: id });
        }
    }

    /// How many of the descriptors that were to be closed are not closed yet.
    pub fn handle_closing(&mut self, count: usize) {
        if count < self.closing {
            self.schedule.unpark_any();
        }
        self.closing = count;
    }

    /// How long an open file is now.
    pub fn handle_measured(&mut self, id: SourceId, size: u64) {
        let tail = self.tails.get_mut(id).filter(|tail| !matches!(tail.state, State::Ended));
        let Some(tail) = tail else { return };
        tail.size = tail.size.max(Position(size));
        if tail.fit_copy(Position(size)) {
            self.mark_unsaved(id);
        }
    }

    /// A file was opened: the driver has the descriptor under the name of `id`.
    pub fn handle_opened(&mut self, id: SourceId, opened: Opened, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id).filter(|tail| matches!(tail.state, State::Opening)) else {
            self.open_count -= 1;
            self.releasing += 1;
            self.ops.push_back(Op::Release { source: id });
            return;
        };
        tail.open = true;
        self.items[tail.origin.item.0 as usize].open += 1;
        if opened.file != tail.file {
            self.release(id);
            return self.miss_name(id, now);
        }
        // The guard is checked by every read; what was skipped over is checked here.
        let unseen = tail.unseen;
        let form = self.items[tail.origin.item.0 as usize].policy.frame.form;
        tail.order = ByteOrder::of(&opened.head);
        let reaches = tail.look_before(opened.position, &opened.before, form);
        if !reaches || !tail.fingerprint.admits(&opened.head) {
            self.begin_again(id, now);
            return;
        }
        tail.size = tail.size.max(Position(opened.size));
        let moved = tail.fit_copy(Position(opened.size));
        (tail.failures, tail.misses) = (0, 0);
        if tail.head.is_empty() && opened.head.len() > tail.fingerprint.len as usize {
            tail.fingerprint = Fingerprint::of(&opened.head);
            tail.head = if opened.head.len() < FINGERPRINT_BYTES_MAX { opened.head } else { Vec::new() };
        }
        if !core::mem::replace(&mut tail.introduced, true) {
            self.introduce(id);
        } else if unseen || moved {
            self.mark_unsaved(id);
        }
        self.make_ready(id);
    }

    /// A file could not be opened.
    pub fn handle_open_failed(&mut self, id: SourceId, failure: OpenFailure, now: Nanos) {
        self.open_count -= 1;
        let Some(tail) = self.tails.get_mut(id).filter(|tail| matches!(tail.state, State::Opening)) else {
            return;
        };
        match failure {
            OpenFailure::Descriptors => {
                tail.state = State::WantsOpen;
                self.opening.push_front(tail.origin.item, id);
                self.open_again_at = Some(Nanos(now.0 + DESCRIPTORS_PAUSE_NANOS));
            }
            OpenFailure::Vanished => self.miss_name(id, now),
            OpenFailure::Other => {
                let pause = tail.back_off();
                self.rest(id, now + pause);
                self.release_successor(id);
            }
        }
    }

    /// The name has another file by now, or none: the next listing will say where this one is. With rotations one
    /// after the other that is no failure of the file, and those behind it wait on, up to a bound.
    fn miss_name(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.misses = tail.misses.saturating_add(1);
        let patient = tail.misses <= MISSES_MAX;
        let pause = if patient { MISS_PAUSE * tail.misses } else { tail.back_off() };
        let name = tail.names.first().cloned();
        self.rest(id, now + pause);
        if !patient {
            self.release_successor(id);
        }
        if let Some(name) = name {
            self.mark_dirty(directory_of(&name));
        }
    }

    /// Says that a file is read from now on, and has its checkpoint written.
    pub(super) fn introduce(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get(id) else { return };
        let Some(path) = tail.names.first().cloned() else { return };
        let note = Note::Found { path, position: tail.framed.position, resumed: tail.resumed };
        self.ops.push_back(Op::Note(note));
        self.mark_unsaved(id);
    }
}

/// The directory of a path.
pub(super) fn directory_of(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        Some(0) => b"/",
        Some(at) => &path[..at],
        None => b"",
    }
}
