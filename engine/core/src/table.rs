//! The sources that the engine knows: a slab whose slots are reused and whose names never are.

use alloc::vec::Vec;

use crate::source::SourceId;

#[derive(Debug)]
struct Slot<T> {
    epoch: u32,
    value: Option<T>,
}

/// Values by [`SourceId`]. A stale name finds nothing.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Table<T> {
        Table { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn insert(&mut self, value: T) -> SourceId {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.epoch += 1;
            slot.value = Some(value);
            return SourceId { index, epoch: slot.epoch };
        }
        let index = u32::try_from(self.slots.len()).expect("the limit of sources is far below 2^32");
        self.slots.push(Slot { epoch: 0, value: Some(value) });
        SourceId { index, epoch: 0 }
    }

    pub(crate) fn remove(&mut self, id: SourceId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.epoch == id.epoch)?;
        let value = slot.value.take()?;
        self.free.push(id.index);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, id: SourceId) -> Option<&T> {
        self.slots.get(id.index as usize).filter(|slot| slot.epoch == id.epoch)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: SourceId) -> Option<&mut T> {
        self.slots.get_mut(id.index as usize).filter(|slot| slot.epoch == id.epoch)?.value.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, in use or not.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The name of the value in a slot.
    pub(crate) fn at(&self, index: usize) -> Option<SourceId> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref()?;
        Some(SourceId { index: index as u32, epoch: slot.epoch })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SourceId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((SourceId { index: index as u32, epoch: slot.epoch }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut table = Table::new();
        let first = table.insert('a');
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!(first.index, second.index);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&'b'));
        assert_eq!(table.len(), 1);
        assert_eq!(table.iter().count(), 1);
    }
}
