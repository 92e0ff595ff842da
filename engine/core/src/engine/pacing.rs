//! What holds up reading: rates of items, the rate of all, and a hold that comes from outside.
//!
//! Nothing but reads is held up: what was read is sent, settled and saved as ever.

use core::num::NonZeroU64;

use super::{Engine, Item};
use crate::pace::BytePace;
use crate::plan::READ_BYTES_MIN;
use crate::position::Nanos;
use crate::source::{ItemId, SourceId};

impl Engine {
    /// Reads bytes no faster than this from now on, over all items together; `None`: as fast as it goes.
    pub fn pace_bytes(&mut self, bytes_per_second: Option<NonZeroU64>) {
        self.byte_pace = bytes_per_second.map(BytePace::new);
    }

    /// Begins no read before this time. What was read is shipped, acknowledged and remembered all the same.
    pub fn hold_reads(&mut self, until: Nanos) {
        self.hold_until = until;
    }

    /// Whether the share of the processor or the pace of all items holds up the sources that are ready.
    pub(super) fn is_held_up(&mut self, now: Nanos) -> bool {
        if self.schedule.ready_count() == 0 {
            return false;
        }
        if self.hold_until > now {
            self.hold_waited.wait(now, self.hold_until);
            self.held_up_until = Some(self.hold_until);
            return true;
        }
        let Some(pace) = &self.byte_pace else { return false };
        let ready_at = pace.ready_at(now);
        if ready_at > now {
            self.byte_waited.wait(now, ready_at);
            self.held_up_until = Some(ready_at);
            return true;
        }
        // Else a read that is under way will bring the next look.
        !pace.admits(now)
    }

    /// How much of a file may be read now at most: no less than what is worth a read.
    pub(super) fn portion(&self, item: ItemId, now: Nanos) -> usize {
        let paces = [&self.items[item.0 as usize].byte_pace, &self.byte_pace];
        let portions = paces.into_iter().flatten().map(|pace| pace.portion(now, READ_BYTES_MIN));
        portions.min().unwrap_or(usize::MAX)
    }

    /// A read begins that may bring so much.
    pub(super) fn read_begins(&mut self, id: SourceId, want: usize) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.asked = want;
        let item = &mut self.items[tail.origin.item.0 as usize];
        for pace in [&mut item.byte_pace, &mut self.byte_pace].into_iter().flatten() {
            pace.begin(want);
        }
    }

    /// It is back, perhaps to nobody.
    pub(super) fn read_ends(&mut self, id: SourceId, want: usize) {
        if let Some(pace) = &mut self.byte_pace {
            pace.end(want);
        }
        self.read_over(id);
    }

    /// The item waits no longer for the read that a source has under way, if it has one.
    pub(super) fn read_over(&mut self, id: SourceId) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let asked = core::mem::take(&mut tail.asked);
        if let Some(pace) = &mut self.items[tail.origin.item.0 as usize].byte_pace {
            pace.end(asked);
        }
    }
}

impl Item {
    /// When its rates allow a read.
    pub(super) fn ready_at(&self, now: Nanos) -> Nanos {
        let lines = self.pace.as_ref().map_or(Nanos(0), |pace| pace.ready_at(now));
        let bytes = self.byte_pace.as_ref().map_or(Nanos(0), |pace| pace.ready_at(now));
        lines.max(bytes)
    }

    /// How many lines its rate allows now.
    pub(super) fn lines_allowed(&self, now: Nanos) -> u32 {
        let lines = self.pace.as_ref().map_or(u64::MAX, |pace| pace.available(now));
        u32::try_from(lines).unwrap_or(u32::MAX)
    }
}
