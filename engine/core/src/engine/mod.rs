//! The engine: composes tails, framing, ledgers and the schedule behind `handle_*` and `poll_*`.
//!
//! It decides everything and does nothing: what to list, open, read, watch, send, save and forget
//! comes out as values; results, hints and time go in. It never asks what time it is.
//!
//! `discovery` turns listings into sources and names, `opening` turns open files into verified
//! sources, `reading` gives turns and frames what was read, `settling` moves batches to the sink and
//! deliveries back, `pacing` holds reads up, `ending` closes generations and finds their copies, `items` come and go.

mod counts;
mod discovery;
mod ending;
mod items;
mod opening;
mod pacing;
mod reading;
mod settling;
mod strays;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

pub use self::counts::{Amount, Backlog, Counts, ItemCounts, SourceStatus};
use self::ending::Ghost;
pub use self::opening::{OpenFailure, Opened, Start};
pub use self::reading::ReadRequest;
use crate::batch::Event;
use crate::checkpoint::Checkpoint;
use crate::chunk::ChunkPool;
use crate::discover::RawPath;
use crate::frame::{Detail, FramePolicy};
use crate::pace::{BytePace, Pace, Waited};
use crate::plan::{ItemPolicy, Limits};
use crate::position::{Nanos, Position};
use crate::schedule::Schedule;
use crate::source::{FileId, GenerationId, ItemId, SourceId};
use crate::table::Table;
pub use crate::tail::Ending;
use crate::tail::{State, Tail};
use crate::turns::Turns;

/// What the driver is to do. Results come back through the `handle_*` named in each.
#[derive(Debug)]
pub enum Op {
    /// List a directory: [`Engine::handle_listing`].
    List {
        /// Its path.
        directory: RawPath,
    },
    /// Watch a directory for names that come and go: [`Engine::handle_directory_hint`].
    Watch {
        /// Its path.
        directory: RawPath,
    },
    /// The directory is gone or no longer wanted.
    Unwatch {
        /// Its path.
        directory: RawPath,
    },
    /// Open a file for reading: [`Engine::handle_opened`].
    Open {
        /// For whom.
        source: SourceId,
        /// Whose symlink policy holds.
        item: ItemId,
        /// Where.
        path: RawPath,
        /// From where on; the bytes before that are wanted for the guard.
        start: Start,
    },
    /// Arm a one-shot watch for modification: [`Engine::handle_modified`].
    Arm {
        /// Of which open file.
        source: SourceId,
    },
    /// Look how long an open file is, without asking a server: [`Engine::handle_measured`].
    Measure {
        /// Which.
        source: SourceId,
    },
    /// Close the descriptor: [`Engine::handle_closing`].
    Release {
        /// Of which source.
        source: SourceId,
    },
    /// The same open file has begun a new generation: hand the descriptor over.
    Succeed {
        /// Whose it was.
        old: SourceId,
        /// Whose it is.
        new: SourceId,
    },
    /// Remember a checkpoint: [`Engine::handle_durable`] when it is on the disk for certain.
    Save {
        /// Whose.
        source: SourceId,
        /// What.
        checkpoint: Checkpoint,
    },
    /// Forget the checkpoint of a source, for good, whether it was saved under this source or found at the
    /// start.
    Forget {
        /// Whose.
        source: SourceId,
        /// Of which generation.
        generation: GenerationId,
    },
    /// Forget a checkpoint that no file answers to any more.
    ForgetStray {
        /// What was remembered.
        checkpoint: Checkpoint,
        /// Its file system has not come back for long; else its file was gone at the start.
        away: bool,
    },
    /// The item or the file system of a source is gone: its checkpoint is kept, but is nobody's.
    Park {
        /// Whose it was.
        source: SourceId,
        /// What is remembered.
        checkpoint: Checkpoint,
    },
    /// Something that an operator should know.
    Note(Note),
}

/// Events worth a log line. The driver adds words; the engine keeps the counts.
#[derive(Debug)]
pub enum Note {
    /// A file is read from here on.
    Found {
        /// Its path.
        path: RawPath,
        /// Where reading begins.
        position: Position,
        /// Whether a checkpoint said so.
        resumed: bool,
    },
    /// A file has another name now.
    Renamed {
        /// The name it had.
        from: RawPath,
        /// The name it has.
        to: RawPath,
    },
    /// A generation is over.
    Over {
        /// Its path.
        path: RawPath,
        /// Why.
        ending: Ending,
        /// Bytes known to have been there that were never read.
        lost_bytes: u64,
    },
    /// A file holds something else than what was read from it: it is read from the beginning.
    Replaced {
        /// Its path.
        path: RawPath,
        /// The position that was remembered.
        position: Position,
    },
    /// A copy of a file that was then truncated goes on where the file ended.
    Adopted {
        /// The copy.
        path: RawPath,
        /// From where.
        position: Position,
    },
    /// No more files can be followed: the limit is reached.
    TooManyFiles {
        /// The first one of a directory that is left out for now.
        path: RawPath,
        /// How many of it are.
        files: usize,
    },
    /// A record was refused for good.
    Refused {
        /// The file.
        path: RawPath,
        /// Where in it.
        position: Position,
        /// Kafka's error code.
        code: i32,
    },
    /// Batches were lost on the way; the file is read again from what is acknowledged.
    Replayed {
        /// The file.
        path: RawPath,
        /// From where.
        position: Position,
        /// Kafka's error code.
        code: i32,
    },
}

#[derive(Debug)]
struct Item {
    policy: ItemPolicy,
    pace: Option<Pace>,
    byte_pace: Option<BytePace>,
    /// For the two of them.
    waited: Waited,
    counts: ItemCounts,
    /// How many sources it has, and how many of them have a descriptor.
    sources: usize,
    open: usize,
    /// The topic is not to be had: nothing of this item is read before.
    away_until: Nanos,
    /// No longer configured: its files are drained of what is in flight and left.
    retired: bool,
}

/// What the last look at a directory found.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
enum Found {
    /// There was none yet.
    #[default]
    Nothing,
    /// All of it: what was not listed is not there.
    Whole,
    /// A part, then an error.
    Part,
    /// It does not exist, and never did while this process ran.
    Absent,
    /// It is gone, and may come back with its files.
    Gone,
}

#[derive(Debug, Default)]
struct Directory {
    names: BTreeMap<RawPath, SourceId>,
    /// A root of the configuration: kept although it does not exist.
    root: bool,
    listing: bool,
    dirty: bool,
    found: Found,
    /// How many items there were when the last listing that was believed began: to those that came later, all that is
    /// in it is old. A directory that is found in another one is as new as that one was.
    looked: usize,
    /// The same of the listing that is under way.
    looking: usize,
    /// Listings in a row during which it changed.
    disturbed: u8,
    /// The file system that it is on, or would be; 0 as long as that is not known.
    device: u64,
    /// Not listed again before, so that a directory in constant change costs a bounded share.
    rest_until: Nanos,
    started_at: Nanos,
}

/// The whole agent without its world.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    /// Seeds the names of generations.
    seed: u64,
    generations: u64,
    items: Vec<Item>,
    tails: Table<Tail>,
    by_file: BTreeMap<FileId, SourceId>,
    /// Files that were let go, to be taken up again perhaps, with something in flight: not before that is
    /// answered for.
    leaving: BTreeMap<FileId, SourceId>,
    directories: BTreeMap<RawPath, Directory>,
    /// The sources of each family, oldest first.
    families: BTreeMap<u64, Vec<SourceId>>,
    /// Checkpoints of the last process that no file has answered to yet.
    strays: Vec<Checkpoint>,
    /// Strays whose file system is away, by file, and how long they are kept: the oldest first.
    away: VecDeque<(FileId, Nanos)>,
    /// Strays are judged when every directory has been listed once.
    settled_in: bool,
    strays_until: Nanos,
    /// Devices that have another number now: what a file on it had is known by the rest of its identity.
    renumbered: Vec<u64>,
    /// Checkpoints of an item that is back are among the strays: all are judged anew.
    strays_claimed: bool,
    /// Generations that ended lately, for their copies.
    ghosts: Vec<Ghost>,
    /// Directories to list again.
    dirty: Vec<RawPath>,
    /// The listing at hand may have missed what was renamed meanwhile.
    unsure: bool,
    /// What the listing at hand has more than can be followed.
    left_out: Option<(RawPath, usize)>,
    reconcile_at: Nanos,
    pool: ChunkPool,
    schedule: Schedule,
    /// Sources whose batch the sink refused, in order.
    held: VecDeque<SourceId>,
    /// Sources that wait for a descriptor.
    opening: Turns,
    open_count: usize,
    /// Descriptors to be closed that the driver has not been told of.
    releasing: usize,
    /// Descriptors that the driver has not closed yet.
    closing: usize,
    /// Where the search for a descriptor to give up goes on.
    evict_cursor: usize,
    /// Since the last round no descriptor was found that could be given up.
    none_to_evict: bool,
    /// No file is opened before: the process has run out of descriptors. `None`: files wait, if any do,
    /// for others to give theirs up, and no time brings that.
    open_again_at: Option<Nanos>,
    unsaved: VecDeque<SourceId>,
    ops: VecDeque<Op>,
    batches: u64,
    spare_events: Vec<Vec<Event>>,
    spare_details: Vec<Vec<Detail>>,
    counts: Counts,
    reads_in_flight: usize,
    /// Over all items.
    byte_pace: Option<BytePace>,
    byte_waited: Waited,
    /// Nothing is read before: the process has had its share of the processor.
    hold_until: Nanos,
    hold_waited: Waited,
    /// When what holds up the sources that are ready is over, if anything does.
    held_up_until: Option<Nanos>,
    /// The last read that was wanted found no memory.
    starved: bool,
    draining: bool,
}

impl Engine {
    /// An engine that knows no item and no file yet. `seed` differs from process to process and names
    /// generations; `strays` is what the state remembered.
    #[must_use]
    pub fn new(limits: Limits, line_buffer_bytes_max: usize, seed: u64, strays: Vec<Checkpoint>) -> Engine {
        // One chunk holds the longest line with its guard, or four ordinary reads.
        let chunk_bytes = (line_buffer_bytes_max + 4096).max(4 * crate::plan::READ_BYTES_MAX);
        Engine {
            limits,
            seed,
            generations: 0,
            items: Vec::new(),
            tails: Table::new(),
            by_file: BTreeMap::new(),
            leaving: BTreeMap::new(),
            directories: BTreeMap::new(),
            families: BTreeMap::new(),
            strays,
            away: VecDeque::new(),
            settled_in: false,
            strays_until: Nanos(0),
            renumbered: Vec::new(),
            strays_claimed: false,
            ghosts: Vec::new(),
            dirty: Vec::new(),
            unsure: false,
            left_out: None,
            reconcile_at: Nanos(0),
            pool: ChunkPool::new(limits.chunks_bytes, chunk_bytes),
            schedule: Schedule::default(),
            held: VecDeque::new(),
            opening: Turns::default(),
            open_count: 0,
            releasing: 0,
            closing: 0,
            evict_cursor: 0,
            none_to_evict: false,
            open_again_at: None,
            unsaved: VecDeque::new(),
            ops: VecDeque::new(),
            batches: 0,
            spare_events: Vec::new(),
            spare_details: Vec::new(),
            counts: Counts::default(),
            reads_in_flight: 0,
            byte_pace: None,
            byte_waited: Waited::default(),
            hold_until: Nanos(0),
            hold_waited: Waited::default(),
            held_up_until: None,
            starved: false,
            draining: false,
        }
    }

    /// The next operation for the driver.
    pub fn poll_op(&mut self, now: Nanos) -> Option<Op> {
        self.wake_due(now);
        self.start_listings(now);
        self.start_openings(now);
        self.judge_strays(now);
        let op = self.ops.pop_front();
        self.releasing -= usize::from(matches!(op, Some(Op::Release { .. })));
        op.or_else(|| self.next_save())
    }

    /// When to call again at the latest, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let mut at = self.schedule.next_alarm().unwrap_or(Nanos(u64::MAX));
        if !self.draining {
            at = at.min(self.next_listing());
            if let Some(again) = self.open_again_at.filter(|_| self.opening.front().is_some()) {
                at = at.min(again);
            }
            at = at.min(self.held_up_until.unwrap_or(at));
        }
        (at.0 != u64::MAX).then_some(at)
    }

    /// Reads no more; what is in flight may still be delivered.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Nothing is in flight: no read, no batch.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.reads_in_flight == 0
            && self.held.is_empty()
            && self.tails.iter().all(|(_, tail)| tail.ledger.is_settled())
    }

    /// Every file that is known was read and acknowledged to its end.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.settled_in && self.tails.iter().all(|(_, tail)| tail.is_drained())
    }

    /// Every directory was listed at least once.
    #[must_use]
    pub fn has_settled_in(&self) -> bool {
        self.settled_in
    }

    /// Something is to be read or sent, and what is in flight leaves no room for it.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved || !self.held.is_empty()
    }

    /// Gives unused read buffers back to the allocator.
    pub fn trim(&mut self) {
        self.pool.trim(1);
    }

    fn wake_due(&mut self, now: Nanos) {
        while let Some((at, id)) = self.schedule.due(now) {
            let Some(tail) = self.tails.get_mut(id) else { continue };
            match tail.state {
                State::Resting { until } if until == at => self.make_ready(id),
                State::Suspect { until, .. } if until == at => self.acquit(id, now),
                State::Idle => self.wake_idle(id, now),
                _ => {}
            }
        }
    }

    fn rest(&mut self, id: SourceId, until: Nanos) {
        if let Some(tail) = self.tails.get_mut(id) {
            tail.state = State::Resting { until };
            self.schedule.wake_at(until, id);
        }
    }

    /// Gives a source its turn: at once, behind its predecessor, or when it has a descriptor.
    fn make_ready(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get(id) else { return };
        if let Some(before) = tail.predecessor {
            if let Some(look) = self.must_wait_for(before).filter(|_| !self.waits_for(before, id)) {
                self.set_state(id, State::Blocked { look });
                if matches!(self.tails.get(before).map(|tail| &tail.state), Some(State::Idle)) {
                    self.make_ready(before);
                }
                return;
            }
            if let Some(tail) = self.tails.get_mut(id) {
                tail.predecessor = None;
            }
        }
        let Some(tail) = self.tails.get_mut(id) else { return };
        if tail.open {
            tail.state = State::Ready;
            self.schedule.queue(tail.origin.item, id);
        } else {
            tail.state = State::WantsOpen;
            self.opening.push_back(tail.origin.item, id);
        }
    }

    /// Whether `of` waits for `id`, be it through others: then `id` must not wait for it.
    fn waits_for(&self, of: SourceId, id: SourceId) -> bool {
        let blocked = |at: &SourceId| {
            let tail = self.tails.get(*at)?;
            tail.predecessor.filter(|_| matches!(tail.state, State::Blocked { .. }))
        };
        core::iter::successors(Some(of), blocked).take(self.tails.len()).any(|at| at == id)
    }

    /// The look that must be exceeded before a successor of `before` may be read; `None`: no wait.
    fn must_wait_for(&self, before: SourceId) -> Option<u32> {
        let tail = self.tails.get(before)?;
        match tail.state {
            State::Ended => None,
            // Unreadable: order yields to the other files' progress.
            _ if tail.failures > 0 => None,
            _ => Some(tail.looks),
        }
    }

    fn set_state(&mut self, id: SourceId, state: State) {
        if let Some(tail) = self.tails.get_mut(id) {
            tail.state = state;
        }
    }

    fn policy(&self, item: ItemId) -> &ItemPolicy {
        &self.items[item.0 as usize].policy
    }

    fn frame_policy(&self, tail: &Tail) -> &FramePolicy {
        &self.policy(tail.origin.item).frame
    }
}
