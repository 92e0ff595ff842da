//! From tokens to a query: AND binds closer than OR, NOT closer than both, and what stands side by side is AND.

use std::ops::Range;

use serde_json::Number;

use super::lexer::{Placed, Token, tokens};
use super::words::words;
use super::{
    Bound, Bounds, CLAUSES_MAX, Clause, DEPTH_MAX, Field, Pattern, Piece, Problem, QUERY_BYTES_MAX, Query,
    QueryError, Test,
};

/// Reads what was typed.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(QueryError::new(Problem::TooLong, 0..text.len()));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.len(), clauses: 0 };
    if tokens.is_empty() {
        return Ok(Query::All);
    }
    let query = parser.or(None, 0)?;
    match parser.peek() {
        None => Ok(query),
        Some((_, at)) => Err(QueryError::new(Problem::StrayParenthesis, at.clone())),
    }
}

struct Parser<'a> {
    tokens: &'a [Placed],
    at: usize,
    end: usize,
    clauses: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Placed> {
        self.tokens.get(self.at)
    }

    fn next_is(&self, token: &Token) -> bool {
        self.peek().is_some_and(|(found, _)| found == token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_there = self.next_is(token);
        self.at += usize::from(is_there);
        is_there
    }

    /// Where something is missing: the next token, or the end.
    fn here(&self) -> Range<usize> {
        self.peek().map_or(self.end..self.end, |(_, at)| at.clone())
    }

    fn or(&mut self, field: Option<&Field>, depth: usize) -> Result<Query, QueryError> {
        let mut members = vec![self.and(field, depth)?];
        while self.take(&Token::Or) {
            members.push(self.and(field, depth)?);
        }
        Ok(Query::any_of(members))
    }

    fn and(&mut self, field: Option<&Field>, depth: usize) -> Result<Query, QueryError> {
        let mut members = vec![self.not(field, depth)?];
        loop {
            let is_explicit = self.take(&Token::And);
            let ends = match self.peek() {
                None => true,
                Some((token, _)) => matches!(token, Token::Or | Token::Close),
            };
            if ends && !is_explicit {
                return Ok(Query::all_of(members));
            }
            members.push(self.not(field, depth)?);
        }
    }

    fn not(&mut self, field: Option<&Field>, depth: usize) -> Result<Query, QueryError> {
        let mut is_negated = false;
        while self.take(&Token::Not) {
            is_negated = !is_negated;
        }
        let query = self.operand(field, depth)?;
        Ok(if is_negated { query.negated() } else { query })
    }

    fn operand(&mut self, field: Option<&Field>, depth: usize) -> Result<Query, QueryError> {
        let Some((token, at)) = self.peek() else {
            return Err(QueryError::new(Problem::NoOperand, self.here()));
        };
        match token {
            Token::Open => self.group(field, depth),
            Token::Field(name) => {
                if field.is_some() {
                    return Err(QueryError::new(Problem::NestedField, at.clone()));
                }
                self.at += 1;
                self.field(name, at, depth)
            }
            Token::Text(_) | Token::Pattern(_) | Token::Range(_) => {
                self.at += 1;
                self.clause(field.unwrap_or(&Field::Message), token, at)
            }
            Token::Close if depth == 0 => Err(QueryError::new(Problem::StrayParenthesis, at.clone())),
            Token::And | Token::Or | Token::Not | Token::Close => {
                Err(QueryError::new(Problem::NoOperand, at.clone()))
            }
        }
    }

    fn group(&mut self, field: Option<&Field>, depth: usize) -> Result<Query, QueryError> {
        let open = self.here();
        self.at += 1;
        if depth == DEPTH_MAX {
            return Err(QueryError::new(Problem::TooDeep, open));
        }
        if self.next_is(&Token::Close) {
            return Err(QueryError::new(Problem::EmptyGroup, open.start..self.here().end));
        }
        let query = self.or(field, depth + 1)?;
        match self.take(&Token::Close) {
            true => Ok(query),
            false => Err(QueryError::new(Problem::OpenParenthesis, open)),
        }
    }

    /// What stands behind a name and its colon, without a space between.
    fn field(&mut self, name: &str, at: &Range<usize>, depth: usize) -> Result<Query, QueryError> {
        if matches!(name, "@timestamp" | "timestamp" | "time") {
            return Err(QueryError::new(Problem::Time, at.clone()));
        }
        let field = Field::of_name(name);
        match self.peek() {
            Some((Token::Open, next)) if next.start == at.end => self.group(Some(&field), depth),
            Some((token @ (Token::Text(_) | Token::Pattern(_) | Token::Range(_)), next))
                if next.start == at.end =>
            {
                self.at += 1;
                self.clause(&field, token, &(at.start..next.end))
            }
            _ => Err(QueryError::new(Problem::NoValue(name.to_owned()), at.clone())),
        }
    }

    fn clause(&mut self, field: &Field, token: &Token, at: &Range<usize>) -> Result<Query, QueryError> {
        let refused = |problem| QueryError::new(problem, at.clone());
        self.clauses += 1;
        if self.clauses > CLAUSES_MAX {
            return Err(refused(Problem::TooMany));
        }
        let test = match token {
            Token::Pattern(Pattern(pieces)) if pieces[..] == [Piece::Any] => match field {
                // Every line has a text.
                Field::Message => return Ok(Query::All),
                Field::Named(_) => Test::Exists,
            },
            Token::Pattern(pattern) => like(field, pattern).map_err(refused)?,
            Token::Text(text) => is(field, text).map_err(refused)?,
            Token::Range(text) if matches!(field, Field::Named(_)) => {
                Test::Within(bounds(text).ok_or_else(|| refused(Problem::BadRange))?)
            }
            _ => return Err(refused(Problem::RangeOfText)),
        };
        Ok(Query::Clause(Clause { field: field.clone(), test }))
    }
}

fn is(field: &Field, text: &str) -> Result<Test, Problem> {
    match field {
        Field::Message if words(text).next().is_none() => Err(Problem::NoWord),
        Field::Named(_) if text.is_empty() => Err(Problem::NoValue(field.name().to_owned())),
        _ if field.is_number() && text.parse::<u64>().is_err() => {
            Err(Problem::NotANumber(field.name().to_owned()))
        }
        _ => Ok(Test::Is(text.to_owned())),
    }
}

fn like(field: &Field, pattern: &Pattern) -> Result<Test, Problem> {
    if field.is_number() {
        return Err(Problem::NotANumber(field.name().to_owned()));
    }
    match field {
        Field::Message => pattern.words().map(drop)?,
        Field::Named(_) if !matches!(pattern.0.first(), Some(Piece::Text(_))) => {
            return Err(Problem::LeadingWildcard);
        }
        Field::Named(_) => {}
    }
    Ok(Test::Like(pattern.clone()))
}

/// `[1 TO 5]`, `{1 TO *}`, `>1`, `>=1`, `<5`, `<=5`.
fn bounds(text: &str) -> Option<Bounds> {
    let bound = |text: &str, is_included: bool| match text.trim() {
        "*" => Some(None),
        number => Some(Some(Bound { value: number_of(number)?, is_included })),
    };
    let bounds = if let Some(rest) = text.strip_prefix(">=") {
        Bounds { from: bound(rest, true)?, to: None }
    } else if let Some(rest) = text.strip_prefix("<=") {
        Bounds { from: None, to: bound(rest, true)? }
    } else if let Some(rest) = text.strip_prefix('>') {
        Bounds { from: bound(rest, false)?, to: None }
    } else if let Some(rest) = text.strip_prefix('<') {
        Bounds { from: None, to: bound(rest, false)? }
    } else {
        let inner = &text[1..text.len() - 1];
        let (from, to) = inner.split_once(" TO ")?;
        Bounds { from: bound(from, text.starts_with('['))?, to: bound(to, text.ends_with(']'))? }
    };
    (bounds.from.is_some() || bounds.to.is_some()).then_some(bounds)
}

/// A number that is written as it is read.
fn number_of(text: &str) -> Option<Number> {
    let whole = text.parse::<i64>().map(Number::from).ok();
    let whole = whole.or_else(|| text.parse::<u64>().map(Number::from).ok());
    let is_decimal =
        || text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'e' | b'+' | b'E'));
    whole.or_else(|| is_decimal().then(|| text.parse().ok()).flatten().and_then(Number::from_f64))
}
