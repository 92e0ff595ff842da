//! How much may be read now: rates of lines and of bytes.
//!
//! Token buckets that sleep for nobody: they are told the time, and answer how much is there and when
//! more will be. They drop nothing; what is not read yet waits in its file.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::position::Nanos;

/// What one second is made of; the bucket counts in units times nanoseconds, so that no rate is
/// rounded.
const SECOND: i64 = 1_000_000_000;

/// A rate beyond this is none: ten billion a second.
const PER_SECOND_MAX: i64 = 10_000_000_000;
const _: () = assert!(PER_SECOND_MAX / 10 < i64::MAX / SECOND, "a full bucket can be counted");

/// A rate of lines or bytes, and how much of it is unused.
#[derive(Clone, Debug)]
pub struct Pace {
    per_second: i64,
    /// What the bucket holds at most: 100 ms worth, at least one unit.
    burst: i64,
    /// Units times nanoseconds that may be taken at `at`; negative after more was taken than was there,
    /// which what comes after it makes good for.
    credit: i64,
    /// When `credit` was brought up to date. Never moves back.
    at: Nanos,
}

impl Pace {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: NonZeroU64) -> Pace {
        let per_second =
            i64::try_from(per_second.get()).map_or(PER_SECOND_MAX, |rate| rate.min(PER_SECOND_MAX));
        let burst = (per_second / 10).max(1);
        Pace { per_second, burst, credit: burst * SECOND, at: Nanos(0) }
    }

    /// How many units may be taken.
    #[must_use]
    pub fn available(&self, now: Nanos) -> u64 {
        (self.credit(now).max(0) / SECOND).unsigned_abs()
    }

    /// Takes `units`, which may be more than were available.
    pub fn take(&mut self, units: u64, now: Nanos) {
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        self.credit = self.credit(now).saturating_sub(units.saturating_mul(SECOND));
        self.at = self.at.max(now);
    }

    /// When it is worth to read again: `now` if a unit is available, else when a fifth of the bucket
    /// is, because a wake-up for every single unit would cost more than the unit.
    #[must_use]
    pub fn ready_at(&self, now: Nanos) -> Nanos {
        let credit = self.credit(now);
        if credit >= SECOND {
            return now;
        }
        let worth = (self.burst / 5).max(1) * SECOND;
        let wait = worth.saturating_sub(credit).unsigned_abs().div_ceil(self.per_second.unsigned_abs());
        self.at.max(now) + Duration::from_nanos(wait)
    }

    fn credit(&self, now: Nanos) -> i64 {
        let elapsed = i64::try_from(now.since(self.at).as_nanos()).unwrap_or(i64::MAX);
        let earned = elapsed.saturating_mul(self.per_second);
        self.credit.saturating_add(earned).min(self.burst * SECOND)
    }
}

/// A pace of bytes for reads. Nobody knows how much a read will settle before it is back, so as long as
/// reads under way could use up what is there, no other begins: of many files that are ready at once, all
/// would be read.
#[derive(Clone, Debug)]
pub struct BytePace {
    pace: Pace,
    /// What reads under way may bring.
    wanted: u64,
}

impl BytePace {
    /// A full bucket.
    #[must_use]
    pub fn new(bytes_per_second: NonZeroU64) -> BytePace {
        BytePace { pace: Pace::new(bytes_per_second), wanted: 0 }
    }

    /// When there is something to be read for: `now`, or later.
    #[must_use]
    pub fn ready_at(&self, now: Nanos) -> Nanos {
        self.pace.ready_at(now)
    }

    /// Whether reads under way leave anything.
    #[must_use]
    pub fn admits(&self, now: Nanos) -> bool {
        self.wanted == 0 || self.wanted < self.pace.available(now)
    }

    /// What a read should bring at most: what is there, if that is worth a read.
    #[must_use]
    pub fn portion(&self, now: Nanos, bytes_min: usize) -> usize {
        usize::try_from(self.pace.available(now)).unwrap_or(usize::MAX).max(bytes_min)
    }

    /// A read begins.
    pub fn begin(&mut self, bytes: usize) {
        self.wanted += bytes as u64;
    }

    /// It is back.
    pub fn end(&mut self, bytes: usize) {
        // A read may be older than the pace.
        self.wanted = self.wanted.saturating_sub(bytes as u64);
    }

    /// So much of it was settled.
    pub fn take(&mut self, bytes: usize, now: Nanos) {
        self.pace.take(bytes as u64, now);
    }
}

/// How long something had to wait for a pace, each moment counted once however many wait.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Waited {
    total: Duration,
    until: Nanos,
}

impl Waited {
    /// Something waits from `now` until then.
    pub fn wait(&mut self, now: Nanos, until: Nanos) {
        self.total += until.since(self.until.max(now));
        self.until = self.until.max(until);
    }

    /// All of it, as far as it is known.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn rate(per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(per_second).unwrap()
    }

    fn pace(per_second: u64) -> Pace {
        Pace::new(rate(per_second))
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
        for per_second in [1, u64::from(u32::MAX), u64::MAX] {
            let mut pace = pace(per_second);
            for now in [0, 1, u64::MAX, 5] {
                (0..4).for_each(|_| pace.take(u64::MAX, Nanos(now)));
                assert!(pace.ready_at(Nanos(now)) >= Nanos(now));
            }
            assert_eq!(pace.available(Nanos(u64::MAX)), 0);
        }
    }

    #[test]
    fn reads_under_way_leave_no_room_for_others_until_they_are_back() {
        let mut pace = BytePace::new(rate(1_000_000));
        let now = Nanos(0);
        assert_eq!(pace.portion(now, 10), 100_000);
        for _ in 0..4 {
            assert!(pace.admits(now));
            pace.begin(25_000);
        }
        assert!(!pace.admits(now));
        // Three of them found nothing, the fourth a lot.
        (0..4).for_each(|_| pace.end(25_000));
        pace.take(300_000, now);
        assert_eq!((pace.ready_at(now), pace.portion(now, 10)), (Nanos(220 * MS), 10));
        assert!(pace.admits(now), "one read is always admitted, when its time comes");
        pace.end(25_000);
        assert!(pace.admits(now), "a read of the time before the pace");
    }

    #[test]
    fn a_moment_is_waited_for_once() {
        let mut waited = Waited::default();
        for (now, until) in [(0, 10), (0, 10), (5, 12), (20, 21), (20, 15)] {
            waited.wait(Nanos(now), Nanos(until));
        }
        assert_eq!(waited.total(), Duration::from_nanos(13));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn no_window_exceeds_the_rate_and_a_patient_reader_gets_all_of_it(
            rate in 1..200_000_u64, pauses in prop::collection::vec((0..50 * MS, any::<bool>()), 1..60),
        ) {
            let (mut pace, mut now) = (pace(rate), Nanos(0));
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, wait) in pauses {
                now = if wait { pace.ready_at(now) } else { now + Duration::from_nanos(pause) };
                let lines = pace.available(now);
                prop_assert!(!wait || lines > 0, "ready, but nothing is there");
                pace.take(lines, now);
                taken.push((now.0, lines));
            }
            let burst = (rate / 10).max(1);
            for (first, (start, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (end, lines) in &taken[first..] {
                    sum += lines;
                    let earned = (end - start) * rate / 1_000_000_000;
                    prop_assert!(sum <= burst + earned + 1, "{sum} lines in {} ns", end - start);
                }
            }
        }

        #[test]
        fn a_reader_that_waits_until_it_is_ready_loses_no_rate(rate in 1..200_000_u64) {
            let (mut pace, mut now, mut sum) = (pace(rate), Nanos(0), 0);
            while now < Nanos(2_000 * MS) {
                let lines = pace.available(now);
                pace.take(lines, now);
                sum += lines;
                now = pace.ready_at(now);
            }
            // Two seconds' worth and the full bucket of the beginning, but for the last wait.
            let expected = 2 * rate + (rate / 10).max(1);
            let portion = (rate / 50).max(1);
            prop_assert!(sum <= expected && sum + portion >= expected, "{sum} of {expected}");
        }
    }
}
