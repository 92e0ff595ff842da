//! `[kafka.options]`: any property of librdkafka, but none that would contradict a key of ours or break
//! a promise. Whether a property exists and takes the value is asked of librdkafka itself.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

use super::Judge;
use crate::config::written::Section;

/// Properties that a key of every program decides that connects to Kafka: (property, key).
const CONNECTION: &[(&str, &str)] = &[
    ("bootstrap.servers", "`brokers` in `[kafka]`"),
    ("metadata.broker.list", "`brokers` in `[kafka]`"),
    ("client.id", "`client_id` in `[kafka]`"),
    ("security.protocol", "`[kafka.tls]` and `[kafka.sasl]`"),
    ("ssl.ca.location", "`ca` in `[kafka.tls]`"),
    ("ssl.certificate.location", "`cert` in `[kafka.tls]`"),
    ("ssl.key.location", "`key` in `[kafka.tls]`"),
    ("sasl.mechanism", "`mechanism` in `[kafka.sasl]`"),
    ("sasl.mechanisms", "`mechanism` in `[kafka.sasl]`"),
    ("sasl.username", "`username` in `[kafka.sasl]`"),
];

/// Properties that a key of the agent's alone decides: (property, key).
pub(super) const DECIDED: &[(&str, &str)] = &[
    ("compression.codec", "`compression` in `[kafka]`"),
    ("compression.type", "`compression` in `[kafka]`"),
    ("compression.level", "`compression_level` in `[kafka]`"),
    ("acks", "`acks` in `[kafka]`"),
    ("request.required.acks", "`acks` in `[kafka]`"),
    ("enable.idempotence", "`acks` in `[kafka]` (\"all\" is idempotent)"),
    ("linger.ms", "`linger` in `[kafka]`"),
    ("queue.buffering.max.ms", "`linger` in `[kafka]`"),
    ("batch.size", "`batch_bytes` in `[kafka]`"),
    ("message.max.bytes", "`message_bytes_max` in `[kafka]`"),
    ("queue.buffering.max.messages", "`in_flight` in `[limits]`"),
    ("queue.buffering.max.kbytes", "`in_flight` in `[limits]`"),
    ("partitioner", "`partition` in `[[item]]`"),
];

/// Properties that would break a promise: (property, what would happen).
pub(super) const PROMISED: &[(&str, &str)] = &[
    ("message.timeout.ms", "a record that expires is a record lost"),
    ("delivery.timeout.ms", "a record that expires is a record lost"),
    ("retries", "a record that is not tried again is a record lost"),
    ("message.send.max.retries", "a record that is not tried again is a record lost"),
    ("max.in.flight", "the order of records depends on it"),
    ("max.in.flight.requests.per.connection", "the order of records depends on it"),
    ("queuing.strategy", "the order of records depends on it"),
    ("delivery.report.only.error", "what is delivered would not be known"),
    ("transactional.id", "the agent does not use transactions"),
    ("statistics.interval.ms", "the agent's own metrics depend on it"),
    ("sticky.partitioning.linger.ms", "the agent chooses the partition of every record"),
    ("log.queue", "the agent depends on how it is set"),
    ("enabled_events", "the agent depends on how it is set"),
    ("opaque", "the agent depends on how it is set"),
    ("plugin.library.paths", "it would load foreign code into the agent"),
];

/// Whether a property holds a secret; by its name, so that those of later versions are refused too.
fn is_secret(name: &str) -> bool {
    ["password", "passphrase", "secret", "key.pem"].iter().any(|part| name.contains(part))
        || name == "sasl.oauthbearer.config"
}

pub(super) fn plan(
    top: &Section,
    decided: &[(&str, &str)],
    promised: &[(&str, &str)],
    judge: &mut Judge<'_>,
) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (name, value) in top.entries("kafka.options") {
        match refusal_of(&name.value, &value, decided, promised) {
            Some(why) => judge.refuse(&name.at, why),
            None => {
                if matches!((&name.value[..], &value[..]), ("enable.ssl.certificate.verification", "false"))
                    || (name.value == "ssl.endpoint.identification.algorithm" && value == "none")
                {
                    judge.warn(format!("{} = {value}: anybody can pretend to be a broker", name.value));
                }
                options.insert(name.value, value);
            }
        }
    }
    options
}

/// Why a property of the agent cannot be set, if it cannot.
pub(crate) fn refusal(name: &str, value: &str) -> Option<String> {
    refusal_of(name, value, DECIDED, PROMISED)
}

fn refusal_of(
    name: &str,
    value: &str,
    decided: &[(&str, &str)],
    promised: &[(&str, &str)],
) -> Option<String> {
    if let Some((_, key)) = CONNECTION.iter().chain(decided).find(|(property, _)| *property == name) {
        return Some(format!("`{name}` is decided by {key}; write it there"));
    }
    if let Some((_, why)) = promised.iter().find(|(property, _)| *property == name) {
        return Some(format!("`{name}` cannot be set: {why}"));
    }
    if is_secret(name) {
        return Some(format!(
            "`{name}` is a secret, which does not belong into this file; use a `..._file` key"
        ));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, why, ..)) => {
            Some(format!("librdkafka refuses `{name}`: {}", why.trim()))
        }
        Err(error) => Some(format!("librdkafka refuses `{name}`: {error}")),
    }
}
