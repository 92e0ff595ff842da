//! What holds for all lines: no bytes harm, and a time that is written is read back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logdrive_line_time::{LineTime, level};
use proptest::prelude::*;

const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;
/// 2001-09-10, when seconds have had ten digits for a day, and 2099-12-31.
const FIRST_NS: i64 = 1_000_080_000 * SECOND_NS;
const LAST_NS: i64 = 4_102_358_400 * SECOND_NS;

fn berlin() -> TimeZone {
    TimeZone::posix(BERLIN).unwrap()
}

/// A way to write a time: with its zone or without, and how exactly.
struct Form {
    write: &'static str,
    has_zone: bool,
    unit_ns: i64,
}

const fn form(write: &'static str, has_zone: bool, unit_ns: i64) -> Form {
    Form { write, has_zone, unit_ns }
}

const FORMS: &[Form] = &[
    form("%Y-%m-%dT%H:%M:%S%.9f%:z started", true, 1),
    form("%Y-%m-%d %H:%M:%S.%6f %z [1] LOG:  x", true, 1_000),
    form("%Y-%m-%d %H:%M:%S,%3f INFO [main] x", false, 1_000_000),
    form("%Y/%m/%d %H:%M:%S started", false, SECOND_NS),
    form("[%Y-%m-%dT%H:%M:%S,%3f][INFO ][x] y", false, 1_000_000),
    form("INFO  [main] %Y-%m-%d %H:%M:%S,%3f x", false, 1_000_000),
    form("10.0.0.1 - alice [%d/%b/%Y:%H:%M:%S %z] \"GET / HTTP/1.1\" 200 1", true, SECOND_NS),
    form("[%a %b %d %H:%M:%S.%6f %Y] [core:error] x", false, 1_000),
    form("%d-%b-%Y %H:%M:%S.%3f INFO [main] x", false, 1_000_000),
    form("%b %e %H:%M:%S host a[1]: x", false, SECOND_NS),
    form("<13>%b %d %H:%M:%S host a[1]: x", false, SECOND_NS),
    form("<165>1 %Y-%m-%dT%H:%M:%S.%6f%:z host a - - - x", true, 1_000),
    form("I%m%d %H:%M:%S.%6f    1 a.go:1] x", false, 1_000),
    form("E%Y%m%d %H:%M:%S.%6f 1 a.cc:1] x", false, 1_000),
    form("time=\"%Y-%m-%dT%H:%M:%S%:z\" level=info msg=x", true, SECOND_NS),
    form("level=info ts=%Y-%m-%dT%H:%M:%S.%3f%:z", true, 1_000_000),
    form("{\"log\":\"x\\\"\",\"stream\":\"stdout\",\"time\":\"%Y-%m-%dT%H:%M:%S.%9f%:z\"}", true, 1),
    form("\x1b[2m%Y-%m-%dT%H:%M:%S.%6f%:z\x1b[0m x", true, 1_000),
];

/// Bytes that formats are made of, so that parsers get deep.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "2026-11-26",
        "2026/02/30",
        "T",
        " ",
        "10:11:12",
        "23:59:60",
        ",345",
        ".123456789",
        "Z",
        "+01:00",
        "-0530",
        "[",
        "]",
        "<34>",
        "<165>1 ",
        "Nov ",
        "26/Nov/2026:",
        "Feb 29 ",
        "I1126 ",
        "1795687872",
        ".5",
        "e+09",
        "{",
        "}",
        "\"time\":",
        "\"level\":",
        "\"",
        "\\",
        ",",
        "time=",
        "level=",
        "info",
        "ERROR",
        "- ",
        "\t",
        "\x1b[2m",
        "\u{feff}",
        " PM",
        "E, [",
        "@",
        "UTC",
        "9999999999999999999",
    ]);
    let known = known.prop_map(|text| text.as_bytes().to_vec());
    let piece = prop_oneof![4 => known, 1 => prop::collection::vec(any::<u8>(), 0..8)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_written_time_is_read_back(ns in FIRST_NS..LAST_NS, at in 0..FORMS.len(), read_after in -6i64..300) {
        let form = &FORMS[at];
        let written = Timestamp::from_nanosecond(ns.into()).unwrap();
        let shown = written.to_zoned_datetime(berlin());
        let line = shown.strftime(form.write).to_string();
        let line_time = LineTime::new(berlin(), ns + read_after * DAY_NS);
        // Of an hour that is there twice the second is meant.
        let meant = match form.has_zone {
            true => written,
            false => berlin().to_ambiguous_timestamp(shown.datetime()).later().unwrap(),
        };
        let expected = i64::try_from(meant.as_nanosecond()).unwrap() / form.unit_ns * form.unit_ns;
        prop_assert_eq!(line_time.of(line.as_bytes()), Some(expected), "{}", line);
    }

    #[test]
    fn a_number_is_read_back_in_every_unit(ns in FIRST_NS..LAST_NS, unit in 0usize..4) {
        let unit_ns = [SECOND_NS, 1_000_000, 1_000, 1][unit];
        let line_time = LineTime::new(TimeZone::UTC, 0);
        let (whole, rest) = (ns / unit_ns, ns % unit_ns);
        let width = [9, 6, 3, 0][unit];
        for (number, expected) in [
            (whole.to_string(), ns - rest),
            (format!("{whole}.{rest:0width$}0"), ns),
        ] {
            for line in [
                format!("{number} 10.0.0.1 TCP_MISS"),
                format!("[{number}] x"),
                format!("level=info ts={number} msg=x"),
                format!("{{\"msg\":\"x\",\"ts\":{number},\"level\":30}}"),
                format!("{{\"time\":\"{number}\"}}"),
            ] {
                prop_assert_eq!(line_time.of(line.as_bytes()), Some(expected), "{}", line);
            }
        }
        let seconds = format!("{}.{:09}", ns / SECOND_NS, ns % SECOND_NS);
        let scientific = format!("{}.{}{}e+09\tINFO", &seconds[..1], &seconds[1..10], &seconds[11..]);
        prop_assert_eq!(line_time.of(scientific.as_bytes()), Some(ns), "{}", scientific);
    }

    #[test]
    fn no_bytes_harm(line in prop::collection::vec(any::<u8>(), 0..600), reference: i64) {
        let _time = LineTime::new(berlin(), reference).of(&line);
        let _level = level(&line);
    }

    #[test]
    fn no_pieces_of_formats_harm(line in pieces(), reference: i64) {
        let _time = LineTime::new(berlin(), reference).of(&line);
        let _level = level(&line);
    }

    #[test]
    fn what_follows_the_head_changes_nothing(line in pieces(), more in pieces()) {
        prop_assume!(line.first() != Some(&b'{'));
        let line_time = LineTime::new(berlin(), LAST_NS);
        let mut head = line;
        head.resize(logdrive_line_time::HEAD_BYTES_MAX, b' ');
        let whole = [&head[..], &more[..]].concat();
        prop_assert_eq!(line_time.of(&head), line_time.of(&whole));
        prop_assert_eq!(level(&head), level(&whole));
    }
}
