//! Lines as Elastic Common Schema documents: one JSON object for each event, rendered once per batch
//! into one recycled buffer.
//!
//! Not a JSON library: it writes one shape. A line without a character that JSON must escape, which is
//! nearly every line, is copied whole after two fast passes over it. Field names are dotted and
//! flat, as in Elastic's own loggers.

use std::io::Write;
use std::time::{Duration, SystemTime};

use logdrive_core::batch::{Batch, Event};

/// The names that a document has of its own accord.
const OWN: [&str; 6] = ["@timestamp", "message", "host.name", "log.file.path", "log.offset", "event.dataset"];

/// The documents of a batch.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// All documents, one after the other. Not changed while librdkafka points into it.
    pub(super) bytes: Vec<u8>,
    /// Where each one is.
    pub(super) events: Vec<Event>,
}

/// The first field that the format sets itself, or that is named twice.
pub(super) fn reserved(fields: &[(String, String)]) -> Option<&str> {
    let names = || fields.iter().map(|(name, _)| name.as_str());
    let twice = |at: usize, name: &str| names().take(at).any(|other| other == name);
    names().enumerate().find(|(at, name)| OWN.contains(name) || twice(*at, name)).map(|(_, name)| name)
}

/// What follows the message in every document of one file, up to the number of its offset.
pub(super) fn rest(host: &str, path: &str, item: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(b'"');
    let own = [("host.name", host), ("log.file.path", path), ("event.dataset", item)];
    let more = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(more) {
        out.extend_from_slice(b",\"");
        escape(name.as_bytes(), &mut out);
        out.extend_from_slice(b"\":\"");
        escape(value.as_bytes(), &mut out);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"log.offset\":");
    out
}

/// Renders events of a batch into `out`, which keeps its memory. Returns how many events were not UTF-8; their
/// bad bytes become U+FFFD.
pub(super) fn render(batch: &Batch, events: &[Event], rest: &[u8], out: &mut Documents) -> u64 {
    out.bytes.clear();
    out.events.clear();
    let mut invalid = 0;
    let read_at = Duration::from_millis(batch.read_at_ms.clamp(0, READ_AT_MS_MAX) as u64);
    let timestamp = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + read_at);
    let mut head = [0; HEAD_BYTES];
    write!(&mut head[..], r#"{{"@timestamp":"{timestamp}","message":""#).expect("the length is fixed");
    for event in events {
        let start = out.bytes.len();
        out.bytes.extend_from_slice(&head);
        invalid += u64::from(!escape(batch.event(*event), &mut out.bytes));
        out.bytes.extend_from_slice(rest);
        let offset = batch.span.start.plus(event.start as usize).0;
        write!(out.bytes, "{offset}}}").expect("a vector takes everything");
        let len = out.bytes.len() - start;
        out.events.push(Event {
            start: u32::try_from(start).expect("a batch is far smaller than 4 GiB"),
            len: u32::try_from(len).expect("as above"),
        });
    }
    invalid
}

/// The length of what precedes the message.
const HEAD_BYTES: usize = r#"{"@timestamp":"2026-01-02T03:04:05.678Z","message":""#.len();
/// The last millisecond with a year of four digits.
const READ_AT_MS_MAX: i64 = 253_402_300_799_999;

/// Appends `text` as the inside of a JSON string; whether it was UTF-8.
fn escape(text: &[u8], out: &mut Vec<u8>) -> bool {
    if std::str::from_utf8(text).is_ok() {
        escape_valid(text, out);
        return true;
    }
    for piece in text.utf8_chunks() {
        escape_valid(piece.valid().as_bytes(), out);
        if !piece.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    false
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Where the first byte is that JSON must escape. Blocks are looked through without an early exit,
/// so that the compiler makes vector instructions of it: most blocks hold none.
fn first_special(text: &[u8]) -> Option<usize> {
    const BLOCK_BYTES: usize = 32;
    let special = |block: &[u8]| block.iter().fold(false, |any, byte| any | must_escape(*byte));
    let start = text.chunks(BLOCK_BYTES).position(special)? * BLOCK_BYTES;
    text[start..].iter().position(|byte| must_escape(*byte)).map(|at| start + at)
}

fn escape_valid(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = first_special(text) {
        out.extend_from_slice(&text[..at]);
        let short = match text[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            b'"' => b'"',
            b'\\' => b'\\',
            other => {
                let digits = b"0123456789abcdef";
                let [high, low] = [other >> 4, other & 15].map(|nibble| digits[nibble as usize]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                text = &text[at + 1..];
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use logdrive_core::batch::BatchId;
    use logdrive_core::position::{Position, Span};
    use logdrive_core::source::{GenerationId, ItemId, Origin, SourceId};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// A batch of these lines from position 1000 on.
    fn batch(lines: &[&[u8]]) -> Batch {
        let mut bytes = Vec::new();
        let mut events = Vec::new();
        for line in lines {
            events.push(Event { start: bytes.len() as u32, len: line.len() as u32 });
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        let origin = Origin { item: ItemId(0), generation: GenerationId(1), path: "/l/a".into(), family: 1 };
        Batch {
            id: BatchId(1),
            source: SourceId { index: 0, epoch: 0 },
            origin: Arc::new(origin),
            span: Span::of(Position(1000), bytes.len()),
            dropped: logdrive_core::frame::Dropped::default(),
            read_at: logdrive_core::position::Nanos(0),
            lines: events.len() as u32,
            bytes: Bytes::from(bytes),
            events,
            read_at_ms: 1_767_323_045_678,
        }
    }

    fn rendered(lines: &[&[u8]], rest: &[u8]) -> (Vec<Value>, u64) {
        let mut out = Documents::default();
        let batch = batch(lines);
        let invalid = render(&batch, &batch.events, rest, &mut out);
        let parsed = out.events.iter().map(|event| {
            let document = &out.bytes[event.start as usize..(event.start + event.len) as usize];
            serde_json::from_slice(document).expect("a document is JSON")
        });
        (parsed.collect(), invalid)
    }

    #[test]
    fn a_document_has_all_its_fields() {
        let fields = [("service.name".to_owned(), "shop \"1\"".to_owned())];
        let (documents, invalid) =
            rendered(&[b"one", b"", b"two"], &rest("h\t1", "/l/ä.log", "web", &fields));
        assert_eq!(invalid, 0);
        let expected = |message: &str, offset: u64| {
            serde_json::json!({
                "@timestamp": "2026-01-02T03:04:05.678Z", "message": message, "host.name": "h\t1",
                "log.file.path": "/l/ä.log", "event.dataset": "web", "service.name": "shop \"1\"",
                "log.offset": offset,
            })
        };
        assert_eq!(documents, [expected("one", 1000), expected("", 1004), expected("two", 1005)]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() {
        let (documents, invalid) =
            rendered(&[b"a\xffb\"", "ü".as_bytes(), b"\xe2\x82"], &rest("h", "p", "i", &[]));
        assert_eq!(invalid, 2);
        let messages: Vec<&str> = documents.iter().map(|d| d["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["a\u{fffd}b\"", "ü", "\u{fffd}"]);
    }

    #[test]
    fn times_outside_the_calendar_are_clamped() {
        for (read_at_ms, year) in [(-1, "1970"), (i64::MAX, "9999")] {
            let mut batch = batch(&[b"x"]);
            batch.read_at_ms = read_at_ms;
            let mut out = Documents::default();
            render(&batch, &batch.events, &rest("h", "p", "i", &[]), &mut out);
            let document: Value = serde_json::from_slice(&out.bytes).unwrap();
            assert!(document["@timestamp"].as_str().unwrap().starts_with(year));
        }
    }

    #[test]
    fn fields_that_would_be_there_twice_are_found() {
        let field = |name: &str| (name.to_owned(), String::new());
        assert_eq!(reserved(&[field("a"), field("b")]), None);
        assert_eq!(reserved(&[field("a"), field("message")]), Some("message"));
        assert_eq!(reserved(&[field("a"), field("b"), field("a")]), Some("a"));
    }

    proptest! {
        #[test]
        fn any_bytes_become_json_that_says_the_same(lines in prop::collection::vec(
            prop_oneof![prop::collection::vec(any::<u8>(), 0..60), "\\PC{0,40}".prop_map(String::into_bytes)], 1..6,
        )) {
            let slices: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            let (documents, invalid) = rendered(&slices, &rest("h", "p", "i", &[]));
            let bad = lines.iter().filter(|line| std::str::from_utf8(line).is_err()).count() as u64;
            prop_assert_eq!(invalid, bad);
            for (document, line) in documents.iter().zip(&lines) {
                prop_assert_eq!(document["message"].as_str().unwrap(), String::from_utf8_lossy(line));
            }
        }
    }
}
