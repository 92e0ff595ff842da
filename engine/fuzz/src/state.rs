//! The files of the state: made up, or written as an agent does and then damaged.
//!
//! Input: one byte of what it is. Made up (lowest bit 0): the two files; the next bits leave one out, or put
//! right checksums on the blocks and slots of `positions`, so that what lies behind them is reached. Damaged
//! (lowest bit 1): a number of steps of two bytes that write a state, then damages of five bytes each.
//!
//! What is judged: a refusal changes nothing and says something. What is accepted was written: no made
//! up value, no generation that was freed. What a sync has covered is there, or the start is refused. What
//! was opened once opens again with the same content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use logdrive::state::{Sight, Slot, SlotsInUse, StateError, StateStore, Storage, Syncer, item_hash};
use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::{FileId, Fingerprint, GenerationId, Guard};

use crate::state_disk::Disk;

type Content = BTreeMap<String, Vec<u8>>;
/// Opens the state on a disk.
pub type Opener = fn(Arc<dyn Storage>) -> Result<(StateStore, SlotsInUse, Syncer), StateError>;

const POSITIONS: &str = "positions";
const CATALOG: &str = "catalog.json";
// As in docs/state.md.
const BLOCK_BYTES: usize = 4096;
const COPY_BYTES: usize = 128;
const SECOND: u64 = 1_000_000_000;

/// Opens it as the agent does.
///
/// # Errors
/// As [`StateStore::open_on`].
pub fn open(disk: Arc<dyn Storage>) -> Result<(StateStore, SlotsInUse, Syncer), StateError> {
    StateStore::open_on(disk, Path::new("/state"))
}

/// Runs one input.
pub fn run(input: &[u8]) {
    check(input, open);
}

/// Runs one input with any opener in place of the real one.
///
/// # Panics
/// If what was opened is not what was written, or less.
pub fn check(input: &[u8], opener: Opener) {
    let Some((&kind, rest)) = input.split_first() else { return };
    if kind & 1 == 0 {
        made_up(kind, rest, opener);
    } else if let Some((&steps, rest)) = rest.split_first() {
        let (steps, damages) = rest.split_at(rest.len().min(2 * usize::from(steps)));
        damaged(steps.as_chunks::<2>().0, damages.as_chunks::<5>().0, opener);
    }
}

fn made_up(kind: u8, bytes: &[u8], opener: Opener) {
    let [low, high, rest @ ..] = bytes else { return };
    let (positions, catalog) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
    let mut content = Content::new();
    if kind & 2 == 0 {
        let mut positions = positions.to_vec();
        if kind & 8 != 0 {
            seal(&mut positions);
        }
        content.insert(POSITIONS.to_owned(), positions);
    }
    if kind & 4 == 0 {
        content.insert(CATALOG.to_owned(), catalog.to_vec());
    }
    if let Some(opened) = open_or_be_refused(&content, opener) {
        opens_again(opened, opener);
    }
}

/// Puts right checksums on everything that has one, and on each copy the index of its slot.
fn seal(positions: &mut [u8]) {
    for (number, block) in positions.chunks_exact_mut(BLOCK_BYTES).enumerate() {
        if number < 2 {
            block[..8].copy_from_slice(b"LOGDRVPS");
            sum(block);
            continue;
        }
        for (within, copy) in block.chunks_exact_mut(COPY_BYTES).enumerate() {
            if copy.iter().any(|&byte| byte != 0) {
                let slot = (number - 2) / 2 * (BLOCK_BYTES / COPY_BYTES) + within;
                copy[120..124].copy_from_slice(&(slot as u32).to_le_bytes());
                sum(copy);
            }
        }
    }
}

fn sum(bytes: &mut [u8]) {
    let (content, sum) = bytes.split_at_mut(bytes.len() - 4);
    sum.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
}

/// A state that was opened, with its disk.
struct Opened {
    disk: Disk,
    store: StateStore,
    slots: SlotsInUse,
    syncer: Syncer,
    now: Nanos,
}

impl Opened {
    fn found(&self) -> BTreeMap<GenerationId, Checkpoint> {
        self.slots.iter().map(|(_, checkpoint)| (checkpoint.generation, *checkpoint)).collect()
    }

    /// Until everything is on the disk.
    fn sync(&mut self) {
        for _ in 0..4 {
            self.now.0 += 10 * SECOND;
            self.store.request_sync(self.now);
            while self.syncer.step() {}
            while let Some(result) = self.store.poll_synced() {
                result.expect("nothing fails on this disk");
            }
        }
        assert!(self.store.is_synced(), "a sound disk takes everything");
    }

    /// What another process would find.
    fn content(&self) -> Content {
        self.disk.killed(self.disk.ops())
    }
}

/// Opens what a disk holds; a refusal leaves it as it is.
fn open_or_be_refused(content: &Content, opener: Opener) -> Option<Opened> {
    let disk = Disk::holding(content);
    match opener(Arc::new(disk.clone())) {
        Ok((store, slots, syncer)) => Some(Opened { disk, store, slots, syncer, now: Nanos(0) }),
        Err(error) => {
            assert!(error.to_string().contains("/state/"), "a refusal names the file: {error}");
            assert_eq!(disk.ops(), 0, "a refusal changes nothing: {error}");
            None
        }
    }
}

/// Lets the store mend what it wants to, and opens it another time.
fn opens_again(mut opened: Opened, opener: Opener) {
    opened.sync();
    let again =
        open_or_be_refused(&opened.content(), opener).expect("what was opened and synced opens again");
    // In this order and as often: generations that are made up may be there twice.
    let checkpoints = |slots: &SlotsInUse| slots.iter().map(|(_, held)| *held).collect::<Vec<_>>();
    assert_eq!(
        checkpoints(&again.slots),
        checkpoints(&opened.slots),
        "what was opened opens again as it was"
    );
}

/// A state as it is written, and all that may be found of it.
#[derive(Default)]
struct Written {
    live: Vec<(u64, Slot)>,
    /// All that each generation in use has held.
    held: BTreeMap<GenerationId, Vec<Checkpoint>>,
    names: BTreeMap<GenerationId, BTreeSet<String>>,
}

fn checkpoint(generation: u64, position: u64) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(generation),
        file: FileId { dev: 1, ino: 100 + generation, birth_ns: -7 - generation as i64 },
        position: Position(position),
        guard: Guard::before_end_of(&position.to_le_bytes()),
        fingerprint: Fingerprint::of(&generation.to_le_bytes()),
        item: item_hash("web"),
        family: generation * 31,
        skipping: position % 2 == 1,
    }
}

impl Written {
    fn step(&mut self, opened: &mut Opened, [kind, argument]: [u8; 2], number: u64) {
        let store = &mut opened.store;
        if kind % 8 == 7 {
            opened.sync();
        } else if kind % 8 < 2 || self.live.is_empty() {
            let checkpoint = checkpoint(number + 1, argument.into());
            self.live.push((number + 1, store.claim(&checkpoint)));
            self.held.insert(checkpoint.generation, vec![checkpoint]);
        } else {
            let at = usize::from(argument) % self.live.len();
            let (generation, slot) = self.live[at];
            let (id, argument) = (GenerationId(generation), argument % 8);
            match kind % 8 {
                2..=4 => {
                    let next = checkpoint(generation, 1000 + number);
                    store.put(slot, &next);
                    self.held.entry(id).or_default().push(next);
                }
                5 => {
                    store.free(slot);
                    self.live.remove(at);
                    self.held.remove(&id);
                }
                _ => {
                    let path = format!("/l/{argument}");
                    store.name(id, &path);
                    self.names.entry(id).or_default().insert(path);
                    store.first_sight(&format!("web{argument}"), Sight::Once, 5);
                }
            }
        }
    }
}

fn damaged(steps: &[[u8; 2]], damages: &[[u8; 5]], opener: Opener) {
    let disk = Disk::default();
    let (store, slots, syncer) = open(Arc::new(disk.clone())).expect("an empty disk is a first start");
    let mut opened = Opened { disk, store, slots, syncer, now: Nanos(0) };
    let mut written = Written::default();
    for (number, step) in steps.iter().enumerate() {
        written.step(&mut opened, *step, number as u64);
    }
    let before = opened.content();
    let mut after = before.clone();
    damages.iter().for_each(|damage| apply(damage, &mut after));

    let Some(mut opened) = open_or_be_refused(&after, opener) else {
        assert_ne!(before, after, "what was written is refused");
        return;
    };
    let found = opened.found();
    assert_eq!(found.len(), opened.slots.len(), "a generation is there twice");
    for (generation, checkpoint) in &found {
        let held = written.held.get(generation).map_or(&[][..], Vec::as_slice);
        assert!(held.contains(checkpoint), "nobody wrote {checkpoint:?}; written was {held:?}");
        if let Some(names) = opened.store.names(*generation) {
            let known = |path| written.names.get(generation).is_some_and(|names| names.contains(path));
            assert!(known(&names.origin) && known(&names.current), "nobody wrote {names:?}");
        }
    }
    for generation in covered(&before[POSITIONS], after.get(POSITIONS).map_or(&[], Vec::as_slice)) {
        assert!(found.contains_key(&generation), "{generation:?} was synced, and is missing in silence");
    }
    if before == after {
        let newest = written.held.iter().map(|(id, held)| (*id, *held.last().expect("at least one")));
        assert_eq!(found, newest.collect(), "what is not damaged is as it was written last");
    }
    let catalog_is_whole = before.get(CATALOG) == after.get(CATALOG);
    if catalog_is_whole || !found.is_empty() {
        for item in items(&before[CATALOG]) {
            assert!(
                opened.store.first_sight(&item, Sight::Once, 9).is_none(),
                "{item} was seen before: its lines are skipped"
            );
        }
    }
    opens_again(opened, opener);
}

/// Items that a catalog names. They are names without anything that JSON escapes.
fn items(catalog: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(catalog);
    let quoted = text.split('"').filter(|word| word.starts_with("web") && word.len() == 4);
    quoted.map(str::to_owned).collect()
}

/// The generations that a sync has covered, as far as a header that is not damaged says so.
fn covered(before: &[u8], after: &[u8]) -> BTreeSet<GenerationId> {
    let block = |number: usize| number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES;
    let whole = [0, 1].into_iter().filter(|&side| after.get(block(side)) == before.get(block(side)));
    let number = |at: usize, len: usize| {
        before[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    };
    let newest = whole.max_by_key(|&side| number(side * BLOCK_BYTES + 16, 8));
    let proven = newest.map_or(0, |side| number(side * BLOCK_BYTES + 12, 4));
    let mut generations = BTreeSet::new();
    for slot in 0..proven as usize {
        let per_block = BLOCK_BYTES / COPY_BYTES;
        let copy = (2 + slot / per_block * 2) * BLOCK_BYTES + slot % per_block * COPY_BYTES;
        if before[copy + 8] == 1 {
            generations.insert(GenerationId(number(copy + 16, 8)));
        }
    }
    generations
}

/// Damages one file in one place.
fn apply(&[kind, file, low, high, value]: &[u8; 5], content: &mut Content) {
    let name = [POSITIONS, POSITIONS, POSITIONS, CATALOG, "positions.new", "catalog.json.new"]
        [usize::from(file % 6)];
    let bytes = content.entry(name.to_owned()).or_default();
    if bytes.is_empty() {
        bytes.extend_from_slice(&[value; 9]);
        return;
    }
    let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
    // Copies whole units of the layout to another place.
    let mut moved = |unit: usize| {
        let (from, to) = (at / unit * unit, usize::from(value) * unit);
        if from + unit <= bytes.len() && to + unit <= bytes.len() {
            bytes.copy_within(from..from + unit, to);
        }
    };
    match kind % 7 {
        0 => bytes[at] ^= value.max(1),
        1 => bytes[at] = value,
        2 => bytes.truncate(at),
        3 => {
            let end = bytes.len().min(at + (usize::from(value) + 1) * 64);
            bytes[at..end].fill(0);
        }
        4 => moved(COPY_BYTES),
        5 => moved(BLOCK_BYTES),
        _ => drop(content.remove(name)),
    }
}
