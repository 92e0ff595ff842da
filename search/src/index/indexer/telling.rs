//! What the indexer says of itself, about twice a second.

use std::time::Instant;

use super::Indexer;
use crate::index::report::{PartitionReport, Report};

impl Indexer<'_> {
    pub(super) fn publish(&mut self, now: Instant) {
        self.published_at = Some(now);
        let partitions: Vec<PartitionReport> = self
            .ledger
            .partitions()
            .map(|partition| PartitionReport {
                topic: partition.topic.to_string(),
                partition: partition.number,
                committed: self.ledger.committed_of(partition),
                end: self.group.end_of(partition),
                in_flight: self.ledger.in_flight(partition),
            })
            .collect();
        let lag: i64 = partitions
            .iter()
            .filter_map(|partition| Some((partition.end? - partition.committed?).max(0)))
            .sum();
        let trouble = self.sender.trouble();
        let metrics = &self.window.metrics;
        metrics.batches_in_flight.set(self.in_flight.len() as i64);
        metrics
            .documents_in_flight
            .set(self.in_flight.values().map(|batch| batch.records.len() as i64).sum());
        metrics.batch_bytes.set(self.pace.bytes() as i64);
        metrics.partitions.set(partitions.len() as i64);
        metrics.paused.set(self.paused.into());
        metrics.lag.set(lag);
        let troubled_s = trouble.as_ref().map_or(0.0, |trouble| trouble.since.elapsed().as_secs_f64());
        metrics.trouble_seconds.set(troubled_s);
        let kafka_trouble = self.group.trouble();
        let reason = match (&trouble, &kafka_trouble) {
            (Some(trouble), _) => trouble.text.clone(),
            (None, Some(trouble)) => format!("Kafka: {trouble}"),
            (None, None) if !self.has_joined => "the group has not decided yet".to_owned(),
            (None, None) => String::new(),
        };
        self.window.publish(Report {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started_at.elapsed().as_secs_f64(),
            ready: reason.is_empty(),
            reason,
            group: self.plan.subscription.group.clone(),
            partitions,
            batches_in_flight: self.in_flight.len(),
            batch_bytes: self.pace.bytes(),
            paused: self.paused,
            opensearch_trouble: trouble.map(|trouble| (trouble.text, troubled_s)),
            kafka_trouble,
            dead_letters_waiting: self.in_flight.values().filter_map(|batch| batch.letters).sum(),
            last_refused: self.last_refused.clone(),
        });
    }
}
