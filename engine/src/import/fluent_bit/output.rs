//! Outputs: the first `kafka` says where the brokers are, and each where its tags go.

use crate::import::draft::Section;
use crate::import::librdkafka;
use crate::import::report::Fate;
use crate::import::transfer::Transfer;
use crate::import::tree::Node;

/// What one output does with the events that it takes.
#[derive(Debug)]
pub(super) struct Output {
    /// Which tags it takes: with `*`, or a regular expression.
    taken: Tags,
    /// The topic, and where it is written.
    pub(super) topic: Option<(Node, String)>,
    /// Whether a record is the line alone, and no document.
    pub(super) is_raw: bool,
}

#[derive(Debug)]
enum Tags {
    Like(String),
    Matching(Box<regex::bytes::Regex>),
}

impl Output {
    pub(super) fn takes(&self, tag: &str) -> bool {
        match &self.taken {
            Tags::Like(pattern) => is_like(pattern, tag),
            Tags::Matching(regex) => regex.is_match(tag.as_bytes()),
        }
    }
}

/// Whether a tag is like a pattern in which `*` stands for any characters.
fn is_like(pattern: &str, tag: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == tag,
        Some((before, after)) => tag.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && is_like(after, &rest[at..]))
        }),
    }
}

const LEFT: &[(&str, &str)] = &[
    (
        "topic_key",
        "which topic an event goes to cannot depend on what is in it; write an item for each topic",
    ),
    (
        "dynamic_topic",
        "which topic an event goes to cannot depend on what is in it; write an item for each topic",
    ),
    ("message_key", "a record's key is host:path, or none; see item.key"),
    ("message_key_field", "a record's key is host:path, or none; see item.key"),
    ("timestamp_key", "documents carry the time as @timestamp"),
    ("timestamp_format", "documents carry the time as @timestamp"),
    ("queue_full_retries", "not needed: nothing is given up"),
    ("retry_limit", "not needed: nothing is given up"),
    ("storage.total_limit_size", "not needed: there is no second queue on disk"),
    ("workers", "not needed; see kafka.producers"),
    ("alias", "not needed: metrics carry the item's name"),
    ("log_level", "see log.level"),
    ("gelf_short_message_key", "records are lines or documents of the Elastic Common Schema"),
    ("gelf_timestamp_key", "records are lines or documents of the Elastic Common Schema"),
    ("schema_str", "records are lines or documents of the Elastic Common Schema"),
    ("schema_id", "records are lines or documents of the Elastic Common Schema"),
];

/// Carries the outputs over.
pub(super) fn outputs(nodes: &[Node], transfer: &mut Transfer, to: &mut Section) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut brokers: Option<String> = None;
    for node in nodes {
        let name = node.look("name").and_then(Node::text).unwrap_or("?");
        if !name.eq_ignore_ascii_case("kafka") {
            node.take_all();
            transfer.report.add(&node.at, Fate::Left, format!("the output {name}: Logdrive sends to Kafka"));
            continue;
        }
        let _ = node.take("name");
        let own = node.look("brokers").and_then(Node::text).map(str::to_owned);
        if brokers.is_some() && own != brokers {
            node.take_all();
            transfer.report.add(
                &node.at,
                Fate::Left,
                "a second cluster: run a second agent with its own state.dir",
            );
            continue;
        }
        if brokers.is_none() {
            brokers = own;
            kafka(node, transfer, to);
        }
        outputs.extend(output(node, transfer));
    }
    outputs
}

fn kafka(node: &Node, transfer: &mut Transfer, to: &mut Section) {
    if let Some(brokers) = node.take("brokers") {
        let texts = transfer.texts_with_commas(brokers);
        if !texts.is_empty() {
            transfer.set(to, "kafka.brokers", brokers, texts.join(","), None);
        }
    }
    for entry in node.entries() {
        if let Some(property) =
            entry.name.strip_prefix("rdkafka.").or_else(|| entry.name.strip_prefix("Rdkafka."))
        {
            librdkafka::carry(transfer, property, entry, to);
        }
    }
}

fn output(node: &Node, transfer: &mut Transfer) -> Option<Output> {
    // What the first of several on one cluster says holds for all.
    for entry in node.entries() {
        if entry.name.to_ascii_lowercase().starts_with("rdkafka.")
            || entry.name.eq_ignore_ascii_case("brokers")
        {
            entry.take_all();
        }
    }
    let taken = match (node.take("match"), node.take("match_regex")) {
        (Some(like), _) => Tags::Like(transfer.text(like)?),
        (None, None) => Tags::Like("*".to_owned()),
        (None, Some(matching)) => {
            let text = transfer.text(matching)?;
            match regex::bytes::Regex::new(&text) {
                Ok(regex) => Tags::Matching(Box::new(regex)),
                Err(_) => {
                    transfer.note(
                        matching,
                        Fate::Left,
                        "not an expression of ours: the output is left out with it",
                    );
                    node.take_all();
                    return None;
                }
            }
        }
    };
    let topic = match node.take("topics").or_else(|| node.take("topic")) {
        None => Some((node.clone(), "fluent-bit".to_owned())),
        Some(topics) => {
            let texts = transfer.texts_with_commas(topics);
            if texts.len() > 1 {
                transfer.note(
                    topics,
                    Fate::Left,
                    "all topics but the first, which events without a topic key go to",
                );
            }
            texts.into_iter().next().map(|text| (topics.clone(), text))
        }
    };
    let raw_key = node.take("raw_log_key");
    let format = node.take("format");
    let is_raw = match format.and_then(Node::text) {
        Some("raw") if raw_key.is_some() => {
            transfer.note(format.unwrap_or(node), Fate::Carried, "-> format = \"raw\"");
            true
        }
        Some("raw") => {
            let what =
                "raw without Raw_Log_Key is no line: records are documents of the Elastic Common Schema";
            transfer.note(format.unwrap_or(node), Fate::Left, what);
            false
        }
        None | Some("json") => false,
        Some(other) => {
            let what =
                format!("the format {other}: records are lines or documents of the Elastic Common Schema");
            transfer.report.add(&node.at, Fate::Left, what);
            false
        }
    };
    transfer.leave(node, LEFT);
    Some(Output { taken, topic, is_raw })
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn tags_are_matched_with_stars() {
        for (pattern, tag, expected) in [
            ("*", "", true),
            ("kube.*", "kube.var.log", true),
            ("kube.*", "kub", false),
            ("*.log", "a.log.log", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("app", "app2", false),
        ] {
            assert_eq!(is_like(pattern, tag), expected, "{pattern} {tag}");
        }
    }
}
