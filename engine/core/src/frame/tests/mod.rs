//! The framer against the naive splitter of `reference`, for every small input and many larger ones.

mod containers;
mod encoded;
mod stories;

use std::vec::Vec;

use proptest::prelude::*;
use regex::bytes::{Regex, RegexSet};

use super::reference::{Reader, Reference, Text, consumer_lines, reference};
use super::*;

fn lines_of(line_bytes_max: usize) -> FramePolicy {
    FramePolicy {
        line_bytes_max,
        on_long_line: LongLine::Truncate,
        carriage_return: CarriageReturn::Keep,
        multiline_start: None,
        flush_after: None,
        unit: EventUnit::Line,
        include_lines: None,
        exclude_lines: None,
        form: Form::Plain,
    }
}

fn regex(pattern: &str) -> Option<Regex> {
    Some(Regex::new(pattern).unwrap())
}

fn set(pattern: &str) -> Option<RegexSet> {
    Some(RegexSet::new([pattern]).unwrap())
}

impl Reader {
    fn more(&mut self, policy: &FramePolicy, file: &[u8]) -> usize {
        self.pass(policy, file, End::More, Limit::NONE)
    }

    fn close(mut self, policy: &FramePolicy, file: &[u8]) -> Reference {
        self.pass(policy, file, End::Closed, Limit::NONE);
        assert_eq!(self.settled, file.len(), "a file that is closed is settled");
        self.seen
    }
}

/// Every policy of the small space that the exhaustive tests walk through.
fn small_policies(line_bytes_max: usize) -> Vec<FramePolicy> {
    let mut all = Vec::new();
    for multiline_start in [None, regex("^a"), regex("a$"), regex("^$")] {
        for on_long_line in [LongLine::Truncate, LongLine::Split, LongLine::Drop] {
            for carriage_return in [CarriageReturn::Keep, CarriageReturn::Strip] {
                let multiline_start = multiline_start.clone();
                let policy = lines_of(line_bytes_max);
                all.push(FramePolicy { multiline_start, on_long_line, carriage_return, ..policy });
            }
        }
    }
    all
}

/// Checks a string and all that continue it. `states[i]` is where one pass over its first `i` bytes
/// ends. To continue from `states[i]` with the whole string must end where one pass over all of it
/// does; by induction over the reads, so does every chunking.
fn walk(all: &Walk<'_>, file: &mut Vec<u8>, states: &mut Vec<Reader>) {
    let policy = all.policy;
    let mut whole = Reader::default();
    whole.more(policy, file);
    for state in states.iter() {
        let mut continued = state.clone();
        continued.more(policy, file);
        assert_eq!(continued, whole, "{policy:?} {file:x?} from {state:?}");
    }
    let mut one_by_one = Reader::default();
    while one_by_one.pass(policy, file, End::More, Limit { events_max: 1, lines_max: 9 }) > 0 {}
    assert_eq!(one_by_one, whole, "{policy:?} {file:x?}");

    let unsettled = file.len() - whole.settled;
    assert!(unsettled < policy.buffer_bytes_min(), "{policy:?} {file:x?}");
    let text = (all.text)(file);
    if policy.multiline_start.is_none() {
        let lines_end = text.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        assert!(text.place_of(whole.settled) >= lines_end, "{policy:?} {file:x?}");
    }
    let finished = whole.clone().close(policy, file);
    assert_eq!(finished, reference(policy, &text), "{policy:?} {file:x?}");

    if file.len() < all.bytes_max {
        states.push(whole);
        for byte in all.alphabet {
            file.push(*byte);
            walk(all, file, states);
            file.pop();
        }
        states.pop();
    }
}

/// All files of some length and bytes, and what is made of them.
struct Walk<'a> {
    policy: &'a FramePolicy,
    text: &'a dyn Fn(&[u8]) -> Text,
    alphabet: &'a [u8],
    bytes_max: usize,
}

#[test]
fn every_chunking_of_every_small_string_equals_the_naive_splitter() {
    for line_bytes_max in 1..=4 {
        for policy in small_policies(line_bytes_max) {
            let bytes_max = if policy.multiline_start.is_none() { 8 } else { 7 };
            let all = Walk { policy: &policy, text: &Text::plain, alphabet: b"a\n\r", bytes_max };
            walk(&all, &mut Vec::new(), &mut Vec::new());
        }
    }
}

/// The induction of [`walk`], checked by brute force where that is affordable.
#[test]
fn every_chunking_one_by_one_for_tiny_strings() {
    for policy in small_policies(2) {
        for code in 0..3_usize.pow(5) {
            let text: Vec<u8> = (0..5).map(|at| b"a\n\r"[code / 3_usize.pow(at) % 3]).collect();
            for cuts in 0..1_u32 << 4 {
                let mut reader = Reader::default();
                for at in (1..5).filter(|at| cuts >> (at - 1) & 1 == 1) {
                    reader.more(&policy, &text[..at]);
                }
                let expected = reference(&policy, &Text::plain(&text));
                assert_eq!(reader.close(&policy, &text), expected, "{policy:?} {text:?}");
            }
        }
    }
}

fn any_policy() -> impl Strategy<Value = FramePolicy> {
    let start = prop_oneof![
        3 => Just(None),
        1 => Just(Some("^[0-9]")),
        1 => Just(Some("x$")),
        1 => Just(Some("^")),
        1 => Just(Some("never")),
    ];
    let include = prop_oneof![3 => Just(None), 1 => Just(Some("a|7")), 1 => Just(Some("(?-u)^[^b]*$"))];
    let exclude = prop_oneof![3 => Just(None), 1 => Just(Some("^x")), 1 => Just(Some("^$"))];
    let long = prop_oneof![Just(LongLine::Truncate), Just(LongLine::Split), Just(LongLine::Drop)];
    (1..70_usize, long, any::<bool>(), start, include, exclude).prop_map(
        |(line_bytes_max, on_long_line, strip, start, include, exclude)| FramePolicy {
            line_bytes_max,
            on_long_line,
            carriage_return: if strip { CarriageReturn::Strip } else { CarriageReturn::Keep },
            multiline_start: start.and_then(regex),
            include_lines: include.and_then(set),
            exclude_lines: exclude.and_then(set),
            ..lines_of(1)
        },
    )
}

/// Lines of the lengths at which vector code changes its path, and of bytes that are no text.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => Just(&b"\n"[..]),
        2 => Just(&b"\r\n"[..]),
        1 => Just(&b"\r"[..]),
        2 => Just(&b"7 begins"[..]),
        2 => Just(&b"b continues"[..]),
        2 => Just(&b"x"[..]),
        1 => Just(&b"\0\xff\xc0\x80"[..]),
        1 => Just(&b"0123456789abcdef0123456789abcdef"[..]),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// One read of the tail: how much the file has grown, how much of it fits into the buffer beyond the
/// least that is allowed, and where the pass stops.
fn any_reads() -> impl Strategy<Value = Vec<(usize, usize, usize, u32)>> {
    prop::collection::vec((0..40_usize, 0..40_usize, 1..5_usize, 1..9_u32), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_reads_of_any_text_equal_the_naive_splitter(
        policy in any_policy(), text in any_text(), reads in any_reads(),
    ) {
        let mut reader = Reader::default();
        let mut size = 0;
        for (growth, room, events_max, lines_max) in reads {
            size = (size + growth).min(text.len());
            let buffer = policy.buffer_bytes_min() + room;
            let read = size.min(reader.settled + buffer);
            let full = read == reader.settled + buffer;
            let settled = reader.pass(&policy, &text[..read], End::More, Limit { events_max, lines_max });
            prop_assert!(settled > 0 || !full, "a full buffer must settle something");
        }
        prop_assert_eq!(reader.close(&policy, &text), reference(&policy, &Text::plain(&text)));
    }

    /// The hot loop, the multiline code and filters that let all pass are one semantics.
    #[test]
    fn the_ways_through_the_code_agree(policy in any_policy(), text in any_text()) {
        let plain = FramePolicy {
            multiline_start: None, include_lines: None, exclude_lines: None, ..policy
        };
        let filtered = FramePolicy { include_lines: set("(?s-u:^.*$)"), ..plain.clone() };
        let multiline = FramePolicy { multiline_start: regex("(?-u)^"), ..plain.clone() };
        let expected = Reader::default().close(&plain, &text);
        prop_assert_eq!(&Reader::default().close(&filtered, &text), &expected);
        prop_assert_eq!(&Reader::default().close(&multiline, &text), &expected);
    }

    #[test]
    fn chunks_hold_the_lines_of_the_naive_splitter(
        policy in any_policy(), text in any_text(), reads in any_reads(), bytes_max in 1..90_usize,
    ) {
        let lines = FramePolicy { multiline_start: None, ..policy };
        let chunks = FramePolicy { unit: EventUnit::Chunk { bytes_max }, ..lines.clone() };
        let mut reader = Reader::default();
        let mut size = 0;
        for (growth, _, events_max, lines_max) in reads {
            size = (size + growth).min(text.len());
            reader.pass(&chunks, &text[..size], End::More, Limit { events_max, lines_max });
        }
        let mut got = reader.close(&chunks, &text);
        for event in &got.events {
            prop_assert!(event.len() <= bytes_max || !event.contains(&b'\n'), "{event:?}");
        }
        got.events = got.events.iter().flat_map(|event| consumer_lines(&lines, event)).collect();
        let expected = reference(&lines, &Text::plain(&text));
        // A chunk has the place of its first line.
        prop_assert!(got.places.iter().all(|place| expected.places.contains(place)));
        got.places.clone_from(&expected.places);
        prop_assert_eq!(got, expected);
    }
}
