//! Who is served next: a queue of sources that wait for a turn, those whose file system is busy, and times
//! at which others wake.
//!
//! A turn is one read of at most [`crate::plan::READ_BYTES_MAX`] bytes, so queues that go round are
//! fair by bytes: a file that writes 500 MB/s gets one turn for each turn of a quiet one of its item,
//! and an item of many files one for each of an item of few.

use alloc::collections::{BTreeMap, BinaryHeap};
use core::cmp::Reverse;

use crate::position::Nanos;
use crate::source::{ItemId, SourceId};
use crate::turns::Turns;

/// The queue and the alarm clock. Neither allocates once it has grown to the number of sources.
/// Entries may be stale: the engine compares them with the state of the source.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    ready: Turns,
    /// The source whose turn could not be used: it is still its turn.
    unused: Option<(ItemId, SourceId)>,
    /// Sources whose turn has come and whose file system takes no read now, by device.
    parked: BTreeMap<u64, Turns>,
    alarms: BinaryHeap<Reverse<(Nanos, SourceId)>>,
}

impl Schedule {
    pub(crate) fn queue(&mut self, item: ItemId, id: SourceId) {
        self.ready.push_back(item, id);
    }

    /// Puts a source back whose turn could not be used.
    pub(crate) fn requeue(&mut self, item: ItemId, id: SourceId) {
        debug_assert!(self.unused.is_none(), "the one before was to be asked first");
        self.unused = Some((item, id));
    }

    pub(crate) fn next(&mut self) -> Option<(ItemId, SourceId)> {
        self.unused.take().or_else(|| self.ready.pop_front())
    }

    /// Sets a source aside until its device takes another read.
    pub(crate) fn park(&mut self, device: u64, item: ItemId, id: SourceId) {
        self.parked.entry(device).or_default().push_back(item, id);
    }

    /// A device has room for one more read.
    pub(crate) fn unpark(&mut self, device: u64) {
        if let Some((item, id)) = self.parked.get_mut(&device).and_then(Turns::pop_front) {
            self.ready.push_back(item, id);
        }
    }

    /// Some device has room for one more.
    pub(crate) fn unpark_any(&mut self) {
        for (item, id) in self.parked.values_mut().filter_map(Turns::pop_front) {
            self.ready.push_back(item, id);
        }
    }

    pub(crate) fn wake_at(&mut self, at: Nanos, id: SourceId) {
        self.alarms.push(Reverse((at, id)));
    }

    /// An alarm that is due.
    pub(crate) fn due(&mut self, now: Nanos) -> Option<(Nanos, SourceId)> {
        let Reverse((at, _)) = *self.alarms.peek()?;
        if at > now {
            return None;
        }
        self.alarms.pop().map(|Reverse(alarm)| alarm)
    }

    pub(crate) fn next_alarm(&self) -> Option<Nanos> {
        self.alarms.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len() + usize::from(self.unused.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> SourceId {
        SourceId { index, epoch: 0 }
    }

    #[test]
    fn f11_what_is_parked_comes_back_one_by_one_with_its_device() {
        let mut schedule = Schedule::default();
        schedule.unpark(8);
        schedule.unpark_any();
        for (device, index) in [(8, 1), (8, 2), (9, 3), (9, 4)] {
            schedule.park(device, ItemId(0), id(index));
        }
        let next = |schedule: &mut Schedule| schedule.next().map(|(_, id)| id.index);
        assert_eq!(next(&mut schedule), None);
        schedule.unpark(9);
        assert_eq!((next(&mut schedule), next(&mut schedule)), (Some(3), None));
        schedule.unpark_any();
        assert_eq!([(); 3].map(|()| next(&mut schedule)), [Some(1), Some(4), None]);
    }

    #[test]
    fn turns_go_round_and_alarms_come_in_order_of_time() {
        let mut schedule = Schedule::default();
        schedule.queue(ItemId(0), id(1));
        schedule.queue(ItemId(1), id(2));
        assert_eq!(schedule.next(), Some((ItemId(0), id(1))));
        schedule.requeue(ItemId(0), id(1));
        assert_eq!(schedule.ready_count(), 2);
        assert_eq!(schedule.next(), Some((ItemId(0), id(1))));
        schedule.wake_at(Nanos(30), id(3));
        schedule.wake_at(Nanos(10), id(4));
        assert_eq!(schedule.due(Nanos(5)), None);
        assert_eq!(schedule.next_alarm(), Some(Nanos(10)));
        assert_eq!(schedule.due(Nanos(20)), Some((Nanos(10), id(4))));
        assert_eq!(schedule.due(Nanos(20)), None);
    }
}
