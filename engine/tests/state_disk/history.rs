//! What a crash must leave, from what the store was told and what it reported.

use std::collections::{BTreeMap, BTreeSet};

use super::recorded::{open, positions};
use super::state_disk::Disk;

/// What the store was told, and when: the number of disk operations before and after.
#[derive(Default)]
pub(crate) struct History {
    /// `(ops before, ops after, generation, position)`; `None` when freed.
    pub(crate) writes: Vec<(usize, usize, u64, Option<u64>)>,
    /// `(ops when reported, what was durable)`.
    pub(crate) syncs: Vec<(usize, BTreeMap<u64, u64>)>,
}

impl History {
    /// What a kill after `ops` operations must leave, at least and exactly except for the write that it
    /// interrupts.
    fn written_at(&self, ops: usize) -> BTreeMap<u64, u64> {
        let mut held = BTreeMap::new();
        for &(_, after, generation, position) in self.writes.iter().filter(|write| write.1 <= ops) {
            match position {
                Some(position) => held.insert(generation, position),
                None => held.remove(&generation),
            };
            assert!(after <= ops);
        }
        held
    }

    /// Generations whose freeing had begun.
    fn freed_at(&self, ops: usize) -> BTreeSet<u64> {
        let freed = self.writes.iter().filter(|write| write.0 < ops && write.3.is_none());
        freed.map(|write| write.2).collect()
    }

    /// The update before `position`: what one torn copy may cost.
    fn predecessor(&self, generation: u64, position: u64) -> u64 {
        let values = self.writes.iter().filter(|write| write.2 == generation).filter_map(|write| write.3);
        values.filter(|&value| value < position).max().unwrap_or(position)
    }

    fn check(&self, what: &str, ops: usize, disk: &Disk, floor: &BTreeMap<u64, u64>) {
        let (_, slots, _) = open(disk).unwrap_or_else(|error| panic!("{what} after {ops}: {error}"));
        let found = positions(&slots);
        assert_eq!(found.len(), slots.len(), "{what} after {ops}: a generation twice");
        let freed = self.freed_at(ops);
        for (generation, least) in floor.iter().filter(|(generation, _)| !freed.contains(generation)) {
            let position = found.get(generation);
            assert!(position >= Some(least), "{what} after {ops}: {generation} at {position:?} < {least}");
        }
        for (&generation, &position) in &found {
            let known = |write: &&(usize, usize, u64, Option<u64>)| {
                write.0 < ops && write.2 == generation && write.3 == Some(position)
            };
            assert!(
                self.writes.iter().any(|write| known(&write)),
                "{what} after {ops}: made up {generation} at {position}"
            );
        }
    }

    /// A process that was killed after `ops` operations left this.
    pub(crate) fn check_killed(&self, ops: usize, found: &Disk) {
        self.check("kill", ops, found, &self.written_at(ops));
    }

    /// A power cut after `ops` operations, or a kill while a file is replaced, left this.
    pub(crate) fn check_synced(&self, what: &str, ops: usize, found: &Disk) {
        self.check(what, ops, found, &self.synced_at(ops));
    }

    /// What was reported as durable.
    fn synced_at(&self, ops: usize) -> BTreeMap<u64, u64> {
        let synced = self.syncs.iter().rfind(|sync| sync.0 <= ops);
        synced.map(|sync| sync.1.clone()).unwrap_or_default()
    }

    pub(crate) fn check_all(&self, disk: &Disk) -> usize {
        let mut images = 0;
        for ops in 0..=disk.ops() {
            self.check_killed(ops, &Disk::holding(&disk.killed(ops)));
            let floor = self.synced_at(ops);
            let (whole, torn) = disk.powered_off(ops);
            images += 1 + whole.len() + torn.len();
            for image in whole {
                self.check_synced("power cut", ops, &Disk::holding(&image));
            }
            let before =
                |(&generation, &position): (&u64, &u64)| (generation, self.predecessor(generation, position));
            let floor = floor.iter().map(before).collect();
            for image in torn {
                self.check("torn sector", ops, &Disk::holding(&image), &floor);
            }
        }
        images
    }

    /// Between the moment in which the new file takes the name and the one in which it has caught up
    /// with writes made meanwhile, a kill finds what was written when the rewrite was asked for.
    pub(crate) fn check_all_but_kills_during_the_change(&self, disk: &Disk) -> usize {
        let mut images = 0;
        for ops in 0..=disk.ops() {
            self.check_synced("kill", ops, &Disk::holding(&disk.killed(ops)));
            for image in disk.powered_off(ops).0 {
                images += 1;
                self.check_synced("power cut", ops, &Disk::holding(&image));
            }
        }
        self.check_killed(disk.ops(), &Disk::holding(&disk.killed(disk.ops())));
        images
    }
}
