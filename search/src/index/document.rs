//! From a record to two lines of a bulk request: where it belongs, and what it is.
//!
//! Both are made of the record alone, byte for byte the same whoever makes them and however often. So a record that
//! is written again, by this member or another, meets itself: same index, same id, and `create` refuses it.
//! A record that is a document already (Elastic Common Schema, as `format = "ecs"` and many loggers write it) is
//! copied as it stands with a few fields behind its own; everything else is the text of a message. What is written
//! goes straight into the body of the request: there is no document in between.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use logdrive::kafka::escape;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::line::{self, Calendar};
use crate::record::{Origin, Record};

/// The longest id that OpenSearch takes.
const ID_BYTES_MAX: usize = 512;
/// The last millisecond with a year of four digits.
const MILLISECOND_MAX: i64 = 253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;
/// A line whose own time is further from that of its record does not choose its index: made-up dates would make an
/// index each.
const DAYS_BEFORE_MAX: i64 = 31;
const DAYS_AFTER_MAX: i64 = 1;

/// What became of a record.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// A document as it stood.
    Document,
    /// Text.
    Text,
    /// Text in which bytes that are not UTF-8 were replaced.
    Damaged,
    /// Nothing: it has no value.
    Nothing,
}

/// Names the indexes, and writes documents for them.
#[derive(Debug)]
pub(crate) struct Writer {
    prefix: String,
    calendar: Calendar,
    /// The day of the last document, and its index: the next one is mostly of the same.
    last: (i64, String),
}

impl Writer {
    /// A writer of indexes whose names begin with `prefix`.
    #[must_use]
    pub(crate) fn new(prefix: &str, calendar: Calendar) -> Writer {
        Writer { prefix: prefix.to_owned(), calendar, last: (i64::MIN, String::new()) }
    }

    /// Appends the two lines of a record.
    pub(crate) fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Written {
        let Some(value) = record.value else { return Written::Nothing };
        match Document::read(value) {
            Some(document) => {
                let written_ms = document.day.saturating_mul(DAY_MS);
                self.action(record, written_ms, out);
                document.write(record, out);
                Written::Document
            }
            None => {
                let written_ms = self.calendar.written_at_ms(value, record.timestamp_ms);
                self.action(record, written_ms, out);
                match write_text(record, value, written_ms, out) {
                    true => Written::Text,
                    false => Written::Damaged,
                }
            }
        }
    }

    fn action(&mut self, record: &Record<'_>, written_ms: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"create\":{\"_index\":\"");
        let day = index_day(written_ms, record.timestamp_ms);
        if self.last.0 != day {
            // `2026-01-02T...` becomes `2026.01.02`.
            let date = rfc3339(day * DAY_MS)[..10].replace('-', ".");
            self.last = (day, format!("{}-{date}", self.prefix));
        }
        out.extend_from_slice(self.last.1.as_bytes());
        out.extend_from_slice(b"\",\"_id\":\"");
        write_id(record, out);
        out.extend_from_slice(b"\"}}\n");
    }
}

/// The day, since the Unix epoch, whose index a document belongs to.
fn index_day(written_ms: i64, record_ms: i64) -> i64 {
    let [written, record] = [written_ms, record_ms].map(|ms| ms.clamp(0, MILLISECOND_MAX).div_euclid(DAY_MS));
    match (record - DAYS_BEFORE_MAX..=record + DAYS_AFTER_MAX).contains(&written) {
        true => written,
        false => record,
    }
}

/// The name of a line, if its agent has given it one: topic, generation, offset, host. So the copy that an agent
/// sends again has the name of the first. Else that of the record: topic, partition, offset, and its time, since a
/// topic that is deleted and made anew counts from 0 again. The second part tells the two apart by its length.
fn write_id(record: &Record<'_>, out: &mut Vec<u8>) {
    let Record { topic, partition, offset, timestamp_ms, .. } = *record;
    let origin = record.origin;
    let written = match (origin.generation, origin.offset, origin.host) {
        (Some(generation), Some(at), Some(host)) if topic.len() + host.len() + 39 <= ID_BYTES_MAX => {
            let written = write!(out, "{topic}/{generation}/{at}/");
            escape(host.as_bytes(), out);
            written
        }
        _ => write!(out, "{topic}/{partition}/{offset}/{timestamp_ms}"),
    };
    written.expect("a vector takes everything");
}

/// A time as JSON has it, in UTC with milliseconds.
fn rfc3339(unix_ms: i64) -> String {
    let since = Duration::from_millis(unix_ms.clamp(0, MILLISECOND_MAX).unsigned_abs());
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

/// Writes the document of a text; whether it was UTF-8.
fn write_text(record: &Record<'_>, value: &[u8], written_ms: i64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"{\"@timestamp\":\"");
    out.extend_from_slice(rfc3339(written_ms).as_bytes());
    out.extend_from_slice(b"\",\"message\":\"");
    let is_utf8 = escape(value, out);
    out.push(b'"');
    write_rest(record, Given::default(), line::level(value), out);
    is_utf8
}

/// What a document says itself, so that it is not said twice.
#[derive(Copy, Clone, Debug, Default)]
struct Given {
    host: bool,
    path: bool,
    offset: bool,
    level: bool,
}

/// Writes the fields behind the message, and the end of the document.
fn write_rest(record: &Record<'_>, given: Given, level: Option<&str>, out: &mut Vec<u8>) {
    let Origin { host, path, generation, offset } = record.origin;
    let texts = [
        ("host.name", host.filter(|_| !given.host)),
        ("log.file.path", path.filter(|_| !given.path)),
        ("log.level", level.filter(|_| !given.level)),
        ("logdrive.generation", generation),
        ("kafka.topic", Some(record.topic)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            escape(text.as_bytes(), out);
            out.push(b'"');
        }
    }
    let offset = offset.filter(|_| !given.offset);
    let written = offset.map_or(Ok(()), |offset| write!(out, ",\"log.offset\":{offset}")).and_then(|()| {
        let Record { partition, offset, .. } = record;
        writeln!(out, ",\"kafka.partition\":{partition},\"kafka.offset\":{offset}}}")
    });
    written.expect("a vector takes everything");
}

/// A record that is a document already.
#[derive(Debug)]
struct Document<'a> {
    text: &'a str,
    /// The day of its time as it is written there.
    day: i64,
    message: &'a str,
    given: Given,
}

/// What is looked for in it. Everything else is passed over.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "@timestamp", borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(rename = "host.name")]
    host_name: Option<IgnoredAny>,
    host: Option<IgnoredAny>,
    #[serde(rename = "log.file.path")]
    path: Option<IgnoredAny>,
    #[serde(rename = "log.offset")]
    offset: Option<IgnoredAny>,
    #[serde(rename = "log.level")]
    level: Option<IgnoredAny>,
    log: Option<IgnoredAny>,
    #[serde(rename = "kafka.topic")]
    kafka_topic: Option<IgnoredAny>,
    #[serde(rename = "kafka.partition")]
    kafka_partition: Option<IgnoredAny>,
    #[serde(rename = "kafka.offset")]
    kafka_offset: Option<IgnoredAny>,
    #[serde(rename = "logdrive.generation")]
    generation: Option<IgnoredAny>,
}

impl Document<'_> {
    /// Reads a value as a document: a JSON object with a time and a message. `None`: it is text.
    fn read(value: &[u8]) -> Option<Document<'_>> {
        if !value.starts_with(b"{") {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?.trim_end();
        let fields: Fields<'_> = serde_json::from_str(text).ok()?;
        // These are ours: what calls itself by them is no document of an agent.
        if fields.kafka_topic.is_some()
            || fields.kafka_partition.is_some()
            || fields.kafka_offset.is_some()
            || fields.generation.is_some()
        {
            return None;
        }
        let message = fields.message.get().strip_prefix('"')?.strip_suffix('"')?;
        let day = day_of(fields.timestamp.get(..10)?)?;
        let given = Given {
            host: fields.host_name.is_some() || fields.host.is_some(),
            path: fields.path.is_some() || fields.log.is_some(),
            offset: fields.offset.is_some() || fields.log.is_some(),
            level: fields.level.is_some() || fields.log.is_some(),
        };
        Some(Document { text, day, message, given })
    }

    fn write(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let inside = self.text.strip_suffix('}').expect("an object ends with a brace");
        out.extend_from_slice(inside.as_bytes());
        // Between tokens, where alone it can stand, a line end means nothing; in a bulk request it ends the document.
        for byte in &mut out[start..] {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        let level = if self.given.level { None } else { line::level(self.message.as_bytes()) };
        write_rest(record, self.given, level, out);
    }
}

/// The day, since the Unix epoch, of a date like `2026-01-02`.
fn day_of(date: &str) -> Option<i64> {
    let midnight = humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).ok()?;
    let since = midnight.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs() / 86_400).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use serde_json::Value;

    const NOON_MS: i64 = 1_767_355_200_123;

    fn record(value: &[u8]) -> Record<'_> {
        Record {
            topic: "web_log",
            partition: 3,
            offset: 42,
            timestamp_ms: NOON_MS,
            origin: Origin::default(),
            value: Some(value),
        }
    }

    fn named<'a>(value: &'a [u8], host: &'a str) -> Record<'a> {
        let origin = Origin {
            host: Some(host),
            path: Some("/var/log/a.log"),
            generation: Some("00000000000000ff"),
            offset: Some(1234),
        };
        Record { origin, ..record(value) }
    }

    fn written(record: &Record<'_>) -> (String, Written) {
        let mut out = Vec::new();
        let written = Writer::new("logs", Calendar::new(TimeZone::UTC)).write(record, &mut out);
        (String::from_utf8(out).expect("UTF-8"), written)
    }

    fn check(record: &Record<'_>, expected: Expect) {
        expected.assert_eq(&written(record).0);
    }

    /// The action's index and id, and the document, as JSON reads them.
    fn parsed(record: &Record<'_>) -> (String, String, Value) {
        let (text, _) = written(record);
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!((lines.len(), lines[2]), (3, ""), "two lines: {text:?}");
        let [action, document] =
            [lines[0], lines[1]].map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of = |name: &str| action["create"][name].as_str().unwrap().to_owned();
        (of("_index"), of("_id"), document)
    }

    #[test]
    fn a_line_of_an_agent_carries_its_own_name() {
        check(
            &named(b"GET \"/\"", "web1"),
            expect![[r#"
                {"create":{"_index":"logs-2026.01.02","_id":"web_log/00000000000000ff/1234/web1"}}
                {"@timestamp":"2026-01-02T12:00:00.123Z","message":"GET \"/\"","host.name":"web1","log.file.path":"/var/log/a.log","logdrive.generation":"00000000000000ff","kafka.topic":"web_log","log.offset":1234,"kafka.partition":3,"kafka.offset":42}
            "#]],
        );
        check(
            &record(b"one\ntwo"),
            expect![[r#"
                {"create":{"_index":"logs-2026.01.02","_id":"web_log/3/42/1767355200123"}}
                {"@timestamp":"2026-01-02T12:00:00.123Z","message":"one\ntwo","kafka.topic":"web_log","kafka.partition":3,"kafka.offset":42}
            "#]],
        );
    }

    #[test]
    fn a_document_is_copied_and_completed() {
        let ecs = br#"{"@timestamp":"2026-01-01T23:59:59.999Z","message":"a \"b\"","host.name":"h","log.file.path":"/p","event.dataset":"web","team":"shop","log.offset":7}"#;
        check(
            &record(ecs),
            expect![[r#"
                {"create":{"_index":"logs-2026.01.01","_id":"web_log/3/42/1767355200123"}}
                {"@timestamp":"2026-01-01T23:59:59.999Z","message":"a \"b\"","host.name":"h","log.file.path":"/p","event.dataset":"web","team":"shop","log.offset":7,"kafka.topic":"web_log","kafka.partition":3,"kafka.offset":42}
            "#]],
        );
        // One of an application's own, over several lines, whose host and place only the headers know.
        let (index, _, document) = parsed(&named(
            b"{\n  \"@timestamp\": \"2026-01-02T01:00:00+01:00\",\n \"message\": \"x\" }\n",
            "web1",
        ));
        assert_eq!(index, "logs-2026.01.02");
        assert_eq!((&document["host.name"], &document["log.offset"]), (&"web1".into(), &1234.into()));
        let nested = br#"{"@timestamp":"2026-01-02T01:00:00Z","message":"x","log":{"level":"warn"},"host":{"name":"own"}}"#;
        let (_, _, document) = parsed(&named(nested, "web1"));
        assert_eq!((&document["host.name"], &document["log.offset"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn i05_what_is_no_document_is_text() {
        for foreign in [
            &br#"{"message":"no time"}"#[..],
            br#"{"@timestamp":"yesterday","message":"x"}"#,
            br#"{"@timestamp":"2026-13-01T00:00:00Z","message":"x"}"#,
            br#"{"@timestamp":"2026-01-02T00:00:00Z","message":{"a":1}}"#,
            br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"x","message":"y"}"#,
            br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"x","kafka.offset":1}"#,
            br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"x"} trailing"#,
            br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"cut"#,
            b"{\"@timestamp\":\"2026-01-02T00:00:00Z\",\"message\":\"raw\nline end\"}",
            b"{",
            b"",
        ] {
            let (_, _, document) = parsed(&record(foreign));
            assert_eq!(document["message"].as_str().unwrap().as_bytes(), foreign);
            assert_eq!(written(&record(foreign)).1, Written::Text);
        }
        let damaged = written(&record(b"a\xffb"));
        assert_eq!((damaged.1, damaged.0.contains("a\u{fffd}b")), (Written::Damaged, true));
        assert_eq!(written(&Record { value: None, ..record(b"") }), (String::new(), Written::Nothing));
    }

    #[test]
    fn i03_a_record_has_one_place_whoever_writes_it() {
        let at = |host, offset, timestamp_ms| {
            let (index, id, _) = parsed(&Record { offset, timestamp_ms, ..named(b"x", host) });
            (index, id)
        };
        assert_eq!(at("web1", 42, NOON_MS), at("web1", 99, NOON_MS), "a copy that an agent sent again");
        assert_ne!(at("web1", 42, NOON_MS), at("web2", 42, NOON_MS));
        let plain = |offset, timestamp_ms| parsed(&Record { offset, timestamp_ms, ..record(b"x") }).1;
        assert_ne!(plain(42, NOON_MS), plain(42, NOON_MS + 1), "a topic that was made anew");
        let long = "h".repeat(500);
        assert_eq!(at(&long, 42, NOON_MS).1, "web_log/3/42/1767355200123", "too long for an id");
        assert_eq!(at("h\"\n", 42, NOON_MS).1, "web_log/00000000000000ff/1234/h\"\n");
    }

    #[test]
    fn a_made_up_date_makes_no_index() {
        let day =
            |written_days: i64| index_day((20_000 + written_days) * DAY_MS, 20_000 * DAY_MS + 5) - 20_000;
        let days = [-20_000, -32, -31, -1, 0, 1, 2, 2_000_000].map(day);
        assert_eq!(days, [0, 0, -31, -1, 0, 1, 0, 0]);
        let (index, _, document) = parsed(&record(br#"{"@timestamp":"2099-01-01T00:00:00Z","message":"x"}"#));
        assert_eq!(
            (index.as_str(), &document["@timestamp"]),
            ("logs-2026.01.02", &"2099-01-01T00:00:00Z".into())
        );
        for timestamp_ms in [0, i64::MAX] {
            parsed(&Record { timestamp_ms, ..record(b"x") });
        }
    }

    proptest! {
        #[test]
        fn any_record_is_two_lines_of_json(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "\\PC{0,40}".prop_map(String::into_bytes),
                "[{}\\[\\]\",:@a-z\\n ]{0,40}".prop_map(|text| format!("{{\"@timestamp\":\"2026-01-02\",{text}").into_bytes()),
            ],
            host in "\\PC{0,20}",
            timestamp_ms in any::<i64>().prop_map(|ms| ms.max(0)),
        ) {
            let (_, id, document) = parsed(&Record { timestamp_ms, ..named(&value, &host) });
            prop_assert!(id.len() <= ID_BYTES_MAX);
            prop_assert!(document["message"].is_string());
        }
    }
}
