//! The search for the highest rate that an agent sustains: pure, told of one outcome after the other.
//!
//! First the rate grows by a factor until it does not hold; then the span between the highest rate that held and
//! the lowest that did not is halved, on a logarithmic scale, until it is narrow enough. A first rate that does
//! not hold is approached from above the same way. Whether a rate holds is an [`Objective`] and what [`Step`]
//! says; how it is measured is the caller's business. A machine's stall can break any step, so the caller
//! measures a broken step again before it says so.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The latency that a rate must keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Which share of the lines.
    pub quantile: Quantile,
    /// What they may take at most.
    pub limit_ms: f64,
}

/// The percentiles that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Quantile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

const QUANTILES: [(&str, Quantile); 6] = [
    ("p50", Quantile::P50),
    ("p90", Quantile::P90),
    ("p99", Quantile::P99),
    ("p99.9", Quantile::P999),
    ("p999", Quantile::P999),
    ("max", Quantile::Max),
];

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Objective, String> {
        let wrong = || format!("`{text}` is no objective; try `p99=50ms` (p50, p90, p99, p99.9 or max)");
        let (name, limit) = text.split_once('=').ok_or_else(wrong)?;
        let (_, quantile) =
            QUANTILES.into_iter().find(|(known, _)| *known == name.trim()).ok_or_else(wrong)?;
        let limit: Duration = humantime::parse_duration(limit.trim()).map_err(|_| wrong())?;
        if limit.is_zero() {
            return Err(wrong());
        }
        Ok(Objective { quantile, limit_ms: limit.as_secs_f64() * 1e3 })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            QUANTILES.iter().find(|(_, quantile)| *quantile == self.quantile).map_or("?", |known| known.0);
        write!(f, "{name} at most {} ms", self.limit_ms)
    }
}

/// What one measured rate showed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Lines a second that were intended.
    pub rate: u64,
    /// The latency that the objective is about.
    pub latency_ms: f64,
    /// By how many lines the backlog grew.
    pub backlog_growth_lines: i64,
    /// Lines lost, reordered, torn or duplicated.
    pub wrong_lines: u64,
    /// How late the generator itself was at most.
    pub generator_late_ms: f64,
}

/// Why a rate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broke {
    /// Lines are missing or wrong.
    Lines,
    /// The generator could not write so fast on this machine: the agent is not to blame.
    Generator,
    /// More comes than goes.
    Backlog,
    /// The latency objective.
    Objective,
}

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broke::Lines => "lines are missing or wrong",
            Broke::Generator => "the generator was later than the objective allows: the machine is too small",
            Broke::Backlog => "the backlog grows",
            Broke::Objective => "the objective",
        })
    }
}

/// A backlog may be longer at the end by what is due in this time, which is no more than a coincidence.
const BACKLOG_GROWTH_MAX_S: f64 = 0.25;

impl Objective {
    /// Why a step does not hold; none when it does.
    #[must_use]
    pub fn broken_by(&self, step: &Step) -> Option<Broke> {
        let grown = step.backlog_growth_lines as f64 > step.rate as f64 * BACKLOG_GROWTH_MAX_S;
        let late = step.latency_ms > self.limit_ms;
        match () {
            () if step.wrong_lines > 0 => Some(Broke::Lines),
            () if (late || grown) && step.generator_late_ms > self.limit_ms => Some(Broke::Generator),
            () if grown => Some(Broke::Backlog),
            () if late => Some(Broke::Objective),
            () => None,
        }
    }
}

/// A search in progress.
#[derive(Clone, Debug)]
pub struct Search {
    factor: f64,
    rate_max: u64,
    /// The span is narrow enough when its ends differ by less than this share.
    precision: f64,
    next: Option<u64>,
    /// The highest rate that held.
    held: Option<u64>,
    /// The lowest rate that did not.
    broke: Option<u64>,
}

impl Search {
    /// A search that begins at `start` lines a second.
    #[must_use]
    pub fn new(start: u64, factor: f64, rate_max: u64, precision: f64) -> Search {
        Search { factor, rate_max, precision, next: Some(start.max(1)), held: None, broke: None }
    }

    /// The rate to measure next; none when the search is over.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// The highest rate that held.
    #[must_use]
    pub fn held(&self) -> Option<u64> {
        self.held
    }

    /// Takes the outcome of the rate that [`Search::next`] gave.
    pub fn judge(&mut self, holds: bool) {
        let Some(rate) = self.next.take() else { return };
        if holds {
            self.held = self.held.max(Some(rate));
        } else {
            self.broke = Some(self.broke.map_or(rate, |broke| broke.min(rate)));
        }
        self.next = match (self.held, self.broke) {
            (Some(held), None) if held >= self.rate_max => None,
            (Some(held), None) => Some(round(held as f64 * self.factor).min(self.rate_max)),
            (None, Some(1)) => None,
            (None, Some(broke)) => Some(round(broke as f64 / self.factor).clamp(1, broke - 1)),
            (Some(held), Some(broke)) if (broke as f64) <= held as f64 * (1.0 + self.precision) => None,
            (Some(held), Some(broke)) => {
                let middle = round((held as f64 * broke as f64).sqrt());
                (held < middle && middle < broke).then_some(middle)
            }
            (None, None) => None,
        };
    }
}

/// Two digits are enough for a rate that a person reads.
fn round(rate: f64) -> u64 {
    let step = 10f64.powi((rate.max(1.0).log10().floor() as i32 - 1).max(0));
    ((rate / step).round() * step).max(1.0) as u64
}

/// Where the latency curve bends: the highest rate up to which the latency stays within twice the lowest one
/// seen. `curve` holds rates in ascending order with their latency.
#[must_use]
pub fn knee(curve: &[(u64, f64)]) -> Option<u64> {
    let lowest = curve.iter().map(|point| point.1).min_by(f64::total_cmp)?;
    // A bad first point must not hide that the curve is flat behind it.
    curve.iter().rev().find(|point| point.1 <= 2.0 * lowest).map(|point| point.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that a search asks for when everything up to `capacity` holds.
    fn walk(mut search: Search, capacity: u64) -> (Vec<u64>, Option<u64>) {
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            rates.push(rate);
            search.judge(rate <= capacity);
            assert!(rates.len() < 60, "no end: {rates:?}");
        }
        (rates, search.held())
    }

    #[test]
    fn the_rate_grows_until_it_breaks_and_is_then_closed_in_on() {
        let (rates, held) = walk(Search::new(1000, 4.0, 10_000_000, 0.2), 50_000);
        assert_eq!(rates, [1000, 4000, 16_000, 64_000, 32_000, 45_000, 54_000]);
        assert_eq!(held, Some(45_000));
    }

    #[test]
    fn every_capacity_is_found_within_the_precision() {
        for capacity in (1..200).chain([1_000, 12_345, 777_777, 4_000_000]) {
            let (_, held) = walk(Search::new(100, 2.0, 3_000_000, 0.1), capacity);
            let found = held.unwrap() as f64;
            let bound = capacity.min(3_000_000) as f64;
            assert!(found <= bound && found * 1.1 + 1.0 >= bound, "{capacity}: {found}");
        }
    }

    #[test]
    fn a_start_that_is_too_fast_is_approached_from_above() {
        let (rates, held) = walk(Search::new(1000, 10.0, 1_000_000, 0.5), 30);
        assert_eq!((&rates[..3], held), (&[1000, 100, 10][..], Some(24)), "{rates:?}");
        assert_eq!(walk(Search::new(1000, 10.0, 1_000_000, 0.5), 0).1, None);
    }

    #[test]
    fn an_objective_is_read_and_shown() {
        let read = |text: &str| text.parse::<Objective>();
        let objective = read("p99=50ms").unwrap();
        assert_eq!(objective, Objective { quantile: Quantile::P99, limit_ms: 50.0 });
        assert_eq!(objective.to_string(), "p99 at most 50 ms");
        assert_eq!(read("p99.9=1s").unwrap().to_string(), "p99.9 at most 1000 ms");
        for wrong in ["", "p99", "p98=1ms", "p99=fast", "p99=0ms", "p99="] {
            assert!(read(wrong).unwrap_err().contains("p99=50ms"), "{wrong}");
        }
    }

    #[test]
    fn a_step_breaks_for_the_gravest_reason() {
        let objective = Objective { quantile: Quantile::P99, limit_ms: 50.0 };
        let fine = Step { rate: 1000, latency_ms: 50.0, backlog_growth_lines: 250, ..Step::default() };
        assert_eq!(objective.broken_by(&fine), None);
        assert_eq!(objective.broken_by(&Step { latency_ms: 50.1, ..fine }), Some(Broke::Objective));
        let growing = Step { backlog_growth_lines: 251, latency_ms: 900.0, ..fine };
        assert_eq!(objective.broken_by(&growing), Some(Broke::Backlog));
        let late = Step { generator_late_ms: 60.0, ..growing };
        assert_eq!(objective.broken_by(&late), Some(Broke::Generator));
        assert_eq!(objective.broken_by(&Step { generator_late_ms: 60.0, ..fine }), None);
        assert_eq!(objective.broken_by(&Step { wrong_lines: 1, ..late }), Some(Broke::Lines));
    }

    #[test]
    fn the_knee_is_where_the_latency_has_not_yet_doubled() {
        let curve = [(1_000, 9.0), (2_000, 5.0), (4_000, 6.0), (8_000, 9.9), (16_000, 40.0)];
        assert_eq!(knee(&curve), Some(8_000));
        assert_eq!(knee(&[]), None);
    }
}
