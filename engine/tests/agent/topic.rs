//! One topic, read from its beginning: every record in the order of its partition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::wait::patience;

/// One record.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) struct Record {
    /// Its partition.
    pub(crate) partition: i32,
    /// Its place there.
    pub(crate) offset: i64,
    /// Its key.
    pub(crate) key: Option<Vec<u8>>,
    /// Its value.
    pub(crate) value: Vec<u8>,
    /// Its headers.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Record {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Arrived {
    records: Vec<Record>,
    problem: Option<String>,
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Arrived>,
    news: Condvar,
    enough: AtomicBool,
}

/// A reader of one topic. Its thread takes records as they come, since the mock cluster forgets old ones.
pub(crate) struct Topic {
    name: String,
    brokers: String,
    partitions: i32,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Topic {
    /// Begins to read. The topic must exist.
    pub(crate) fn read(brokers: &str, name: &str, partitions: i32) -> Topic {
        let consumer = consumer(brokers);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(name, partition, Offset::Offset(0)).unwrap();
        }
        consumer.assign(&list).unwrap();
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let thread = std::thread::spawn(move || take(&consumer, &told, partitions));
        Topic { name: name.into(), brokers: brokers.into(), partitions, shared, thread: Some(thread) }
    }

    /// Waits until what has arrived satisfies.
    pub(crate) fn await_that(&self, what: &str, mut enough: impl FnMut(&[Record]) -> bool) {
        let deadline = Instant::now() + patience();
        let mut arrived = self.shared.arrived.lock().unwrap();
        while !enough(&arrived.records) {
            assert_eq!(arrived.problem, None, "the topic cannot be judged");
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not within {:?}: {what}; {} records are in `{}`, the last {:?}",
                patience(),
                arrived.records.len(),
                self.name,
                arrived.records.last()
            );
            arrived = self.shared.news.wait_timeout(arrived, left).unwrap().0;
        }
    }

    /// Waits until that many records have arrived.
    pub(crate) fn await_count(&self, count: usize) {
        self.await_that(&format!("{count} records"), |records| records.len() >= count);
    }

    /// Waits until so many more have arrived than now.
    pub(crate) fn await_more(&self, count: usize) {
        self.await_count(self.count() + count);
    }

    /// Waits until a record with this value has arrived.
    pub(crate) fn await_value(&self, value: &[u8]) {
        let mut seen = 0;
        self.await_that(&format!("a record `{}`", value.escape_ascii()), |records| {
            let found = records[seen..].iter().any(|record| record.value == value);
            seen = records.len();
            found
        });
    }

    /// How many have arrived.
    pub(crate) fn count(&self) -> usize {
        self.shared.arrived.lock().unwrap().records.len()
    }

    /// Everything that is in the topic now. Whoever wrote it must have stopped.
    pub(crate) fn whole(&self) -> Vec<Record> {
        let ends = crate::wait::until("the ends of the partitions", || self.ends());
        let total = ends.iter().sum::<i64>() as usize;
        self.await_count(total);
        let mut records = self.shared.arrived.lock().unwrap().records.clone();
        assert_eq!(records.len(), total, "records beyond the end of the topic");
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    fn ends(&self) -> Option<Vec<i64>> {
        let consumer = consumer(&self.brokers);
        let timeout = Duration::from_secs(10);
        (0..self.partitions)
            .map(|partition| {
                consumer.fetch_watermarks(&self.name, partition, timeout).ok().map(|(_, end)| end)
            })
            .collect()
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.shared.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn consumer(brokers: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "judge").set("enable.auto.commit", "false");
    config
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "5")
        .set("fetch.error.backoff.ms", "10");
    config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "100");
    config.set("socket.timeout.ms", "5000").set("log_level", "0");
    config.create().unwrap()
}

fn take(consumer: &BaseConsumer, shared: &Shared, partitions: i32) {
    let mut next = vec![0; partitions as usize];
    while !shared.enough.load(Ordering::Relaxed) {
        let problem = match consumer.poll(Duration::from_millis(20)) {
            None => continue,
            Some(Ok(message)) => {
                let record = Record::of(&message);
                let expected = &mut next[record.partition as usize];
                let gap = (record.offset != *expected).then(|| {
                    format!("offset {} of {} follows {}", record.offset, record.partition, *expected)
                });
                *expected = record.offset + 1;
                shared.arrived.lock().unwrap().records.push(record);
                gap
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                Some("the cluster has forgotten records that were not read yet".to_owned())
            }
            // A broker that is down is what many tests are about.
            Some(Err(_)) => None,
        };
        if problem.is_some() {
            shared.arrived.lock().unwrap().problem = problem;
        }
        shared.news.notify_all();
    }
}
