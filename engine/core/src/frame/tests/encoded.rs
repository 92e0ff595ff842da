//! Files in other encodings: any way to read them against the naive decoder and splitter, wrong bytes included.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use bytes::BytesMut;
use encoding_rs::Encoding;

use super::*;

/// One of each kind: how long characters are, what their later bytes may be, where marks are.
const LABELS: [&str; 12] = [
    "utf-8",
    "utf-16",
    "utf-16le",
    "utf-16be",
    "gbk",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "windows-1252",
    "koi8-r",
];

fn policy_in(label: &str, policy: FramePolicy) -> FramePolicy {
    FramePolicy { form: Form::Encoded(Charset::named(label).unwrap()), ..policy }
}

/// The bytes of a text.
fn encoded(label: &str, text: &str) -> Vec<u8> {
    match label {
        "utf-16" | "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        label => Encoding::for_label(label.as_bytes()).unwrap().encode(text).0.into_owned(),
    }
}

#[test]
fn what_cannot_be_read_from_any_place_on_is_refused() {
    for label in ["iso-2022-jp", "csiso2022jp", "replacement", "iso-2022-kr", "hz-gb-2312"] {
        assert_eq!(Charset::named(label), Err(NoCharset::Stateful), "{label}");
    }
    for label in ["utf-7", "x-user-defined", ""] {
        assert_eq!(Charset::named(label), Err(NoCharset::Unknown), "{label}");
    }
    assert_eq!(Charset::named("GB2312"), Charset::named("gbk"));
    assert_eq!(Charset::named("latin1"), Charset::named("windows-1252"));
    assert_ne!(Charset::named("UTF-16"), Charset::named("utf-16le"), "the mark decides");
}

/// What this rests on: a line feed is a byte of its own (a unit, in UTF-16), whatever is before it.
#[test]
fn no_character_takes_a_line_feed_into_itself_and_none_becomes_one() {
    for label in LABELS {
        let form = policy_in(label, lines_of(100)).form;
        let Form::Encoded(charset) = form else { unreachable!() };
        let encoding = Encoding::for_label(label.as_bytes()).unwrap();
        let line_feed = encoded(label, "\n");
        let check = |before: &[u8]| {
            let file = [before, &line_feed].concat();
            let text = encoding.decode_without_bom_handling(&file).0;
            assert!(text.ends_with('\n'), "{label} {file:x?}");
            let mut ends = vec![0];
            ends.extend(core::iter::successors(charset.next_line(&file, 0), |at| {
                charset.next_line(&file, *at)
            }));
            assert_eq!(ends.len() - 1, text.matches('\n').count(), "{label} {file:x?}");
            assert_eq!(ends.last(), Some(&file.len()), "{label} {file:x?}");
            assert!(charset.begins_line(&file), "{label} {file:x?}");
        };
        for pair in 0..=u16::MAX {
            let pair = pair.to_be_bytes();
            check(&pair);
            match label {
                "gb18030" => check(&[pair[0], 0x30, pair[1]]),
                "euc-jp" => check(&[0x8f, pair[0], pair[1]]),
                _ if label.starts_with("utf-16") => check(&[pair[0], pair[1], 0xd8, 0x0a]),
                _ => check(&pair[1..]),
            }
        }
    }
}

/// Bytes of each encoding that mean most together, and a line feed.
#[test]
fn every_chunking_of_every_small_file_equals_the_naive_decoder() {
    for (label, alphabet, bytes_max) in [
        ("utf-8", &b"\xef\xbb\xbf\n"[..], 5),
        ("utf-16", b"\xff\xfe\n\0", 5),
        ("utf-16le", b"\xd8\n\0", 6),
        ("utf-16be", b"\xd8\n\0", 6),
        ("gb18030", b"\x81\x30\n", 6),
        ("gbk", b"\x81\x40\xff\n", 5),
        ("big5", b"\x88\x62\n", 6),
        ("shift_jis", b"\x81\x40\xb1\n", 5),
        ("euc-jp", b"\x8f\xa2\n", 6),
        ("windows-1252", b"\x80a\n", 6),
    ] {
        for on_long_line in [LongLine::Truncate, LongLine::Split, LongLine::Drop] {
            for multiline_start in [None, regex("^$")] {
                let policy = FramePolicy { on_long_line, multiline_start, ..lines_of(4) };
                let policy = policy_in(label, policy);
                let text = |file: &[u8]| Text::decoded(label, file);
                let all = Walk { policy: &policy, text: &text, alphabet, bytes_max };
                walk(&all, &mut Vec::new(), &mut Vec::new());
            }
        }
    }
}

/// Words of a text, and bytes that are none.
fn any_file(label: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => Just("\n"),
        2 => Just("\r\n"),
        2 => Just("7 begins"),
        2 => Just("x"),
        2 => Just("\u{4f60}\u{597d}, b"),
        2 => Just("\u{20ac}\u{e9}"),
        1 => Just("\u{1f98a}"),
        1 => Just("\u{a0a}\u{a0a}"),
        1 => Just("\u{cb}\u{ea}\u{304}"),
        1 => Just("0123456789abcdef0123456789abcdef"),
    ];
    let piece = prop_oneof![
        9 => word.prop_map(move |word| encoded(label, word)),
        1 => prop::collection::vec(any::<u8>(), 0..5),
        1 => Just(b"\x88\x62\xff\xfe".to_vec()),
    ];
    let mark = prop_oneof![
        3 => Just(&b""[..]), 1 => Just(&b"\xff\xfe"[..]), 1 => Just(&b"\xfe\xff"[..]), 1 => Just(&b"\xef\xbb\xbf"[..])
    ];
    (mark, prop::collection::vec(piece, 0..60)).prop_map(|(mark, pieces)| [mark, &pieces.concat()].concat())
}

fn any_label_and_file() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    prop::sample::select(&LABELS[..]).prop_flat_map(|label| (Just(label), any_file(label)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn c11_any_reads_of_any_encoding_equal_the_naive_decoder_and_splitter(
        policy in any_policy(), (label, file) in any_label_and_file(), reads in any_reads(),
    ) {
        let line_bytes_max = policy.line_bytes_max.max(4);
        let policy = policy_in(label, FramePolicy { line_bytes_max, ..policy });
        let mut reader = Reader::default();
        let mut size = 0;
        for (growth, room, events_max, lines_max) in reads {
            size = (size + growth).min(file.len());
            let buffer = policy.buffer_bytes_min() + room;
            let read = size.min(reader.settled + buffer);
            let full = read == reader.settled + buffer;
            let settled = reader.pass(&policy, &file[..read], End::More, Limit { events_max, lines_max });
            prop_assert!(settled > 0 || !full, "a full buffer must settle something");
        }
        prop_assert_eq!(reader.close(&policy, &file), reference(&policy, &Text::decoded(label, &file)));
    }

    #[test]
    fn decoded_chunks_hold_the_lines_of_the_naive_splitter(
        policy in any_policy(), (label, file) in any_label_and_file(), bytes_max in 1..90_usize,
    ) {
        let line_bytes_max = policy.line_bytes_max.max(4);
        let lines = policy_in(label, FramePolicy { line_bytes_max, multiline_start: None, ..policy });
        let chunks = FramePolicy { unit: EventUnit::Chunk { bytes_max }, ..lines.clone() };
        let mut got = Reader::default().close(&chunks, &file);
        got.events = got.events.iter().flat_map(|event| consumer_lines(&lines, event)).collect();
        let expected = reference(&lines, &Text::decoded(label, &file));
        got.places.clone_from(&expected.places);
        prop_assert_eq!(got, expected);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Whoever has less room than the text may need takes what fits, and comes back for the rest.
    #[test]
    fn a_text_that_does_not_fit_is_taken_in_parts(
        (label, file) in any_label_and_file(), copies in 1..2000_usize,
    ) {
        let policy = policy_in(label, lines_of(100));
        let mut whole = file.repeat(copies);
        whole.truncate(100_000);
        let expected = Reader::default().close(&policy, &whole);
        let mut reader = Reader::default();
        let mut cramped = false;
        while reader.settled < whole.len() {
            let bytes = &whole[reader.settled..];
            let mut room = BytesMut::with_capacity(policy.buffer_bytes_min() + 4096);
            let start = room.as_ptr();
            let (mut events, mut details) = (Vec::new(), Vec::new());
            let into = Copied { bytes: &mut room, events: &mut events, details: &mut details };
            let position = Position(reader.settled as u64);
            let stretch = Stretch { bytes, position, order: ByteOrder::of(&whole) };
            let Form::Encoded(charset) = policy.form else { unreachable!() };
            let framed = policy.decode_lines(charset, stretch, reader.skipping, End::Closed, Limit::NONE, into);
            prop_assert!(framed.settled > 0);
            prop_assert!(framed.cramped || framed.settled == bytes.len());
            prop_assert_eq!(room.as_ptr(), start, "nothing is allocated");
            cramped |= framed.cramped;
            reader.take_copied(&room, &events, &details, framed);
        }
        prop_assert!(cramped || whole.len() < 20_000);
        prop_assert_eq!(reader.seen, expected);
    }
}

/// What becomes of a file that is read to each of these ends, and closed: `place text` of each event.
fn story(label: &str, file: &[u8], reads: &[(usize, End)]) -> Vec<String> {
    let policy = policy_in(label, lines_of(100));
    let mut reader = Reader::default();
    for &(upto, end) in reads {
        reader.pass(&policy, &file[..upto], end, Limit::NONE);
    }
    let seen = reader.close(&policy, file);
    let text = |event: &Vec<u8>| String::from_utf8(event.clone()).expect("text");
    seen.places.iter().zip(&seen.events).map(|(place, event)| format!("{place} {}", text(event))).collect()
}

#[test]
fn c11_a_mark_of_byte_order_is_no_part_of_the_first_line() {
    for label in ["utf-16", "utf-16le"] {
        assert_eq!(story(label, b"\xff\xfea\0\n\0b\0\n\0", &[]), ["2 a", "6 b"], "{label}");
    }
    for label in ["utf-16", "utf-16be"] {
        assert_eq!(story(label, b"\xfe\xff\0a\0\n\0b\0\n", &[]), ["2 a", "6 b"], "{label}");
    }
    assert_eq!(story("utf-16", b"a\0\n\0", &[]), ["0 a"], "little endian without one");
    assert_eq!(story("utf-8", b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", &[]), ["3 a", "5 \u{feff}b"]);
    assert_eq!(story("gbk", b"\xffa\n", &[]), ["0 \u{fffd}a"]);
    assert_eq!(story("utf-16", b"\xff\xfe", &[]), [""; 0]);
    assert_eq!(story("utf-16", b"\xff", &[(1, End::More), (1, End::Flush)]), ["0 \u{fffd}"]);
}

#[test]
fn a_part_of_a_character_is_not_flushed_but_for_good() {
    let file = encoded("gbk", "\u{4f60}\u{597d}\n");
    assert_eq!(story("gbk", &file, &[(3, End::Flush), (3, End::Flush)]), ["0 \u{4f60}", "2 \u{597d}"]);
    assert_eq!(story("gbk", &file[..3], &[(3, End::Flush)]), ["0 \u{4f60}", "2 \u{fffd}"]);
    let file = encoded("utf-16be", "a\u{1f98a}\n");
    assert_eq!(story("utf-16be", &file, &[(5, End::Flush)]), ["0 a", "2 \u{1f98a}"]);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let mut policy = policy_in("big5", lines_of(8));
    // Five characters of three bytes, and one of Big5 that is two in Unicode.
    let file = [encoded("big5", "\u{4f60}\u{597d}\u{4f60}x"), b"\x88\x62y\n".to_vec()].concat();
    let text = |seen: Reference| {
        let events = seen.events.into_iter().map(|event| String::from_utf8(event).unwrap());
        (events.collect::<Vec<_>>(), seen.places, seen.dropped.long.bytes)
    };
    let cut = text(Reader::default().close(&policy, &file));
    assert_eq!(cut, (vec!["\u{4f60}\u{597d}".into()], vec![0], file.len() as u32 - 4));
    policy.on_long_line = LongLine::Split;
    let pieces = ["\u{4f60}\u{597d}", "\u{4f60}x\u{ca}\u{304}", "y"].map(String::from);
    assert_eq!(text(Reader::default().close(&policy, &file)), (pieces.to_vec(), vec![0, 4, 9], 0));
}

#[test]
fn wrong_bytes_are_counted_once_wherever_reads_end() {
    let policy = policy_in("utf-8", lines_of(100));
    let file = b"a\xff\nb\nc\xe2\x82d\n\xff";
    for upto in 0..=file.len() {
        let mut reader = Reader::default();
        reader.pass(&policy, &file[..upto], End::More, Limit { events_max: 1, lines_max: 9 });
        assert_eq!(reader.close(&policy, file).dropped.replaced, 3, "{upto}");
    }
}

#[test]
fn a_start_within_a_file_is_at_a_line_or_skips_to_one() {
    let file = encoded("utf-16le", "one\ntwo\n");
    let form = policy_in("utf-16", lines_of(100)).form;
    let begins = |upto: usize| form.begins_line(ByteOrder::Little, &file[..upto]);
    let lines: Vec<usize> = (0..=file.len()).filter(|&upto| begins(upto)).collect();
    assert_eq!(lines, [0, 8, 16]);
    assert!(form.begins_line(ByteOrder::Big, b"\xfe\xff") && !form.begins_line(ByteOrder::Big, b"\n\0"));
    // At an odd place, as a configuration without an encoding may have left it.
    let policy = policy_in("utf-16", lines_of(100));
    let mut reader = Reader { settled: 7, ..Reader::default() };
    reader.pass(&policy, &file, End::More, Limit::NONE);
    assert_eq!((reader.settled, reader.seen.places), (file.len(), vec![8]));
}
