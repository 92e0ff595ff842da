//! Dead letters: records that the index refuses for good go to a topic of their own, as they were, with the reason.
//!
//! A letter is on its way until Kafka has acknowledged it; what cannot be delivered comes back and is tried again by
//! whoever keeps the record. One that is too large for its topic, which has room for less than the topic it came
//! from, is cut until it fits.

use std::sync::mpsc::Sender;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tracing::{debug, info, warn};

use super::Event;
use crate::group::KafkaPlan;
use crate::ledger::BatchId;

/// How long a broker may take to describe or make the topic.
const TOPIC_PATIENCE: Duration = Duration::from_secs(10);
/// What is said in headers may be long: a mapping conflict quotes the document.
const REASON_BYTES_MAX: usize = 2000;

/// The record that a letter is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Letter {
    /// The batch that it came with.
    pub(super) batch: BatchId,
    /// Which one of it.
    pub(super) index: usize,
    /// Why it was refused.
    pub(super) reason: String,
    /// So many bytes of its value are sent at most.
    pub(super) value_bytes_max: usize,
}

/// What became of a letter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Posted {
    /// Which one.
    pub(super) letter: Letter,
    /// Why Kafka does not have it; `None`: it has.
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// The way to the topic.
pub(super) struct Letters {
    topic: String,
    producer: ThreadedProducer<Reports>,
}

struct Reports {
    events: Sender<Event>,
}

impl ClientContext for Reports {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What becomes of a letter comes as its own report.
        debug!(facility, "librdkafka: {text}");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Letter>;

    fn delivery(&self, result: &DeliveryResult<'_>, letter: Box<Letter>) {
        let error = result
            .as_ref()
            .err()
            .map(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
        // Nobody listens any more: then it is written again by whoever reads the record next.
        let _ = self.events.send(Event::Posted(Posted { letter: *letter, error }));
    }
}

impl Letters {
    /// A way to `topic`, which is made if it is not there and may be.
    ///
    /// # Errors
    /// librdkafka does not take the settings.
    pub(super) fn new(plan: &KafkaPlan, topic: &str, events: Sender<Event>) -> KafkaResult<Letters> {
        let producer: ThreadedProducer<Reports> = plan
            .client()
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            // Brokers decide what is too large, not librdkafka.
            .set("message.max.bytes", "1000000000")
            .set("compression.codec", "lz4")
            .create_with_context(Reports { events })?;
        make_topic(plan, topic);
        Ok(Letters { topic: topic.to_owned(), producer })
    }

    /// Sends a record; what becomes of it is told as an [`Event::Posted`].
    ///
    /// # Errors
    /// The letter, if there is no room for it now.
    pub(super) fn send(&self, letter: Letter, message: &BorrowedMessage<'_>) -> Result<(), Letter> {
        let headers = headers(&letter, message);
        let value = message.payload().map(|value| &value[..value.len().min(letter.value_bytes_max)]);
        let mut record: BaseRecord<'_, [u8], [u8], Box<Letter>> =
            BaseRecord::with_opaque_to(&self.topic, Box::new(letter)).headers(headers);
        record.key = message.key();
        record.payload = value;
        self.producer.send(record).map_err(|(_, record)| *record.delivery_opaque)
    }

    /// Waits for what is on its way, so long at most.
    pub(super) fn flush(&self, patience: Duration) {
        if let Err(error) = self.producer.flush(patience) {
            warn!(%error, "dead letters are still on their way; their records will be read again");
        }
    }
}

/// Those of the record, and where it was and why it is not in the index.
fn headers(letter: &Letter, message: &BorrowedMessage<'_>) -> OwnedHeaders {
    let reason = match letter.reason.char_indices().find(|(at, _)| *at >= REASON_BYTES_MAX) {
        Some((at, _)) => &letter.reason[..at],
        None => &letter.reason,
    };
    let more = [
        ("logdrive.reason", reason.to_owned()),
        ("logdrive.topic", message.topic().to_owned()),
        ("logdrive.partition", message.partition().to_string()),
        ("logdrive.offset", message.offset().to_string()),
        ("logdrive.timestamp", message.timestamp().to_millis().unwrap_or(0).to_string()),
    ];
    let own = message.headers().map_or_else(OwnedHeaders::new, |headers| headers.detach());
    more.iter().fold(own, |all, (key, value)| all.insert(Header { key, value: Some(value) }))
}

/// Makes the topic of dead letters if it is not there: the moment when the first one comes is a bad one to find
/// out. What stands in the way is said, and then waited for when a letter is sent.
fn make_topic(plan: &KafkaPlan, topic: &str) {
    let made = || -> KafkaResult<bool> {
        let admin: AdminClient<DefaultClientContext> = plan.client().create()?;
        let known = admin.inner().fetch_metadata(Some(topic), TOPIC_PATIENCE)?;
        if known.topics().iter().any(|known| known.name() == topic && known.error().is_none()) {
            return Ok(false);
        }
        let new = NewTopic::new(topic, -1, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(TOPIC_PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        match runtime.block_on(admin.create_topics([&new], &options))?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(false),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            Some(Ok(_)) => Ok(true),
        }
    };
    match made() {
        Ok(true) => info!(topic, "made the topic of dead letters"),
        Ok(false) => {}
        Err(error) => warn!(
            topic,
            %error,
            "the topic of dead letters cannot be looked at or made; a record that the index refuses will wait for it"
        ),
    }
}
