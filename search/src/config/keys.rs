//! The table of every key: path, kind, default, meaning. A test holds `docs/search.md` against it.

use std::time::Duration;

use logdrive::config::Kind;
use logdrive::config::keys::{Fallback, Key, KeyTable, key_of};

use Fallback::{Absent, Required, Value};

const STRING: Kind = Kind::Text("string");
const FILE: Kind = Kind::Text("absolute path");
const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const NOT_SET: Fallback = Absent("not set");

const fn count(min: i64, max: i64, or: &'static [&'static str]) -> Kind {
    Kind::Count { min, max, or }
}

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, or: &[] }
}

/// All keys.
pub static TABLE: KeyTable = KeyTable {
    keys: KEYS,
    optional_sections: &["kafka.tls", "kafka.sasl", "opensearch.tls", "serve.tls", "etcd", "etcd.tls"],
    array: None,
};

/// Every key, in the order of the reference.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    key_of("shutdown_timeout", duration(Duration::ZERO, HOUR), Value("\"10s\""),
        "How long a stop waits for what is on its way."),

    key_of("kafka.brokers", STRING, Required,
        "The brokers to ask first, as `host:port`, separated by commas."),
    key_of("kafka.client_id", STRING, Value("\"logdrive-search\""),
        "The name under which brokers know this process: in their logs, metrics and quotas."),
    key_of("kafka.tls.ca", FILE, Absent("the system's certificate authorities"),
        "The certificate authorities (PEM) that may have signed the brokers' certificates."),
    key_of("kafka.tls.cert", FILE, NOT_SET,
        "Our own certificate (PEM), for brokers that want one."),
    key_of("kafka.tls.key", FILE, NOT_SET,
        "The private key (PEM) that belongs to `cert`."),
    key_of("kafka.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),
    key_of("kafka.sasl.mechanism", Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), Required,
        "How we prove who we are."),
    key_of("kafka.sasl.username", STRING, Required,
        "The name to log in with."),
    key_of("kafka.sasl.password_file", FILE, NOT_SET,
        "A file that holds the password."),
    key_of("kafka.sasl.password_env", STRING, NOT_SET,
        "An environment variable that holds the password."),
    key_of("kafka.options", Kind::Options, Value("{}"),
        "Any other property of librdkafka."),

    key_of("opensearch.urls", Kind::Texts("URL"), Required,
        "The servers to ask in turn, as `http://host:port` or `https://host:port`."),
    key_of("opensearch.username", STRING, NOT_SET,
        "The name to log in with."),
    key_of("opensearch.password_file", FILE, NOT_SET,
        "A file that holds the password."),
    key_of("opensearch.password_env", STRING, NOT_SET,
        "An environment variable that holds the password."),
    key_of("opensearch.api_key_file", FILE, NOT_SET,
        "A file that holds an API key of Elasticsearch in its encoded form, instead of name and password."),
    key_of("opensearch.timeout", duration(Duration::from_secs(1), HOUR), Value("\"60s\""),
        "How long an answer is waited for; then the request is sent again."),
    key_of("opensearch.tls.ca", FILE, Absent("the system's certificate authorities"),
        "The certificate authorities (PEM) that may have signed the servers' certificates."),
    key_of("opensearch.tls.cert", FILE, NOT_SET,
        "Our own certificate (PEM), for servers that want one."),
    key_of("opensearch.tls.key", FILE, NOT_SET,
        "The private key (PEM) that belongs to `cert`."),
    key_of("opensearch.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),

    key_of("index.topics", Kind::Texts("topic"), Required,
        "The topics to index; one that begins with `^` is a pattern."),
    key_of("index.group", STRING, Value("\"logdrive-index\""),
        "The consumer group; its members share the partitions."),
    key_of("index.read_from", Kind::Choice(&["beginning", "end"]), Value("\"beginning\""),
        "Where to begin in a partition of which the group knows nothing."),
    key_of("index.dead_letter_topic", STRING, Required,
        "The topic for records that the index refuses for good."),
    key_of("index.prefix", STRING, Value("\"logdrive\""),
        "What the names of the daily indexes begin with: `<prefix>-2026.01.02`."),
    key_of("index.time_zone", STRING, Value("\"UTC\""),
        "The zone of lines whose times name none, as `Europe/Berlin`; the same for all members of a group."),
    key_of("index.template", Kind::Flag, Value("true"),
        "Whether the index template is put at start."),
    key_of("index.shards", count(1, 1024, &["cluster"]), Value("\"cluster\""),
        "Primary shards of an index."),
    key_of("index.replicas", count(0, 100, &["cluster"]), Value("\"cluster\""),
        "Copies of each of them."),
    key_of("index.requests", count(1, 64, &[]), Value("2"),
        "How many bulk requests are on their way at the same time."),
    key_of("index.batch_bytes_max", Kind::Size { min: 16 << 10, max: 64 << 20, or: &[] }, Value("\"4MiB\""),
        "The largest bulk request; how large they are below it follows from how quickly they are answered."),
    key_of("index.linger", duration(MS, Duration::from_secs(60)), Value("\"200ms\""),
        "How long a record may wait for company."),

    key_of("serve.listen", Kind::Text("address with port"), Value("\"127.0.0.1:9182\""),
        "Where the page is served; on an address that other hosts reach only with `[serve.tls]` and a login."),
    key_of("serve.hosts", Kind::Texts("name"), Value("[]"),
        "Names under which browsers find the page; an address and `localhost` need none."),
    key_of("serve.username", STRING, NOT_SET,
        "The name that browsers ask for."),
    key_of("serve.password_file", FILE, NOT_SET,
        "A file that holds its password."),
    key_of("serve.password_env", STRING, NOT_SET,
        "An environment variable that holds its password."),
    key_of("serve.token_file", FILE, NOT_SET,
        "A file that holds a token: a bearer token for programs, for browsers the password of the name `token`."),
    key_of("serve.topics", Kind::Texts("topic"), Absent("`topics` of `[index]`"),
        "The topics whose lines are shown live; one that begins with `^` is a pattern."),
    key_of("serve.timeout", duration(Duration::from_millis(100), Duration::from_secs(600)), Value("\"10s\""),
        "How long a search may take; then what is found so far is shown, with a word that it is not all."),
    key_of("serve.export_lines_max", count(1, 10_000_000, &[]), Value("100000"),
        "How many lines an export has at most."),
    key_of("serve.tls.cert", FILE, Required,
        "The server's certificate (PEM), with those between it and its authority."),
    key_of("serve.tls.key", FILE, Required,
        "The private key (PEM) that belongs to `cert`."),
    key_of("serve.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),

    key_of("etcd.endpoints", STRING, Required,
        "The members of the etcd cluster to ask, as `host:port`, separated by commas."),
    key_of("etcd.prefix", STRING, Value("\"/logdrive\""),
        "What all keys begin with."),
    key_of("etcd.username", STRING, NOT_SET,
        "The name to log in with."),
    key_of("etcd.password_file", FILE, NOT_SET,
        "A file that holds the password."),
    key_of("etcd.password_env", STRING, NOT_SET,
        "An environment variable that holds the password."),
    key_of("etcd.tls.ca", FILE, Absent("the system's certificate authorities"),
        "The certificate authorities (PEM) that may have signed etcd's certificates."),
    key_of("etcd.tls.cert", FILE, NOT_SET,
        "Our own certificate (PEM), for an etcd that wants one."),
    key_of("etcd.tls.key", FILE, NOT_SET,
        "The private key (PEM) that belongs to `cert`."),
    key_of("etcd.tls.key_password_file", FILE, NOT_SET,
        "A file that holds the password of `key`, if it is encrypted."),

    key_of("http.listen", Kind::Text("loopback address with port, or \"off\""), Value("\"127.0.0.1:9181\""),
        "Where `/metrics`, `/healthz`, `/readyz` and `/status` are served."),

    key_of("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), Value("\"info\""),
        "How much is said on standard error."),
    key_of("log.format", Kind::Choice(&["text", "json", "auto"]), Value("\"text\""),
        "How log lines look."),
];
