//! Logs of containers: stories with exact endings, and any chunking against a naive join.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::wrapped::{Stream, Wrapping};
use super::*;

const TIME: &str = "2026-01-02T03:04:05.1Z";

fn cri(stream: Stream, tag: &str, text: &str) -> String {
    format!("{TIME} {} {tag} {text}\n", stream.name())
}

fn docker(stream: Stream, tag: &str, text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\u0009");
    let end = if tag == "F" { "\\n" } else { "" };
    format!("{{\"log\":\"{text}{end}\",\"stream\":\"{}\",\"time\":\"{TIME}\"}}\n", stream.name())
}

fn line(wrapping: Wrapping, stream: Stream, tag: &str, text: &str) -> String {
    match wrapping {
        Wrapping::Docker => docker(stream, tag, text),
        Wrapping::Cri => cri(stream, tag, text),
    }
}

/// What became of a file: `place stream text` of each event, and the rest in numbers.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    events: Vec<String>,
    settled: usize,
    skipping: bool,
    lines: u32,
    dropped: Dropped,
}

impl Seen {
    fn pass(
        &mut self,
        policy: &FramePolicy,
        wrapping: Wrapping,
        file: &[u8],
        end: End,
        limit: Limit,
    ) -> usize {
        let file = &file[self.settled..];
        let (mut bytes, mut events, mut details) =
            (BytesMut::with_capacity(file.len()), Vec::new(), Vec::new());
        let room = bytes.as_ptr();
        let into = Copied { bytes: &mut bytes, events: &mut events, details: &mut details };
        let framed = policy.unwrap_lines(wrapping, file, self.skipping, end, limit, into);
        assert!(file.is_empty() || bytes.as_ptr() == room, "what is unwrapped is no longer than the file");
        assert!(bytes.len() <= framed.settled);
        assert_eq!(events.len(), details.len());
        for (event, detail) in events.iter().zip(&details) {
            let range = |event: Event| event.start as usize..(event.start + event.len) as usize;
            let text = String::from_utf8_lossy(&bytes[range(*event)]).into_owned();
            let stream = detail.stream.map_or("damaged", Stream::name);
            if detail.stream.is_some() {
                assert_eq!(&bytes[range(detail.time)], TIME.as_bytes());
            }
            self.events.push(format!("{} {stream} {text}", self.settled + detail.place as usize));
        }
        self.settled += framed.settled;
        self.skipping = framed.skipping;
        self.lines += framed.lines;
        self.dropped.filtered.add(framed.dropped.filtered.lines, framed.dropped.filtered.bytes as usize);
        self.dropped.long.add(framed.dropped.long.lines, framed.dropped.long.bytes as usize);
        self.dropped.truncated += framed.dropped.truncated;
        self.dropped.damaged += framed.dropped.damaged;
        framed.settled
    }
}

/// Reads a file that grows to each of these ends, and flushes it.
fn seen(policy: &FramePolicy, wrapping: Wrapping, file: &[u8], ends: &[usize], limit: Limit) -> Seen {
    let mut seen = Seen::default();
    for &end in ends.iter().chain([&file.len()]) {
        while seen.pass(policy, wrapping, &file[..end.min(file.len())], End::More, limit) > 0 {}
    }
    while seen.settled < file.len() {
        assert!(
            seen.pass(policy, wrapping, file, End::Flush, limit) > 0,
            "a flush settles something: {seen:?}"
        );
    }
    seen
}

fn check(policy: &FramePolicy, lines: &[String], expected: &[&str]) -> Seen {
    let seen = seen(policy, Wrapping::Cri, lines.concat().as_bytes(), &[], Limit::NONE);
    assert_eq!(seen.events, expected);
    let accounted = seen.lines + seen.dropped.filtered.lines + seen.dropped.long.lines;
    assert_eq!(accounted as usize, lines.len(), "each line of the file is counted once: {seen:?}");
    seen
}

use Stream::{Stderr, Stdout};

#[test]
fn pieces_are_joined_by_stream_and_an_event_is_where_its_first_piece_is() {
    let lines = [
        cri(Stdout, "F", "one"),
        cri(Stdout, "P", "a"),
        cri(Stderr, "P", "x"),
        cri(Stdout, "P", "b"),
        cri(Stderr, "F", "y"),
        cri(Stderr, "F", "whole"),
        cri(Stdout, "F", "c"),
        cri(Stdout, "F", ""),
    ];
    let at = |line: usize| lines[..line].concat().len();
    let of = |line: usize, rest: &str| format!("{} {rest}", at(line));
    let expected = [
        of(0, "stdout one"),
        of(2, "stderr xy"),
        of(5, "stderr whole"),
        of(1, "stdout abc"),
        of(7, "stdout "),
    ];
    check(&lines_of(100), &lines, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_follows_an_open_line_is_not_settled_and_not_sent_twice() {
    let (policy, mut seen) = (lines_of(100), Seen::default());
    let first = cri(Stdout, "F", "one");
    let open = first.clone() + &cri(Stdout, "P", "a") + &cri(Stderr, "F", "x");
    seen.pass(&policy, Wrapping::Cri, open.as_bytes(), End::More, Limit::NONE);
    assert_eq!((seen.settled, &seen.events[..]), (first.len(), &["0 stdout one".to_string()][..]));
    let closed = open.clone() + &cri(Stdout, "F", "b");
    seen.pass(&policy, Wrapping::Cri, closed.as_bytes(), End::More, Limit::NONE);
    assert_eq!(seen.settled, closed.len());
    assert_eq!(seen.events[1..], ["70 stderr x", "36 stdout ab"].map(String::from));
}

#[test]
fn a_joined_line_that_is_too_long_falls_under_the_policy() {
    let lines =
        [cri(Stdout, "P", "abcd"), cri(Stdout, "P", "efgh"), cri(Stdout, "F", "ij"), cri(Stdout, "F", "k")];
    let place = lines[..3].concat().len();
    let mut policy = lines_of(5);
    let seen = check(&policy, &lines, &["0 stdout abcde", &format!("{place} stdout k")]);
    assert_eq!((seen.dropped.truncated, seen.dropped.long.bytes), (1, 5));
    policy.on_long_line = LongLine::Split;
    check(&policy, &lines, &["0 stdout abcde", "0 stdout fghij", &format!("{place} stdout k")]);
    policy.on_long_line = LongLine::Drop;
    let seen = check(&policy, &lines, &[&format!("{place} stdout k")[..]]);
    assert_eq!(seen.dropped.long.lines, 3);
}

#[test]
fn a_damaged_line_is_sent_as_it_is_and_counted_and_the_next_is_whole() {
    let lines =
        ["no container\n".to_string(), cri(Stdout, "P", "a"), "\n".to_string(), cri(Stdout, "F", "b")];
    let seen = check(&lines_of(100), &lines, &["0 damaged no container", "47 damaged ", "13 stdout ab"]);
    assert_eq!(seen.dropped.damaged, 2);
}

#[test]
fn a_line_without_end_is_cut_where_it_is_too_long_however_much_is_there() {
    let policy = lines_of(10);
    let file = "x".repeat(300_000) + "\n" + &cri(Stdout, "F", "next");
    let whole = seen(&policy, Wrapping::Cri, file.as_bytes(), &[], Limit::NONE);
    assert_eq!(whole.events, ["0 damaged xxxxxxxxxx", "300001 stdout next"]);
    let grown =
        seen(&policy, Wrapping::Cri, file.as_bytes(), &[1, 65_000, 70_000, 200_000, 300_000], Limit::NONE);
    assert_eq!(grown, whole);
}

#[test]
fn a_line_that_never_ends_is_closed_when_its_group_is_too_large() {
    let policy = lines_of(10);
    let group_bytes_max = policy.group_bytes_max();
    let other = cri(Stderr, "F", &"y".repeat(10));
    let count = 2 * group_bytes_max / other.len();
    let file = cri(Stdout, "P", "open") + &other.repeat(count);
    let whole = seen(&policy, Wrapping::Cri, file.as_bytes(), &[], Limit::NONE);
    assert_eq!(whole.events.len(), count + 1);
    assert_eq!(whole.events.iter().filter(|event| event.as_str() == "0 stdout open").count(), 1);
    let ends: Vec<usize> = (0..file.len()).step_by(policy.group_buffer_bytes_min() / 3).collect();
    assert_eq!(seen(&policy, Wrapping::Cri, file.as_bytes(), &ends, Limit::NONE), whole);
}

#[test]
fn filters_and_carriage_returns_work_on_what_the_container_wrote() {
    let mut policy = lines_of(100);
    policy.exclude_lines = set("^drop");
    policy.carriage_return = CarriageReturn::Strip;
    let lines = [cri(Stdout, "P", "dr"), cri(Stdout, "F", "op"), cri(Stdout, "F", "keep\r")];
    let place = lines[..2].concat().len();
    let seen = check(&policy, &lines, &[&format!("{place} stdout keep")[..]]);
    assert_eq!(seen.dropped.filtered.lines, 2);
}

/// Each stream joined for itself, knowing the whole file.
fn joined(lines: &[(Stream, bool, String)], stream: Stream) -> Vec<String> {
    let (mut all, mut open) = (vec![], None::<String>);
    for (_, is_part, text) in lines.iter().filter(|(of, ..)| *of == stream) {
        open.get_or_insert_default().push_str(text);
        if !is_part {
            all.extend(open.take());
        }
    }
    all.extend(open);
    all
}

fn any_line() -> impl Strategy<Value = (Stream, bool, String)> {
    (prop_oneof![Just(Stdout), Just(Stderr)], any::<bool>(), "[a-c\"\\\\\t ä]{0,6}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn c12_any_chunking_gives_the_same_events_and_each_stream_is_joined(
        lines in prop::collection::vec(any_line(), 1..12),
        is_docker in any::<bool>(),
        ends in prop::collection::vec(0..800_usize, 0..6),
        events_max in 1..4_usize,
    ) {
        let wrapping = if is_docker { Wrapping::Docker } else { Wrapping::Cri };
        let write = |(stream, is_part, text): &(Stream, bool, String)| {
            line(wrapping, *stream, if *is_part { "P" } else { "F" }, text)
        };
        let file: String = lines.iter().map(write).collect();
        let policy = lines_of(1000);
        let whole = seen(&policy, wrapping, file.as_bytes(), &[], Limit::NONE);
        let mut ends = ends;
        ends.sort_unstable();
        for limit in [Limit::NONE, Limit { events_max, lines_max: u32::MAX }] {
            prop_assert_eq!(&seen(&policy, wrapping, file.as_bytes(), &ends, limit), &whole);
        }
        for stream in [Stdout, Stderr] {
            let of = format!(" {} ", stream.name());
            let ours = whole.events.iter().filter_map(|event| event.split_once(&of[..]));
            let ours: Vec<&str> = ours.map(|(_, text)| text).collect();
            prop_assert_eq!(ours, joined(&lines, stream));
        }
        prop_assert_eq!(whole.lines as usize, lines.len());
    }

    #[test]
    fn any_bytes_are_settled_and_counted(
        file in prop::collection::vec(prop_oneof![
            Just(b"{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.1Z\"}\n".to_vec()),
            Just(b"2026-01-02T03:04:05.1Z stdout P x\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
            Just(b"\n".to_vec()),
        ], 0..10),
        is_docker in any::<bool>(),
    ) {
        let file = file.concat();
        let wrapping = if is_docker { Wrapping::Docker } else { Wrapping::Cri };
        let whole = seen(&lines_of(100), wrapping, &file, &[], Limit::NONE);
        prop_assert_eq!(whole.settled, file.len());
        let lines = file.split_inclusive(|&byte| byte == b'\n').count();
        prop_assert_eq!(whole.lines as usize, lines);
    }
}
