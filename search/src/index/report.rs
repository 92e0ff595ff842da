//! What the indexer says of itself when asked: `/metrics`, `/readyz`, `/status`, as the agent does.
//!
//! The indexer publishes a report about once a second; whoever asks is shown the last one, and costs it nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use logdrive::http::{Made, View};
use logdrive::status::Readiness;
use serde::Serialize;

use super::metrics::Metrics;

/// The answer of `/status`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// The version that runs.
    pub(super) version: &'static str,
    /// Its process.
    pub(super) pid: u32,
    /// Seconds since the start.
    pub(super) uptime_seconds: f64,
    /// As `/readyz` answers.
    pub(super) ready: bool,
    /// Why it is not ready; empty if it is.
    pub(super) reason: String,
    /// The consumer group.
    pub(super) group: String,
    /// The partitions that are ours now.
    pub(super) partitions: Vec<PartitionReport>,
    /// Batches on their way.
    pub(super) batches_in_flight: usize,
    /// The size at which a batch is full.
    pub(super) batch_bytes: usize,
    /// Whether reading waits for OpenSearch.
    pub(super) paused: bool,
    /// What stands between us and OpenSearch, and for how many seconds; `None` if nothing does.
    pub(super) opensearch_trouble: Option<(String, f64)>,
    /// The last complaint about Kafka, unless records have come since.
    pub(super) kafka_trouble: Option<String>,
    /// Refused records whose dead letter is not acknowledged yet.
    pub(super) dead_letters_waiting: usize,
    /// The last record that the index refused, and why.
    pub(super) last_refused: Option<String>,
}

/// One partition of ours.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PartitionReport {
    /// Its topic.
    pub(super) topic: String,
    /// Which one of it.
    pub(super) partition: i32,
    /// The offset of the next record, as we have told the group; `None`: nothing yet.
    pub(super) committed: Option<i64>,
    /// Its end, as known a few seconds ago.
    pub(super) end: Option<i64>,
    /// Batches on their way.
    pub(super) in_flight: usize,
}

/// What is shown.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The counts.
    pub(super) metrics: Arc<Metrics>,
    /// The last report.
    pub(super) report: Arc<Mutex<Report>>,
}

impl Window {
    /// Shows another report from now on.
    pub(super) fn publish(&self, report: Report) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl View for Window {
    async fn metrics(&self) -> Option<Made> {
        Some(Made { code: StatusCode::OK, body: self.metrics.text().into(), took: Duration::ZERO })
    }

    async fn readiness(&self) -> Option<Made> {
        let Report { ready, reason, .. } = self.report();
        Some(Made::readiness(&Readiness { ready, reason }, Duration::ZERO))
    }

    async fn status(&self) -> Option<Made> {
        Some(Made::json(&self.report(), Duration::ZERO))
    }
}
