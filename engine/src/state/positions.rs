//! The table of slots: every live checkpoint in memory, each change written through to its older copy.
//!
//! No threads, no time, no sync and no judgement: a failed write is handed up, and the table goes on
//! in memory, from where a new file can be written completely. The write path allocates nothing.

use std::io;
use std::sync::Arc;

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::Position;
use logdrive_core::source::GenerationId;

use super::format::{self, Header, Image, SLOTS_MAX, Side, SlotImage};
use super::storage::StorageFile;

/// A place in the state; belongs to one generation from `claim` to `free`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Slot(pub(super) u32);

/// A position that was written, and by a later sync made durable.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Durable {
    /// Where it is kept.
    pub slot: Slot,
    /// Whose it is: the slot may have been given to another one meanwhile.
    pub generation: GenerationId,
    /// Everything before it is acknowledged, and the disk knows it.
    pub position: Position,
}

/// Slots for which the file grows at a time: 64 KiB.
pub(super) const GROWTH_SLOTS: u32 = 256;

#[derive(Debug)]
struct Entry {
    image: SlotImage,
    /// The slot is listed in `Positions::changed`.
    changed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Positions {
    file: Arc<dyn StorageFile>,
    /// Every slot ever used, by index.
    entries: Vec<Entry>,
    /// Entries without a checkpoint; the one freed last is used first.
    free: Vec<u32>,
    /// Slots for which the file has space. Entries beyond it live in memory only, until a rewrite.
    room: u32,
    /// As in the header of the file.
    header: Header,
    header_newest: Side,
    /// Number of the last write. Every copy carries one.
    sequence: u64,
    /// Slots written since the last [`Positions::take_changed`], each once.
    changed: Vec<u32>,
}

impl Positions {
    /// The table of a file that was read as `image`, with `file_bytes` bytes of space.
    pub(super) fn of(file: Arc<dyn StorageFile>, image: Image, file_bytes: u64) -> Positions {
        let entries: Vec<Entry> = image.slots.iter().map(|&image| Entry { image, changed: false }).collect();
        let free = (0..entries.len() as u32).rev();
        let free = free.filter(|&index| entries[index as usize].image.checkpoint.is_none()).collect();
        Positions {
            file,
            free,
            room: room_of(file_bytes),
            header: Header { sequence: image.sequence, proven: image.proven },
            header_newest: image.header_newest,
            sequence: image.sequence,
            changed: Vec::with_capacity(entries.len()),
            entries,
        }
    }

    /// Puts a new generation into a free slot, both copies of it. The slot is valid even when the
    /// write fails.
    pub(super) fn claim(&mut self, checkpoint: &Checkpoint) -> (Slot, io::Result<()>) {
        let mut grown = Ok(());
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.entries.len() as u32;
            self.entries.push(Entry { image: SlotImage::default(), changed: false });
            // Room for every slot here, so that `put` never allocates.
            self.changed.reserve(self.entries.len() - self.changed.len());
            if index >= self.room {
                grown = self.grow();
            }
            index
        });
        let first = self.write(index, Some(*checkpoint));
        let second = if first.is_ok() { self.write(index, Some(*checkpoint)) } else { Ok(()) };
        (Slot(index), grown.and(first).and(second))
    }

    /// Writes a newer checkpoint of the generation that holds the slot.
    pub(super) fn put(&mut self, slot: Slot, checkpoint: &Checkpoint) -> io::Result<()> {
        let held = self.entries[slot.0 as usize].image.checkpoint.map(|held| held.generation);
        assert_eq!(held, Some(checkpoint.generation), "slot {} belongs to another generation", slot.0);
        self.write(slot.0, Some(*checkpoint))
    }

    /// Writes a tombstone into both copies; the slot is the next to be claimed.
    pub(super) fn free(&mut self, slot: Slot) -> io::Result<()> {
        assert!(self.checkpoint(slot).is_some(), "slot {} is freed twice", slot.0);
        self.free.push(slot.0);
        self.write(slot.0, None).and_then(|()| self.write(slot.0, None))
    }

    /// What a slot holds.
    pub(super) fn checkpoint(&self, slot: Slot) -> Option<&Checkpoint> {
        self.entries.get(slot.0 as usize)?.image.checkpoint.as_ref()
    }

    /// All slots in use, in the order of the file.
    pub(super) fn live(&self) -> impl Iterator<Item = (Slot, &Checkpoint)> {
        let slots = self.entries.iter().enumerate();
        slots.filter_map(|(index, entry)| Some((Slot(index as u32), entry.image.checkpoint.as_ref()?)))
    }

    pub(super) fn live_count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn file(&self) -> &Arc<dyn StorageFile> {
        &self.file
    }

    /// Fills `list` with what was written since the last time, as it is now. Freed slots are left out.
    pub(super) fn take_changed(&mut self, list: &mut Vec<Durable>) {
        list.clear();
        for index in self.changed.drain(..) {
            let entry = &mut self.entries[index as usize];
            entry.changed = false;
            list.extend(entry.image.checkpoint.as_ref().map(|checkpoint| durable(index, checkpoint)));
        }
    }

    /// Notes in the header that a sync has covered the first `slots` slots. It may itself become
    /// durable much later; until then those slots are only trusted less.
    pub(super) fn prove(&mut self, slots: u32) -> io::Result<()> {
        let proven = slots.min(self.room);
        if proven <= self.header.proven {
            return Ok(());
        }
        let header = Header { sequence: self.header.sequence + 1, proven };
        let side = self.header_newest.other();
        self.file.write_at(format::header_offset(side), &format::encode_header(header))?;
        (self.header, self.header_newest) = (header, side);
        Ok(())
    }

    /// The bytes of a complete new file with the same slots at the same places, and what it makes
    /// durable.
    pub(super) fn rewritten(&mut self, list: &mut Vec<Durable>) -> Vec<u8> {
        self.take_changed(list);
        list.clear();
        list.extend(self.live().map(|(slot, checkpoint)| durable(slot.0, checkpoint)));
        let header = Header { sequence: self.sequence, proven: self.slots() };
        format::encode_file(header, self.entries.iter().map(|entry| entry.image))
    }

    /// Goes over to a file that was written from [`Positions::rewritten`] when the last write had the
    /// number `sequence` and there were `slots` slots; brings it up to date.
    pub(super) fn adopt(&mut self, file: Arc<dyn StorageFile>, sequence: u64, slots: u32) -> io::Result<()> {
        self.file = file;
        self.room = room_of(format::file_bytes(slots));
        self.header = Header { sequence, proven: slots };
        self.header_newest = Side::A;
        let mut result = Ok(());
        for index in 0..self.slots() {
            let image = self.entries[index as usize].image;
            if image.sequence > sequence {
                if index >= self.room {
                    result = result.and(self.grow());
                }
                result = result.and(self.write(index, image.checkpoint));
            }
        }
        result
    }

    /// Reserves space for another step, so that a full disk shows here and not at a write.
    fn grow(&mut self) -> io::Result<()> {
        if self.room + GROWTH_SLOTS > SLOTS_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.allocate(format::file_bytes(self.room + GROWTH_SLOTS))?;
        self.room += GROWTH_SLOTS;
        Ok(())
    }

    /// Writes the older copy of a slot. When that fails, the same copy is written again the next time,
    /// so that the last good value stays where it is.
    fn write(&mut self, index: u32, checkpoint: Option<Checkpoint>) -> io::Result<()> {
        self.sequence += 1;
        let entry = &mut self.entries[index as usize];
        if !entry.changed {
            entry.changed = true;
            self.changed.push(index);
        }
        entry.image.sequence = self.sequence;
        entry.image.checkpoint = checkpoint;
        if index >= self.room {
            return Ok(());
        }
        let side = entry.image.newest.other();
        let copy = format::encode_copy(index, self.sequence, checkpoint.as_ref());
        self.file.write_at(format::copy_offset(index, side), &copy)?;
        entry.image.newest = side;
        Ok(())
    }
}

fn durable(index: u32, checkpoint: &Checkpoint) -> Durable {
    Durable { slot: Slot(index), generation: checkpoint.generation, position: checkpoint.position }
}

/// Whole groups of slots that fit into a file.
fn room_of(file_bytes: u64) -> u32 {
    let groups = file_bytes.saturating_sub(format::file_bytes(0)) / (2 * format::BLOCK_BYTES as u64);
    u32::try_from(groups).unwrap_or(u32::MAX).saturating_mul(format::GROUP_SLOTS as u32).min(SLOTS_MAX)
}
