//! How many lines an item may read now: its `rate_limit`.
//!
//! A token bucket that sleeps for nobody: it is told the time, and answers how much is there and when
//! more will be. It drops nothing; lines that are not read yet wait in their file.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::position::Nanos;

/// What one second is made of; the bucket counts in lines times nanoseconds, so that no rate is
/// rounded.
const SECOND: i64 = 1_000_000_000;

/// A rate of lines, and how much of it is unused.
#[derive(Clone, Debug)]
pub struct Pace {
    lines_per_second: i64,
    /// What the bucket holds at most: 100 ms worth, at least one line.
    burst_lines: i64,
    /// Lines times nanoseconds that may be taken at `at`; negative after an event of more lines than
    /// were there, which the lines after it make good for.
    credit: i64,
    /// When `credit` was brought up to date. Never moves back.
    at: Nanos,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub fn new(lines_per_second: NonZeroU32) -> Pace {
        let lines_per_second = i64::from(lines_per_second.get());
        let burst_lines = (lines_per_second / 10).max(1);
        Pace { lines_per_second, burst_lines, credit: burst_lines * SECOND, at: Nanos(0) }
    }

    /// How many lines may be taken.
    #[must_use]
    pub fn available(&self, now: Nanos) -> u32 {
        u32::try_from(self.credit(now).max(0) / SECOND).unwrap_or(u32::MAX)
    }

    /// Takes `lines`, which may be more than were available by the last lines of one event.
    pub fn take(&mut self, lines: u32, now: Nanos) {
        self.credit = self.credit(now).saturating_sub(i64::from(lines) * SECOND);
        self.at = self.at.max(now);
    }

    /// When it is worth to read again: `now` if a line is available, else when a fifth of the bucket
    /// is, because a wake-up for every single line would cost more than the line.
    #[must_use]
    pub fn ready_at(&self, now: Nanos) -> Nanos {
        let credit = self.credit(now);
        if credit >= SECOND {
            return now;
        }
        let worth = (self.burst_lines / 5).max(1) * SECOND;
        let wait = worth.saturating_sub(credit).unsigned_abs().div_ceil(self.lines_per_second.unsigned_abs());
        self.at.max(now) + Duration::from_nanos(wait)
    }

    fn credit(&self, now: Nanos) -> i64 {
        let elapsed = i64::try_from(now.since(self.at).as_nanos()).unwrap_or(i64::MAX);
        let earned = elapsed.saturating_mul(self.lines_per_second);
        self.credit.saturating_add(earned).min(self.burst_lines * SECOND)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn pace(lines_per_second: u32) -> Pace {
        Pace::new(NonZeroU32::new(lines_per_second).unwrap())
    }

    #[test]
    fn a_tenth_of_a_second_may_come_at_once_and_no_more() {
        let mut pace = pace(50_000);
        assert_eq!(pace.available(Nanos(0)), 5_000);
        assert_eq!(pace.available(Nanos(3_600_000 * MS)), 5_000, "idle time is not saved up");
        pace.take(5_000, Nanos(0));
        assert_eq!(pace.available(Nanos(0)), 0);
        assert_eq!(pace.ready_at(Nanos(0)), Nanos(20 * MS));
        assert_eq!(pace.available(Nanos(20 * MS)), 1_000);
        assert_eq!(pace.ready_at(Nanos(20 * MS)), Nanos(20 * MS));
    }

    #[test]
    fn a_slow_pace_is_one_line_at_a_time() {
        let mut pace = pace(3);
        assert_eq!(pace.available(Nanos(0)), 1);
        pace.take(1, Nanos(0));
        assert_eq!(pace.ready_at(Nanos(0)), Nanos(333_333_334));
        assert_eq!(pace.available(Nanos(333_333_333)), 0);
        assert_eq!(pace.available(Nanos(333_333_334)), 1);
    }

    #[test]
    fn a_large_event_is_made_good_for() {
        let mut pace = pace(10);
        pace.take(21, Nanos(0));
        assert_eq!(pace.available(Nanos(2_000 * MS)), 0);
        assert_eq!(pace.ready_at(Nanos(0)), Nanos(2_100 * MS));
        assert_eq!(pace.available(Nanos(2_100 * MS)), 1);
    }

    #[test]
    fn extremes_neither_overflow_nor_stall() {
        let mut pace = pace(u32::MAX);
        for now in [0, 1, u64::MAX, 5] {
            (0..4).for_each(|_| pace.take(u32::MAX, Nanos(now)));
            assert!(pace.ready_at(Nanos(now)) >= Nanos(now));
        }
        assert_eq!(pace.available(Nanos(u64::MAX)), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn no_window_exceeds_the_rate_and_a_patient_reader_gets_all_of_it(
            rate in 1..200_000_u32, pauses in prop::collection::vec((0..50 * MS, any::<bool>()), 1..60),
        ) {
            let (mut pace, mut now) = (pace(rate), Nanos(0));
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, wait) in pauses {
                now = if wait { pace.ready_at(now) } else { now + Duration::from_nanos(pause) };
                let lines = pace.available(now);
                prop_assert!(!wait || lines > 0, "ready, but nothing is there");
                pace.take(lines, now);
                taken.push((now.0, u64::from(lines)));
            }
            let burst = u64::from(rate / 10).max(1);
            for (first, (start, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (end, lines) in &taken[first..] {
                    sum += lines;
                    let earned = (end - start) * u64::from(rate) / 1_000_000_000;
                    prop_assert!(sum <= burst + earned + 1, "{sum} lines in {} ns", end - start);
                }
            }
        }

        #[test]
        fn a_reader_that_waits_until_it_is_ready_loses_no_rate(rate in 1..200_000_u32) {
            let (mut pace, mut now, mut sum) = (pace(rate), Nanos(0), 0);
            while now < Nanos(2_000 * MS) {
                let lines = pace.available(now);
                pace.take(lines, now);
                sum += u64::from(lines);
                now = pace.ready_at(now);
            }
            // Two seconds' worth and the full bucket of the beginning, but for the last wait.
            let expected = 2 * u64::from(rate) + u64::from(rate / 10).max(1);
            let portion = u64::from(rate / 50).max(1);
            prop_assert!(sum <= expected && sum + portion >= expected, "{sum} of {expected}");
        }
    }
}
