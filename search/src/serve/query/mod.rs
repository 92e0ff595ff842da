//! The language of the search box, as a struct: what a query means, and how it is written.
//!
//! ```text
//! text ── lexer ──> tokens ── parser ──> Query ──┬── dsl ──> what OpenSearch is asked
//!                                   print <──────┼── matcher ──> does this line match, and where
//! ```
//!
//! Nothing that is typed reaches OpenSearch as a query: only values of clauses do, each in the place of a value.
//! So there is no other index to be asked for, no script, no regular expression, and no size but ours. What may
//! cost much (wildcards, depth, length) is bounded here, and refused with its place in the text.

mod error;
mod lexer;
pub mod matcher;
mod parser;
pub mod pattern;
mod print;
pub mod words;

pub use error::{Problem, QueryError};
pub use parser::parse;
pub use pattern::{Pattern, Piece};

use serde_json::Number;

/// The longest text of a query, in bytes.
pub const QUERY_BYTES_MAX: usize = 2048;
/// Clauses in one query.
pub const CLAUSES_MAX: usize = 64;
/// Parentheses within each other.
pub const DEPTH_MAX: usize = 16;
/// The longest word or phrase, in bytes.
pub const VALUE_BYTES_MAX: usize = 512;
/// Wildcards in one word.
pub const WILDCARDS_MAX: usize = 4;
/// Letters and digits before the first wildcard in a word of a message: with fewer, too many words begin so.
pub const MESSAGE_PREFIX_CHARS_MIN: usize = 2;

/// What is looked for. `And` and `Or` have at least two members, none of which is of their own kind; `Not` holds
/// no `Not`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Query {
    /// Every line.
    All,
    /// What the inner one does not find.
    Not(Box<Query>),
    /// What all find.
    And(Vec<Query>),
    /// What at least one finds.
    Or(Vec<Query>),
    /// What has this in that field.
    Clause(Clause),
}

/// One thing to find in one field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clause {
    /// Where.
    pub field: Field,
    /// What.
    pub test: Test,
}

/// A field of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Field {
    /// The line's text, of which words are searched.
    Message,
    /// Any other, by its name in the index; its value is searched as a whole.
    Named(String),
}

/// What a field is to hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Test {
    /// Anything.
    Exists,
    /// This value; in a message these words, one after the other.
    Is(String),
    /// A value of this shape; in a message words of these shapes, one after the other.
    Like(Pattern),
    /// A number between these.
    Within(Bounds),
}

/// A range of numbers. At least one end is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Where it begins.
    pub from: Option<Bound>,
    /// Where it ends.
    pub to: Option<Bound>,
}

/// An end of a range.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bound {
    /// The number.
    pub value: Number,
    /// Whether the number itself is within.
    pub is_included: bool,
}

/// Names that people type, and the fields of the index that they mean; the first of a field is how it is written.
const ALIASES: &[(&str, &str)] = &[
    ("host", "host.name"),
    ("file", "log.file.path"),
    ("path", "log.file.path"),
    ("level", LEVEL),
    ("topic", "kafka.topic"),
    ("partition", "kafka.partition"),
    ("offset", "log.offset"),
    ("generation", "logdrive.generation"),
    ("item", "event.dataset"),
];

/// The field in which capitals do not matter.
pub const LEVEL: &str = "log.level";
/// Fields of the index that hold whole numbers, so that a word there is a mistake.
const NUMBERS: [&str; 3] = ["log.offset", "kafka.offset", "kafka.partition"];

impl Field {
    /// The field that a typed name means.
    #[must_use]
    pub fn of_name(name: &str) -> Field {
        match name {
            "message" => Field::Message,
            _ => {
                let known = ALIASES.iter().find(|(alias, _)| *alias == name);
                Field::Named(known.map_or(name, |(_, field)| field).to_owned())
            }
        }
    }

    /// How it is typed.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Field::Message => "message",
            Field::Named(name) => {
                let known = ALIASES.iter().find(|(_, field)| field == name);
                known.map_or(name, |(alias, _)| alias)
            }
        }
    }

    /// Its name in the index.
    #[must_use]
    pub fn in_index(&self) -> &str {
        match self {
            Field::Message => "message",
            Field::Named(name) => name,
        }
    }

    fn is_number(&self) -> bool {
        NUMBERS.contains(&self.in_index())
    }
}

impl Query {
    /// What all of them find.
    #[must_use]
    pub fn all_of(queries: Vec<Query>) -> Query {
        let mut members = Vec::with_capacity(queries.len());
        for query in queries {
            match query {
                Query::All => {}
                Query::And(inner) => members.extend(inner),
                other => members.push(other),
            }
        }
        match members.len() {
            0 => Query::All,
            1 => members.remove(0),
            _ => Query::And(members),
        }
    }

    /// What at least one of them finds; of none, every line.
    #[must_use]
    pub fn any_of(queries: Vec<Query>) -> Query {
        let mut members = Vec::with_capacity(queries.len());
        for query in queries {
            match query {
                Query::All => return Query::All,
                Query::Or(inner) => members.extend(inner),
                other => members.push(other),
            }
        }
        match members.len() {
            0 => Query::All,
            1 => members.remove(0),
            _ => Query::Or(members),
        }
    }

    /// What it does not find.
    #[must_use]
    pub fn negated(self) -> Query {
        match self {
            Query::Not(inner) => *inner,
            other => Query::Not(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests;
