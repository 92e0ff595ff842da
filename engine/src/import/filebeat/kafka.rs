//! `output.kafka`.

use std::time::Duration;

use crate::import::draft::Section;
use crate::import::librdkafka::{self, KEY_PASSWORD_FILE, PASSWORD_FILE};
use crate::import::report::Fate;
use crate::import::transfer::Transfer;
use crate::import::tree::{Node, Value};

/// What the output says about the records of each input.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The topic, in which `%{[fields.x]}` stands for a field of the input, and where it is written.
    pub(super) topic: Option<(Node, String)>,
    /// Whether a record is the line alone, and no document.
    pub(super) is_raw: bool,
}

const LEFT: &[(&str, &str)] = &[
    ("topics", "which topic an event goes to cannot depend on what is in it; write an item for each topic"),
    ("key", "a record's key is host:path, or none; see item.key"),
    ("partition", "a file's lines stay in one partition, so that their order holds; see item.partition"),
    ("version", "not needed: the brokers are asked"),
    ("worker", "not needed; see kafka.producers"),
    ("metadata", "not needed: librdkafka keeps itself informed; see kafka.options"),
    ("max_retries", "not needed: nothing is given up"),
    ("backoff", "not needed: librdkafka's own holds; see kafka.options"),
    ("bulk_max_size", "not needed: see kafka.batch_bytes"),
    ("bulk_flush_frequency", "see kafka.linger; it is 500us"),
    ("timeout", "not needed: librdkafka's own holds; see kafka.options"),
    ("broker_timeout", "not needed: librdkafka's own holds; see kafka.options"),
    ("channel_buffer_size", "not needed: see limits.in_flight"),
    ("keep_alive", "see \"socket.keepalive.enable\" in kafka.options"),
    ("kerberos", "there is no Kerberos; see kafka.sasl for what there is"),
    ("queue", "not needed: there is no queue; see limits.in_flight"),
];

/// Carries the output over.
pub(super) fn output(tree: &Node, transfer: &mut Transfer, to: &mut Section) -> Output {
    let mut output = Output::default();
    let Some(kafka) = tree.look("output.kafka") else { return output };
    if kafka.take("enabled").and_then(Node::flag) == Some(false) {
        kafka.take_all();
        transfer.note(kafka, Fate::Left, "an output that is not enabled");
        return output;
    }
    if let Some(node) = kafka.take("hosts") {
        let hosts = transfer.texts_with_commas(node);
        if !hosts.is_empty() {
            transfer.set(to, "kafka.brokers", node, hosts.join(","), None);
        }
    }
    transfer.plain(kafka, "client_id", to, "kafka.client_id");
    codec(kafka, transfer, &mut output);
    compression(kafka, transfer, to);
    match kafka.take("required_acks") {
        Some(node) => {
            if let Some(text) = transfer.text(node) {
                librdkafka::acks(transfer, node, &text, to);
            }
        }
        None => transfer.note(
            kafka,
            Fate::Changed,
            "without required_acks one broker is enough there; here all must have a record (kafka.acks)",
        ),
    }
    transfer.count(kafka, "max_message_bytes", to, "kafka.message_bytes_max");
    tls(kafka, transfer, to);
    login(kafka, transfer, to);
    if let Some(node) = kafka.take("topic") {
        output.topic = transfer.text(node).map(|text| (node.clone(), text));
    }
    transfer.leave(kafka, LEFT);
    output
}

/// What a record is: a document, unless a format says that it is the message alone.
fn codec(kafka: &Node, transfer: &mut Transfer, output: &mut Output) {
    let Some(codec) = kafka.take("codec") else { return };
    match codec.look("format.string").and_then(Node::text) {
        None => transfer.note(codec, Fate::Changed, "-> format = \"ecs\": see the note on documents"),
        Some(text) if matches!(text.replace(' ', "").as_str(), "%{[message]}" | "%{message}") => {
            output.is_raw = true;
            transfer.note(codec, Fate::Carried, "-> format = \"raw\"");
        }
        Some(_) => transfer.note(codec, Fate::Left, "records are lines or documents, nothing in between"),
    }
}

fn compression(kafka: &Node, transfer: &mut Transfer, to: &mut Section) {
    let codecs = [("none", "none"), ("lz4", "lz4"), ("snappy", "snappy"), ("gzip", "gzip"), ("zstd", "zstd")];
    if kafka.look("compression").is_none() {
        transfer.note(
            kafka,
            Fate::Changed,
            "without compression it is gzip there; here it is lz4 (kafka.compression)",
        );
    }
    transfer.word(kafka, "compression", to, "kafka.compression", &codecs);
    // It is gzip's, whatever the codec, and zero means none there.
    if to.text("kafka.compression") == Some("gzip") {
        transfer.count(kafka, "compression_level", to, "kafka.compression_level");
    } else {
        transfer.leave(kafka, &[("compression_level", "it is that of gzip")]);
    }
}

fn tls(kafka: &Node, transfer: &mut Transfer, to: &mut Section) {
    let Some(ssl) = kafka.look("ssl") else { return };
    if ssl.take("enabled").and_then(Node::flag) == Some(false) {
        ssl.take_all();
        transfer.note(ssl, Fate::Carried, "-> no kafka.tls");
        return;
    }
    to.open("kafka.tls");
    transfer.note(ssl, Fate::Carried, "-> kafka.tls");
    if let Some(node) = ssl.take("certificate_authorities") {
        let (first, more) = match node.elements() {
            [] => (None, false),
            [first, more @ ..] => (Some(first), !more.is_empty()),
        };
        if let Some(first) = first {
            transfer.tls_file(&first.named(&node.name), to, "kafka.tls.ca");
        }
        if more {
            transfer.note(node, Fate::Left, "all but the first: put them into one file, one after the other");
        }
    }
    for (from, path) in [("certificate", "kafka.tls.cert"), ("key", "kafka.tls.key")] {
        if let Some(node) = ssl.take(from) {
            transfer.tls_file(node, to, path);
        }
    }
    for from in ["key_passphrase", "key_passphrase_path"] {
        if let Some(node) = ssl.take(from) {
            transfer.secret(node, to, "kafka.tls.key_password_file", KEY_PASSWORD_FILE);
        }
    }
    if let Some(node) = ssl.take("verification_mode") {
        match node.text() {
            Some("full" | "strict") => {
                transfer.note(node, Fate::Carried, "certificates and names are always checked")
            }
            _ => transfer.note(node, Fate::Left, "certificates and names are always checked"),
        }
    }
    transfer.leave(
        ssl,
        &[
            ("supported_protocols", "OpenSSL's own choice holds; see kafka.options"),
            ("cipher_suites", "OpenSSL's own choice holds; see \"ssl.cipher.suites\" in kafka.options"),
            ("curve_types", "OpenSSL's own choice holds; see \"ssl.curves.list\" in kafka.options"),
            ("ca_sha256", "certificates are checked against kafka.tls.ca"),
            ("ca_trusted_fingerprint", "certificates are checked against kafka.tls.ca"),
            ("renegotiation", "not needed"),
        ],
    );
}

fn login(kafka: &Node, transfer: &mut Transfer, to: &mut Section) {
    let is_there = |path| kafka.look(path).is_some_and(|node| !matches!(node.value, Value::Nothing));
    if !is_there("username") && !is_there("sasl.mechanism") {
        return;
    }
    transfer.plain(kafka, "username", to, "kafka.sasl.username");
    match kafka.look("sasl.mechanism") {
        Some(_) => transfer.plain(kafka, "sasl.mechanism", to, "kafka.sasl.mechanism"),
        None => {
            let _ = to.set("kafka.sasl.mechanism", "PLAIN");
        }
    }
    if let Some(node) = kafka.take("password") {
        transfer.secret(node, to, "kafka.sasl.password_file", PASSWORD_FILE);
    }
}

/// The unit of Go's durations when there is none.
pub(super) const BARE: Duration = Duration::from_secs(1);
