//! TOML to the tree.

use toml::de::{DeTable, DeValue};

use super::tree::{Node, Value};
use crate::config::problem::{At, Lines, Problem};

/// Reads a document; the first thing that is wrong ends the reading.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = lines.at(error.span().map_or(0, |span| span.start));
        Problem::new(&at, format!("not valid TOML: {}", error.message()))
    })?;
    Ok(Node::new(At::File { line: 1, column: 1 }, "", entries(table.get_ref(), &lines)))
}

fn entries(table: &DeTable<'_>, lines: &Lines<'_>) -> Value {
    let mut nodes: Vec<(usize, Node)> = table
        .iter()
        .map(|(name, value)| {
            let start = name.span().start;
            (start, Node::new(lines.at(start), &**name.get_ref(), value_of(value.get_ref(), lines)))
        })
        .collect();
    // The order of the text, not that of the names.
    nodes.sort_by_key(|(start, _)| *start);
    Value::Table(nodes.into_iter().map(|(_, node)| node).collect())
}

fn value_of(value: &DeValue<'_>, lines: &Lines<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Text(number.as_str().replace('_', "")),
        DeValue::Float(number) => Value::Text(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Text(flag.to_string()),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(elements) => Value::List(
            elements
                .iter()
                .map(|element| {
                    Node::new(lines.at(element.span().start), "", value_of(element.get_ref(), lines))
                })
                .collect(),
        ),
        DeValue::Table(table) => entries(table, lines),
    }
}
