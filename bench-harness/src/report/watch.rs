//! Notices what the machine did beside a measurement.
//!
//! It compares two readings and judges by thresholds; judging is pure.

use std::time::{Duration, Instant};

use super::Warning;
use crate::procfs::{self, MachineTicks};

/// Notices when somebody else used the machine during a measurement.
pub(crate) struct MachineWatch {
    ticks: MachineTicks,
    started: Instant,
}

/// More than this share of one core for others disturbs a measurement on a few cores.
const FOREIGN_CORES_MAX: f64 = 0.15;

/// More than this share of stolen time shows in tail latencies.
const STEAL_SHARE_MAX: f64 = 0.01;

impl MachineWatch {
    pub(crate) fn begin() -> MachineWatch {
        MachineWatch { ticks: procfs::machine_ticks(), started: Instant::now() }
    }

    /// What speaks against the time since `begin`. `own_cpu` is what the processes of the measurement used
    /// together, where that is known completely.
    pub(crate) fn end(&self, during: &str, own_cpu: Option<Duration>) -> Vec<Warning> {
        let ticks = procfs::machine_ticks().since(self.ticks);
        let during = during.to_owned();
        judge_machine(ticks, procfs::tick(), self.started.elapsed(), own_cpu, during)
    }
}

fn judge_machine(
    ticks: MachineTicks,
    tick: Duration,
    wall: Duration,
    own_cpu: Option<Duration>,
    during: String,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if ticks.steal_share() > STEAL_SHARE_MAX {
        warnings.push(Warning::TimeStolen { during: during.clone(), share: ticks.steal_share() });
    }
    if let Some(own_cpu) = own_cpu {
        let busy_s = ticks.busy as f64 * tick.as_secs_f64();
        let foreign_cores = (busy_s - own_cpu.as_secs_f64()) / wall.as_secs_f64().max(1e-9);
        if foreign_cores > FOREIGN_CORES_MAX {
            warnings.push(Warning::MachineBusy { during, foreign_cores });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn foreign_work_is_what_the_measurement_did_not_use_itself() {
        let ticks = MachineTicks { busy: 1000, steal: 0, total: 4000 };
        let judge = |own_s: Option<f64>| {
            let own = own_s.map(Duration::from_secs_f64);
            judge_machine(ticks, TICK, Duration::from_secs(20), own, "rate 1000".to_owned())
        };
        assert_eq!(judge(Some(9.5)), []);
        let expected = Warning::MachineBusy { during: "rate 1000".to_owned(), foreign_cores: 0.25 };
        assert_eq!(judge(Some(5.0)), [expected]);
        assert_eq!(judge(None), [], "an unknown broker may have used it all");
    }

    #[test]
    fn stolen_time_is_reported_by_its_share() {
        let ticks = MachineTicks { busy: 900, steal: 100, total: 2000 };
        let warnings = judge_machine(ticks, TICK, Duration::from_secs(10), None, "pair 1".to_owned());
        assert_eq!(warnings, [Warning::TimeStolen { during: "pair 1".to_owned(), share: 0.05 }]);
        assert_eq!(warnings[0].to_string(), "pair 1: the hypervisor took 5.0 % of the machine's time");
    }
}
