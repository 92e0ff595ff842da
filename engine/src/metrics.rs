//! What the agent counts, and its text for Prometheus.
//!
//! The engine is the truth: its counts are published here about once a second and before each answer,
//! all at once, so that its balance holds here too, for lines and for bytes:
//!
//! ```text
//! read = acked + dead-lettered + dropped (all reasons) + replayed + in flight
//! ```
//!
//! Paths are no labels: their number has no bound. Every metric is described in `docs/metrics.md`; a
//! test compares the two.

mod item;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::kafka::Refusal;
pub use item::{DropReason, ItemMetrics};

/// A gauge in seconds.
pub type Seconds = Gauge<f64, AtomicU64>;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// 0.5 ms to 60 s; the steps are finest where the latency targets lie (5 and 10 ms).
const LATENCY_BUCKETS_SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What reading waited for, as the label `reason` of `paced_seconds` has it: the keys that set the paces.
const PACES: [&str; 3] = ["cpu", "bytes_per_second", "rate_limit"];

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct PaceLabel {
    reason: &'static str,
}

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct ItemLabel {
    item: String,
}

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct DropLabels {
    item: String,
    reason: &'static str,
}

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct RefusalLabel {
    reason: &'static str,
}

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// All metrics of one agent. Fields are moved by whoever learns of the event; a move is a relaxed atomic.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    lines_read: Family<ItemLabel, Counter>,
    bytes_read: Family<ItemLabel, Counter>,
    lines_acked: Family<ItemLabel, Counter>,
    bytes_acked: Family<ItemLabel, Counter>,
    lines_dead_lettered: Family<ItemLabel, Counter>,
    bytes_dead_lettered: Family<ItemLabel, Counter>,
    lines_dropped: Family<DropLabels, Counter>,
    bytes_dropped: Family<DropLabels, Counter>,
    lines_replayed: Family<ItemLabel, Counter>,
    bytes_replayed: Family<ItemLabel, Counter>,
    lines_truncated: Family<ItemLabel, Counter>,
    lines_damaged: Family<ItemLabel, Counter>,
    characters_replaced: Family<ItemLabel, Counter>,
    bytes_gone: Family<ItemLabel, Counter>,
    file_errors: Family<OperationLabel, Counter>,
    config_reloads: Family<ResultLabel, Counter>,
    paced_seconds: Family<PaceLabel, Counter<f64, AtomicU64>>,
    records_refused: Family<RefusalLabel, Counter>,
    /// Records that were refused for their size and sent cut.
    pub records_cut: Counter,
    /// Refused records that wait until they can be kept or sent cut.
    pub refused_waiting: Gauge,
    /// Lines read and not settled yet.
    pub in_flight_lines: Gauge,
    /// Bytes of those lines.
    pub in_flight_bytes: Gauge,
    /// Batches given to the Kafka client.
    pub batches_sent: Counter,
    /// Batches that came back neither acknowledged nor refused; their lines are read and sent again.
    pub batches_lost: Counter,
    /// Bytes of unfinished lines and events that were fetched again with their rest.
    pub reread_bytes: Counter,
    /// Kafka clients that stopped delivering and were replaced.
    pub producer_rebuilds: Counter,
    /// Positions written to the state.
    pub checkpoint_writes: Counter,
    /// Failures of the state, each counted when it is reported.
    pub checkpoint_errors: Counter,
    /// Files that got another name.
    pub rotations: Counter,
    /// Files that began anew from their first byte.
    pub truncations: Counter,
    /// Sum of size minus acknowledged position over all files.
    pub file_lag_bytes: Gauge,
    /// Files held open.
    pub files_open: Gauge,
    /// Files that match an item.
    pub files_known: Gauge,
    /// Memory of the read buffers.
    pub buffers_allocated_bytes: Gauge,
    /// Messages in the queues of the Kafka client.
    pub kafka_queue_messages: Gauge,
    /// Age of the oldest line that was read and is not acknowledged; 0 if there is none.
    pub oldest_unacked_seconds: Seconds,
    /// Time since everything acknowledged was durable.
    pub checkpoint_age_seconds: Seconds,
    /// From the read of a batch to its acknowledgement; each batch counts once.
    pub read_to_ack_seconds: Histogram,
    /// 1 while etcd answers.
    pub etcd_connected: Gauge,
    /// The revision of etcd whose items are in force.
    pub etcd_applied_revision: Gauge,
    /// Items of etcd in force.
    pub etcd_items: Gauge,
    /// What etcd wants and does not get.
    pub etcd_items_refused: Gauge,
    /// 1 while items are in force that etcd has lost.
    pub etcd_holding: Gauge,
    /// Connections to etcd that came about.
    pub etcd_connects: Counter,
    /// Times that everything was listed.
    pub etcd_lists: Counter,
    /// Times that the state of this agent was written to etcd.
    pub etcd_status_writes: Counter,
}

impl Metrics {
    /// Everything at zero; `version` goes into `build_info`.
    #[must_use]
    pub fn new(version: &'static str) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("logdrive"),
            lines_read: Family::default(),
            bytes_read: Family::default(),
            lines_acked: Family::default(),
            bytes_acked: Family::default(),
            lines_dead_lettered: Family::default(),
            bytes_dead_lettered: Family::default(),
            lines_dropped: Family::default(),
            bytes_dropped: Family::default(),
            lines_replayed: Family::default(),
            bytes_replayed: Family::default(),
            lines_truncated: Family::default(),
            lines_damaged: Family::default(),
            characters_replaced: Family::default(),
            bytes_gone: Family::default(),
            in_flight_lines: Gauge::default(),
            in_flight_bytes: Gauge::default(),
            file_errors: Family::default(),
            config_reloads: Family::default(),
            paced_seconds: Family::default(),
            records_refused: Family::default(),
            records_cut: Counter::default(),
            refused_waiting: Gauge::default(),
            batches_sent: Counter::default(),
            batches_lost: Counter::default(),
            reread_bytes: Counter::default(),
            producer_rebuilds: Counter::default(),
            checkpoint_writes: Counter::default(),
            checkpoint_errors: Counter::default(),
            rotations: Counter::default(),
            truncations: Counter::default(),
            file_lag_bytes: Gauge::default(),
            files_open: Gauge::default(),
            files_known: Gauge::default(),
            buffers_allocated_bytes: Gauge::default(),
            kafka_queue_messages: Gauge::default(),
            oldest_unacked_seconds: Seconds::default(),
            checkpoint_age_seconds: Seconds::default(),
            read_to_ack_seconds: Histogram::new(LATENCY_BUCKETS_SECONDS),
            etcd_connected: Gauge::default(),
            etcd_applied_revision: Gauge::default(),
            etcd_items: Gauge::default(),
            etcd_items_refused: Gauge::default(),
            etcd_holding: Gauge::default(),
            etcd_connects: Counter::default(),
            etcd_lists: Counter::default(),
            etcd_status_writes: Counter::default(),
        };
        metrics.register(version);
        metrics
    }

    /// One line for each metric; the registry adds the prefix, and `_total` to counters.
    fn register(&mut self, version: &'static str) {
        let r = &mut self.registry;
        r.register("build", "The version that runs", Info::new([("version", version)]));
        r.register("lines_read", "Lines read from files", self.lines_read.clone());
        r.register("bytes_read", "Bytes of those lines, terminators included", self.bytes_read.clone());
        r.register("lines_acked", "Lines that Kafka has acknowledged", self.lines_acked.clone());
        r.register("bytes_acked", "Bytes of those lines, terminators included", self.bytes_acked.clone());
        let lines = self.lines_dead_lettered.clone();
        r.register("lines_dead_lettered", "Lines that Kafka refused and that are kept elsewhere", lines);
        let bytes = self.bytes_dead_lettered.clone();
        r.register("bytes_dead_lettered", "Bytes of those lines, terminators included", bytes);
        r.register("lines_dropped", "Lines not sent, or not whole, by reason", self.lines_dropped.clone());
        r.register("bytes_dropped", "Bytes not sent, by reason", self.bytes_dropped.clone());
        r.register("lines_replayed", "Lines lost or given up, and read again", self.lines_replayed.clone());
        r.register("bytes_replayed", "Bytes of those lines", self.bytes_replayed.clone());
        r.register("lines_truncated", "Long lines sent without their end", self.lines_truncated.clone());
        let damaged = self.lines_damaged.clone();
        r.register("lines_damaged", "Lines no container runtime writes, sent as they are", damaged);
        let replaced = self.characters_replaced.clone();
        r.register("characters_replaced", "Bytes of no character of the encoding, sent as U+FFFD", replaced);
        r.register("bytes_gone", "Bytes never read: their file went first", self.bytes_gone.clone());
        r.register("in_flight_lines", "Lines read and not settled yet", self.in_flight_lines.clone());
        r.register("in_flight_bytes", "Bytes of those lines", self.in_flight_bytes.clone());
        r.register("file_errors", "Operations on files that failed", self.file_errors.clone());
        r.register("config_reloads", "Attempts to reload the configuration", self.config_reloads.clone());
        r.register("paced_seconds", "Time in which reading waited for a limit", self.paced_seconds.clone());
        let refused = self.records_refused.clone();
        r.register("records_refused", "Records that Kafka refused for good, by reason", refused);
        r.register("records_cut", "Records refused for their size and sent cut", self.records_cut.clone());
        let waiting = self.refused_waiting.clone();
        r.register("refused_waiting", "Refused records that cannot be kept or sent cut yet", waiting);
        r.register("batches_sent", "Batches given to the Kafka client", self.batches_sent.clone());
        r.register("batches_lost", "Batches to be read and sent again", self.batches_lost.clone());
        r.register("reread_bytes", "Bytes of unfinished lines fetched again", self.reread_bytes.clone());
        r.register("producer_rebuilds", "Kafka clients replaced", self.producer_rebuilds.clone());
        r.register("checkpoint_writes", "Positions written to the state", self.checkpoint_writes.clone());
        r.register("checkpoint_errors", "Failures of the state", self.checkpoint_errors.clone());
        r.register("rotations", "Files that got another name", self.rotations.clone());
        r.register("truncations", "Files that began anew", self.truncations.clone());
        r.register("file_lag_bytes", "Bytes in files not acknowledged yet", self.file_lag_bytes.clone());
        r.register("files_open", "Files held open", self.files_open.clone());
        r.register("files_known", "Files that match an item", self.files_known.clone());
        let buffers = self.buffers_allocated_bytes.clone();
        r.register("buffers_allocated_bytes", "Memory of the read buffers", buffers);
        let queue = self.kafka_queue_messages.clone();
        r.register("kafka_queue_messages", "Messages queued in the Kafka client", queue);
        let oldest = self.oldest_unacked_seconds.clone();
        r.register("oldest_unacked_seconds", "Age of the oldest line in flight", oldest);
        let age = self.checkpoint_age_seconds.clone();
        r.register("checkpoint_age_seconds", "Time since all positions were durable", age);
        let read_to_ack = self.read_to_ack_seconds.clone();
        r.register("read_to_ack_seconds", "From the read of a batch to its acknowledgement", read_to_ack);
        self.register_etcd();
    }

    fn register_etcd(&mut self) {
        let r = &mut self.registry;
        r.register("etcd_connected", "1 while etcd answers", self.etcd_connected.clone());
        let revision = self.etcd_applied_revision.clone();
        r.register("etcd_applied_revision", "The revision whose items are in force", revision);
        r.register("etcd_items", "Items of etcd in force", self.etcd_items.clone());
        let refused = self.etcd_items_refused.clone();
        r.register("etcd_items_refused", "What etcd wants and does not get", refused);
        r.register(
            "etcd_holding",
            "1 while items are in force that etcd has lost",
            self.etcd_holding.clone(),
        );
        r.register("etcd_connects", "Connections to etcd that came about", self.etcd_connects.clone());
        r.register("etcd_lists", "Times that everything was listed", self.etcd_lists.clone());
        let writes = self.etcd_status_writes.clone();
        r.register("etcd_status_writes", "Times that the state of this agent was written", writes);
    }

    /// The handles of one item; all its series exist from then on.
    #[must_use]
    pub fn item(&self, name: &str) -> ItemMetrics {
        let label = ItemLabel { item: name.to_owned() };
        let dropped = |family: &Family<DropLabels, Counter>| {
            DropReason::ALL.map(|reason| {
                let labels = DropLabels { item: name.to_owned(), reason: reason.label() };
                family.get_or_create_owned(&labels)
            })
        };
        ItemMetrics {
            lines_read: self.lines_read.get_or_create_owned(&label),
            bytes_read: self.bytes_read.get_or_create_owned(&label),
            lines_acked: self.lines_acked.get_or_create_owned(&label),
            bytes_acked: self.bytes_acked.get_or_create_owned(&label),
            lines_dead_lettered: self.lines_dead_lettered.get_or_create_owned(&label),
            bytes_dead_lettered: self.bytes_dead_lettered.get_or_create_owned(&label),
            lines_dropped: dropped(&self.lines_dropped),
            bytes_dropped: dropped(&self.bytes_dropped),
            lines_replayed: self.lines_replayed.get_or_create_owned(&label),
            bytes_replayed: self.bytes_replayed.get_or_create_owned(&label),
            lines_truncated: self.lines_truncated.get_or_create_owned(&label),
            lines_damaged: self.lines_damaged.get_or_create_owned(&label),
            characters_replaced: self.characters_replaced.get_or_create_owned(&label),
            bytes_gone: self.bytes_gone.get_or_create_owned(&label),
        }
    }

    /// Counts a failed operation on a file (`open`, `read`, `list`, ...).
    pub fn file_error(&self, operation: &'static str) {
        self.file_errors.get_or_create(&OperationLabel { operation }).inc();
    }

    /// Adds what was refused for good since the last look.
    pub fn refused(&self, refusal: Refusal, records: u64) {
        self.records_refused.get_or_create(&RefusalLabel { reason: refusal.label() }).inc_by(records);
    }

    /// Counts an attempt to reload the configuration.
    pub fn config_reload(&self, accepted: bool) {
        let result = if accepted { "accepted" } else { "refused" };
        self.config_reloads.get_or_create(&ResultLabel { result }).inc();
    }

    /// Adds how long reading waited between two looks: for the share of the processor, the pace of all items, and
    /// those of single ones.
    pub fn publish_paced(&self, before: [Duration; 3], now: [Duration; 3]) {
        for ((reason, before), now) in PACES.into_iter().zip(before).zip(now) {
            let waited = now.saturating_sub(before).as_secs_f64();
            self.paced_seconds.get_or_create(&PaceLabel { reason }).inc_by(waited);
        }
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use logdrive_core::engine::{Amount, ItemCounts};

    use super::*;

    /// An agent in which everything that can have labels has some.
    fn used() -> Metrics {
        let metrics = Metrics::new("1.2.3");
        let amount = |lines, bytes| Amount { lines, bytes };
        let first = ItemCounts { read: amount(6, 600), in_flight: amount(6, 600), ..ItemCounts::default() };
        let then = ItemCounts {
            read: amount(18, 1800),
            acked: amount(5, 500),
            diverted: amount(1, 100),
            filtered: amount(2, 150),
            long: amount(0, 50),
            refused: amount(1, 100),
            vanished: amount(2, 200),
            replayed: amount(4, 400),
            in_flight: amount(3, 300),
            lines_truncated: 1,
            lines_damaged: 1,
            characters_replaced: 1,
            bytes_gone: 9,
            ..ItemCounts::default()
        };
        metrics.publish_paced([Duration::ZERO; 3], [Duration::from_millis(1500); 3]);
        let web = metrics.item("web");
        web.publish(&ItemCounts::default(), &first);
        web.publish(&first, &then);
        metrics.in_flight_lines.set(3);
        metrics.in_flight_bytes.set(300);
        metrics.item("db").publish(&then, &then);
        metrics.file_error("open");
        metrics.config_reload(true);
        metrics.refused(Refusal::TooLarge, 2);
        metrics.read_to_ack_seconds.observe(0.004);
        metrics
    }

    /// The sum of a metric over all its labels.
    fn sum(text: &str, name: &str) -> i64 {
        let sample = |line: &str| {
            let (key, value) = line.rsplit_once(' ')?;
            let bare = key.split_once('{').map_or(key, |(bare, _)| bare);
            if bare == format!("logdrive_{name}") { value.parse::<i64>().ok() } else { None }
        };
        text.lines().filter_map(sample).sum()
    }

    /// Name -> (type, labels), from the text.
    fn exported(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let mut found = BTreeMap::new();
        let mut family = (String::new(), String::new());
        for line in text.lines() {
            if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                family = (format!("{name}{suffix}"), kind.to_owned());
            } else if !line.starts_with('#') {
                let keys = line.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
                let keys = keys.map_or("", |(labels, _)| labels).split(',').filter(|label| !label.is_empty());
                let keys = keys.map(|label| label.split_once('=').unwrap().0).filter(|&key| key != "le");
                let entry = found.entry(family.0.clone());
                let entry = entry.or_insert_with(|| (family.1.clone(), BTreeSet::new()));
                entry.1.extend(keys.map(str::to_owned));
            }
        }
        found
    }

    #[test]
    fn read_is_acked_and_dropped_and_replayed_and_in_flight() {
        let text = used().text();
        for unit in ["lines", "bytes"] {
            let of = |what: &str| sum(&text, &format!("{unit}_{what}_total"));
            let in_flight = sum(&text, &format!("in_flight_{unit}"));
            assert!(in_flight > 0);
            let ended = of("acked") + of("dead_lettered") + of("dropped") + of("replayed");
            assert_eq!(of("read"), ended + in_flight, "{unit}");
        }
        for (reason, lines) in DropReason::ALL.iter().zip([2, 0, 1, 2]) {
            let label = reason.label();
            let sample = format!("lines_dropped_total{{item=\"web\",reason=\"{label}\"}} {lines}\n");
            assert!(text.contains(&sample), "{sample}{text}");
        }
        assert!(text.contains("logdrive_bytes_gone_total{item=\"web\"} 9\n"), "{text}");
        assert!(text.contains("logdrive_build_info{version=\"1.2.3\"} 1\n"), "{text}");
        assert!(text.contains("logdrive_read_to_ack_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
    }

    #[test]
    fn the_name_of_an_item_cannot_break_the_text() {
        let metrics = Metrics::new("1");
        let _item = metrics.item("a\"} 1\nlogdrive_x{b=\"\\");
        assert!(!metrics.text().lines().any(|line| line.starts_with("logdrive_x")), "{}", metrics.text());
    }

    #[test]
    fn docs_and_code_name_the_same_metrics_with_the_same_types_and_labels() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| `logdrive_"));
        let documented: BTreeMap<_, _> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`'));
                let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
                (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
            })
            .collect();
        let exported = exported(&used().text());
        assert_eq!(documented, exported);
        assert_eq!(documented.len(), 47);
        for refusal in Refusal::ALL {
            assert!(page.contains(&format!("`{}`", refusal.label())));
        }
        for reason in DropReason::ALL {
            assert!(page.contains(&format!("`{}`", reason.label())));
        }
    }
}
