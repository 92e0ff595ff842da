//! A line as a document: its fields by their dotted names, and how it is told to the page.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::query::matcher::Matcher;

/// How much of a message is told to the page; all of it is in an export.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// How much of any other field.
const VALUE_CHARS_MAX: usize = 2048;
/// How many other fields.
const FIELDS_MAX: usize = 100;

/// A document of the index, or what will be one.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The text of the line.
    pub message: String,
    /// Every other field with each of its values, by its dotted name.
    fields: Vec<(String, Value)>,
}

impl Document {
    /// Takes a document apart. Objects within objects are what their dotted names are, as in the index.
    #[must_use]
    pub fn of(source: Value) -> Document {
        let mut document = Document::default();
        if let Value::Object(object) = source {
            document.add("", object);
        }
        document
    }

    fn add(&mut self, prefix: &str, object: Map<String, Value>) {
        for (key, value) in object {
            let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            match value {
                Value::Object(inner) => self.add(&name, inner),
                Value::Array(values) => {
                    for value in values {
                        match value {
                            Value::Object(inner) => self.add(&name, inner),
                            value => self.fields.push((name.clone(), value)),
                        }
                    }
                }
                Value::Null => {}
                Value::String(text) if name == "message" => self.message = text,
                value => self.fields.push((name, value)),
            }
        }
    }

    /// The values of a field.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
    }

    /// The first value of a field, if it is text.
    #[must_use]
    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).find_map(Value::as_str)
    }

    /// The first value of a field, if it is a whole number.
    #[must_use]
    pub fn number<'a>(&'a self, name: &'a str) -> Option<u64> {
        self.values(name).find_map(Value::as_u64)
    }

    /// Its time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> Option<i64> {
        let time = humantime::parse_rfc3339(self.text("@timestamp")?).ok()?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }

    /// As the page takes it: the text in parts of which every second one is what was looked for.
    #[must_use]
    pub fn line(&self, id: &str, time_ms: i64, matcher: &Matcher) -> Value {
        let shown = cut(&self.message, MESSAGE_BYTES_MAX);
        let mut parts = Vec::new();
        let mut end = 0;
        for mark in matcher.marks(shown) {
            parts.push(&shown[end..mark.start]);
            end = mark.end;
            parts.push(&shown[mark]);
        }
        parts.push(&shown[end..]);
        let mut fields = Map::new();
        for (name, value) in self.fields.iter().filter(|(name, _)| name != "@timestamp") {
            if fields.len() == FIELDS_MAX {
                break;
            }
            let text: Cow<'_, str> = match value {
                Value::String(text) => text.as_str().into(),
                other => other.to_string().into(),
            };
            let mut shown: String = text.chars().take(VALUE_CHARS_MAX).collect();
            if shown.len() < text.len() {
                shown.push('\u{2026}');
            }
            match fields.get_mut(name) {
                Some(Value::String(before)) => {
                    before.push_str(", ");
                    before.push_str(&shown);
                }
                _ => {
                    fields.insert(name.clone(), shown.into());
                }
            }
        }
        json!({
            "id": id,
            "time": time_ms,
            "parts": parts,
            "cut": self.message.len() - shown.len(),
            "fields": fields,
        })
    }
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::query::parse;

    fn line(source: Value, query: &str) -> Value {
        Document::of(source).line("id", 7, &Matcher::new(&parse(query).unwrap()))
    }

    #[test]
    fn every_second_part_is_what_was_looked_for() {
        let parts = |message: &str, query: &str| line(json!({ "message": message }), query)["parts"].clone();
        assert_eq!(parts("a b c", ""), json!(["a b c"]));
        assert_eq!(parts("a b c", "b"), json!(["a ", "b", " c"]));
        assert_eq!(parts("a b", "a"), json!(["", "a", " b"]));
        assert_eq!(parts("a b", "a b"), json!(["", "a", " ", "b", ""]));
        assert_eq!(parts("", "a"), json!([""]));
        assert_eq!(parts("<b>x</b>", "x"), json!(["<b>", "x", "</b>"]));
    }

    #[test]
    fn nested_and_dotted_names_are_the_same() {
        let source = json!({
            "host": { "name": "a" }, "log.level": "info", "log": { "offset": 5 }, "tags": ["x", "y"],
            "list": [{ "n": 1 }, { "n": 2 }], "none": null, "message": "m",
        });
        let document = Document::of(source);
        assert_eq!((document.text("host.name"), document.text("log.level")), (Some("a"), Some("info")));
        assert_eq!(document.number("log.offset"), Some(5));
        let line = document.line("i", 0, &Matcher::new(&parse("").unwrap()));
        assert_eq!(
            line["fields"],
            json!({ "host.name": "a", "log.level": "info", "log.offset": "5", "tags": "x, y", "list.n": "1, 2" })
        );
    }

    #[test]
    fn x06_what_is_told_is_bounded() {
        let long = "é".repeat(20_000);
        let mut source = json!({ "message": long, "long": long });
        for n in 0..500 {
            source[format!("f{n}")] = n.into();
        }
        let line = line(source, "é");
        assert_eq!(line["cut"].as_u64(), Some(40_000 - 16_384));
        assert_eq!(line["fields"].as_object().unwrap().len(), FIELDS_MAX);
        assert!(line.to_string().len() < 40_000);
    }

    #[test]
    fn a_time_that_is_none_is_none() {
        let time = |text: &str| Document::of(json!({ "@timestamp": text })).time_ms();
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(time("yesterday"), None);
        assert_eq!(Document::of(json!({ "@timestamp": 5 })).time_ms(), None);
    }
}
