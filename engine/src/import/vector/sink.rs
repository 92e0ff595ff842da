//! Sinks: the first `kafka` says where the brokers are, and each what becomes of its inputs.

use std::time::Duration;

use crate::import::draft::Section;
use crate::import::librdkafka::{self, KEY_PASSWORD_FILE, PASSWORD_FILE};
use crate::import::report::Fate;
use crate::import::transfer::{Transfer, duration_of};
use crate::import::tree::Node;

/// What one sink does with what it takes.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    /// The topic, and where it is written.
    pub(super) topic: Option<(Node, String)>,
    /// Whether a record is the line alone, and no document.
    pub(super) is_raw: bool,
}

const LEFT: &[(&str, &str)] = &[
    ("key_field", "a record's key is host:path, or none; see item.key"),
    ("headers_key", "see item.headers for what a record can carry"),
    ("headers_field", "see item.headers for what a record can carry"),
    ("batch.max_events", "see kafka.batch_bytes"),
    ("message_timeout_ms", "not needed: a record never expires, since that would lose it"),
    ("socket_timeout_ms", "not needed: librdkafka's own holds; see kafka.options"),
    ("rate_limit_num", "see item.rate_limit, which is in lines a second"),
    ("rate_limit_duration_secs", "see item.rate_limit, which is in lines a second"),
    ("buffer", "not needed: the files are the buffer; see limits.in_flight"),
    ("healthcheck", "not needed: /readyz says whether Kafka can be reached"),
    ("acknowledgements", "not needed: nothing but an acknowledgement of Kafka moves a position"),
    ("request", "not needed: see limits.in_flight"),
    ("proxy", "there is no proxy before Kafka"),
];

/// Carries the sinks over.
pub(super) fn sinks(nodes: &[Node], transfer: &mut Transfer, to: &mut Section) -> Vec<Sink> {
    let mut sinks = Vec::new();
    let mut brokers: Option<String> = None;
    for node in nodes {
        let kind = node.look("type").and_then(Node::text).unwrap_or("?");
        if kind != "kafka" {
            node.take_all();
            transfer.note(node, Fate::Left, &format!("a sink of type {kind}: Logdrive sends to Kafka"));
            continue;
        }
        let own = node.look("bootstrap_servers").and_then(Node::text).map(str::to_owned);
        if brokers.is_some() && own != brokers {
            node.take_all();
            transfer.note(node, Fate::Left, "a second cluster: run a second agent with its own state.dir");
            continue;
        }
        if brokers.is_none() {
            brokers = own;
            kafka(node, transfer, to);
        }
        sinks.push(sink(node, transfer));
    }
    sinks
}

fn kafka(sink: &Node, transfer: &mut Transfer, to: &mut Section) {
    if let Some(node) = sink.take("bootstrap_servers") {
        let texts = transfer.texts_with_commas(node);
        if !texts.is_empty() {
            transfer.set(to, "kafka.brokers", node, texts.join(","), None);
        }
    }
    let codecs = [("none", "none"), ("lz4", "lz4"), ("snappy", "snappy"), ("gzip", "gzip"), ("zstd", "zstd")];
    if sink.look("compression").is_none() {
        transfer.note(
            sink,
            Fate::Changed,
            "without compression there is none there; here it is lz4 (kafka.compression)",
        );
    }
    transfer.word(sink, "compression", to, "kafka.compression", &codecs);
    if let Some(node) = sink.take("batch.max_bytes")
        && let Some(bytes) = transfer.size(node)
    {
        transfer.set(to, "kafka.batch_bytes", node, i64::try_from(bytes).unwrap_or(i64::MAX), None);
    }
    if let Some(node) = sink.take("batch.timeout_secs")
        && let Some(text) = transfer.text(node)
    {
        match duration_of(&text, Duration::from_secs(1)) {
            Some(linger) => {
                transfer.set(to, "kafka.linger", node, crate::config::units::duration(linger), None)
            }
            None => transfer.note(node, Fate::Left, &format!("{text:?} is no duration")),
        }
    }
    if let Some(options) = sink.look("librdkafka_options") {
        for option in options.entries() {
            librdkafka::carry(transfer, &option.name, option, to);
        }
    }
    tls(sink, transfer, to);
    login(sink, transfer, to);
}

fn tls(sink: &Node, transfer: &mut Transfer, to: &mut Section) {
    let Some(tls) = sink.look("tls") else { return };
    if tls.take("enabled").and_then(Node::flag) != Some(true) {
        tls.take_all();
        transfer.note(tls, Fate::Carried, "-> no kafka.tls, since it is not enabled");
        return;
    }
    to.open("kafka.tls");
    transfer.note(tls, Fate::Carried, "-> kafka.tls");
    for (from, path) in
        [("ca_file", "kafka.tls.ca"), ("crt_file", "kafka.tls.cert"), ("key_file", "kafka.tls.key")]
    {
        if let Some(node) = tls.take(from) {
            transfer.tls_file(node, to, path);
        }
    }
    if let Some(node) = tls.take("key_pass") {
        transfer.secret(node, to, "kafka.tls.key_password_file", KEY_PASSWORD_FILE);
    }
    for from in ["verify_certificate", "verify_hostname"] {
        if let Some(node) = tls.take(from) {
            let fate = if node.flag() == Some(true) { Fate::Carried } else { Fate::Left };
            transfer.note(node, fate, "certificates and names are always checked");
        }
    }
}

fn login(sink: &Node, transfer: &mut Transfer, to: &mut Section) {
    let Some(sasl) = sink.look("sasl") else { return };
    if sasl.take("enabled").and_then(Node::flag) != Some(true) {
        sasl.take_all();
        transfer.note(sasl, Fate::Carried, "-> no kafka.sasl, since it is not enabled");
        return;
    }
    transfer.plain(sasl, "mechanism", to, "kafka.sasl.mechanism");
    transfer.plain(sasl, "username", to, "kafka.sasl.username");
    if let Some(node) = sasl.take("password") {
        transfer.secret(node, to, "kafka.sasl.password_file", PASSWORD_FILE);
    }
}

fn sink(node: &Node, transfer: &mut Transfer) -> Sink {
    let _ = node.take("type");
    // What the first of several on one cluster says holds for all.
    for shared in [
        "bootstrap_servers",
        "compression",
        "librdkafka_options",
        "tls",
        "sasl",
        "batch.max_bytes",
        "batch.timeout_secs",
    ] {
        let _ = node.take(shared);
    }
    let inputs = node.take("inputs").map(|inputs| transfer.texts(inputs)).unwrap_or_default();
    let topic = node.take("topic").and_then(|topic| {
        let text = transfer.text(topic)?;
        if text.contains("{{") || text.contains('%') {
            let what =
                format!("{text:?} depends on the event; give each item its topic, or import with --topic");
            transfer.note(topic, Fate::Left, &what);
            return None;
        }
        Some((topic.clone(), text))
    });
    let is_raw = match node.take("encoding.codec") {
        None => false,
        Some(codec) => match codec.text() {
            Some("text" | "raw_message") => {
                transfer.note(codec, Fate::Carried, "-> format = \"raw\"");
                true
            }
            Some("json") => false,
            _ => {
                transfer.note(
                    codec,
                    Fate::Left,
                    "records are lines or documents of the Elastic Common Schema",
                );
                false
            }
        },
    };
    if let Some(encoding) = node.look("encoding") {
        for entry in encoding.entries().iter().filter(|entry| entry.name != "codec") {
            entry.take_all();
            transfer.note(entry, Fate::Left, "documents are those of the Elastic Common Schema");
        }
    }
    transfer.leave(node, LEFT);
    Sink { name: node.name.clone(), inputs, topic, is_raw }
}
