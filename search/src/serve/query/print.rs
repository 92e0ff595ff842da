//! How a query is written: such that it is read as itself.

use std::fmt::{self, Write as _};

use super::{Bound, Bounds, Clause, Field, Pattern, Piece, Query, Test};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = |member: &Query, f: &mut fmt::Formatter<'_>| match member {
            Query::And(_) | Query::Or(_) => write!(f, "({member})"),
            _ => write!(f, "{member}"),
        };
        match self {
            Query::All => f.write_char('*'),
            Query::Not(inner) => {
                f.write_char('-')?;
                grouped(inner, f)
            }
            Query::And(members) => {
                for (at, member) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { " " })?;
                    grouped(member, f)?;
                }
                Ok(())
            }
            Query::Or(members) => {
                for (at, member) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { " OR " })?;
                    grouped(member, f)?;
                }
                Ok(())
            }
            Query::Clause(clause) => write!(f, "{clause}"),
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Field::Named(_) = self.field {
            write!(f, "{}:", self.field.name())?;
        }
        match &self.test {
            Test::Exists => f.write_char('*'),
            Test::Is(text) if is_plain(text) => f.write_str(text),
            Test::Is(text) => {
                f.write_char('"')?;
                for c in text.chars() {
                    if matches!(c, '"' | '\\') {
                        f.write_char('\\')?;
                    }
                    f.write_char(c)?;
                }
                f.write_char('"')
            }
            Test::Like(pattern) => write!(f, "{pattern}"),
            Test::Within(bounds) => write!(f, "{bounds}"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for piece in &self.0 {
            match piece {
                Piece::Any => f.write_char('*')?,
                Piece::One => f.write_char('?')?,
                Piece::Text(text) => {
                    for c in text.chars() {
                        if !(is_harmless(c) && (c.is_alphanumeric() || !is_first)) {
                            f.write_char('\\')?;
                        }
                        f.write_char(c)?;
                        is_first = false;
                    }
                }
            }
            is_first = false;
        }
        Ok(())
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_included = |bound: &Option<Bound>| bound.as_ref().is_none_or(|bound| bound.is_included);
        let value =
            |bound: &Option<Bound>| bound.as_ref().map_or("*".to_owned(), |bound| bound.value.to_string());
        let (open, close) = (is_included(&self.from), is_included(&self.to));
        f.write_char(if open { '[' } else { '{' })?;
        write!(f, "{} TO {}", value(&self.from), value(&self.to))?;
        f.write_char(if close { ']' } else { '}' })
    }
}

/// Whether a word needs no quotes.
fn is_plain(text: &str) -> bool {
    text.starts_with(char::is_alphanumeric)
        && text.chars().all(is_harmless)
        && !matches!(text, "AND" | "OR" | "NOT")
}

/// Whether a character within a word is nothing but itself.
fn is_harmless(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '@' | '-' | '/')
}
