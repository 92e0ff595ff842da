//! What is wrong with a query, and where.

use std::ops::Range;

use serde_json::{Value, json};

use super::{
    CLAUSES_MAX, DEPTH_MAX, MESSAGE_PREFIX_CHARS_MIN, QUERY_BYTES_MAX, VALUE_BYTES_MAX, WILDCARDS_MAX,
};

/// A query that is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{problem}")]
pub struct QueryError {
    /// Why.
    pub problem: Problem,
    /// The bytes of the text that are to blame.
    pub at: Range<usize>,
}

/// Why a query is refused, in one line with what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The text is too long.
    #[error("the query is longer than {QUERY_BYTES_MAX} bytes")]
    TooLong,
    /// There are too many clauses.
    #[error("more than {CLAUSES_MAX} things are searched for at once")]
    TooMany,
    /// There are too many parentheses within each other.
    #[error("more than {DEPTH_MAX} parentheses within each other")]
    TooDeep,
    /// One word is too long.
    #[error("a word or phrase is longer than {VALUE_BYTES_MAX} bytes")]
    LongWord,
    /// It would look at every word that there is.
    #[error("a wildcard cannot come first: write how the word begins, like web*")]
    LeadingWildcard,
    /// Too many words begin so.
    #[error(
        "before a wildcard a word of the text needs {MESSAGE_PREFIX_CHARS_MIN} letters or digits, like conn*"
    )]
    ShortPrefix,
    /// It would cost too much.
    #[error("more than {WILDCARDS_MAX} wildcards in one word")]
    ManyWildcards,
    /// There are none.
    #[error("regular expressions are not searched: use words, \"phrases\" and word*, or put it in quotes")]
    RegularExpression,
    /// Nearness and weights are not known.
    #[error("`~` and `^` after a phrase are not known here: leave them out, or put them into the quotes")]
    Suffix,
    /// The text has no word in it.
    #[error("there is no letter or digit in it, so there is nothing to search for")]
    NoWord,
    /// A phrase has no end.
    #[error("the quote is not closed: add a \" at the end, or write \\\" for the character")]
    OpenQuote,
    /// A group has no end.
    #[error("the parenthesis is not closed")]
    OpenParenthesis,
    /// A group has no beginning.
    #[error("there is no parenthesis open here; in quotes it is a character like others")]
    StrayParenthesis,
    /// A group holds nothing.
    #[error("there is nothing between the parentheses")]
    EmptyGroup,
    /// Something to find is missing.
    #[error("something to search for is missing here; for the word itself write it in quotes, like \"AND\"")]
    NoOperand,
    /// A field is named, and nothing for it.
    #[error("nothing is said about `{0}`: write {0}:value, {0}:* for any value, or \"{0}:\" for the text")]
    NoValue(String),
    /// No field is called so.
    #[error("no field is called so: names have letters, digits, `.`, `_`, `-` and `@`")]
    BadField,
    /// Fields within fields.
    #[error("a field within the parentheses of another one: write each field on its own")]
    NestedField,
    /// Time has its own place.
    #[error("the time is chosen beside the search box, not in the query")]
    Time,
    /// A range is not written as one.
    #[error("this is no range: write [10 TO 20], [10 TO *], or >10, >=10, <20, <=20 with numbers")]
    BadRange,
    /// A range over words.
    #[error("a range is for fields that are numbers, like offset:>1000")]
    RangeOfText,
    /// A word where a number belongs.
    #[error("`{0}` is a whole number: write {0}:1000 or {0}:>1000")]
    NotANumber(String),
}

impl Problem {
    /// A word for it that does not change, for whoever says it in another language.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Problem::TooLong => "too_long",
            Problem::TooMany => "too_many",
            Problem::TooDeep => "too_deep",
            Problem::LongWord => "long_word",
            Problem::LeadingWildcard => "leading_wildcard",
            Problem::ShortPrefix => "short_prefix",
            Problem::ManyWildcards => "many_wildcards",
            Problem::RegularExpression => "regular_expression",
            Problem::Suffix => "suffix",
            Problem::NoWord => "no_word",
            Problem::OpenQuote => "open_quote",
            Problem::OpenParenthesis => "open_parenthesis",
            Problem::StrayParenthesis => "stray_parenthesis",
            Problem::EmptyGroup => "empty_group",
            Problem::NoOperand => "no_operand",
            Problem::NoValue(_) => "no_value",
            Problem::BadField => "bad_field",
            Problem::NestedField => "nested_field",
            Problem::Time => "time",
            Problem::BadRange => "bad_range",
            Problem::RangeOfText => "range_of_text",
            Problem::NotANumber(_) => "not_a_number",
        }
    }
}

impl QueryError {
    pub(super) fn new(problem: Problem, at: Range<usize>) -> QueryError {
        QueryError { problem, at }
    }

    /// As the page takes it. Places are in UTF-16 code units, which is how a browser counts.
    #[must_use]
    pub fn document(&self, text: &str) -> Value {
        let units = |end: usize| text.get(..end).map_or(0, |head| head.encode_utf16().count());
        json!({
            "code": self.problem.code(),
            "text": self.to_string(),
            "at": [units(self.at.start), units(self.at.end)],
        })
    }
}
