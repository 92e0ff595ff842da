//! Lines as Elastic Common Schema documents: one JSON object for each event, rendered once per batch
//! into one recycled buffer.
//!
//! Not a JSON library: it writes one shape. A line without a character that JSON must escape, which is
//! nearly every line, is copied whole after two fast passes over it. Field names are dotted and
//! flat, as in Elastic's own loggers.

use std::io::Write;
use std::time::{Duration, SystemTime};

use logdrive_core::batch::{Batch, Event};

use super::container::{FIELDS, Label};

/// The names that a document has of its own accord.
const OWN: [&str; 6] = ["@timestamp", "message", "host.name", "log.file.path", "log.offset", "event.dataset"];

/// Those of an event that was unwrapped from the log of a container, beside what its path says.
const OF_CONTAINER: [&str; 2] = ["stream", "event.created"];

/// The documents of a batch.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// All documents, one after the other. Not changed while librdkafka points into it.
    pub(super) bytes: Vec<u8>,
    /// Where each one is.
    pub(super) events: Vec<Event>,
}

/// The first field that the format sets itself, or that is named twice.
pub(super) fn reserved(fields: &[(String, String)], is_container: bool) -> Option<&str> {
    let names = || fields.iter().map(|(name, _)| name.as_str());
    let twice = |at: usize, name: &str| names().take(at).any(|other| other == name);
    let of_container = |name: &str| is_container && (OF_CONTAINER.contains(&name) || FIELDS.contains(&name));
    let is_set = |name: &str| OWN.contains(&name) || of_container(name);
    names().enumerate().find(|(at, name)| is_set(name) || twice(*at, name)).map(|(_, name)| name)
}

/// What follows the message in every document of one file, up to the number of its offset.
pub(super) fn rest(
    host: &str,
    path: &str,
    item: &str,
    fields: &[(String, String)],
    labels: &[Label],
) -> Vec<u8> {
    let mut out = Vec::new();
    out.push(b'"');
    let own = [("host.name", host), ("log.file.path", path), ("event.dataset", item)];
    let more = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = labels.iter().map(|label| (label.field, label.value.as_str()));
    for (name, value) in own.into_iter().chain(labels).chain(more) {
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
    for (index, event) in events.iter().enumerate() {
        let start = out.bytes.len();
        let unwrapped = batch.details.get(index).filter(|detail| detail.stream.is_some());
        match unwrapped {
            None => out.bytes.extend_from_slice(&head),
            Some(detail) => {
                // A time of digits and signs, which needs no escape.
                out.bytes.extend_from_slice(b"{\"@timestamp\":\"");
                out.bytes.extend_from_slice(batch.event(detail.time));
                out.bytes.extend_from_slice(b"\",\"message\":\"");
            }
        }
        invalid += u64::from(!escape(batch.event(*event), &mut out.bytes));
        out.bytes.extend_from_slice(rest);
        let offset = batch.place(index).0;
        let written = match unwrapped.and_then(|detail| detail.stream) {
            None => write!(out.bytes, "{offset}}}"),
            Some(stream) => {
                let stream = stream.name();
                write!(out.bytes, r#"{offset},"stream":"{stream}","event.created":"{timestamp}"}}"#)
            }
        };
        written.expect("a vector takes everything");
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

/// Appends `text` as the inside of a JSON string; whether it was UTF-8. Bytes that are not become U+FFFD.
pub fn escape(text: &[u8], out: &mut Vec<u8>) -> bool {
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
    use logdrive_core::frame::{Detail, Stream};
    use logdrive_core::position::{Position, Span};
    use logdrive_core::source::{GenerationId, ItemId, Origin, SourceId};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::container;
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
            details: Vec::new(),
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
            rendered(&[b"one", b"", b"two"], &rest("h\t1", "/l/ä.log", "web", &fields, &[]));
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
    fn what_is_unwrapped_has_its_own_time_and_stream_and_place() {
        let mut batch = batch(&[b"2026-01-01T00:00:00.000000001Zjoined", b"damaged"]);
        let time = Event { start: 0, len: 30 };
        batch.events[0] = Event { start: 30, len: 6 };
        batch.details = vec![
            Detail { place: 7, stream: Some(Stream::Stderr), time },
            Detail { place: 70, stream: None, time: Event { start: 0, len: 0 } },
        ];
        let mut out = Documents::default();
        let labels = container::labels("/var/log/pods/shop_web_1b2c/nginx/0.log");
        render(&batch, &batch.events, &rest("h", "p", "i", &[], &labels), &mut out);
        let documents: Vec<Value> = out
            .events
            .iter()
            .map(|event| {
                serde_json::from_slice(&out.bytes[event.start as usize..(event.start + event.len) as usize])
                    .unwrap()
            })
            .collect();
        let of = |at: usize, field: &str| documents[at][field].clone();
        assert_eq!(of(0, "@timestamp"), "2026-01-01T00:00:00.000000001Z");
        assert_eq!((of(0, "message"), of(0, "stream")), ("joined".into(), "stderr".into()));
        assert_eq!(
            (of(0, "event.created"), of(0, "log.offset")),
            ("2026-01-02T03:04:05.678Z".into(), 1007.into())
        );
        assert_eq!(
            (of(0, "kubernetes.pod.name"), of(1, "kubernetes.namespace")),
            ("web".into(), "shop".into())
        );
        assert_eq!((of(1, "message"), of(1, "log.offset")), ("damaged".into(), 1070.into()));
        assert_eq!((of(1, "@timestamp"), of(1, "stream")), ("2026-01-02T03:04:05.678Z".into(), Value::Null));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() {
        let (documents, invalid) =
            rendered(&[b"a\xffb\"", "ü".as_bytes(), b"\xe2\x82"], &rest("h", "p", "i", &[], &[]));
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
            render(&batch, &batch.events, &rest("h", "p", "i", &[], &[]), &mut out);
            let document: Value = serde_json::from_slice(&out.bytes).unwrap();
            assert!(document["@timestamp"].as_str().unwrap().starts_with(year));
        }
    }

    #[test]
    fn fields_that_would_be_there_twice_are_found() {
        let field = |name: &str| (name.to_owned(), String::new());
        assert_eq!(reserved(&[field("a"), field("stream")], false), None);
        assert_eq!(reserved(&[field("a"), field("stream")], true), Some("stream"));
        assert_eq!(reserved(&[field("a"), field("message")], false), Some("message"));
        assert_eq!(reserved(&[field("a"), field("b"), field("a")], false), Some("a"));
    }

    proptest! {
        #[test]
        fn any_bytes_become_json_that_says_the_same(lines in prop::collection::vec(
            prop_oneof![prop::collection::vec(any::<u8>(), 0..60), "\\PC{0,40}".prop_map(String::into_bytes)], 1..6,
        )) {
            let slices: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            let (documents, invalid) = rendered(&slices, &rest("h", "p", "i", &[], &[]));
            let bad = lines.iter().filter(|line| std::str::from_utf8(line).is_err()).count() as u64;
            prop_assert_eq!(invalid, bad);
            for (document, line) in documents.iter().zip(&lines) {
                prop_assert_eq!(document["message"].as_str().unwrap(), String::from_utf8_lossy(line));
            }
        }
    }
}
