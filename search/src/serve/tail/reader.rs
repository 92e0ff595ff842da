//! Reads every partition of some topics from its end, for as long as somebody listens.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Message as _};
use regex::RegexSet;
use serde::Deserialize;
use tracing::debug;

use super::{Shared, Standing, TailPlan};
use crate::index::document::Writer;
use crate::line::Calendar;
use crate::record::Record;
use crate::serve::document::Document;

/// librdkafka wants a name, though nothing is ever joined or committed by it.
const GROUP: &str = "logdrive-search-tail";
/// No answer of a broker takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for a record before looking whether somebody still listens.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often new topics and partitions are looked for.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// How often librdkafka says where the ends are.
const STATISTICS_MS: &str = "2000";
/// Further behind it is not live any more.
const BEHIND_MAX: i64 = 100_000;
/// Of a topic without end, so much is fetched ahead, in kilobytes.
const PREFETCH_KILOBYTES: &str = "8192";

type Partition = (String, i32);

/// What librdkafka tells.
#[derive(Debug, Default)]
struct Ends(Mutex<BTreeMap<Partition, i64>>);

impl ClientContext for Ends {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        debug!(facility, "librdkafka: {text}");
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, topic) in statistics.topics {
            let known =
                topic.partitions.into_iter().filter(|(number, one)| *number >= 0 && one.hi_offset >= 0);
            ends.extend(known.map(|(number, one)| ((name.clone(), number), one.hi_offset)));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Ends {}

/// Reads until nobody listens.
pub(super) fn run(plan: &TailPlan, shared: &Shared) {
    while shared.goes_on() {
        if let Err(error) = read(plan, shared) {
            shared.tell(Standing::Troubled(format!("Kafka cannot be read: {error}; trying again")));
            // A consumer that cannot be made is not made any better by haste.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    consumer: BaseConsumer<Ends>,
    names: Vec<String>,
    patterns: RegexSet,
    /// What is read, and the record that comes next.
    next: BTreeMap<Partition, i64>,
}

fn read(plan: &TailPlan, shared: &Shared) -> KafkaResult<()> {
    let mut config: ClientConfig = plan.kafka.client();
    let consumer = config
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "latest")
        .set("queued.max.messages.kbytes", PREFETCH_KILOBYTES)
        .set("fetch.wait.max.ms", "100")
        .set("statistics.interval.ms", STATISTICS_MS)
        .create_with_context(Ends::default())?;
    let (patterns, names): (Vec<String>, Vec<String>) =
        plan.topics.iter().cloned().partition(|topic| topic.starts_with('^'));
    let patterns = RegexSet::new(patterns).map_err(|error| KafkaError::Subscription(error.to_string()))?;
    let mut reader = Reader { shared, consumer, names, patterns, next: BTreeMap::new() };
    reader.list(true)?;
    let mut listed_at = Instant::now();
    let mut looked_at = Instant::now();
    let mut writer = Writer::new("", Calendar::new(plan.time_zone.clone()));
    let mut document = Vec::new();
    loop {
        let polled = reader.consumer.poll(LOOK_EVERY);
        let now = Instant::now();
        match polled {
            Some(Ok(message)) => {
                let partition = (message.topic().to_owned(), message.partition());
                let next = message.offset() + 1;
                document.clear();
                let record = Record::of(&message);
                writer.write(&record, &mut document);
                if let Some((id, document)) = parts(&document) {
                    let time_ms = document.time_ms().unwrap_or(record.timestamp_ms);
                    reader.shared.offer(&document, &id, time_ms, now);
                }
                reader.next.insert(partition, next);
                reader.shared.tell(Standing::Live);
            }
            Some(Err(error)) => {
                reader
                    .shared
                    .tell(Standing::Troubled(format!("Kafka: {error}; lines come when it answers again")));
            }
            None => {}
        }
        if now.duration_since(looked_at) >= LOOK_EVERY {
            looked_at = now;
            if !reader.shared.goes_on() {
                return Ok(());
            }
            reader.keep_up()?;
        }
        if now.duration_since(listed_at) >= LIST_EVERY {
            listed_at = now;
            // Without an answer what is read goes on being read.
            let _later = reader.list(false);
        }
    }
}

impl Reader<'_> {
    /// Finds the partitions. At first each is read from its end; one that appears later, from its beginning.
    fn list(&mut self, is_first: bool) -> KafkaResult<()> {
        let metadata = self.consumer.fetch_metadata(None, PATIENCE)?;
        let mut is_new = false;
        for topic in metadata.topics() {
            let name = topic.name();
            if !self.names.iter().any(|one| one == name) && !self.patterns.is_match(name) {
                continue;
            }
            for partition in topic.partitions() {
                let partition = (name.to_owned(), partition.id());
                if self.next.contains_key(&partition) {
                    continue;
                }
                // Asked for, not left to the first fetch: what comes between now and then belongs to it.
                let (first, end) = self.consumer.fetch_watermarks(name, partition.1, PATIENCE)?;
                self.next.insert(partition, if is_first { end } else { first });
                is_new = true;
            }
        }
        if is_new {
            self.assign()?;
        }
        match self.next.is_empty() {
            true => {
                let wanted = self.names.join(", ");
                self.shared.tell(Standing::Troubled(format!("no topic of these exists yet: {wanted}")));
            }
            false if is_first => self.shared.tell(Standing::Live),
            false => {}
        }
        Ok(())
    }

    fn assign(&self) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for ((topic, number), next) in &self.next {
            list.add_partition_offset(topic, *number, Offset::Offset(*next))?;
        }
        self.consumer.assign(&list)
    }

    /// Goes to the ends if they are too far away: live lines that are minutes old are none.
    fn keep_up(&mut self) -> KafkaResult<()> {
        let ends =
            self.consumer.context().0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let behind: i64 =
            self.next.iter().filter_map(|(partition, next)| Some((ends.get(partition)? - next).max(0))).sum();
        if behind <= BEHIND_MAX {
            return Ok(());
        }
        for (partition, next) in &mut self.next {
            *next = ends.get(partition).copied().unwrap_or(*next).max(*next);
        }
        self.shared.skip(behind.unsigned_abs());
        self.assign()
    }
}

/// The name and the document of a line as the index would get it.
fn parts(lines: &[u8]) -> Option<(String, Document)> {
    #[derive(Deserialize)]
    struct Action {
        create: Create,
    }
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "_id")]
        id: String,
    }
    let end = memchr::memchr(b'\n', lines)?;
    let action: Action = serde_json::from_slice(&lines[..end]).ok()?;
    Some((action.create.id, Document::of(serde_json::from_slice(&lines[end + 1..]).ok()?)))
}
