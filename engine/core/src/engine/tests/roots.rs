//! Directories are looked at when patterns change: those that it concerns, and no others.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::world::item_policy;
use crate::discover::{Entry, Listing, RawPath};
use crate::engine::{Engine, Op, Start};
use crate::plan::{ItemPolicy, Limits, ReadFrom};
use crate::position::Nanos;
use crate::source::{FileId, ItemId};

fn engine() -> Engine {
    let limits = Limits {
        chunks_bytes: 8 << 20,
        open_files: 10,
        sources: 10,
        rest: Duration::from_millis(2),
        reconcile: Duration::from_secs(3600),
    };
    Engine::new(limits, 102, 1, Vec::new())
}

/// Lists what the engine wants listed, each taking a second, and says what that was.
fn listed(engine: &mut Engine, now: Nanos) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = Vec::new();
    while let Some(op) = engine.poll_op(now) {
        if let Op::List { directory } = op {
            names.push(String::from_utf8(directory.to_vec()).unwrap());
            open.push(directory);
        }
    }
    for directory in open {
        let listing = Listing { directory, entries: Vec::new(), complete: true };
        engine.handle_listing(listing, Vec::new(), now + Duration::from_secs(1), 0);
    }
    names.sort();
    names
}

#[test]
fn what_is_in_a_directory_that_is_created_later_is_new() {
    let mut engine = engine();
    engine.add_item(ItemPolicy { read_from: ReadFrom::End, ..item_policy() });
    engine.add_root(Arc::from(&b"/l"[..]));
    let directories =
        |names: &[&str]| names.iter().map(|name| Arc::from(name.as_bytes())).collect::<Vec<RawPath>>();
    let mut second = 0;
    let mut list = |engine: &mut Engine, there: &[&str]| {
        let mut opened = Vec::new();
        // Until nothing is to be listed any more; each directory has one file, with five bytes.
        second += 100;
        let now = Nanos(second * 1_000_000_000);
        while let Some(op) = engine.poll_op(now) {
            match op {
                Op::List { directory } => {
                    let ino = directory.iter().map(|&byte| u64::from(byte)).sum();
                    let path = Arc::from([&directory[..], b"/x"].concat());
                    let file = FileId { dev: 1, ino, birth_ns: 1 };
                    let entries =
                        alloc::vec![Entry { path, item: Some(ItemId(0)), file, size: 5, modified_ns: 0 }];
                    let below = if &directory[..] == b"/l" { directories(there) } else { Vec::new() };
                    engine.handle_listing(Listing { directory, entries, complete: true }, below, now, 0);
                }
                Op::Open { path, start: Start::At(position), .. } => {
                    opened.push(alloc::format!("{} at {position:?}", String::from_utf8_lossy(&path)));
                }
                _ => {}
            }
        }
        opened
    };
    assert_eq!(list(&mut engine, &["/l/a"]), ["/l/x at 5", "/l/a/x at 5"]);
    engine.list_all();
    assert_eq!(list(&mut engine, &["/l/a", "/l/b"]), ["/l/b/x at 0"]);
}

#[test]
fn a_changed_root_is_looked_at_at_once_and_no_other() {
    let (mut engine, now) = (engine(), Nanos(1_000_000_000));
    for root in ["/l/a", "/l/a/b", "/l/a-c", "/l/ab", "/m"] {
        engine.add_root(Arc::from(root.as_bytes()));
    }
    assert_eq!(listed(&mut engine, now), ["/l/a", "/l/a-c", "/l/a/b", "/l/ab", "/m"]);
    // A listing that took a second is followed by ten of rest, which are not waited for.
    engine.list_below(b"/l/a", |_| true);
    assert_eq!(listed(&mut engine, now + Duration::from_secs(1)), ["/l/a", "/l/a/b"]);
    engine.list_below(b"/l/a", |directory| directory.ends_with(b"b"));
    assert_eq!(listed(&mut engine, now + Duration::from_secs(2)), ["/l/a/b"]);
    engine.list_below(b"/x", |_| true);
    assert_eq!(listed(&mut engine, now + Duration::from_secs(3)), [""; 0]);
    engine.list_below(b"/", |_| true);
    assert_eq!(listed(&mut engine, now + Duration::from_secs(4)).len(), 5);
}
