//! When each line of a run is due: fixed before the first one is written.
//!
//! Line `i` is due `i / rate` seconds after the start, whoever is slow. Nothing here knows a clock: the
//! caller says how much time has passed and learns how many lines are due. Integer arithmetic throughout,
//! so that a run of days does not drift.

/// How fast lines come.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Rate {
    /// So many lines a second in all, never 0.
    PerSecond(u64),
    /// As fast as they can be written; a line is due when it is written.
    Max,
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// Reads a number of lines a second, or `max`.
    fn from_str(text: &str) -> Result<Rate, String> {
        match text.parse() {
            _ if text == "max" => Ok(Rate::Max),
            Ok(rate @ 1..=PER_SECOND_MAX) => Ok(Rate::PerSecond(rate)),
            _ => Err(format!("`{text}` is neither 1 to {PER_SECOND_MAX} lines a second nor `max`")),
        }
    }
}

/// The highest rate: a line a nanosecond.
const PER_SECOND_MAX: u64 = SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;

/// When the lines of a steady rate are due, in nanoseconds since the start of the run.
#[derive(Copy, Clone, Debug)]
pub struct Schedule {
    per_second: u64,
}

impl Schedule {
    /// The schedule of a rate, which must not be 0.
    #[must_use]
    pub fn new(per_second: u64) -> Schedule {
        assert!((1..=PER_SECOND_MAX).contains(&per_second), "{per_second} lines a second");
        Schedule { per_second }
    }

    /// When line `index` (from 0) is due.
    #[must_use]
    pub fn due_at(&self, index: u64) -> u64 {
        let due_at = u128::from(index) * u128::from(SECOND_NS) / u128::from(self.per_second);
        u64::try_from(due_at).unwrap_or(u64::MAX)
    }

    /// How many lines are due `elapsed_ns` after the start: all those with `due_at <= elapsed_ns`.
    #[must_use]
    pub fn due(&self, elapsed_ns: u64) -> u64 {
        let scaled = (u128::from(elapsed_ns) + 1) * u128::from(self.per_second);
        u64::try_from(scaled.div_ceil(u128::from(SECOND_NS))).unwrap_or(u64::MAX)
    }

    /// How many lines fall into the first `duration_ns`, the end excluded.
    #[must_use]
    pub fn lines_in(&self, duration_ns: u64) -> u64 {
        duration_ns.checked_sub(1).map_or(0, |last| self.due(last))
    }

    /// The due times of lines `first`, `first + stride`, ... without a division for each.
    #[must_use]
    pub fn walk(&self, first: u64, stride: u64) -> Walk {
        let rate = u128::from(self.per_second);
        let at = u128::from(first) * u128::from(SECOND_NS);
        let step = u128::from(stride) * u128::from(SECOND_NS);
        Walk {
            due_at: (at / rate) as u64,
            rest: (at % rate) as u64,
            step: (step / rate) as u64,
            step_rest: (step % rate) as u64,
            per_second: self.per_second,
        }
    }
}

/// Due times at equal distances. Invariant: the exact time is `due_at + rest / per_second`.
#[derive(Clone, Debug)]
pub struct Walk {
    due_at: u64,
    rest: u64,
    step: u64,
    step_rest: u64,
    per_second: u64,
}

impl Walk {
    /// Every line is due at the same time.
    #[must_use]
    pub fn standing(due_at: u64) -> Walk {
        Walk { due_at, rest: 0, step: 0, step_rest: 0, per_second: 1 }
    }
}

impl Iterator for Walk {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let due_at = self.due_at;
        self.due_at += self.step;
        self.rest += self.step_rest;
        if self.rest >= self.per_second {
            self.rest -= self.per_second;
            self.due_at += 1;
        }
        Some(due_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_line_is_due_at_once_and_the_next_a_period_later() {
        let schedule = Schedule::new(3);
        assert_eq!([0, 1, 2, 3].map(|i| schedule.due_at(i)), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!([0, 333_333_332, 333_333_333].map(|t| schedule.due(t)), [1, 1, 2]);
    }

    #[test]
    fn a_duration_holds_rate_times_seconds_lines() {
        assert_eq!(Schedule::new(1000).lines_in(10 * SECOND_NS), 10_000);
        assert_eq!(Schedule::new(1).lines_in(1), 1);
        assert_eq!(Schedule::new(1).lines_in(0), 0);
    }

    #[test]
    fn rates_are_read() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("20000".parse(), Ok(Rate::PerSecond(20_000)));
        for text in ["0", "-1", "fast", "", "1000000001"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn due_is_the_count_of_lines_whose_time_has_come(
            rate in 1u64..=PER_SECOND_MAX, elapsed in 0u64..u64::MAX / 4,
        ) {
            let schedule = Schedule::new(rate);
            let due = schedule.due(elapsed);
            prop_assert!(schedule.due_at(due - 1) <= elapsed);
            prop_assert!(schedule.due_at(due) > elapsed);
        }

        #[test]
        fn walking_agrees_with_dividing(
            rate in 1u64..3_000_000, first in 0u64..1 << 40, stride in 1u64..20_000,
        ) {
            let schedule = Schedule::new(rate);
            for (step, due_at) in schedule.walk(first, stride).take(100).enumerate() {
                prop_assert_eq!(due_at, schedule.due_at(first + step as u64 * stride));
            }
        }
    }
}
