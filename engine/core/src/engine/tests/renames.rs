//! R01: files that are renamed between a listing and the opening that follows it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::world::{item_policy, limits};
use crate::discover::{Entry, Listing};
use crate::engine::{Engine, Op, OpenFailure};
use crate::position::Nanos;
use crate::source::{FileId, ItemId, SourceId};

/// A listing of files by name and inode number, the oldest first.
fn listing(files: &[(&str, u64)]) -> Listing {
    let entry = |(age, &(name, ino)): (usize, &(&str, u64))| Entry {
        path: Arc::from(alloc::format!("/l/{name}").as_bytes()),
        item: Some(ItemId(0)),
        file: FileId { dev: 1, ino, birth_ns: ino as i64 },
        size: 10,
        modified_ns: age as i64,
    };
    Listing {
        directory: Arc::from(&b"/l"[..]),
        entries: files.iter().enumerate().map(entry).collect(),
        complete: true,
    }
}

/// Takes operations for as long as there are any: what is to be opened. Listings find `files`.
fn opened(engine: &mut Engine, files: &[(&str, u64)], now: Nanos) -> Vec<(SourceId, String)> {
    let mut opened = Vec::new();
    while let Some(op) = engine.poll_op(now) {
        match op {
            Op::List { .. } => engine.handle_listing(listing(files), Vec::new(), now, 0),
            Op::Open { source, path, .. } => {
                opened.push((source, String::from_utf8_lossy(&path).into_owned()));
            }
            _ => {}
        }
    }
    opened
}

#[test]
fn r01_a_file_that_has_another_name_by_the_time_it_is_opened_keeps_its_place() {
    let mut engine = Engine::new(limits(), 1000, 1, Vec::new());
    engine.add_item(item_policy());
    engine.add_root(Arc::from(&b"/l"[..]));
    let mut files = alloc::vec![("a.log.1", 1), ("a.log", 2)];
    let mut now = Nanos(1_000_000_000);
    for rotation in 2..8 {
        let wanted = opened(&mut engine, &files, now);
        assert_eq!(wanted.len(), 1, "only the oldest is read: {wanted:?}");
        let (source, path) = &wanted[0];
        assert_eq!(*path, alloc::format!("/l/{}", files[0].0));
        // All names have moved on: this one is another file's, or nobody's.
        let names = ["a.log.7", "a.log.6", "a.log.5", "a.log.4", "a.log.3", "a.log.2", "a.log.1", "a.log"];
        files = names[7 - rotation..].iter().copied().zip(1..).collect();
        engine.handle_open_failed(*source, OpenFailure::Vanished, now);
        // The directory has rested and is listed before the file is tried again.
        now = Nanos(now.0 + 25_000_000);
        assert_eq!(opened(&mut engine, &files, now), [], "what comes after it is not read before it");
        now = Nanos(now.0 + 1_000_000_000);
    }
}

/// Half a second of listings that the directory changes under, and then one that is believed.
#[test]
fn r01_a_directory_is_listed_again_until_its_names_rest() {
    let mut engine = Engine::new(limits(), 1000, 1, Vec::new());
    engine.add_item(item_policy());
    engine.add_root(Arc::from(&b"/l"[..]));
    let mut now = Nanos(1_000_000_000);
    let mut listings = 0;
    let wanted = loop {
        // The older file is on its way to another name, as long as names change.
        let rest = now.0 >= 1_300_000_000;
        let files = if rest { &[("a.log.1", 1), ("a.log", 2)][..] } else { &[("a.log", 2)] };
        let mut wanted = Vec::new();
        while let Some(op) = engine.poll_op(now) {
            match op {
                Op::List { .. } => {
                    listings += 1;
                    if !rest {
                        engine.handle_directory_hint(b"/l");
                    }
                    engine.handle_listing(listing(files), Vec::new(), now, 0);
                }
                Op::Open { path, .. } => wanted.push(String::from_utf8_lossy(&path).into_owned()),
                _ => {}
            }
        }
        if !wanted.is_empty() {
            break wanted;
        }
        now = engine.poll_timeout().expect("it looks again").max(Nanos(now.0 + 1));
    };
    assert_eq!(wanted, ["/l/a.log.1"], "the older one is opened first");
    assert!((6..12).contains(&listings), "{listings} listings");
}
