//! Two sides measured in pairs, so that whatever drifts meanwhile hits both.
//!
//! The order alternates, A B, B A, A B, ...: a steady drift cancels out over two pairs. Ratios are taken within a
//! pair, and the answer is their median with its bootstrap interval (see `stats`). What the sides are is the
//! caller's business.

use serde::Serialize;

use crate::stats::{Interval, median, median_interval};

/// Fewer pairs have an interval that is not worth the name.
pub(crate) const PAIRS_MIN: u32 = 5;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    A,
    B,
}

/// A B, B A, A B, ...
pub(crate) fn order_of(pair: u32) -> [Side; 2] {
    if pair % 2 == 1 { [Side::A, Side::B] } else { [Side::B, Side::A] }
}

/// A measured run knows where it belongs.
pub(crate) trait Paired {
    fn pair(&self) -> u32;
    fn side(&self) -> Side;
}

/// B's value over A's, pair by pair; a pair of which one run is missing does not count.
pub(crate) fn ratio<R: Paired>(runs: &[R], value: impl Fn(&R) -> f64) -> Option<Interval> {
    let of = |pair, side| runs.iter().find(|run| run.pair() == pair && run.side() == side).map(&value);
    let pairs = runs.iter().map(Paired::pair).max().unwrap_or(0);
    let ratios: Vec<f64> =
        (1..=pairs).filter_map(|pair| Some(of(pair, Side::B)? / of(pair, Side::A)?)).collect();
    median_interval(&ratios)
}

/// The median of one side's values.
pub(crate) fn median_of<R: Paired>(runs: &[R], side: Side, value: impl Fn(&R) -> f64) -> Option<f64> {
    let values: Vec<f64> = runs.iter().filter(|run| run.side() == side).map(value).collect();
    median(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run(u32, Side, f64);

    impl Paired for Run {
        fn pair(&self) -> u32 {
            self.0
        }
        fn side(&self) -> Side {
            self.1
        }
    }

    #[test]
    fn the_order_alternates_so_that_drift_cancels_out() {
        use Side::{A, B};
        let order: Vec<Side> = (1..=4).flat_map(order_of).collect();
        assert_eq!(order, [A, B, B, A, A, B, B, A]);
    }

    #[test]
    fn ratios_are_taken_within_pairs_whatever_their_order() {
        use Side::{A, B};
        let runs = [Run(1, A, 0.5), Run(1, B, 0.6), Run(2, B, 1.2), Run(2, A, 1.0), Run(3, A, 1.0)];
        let interval = ratio(&runs, |run| run.2).unwrap();
        assert!((interval.median - 1.2).abs() < 1e-9, "{interval}");
        assert!((interval.high - interval.low).abs() < 1e-9, "both pairs say the same: {interval}");
        assert_eq!(median_of(&runs, A, |run| run.2), Some(1.0));
    }
}
