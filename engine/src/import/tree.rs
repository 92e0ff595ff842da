//! What YAML, TOML and Fluent Bit's own syntax have in common: texts, lists and tables, each with its place.
//!
//! A tree also remembers what was accounted for. Whoever carries a value over, or says why not, *takes* it; what
//! nobody took is found afterwards, so that nothing of a foreign configuration is left out in silence.

use std::cell::Cell;

use crate::config::problem::{At, Problem};

/// More values than this are no configuration; aliases of YAML can write a million of them in ten lines.
pub(super) const VALUES_MAX: usize = 20_000;

/// A deeper nesting is none that a person wrote.
pub(super) const DEPTH_MAX: usize = 64;

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where its key stands, or where it stands itself in a list.
    pub(super) at: At,
    /// The key under which it stands, as it was written; empty in a list.
    pub(super) name: String,
    pub(super) value: Value,
    /// It was accounted for with everything below.
    taken: Cell<bool>,
}

/// What a node holds. Numbers, booleans and dates are their text: what they mean depends on who asks.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nothing,
    Text(String),
    List(Vec<Node>),
    /// In the order in which it was written, without two entries of one name.
    Table(Vec<Node>),
}

impl Node {
    pub(super) fn new(at: At, name: impl Into<String>, value: Value) -> Node {
        Node { at, name: name.into(), value, taken: Cell::new(false) }
    }

    /// The same value under another name: an element under that of its list.
    pub(super) fn named(&self, name: &str) -> Node {
        Node { name: name.to_owned(), ..self.clone() }
    }

    /// The entries of a table; nothing of anything else.
    pub(super) fn entries(&self) -> &[Node] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }

    /// The elements of a list; what is no list is a list of one, as all three formats have it.
    pub(super) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::Nothing => &[],
            Value::List(elements) => elements,
            Value::Text(_) | Value::Table(_) => std::slice::from_ref(self),
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Whether it says yes or no, in one of the spellings of the three formats.
    pub(super) fn flag(&self) -> Option<bool> {
        match &self.text()?.to_ascii_lowercase()[..] {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    /// The value at a path with dots, not taken; Fluent Bit and librdkafka have names with dots in them. Fluent Bit's
    /// keys have no case, and in the other two no two keys differ by it alone.
    pub(super) fn look(&self, path: &str) -> Option<&Node> {
        let named = |name: &str| self.entries().iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
        named(path).or_else(|| {
            let (first, rest) = path.split_once('.')?;
            named(first)?.look(rest)
        })
    }

    /// The same, taken with everything below it.
    pub(super) fn take(&self, path: &str) -> Option<&Node> {
        self.look(path).inspect(|node| node.taken.set(true))
    }

    /// Takes the node itself with everything below it.
    pub(super) fn take_all(&self) {
        self.taken.set(true);
    }

    /// The highest nodes of which nothing was taken, in the order of the text.
    pub(super) fn untaken(&self) -> Vec<&Node> {
        let mut found = Vec::new();
        self.collect_untaken(&mut found);
        found
    }

    fn collect_untaken<'a>(&'a self, found: &mut Vec<&'a Node>) {
        match &self.value {
            _ if self.taken.get() => {}
            _ if !self.any_taken() => found.push(self),
            Value::List(nodes) | Value::Table(nodes) => {
                nodes.iter().for_each(|node| node.collect_untaken(found));
            }
            Value::Nothing | Value::Text(_) => {}
        }
    }

    fn any_taken(&self) -> bool {
        self.taken.get()
            || match &self.value {
                Value::List(nodes) | Value::Table(nodes) => nodes.iter().any(Node::any_taken),
                Value::Nothing | Value::Text(_) => false,
            }
    }

    /// How many values it is made of.
    pub(super) fn count(&self) -> usize {
        match &self.value {
            Value::List(nodes) | Value::Table(nodes) => 1 + nodes.iter().map(Node::count).sum::<usize>(),
            Value::Nothing | Value::Text(_) => 1,
        }
    }

    /// `a.b: x` as `a: {b: x}`, everywhere, as Filebeat reads it.
    pub(super) fn without_dots(self) -> Result<Node, Problem> {
        let value = match self.value {
            Value::List(nodes) => {
                Value::List(nodes.into_iter().map(Node::without_dots).collect::<Result<_, _>>()?)
            }
            Value::Table(entries) => {
                let mut whole = Vec::new();
                for entry in entries {
                    let entry = entry.without_dots()?;
                    let path = entry.name.clone();
                    merge(&mut whole, &path, entry)?;
                }
                Value::Table(whole)
            }
            value => value,
        };
        Ok(Node { value, ..self })
    }
}

/// Puts a value at a path below a table. Two tables become one; anything else that is there already is a contradiction.
fn merge(entries: &mut Vec<Node>, path: &str, node: Node) -> Result<(), Problem> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let known = entries.iter_mut().find(|entry| entry.name == first);
    match (known, rest) {
        (None, None) => entries.push(Node { name: first.to_owned(), ..node }),
        (None, Some(rest)) => {
            let mut below = Vec::new();
            let at = node.at.clone();
            merge(&mut below, rest, node)?;
            entries.push(Node::new(at, first, Value::Table(below)));
        }
        (Some(Node { value: Value::Table(below), .. }), Some(rest)) => merge(below, rest, node)?,
        (Some(Node { value: Value::Table(below), .. }), None) if matches!(node.value, Value::Table(_)) => {
            let Value::Table(more) = node.value else { unreachable!("matched above") };
            for entry in more {
                let name = entry.name.clone();
                merge(below, &name, entry)?;
            }
        }
        (Some(_), _) => {
            return Err(Problem::new(&node.at, format!("`{path}` is written a second time here")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        super::super::yaml::read(text).unwrap()
    }

    #[test]
    fn what_nobody_took_is_found_once_and_at_its_highest() {
        let tree = read("a: {b: 1, c: {d: 2, e: 3}}\nf: [x, y]\ng: 4\n");
        let names = || tree.untaken().iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(), [""], "nothing was taken: the whole");
        assert_eq!(tree.take("A.C.d").unwrap().text(), Some("2"));
        assert_eq!(names(), ["b", "e", "f", "g"]);
        tree.take("f").unwrap();
        tree.take("a.c").unwrap();
        assert!(tree.take("a.x.y").is_none() && tree.look("g").is_some());
        assert_eq!(names(), ["b", "g"]);
    }

    #[test]
    fn keys_with_dots_are_tables() {
        let tree = read("output.kafka:\n  hosts: [a]\n  ssl.enabled: yes\noutput.kafka.ssl: {key: k}\n");
        let tree = tree.without_dots().unwrap();
        assert_eq!(tree.look("output.kafka.ssl.enabled").and_then(Node::flag), Some(true));
        assert_eq!(tree.look("output.kafka.ssl.key").and_then(Node::text), Some("k"));
        for twice in ["a.b: 1\na: {b: 2}", "a: 1\na.b: 2"] {
            let problem = read(twice).without_dots().unwrap_err();
            assert_eq!(problem.at, At::File { line: 2, column: if twice.ends_with('}') { 5 } else { 1 } });
        }
    }
}
