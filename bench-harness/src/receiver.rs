//! Consumes a topic as its lines arrive and notes how late each one is.
//!
//! Latency is this host's clock at the moment the consumer hands the line over, minus the time at which
//! the line was due. It waits for nothing: the broker answers a fetch as soon as there is a byte, and every
//! line is taken out singly (a call that collects a batch waits for the batch to fill, and that wait would be
//! measured as the agent's). What the instrument adds by itself is measured, not assumed: see
//! [`floor`].
//!
//! It judges nothing but time; completeness is judged afterwards, from the topic.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use logdrive_load::stamp::{self, Stamp};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::interrupt;
use crate::kafka::Cluster;

const SECOND_NS: u64 = 1_000_000_000;

/// How long the receiver sleeps at most before it looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Nanoseconds since the epoch, steady: the wall clock is read once and time passes monotonically from there,
/// as in the generator, so that setting the clock during a run moves neither.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochClock {
    base_ns: u64,
    base: Instant,
}

impl EpochClock {
    pub(crate) fn start() -> EpochClock {
        let base_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        EpochClock { base_ns, base: Instant::now() }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.at_ns(Instant::now())
    }

    /// A moment, not before the clock's start, on this clock.
    pub(crate) fn at_ns(&self, moment: Instant) -> u64 {
        self.base_ns + moment.saturating_duration_since(self.base).as_nanos() as u64
    }
}

/// Latencies of the lines that were due within a window, one histogram for each second of it.
pub(crate) struct Recorder {
    window: Range<u64>,
    seconds: Vec<Histogram<u64>>,
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
        Recorder { window, seconds: (0..seconds).map(|_| histogram()).collect() }
    }

    /// Notes a line; one that was due outside the window is not counted.
    pub(crate) fn record(&mut self, intended_ns: u64, received_ns: u64) {
        if self.window.contains(&intended_ns) {
            let second = ((intended_ns - self.window.start) / SECOND_NS) as usize;
            self.seconds[second] += received_ns.saturating_sub(intended_ns);
        }
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

/// A thread that consumes a topic from its beginning.
pub(crate) struct Receiver {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Recorder>>>,
}

impl Receiver {
    pub(crate) fn start(
        brokers: &str,
        topic: &str,
        partitions: i32,
        clock: EpochClock,
        recorder: Recorder,
    ) -> Result<Receiver> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // Needed to assign partitions; nothing is ever committed.
            .set("group.id", format!("{topic}-receiver"))
            .set("enable.auto.commit", "false")
            .set("fetch.min.bytes", "1")
            // How long an empty answer may be held back; a byte ends the wait.
            .set("fetch.wait.max.ms", "100")
            .set("queued.min.messages", "1000000")
            .set("check.crcs", "false")
            .create()
            .context("cannot create the receiver's consumer")?;
        let mut partitions_list = TopicPartitionList::new();
        for partition in 0..partitions {
            partitions_list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions_list).context("cannot assign the topic to the receiver")?;
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, received) = (Arc::clone(&stop), Arc::clone(&received));
            std::thread::spawn(move || receive(&consumer, clock, recorder, &stop, &received))
        };
        Ok(Receiver { stop, received, thread: Some(thread) })
    }

    /// Lines received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until `count` lines were received, or for `patience` without one more.
    pub(crate) fn await_count(&self, count: u64, patience: Duration) -> Result<()> {
        let mut last = (self.received(), Instant::now());
        while last.0 < count && last.1.elapsed() < patience {
            interrupt::pause(Duration::from_millis(5))?;
            if self.received() > last.0 {
                last = (self.received(), Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the thread and returns what it noted.
    pub(crate) fn finish(mut self) -> Result<Recorder> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the thread is taken once, here");
        thread.join().map_err(|_| anyhow!("the receiver's thread panicked"))?
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(
    consumer: &BaseConsumer,
    clock: EpochClock,
    mut recorder: Recorder,
    stop: &AtomicBool,
    received: &AtomicU64,
) -> Result<Recorder> {
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(STOP_LOOK) {
            None => {}
            Some(Ok(message)) => {
                let now_ns = clock.now_ns();
                // A line that is not ours has no due time; the judge will count it.
                if let Ok(stamp) = stamp::decode(message.payload().unwrap_or_default()) {
                    recorder.record(stamp.intended_ns, now_ns);
                }
                received.fetch_add(1, Ordering::Relaxed);
            }
            // A broker that is away for a while: the client connects again by itself.
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(error).context("the receiver cannot consume"),
        }
    }
    Ok(recorder)
}

fn is_transient(error: &rdkafka::error::KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::LeaderNotAvailable | Code::NotLeaderForPartition)
    )
}

/// The check's lines come one each millisecond: for so long before they count, while connections are made.
const FLOOR_WARM_UP_NS: u64 = SECOND_NS / 2;
/// And for so long while they do.
const FLOOR_WINDOW_NS: u64 = SECOND_NS;

/// What the instrument measures for lines that are produced the moment they are due, singly and without
/// linger: the way through one producer, the broker and the receiver. No agent can appear faster.
pub(crate) fn floor(cluster: &Cluster, topic: &str) -> Result<Quantiles> {
    cluster.create_topic(topic, 1)?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.brokers())
        .set("linger.ms", "0")
        .set("acks", "all")
        .create()
        .context("cannot create the check's producer")?;
    let clock = EpochClock::start();
    let start_ns = clock.now_ns() + FLOOR_WARM_UP_NS;
    let window = start_ns..start_ns + FLOOR_WINDOW_NS;
    let receiver = Receiver::start(cluster.brokers(), topic, 1, clock, Recorder::new(window.clone()))?;
    let mut line = Vec::new();
    let mut sent = 0;
    while clock.now_ns() < window.end {
        let stamp = Stamp { run: 0, writer: 0, generation: 0, sequence: sent, intended_ns: clock.now_ns() };
        line.clear();
        stamp::encode_line(&stamp, &[b'.'; 136], &mut line);
        let record = BaseRecord::<(), _>::to(topic).partition(0).payload(&line);
        producer.send(record).map_err(|(error, _)| error).context("cannot produce the check's lines")?;
        sent += 1;
        interrupt::pause(Duration::from_millis(1))?;
    }
    receiver.await_count(sent, Duration::from_secs(10))?;
    let recorder = receiver.finish()?;
    cluster.delete_topic(topic)?;
    Ok(recorder.quantiles())
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
