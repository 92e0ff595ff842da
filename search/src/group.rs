//! A member of a consumer group.
//!
//! Partitions come and go one by one (cooperative rebalancing). librdkafka tells of it within `poll`; what is to
//! be done then takes longer than a callback may, so it is only noted here, as a [`Change`], and becomes true when
//! [`Group::accept`] or [`Group::release`] is called: until then librdkafka waits. Offsets are committed by whoever
//! knows that records are where they belong; nothing is committed here by itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logdrive::config::{SaslPlan, TlsPlan};
use logdrive::{kafka, setup};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tracing::{debug, info, warn};

use crate::ledger::Partition;

/// How Kafka is reached.
#[derive(Clone, Debug)]
pub struct KafkaPlan {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// Our name in the brokers' logs and quotas.
    pub client_id: String,
    /// Encryption; `None`: plain text.
    pub tls: Option<TlsPlan>,
    /// Login; `None`: none.
    pub sasl: Option<SaslPlan>,
    /// Any other property of librdkafka.
    pub options: BTreeMap<String, String>,
}

/// Which records a member reads.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Names of topics, and patterns of them that begin with `^`.
    pub topics: Vec<String>,
    /// The group.
    pub group: String,
    /// Where a partition begins of which the group knows nothing: its first record, or what comes next.
    pub from_beginning: bool,
}

/// Properties that a key decides, beside those of every connection: (property, key).
pub const DECIDED: &[(&str, &str)] =
    &[("group.id", "the `group` of the verb"), ("auto.offset.reset", "the `read_from` of the verb")];

/// Properties that would break a promise: (property, what would happen).
pub const PROMISED: &[(&str, &str)] = &[
    ("enable.auto.commit", "offsets are committed when records are where they belong, and not before"),
    ("enable.auto.offset.store", "offsets are committed when records are where they belong, and not before"),
    ("partition.assignment.strategy", "what is in flight is finished partition by partition"),
    ("enable.partition.eof", "it would be taken for an error"),
    ("statistics.interval.ms", "the lag is taken from them"),
    ("message.timeout.ms", "a dead letter that expires is a record lost"),
    ("delivery.timeout.ms", "a dead letter that expires is a record lost"),
    ("enable.idempotence", "the producer of dead letters depends on it"),
    ("plugin.library.paths", "it would load foreign code"),
];

/// What is prefetched at most, in kilobytes: this much memory for the queue of all partitions.
const PREFETCH_KILOBYTES: &str = "16384";
/// How often librdkafka says how far the ends of partitions are.
const STATISTICS_MS: &str = "5000";

/// What happens to partitions.
#[derive(Clone, Debug)]
pub enum Change {
    /// These are to become ours.
    Assign(TopicPartitionList),
    /// These are to go to another member.
    Revoke {
        /// Which.
        list: TopicPartitionList,
        /// Whether they are another's already: then nothing of them can be committed.
        is_lost: bool,
    },
}

/// A member. Leaves the group when dropped.
pub struct Group {
    consumer: BaseConsumer<Membership>,
}

/// What librdkafka tells.
#[derive(Debug, Default)]
pub struct Membership {
    changes: Mutex<VecDeque<Change>>,
    /// We leave: what is taken from us is let go at once.
    is_leaving: AtomicBool,
    /// Offsets that the group has taken, and nobody was told of yet.
    committed: Mutex<Vec<(Partition, i64)>>,
    ends: Mutex<BTreeMap<Partition, i64>>,
    /// The last complaint, until something works again.
    trouble: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Membership {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What matters of it comes as an error too.
        debug!(facility, "librdkafka: {text}");
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = lock(&self.ends);
        ends.clear();
        for (name, topic) in &statistics.topics {
            let known = topic
                .partitions
                .iter()
                .filter(|(number, partition)| **number >= 0 && partition.hi_offset >= 0);
            ends.extend(known.map(|(number, partition)| {
                (Partition { topic: name.as_str().into(), number: *number }, partition.hi_offset)
            }));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complain(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let list = list.clone();
        let change = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assign(list),
            _ => Change::Revoke { list, is_lost: consumer.assignment_lost() },
        };
        match self.is_leaving.load(Ordering::Relaxed) {
            true => obey(consumer, &change),
            false => lock(&self.changes).push_back(change),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            info!(%error, "offsets were not committed, and will be again");
            return;
        }
        lock(&self.committed).extend(next_of(offsets));
    }
}

impl Membership {
    fn complain(&self, text: String) {
        let mut trouble = lock(&self.trouble);
        if trouble.as_ref() != Some(&text) {
            warn!("Kafka: {text}");
        }
        *trouble = Some(text);
    }
}

impl KafkaPlan {
    /// A configuration of librdkafka with what producers and consumers share.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Info)
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            .set("log.connection.close", "false")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "3000");
        let (tls, sasl) = (self.tls.as_ref().map(setup::tls), self.sasl.as_ref().map(setup::sasl));
        for (name, value) in kafka::security(tls.as_ref(), sasl.as_ref()) {
            config.set(name, value);
        }
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config
    }
}

impl Group {
    /// Becomes a member. Brokers that are away are waited for.
    ///
    /// # Errors
    /// librdkafka does not take the settings or the names of topics.
    pub fn join(plan: &KafkaPlan, subscription: &Subscription) -> KafkaResult<Group> {
        let consumer: BaseConsumer<Membership> = plan
            .client()
            .set("group.id", &subscription.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", if subscription.from_beginning { "earliest" } else { "latest" })
            .set("queued.max.messages.kbytes", PREFETCH_KILOBYTES)
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "20")
            .set("statistics.interval.ms", STATISTICS_MS)
            .create_with_context(Membership::default())?;
        let topics: Vec<&str> = subscription.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Group { consumer })
    }

    /// Waits at most so long for a record. Returns early, without one, when something happens to partitions.
    pub fn poll(&self, wait: Duration) -> Option<BorrowedMessage<'_>> {
        match self.consumer.poll(wait)? {
            Ok(message) => {
                *lock(&self.consumer.context().trouble) = None;
                Some(message)
            }
            Err(error) => {
                self.consumer.context().complain(error.to_string());
                None
            }
        }
    }

    /// The next thing that happens to partitions and was not looked at yet.
    pub fn change(&self) -> Option<Change> {
        lock(&self.consumer.context().changes).pop_front()
    }

    /// Takes partitions that are to become ours.
    ///
    /// # Errors
    /// librdkafka does not want to any more: there is another change.
    pub fn accept(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.incremental_assign(list)?;
        // A pause outlives the loss of a partition: one that comes back would stand still.
        self.consumer.resume(list)
    }

    /// Lets partitions go.
    ///
    /// # Errors
    /// librdkafka does not want to any more: there is another change.
    pub fn release(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.incremental_unassign(list)
    }

    /// Has no more records of these partitions come until they are resumed. What was prefetched of them is fetched
    /// again then.
    ///
    /// # Errors
    /// As librdkafka says.
    pub fn pause(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.pause(list)
    }

    /// The end of a pause.
    ///
    /// # Errors
    /// As librdkafka says.
    pub fn resume(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.resume(list)
    }

    /// Commits offsets of the next records to read; waits for the answer, or does not. What the group has taken
    /// is told by [`Group::committed`] either way.
    ///
    /// # Errors
    /// They are not committed.
    pub fn commit<'a>(
        &self,
        offsets: impl Iterator<Item = (&'a Partition, i64)>,
        mode: CommitMode,
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in offsets {
            list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(next))?;
        }
        self.consumer.commit(&list, mode)?;
        if matches!(mode, CommitMode::Sync) {
            lock(&self.consumer.context().committed).extend(next_of(&list));
        }
        Ok(())
    }

    /// What the group has taken of our commits since this was last asked.
    pub fn committed(&self) -> Vec<(Partition, i64)> {
        std::mem::take(&mut lock(&self.consumer.context().committed))
    }

    /// The end of a partition: the offset of the record that is written next, as known a few seconds ago.
    #[must_use]
    pub fn end_of(&self, partition: &Partition) -> Option<i64> {
        lock(&self.consumer.context().ends).get(partition).copied()
    }

    /// What is wrong with Kafka, if something is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.consumer.context().trouble).clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The consumer's own drop polls until the group has let us go, which waits for every change.
        self.consumer.context().is_leaving.store(true, Ordering::Relaxed);
        while let Some(change) = self.change() {
            obey(&self.consumer, &change);
        }
    }
}

/// Does what the group decides when nothing depends on it any more.
fn obey(consumer: &BaseConsumer<Membership>, change: &Change) {
    let obeyed = match change {
        Change::Assign(list) => consumer.incremental_assign(list),
        Change::Revoke { list, .. } => consumer.incremental_unassign(list),
    };
    if let Err(error) = obeyed {
        debug!(%error, "while leaving the group");
    }
}

/// The partitions of a list.
pub fn partitions(list: &TopicPartitionList) -> impl Iterator<Item = Partition> {
    let of = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| Partition {
        topic: element.topic().into(),
        number: element.partition(),
    };
    list.elements().iter().map(of).collect::<Vec<_>>().into_iter()
}

/// The offsets in a list that was committed, without those that were refused.
fn next_of(list: &TopicPartitionList) -> Vec<(Partition, i64)> {
    let of = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        let partition = Partition { topic: element.topic().into(), number: element.partition() };
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(next)) => Some((partition, next)),
            _ => None,
        }
    };
    list.elements().into_iter().filter_map(of).collect()
}

/// The list of partitions.
#[must_use]
pub fn list_of<'a>(partitions: impl Iterator<Item = &'a Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}
