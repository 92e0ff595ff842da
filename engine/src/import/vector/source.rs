//! The sources `file` and `kubernetes_logs`.

use std::time::Duration;

use super::sink::Sink;
use crate::import::draft::Section;
use crate::import::pattern;
use crate::import::report::Fate;
use crate::import::transfer::Transfer;
use crate::import::tree::Node;

const LEFT: &[(&str, &str)] = &[
    ("file_key", "documents carry the path as log.file.path"),
    ("host_key", "documents carry the host as host.name"),
    ("offset_key", "documents carry the position as log.offset"),
    ("message_key", "documents carry the line as message"),
    ("data_dir", "not needed: positions are kept in state.dir"),
    ("fingerprint", "not needed: files are known by inode, birth time and content"),
    ("fingerprinting", "not needed: files are known by inode, birth time and content"),
    ("glob_minimum_cooldown_ms", "not needed: new files are reported by the kernel; see watch.reconcile"),
    ("glob_minimum_cooldown", "not needed: new files are reported by the kernel; see watch.reconcile"),
    ("ignore_checkpoints", "see `logdrive state forget`"),
    ("ignore_not_found", "not needed"),
    ("internal_metrics", "paths are no labels; /status shows every file"),
    ("max_read_bytes", "not needed: files take turns"),
    ("oldest_first", "the files of a family are read one after the other, oldest first"),
    ("remove_after_secs", "Logdrive deletes no file; logrotate does"),
    ("remove_after", "Logdrive deletes no file; logrotate does"),
    ("rotate_wait_secs", "not needed: a rotated file is read to its end"),
    ("rotate_wait", "not needed: a rotated file is read to its end"),
    ("acknowledgements", "not needed: nothing but an acknowledgement of Kafka moves a position"),
];

/// Of `kubernetes_logs` alone.
const LEFT_OF_KUBERNETES: &[(&str, &str)] = &[
    ("auto_partial_merge", "not needed: the pieces of a line are always joined"),
    ("max_merged_line_bytes", "see item.line_bytes_max"),
    ("extra_field_selector", PODS),
    ("extra_label_selector", PODS),
    ("extra_namespace_label_selector", PODS),
    ("pod_annotation_fields", FIELDS),
    ("namespace_annotation_fields", FIELDS),
    ("node_annotation_fields", FIELDS),
    ("insert_namespace_fields", FIELDS),
    ("ingestion_timestamp_field", "documents carry the time of reading as event.created"),
    ("self_node_name", "not needed: Kubernetes is not asked"),
    ("kube_config_file", "not needed: Kubernetes is not asked"),
    ("use_apiserver_cache", "not needed: Kubernetes is not asked"),
    ("delay_deletion_ms", "not needed: Kubernetes is not asked"),
    ("fingerprint_lines", "not needed: files are known by inode, birth time and content"),
];
const PODS: &str =
    "Kubernetes is not asked: write globs over the names in the paths as item.include or item.exclude";
const FIELDS: &str = "documents carry what the path says: namespace, pod and container";

/// Carries one source over, if it reads files and a Kafka sink takes them.
pub(super) fn item(source: &Node, sink: Option<&Sink>, transfer: &mut Transfer) -> Option<Section> {
    let kind = source.take("type").and_then(Node::text).unwrap_or("?");
    let sink = match (kind, sink) {
        ("file" | "kubernetes_logs", Some(sink)) => sink,
        ("file" | "kubernetes_logs", None) => {
            source.take_all();
            transfer.note(source, Fate::Left, "no sink of type kafka takes it");
            return None;
        }
        _ => {
            source.take_all();
            transfer.note(source, Fate::Left, &format!("a source of type {kind}: Logdrive reads files"));
            return None;
        }
    };
    let mut item = Section::new(&source.at);
    let _ = item.set("item.name", source.name.clone());
    for (from, path) in [("include", "item.include"), ("exclude", "item.exclude")] {
        if let Some(node) = source.take(from) {
            let globs = transfer.texts(node);
            transfer.globs(node, &mut item, path, globs);
        }
    }
    if kind == "kubernetes_logs" {
        kubernetes(source, transfer, &mut item);
    }
    if let Some(charset) = source.take("encoding.charset") {
        transfer.encoding(charset, &mut item);
    }
    if let Some((node, topic)) = &sink.topic {
        transfer.set(&mut item, "item.topic", node, topic.clone(), None);
    }
    read_from(source, transfer, &mut item);
    for from in ["ignore_older_secs", "ignore_older"] {
        transfer.duration(source, from, &mut item, "item.ignore_older", Duration::from_secs(1));
    }
    if !sink.is_raw {
        let _ = item.set("item.format", "ecs");
        let what = "documents carry @timestamp, message, host.name, log.file.path and log.offset; \
                    not timestamp, host, file and source_type";
        transfer.report.add(&source.at, Fate::Changed, what);
    }
    transfer.line_bytes_max(source, "max_line_bytes", &mut item);
    if item.has("item.line_bytes_max") {
        // Which is what Vector does with longer ones.
        let _ = item.set("item.on_long_line", "drop");
    }
    if let Some(node) = source.take("line_delimiter") {
        match node.value {
            crate::import::tree::Value::Text(ref text) if text == "\r\n" => {
                transfer.set(&mut item, "item.carriage_return", node, "strip", None);
            }
            crate::import::tree::Value::Text(ref text) if text == "\n" => {
                transfer.note(node, Fate::Carried, "as here")
            }
            _ => transfer.note(node, Fate::Left, "lines end with a newline"),
        }
    }
    if let Some(node) = source.look("multiline") {
        multiline(node, transfer, &mut item);
    }
    transfer.leave(source, LEFT);
    Some(item)
}

/// The logs of the containers of a node.
fn kubernetes(source: &Node, transfer: &mut Transfer, item: &mut Section) {
    let _ = item.set("item.include", vec!["/var/log/pods/*/*/*.log".to_owned()]);
    transfer.any_container(source, item);
    if let Some(node) = source.take("include_paths_glob_patterns") {
        for glob in transfer.texts(node).iter().filter(|glob| *glob != "**/*") {
            transfer.note(
                node,
                Fate::Left,
                &format!("{glob:?}: name the files of these pods as item.include"),
            );
        }
    }
    if let Some(node) = source.take("exclude_paths_glob_patterns") {
        let whole = |glob: String| if glob.starts_with("**/") { format!("/{glob}") } else { glob };
        let globs = transfer.texts(node).into_iter().map(whole).collect();
        transfer.globs(node, item, "item.exclude", globs);
    }
    transfer.leave(source, LEFT_OF_KUBERNETES);
}

fn read_from(source: &Node, transfer: &mut Transfer, item: &mut Section) {
    if let Some(node) = source.take("start_at_beginning") {
        let word = if node.flag() == Some(true) { "beginning" } else { "end" };
        transfer.set(item, "item.read_from", node, word, None);
    } else if source.look("read_from").is_some() {
        transfer.word(
            source,
            "read_from",
            item,
            "item.read_from",
            &[("beginning", "beginning"), ("end", "end")],
        );
    } else {
        let _ = item.set("item.read_from", "beginning");
    }
}

/// Events that Vector joins by a start and a condition for the lines that follow.
fn multiline(node: &Node, transfer: &mut Transfer, item: &mut Section) {
    let start = node.take("start_pattern").and_then(|start| transfer.text(start));
    let condition_node = node.take("condition_pattern");
    let condition = condition_node.and_then(|condition| transfer.text(condition));
    let mode = node.take("mode").and_then(Node::text).unwrap_or_default();
    let at = condition_node.unwrap_or(node);
    match (mode, start, condition) {
        ("halt_before", Some(start), Some(condition)) => {
            let other = "an event goes on to the next line that matches this";
            transfer.multiline_start(at, item, &condition, (start != condition).then_some(other));
        }
        ("continue_through", _, Some(condition)) if pattern::start_of_continued(&condition).is_some() => {
            let start = pattern::start_of_continued(&condition).unwrap_or_default();
            let what =
                "a line that does not match the condition begins an event, whatever start_pattern says";
            transfer.multiline_start(at, item, start, Some(what));
        }
        _ => transfer.note(
            node,
            Fate::Left,
            "events are joined by how they begin; write an expression for that as item.multiline.start",
        ),
    }
    if item.has("item.multiline.start") {
        transfer.duration(node, "timeout_ms", item, "item.multiline.flush_after", Duration::from_millis(1));
    } else {
        node.take_all();
    }
}
