//! Fluent Bit's own syntax to the tree, in the shape of its YAML: `pipeline.inputs`, `parsers`, and so on.
//!
//! Sections in brackets, below each a key and a value per line with white space between them, `@SET` and
//! `@INCLUDE` between sections, comments on lines of their own.

use super::tree::{Node, Value};
use crate::config::problem::{At, Problem};

/// Headings, and the list in which the sections are collected.
const SECTIONS: [(&str, &str); 7] = [
    ("SERVICE", "service"),
    ("INPUT", "inputs"),
    ("FILTER", "filters"),
    ("OUTPUT", "outputs"),
    ("PARSER", "parsers"),
    ("MULTILINE_PARSER", "multiline_parsers"),
    ("CUSTOM", "customs"),
];

/// The list of a heading like `[INPUT]`.
fn list_of(line: &str) -> Option<&'static str> {
    let heading = line.strip_prefix('[')?.strip_suffix(']')?.trim();
    SECTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(heading)).map(|(_, list)| *list)
}

/// Whether a line, trimmed, is a heading that only this syntax has.
pub(super) fn is_heading(line: &str) -> bool {
    list_of(line).is_some()
}

/// Reads a whole file.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lists: Vec<Node> =
        SECTIONS.iter().map(|(_, list)| Node::new(At::Whole, *list, Value::List(Vec::new()))).collect();
    let mut env = Vec::new();
    let mut includes = Vec::new();
    // The list of the section that is open.
    let mut open: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let column = 1 + line.chars().take_while(|c| c.is_whitespace()).count();
        let at = At::File { line: index + 1, column };
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (key, value) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let value = value.trim();
        if trimmed.starts_with('[') {
            let Some(list) = list_of(trimmed) else {
                let known = SECTIONS.map(|(name, _)| format!("[{name}]")).join(", ");
                return Err(Problem::new(&at, format!("unknown section {trimmed}; known: {known}")));
            };
            let position = lists.iter().position(|node| node.name == list).expect("one for each section");
            elements(&mut lists[position]).push(Node::new(at, list, Value::Table(Vec::new())));
            open = Some(position);
        } else if key.eq_ignore_ascii_case("@include") {
            includes.push(Node::new(at, "@INCLUDE", Value::Text(value.to_owned())));
        } else if key.eq_ignore_ascii_case("@set") {
            let Some((name, value)) = value.split_once('=') else {
                return Err(Problem::new(&at, "`@SET` takes NAME=VALUE"));
            };
            env.push(Node::new(at, name.trim(), Value::Text(value.trim().to_owned())));
        } else if value.is_empty() {
            return Err(Problem::new(
                &at,
                format!("`{key}` has no value; a key and its value stand on one line"),
            ));
        } else {
            let Some(position) = open else {
                return Err(Problem::new(&at, format!("`{key}` stands before the first section")));
            };
            let section = elements(&mut lists[position]).last_mut().expect("an open section");
            if let Value::Table(entries) = &mut section.value {
                entries.push(Node::new(at, key, Value::Text(value.to_owned())));
            }
        }
    }
    Ok(tree(lists, env, includes))
}

fn elements(list: &mut Node) -> &mut Vec<Node> {
    match &mut list.value {
        Value::List(elements) => elements,
        _ => unreachable!("made as a list"),
    }
}

fn tree(lists: Vec<Node>, env: Vec<Node>, includes: Vec<Node>) -> Node {
    let is_used = |node: &Node| !node.elements().is_empty();
    let (pipeline, top): (Vec<Node>, Vec<Node>) = lists
        .into_iter()
        .filter(is_used)
        .partition(|node| matches!(&node.name[..], "inputs" | "filters" | "outputs"));
    let mut entries = vec![Node::new(At::Whole, "pipeline", Value::Table(pipeline))];
    for node in top {
        // There is one service, and so no list of them.
        match (&node.name[..], node.elements()) {
            ("service", [one]) => entries.push(one.named("service")),
            _ => entries.push(node),
        }
    }
    entries.push(Node::new(At::Whole, "env", Value::Table(env)));
    entries.push(Node::new(At::Whole, "includes", Value::List(includes)));
    Node::new(At::Whole, "", Value::Table(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_the_shape_of_the_yaml() {
        let text = "# c\n@SET dir=/srv\n[INPUT]\n    Name  tail\n\tPath\t/a b/*.log  \n[Input]\n Name cpu\n\
                    @INCLUDE more.conf\n[PARSER]\n  Name x\n";
        let tree = read(text).unwrap();
        let inputs = tree.look("pipeline.inputs").unwrap().elements();
        assert_eq!(inputs.len(), 2);
        assert_eq!(inputs[0].look("path").unwrap().text(), Some("/a b/*.log"));
        assert_eq!(inputs[0].look("path").unwrap().at, At::File { line: 5, column: 2 });
        assert_eq!(tree.look("env.dir").unwrap().text(), Some("/srv"));
        assert_eq!(tree.look("includes").unwrap().elements()[0].text(), Some("more.conf"));
        assert_eq!(tree.look("parsers").unwrap().elements().len(), 1);
    }

    #[test]
    fn what_is_broken_has_its_place() {
        for (text, line, column, what) in [
            ("[INPUT]\n  Name\n", 2, 3, "`Name` has no value"),
            ("Name tail\n[INPUT]\n", 1, 1, "`Name` stands before the first section"),
            ("[INPUT]\n [INPTU]\n", 2, 2, "unknown section [INPTU]"),
            ("@SET a\n", 1, 1, "`@SET` takes NAME=VALUE"),
        ] {
            let problem = read(text).unwrap_err();
            assert_eq!(problem.at, At::File { line, column }, "{text}");
            assert!(problem.message.starts_with(what), "{}", problem.message);
        }
    }
}
