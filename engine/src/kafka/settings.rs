//! What an operator may say about Kafka, and the librdkafka properties that follow from it.
//!
//! This is not a pass-through: the properties on which "nothing is lost, order is kept" rests are set
//! here and nowhere else, and an option that would undo one of them is refused with its reason. Pure:
//! nothing here talks to librdkafka, so every refusal is testable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::invariants;
use super::route::OnRefused;

/// Which acknowledgement counts.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Acks {
    /// Every in-sync replica has the record. The only one that survives the loss of a broker.
    #[default]
    All,
    /// The leader has it; a leader that fails loses it.
    One,
    /// None: a record counts as delivered when it was written to the socket.
    None,
}

/// How record batches are compressed; `level` as the codec counts it, its own default when absent.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// Cheap, about 1:3 on logs.
    Lz4 {
        /// 0 (fast) to 12.
        level: Option<i32>,
    },
    /// About 40 % fewer bytes than lz4 for a third more CPU at level 1.
    Zstd {
        /// 0 (the codec's own) to 12.
        level: Option<i32>,
    },
    /// For brokers and consumers that ask for it.
    Snappy,
    /// Slow; for consumers that know nothing else.
    Gzip {
        /// 0 (stored) to 9.
        level: Option<i32>,
    },
}

/// Text that is never shown: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, Eq, PartialEq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that hands it to librdkafka.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// TLS to the brokers. Once it is set there is no way back to plain text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// Certificates that are trusted (PEM); the system's when absent.
    pub ca: Option<PathBuf>,
    /// Our certificate (PEM), where brokers ask for one.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// The password of the private key.
    pub key_password: Option<Secret>,
}

/// How we prove who we are.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum SaslMechanism {
    /// Name and password in clear: only inside TLS.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

/// SASL credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sasl {
    /// The mechanism that the listener speaks.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Topics that do not exist are created like this.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct CreateTopics {
    /// Number of partitions; -1 for the brokers' default.
    pub partitions: i32,
    /// Replicas of each; -1 for the brokers' default.
    pub replication: i32,
}

/// Where records are kept that brokers refuse for good, for items that want it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetters {
    /// Where.
    pub place: LetterPlace,
    /// What becomes of one that cannot be kept there.
    pub on_failure: OnFailure,
}

/// A place for dead letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LetterPlace {
    /// This topic.
    Topic(String),
    /// This file of JSON lines.
    File {
        /// Its path.
        path: PathBuf,
        /// When it would grow beyond this it is renamed to `<path>.1`, over the one before.
        bytes_max: u64,
    },
}

/// What becomes of a dead letter whose place cannot take it.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// It is tried again, and its file is not read on.
    #[default]
    Wait,
    /// It is given back as refused.
    Drop,
}

/// Everything that the sink needs to know about Kafka. `Debug` shows no secret, not even in `options`.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// Which acknowledgement counts.
    pub acks: Acks,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a record may wait for company before it is sent. Fractions of a millisecond count.
    pub linger: Duration,
    /// Uncompressed size of a request to one partition, in bytes.
    pub batch_bytes: usize,
    /// The largest record in bytes, as `message.max.bytes` of the broker or topic.
    pub message_bytes_max: usize,
    /// Producer instances, each with its own compression thread for each broker.
    pub producers: usize,
    /// What the brokers call us in their logs and quotas.
    pub client_id: String,
    /// TLS, if the brokers' listeners speak it.
    pub tls: Option<Tls>,
    /// SASL, if they ask for it.
    pub sasl: Option<Sasl>,
    /// Whether topics that do not exist are created, and how.
    pub create_topics: Option<CreateTopics>,
    /// Batches that make no progress for so long although a broker answers: rebuild the producer.
    pub stall_timeout: Duration,
    /// How often librdkafka tells of round trips; `None`: never. At least 5 s, for it costs.
    pub statistics: Option<Duration>,
    /// What becomes of records that are refused for good, unless their route says otherwise.
    pub on_refused: OnRefused,
    /// Where refused records are kept; `None`: nowhere.
    pub dead_letters: Option<DeadLetters>,
    /// Any other librdkafka property.
    pub options: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// The defaults, for these brokers.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers.into(),
            acks: Acks::All,
            compression: Compression::Lz4 { level: None },
            linger: Duration::from_millis(5),
            batch_bytes: 1_000_000,
            message_bytes_max: 1_048_588,
            producers: 1,
            client_id: "logdrive".into(),
            tls: None,
            sasl: None,
            create_topics: None,
            stall_timeout: Duration::from_secs(120),
            statistics: None,
            on_refused: OnRefused::Drop,
            dead_letters: None,
            options: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if invariants::is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("acks", &self.acks)
            .field("compression", &self.compression)
            .field("linger", &self.linger)
            .field("producers", &self.producers)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl)
            .field("options", &self.options.iter().map(shown).collect::<BTreeMap<_, _>>())
            .finish_non_exhaustive()
    }
}

/// More records than this are never on their way at once: what librdkafka keeps for them would be gigabytes.
pub const MESSAGES_MAX: usize = 10_000_000;

/// How much may be on its way at once, over all producer instances.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct InFlightBudget {
    /// Records. librdkafka needs about 200 bytes for each beside the record itself.
    pub messages_max: usize,
    /// Bytes of records, as librdkafka counts them for each instance.
    pub bytes_max: usize,
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error, Clone, Eq, PartialEq)]
pub enum SettingsError {
    /// An option says what a key of ours says, and says it differently.
    #[error("kafka option `{option} = {value}` contradicts `{key}`; set `{key}` instead")]
    Contradicts {
        /// The property.
        option: String,
        /// What it was to become.
        value: String,
        /// The key that owns it.
        key: &'static str,
    },
    /// An option would undo a promise.
    #[error("kafka option `{option} = {value}` is refused: {reason}; remove it")]
    Breaks {
        /// The property.
        option: String,
        /// What it was to become.
        value: String,
        /// The promise.
        reason: &'static str,
    },
    /// A key has a value that cannot work.
    #[error("`{key}`: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// The properties for one producer instance, in the order in which librdkafka gets them, and warnings
/// that are worth one line each at start.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Properties {
    pub(super) pairs: BTreeMap<String, String>,
    pub(super) warnings: Vec<&'static str>,
}

impl KafkaSettings {
    /// Checks everything, without asking anybody.
    ///
    /// # Errors
    /// What a sink would refuse.
    pub fn check(&self, budget: InFlightBudget) -> Result<(), SettingsError> {
        self.properties(budget).map(drop)
    }

    /// Checks everything and translates it.
    pub(super) fn properties(&self, budget: InFlightBudget) -> Result<Properties, SettingsError> {
        self.check_values(budget)?;
        let mut pairs = BTreeMap::new();
        let mut set = |name: &str, value: String| pairs.insert(name.to_owned(), value);
        set("bootstrap.servers", self.brokers.trim().to_owned());
        set("client.id", self.client_id.clone());
        set("linger.ms", format!("{}", self.linger.as_secs_f64() * 1e3));
        set("batch.size", self.batch_bytes.to_string());
        set("batch.num.messages", "100000".into());
        set("message.max.bytes", self.message_bytes_max.to_string());
        // The sink counts messages itself and stops first; librdkafka's own limit is the second fence.
        set("queue.buffering.max.messages", budget.messages_max.to_string());
        let kilobytes = budget.bytes_max.max(self.message_bytes_max).div_ceil(1024);
        set("queue.buffering.max.kbytes", kilobytes.to_string());
        // A message that expires is a line that is dropped.
        set("message.timeout.ms", "0".into());
        set("allow.auto.create.topics", "false".into());
        set("enable.metrics.push", "false".into());
        set("log.queue", "true".into());
        set("log.connection.close", "false".into());
        set("socket.keepalive.enable", "true".into());
        // While nobody answers, librdkafka tries again at half of the first pause, whatever the longest is
        // (`sparse_connect_intvl`): with its default that would be twenty handshakes a second.
        set("reconnect.backoff.ms", "1000".into());
        set("reconnect.backoff.max.ms", "3000".into());
        set("statistics.interval.ms", self.statistics.map_or(0, |every| every.as_millis()).to_string());
        let warnings = self.set_order_and_acks(&mut set);
        self.set_compression(&mut set);
        for (name, value) in security(self.tls.as_ref(), self.sasl.as_ref()) {
            set(name, value);
        }
        self.add_options(&mut pairs)?;
        Ok(Properties { pairs, warnings })
    }

    /// Order holds through idempotence, or without it through a single request at a time (a failed
    /// request could otherwise be overtaken by the next).
    fn set_order_and_acks(&self, set: &mut impl FnMut(&str, String) -> Option<String>) -> Vec<&'static str> {
        let (acks, warning) = match self.acks {
            Acks::All => ("all", None),
            Acks::One => (
                "1",
                Some(
                    "acks = 1: a record counts as delivered when one broker has it and is lost with that \
                     broker; idempotence is off and one request at a time is sent to keep the order",
                ),
            ),
            Acks::None => (
                "0",
                Some(
                    "acks = 0: a record counts as delivered when it is written to the socket, nobody \
                     confirms it; idempotence is off and one request at a time is sent to keep the order",
                ),
            ),
        };
        set("acks", acks.into());
        set("enable.idempotence", (self.acks == Acks::All).to_string());
        if self.acks != Acks::All {
            set("max.in.flight.requests.per.connection", "1".into());
        }
        warning.into_iter().collect()
    }

    fn set_compression(&self, set: &mut impl FnMut(&str, String) -> Option<String>) {
        let (codec, level) = match self.compression {
            Compression::None => ("none", None),
            Compression::Lz4 { level } => ("lz4", level),
            Compression::Zstd { level } => ("zstd", level),
            Compression::Snappy => ("snappy", None),
            Compression::Gzip { level } => ("gzip", level),
        };
        set("compression.codec", codec.into());
        if let Some(level) = level {
            set("compression.level", level.to_string());
        }
    }

    /// Adds the options; one that repeats what is already so is accepted, whoever owns it.
    fn add_options(&self, pairs: &mut BTreeMap<String, String>) -> Result<(), SettingsError> {
        for (option, value) in &self.options {
            let name = invariants::canonical(option);
            if pairs.get(name).is_some_and(|ours| ours.eq_ignore_ascii_case(value)) {
                continue;
            }
            let (option, value) = (option.clone(), value.clone());
            match invariants::owner_of(name) {
                invariants::Owner::Key(key) => {
                    let value = if invariants::is_secret(name) { "***".into() } else { value };
                    return Err(SettingsError::Contradicts { option, value, key });
                }
                invariants::Owner::Promise(reason) => {
                    return Err(SettingsError::Breaks { option, value, reason });
                }
                invariants::Owner::Operator => pairs.insert(name.to_owned(), value),
            };
        }
        Ok(())
    }

    fn check_values(&self, budget: InFlightBudget) -> Result<(), SettingsError> {
        let wrong = |key, reason: &str| Err(SettingsError::Value { key, reason: reason.into() });
        let in_range = |level: Option<i32>, max| level.is_none_or(|level| (0..=max).contains(&level));
        match self.compression {
            Compression::Lz4 { level } | Compression::Zstd { level } if !in_range(level, 12) => {
                return wrong("compression", "lz4 and zstd have levels 0 to 12, as librdkafka counts them");
            }
            Compression::Gzip { level } if !in_range(level, 9) => {
                return wrong("compression", "gzip has levels 0 to 9");
            }
            _ => {}
        }
        if self.brokers.trim().is_empty() {
            return wrong("brokers", "name at least one broker as host:port");
        }
        if !(1..=64).contains(&self.producers) {
            return wrong("producers", "1 to 64 instances make sense");
        }
        if self.linger > Duration::from_secs(900) {
            return wrong("linger", "at most 15 minutes");
        }
        if !(1_000..=1_000_000_000).contains(&self.message_bytes_max) {
            return wrong("message_bytes_max", "between 1,000 and 1,000,000,000 bytes");
        }
        if !(1..=1_000_000_000).contains(&self.batch_bytes) {
            return wrong("batch_bytes", "between 1 and 1,000,000,000 bytes");
        }
        if self.statistics.is_some_and(|every| every < Duration::from_secs(5)) {
            return wrong("statistics", "at least 5 s: librdkafka renders all of it each time");
        }
        if self.stall_timeout < Duration::from_secs(1) {
            return wrong("stall_timeout", "at least 1 s, better minutes: a rebuild sends lines again");
        }
        let of_brokers_or_some = |count: i32| count == -1 || count > 0;
        if let Some(create) = self.create_topics
            && !(of_brokers_or_some(create.partitions) && of_brokers_or_some(create.replication))
        {
            return wrong("create_topics", "at least 1 partition and 1 replica (-1: the brokers' default)");
        }
        if !(1..=MESSAGES_MAX).contains(&budget.messages_max) {
            return wrong("in_flight", "between 1 and 10,000,000 messages");
        }
        if budget.bytes_max >> 10 > i32::MAX as usize {
            return wrong("in_flight", "at most 2 TiB");
        }
        Ok(())
    }
}

/// The properties of librdkafka that encryption and login mean, for producers and consumers alike.
#[must_use]
pub fn security(tls: Option<&Tls>, sasl: Option<&Sasl>) -> Vec<(&'static str, String)> {
    let protocol = match (tls, sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    let mut pairs = vec![("security.protocol", protocol.to_owned())];
    if let Some(tls) = tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (name, file) in files {
            pairs.extend(file.iter().map(|file| (name, file.to_string_lossy().into_owned())));
        }
        pairs.extend(
            tls.key_password.iter().map(|password| ("ssl.key.password", password.reveal().to_owned())),
        );
    }
    if let Some(sasl) = sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        pairs.push(("sasl.mechanisms", mechanism.to_owned()));
        pairs.push(("sasl.username", sasl.username.clone()));
        pairs.push(("sasl.password", sasl.password.reveal().to_owned()));
    }
    pairs
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
