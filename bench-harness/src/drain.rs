//! One backlog drained into a topic of its own by one process, from its start to its last line in Kafka.
//!
//! "Done" is the same for whoever drains: the topic's high watermark has reached the line count. Wall time counts
//! from the start of the process; beside it stands the time from the first line in Kafka, which leaves start-up
//! out (connecting, reading the file, finding it). CPU time is the whole process's, start and stop included.
//! What is compared with what is the caller's business.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::load::Backlog;
use crate::process::{Child, Usage};
use crate::report::{MachineWatch, Report};
use crate::setup::Setup;

/// Nobody drains slower than this without something being wrong.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How long a process may take to stop once everything is delivered.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// What draining a backlog took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drained {
    /// From the start of the process to the last line in Kafka.
    pub(crate) wall_s: f64,
    /// From the first line seen in Kafka to the last.
    pub(crate) wall_from_first_line_s: f64,
    pub(crate) lines_per_second: f64,
    pub(crate) cpu_us_per_line: f64,
    /// Lines in the topic after the process had ended.
    pub(crate) lines_in_topic: u64,
    pub(crate) usage: Usage,
}

/// How a process ends that has delivered everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// By itself.
    Itself,
    /// It goes on waiting for more, until it is told to stop.
    Told,
}

/// A process that drains; started with the topic, a folder for its state and the file for its output.
pub(crate) struct Drain<'a> {
    /// Stands before warnings and failures, and says what did not deliver.
    pub(crate) name: String,
    /// The same, as a part of topics and file names; unique in its run.
    pub(crate) part: &'a str,
    pub(crate) ending: Ending,
    /// Whether the topic is read back and judged line by line; it is counted in any case.
    pub(crate) verify: bool,
}

impl Drain<'_> {
    /// Sends the whole backlog into a topic of its own; doubts and failures go to the report.
    pub(crate) fn run(
        &self,
        setup: &Setup,
        backlog: &Backlog,
        report: &mut Report,
        start: impl FnOnce(&str, &Path, &Path) -> Result<Child>,
    ) -> Result<Drained> {
        let watch = MachineWatch::begin();
        let cpu_before = known_cpu(setup);
        let drained = self.drain(setup, backlog, report, start)?;
        let spent = known_cpu(setup).zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
        let own_cpu = spent.map(|spent| spent + Duration::from_secs_f64(drained.usage.cpu_s()));
        watch.end(&self.name, own_cpu).into_iter().for_each(|warning| report.warn(warning));
        let (held, lines) = (drained.lines_in_topic, backlog.lines());
        if held != lines {
            report.fail(format!("{}: the topic holds {held} lines instead of {lines}", self.name));
        }
        Ok(drained)
    }

    fn drain(
        &self,
        setup: &Setup,
        backlog: &Backlog,
        report: &mut Report,
        start: impl FnOnce(&str, &Path, &Path) -> Result<Child>,
    ) -> Result<Drained> {
        let topic = setup.topic(self.part);
        let state = setup.scratch(format!("state-{}", self.part));
        setup.cluster.create_topic(&topic, 1)?;
        let mut child = start(&topic, &state, &setup.log(self.part))?;
        let lines = backlog.lines();
        let mut first_line_at = None;
        let complete = setup.cluster.wait_for_count(&topic, 1, lines, STUCK_AFTER, |held| {
            if held > 0 {
                first_line_at.get_or_insert_with(Instant::now);
            }
            child.expect_healthy()
        })?;
        ensure!(complete, "{}: the file was not delivered{}", self.name, child.last_words());
        let done = Instant::now();
        let wall_s = (done - child.started()).as_secs_f64();
        let exit = match self.ending {
            Ending::Itself => child.finish(STOP_PATIENCE)?,
            Ending::Told => child.terminate(STOP_PATIENCE)?,
        };
        let lines_in_topic = setup.cluster.watermark(&topic, 0)?;
        if self.verify {
            let verdict = setup.judge(&topic, &backlog.journal)?;
            report.judge(&self.name, &verdict, 0);
        }
        setup.cluster.delete_topic(&topic)?;
        let _ = std::fs::remove_dir_all(&state);
        let from_first = first_line_at.map_or(wall_s, |first| (done - first).as_secs_f64());
        Ok(Drained {
            wall_s,
            wall_from_first_line_s: from_first.max(crate::kafka::WATERMARK_INTERVAL.as_secs_f64()),
            lines_per_second: lines as f64 / wall_s,
            cpu_us_per_line: exit.usage.cpu_s() * 1e6 / lines as f64,
            lines_in_topic,
            usage: exit.usage,
        })
    }
}

/// CPU time so far of the broker and of this harness; none where the broker is somebody else's.
fn known_cpu(setup: &Setup) -> Option<Duration> {
    let broker = crate::procfs::cpu_time(setup.broker.pid()?).ok()?;
    let own = crate::procfs::cpu_time(std::process::id() as i32).ok()?;
    Some(broker + own)
}
