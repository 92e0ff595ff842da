//! Checkpoints whose files are not there: to whom they belong, how long they are kept.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Directory, Engine, Found, Op};
use crate::checkpoint::Checkpoint;
use crate::ledger::Mark;
use crate::position::Nanos;
use crate::source::FileId;

/// What is remembered of a file whose file system is not mounted any more is kept for a week.
const AWAY_NANOS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// As long as it is not certain what is missing, the strays are judged again after so long.
const STRAYS_REST: Duration = Duration::from_secs(1);

impl Engine {
    /// The checkpoint of a file that is away waits for it, but not for ever.
    pub(super) fn await_return(&mut self, file: FileId, now: Nanos) {
        self.away.push_back((file, Nanos(now.0 + AWAY_NANOS)));
        if self.away.len() > self.limits.sources {
            self.forget_oldest_away();
        }
    }

    pub(super) fn forget_oldest_away(&mut self) {
        let Some((file, _)) = self.away.pop_front() else { return };
        if let Some(at) = self.strays.iter().position(|stray| stray.file == file) {
            let checkpoint = self.strays.swap_remove(at);
            self.ops.push_back(Op::ForgetStray { checkpoint, away: true });
        }
    }

    /// When every directory was listed once: from now on it may be told what is missing.
    pub(super) fn settle_in(&mut self, now: Nanos) {
        if self.settled_in || self.directories.values().any(|directory| directory.found == Found::Nothing) {
            return;
        }
        self.settled_in = true;
        self.strays_until = now + self.limits.reconcile * 3;
    }

    /// Forgets strays a while after the first full listing, after their item came back, and then now and then:
    /// nothing will answer to them any more. Those of items that are not configured are kept, for nobody has
    /// asked for their files, and so are those of a device on which no file was seen: it may be missing.
    pub(super) fn judge_strays(&mut self, now: Nanos) {
        if self.strays.is_empty() || !self.settled_in {
            return;
        }
        let patience = self.limits.reconcile * 3;
        if core::mem::take(&mut self.strays_claimed) {
            self.strays_until = now + patience;
        }
        // A listing under way may bring the file of an item that has just come back.
        let unsure = |directory: &Directory| {
            let found = matches!(directory.found, Found::Whole | Found::Absent);
            directory.dirty || directory.listing || !found
        };
        if now < self.strays_until {
            return;
        }
        if self.directories.values().any(unsure) {
            // Every directory was looked at for this: not again at each operation.
            self.strays_until = now + STRAYS_REST;
            return;
        }
        self.strays_until = now + patience;
        let mut devices: Vec<u64> = self.by_file.keys().map(|file| file.dev).collect();
        devices.extend(&self.renumbered);
        let strays = core::mem::take(&mut self.strays);
        let (gone, kept) = strays.into_iter().partition(|stray: &Checkpoint| {
            devices.contains(&stray.file.dev) && self.item_named(stray.item).is_some()
        });
        self.strays = kept;
        for checkpoint in gone {
            self.ops.push_back(Op::ForgetStray { checkpoint, away: false });
        }
    }

    /// The checkpoint of a file, if one was left: by identity, or, where the device number has changed
    /// with a remount, by inode and birth time.
    pub(super) fn take_stray(&mut self, file: FileId) -> Option<Checkpoint> {
        // A power cut may bring back the checkpoint of an earlier generation. The furthest is tried first: if
        // it is the wrong one its guard tells, and the next is taken.
        let furthest = |is: &dyn Fn(&Checkpoint) -> bool| {
            let found = self.strays.iter().enumerate().filter(|(_, stray)| is(stray));
            found.max_by_key(|(_, stray)| stray.position).map(|(at, _)| at)
        };
        let exact = furthest(&|stray| stray.file == file);
        let moved = || {
            furthest(&|stray| {
                file.birth_ns != 0 && (stray.file.ino, stray.file.birth_ns) == (file.ino, file.birth_ns)
            })
        };
        let stray = exact.or_else(moved).map(|at| self.strays.swap_remove(at))?;
        self.away.retain(|(file, _)| *file != stray.file);
        if stray.file.dev != file.dev && !self.renumbered.contains(&stray.file.dev) {
            self.renumbered.push(stray.file.dev);
        }
        Some(stray)
    }
}

impl Checkpoint {
    pub(super) fn mark(&self) -> Mark {
        Mark { position: self.position, guard: self.guard, skipping: self.skipping }
    }
}
