//! Lines with stamps, as agents send them to Kafka: with key and headers, and now and then some of them again, as after
//! a crash of an agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use logdrive_load::journal::{Generation, Header as Run, Journal};
use logdrive_load::stamp::{Stamp, encode_line};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Files that are written, each into one partition.
const WRITERS: u16 = 8;
/// Lines of a file between two pauses.
const BURST: u64 = 25;
/// Every so many bursts the last lines are sent again.
const AGAIN_EVERY: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who sends, at a pace that heeds nobody.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Journal>>,
}

impl Load {
    /// Sends `lines_per_second` to a topic of so many partitions, until it is ended.
    pub(crate) fn on(brokers: &str, topic: &str, partitions: i32, lines_per_second: u64) -> Load {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let pause =
            Duration::from_secs(u64::from(WRITERS) * BURST) / u32::try_from(lines_per_second).unwrap();
        let mut sender = Sender::new(brokers, topic, partitions);
        let (stopped, counted) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                sender.burst();
                counted.fetch_add(u64::from(WRITERS) * BURST, Ordering::Relaxed);
                std::thread::sleep(pause);
            }
            sender.finish()
        });
        Load { stop, sent, thread: Some(thread) }
    }

    /// How many different lines were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends so many lines at once, and is done.
    pub(crate) fn all(brokers: &str, topic: &str, partitions: i32, lines: u64) -> Journal {
        let mut sender = Sender::new(brokers, topic, partitions);
        for _ in 0..lines.div_ceil(u64::from(WRITERS) * BURST) {
            sender.burst();
        }
        sender.finish()
    }

    /// No more lines: what was sent, all of it acknowledged.
    pub(crate) fn end(mut self) -> Journal {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Sender {
    producer: BaseProducer,
    topic: String,
    partitions: i32,
    run: u32,
    bursts: u64,
}

impl Sender {
    fn new(brokers: &str, topic: &str, partitions: i32) -> Sender {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
        let producer = config.set("compression.codec", "lz4").create().unwrap();
        Sender { producer, topic: topic.to_owned(), partitions, run: 0x10ad, bursts: 0 }
    }

    /// The next lines of every file, and some of the last ones once more.
    fn burst(&mut self) {
        let first = self.bursts * BURST;
        self.bursts += 1;
        for writer in 0..WRITERS {
            if self.bursts.is_multiple_of(AGAIN_EVERY) {
                (first.saturating_sub(BURST / 2)..first).for_each(|sequence| self.line(writer, sequence));
            }
            (first..first + BURST).for_each(|sequence| self.line(writer, sequence));
        }
        self.producer.poll(Duration::ZERO);
    }

    fn line(&self, writer: u16, sequence: u64) {
        let stamp = Stamp { run: self.run, writer, generation: 0, sequence, intended_ns: 0 };
        let mut line = Vec::new();
        // Some events have several lines, some have what JSON must escape.
        let text = if sequence % 10 == 3 {
            "at \"x\"\n\tin a.b.C(D.java:7)"
        } else {
            "connection to 10.0.0.1 refused"
        };
        encode_line(&stamp, text.as_bytes(), &mut line);
        let key = format!("web{writer}:/var/log/{writer}.log");
        let (host, generation) = (format!("web{writer}"), format!("{writer:016x}"));
        let offset = (sequence * 100).to_string();
        let headers = [("host", host.as_str()), ("generation", &generation), ("offset", &offset)];
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let partition = i32::from(writer) % self.partitions;
        let mut record =
            BaseRecord::to(&self.topic).partition(partition).key(&key).payload(&line).headers(headers);
        while let Err((error, back)) = self.producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
    }

    fn finish(self) -> Journal {
        self.producer.flush(PATIENCE).unwrap();
        let lines = self.bursts * BURST;
        let of = |writer| Generation {
            writer,
            generation: 0,
            first_seq: 0,
            last_seq: lines - 1,
            lines,
            bytes: 0,
            crc: 0,
        };
        let generations: Vec<Generation> = (0..WRITERS).map(of).collect();
        let header = Run { run: self.run, lines: lines * u64::from(WRITERS), ..Run::default() };
        Journal { header, generations }
    }
}
