//! `[kafka]` and the tables below it.

use super::{Judge, credentials, legal_name, on_refused, options};
use crate::config::plan::{
    Acks, Compression, CreateTopics, DeadLetters, KafkaPlan, LetterPlace, OnRefused, SaslPlan,
};
use crate::config::written::Section;

pub(super) fn plan(top: &Section, judge: &mut Judge<'_>) -> Option<KafkaPlan> {
    let brokers = judge.hosts(top, "kafka", "brokers");
    let (compression, compression_level) = compression(top, judge);
    let acks = acks(top, judge);
    let batch_bytes = top.size("kafka.batch_bytes");
    let message_bytes_max = top.size("kafka.message_bytes_max");
    if batch_bytes > message_bytes_max {
        let at = top.at(if top.has("kafka.batch_bytes") {
            "kafka.batch_bytes"
        } else {
            "kafka.message_bytes_max"
        });
        judge.refuse(
            &at,
            format!(
                "`batch_bytes` ({batch_bytes}) is more than `message_bytes_max` ({message_bytes_max}): \
                 brokers would refuse full batches"
            ),
        );
    }
    let client_id = judge.plain(top, "kafka.client_id");
    let dead_letters = match top.table("kafka.dead_letter") {
        Some(_) => Some(dead_letters(top, judge)?),
        None => None,
    };
    let tls = judge.tls(top, "kafka.tls")?;
    let sasl = judge.sasl(top, tls.is_some())?;
    Some(KafkaPlan {
        compression,
        compression_level,
        acks,
        linger: top.duration("kafka.linger"),
        batch_bytes,
        message_bytes_max,
        producers: top.number("kafka.producers"),
        stall_timeout: top.duration("kafka.stall_timeout"),
        on_refused: on_refused(top, "kafka.on_refused").unwrap_or(OnRefused::Drop),
        dead_letters,
        create_topics: top.table("kafka.create_topics").map(|_| CreateTopics {
            partitions: top.count("kafka.create_topics.partitions").and_then(|count| count.try_into().ok()),
            replication: top.count("kafka.create_topics.replication").and_then(|count| count.try_into().ok()),
        }),
        tls,
        sasl,
        options: options::plan(top, options::DECIDED, options::PROMISED, judge),
        brokers: brokers?,
        client_id: client_id?,
    })
}

fn compression(top: &Section, judge: &mut Judge<'_>) -> (Compression, Option<i32>) {
    let (codec, level_max) = match top.word("kafka.compression") {
        "none" => (Compression::None, None),
        "zstd" => (Compression::Zstd, Some(12)),
        "snappy" => (Compression::Snappy, None),
        "gzip" => (Compression::Gzip, Some(9)),
        _ => (Compression::Lz4, Some(12)),
    };
    if codec == Compression::None {
        judge.warn("kafka.compression is none: logs usually shrink to a third with lz4");
    }
    let level = top.count("kafka.compression_level").and_then(|level| i32::try_from(level).ok());
    if let Some(level) = level {
        let at = top.at("kafka.compression_level");
        match level_max {
            None => judge.refuse(&at, format!("`compression_level` has no effect on {}", codec.name())),
            Some(max) if level > max => {
                judge.refuse(
                    &at,
                    format!("`compression_level` is {level}; allowed for {}: 0 to {max}", codec.name()),
                );
            }
            Some(_) => {}
        }
    }
    (codec, level)
}

fn acks(top: &Section, judge: &mut Judge<'_>) -> Acks {
    match top.word("kafka.acks") {
        "1" => {
            judge.warn(
                "kafka.acks is 1: what only a broker that fails had is lost, and retries can duplicate",
            );
            Acks::Leader
        }
        "0" => {
            judge.warn("kafka.acks is 0: what a broker does not take is lost without a word");
            Acks::None
        }
        _ => Acks::All,
    }
}

/// Checks a list of `host:port`, as `key` in `[section]` holds it, and writes it without spaces.
pub(super) fn hosts(text: &str, key: &str, section: &str) -> Result<String, String> {
    if text.contains('@') {
        // Not shown: it may be a password.
        let login = if section == "kafka" { "`[kafka.sasl]`" } else { "`username`" };
        return Err(format!("`{key}` holds something before an `@`; to log in, see {login}"));
    }
    let mut list = Vec::new();
    for host_and_port in text.split(',').map(str::trim) {
        let wrong = |what: &str| {
            Err(format!(
                "`{key}` is {text:?}, where {host_and_port:?} {what}; write host:port, separated by commas"
            ))
        };
        if host_and_port.contains("://") {
            return wrong(&format!("has a scheme (encryption is `[{section}.tls]`)"));
        }
        let (host, port) = match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or("-"))),
            None if host_and_port.matches(':').count() > 1 => {
                return wrong("is ambiguous (write an IPv6 address in [])");
            }
            None => {
                host_and_port.split_once(':').map_or((host_and_port, None), |(host, port)| (host, Some(port)))
            }
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(legal) {
            return wrong("is not a host");
        }
        if port
            .is_some_and(|port| port.starts_with('+') || port.parse::<u16>().map_or(true, |port| port == 0))
        {
            return wrong("has no valid port");
        }
        list.push(host_and_port);
    }
    Ok(list.join(","))
}

/// Text that goes into a protocol or a log of others.
pub(super) fn plain(key: &str, text: String) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err(format!("`{key}` holds a control character"));
    }
    Ok(text)
}

fn dead_letters(top: &Section, judge: &mut Judge<'_>) -> Option<DeadLetters> {
    let (topic, file) = ("kafka.dead_letter.topic", "kafka.dead_letter.file");
    judge.needs(top, "kafka.dead_letter.file_bytes_max", top.has(file), "`file`");
    let place = match (top.has(topic), top.has(file)) {
        (true, true) => {
            judge.refuse(&top.at(file), "`topic` and `file` cannot both be the place of dead letters");
            return None;
        }
        (false, false) => {
            judge.refuse(&top.at(topic), "missing key `topic` (or `file`) in `[kafka.dead_letter]`");
            return None;
        }
        (true, false) => {
            let name = top.text(topic)?;
            judge.accept(top, topic, legal_name("topic", &name))?;
            LetterPlace::Topic(name)
        }
        (false, true) => LetterPlace::File {
            path: judge.path(top, file)?,
            bytes_max: top.size("kafka.dead_letter.file_bytes_max"),
        },
    };
    Some(DeadLetters { place, drop_on_failure: top.word("kafka.dead_letter.on_failure") == "drop" })
}

/// The table of SASL, which is there.
pub(super) fn sasl(top: &Section, encrypted: bool, judge: &mut Judge<'_>) -> Option<SaslPlan> {
    let password = credentials::password(top, "kafka.sasl", judge);
    let username = judge.plain(top, "kafka.sasl.username");
    let mechanism = top.word("kafka.sasl.mechanism");
    if !encrypted && mechanism == "PLAIN" {
        judge.warn(
            "[kafka.sasl] mechanism PLAIN without [kafka.tls]: the password crosses the network in the clear",
        );
    }
    Some(SaslPlan { mechanism, username: username?, password: password? })
}
