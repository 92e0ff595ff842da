//! What a test has of the world: topics, a group and indexes of its own, on a Kafka and an OpenSearch that it shares.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use logdrive_bench::indexed;
use logdrive_bench::verify::{Framing, Ledger, Verdict};
use logdrive_load::journal::Journal;
use logdrive_search::opensearch::{Client, JSON, Login, OpenSearchError, OpenSearchPlan};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::member::Member;
use crate::wait::{until, until_true};

const PATIENCE: Duration = Duration::from_secs(30);

/// Key and value of a record.
pub(crate) type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The stage of one test. Its indexes are deleted when it is dropped.
pub(crate) struct Stage {
    pub(crate) brokers: String,
    pub(crate) topic: String,
    pub(crate) dead: String,
    /// What the names of its indexes begin with.
    pub(crate) prefix: String,
    pub(crate) partitions: i32,
    /// `host:port` of OpenSearch.
    pub(crate) opensearch: String,
    root: TempDir,
    runtime: tokio::runtime::Runtime,
    client: Client,
    members: AtomicU32,
}

impl Stage {
    /// A stage with an empty topic of so many partitions.
    pub(crate) fn new(partitions: i32) -> Stage {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("index-{}-{number}", std::process::id());
        let brokers = std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA names a broker");
        let opensearch =
            std::env::var("LOGDRIVE_OPENSEARCH").expect("LOGDRIVE_OPENSEARCH names an OpenSearch");
        let plan = OpenSearchPlan {
            endpoints: vec![opensearch.clone()],
            tls: None,
            login: Login::None,
            timeout: PATIENCE,
        };
        let stage = Stage {
            brokers,
            topic: name.clone(),
            dead: format!("{name}-dead"),
            prefix: name,
            partitions,
            opensearch,
            root: tempfile::Builder::new().prefix("logdrive-").tempdir().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: Client::new(plan),
            members: AtomicU32::new(0),
        };
        stage.create_topic(&stage.topic, partitions, &[("max.message.bytes", "8000000")]);
        stage
    }

    fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let made = self.runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
        assert!(made[0].is_ok(), "{made:?}");
    }

    /// The words that make an indexer one of this stage, at another address of OpenSearch if need be.
    pub(crate) fn words(&self, opensearch: &str) -> Vec<String> {
        let words = [
            ("--brokers", self.brokers.as_str()),
            ("--topic", &self.topic),
            ("--dead-letter-topic", &self.dead),
            ("--url", &format!("http://{opensearch}")),
            ("--group", &self.topic),
            ("--set", &format!("index.prefix={}", self.prefix)),
            ("--set", "index.replicas=0"),
            // The broker notices a member that was killed after this.
            ("--set", "kafka.options={\"session.timeout.ms\" = 6000, \"heartbeat.interval.ms\" = 1000}"),
        ];
        words.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
    }

    /// Starts a member of the stage's group.
    pub(crate) fn member(&self) -> Member {
        self.member_with(&self.words(&self.opensearch))
    }

    /// Starts an indexer with these words.
    pub(crate) fn member_with(&self, words: &[String]) -> Member {
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        Member::start(words, self.file(&format!("member-{number}.log")))
    }

    /// A file of the stage's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Asks OpenSearch.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, OpenSearchError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let asked = self.client.ask(method.parse().unwrap(), path, body.into(), JSON);
        self.runtime.block_on(asked).map(|answer| serde_json::from_slice(&answer).unwrap())
    }

    /// `scripts/opensearch` for the one of `LOGDRIVE_OPENSEARCH`.
    pub(crate) fn control(&self, words: &[&str]) {
        let command = std::env::var("LOGDRIVE_OPENSEARCH_CTL").expect("LOGDRIVE_OPENSEARCH_CTL controls it");
        let output = Command::new(command).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// Documents that can be found.
    pub(crate) fn count(&self) -> u64 {
        let counted = self.ask("GET", &format!("/{}-*/_count", self.prefix), &Value::Null);
        counted.map_or(0, |answer| answer["count"].as_u64().unwrap())
    }

    /// Documents that a query of the query string syntax finds.
    pub(crate) fn find(&self, query: &str) -> Vec<Value> {
        let query = json!({ "size": 100, "query": { "query_string": { "query": query } } });
        self.ask("POST", &format!("/{}-*/_refresh", self.prefix), &Value::Null).unwrap();
        let found = self.ask("POST", &format!("/{}-*/_search", self.prefix), &query).unwrap();
        found["hits"]["hits"].as_array().unwrap().iter().map(|hit| hit["_source"].clone()).collect()
    }

    /// Sends records as they are: key, value.
    pub(crate) fn send(&self, records: &[Pair<'_>]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("message.max.bytes", "8000000")
            .create()
            .unwrap();
        for (number, (key, value)) in records.iter().enumerate() {
            let partition = i32::try_from(number).unwrap() % self.partitions;
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic).partition(partition);
            (record.key, record.payload) = (*key, *value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
    }

    /// The end of each partition of a topic.
    fn ends(&self, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        (0..partitions).map(|number| consumer.fetch_watermarks(topic, number, PATIENCE).unwrap().1).collect()
    }

    /// What the group has committed of each partition; 0 for nothing.
    pub(crate) fn committed(&self) -> Vec<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.topic)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for number in 0..self.partitions {
            list.add_partition(&self.topic, number);
        }
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        let offset =
            |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
        committed.elements().iter().map(offset).collect()
    }

    /// Waits until the group has committed everything that is in the topic.
    pub(crate) fn await_committed(&self) {
        let ends = self.ends(&self.topic, self.partitions);
        until_true("everything is committed", || self.committed() == ends);
    }

    /// The dead letters: value, and headers by name.
    pub(crate) fn dead_letters(&self, count: usize) -> Vec<(Vec<u8>, Value)> {
        use rdkafka::Message;
        use rdkafka::message::Headers;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "judge")
            .set("fetch.message.max.bytes", "8000000")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.dead, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut letters = Vec::new();
        while letters.len() < count {
            let message = until("a dead letter", || consumer.poll(Duration::from_millis(100)));
            let message = message.unwrap();
            let headers = message.headers().unwrap();
            let pairs = headers.iter().map(|header| {
                (
                    header.key.to_owned(),
                    Value::from(String::from_utf8_lossy(header.value.unwrap_or_default())),
                )
            });
            letters.push((message.payload().unwrap_or_default().to_vec(), Value::Object(pairs.collect())));
        }
        assert_eq!(self.ends(&self.dead, 1), [count as i64], "no more than that");
        letters
    }

    /// What became of the lines of a journal.
    pub(crate) fn judge(&self, journal: &Journal) -> Verdict {
        let mut ledger = Ledger::new(Framing::Line);
        let url = format!("http://{}", self.opensearch);
        indexed::read(&url, &format!("{}-*", self.prefix), |arrival| ledger.judge(arrival, |_| {})).unwrap();
        ledger.verdict(journal)
    }

    /// Every line of the journal is in the index, once and whole, and nothing else is.
    pub(crate) fn assert_exact(&self, journal: &Journal) {
        let verdict = self.judge(journal);
        // Lines are in the order of Kafka there, but of a line that was sent twice either may be the one.
        let exact = Verdict { reordered: 0, ..verdict.clone() };
        assert!(exact.passes(0), "{verdict}\n{}", verdict.sentence(0));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the indexers said belongs to the failure.
            for number in 0..self.members.load(Ordering::Relaxed) {
                let log = std::fs::read_to_string(self.file(&format!("member-{number}.log")));
                eprintln!("---- member {number}\n{}", log.unwrap_or_default());
            }
            eprintln!("committed {:?} of {:?}", self.committed(), self.ends(&self.topic, self.partitions));
        }
        let _ = self.ask("DELETE", &format!("/_index_template/{}-lines", self.prefix), &Value::Null);
        let named = self.ask("GET", &format!("/_cat/indices/{}-*?format=json", self.prefix), &Value::Null);
        // Names with a wildcard are not deleted by default.
        for index in named.ok().and_then(|named| named.as_array().cloned()).unwrap_or_default() {
            let _ = self.ask(
                "DELETE",
                &format!("/{}", index["index"].as_str().unwrap_or_default()),
                &Value::Null,
            );
        }
    }
}
