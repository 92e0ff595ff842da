//! What is looked at throughout a soak, and whether it stayed level.
//!
//! The agent's memory, descriptors and threads are judged life by life, over the second half of every life that is
//! long enough: a kill begins them anew, and the first half is what they need to fill. While the broker is away, and
//! while the agent is behind, files that cannot be given back pile up, as they must: that time does not count, neither
//! as length nor in the judgement. The size of the state outlives every kill and is judged over the second half of the
//! soak.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::flat::{self, Allowed, Level};
use crate::follow::Gauge;
use crate::procfs;
use crate::sampler::Sampler;

/// Which process is the agent at the moment, for whoever looks from another thread.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// 0 while there is none.
    pid: AtomicI32,
    life: AtomicU32,
    /// The broker is away, or was and the agent has not caught up.
    outage: AtomicBool,
}

impl Running {
    pub(super) fn begin(&self, pid: i32) {
        self.life.fetch_add(1, Ordering::SeqCst);
        self.pid.store(pid, Ordering::SeqCst);
    }

    pub(super) fn set_outage(&self, outage: bool) {
        self.outage.store(outage, Ordering::SeqCst);
    }

    /// To be called before the process is waited for: afterwards its id means nothing.
    pub(super) fn end(&self) {
        self.pid.store(0, Ordering::SeqCst);
    }

    pub(super) fn lives(&self) -> u32 {
        self.life.load(Ordering::SeqCst)
    }

    /// What is seen of the process; nothing when it ended, or another one began, meanwhile.
    fn look(&self) -> Option<Process> {
        let (pid, life) = (self.pid.load(Ordering::SeqCst), self.lives());
        if pid == 0 {
            return None;
        }
        let process = Process {
            life,
            rss_bytes: procfs::memory(pid).ok()?.rss_bytes,
            descriptors: procfs::descriptors(pid).ok()?,
            threads: procfs::threads(pid).ok()?,
        };
        (self.pid.load(Ordering::SeqCst) == pid && self.lives() == life).then_some(process)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Process {
    /// Lives are counted from 1.
    pub(super) life: u32,
    pub(super) rss_bytes: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

/// One look.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) at_s: f64,
    pub(super) agent: Option<Process>,
    pub(super) outage: bool,
    pub(super) state_bytes: u64,
    /// How long ago the newest line that had arrived was due, of the file that was the furthest behind.
    pub(super) behind_s: f64,
    /// The worst latency of the lines that arrived since the look before.
    pub(super) latency_max_s: f64,
    pub(super) harness_rss_bytes: u64,
}

/// More samples of a soak say no more, and would fill memory in a day.
const SAMPLES_MAX: u32 = 7200;
const INTERVAL_MIN: Duration = Duration::from_millis(250);

pub(super) fn start(
    length: Duration,
    running: Arc<Running>,
    gauge: Gauge,
    state: PathBuf,
) -> Sampler<Sample> {
    let interval = (length / SAMPLES_MAX).max(INTERVAL_MIN);
    Sampler::start(interval, move |at_s| {
        Some(Sample {
            at_s,
            agent: running.look(),
            outage: running.outage.load(Ordering::SeqCst),
            state_bytes: folder_bytes(&state),
            behind_s: gauge.behind_s(),
            latency_max_s: gauge.take_latency_max().as_secs_f64(),
            harness_rss_bytes: procfs::memory(std::process::id() as i32).unwrap_or_default().rss_bytes,
        })
    })
}

/// Bytes of the files in a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// A quantity and how level it stayed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Judged {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    /// None of what outlives the agent.
    pub(super) life: Option<u32>,
    /// How long was judged.
    pub(super) window_s: f64,
    pub(super) level: Level,
    pub(super) flat: bool,
}

/// Name, unit, how it is read off the agent, and what may be gained in the second half of a life.
type Quantity = (&'static str, &'static str, fn(&Process) -> f64, Allowed);

const QUANTITIES: [Quantity; 3] = [
    // The allocator hands memory back in steps, and a file more or less is a chunk more or less.
    ("resident memory", "MiB", |agent| mib(agent.rss_bytes), Allowed { share: 0.1, amount: 4.0 }),
    // The files that are open at the same time depend on where in its period the rotation is.
    ("descriptors", "", |agent| agent.descriptors as f64, Allowed { share: 0.1, amount: 4.0 }),
    // Those that read and list come and go by one or two.
    ("threads", "", |agent| agent.threads as f64, Allowed { share: 0.0, amount: 2.0 }),
];

/// The state grows by steps of 64 KiB.
const STATE: Allowed = Allowed { share: 0.1, amount: 64.0 };

/// An agent that is further behind reads a backlog.
const BEHIND_S_MAX: f64 = 1.0;

/// A shorter life says nothing of leaks.
pub(super) const LIFE_JUDGED_MIN: Duration = Duration::from_secs(8);

pub(super) fn judge(samples: &[Sample]) -> Vec<Judged> {
    let lives = samples
        .chunk_by(|one, other| one.agent.map(|agent| agent.life) == other.agent.map(|agent| agent.life));
    let mut judged: Vec<Judged> = lives.flat_map(judge_life).collect();
    excuse_warming_up(&mut judged);
    let state: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.at_s, sample.state_bytes as f64 / 1024.0)).collect();
    judged.extend(judge_half("state", "KiB", None, &state, STATE));
    judged
}

/// A life may come late to where earlier ones stayed level: buffers that an outage fills are kept. What leaks is
/// never level, so it excuses nobody.
fn excuse_warming_up(judged: &mut [Judged]) {
    for (what, ..) in QUANTITIES {
        let mut highest = f64::NEG_INFINITY;
        for life in judged.iter_mut().filter(|judged| judged.what == what) {
            let Level { median, growth, allowed, .. } = life.level;
            life.flat |= median + growth / 2.0 <= highest + allowed;
            if life.level.is_flat() {
                highest = highest.max(median);
            }
        }
    }
}

fn judge_life(samples: &[Sample]) -> Vec<Judged> {
    let calm = samples.iter().filter(|sample| !sample.outage && sample.behind_s < BEHIND_S_MAX);
    let seen: Vec<(f64, Process)> = calm.filter_map(|sample| Some((sample.at_s, sample.agent?))).collect();
    let (Some((begin_s, first)), Some((end_s, _))) = (seen.first(), seen.last()) else { return Vec::new() };
    if end_s - begin_s < LIFE_JUDGED_MIN.as_secs_f64() {
        return Vec::new();
    }
    let judge = |(what, unit, of, allowed): Quantity| {
        let series: Vec<(f64, f64)> = seen.iter().map(|(at_s, agent)| (*at_s, of(agent))).collect();
        judge_half(what, unit, Some(first.life), &series, allowed)
    };
    QUANTITIES.into_iter().filter_map(judge).collect()
}

/// Judges the second half of a series.
fn judge_half(
    what: &'static str,
    unit: &'static str,
    life: Option<u32>,
    series: &[(f64, f64)],
    allowed: Allowed,
) -> Option<Judged> {
    let (begin_s, end_s) = (series.first()?.0, series.last()?.0);
    let middle_s = begin_s + (end_s - begin_s) / 2.0;
    let half = &series[series.partition_point(|(at_s, _)| *at_s < middle_s)..];
    let level = flat::judge(half, allowed)?;
    Some(Judged { what, unit, life, window_s: end_s - middle_s, flat: level.is_flat(), level })
}

impl Judged {
    pub(super) fn sentence(&self) -> String {
        let of = self.life.map_or("the soak".to_owned(), |life| format!("life {life}"));
        let Level { median, growth, allowed, .. } = self.level;
        format!(
            "{} of {of} grew by {growth:.1} {} over its second half ({:.0} s) from a level of {median:.1}; {allowed:.1} are allowed",
            self.what, self.unit, self.window_s
        )
    }
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four looks a second; the agent is told by the second and the life.
    fn samples(
        seconds: u32,
        agent: impl Fn(f64) -> Option<(u32, u64, u64)>,
        state: impl Fn(f64) -> u64,
    ) -> Vec<Sample> {
        let look = |quarter: u32| {
            let at_s = f64::from(quarter) / 4.0;
            let process = |(life, mib, descriptors): (u32, u64, u64)| Process {
                life,
                rss_bytes: mib << 20,
                descriptors,
                threads: 9,
            };
            Sample {
                at_s,
                agent: agent(at_s).map(process),
                outage: false,
                state_bytes: state(at_s),
                behind_s: 0.0,
                latency_max_s: 0.0,
                harness_rss_bytes: 0,
            }
        };
        (0..seconds * 4).map(look).collect()
    }

    fn unlevel(judged: &[Judged]) -> Vec<(&'static str, Option<u32>)> {
        judged.iter().filter(|judged| !judged.flat).map(|judged| (judged.what, judged.life)).collect()
    }

    #[test]
    fn every_long_life_is_judged_by_itself_and_short_ones_are_not() {
        // A life of 5 s, one of 60 s that leaks after a calm first half, a second without an agent, one of 60 s
        // that only fills in its first half.
        let agent = |at_s: f64| match at_s {
            _ if at_s < 5.0 => Some((1, 10 + 10 * at_s as u64, 9)),
            _ if at_s < 65.0 => {
                Some((2, 40 + ((at_s - 35.0).max(0.0) * 0.5) as u64, 9 + (at_s / 4.0) as u64))
            }
            _ if at_s < 66.0 => None,
            _ => Some((3, 20 + (at_s - 66.0).min(25.0) as u64, 9)),
        };
        let judged = judge(&samples(126, agent, |_| 70_000));
        assert_eq!(judged.len(), 3 + 3 + 1, "two lives and the state: {judged:?}");
        assert_eq!(unlevel(&judged), [("resident memory", Some(2)), ("descriptors", Some(2))]);
        let sentence = judged[0].sentence();
        assert!(
            sentence.starts_with("resident memory of life 2 grew by 14")
                && sentence.contains("4.7 are allowed"),
            "{sentence}"
        );
    }

    #[test]
    fn a_life_may_come_late_to_where_an_earlier_one_stayed_level_and_no_further() {
        let lives = |second: fn(f64) -> u64| {
            move |at_s: f64| match at_s {
                _ if at_s < 60.0 => Some((1, 48, 9)),
                _ => Some((2, second(at_s - 60.0), 9)),
            }
        };
        let late = lives(|at_s| if at_s < 42.0 { 34 } else { 49 });
        assert_eq!(unlevel(&judge(&samples(120, late, |_| 0))), []);
        let leak = lives(|at_s| 34 + at_s as u64);
        assert_eq!(unlevel(&judge(&samples(120, leak, |_| 0))), [("resident memory", Some(2))]);
    }

    #[test]
    fn what_piles_up_in_an_outage_or_behind_it_does_not_count() {
        let agent = |at_s: f64| Some((1, 40, if at_s < 50.0 { 9 } else { 9 + (at_s - 50.0) as u64 }));
        let mut samples = samples(100, agent, |_| 0);
        assert_eq!(unlevel(&judge(&samples)), [("descriptors", Some(1))]);
        samples.iter_mut().for_each(|sample| sample.outage = sample.at_s >= 70.0);
        assert_eq!(unlevel(&judge(&samples)), [("descriptors", Some(1))]);
        let late = samples.iter_mut().filter(|sample| sample.at_s >= 50.0);
        late.for_each(|sample| sample.behind_s = 1.5);
        assert_eq!(unlevel(&judge(&samples)), []);
    }

    #[test]
    fn the_state_is_judged_over_all_lives() {
        let agent = |at_s: f64| Some((1 + (at_s / 5.0) as u32, 40, 9));
        assert_eq!(
            unlevel(&judge(&samples(120, agent, |at_s| 70_000 + 2000 * at_s as u64))),
            [("state", None)]
        );
        let settles = |at_s: f64| 70_000 + 4000 * at_s.min(50.0) as u64;
        assert_eq!(unlevel(&judge(&samples(120, agent, settles))), []);
    }

    #[test]
    fn a_process_that_ended_is_not_looked_at() {
        let running = Running::default();
        assert!(running.look().is_none());
        running.begin(std::process::id() as i32);
        let seen = running.look().unwrap();
        assert!(
            seen.life == 1 && seen.rss_bytes > 0 && seen.descriptors >= 3 && seen.threads >= 1,
            "{seen:?}"
        );
        running.end();
        assert!(running.look().is_none());
    }
}
