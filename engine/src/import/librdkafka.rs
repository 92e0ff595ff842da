//! Properties of librdkafka, which Fluent Bit and Vector hand through as they are.

use super::draft::Section;
use super::report::Fate;
use super::transfer::{Transfer, is_secret};
use super::tree::Node;
use crate::config::option_refusal;

/// Where the import says that secrets belong.
pub(super) const PASSWORD_FILE: &str = "/etc/logdrive/kafka.password";
pub(super) const KEY_PASSWORD_FILE: &str = "/etc/logdrive/kafka.key.password";

/// Properties that a key of ours decides.
const DECIDED: &[(&str, &str)] = &[
    ("bootstrap.servers", "kafka.brokers"),
    ("metadata.broker.list", "kafka.brokers"),
    ("compression.codec", "kafka.compression"),
    ("compression.type", "kafka.compression"),
    ("client.id", "kafka.client_id"),
    ("ssl.ca.location", "kafka.tls.ca"),
    ("ssl.certificate.location", "kafka.tls.cert"),
    ("ssl.key.location", "kafka.tls.key"),
    ("sasl.mechanism", "kafka.sasl.mechanism"),
    ("sasl.mechanisms", "kafka.sasl.mechanism"),
    ("sasl.username", "kafka.sasl.username"),
];

/// The same, for whole numbers.
const COUNTED: &[(&str, &str)] = &[
    ("compression.level", "kafka.compression_level"),
    ("batch.size", "kafka.batch_bytes"),
    ("message.max.bytes", "kafka.message_bytes_max"),
];

/// Carries one property over; `name` is that of librdkafka.
pub(super) fn carry(transfer: &mut Transfer, name: &str, node: &Node, kafka: &mut Section) {
    node.take_all();
    match name {
        "sasl.password" => return transfer.secret(node, kafka, "kafka.sasl.password_file", PASSWORD_FILE),
        "ssl.key.password" => {
            return transfer.secret(node, kafka, "kafka.tls.key_password_file", KEY_PASSWORD_FILE);
        }
        _ if is_secret(name) => {
            transfer.note(node, Fate::Left, "a secret of a login that Logdrive does not have");
            return;
        }
        _ => {}
    }
    let Some(text) = transfer.text(node) else { return };
    let path_of = |table: &[(&str, &'static str)]| {
        table.iter().find(|(property, _)| *property == name).map(|(_, path)| *path)
    };
    match name {
        "security.protocol" => security(transfer, node, &text, kafka),
        "acks" | "request.required.acks" => acks(transfer, node, &text, kafka),
        "linger.ms" | "queue.buffering.max.ms" => {
            transfer.set(kafka, "kafka.linger", node, format!("{text}ms"), None)
        }
        _ => match (path_of(DECIDED), path_of(COUNTED), text.parse::<i64>()) {
            (Some(path), ..) => transfer.set(kafka, path, node, text, None),
            (_, Some(path), Ok(count)) => transfer.set(kafka, path, node, count, None),
            _ => option(transfer, name, node, &text, kafka),
        },
    }
}

fn option(transfer: &mut Transfer, name: &str, node: &Node, text: &str, kafka: &mut Section) {
    match option_refusal(name, text) {
        Some(why) => transfer.note(node, Fate::Left, &why),
        None => match kafka.insert("kafka.options", name, text) {
            Ok(()) => transfer.note(node, Fate::Carried, &format!("-> kafka.options.\"{name}\"")),
            Err(why) => transfer.note(node, Fate::Left, &why),
        },
    }
}

fn security(transfer: &mut Transfer, node: &Node, text: &str, kafka: &mut Section) {
    match &text.to_ascii_lowercase()[..] {
        "ssl" | "sasl_ssl" => {
            kafka.open("kafka.tls");
            transfer.note(node, Fate::Carried, "-> kafka.tls");
        }
        "plaintext" | "sasl_plaintext" => transfer.note(node, Fate::Carried, "-> no kafka.tls"),
        _ => transfer.note(node, Fate::Left, &format!("{text:?} has no counterpart")),
    }
}

/// What acknowledges a record, in the numbers of all Kafka clients.
pub(super) fn acks(transfer: &mut Transfer, node: &Node, text: &str, kafka: &mut Section) {
    let ours = match text {
        "-1" | "all" => "all",
        text => text,
    };
    transfer.set(kafka, "kafka.acks", node, ours, None);
}
