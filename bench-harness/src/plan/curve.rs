//! Measured rates as a curve: what a line costs at any rate, and how well that is known.
//!
//! CPU time each second is a fixed part (looking, waking up, sending whatever there is) and a part for each line:
//! `fixed + per_line * lines/s`. Two numbers are all that a handful of points can carry. They minimise the
//! squares of the relative errors, so that a point at 1,000 lines/s counts as much as one at a million, and
//! neither may be below 0. How good the fit is shows by leaving each point out in turn and predicting it.

use std::fmt;

use serde::Serialize;

/// One measured rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The load.
    pub lines_per_second: f64,
    /// CPU time of the agent.
    pub agent_us_per_line: f64,
    /// The agent's peak memory.
    pub agent_rss_bytes: u64,
    /// CPU time of the broker, where it was the harness's own.
    pub broker_us_per_line: Option<f64>,
    /// CPU time of the harness, which consumes and checks.
    pub consumer_us_per_line: f64,
    /// What a line took on the broker's disk, where that was looked at.
    pub stored_bytes_per_line: Option<f64>,
}

/// All points of one agent, machine and kind of line, by ascending rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// At least one.
    pub points: Vec<Point>,
    /// Mean bytes of a line without its end.
    pub line_bytes: f64,
    /// The processor.
    pub machine: String,
    /// What the agent calls itself.
    pub agent: String,
    /// What the broker uses when nobody asks it for anything; 0 where nobody looked.
    pub broker_idle_cores: f64,
    /// The highest rate that held, where that was searched for.
    pub sustainable_lines_per_second: Option<f64>,
}

/// CPU time each second as a function of the rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Seconds each second, whatever the rate.
    pub fixed_cores: f64,
    /// Microseconds for each line.
    pub us_per_line: f64,
}

/// One point, predicted from the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Its rate.
    pub lines_per_second: f64,
    /// CPU time of the agent as measured.
    pub measured_us_per_line: f64,
    /// As the fit of all other points has it.
    pub predicted_us_per_line: f64,
}

impl Check {
    /// By how much the prediction is off, as a share of what was measured.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.predicted_us_per_line / self.measured_us_per_line - 1.0
    }
}

impl Cost {
    /// The fit of rates and what a line cost there. One point alone says nothing of the fixed part.
    fn fit(points: impl Iterator<Item = (f64, f64)> + Clone) -> Cost {
        let sum = |term: fn(f64, f64) -> f64| {
            // Relative errors: every equation is divided by what was measured, in seconds each second.
            points
                .clone()
                .map(|(rate, us)| (rate * us * 1e-6, rate))
                .map(|(cores, rate)| term(1.0 / cores, rate / cores))
                .sum::<f64>()
        };
        let (aa, ab, bb) = (sum(|a, _| a * a), sum(|a, b| a * b), sum(|_, b| b * b));
        let (a, b) = (sum(|a, _| a), sum(|_, b| b));
        let determinant = aa * bb - ab * ab;
        let (fixed, per_line) = if determinant > 1e-9 * aa * bb {
            ((a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant)
        } else {
            (0.0, b / bb)
        };
        let (fixed, per_line) = match (fixed < 0.0, per_line < 0.0) {
            (true, _) => (0.0, b / bb),
            (_, true) => (a / aa, 0.0),
            _ => (fixed, per_line),
        };
        Cost { fixed_cores: fixed, us_per_line: per_line * 1e6 }
    }

    /// Cores in use at so many lines a second.
    #[must_use]
    pub fn at(&self, lines_per_second: f64) -> f64 {
        self.fixed_cores + self.us_per_line * 1e-6 * lines_per_second
    }

    /// The highest rate that needs no more than so many cores; at least 1.
    #[must_use]
    pub fn rate_within(&self, cores: f64) -> f64 {
        ((cores - self.fixed_cores) / (self.us_per_line * 1e-6)).clamp(1.0, 1e12)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms/s + {:.3} us/line", self.fixed_cores * 1e3, self.us_per_line)
    }
}

/// So far outside the measured rates nothing is worth a note yet.
const RANGE_SLACK: f64 = 1.1;

/// A fit that is further off at any point is no basis for a plan, and the plan says so.
const ERROR_MAX: f64 = 0.5;

impl Curve {
    /// What the agent costs.
    #[must_use]
    pub fn agent_cost(&self) -> Cost {
        Cost::fit(self.points.iter().map(|point| (point.lines_per_second, point.agent_us_per_line)))
    }

    /// What the broker costs, where every point knows it.
    #[must_use]
    pub fn broker_cost(&self) -> Option<Cost> {
        let known: Option<Vec<(f64, f64)>> = self
            .points
            .iter()
            .map(|point| Some((point.lines_per_second, point.broker_us_per_line?)))
            .collect();
        Some(Cost::fit(known?.into_iter()))
    }

    /// What the consumer costs.
    #[must_use]
    pub fn consumer_cost(&self) -> Cost {
        Cost::fit(self.points.iter().map(|point| (point.lines_per_second, point.consumer_us_per_line)))
    }

    /// The agent's memory at its highest.
    #[must_use]
    pub fn agent_rss_bytes_max(&self) -> f64 {
        self.points.iter().map(|point| point.agent_rss_bytes).max().unwrap_or(0) as f64
    }

    /// What a line takes on the broker's disk at a rate: between two points by the logarithm of the rate, beyond
    /// the ends as at the ends. Slower writers fill their batches less and compress worse.
    #[must_use]
    pub fn stored_bytes_per_line(&self, lines_per_second: f64) -> Option<f64> {
        let known: Option<Vec<(f64, f64)>> = self
            .points
            .iter()
            .map(|point| Some((point.lines_per_second.ln(), point.stored_bytes_per_line?)))
            .collect();
        let known = known?;
        let wanted = lines_per_second.max(1e-9).ln();
        let behind = known.partition_point(|point| point.0 <= wanted);
        let (first, last) = (known.first()?, known.last()?);
        Some(match behind {
            0 => first.1,
            _ if behind == known.len() => last.1,
            _ => {
                let (low, high) = (known[behind - 1], known[behind]);
                low.1 + (high.1 - low.1) * (wanted - low.0) / (high.0 - low.0)
            }
        })
    }

    /// Each point predicted from the others; empty below three points, which leave one for a fit of two numbers.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        if self.points.len() < 3 {
            return Vec::new();
        }
        let left_out = |index: usize| {
            let others = self.points.iter().enumerate().filter(move |(other, _)| *other != index);
            let cost = Cost::fit(others.map(|(_, point)| (point.lines_per_second, point.agent_us_per_line)));
            let Point { lines_per_second, agent_us_per_line, .. } = self.points[index];
            Check {
                lines_per_second,
                measured_us_per_line: agent_us_per_line,
                predicted_us_per_line: cost.at(lines_per_second) * 1e6 / lines_per_second,
            }
        };
        (0..self.points.len()).map(left_out).collect()
    }

    /// What a plan at this rate of a host must say about the measurement.
    pub(super) fn notes(&self, host_lines_per_second: f64) -> Vec<String> {
        let mut notes = Vec::new();
        let error_max = self.checks().iter().map(|check| check.error().abs()).fold(0.0, f64::max);
        if error_max > ERROR_MAX {
            notes.push(format!(
                "the fit misses a measured rate by {:.0} %: the machine was disturbed; measure again on one that does \
                 nothing else",
                error_max * 100.0
            ));
        }
        let rates = || self.points.iter().map(|point| point.lines_per_second);
        let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        if self.points.len() == 1 {
            notes.push(format!(
                "one measured rate ({low:.0} lines/s) cannot tell fixed cost from cost per line, and nothing is left to \
                 check it with; measure a sweep"
            ));
        } else if self.points.len() == 2 {
            notes.push("two measured rates leave none to check the fit with; measure a sweep".into());
        }
        if host_lines_per_second * RANGE_SLACK < low {
            notes.push(format!(
                "a host's {host_lines_per_second:.0} lines/s lie below the slowest measured rate ({low:.0}): the fixed cost \
                 is an upper bound there, compression an optimistic one"
            ));
        }
        if host_lines_per_second > high * RANGE_SLACK {
            notes.push(format!(
                "a host's {host_lines_per_second:.0} lines/s lie above the fastest measured rate ({high:.0}): nobody has \
                 seen that this machine can do it"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::curve;

    #[test]
    fn exact_points_give_the_numbers_back() {
        let cost = curve().agent_cost();
        assert!((cost.fixed_cores - 0.02).abs() < 1e-9 && (cost.us_per_line - 0.5).abs() < 1e-9, "{cost}");
        assert_eq!(cost.to_string(), "20.0 ms/s + 0.500 us/line");
        assert!((cost.rate_within(0.52) - 1e6).abs() < 1e-3);
    }

    #[test]
    fn neither_part_becomes_negative() {
        let falling = Cost::fit([(1_000.0, 1.0), (10_000.0, 3.0), (100_000.0, 5.0)].into_iter());
        assert!(falling.fixed_cores == 0.0 && falling.us_per_line > 0.0, "{falling}");
        let constant = Cost::fit([(1_000.0, 100.0), (10_000.0, 9.0), (100_000.0, 0.5)].into_iter());
        assert!(constant.us_per_line == 0.0 && constant.fixed_cores > 0.0, "{constant}");
    }

    #[test]
    fn one_point_is_taken_as_cost_per_line() {
        let cost = Cost::fit([(20_000.0, 3.0)].into_iter());
        assert!(cost.fixed_cores == 0.0 && (cost.us_per_line - 3.0).abs() < 1e-9, "{cost}");
        let curve = Curve { points: curve().points[..1].to_vec(), ..curve() };
        assert!(curve.checks().is_empty());
        assert!(curve.notes(1_000.0)[0].contains("one measured rate"));
    }

    #[test]
    fn a_point_that_fits_the_others_is_predicted_and_one_that_does_not_shows() {
        let mut curve = curve();
        assert!(curve.checks().iter().all(|check| check.error().abs() < 1e-9), "{:?}", curve.checks());
        curve.points[1].agent_us_per_line *= 2.0;
        let errors: Vec<f64> = curve.checks().iter().map(Check::error).collect();
        assert!((errors[1] + 0.5).abs() < 1e-9, "{errors:?}");
    }

    #[test]
    fn bytes_on_disk_lie_between_the_neighbours() {
        let mut curve = curve();
        curve.points[0].stored_bytes_per_line = Some(120.0);
        let at = |rate| curve.stored_bytes_per_line(rate).unwrap();
        assert_eq!((at(10.0), at(1_000.0), at(1e7)), (120.0, 120.0, 60.0));
        assert!((at(3_162.277_66) - 90.0).abs() < 1e-3);
    }

    #[test]
    fn a_rate_that_nobody_measured_is_said() {
        let curve = curve();
        assert!(curve.notes(500.0)[0].contains("below the slowest"));
        assert!(curve.notes(200_000.0)[0].contains("above the fastest"));
        assert!(curve.notes(50_000.0).is_empty());
    }
}
