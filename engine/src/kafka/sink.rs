//! The sink itself: takes batches, gives them back, looks after its producer instances.
//!
//! All of it runs on the driver's thread and never waits, but for [`KafkaSink::shutdown`]. Time comes
//! in with [`KafkaSink::tick`], about once a second.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use logdrive_core::batch::{Batch, Delivery, Outcome, Sink, TrySend};
use logdrive_core::position::Nanos;
use logdrive_core::source::ItemId;
use tracing::warn;

use super::freight::Hold;
use super::instance::{Desk, Handed, Headers, Instance, Records, Remainder};
use super::letter_file::LetterFile;
use super::letters::{Letter, Letters, Refused};
use super::native::code;
use super::reports::{News, Quota, Shared};
use super::route::{Lanes, Route, RouteError};
use super::sending::NoPlace;
use super::settings::{InFlightBudget, KafkaSettings, LetterPlace, Properties, SettingsError};
use super::slots::{Slots, refuses_for_good};
use super::status::{InFlight, RoundTrip, SinkCounters, SinkStatus};
use super::topics::Topic;
use crate::bell::Bell;

/// Lines of librdkafka's in the log between two refills (see `upkeep`).
pub(super) const QUOTA_LINES: u32 = 6;

/// Room that the queues of finished batches begin with; more is allocated once, when it is needed.
const QUEUE_SLOTS: usize = 1024;

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// librdkafka refused them, or the system refused a thread.
    #[error("cannot create a kafka producer: {0}")]
    Producer(String),
}

/// The route of an item, bound to its topic.
pub(super) struct Bound {
    pub(super) route: Route,
    pub(super) topic: usize,
    pub(super) revision: u32,
}

/// librdkafka as a [`Sink`].
pub struct KafkaSink {
    pub(super) settings: KafkaSettings,
    pub(super) properties: Properties,
    pub(super) budget: InFlightBudget,
    pub(super) host: String,
    pub(super) shared: Arc<Shared>,
    pub(super) news: Receiver<(usize, News)>,
    pub(super) news_to: Sender<(usize, News)>,
    pub(super) instances: Vec<Instance>,
    pub(super) topics: Vec<Topic>,
    pub(super) routes: HashMap<ItemId, Bound>,
    pub(super) lanes: Lanes,
    pub(super) letters: Letters,
    pub(super) hold: Hold,
    desk: Desk,
    /// Slots whose batches can be given back, in the order in which they finished.
    pub(super) done: VecDeque<u32>,
    /// What a producer that did not end in time has kept, to be given back as lost.
    pub(super) abandoned: VecDeque<Batch>,
    /// The other half of the swap with the reporters; kept for its memory.
    arriving: Vec<u32>,
    pub(super) messages: usize,
    pub(super) counters: SinkCounters,
    pub(super) round_trips: Vec<Vec<RoundTrip>>,
    /// The time of the last tick.
    pub(super) now: Nanos,
    pub(super) ticks: u64,
    /// Files wait for memory that is in flight.
    pub(super) starved: bool,
    pub(super) closed: bool,
}

impl KafkaSink {
    /// Creates the producers; no broker needs to be there yet. `host` is the name in keys, headers and
    /// documents. The bell rings when there may be a delivery or room.
    pub fn new(
        settings: KafkaSettings,
        budget: InFlightBudget,
        host: &str,
        bell: Bell,
    ) -> Result<KafkaSink, KafkaError> {
        let properties = settings.properties(budget)?;
        for warning in &properties.warnings {
            warn!("kafka: {warning}");
        }
        let shared = Arc::new(Shared {
            slots: Slots::new(),
            finished: Mutex::new(Vec::with_capacity(QUEUE_SLOTS)),
            bell,
            quota: Quota::new(QUOTA_LINES),
            last_error: Mutex::default(),
        });
        let (news_to, news) = channel();
        let mut sink = KafkaSink {
            instances: (0..settings.producers).map(Instance::new).collect(),
            round_trips: vec![Vec::new(); settings.producers],
            settings,
            properties,
            budget,
            host: host.to_owned(),
            shared,
            news,
            news_to,
            topics: Vec::new(),
            routes: HashMap::new(),
            lanes: Lanes::default(),
            letters: Letters::default(),
            hold: Hold::default(),
            desk: Desk::default(),
            done: VecDeque::with_capacity(QUEUE_SLOTS),
            abandoned: VecDeque::new(),
            arriving: Vec::with_capacity(QUEUE_SLOTS),
            messages: 0,
            counters: SinkCounters::default(),
            now: Nanos::default(),
            ticks: 0,
            starved: false,
            closed: false,
        };
        for instance in &mut sink.instances {
            instance
                .start(&sink.properties.pairs, &sink.shared, &sink.news_to)
                .map_err(KafkaError::Producer)?;
        }
        sink.keep_letters().map_err(KafkaError::Producer)?;
        Ok(sink)
    }

    /// Prepares the place for dead letters, if there is one.
    fn keep_letters(&mut self) -> Result<(), String> {
        let Some(dead) = self.settings.dead_letters.clone() else { return Ok(()) };
        self.letters = Letters::new(dead.on_failure);
        match dead.place {
            LetterPlace::Topic(name) => {
                let name = CString::new(name).map_err(|_| "the name of a topic holds a NUL".to_owned())?;
                self.letters.topic = Some(self.open_topic(name)?);
                self.ask();
            }
            LetterPlace::File { path, bytes_max } => {
                let bell = self.shared.bell.clone();
                let file = LetterFile::start(path, bytes_max, dead.on_failure, bell);
                self.letters.file = Some(file.map_err(|error| format!("cannot start a thread: {error}"))?);
            }
        }
        Ok(())
    }

    /// The number of a topic, known to all producers from now on.
    fn open_topic(&mut self, name: CString) -> Result<usize, String> {
        let known = self.topics.iter().position(|topic| topic.name == name);
        let topic = known.unwrap_or(self.topics.len());
        if known.is_none() {
            self.topics.push(Topic::new(name, self.instances.len(), self.now));
        }
        for instance in &mut self.instances {
            instance.open(topic, &self.topics[topic].name)?;
        }
        Ok(topic)
    }

    /// Says where an item's batches go, before the first of them; again, to change it. The topic is
    /// asked about at once.
    pub fn define_route(&mut self, item: ItemId, route: Route) -> Result<(), RouteError> {
        route.check()?;
        let name = CString::new(route.topic.as_str()).expect("a checked name holds no NUL");
        let topic = self
            .open_topic(name)
            .map_err(|reason| RouteError::Refused { topic: route.topic.clone(), reason })?;
        let revision = self.routes.get(&item).map_or(0, |bound| bound.revision.wrapping_add(1));
        self.routes.insert(item, Bound { route, topic, revision });
        for (at, topic) in self.topics.iter_mut().enumerate() {
            let routed = self.routes.values().any(|bound| bound.topic == at);
            topic.wanted = routed || self.letters.topic == Some(at);
        }
        self.ask();
        Ok(())
    }

    /// What is on its way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        InFlight { batches: self.hold.batches() + self.letters.waiting(), messages: self.messages }
    }

    /// Everything that the sink can tell about itself.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        let clients = || self.instances.iter().filter_map(Instance::client);
        let limit = self.now - self.settings.stall_timeout / 2;
        SinkStatus {
            counters: SinkCounters { reports_unknown: self.shared.slots.strangers().into(), ..self.counters },
            in_flight: self.in_flight(),
            letters_waiting: self.letters.waiting(),
            queue_messages: clients().map(|client| client.outq_len()).sum(),
            producers_running: clients().count(),
            partitions_stalled: self.topics.iter().map(|topic| topic.waiting(limit).count()).sum(),
            topics: self.topics.iter().filter(|topic| topic.wanted).map(Topic::status).collect(),
            last_error: self.shared.last_error.lock().expect("nobody panics with it").clone(),
            round_trips: self.round_trips.concat(),
        }
    }

    /// Takes in what the reporters have to tell, and goes on with batches that were taken in part.
    pub(super) fn advance(&mut self) {
        self.collect();
        while let Ok((instance, news)) = self.news.try_recv() {
            self.hear(instance, news);
        }
        self.go_on();
        self.advance_letters();
        self.replace_settled();
    }

    /// Moves finished slots over, without allocating.
    pub(super) fn collect(&mut self) {
        std::mem::swap(&mut *self.shared.finished.lock().expect("nobody panics with it"), &mut self.arriving);
        for slot in self.arriving.drain(..) {
            self.hold.at(slot).finished = true;
            self.done.push_back(slot);
        }
    }

    /// Hands over the rest of batches that a full queue took in part.
    fn go_on(&mut self) {
        for instance in 0..self.instances.len() {
            let Some(Remainder { slot, cursor }) = self.instances[instance].remainder.take() else {
                continue;
            };
            let handed = self.hand_over(slot, cursor);
            self.after(slot, handed);
        }
    }

    /// Hands over the batch in a slot, from an event on.
    pub(super) fn hand_over(&mut self, slot: u32, cursor: usize) -> Handed {
        let freight = self.hold.at(slot);
        let bound = &self.routes[&freight.batch.origin.item];
        let lane = self.lanes.of(&freight.batch.origin, &bound.route, bound.revision, &self.host);
        let letter = freight.letter.as_ref();
        let origin = bound.route.headers || letter.is_some_and(Letter::names_origin);
        let origin_on = origin.then_some(&self.host[..]);
        let labels = if origin { &lane.labels[..] } else { &[] };
        let headers = (origin || letter.is_some()).then_some(Headers { origin_on, labels, letter });
        let records = Records { key: lane.key.as_deref(), headers };
        let instance = &self.instances[freight.instance];
        let handed = instance.hand_over(freight, cursor, records, &self.shared.slots, &mut self.desk);
        if handed.refused > 0 {
            // Only headers can still make a record too large after `too_large`.
            freight.refused_here = true;
            self.counters.messages_too_large += handed.refused;
        }
        self.counters.queue_full += u64::from(handed.stopped == Some(code::QUEUE_FULL));
        handed
    }

    /// Books what became of a batch that librdkafka has, at least in part.
    pub(super) fn after(&mut self, slot: u32, handed: Handed) {
        let freight = self.hold.at(slot);
        let mut finished = handed.finished;
        match handed.stopped {
            None => {}
            Some(code::QUEUE_FULL) => {
                self.instances[freight.instance].remainder = Some(Remainder { slot, cursor: handed.cursor });
            }
            Some(code) => {
                let rest = (freight.batch.events.len() - handed.cursor) as u32;
                finished |= self.shared.slots.settle(freight.ticket, rest, code);
            }
        }
        if finished {
            freight.finished = true;
            self.done.push_back(slot);
        }
    }

    /// Takes a finished batch out and says what became of it; nothing yet if it is sent for a second time.
    fn give_back(&mut self, slot: u32) -> Option<Delivery> {
        let freight = self.hold.at(slot);
        let (here, instance) = (freight.refused_here, freight.instance);
        let value_bytes = freight.values().1.first().map_or(0, |value| value.len as usize);
        let freight = self.hold.unload(slot);
        let messages = freight.batch.events.len();
        let topic = &mut self.topics[freight.topic];
        topic.returned(freight.partition, self.now);
        // Not settled to the end only when the whole instance is gone.
        let gone = Outcome::Lost { code: code::PURGE_INFLIGHT };
        let mut outcome = self.shared.slots.outcome(freight.ticket).unwrap_or(gone);
        if let Outcome::Refused { code } = outcome
            && !freight.refused_here
            && !topic.refused(freight.partition, freight.alone)
        {
            outcome = Outcome::Lost { code };
        }
        match outcome {
            Outcome::Acked => {
                self.counters.batches_acked += 1;
                self.counters.messages_acked += messages as u64;
                topic.arrived(freight.partition);
            }
            Outcome::Refused { .. } | Outcome::Diverted => self.counters.batches_refused += 1,
            Outcome::Lost { code } => {
                self.counters.batches_lost += 1;
                // Neither the end of an instance nor the company of a refused record is the topic's fault.
                let instances = matches!(code, code::PURGE_INFLIGHT | code::PURGE_QUEUE | code::FATAL);
                if !instances && !refuses_for_good(code) {
                    topic.lost(freight.instance, code, self.now);
                }
            }
        }
        let refused = Refused { value_bytes, here, instance };
        match (freight.letter, outcome) {
            (Some(letter), _) => self.letter_back(freight.batch, letter, outcome, refused),
            (None, Outcome::Refused { code }) if messages == 1 => self.divert(freight.batch, code, refused),
            _ => Some(self.given_back(freight.batch, outcome)),
        }
    }

    /// A batch is the engine's again.
    pub(super) fn given_back(&mut self, batch: Batch, outcome: Outcome) -> Delivery {
        self.messages -= batch.events.len();
        Delivery { batch, outcome }
    }
}

impl Sink for KafkaSink {
    fn try_send(&mut self, batch: Batch) -> TrySend {
        self.advance();
        let sent = match self.place(&batch) {
            Ok(place) => self.send(place, batch),
            Err(NoPlace::Full) => TrySend::Full(batch),
            Err(NoPlace::Unavailable) => TrySend::Unavailable(batch),
            Err(NoPlace::Blocked) => TrySend::Blocked(batch),
        };
        self.counters.handed_back += u64::from(matches!(sent, TrySend::Full(_)));
        sent
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        loop {
            if self.done.is_empty() {
                self.advance();
            }
            if let Some(delivery) = self.letters.settled.pop_front() {
                return Some(delivery);
            }
            let Some(slot) = self.done.pop_front() else { break };
            if let Some(delivery) = self.give_back(slot) {
                return Some(delivery);
            }
        }
        let batch = self.abandoned.pop_front()?;
        self.counters.batches_lost += 1;
        Some(Delivery { batch, outcome: Outcome::Lost { code: code::PURGE_INFLIGHT } })
    }
}
