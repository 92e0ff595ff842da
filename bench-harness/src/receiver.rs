//! Consumes a topic as its lines arrive, has each judged, and tells somebody of it.
//!
//! The consumer waits for nothing but the first byte. What the instrument adds by itself is measured, not
//! assumed: see [`floor`]. The same pass feeds the judge of completeness, so that a run is read once, while it
//! is written: what the broker deletes afterwards has been judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use logdrive_bench::consume::{AppendedMs, Consumer, unix_now_ns};
use logdrive_bench::verify::{Arrival, Framing, Ledger};
use logdrive_load::stamp::{self, Stamp};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};

use crate::interrupt;
use crate::kafka::Cluster;
use crate::recorder::{Quantiles, Recorder, SECOND_NS};

/// How long the receiver sleeps at most before it looks whether it shall stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// Who is told of what a receiver sees. It must not hold up the consumer.
pub(crate) trait Note: Send + 'static {
    /// A line that is whole and was not seen before.
    fn first_sight(&mut self, stamp: &Stamp, appended_ms: Option<AppendedMs>, received_ns: u64);

    /// A record whose line is not new, or not whole.
    fn repeat(&mut self, _arrival: &Arrival<'_>) {}
}

impl Note for Recorder {
    fn first_sight(&mut self, stamp: &Stamp, appended_ms: Option<AppendedMs>, received_ns: u64) {
        self.record(stamp.intended_ns, appended_ms, received_ns);
    }
}

/// What a receiver has seen.
pub(crate) struct Received<N = Recorder> {
    /// What was noted: of a recorder, how late the lines were.
    pub(crate) note: N,
    /// Whether they are all there; to be asked with the generator's journal.
    pub(crate) ledger: Ledger,
}

/// A thread that consumes a topic from its beginning.
pub(crate) struct Receiver<N = Recorder> {
    stop: Arc<AtomicBool>,
    records: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Received<N>>>>,
}

impl<N: Note> Receiver<N> {
    pub(crate) fn start(brokers: &str, topic: &str, framing: Framing, note: N) -> Result<Receiver<N>> {
        let consumer = Consumer::open(brokers, topic)?;
        let stop = Arc::new(AtomicBool::new(false));
        let records = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, records) = (Arc::clone(&stop), Arc::clone(&records));
            std::thread::spawn(move || receive(consumer, Ledger::new(framing), note, &stop, &records))
        };
        Ok(Receiver { stop, records, thread: Some(thread) })
    }

    /// How many records were received so far.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Waits until `count` records were received, or for `patience` without one more.
    pub(crate) fn await_count(&mut self, count: u64, patience: Duration) -> Result<()> {
        let mut last = (self.records(), Instant::now());
        while last.0 < count && last.1.elapsed() < patience {
            self.expect_receiving()?;
            interrupt::pause(Duration::from_micros(200))?;
            if self.records() > last.0 {
                last = (self.records(), Instant::now());
            }
        }
        Ok(())
    }

    /// The error with which the thread has ended, if it has.
    pub(crate) fn expect_receiving(&mut self) -> Result<()> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => joined(thread).and_then(|_| bail!("the consumer ended before it was asked to")),
            None => Ok(()),
        }
    }

    /// Ends the thread and returns what it noted.
    pub(crate) fn finish(mut self) -> Result<Received<N>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the consumer has ended before")?;
        joined(thread)
    }
}

fn joined<N>(thread: JoinHandle<Result<Received<N>>>) -> Result<Received<N>> {
    thread.join().map_err(|_| anyhow!("the receiver's thread panicked"))?
}

impl<N> Drop for Receiver<N> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn receive<N: Note>(
    mut consumer: Consumer,
    mut ledger: Ledger,
    mut note: N,
    stop: &AtomicBool,
    records: &AtomicU64,
) -> Result<Received<N>> {
    while !stop.load(Ordering::Relaxed) {
        let taken = consumer.poll(STOP_LOOK, |arrival, appended_ms| {
            let mut new = false;
            ledger.judge(arrival, |stamp| {
                new = true;
                note.first_sight(stamp, appended_ms, arrival.consumed_at_ns);
            });
            if !new {
                note.repeat(arrival);
            }
        })?;
        records.fetch_add(taken as u64, Ordering::Relaxed);
    }
    Ok(Received { note, ledger })
}

/// The receiver is considered fit when a line without any agent takes at most this long.
pub(crate) const FLOOR_P50_MS_MAX: f64 = 2.0;

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
    let mut receiver = Receiver::start(cluster.brokers(), topic, Framing::Line, recorder)?;
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
    Ok(received.note.quantiles())
}
