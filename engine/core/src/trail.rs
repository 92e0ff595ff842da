//! Where a source could go on from, a little behind where it is.
//!
//! A copy of a file may be shorter than what was read of the file: it was made before the last lines were written.
//! To go on behind what both have, a position is needed that is within the copy, with the guard that shows
//! whether the copy holds there what was read. A few marks do, the denser the nearer they are to the newest: a
//! copy that lacks little is followed nearly to its end, one that lacks much is sent again from further up.

use alloc::vec::Vec;

use crate::ledger::Mark;
use crate::position::Position;

/// Marks kept of one source. With eight, what lies between a position and the mark before it is seldom more than
/// what lies behind the position.
const MARKS_MAX: usize = 8;

/// Marks that one source has passed, in the order of their positions. Beginning anew is always possible: the mark
/// at position 0 is not among them.
#[derive(Debug, Default)]
pub(crate) struct Trail(Vec<Mark>);

impl Trail {
    /// Everything before `mark` is acknowledged, and `mark` is not before any that was added earlier.
    pub(crate) fn add(&mut self, mark: Mark) {
        if self.0.last().is_some_and(|last| last.position >= mark.position) {
            return;
        }
        if self.0.len() == MARKS_MAX {
            self.thin(mark.position);
        }
        self.0.push(mark);
    }

    /// The last mark that lies within a file of `size` bytes.
    pub(crate) fn within(&self, size: Position) -> Mark {
        self.0.iter().rfind(|mark| mark.position <= size).copied().unwrap_or_default()
    }

    /// Forgets the mark that is missed least: the gap that it leaves is the smallest, measured by how far it is
    /// from `newest`.
    fn thin(&mut self, newest: Position) {
        let before = |at: usize| at.checked_sub(1).map_or(Position::ZERO, |at| self.0[at].position);
        let behind = |at: usize| self.0.get(at + 1).map_or(newest, |mark| mark.position);
        let loss = |at: &usize| {
            let gap = behind(*at).since(before(*at));
            u128::from(gap) * (1 << 32) / u128::from(newest.since(before(*at)).max(1))
        };
        if let Some(least) = (0..self.0.len()).min_by_key(loss) {
            self.0.remove(least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Guard;

    fn mark(position: u64) -> Mark {
        Mark { position: Position(position), guard: Guard { len: 1, hash: position }, skipping: false }
    }

    #[test]
    fn what_is_behind_the_mark_found_is_about_what_the_copy_lacks() {
        for step in [1, 100, 262_144] {
            let mut trail = Trail::default();
            let mut newest = 0;
            for count in 1..=1000 {
                newest = count * step;
                trail.add(mark(newest));
                assert!(trail.0.len() <= MARKS_MAX);
                assert_eq!(trail.within(Position(newest)), mark(newest));
            }
            for lacking in (1..newest).step_by((newest as usize / 500).max(1)) {
                let size = newest - lacking;
                let found = trail.within(Position(size)).position.0;
                assert!(found <= size);
                assert!(size - found <= 4 * (lacking + step), "{size} of {newest}: {found}");
            }
        }
    }

    #[test]
    fn of_what_is_before_all_marks_nothing_is_known() {
        let mut trail = Trail::default();
        assert_eq!(trail.within(Position(7)), Mark::default());
        trail.add(mark(5));
        trail.add(mark(5));
        assert_eq!(trail.0.len(), 1);
        assert_eq!(trail.within(Position(4)), Mark::default());
        assert_eq!(trail.within(Position(5)), mark(5));
    }
}
