//! Whether something stays level: the slope of Theil and Sen, as growth over what was looked at.
//!
//! The slope is the median of the slopes between all pairs of samples (Sen, "Estimates of the regression coefficient
//! based on Kendall's tau", 1968). Up to 29 % of the samples may be anything at all without moving it far, so a peak
//! while the broker is away is no growth, and a leak is not hidden by one. The slope times the length of the window is
//! what was gained in it. That must stay below what is allowed: a share of the level, or an amount that says
//! nothing, whichever is more.
//!
//! It cannot see a leak that is slower than what is allowed in one window. Longer lives see slower ones.

use serde::Serialize;

use crate::stats::median;

/// Samples are brought together into so many stretches of equal length, each with its median: the pairs of a day's
/// samples would be too many.
const STRETCHES_MAX: usize = 200;

/// Of fewer samples nothing is said.
const SAMPLES_MIN: usize = 12;

/// What may be gained in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Of the level.
    pub(super) share: f64,
    /// In units of the samples.
    pub(super) amount: f64,
}

/// How level it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Level {
    pub(super) median: f64,
    /// Slope times length of the window; below 0 it fell.
    pub(super) growth: f64,
    pub(super) allowed: f64,
    pub(super) samples: usize,
}

impl Level {
    pub(super) fn is_flat(&self) -> bool {
        self.growth <= self.allowed
    }
}

/// Judges samples, time and value, in the order of time. None of too few.
pub(super) fn judge(samples: &[(f64, f64)], allowed: Allowed) -> Option<Level> {
    if samples.len() < SAMPLES_MIN {
        return None;
    }
    let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
    let level = median(&values)?;
    let window = samples[samples.len() - 1].0 - samples[0].0;
    Some(Level {
        median: level,
        growth: slope(&stretches(samples)) * window,
        allowed: allowed.amount.max(level.abs() * allowed.share),
        samples: samples.len(),
    })
}

fn stretches(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let length = samples.len().div_ceil(STRETCHES_MAX);
    let middle = |stretch: &[(f64, f64)]| {
        let of = |part: fn(&(f64, f64)) -> f64| {
            median(&stretch.iter().map(part).collect::<Vec<f64>>()).expect("a stretch has samples")
        };
        (of(|sample| sample.0), of(|sample| sample.1))
    };
    samples.chunks(length).map(middle).collect()
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let later = |index: usize| points[index + 1..].iter().map(move |point| (points[index], *point));
    let pairs = (0..points.len()).flat_map(later);
    let slopes: Vec<f64> = pairs
        .filter(|(earlier, later)| later.0 > earlier.0)
        .map(|(earlier, later)| (later.1 - earlier.1) / (later.0 - earlier.0))
        .collect();
    median(&slopes).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Rng;

    const MIB: f64 = 1048576.0;
    const ALLOWED: Allowed = Allowed { share: 0.05, amount: 4.0 * MIB };

    /// A sample each second; `value` is told the second and a number from 0 to 1.
    fn series(seconds: usize, value: impl Fn(f64, f64) -> f64) -> Vec<(f64, f64)> {
        let mut rng = Rng::seeded(7);
        let mut chance = move || rng.below(1 << 20) as f64 / f64::from(1 << 20);
        (0..seconds).map(|second| second as f64).map(|at| (at, value(at, chance()))).collect()
    }

    fn level(samples: &[(f64, f64)]) -> Level {
        judge(samples, ALLOWED).unwrap()
    }

    #[test]
    fn noise_without_a_trend_is_flat() {
        let level = level(&series(300, |_, chance| (40.0 + 3.0 * chance) * MIB));
        assert!(level.is_flat() && level.growth.abs() < MIB, "{level:?}");
        assert!((level.median / MIB - 41.5).abs() < 0.5, "{level:?}");
    }

    #[test]
    fn a_leak_beneath_noise_that_is_larger_is_found_and_measured() {
        // 20 KiB a second for 300 s are 6 MiB; the noise is 8 MiB.
        let level = level(&series(300, |at, chance| (40.0 + 8.0 * chance) * MIB + at * 20.0 * 1024.0));
        assert!(!level.is_flat() && (level.growth / MIB - 5.9).abs() < 1.0, "{level:?}");
    }

    #[test]
    fn peaks_are_no_growth_and_hide_none() {
        let peak = |at: f64| if (at as u64) % 60 >= 48 { 30.0 * MIB } else { 0.0 };
        assert!(level(&series(300, |at, chance| (40.0 + chance) * MIB + peak(at))).is_flat());
        let leak = level(&series(300, |at, chance| (40.0 + chance) * MIB + peak(at) + at * 40.0 * 1024.0));
        assert!(!leak.is_flat(), "{leak:?}");
    }

    #[test]
    fn what_falls_is_flat_and_what_rises_with_its_level_may_rise_more() {
        assert!(level(&series(100, |at, _| (400.0 - at) * MIB)).is_flat());
        assert!(level(&series(100, |at, _| 1000.0 * MIB + at * 0.4 * MIB)).is_flat(), "4 % of the level");
        assert!(!level(&series(100, |at, _| 1000.0 * MIB + at * 0.6 * MIB)).is_flat(), "6 % of the level");
    }

    #[test]
    fn a_descriptor_a_minute_is_found_in_ten() {
        let descriptors = Allowed { share: 0.1, amount: 4.0 };
        let leak = series(600, |at, chance| 30.0 + (at / 60.0).floor() + (3.0 * chance).floor());
        assert!(!judge(&leak, descriptors).unwrap().is_flat());
        let steady = series(600, |_, chance| 30.0 + (9.0 * chance).floor());
        assert!(judge(&steady, descriptors).unwrap().is_flat());
    }

    #[test]
    fn many_samples_are_judged_as_their_stretches_and_few_not_at_all() {
        let day = series(86_400, |at, chance| (40.0 + 8.0 * chance) * MIB + at * 100.0);
        assert_eq!(stretches(&day).len(), STRETCHES_MAX);
        let growth = level(&day).growth;
        assert!((growth / 8_640_000.0 - 1.0).abs() < 0.1, "{growth}");
        assert_eq!(judge(&series(SAMPLES_MIN - 1, |_, _| 1.0), ALLOWED), None);
    }
}
