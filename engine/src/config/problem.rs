//! What is wrong with a configuration, and where it was said.
//!
//! One problem is one line: place, what, what is allowed. All problems of one reading are collected,
//! in the order of the text, so that nobody repairs a file in ten rounds.

use std::fmt;
use std::path::Path;

/// Exit code of a process that refuses its configuration (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Where something was said.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum At {
    /// The configuration as a whole: something that should be there is not.
    Whole,
    /// On the command line.
    Flag(String),
    /// In the file.
    File {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: At,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) at: At,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(at: &At, message: impl Into<String>) -> Problem {
        Problem { at: at.clone(), message: message.into() }
    }
}

/// A configuration that cannot be used, with everything that is wrong with it: never empty.
///
/// Its `Display` is what the user sees: one line for each problem, `error: name:line:column: ...`.
#[derive(Debug)]
pub struct Refused {
    name: String,
    problems: Vec<Problem>,
}

impl Refused {
    pub(crate) fn new(name: &str, mut problems: Vec<Problem>) -> Refused {
        assert!(!problems.is_empty(), "a refusal without a reason");
        problems.sort_by(|a, b| a.at.cmp(&b.at));
        problems.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        Refused { name: name.to_owned(), problems }
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, message }) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match at {
                At::Whole => write!(f, "error: {}: ", self.name)?,
                At::Flag(flag) => write!(f, "error: {}: ", escaped(flag))?,
                At::File { line, column } => write!(f, "error: {}:{line}:{column}: ", self.name)?,
            }
            write!(f, "{}", escaped(message))?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// A path as it may be printed.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// Text without anything that could move a cursor or begin another line.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    crate::logging::escape_text(text, &mut out);
    out
}

/// The candidate nearest to what was written, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    candidates
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(written.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// ` (did you mean `x`?)`, or nothing.
pub(crate) fn hint<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(written, candidates).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Finds line and column of byte offsets.
pub(crate) struct Lines<'a> {
    text: &'a str,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Lines<'a> {
        Lines { text }
    }

    /// The place of the character at `offset`, or of the end of the text.
    pub(crate) fn at(&self, offset: usize) -> At {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before[start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        At::File { line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn columns_count_characters() {
        let lines = Lines::of("a\nüb\n");
        for (offset, line, column) in
            [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 2), (5, 2, 3), (6, 3, 1), (99, 3, 1)]
        {
            assert_eq!(lines.at(offset), At::File { line, column }, "offset {offset}");
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_a_stranger_does_not() {
        let keys = ["topic", "brokers", "line_bytes_max", "acks"];
        let near = |written| nearest(written, keys.into_iter());
        assert_eq!(near("toppic"), Some("topic"));
        assert_eq!(near("Topic"), Some("topic"));
        assert_eq!(near("line-bytes-max"), Some("line_bytes_max"));
        assert_eq!(near("max_line_bytes"), None);
        assert_eq!(near("ack"), Some("acks"));
        assert_eq!(near(""), None);
        assert_eq!(near("colour"), None);
    }

    #[test]
    fn problems_come_in_the_order_of_the_text_and_cannot_forge_a_line() {
        let refused = Refused::new(
            "a.toml",
            vec![
                Problem::new(&At::File { line: 12, column: 3 }, "second"),
                Problem::new(&At::File { line: 9, column: 30 }, "first\nerror: forged \u{1b}[2J"),
                Problem::new(&At::Whole, "missing"),
                Problem::new(&At::Flag("--topic".into()), "typed"),
            ],
        );
        expect![[r#"
            error: a.toml: missing
            error: --topic: typed
            error: a.toml:9:30: first\nerror: forged \u{1b}[2J
            error: a.toml:12:3: second"#]]
        .assert_eq(&refused.to_string());
    }
}
