//! How fast items are shipped: differences of counts over the last seconds.
//!
//! Two marks are enough: the older one lies between one and two windows back, so a rate is neither that of a
//! single second nor that of the whole life.

use std::time::Duration;

use logdrive_core::engine::Amount;
use logdrive_core::position::Nanos;

/// The shortest time that a rate is taken over, once the agent has run for so long.
const WINDOW: Duration = Duration::from_secs(5);

/// What was acknowledged, item by item, at two moments.
#[derive(Debug, Default)]
pub struct Rates {
    older: Mark,
    newer: Mark,
}

#[derive(Debug, Default)]
struct Mark {
    at: Nanos,
    /// Indexed by item; one that is not there had nothing yet.
    acked: Vec<Amount>,
}

/// Per second.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct Rate {
    /// Lines.
    pub lines: f64,
    /// Their bytes.
    pub bytes: f64,
}

impl Rates {
    /// Called about once a second with what is acknowledged of each item.
    pub fn look(&mut self, now: Nanos, acked: impl Iterator<Item = Amount>) {
        if now < self.newer.at + WINDOW {
            return;
        }
        std::mem::swap(&mut self.older, &mut self.newer);
        self.newer.at = now;
        self.newer.acked.clear();
        self.newer.acked.extend(acked);
    }

    /// The rate of the item of this index, of which so much is acknowledged now.
    #[must_use]
    pub fn of(&self, index: usize, acked: Amount, now: Nanos) -> Rate {
        let before = self.older.acked.get(index).copied().unwrap_or_default();
        let seconds = now.since(self.older.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rate::default();
        }
        let per_second = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        Rate { lines: per_second(before.lines, acked.lines), bytes: per_second(before.bytes, acked.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Nanos {
        Nanos(seconds * 1_000_000_000)
    }

    fn amount(lines: u64) -> Amount {
        Amount { lines, bytes: lines * 100 }
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.of(0, amount(7), at(0)), Rate::default(), "no time, no rate");
        // A hundred lines a second, and from the twentieth second on nothing more.
        for second in 1..=40 {
            let acked = amount(second.min(20) * 100);
            rates.look(at(second), std::iter::once(acked));
            let rate = rates.of(0, acked, at(second));
            match second {
                ..=20 => assert_eq!(rate, Rate { lines: 100.0, bytes: 10_000.0 }, "second {second}"),
                21..30 => assert!(rate.lines <= 100.0),
                _ => assert_eq!(rate, Rate::default(), "second {second}"),
            }
        }
        let rate = rates.of(3, amount(50), at(41));
        assert!(rate.lines > 0.0 && rate.lines < 10.0, "a new item begins with nothing: {rate:?}");
    }
}
