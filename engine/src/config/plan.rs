//! What the agent is to do: the configuration validated, with every default in its place.
//!
//! Plain values for the parts of the agent to take what they need; nothing here knows TOML, and nothing
//! is left to look up. Plans compare, so that a reload can tell what changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logdrive_core::frame::FramePolicy;
use logdrive_core::source::ItemId;

use super::patterns::Patterns;
use super::secret::Secret;
use super::start::ReadFrom;
use crate::logging::LogFormat;

/// The whole configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// How files are read.
    pub io: IoChoice,
    /// How long a stop waits for acknowledgements.
    pub shutdown_timeout: Duration,
    /// Where records go.
    pub kafka: KafkaPlan,
    /// Collection items; none only if etcd may bring some. An [`ItemId`] is an index into them.
    pub items: Vec<ItemPlan>,
    /// The patterns of all items.
    pub patterns: Arc<Patterns>,
    /// Where more items come from; `None`: from nowhere.
    pub etcd: Option<EtcdPlan>,
    /// What may be used.
    pub limits: LimitsPlan,
    /// What is remembered.
    pub state: StatePlan,
    /// Where metrics are served; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// The agent's own log.
    pub log: LogPlan,
    /// How often directories and quiet files are looked at without a hint.
    pub reconcile: Duration,
    /// Whether the configuration file is read again when it changes.
    pub watch_config: bool,
    /// What is allowed but unwise, one line each, to be logged once at start.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether it holds passwords or keys.
    #[must_use]
    pub fn holds_secrets(&self) -> bool {
        let holds_key = |tls: &Option<TlsPlan>| tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
        let etcd = self.etcd.as_ref().is_some_and(|etcd| etcd.login.is_some() || holds_key(&etcd.tls));
        etcd || self.kafka.sasl.is_some() || holds_key(&self.kafka.tls)
    }

    /// The same with more items behind its own, each with its patterns.
    #[must_use]
    pub fn with_items<'a>(&self, more: impl Iterator<Item = (&'a ItemPlan, &'a Patterns)>) -> Plan {
        let (items, patterns): (Vec<&ItemPlan>, Vec<&Patterns>) = more.unzip();
        let mut plan = self.clone();
        plan.items.extend(items.into_iter().cloned());
        plan.patterns = Arc::new(Patterns::joined(std::iter::once(&*self.patterns).chain(patterns)));
        plan
    }

    /// The item of that id.
    #[must_use]
    pub fn item(&self, id: ItemId) -> &ItemPlan {
        &self.items[id.0 as usize]
    }
}

/// How files are read.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum IoChoice {
    /// Through io_uring where that is possible.
    Auto,
    /// Through io_uring, or not at all.
    Uring,
    /// With plain reads on a thread.
    Blocking,
}

/// The connection to Kafka and what holds for every topic.
#[derive(Clone, PartialEq, Debug)]
pub struct KafkaPlan {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// The codec.
    pub compression: Compression,
    /// The codec's level; `None`: the codec's own default.
    pub compression_level: Option<i32>,
    /// Which brokers must have a record.
    pub acks: Acks,
    /// How long a record may wait for company.
    pub linger: Duration,
    /// The largest batch of a partition, uncompressed.
    pub batch_bytes: u64,
    /// The largest record; at least as large as any that a legal line can become.
    pub message_bytes_max: u64,
    /// How many producers run side by side.
    pub producers: usize,
    /// The agent's name for the brokers.
    pub client_id: String,
    /// How long records may be in flight without any acknowledgement.
    pub stall_timeout: Duration,
    /// What becomes of records that are refused for good, unless their item says otherwise.
    pub on_refused: OnRefused,
    /// Where refused records are kept; `None`: nowhere.
    pub dead_letters: Option<DeadLetters>,
    /// How missing topics are created; `None`: they are not.
    pub create_topics: Option<CreateTopics>,
    /// Encryption; `None`: plain text.
    pub tls: Option<TlsPlan>,
    /// Login; `None`: none.
    pub sasl: Option<SaslPlan>,
    /// Other properties of librdkafka, each known to it and none that a key above decides.
    pub options: BTreeMap<String, String>,
}

impl KafkaPlan {
    /// The files that hold credentials: what they hold may change while the agent runs.
    #[must_use]
    pub fn credential_files(&self) -> Vec<&Path> {
        let tls = self.tls.iter();
        let authorities = tls.clone().filter_map(|tls| tls.ca.as_deref());
        let own = tls.filter_map(|tls| tls.certificate.as_ref());
        let own = own.flat_map(|own| {
            let password = own.key_password.as_ref().and_then(Secret::file);
            [Some(own.cert.as_path()), Some(own.key.as_path()), password].into_iter().flatten()
        });
        let login = self.sasl.iter().filter_map(|sasl| sasl.password.file());
        authorities.chain(own).chain(login).collect()
    }

    /// Whether nothing but passwords makes the difference between the two.
    #[must_use]
    pub fn differs_in_passwords_only(&self, other: &KafkaPlan) -> bool {
        let mut same = other.clone();
        if let (Some(ours), Some(theirs)) = (&self.sasl, &mut same.sasl) {
            theirs.password = ours.password.clone();
        }
        let own = |plan: &KafkaPlan| plan.tls.as_ref().and_then(|tls| tls.certificate.as_ref()).cloned();
        if let (Some(ours), Some(theirs)) =
            (own(self), same.tls.as_mut().and_then(|tls| tls.certificate.as_mut()))
        {
            theirs.key_password = ours.key_password;
        }
        *self == same
    }

    /// The same with what the files of its passwords hold now.
    ///
    /// # Errors
    /// Why a file cannot be read, or holds no password.
    pub fn with_passwords_read_again(&self) -> Result<KafkaPlan, String> {
        let mut fresh = self.clone();
        if let Some(sasl) = &mut fresh.sasl {
            sasl.password = sasl.password.read_again()?;
        }
        let own = fresh.tls.as_mut().and_then(|tls| tls.certificate.as_mut());
        if let Some(password) = own.and_then(|own| own.key_password.as_mut()) {
            *password = password.read_again()?;
        }
        Ok(fresh)
    }
}

/// The codec of batches.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Compression {
    /// No compression.
    None,
    /// lz4.
    Lz4,
    /// Zstandard.
    Zstd,
    /// Snappy.
    Snappy,
    /// gzip.
    Gzip,
}

impl Compression {
    /// Its name in Kafka.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
            Compression::Snappy => "snappy",
            Compression::Gzip => "gzip",
        }
    }
}

/// Which brokers must have a record before it counts as acknowledged.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The leader of the partition.
    Leader,
    /// None: sent is enough.
    None,
}

/// What becomes of a record that Kafka refuses for good.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum OnRefused {
    /// It is dropped and counted.
    Drop,
    /// It is cut if it is too large, and else dropped and counted.
    Truncate,
    /// It is kept as a dead letter.
    DeadLetter,
}

/// Where refused records are kept.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct DeadLetters {
    /// Where.
    pub place: LetterPlace,
    /// Whether one that cannot be kept is dropped and counted; else it waits.
    pub drop_on_failure: bool,
}

/// A place for dead letters.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum LetterPlace {
    /// This topic.
    Topic(String),
    /// This file.
    File {
        /// Its path.
        path: PathBuf,
        /// Its size at most.
        bytes_max: u64,
    },
}

/// How a missing topic is created. `None` leaves the number to the broker.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct CreateTopics {
    /// Number of partitions.
    pub partitions: Option<u32>,
    /// Copies of each partition.
    pub replication: Option<u16>,
}

/// Encryption of connections.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct TlsPlan {
    /// Certificate authorities; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate.
    pub certificate: Option<Certificate>,
}

/// A certificate with its key.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Certificate {
    /// The certificate (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The key's password, if it is encrypted.
    pub key_password: Option<Secret>,
}

/// Login at the brokers.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct SaslPlan {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The connection to etcd, and what it may decide here.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct EtcdPlan {
    /// `host:port` of each member to ask.
    pub endpoints: Vec<String>,
    /// What all keys begin with; begins with a slash and does not end in one.
    pub prefix: String,
    /// The groups of this host; of two items with one name, that of the earlier group holds.
    pub groups: Vec<String>,
    /// The name of this host in keys.
    pub host: String,
    /// A key that holds an array of items.
    pub array_key: Option<String>,
    /// Encryption; `None`: plain text.
    pub tls: Option<TlsPlan>,
    /// Login; `None`: none.
    pub login: Option<EtcdLogin>,
    /// How often everything is read again.
    pub relist: Duration,
    /// Directories, each with everything below it.
    pub allow_paths: Vec<PathBuf>,
    /// Patterns of topics.
    pub allow_topics: Vec<String>,
}

/// Login at etcd.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct EtcdLogin {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Who has said that an item is to be collected.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Origin {
    /// Whoever wrote the configuration file or the command line.
    File,
    /// Whoever may write into etcd: what its patterns spell out is not trusted.
    Etcd,
}

/// One collection item.
#[derive(Clone, PartialEq, Debug)]
pub struct ItemPlan {
    /// Its name, unique.
    pub name: String,
    /// Who wants it.
    pub origin: Origin,
    /// Patterns as written.
    pub include: Vec<String>,
    /// Patterns as written.
    pub exclude: Vec<String>,
    /// Where its records go.
    pub topic: String,
    /// Where to begin in files that are there at first.
    pub read_from: ReadFrom,
    /// Files not modified for this long are not begun.
    pub ignore_older: Option<Duration>,
    /// Which symbolic links are followed.
    pub symlinks: Symlinks,
    /// How long a file without news stays open; `None`: until its descriptor is needed.
    pub close_after: Option<Duration>,
    /// How long a deleted, undrained file is held; `None`: until it is drained.
    pub rotated_hold: Option<Duration>,
    /// How many unread bytes of a deleted file are held; `None`: any number.
    pub rotated_hold_bytes: Option<u64>,
    /// Lines a second of all the item's files together; `None`: any number.
    pub rate_limit: Option<u32>,
    /// Bytes a second of all the item's files together; `None`: any number.
    pub rate_limit_bytes: Option<u64>,
    /// How bytes become events.
    pub frame: FramePlan,
    /// How events become records.
    pub format: Format,
    /// Whether records have a key.
    pub key: RecordKey,
    /// Whether records carry their origin as headers.
    pub headers: bool,
    /// Which partition a record goes to.
    pub partition: Partition,
    /// What becomes of records that are refused for good; `None`: what `[kafka]` says.
    pub on_refused: Option<OnRefused>,
}

/// A [`FramePolicy`] that compares: regular expressions by their text.
#[derive(Clone, Debug)]
pub struct FramePlan(pub FramePolicy);

impl Deref for FramePlan {
    type Target = FramePolicy;
    fn deref(&self) -> &FramePolicy {
        &self.0
    }
}

impl PartialEq for FramePlan {
    fn eq(&self, other: &FramePlan) -> bool {
        // Taken apart, so that a new field cannot be forgotten here.
        let FramePolicy {
            line_bytes_max,
            on_long_line,
            carriage_return,
            multiline_start,
            flush_after,
            unit,
            include_lines,
            exclude_lines,
            form,
        } = &self.0;
        *line_bytes_max == other.line_bytes_max
            && *on_long_line == other.on_long_line
            && *carriage_return == other.carriage_return
            && multiline_start.as_ref().map(|regex| regex.as_str())
                == other.multiline_start.as_ref().map(|regex| regex.as_str())
            && *flush_after == other.flush_after
            && *unit == other.unit
            && *form == other.form
            && include_lines.as_ref().map(|set| set.patterns())
                == other.include_lines.as_ref().map(|set| set.patterns())
            && exclude_lines.as_ref().map(|set| set.patterns())
                == other.exclude_lines.as_ref().map(|set| set.patterns())
    }
}

/// Which symbolic links are followed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Symlinks {
    /// Those that nobody but root or the owner of the target can have made.
    Owner,
    /// All.
    Follow,
    /// None.
    Never,
}

/// What a record's value is.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Format {
    /// The event's bytes.
    Raw,
    /// A JSON document of the Elastic Common Schema.
    Ecs {
        /// Added to every document.
        fields: BTreeMap<String, String>,
    },
}

/// What a record's key is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum RecordKey {
    /// `host:path`.
    Source,
    /// None.
    None,
}

/// Which partition a record goes to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Partition {
    /// By the file: one family of rotated files, one partition.
    Source,
    /// By the record's key, as Kafka's own partitioner does.
    Key,
    /// One partition for a while, then the next.
    Sticky {
        /// For how long.
        slice: Duration,
    },
    /// This one.
    Number(i32),
}

/// What may be used.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct LimitsPlan {
    /// Memory between the files and Kafka's acknowledgement: chunks, and librdkafka's own share.
    pub in_flight_bytes: u64,
    /// Log files open at once.
    pub open_files: usize,
    /// Files followed at once.
    pub files_max: usize,
    /// Share of one core that the process may use, in percent; `None`: all that there is.
    pub cpu_percent: Option<NonZeroU32>,
    /// Bytes a second of all files together; `None`: any number.
    pub bytes_per_second: Option<u64>,
    /// Niceness; `None`: that of whoever starts the agent.
    pub nice: Option<i32>,
    /// Priority of reads and writes; `None`: that of whoever starts the agent.
    pub io_priority: Option<IoPriority>,
}

impl LimitsPlan {
    /// Whether the two differ in more than can be changed while the agent runs.
    #[must_use]
    pub fn differs_in_what_is_fixed(&self, other: &LimitsPlan) -> bool {
        let LimitsPlan { cpu_percent, bytes_per_second, .. } = *other;
        LimitsPlan { cpu_percent, bytes_per_second, ..*self } != *other
    }
}

/// Priority of reads and writes, as `ioprio_set(2)` has it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum IoPriority {
    /// Among all others.
    BestEffort {
        /// 0 to 7; the higher, the later.
        level: u8,
    },
    /// When nobody else wants the disk.
    Idle,
}

/// What is remembered, and where.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct StatePlan {
    /// The folder.
    pub dir: PathBuf,
    /// Where to begin when it was lost.
    pub on_lost: ReadFrom,
}

/// The agent's own log.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct LogPlan {
    /// What is logged.
    pub level: tracing::Level,
    /// How it looks.
    pub format: LogFormat,
}
