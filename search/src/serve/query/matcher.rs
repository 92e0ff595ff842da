//! A query held against one line, in memory: for lines that come live, and for what is marked in a line.
//!
//! It says of a document what the index says of it. The words of a text are found once, and only if asked for.

use std::cell::OnceCell;
use std::ops::Range;

use serde_json::Value;

use super::pattern::Shape;
use super::words::{Word, words};
use super::{Bounds, Clause, Field, LEVEL, Pattern, Query, Test};
use crate::serve::document::Document;

/// A query that is ready to be held against many lines.
#[derive(Debug)]
pub struct Matcher {
    node: Node,
    /// What is looked for in messages, and not to be missing there.
    marked: Vec<Vec<Shape>>,
}

#[derive(Debug)]
enum Node {
    All,
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Words(Vec<Shape>),
    Field(String, FieldTest),
}

#[derive(Debug)]
enum FieldTest {
    Exists,
    Is(String),
    Like(Pattern),
    Within(Bounds),
}

impl Matcher {
    /// Makes a query ready.
    #[must_use]
    pub fn new(query: &Query) -> Matcher {
        let mut marked = Vec::new();
        let node = Node::of(query, true, &mut marked);
        Matcher { node, marked }
    }

    /// Whether a line is found.
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        self.node.matches(document, &OnceCell::new())
    }

    /// Where in a text stands what is looked for: in order, and apart.
    #[must_use]
    pub fn marks(&self, text: &str) -> Vec<Range<usize>> {
        if self.marked.is_empty() {
            return Vec::new();
        }
        let words: Vec<Word> = words(text).collect();
        let found = self.marked.iter().flat_map(|shapes| {
            let words = &words;
            places(shapes, words).map(move |at| words[at].at.start..words[at + shapes.len() - 1].at.end)
        });
        let mut found: Vec<Range<usize>> = found.collect();
        found.sort_by_key(|at| (at.start, at.end));
        let mut marks: Vec<Range<usize>> = Vec::new();
        for at in found {
            match marks.last_mut() {
                Some(last) if at.start <= last.end => last.end = last.end.max(at.end),
                _ => marks.push(at),
            }
        }
        marks
    }
}

impl Node {
    fn of(query: &Query, is_wanted: bool, marked: &mut Vec<Vec<Shape>>) -> Node {
        let mut all =
            |members: &[Query]| members.iter().map(|one| Node::of(one, is_wanted, marked)).collect();
        match query {
            Query::All => Node::All,
            Query::And(members) => Node::And(all(members)),
            Query::Or(members) => Node::Or(all(members)),
            Query::Not(inner) => Node::Not(Box::new(Node::of(inner, !is_wanted, marked))),
            Query::Clause(Clause { field: Field::Message, test }) => {
                let Some(shapes) = shapes_of(test) else { return Node::All };
                if is_wanted {
                    marked.push(shapes.clone());
                }
                Node::Words(shapes)
            }
            Query::Clause(Clause { field: Field::Named(name), test }) => {
                let test = match test {
                    Test::Exists => FieldTest::Exists,
                    Test::Is(value) => FieldTest::Is(value.clone()),
                    Test::Like(pattern) => FieldTest::Like(pattern.clone()),
                    Test::Within(bounds) => FieldTest::Within(bounds.clone()),
                };
                Node::Field(name.clone(), test)
            }
        }
    }

    fn matches(&self, document: &Document, found: &OnceCell<Vec<Word>>) -> bool {
        match self {
            Node::All => true,
            Node::Not(inner) => !inner.matches(document, found),
            Node::And(members) => members.iter().all(|one| one.matches(document, found)),
            Node::Or(members) => members.iter().any(|one| one.matches(document, found)),
            Node::Words(shapes) => {
                let words = found.get_or_init(|| words(&document.message).collect());
                places(shapes, words).next().is_some()
            }
            Node::Field(name, test) => document.values(name).any(|value| test.matches(value, name == LEVEL)),
        }
    }
}

impl FieldTest {
    fn matches(&self, value: &Value, ignores_case: bool) -> bool {
        let text = || match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self {
            FieldTest::Exists => true,
            FieldTest::Is(wanted) if ignores_case => text().to_lowercase() == wanted.to_lowercase(),
            FieldTest::Is(wanted) => text() == *wanted,
            FieldTest::Like(pattern) => pattern.matches(&text(), ignores_case),
            FieldTest::Within(bounds) => value.as_f64().is_some_and(|value| within(bounds, value)),
        }
    }
}

fn within(bounds: &Bounds, value: f64) -> bool {
    let number = |bound: &super::Bound| bound.value.as_f64().unwrap_or(f64::NAN);
    bounds.from.as_ref().is_none_or(|bound| match bound.is_included {
        true => value >= number(bound),
        false => value > number(bound),
    }) && bounds.to.as_ref().is_none_or(|bound| match bound.is_included {
        true => value <= number(bound),
        false => value < number(bound),
    })
}

/// The words that a test of a message wants one after the other; `None` if it wants none.
#[must_use]
pub fn shapes_of(test: &Test) -> Option<Vec<Shape>> {
    match test {
        Test::Is(text) => Some(words(text).map(|word| Shape::Word(word.text)).collect()),
        Test::Like(pattern) => pattern.words().ok(),
        Test::Exists | Test::Within(_) => None,
    }
    .filter(|shapes: &Vec<Shape>| !shapes.is_empty())
}

/// Where words of these shapes follow each other.
fn places<'a>(shapes: &'a [Shape], words: &'a [Word]) -> impl Iterator<Item = usize> + 'a {
    let fits = move |run: &[Word]| run.iter().zip(shapes).all(|(word, shape)| shape.matches(&word.text));
    words.windows(shapes.len()).enumerate().filter(move |(_, run)| fits(run)).map(|(at, _)| at)
}
