//! A trial second by second: what was due, what arrived, how late it was, and what that cost whom.
//!
//! It is put together after the window from what the recorder counted and from looks at the processes, taken at
//! the end of every second. Joining and judging are pure; looking is [`Look::take`].

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::Distance;
use crate::procfs::{self, Counters, Identity, NetworkBytes};
use crate::recorder::RecordedSecond;

/// Who is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// The leader of the agent's process group.
    pub(crate) agent: i32,
    pub(crate) generator: i32,
    /// None where the broker is somebody else's.
    pub(crate) broker: Option<i32>,
}

/// Everything that was to be seen at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// Since the start of the window.
    pub(crate) at: Duration,
    pub(crate) agent: Counters,
    pub(crate) broker: Option<Counters>,
    pub(crate) generator_cpu: Duration,
    pub(crate) harness_cpu: Duration,
    pub(crate) network: NetworkBytes,
    pub(crate) agent_processes: Vec<Identity>,
    pub(crate) clock: Distance,
    /// Lines that the topic held and that the consumer had not received, a moment apart.
    pub(crate) unconsumed_lines: Option<u64>,
}

impl Look {
    /// Looks at all of them; the counters come first, since asking the broker may take a while.
    pub(crate) fn take(watched: &Watched, start: Instant, unconsumed: impl FnOnce() -> Option<u64>) -> Look {
        let at = start.elapsed();
        let agent_processes = procfs::group(watched.agent);
        Look {
            at,
            agent: procfs::counters(agent_processes.iter().map(|process| process.pid)),
            broker: watched.broker.map(|pid| procfs::counters([pid])),
            generator_cpu: procfs::cpu_time(watched.generator).unwrap_or_default(),
            harness_cpu: procfs::cpu_time(std::process::id() as i32).unwrap_or_default(),
            network: procfs::network_bytes(),
            agent_processes,
            clock: Distance::read(start),
            unconsumed_lines: unconsumed(),
        }
    }
}

/// One second of the window; the last one may be shorter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Its end, since the start of the window.
    pub(crate) at_s: f64,
    /// Lines that were due in it.
    pub(crate) due_lines: u64,
    /// Lines that arrived in it, whenever they were due.
    pub(crate) arrived_lines: u64,
    /// Lines that were due and had not arrived at its end.
    pub(crate) lag_lines: u64,
    /// Of these, how many the broker already had. None when it did not answer at once.
    pub(crate) broker_lag_lines: Option<u64>,
    /// Latency of the lines that were due in it.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) agent: Activity,
    pub(crate) broker: Option<Activity>,
    /// Over all interfaces of the machine, loopback included, hence everyone's.
    pub(crate) network_received_bytes: u64,
    pub(crate) network_sent_bytes: u64,
}

/// What processes did in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Activity {
    /// CPU time per time: 1 is one core all the time.
    pub(crate) cpu_cores: f64,
    /// At the end of the second.
    pub(crate) rss_bytes: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    pub(crate) disk_read_bytes: u64,
    pub(crate) disk_write_bytes: u64,
}

impl Activity {
    fn between(before: &Counters, after: &Counters, wall: Duration) -> Activity {
        let cpu = after.cpu.saturating_sub(before.cpu);
        Activity {
            cpu_cores: cpu.as_secs_f64() / wall.as_secs_f64().max(1e-9),
            rss_bytes: after.rss_bytes,
            voluntary_switches: after.voluntary_switches.saturating_sub(before.voluntary_switches),
            involuntary_switches: after.involuntary_switches.saturating_sub(before.involuntary_switches),
            disk_read_bytes: after.disk_read_bytes.saturating_sub(before.disk_read_bytes),
            disk_write_bytes: after.disk_write_bytes.saturating_sub(before.disk_write_bytes),
        }
    }
}

/// Joins what was recorded with the looks at both ends of each second.
pub(crate) fn join(recorded: &[RecordedSecond], looks: &[Look]) -> Vec<Second> {
    let join = |(recorded, pair): (&RecordedSecond, &[Look])| {
        let [before, after] = pair else { unreachable!("windows of two") };
        let wall = after.at.saturating_sub(before.at);
        Second {
            at_s: after.at.as_secs_f64(),
            due_lines: recorded.due_lines,
            arrived_lines: recorded.arrived_lines,
            lag_lines: recorded.lag_lines,
            broker_lag_lines: after.unconsumed_lines,
            p50_ms: recorded.p50_ms,
            p99_ms: recorded.p99_ms,
            max_ms: recorded.max_ms,
            agent: Activity::between(&before.agent, &after.agent, wall),
            broker: before.broker.zip(after.broker).map(|(b, a)| Activity::between(&b, &a, wall)),
            network_received_bytes: after.network.received.saturating_sub(before.network.received),
            network_sent_bytes: after.network.sent.saturating_sub(before.network.sent),
        }
    };
    recorded.iter().zip(looks.windows(2)).map(join).collect()
}

/// By how many lines the backlog grew: the median lag of the last third of the window less that of the first.
/// Medians, because a single slow second at either end says nothing about the rate.
pub(crate) fn backlog_growth_lines(seconds: &[RecordedSecond]) -> i64 {
    let third = seconds.len().div_ceil(3);
    let lag = |part: &[RecordedSecond]| {
        let lags: Vec<f64> = part.iter().map(|second| second.lag_lines as f64).collect();
        crate::stats::median(&lags).unwrap_or(0.0)
    };
    (lag(&seconds[seconds.len() - third..]) - lag(&seconds[..third])) as i64
}

/// Lines that wait in the broker for less time than this are no sign of a slow consumer: fetches come in steps.
const UNCONSUMED_MAX: Duration = Duration::from_millis(100);
/// Nor are so few lines: about what one answer of the broker holds.
const UNCONSUMED_LINES_MAX: u64 = 20_000;

/// The lines that waited for the consumer in the middle one of the looks, where those are so many that the
/// consumer must have been what was slow.
pub(crate) fn consumer_behind_lines(looks: &[Look], rate: u64) -> Option<u64> {
    let mut waiting: Vec<u64> = looks.iter().filter_map(|look| look.unconsumed_lines).collect();
    waiting.sort_unstable();
    let middle = *waiting.get(waiting.len() / 2)?;
    let limit = (rate as f64 * UNCONSUMED_MAX.as_secs_f64()) as u64;
    (middle > limit.max(UNCONSUMED_LINES_MAX)).then_some(middle)
}

/// Whether a process of the agent ended within the window and another one came.
pub(crate) fn agent_restarted(looks: &[Look]) -> bool {
    looks.windows(2).any(|pair| {
        let [before, after] = [&pair[0].agent_processes, &pair[1].agent_processes];
        before.iter().any(|process| !after.contains(process))
            && after.iter().any(|process| !before.contains(process))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lags(lags: &[u64]) -> Vec<RecordedSecond> {
        lags.iter().map(|&lag_lines| RecordedSecond { lag_lines, ..RecordedSecond::default() }).collect()
    }

    fn look(at_s: u64, unconsumed_lines: u64) -> Look {
        let cpu = Duration::from_millis(at_s * 250);
        Look {
            at: Duration::from_secs(at_s),
            agent: Counters { cpu, rss_bytes: 7, voluntary_switches: at_s * 10, ..Counters::default() },
            broker: None,
            generator_cpu: cpu,
            harness_cpu: cpu,
            network: NetworkBytes { received: at_s * 100, sent: at_s * 10 },
            agent_processes: procfs::group(std::process::id() as i32),
            clock: Distance::read(Instant::now()),
            unconsumed_lines: Some(unconsumed_lines),
        }
    }

    #[test]
    fn growth_is_seen_through_single_slow_seconds() {
        assert_eq!(backlog_growth_lines(&lags(&[10, 10, 10, 10, 10, 10, 10, 9000, 10])), 0);
        assert_eq!(backlog_growth_lines(&lags(&[0, 100, 200, 300, 400, 500])), 400);
        assert_eq!(backlog_growth_lines(&lags(&[500, 0])), -500);
        assert_eq!(backlog_growth_lines(&[]), 0);
    }

    #[test]
    fn a_second_holds_the_difference_of_the_looks_around_it() {
        let seconds = join(&lags(&[5, 6]), &[look(0, 0), look(1, 3), look(2, 0)]);
        assert_eq!(seconds.len(), 2);
        assert_eq!((seconds[0].agent.cpu_cores, seconds[0].agent.voluntary_switches), (0.25, 10));
        assert_eq!((seconds[0].lag_lines, seconds[0].broker_lag_lines), (5, Some(3)));
        assert_eq!((seconds[1].network_received_bytes, seconds[1].network_sent_bytes), (100, 10));
    }

    #[test]
    fn a_consumer_is_behind_when_most_looks_say_so() {
        let once = [look(0, 0), look(1, 900_000), look(2, 0)];
        assert_eq!(consumer_behind_lines(&once, 100_000), None);
        let mostly = [look(0, 0), look(1, 900_000), look(2, 800_000)];
        assert_eq!(consumer_behind_lines(&mostly, 100_000), Some(800_000));
        assert_eq!(consumer_behind_lines(&[], 100_000), None);
    }

    #[test]
    fn another_process_instead_of_the_one_before_is_a_restart() {
        let mut looks = [look(0, 0), look(1, 0)];
        let process = |pid| Identity { pid, started_ticks: 0 };
        looks[0].agent_processes = vec![process(1), process(2)];
        looks[1].agent_processes = vec![process(1), process(2), process(3)];
        assert!(!agent_restarted(&looks), "a worker more is no restart");
        looks[1].agent_processes = vec![process(1), process(3)];
        assert!(agent_restarted(&looks));
    }
}
