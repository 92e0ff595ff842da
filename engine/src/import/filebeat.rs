//! Filebeat: inputs that read files, and `output.kafka`.

mod input;
mod kafka;

use super::draft::Draft;
use super::report::Fate;
use super::transfer::Transfer;
use super::tree::Node;

/// Settings of the whole process that have no counterpart.
const GENERAL: &[(&str, &str)] = &[
    (
        "filebeat.modules",
        "modules know the files of products; write an item with the paths that the module reads",
    ),
    ("filebeat.autodiscover", "Logdrive discovers files, not containers; write an item with their paths"),
    ("filebeat.config", "other files are not read; import each of them"),
    (
        "filebeat.registry",
        "not needed: positions are kept in state.dir, and those of Filebeat are not taken over",
    ),
    ("filebeat.registry_file", "not needed: positions are kept in state.dir"),
    ("filebeat.registry_flush", "not needed: positions are written with each acknowledgement"),
    ("filebeat.shutdown_timeout", "see shutdown_timeout, which is 10s"),
    ("processors", "Logdrive does not change events; do it where they are consumed"),
    ("queue", "not needed: there is no queue; see limits.in_flight"),
    ("logging", "see log.level and log.format; the journal or the container runtime keeps what is logged"),
    ("http", "see http.listen"),
    ("monitoring", "see http.listen, which serves metrics for Prometheus"),
    ("setup", "belongs to Elasticsearch and Kibana"),
    ("xpack", "belongs to Elasticsearch"),
    ("cloud", "belongs to Elastic's cloud"),
    ("keystore", "secrets stand in files of their own"),
    ("path", "not needed: paths are absolute, and positions are kept in state.dir"),
    ("max_procs", "not needed: reading and sending take a thread each"),
    ("tags", "tags are not added to records; item.fields could carry one"),
    ("name", "see kafka.client_id; documents carry the host's own name"),
    ("output.elasticsearch", "Logdrive sends to Kafka; another program moves on from there"),
    ("output.logstash", "Logdrive sends to Kafka; Logstash can read from there"),
    ("output.redis", "Logdrive sends to Kafka"),
    ("output.file", "Logdrive sends to Kafka"),
    ("output.console", "Logdrive sends to Kafka"),
];

/// Carries a whole configuration over.
pub(super) fn draft(tree: &Node, transfer: &mut Transfer) -> Draft {
    let mut draft = Draft::new();
    let output = kafka::output(tree, transfer, &mut draft.kafka);
    for list in ["filebeat.inputs", "filebeat.prospectors"] {
        let inputs = tree.look(list).map(Node::elements).unwrap_or_default();
        for input in inputs {
            if input.look("enabled").and_then(Node::flag) == Some(false) {
                input.take_all();
                transfer.report.add(&input.at, Fate::Left, "an input that is not enabled");
                continue;
            }
            draft.items.extend(input::item(input, tree, &output, transfer));
        }
    }
    for global in ["fields", "fields_under_root"] {
        let _ = tree.take(global);
    }
    transfer.leave(tree, GENERAL);
    draft
}
