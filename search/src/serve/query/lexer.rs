//! From the text of a query to its tokens, each with its place.

use std::ops::Range;

use super::{Pattern, Piece, Problem, QueryError, VALUE_BYTES_MAX, WILDCARDS_MAX};

/// A token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A name with a colon after it.
    Field(String),
    /// A word or phrase.
    Text(String),
    /// A word with wildcards.
    Pattern(Pattern),
    /// `[a TO b]`, `>a` and the like, as it is written.
    Range(String),
}

/// A token with its bytes in the text.
pub(super) type Placed = (Token, Range<usize>);

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, QueryError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    while lexer.next()? {}
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Placed>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, token: Token, bytes: usize) {
        self.tokens.push((token, self.at..self.at + bytes));
        self.at += bytes;
    }

    /// Whether a value must come now, since a field was named.
    fn is_valued(&self) -> bool {
        matches!(self.tokens.last(), Some((Token::Field(_), at)) if at.end == self.at)
    }

    /// Reads one token; whether there was one.
    fn next(&mut self) -> Result<bool, QueryError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(false) };
        match first {
            '(' => self.push(Token::Open, 1),
            ')' => self.push(Token::Close, 1),
            '"' => self.phrase()?,
            '&' if rest.starts_with("&&") => self.push(Token::And, 2),
            '|' if rest.starts_with("||") => self.push(Token::Or, 2),
            '[' | '{' if self.is_valued() => {
                let end = rest.find([']', '}']);
                let bad = || QueryError::new(Problem::BadRange, self.at..self.text.len());
                let bytes = end.ok_or_else(bad)? + 1;
                self.push(Token::Range(rest[..bytes].to_owned()), bytes);
            }
            '>' | '<' if self.is_valued() => {
                let bytes = rest.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(rest.len());
                self.push(Token::Range(rest[..bytes].to_owned()), bytes);
            }
            // A minus alone, as between two words, is no negation.
            '-' | '!' if !self.is_valued() && is_operand(&rest[1..]) => self.push(Token::Not, 1),
            // As if it were not there: what is searched for must be there anyway.
            '+' if !self.is_valued() && is_operand(&rest[1..]) => self.at += 1,
            _ => self.word()?,
        }
        Ok(true)
    }

    fn phrase(&mut self) -> Result<(), QueryError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        let end = loop {
            match chars.next() {
                None => return Err(QueryError::new(Problem::OpenQuote, start..self.text.len())),
                Some((at, '"')) => break at + 1,
                Some((_, '\\')) => text.extend(chars.next().map(|(_, c)| c)),
                Some((_, c)) => text.push(c),
            }
        };
        self.bounded(&text, start..start + end)?;
        self.push(Token::Text(text), end);
        match self.rest().chars().next() {
            Some('~' | '^') => Err(QueryError::new(Problem::Suffix, self.at..self.at + 1)),
            _ => Ok(()),
        }
    }

    fn bounded(&self, text: &str, at: Range<usize>) -> Result<(), QueryError> {
        match text.len() {
            ..=VALUE_BYTES_MAX => Ok(()),
            _ => Err(QueryError::new(Problem::LongWord, at)),
        }
    }

    /// A word up to a space or parenthesis, or the name of a field.
    fn word(&mut self) -> Result<(), QueryError> {
        let start = self.at;
        let is_valued = self.is_valued();
        self.not_regular(is_valued)?;
        let rest = &self.text[start..];
        let mut pieces: Vec<Piece> = Vec::new();
        // Only what stands before the first colon can be the name of a field, if it is written as one.
        let mut may_be_name = !is_valued;
        let mut wildcards = 0;
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c.is_whitespace() || matches!(c, '(' | ')' | '"') => {
                    end = at;
                    break;
                }
                '\\' => {
                    may_be_name = false;
                    // A last one stands for itself.
                    add(&mut pieces, chars.next().map_or('\\', |(_, c)| c));
                }
                '*' | '?' => {
                    wildcards += 1;
                    may_be_name = false;
                    pieces.push(if c == '*' { Piece::Any } else { Piece::One });
                }
                ':' if may_be_name && names_field(&rest[..at], &rest[at + 1..]) => {
                    if !rest[..at].chars().all(is_field_character) {
                        return Err(QueryError::new(Problem::BadField, start..start + at));
                    }
                    self.push(Token::Field(rest[..at].to_owned()), at + 1);
                    return Ok(());
                }
                _ => {
                    may_be_name &= c != ':';
                    add(&mut pieces, c);
                }
            }
        }
        let at = start..start + end;
        if wildcards > WILDCARDS_MAX {
            return Err(QueryError::new(Problem::ManyWildcards, at));
        }
        self.bounded(&rest[..end], at)?;
        let token = match (&pieces[..], &rest[..end]) {
            (_, "AND") if !is_valued => Token::And,
            (_, "OR") if !is_valued => Token::Or,
            (_, "NOT") if !is_valued => Token::Not,
            ([Piece::Text(text)], _) => Token::Text(text.clone()),
            _ => Token::Pattern(Pattern(pieces)),
        };
        self.push(token, end);
        Ok(())
    }

    /// `/.../` with more than a path in it was meant as a regular expression.
    fn not_regular(&self, is_valued: bool) -> Result<(), QueryError> {
        let rest = self.rest();
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        let word = word.trim_end_matches(')');
        let is_delimited = word.len() > 2 && word.starts_with('/') && word.ends_with('/');
        let is_like = word.contains(['[', ']', '(', '|', '+', '^', '$', '{', '\\']) || word.contains(".*");
        if is_delimited && is_like || is_valued && word.starts_with("~/") {
            return Err(QueryError::new(Problem::RegularExpression, self.at..self.at + word.len()));
        }
        Ok(())
    }
}

fn add(pieces: &mut Vec<Piece>, c: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.to_string())),
    }
}

/// Whether something follows that a minus can negate: not so in `->`, `--verbose` and `a - b`.
fn is_operand(rest: &str) -> bool {
    let begins =
        |c: char| c.is_alphanumeric() || matches!(c, '"' | '(' | '\\' | '_' | '@' | '.' | '/' | '*' | '?');
    rest.chars().next().is_some_and(begins)
}

/// Whether a colon after `name` makes it a field. Times (`12:30`), links (`http://...`) and `std::fmt` are pasted
/// into search boxes, and no fields.
fn names_field(name: &str, after: &str) -> bool {
    !name.is_empty()
        && !name.chars().all(|c| c.is_ascii_digit())
        && !after.starts_with("//")
        && !after.starts_with(':')
}

fn is_field_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@')
}
