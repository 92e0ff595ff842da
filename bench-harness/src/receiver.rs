//! Consumes a topic as its lines arrive and notes how late each one is.
//!
//! Latency is this host's clock when the consumer hands the line over, minus the time at which the line
//! was due; only a line's first sight counts. The consumer waits for nothing but the first byte. What the
//! instrument adds by itself is measured, not assumed: see [`floor`]. The same pass feeds the judge of
//! completeness, so that a run is read once.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use logdrive_bench::consume::{Consumer, unix_now_ns};
use logdrive_bench::verify::{Framing, Ledger};
use logdrive_load::stamp::{self, Stamp};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use serde::Serialize;

use crate::interrupt;
use crate::kafka::Cluster;

const SECOND_NS: u64 = 1_000_000_000;

/// How long the receiver sleeps at most before it looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Latencies of the lines that were due within a window, one histogram for each second of it.
pub(crate) struct Recorder {
    window: Range<u64>,
    seconds: Vec<Histogram<u64>>,
    /// Lines that arrived in each second of the window, whenever they were due.
    arrived: Vec<u64>,
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
        let histogram = || Histogram::new(3).expect("three digits are a legal precision");
        let arrived = vec![0; seconds as usize];
        Recorder { window, seconds: (0..seconds).map(|_| histogram()).collect(), arrived }
    }

    /// Notes a line; the latency of one that was due outside the window is not counted.
    pub(crate) fn record(&mut self, intended_ns: u64, received_ns: u64) {
        if let Some(second) = self.second(intended_ns) {
            self.seconds[second] += received_ns.saturating_sub(intended_ns);
        }
        if let Some(second) = self.second(received_ns) {
            self.arrived[second] += 1;
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
        let mut whole = Histogram::<u64>::new(3).expect("three digits are a legal precision");
        for second in &self.seconds {
            whole.add(second).expect("a histogram that grows takes any other");
        }
        let ms = |ns: u64| ns as f64 / 1e6;
        Quantiles {
            lines: whole.len(),
            p50_ms: ms(whole.value_at_quantile(0.5)),
            p90_ms: ms(whole.value_at_quantile(0.9)),
            p99_ms: ms(whole.value_at_quantile(0.99)),
            p99_9_ms: ms(whole.value_at_quantile(0.999)),
            max_ms: ms(whole.max()),
        }
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
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What a receiver has seen.
pub(crate) struct Received {
    /// How late the lines were.
    pub(crate) recorder: Recorder,
    /// Whether they are all there; to be asked with the generator's journal.
    pub(crate) ledger: Ledger,
}

/// A thread that consumes a topic from its beginning.
pub(crate) struct Receiver {
    stop: Arc<AtomicBool>,
    records: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Received>>>,
}

impl Receiver {
    pub(crate) fn start(brokers: &str, topic: &str, recorder: Recorder) -> Result<Receiver> {
        let consumer = Consumer::open(brokers, topic)?;
        let stop = Arc::new(AtomicBool::new(false));
        let records = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, records) = (Arc::clone(&stop), Arc::clone(&records));
            std::thread::spawn(move || receive(consumer, recorder, &stop, &records))
        };
        Ok(Receiver { stop, records, thread: Some(thread) })
    }

    /// Waits until `count` records were received, or for `patience` without one more.
    pub(crate) fn await_count(&self, count: u64, patience: Duration) -> Result<()> {
        let records = || self.records.load(Ordering::Relaxed);
        let mut last = (records(), Instant::now());
        while last.0 < count && last.1.elapsed() < patience {
            interrupt::pause(Duration::from_micros(200))?;
            if records() > last.0 {
                last = (records(), Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the thread and returns what it noted.
    pub(crate) fn finish(mut self) -> Result<Received> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the thread is taken once, here");
        thread.join().map_err(|_| anyhow!("the receiver's thread panicked"))?
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn receive(
    mut consumer: Consumer,
    mut recorder: Recorder,
    stop: &AtomicBool,
    records: &AtomicU64,
) -> Result<Received> {
    let mut ledger = Ledger::new(Framing::Line);
    while !stop.load(Ordering::Relaxed) {
        let taken = consumer.poll(STOP_LOOK, |arrival| {
            ledger.judge(arrival, |stamp| recorder.record(stamp.intended_ns, arrival.consumed_at_ns));
        })?;
        records.fetch_add(taken as u64, Ordering::Relaxed);
    }
    Ok(Received { recorder, ledger })
}

/// Lines of the check that do not count, while connections are made and the broker warms up.
const FLOOR_WARM_UP_LINES: u64 = 200;
/// Lines of the check that do.
const FLOOR_LINES: u64 = 500;
/// The check's lines come one at a time; if they need longer than this together, the rest is not counted.
const FLOOR_WINDOW_NS: u64 = 30 * SECOND_NS;

/// What the instrument measures for lines that are produced the moment they are due, one after the other
/// and without linger: the way through one producer, the broker and the receiver. No agent can appear faster.
pub(crate) fn floor(cluster: &Cluster, topic: &str) -> Result<Quantiles> {
    cluster.create_topic(topic, 1)?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("linger.ms", "0")
        .set("acks", "all")
        .create()
        .context("cannot create the check's producer")?;
    let start_ns = unix_now_ns();
    let recorder = Recorder::new(start_ns..start_ns + FLOOR_WINDOW_NS);
    let receiver = Receiver::start(cluster.brokers(), topic, recorder)?;
    let mut line = Vec::new();
    for sequence in 0..FLOOR_WARM_UP_LINES + FLOOR_LINES {
        // A line that was due before the window is not counted.
        let intended_ns = if sequence < FLOOR_WARM_UP_LINES { 0 } else { unix_now_ns() };
        let stamp = Stamp { run: 0, writer: 0, generation: 0, sequence, intended_ns };
        line.clear();
        stamp::encode_line(&stamp, &[b'.'; 136], &mut line);
        let record = BaseRecord::<(), _>::to(topic).partition(0).payload(&line);
        producer.send(record).map_err(|(error, _)| error).context("cannot produce the check's lines")?;
        receiver.await_count(sequence + 1, Duration::from_secs(10))?;
    }
    let received = receiver.finish()?;
    cluster.delete_topic(topic)?;
    Ok(received.recorder.quantiles())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_due_within_the_window_count() {
        let mut recorder = Recorder::new(1000..2000);
        for intended_ns in [999, 1000, 1999, 2000] {
            recorder.record(intended_ns, intended_ns + 5_000_000);
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
            recorder.record(intended_ns, intended_ns.max(SECOND_NS));
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
            recorder.record(intended_ns, received_ns);
        }
        assert_eq!((recorder.arrived_lines(), recorder.quantiles().lines), (2, 2));
    }

    #[test]
    fn a_line_that_arrives_before_it_was_due_has_no_negative_latency() {
        let mut recorder = Recorder::new(0..SECOND_NS);
        recorder.record(500, 400);
        assert_eq!(recorder.quantiles().max_ms, 0.0);
    }

    #[test]
    fn the_log_has_one_interval_a_second_and_can_be_read_back() {
        use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latency.hlog");
        let mut recorder = Recorder::new(0..2 * SECOND_NS + 1);
        recorder.record(1, 1_000_001);
        recorder.write_log(&path, "rate-1000").unwrap();
        let text = std::fs::read(&path).unwrap();
        let intervals = IntervalLogIterator::new(&text)
            .filter(|entry| matches!(entry.as_ref().unwrap(), LogEntry::Interval(_)))
            .count();
        assert_eq!(intervals, 3);
    }
}
