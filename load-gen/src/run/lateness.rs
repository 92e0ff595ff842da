//! How late lines were written.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::clamp_ns;
use crate::journal::{LATE_NS, Pace};

/// Times from due to written, in nanoseconds.
#[derive(Debug)]
pub(super) struct Lateness {
    histogram: Histogram<u64>,
    max_ns: u64,
    lines_late: u64,
    /// More than this is late.
    limit_ns: u64,
}

/// An hour; what is later is counted as that, but for the maximum.
const HIGHEST_NS: u64 = 3_600_000_000_000;

impl Lateness {
    pub(super) fn new(tick: Duration) -> Lateness {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_NS, 2).expect("the bounds are in order");
        let limit_ns = clamp_ns(tick).saturating_add(LATE_NS);
        Lateness { histogram, max_ns: 0, lines_late: 0, limit_ns }
    }

    pub(super) fn record(&mut self, lateness_ns: u64) {
        self.histogram.saturating_record(lateness_ns);
        self.max_ns = self.max_ns.max(lateness_ns);
        self.lines_late += u64::from(lateness_ns > self.limit_ns);
    }

    pub(super) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    pub(super) fn add(&mut self, other: &Lateness) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
        self.max_ns = self.max_ns.max(other.max_ns);
        self.lines_late += other.lines_late;
    }

    /// What the journal says of it.
    pub(super) fn pace(&self) -> Pace {
        let quantile = |quantile| self.histogram.value_at_quantile(quantile).min(self.max_ns);
        Pace {
            lateness_p50_ns: quantile(0.5),
            lateness_p99_ns: quantile(0.99),
            lateness_max_ns: self.max_ns,
            lines_late: self.lines_late,
            ..Pace::default()
        }
    }
}
