//! The state store in a real folder: two processes, a killed one, and changes by hand.

#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use expect_test::expect;
use logdrive::bell::Bell;
use logdrive::state::{self, Selector, Sight, StateError, StateStore, item_hash};
use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::{FileId, Fingerprint, GenerationId, Guard};

/// Makes `child` do something in another process.
const CHILD_DIR: &str = "LOGDRIVE_TEST_STATE_DIR";
const CHILD_ROLE: &str = "LOGDRIVE_TEST_STATE_ROLE";

fn checkpoint(generation: u64, position: u64) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(generation),
        file: FileId { dev: 1, ino: 100 + generation, birth_ns: 7 },
        position: Position(position),
        guard: Guard::before_end_of(b"guarded"),
        fingerprint: Fingerprint::of(b"the first bytes"),
        item: item_hash("web"),
        family: 3,
        skipping: false,
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    (parent, dir)
}

/// A closed state with two generations of one item, one of them renamed.
fn filled(dir: &Path) {
    let (mut store, _) = StateStore::open(dir, Bell::default(), 0).unwrap();
    store.first_sight("web", Sight::Once, 5);
    for (generation, path) in [(0xabc1, "/l/a.log"), (0xabd2, "/l/b.log")] {
        store.claim(&checkpoint(generation, 100));
        store.name(GenerationId(generation), path);
    }
    store.name(GenerationId(0xabc1), "/l/a.log.1");
    store.close(Nanos(0)).unwrap();
}

fn positions(dir: &Path) -> BTreeMap<u64, u64> {
    let (_store, slots) = StateStore::open(dir, Bell::default(), 0).unwrap();
    slots.iter().map(|(_, held)| (held.generation.0, held.position.0)).collect()
}

/// Not a test by itself: what the other processes of the tests below run.
#[test]
fn child() {
    let (Some(dir), Ok(role)) = (std::env::var_os(CHILD_DIR), std::env::var(CHILD_ROLE)) else { return };
    let mut out = std::io::stdout().lock();
    let (mut store, slots) = StateStore::open(Path::new(&dir), Bell::default(), 0).unwrap();
    if role == "hold" {
        writeln!(out, "held {}", std::process::id()).unwrap();
        std::thread::park();
    }
    let mut held: BTreeMap<u64, _> = slots.iter().map(|(slot, held)| (held.generation.0, *slot)).collect();
    let mut position = slots.iter().map(|(_, held)| held.position.0).max().unwrap_or(0);
    // Ends when the process is killed or its parent is gone.
    loop {
        position += 1;
        let checkpoint = checkpoint(position % 40, position);
        let slot = held.entry(position % 40).or_insert_with(|| store.claim(&checkpoint));
        store.put(*slot, &checkpoint);
        if position % 97 == 0 {
            store.request_sync(Nanos(position * 1_000_000));
        }
        while let Some(synced) = store.poll_synced() {
            synced.unwrap();
        }
        if writeln!(out, "put {position}").is_err() {
            return;
        }
    }
}

fn spawn(dir: &Path, role: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

#[test]
fn s10_a_second_process_is_told_who_holds_the_state_and_a_killed_one_leaves_no_lock() {
    let (_parent, dir) = folder();
    let (mut child, mut lines) = spawn(&dir, "hold");
    lines.find(|line| line.contains("held")).unwrap();
    let refused = StateStore::open(&dir, Bell::default(), 0).unwrap_err();
    let StateError::Held { holder, .. } = &refused else { panic!("{refused}") };
    assert!(holder.starts_with(&format!("pid {} on ", child.id())), "{holder}");
    assert!(matches!(state::forget(&dir, &Selector::new("/l/a"), 0), Err(StateError::Held { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    StateStore::open(&dir, Bell::default(), 0).unwrap();
}

#[test]
fn s01_what_was_put_before_a_sigkill_is_there_after_it() {
    let (_parent, dir) = folder();
    let mut least = 0;
    for round in 1..=20 {
        let (mut child, lines) = spawn(&dir, "put");
        let mut said = 0;
        let puts = lines.filter_map(|line| line.strip_prefix("put ")?.parse::<u64>().ok());
        for (count, position) in puts.enumerate() {
            said = position;
            if count == round * 173 {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(said > least, "round {round} made progress");
        let found = positions(&dir);
        assert!(found.values().max() >= Some(&said), "said {said}, found {found:?}");
        // The 40 generations took turns, so all of the last 40 positions must be there.
        assert!(said < 40 || found.values().all(|&position| position + 40 > said), "{said} {found:?}");
        least = said;
    }
}

#[test]
fn the_files_are_private_and_nothing_else_is_left() {
    let (_parent, dir) = folder();
    filled(&dir);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["catalog.json", "lock", "positions"]);
}

#[test]
fn the_state_is_listed_and_shown_while_an_agent_holds_it() {
    let (_parent, dir) = folder();
    filled(&dir);
    let (_agent, _) = StateStore::open(&dir, Bell::default(), 0).unwrap();
    let snapshot = state::inspect(&dir).unwrap();
    expect![[r#"
        GENERATION        POSITION  ITEM  PATH
        000000000000abc1       100  web   /l/a.log.1
        000000000000abd2       100  web   /l/b.log
    "#]]
    .assert_eq(&snapshot.table());
    expect![[r#"
        generation   000000000000abc1
        path         /l/a.log.1
        first found  /l/a.log
        item         web
        position     100
        file         device 1, inode 44069, born 7 ns
        known by     first 15 bytes, 7 bytes before the position

    "#]]
    .assert_eq(&snapshot.clone().only(&Selector::new("/l/a.log")).unwrap().details());
    assert!(snapshot.json().contains(r#""path": "/l/b.log""#));
    assert!(snapshot.only(&Selector::new("/l/c.log")).is_err());
}

#[test]
fn a_position_is_set_and_a_generation_forgotten_by_path_or_number() {
    let (_parent, dir) = folder();
    filled(&dir);
    let set = state::set(&dir, &Selector::new("/l/a.log.1"), Position(7), 0).unwrap();
    assert_eq!((set.position, set.guard), (Position(7), Guard::default()));
    let ambiguous = state::set(&dir, &Selector::new("000000000000ab"), Position(7), 0).unwrap_err();
    assert!(ambiguous.to_string().contains("000000000000abc1, 000000000000abd2"), "{ambiguous}");
    assert_eq!(state::forget(&dir, &Selector::new("000000000000ABD2"), 0).unwrap().len(), 1);
    assert_eq!(positions(&dir), BTreeMap::from([(0xabc1, 7)]));
    let gone = state::forget(&dir, &Selector::new("/l/b.log"), 0).unwrap_err();
    assert!(gone.to_string().contains("logdrive state list"), "{gone}");
}

#[test]
fn s04_a_damaged_slot_is_refused_until_it_is_dropped_by_hand() {
    let (_parent, dir) = folder();
    filled(&dir);
    let path = dir.join("positions");
    let mut bytes = fs::read(&path).unwrap();
    for copy in [8192, 12288] {
        bytes[copy + 20] ^= 0x10;
    }
    fs::write(&path, &bytes).unwrap();
    let refused = StateStore::open(&dir, Bell::default(), 0).unwrap_err().to_string();
    assert!(refused.contains("1 of 2 slots have no valid copy"), "{refused}");
    assert!(refused.contains("logdrive state forget --damaged"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "what is refused stays untouched");
    assert_eq!(state::forget_damaged(&dir, 0).unwrap(), 1);
    assert_eq!(positions(&dir), BTreeMap::from([(0xabd2, 100)]));
}

#[test]
fn s09_a_mistyped_folder_is_not_created_by_looking_or_changing() {
    let (_parent, dir) = folder();
    let selector = Selector::new("/l/a.log");
    let errors = [
        state::inspect(&dir).map(|_| ()),
        state::set(&dir, &selector, Position(0), 0).map(|_| ()),
        state::forget(&dir, &selector, 0).map(|_| ()),
        state::forget_damaged(&dir, 0).map(|_| ()),
    ];
    for error in errors {
        assert!(error.unwrap_err().to_string().starts_with("cannot open "));
    }
    assert!(!dir.exists());
}
