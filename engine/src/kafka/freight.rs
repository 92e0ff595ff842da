//! The batches that are on their way, each kept until librdkafka has let go of its bytes.
//!
//! This table is what makes producing without a copy sound: it owns every byte that librdkafka has a
//! pointer to, and gives a batch up only when its account in `slots` is closed and the event destroyed,
//! or when the whole producer instance is gone.

use std::sync::Arc;

use logdrive_core::batch::{Batch, Event};

use super::ecs::Documents;
use super::letters::Letter;
use super::slots::{SLOTS_MAX, Ticket};

/// One batch on its way.
pub(super) struct Freight {
    pub(super) batch: Batch,
    pub(super) ticket: Ticket,
    pub(super) instance: usize,
    pub(super) topic: usize,
    pub(super) partition: i32,
    /// The documents, if the batch goes as documents: librdkafka then points into these.
    pub(super) documents: Option<Documents>,
    /// Nothing else was on its way to the partition, nor will be: a verdict of the broker is about it.
    pub(super) alone: bool,
    /// A record of it was refused here, before the broker saw it.
    pub(super) refused_here: bool,
    /// It is in the queue of finished batches already.
    pub(super) finished: bool,
    /// It was refused alone, and is on its second way.
    pub(super) letter: Option<Letter>,
}

impl Freight {
    /// The values of the records, and the bytes that they are ranges of.
    pub(super) fn values(&self) -> (&[u8], &[Event]) {
        match &self.documents {
            Some(documents) => (&documents.bytes, &documents.events),
            None => (&self.batch.bytes, &self.batch.events),
        }
    }
}

/// All of them, by slot.
#[derive(Default)]
pub(super) struct Hold {
    slots: Vec<Option<Freight>>,
    free: Vec<u32>,
    /// Memory of documents that is not in use, the last used last.
    documents: Vec<Documents>,
    documents_bytes: usize,
}

/// How much memory of documents is kept for the next batches, in bytes.
const DOCUMENTS_BYTES_MAX: usize = 16 << 20;

impl Hold {
    /// A slot that is not in use; `None` when all are.
    pub(super) fn vacancy(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            if self.slots.len() == SLOTS_MAX {
                return None;
            }
            self.free.push(self.slots.len() as u32);
            self.slots.push(None);
        }
        self.free.last().copied()
    }

    /// Puts freight into the slot that `vacancy` named.
    pub(super) fn load(&mut self, freight: Freight) -> &mut Freight {
        let slot = self.free.pop().expect("`vacancy` came first");
        assert_eq!(slot, freight.ticket.slot, "`vacancy` named another slot");
        self.slots[slot as usize].insert(freight)
    }

    /// Takes freight out; the slot is free again.
    pub(super) fn unload(&mut self, slot: u32) -> Freight {
        let mut freight = self.slots[slot as usize].take().expect("a finished slot is loaded");
        self.free.push(slot);
        if let Some(documents) = freight.documents.take()
            && self.documents_bytes + documents.bytes.capacity() <= DOCUMENTS_BYTES_MAX
        {
            self.documents_bytes += documents.bytes.capacity();
            self.documents.push(documents);
        }
        freight
    }

    pub(super) fn at(&mut self, slot: u32) -> &mut Freight {
        self.slots[slot as usize].as_mut().expect("the slot is loaded")
    }

    /// Memory for documents, from the last batch if possible.
    pub(super) fn documents(&mut self) -> Documents {
        let documents = self.documents.pop().unwrap_or_default();
        self.documents_bytes -= documents.bytes.capacity();
        documents
    }

    /// All that is on its way through an instance and not finished.
    pub(super) fn unfinished(&mut self, instance: usize) -> impl Iterator<Item = &mut Freight> {
        let loaded = self.slots.iter_mut().flatten();
        loaded.filter(move |freight| freight.instance == instance && !freight.finished)
    }

    /// Gives up what an instance never gave back: its memory is never freed, so that no pointer into it
    /// dangles. What is returned are second handles to the same batches, to be reported as lost.
    pub(super) fn abandon(&mut self, instance: usize) -> Vec<Batch> {
        let mut abandoned = Vec::new();
        for slot in &mut self.slots {
            if let Some(freight) = slot.take_if(|freight| freight.instance == instance && !freight.finished) {
                abandoned.push(second_handle(&freight.batch));
                std::mem::forget(freight);
            }
        }
        abandoned.sort_unstable_by_key(|batch| batch.id);
        abandoned
    }

    pub(super) fn batches(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The same batch again. Only for the one case in which a batch cannot come back itself: everywhere else there is
/// one of each, or a chunk would never be whole again.
fn second_handle(batch: &Batch) -> Batch {
    Batch {
        id: batch.id,
        source: batch.source,
        origin: Arc::clone(&batch.origin),
        span: batch.span,
        bytes: batch.bytes.clone(),
        lines: batch.lines,
        events: batch.events.clone(),
        details: batch.details.clone(),
        dropped: batch.dropped,
        read_at: batch.read_at,
        read_at_ms: batch.read_at_ms,
    }
}
