//! Counts delivery reports per batch.
//!
//! A message carries only a [`Ticket`]: the number of a slot and of its use. The thread that receives
//! the reports counts them down here and touches nothing else, so it needs no lock, no reference count
//! and no pointer to a batch; who takes the last count learns that the batch is finished. Batches
//! themselves stay with the sink (see `freight`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use logdrive_core::batch::Outcome;

/// How many batches can be on their way at once.
pub(super) const SLOTS_MAX: usize = SEGMENTS * SEGMENT_SLOTS;
const SEGMENTS: usize = 64;
const SEGMENT_SLOTS: usize = 1024;

/// What a message carries: which slot, and which use of it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) struct Ticket {
    pub(super) slot: u32,
    pub(super) epoch: u32,
}

impl Ticket {
    pub(super) fn pack(self) -> usize {
        (self.epoch as usize) << 32 | self.slot as usize
    }

    pub(super) fn unpack(opaque: usize) -> Ticket {
        Ticket { slot: opaque as u32, epoch: (opaque >> 32) as u32 }
    }
}

/// One batch's account.
#[derive(Default)]
struct Slot {
    epoch: AtomicU32,
    /// Messages that are neither reported nor refused at once. Who brings it to 0 owns the batch's end.
    remaining: AtomicU32,
    /// The first code that lost a message; 0 if none did.
    lost: AtomicI32,
    /// The first code that refused one for good; 0 if none did.
    refused: AtomicI32,
}

/// All accounts, allocated as they are needed, never moved.
pub(super) struct Slots {
    segments: [OnceLock<Box<[Slot]>>; SEGMENTS],
    /// Reports with a ticket that no slot knows: a bug, here or in librdkafka.
    strangers: AtomicU32,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { segments: [const { OnceLock::new() }; SEGMENTS], strangers: AtomicU32::new(0) }
    }

    /// Opens a slot that is not in use, for so many messages.
    pub(super) fn open(&self, slot: u32, messages: u32) -> Ticket {
        let segment = &self.segments[slot as usize / SEGMENT_SLOTS];
        let segment = segment.get_or_init(|| (0..SEGMENT_SLOTS).map(|_| Slot::default()).collect());
        let account = &segment[slot as usize % SEGMENT_SLOTS];
        let epoch = account.epoch.load(Ordering::Relaxed).wrapping_add(1);
        account.lost.store(0, Ordering::Relaxed);
        account.refused.store(0, Ordering::Relaxed);
        account.remaining.store(messages, Ordering::Relaxed);
        // Reports of this use can come only after the messages were produced, which is after this.
        account.epoch.store(epoch, Ordering::Release);
        Ticket { slot, epoch }
    }

    /// Books the end of `messages` messages of a batch, all with the same code (0: delivered).
    /// True for the caller who booked the last.
    pub(super) fn settle(&self, ticket: Ticket, messages: u32, code: i32) -> bool {
        let Some(account) = self.account(ticket) else {
            self.strangers.fetch_add(messages, Ordering::Relaxed);
            return false;
        };
        if code != 0 {
            let cell = if refuses_for_good(code) { &account.refused } else { &account.lost };
            let _ = cell.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
        }
        // Release: the codes above are seen by whoever books the last; acquire: that is us, perhaps.
        let before = account.remaining.fetch_sub(messages, Ordering::AcqRel);
        assert!(before >= messages, "slot {ticket:?}: {messages} reports for {before} messages");
        before == messages
    }

    /// What became of a batch whose last message is settled; `None` while one is not.
    pub(super) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        let account = self.account(ticket)?;
        if account.remaining.load(Ordering::Acquire) != 0 {
            return None;
        }
        let lost = account.lost.load(Ordering::Relaxed);
        let refused = account.refused.load(Ordering::Relaxed);
        Some(match (lost, refused) {
            (0, 0) => Outcome::Acked,
            (0, code) => Outcome::Refused { code },
            (code, _) => Outcome::Lost { code },
        })
    }

    /// Reports that belonged to no batch.
    pub(super) fn strangers(&self) -> u32 {
        self.strangers.load(Ordering::Relaxed)
    }

    fn account(&self, ticket: Ticket) -> Option<&Slot> {
        let segment = self.segments.get(ticket.slot as usize / SEGMENT_SLOTS)?.get()?;
        let account = &segment[ticket.slot as usize % SEGMENT_SLOTS];
        (account.epoch.load(Ordering::Acquire) == ticket.epoch).then_some(account)
    }
}

/// Why a record will never be taken, however often it is sent.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Refusal {
    /// Its checksum is wrong, also when librdkafka has tried again.
    Corrupt,
    /// It is larger than the topic or its brokers allow.
    TooLarge,
    /// Its timestamp is outside of what the topic allows.
    Timestamp,
    /// It breaks a rule of the topic: a compacted one wants keys, a policy of the brokers' something else.
    Invalid,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; 4] = [Refusal::Corrupt, Refusal::TooLarge, Refusal::Timestamp, Refusal::Invalid];

    /// The value of the label `reason`, and of the field in dead letters.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Refusal::Corrupt => "corrupt",
            Refusal::TooLarge => "too_large",
            Refusal::Timestamp => "timestamp",
            Refusal::Invalid => "invalid",
        }
    }

    /// What a code of Kafka's means, if it is a refusal for good: 2 corrupt, 4 invalid size, 10 too large, 18 record
    /// list too large, 32 invalid timestamp, 87 invalid record.
    pub(super) fn of(code: i32) -> Option<Refusal> {
        match code {
            2 => Some(Refusal::Corrupt),
            4 | 10 | 18 => Some(Refusal::TooLarge),
            32 => Some(Refusal::Timestamp),
            87 => Some(Refusal::Invalid),
            _ => None,
        }
    }
}

/// Whether a code means that the record will never be taken.
pub(super) fn refuses_for_good(code: i32) -> bool {
    Refusal::of(code).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_ends_a_batch() {
        let slots = Slots::new();
        let ticket = slots.open(5000, 3);
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
        assert!(!slots.settle(ticket, 2, 0));
        assert_eq!(slots.outcome(ticket), None);
        assert!(slots.settle(ticket, 1, 0));
        assert_eq!(slots.outcome(ticket), Some(Outcome::Acked));
    }

    #[test]
    fn lost_wins_over_refused_and_the_first_code_is_told() {
        let slots = Slots::new();
        let ticket = slots.open(0, 4);
        slots.settle(ticket, 1, 10);
        slots.settle(ticket, 1, -151);
        slots.settle(ticket, 1, -192);
        assert!(slots.settle(ticket, 1, 0));
        assert_eq!(slots.outcome(ticket), Some(Outcome::Lost { code: -151 }));
        let ticket = slots.open(0, 2);
        assert!(slots.settle(ticket, 2, 87));
        assert_eq!(slots.outcome(ticket), Some(Outcome::Refused { code: 87 }));
    }

    #[test]
    fn a_report_of_an_earlier_use_is_counted_and_changes_nothing() {
        let slots = Slots::new();
        let old = slots.open(7, 1);
        assert!(slots.settle(old, 1, 0));
        let new = slots.open(7, 1);
        assert!(!slots.settle(old, 1, -1));
        assert_eq!(slots.strangers(), 1);
        assert_eq!(slots.outcome(old), None);
        assert!(slots.settle(new, 1, 0));
        assert_eq!(slots.outcome(new), Some(Outcome::Acked));
    }
}
