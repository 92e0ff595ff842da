//! One open-loop measurement: an agent under a steady load, from the intended time of each line to its
//! consumption, and what the agent pays for it.
//!
//! Open loop: the generator writes by a schedule fixed in advance and waits for nobody, so a stall of the
//! agent, the broker or the machine counts for every line that was due in it. A trial has a topic, a folder
//! and an agent of its own, and leaves none of them. Everyone who takes part is looked at each second; the agent's CPU
//! time in the window is divided by the lines due in it, and the harness's own, which is the consumer's, stands
//! apart. Every line is judged as it arrives. What a series of trials means is the caller's business.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use logdrive_bench::consume::unix_now_ns;
use logdrive_bench::verify::Verdict;
use logdrive_load::journal::Journal;

use crate::agent::{Agent, metrics_page};
use crate::broker::free_neighbour_ports;
use crate::clock::{self, Distance};
use crate::interrupt;
use crate::load::Writing;
use crate::process::Usage;
use crate::receiver::{Received, Receiver};
use crate::recorder::{Quantiles, Recorder};
use crate::report::{MachineWatch, Report, Warning};
use crate::setup::Setup;
use crate::stages::{self, Exported, Lateness, Stages};
use crate::timeline::{self, Look, Second, Watched};

/// Between the start of the agent and the first line.
const AGENT_SETTLES: Duration = Duration::from_secs(1);

/// The writer needs a moment to start, so the window begins so much later, and it writes on for as long
/// after the window's end, so that the last counted lines are not the last ones.
const MARGIN: Duration = Duration::from_millis(500);

const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Clone)]
pub(crate) struct Trial<'a> {
    /// Stands before warnings and failures, and in the names of topic, files and logs; unique in its run.
    pub(crate) name: String,
    pub(crate) agent: &'a Agent,
    pub(crate) load: Load,
    pub(crate) partitions: i32,
    /// How long the load runs before it counts.
    pub(crate) warm_up: Duration,
    /// How long it counts.
    pub(crate) duration: Duration,
}

/// What is written, as the generator is told.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Lines a second over all files.
    pub(crate) rate: u64,
    pub(crate) files: u32,
    /// Bytes of a line, its end not counted: a number, or a range such as `100..300`.
    pub(crate) line_bytes: String,
    /// More options of the generator, such as its rotation.
    pub(crate) options: Vec<String>,
    /// Which files below its folder the agent is to ship: `*.log`, with rotation `*.log*`.
    pub(crate) glob: String,
}

/// What came of a trial.
pub(crate) struct Measured {
    /// Lines a second that were intended.
    pub(crate) rate: u64,
    pub(crate) latency: Quantiles,
    /// The latencies in full.
    pub(crate) recorder: Recorder,
    /// Lines a second that arrived within the window.
    pub(crate) throughput_lines_per_second: f64,
    /// By how many lines the backlog between writer and consumer grew within the window; below 0 it shrank.
    pub(crate) backlog_growth_lines: i64,
    /// Of the agent, within the window.
    pub(crate) agent_us_per_line: f64,
    /// Of the harness, which consumes, within the window.
    pub(crate) consumer_us_per_line: f64,
    /// CPU time within the window.
    pub(crate) spent: Spent,
    /// The agent over its whole life.
    pub(crate) usage: Usage,
    pub(crate) stages: Stages,
    pub(crate) timeline: Vec<Second>,
    /// Bytes of all lines, their ends included.
    pub(crate) bytes_written: u64,
    /// What the lines take on the broker's disk; none where the broker is somebody else's.
    pub(crate) topic_bytes: Option<u64>,
    pub(crate) generator_late_ms_max: f64,
    pub(crate) generator_late_lines: u64,
    pub(crate) verdict: Verdict,
}

impl Trial<'_> {
    /// As [`Trial::measure`], and a line that is missing or wrong fails the run.
    pub(crate) fn run(&self, setup: &Setup, report: &mut Report) -> Result<Measured> {
        let measured = self.measure(setup, report)?;
        report.judge(&self.name, &measured.verdict, 0);
        Ok(measured)
    }

    /// Runs the trial to its end. What speaks against its numbers becomes a warning of `report`; an error means
    /// that there is no measurement.
    pub(crate) fn measure(&self, setup: &Setup, report: &mut Report) -> Result<Measured> {
        let slug = slug(&self.name);
        let topic = setup.topic(&slug);
        setup.cluster.create_topic(&topic, self.partitions)?;
        let measured = self.run_on(&topic, &slug, setup, report);
        // A cluster that is not ours keeps nothing of a trial, however it went.
        let deleted = setup.cluster.delete_topic(&topic);
        let measured = measured?;
        deleted.map(|()| measured)
    }

    fn run_on(&self, topic: &str, slug: &str, setup: &Setup, report: &mut Report) -> Result<Measured> {
        let folder = setup.scratch(format!("files-{slug}"));
        std::fs::create_dir_all(&folder)?;
        let (files, file) = (folder.join(&self.load.glob), folder.join("load-0.log"));
        let state = setup.scratch(format!("state-{slug}"));
        let mut job = setup.job(&files, &file, topic, &state);
        job.http = self.agent.serves_metrics().then(metrics_address).transpose()?;
        let mut agent = self.agent.start(&job, &setup.log(format!("agent-{slug}")))?;
        interrupt::pause(AGENT_SETTLES)?;
        agent.expect_running()?;

        let until_window = MARGIN + self.warm_up;
        let window_start = Instant::now() + until_window;
        let window_start_ns = unix_now_ns() + until_window.as_nanos() as u64;
        let recorder = Recorder::new(window_start_ns..window_start_ns + self.duration.as_nanos() as u64);
        let mut receiver = Receiver::start(setup.cluster.brokers(), topic, self.agent.framing(), recorder)?;
        let log = setup.log(format!("generator-{slug}"));
        let writer = setup.generator.start(&self.writing(&folder), &log)?;

        interrupt::pause_until(window_start)?;
        let watch = MachineWatch::begin();
        let watched =
            Watched { agent: agent.pid(), generator: writer.child.pid(), broker: setup.broker.pid() };
        let page_before = job.http.and_then(metrics_page);
        let looks = self.look(&watched, window_start, || {
            agent.expect_running()?;
            receiver.expect_receiving()?;
            let held = setup.cluster.glance(topic, self.partitions);
            // Asked for afterwards, so that what arrives in between does not seem to wait.
            Ok(held.map(|held| held.saturating_sub(receiver.records())))
        })?;
        let page_after = job.http.and_then(metrics_page);
        let spent = Spent::between(&looks);
        watch.end(&self.name, spent.all()).into_iter().for_each(|warning| report.warn(warning));

        let journal = writer.finish(DRAIN_PATIENCE)?;
        receiver.await_count(journal.header.lines, DRAIN_PATIENCE)?;
        let exit = agent.terminate(STOP_PATIENCE)?;
        // What the agent sent while it stopped belongs to the verdict.
        receiver.await_count(setup.cluster.watermarks(topic, self.partitions)?, DRAIN_PATIENCE)?;
        let Received { note: recorder, ledger } = receiver.finish()?;
        let verdict = ledger.verdict(&journal);
        let _ = std::fs::remove_dir_all(&folder);

        let exported = page_before.zip(page_after);
        let exported = exported.and_then(|(before, after)| stages::read_to_acknowledged(&before, &after));
        let measured = self.measured(
            Seen { journal, recorder, verdict, usage: exit.usage },
            spent,
            exported,
            &looks,
            setup.broker.topic_bytes(topic),
        );
        self.doubt(&measured, &looks, report);
        Ok(measured)
    }

    /// A look at the start of the window and at the end of each second of it.
    fn look(
        &self,
        watched: &Watched,
        start: Instant,
        mut unconsumed: impl FnMut() -> Result<Option<u64>>,
    ) -> Result<Vec<Look>> {
        let seconds = self.duration.as_secs_f64().ceil() as u32;
        let mut looks = Vec::with_capacity(seconds as usize + 1);
        for second in 0..=seconds {
            let at = Duration::from_secs(u64::from(second)).min(self.duration);
            interrupt::pause_until(start + at)?;
            let mut failed = None;
            looks.push(Look::take(watched, start, || {
                unconsumed().unwrap_or_else(|error| {
                    failed = Some(error);
                    None
                })
            }));
            failed.map_or(Ok(()), Err)?;
        }
        Ok(looks)
    }

    fn measured(
        &self,
        seen: Seen,
        spent: Spent,
        exported: Option<Exported>,
        looks: &[Look],
        topic_bytes: Option<u64>,
    ) -> Measured {
        let Seen { journal, recorder, verdict, usage } = seen;
        let (latency, seconds) = (recorder.quantiles(), recorder.seconds());
        let pace = journal.header.pace;
        let parts = recorder.parts();
        let late = Lateness { late_lines: pace.lines_late, max_ms: pace.lateness_max_ns as f64 / 1e6 };
        let per_line = |time: Duration| time.as_secs_f64() * 1e6 / latency.lines.max(1) as f64;
        Measured {
            rate: self.load.rate,
            latency,
            throughput_lines_per_second: recorder.arrived_lines() as f64 / self.duration.as_secs_f64(),
            backlog_growth_lines: timeline::backlog_growth_lines(&seconds),
            recorder,
            agent_us_per_line: per_line(spent.agent),
            consumer_us_per_line: per_line(spent.harness),
            spent,
            usage,
            stages: Stages::put_together(late, parts, exported),
            timeline: timeline::join(&seconds, looks),
            bytes_written: journal.header.bytes,
            topic_bytes,
            generator_late_ms_max: late.max_ms,
            generator_late_lines: late.late_lines,
            verdict,
        }
    }

    /// What speaks against the numbers.
    fn doubt(&self, measured: &Measured, looks: &[Look], report: &mut Report) {
        let during = self.name.clone();
        if measured.generator_late_lines > 0 {
            let (late_ms, lines) = (measured.generator_late_ms_max, measured.generator_late_lines);
            report.warn(Warning::GeneratorLate { during: during.clone(), late_ms, lines });
        }
        if let Some(quantile) = unsure_quantile(measured.latency.lines) {
            let count = measured.latency.lines;
            report.warn(Warning::FewSamples { during: during.clone(), count, quantile });
        }
        if let Some(lines) = growing_lines(measured, self.load.rate) {
            let per_second = measured.throughput_lines_per_second;
            report.warn(Warning::BacklogGrowing { during: during.clone(), lines, per_second });
        }
        let clocks: Vec<Distance> = looks.iter().map(|look| look.clock).collect();
        let by_ms = clock::largest_step_ms(&clocks);
        if by_ms.abs() > CLOCK_STEP_MS_MAX {
            report.warn(Warning::ClockStepped { during: during.clone(), by_ms });
        }
        if timeline::agent_restarted(looks) {
            report.warn(Warning::AgentRestarted { during: during.clone() });
        }
        if let Some(behind_lines) = timeline::consumer_behind_lines(looks, self.load.rate) {
            report.warn(Warning::ConsumerSlow { during, behind_lines });
        }
    }

    fn writing<'a>(&'a self, folder: &'a Path) -> Writing<'a> {
        Writing {
            folder,
            files: self.load.files,
            rate: self.load.rate,
            duration: MARGIN + self.warm_up + self.duration + MARGIN,
            line_bytes: &self.load.line_bytes,
            options: &self.load.options,
        }
    }
}

/// What is known when everyone has ended.
struct Seen {
    journal: Journal,
    recorder: Recorder,
    verdict: Verdict,
    usage: Usage,
}

/// CPU time, within the window, of everyone who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) agent: Duration,
    pub(crate) harness: Duration,
    pub(crate) generator: Duration,
    /// None where the broker is somebody else's.
    pub(crate) broker: Option<Duration>,
}

impl Spent {
    /// Between the first look and the last.
    fn between(looks: &[Look]) -> Spent {
        let (first, last) = (&looks[0], &looks[looks.len() - 1]);
        let broker = last.broker.zip(first.broker);
        Spent {
            agent: last.agent.cpu.saturating_sub(first.agent.cpu),
            harness: last.harness_cpu.saturating_sub(first.harness_cpu),
            generator: last.generator_cpu.saturating_sub(first.generator_cpu),
            broker: broker.map(|(last, first)| last.cpu.saturating_sub(first.cpu)),
        }
    }

    fn all(&self) -> Option<Duration> {
        Some(self.agent + self.harness + self.generator + self.broker?)
    }
}

/// A quantile needs this many lines beyond it to mean something.
const LINES_BEYOND_MIN: f64 = 10.0;

/// The lowest quantile that so few lines do not support.
fn unsure_quantile(lines: u64) -> Option<&'static str> {
    let quantiles = [(0.01, "p99"), (0.001, "p99.9")];
    let unsure = quantiles.into_iter().find(|(beyond, _)| (lines as f64 * beyond) < LINES_BEYOND_MIN);
    unsure.map(|(_, name)| name)
}

/// A backlog that grew by the lines of so much time shows that lines come faster than they go.
const BACKLOG_GROWTH_MAX: Duration = Duration::from_millis(100);

/// By how much the backlog grew, where that is more than chance: the lag has risen, and fewer lines arrived than
/// were due.
fn growing_lines(measured: &Measured, rate: u64) -> Option<u64> {
    let limit = (rate as f64 * BACKLOG_GROWTH_MAX.as_secs_f64()) as i64;
    let missing = measured.latency.lines as i64 - measured.recorder.arrived_lines() as i64;
    let growth = measured.backlog_growth_lines;
    (growth > limit && missing > limit).then_some(growth as u64)
}

/// Two clocks cannot be read closer together than this on a busy machine.
const CLOCK_STEP_MS_MAX: f64 = 1.0;

/// Where an agent is to serve its metrics: a free port of this machine.
fn metrics_address() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_neighbour_ports(1)?)))
}

/// The name as a part of topics and file names.
fn slug(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_needs_ten_lines_beyond_it() {
        assert_eq!(
            [999, 1000, 9999, 10_000].map(unsure_quantile),
            [Some("p99"), Some("p99.9"), Some("p99.9"), None]
        );
    }

    #[test]
    fn a_name_becomes_a_legal_topic() {
        assert_eq!(slug("20000 lines/s, rsyslog"), "20000-lines-s--rsyslog");
    }
}
