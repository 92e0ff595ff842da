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
        lines: events.len() as u32,
        bytes: Bytes::from(bytes),
        events,
        read_at_ms: 1_767_323_045_678,
    }
}

fn rendered(lines: &[&[u8]], rest: &[u8]) -> (Vec<Value>, u64) {
    let mut out = Documents::default();
    let invalid = render(&batch(lines), rest, &mut out);
    let parsed = out.events.iter().map(|event| {
        let document = &out.bytes[event.start as usize..(event.start + event.len) as usize];
        serde_json::from_slice(document).expect("a document is JSON")
    });
    (parsed.collect(), invalid)
}

#[test]
fn a_document_has_all_its_fields() {
    let fields = [("service.name".to_owned(), "shop \"1\"".to_owned())];
    let (documents, invalid) = rendered(&[b"one", b"", b"two"], &rest("h\t1", "/l/ä.log", "web", &fields));
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
        render(&batch, &rest("h", "p", "i", &[]), &mut out);
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
