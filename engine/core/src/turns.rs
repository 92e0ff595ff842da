//! A queue in which items take turns, and within an item its files.
//!
//! Whoever may write into the directories of one item can make as many files as they like: were it the
//! files that took turns, they could take nearly all of them. So an item with a million files gets one
//! turn for each turn of an item with a single one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::source::{ItemId, SourceId};

/// Sources that wait for something. It does not allocate once it has grown to their number.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// By item.
    waiting: Vec<VecDeque<SourceId>>,
    /// The items for which somebody waits, each once: the next one first.
    items: VecDeque<ItemId>,
    len: usize,
}

impl Turns {
    pub(crate) fn push_back(&mut self, item: ItemId, id: SourceId) {
        self.join(item).push_back(id);
    }

    /// The source is the next of its item, not of all.
    pub(crate) fn push_front(&mut self, item: ItemId, id: SourceId) {
        self.join(item).push_front(id);
    }

    fn join(&mut self, item: ItemId) -> &mut VecDeque<SourceId> {
        let at = item.0 as usize;
        if self.waiting.len() <= at {
            self.waiting.resize_with(at + 1, VecDeque::new);
        }
        if self.waiting[at].is_empty() {
            self.items.push_back(item);
        }
        self.len += 1;
        &mut self.waiting[at]
    }

    /// The next one, without taking it.
    pub(crate) fn front(&self) -> Option<(ItemId, SourceId)> {
        let item = *self.items.front()?;
        self.waiting[item.0 as usize].front().map(|id| (item, *id))
    }

    pub(crate) fn pop_front(&mut self) -> Option<(ItemId, SourceId)> {
        let item = self.items.pop_front()?;
        let waiting = &mut self.waiting[item.0 as usize];
        let id = waiting.pop_front().expect("an item is listed as long as somebody waits for it");
        if !waiting.is_empty() {
            self.items.push_back(item);
        }
        self.len -= 1;
        Some((item, id))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> SourceId {
        SourceId { index, epoch: 0 }
    }

    fn order(turns: &mut Turns) -> Vec<u32> {
        core::iter::from_fn(|| turns.pop_front()).map(|(_, id)| id.index).collect()
    }

    #[test]
    fn x12_an_item_of_many_files_gets_one_turn_for_each_of_an_item_of_one() {
        let mut turns = Turns::default();
        (0..1000).for_each(|index| turns.push_back(ItemId(3), id(index)));
        turns.push_back(ItemId(0), id(5000));
        assert_eq!(turns.pop_front(), Some((ItemId(3), id(0))));
        assert_eq!(turns.pop_front(), Some((ItemId(0), id(5000))));
        turns.push_back(ItemId(0), id(5001));
        assert_eq!(turns.pop_front(), Some((ItemId(3), id(1))));
        assert_eq!((turns.front(), turns.len()), (Some((ItemId(0), id(5001))), 999));
        let rest = order(&mut turns);
        assert_eq!(rest[..3], [5001, 2, 3]);
        assert!(rest[1..].is_sorted() && rest.len() == 999);
        assert_eq!((turns.front(), turns.pop_front(), turns.len()), (None, None, 0));
    }

    #[test]
    fn who_comes_back_is_the_next_of_its_item() {
        let mut turns = Turns::default();
        for (item, index) in [(0, 1), (0, 2), (1, 3), (1, 4)] {
            turns.push_back(ItemId(item), id(index));
        }
        let (item, first) = turns.pop_front().unwrap();
        turns.push_front(item, first);
        assert_eq!(order(&mut turns), [3, 1, 4, 2]);
    }
}
