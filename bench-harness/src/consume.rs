//! Reads a topic from its beginning, all partitions, as fast as librdkafka can.
//!
//! A [`Consumer`] gives out records and knows whether it stands at the end; it belongs to no group,
//! commits nothing, and leaves no trace on the cluster. [`drain`] feeds a topic to the judge until the
//! journal is accounted for. What librdkafka prefetches is bounded, so memory does not follow the backlog.

mod queue;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logdrive_load::journal::Journal;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::verify::{Arrival, Ledger};
use queue::{Delivery, Queue};

/// How long a broker may take to describe the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come although more is there, before reading is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one wait for records lasts at most.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// What a fast and bounded reader of everything needs, beside brokers.
const SETTINGS: &[(&str, &str)] = &[
    ("enable.partition.eof", "true"),
    ("enable.auto.commit", "false"),
    // A record that is gone before it was read is an error to report, not a place to jump from.
    ("auto.offset.reset", "error"),
    ("allow.auto.create.topics", "false"),
    ("check.crcs", "true"),
    // Prefetched at most; beyond it fetching pauses, and looks again soon (by default after a second).
    ("queued.max.messages.kbytes", "65536"),
    ("queued.min.messages", "1000000"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.message.max.bytes", "4194304"),
    // The broker answers as soon as there is a byte, or says after this time that there is none.
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.error.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "500"),
];

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// librdkafka did not take the configuration.
    #[error("cannot create a consumer: {0}")]
    Client(KafkaError),
    /// No broker answered.
    #[error(
        "no broker at {brokers} describes topic {topic}: {reason}; likely cause: the broker is down or elsewhere"
    )]
    Unreachable {
        /// Where was asked.
        brokers: String,
        /// For which topic.
        topic: String,
        /// What librdkafka said.
        reason: String,
    },
    /// The topic is not there.
    #[error("there is no topic {topic} at {brokers}")]
    NoTopic {
        /// Where was asked.
        brokers: String,
        /// For which topic.
        topic: String,
    },
    /// A partition cannot be read.
    #[error("cannot read partition {partition} of topic {topic}: {reason}")]
    Partition {
        /// Which topic.
        topic: String,
        /// Which partition of it.
        partition: i32,
        /// What librdkafka said.
        reason: String,
    },
    /// Nothing comes although the end is not reached.
    #[error(
        "nothing came from topic {topic} for {} s, and its end is not reached; last word of the client: {reason}",
        STALL_TIMEOUT.as_secs()
    )]
    Stalled {
        /// Which topic.
        topic: String,
        /// The last complaint of librdkafka.
        reason: String,
    },
}

/// When the broker appended a record, in milliseconds since the Unix epoch, as it keeps them; known only of
/// topics whose `message.timestamp.type` is `LogAppendTime`.
pub type AppendedMs = u64;

/// A reader of all partitions of one topic.
pub struct Consumer {
    topic: String,
    queue: Queue<LastWord>,
    last_word: LastWord,
    /// Partitions of which everything there was has been read.
    at_end: BTreeSet<i32>,
}

impl Consumer {
    /// Begins to read a topic that exists.
    ///
    /// # Errors
    /// When no broker answers, or the topic is not there.
    pub fn open(brokers: &str, topic: &str) -> Result<Consumer, ConsumeError> {
        let last_word = LastWord::default();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set_log_level(RDKafkaLogLevel::Warning);
        for (key, value) in SETTINGS {
            config.set(*key, *value);
        }
        let client: BaseConsumer<LastWord> =
            config.create_with_context(last_word.clone()).map_err(ConsumeError::Client)?;
        let partitions = partitions(&client, brokers, topic)?;
        let no_topic = || ConsumeError::NoTopic { brokers: brokers.into(), topic: topic.into() };
        let queue = Queue::start(client, topic, &partitions).ok_or_else(no_topic)?;
        Ok(Consumer { topic: topic.into(), queue, last_word, at_end: BTreeSet::new() })
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.queue.partitions().len()
    }

    /// Whether everything was read that was in the topic when it was last asked.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at_end.len() == self.queue.partitions().len()
    }

    /// Waits at most so long for records, gives out all that are there by then (a batch at most), each with
    /// the time of its append where the topic keeps it, and returns how many. Returns early when an end is
    /// reached.
    ///
    /// # Errors
    /// When a partition cannot be read. Brokers that are away are waited for.
    pub fn poll(
        &mut self,
        wait: Duration,
        mut arrive: impl FnMut(&Arrival<'_>, Option<AppendedMs>),
    ) -> Result<usize, ConsumeError> {
        // Serves the client's own events: complaints, which `last_word` keeps.
        while self.queue.client().poll(Duration::ZERO).is_some() {}
        self.queue.fetch(wait);
        // One look at the clock for the batch: all of it was there by now.
        let consumed_at_ns = unix_now_ns();
        let (at_end, topic) = (&mut self.at_end, &self.topic);
        let (mut records, mut failed) = (0, None);
        self.queue.drain(|delivery| match delivery {
            Delivery::Record { partition, offset, payload, appended_ms } => {
                if !at_end.is_empty() {
                    at_end.remove(&partition);
                }
                records += 1;
                arrive(&Arrival { partition, offset, payload, consumed_at_ns }, appended_ms);
            }
            Delivery::End { partition } => {
                at_end.insert(partition);
            }
            Delivery::Error { code, reason, .. } if is_transient(code) => self.last_word.keep(&reason),
            Delivery::Error { partition, reason, .. } => {
                failed = Some(ConsumeError::Partition { topic: topic.clone(), partition, reason });
            }
        });
        failed.map_or(Ok(records), Err)
    }

    /// The last complaint of the client, for an error message.
    #[must_use]
    pub fn last_word(&self) -> String {
        self.last_word.text()
    }
}

/// Nanoseconds since the Unix epoch, as the load generator counts them.
#[must_use]
pub fn unix_now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Errors that pass when a broker comes back; librdkafka goes on by itself.
fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::KafkaStorageError
    )
}

fn partitions(client: &BaseConsumer<LastWord>, brokers: &str, topic: &str) -> Result<Vec<i32>, ConsumeError> {
    let unreachable = |error: KafkaError| ConsumeError::Unreachable {
        brokers: brokers.into(),
        topic: topic.into(),
        reason: error.to_string(),
    };
    let metadata = client.fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(unreachable)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.map(|found| found.partitions()) {
        None | Some([]) => Err(ConsumeError::NoTopic { brokers: brokers.into(), topic: topic.into() }),
        Some(partitions) => Ok(partitions.iter().map(|partition| partition.id()).collect()),
    }
}

/// How far a drain is.
#[derive(Copy, Clone, Debug, Default)]
pub struct Drained {
    /// Records read.
    pub records: u64,
    /// Lines in them.
    pub lines: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// From the first record to the last.
    pub busy: Duration,
}

/// Feeds the topic to the judge until the end of the topic is reached and either every line of the
/// journal was seen or nothing came for `idle_timeout`.
///
/// # Errors
/// When the topic cannot be read to its end.
pub fn drain(
    consumer: &mut Consumer,
    ledger: &mut Ledger,
    journal: &Journal,
    idle_timeout: Duration,
    mut progress: impl FnMut(&Drained),
) -> Result<Drained, ConsumeError> {
    let mut drained = Drained::default();
    let (mut first_at, mut last_at) = (None, Instant::now());
    loop {
        let records = consumer.poll(POLL_WAIT, |arrival, _| {
            drained.bytes += arrival.payload.len() as u64;
            ledger.judge(arrival, |_| {});
        })?;
        let now = Instant::now();
        if records > 0 {
            drained.records += records as u64;
            drained.lines = ledger.lines();
            drained.busy = now - *first_at.get_or_insert(last_at);
            last_at = now;
            progress(&drained);
            continue;
        }
        let at_end = consumer.is_at_end();
        let complete = at_end && ledger.lines_distinct(journal.header.run) >= journal.header.lines;
        match patience(now - last_at, at_end, complete, idle_timeout) {
            Patience::Wait => {}
            Patience::Done => return Ok(drained),
            Patience::Stalled => {
                return Err(ConsumeError::Stalled {
                    topic: consumer.topic.clone(),
                    reason: consumer.last_word(),
                });
            }
        }
    }
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Patience {
    Wait,
    Done,
    Stalled,
}

/// Whether to go on after so long without a record.
fn patience(idle: Duration, at_end: bool, complete: bool, idle_timeout: Duration) -> Patience {
    match at_end {
        true if complete || idle >= idle_timeout => Patience::Done,
        false if idle >= idle_timeout.max(STALL_TIMEOUT) => Patience::Stalled,
        _ => Patience::Wait,
    }
}

/// Keeps the last complaint of librdkafka, which would otherwise go to nobody.
#[derive(Clone, Default)]
struct LastWord(Arc<Mutex<String>>);

impl LastWord {
    fn text(&self) -> String {
        let text = self.0.lock().expect("nobody panics while holding it");
        if text.is_empty() { "none".into() } else { text.clone() }
    }

    fn keep(&self, text: &str) {
        text.clone_into(&mut self.0.lock().expect("nobody panics while holding it"));
    }
}

impl ClientContext for LastWord {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, text: &str) {
        self.keep(text);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.keep(reason);
    }
}

impl ConsumerContext for LastWord {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_the_end_when_all_is_seen_or_nothing_comes() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(61));
        let idle_timeout = Duration::from_secs(10);
        let decide = |idle, at_end, complete| patience(idle, at_end, complete, idle_timeout);
        assert_eq!(decide(short, true, true), Patience::Done);
        assert_eq!(decide(short, true, false), Patience::Wait);
        assert_eq!(decide(idle_timeout, true, false), Patience::Done);
        assert_eq!(decide(idle_timeout, false, true), Patience::Wait, "more is there: a duplicate perhaps");
        assert_eq!(decide(long, false, false), Patience::Stalled);
    }
}
