//! Each format is read by a reader of that format, and every change of any byte of it is noticed.

use regex::bytes::Regex;

use super::*;
use crate::payload::Payloads;
use crate::stamp::{Reject, Stamp, decode};

const MOMENT_NS: u64 = 1_795_379_466_123_456_789;

/// The first records of a writer, as they stand in the file, without their last line end.
fn records(format: Format, lengths: &str, count: u64) -> Vec<(Stamp, Vec<u8>)> {
    let pool = Payloads::new(1, format, lengths.parse().unwrap()).unwrap();
    let mut face = format.face();
    (0..count)
        .map(|sequence| {
            let intended_ns = MOMENT_NS + sequence * 777_777_777;
            let stamp = Stamp { run: 0xc0ffee, writer: 3, generation: 1, sequence, intended_ns };
            let mut record = Vec::new();
            pool.of(3, sequence).append(&stamp, &mut face, &mut record);
            assert_eq!(record.pop(), Some(b'\n'));
            (stamp, record)
        })
        .collect()
}

#[test]
fn every_record_of_every_format_is_decoded_and_has_its_length() {
    for format in Format::ALL {
        for (stamp, record) in records(format, format.line_bytes(), 2048) {
            assert_eq!(decode(&record), Ok(stamp), "{}", record.escape_ascii());
        }
        assert!(records(format, "500", 100).iter().all(|(_, record)| record.len() == 500));
    }
}

#[test]
fn every_change_of_a_byte_of_every_format_is_torn() {
    for format in Format::ALL {
        for (_, good) in records(format, "400", 3) {
            for at in 0..good.len() {
                for change in [1, 2, 4, 8, 16, 32, 64, 128, 255, good[at] ^ b' ', good[at] ^ b'\n'] {
                    let mut bad = good.clone();
                    bad[at] ^= change;
                    let expected = if change == 0 { decode(&good) } else { Err(Reject::Torn) };
                    assert_eq!(decode(&bad), expected, "{format}: byte {at} ^ {change}");
                }
            }
        }
    }
}

#[test]
fn what_is_missing_inserted_or_glued_is_never_taken_for_whole() {
    for format in Format::ALL {
        let both = records(format, "400", 2);
        let (one, two) = (&both[0].1, &both[1].1);
        for at in 0..one.len() {
            assert!(decode(&one[..at]).is_err(), "{format}: cut at {at}");
            assert!(at == 0 || decode(&one[at..]).is_err(), "{format}: begins at {at}");
            let without = [&one[..at], &one[at + 1..]].concat();
            assert!(decode(&without).is_err(), "{format}: without byte {at}");
            let with = [&one[..at], b"\r", &one[at..]].concat();
            assert!(decode(&with).is_err(), "{format}: with a byte more at {at}");
            if one[..at] != two[..at] && one[at..] != two[at..] {
                assert!(decode(&[&one[..at], &two[at..]].concat()).is_err(), "{format}: another from {at}");
            }
        }
        assert_eq!(decode(&[&one[..], b"\n", two].concat()), Err(Reject::Torn), "{format}: two in one");
    }
}

fn check(format: Format, shape: &str) {
    let shape = Regex::new(&format!("^(?-u:{shape})$")).unwrap();
    for length in [format.line_bytes(), "1000"] {
        for (_, record) in records(format, length, 2048) {
            assert!(shape.is_match(&record), "{}", record.escape_ascii());
        }
    }
}

#[test]
fn nginx_is_the_combined_format_and_one_field_more() {
    let shape = r#"[\d.]+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(GET|POST|PUT|HEAD|DELETE) [!-~]+ HTTP/1.1" \d{3} \d+ "[^"]*" "[^"]*" "LD2 [0-9a-f ]{59}""#;
    check(Format::Nginx, shape);
}

#[test]
fn json_is_an_object_a_line() {
    for (stamp, record) in records(Format::Json, "300..500", 2048) {
        let object: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert!(object["stamp"].as_str().unwrap().starts_with("LD2 00c0ffee 0003 "));
        let time = humantime::parse_rfc3339(object["time"].as_str().unwrap()).unwrap();
        let time_ms = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        assert_eq!(time_ms, u128::from(stamp.intended_ns) / 1_000_000);
    }
}

#[test]
fn syslog_is_rfc_5424() {
    let shape = r#"<1[23]\d>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z web-\d\.example\.com [a-z]{1,48} \d{1,128} ID\d+ \[load@32473 stamp="LD2 [0-9a-f ]{59}"\] [ -~]*"#;
    check(Format::Syslog, shape);
}

#[test]
fn a_java_event_has_a_first_line_and_only_continuations_after_it() {
    let shape = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR \[worker-\d+\] [\w.]+ - [ -~]* \[stamp=LD2 [0-9a-f ]{59}\]\n[a-z][\w.]+Exception: order \d+(\n\tat [\w.$]+\(\w+\.java:\d+\))*";
    check(Format::Java, shape);
}

#[test]
fn cri_has_full_lines_and_messages_in_parts() {
    let shape = r#"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [PF] level=[a-z]+ service=[a-z]+ ms=\d+ msg="[ -~]*" stamp="LD2 [0-9a-f ]{59}""#;
    check(Format::Cri, shape);
    let tags: Vec<String> = records(Format::Cri, "300", 2048)
        .iter()
        .map(|(_, record)| String::from_utf8_lossy(&record[31..39]).into_owned())
        .collect();
    let parts = tags.windows(2).filter(|pair| pair[0].ends_with('P'));
    let followed = parts.clone().filter(|pair| pair[1].ends_with('F') && pair[0][..6] == pair[1][..6]);
    assert_eq!((parts.count(), followed.count()), (128, 128));
}

#[test]
fn records_show_the_time_at_which_they_were_due() {
    let shown = |format: Format, range: std::ops::Range<usize>| {
        String::from_utf8(records(format, "400", 2)[1].1[range].to_vec()).unwrap()
    };
    assert_eq!(shown(Format::Java, 0..23), "2026-11-22 20:31:06,901");
    assert_eq!(shown(Format::Cri, 0..30), "2026-11-22T20:31:06.901234566Z");
}
