//! The state store on a simulated disk: kills and power cuts after every operation, full disks, failed
//! syncs, and what a start finds.

#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::collections::BTreeMap;

use logdrive::state::{Sight, StateError};
use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::GenerationId;

#[path = "state_disk/history.rs"]
mod history;
#[allow(dead_code, reason = "lives on real disks use the rest")]
#[path = "state_disk/recorded.rs"]
mod recorded;
#[allow(dead_code, reason = "the simulator uses the rest")]
mod state_disk;
use recorded::{Recorded, checkpoint, open, positions};
use state_disk::Disk;

const SECOND: u64 = 1_000_000_000;

#[test]
fn s02_s03_after_a_crash_at_any_operation_every_position_is_an_old_or_new_one_and_none_is_missing() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.put(2, 20);
    run.sync();
    run.put(1, 11);
    run.put(1, 12);
    run.put(2, 21);
    run.put(3, 30);
    run.sync();
    run.free(2);
    run.put(4, 40);
    run.put(1, 13);
    run.request();
    // Written while the sync is under way: covered by none, or by the next one.
    run.put(1, 14);
    run.put(4, 41);
    run.step();
    run.put(3, 31);
    run.sync();
    run.free(1);
    run.free(3);
    run.sync();
    let images = run.history.check_all(&run.disk);
    assert!(images > 1000, "only {images} images were looked at");
}

#[test]
fn s02_s03_a_new_file_in_place_of_a_poisoned_one_is_old_or_new_at_every_step() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.put(2, 20);
    run.sync();
    run.put(1, 11);
    run.disk.fail_syncs(1);
    run.request();
    run.syncer.step();
    assert!(matches!(run.store.poll_synced(), Some(Err(StateError::Io { operation: "sync", .. }))));
    run.put(2, 21);
    run.request();
    run.put(1, 12);
    run.put(3, 30);
    run.step();
    assert!(run.store.is_healthy());
    run.sync();
    let images = run.history.check_all_but_kills_during_the_change(&run.disk);
    assert!(images > 500, "only {images} images were looked at");
}

#[test]
fn s03_a_second_sync_of_a_file_whose_first_one_failed_is_not_believed() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    run.put(1, 11);
    run.disk.fail_syncs(1);
    run.request();
    run.syncer.step();
    run.store.poll_synced().unwrap().unwrap_err();
    assert!(run.store.poll_synced().is_none(), "the error is reported once");
    assert!(!run.store.is_healthy());
    run.request();
    run.step();
    assert_eq!(run.store.synced().iter().map(|d| d.position.0).collect::<Vec<_>>(), [11]);
    // Everything that was not synced is gone.
    let image = run.disk.powered_off(run.disk.ops()).0.swap_remove(0);
    let (_, slots, _) = open(&Disk::holding(&image)).unwrap();
    assert_eq!(positions(&slots), BTreeMap::from([(1, 11)]));
}

#[test]
fn s05_a_missing_or_empty_positions_file_is_refused_while_the_catalog_shows_it_was_there() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    let whole = run.disk.killed(run.disk.ops());
    let refusal = |content: &BTreeMap<String, Vec<u8>>| {
        let disk = Disk::holding(content);
        let error = open(&disk).unwrap_err();
        assert_eq!(disk.ops(), 0, "what is refused stays untouched");
        error.to_string()
    };
    let mut content = whole.clone();
    content.remove("positions");
    assert!(refusal(&content).contains("/state/positions is missing"));
    for bytes in [Vec::new(), vec![0; whole["positions"].len()]] {
        content.insert("positions".to_owned(), bytes);
        assert!(refusal(&content).contains("do not begin with a valid header"));
    }
    let mut zeros = whole["positions"].clone();
    zeros[8192..].fill(0);
    content.insert("positions".to_owned(), zeros);
    assert!(refusal(&content).contains("logdrive state forget --damaged"));
}

#[test]
fn s02_a_first_start_that_is_cut_short_makes_no_item_seen() {
    let first = Disk::default();
    drop(open(&first).unwrap());
    for killed_after in 0..=first.ops() {
        let mut second = Recorded::on(Disk::holding(&first.killed(killed_after)));
        second.put(1, 10);
        // Before anything is asked to be synced.
        let third = Disk::holding(&second.disk.killed(second.disk.ops()));
        let (mut store, slots, _) = open(&third).unwrap();
        assert_eq!(positions(&slots), BTreeMap::from([(1, 10)]));
        assert!(store.first_sight("web", Sight::Once, 7).is_some(), "killed after {killed_after} operations");
    }
}

#[test]
fn s05_a_lost_catalog_costs_names_but_never_makes_items_new() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    assert!(run.store.first_sight("web", Sight::Once, 5).is_some());
    assert!(run.store.first_sight("web", Sight::Once, 6).is_none());
    run.store.name(GenerationId(1), "/l/a");
    run.sync();
    let whole = run.disk.killed(run.disk.ops());
    let (mut store, _, _) = open(&Disk::holding(&whole)).unwrap();
    assert_eq!(store.names(GenerationId(1)).unwrap().origin, "/l/a");
    assert!(store.first_sight("web", Sight::Once, 7).is_none());
    assert!(store.first_sight("new", Sight::Once, 7).is_some());
    for json in [None, Some(b"".to_vec()), Some(vec![0; 300])] {
        let mut content = whole.clone();
        content.remove("catalog.json");
        content.extend(json.map(|json| ("catalog.json".to_owned(), json)));
        let (mut store, slots, _) = open(&Disk::holding(&content)).unwrap();
        assert_eq!(positions(&slots), BTreeMap::from([(1, 10)]));
        assert!(store.names(GenerationId(1)).is_none());
        assert!(store.first_sight("new", Sight::Once, 7).is_none(), "an unknown item counts as seen");
    }
}

#[test]
fn s06_a_newer_version_of_either_file_is_refused_untouched() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    let whole = run.disk.killed(run.disk.ops());
    let mut newer = whole["positions"].clone();
    for header in newer[..8192].chunks_mut(4096) {
        header[8] = 2;
        let sum = crc32c::crc32c(&header[..4092]);
        header[4092..].copy_from_slice(&sum.to_le_bytes());
    }
    let catalog = br#"{"version": 9}"#.to_vec();
    for (name, bytes, version) in [("positions", newer, 2), ("catalog.json", catalog, 9)] {
        let mut content = whole.clone();
        content.insert(name.to_owned(), bytes);
        let disk = Disk::holding(&content);
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, StateError::Newer { version: found, .. } if found == version), "{error}");
        assert_eq!(disk.killed(disk.ops()), content);
    }
}

#[test]
fn s04_a_start_mends_a_bad_copy() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.put(1, 11);
    run.sync();
    let mut content = run.disk.killed(run.disk.ops());
    // Claiming wrote both copies, and the update went to copy B.
    content.get_mut("positions").unwrap()[8192 + 4096 + 48] ^= 1;
    let disk = Disk::holding(&content);
    let (_, slots, _) = open(&disk).unwrap();
    assert_eq!(positions(&slots), BTreeMap::from([(1, 10)]), "the newest copy was bad: the one before it");
    // Now the other copy goes bad.
    let mut mended = disk.killed(disk.ops());
    mended.get_mut("positions").unwrap()[8192 + 48] ^= 1;
    let (_, slots, _) = open(&Disk::holding(&mended)).unwrap();
    assert_eq!(positions(&slots), BTreeMap::from([(1, 10)]), "both copies were good again");
}

#[test]
fn s07_on_a_full_disk_shipping_goes_on_and_the_state_catches_up_once_there_is_space() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    run.disk.limit(Some(run.disk.used()));
    // More generations than the file has room for.
    for generation in 2..=300 {
        run.put(generation, generation);
    }
    let error = run.store.poll_synced().unwrap().unwrap_err().to_string();
    assert!(error.contains("free space"), "{error}");
    run.put(1, 11);
    run.store.first_sight("web", Sight::Once, 1);
    let mut errors = Vec::new();
    for second in 0..600 {
        run.put(1, 12 + second);
        run.store.request_sync(Nanos(second * SECOND));
        while run.syncer.step() {}
        while let Some(result) = run.store.poll_synced() {
            errors.push(result.unwrap_err().to_string());
        }
    }
    assert_eq!(errors.len(), 1, "only that of the catalog, once: {errors:?}");
    assert!(!run.store.is_healthy());
    let killed = Disk::holding(&run.disk.killed(run.disk.ops()));
    let found = positions(&open(&killed).unwrap().1);
    assert_eq!(found[&1], 611, "what has room in the file is still written through");

    run.disk.limit(None);
    run.store.request_sync(Nanos(605 * SECOND));
    while run.syncer.step() {}
    assert_eq!(run.store.poll_synced().unwrap().unwrap(), run.store.request_sync(Nanos(606 * SECOND)));
    while run.syncer.step() {}
    assert!(run.store.poll_synced().is_none());
    assert!(run.store.is_synced());
    assert_eq!(run.store.synced().len(), 300);
    let image = run.disk.powered_off(run.disk.ops()).0.swap_remove(0);
    assert_eq!(positions(&open(&Disk::holding(&image)).unwrap().1), run.now());
}

#[test]
fn s07_a_full_disk_does_not_keep_a_known_state_from_being_opened() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    let mut content = run.disk.killed(run.disk.ops());
    content.get_mut("positions").unwrap()[8192 + 4096 + 48] ^= 1;
    let disk = Disk::holding(&content);
    disk.limit(Some(disk.used()));
    let (mut store, slots, syncer) = open(&disk).unwrap();
    assert_eq!(positions(&slots), BTreeMap::from([(1, 10)]));
    assert!(!store.is_healthy(), "the bad copy could not be mended yet");
    disk.limit(None);
    let point = store.request_sync(Nanos(0));
    syncer.step();
    assert_eq!(store.poll_synced().unwrap().unwrap(), point);
    assert!(store.is_healthy());
}

#[test]
fn s19_a_hundred_thousand_short_lived_files_leave_a_small_file() {
    let mut run = Recorded::on(Disk::default());
    let mut alive = std::collections::VecDeque::new();
    let mut largest = 0;
    for generation in 1..=100_000 {
        alive.push_back((generation, run.store.claim(&checkpoint(generation, generation))));
        run.store.name(GenerationId(generation), "/l/a");
        if alive.len() > 300 {
            run.store.free(alive.pop_front().unwrap().1);
        }
        if generation % 5000 == 0 {
            run.store.request_sync(Nanos(generation * SECOND));
            while run.syncer.step() {}
            while run.store.poll_synced().is_some() {}
            largest = largest.max(run.disk.used());
        }
    }
    assert_eq!(run.store.slots_in_use(), 300);
    assert!(largest < 250_000, "{largest} bytes for 300 files");
    for (_, slot) in alive {
        run.store.free(slot);
    }
    run.store.request_sync(Nanos(200_000 * SECOND));
    while run.syncer.step() {}
    let (_, slots, _) = open(&run.disk).unwrap();
    assert!(slots.is_empty());
}

#[test]
fn a_file_that_has_become_much_too_large_is_shortened_at_the_next_start() {
    let mut run = Recorded::on(Disk::default());
    for generation in 1..=5000 {
        run.put(generation, generation);
    }
    for generation in 1..=4990 {
        run.free(generation);
    }
    run.sync();
    let before = run.disk.used();
    let (mut store, slots, syncer) = open(&run.disk).unwrap();
    assert!(run.disk.used() < before / 10);
    assert_eq!(positions(&slots), run.now());
    // The handles are those of the new file.
    for (slot, held) in slots {
        store.put(slot, &Checkpoint { position: Position(9_000_000), ..held });
    }
    store.request_sync(Nanos(0));
    while syncer.step() {}
    let (_, slots, _) = open(&run.disk).unwrap();
    assert!(positions(&slots).values().all(|&position| position == 9_000_000));
}

#[test]
fn an_idle_store_asks_nothing_of_the_disk() {
    let mut run = Recorded::on(Disk::default());
    run.put(1, 10);
    run.sync();
    let ops = run.disk.ops();
    for second in 0..100 {
        run.store.request_sync(Nanos(second * SECOND));
        assert!(!run.syncer.step());
    }
    assert_eq!(run.disk.ops(), ops);
}

#[test]
#[should_panic(expected = "belongs to another generation")]
fn a_slot_takes_only_the_generation_that_holds_it() {
    let mut run = Recorded::on(Disk::default());
    let slot = run.store.claim(&checkpoint(1, 1));
    run.store.put(slot, &checkpoint(2, 1));
}
