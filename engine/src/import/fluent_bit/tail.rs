//! The input `tail`.

use std::time::Duration;

use super::output::Output;
use crate::import::draft::Section;
use crate::import::report::Fate;
use crate::import::transfer::Transfer;
use crate::import::tree::Node;

const LEFT: &[(&str, &str)] = &[
    ("docker_mode", "not needed: the pieces of a line are joined; see item.container"),
    ("docker_mode_flush", "not needed: the pieces of a line are joined; see item.container"),
    ("docker_mode_parser", "lines that are unwrapped are not joined by a pattern"),
    ("key", "documents carry the line as message"),
    ("path_key", "documents carry the path as log.file.path"),
    ("offset_key", "documents carry the position as log.offset"),
    ("tag_regex", "there are no tags"),
    ("db", "not needed: positions are kept in state.dir, and those of Fluent Bit are not taken over"),
    ("db.sync", "not needed: positions survive a crash"),
    ("db.locking", "not needed: the state is locked"),
    ("db.journal_mode", "not needed: positions survive a crash"),
    ("db.compare_filename", "not needed: files are known by inode, birth time and content"),
    ("mem_buf_limit", "see limits.in_flight, which bounds all items together"),
    ("buffer_chunk_size", "not needed: reads are as large as there is to read"),
    ("static_batch_size", "not needed"),
    ("event_batch_size", "not needed"),
    ("refresh_interval", "not needed: new files are reported by the kernel; see watch.reconcile"),
    ("rotate_wait", "not needed: a rotated file is read to its end"),
    ("inotify_watcher", "not needed: what the kernel does not report is found by watch.reconcile"),
    ("file_cache_advise", "not needed"),
    ("exit_on_eof", "a file is followed as long as it is there"),
    ("ignore_active_older_files", "a file that has been begun is never given up for its age"),
    ("progress_check_interval", "not needed"),
    ("storage.type", "not needed: there is no second queue on disk"),
    ("storage.pause_on_chunks_overlimit", "see limits.in_flight"),
    ("threaded", "not needed"),
    ("alias", "not needed: metrics carry the item's name"),
    ("log_level", "see log.level"),
    ("processors", "Logdrive does not change events; do it where they are consumed"),
];

/// Carries one input over, if it is `tail` and a Kafka output takes what it reads.
pub(super) fn item(
    input: &Node,
    tree: &Node,
    outputs: &[Output],
    transfer: &mut Transfer,
) -> Option<Section> {
    let name = input.look("name").and_then(Node::text).unwrap_or("?");
    if !name.eq_ignore_ascii_case("tail") {
        input.take_all();
        transfer.report.add(&input.at, Fate::Left, format!("the input {name}: Logdrive reads files"));
        return None;
    }
    let _ = input.take("name");
    let tag = input.take("tag").and_then(Node::text).unwrap_or("tail.0").to_owned();
    let Some(output) = outputs.iter().find(|output| output.takes(&tag)) else {
        input.take_all();
        transfer.report.add(&input.at, Fate::Left, format!("no output to Kafka takes its tag, {tag}"));
        return None;
    };
    let mut item = Section::new(&input.at);
    for (from, path) in [("path", "item.include"), ("exclude_path", "item.exclude")] {
        if let Some(node) = input.take(from) {
            let globs = transfer.texts_with_commas(node);
            transfer.globs(node, &mut item, path, globs);
        }
    }
    if let Some((node, topic)) = &output.topic {
        transfer.set(&mut item, "item.topic", node, topic.clone(), None);
    }
    match input.take("read_from_head") {
        Some(node) if node.flag() == Some(true) => {
            transfer.set(&mut item, "item.read_from", node, "beginning", None)
        }
        Some(node) => transfer.set(&mut item, "item.read_from", node, "end", None),
        // Which is the default there, and here.
        None => {}
    }
    transfer.duration(input, "ignore_older", &mut item, "item.ignore_older", Duration::from_secs(1));
    if !output.is_raw {
        let _ = item.set("item.format", "ecs");
        let what = "documents carry @timestamp, message, host.name, log.file.path and log.offset; \
                    the line is message, not log";
        transfer.report.add(&input.at, Fate::Changed, what);
    }
    long_lines(input, transfer, &mut item);
    if let Some(node) = input.take("skip_empty_lines")
        && node.flag() == Some(true)
    {
        transfer.set(&mut item, "item.exclude_lines", node, vec!["^$".to_owned()], None);
    }
    container(input, transfer, &mut item);
    for from in ["unicode.encoding", "generic.encoding"] {
        if let Some(node) = input.take(from) {
            encoding(node, transfer, &mut item);
        }
    }
    multiline(input, tree, transfer, &mut item);
    transfer.leave(input, LEFT);
    Some(item)
}

/// The parsers of container runtimes, which are named in both ways to parse lines.
fn container(input: &Node, transfer: &mut Transfer, item: &mut Section) {
    const RUNTIMES: [&str; 2] = ["docker", "cri"];
    if let Some(node) = input.look("multiline.parser") {
        let names = node.elements().iter().filter_map(Node::text).flat_map(|names| names.split(','));
        let found: Vec<&str> = names.map(str::trim).filter(|name| RUNTIMES.contains(name)).collect();
        match found[..] {
            [] => {}
            [runtime] => transfer.container(node, item, runtime),
            _ => transfer.any_container(node, item),
        }
    }
    let Some(node) = input.take("parser") else { return };
    match node.text().filter(|name| RUNTIMES.contains(name)) {
        Some(runtime) => transfer.container(node, item, runtime),
        None => transfer.note(node, Fate::Left, "lines are not parsed; do it where they are consumed"),
    }
}

fn encoding(node: &Node, transfer: &mut Transfer, item: &mut Section) {
    match node.text() {
        Some("auto") => {
            let what =
                "each file is looked at there; write `encoding = \"utf-16\"` for those that are UTF-16";
            transfer.note(node, Fate::Left, what);
        }
        _ => transfer.encoding(node, item),
    }
}

fn long_lines(input: &Node, transfer: &mut Transfer, item: &mut Section) {
    transfer.line_bytes_max(input, "buffer_max_size", item);
    let Some(node) = input.take("skip_long_lines") else { return };
    match node.flag() {
        Some(true) => transfer.set(item, "item.on_long_line", node, "drop", None),
        _ => transfer.note(
            node,
            Fate::Changed,
            "a file is never given up for a long line, which is cut; see item.on_long_line",
        ),
    }
}

/// Both ways to join lines: a multiline parser, and the older one with the parser of a first line.
fn multiline(input: &Node, tree: &Node, transfer: &mut Transfer, item: &mut Section) {
    if let Some(node) = input.take("multiline.parser") {
        let names = transfer.texts_with_commas(node);
        // Those of container runtimes are accounted for.
        for name in names.iter().filter(|name| !["docker", "cri"].contains(&&name[..])) {
            named_parser(name, node, tree, transfer, item);
        }
    }
    let is_on = input.take("multiline").and_then(Node::flag) == Some(true);
    if let Some(node) = input.take("parser_firstline") {
        let parser = node.text().and_then(|name| named(tree, "parsers", name));
        match parser.and_then(|parser| parser.look("regex")).and_then(Node::text) {
            Some(regex) if is_on => transfer.multiline_start(node, item, regex, None),
            Some(_) => transfer.note(node, Fate::Left, "multiline is not on"),
            None => transfer.note(
                node,
                Fate::Left,
                "the parser is not in this file; write its expression as item.multiline.start",
            ),
        }
    }
    if item.has("item.multiline.start") {
        transfer.duration(
            input,
            "multiline_flush",
            item,
            "item.multiline.flush_after",
            Duration::from_secs(1),
        );
    }
    transfer.leave(input, &[("multiline_flush", "lines are not joined")]);
    for number in 1..10 {
        transfer.leave(
            input,
            &[(&format!("parser_{number}"), "lines are not parsed; do it where they are consumed")],
        );
    }
}

fn named<'a>(tree: &'a Node, list: &str, name: &str) -> Option<&'a Node> {
    let parsers = tree.look(list)?.elements();
    parsers.iter().find(|parser| parser.look("name").and_then(Node::text) == Some(name))
}

fn named_parser(name: &str, node: &Node, tree: &Node, transfer: &mut Transfer, item: &mut Section) {
    let Some(parser) = named(tree, "multiline_parsers", name) else {
        let what = "the parser is not in this file; write an expression for the lines that begin an event, as \
                    item.multiline.start";
        return transfer.note(node, Fate::Left, &format!("{name}: {what}"));
    };
    let first = rules(parser).into_iter().find(|(state, _)| state == "start_state");
    let Some((_, regex)) = first else {
        return transfer.note(node, Fate::Left, "the parser has no rule for start_state");
    };
    let what = "an event goes on to the next line of this kind, whatever the other rules say";
    transfer.multiline_start(node, item, &regex, Some(what));
    if item.has("item.multiline.start") {
        let bare = Duration::from_millis(1);
        // Which is theirs without the key.
        let _ = item.set("item.multiline.flush_after", "4s");
        transfer.duration(parser, "flush_timeout", item, "item.multiline.flush_after", bare);
    }
}

/// The rules of a multiline parser: state and expression, from `rule "state" "/regex/" "next"` or its YAML.
fn rules(parser: &Node) -> Vec<(String, String)> {
    let plain = |regex: &str| {
        let inner = regex.strip_prefix('/').and_then(|inner| inner.strip_suffix('/'));
        inner.unwrap_or(regex).replace(r"\/", "/")
    };
    let written = parser.entries().iter().filter(|entry| entry.name.eq_ignore_ascii_case("rule"));
    let classic = written.filter_map(|entry| match &quoted(entry.text()?)[..] {
        [state, regex, ..] => Some((state.clone(), plain(regex))),
        _ => None,
    });
    let yaml = parser.look("rules").map(Node::elements).unwrap_or_default().iter().filter_map(|rule| {
        Some((rule.look("state")?.text()?.to_owned(), plain(rule.look("regex")?.text()?)))
    });
    classic.chain(yaml).collect()
}

/// The words between quotes; a backslash keeps its quote from ending one.
fn quoted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (&mut word, c) {
            (None, '"') => word = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => words.extend(word.take()),
            (Some(open), '\\') if chars.peek() == Some(&'"') => open.extend(chars.next()),
            (Some(open), c) => open.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::pattern;

    #[test]
    fn rules_are_read_in_both_syntaxes() {
        let expected =
            [("start_state".to_owned(), r#"^\d+ "x/"#.to_owned()), ("cont".to_owned(), r"^\s".to_owned())];
        let classic = "[MULTILINE_PARSER]\n name x\n rule \"start_state\" \"/^\\d+ \\\"x\\//\" \"cont\"\n rule \"cont\" \"/^\\s/\" \"cont\"\n";
        let tree = super::super::super::classic::read(classic).unwrap();
        assert_eq!(rules(named(&tree, "multiline_parsers", "x").unwrap()), expected);
        let yaml = "rules:\n- {state: start_state, regex: '/^\\d+ \"x\\//', next_state: cont}\n- {state: cont, regex: '^\\s'}\n";
        assert_eq!(rules(&super::super::super::yaml::read(yaml).unwrap()), expected);
        assert!(pattern::check_regex(&expected[0].1).is_ok());
    }
}
