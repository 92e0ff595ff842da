//! Inputs: `log`, `filestream` and `container`.

use super::kafka::{BARE, Output};
use crate::import::draft::Section;
use crate::import::pattern::{self, Translated};
use crate::import::references::References;
use crate::import::report::Fate;
use crate::import::transfer::{Transfer, is_secret};
use crate::import::tree::{Node, Value};

const LEFT: &[(&str, &str)] = &[
    ("processors", "Logdrive does not change events; do it where they are consumed"),
    ("json", "lines are not parsed; do it where they are consumed"),
    ("pipeline", "belongs to Elasticsearch"),
    ("index", "belongs to Elasticsearch"),
    ("tags", "tags are not added to records; item.fields could carry one"),
    ("publisher_pipeline", "not needed"),
    ("keep_null", "lines are not parsed"),
    ("scan_frequency", "not needed: new files are reported by the kernel; see watch.reconcile"),
    (
        "prospector.scanner.check_interval",
        "not needed: new files are reported by the kernel; see watch.reconcile",
    ),
    ("prospector.scanner.fingerprint", "not needed: files are known by inode, birth time and content"),
    ("prospector.scanner.recursive_glob", "`**` is any number of directories here"),
    ("recursive_glob", "`**` is any number of directories here"),
    ("file_identity", "not needed: files are known by inode, birth time and content"),
    ("harvester_limit", "see limits.open_files"),
    ("harvester_buffer_size", "not needed: reads are as large as there is to read"),
    ("buffer_size", "not needed: reads are as large as there is to read"),
    ("backoff", "not needed: new lines are reported by the kernel"),
    ("max_backoff", "not needed: new lines are reported by the kernel"),
    ("backoff_factor", "not needed: new lines are reported by the kernel"),
    ("ignore_inactive", "see item.ignore_older and item.read_from"),
    ("close_inactive", "not needed: a descriptor is kept as long as there is room; see item.close_after"),
    ("close_renamed", "not needed: a rotated file is read to its end"),
    ("close_removed", "not needed: a deleted file is read to its end; see item.rotated_hold"),
    ("close_eof", "a file is followed as long as it is there"),
    ("close_timeout", "not needed; see item.rotated_hold for files that are deleted"),
    ("close", "not needed: a descriptor is kept as long as there is room; see item.close_after"),
    ("clean_inactive", "not needed: positions of files that are gone are forgotten"),
    ("clean_removed", "not needed: positions of files that are gone are forgotten"),
    ("rotation", "not needed: rotation is recognised"),
    ("symlinks", "links are followed as item.symlinks says: if they belong to the owner of the target"),
    (
        "prospector.scanner.symlinks",
        "links are followed as item.symlinks says: if they belong to the owner of the target",
    ),
    ("prospector.scanner.resend_on_touch", "a file that is only touched is not sent again"),
    ("combine_partial", "not needed: the pieces of a line are always joined"),
    ("partial", "not needed: the pieces of a line are always joined"),
    ("cri", "not needed: see item.container"),
];

/// Carries one input over, if it reads files.
pub(super) fn item(input: &Node, tree: &Node, output: &Output, transfer: &mut Transfer) -> Option<Section> {
    let _ = input.take("enabled");
    let kind = input.take("type").or_else(|| input.take("input_type"));
    let mut item = Section::new(&input.at);
    match kind.map_or(Some("log"), Node::text) {
        Some("log" | "filestream" | "container" | "docker") => {}
        other => {
            input.take_all();
            let what = format!("an input of type {}: Logdrive reads files", other.unwrap_or("?"));
            transfer.report.add(&input.at, Fate::Left, what);
            return None;
        }
    }
    paths(input, transfer, &mut item);
    match kind.and_then(Node::text) {
        Some("container") => container(kind.unwrap_or(input), input, transfer, &mut item),
        Some("docker") => {
            transfer.container(kind.unwrap_or(input), &mut item, "docker");
            stream(input, "containers.stream", transfer);
        }
        _ => {}
    }
    let list = input.look("parsers").map(Node::elements).unwrap_or_default();
    for parser in list.iter().filter_map(|parser| parser.look("container")) {
        container(parser, parser, transfer, &mut item);
    }
    if let Some(node) = input.take("encoding") {
        transfer.encoding(node, &mut item);
    }
    if let Some(id) = input.take("id")
        && let Some(text) = transfer.text(id)
    {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name: String = text.chars().map(|c| if legal(c) { c } else { '-' }).collect();
        transfer.set(&mut item, "item.name", id, name, None);
    }
    let _ = item.set("item.read_from", if begins_at_end(input, transfer) { "end" } else { "beginning" });
    transfer.duration(input, "ignore_older", &mut item, "item.ignore_older", BARE);
    transfer.regexes(input, "include_lines", &mut item, "item.include_lines");
    transfer.regexes(input, "exclude_lines", &mut item, "item.exclude_lines");
    records(input, tree, output, transfer, &mut item);
    for from in ["max_bytes", "message_max_bytes"] {
        transfer.line_bytes_max(input, from, &mut item);
    }
    if let Some(multiline) = input.look("multiline") {
        self::multiline(multiline, transfer, &mut item);
    }
    parsers(input, transfer, &mut item);
    transfer.leave(input, LEFT);
    Some(item)
}

/// The settings of an input or of a parser for the logs of containers, which stands at `node`.
fn container(node: &Node, settings: &Node, transfer: &mut Transfer, item: &mut Section) {
    let format = settings.take("format").and_then(Node::text).unwrap_or("auto");
    match format {
        "docker" | "cri" => transfer.container(node, item, format),
        _ => transfer.any_container(node, item),
    }
    stream(settings, "stream", transfer);
}

/// Which of the streams of a container is wanted.
fn stream(settings: &Node, from: &str, transfer: &mut Transfer) {
    let Some(node) = settings.take(from) else { return };
    match node.text() {
        Some("all") => transfer.note(node, Fate::Carried, "both streams are sent"),
        _ => transfer.note(
            node,
            Fate::Left,
            "both streams are sent; documents and headers say which (`stream`)",
        ),
    }
}

fn begins_at_end(input: &Node, transfer: &mut Transfer) -> bool {
    let Some(node) = input.take("tail_files") else { return false };
    let is_end = node.flag() == Some(true);
    transfer.note(
        node,
        Fate::Carried,
        if is_end { "-> read_from = \"end\"" } else { "-> read_from = \"beginning\"" },
    );
    is_end
}

fn paths(input: &Node, transfer: &mut Transfer, item: &mut Section) {
    if let Some(node) = input.take("paths") {
        let globs = transfer.texts(node);
        transfer.globs(node, item, "item.include", globs);
    }
    // Expressions over whole paths, where ours are globs.
    let mut globs = Vec::new();
    for from in ["exclude_files", "prospector.scanner.exclude_files"] {
        let Some(node) = input.take(from) else { continue };
        for text in transfer.texts(node) {
            match pattern::glob_of(&text) {
                None => transfer.note(
                    node,
                    Fate::Left,
                    &format!("{text:?} is no glob: write one as item.exclude"),
                ),
                Some(Translated { glob, is_exact }) => {
                    let (fate, what) = match is_exact {
                        true => (Fate::Carried, ""),
                        false => (
                            Fate::Changed,
                            ": it leaves out fewer files, as a glob's parts do not cross a slash",
                        ),
                    };
                    transfer.note(node, fate, &format!("{text:?} -> exclude {glob:?}{what}"));
                    globs.push(glob);
                }
            }
        }
    }
    if !globs.is_empty() {
        let _ = item.set("item.exclude", globs);
    }
    if let Some(node) = input.take("prospector.scanner.include_files") {
        transfer.note(node, Fate::Left, "write globs as item.include");
    }
}

/// Topic, format and fields, which depend on the output.
fn records(input: &Node, tree: &Node, output: &Output, transfer: &mut Transfer, item: &mut Section) {
    let fields = fields(input, tree, &transfer.references);
    if let Some((node, template)) = &output.topic {
        match topic(template, &fields) {
            Ok(topic) => {
                let change = (topic != *template).then_some("the fields of this input are put in");
                transfer.set(item, "item.topic", node, topic, change);
            }
            Err(part) => {
                let what = format!(
                    "{part} cannot be known beforehand; give each item its topic, or import with --topic"
                );
                transfer.note(node, Fate::Left, &what);
            }
        }
    }
    let own = input.take("fields");
    let _ = input.take("fields_under_root");
    if output.is_raw {
        if let Some(node) = own {
            transfer.note(node, Fate::Left, "a record is the line alone");
        }
        return;
    }
    let _ = item.set("item.format", "ecs");
    let what = "documents carry @timestamp, message, host.name, log.file.path, log.offset and fields; \
                not agent, ecs, input and host's other names";
    transfer.report.add(&input.at, Fate::Changed, what);
    for Field { name, node, .. } in fields {
        if is_secret(&name) {
            transfer.note(&node, Fate::Left, "its name is that of a secret, which is not copied");
            continue;
        }
        let Some(text) = transfer.text(&node) else { continue };
        match item.insert("item.fields", &name, &text) {
            Ok(()) => transfer.note(&node, Fate::Carried, &format!("-> fields.\"{name}\"")),
            Err(why) => transfer.note(&node, Fate::Left, &why),
        }
    }
}

/// One field of an input: its name in the document, and its text if that can be known.
struct Field {
    name: String,
    text: Option<String>,
    node: Node,
}

/// The fields of the whole and of the input, the input's own before those of the whole.
fn fields(input: &Node, tree: &Node, references: &References) -> Vec<Field> {
    let mut found: Vec<Field> = Vec::new();
    for level in [input, tree] {
        let at_root = level.look("fields_under_root").and_then(Node::flag) == Some(true);
        if let Some(fields) = level.look("fields") {
            flatten(fields, if at_root { "" } else { "fields." }, references, &mut found);
        }
    }
    found
}

fn flatten(table: &Node, prefix: &str, references: &References, found: &mut Vec<Field>) {
    for entry in table.entries() {
        let name = format!("{prefix}{}", entry.name);
        match &entry.value {
            Value::Table(_) => flatten(entry, &format!("{name}."), references, found),
            _ if found.iter().any(|field| field.name == name) => {}
            _ => {
                let text = entry.text().and_then(|text| references.resolve(text).ok());
                found.push(Field { text: text.map(|resolved| resolved.text), node: entry.clone(), name });
            }
        }
    }
}

/// A topic with the fields put in; the error is the part that is not known.
fn topic(template: &str, fields: &[Field]) -> Result<String, String> {
    let mut topic = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("%{") {
        topic += before;
        let (reference, after) = after.split_once('}').ok_or_else(|| template.to_owned())?;
        let inner = reference.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let (path, default) = inner.ok_or_else(|| format!("%{{{reference}}}"))?;
        let field = fields.iter().find(|field| field.name == path).and_then(|field| field.text.as_deref());
        let text = field.or_else(|| default.strip_prefix(':')).ok_or_else(|| format!("%{{{reference}}}"))?;
        topic += text;
        rest = after;
    }
    Ok(topic + rest)
}

/// `multiline`, at the input or among its parsers.
fn multiline(node: &Node, transfer: &mut Transfer, item: &mut Section) {
    let kind = node.take("type").and_then(Node::text).unwrap_or("pattern");
    let pattern = node.take("pattern");
    let negate = node.take("negate").and_then(Node::flag).unwrap_or(false);
    let follows = node.take("match").and_then(Node::text).unwrap_or("after");
    let regex = pattern.and_then(|pattern| transfer.text(pattern));
    match (kind, regex, negate, follows) {
        ("pattern", Some(regex), true, "after") => transfer.multiline_start(pattern.unwrap_or(node), item, &regex, None),
        ("pattern", Some(regex), false, "after") => match pattern::start_of_continued(&regex) {
            Some(start) => {
                let what = "a line that is not of the given kind begins an event: the same, said the other way round";
                transfer.multiline_start(pattern.unwrap_or(node), item, start, Some(what));
            }
            None => transfer.note(
                pattern.unwrap_or(node),
                Fate::Left,
                "it says which lines continue an event; write one for the lines that begin one, as item.multiline.start",
            ),
        },
        _ => transfer.note(
            node,
            Fate::Left,
            "events are joined by how they begin; write an expression for that as item.multiline.start",
        ),
    }
    if item.has("item.multiline.start") {
        match node.look("timeout") {
            Some(_) => transfer.duration(node, "timeout", item, "item.multiline.flush_after", BARE),
            None => {
                let _ = item.set("item.multiline.flush_after", "5s");
            }
        }
        transfer.leave(
            node,
            &[
                ("max_lines", "an event is bound by item.line_bytes_max"),
                ("flush_pattern", "an event ends where the next one begins"),
            ],
        );
    } else {
        node.take_all();
    }
}

/// The parsers of `filestream`: multiline among others.
fn parsers(input: &Node, transfer: &mut Transfer, item: &mut Section) {
    let Some(list) = input.look("parsers") else { return };
    for parser in list.elements() {
        for entry in parser.entries() {
            match &entry.name[..] {
                "multiline" => multiline(entry, transfer, item),
                "container" if entry.entries().is_empty() => entry.take_all(),
                // Its settings are accounted for.
                "container" => {}
                _ => {
                    entry.take_all();
                    transfer.note(entry, Fate::Left, "lines are not parsed; do it where they are consumed");
                }
            }
        }
    }
}
