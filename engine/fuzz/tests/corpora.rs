//! The committed inputs of every fuzz target, run again: what was found once is not lost again, and code that
//! the fuzzer has reached is reached in every test run. And whether what judges them would notice.

#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use logdrive_core::batch::Event;
use logdrive_core::frame::{ByteOrder, Copied, End, Framed, Stretch};
use logdrive_core::position::Position;
use logdrive_fuzz::framing::{FRAMERS, Framers};
use logdrive_fuzz::{configuration, framing, http, operations, state};

/// A corpus has no more, so that it takes seconds.
const INPUTS_MAX: usize = 200;
/// All corpora together.
const BYTES_MAX: usize = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(target)).unwrap().map(Result::unwrap);
    let mut inputs: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    assert!((10..=INPUTS_MAX).contains(&inputs.len()), "{target} has {} inputs", inputs.len());
    inputs
}

/// The inputs that a target fails on.
fn failing(target: &str, run: impl Fn(&[u8])) -> Vec<String> {
    let inputs = corpus(target).into_iter();
    let failing = inputs.filter(|(_, input)| catch_unwind(AssertUnwindSafe(|| run(input))).is_err());
    failing.map(|(name, _)| name).collect()
}

fn replay(target: &str, run: fn(&[u8])) {
    assert_eq!(
        failing(target, run),
        [""; 0],
        "inputs in corpus/{target}; docs/testing.md says how to run one"
    );
}

#[test]
fn c12_the_inputs_of_framing_equal_the_naive_splitter() {
    replay("framing", framing::run);
}

#[test]
fn s04_the_inputs_of_state_are_refused_or_what_was_written() {
    replay("state", state::run);
}

#[test]
fn g01_the_inputs_of_configuration_are_refused_with_their_place_or_hold() {
    replay("configuration", configuration::run);
}

#[test]
fn x02_the_inputs_of_http_are_answered_or_closed() {
    replay("http", http::run);
}

#[test]
fn the_inputs_of_operations_break_no_promise() {
    replay("operations", operations::run);
}

#[test]
fn the_corpora_stay_small() {
    let inputs = ["framing", "state", "configuration", "http", "operations"].map(corpus);
    let bytes: usize = inputs.iter().flatten().map(|(_, input)| input.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}

// Broken on purpose: each must be found by the inputs that are there.

#[test]
fn framers_that_are_wrong_are_found() {
    let broken: [(&str, Framers); 10] = [
        (
            "forgets the last event",
            Framers {
                plain: |policy, bytes, skipping, end, limit, events| {
                    let framed = policy.frame(bytes, skipping, end, limit, events);
                    events.pop();
                    framed
                },
                ..FRAMERS
            },
        ),
        (
            "settles an unfinished line",
            Framers {
                plain: |policy, bytes, skipping, end, limit, events| {
                    let framed = policy.frame(bytes, skipping, end, limit, events);
                    Framed { settled: bytes.len(), ..framed }
                },
                ..FRAMERS
            },
        ),
        (
            "forgets that a line is skipped",
            Framers {
                plain: |policy, bytes, _, end, limit, events| policy.frame(bytes, false, end, limit, events),
                ..FRAMERS
            },
        ),
        (
            "counts what it drops as sent",
            Framers {
                plain: |policy, bytes, skipping, end, limit, events| {
                    let framed = policy.frame(bytes, skipping, end, limit, events);
                    Framed { lines: framed.lines + framed.dropped.filtered.lines, ..framed }
                },
                ..FRAMERS
            },
        ),
        (
            "does not look at the mark",
            Framers {
                encoded: |policy, charset, file, skipping, end, limit, into| {
                    let file = Stretch { order: ByteOrder::Little, ..file };
                    policy.decode_lines(charset, file, skipping, end, limit, into)
                },
                ..FRAMERS
            },
        ),
        (
            "takes every read for the beginning of the file",
            Framers {
                encoded: |policy, charset, file, skipping, end, limit, into| {
                    let file = Stretch { position: Position::ZERO, ..file };
                    policy.decode_lines(charset, file, skipping, end, limit, into)
                },
                ..FRAMERS
            },
        ),
        (
            "flushes a part of a character",
            Framers {
                encoded: |policy, charset, file, skipping, end, limit, into| {
                    let end = if end == End::Flush { End::Closed } else { end };
                    policy.decode_lines(charset, file, skipping, end, limit, into)
                },
                ..FRAMERS
            },
        ),
        (
            "says where a line is, and not where in the line",
            Framers {
                encoded: |policy, charset, file, skipping, end, limit, into| {
                    let Copied { bytes, events, details } = into;
                    let into = Copied { bytes, events: &mut *events, details: &mut *details };
                    let framed = policy.decode_lines(charset, file, skipping, end, limit, into);
                    let is_piece = |pair: &[Event]| pair[0].start + pair[0].len == pair[1].start;
                    for at in 1..details.len() {
                        if is_piece(&events[at - 1..=at]) {
                            details[at] = details[at - 1];
                        }
                    }
                    framed
                },
                ..FRAMERS
            },
        ),
        (
            "settles what follows an open line of a container",
            Framers {
                wrapped: |policy, wrapping, bytes, skipping, end, limit, into| {
                    let framed = policy.unwrap_lines(wrapping, bytes, skipping, end, limit, into);
                    let lines = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                    Framed { settled: framed.settled.max(lines), ..framed }
                },
                ..FRAMERS
            },
        ),
        (
            "closes what is open with every read",
            Framers {
                wrapped: |policy, wrapping, bytes, skipping, _, limit, into| {
                    policy.unwrap_lines(wrapping, bytes, skipping, End::Closed, limit, into)
                },
                ..FRAMERS
            },
        ),
    ];
    for (what, framers) in broken {
        assert_ne!(failing("framing", |input| framing::check(input, framers)), [""; 0], "one that {what}");
    }
    assert_eq!(failing("framing", framing::run), [""; 0]);
}

#[test]
fn stores_that_are_wrong_are_found() {
    let broken: [(&str, state::Opener); 2] = [
        ("begins anew in silence where it should refuse", |disk| {
            state::open(disk.clone()).or_else(|_| {
                disk.remove("positions").and_then(|()| disk.remove("catalog.json")).unwrap();
                state::open(disk)
            })
        }),
        ("forgets a generation", |disk| {
            let (store, mut slots, syncer) = state::open(disk)?;
            slots.pop();
            Ok((store, slots, syncer))
        }),
    ];
    for (what, opener) in broken {
        assert_ne!(failing("state", |input| state::check(input, opener)), [""; 0], "one that {what}");
    }
}

#[test]
fn readers_of_configurations_that_are_wrong_are_found() {
    let broken: [(&str, configuration::Reader); 3] = [
        ("forgets the places", |text| {
            configuration::read(text).map_err(|refused| refused.replace("a.toml:", "a.toml"))
        }),
        ("is one line off", |text| {
            let lines = text.iter().filter(|&&byte| byte == b'\n').count();
            configuration::read(text).map_err(|_| format!("error: a.toml:{}:1: wrong", lines + 2))
        }),
        ("accepts an item without files", |text| {
            configuration::read(text).map(|mut plan| {
                plan.items[0].include.clear();
                plan
            })
        }),
    ];
    for (what, reader) in broken {
        let found = failing("configuration", |input| configuration::check(input, reader));
        assert_ne!(found, [""; 0], "one that {what}");
    }
}

#[test]
fn answers_that_are_wrong_are_found() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncache-control: no-store\r\n\
                x-content-type-options: nosniff\r\n\r\nok\n";
    let judged = |answer: &str| http::judge(answer.as_bytes(), true);
    assert_eq!(judged(&page.repeat(2)), Ok(vec![200, 200]));
    assert_eq!(judged(""), Ok(vec![]));
    assert_eq!(judged(&page[..page.len() - 3]), Ok(vec![200]), "as to HEAD");
    for wrong in [
        "ok\n".to_owned(),
        page[..page.len() - 1].to_owned(),
        page.replace("200", "500"),
        page.replace("nosniff", "sniff"),
        page.replace("content-length: 3", "content-length 3"),
        page.to_owned() + "and more",
    ] {
        assert!(judged(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_inputs_of_operations_have_everything_that_can_happen() {
    let happening: BTreeSet<String> =
        corpus("operations").iter().flat_map(|(_, input)| operations::kinds(input)).collect();
    let possible: BTreeSet<String> = (0..20_000_u32)
        .flat_map(|seed| operations::kinds(&[&[0][..], &seed.to_le_bytes()].concat()))
        .collect();
    assert!(possible.len() > 20, "{possible:?}");
    let missing: Vec<_> = possible.difference(&happening).collect();
    assert!(missing.is_empty(), "no input has {missing:?}");
}
