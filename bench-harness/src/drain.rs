//! One backlog, drained into a topic of its own: how fast, at what cost, and with what in the topic.
//!
//! "Done" is the same for everyone: the topic's high watermark has reached the line count. Wall time counts from
//! the start of the process; beside it stands the time from the first line in Kafka, which leaves start-up out
//! (connecting, finding the file). CPU time is the whole process's, start and stop included. Somebody who does
//! not deliver everything is no error here: the result says so, and the caller judges.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use logdrive_bench::verify::{Framing, Verdict};

use crate::agent::Job;
use crate::judge::judge_topic;
use crate::load::Backlog;
use crate::process::{Child, Usage};
use crate::setup::{Setup, progress};

/// How long anyone may take to stop once everything is delivered.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A backlog to be drained once.
pub(crate) struct Drain<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) backlog: &'a Backlog,
    /// In the names of topic, state and log; unique in its run.
    pub(crate) part: String,
    /// The topic has not grown for so long: what is missing does not come.
    pub(crate) stuck_after: Duration,
    /// With it the topic is read back line by line; all are counted without.
    pub(crate) verify: Option<Framing>,
    pub(crate) ending: Ending,
}

/// How whoever drains comes to an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// It ends when the file does.
    ByItself,
    /// It waits for more, until SIGTERM.
    OnRequest,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Drained {
    /// Whether the topic had reached the line count when the process had ended.
    pub(crate) complete: bool,
    /// From the start of the process to the last line that came while it was waited for.
    pub(crate) wall_s: f64,
    /// From the first line seen in Kafka to the last.
    pub(crate) wall_from_first_line_s: f64,
    /// Of the whole process.
    pub(crate) usage: Usage,
    /// Lines in the topic after the process had ended.
    pub(crate) lines_in_topic: u64,
    pub(crate) verdict: Option<Verdict>,
}

impl Drain<'_> {
    /// Has `start` start somebody with a job and a log, and waits until everything is in the topic.
    pub(crate) fn run(&self, start: impl FnOnce(&Job<'_>, &Path) -> Result<Child>) -> Result<Drained> {
        let topic = self.setup.topic(&self.part);
        let state = self.setup.scratch(format!("state-{}", self.part));
        self.setup.cluster.create_topic(&topic, 1)?;
        let drained = self.run_on(&topic, &state, start);
        let deleted = self.setup.cluster.delete_topic(&topic);
        let _ = std::fs::remove_dir_all(&state);
        let drained = drained?;
        deleted.map(|()| drained)
    }

    fn run_on(
        &self,
        topic: &str,
        state: &Path,
        start: impl FnOnce(&Job<'_>, &Path) -> Result<Child>,
    ) -> Result<Drained> {
        let Drain { setup, backlog, .. } = self;
        let job = setup.job(&backlog.file, &backlog.file, topic, state);
        let mut child = start(&job, &setup.log(&self.part))?;
        let (mut first_line_at, mut last_line_at, mut last_held) = (None, Instant::now(), 0);
        // Not reaching it yet is no verdict: some keep a last remainder until they are asked to end.
        setup.cluster.wait_for_count(topic, 1, backlog.lines(), self.stuck_after, |held| {
            if held > last_held {
                (last_held, last_line_at) = (held, Instant::now());
                first_line_at.get_or_insert(last_line_at);
            }
            child.expect_healthy()
        })?;
        let wall_s = (last_line_at - child.started()).as_secs_f64();
        let from_first_s = first_line_at.map_or(wall_s, |first| (last_line_at - first).as_secs_f64());
        let exit = match self.ending {
            Ending::ByItself => child.finish(STOP_PATIENCE)?,
            Ending::OnRequest => child.terminate(STOP_PATIENCE)?,
        };
        let lines_in_topic = setup.cluster.watermark(topic, 0)?;
        let verdict = self.verify.map(|framing| {
            progress(format!("reading {lines_in_topic} lines back"));
            judge_topic(setup.cluster.brokers(), topic, framing, &backlog.journal, |_| {})
        });
        Ok(Drained {
            complete: lines_in_topic >= backlog.lines(),
            wall_s,
            wall_from_first_line_s: from_first_s.max(crate::kafka::WATERMARK_INTERVAL.as_secs_f64()),
            usage: exit.usage,
            lines_in_topic,
            verdict: verdict.transpose()?,
        })
    }
}
