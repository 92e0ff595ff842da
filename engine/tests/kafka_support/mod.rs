//! A sink on a mock cluster, or on a real one, and everything to drive and check it.
//!
//! Nothing sleeps: waiting is always for the bell, and virtual time passes only when it does not ring.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logdrive::bell::Bell;
use logdrive::kafka::{Format, InFlightBudget, KafkaSettings, KafkaSink, Key, Partition, Route};
use logdrive_core::batch::{Batch, BatchId, Delivery, Event, Outcome, Sink, TrySend};
use logdrive_core::position::{Nanos, Position, Span};
use logdrive_core::source::{GenerationId, ItemId, Origin, SourceId, family_of};
use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

pub type Cluster = MockCluster<'static, DefaultProducerContext>;

/// No test waits longer than this for one thing, however busy the machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// When the bell does not ring for so long, a virtual second passes.
const TICK_WAIT: Duration = Duration::from_millis(50);

pub const BUDGET: InFlightBudget = InFlightBudget { messages_max: 100_000, bytes_max: 64 << 20 };

pub fn mock(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    cluster.create_topic(topic, partitions, 1).expect("a mock topic is created");
    cluster
}

pub fn route(topic: &str) -> Route {
    Route {
        topic: topic.into(),
        partition: Partition::Source,
        key: Key::None,
        format: Format::Raw,
        headers: false,
        container: false,
        on_refused: None,
    }
}

/// A sink and what came back from it.
pub struct Bed {
    pub sink: KafkaSink,
    pub now: Nanos,
    pub deliveries: Vec<(BatchId, Outcome)>,
    /// Batches that were refused or lost, to be looked at or sent again.
    pub returned: Vec<Batch>,
    /// Batches that came back whole, to be used again.
    pub spare: Vec<Batch>,
    pub keep_spare: bool,
    bell: Bell,
    runtime: tokio::runtime::Runtime,
    next: u64,
    positions: BTreeMap<u64, Position>,
}

impl Bed {
    pub fn new(settings: KafkaSettings, budget: InFlightBudget) -> Bed {
        // What the sink says is shown with a test that fails.
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::DEBUG).try_init();
        let bell = Bell::default();
        let sink = KafkaSink::new(settings, budget, "testhost", bell.clone()).expect("the settings are good");
        Bed {
            sink,
            now: Nanos::default(),
            deliveries: Vec::new(),
            returned: Vec::new(),
            spare: Vec::new(),
            keep_spare: false,
            bell,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap(),
            next: 0,
            positions: BTreeMap::new(),
        }
    }

    pub fn on(cluster: &Cluster, topic: &str) -> Bed {
        Bed::with(settings(cluster), BUDGET, route(topic))
    }

    pub fn with(settings: KafkaSettings, budget: InFlightBudget, route: Route) -> Bed {
        let mut bed = Bed::new(settings, budget);
        bed.sink.define_route(ItemId(0), route).expect("the route is good");
        bed
    }

    /// The next batch of a file, of these lines.
    pub fn batch(&mut self, file: &Arc<Origin>, lines: &[impl AsRef<[u8]>]) -> Batch {
        let (bytes, events) = joined(lines);
        self.batch_of(file, Bytes::from(bytes), events)
    }

    pub fn batch_of(&mut self, file: &Arc<Origin>, bytes: Bytes, events: Vec<Event>) -> Batch {
        let start = self.positions.entry(file.generation.0).or_default();
        let span = Span::of(*start, bytes.len());
        *start = span.end;
        self.next += 1;
        Batch {
            id: BatchId(self.next),
            source: SourceId { index: file.generation.0 as u32, epoch: 0 },
            origin: Arc::clone(file),
            span,
            bytes,
            lines: events.len() as u32,
            events,
            dropped: logdrive_core::frame::Dropped::default(),
            details: Vec::new(),
            read_at: logdrive_core::position::Nanos(0),
            read_at_ms: 1_767_323_045_678,
        }
    }

    /// Sends a batch, waiting for room as long as it takes.
    pub fn send(&mut self, batch: Batch) {
        let deadline = Instant::now() + PATIENCE;
        let mut batch = batch;
        loop {
            match self.sink.try_send(batch) {
                TrySend::Sent => return,
                TrySend::Full(back) | TrySend::Unavailable(back) | TrySend::Blocked(back) => batch = back,
            }
            assert!(Instant::now() < deadline, "no room: {:?}", self.sink.status());
            if !self.collect() {
                self.wait();
            }
        }
    }

    /// Takes deliveries in; whether there was one.
    pub fn collect(&mut self) -> bool {
        let before = self.deliveries.len();
        while let Some(Delivery { batch, outcome }) = self.sink.poll_delivery() {
            self.deliveries.push((batch.id, outcome));
            match outcome {
                Outcome::Acked if self.keep_spare => self.spare.push(batch),
                Outcome::Acked => {}
                _ => self.returned.push(batch),
            }
        }
        self.deliveries.len() > before
    }

    /// Waits for the bell; a second passes when it does not ring soon.
    pub fn wait(&mut self) {
        let rung = self.runtime.block_on(async { tokio::time::timeout(TICK_WAIT, self.bell.wait()).await });
        if rung.is_err() {
            self.tick();
        }
    }

    pub fn tick(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.sink.tick(self.now);
    }

    /// Goes on until something is so.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&mut Bed) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.collect();
            if so(self) {
                return;
            }
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.sink.status());
            self.wait();
        }
    }

    /// Goes on until nothing is on its way.
    pub fn settle(&mut self) {
        self.until("settled", |bed| bed.sink.in_flight().batches == 0);
    }

    pub fn all_acked(&self) -> bool {
        self.deliveries.iter().all(|(_, outcome)| *outcome == Outcome::Acked)
    }

    /// Panics unless every batch that was ever made came back exactly once.
    pub fn assert_each_once(&self) {
        let mut ids: Vec<u64> = self.deliveries.iter().map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=self.next).collect::<Vec<_>>());
    }
}

/// Lines with their newlines, and where they are.
pub fn joined(lines: &[impl AsRef<[u8]>]) -> (Vec<u8>, Vec<Event>) {
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    for line in lines {
        let line = line.as_ref();
        events.push(Event { start: bytes.len() as u32, len: line.len() as u32 });
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    (bytes, events)
}

pub fn settings(cluster: &Cluster) -> KafkaSettings {
    KafkaSettings::new(cluster.bootstrap_servers())
}

pub fn file(generation: u64, path: &str) -> Arc<Origin> {
    let family = family_of(path);
    Arc::new(Origin { item: ItemId(0), generation: GenerationId(generation), path: path.into(), family })
}

/// Bytes that count when they are freed.
pub fn watched(bytes: Vec<u8>, freed: &Arc<AtomicUsize>) -> Bytes {
    struct Watched(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            // What librdkafka would still read is then visibly wrong.
            self.0.fill(b'#');
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    Bytes::from_owner(Watched(bytes, Arc::clone(freed)))
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: Option<i64>,
    pub headers: Vec<(String, String)>,
}

/// Reads `count` records from the beginning of these partitions.
pub fn consume(brokers: &str, topic: &str, partitions: i32, count: usize) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "check")
        .set("fetch.wait.max.ms", "20")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records arrived", records.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let header = |h: rdkafka::message::Header<'_, &[u8]>| {
            (h.key.to_owned(), String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned())
        };
        records.push(Record {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp_ms: message.timestamp().to_millis(),
            headers: message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
        });
    }
    records
}

/// How many records a partition holds.
pub fn stored(brokers: &str, topic: &str, partition: i32) -> i64 {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "count").create().unwrap();
    let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
    high - low
}

/// Deterministic numbers, so that a failure repeats (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
