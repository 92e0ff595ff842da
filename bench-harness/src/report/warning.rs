//! What makes a measurement doubtful: every reason that the harness knows, as an enum.
//!
//! A warning doubts a number and stays with it; it never fails a run. Thresholds do not live here but with
//! whoever looks.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::thousands;

/// What makes a measurement doubtful.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Warning {
    /// Optimisation is off in the harness, and then probably in the agent beside it.
    DebugBuild,
    /// Others used the machine: share of one core.
    MachineBusy { during: String, foreign_cores: f64 },
    /// The hypervisor gave the time to others.
    TimeStolen { during: String, share: f64 },
    /// The generator wrote lines later than intended, which counts as latency of the agent.
    GeneratorLate { during: String, late_ms: f64, lines: u64 },
    /// The consumer's own way adds this to every latency.
    InstrumentSlow { p50_ms: f64 },
    /// Percentiles of few lines mean little.
    FewSamples { during: String, count: u64, quantile: &'static str },
    /// Lines came faster than they arrived: the latencies belong to no steady state.
    BacklogGrowing { during: String, lines: u64, per_second: f64 },
    /// The clock that latencies are taken with was set.
    ClockStepped { during: String, by_ms: f64 },
    /// A process of the agent ended and another one came.
    AgentRestarted { during: String },
    /// Lines waited in the broker for the harness's own consumer.
    ConsumerSlow { during: String, behind_lines: u64 },
    /// More pairs would narrow the interval.
    IntervalWide { of: &'static str, low: f64, high: f64 },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DebugBuild => {
                f.write_str("this is a debug build: build with --release before believing a number")
            }
            Warning::MachineBusy { during, foreign_cores } => {
                write!(
                    f,
                    "{during}: other processes used {foreign_cores:.2} cores; stop them and measure again"
                )
            }
            Warning::TimeStolen { during, share } => {
                write!(f, "{during}: the hypervisor took {:.1} % of the machine's time", share * 100.0)
            }
            Warning::GeneratorLate { during, late_ms, lines } => write!(
                f,
                "{during}: the generator wrote {} lines late, by up to {late_ms:.1} ms, which counts as latency",
                thousands(*lines)
            ),
            Warning::InstrumentSlow { p50_ms } => write!(
                f,
                "the instrument itself shows a median of {p50_ms:.2} ms for lines produced at once; \
                 every latency here holds that much of it"
            ),
            Warning::FewSamples { during, count, quantile } => {
                write!(f, "{during}: {} lines are too few for {quantile}; measure longer", thousands(*count))
            }
            Warning::BacklogGrowing { during, lines, per_second } => write!(
                f,
                "{during}: the backlog grew by {} lines while {} lines/s arrived; this load is more than can be \
                 sustained, and the latencies depend on how long was measured",
                thousands(*lines),
                thousands(*per_second as u64)
            ),
            Warning::ClockStepped { during, by_ms } => write!(
                f,
                "{during}: the machine's clock was set by {by_ms:+.1} ms, which moves latencies; stop whatever sets it \
                 and measure again"
            ),
            Warning::AgentRestarted { during } => write!(
                f,
                "{during}: a process of the agent ended and another one took its place; its log says why"
            ),
            Warning::ConsumerSlow { during, behind_lines } => write!(
                f,
                "{during}: the harness's consumer was the bottleneck: {} lines waited for it in the broker; the \
                 latencies are not the agent's",
                thousands(*behind_lines)
            ),
            Warning::IntervalWide { of, low, high } => {
                write!(f, "the interval of {of} is wide, {low:.3} to {high:.3}; run more pairs")
            }
        }
    }
}

impl Warning {
    /// The name for programs.
    fn kind(&self) -> &'static str {
        match self {
            Warning::DebugBuild => "debug_build",
            Warning::MachineBusy { .. } => "machine_busy",
            Warning::TimeStolen { .. } => "time_stolen",
            Warning::GeneratorLate { .. } => "generator_late",
            Warning::InstrumentSlow { .. } => "instrument_slow",
            Warning::FewSamples { .. } => "few_samples",
            Warning::BacklogGrowing { .. } => "backlog_growing",
            Warning::ClockStepped { .. } => "clock_stepped",
            Warning::AgentRestarted { .. } => "agent_restarted",
            Warning::ConsumerSlow { .. } => "consumer_slow",
            Warning::IntervalWide { .. } => "interval_wide",
        }
    }

    /// What is stored of it.
    pub(crate) fn note(&self) -> Note {
        Note { kind: self.kind().to_owned(), text: self.to_string() }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.note().serialize(serializer)
    }
}

/// A warning as it stands in `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// For programs: one of the kinds that the documentation lists.
    pub(crate) kind: String,
    /// For people.
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_warning_names_its_kind_and_says_what_to_do() {
        let during = || "20,000 lines/s".to_owned();
        let warnings = [
            Warning::DebugBuild,
            Warning::GeneratorLate { during: during(), late_ms: 12.34, lines: 1320 },
            Warning::FewSamples { during: during(), count: 900, quantile: "p99" },
            Warning::BacklogGrowing { during: during(), lines: 123_456, per_second: 18_000.4 },
            Warning::ClockStepped { during: during(), by_ms: -1500.0 },
            Warning::AgentRestarted { during: during() },
            Warning::ConsumerSlow { during: during(), behind_lines: 900_000 },
        ];
        let stored: Vec<String> =
            warnings.iter().map(|warning| serde_json::to_string(warning).unwrap() + "\n").collect();
        expect![[r#"
            {"kind":"debug_build","text":"this is a debug build: build with --release before believing a number"}
            {"kind":"generator_late","text":"20,000 lines/s: the generator wrote 1,320 lines late, by up to 12.3 ms, which counts as latency"}
            {"kind":"few_samples","text":"20,000 lines/s: 900 lines are too few for p99; measure longer"}
            {"kind":"backlog_growing","text":"20,000 lines/s: the backlog grew by 123,456 lines while 18,000 lines/s arrived; this load is more than can be sustained, and the latencies depend on how long was measured"}
            {"kind":"clock_stepped","text":"20,000 lines/s: the machine's clock was set by -1500.0 ms, which moves latencies; stop whatever sets it and measure again"}
            {"kind":"agent_restarted","text":"20,000 lines/s: a process of the agent ended and another one took its place; its log says why"}
            {"kind":"consumer_slow","text":"20,000 lines/s: the harness's consumer was the bottleneck: 900,000 lines waited for it in the broker; the latencies are not the agent's"}
        "#]].assert_eq(&stored.concat());
    }
}
