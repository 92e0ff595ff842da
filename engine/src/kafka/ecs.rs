//! Lines as Elastic Common Schema documents: one JSON object for each event, rendered once per batch
//! into one recycled buffer.
//!
//! Not a JSON library: it writes one shape. A line without a character that JSON must escape, which is
//! nearly every line, is found by one vectorised pass and copied whole. Field names are dotted and
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

/// Renders a batch into `out`, which keeps its memory. Returns how many events were not UTF-8; their
/// bad bytes become U+FFFD.
pub(super) fn render(batch: &Batch, rest: &[u8], out: &mut Documents) -> u64 {
    out.bytes.clear();
    out.events.clear();
    let mut invalid = 0;
    let read_at = Duration::from_millis(batch.read_at_ms.clamp(0, READ_AT_MS_MAX) as u64);
    let timestamp = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + read_at);
    let mut head = [0; HEAD_BYTES];
    write!(&mut head[..], r#"{{"@timestamp":"{timestamp}","message":""#).expect("the length is fixed");
    for event in &batch.events {
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
    // Without an early exit this pass is vectorised: most lines are plain.
    let special = text.iter().fold(false, |any, byte| any | must_escape(*byte));
    let mut valid = true;
    for piece in text.utf8_chunks() {
        if special {
            escape_valid(piece.valid().as_bytes(), out);
        } else {
            out.extend_from_slice(piece.valid().as_bytes());
        }
        if !piece.invalid().is_empty() {
            valid = false;
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    valid
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape_valid(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|byte| must_escape(*byte)) {
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
#[path = "ecs_tests.rs"]
mod tests;
