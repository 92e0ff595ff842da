//! How a batch goes out: where to, in which shape, and whether librdkafka takes it now.

use logdrive_core::batch::{Batch, TrySend};
use tracing::warn;

use super::ecs::{self, Documents};
use super::freight::Freight;
use super::instance::Handed;
use super::letters::Letter;
use super::native::code;
use super::route::{Format, Partition};
use super::sink::KafkaSink;

/// What librdkafka adds to key and value of a record when it checks the size
/// (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`), in bytes.
pub(super) const RECORD_OVERHEAD_BYTES_MAX: usize = 36;

/// Why a batch cannot go now.
pub(super) enum NoPlace {
    /// There is no room.
    Full,
    /// Its topic is not to be had.
    Unavailable,
    /// Its partition takes nothing now.
    Blocked,
}

/// Where a batch goes.
pub(super) struct Place {
    slot: u32,
    instance: usize,
    topic: usize,
    partition: i32,
}

impl KafkaSink {
    /// The first half of `try_send`: where the batch goes, if it can go now.
    pub(super) fn place(&mut self, batch: &Batch) -> Result<Place, NoPlace> {
        let messages = batch.events.len();
        // A batch larger than the whole budget goes alone.
        if self.closed || (self.messages > 0 && self.messages + messages > self.budget.messages_max) {
            return Err(NoPlace::Full);
        }
        let (topic, partition) = self.destination(batch)?;
        self.berth(topic, partition)
    }

    /// The topic and the partition of a batch, if the topic is to be had.
    pub(super) fn destination(&mut self, batch: &Batch) -> Result<(usize, i32), NoPlace> {
        let item = batch.origin.item;
        let bound = self.routes.get(&item).unwrap_or_else(|| panic!("{item:?} has no route: {batch:?}"));
        let topic = &mut self.topics[bound.topic];
        let partitions = topic.open().ok_or(NoPlace::Unavailable)?;
        let lane = self.lanes.of(&batch.origin, &bound.route, bound.revision, &self.host);
        let Some(partition) = lane.partition(bound.route.partition, batch, partitions) else {
            if let Partition::Number(number) = bound.route.partition {
                topic.no_partition(0, number, self.now);
            }
            return Err(NoPlace::Unavailable);
        };
        Ok((bound.topic, partition))
    }

    /// Room for one more batch on the way to a partition.
    pub(super) fn berth(&mut self, topic: usize, partition: i32) -> Result<Place, NoPlace> {
        let instance = partition as usize % self.instances.len();
        let known = &self.topics[topic];
        // A partition that has refused a batch takes one at a time: it must not hold up the others.
        if !known.known_to(instance, partition) {
            return Err(NoPlace::Unavailable);
        }
        if !known.admits(partition) {
            return Err(NoPlace::Blocked);
        }
        if self.instances[instance].remainder.is_some() || self.instances[instance].replace_by.is_some() {
            return Err(NoPlace::Full);
        }
        let slot = self.hold.vacancy().ok_or(NoPlace::Full)?;
        Ok(Place { slot, instance, topic, partition })
    }

    /// The second half: loads the batch and hands it over.
    pub(super) fn send(&mut self, place: Place, batch: Batch) -> TrySend {
        let messages = batch.events.len();
        let bound = &self.routes[&batch.origin.item];
        let documents = match bound.route.format {
            Format::Raw => None,
            Format::Ecs { .. } => {
                let lane = self.lanes.of(&batch.origin, &bound.route, bound.revision, &self.host);
                let mut documents = self.hold.documents();
                let invalid = ecs::render(&batch, &batch.events, &lane.ecs_rest, &mut documents);
                self.counters.messages_invalid_utf8 += invalid;
                Some(documents)
            }
        };
        let slot = self.load(place, batch, documents, None);
        let handed = match self.too_large(slot) {
            0 => self.hand_over(slot, 0),
            records => self.refuse(slot, records),
        };
        match self.depart(slot, handed) {
            None => {
                self.messages += messages;
                TrySend::Sent
            }
            Some(freight) => TrySend::Full(freight.batch),
        }
    }

    /// Puts a batch where its bytes stay until librdkafka has let go of them.
    pub(super) fn load(
        &mut self,
        place: Place,
        batch: Batch,
        documents: Option<Documents>,
        letter: Option<Letter>,
    ) -> u32 {
        let Place { slot, instance, topic, partition } = place;
        let ticket = self.shared.slots.open(slot, batch.events.len() as u32);
        self.hold.load(Freight {
            batch,
            ticket,
            instance,
            topic,
            partition,
            documents,
            alone: false,
            refused_here: false,
            finished: false,
            letter,
        });
        slot
    }

    /// Books that a batch is on its way; hands it back if librdkafka has nothing of it.
    pub(super) fn depart(&mut self, slot: u32, handed: Handed) -> Option<Freight> {
        let Freight { instance, topic, partition, .. } = *self.hold.at(slot);
        if let (0, Some(code)) = (handed.cursor, handed.stopped) {
            // As if it had never been here.
            let freight = self.hold.unload(slot);
            match code {
                code::QUEUE_FULL => {}
                code::FATAL => self.rebuild(instance),
                _ => self.topics[topic].lost(instance, code, self.now),
            }
            return Some(freight);
        }
        self.hold.at(slot).alone = self.topics[topic].sent(partition, self.now);
        self.after(slot, handed);
        None
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
