//! One open-loop measurement: an agent under a steady load, from the intended time of each line to its
//! consumption, and what the agent pays for it.
//!
//! Open loop: the generator writes by a schedule fixed in advance and waits for nobody, so a stall of the
//! agent, the broker or the machine counts for every line that was due in it. A trial has a topic, a folder
//! and an agent of its own, and leaves none of them. The agent's CPU time is read at both ends of the measured
//! window and divided by the lines due in it; the harness's own, which is the consumer's, stands apart.
//! Every line is judged as it arrives. What a series of trials means is the caller's business.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use logdrive_bench::consume::unix_now_ns;
use logdrive_bench::verify::Verdict;

use crate::agent::Agent;
use crate::interrupt;
use crate::load::Writing;
use crate::process::{Child, Usage};
use crate::procfs;
use crate::receiver::{Quantiles, Received, Receiver, Recorder};
use crate::report::{MachineWatch, Report, Warning};
use crate::setup::Setup;

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
    /// The agent over its whole life.
    pub(crate) usage: Usage,
    /// Bytes of all lines, their ends included.
    pub(crate) bytes_written: u64,
    pub(crate) generator_late_ms_max: f64,
    pub(crate) generator_late_lines: u64,
    pub(crate) verdict: Verdict,
}

impl Trial<'_> {
    /// Runs the trial to its end. What speaks against its numbers becomes a warning of `report`, and a line
    /// that is missing or wrong a failure; an error means that there is no measurement.
    pub(crate) fn run(&self, setup: &Setup, report: &mut Report) -> Result<Measured> {
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
        let job = setup.job(&files, &file, topic, &state);
        let mut agent = self.agent.start(&job, &setup.log(format!("agent-{slug}")))?;
        interrupt::pause(AGENT_SETTLES)?;

        let until_window = MARGIN + self.warm_up;
        let window_start = Instant::now() + until_window;
        let window_start_ns = unix_now_ns() + until_window.as_nanos() as u64;
        let recorder = Recorder::new(window_start_ns..window_start_ns + self.duration.as_nanos() as u64);
        let receiver = Receiver::start(setup.cluster.brokers(), topic, recorder)?;
        let log = setup.log(format!("generator-{slug}"));
        let options: Vec<&str> = self.load.options.iter().map(String::as_str).collect();
        let writer = setup.generator.start(&self.writing(&folder, &options), &log)?;

        interrupt::pause_until(window_start)?;
        let watch = MachineWatch::begin();
        let before = Spent::read(setup, &agent, &writer.child)?;
        interrupt::pause_until(window_start + self.duration)?;
        agent.expect_running()?;
        let spent = Spent::read(setup, &agent, &writer.child)?.since(&before);
        watch.end(&self.name, spent.all()).into_iter().for_each(|warning| report.warn(warning));

        let journal = writer.finish(DRAIN_PATIENCE)?;
        receiver.await_count(journal.header.lines, DRAIN_PATIENCE)?;
        let exit = agent.terminate(STOP_PATIENCE)?;
        // What the agent sent while it stopped belongs to the verdict.
        receiver.await_count(setup.cluster.watermarks(topic, self.partitions)?, DRAIN_PATIENCE)?;
        let Received { recorder, ledger } = receiver.finish()?;
        let verdict = ledger.verdict(&journal);
        report.judge(&self.name, &verdict, 0);
        let _ = std::fs::remove_dir_all(&folder);

        let latency = recorder.quantiles();
        let per_line = |time: Duration| time.as_secs_f64() * 1e6 / latency.lines.max(1) as f64;
        let measured = Measured {
            rate: self.load.rate,
            latency,
            throughput_lines_per_second: recorder.arrived_lines() as f64 / self.duration.as_secs_f64(),
            backlog_growth_lines: latency.lines as i64 - recorder.arrived_lines() as i64,
            recorder,
            agent_us_per_line: per_line(spent.agent),
            consumer_us_per_line: per_line(spent.harness),
            usage: exit.usage,
            bytes_written: journal.header.bytes,
            generator_late_ms_max: journal.header.pace.lateness_max_ns as f64 / 1e6,
            generator_late_lines: journal.header.pace.lines_late,
            verdict,
        };
        doubt(&measured, &self.name, report);
        Ok(measured)
    }

    fn writing<'a>(&'a self, folder: &'a Path, options: &'a [&'a str]) -> Writing<'a> {
        Writing {
            folder,
            files: self.load.files,
            rate: self.load.rate,
            duration: MARGIN + self.warm_up + self.duration + MARGIN,
            line_bytes: &self.load.line_bytes,
            options,
        }
    }
}

/// CPU time so far of everyone who takes part.
struct Spent {
    agent: Duration,
    harness: Duration,
    generator: Duration,
    /// None where the broker is somebody else's.
    broker: Option<Duration>,
}

impl Spent {
    fn read(setup: &Setup, agent: &Child, generator: &Child) -> Result<Spent> {
        Ok(Spent {
            agent: agent.cpu_time()?,
            harness: procfs::cpu_time(std::process::id() as i32)?,
            generator: generator.cpu_time()?,
            broker: setup.broker.pid().and_then(|pid| procfs::cpu_time(pid).ok()),
        })
    }

    fn since(&self, earlier: &Spent) -> Spent {
        Spent {
            agent: self.agent.saturating_sub(earlier.agent),
            harness: self.harness.saturating_sub(earlier.harness),
            generator: self.generator.saturating_sub(earlier.generator),
            broker: self.broker.zip(earlier.broker).map(|(now, before)| now.saturating_sub(before)),
        }
    }

    fn all(&self) -> Option<Duration> {
        Some(self.agent + self.harness + self.generator + self.broker?)
    }
}

/// A quantile needs this many lines beyond it to mean something.
const LINES_BEYOND_MIN: f64 = 10.0;

/// What speaks against the numbers of one trial.
fn doubt(measured: &Measured, name: &str, report: &mut Report) {
    if measured.generator_late_lines > 0 {
        let (late_ms, lines) = (measured.generator_late_ms_max, measured.generator_late_lines);
        report.warn(Warning::GeneratorLate { during: name.to_owned(), late_ms, lines });
    }
    let count = measured.latency.lines;
    let unsure =
        [(0.01, "p99"), (0.001, "p99.9")].iter().find(|(beyond, _)| count as f64 * beyond < LINES_BEYOND_MIN);
    if let Some(&(_, quantile)) = unsure {
        report.warn(Warning::FewSamples { during: name.to_owned(), count, quantile });
    }
}

/// The name as a part of topics and file names.
fn slug(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_legal_topic() {
        assert_eq!(slug("20000 lines/s, rsyslog"), "20000-lines-s--rsyslog");
    }
}
