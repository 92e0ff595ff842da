//! What the sink does beside moving batches: asks about topics, watches for stalls, rebuilds producers,
//! and ends.
//!
//! A producer is rebuilt when librdkafka declares it broken, or when batches to a partition that has a
//! leader make no progress for [`KafkaSettings::stall_timeout`] although a broker answers questions all
//! that time: then waiting longer helps nobody, and replaying from the files costs at most duplicates.
//! While no broker answers, nothing is rebuilt: librdkafka waits as well as we could. Nor is it for a
//! partition without a leader, unless what waits for it leaves no memory for the others: taken back, it
//! waits in its files.
//!
//! [`KafkaSettings::stall_timeout`]: super::KafkaSettings::stall_timeout

use std::time::{Duration, Instant};

use logdrive_core::position::Nanos;
use tracing::{error, info, warn};

use super::freight::Freight;
use super::native::{Described, code, name_of};
use super::reports::News;
use super::sink::{KafkaSink, QUOTA_LINES};

/// What waits for so long is reason enough to ask whether its partition has a leader.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// Ticks between two refills of the log quota.
const QUOTA_TICKS: u64 = 10;
/// How long creating a topic may take.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end may take when nobody said.
const DROP_TIMEOUT: Duration = Duration::from_secs(15);

impl KafkaSink {
    /// To be called about once a second: time passes only here.
    pub fn tick(&mut self, now: Nanos) {
        self.now = now;
        self.ticks += 1;
        self.advance();
        self.start_absent();
        let resumed = self.topics.iter_mut().filter_map(|topic| topic.resume(now).then_some(())).count();
        if resumed > 0 {
            self.shared.bell.ring();
        }
        self.watch();
        self.ask();
        if self.ticks.is_multiple_of(QUOTA_TICKS) {
            let muted = self.shared.quota.refill(QUOTA_LINES);
            if muted > 0 {
                warn!(muted, "kafka: more messages of this kind were not shown");
            }
        }
    }

    /// Asks about all topics if one is due, one question at a time for each instance.
    pub(super) fn ask(&mut self) {
        for instance in &mut self.instances {
            if self.topics.iter().any(|topic| topic.is_due(instance.index, self.now)) {
                instance.ask(self.now);
            }
        }
    }

    /// Takes one piece of news in.
    pub(super) fn hear(&mut self, instance: usize, news: News) {
        match news {
            News::Described(described) => self.described(instance, described),
            News::Created { topic, code, text } => self.created(&topic, code, &text),
            News::Fatal { code, text } => {
                warn!(instance, code, text, "kafka producer is rebuilt after a fatal error");
                self.rebuild(instance);
            }
            News::RoundTrips(found) => self.round_trips[instance] = found,
            News::Retired => self.retired(instance),
        }
    }

    fn described(&mut self, instance: usize, described: Described) {
        let slow = self.settings.stall_timeout / 4;
        self.instances[instance].answered(described.is_ok(), slow, self.now);
        let all = match described {
            Ok(all) => all,
            Err((reason, text)) => {
                if self.shared.quota.take("no broker answers") {
                    let reason = name_of(reason);
                    warn!(reason, text, brokers = self.settings.brokers, "no broker answers; lines wait");
                }
                return;
            }
        };
        let create = self.settings.create_topics;
        for seen in all {
            let Some(topic) = self.topics.iter_mut().find(|t| t.name.to_bytes() == seen.name.as_bytes())
            else {
                continue;
            };
            let missing = topic.seen(instance, &seen, create.is_some(), self.now);
            let Some(create) = create.filter(|_| missing && !topic.creating) else { continue };
            let Some(client) = self.instances[instance].client() else { continue };
            match client.create_topic(&topic.name, create.partitions, create.replication, CREATE_TIMEOUT) {
                Ok(()) => topic.creating = true,
                Err(text) => topic.fail(code::INVALID_TOPIC, &text, self.now),
            }
        }
        // Batches that waited for this can go now.
        self.shared.bell.ring();
    }

    fn created(&mut self, name: &str, reason: i32, text: &str) {
        let instances = self.instances.len();
        for topic in self.topics.iter_mut().filter(|topic| topic.creating) {
            // An answer without a name is the failure of the whole request.
            if !name.is_empty() && topic.name.to_bytes() != name.as_bytes() {
                continue;
            }
            topic.creating = false;
            match reason {
                0 => {
                    info!(topic = name, "topic created");
                    self.counters.topics_created += 1;
                }
                code::TOPIC_ALREADY_EXISTS => {}
                _ => {
                    let why = if text.is_empty() { name_of(reason) } else { text.to_owned() };
                    topic.fail(reason, &format!("does not exist and cannot be created: {why}"), self.now);
                    continue;
                }
            }
            (0..instances).for_each(|other| topic.ask_soon(other, self.now));
        }
        self.ask();
    }

    /// Looks for partitions that make no progress, asks whether a broker answers, and rebuilds.
    fn watch(&mut self) {
        let timeout = self.settings.stall_timeout;
        let producers = self.instances.len();
        for index in 0..producers {
            let instance = &self.instances[index];
            let ours = |partition: i32| partition as usize % producers == index;
            let moving = self.topics.iter().any(|topic| topic.moving(self.now - timeout / 2).any(ours));
            let crowded = self.starved && !moving;
            let mut stalled = None;
            for topic in &mut self.topics {
                let waiting = topic.waiting(self.now - LOOK_AFTER.min(timeout / 2));
                let (mut any, mut over) = (false, None);
                for (partition, since, has_leader) in waiting.filter(|(partition, ..)| ours(*partition)) {
                    any = true;
                    let waited = match has_leader {
                        true => instance.could_have_gone_on(since, self.now),
                        false => crowded.then(|| self.now.since(since)),
                    };
                    over = over.or(waited.filter(|waited| *waited >= timeout).map(|w| (partition, w)));
                }
                if any {
                    topic.ask_soon(index, self.now);
                }
                stalled = stalled.or(over.map(|over| (topic.status().name, over)));
            }
            if let Some((topic, (partition, waited))) = stalled {
                let why = if crowded { "what waits fills the memory" } else { "brokers answer" };
                error!(topic, partition, ?waited, why, "partition makes no progress; producer is rebuilt");
                self.rebuild(index);
            }
        }
    }

    /// Says whether files wait for the memory that is in flight.
    pub fn starve(&mut self, starved: bool) {
        self.starved = starved;
    }

    /// Takes an instance down; when that is done its batches come back, and a new one is created.
    pub(super) fn rebuild(&mut self, instance: usize) {
        if self.instances[instance].client().is_some() {
            self.counters.rebuilds += 1;
            self.instances[instance].retire();
        }
    }

    /// An instance is gone: whatever it has not settled is lost, and nothing points to it any more.
    fn retired(&mut self, instance: usize) {
        self.collect();
        self.instances[instance].retired();
        let mut unfinished: Vec<&mut Freight> = self.hold.unfinished(instance).collect();
        unfinished.sort_unstable_by_key(|freight| freight.batch.id);
        for freight in unfinished {
            freight.finished = true;
            self.done.push_back(freight.ticket.slot);
        }
        self.round_trips[instance].clear();
        // An answer to a request to create a topic is lost with the instance.
        self.topics.iter_mut().for_each(|topic| topic.creating = false);
        self.start_absent();
        self.ask();
    }

    /// Creates the instances that are not there, unless the sink is closed.
    fn start_absent(&mut self) {
        if self.closed {
            return;
        }
        for instance in self.instances.iter_mut().filter(|instance| instance.is_absent()) {
            let started =
                instance.start(&self.properties.pairs, &self.shared, &self.news_to).and_then(|()| {
                    self.topics.iter_mut().enumerate().try_for_each(|(at, topic)| {
                        topic.forget(instance.index, self.now);
                        instance.open(at, &topic.name)
                    })
                });
            if let Err(reason) = started {
                // Tried again at the next tick.
                error!(instance = instance.index, reason, "cannot create a kafka producer");
                instance.retire();
            }
        }
    }

    /// Ends: delivers what it can within half of `grace`, gives up the rest, and takes the producers
    /// down. Takes nothing any more; what was on its way is there for `poll_delivery`.
    /// True if everything was delivered.
    pub fn shutdown(&mut self, grace: Duration) -> bool {
        self.close(grace / 2, grace / 2)
    }

    /// Ends as [`KafkaSink::shutdown`], but delivers nothing more: what is on its way is given up. Waits for that as
    /// long as it takes a producer to end, also if a question to a dead broker keeps it up, so that every batch
    /// comes back.
    pub fn give_up(&mut self) {
        self.close(Duration::ZERO, DROP_TIMEOUT);
    }

    fn close(&mut self, flush: Duration, retire: Duration) -> bool {
        self.closed = true;
        let flush_until = Instant::now() + flush;
        let flushed = self.flush(flush_until);
        for instance in &mut self.instances {
            instance.retire();
        }
        let retire_until = Instant::now() + retire;
        while self.instances.iter().any(super::instance::Instance::is_retiring) {
            let left = retire_until.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok((instance, news)) => self.hear(instance, news),
                Err(_) => break,
            }
        }
        for instance in self.instances.iter().filter(|instance| instance.is_retiring()) {
            // Its threads may still read those bytes: they stay where they are for ever.
            let abandoned = self.hold.abandon(instance.index);
            let batches = abandoned.len();
            self.messages -= abandoned.iter().map(|batch| batch.events.len()).sum::<usize>();
            self.abandoned.extend(abandoned);
            warn!(instance = instance.index, batches, "kafka producer did not end in time; left behind");
        }
        self.close_letters(retire_until);
        flushed
    }

    /// Waits until everything is delivered; whether it was.
    fn flush(&mut self, until: Instant) -> bool {
        loop {
            self.advance();
            let left = until.saturating_duration_since(Instant::now());
            let clients = self.instances.iter().filter_map(|instance| instance.client());
            // In slices, because the rest of a batch may wait for room.
            let slice = left.min(Duration::from_millis(100));
            let empty = clients.filter(|client| !client.flush(slice)).count() == 0;
            let whole = self.instances.iter().all(|instance| instance.remainder.is_none());
            if (empty && whole) || left.is_zero() {
                return empty && whole;
            }
        }
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        if !self.closed {
            self.close(Duration::ZERO, DROP_TIMEOUT);
        }
    }
}
