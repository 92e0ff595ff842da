//! YAML to the tree: anchors, aliases and merge keys are resolved, tags are ignored.
//!
//! The events come from saphyr-parser, one after the other, so that no text is deep enough to exhaust the stack.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::tree::{DEPTH_MAX, Node, VALUES_MAX, Value};
use crate::config::problem::{At, Problem};

/// A list or table whose end has not come yet.
struct Open {
    at: At,
    /// The anchor that stands before it, or 0.
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Table(Table),
}

#[derive(Default)]
struct Table {
    entries: Vec<Node>,
    /// The key whose value has not come yet.
    key: Option<(At, String)>,
    /// What `<<` brings: for the names that the table does not have itself.
    merged: Vec<Node>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    /// Values so far, those that aliases repeat included.
    values: usize,
}

fn place(marker: Marker) -> At {
    At::File { line: marker.line(), column: marker.col() + 1 }
}

/// Reads the first document; an empty one is an empty table.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let hint = if text.lines().any(|line| line.trim_start_matches(' ').starts_with('\t')) {
                "; a line begins with a tab, which YAML does not take for indentation"
            } else {
                ""
            };
            Problem::new(&place(*error.marker()), format!("not valid YAML: {}{hint}", error.info()))
        })?;
        let at = place(span.start);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" if plain => Value::Nothing,
                    text => Value::Text(text.to_owned()),
                };
                builder.value(at, anchor, value)?;
            }
            Event::SequenceStart(anchor, _) => builder.begin(at, anchor, Kind::List(Vec::new()))?,
            Event::MappingStart(anchor, _) => builder.begin(at, anchor, Kind::Table(Table::default()))?,
            Event::SequenceEnd | Event::MappingEnd => builder.end()?,
            Event::Alias(anchor) => {
                let Some(node) = builder.anchors.get(&anchor).cloned() else {
                    return Err(Problem::new(&at, "this alias stands within what it means"));
                };
                builder.values += node.count();
                builder.value(at, 0, node.value)?;
            }
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    let begin = At::File { line: 1, column: 1 };
    Ok(builder.root.unwrap_or_else(|| Node::new(begin, "", Value::Table(Vec::new()))))
}

impl Builder {
    fn begin(&mut self, at: At, anchor: usize, kind: Kind) -> Result<(), Problem> {
        if let Some(Open { kind: Kind::Table(Table { key: None, .. }), .. }) = self.open.last() {
            return Err(Problem::new(&at, "a key must be a text"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Problem::new(&at, format!("nested more than {DEPTH_MAX} deep")));
        }
        self.open.push(Open { at, anchor, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Open { at, anchor, kind } = self.open.pop().expect("the parser pairs begin and end");
        let value = match kind {
            Kind::List(nodes) => Value::List(nodes),
            Kind::Table(table) => Value::Table(table.whole()),
        };
        self.value(at, anchor, value)
    }

    /// A value is there: it is the root, a key, the value of one, or an element.
    fn value(&mut self, at: At, anchor: usize, value: Value) -> Result<(), Problem> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Problem::new(&at, format!("more than {VALUES_MAX} values, aliases included")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Node::new(at.clone(), "", value.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(Node::new(at, "", value)),
            Some(Kind::List(nodes)) => nodes.push(Node::new(at, "", value)),
            Some(Kind::Table(table)) => match table.key.take() {
                Some((at, name)) if name == "<<" => table.merge(&at, value)?,
                Some((at, name)) => table.entries.push(Node::new(at, name, value)),
                None => table.key = Some(table.key_of(at, value)?),
            },
        }
        Ok(())
    }
}

impl Table {
    fn key_of(&self, at: At, value: Value) -> Result<(At, String), Problem> {
        match value {
            Value::Text(name) if self.entries.iter().any(|entry| entry.name == name) => {
                Err(Problem::new(&at, format!("`{name}` is written a second time here")))
            }
            Value::Text(name) => Ok((at, name)),
            Value::Nothing | Value::List(_) | Value::Table(_) => {
                Err(Problem::new(&at, "a key must be a text"))
            }
        }
    }

    /// `<<: *defaults`, or a list of such.
    fn merge(&mut self, at: &At, value: Value) -> Result<(), Problem> {
        match value {
            Value::Table(entries) => self.merged.extend(entries),
            Value::List(nodes) if nodes.iter().all(|node| matches!(node.value, Value::Table(_))) => {
                self.merged.extend(nodes.iter().flat_map(|node| node.entries().to_vec()));
            }
            Value::Nothing | Value::Text(_) | Value::List(_) => {
                return Err(Problem::new(at, "`<<` takes a table or a list of tables"));
            }
        }
        Ok(())
    }

    /// Its entries, and those of the merged ones that it has not; the first wins.
    fn whole(self) -> Vec<Node> {
        let mut entries = self.entries;
        for node in self.merged {
            if !entries.iter().any(|known| known.name == node.name) {
                entries.push(node);
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Nothing => "-".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(nodes) => format!("[{}]", nodes.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Table(nodes) => {
                let entry = |node: &Node| format!("{}={}", node.name, shown(node));
                format!("{{{}}}", nodes.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn check(text: &str) -> String {
        match read(text) {
            Ok(node) => shown(&node),
            Err(Problem { at: At::File { line, column }, message }) => format!("{line}:{column}: {message}"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn anchors_aliases_and_merges_are_resolved() {
        let text = "d: &d {a: 1, b: 2}\nx:\n  <<: *d\n  b: 3\ny: {b: ~, <<: [*d, {c: ''}]}\nz: *d\n";
        assert_eq!(check(text), r#"{d={a="1" b="2"} x={b="3" a="1"} y={b=- a="1" c=""} z={a="1" b="2"}}"#);
    }

    #[test]
    fn scalars_are_their_text() {
        let text =
            "\u{feff}# c\n- yes # really\n- 010\n- 'it''s'\n- |\n  two\n  lines\n- \"\\t\"\n- !!str 5\n";
        assert_eq!(check(text), r#"["yes" "010" "it's" "two\nlines\n" "\t" "5"]"#);
        assert_eq!(check(""), "{}");
        assert_eq!(check("a: 1\n---\nb: 2\n"), r#"{a="1"}"#, "the first document");
    }

    #[test]
    fn what_is_broken_has_its_place() {
        let bomb: String = (1..9)
            .map(|n| format!("a{n}: &a{n} [{}]\n", ["*a0"; 9].join(",").replace('0', &(n - 1).to_string())))
            .collect();
        let mut all = String::new();
        for text in [
            "a: [1, 2\nb: 3\n",
            "a:\n\t- b\n",
            "a: 'open\n",
            "a: 1\na: 2\n",
            "{[a]: 1}",
            "a: *nowhere\n",
            "a: &a [*a]\n",
            "a: 1\n<<: 5\n",
            &"[".repeat(100),
            &format!("a0: &a0 x\n{bomb}"),
        ] {
            all += &check(text);
            all.push('\n');
        }
        expect![[r#"
            2:2: not valid YAML: illegal placement of ':' indicator
            2:2: not valid YAML: tabs disallowed within this context (block indentation); a line begins with a tab, which YAML does not take for indentation
            1:4: not valid YAML: while scanning a quoted scalar, found unexpected end of stream
            2:1: `a` is written a second time here
            1:2: a key must be a text
            1:4: not valid YAML: while parsing node, found unknown anchor
            1:8: this alias stands within what it means
            2:1: `<<` takes a table or a list of tables
            1:65: nested more than 64 deep
            6:14: more than 20000 values, aliases included
        "#]].assert_eq(&all);
    }
}
