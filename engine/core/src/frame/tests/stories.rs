//! What the framer does with a growing file, told read by read, and the named cases of bad content.

use std::string::String;
use std::vec;
use std::vec::Vec;

use expect_test::{Expect, expect};

use super::*;

/// Tells the story of a file that grows: one string a read, and a flush behind the last.
fn check(policy: &FramePolicy, reads: &[impl AsRef<[u8]>], expect: Expect) {
    let mut story = String::new();
    let mut reader = Reader::default();
    let mut file = Vec::new();
    let mut told = 0;
    for (at, read) in reads.iter().map(AsRef::as_ref).enumerate() {
        file.extend_from_slice(read);
        let end = if at + 1 == reads.len() { End::Flush } else { End::More };
        reader.pass(policy, &file, end, Limit::NONE);
        let events = reader.seen.events[told..].iter().map(|event| std::format!(" {}", quoted(event)));
        let skipping = if reader.skipping { " skipping" } else { "" };
        let (read, events) = (quoted(read), events.collect::<String>());
        story += &std::format!("{end:?} {read}: settled {}{skipping}{events}\n", reader.settled);
        told = reader.seen.events.len();
    }
    let Dropped { filtered, long, truncated, .. } = reader.seen.dropped;
    for (tally, name) in [(filtered, "filtered"), (long, "long")] {
        if tally != Tally::default() {
            story += &std::format!("{name}: {} lines, {} bytes\n", tally.lines, tally.bytes);
        }
    }
    story += &std::format!("sent: {} lines, {truncated} truncated\n", reader.seen.lines);
    expect.assert_eq(&story);
}

fn quoted(bytes: &[u8]) -> String {
    std::format!("\"{}\"", bytes.escape_ascii())
}

#[test]
fn an_unfinished_line_waits_for_its_end() {
    check(
        &lines_of(100),
        &["one\ntw", "o", "\n\nthree", ""],
        expect![[r#"
        More "one\ntw": settled 4 "one"
        More "o": settled 4
        More "\n\nthree": settled 9 "two" ""
        Flush "": settled 14 "three"
        sent: 4 lines, 0 truncated
    "#]],
    );
}

#[test]
fn carriage_returns_are_stripped_before_a_newline_only() {
    let policy = FramePolicy { carriage_return: CarriageReturn::Strip, ..lines_of(4) };
    check(
        &policy,
        &["a\r\n\r\nfull\r", "\nb\rc\r\r\nd\r", ""],
        expect![[r#"
        More "a\r\n\r\nfull\r": settled 5 "a" ""
        More "\nb\rc\r\r\nd\r": settled 17 "full" "b\rc\r"
        Flush "": settled 19 "d\r"
        sent: 5 lines, 0 truncated
    "#]],
    );
}

#[test]
fn a_multiline_event_ends_where_the_next_begins() {
    let policy = FramePolicy { multiline_start: regex("^[0-9]"), ..lines_of(100) };
    check(
        &policy,
        &["  at f()\n", "1 error\n  at", " g()\n2 fine\n", ""],
        expect![[r#"
        More "  at f()\n": settled 0
        More "1 error\n  at": settled 9 "  at f()"
        More " g()\n2 fine\n": settled 26 "1 error\n  at g()"
        Flush "": settled 33 "2 fine"
        sent: 4 lines, 0 truncated
    "#]],
    );
}

#[test]
fn a_long_multiline_event_is_cut_and_the_next_is_intact() {
    let policy = FramePolicy { multiline_start: regex("^[0-9]"), ..lines_of(12) };
    let reads = ["1 error\n at f()\n at", " g()\n at h()\n2", " fine\n at", " k()\n", ""];
    check(
        &policy,
        &reads,
        expect![[r#"
        More "1 error\n at f()\n at": settled 15 skipping "1 error\n at "
        More " g()\n at h()\n2": settled 31 skipping
        More " fine\n at": settled 32
        More " k()\n": settled 46 skipping "2 fine\n at k"
        Flush "": settled 47
        long: 2 lines, 23 bytes
        sent: 4 lines, 2 truncated
    "#]],
    );
    check(
        &FramePolicy { on_long_line: LongLine::Split, ..policy.clone() },
        &reads,
        expect![[r#"
        More "1 error\n at f()\n at": settled 12 "1 error\n at "
        More " g()\n at h()\n2": settled 24 "f()\n at g()\n"
        More " fine\n at": settled 32 " at h()"
        More " k()\n": settled 44 "2 fine\n at k"
        Flush "": settled 47 "()"
        sent: 6 lines, 0 truncated
    "#]],
    );
    check(
        &FramePolicy { on_long_line: LongLine::Drop, ..policy },
        &reads,
        expect![[r#"
        More "1 error\n at f()\n at": settled 15 skipping
        More " g()\n at h()\n2": settled 31 skipping
        More " fine\n at": settled 32
        More " k()\n": settled 46 skipping
        Flush "": settled 47
        long: 6 lines, 47 bytes
        sent: 0 lines, 0 truncated
    "#]],
    );
}

#[test]
fn chunks_join_whole_lines_and_do_not_wait_to_be_full() {
    let policy =
        FramePolicy { unit: EventUnit::Chunk { bytes_max: 7 }, exclude_lines: set("^debug"), ..lines_of(20) };
    let reads = ["one\ntwo\nthree\n", "a line of eighteen\nfour\ndebug x\nfive\nsi", "x\n", "seven"];
    check(
        &policy,
        &reads,
        expect![[r#"
        More "one\ntwo\nthree\n": settled 14 "one\ntwo" "three"
        More "a line of eighteen\nfour\ndebug x\nfive\nsi": settled 51 "a line of eighteen" "four" "five"
        More "x\n": settled 55 "six"
        Flush "seven": settled 60 "seven"
        filtered: 1 lines, 8 bytes
        sent: 8 lines, 0 truncated
    "#]],
    );
}

#[test]
fn a_read_of_filtered_lines_is_settled_without_events() {
    let policy = FramePolicy { include_lines: set("error"), ..lines_of(100) };
    check(
        &policy,
        &["fine\nfine\n", "an error\nfine\n", ""],
        expect![[r#"
        More "fine\nfine\n": settled 10
        More "an error\nfine\n": settled 24 "an error"
        Flush "": settled 24
        filtered: 3 lines, 15 bytes
        sent: 1 lines, 0 truncated
    "#]],
    );
}

#[test]
fn a_limit_stops_between_events() {
    let (policy, text) = (lines_of(100), b"a\nb\nc\nd\n");
    let frame = |events_max, lines_max| {
        let mut events = Vec::new();
        let limit = Limit { events_max, lines_max };
        policy.frame(text, false, End::More, limit, &mut events).settled
    };
    assert_eq!([frame(3, 9), frame(9, 3), frame(0, 9), frame(9, 0), frame(9, 9)], [6, 6, 0, 0, 8]);
}

#[test]
fn c01_a_gibibyte_without_a_newline_needs_one_small_buffer() {
    const GIB: usize = 1 << 30;
    let endless = vec![b'x'; 1 << 18];
    for on_long_line in [LongLine::Truncate, LongLine::Split, LongLine::Drop] {
        let policy = FramePolicy { on_long_line, ..lines_of((1 << 18) - 2) };
        assert_eq!(policy.buffer_bytes_min(), endless.len());
        let (mut position, mut skipping, mut sent, mut dropped) = (0, false, 0, 0);
        let mut events = Vec::new();
        while position < GIB {
            let read = &endless[..endless.len().min(GIB - position)];
            let end = if read.len() < endless.len() { End::Flush } else { End::More };
            let framed = policy.frame(read, skipping, end, Limit::NONE, &mut events);
            assert!(framed.settled > 0);
            position += framed.settled;
            skipping = framed.skipping;
            sent += events.drain(..).map(|event| event.len as usize).sum::<usize>();
            dropped += framed.dropped.long.bytes as usize;
        }
        assert_eq!(sent + dropped, GIB);
        let expected = match on_long_line {
            LongLine::Truncate => policy.line_bytes_max,
            LongLine::Split => GIB,
            LongLine::Drop => 0,
        };
        assert_eq!(sent, expected);
        // The line behind it is intact.
        let framed = policy.frame(b"\nnext\n", skipping, End::More, Limit::NONE, &mut events);
        assert_eq!((framed.settled, framed.skipping), (6, false));
        assert_eq!(events.last(), Some(&Event { start: 1, len: 4 }));
    }
}

#[test]
fn c02_lines_around_the_limit_and_normal_ones_after_them() {
    let reads = ["abc\nabcd\nabcde\nabcdef\n", "ok\nabcdefghi", "j\nok\n", ""];
    check(
        &lines_of(4),
        &reads,
        expect![[r#"
        More "abc\nabcd\nabcde\nabcdef\n": settled 22 "abc" "abcd" "abcd" "abcd"
        More "ok\nabcdefghi": settled 34 skipping "ok" "abcd"
        More "j\nok\n": settled 39 "ok"
        Flush "": settled 39
        long: 0 lines, 12 bytes
        sent: 7 lines, 3 truncated
    "#]],
    );
    check(
        &FramePolicy { on_long_line: LongLine::Split, ..lines_of(4) },
        &reads,
        expect![[r#"
        More "abc\nabcd\nabcde\nabcdef\n": settled 22 "abc" "abcd" "abcd" "e" "abcd" "ef"
        More "ok\nabcdefghi": settled 33 "ok" "abcd" "efgh"
        More "j\nok\n": settled 39 "ij" "ok"
        Flush "": settled 39
        sent: 7 lines, 0 truncated
    "#]],
    );
    check(
        &FramePolicy { on_long_line: LongLine::Drop, ..lines_of(4) },
        &reads,
        expect![[r#"
        More "abc\nabcd\nabcde\nabcdef\n": settled 22 "abc" "abcd"
        More "ok\nabcdefghi": settled 34 skipping "ok"
        More "j\nok\n": settled 39 "ok"
        Flush "": settled 39
        long: 3 lines, 24 bytes
        sent: 4 lines, 0 truncated
    "#]],
    );
}

#[test]
fn c04_nul_bytes_and_binary_are_bytes_like_others() {
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\x04\x03\xcb\n\xe7\x02\0";
    let reads = [&b"a\0b\n\0\n\0\0"[..], b"\0c\n", gzip, b""];
    check(
        &lines_of(100),
        &reads,
        expect![[r#"
            More "a\x00b\n\x00\n\x00\x00": settled 6 "a\x00b" "\x00"
            More "\x00c\n": settled 11 "\x00\x00\x00c"
            More "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03\xcb\n\xe7\x02\x00": settled 23 "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\x03\xcb"
            Flush "": settled 26 "\xe7\x02\x00"
            sent: 5 lines, 0 truncated
        "#]],
    );
}

#[test]
fn c06_empty_lines_and_ten_million_one_byte_lines() {
    check(
        &lines_of(100),
        &["\n\n", "a\n\n", "\n"],
        expect![[r#"
        More "\n\n": settled 2 "" ""
        More "a\n\n": settled 5 "a" ""
        Flush "\n": settled 6 ""
        sent: 5 lines, 0 truncated
    "#]],
    );

    let read: Vec<u8> = b"x\n".repeat(32 << 10);
    let (policy, mut lines) = (lines_of(1 << 20), 0);
    let mut events = Vec::new();
    while lines < 10_000_000 {
        events.clear();
        let capacity = events.capacity();
        let framed = policy.frame(&read, false, End::More, Limit::NONE, &mut events);
        assert_eq!((framed.settled, framed.lines as usize), (read.len(), events.len()));
        assert!(events.iter().zip(0..).all(|(event, at)| *event == Event { start: 2 * at, len: 1 }));
        assert!(lines == 0 || events.capacity() == capacity, "a recycled vector does not grow");
        lines += events.len();
    }
}

#[test]
fn c09_a_line_in_a_thousand_writes_of_one_byte() {
    let policy = lines_of(2000);
    let line = "a ünïcödé line, ".repeat(63);
    let file = [line.as_bytes(), b"\n"].concat();
    assert!(file.len() > 1000);
    let mut reader = Reader::default();
    for size in 0..file.len() {
        assert_eq!(reader.more(&policy, &file[..size]), 0);
    }
    assert_eq!(reader.more(&policy, &file), file.len());
    assert_eq!(reader.seen.events, [line.into_bytes()]);
}

#[test]
fn c10_invalid_utf8_stays_as_it_is() {
    let lines: [&[u8]; 5] =
        [b"\xff\xfe", b"overlong \xc0\xaf", b"\xed\xa0\x80", b"cut \xe2\x82", b"\xf8\x88"];
    let file: Vec<u8> = lines.iter().flat_map(|line| [*line, b"\n"].concat()).collect();
    for strip in [CarriageReturn::Keep, CarriageReturn::Strip] {
        let policy = FramePolicy { carriage_return: strip, exclude_lines: set("^never$"), ..lines_of(100) };
        let mut reader = Reader::default();
        for size in 0..=file.len() {
            reader.more(&policy, &file[..size]);
        }
        assert_eq!(reader.seen.events, lines);
    }
}

#[test]
fn c12_all_sixty_five_thousand_chunkings_of_a_corpus() {
    let mut file = Vec::new();
    for len in [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 0, 63, 64, 65, 1, 2] {
        file.extend((0..len).map(|at| b'a' + at % 26));
        file.extend_from_slice(if len % 3 == 0 { b"\r\n" } else { b"\n" });
    }
    let cuts: Vec<usize> = (1..=16).map(|at| at * file.len() / 17).collect();
    let policy = FramePolicy { carriage_return: CarriageReturn::Strip, ..lines_of(64) };
    let expected = reference(&policy, &Text::plain(&file));
    assert_eq!((expected.lines, expected.dropped.truncated), (16, 1));
    for chosen in 0..1_u32 << cuts.len() {
        let mut reader = Reader::default();
        for (at, cut) in cuts.iter().enumerate() {
            if chosen >> at & 1 == 1 {
                reader.more(&policy, &file[..*cut]);
            }
        }
        reader.more(&policy, &file);
        assert_eq!(reader.seen, expected, "chunking {chosen:016b}");
    }
}
