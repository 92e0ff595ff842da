//! What a ratio and its interval say about a change.
//!
//! Pure. The gate is built so that noise cannot fail it: worse is only what is worse over the whole interval. Noise
//! widens the interval until it holds the threshold, and then the answer is that there is none.

use serde::Serialize;

use crate::stats::Interval;

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Good {
    /// As with costs and delays.
    Less,
    /// As with throughput.
    More,
}

/// What is said of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Worse by more than the threshold over the whole interval.
    Worse,
    /// Better by more than the threshold over the whole interval.
    Better,
    /// Not worse by more than the threshold anywhere in the interval.
    Same,
    /// The interval holds the threshold: more than that worse, or less, nobody can tell.
    Inconclusive,
}

/// Judges `ratio`, new over old, by a threshold such as 0.05.
pub(super) fn judge(ratio: Interval, good: Good, threshold: f64) -> Verdict {
    let Interval { low, high, .. } = ratio;
    let (least, most) = (1.0 - threshold, 1.0 + threshold);
    let (worse, better, bounded) = match good {
        Good::Less => (low > most, high < least, high <= most),
        Good::More => (high < least, low > most, low >= least),
    };
    match () {
        () if worse => Verdict::Worse,
        () if better => Verdict::Better,
        () if bounded => Verdict::Same,
        () => Verdict::Inconclusive,
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Worse => "worse",
            Verdict::Better => "better",
            Verdict::Same => "same",
            Verdict::Inconclusive => "inconclusive",
        })
    }
}

/// The answer of the whole gate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Something is worse for sure.
    Regression,
    /// Nothing is, but of something nobody can tell.
    Inconclusive,
    /// Nothing is worse.
    Clean,
}

impl Outcome {
    pub(super) fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Outcome {
        verdicts.into_iter().fold(Outcome::Clean, |outcome, verdict| match (outcome, verdict) {
            (_, Verdict::Worse) | (Outcome::Regression, _) => Outcome::Regression,
            (_, Verdict::Inconclusive) => Outcome::Inconclusive,
            _ => outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(low: f64, high: f64, good: Good) -> Verdict {
        judge(Interval { median: (low + high) / 2.0, low, high }, good, 0.05)
    }

    #[test]
    fn only_a_whole_interval_beyond_the_threshold_is_worse() {
        for (low, high, verdict) in [
            (1.06, 1.20, Verdict::Worse),
            (1.051, 1.052, Verdict::Worse),
            (1.04, 1.20, Verdict::Inconclusive),
            (0.80, 1.06, Verdict::Inconclusive),
            (0.97, 1.05, Verdict::Same),
            (0.90, 0.96, Verdict::Same),
            (0.90, 0.94, Verdict::Better),
        ] {
            assert_eq!(of(low, high, Good::Less), verdict, "[{low}, {high}]");
        }
    }

    #[test]
    fn for_throughput_less_is_worse() {
        assert_eq!(of(0.80, 0.94, Good::More), Verdict::Worse);
        assert_eq!(of(0.94, 0.96, Good::More), Verdict::Inconclusive);
        assert_eq!(of(0.96, 1.30, Good::More), Verdict::Same);
        assert_eq!(of(1.06, 1.30, Good::More), Verdict::Better);
    }

    #[test]
    fn one_that_is_worse_decides_and_one_that_is_unclear_leaves_doubt() {
        use Verdict::{Better, Inconclusive, Same, Worse};
        assert_eq!(Outcome::of([Same, Better]), Outcome::Clean);
        assert_eq!(Outcome::of([Same, Inconclusive, Better]), Outcome::Inconclusive);
        assert_eq!(Outcome::of([Worse, Inconclusive, Same]), Outcome::Regression);
        assert_eq!(Outcome::of([]), Outcome::Clean);
    }
}
