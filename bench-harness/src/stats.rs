//! Turns repeated measurements into one number and its interval.
//!
//! It knows no unit and no clock, and it removes nothing: an outlier is a measurement too. The median
//! carries the result because a shared machine disturbs single runs by 15 % and more, always upwards.
//! The interval is a percentile bootstrap: draw as many values as there are, with repetition, take the
//! median, do that [`ROUNDS`] times, and cut 2.5 % off both ends (Efron and Tibshirani, "An Introduction
//! to the Bootstrap", chapter 13). Paired ratios go in as single values, so the pairing survives the
//! drawing. The generator is seeded: the same measurements give the same interval on every machine.
//!
//! With five pairs the interval is coarse: its ends are measured values, and they can be the extremes.

use logdrive_load::random::Random;
use serde::Serialize;

/// Drawings per interval. The ends move by less than 1 % of the interval's width beyond this.
const ROUNDS: usize = 10_000;

/// The seed of every interval. Any number does; it must only be the same each time.
const SEED: u64 = 0x10_6d_71_7e;

/// A median and the 95 % bootstrap interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Interval {
    /// The median of the measured values.
    pub(crate) median: f64,
    /// The 2.5 % end.
    pub(crate) low: f64,
    /// The 97.5 % end.
    pub(crate) high: f64,
}

impl std::fmt::Display for Interval {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.3} [{:.3}, {:.3}]", self.median, self.low, self.high)
    }
}

/// The median of `values` with its interval; `None` without values.
pub(crate) fn median_interval(values: &[f64]) -> Option<Interval> {
    let median = median(values)?;
    let mut rng = Rng::seeded(SEED);
    let mut drawn = vec![0.0; values.len()];
    let mut medians: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            drawn.fill_with(|| values[rng.below(values.len() as u64) as usize]);
            sorted_median(&mut drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let cut = ROUNDS * 25 / 1000;
    Some(Interval { median, low: medians[cut], high: medians[ROUNDS - 1 - cut] })
}

/// The middle value, or the mean of the two middle ones; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    Some(sorted_median(&mut values.to_vec()))
}

fn sorted_median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The generator of seeded numbers that the load is made with, drawn without its bias towards small ones.
pub(crate) struct Rng(Random);

impl Rng {
    pub(crate) fn seeded(seed: u64) -> Rng {
        Rng(Random::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number below `bound`, by multiplication; its bias of `bound / 2^64` does not matter here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn identical_values_have_an_interval_of_no_width() {
        let interval = median_interval(&[1.1; 7]).unwrap();
        assert_eq!(interval, Interval { median: 1.1, low: 1.1, high: 1.1 });
        assert_eq!(median_interval(&[]), None);
    }

    #[test]
    fn the_interval_holds_the_median_and_stays_within_the_values() {
        let values = [1.02, 1.10, 0.97, 1.31, 1.05, 1.07, 0.99];
        let interval = median_interval(&values).unwrap();
        assert_eq!(interval.median, 1.05);
        assert!(0.97 <= interval.low && interval.low <= 1.05, "{interval}");
        assert!(1.05 <= interval.high && interval.high <= 1.31, "{interval}");
        assert_eq!(median_interval(&values), Some(interval), "the same values give the same interval");
    }

    #[test]
    fn more_of_the_same_measurements_narrow_the_interval() {
        let few: Vec<f64> = (0..5).map(|index| 1.0 + f64::from(index) / 10.0).collect();
        let many: Vec<f64> = (0..100).map(|index| 1.0 + f64::from(index % 5) / 10.0).collect();
        let width = |values: &[f64]| median_interval(values).map(|interval| interval.high - interval.low);
        assert!(width(&many) < width(&few));
    }

    #[test]
    fn the_generator_repeats_and_respects_its_bound() {
        // The first outputs of SplitMix64 for the seed 0, as published.
        let mut rng = Rng::seeded(0);
        assert_eq!(rng.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next(), 0x6e78_9e6a_a1b9_65f4);
        let mut seen = [false; 7];
        (0..1000).for_each(|_| seen[rng.below(7) as usize] = true);
        assert_eq!(seen, [true; 7]);
    }
}
