//! What makes a measurement doubtful: every reason that the harness knows, as an enum.
//!
//! A warning doubts a number and stays with it; it never fails a run. Thresholds do not live here but with
//! whoever looks.

use std::fmt;

use serde::{Serialize, Serializer};

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
                "{during}: the generator wrote {lines} lines late, by up to {late_ms:.1} ms, which counts as latency"
            ),
            Warning::InstrumentSlow { p50_ms } => write!(
                f,
                "the instrument itself shows a median of {p50_ms:.2} ms for lines produced at once; \
                 every latency here holds that much of it"
            ),
            Warning::FewSamples { during, count, quantile } => {
                write!(f, "{during}: {count} lines are too few for {quantile}; measure longer")
            }
            Warning::IntervalWide { of, low, high } => {
                write!(f, "the interval of {of} is wide, {low:.3} to {high:.3}; run more pairs")
            }
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
