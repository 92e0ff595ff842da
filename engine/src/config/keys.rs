//! The table of every key: path, kind, default, meaning. The one source of truth.
//!
//! The reader finds unknown keys with it, the plan takes its defaults from it, and a test holds
//! `docs/configuration.md` against it. Nothing else knows the name of a key but the code that uses it.

use std::time::Duration;

use super::value::Kind;

/// What holds when a key is not written.
#[derive(Copy, Clone, Debug)]
pub enum Fallback {
    /// It must be written, if its section is there.
    Required,
    /// This TOML value.
    Value(&'static str),
    /// No value; the words say what that means.
    Absent(&'static str),
}

/// One key.
#[derive(Copy, Clone, Debug)]
pub struct Key {
    /// Its place: `kafka.tls.ca`, `item.topic`, `io`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// One sentence: the first of its section in the reference.
    pub doc: &'static str,
}

impl Key {
    /// Where it is written: `kafka.tls` of `kafka.tls.ca`, and "" at the top of the file.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its own name: `ca` of `kafka.tls.ca`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

/// All that the configuration of one program may hold.
#[derive(Debug)]
pub struct KeyTable {
    /// Every key, in the order of its reference.
    pub keys: &'static [Key],
    /// Sections that may be left out with everything in them, required keys included.
    pub optional_sections: &'static [&'static str],
    /// The section that is an array of tables, if there is one.
    pub array: Option<&'static str>,
}

impl KeyTable {
    /// The key at a path, if there is one.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.path == path)
    }
}

/// The agent's.
pub static AGENT: KeyTable =
    KeyTable { keys: KEYS, optional_sections: &OPTIONAL_SECTIONS, array: Some(ITEM) };

/// The agent's key at a path, if there is one.
#[must_use]
pub fn key(path: &str) -> Option<&'static Key> {
    AGENT.key(path)
}

/// The section of collection items: the one that is an array of tables.
pub const ITEM: &str = "item";

/// Sections that may be left out with everything in them, required keys included.
const OPTIONAL_SECTIONS: [&str; 6] =
    ["kafka.create_topics", "kafka.tls", "kafka.sasl", "item.multiline", "etcd", "etcd.tls"];

/// A row of a table.
#[must_use]
pub const fn key_of(path: &'static str, kind: Kind, fallback: Fallback, doc: &'static str) -> Key {
    Key { path, kind, fallback, doc }
}

const fn duration(min: Duration, max: Duration, or: &'static [&'static str]) -> Kind {
    Kind::Duration { min, max, or }
}

const fn size(min: u64, max: u64, or: &'static [&'static str]) -> Kind {
    Kind::Size { min, max, or }
}

const fn count(min: i64, max: i64, or: &'static [&'static str]) -> Kind {
    Kind::Count { min, max, or }
}

const STRING: Kind = Kind::Text("string");
const FILE: Kind = Kind::Text("absolute path");
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const ON_REFUSED: [&str; 3] = ["drop", "truncate", "dead_letter"];
const NEVER: &[&str] = &["never"];
const UNLIMITED: &[&str] = &["unlimited"];
const NOT_SET: Fallback = Fallback::Absent("not set");

use Fallback::{Absent, Required, Value};

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key_of("io", Kind::Choice(&["auto", "uring", "blocking"]), Value("\"auto\""),
        "How files are read: through io_uring, or with plain reads on a thread."),
    key_of("shutdown_timeout", duration(Duration::ZERO, HOUR, &[]), Value("\"10s\""),
        "How long a stop waits for the acknowledgements of what is in flight."),

    key_of("kafka.brokers", STRING, Required,
        "The brokers to ask first, as `host:port`, separated by commas."),
    key_of("kafka.compression", Kind::Choice(&["none", "lz4", "zstd", "snappy", "gzip"]), Value("\"lz4\""),
        "How batches are compressed."),
    key_of("kafka.compression_level", count(0, 12, &["default"]), Value("\"default\""),
        "How hard the codec tries; higher is smaller and slower."),
    key_of("kafka.acks", Kind::Choice(&["all", "1", "0"]), Value("\"all\""),
        "Which brokers must have a record before it counts as acknowledged."),
    key_of("kafka.linger", duration(Duration::ZERO, Duration::from_secs(900), &[]), Value("\"500us\""),
        "How long a record may wait for company before it is sent."),
    key_of("kafka.batch_bytes", size(1024, 100_000_000, &[]), Value("\"1MB\""),
        "The largest batch of records sent to one partition at once, before compression."),
    key_of("kafka.message_bytes_max", size(1024, 1_000_000_000, &[]), Value("1048588"),
        "The largest record that the brokers take: their `message.max.bytes`."),
    key_of("kafka.producers", count(1, 16, &[]), Value("1"),
        "How many producers run side by side, each with its own compression thread for each broker."),
    key_of("kafka.client_id", STRING, Value("\"logdrive\""),
        "The name under which brokers know the agent: in their logs, metrics and quotas."),
    key_of("kafka.stall_timeout", duration(Duration::from_secs(5), DAY, &[]), Value("\"2m\""),
        "How long records may be in flight without any acknowledgement before the producer is rebuilt."),
    key_of("kafka.on_refused", Kind::Choice(&ON_REFUSED), Value("\"drop\""),
        "What becomes of a record that Kafka refuses for good."),
    key_of("kafka.create_topics.partitions", count(1, 100_000, &["broker"]), Value("\"broker\""),
        "How many partitions a topic gets that the agent creates."),
    key_of("kafka.create_topics.replication", count(1, 100, &["broker"]), Value("\"broker\""),
        "How many copies of each partition a topic gets that the agent creates."),
    key_of("kafka.dead_letter.topic", STRING, NOT_SET,
        "The topic that refused records go to."),
    key_of("kafka.dead_letter.file", FILE, NOT_SET,
        "The file that refused records go to, as JSON lines."),
    key_of("kafka.dead_letter.file_bytes_max", size(4096, 1 << 40, &[]), Value("\"64MiB\""),
        "How large the file may become before it is renamed to `<file>.1`."),
    key_of("kafka.dead_letter.on_failure", Kind::Choice(&["wait", "drop"]), Value("\"wait\""),
        "What becomes of a refused record that cannot be kept either."),
    key_of("kafka.tls.ca", FILE, Absent("the system's certificate authorities"),
        "The certificate authorities (PEM) that may have signed the brokers' certificates."),
    key_of("kafka.tls.cert", FILE, NOT_SET,
        "The agent's own certificate (PEM), for brokers that want one."),
    key_of("kafka.tls.key", FILE, NOT_SET,
        "The private key (PEM) that belongs to `cert`."),
    key_of("kafka.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),
    key_of("kafka.sasl.mechanism", Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), Required,
        "How the agent proves who it is."),
    key_of("kafka.sasl.username", STRING, Required,
        "The name to log in with."),
    key_of("kafka.sasl.password_file", FILE, NOT_SET,
        "A file that holds the password."),
    key_of("kafka.sasl.password_env", STRING, NOT_SET,
        "An environment variable that holds the password."),
    key_of("kafka.options", Kind::Options, Value("{}"),
        "Any other property of librdkafka's producer."),

    key_of("item.name", STRING, Absent("the topic"),
        "The item's name in logs, metrics and state."),
    key_of("item.include", Kind::Texts("glob"), Required,
        "The files to read: absolute paths, with wildcards."),
    key_of("item.exclude", Kind::Texts("glob"), Value("[]"),
        "Files to leave out although `include` names them."),
    key_of("item.topic", STRING, Required,
        "The topic to send to."),
    key_of("item.read_from", Kind::Start, Value("\"end\""),
        "Where to begin in files that are there when the agent first meets the item."),
    key_of("item.ignore_older", duration(SECOND, Duration::from_secs(315_576_000), NEVER), Value("\"never\""),
        "Files not modified for this long are not begun."),
    key_of("item.symlinks", Kind::Choice(&["owner", "follow", "never"]), Value("\"owner\""),
        "Which symbolic links are followed."),
    key_of("item.close_after", duration(SECOND, DAY, NEVER), Value("\"never\""),
        "How long a file without news stays open."),
    key_of("item.rotated_hold", duration(SECOND, Duration::from_secs(31_557_600), UNLIMITED), Value("\"unlimited\""),
        "How long a deleted file is held open until it is drained."),
    key_of("item.rotated_hold_bytes", size(0, 1 << 50, UNLIMITED), Value("\"unlimited\""),
        "How many unread bytes of a deleted file are held."),
    key_of("item.rate_limit", count(1, 1_000_000_000, UNLIMITED), Value("\"unlimited\""),
        "How many lines a second are read from the item's files together."),
    key_of("item.rate_limit_bytes", size(1000, 10_000_000_000, UNLIMITED), Value("\"unlimited\""),
        "How many bytes a second are read from the item's files together."),
    key_of("item.container", Kind::Choice(&["none", "docker", "cri"]), Value("\"none\""),
        "Which container runtime writes the files, and wraps each line in its time and stream."),
    key_of("item.encoding", Kind::Text("name of an encoding"), Absent("none: the bytes are sent as they are"),
        "The character encoding of the files, whose lines are then sent as UTF-8."),
    key_of("item.framing", Kind::Choice(&["line", "chunk"]), Value("\"line\""),
        "What becomes one record: a line, or many whole lines."),
    key_of("item.chunk_bytes", size(1024, 65_535, &[]), Value("\"60KiB\""),
        "The largest record under `framing = \"chunk\"`."),
    key_of("item.line_bytes_max", size(16, 16 << 20, &[]), Value("\"1MB\""),
        "The longest line (or multiline event), without its terminator."),
    key_of("item.on_long_line", Kind::Choice(&["truncate", "split", "drop"]), Value("\"truncate\""),
        "What becomes of a longer one."),
    key_of("item.carriage_return", Kind::Choice(&["keep", "strip"]), Value("\"keep\""),
        "Whether a carriage return before the newline is part of the line."),
    key_of("item.flush_after", duration(Duration::from_millis(10), DAY, NEVER), Value("\"never\""),
        "How long an unfinished last line waits for its newline before it is sent as it is."),
    key_of("item.multiline.start", Kind::Text("regular expression"), Required,
        "A line that matches begins an event; lines that do not match continue it."),
    key_of("item.multiline.flush_after", duration(Duration::from_millis(10), HOUR, NEVER), Value("\"1s\""),
        "How long the last event of a file waits for more lines before it is sent."),
    key_of("item.include_lines", Kind::Texts("regular expression"), Value("[]"),
        "Only lines (or multiline events) that match one of these are sent."),
    key_of("item.exclude_lines", Kind::Texts("regular expression"), Value("[]"),
        "Lines (or multiline events) that match one of these are not sent."),
    key_of("item.format", Kind::Choice(&["raw", "ecs"]), Value("\"raw\""),
        "The record's value: the line's bytes, or a JSON document of the Elastic Common Schema."),
    key_of("item.fields", Kind::Fields, Value("{}"),
        "Fields that are added to every document."),
    key_of("item.key", Kind::Choice(&["source", "none"]), Value("\"source\""),
        "The record's key: `host:path`, or none."),
    key_of("item.headers", Kind::Flag, Value("false"),
        "Whether each record carries host, path, generation and offset as headers."),
    key_of("item.partition", count(0, 99_999, &["source", "key", "sticky"]), Value("\"source\""),
        "The partition that a record goes to."),
    key_of("item.sticky_slice", duration(MS, HOUR, &[]), Value("\"1s\""),
        "How long `partition = \"sticky\"` stays with one partition before it takes the next."),
    key_of("item.on_refused", Kind::Choice(&ON_REFUSED), Absent("`on_refused` of `[kafka]`"),
        "What becomes of a record of this item that Kafka refuses for good."),

    key_of("etcd.endpoints", STRING, Required,
        "The members of the etcd cluster to ask, as `host:port`, separated by commas."),
    key_of("etcd.prefix", STRING, Value("\"/logdrive\""),
        "What the keys of all agents begin with."),
    key_of("etcd.groups", Kind::Texts("name"), Value("[]"),
        "The groups whose items this host collects."),
    key_of("etcd.host", STRING, Absent("the host's name"),
        "The name of this host in etcd."),
    key_of("etcd.array_key", STRING, NOT_SET,
        "One more key to take items from, which holds a JSON array of `{path, topic}`."),
    key_of("etcd.allow_paths", Kind::Texts("path"), Required,
        "The directories in which items of etcd may read, with everything below them."),
    key_of("etcd.allow_topics", Kind::Texts("glob"), Required,
        "The topics that items of etcd may send to."),
    key_of("etcd.relist", duration(SECOND, DAY, &[]), Value("\"5m\""),
        "How often everything is read again, whatever the watch has told."),
    key_of("etcd.username", STRING, NOT_SET,
        "The name to log in with."),
    key_of("etcd.password_file", FILE, NOT_SET,
        "A file that holds the password."),
    key_of("etcd.password_env", STRING, NOT_SET,
        "An environment variable that holds the password."),
    key_of("etcd.tls.ca", FILE, Absent("the system's certificate authorities"),
        "The certificate authorities (PEM) that may have signed etcd's certificates."),
    key_of("etcd.tls.cert", FILE, NOT_SET,
        "The agent's own certificate (PEM), for an etcd that wants one."),
    key_of("etcd.tls.key", FILE, NOT_SET,
        "The private key (PEM) that belongs to `cert`."),
    key_of("etcd.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),

    key_of("limits.in_flight", size(8 << 20, 64 << 30, &[]), Value("\"64MiB\""),
        "The memory for everything between the files and Kafka's acknowledgement."),
    key_of("limits.open_files", count(16, 10_000_000, &["auto"]), Value("\"auto\""),
        "How many log files are open at once."),
    key_of("limits.files_max", count(1, 10_000_000, &[]), Value("100000"),
        "How many files are followed at once."),
    key_of("limits.cpu", Kind::Text("percentage of one core, or \"unlimited\""), Value("\"unlimited\""),
        "How much processor time the agent may use, as a share of one core."),
    key_of("limits.bytes_per_second", size(1000, 10_000_000_000, UNLIMITED), Value("\"unlimited\""),
        "How many bytes a second are read from all files together."),
    key_of("limits.nice", count(-20, 19, &["inherit"]), Value("\"inherit\""),
        "The niceness of the agent: the higher, the more others go first."),
    key_of("limits.io_class", Kind::Choice(&["inherit", "best-effort", "idle"]), Value("\"inherit\""),
        "The class of the agent's reads and writes for the disk's scheduler."),
    key_of("limits.io_level", count(0, 7, &[]), Value("4"),
        "The level within `io_class = \"best-effort\"`: the higher, the more others go first."),

    key_of("state.dir", FILE, Value("\"/var/lib/logdrive\""),
        "The folder that remembers how far each file is acknowledged."),
    key_of("state.on_lost", Kind::Choice(&["beginning", "end"]), Value("\"beginning\""),
        "Where to begin in files that are there when the state was lost."),

    key_of("http.listen", Kind::Text("loopback address with port, or \"off\""), Value("\"127.0.0.1:9180\""),
        "Where `/metrics`, `/healthz`, `/readyz` and `/status` are served."),

    key_of("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), Value("\"info\""),
        "How much the agent says of itself, on standard error."),
    key_of("log.format", Kind::Choice(&["text", "json", "auto"]), Value("\"text\""),
        "How the agent's own log lines look."),

    key_of("watch.reconcile", duration(Duration::from_millis(100), HOUR, &[]), Value("\"10s\""),
        "How often directories and quiet files are looked at although nothing was reported."),
    key_of("watch.config", Kind::Flag, Value("false"),
        "Whether the configuration file is read again when it changes."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_kind() {
        for key in KEYS {
            if let Value(text) = key.fallback {
                let value = toml::de::DeValue::parse(text).unwrap();
                let checked = key.kind.check(key.path, &value, &|_| super::super::problem::At::Whole);
                assert!(checked.is_ok(), "{}: {checked:?}", key.path);
            }
        }
    }

    #[test]
    fn no_path_is_there_twice_and_none_is_a_section() {
        for (index, key) in KEYS.iter().enumerate() {
            for other in &KEYS[index + 1..] {
                assert_ne!(key.path, other.path);
                assert_ne!(key.path, other.section(), "a key is no section");
                assert_ne!(key.section(), other.path, "a key is no section");
            }
        }
        for section in OPTIONAL_SECTIONS {
            assert!(KEYS.iter().any(|key| key.section() == section), "{section}");
        }
    }
}
