//! Bit flips, cuts and versions of a `positions` file.

use super::super::samples::checkpoint;
use super::*;

fn file() -> (Vec<u8>, Vec<SlotImage>) {
    let slots: Vec<SlotImage> = (0..5)
        .map(|n| SlotImage {
            sequence: 10 + n,
            newest: Side::A,
            checkpoint: (n != 3).then(|| checkpoint(n + 1, 1000 * n)),
        })
        .collect();
    let header = Header { sequence: 9, proven: 5 };
    (encode_file(header, slots.clone().into_iter()), slots)
}

/// The file in which every slot had one more update than in `file`, in its B copy.
fn file_after_updates() -> (Vec<u8>, Vec<SlotImage>) {
    let (mut bytes, mut slots) = file();
    for (index, slot) in slots.iter_mut().enumerate() {
        slot.sequence += 10;
        slot.newest = Side::B;
        if let Some(checkpoint) = &mut slot.checkpoint {
            checkpoint.position.0 += 500;
        }
        let copy = encode_copy(index as u32, slot.sequence, slot.checkpoint.as_ref());
        put(&mut bytes, copy_offset(index as u32, Side::B) as usize, &copy);
    }
    (bytes, slots)
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    let (bytes, slots) = file();
    let image = decode_file(&bytes).unwrap();
    assert_eq!(image.slots, slots);
    assert_eq!((image.proven, image.sequence), (5, 14));
    assert!(image.repairs.is_empty() && image.broken.is_empty());
    let (bytes, slots) = file_after_updates();
    assert_eq!(decode_file(&bytes).unwrap().slots, slots);
}

#[test]
fn copies_of_a_slot_never_share_a_block_and_never_cross_a_sector() {
    for index in 0..200 {
        let (a, b) = (copy_offset(index, Side::A), copy_offset(index, Side::B));
        assert_ne!(a / BLOCK_BYTES as u64, b / BLOCK_BYTES as u64);
        for at in [a, b] {
            assert_eq!(at / SECTOR_BYTES as u64, (at + COPY_BYTES as u64 - 1) / SECTOR_BYTES as u64);
            assert!(at + COPY_BYTES as u64 <= file_bytes(index + 1));
        }
    }
}

#[test]
fn s04_every_bit_flip_is_detected_and_costs_at_most_one_update() {
    let (before, after) = (file().1, file_after_updates());
    let mut bytes = after.0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let image = decode_file(&bytes).unwrap();
        assert!(!image.repairs.is_empty(), "bit {bit} went unnoticed");
        assert!(image.broken.is_empty(), "bit {bit}");
        assert_eq!(image.slots.len(), 5);
        for (index, slot) in image.slots.iter().enumerate() {
            let known = [before[index].checkpoint, after.1[index].checkpoint];
            assert!(known.contains(&slot.checkpoint), "bit {bit} made up a value: {slot:?}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn s04_a_cut_that_takes_the_newer_header_with_it_is_damage() {
    let (mut bytes, _) = file();
    // As after the first sync: one header knows of no slot, and the newer one of all.
    let first = encode_header(Header { sequence: 1, proven: 0 });
    bytes[..BLOCK_BYTES].copy_from_slice(&first);
    let image = decode_file(&bytes).unwrap();
    assert!(image.proven > 0 && image.header_newest == Side::B);
    for length in 0..2 * BLOCK_BYTES {
        assert_eq!(decode_file(&bytes[..length]).err(), Some(Unreadable::Header), "cut at {length}");
    }
}

#[test]
fn s04_every_length_cut_is_detected_or_loses_nothing() {
    let (bytes, slots) = file_after_updates();
    for length in 0..bytes.len() {
        match decode_file(&bytes[..length]) {
            Err(reason) => assert_eq!(reason, Unreadable::Header),
            Ok(image) if image.broken.is_empty() => {
                let before = file().1;
                for (index, slot) in image.slots.iter().enumerate() {
                    assert!([before[index], slots[index]].contains(slot), "cut at {length}");
                }
                assert_eq!(image.slots.len(), slots.len(), "cut at {length}");
                assert!(!image.repairs.is_empty(), "cut at {length} went unnoticed");
            }
            Ok(image) => assert!(image.broken.iter().all(|&index| index < 5)),
        }
    }
}

#[test]
fn s05_a_block_of_zeros_over_slots_in_use_is_damage_and_not_emptiness() {
    let (mut bytes, _) = file_after_updates();
    bytes[2 * BLOCK_BYTES..].fill(0);
    assert_eq!(decode_file(&bytes).unwrap().broken, [0, 1, 2, 3, 4]);
    bytes.fill(0);
    assert_eq!(decode_file(&bytes).unwrap_err(), Unreadable::Header);
    assert_eq!(decode_file(b"").unwrap_err(), Unreadable::Header);
}

#[test]
fn a_claim_that_no_sync_has_covered_may_be_torn_without_being_damage() {
    let (mut bytes, _) = file();
    let copy = encode_copy(5, 30, Some(&checkpoint(9, 9)));
    put(&mut bytes, copy_offset(5, Side::A) as usize, &copy[..60]);
    let image = decode_file(&bytes).unwrap();
    assert!(image.broken.is_empty());
    assert_eq!(image.repairs, [Repair::Claim(5)]);
    assert_eq!(image.slots.len(), 5);
}

#[test]
fn s06_a_newer_version_is_told_from_a_damaged_one() {
    let (mut bytes, _) = file();
    let mut newer = encode_header(Header { sequence: 10, proven: 5 });
    newer[8..12].copy_from_slice(&2u32.to_le_bytes());
    seal(&mut newer);
    put(&mut bytes, BLOCK_BYTES, &newer);
    assert_eq!(decode_file(&bytes).unwrap_err(), Unreadable::Newer(2));
    bytes[BLOCK_BYTES + 8] = 3;
    let image = decode_file(&bytes).unwrap();
    assert_eq!(image.repairs, [Repair::Header], "a checksum that does not fit is no version");
}
