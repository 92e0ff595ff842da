//! What the indexer counts, as text for Prometheus. `docs/search.md` describes each metric; a test compares the two.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// From a request to its answer, and from the time of a record to its being written.
const BUCKETS_SECONDS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 600.0, 3600.0];

/// What a record was taken for.
#[derive(Clone, Eq, PartialEq, Hash, Debug, EncodeLabelSet)]
pub(super) struct Kind {
    kind: &'static str,
}

/// All metrics of one indexer.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    records: Family<Kind, Counter>,
    /// Bytes of the values of records taken.
    pub bytes: Counter,
    /// Documents written.
    pub created: Counter,
    /// Documents that were there already.
    pub known: Counter,
    /// Documents sent again.
    pub retried: Counter,
    /// Documents refused for good.
    pub refused: Counter,
    /// Refused ones that Kafka has acknowledged as dead letters.
    pub dead_letters: Counter,
    /// Batches settled.
    pub batches: Counter,
    /// Their requests, from the last attempt's first byte to the answer.
    pub request_seconds: Histogram,
    /// From the time of the oldest record of a batch to its being settled.
    pub age_seconds: Histogram,
    /// Batches on their way.
    pub batches_in_flight: Gauge,
    /// Documents on their way.
    pub documents_in_flight: Gauge,
    /// The size at which a batch is full.
    pub batch_bytes: Gauge,
    /// Partitions of ours.
    pub partitions: Gauge,
    /// 1 while reading is paused.
    pub paused: Gauge,
    /// Records behind the ends of our partitions.
    pub lag: Gauge,
    /// Partitions that came or went.
    pub partitions_moved: Counter,
    /// Commits asked for.
    pub commits: Counter,
    /// How long nothing was answered well; 0 if all is well.
    pub trouble_seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Everything at zero; `version` goes into `build_info`.
    #[must_use]
    pub fn new(version: &'static str) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("logdrive_index"),
            records: Family::default(),
            bytes: Counter::default(),
            created: Counter::default(),
            known: Counter::default(),
            retried: Counter::default(),
            refused: Counter::default(),
            dead_letters: Counter::default(),
            batches: Counter::default(),
            request_seconds: Histogram::new(BUCKETS_SECONDS),
            age_seconds: Histogram::new(BUCKETS_SECONDS),
            batches_in_flight: Gauge::default(),
            documents_in_flight: Gauge::default(),
            batch_bytes: Gauge::default(),
            partitions: Gauge::default(),
            paused: Gauge::default(),
            lag: Gauge::default(),
            partitions_moved: Counter::default(),
            commits: Counter::default(),
            trouble_seconds: Gauge::default(),
        };
        let r = &mut metrics.registry;
        r.register("build", "The version that runs", Info::new([("version", version)]));
        r.register("records", "Records taken from Kafka, by what they are", metrics.records.clone());
        r.register("bytes", "Bytes of their values", metrics.bytes.clone());
        r.register("documents_created", "Documents written", metrics.created.clone());
        r.register("documents_known", "Documents that were there already", metrics.known.clone());
        r.register("documents_retried", "Documents sent again", metrics.retried.clone());
        r.register("documents_refused", "Documents refused for good", metrics.refused.clone());
        let letters = metrics.dead_letters.clone();
        r.register("dead_letters", "Records that Kafka has acknowledged as dead letters", letters);
        r.register("batches", "Batches settled", metrics.batches.clone());
        r.register("request_seconds", "From a bulk request to its answer", metrics.request_seconds.clone());
        let age = metrics.age_seconds.clone();
        r.register("age_seconds", "From the oldest record of a batch to its end", age);
        r.register("batches_in_flight", "Batches on their way", metrics.batches_in_flight.clone());
        let documents = metrics.documents_in_flight.clone();
        r.register("documents_in_flight", "Documents on their way", documents);
        r.register("batch_bytes", "The size at which a batch is full", metrics.batch_bytes.clone());
        r.register("partitions", "Partitions of ours", metrics.partitions.clone());
        r.register("paused", "1 while reading is paused", metrics.paused.clone());
        r.register("lag_records", "Records behind the ends of our partitions", metrics.lag.clone());
        let moved = metrics.partitions_moved.clone();
        r.register("partitions_moved", "Partitions that came or went", moved);
        r.register("commits", "Commits asked for", metrics.commits.clone());
        let trouble = metrics.trouble_seconds.clone();
        r.register("trouble_seconds", "How long nothing was answered well", trouble);
        for kind in ["document", "text", "damaged", "nothing"] {
            let _exists = metrics.records.get_or_create(&Kind { kind });
        }
        metrics
    }

    /// The counter of records that are taken for something.
    #[must_use]
    pub fn records(&self, kind: &'static str) -> Counter {
        self.records.get_or_create_owned(&Kind { kind })
    }

    /// Everything, for Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_and_every_description_is_of_one() {
        let text = Metrics::new("1.0").text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let exported: Vec<String> = types
            .map(|line| {
                let (name, kind) = line.split_once(' ').expect("a name and a type");
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                let name = name.strip_suffix(suffix).unwrap_or(name);
                format!("| `{name}{suffix}` | {kind} |")
            })
            .collect();
        let page = include_str!("../../../docs/search.md");
        let rows = page.lines().filter(|line| line.starts_with("| `logdrive_index_"));
        let described: Vec<String> =
            rows.map(|row| row.splitn(4, '|').take(3).collect::<Vec<_>>().join("|") + "|").collect();
        assert_eq!(described, exported, "docs/search.md, in the order of the metrics");
    }
}
