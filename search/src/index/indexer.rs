//! The loop between Kafka and OpenSearch: takes records, sends batches, settles them, commits.
//!
//! One thread does all of it, so nothing here is shared. It never waits for OpenSearch alone: while there is no room
//! for another batch it goes on polling, with its partitions paused, so that it stays a member of its group and
//! what the group decides is heard. Order within a partition needs no care here: the ledger commits prefixes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::Message;
use rdkafka::consumer::CommitMode;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::{debug, info, warn};

use super::batch::Batch;
use super::document::{Writer, Written};
use super::letters::{Letter, Letters, Posted};
use super::pace::Pace;
use super::report::{PartitionReport, Report, Window};
use super::sender::{Sender, Settled, Shipment};
use super::{Event, IndexPlan};
use crate::group::{Change, Group, list_of, partitions};
use crate::ledger::{BatchId, Ledger, Partition};

/// The longest wait for anything: signals and the clock are looked at so often.
const TURN: Duration = Duration::from_millis(100);
/// Without room for so long, partitions are paused. Sooner would be dear: what was prefetched is fetched again.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Offsets are committed so often; a crash costs the work of this long once more.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// The report is published so often.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// What is on its way when partitions are taken away may take so long to be settled. Longer would hold up the
/// whole group; the next owner writes the rest over itself.
const REVOKE_PATIENCE: Duration = Duration::from_secs(5);
/// A dead letter that Kafka did not take is sent again after this.
const LETTER_REST: Duration = Duration::from_secs(2);
/// More records are not held at once, however small they are: librdkafka needs some 300 bytes for each.
const RECORDS_MAX: usize = 20_000;
/// Refused records are told of one by one, so often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A batch that was sent.
struct InFlight<'c> {
    records: Vec<BorrowedMessage<'c>>,
    oldest_ms: i64,
    /// Dead letters of it that are not acknowledged; `None`: its documents are not settled yet.
    letters: Option<usize>,
}

/// Partitions that are to go.
struct Leaving {
    list: TopicPartitionList,
    until: Instant,
}

/// The loop's state.
pub(super) struct Indexer<'c> {
    plan: &'c IndexPlan,
    group: &'c Group,
    sender: Sender,
    letters: Letters,
    events: Receiver<Event>,
    window: Window,
    writer: Writer,
    pace: Pace,
    ledger: Ledger,
    batch: Batch<'c>,
    in_flight: BTreeMap<BatchId, InFlight<'c>>,
    leaving: Option<Leaving>,
    /// Letters that could not be sent, and when they are tried again.
    unsent: Vec<(Instant, Letter)>,
    /// Since when there is no room for another record.
    full_since: Option<Instant>,
    paused: bool,
    started_at: Instant,
    committed_at: Instant,
    published_at: Option<Instant>,
    told_at: Option<Instant>,
    last_refused: Option<String>,
    has_joined: bool,
}

impl<'c> Indexer<'c> {
    pub(super) fn new(
        plan: &'c IndexPlan,
        group: &'c Group,
        sender: Sender,
        letters: Letters,
        events: Receiver<Event>,
        window: Window,
    ) -> Indexer<'c> {
        let now = Instant::now();
        Indexer {
            plan,
            group,
            sender,
            letters,
            events,
            window,
            writer: Writer::new(&plan.prefix),
            pace: Pace::new(plan.batch_bytes_max),
            ledger: Ledger::default(),
            batch: Batch::new(BatchId(1)),
            in_flight: BTreeMap::new(),
            leaving: None,
            unsent: Vec::new(),
            full_since: None,
            paused: false,
            started_at: now,
            committed_at: now,
            published_at: None,
            told_at: None,
            last_refused: None,
            has_joined: false,
        }
    }

    /// Until `stop`; then settles what is on its way, within the time for it, and commits.
    pub(super) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.turn();
        }
        info!(batches = self.in_flight.len(), "stopping");
        let deadline = Instant::now() + self.plan.shutdown_timeout;
        // What was not sent is read again by whoever comes next.
        self.batch = self.empty_batch();
        self.pause(true);
        while !self.in_flight.is_empty() && Instant::now() < deadline {
            self.listen(TURN);
            self.resend_letters();
            // Stays a member meanwhile.
            let _paused = self.group.poll(Duration::ZERO);
            self.membership();
        }
        self.letters.flush(deadline.saturating_duration_since(Instant::now()));
        self.commit(CommitMode::Sync);
        if let Some(leaving) = self.leaving.take() {
            self.release(&leaving.list);
        }
        if !self.in_flight.is_empty() {
            warn!(batches = self.in_flight.len(), "not settled in time; their records will be read again");
        }
    }

    fn turn(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.settle(event);
        }
        self.membership();
        self.resend_letters();
        let now = Instant::now();
        if self.is_due(now) && self.has_slot() {
            self.ship();
        }
        if now - self.committed_at >= COMMIT_EVERY {
            self.commit(CommitMode::Async);
        }
        if self.published_at.is_none_or(|at| now - at >= PUBLISH_EVERY) {
            self.publish(now);
        }
        if self.has_room() {
            self.full_since = None;
            self.pause(false);
            self.take(now);
        } else {
            let since = *self.full_since.get_or_insert(now);
            if now - since >= PAUSE_AFTER {
                self.pause(true);
                // No record comes, but what the group decides does.
                if let Some(message) = self.group.poll(Duration::ZERO) {
                    self.add(message, now);
                }
            }
            self.listen(TURN);
        }
    }

    // ---- Taking ----

    fn is_full(&self) -> bool {
        self.batch.body.len() >= self.pace.bytes() || self.batch.records.len() >= RECORDS_MAX
    }

    fn has_slot(&self) -> bool {
        self.in_flight.len() < self.plan.requests
    }

    fn has_room(&self) -> bool {
        self.has_slot() || !self.is_full()
    }

    /// Whether the batch is to go: it is full, its first record has waited long enough, or partitions wait for it.
    fn is_due(&self, now: Instant) -> bool {
        let waited = self.batch.begun_at.is_some_and(|begun_at| now - begun_at >= self.plan.linger);
        !self.batch.is_empty() && (self.is_full() || waited || self.leaving.is_some())
    }

    /// Waits for a record, as long as nothing else is due, and takes what else is there already.
    fn take(&mut self, now: Instant) {
        let wait = match self.batch.begun_at {
            Some(begun_at) => (begun_at + self.plan.linger).saturating_duration_since(now).min(TURN),
            None => TURN,
        };
        let mut message = self.group.poll(wait);
        let now = Instant::now();
        while let Some(taken) = message {
            self.add(taken, now);
            if self.is_full() {
                break;
            }
            message = self.group.poll(Duration::ZERO);
        }
    }

    fn add(&mut self, message: BorrowedMessage<'c>, now: Instant) {
        if let Some(leaving) = &self.leaving
            && leaving.list.find_partition(message.topic(), message.partition()).is_some()
        {
            // Whoever gets the partition reads it.
            return;
        }
        let bytes = message.payload_len() as u64;
        let kind = match self.batch.take(message, &mut self.writer, now) {
            Written::Document => "document",
            Written::Text => "text",
            Written::Damaged => "damaged",
            Written::Nothing => "nothing",
        };
        self.window.metrics.records(kind).inc();
        self.window.metrics.bytes.inc_by(bytes);
    }

    fn empty_batch(&self) -> Batch<'c> {
        Batch::new(BatchId(self.batch.id.0 + 1))
    }

    fn ship(&mut self) {
        let next = self.empty_batch();
        let Batch { id, body, ends, records, spans, oldest_ms, .. } =
            std::mem::replace(&mut self.batch, next);
        for (partition, next) in &spans {
            self.ledger.sent(partition, id, *next);
        }
        if records.is_empty() {
            self.ledger.done(id);
            return;
        }
        self.in_flight.insert(id, InFlight { records, oldest_ms, letters: None });
        self.sender.send(Shipment { batch: id, body: body.into(), ends });
    }

    fn pause(&mut self, pause: bool) {
        if self.paused == pause {
            return;
        }
        let list = list_of(self.ledger.partitions());
        let result = if pause { self.group.pause(&list) } else { self.group.resume(&list) };
        if let Err(error) = result {
            // Records of a partition that is not paused are taken all the same; it is memory that is at stake.
            debug!(%error, pause, "cannot pause or resume");
        }
        self.paused = pause;
    }

    // ---- Settling ----

    fn listen(&mut self, wait: Duration) {
        match self.events.recv_timeout(wait) {
            Ok(event) => self.settle(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the sender lives as long as this"),
        }
    }

    fn settle(&mut self, event: Event) {
        match event {
            Event::Settled(settled) => self.settled(settled),
            Event::Posted(posted) => self.posted(posted),
        }
    }

    fn settled(&mut self, settled: Settled) {
        let Settled { batch, done, trip } = settled;
        let metrics = &self.window.metrics;
        metrics.created.inc_by(done.created);
        metrics.known.inc_by(done.known);
        metrics.retried.inc_by(done.retried);
        metrics.refused.inc_by(done.refused.len() as u64);
        metrics.batches.inc();
        metrics.request_seconds.observe(trip.took.as_secs_f64());
        self.pace.answered(&trip);
        let in_flight = self.in_flight.get_mut(&batch).expect("a batch is settled once");
        in_flight.letters = Some(done.refused.len());
        for (index, reason) in done.refused {
            let message = &self.in_flight[&batch].records[index];
            let text =
                format!("{}/{} at {}: {reason}", message.topic(), message.partition(), message.offset());
            let value_bytes_max = message.payload_len();
            if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                warn!("refused, to the dead letters: {text}");
                self.told_at = Some(Instant::now());
            }
            self.last_refused = Some(text);
            self.post(Letter { batch, index, reason, value_bytes_max });
        }
        self.close(batch);
    }

    fn post(&mut self, letter: Letter) {
        let Some(in_flight) = self.in_flight.get(&letter.batch) else { return };
        if let Err(letter) = self.letters.send(letter.clone(), &in_flight.records[letter.index]) {
            self.unsent.push((Instant::now() + LETTER_REST, letter));
        }
    }

    fn resend_letters(&mut self) {
        let now = Instant::now();
        while let Some(at) = self.unsent.iter().position(|(at, _)| *at <= now) {
            let (_, letter) = self.unsent.swap_remove(at);
            self.post(letter);
        }
    }

    fn posted(&mut self, posted: Posted) {
        let Posted { mut letter, error } = posted;
        match error {
            None => {
                self.window.metrics.dead_letters.inc();
                let in_flight = self.in_flight.get_mut(&letter.batch).expect("it waits for its letters");
                in_flight.letters = in_flight.letters.map(|letters| letters - 1);
                self.close(letter.batch);
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) if letter.value_bytes_max > 0 => {
                letter.value_bytes_max /= 2;
                self.post(letter);
            }
            Some(code) => {
                warn!(topic = self.plan.dead_letter_topic, %code, "a dead letter was not taken, and is sent again");
                self.unsent.push((Instant::now() + LETTER_REST, letter));
            }
        }
    }

    /// Forgets a batch of which nothing is on its way any more.
    fn close(&mut self, batch: BatchId) {
        if self.in_flight.get(&batch).is_some_and(|in_flight| in_flight.letters == Some(0)) {
            let in_flight = self.in_flight.remove(&batch).expect("it was just there");
            if in_flight.oldest_ms > 0 {
                let age_ms = unix_ms().saturating_sub(in_flight.oldest_ms).max(0);
                self.window.metrics.age_seconds.observe(age_ms as f64 / 1e3);
            }
            self.ledger.done(batch);
        }
    }

    /// Commits what can be. What the group does not take, in the middle of a rebalance say, is committed again: it
    /// counts as committed only when the group has said so.
    fn commit(&mut self, mode: CommitMode) {
        self.committed_at = Instant::now();
        for (partition, next) in self.group.committed() {
            self.ledger.committed(&partition, next);
        }
        let offsets: Vec<(Partition, i64)> =
            self.ledger.to_commit().map(|(partition, next)| (partition.clone(), next)).collect();
        if offsets.is_empty() {
            return;
        }
        self.window.metrics.commits.inc();
        if let Err(error) =
            self.group.commit(offsets.iter().map(|(partition, next)| (partition, *next)), mode)
        {
            info!(%error, "offsets are not committed yet");
        }
    }

    // ---- The group ----

    /// Does what the group decides. A change is begun when the one before it is done.
    fn membership(&mut self) {
        loop {
            if let Some(leaving) = self.leaving.take() {
                let waits = partitions(&leaving.list).any(|partition| self.ledger.in_flight(&partition) > 0);
                if (waits || !self.batch.is_empty()) && Instant::now() < leaving.until {
                    self.leaving = Some(leaving);
                    return;
                }
                self.commit(CommitMode::Sync);
                self.release(&leaving.list);
            }
            match self.group.change() {
                None => return,
                Some(Change::Assign(list)) => self.accept(&list),
                Some(Change::Revoke { list, is_lost: true }) => self.release(&list),
                Some(Change::Revoke { list, is_lost: false }) => {
                    if let Err(error) = self.group.pause(&list) {
                        debug!(%error, "cannot pause");
                    }
                    self.leaving = Some(Leaving { list, until: Instant::now() + REVOKE_PATIENCE });
                }
            }
        }
    }

    fn accept(&mut self, list: &TopicPartitionList) {
        self.has_joined = true;
        match self.group.accept(list) {
            Ok(()) => {
                for partition in partitions(list) {
                    info!(%partition, "ours");
                    self.window.metrics.partitions_moved.inc();
                    self.ledger.assigned(partition);
                }
            }
            Err(error) => warn!(%error, "cannot take partitions; the group will decide again"),
        }
        if self.paused {
            // The new ones are not.
            self.paused = false;
            self.pause(true);
        }
    }

    fn release(&mut self, list: &TopicPartitionList) {
        if let Err(error) = self.group.release(list) {
            warn!(%error, "cannot let partitions go; the group will decide again");
        }
        for partition in partitions(list) {
            info!(%partition, "no longer ours");
            self.window.metrics.partitions_moved.inc();
            self.ledger.revoked(&partition);
            self.batch.forget(&partition);
        }
    }

    // ---- Telling ----

    fn publish(&mut self, now: Instant) {
        self.published_at = Some(now);
        let partitions: Vec<PartitionReport> = self
            .ledger
            .partitions()
            .map(|partition| PartitionReport {
                topic: partition.topic.to_string(),
                partition: partition.number,
                committed: self.ledger.committed_of(partition),
                end: self.group.end_of(partition),
                in_flight: self.ledger.in_flight(partition),
            })
            .collect();
        let lag: i64 = partitions
            .iter()
            .filter_map(|partition| Some((partition.end? - partition.committed?).max(0)))
            .sum();
        let trouble = self.sender.trouble();
        let metrics = &self.window.metrics;
        metrics.batches_in_flight.set(self.in_flight.len() as i64);
        metrics
            .documents_in_flight
            .set(self.in_flight.values().map(|batch| batch.records.len() as i64).sum());
        metrics.batch_bytes.set(self.pace.bytes() as i64);
        metrics.partitions.set(partitions.len() as i64);
        metrics.paused.set(self.paused.into());
        metrics.lag.set(lag);
        let troubled_s = trouble.as_ref().map_or(0.0, |trouble| trouble.since.elapsed().as_secs_f64());
        metrics.trouble_seconds.set(troubled_s);
        let kafka_trouble = self.group.trouble();
        let reason = match (&trouble, &kafka_trouble) {
            (Some(trouble), _) => trouble.text.clone(),
            (None, Some(trouble)) => format!("Kafka: {trouble}"),
            (None, None) if !self.has_joined => "the group has not decided yet".to_owned(),
            (None, None) => String::new(),
        };
        self.window.publish(Report {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started_at.elapsed().as_secs_f64(),
            ready: reason.is_empty(),
            reason,
            group: self.plan.subscription.group.clone(),
            partitions,
            batches_in_flight: self.in_flight.len(),
            batch_bytes: self.pace.bytes(),
            paused: self.paused,
            opensearch_trouble: trouble.map(|trouble| (trouble.text, troubled_s)),
            kafka_trouble,
            dead_letters_waiting: self.in_flight.values().filter_map(|batch| batch.letters).sum(),
            last_refused: self.last_refused.clone(),
        });
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
