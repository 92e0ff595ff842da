//! What is counted for each item.

use prometheus_client::metrics::counter::Counter;

use logdrive_core::engine::{Amount, ItemCounts};

/// Why a line that was read is not sent, or not whole.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum DropReason {
    /// `include_lines` or `exclude_lines` of the item.
    Filtered,
    /// `on_long_line` of the item.
    Long,
    /// Kafka refuses the record for good, and it is kept nowhere else.
    Refused,
    /// It has to be read again, and the file has been truncated or is gone.
    Vanished,
}

/// The amounts by which dropped lines are counted, in the order of [`DropReason::ALL`].
fn dropped(counts: &ItemCounts) -> [Amount; DropReason::ALL.len()] {
    [counts.filtered, counts.long, counts.refused, counts.vanished]
}

impl DropReason {
    pub(super) const ALL: [DropReason; 4] =
        [DropReason::Filtered, DropReason::Long, DropReason::Refused, DropReason::Vanished];

    /// The value of the label `reason`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Filtered => "filtered",
            DropReason::Long => "long",
            DropReason::Refused => "refused",
            DropReason::Vanished => "vanished",
        }
    }
}

/// The counters of one item, resolved once.
#[derive(Clone, Debug)]
pub struct ItemMetrics {
    pub(super) lines_read: Counter,
    pub(super) bytes_read: Counter,
    pub(super) lines_acked: Counter,
    pub(super) bytes_acked: Counter,
    pub(super) lines_dead_lettered: Counter,
    pub(super) bytes_dead_lettered: Counter,
    /// Indexed by [`DropReason`].
    pub(super) lines_dropped: [Counter; DropReason::ALL.len()],
    pub(super) bytes_dropped: [Counter; DropReason::ALL.len()],
    pub(super) lines_replayed: Counter,
    pub(super) bytes_replayed: Counter,
    pub(super) lines_truncated: Counter,
    pub(super) lines_damaged: Counter,
    pub(super) characters_replaced: Counter,
    pub(super) bytes_gone: Counter,
}

impl ItemMetrics {
    /// Adds what the engine has counted between two looks at one item.
    pub fn publish(&self, before: &ItemCounts, now: &ItemCounts) {
        let add = |lines: &Counter, bytes: &Counter, before: Amount, now: Amount| {
            lines.inc_by(now.lines - before.lines);
            bytes.inc_by(now.bytes - before.bytes);
        };
        add(&self.lines_read, &self.bytes_read, before.read, now.read);
        add(&self.lines_acked, &self.bytes_acked, before.acked, now.acked);
        let (lines, bytes) = (&self.lines_dead_lettered, &self.bytes_dead_lettered);
        add(lines, bytes, before.diverted, now.diverted);
        add(&self.lines_replayed, &self.bytes_replayed, before.replayed, now.replayed);
        let counters = self.lines_dropped.iter().zip(&self.bytes_dropped);
        for ((lines, bytes), (before, now)) in counters.zip(dropped(before).into_iter().zip(dropped(now))) {
            add(lines, bytes, before, now);
        }
        self.lines_truncated.inc_by(now.lines_truncated - before.lines_truncated);
        self.lines_damaged.inc_by(now.lines_damaged - before.lines_damaged);
        self.characters_replaced.inc_by(now.characters_replaced - before.characters_replaced);
        self.bytes_gone.inc_by(now.bytes_gone - before.bytes_gone);
    }
}
