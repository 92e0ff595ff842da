//! The kinds of values that keys take, and the check of one TOML value against its kind.
//!
//! Not the place of rules between keys or of rules with a reason in Kafka or the file system: those
//! are where the plan is made. A kind also describes itself, for error messages and for the reference.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{At, Placed, Problem, hint};
use super::start::{self, ReadFrom};
use super::units;

/// What a key takes.
#[derive(Copy, Clone, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, or one of the words.
    Count {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// Words that may stand instead.
        or: &'static [&'static str],
    },
    /// A duration within bounds, or one of the words.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
        /// Words that may stand instead.
        or: &'static [&'static str],
    },
    /// A size in bytes within bounds, or one of the words.
    Size {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// Words that may stand instead.
        or: &'static [&'static str],
    },
    /// One of the words (a number among them may be written without quotes).
    Choice(&'static [&'static str]),
    /// Where to begin in a file.
    Start,
    /// One string; the name says of what.
    Text(&'static str),
    /// An array of strings; the name says of what.
    Texts(&'static str),
    /// A table with free keys and string values.
    Fields,
    /// A table with free keys and values that are strings, integers or booleans.
    Options,
}

/// A value that has passed the check of its kind.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Flag(bool),
    Count(i64),
    Duration(Duration),
    Size(u64),
    Word(&'static str),
    Start(ReadFrom),
    Text(String),
    Texts(Vec<Placed<String>>),
    Table(Vec<(Placed<String>, String)>),
}

impl Kind {
    /// The kind in words, as the reference prints it.
    #[must_use]
    pub fn describe(&self) -> String {
        let (what, or) = match *self {
            Kind::Flag => ("boolean".to_owned(), &[][..]),
            Kind::Count { min, max, or } => (format!("whole number, {min} to {max}"), or),
            Kind::Duration { min, max, or } => {
                (format!("duration, {} to {}", units::duration(min), units::duration(max)), or)
            }
            Kind::Size { min, max, or } => {
                (format!("size in bytes, {} to {}", units::size(min), units::size(max)), or)
            }
            Kind::Choice(words) => (String::new(), words),
            Kind::Start => ("\"beginning\", \"end\", or a time".to_owned(), &[][..]),
            Kind::Text(what) => (what.to_owned(), &[][..]),
            Kind::Texts(what) => (format!("array of {what}s"), &[][..]),
            Kind::Fields => ("table of strings".to_owned(), &[][..]),
            Kind::Options => ("table of strings, whole numbers or booleans".to_owned(), &[][..]),
        };
        let words: Vec<String> = or.iter().map(|word| format!("\"{word}\"")).collect();
        match (what.is_empty(), words.is_empty()) {
            (false, true) => what,
            (false, false) => format!("{what}, or {}", words.join(", ")),
            (true, _) => format!("one of {}", words.join(", ")),
        }
    }

    /// How a value of this kind is written, for whoever wrote something else.
    fn expected(&self) -> String {
        match self {
            Kind::Duration { .. } => "a duration like \"5ms\" or \"2m\"".to_owned(),
            Kind::Size { .. } => "a size like \"64MiB\"".to_owned(),
            Kind::Texts(what) => format!("an array of strings ({what}s), like [\"...\"]"),
            Kind::Choice(_) => self.describe(),
            Kind::Start => format!("a string: {}", start::ALLOWED),
            Kind::Text("string") => "a string".to_owned(),
            Kind::Text(what) => format!("a string ({what})"),
            _ => format!("a {}", self.describe()),
        }
    }

    /// Checks one value; problems are told by `key`, the name that the user wrote.
    pub(crate) fn check(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        place: &dyn Fn(usize) -> At,
    ) -> Result<Value, Problem> {
        let at = place(value.span().start);
        let refuse = |message: String| Problem::new(&at, message);
        let wrong_type =
            || refuse(format!("`{key}` must be {}, not {}", self.expected(), type_name(value.get_ref())));
        match (*self, value.get_ref()) {
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Count { min, max, .. }, DeValue::Integer(number)) => {
                let count = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX);
                if (min..=max).contains(&count) {
                    Ok(Value::Count(count))
                } else {
                    Err(refuse(self.outside(key, number.as_str())))
                }
            }
            (Kind::Size { .. }, DeValue::Integer(number)) => {
                let bytes = u64::from_str_radix(number.as_str(), number.radix())
                    .map_err(|_| refuse(self.outside(key, number.as_str())))?;
                self.size(key, bytes).map_err(refuse)
            }
            (Kind::Choice(_), DeValue::Integer(number)) => self.word(key, number.as_str()).map_err(refuse),
            (
                Kind::Count { .. }
                | Kind::Duration { .. }
                | Kind::Size { .. }
                | Kind::Choice(_)
                | Kind::Start
                | Kind::Text(_),
                DeValue::String(text),
            ) => self.check_text(key, text).map_err(refuse),
            (Kind::Texts(what), DeValue::Array(elements)) => {
                let texts = elements.iter().map(|element| match element.get_ref() {
                    DeValue::String(text) => {
                        Ok(Placed { value: text.clone().into_owned(), at: place(element.span().start) })
                    }
                    other => Err(Problem::new(
                        &place(element.span().start),
                        format!("`{key}` must hold strings ({what}s), not {}", type_name(other)),
                    )),
                });
                Ok(Value::Texts(texts.collect::<Result<_, _>>()?))
            }
            (Kind::Fields | Kind::Options, DeValue::Table(table)) => self.check_table(table, place),
            _ => Err(wrong_type()),
        }
    }

    /// Checks a value that was typed or quoted.
    pub(crate) fn check_text(&self, key: &str, text: &str) -> Result<Value, String> {
        match *self {
            Kind::Choice(_) => self.word(key, text),
            Kind::Start => {
                let start = ReadFrom::parse(text);
                start.map(Value::Start).map_err(|why| format!("`{key}` is {text:?}; {why}"))
            }
            Kind::Text(_) if text.is_empty() => Err(format!("`{key}` is empty")),
            Kind::Text(_) => Ok(Value::Text(text.to_owned())),
            Kind::Duration { or, .. } | Kind::Size { or, .. } | Kind::Count { or, .. }
                if or.contains(&text) =>
            {
                self.word(key, text)
            }
            Kind::Duration { min, max, .. } => {
                let value = units::parse_duration(text).map_err(|why| self.or_words(key, &why))?;
                if value < min || value > max {
                    Err(self.outside(key, text))
                } else {
                    Ok(Value::Duration(value))
                }
            }
            Kind::Size { .. } => {
                let bytes = units::parse_size(text).map_err(|why| self.or_words(key, &why))?;
                self.size(key, bytes)
            }
            Kind::Count { .. } => Err(format!("`{key}` is {text:?}; allowed: {}", self.describe())),
            Kind::Flag | Kind::Texts(_) | Kind::Fields | Kind::Options => {
                Err(format!("`{key}` must be {}, not a string", self.expected()))
            }
        }
    }

    fn check_table(&self, table: &DeTable<'_>, place: &dyn Fn(usize) -> At) -> Result<Value, Problem> {
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let text = match (self, value.get_ref()) {
                (_, DeValue::String(text)) => text.clone().into_owned(),
                (Kind::Options, DeValue::Boolean(flag)) => flag.to_string(),
                (Kind::Options, DeValue::Integer(number)) if number.radix() == 10 => {
                    number.as_str().to_owned()
                }
                (_, other) => {
                    let dotted = match (self, other) {
                        (Kind::Options, DeValue::Table(_)) => {
                            "; a name with dots needs quotes: \"socket.timeout.ms\" = 10000"
                        }
                        _ => "",
                    };
                    return Err(Problem::new(
                        &place(value.span().start),
                        format!("`{}` must be a string, not {}{dotted}", name.get_ref(), type_name(other)),
                    ));
                }
            };
            let name = Placed { value: name.get_ref().clone().into_owned(), at: place(name.span().start) };
            entries.push((name, text));
        }
        Ok(Value::Table(entries))
    }

    fn size(&self, key: &str, bytes: u64) -> Result<Value, String> {
        match *self {
            Kind::Size { min, max, .. } if (min..=max).contains(&bytes) => Ok(Value::Size(bytes)),
            _ => Err(self.outside(key, &units::size(bytes))),
        }
    }

    fn word(&self, key: &str, text: &str) -> Result<Value, String> {
        let words = match *self {
            Kind::Choice(words) => words,
            Kind::Count { or, .. } | Kind::Duration { or, .. } | Kind::Size { or, .. } => or,
            _ => &[],
        };
        words.iter().find(|word| **word == text).map(|word| Value::Word(word)).ok_or_else(|| {
            // Of two letters, anything is near.
            let near = if text.len() > 2 { hint(text, words.iter().copied()) } else { String::new() };
            format!("`{key}` is {text:?}; allowed: {}{near}", words.join(", "))
        })
    }

    fn outside(&self, key: &str, written: &str) -> String {
        format!("`{key}` is {written}; allowed: {}", self.describe())
    }

    fn or_words(&self, key: &str, why: &str) -> String {
        match self {
            Kind::Duration { or, .. } | Kind::Size { or, .. } if !or.is_empty() => {
                let words: Vec<String> = or.iter().map(|word| format!("\"{word}\"")).collect();
                format!("`{key}`: {why}, or {}", words.join(", "))
            }
            _ => format!("`{key}`: {why}"),
        }
    }
}

/// The name of a TOML type, with its article.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
