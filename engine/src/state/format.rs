//! The bytes of the `positions` file: blocks, copies and what can be believed of them.
//!
//! Pure: bytes in, bytes out. It neither opens files nor decides what to do about damage; it names it.
//!
//! Two header blocks, then groups of two blocks. The first block of a group holds copy A of 32 slots,
//! the second their copy B, so that the two copies of a slot never share a block. A copy never
//! crosses a disk sector. Every byte of the file that has been written is covered by a checksum, the
//! reserved ones too. The exact layout is in `docs/state.md`.

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::Position;
use logdrive_core::source::{
    FINGERPRINT_BYTES_MAX, FileId, Fingerprint, GUARD_BYTES_MAX, GenerationId, Guard,
};

/// The unit of the layout, and of what a file system writes at once.
pub(super) const BLOCK_BYTES: usize = 4096;
/// One copy of one slot.
pub(super) const COPY_BYTES: usize = 128;
/// Slots whose copies fill a block.
pub(super) const GROUP_SLOTS: usize = BLOCK_BYTES / COPY_BYTES;
/// The version that this program writes and the newest that it reads.
pub(super) const VERSION: u32 = 1;

/// A file with more slots (1 GiB of them) is none of ours.
pub(super) const SLOTS_MAX: u32 = 1 << 22;

const MAGIC: [u8; 8] = *b"LOGDRVPS";
const HEADER_BLOCKS: usize = 2;
const SECTOR_BYTES: usize = 512;
const KIND_LIVE: u8 = 1;
const KIND_FREE: u8 = 2;
const FLAG_SKIPPING: u8 = 1;

const _: () = assert!(SECTOR_BYTES.is_multiple_of(COPY_BYTES), "a copy must not cross a sector");
const _: () = assert!(FINGERPRINT_BYTES_MAX <= u16::MAX as usize && GUARD_BYTES_MAX <= u8::MAX as usize);

/// Which of the two copies (of a slot or of the header).
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(super) enum Side {
    #[default]
    A,
    B,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// Where a copy of slot `index` lies.
pub(super) fn copy_offset(index: u32, side: Side) -> u64 {
    let (group, within) = (index as usize / GROUP_SLOTS, index as usize % GROUP_SLOTS);
    (block_of(group, side) * BLOCK_BYTES + within * COPY_BYTES) as u64
}

/// Where a copy of the header lies.
pub(super) fn header_offset(side: Side) -> u64 {
    match side {
        Side::A => 0,
        Side::B => BLOCK_BYTES as u64,
    }
}

/// The length of a file with room for `slots` slots (rounded up to whole groups).
pub(super) fn file_bytes(slots: u32) -> u64 {
    (block_of((slots as usize).div_ceil(GROUP_SLOTS), Side::A) * BLOCK_BYTES) as u64
}

fn block_of(group: usize, side: Side) -> usize {
    HEADER_BLOCKS + 2 * group + (side == Side::B) as usize
}

/// What a header says.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) struct Header {
    /// Increases with every header written.
    pub(super) sequence: u64,
    /// Slots below this index have been synced in use: one without a valid copy is damage. Above it
    /// lies what a power cut may have taken with the last second.
    pub(super) proven: u32,
}

/// The bytes of one header block.
pub(super) fn encode_header(header: Header) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    put(&mut block, 0, &MAGIC);
    put(&mut block, 8, &VERSION.to_le_bytes());
    put(&mut block, 12, &header.proven.to_le_bytes());
    put(&mut block, 16, &header.sequence.to_le_bytes());
    seal(&mut block);
    block
}

/// The bytes of one copy of a slot; `None` is a tombstone: the slot is free.
pub(super) fn encode_copy(index: u32, sequence: u64, checkpoint: Option<&Checkpoint>) -> [u8; COPY_BYTES] {
    let mut copy = [0; COPY_BYTES];
    put(&mut copy, 0, &sequence.to_le_bytes());
    copy[8] = KIND_FREE;
    if let Some(checkpoint) = checkpoint {
        copy[8] = KIND_LIVE;
        copy[9] = if checkpoint.skipping { FLAG_SKIPPING } else { 0 };
        copy[10] = checkpoint.guard.len;
        put(&mut copy, 12, &checkpoint.fingerprint.len.to_le_bytes());
        put(&mut copy, 16, &checkpoint.generation.0.to_le_bytes());
        put(&mut copy, 24, &checkpoint.file.dev.to_le_bytes());
        put(&mut copy, 32, &checkpoint.file.ino.to_le_bytes());
        put(&mut copy, 40, &checkpoint.file.birth_ns.to_le_bytes());
        put(&mut copy, 48, &checkpoint.position.0.to_le_bytes());
        put(&mut copy, 56, &checkpoint.guard.hash.to_le_bytes());
        put(&mut copy, 64, &checkpoint.fingerprint.hash.to_le_bytes());
        put(&mut copy, 72, &checkpoint.item.to_le_bytes());
        put(&mut copy, 80, &checkpoint.family.to_le_bytes());
    }
    put(&mut copy, 120, &index.to_le_bytes());
    seal(&mut copy);
    copy
}

/// The last good value of one slot, as read from a file or as written to it.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct SlotImage {
    /// Sequence number of the newest copy; 0 when the slot was never used.
    pub(super) sequence: u64,
    /// The copy that holds it: the other one is written next.
    pub(super) newest: Side,
    /// What it says; `None` when the slot is free.
    pub(super) checkpoint: Option<Checkpoint>,
}

/// A whole file, read.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// From the newest header.
    pub(super) proven: u32,
    /// The highest sequence number seen anywhere.
    pub(super) sequence: u64,
    /// The newest header copy.
    pub(super) header_newest: Side,
    /// Every slot for which the file has room, up to the last one ever used.
    pub(super) slots: Vec<SlotImage>,
    /// Copies that are not what was written, where the other copy is good.
    pub(super) repairs: Vec<Repair>,
    /// Slots that were in use and have no good copy.
    pub(super) broken: Vec<u32>,
}

/// Damage that costs at most the last update of a slot.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Repair {
    /// One copy of the header is bad.
    Header,
    /// One copy of this slot is bad.
    Slot(u32),
    /// This slot was being claimed when the power went: it was never synced and counts as unused.
    Claim(u32),
    /// Bytes are missing at the end, none of them in use.
    Tail,
}

/// Why nothing of a file can be read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Unreadable {
    /// Written by a newer version of the program, which this one must not touch.
    Newer(u32),
    /// Neither copy of the header is valid, or the only valid one cannot be trusted.
    Header,
}

/// Reads a file. Bytes past its end count as zero.
pub(super) fn decode_file(bytes: &[u8]) -> Result<Image, Unreadable> {
    let a = decode_header(bytes, Side::A);
    let b = decode_header(bytes, Side::B);
    let cut = !bytes.len().is_multiple_of(2 * BLOCK_BYTES);
    let mut image = Image::default();
    let header = match (a, b) {
        (Err(HeaderFault::Newer(version)), _) | (_, Err(HeaderFault::Newer(version))) => {
            return Err(Unreadable::Newer(version));
        }
        (Err(HeaderFault::Bad), Err(HeaderFault::Bad)) => return Err(Unreadable::Header),
        // The header that is left may be the older one: it cannot tell that none of what is missing was
        // in use.
        (Ok(_), Err(HeaderFault::Bad)) | (Err(HeaderFault::Bad), Ok(_)) if cut => {
            return Err(Unreadable::Header);
        }
        (Ok(a), Ok(b)) => {
            image.header_newest = if b.sequence > a.sequence { Side::B } else { Side::A };
            if b.sequence > a.sequence { b } else { a }
        }
        (Ok(header), Err(HeaderFault::Bad)) | (Err(HeaderFault::Bad), Ok(header)) => {
            image.header_newest = if a.is_ok() { Side::A } else { Side::B };
            image.repairs.push(Repair::Header);
            header
        }
    };
    image.proven = header.proven;
    image.sequence = header.sequence;
    if cut {
        image.repairs.push(Repair::Tail);
    }
    let groups = bytes.len().div_ceil(BLOCK_BYTES).saturating_sub(HEADER_BLOCKS).div_ceil(2);
    let room = (groups * GROUP_SLOTS) as u32;
    for index in 0..room.max(header.proven) {
        decode_slot(bytes, index, &mut image);
    }
    let used = image.slots.iter().rposition(|slot| slot.sequence > 0).map_or(0, |last| last + 1);
    image.slots.truncate(used.max(header.proven as usize));
    for index in header.proven..image.slots.len() as u32 {
        // A later claim reached the disk and this one did not.
        if image.slots[index as usize].sequence == 0 && !image.repairs.contains(&Repair::Claim(index)) {
            image.repairs.push(Repair::Claim(index));
        }
    }
    Ok(image)
}

fn decode_slot(bytes: &[u8], index: u32, image: &mut Image) {
    let proven = index < image.proven;
    let a = decode_copy(bytes, index, Side::A);
    let b = decode_copy(bytes, index, Side::B);
    let slot = match (a, b) {
        (Copy::Valid(a), Copy::Valid(b)) => {
            if b.sequence > a.sequence {
                b
            } else {
                a
            }
        }
        (Copy::Valid(slot), bad) | (bad, Copy::Valid(slot)) => {
            // An empty twin of a slot that no sync has covered is a claim cut short, not damage.
            if proven || bad == Copy::Bad {
                image.repairs.push(Repair::Slot(index));
            }
            slot
        }
        (Copy::Unused, Copy::Unused) if !proven => SlotImage::default(),
        _ => {
            match proven {
                true => image.broken.push(index),
                false => image.repairs.push(Repair::Claim(index)),
            }
            SlotImage::default()
        }
    };
    image.sequence = image.sequence.max(slot.sequence);
    image.slots.push(slot);
}

/// One copy of a slot as found.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Copy {
    Unused,
    Bad,
    Valid(SlotImage),
}

fn decode_copy(bytes: &[u8], index: u32, side: Side) -> Copy {
    let start = usize::try_from(copy_offset(index, side)).unwrap_or(usize::MAX).min(bytes.len());
    let rest = &bytes[start..];
    let Some(copy) = rest.first_chunk::<COPY_BYTES>() else {
        return if rest.iter().all(|&byte| byte == 0) { Copy::Unused } else { Copy::Bad };
    };
    if copy.iter().all(|&byte| byte == 0) {
        return Copy::Unused;
    }
    let sequence = u64::from_le_bytes(field(copy, 0));
    let written_for = u32::from_le_bytes(field(copy, 120));
    if !sealed(copy) || sequence == 0 || written_for != index {
        return Copy::Bad;
    }
    let checkpoint = match copy[8] {
        KIND_FREE => None,
        KIND_LIVE if copy[9] <= FLAG_SKIPPING && usize::from(copy[10]) <= GUARD_BYTES_MAX => {
            Some(decode_checkpoint(copy))
        }
        _ => return Copy::Bad,
    };
    Copy::Valid(SlotImage { sequence, newest: side, checkpoint })
}

fn decode_checkpoint(copy: &[u8; COPY_BYTES]) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(u64::from_le_bytes(field(copy, 16))),
        file: FileId {
            dev: u64::from_le_bytes(field(copy, 24)),
            ino: u64::from_le_bytes(field(copy, 32)),
            birth_ns: i64::from_le_bytes(field(copy, 40)),
        },
        position: Position(u64::from_le_bytes(field(copy, 48))),
        guard: Guard { len: copy[10], hash: u64::from_le_bytes(field(copy, 56)) },
        fingerprint: Fingerprint {
            len: u16::from_le_bytes(field(copy, 12)),
            hash: u64::from_le_bytes(field(copy, 64)),
        },
        item: u64::from_le_bytes(field(copy, 72)),
        family: u64::from_le_bytes(field(copy, 80)),
        skipping: copy[9] & FLAG_SKIPPING != 0,
    }
}

#[derive(Copy, Clone)]
enum HeaderFault {
    Newer(u32),
    Bad,
}

fn decode_header(bytes: &[u8], side: Side) -> Result<Header, HeaderFault> {
    let start = header_offset(side) as usize;
    let block = bytes.get(start..).and_then(|rest| rest.first_chunk::<BLOCK_BYTES>());
    let block = block.filter(|block| block[..8] == MAGIC && sealed(*block)).ok_or(HeaderFault::Bad)?;
    // Every version keeps the magic, the version and the checksum where they are.
    let version = u32::from_le_bytes(field(block, 8));
    if version > VERSION {
        return Err(HeaderFault::Newer(version));
    }
    let proven = u32::from_le_bytes(field(block, 12));
    let sequence = u64::from_le_bytes(field(block, 16));
    if proven > SLOTS_MAX { Err(HeaderFault::Bad) } else { Ok(Header { sequence, proven }) }
}

/// The bytes of a complete file: both headers, both copies of every slot, nothing that needs repair.
pub(super) fn encode_file(header: Header, slots: impl ExactSizeIterator<Item = SlotImage>) -> Vec<u8> {
    let mut bytes = vec![0; file_bytes(slots.len() as u32) as usize];
    for side in [Side::A, Side::B] {
        put(&mut bytes, header_offset(side) as usize, &encode_header(header));
    }
    for (index, slot) in slots.enumerate() {
        let index = index as u32;
        let copy = encode_copy(index, slot.sequence.max(1), slot.checkpoint.as_ref());
        put(&mut bytes, copy_offset(index, Side::A) as usize, &copy);
        put(&mut bytes, copy_offset(index, Side::B) as usize, &copy);
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("fields lie inside their record")
}

fn seal(bytes: &mut [u8]) {
    let (body, sum) = bytes.split_last_chunk_mut::<4>().expect("records are longer than a checksum");
    *sum = crc32c::crc32c(body).to_le_bytes();
}

fn sealed(bytes: &[u8]) -> bool {
    let (body, sum) = bytes.split_last_chunk::<4>().expect("records are longer than a checksum");
    crc32c::crc32c(body).to_le_bytes() == *sum
}

#[cfg(test)]
mod tests;
