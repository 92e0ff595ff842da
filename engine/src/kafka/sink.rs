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

use super::ecs;
use super::freight::{Freight, Hold};
use super::instance::{Desk, Handed, Headers, Instance, Records, Remainder};
use super::native::code;
use super::reports::{News, Quota, Shared};
use super::route::{Format, Lanes, Route, RouteError};
use super::settings::{InFlightBudget, KafkaSettings, Properties, SettingsError};
use super::slots::{Slots, refuses_for_good};
use super::status::{InFlight, RoundTrip, SinkCounters, SinkStatus};
use super::topics::Topic;
use crate::bell::Bell;

/// Lines of librdkafka's in the log between two refills (see `upkeep`).
pub(super) const QUOTA_LINES: u32 = 6;

/// What librdkafka adds to key and value of a record when it checks the size
/// (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`), in bytes.
const RECORD_OVERHEAD_BYTES_MAX: usize = 36;

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
struct Bound {
    route: Route,
    topic: usize,
    revision: u32,
}

/// librdkafka as a [`Sink`].
pub struct KafkaSink {
    pub(super) settings: KafkaSettings,
    pub(super) properties: Properties,
    pub(super) budget: InFlightBudget,
    host: String,
    pub(super) shared: Arc<Shared>,
    pub(super) news: Receiver<(usize, News)>,
    pub(super) news_to: Sender<(usize, News)>,
    pub(super) instances: Vec<Instance>,
    pub(super) topics: Vec<Topic>,
    routes: HashMap<ItemId, Bound>,
    lanes: Lanes,
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
        Ok(sink)
    }

    /// Says where an item's batches go, before the first of them; again, to change it. The topic is
    /// asked about at once.
    pub fn define_route(&mut self, item: ItemId, route: Route) -> Result<(), RouteError> {
        route.check()?;
        let name = CString::new(route.topic.as_str()).expect("a checked name holds no NUL");
        let known = self.topics.iter().position(|topic| topic.name == name);
        let topic = known.unwrap_or(self.topics.len());
        if known.is_none() {
            self.topics.push(Topic::new(name, self.instances.len(), self.now));
        }
        for instance in &mut self.instances {
            instance
                .open(topic, &self.topics[topic].name)
                .map_err(|reason| RouteError::Refused { topic: route.topic.clone(), reason })?;
        }
        let revision = self.routes.get(&item).map_or(0, |bound| bound.revision.wrapping_add(1));
        self.routes.insert(item, Bound { route, topic, revision });
        for (at, topic) in self.topics.iter_mut().enumerate() {
            topic.wanted = self.routes.values().any(|bound| bound.topic == at);
        }
        self.ask();
        Ok(())
    }

    /// What is on its way.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        InFlight { batches: self.hold.batches(), messages: self.messages }
    }

    /// Everything that the sink can tell about itself.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        let clients = || self.instances.iter().filter_map(Instance::client);
        let limit = self.now - self.settings.stall_timeout / 2;
        SinkStatus {
            counters: SinkCounters { reports_unknown: self.shared.slots.strangers().into(), ..self.counters },
            in_flight: self.in_flight(),
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
    fn hand_over(&mut self, slot: u32, cursor: usize) -> Handed {
        let freight = self.hold.at(slot);
        let bound = &self.routes[&freight.batch.origin.item];
        let lane = self.lanes.of(&freight.batch.origin, &bound.route, bound.revision, &self.host);
        let headers = bound.route.headers.then_some(Headers { host: &self.host });
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
    fn after(&mut self, slot: u32, handed: Handed) {
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

    /// Takes a finished batch out and says what became of it.
    fn give_back(&mut self, slot: u32) -> Delivery {
        let freight = self.hold.unload(slot);
        let messages = freight.batch.events.len();
        self.messages -= messages;
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
            Outcome::Refused { .. } => self.counters.batches_refused += 1,
            Outcome::Lost { code } => {
                self.counters.batches_lost += 1;
                // Neither the end of an instance nor the company of a refused record is the topic's fault.
                let instances = matches!(code, code::PURGE_INFLIGHT | code::PURGE_QUEUE | code::FATAL);
                if !instances && !refuses_for_good(code) {
                    topic.lost(freight.instance, code, self.now);
                }
            }
        }
        Delivery { batch: freight.batch, outcome }
    }

    /// The first half of `try_send`: where the batch goes, if it can go now.
    fn place(&mut self, batch: &Batch) -> Result<Place, NoPlace> {
        let messages = batch.events.len();
        // A batch larger than the whole budget goes alone.
        if self.closed || (self.messages > 0 && self.messages + messages > self.budget.messages_max) {
            return Err(NoPlace::Full);
        }
        let item = batch.origin.item;
        let bound = self.routes.get(&item).unwrap_or_else(|| panic!("{item:?} has no route: {batch:?}"));
        let topic = &mut self.topics[bound.topic];
        let partitions = topic.open().ok_or(NoPlace::Unavailable)?;
        let lane = self.lanes.of(&batch.origin, &bound.route, bound.revision, &self.host);
        let Some(partition) = lane.partition(bound.route.partition, batch, partitions) else {
            if let super::route::Partition::Number(number) = bound.route.partition {
                topic.no_partition(0, number, self.now);
            }
            return Err(NoPlace::Unavailable);
        };
        let instance = partition as usize % self.instances.len();
        // A partition that has refused a batch takes one at a time: it must not hold up the others.
        if !topic.known_to(instance, partition) {
            return Err(NoPlace::Unavailable);
        }
        if !topic.admits(partition) {
            return Err(NoPlace::Blocked);
        }
        if self.instances[instance].remainder.is_some() || self.instances[instance].replace_by.is_some() {
            return Err(NoPlace::Full);
        }
        let slot = self.hold.vacancy().ok_or(NoPlace::Full)?;
        Ok(Place { slot, instance, topic: bound.topic, partition })
    }

    /// The second half: loads the batch and hands it over.
    fn send(&mut self, place: Place, batch: Batch) -> TrySend {
        let Place { slot, instance, topic, partition } = place;
        let messages = batch.events.len();
        let bound = &self.routes[&batch.origin.item];
        let documents = match bound.route.format {
            Format::Raw => None,
            Format::Ecs { .. } => {
                let lane = self.lanes.of(&batch.origin, &bound.route, bound.revision, &self.host);
                let mut documents = self.hold.documents();
                self.counters.messages_invalid_utf8 += ecs::render(&batch, &lane.ecs_rest, &mut documents);
                Some(documents)
            }
        };
        let ticket = self.shared.slots.open(slot, messages as u32);
        let freight = Freight {
            batch,
            ticket,
            instance,
            topic,
            partition,
            documents,
            alone: false,
            refused_here: false,
            finished: false,
        };
        self.hold.load(freight);
        let handed = match self.too_large(slot) {
            0 => self.hand_over(slot, 0),
            records => self.refuse(slot, records),
        };
        if let (0, Some(code)) = (handed.cursor, handed.stopped) {
            // librdkafka has nothing of it: as if it had never been here.
            let batch = self.hold.unload(slot).batch;
            match code {
                code::QUEUE_FULL => {}
                code::FATAL => self.rebuild(instance),
                _ => self.topics[topic].lost(instance, code, self.now),
            }
            return TrySend::Full(batch);
        }
        self.messages += messages;
        self.hold.at(slot).alone = self.topics[topic].sent(partition, self.now);
        self.after(slot, handed);
        TrySend::Sent
    }

    /// How many records of a batch librdkafka would refuse for their size.
    fn too_large(&mut self, slot: u32) -> u64 {
        let freight = self.hold.at(slot);
        let bound = &self.routes[&freight.batch.origin.item];
        let lane = self.lanes.of(&freight.batch.origin, &bound.route, bound.revision, &self.host);
        let beside = RECORD_OVERHEAD_BYTES_MAX + lane.key.as_ref().map_or(0, |key| key.len());
        let value_bytes_max = self.settings.message_bytes_max.saturating_sub(beside);
        let (_, events) = freight.values();
        events.iter().map(|event| u64::from(event.len as usize > value_bytes_max)).sum()
    }

    /// Refuses a whole batch before anything of it is sent, so that nothing of it is stored twice when
    /// it is sent again in halves.
    fn refuse(&mut self, slot: u32, records: u64) -> Handed {
        let freight = self.hold.at(slot);
        freight.refused_here = true;
        self.counters.messages_too_large += records;
        if self.shared.quota.take("larger than allowed here") {
            let (path, bytes_max) = (&freight.batch.origin.path, self.settings.message_bytes_max);
            warn!(records, bytes_max, %path, "the agent refuses records larger than `message_bytes_max`");
        }
        let events = freight.batch.events.len();
        let finished = self.shared.slots.settle(freight.ticket, events as u32, code::MSG_SIZE_TOO_LARGE);
        Handed { cursor: events, finished, ..Handed::default() }
    }
}

/// Why a batch cannot go now.
enum NoPlace {
    /// There is no room.
    Full,
    /// Its topic is not to be had.
    Unavailable,
    /// Its partition takes nothing now.
    Blocked,
}

/// Where a batch goes.
struct Place {
    slot: u32,
    instance: usize,
    topic: usize,
    partition: i32,
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
        if self.done.is_empty() {
            self.advance();
        }
        if let Some(slot) = self.done.pop_front() {
            return Some(self.give_back(slot));
        }
        let batch = self.abandoned.pop_front()?;
        self.counters.batches_lost += 1;
        Some(Delivery { batch, outcome: Outcome::Lost { code: code::PURGE_INFLIGHT } })
    }
}
