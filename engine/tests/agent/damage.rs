//! S04: every flipped bit and every cut of the state that an agent wrote, which files came to and went from,
//! and which a kill ended in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logdrive::state::{Sight, StateError, StateStore};

use crate::lines::Family;
use crate::site::Site;
use crate::state_disk::Disk;
use crate::wait::until_true;

/// The layout of `docs/state.md`.
const BLOCK: usize = 4096;
const COPY: usize = 128;
const HEADERS: usize = 2 * BLOCK;
/// Headers and the first group of slots, which is more than the files of the test take.
const IN_USE: usize = HEADERS + 2 * BLOCK;

type Content = BTreeMap<String, Vec<u8>>;

/// The state folder of an agent that was killed: seven generations in use, one slot given back.
fn lived_in() -> Content {
    let site = Site::new();
    let mut families: Vec<Family> =
        (0..6).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
    let agent = site.reading("*.log*").start();
    let mut sent = 0;
    for round in 0..4 {
        for (at, family) in families.iter_mut().enumerate() {
            family.write(at + round);
            sent += at + round;
        }
        site.topic.await_count(sent);
        until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        match round {
            0 => families[0].rotate(&site.log("f0.log.1")),
            1 => std::fs::remove_file(families.remove(1).path()).unwrap(),
            _ => {}
        }
    }
    until_true("what is gone is forgotten", || agent.status()["state"]["generations"] == 6);
    agent.kill();
    let file = |name: &str| (name.to_owned(), std::fs::read(site.state().join(name)).unwrap());
    BTreeMap::from([file("positions"), file("catalog.json")])
}

/// Hears whether anybody warns.
#[derive(Default)]
struct Ear(AtomicBool);

impl tracing::Subscriber for Ear {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn new_span(&self, _attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

/// What a start finds, and whether it says that something was wrong.
fn start(content: &Content) -> Result<(StateStore, BTreeMap<u64, u64>, bool), StateError> {
    thread_local!(static EAR: tracing::Dispatch = tracing::Dispatch::new(Ear::default()));
    EAR.with(|dispatch| {
        let ear = dispatch.downcast_ref::<Ear>().expect("it is one");
        ear.0.store(false, Ordering::Relaxed);
        let disk = Arc::new(Disk::holding(content));
        let open = || StateStore::open_on(disk, Path::new("/state"));
        let (store, slots, _) = tracing::dispatcher::with_default(dispatch, open)?;
        let found = slots.iter().map(|(_, held)| (held.generation.0, held.position.0)).collect();
        Ok((store, found, ear.0.load(Ordering::Relaxed)))
    })
}

/// The positions in all copies of each generation.
fn copies(positions: &[u8]) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    let number = |copy: &[u8], at: usize| u64::from_le_bytes(copy[at..at + 8].try_into().unwrap());
    for copy in positions[HEADERS..].chunks(COPY).filter(|copy| copy[8] == 1) {
        found.entry(number(copy, 16)).or_default().insert(number(copy, 48));
    }
    found
}

/// Every bit of what says something; one bit of each byte of what is empty.
fn bits(positions: &[u8]) -> Vec<usize> {
    let empty = |at: usize| match at {
        ..HEADERS => (64..BLOCK - 8).contains(&(at % BLOCK)),
        _ => positions[at - at % COPY..].iter().take(COPY).all(|&byte| byte == 0),
    };
    (0..IN_USE)
        .flat_map(|at| if empty(at) { at * 8 + at % 8..at * 8 + at % 8 + 1 } else { at * 8..at * 8 + 8 })
        .chain((IN_USE..positions.len()).step_by(COPY).map(|at| at * 8))
        .collect()
}

#[test]
fn s04_every_flipped_bit_of_a_state_that_an_agent_wrote_is_seen_and_costs_at_most_one_update() {
    let content = lived_in();
    let (_, whole, mended) = start(&content).unwrap();
    assert!(!mended && whole.len() == 6, "{whole:?}");
    let copies = copies(&content["positions"]);
    let bits = bits(&content["positions"]);
    let judge = |bit: usize, content: &mut Content| {
        content.get_mut("positions").unwrap()[bit / 8] ^= 1 << (bit % 8);
        let (_, found, noticed) = start(content).unwrap_or_else(|error| panic!("bit {bit}: {error}"));
        assert!(noticed, "bit {bit} went unnoticed");
        assert!(found.keys().eq(whole.keys()), "bit {bit}: {found:?}");
        let other = found.iter().filter(|(generation, position)| whole[generation] != **position);
        let other: Vec<_> = other.collect();
        assert!(other.len() <= 1, "bit {bit} cost more than one file an update: {other:?}");
        for (generation, position) in other {
            assert!(*position < whole[generation], "bit {bit}: a position that was never acknowledged");
            assert!(copies[generation].contains(position), "bit {bit} made up {position}");
        }
        content.get_mut("positions").unwrap()[bit / 8] ^= 1 << (bit % 8);
    };
    std::thread::scope(|scope| {
        for half in bits.chunks(bits.len().div_ceil(2)) {
            // The end of the file is looked at in the few that are about it: it costs time in all others.
            let (mut near, mut far) = (content.clone(), content.clone());
            near.get_mut("positions").unwrap().truncate(IN_USE);
            let judge = &judge;
            scope.spawn(move || {
                half.iter().for_each(|&bit| judge(bit, if bit < IN_USE * 8 { &mut near } else { &mut far }));
            });
        }
    });
    println!("{} bits of {} bytes", bits.len(), content["positions"].len());
}

#[test]
fn s04_every_cut_of_a_state_that_an_agent_wrote_is_refused_or_costs_one_update_of_a_file() {
    let content = lived_in();
    let (_, whole, _) = start(&content).unwrap();
    let copies = copies(&content["positions"]);
    let length = content["positions"].len();
    let (mut refused, mut mended) = (0, 0);
    let near_a_copy = |length: &usize| matches!(length % COPY, 0 | 1 | 60 | 127);
    for length in (0..IN_USE).filter(near_a_copy).chain((IN_USE..length).step_by(512)) {
        let mut cut = content.clone();
        cut.get_mut("positions").unwrap().truncate(length);
        let Ok((_, found, noticed)) = start(&cut) else {
            refused += 1;
            continue;
        };
        mended += usize::from(noticed);
        assert!(found.keys().eq(whole.keys()), "cut at {length}: {found:?}");
        for (generation, position) in &found {
            assert!(
                *position <= whole[generation] && copies[generation].contains(position),
                "cut at {length}"
            );
            // What is missing was empty, if nobody noticed.
            assert!(noticed || *position == whole[generation], "cut at {length} went unnoticed");
        }
    }
    assert!(refused > 0 && mended > 0, "{refused} refused, {mended} mended");
}

#[test]
fn s04_no_flipped_bit_of_a_catalog_makes_a_known_item_new() {
    let content = lived_in();
    let (_, whole, _) = start(&content).unwrap();
    let catalog: serde_json::Value = serde_json::from_slice(&content["catalog.json"]).unwrap();
    let item = catalog["items"].as_object().unwrap().keys().next().unwrap();
    for bit in 0..content["catalog.json"].len() * 8 {
        let mut flipped = content.clone();
        flipped.get_mut("positions").unwrap().truncate(IN_USE);
        flipped.get_mut("catalog.json").unwrap()[bit / 8] ^= 1 << (bit % 8);
        match start(&flipped) {
            Ok((mut store, found, _)) => {
                assert_eq!(found, whole, "bit {bit}");
                assert!(
                    store.first_sight(item, Sight::Once, 0).is_none(),
                    "bit {bit}: the item would be read by its `read_from` again"
                );
            }
            Err(error) => assert!(matches!(error, StateError::Newer { .. }), "bit {bit}: {error}"),
        }
    }
}
