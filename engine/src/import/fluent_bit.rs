//! Fluent Bit: `tail` inputs and `kafka` outputs, which tags connect.

mod output;
mod tail;

use super::draft::Draft;
use super::report::Fate;
use super::transfer::Transfer;
use super::tree::Node;

const SERVICE: &[(&str, &str)] = &[
    ("flush", "not needed: lines are sent when they are there; see kafka.linger"),
    ("grace", "see shutdown_timeout, which is 10s"),
    ("daemon", "not needed: systemd runs it"),
    ("log_level", "see log.level"),
    ("log_file", "the journal or the container runtime keeps what is logged"),
    ("parsers_file", "other files are not read; import them together with this one"),
    ("plugins_file", "there are no plugins"),
    ("streams_file", "events are not processed"),
    ("http_server", "see http.listen, which serves metrics for Prometheus"),
    ("http_listen", "see http.listen"),
    ("http_port", "see http.listen"),
    ("health_check", "not needed: /healthz and /readyz are always there"),
    ("storage.path", "not needed: there is no second queue on disk"),
    ("storage.type", "not needed: there is no second queue on disk"),
    ("storage.sync", "not needed: there is no second queue on disk"),
    ("storage.checksum", "not needed: there is no second queue on disk"),
    ("storage.backlog.mem_limit", "see limits.in_flight"),
    ("storage.max_chunks_up", "see limits.in_flight"),
    ("storage.metrics", "see http.listen"),
    ("hot_reload", "not needed: SIGHUP always reloads"),
    ("scheduler.cap", "not needed: nothing is given up"),
    ("scheduler.base", "not needed: nothing is given up"),
];

/// Carries a whole configuration over.
pub(super) fn draft(tree: &Node, transfer: &mut Transfer) -> Draft {
    let mut draft = Draft::new();
    if let Some(env) = tree.take("env") {
        for entry in env.entries() {
            transfer.references.known.extend(entry.text().map(|text| (entry.name.clone(), text.to_owned())));
        }
    }
    let list = |path| tree.look(path).map(Node::elements).unwrap_or_default();
    let outputs = output::outputs(list("pipeline.outputs"), transfer, &mut draft.kafka);
    for input in list("pipeline.inputs") {
        draft.items.extend(tail::item(input, tree, &outputs, transfer));
    }
    for filter in list("pipeline.filters") {
        filter.take_all();
        let name = filter.look("name").and_then(Node::text).unwrap_or("?");
        let what = match name {
            "grep" => "the filter grep: see item.include_lines and item.exclude_lines".to_owned(),
            _ => format!("the filter {name}: Logdrive does not change events; do it where they are consumed"),
        };
        transfer.report.add(&filter.at, Fate::Left, what);
    }
    for include in tree.take("includes").map(Node::elements).unwrap_or_default() {
        transfer.report.add(
            &include.at,
            Fate::Left,
            "an included file is not read; import it together with this one",
        );
    }
    if let Some(service) = tree.look("service") {
        transfer.leave(service, SERVICE);
    }
    // What an input used of them is reported there.
    let _ = (tree.take("parsers"), tree.take("multiline_parsers"));
    draft
}
