//! How late lines were: histograms of their latencies, second by second, and what is read from them.
//!
//! Latency is this host's clock when the consumer hands the line over, minus the time at which the line
//! was due; only a line's first sight counts. It knows neither Kafka nor threads: see [`crate::receiver`].

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use logdrive_bench::consume::AppendedMs;
use serde::Serialize;

use crate::report::write_whole;
use crate::stages::Part;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The broker keeps the millisecond that had begun when it appended; its middle is the best guess.
const HALF_MS_NS: u64 = 500_000;

/// Points of the percentile curve for each halving of the lines beyond.
const CURVE_POINTS_PER_HALVING: u32 = 5;

/// Latencies of the lines that were due within a window, one histogram for each second of it. Noting a line
/// takes no lock and does no work but counting, so it never holds up the consumer.
pub(crate) struct Recorder {
    window: Range<u64>,
    seconds: Vec<Histogram<u64>>,
    /// Lines that arrived in each second of the window, whenever they were due.
    arrived: Vec<u64>,
    /// Lines that were due before the window, and lines that arrived before it.
    due_before: u64,
    arrived_before: u64,
    /// From the time a line was due to its append by the broker, and from there to the consumer.
    due_to_appended: Histogram<u64>,
    appended_to_consumed: Histogram<u64>,
}

/// What was counted for one second of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecordedSecond {
    /// Lines that were due in it.
    pub(crate) due_lines: u64,
    /// Lines that arrived in it.
    pub(crate) arrived_lines: u64,
    /// Lines that were due at its end and had not arrived; those that never did are not counted.
    pub(crate) lag_lines: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Latency in milliseconds at the usual quantiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) lines: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p99_9_ms: f64,
    pub(crate) max_ms: f64,
}

impl Recorder {
    /// A recorder of the lines due in `window`, nanoseconds since the epoch, end excluded.
    pub(crate) fn new(window: Range<u64>) -> Recorder {
        let seconds = window.end.saturating_sub(window.start).div_ceil(SECOND_NS);
        Recorder {
            window,
            seconds: (0..seconds).map(|_| histogram()).collect(),
            arrived: vec![0; seconds as usize],
            due_before: 0,
            arrived_before: 0,
            due_to_appended: histogram(),
            appended_to_consumed: histogram(),
        }
    }

    /// Notes a line; the latency of one that was due outside the window is not counted.
    pub(crate) fn record(&mut self, intended_ns: u64, appended_ms: Option<AppendedMs>, received_ns: u64) {
        if let Some(second) = self.second(intended_ns) {
            self.seconds[second] += received_ns.saturating_sub(intended_ns);
            if let Some(appended_ms) = appended_ms {
                let appended_ns = appended_ms * 1_000_000 + HALF_MS_NS;
                self.due_to_appended += appended_ns.saturating_sub(intended_ns);
                self.appended_to_consumed += received_ns.saturating_sub(appended_ns);
            }
        }
        self.due_before += u64::from(intended_ns < self.window.start);
        match self.second(received_ns) {
            Some(second) => self.arrived[second] += 1,
            None => self.arrived_before += u64::from(received_ns < self.window.start),
        }
    }

    /// Lines that arrived within the window, whenever they were due.
    pub(crate) fn arrived_lines(&self) -> u64 {
        self.arrived.iter().sum()
    }

    fn second(&self, at_ns: u64) -> Option<usize> {
        self.window.contains(&at_ns).then(|| ((at_ns - self.window.start) / SECOND_NS) as usize)
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let whole = self.whole();
        Quantiles {
            lines: whole.len(),
            p50_ms: ms(whole.value_at_quantile(0.5)),
            p90_ms: ms(whole.value_at_quantile(0.9)),
            p99_ms: ms(whole.value_at_quantile(0.99)),
            p99_9_ms: ms(whole.value_at_quantile(0.999)),
            max_ms: ms(whole.max()),
        }
    }

    /// The curve of percentiles, for a logarithmic axis: the share of lines that take no longer, and how long.
    /// As many points as there are halvings of the lines beyond, several in each.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let whole = self.whole();
        let points = whole.iter_quantiles(CURVE_POINTS_PER_HALVING);
        points.map(|point| (point.quantile_iterated_to(), ms(point.value_iterated_to()))).collect()
    }

    /// The window second by second.
    pub(crate) fn seconds(&self) -> Vec<RecordedSecond> {
        let (mut due, mut arrived) = (self.due_before, self.arrived_before);
        let counted = self.seconds.iter().zip(&self.arrived).map(|(second, &arrived_lines)| {
            due += second.len();
            arrived += arrived_lines;
            RecordedSecond {
                due_lines: second.len(),
                arrived_lines,
                lag_lines: due.saturating_sub(arrived),
                p50_ms: ms(second.value_at_quantile(0.5)),
                p99_ms: ms(second.value_at_quantile(0.99)),
                max_ms: ms(second.max()),
            }
        });
        counted.collect()
    }

    /// From due to appended by the broker, and from there to the consumer, where the broker's time is known.
    pub(crate) fn parts(&self) -> Option<(Part, Part)> {
        let part = |histogram: &Histogram<u64>| Part {
            mean: histogram.mean() / 1e6,
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            max: ms(histogram.max()),
        };
        let known = !self.due_to_appended.is_empty();
        known.then(|| (part(&self.due_to_appended), part(&self.appended_to_consumed)))
    }

    fn whole(&self) -> Histogram<u64> {
        let mut whole = histogram();
        for second in &self.seconds {
            whole.add(second).expect("a histogram that grows takes any other");
        }
        whole
    }

    /// Writes an interval log of HdrHistogram: nanoseconds, one interval per second of the window.
    pub(crate) fn write_log(&self, path: &Path, tag: &str) -> Result<()> {
        let mut text = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("from intended write to consumption; nanoseconds, maxima in milliseconds")
            .with_start_time(UNIX_EPOCH + Duration::from_nanos(self.window.start))
            .with_max_value_divisor(1e6)
            .begin_log_with(&mut text, &mut serializer)?;
        for (index, second) in self.seconds.iter().enumerate() {
            let start = Duration::from_secs(index as u64);
            log.write_histogram(second, start, Duration::from_secs(1), Tag::new(tag))
                .map_err(|error| anyhow!("cannot write the interval log: {error:?}"))?;
        }
        write_whole(path, &text)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a legal precision")
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_due_within_the_window_count() {
        let mut recorder = Recorder::new(1000..2000);
        for intended_ns in [999, 1000, 1999, 2000] {
            recorder.record(intended_ns, None, intended_ns + 5_000_000);
        }
        let quantiles = recorder.quantiles();
        assert_eq!(quantiles.lines, 2);
        assert!((quantiles.p50_ms - 5.0).abs() < 0.01, "{quantiles:?}");
    }

    #[test]
    fn a_stall_counts_for_every_line_that_was_due_in_it() {
        // 1,000 lines a second for ten seconds; whoever ships them stands still for the first of them.
        let mut recorder = Recorder::new(0..10 * SECOND_NS);
        for line in 0..10_000 {
            let intended_ns = line * 1_000_000;
            recorder.record(intended_ns, None, intended_ns.max(SECOND_NS));
        }
        let quantiles = recorder.quantiles();
        assert_eq!(quantiles.lines, 10_000);
        assert_eq!(quantiles.p50_ms, 0.0);
        assert!((quantiles.p99_ms - 900.0).abs() < 2.0, "{quantiles:?}");
        assert!((quantiles.max_ms - 1000.0).abs() < 1.0, "{quantiles:?}");
    }

    #[test]
    fn lines_that_arrive_within_the_window_are_counted_whenever_they_were_due() {
        let mut recorder = Recorder::new(1000..2000);
        for (intended_ns, received_ns) in [(900, 999), (900, 1000), (1500, 1999), (1500, 2000)] {
            recorder.record(intended_ns, None, received_ns);
        }
        assert_eq!((recorder.arrived_lines(), recorder.quantiles().lines), (2, 2));
    }

    #[test]
    fn the_lag_of_a_second_is_what_was_due_and_had_not_arrived() {
        let mut recorder = Recorder::new(SECOND_NS..3 * SECOND_NS);
        let arrivals = [(0.5, 0.6), (0.9, 1.2), (1.5, 1.9), (1.6, 2.5), (2.5, 3.5)];
        for (due_s, arrived_s) in arrivals.map(|(due, arrived)| (due * 1e9, arrived * 1e9)) {
            recorder.record(due_s as u64, None, arrived_s as u64);
        }
        let seconds = recorder.seconds();
        let counts = |at: usize| (seconds[at].due_lines, seconds[at].arrived_lines, seconds[at].lag_lines);
        assert_eq!((counts(0), counts(1)), ((2, 2, 1), (1, 1, 1)));
    }

    #[test]
    fn the_brokers_time_cuts_the_way_in_two() {
        let mut recorder = Recorder::new(0..SECOND_NS);
        assert_eq!(recorder.parts(), None);
        recorder.record(2_000_000, Some(7), 9_500_000);
        let (agent, consumer) = recorder.parts().unwrap();
        assert!(
            (agent.mean - 5.5).abs() < 0.01 && (consumer.mean - 2.0).abs() < 0.01,
            "{agent:?} {consumer:?}"
        );
    }

    #[test]
    fn the_curve_rises_to_the_maximum() {
        let mut recorder = Recorder::new(0..SECOND_NS);
        (0..1000).for_each(|line| recorder.record(line, None, line + line * 1_000_000));
        let curve = recorder.curve();
        assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]), "{curve:?}");
        let (last, max_ms) = *curve.last().unwrap();
        assert!(last == 1.0 && (max_ms - 999.0).abs() < 1.0, "{last} {max_ms}");
    }

    #[test]
    fn a_line_that_arrives_before_it_was_due_has_no_negative_latency() {
        let mut recorder = Recorder::new(0..SECOND_NS);
        recorder.record(500, None, 400);
        assert_eq!(recorder.quantiles().max_ms, 0.0);
    }

    #[test]
    fn the_log_has_one_interval_a_second_and_can_be_read_back() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency.hlog");
        let mut recorder = Recorder::new(0..2 * SECOND_NS + 1);
        recorder.record(1, None, 1_000_001);
        recorder.write_log(&path, "rate-1000").unwrap();
        let text = std::fs::read(&path).unwrap();
        let intervals = IntervalLogIterator::new(&text)
            .filter(|entry| matches!(entry.as_ref().unwrap(), LogEntry::Interval(_)))
            .count();
        assert_eq!(intervals, 3);
    }
}
