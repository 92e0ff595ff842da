//! One ordeal: an agent is killed at random moments, again and again, and started again with the state it had kept.
//!
//! SIGKILL leaves no time to write anything, so what survives is what the agent had already remembered. It hits
//! every process of the agent. At the end every line must be in the topic, whole and in order of first occurrence.
//! Duplicates are allowed, but only of what was in flight: sent, and not yet remembered as acknowledged. They are
//! counted for each kill: a line that is in the topic a second time, behind the watermark of kill N and before that
//! of kill N + 1, was sent again after kill N.
//!
//! The topic is followed while it is written, so an ordeal of hours takes no more disk than one of minutes. What
//! an agent loses is no error here: the result says so, and the caller judges.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::agent::{Agent, Job, scrape};
use crate::broker::free_neighbour_ports;
use crate::follow::{Followed, Follower};
use crate::interrupt;
use crate::load::{RotationArgs, Writing};
use crate::report::thousands;
use crate::setup::{Setup, progress};
use crate::stats::Rng;

const PATIENCE: Duration = Duration::from_secs(120);

/// After a kill, requests on their way may still be written. The topic is at rest when it has not grown for so long.
const AFTER_KILL_QUIET: Duration = Duration::from_millis(30);

/// A word to whoever waits, so often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(20);

/// What is done to the agent.
#[derive(Clone, Debug)]
pub(crate) struct Ordeal {
    pub(crate) kills: u32,
    /// Lines a second over all files.
    pub(crate) rate: u64,
    pub(crate) files: u32,
    pub(crate) rotation: RotationArgs,
    /// The agent lives at least, and at most, this long.
    pub(crate) life_min: Duration,
    pub(crate) life_max: Duration,
    pub(crate) seed: u64,
    /// After the last line the topic has not grown for so long: whatever was still to come has come.
    pub(crate) quiet: Duration,
}

/// One life of the agent.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Kill {
    pub(crate) lived_s: f64,
    /// From the metrics page just before the kill; none without such a page.
    pub(crate) in_flight_lines: Option<u64>,
    /// Records that the topic took from just before that look until it was at rest.
    pub(crate) moved_lines: u64,
    /// How long ago the newest line that had arrived was due, when the topic was at rest.
    pub(crate) behind_s: f64,
    /// Records in the topic once it was at rest.
    pub(crate) watermark: u64,
    /// Lines that were sent again by the next life.
    pub(crate) duplicated: u64,
}

/// What came of it.
pub(crate) struct Survived {
    pub(crate) lines: u64,
    pub(crate) records: u64,
    pub(crate) verdict: Verdict,
    pub(crate) kills: Vec<Kill>,
    /// Why the last life did not end as asked, if it did not.
    pub(crate) trouble: Option<String>,
}

impl Ordeal {
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.rate > 0 && self.files > 0, "--rate and --files begin at 1");
        ensure!(self.life_min <= self.life_max, "--life-min is above --life-max");
        Ok(())
    }

    /// Puts the agent to it. `part` names topic, state, files and logs; unique in its run.
    pub(crate) fn run(&self, setup: &Setup, agent: &Agent, part: &str) -> Result<Survived> {
        let folder = setup.scratch(format!("files-{part}"));
        std::fs::create_dir_all(&folder)?;
        let topic = setup.topic(part);
        let follower = Follower::start(setup, agent, topic.clone(), self.files)?;
        let survived = self.run_on(setup, agent, part, follower);
        let _ = std::fs::remove_dir_all(&folder);
        let deleted = setup.cluster.delete_topic(&topic);
        let survived = survived?;
        deleted.map(|()| survived)
    }

    fn run_on(&self, setup: &Setup, agent: &Agent, part: &str, mut follower: Follower) -> Result<Survived> {
        let (folder, state) =
            (setup.scratch(format!("files-{part}")), setup.scratch(format!("state-{part}")));
        let (files, file) = (folder.join(&self.rotation.glob), folder.join("load-0.log"));
        let topic = follower.topic().to_owned();
        let job = setup.job(&files, &file, &topic, &state);
        let writing = Writing {
            folder: &folder,
            files: self.files,
            rate: self.rate,
            // Longer than the kills take; it is stopped when they are over.
            duration: PATIENCE + (self.life_max + PATIENCE) * self.kills,
            line_bytes: "200",
            options: &self.rotation.options(),
        };
        let writer = setup.generator.start(&writing, &setup.log(format!("generator-{part}")))?;
        let mut rng = Rng::seeded(self.seed);
        let mut kills: Vec<Kill> = Vec::new();
        let mut said = Instant::now();
        for number in 1..=self.kills {
            let log = setup.log(format!("agent-{part}"));
            let mut kill = self.live_and_die(setup, agent, &job, &log, &mut rng)?;
            follower.expect_receiving()?;
            kill.behind_s = follower.gauge().behind_s();
            kills.push(kill);
            if number == self.kills || said.elapsed() >= PROGRESS_INTERVAL {
                said = Instant::now();
                let records = thousands(follower.records());
                progress(format!("{part}: {number} of {} kills, {records} records", self.kills));
            }
        }
        let mut last = agent.start(&job, &setup.log(format!("agent-{part}-last")))?;
        let journal = writer.stop(PATIENCE)?;
        let lines = journal.header.lines;
        // Without a line for so long it does not send the rest either; a peer may have lost it.
        let patience = if agent.is_peer() { self.quiet } else { PATIENCE };
        setup.cluster.wait_until_quiet(&topic, 1, lines, self.quiet, patience)?;
        let trouble = match last.terminate(PATIENCE) {
            Ok(_) => None,
            Err(error) if !agent.is_peer() => return Err(error),
            Err(error) => {
                interrupt::check()?;
                Some(format!("{error:#}"))
            }
        };
        let Followed { verdict, repeats, records } = follower.finish(setup, &journal, PATIENCE)?;
        let watermarks: Vec<u64> = kills.iter().map(|kill| kill.watermark).collect();
        // A repeat before the first kill has no kill to blame; the total shows it.
        for (kill, duplicated) in kills.iter_mut().zip(repeats.count_between(&watermarks).into_iter().skip(1))
        {
            kill.duplicated = duplicated;
        }
        Ok(Survived { lines, records, verdict, kills, trouble })
    }

    /// One life: started with the kept state, killed at a random moment, and waited for until the topic rests.
    fn live_and_die(
        &self,
        setup: &Setup,
        agent: &Agent,
        job: &Job<'_>,
        log: &Path,
        rng: &mut Rng,
    ) -> Result<Kill> {
        let spread = (self.life_max - self.life_min).as_nanos() as u64;
        let life = self.life_min + Duration::from_nanos(rng.below(spread + 1));
        let http = SocketAddr::from(([127, 0, 0, 1], free_neighbour_ports(1)?));
        let mut child = agent.start(&Job { http: Some(http), ..*job }, log)?;
        interrupt::pause_until(child.started() + life)?;
        // Asked for before the look, so that whatever was read after the look is among what came after this.
        let before = setup.cluster.watermark(job.topic, 0)?;
        let in_flight_lines = match agent.serves_metrics() {
            true => scrape(http, IN_FLIGHT).map(|lines| lines as u64),
            false => None,
        };
        // An agent that ended by itself would make every number after this one meaningless.
        child.expect_running()?;
        let lived_s = child.started().elapsed().as_secs_f64();
        child.kill()?;
        let watermark = setup.cluster.wait_until_quiet(job.topic, 1, 0, AFTER_KILL_QUIET, PATIENCE)?;
        let moved_lines = watermark.saturating_sub(before);
        Ok(Kill { lived_s, in_flight_lines, moved_lines, watermark, ..Kill::default() })
    }
}

/// What the agent says of the lines that a kill may double.
pub(crate) const IN_FLIGHT: &str = "logdrive_in_flight_lines";

/// A request that the broker takes only after the topic seemed at rest.
const LATE_LINES: u64 = 2000;

/// How many lines a kill may double: what was in flight at the look before it, and of what was read after that look
/// what the topic has taken.
pub(crate) fn doubled_lines_max(in_flight_lines: u64, moved_lines: u64) -> u64 {
    in_flight_lines + moved_lines + LATE_LINES
}

impl Survived {
    /// Every kill after which more was sent again than had been in flight, and a backlog so old that the files
    /// with it may have been deleted unread.
    pub(crate) fn breaches(&self, rotation: &RotationArgs) -> Vec<String> {
        let mut breaches = Vec::new();
        // What a life that sent nothing leaves open is still that of the one before it: both have the same place in
        // the topic, and what is sent again comes behind the later one.
        let (mut open_lines, mut watermark) = (Some(0), None);
        for (kill, number) in self.kills.iter().zip(1..) {
            if watermark != Some(kill.watermark) {
                open_lines = Some(0);
            }
            let (before, moved, duplicated) = (open_lines, kill.moved_lines, kill.duplicated);
            let in_flight = before.zip(kill.in_flight_lines).map(|(before, in_flight)| before + in_flight);
            open_lines = in_flight.map(|in_flight| in_flight + moved);
            watermark = Some(kill.watermark);
            if let Some(in_flight) = in_flight
                && duplicated > doubled_lines_max(in_flight, moved)
            {
                breaches.push(format!(
                    "kill {number}: {duplicated} lines sent again, but only {in_flight} were in flight, and {moved} \
                     arrived from then on"
                ));
            }
        }
        if let Some(kept) = rotation.kept()
            && self.behind_s_max() >= kept.as_secs_f64()
        {
            breaches.push(format!(
                "the agent was {:.1} s behind, and rotated files are deleted after {:.0} s: what it lost proves \
                 nothing; raise --keep or lower --rate",
                self.behind_s_max(),
                kept.as_secs_f64()
            ));
        }
        breaches
    }

    pub(crate) fn behind_s_max(&self) -> f64 {
        self.kills.iter().map(|kill| kill.behind_s).fold(0.0, f64::max)
    }

    pub(crate) fn in_flight_lines_max(&self) -> Option<u64> {
        self.kills.iter().filter_map(|kill| kill.in_flight_lines).max()
    }

    pub(crate) fn duplicated_per_kill_max(&self) -> u64 {
        self.kills.iter().map(|kill| kill.duplicated).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Rotate;

    fn survived(kills: Vec<Kill>) -> Survived {
        Survived { lines: 1, records: 1, verdict: Verdict::default(), kills, trouble: None }
    }

    #[test]
    fn more_duplicates_than_were_in_flight_are_a_breach_and_without_metrics_there_is_no_bound() {
        let kill = |watermark, in_flight_lines, duplicated| Kill {
            in_flight_lines,
            moved_lines: 500,
            watermark,
            duplicated,
            ..Kill::default()
        };
        let kills = vec![kill(1, Some(10), 2510), kill(2, Some(10), 2511), kill(3, None, 1_000_000)];
        let expected =
            "kill 2: 2511 lines sent again, but only 10 were in flight, and 500 arrived from then on";
        assert_eq!(survived(kills).breaches(&RotationArgs::of(Rotate::None)), [expected]);
    }

    #[test]
    fn what_a_life_left_that_was_followed_by_one_that_sent_nothing_is_still_in_flight() {
        let kill = |watermark, in_flight_lines, duplicated| Kill {
            in_flight_lines: Some(in_flight_lines),
            watermark,
            duplicated,
            ..Kill::default()
        };
        let kills = vec![kill(100, 8000, 0), kill(100, 0, 7649), kill(200, 0, 0), kill(300, 0, 7649)];
        let expected = "kill 4: 7649 lines sent again, but only 0 were in flight, and 0 arrived from then on";
        assert_eq!(survived(kills).breaches(&RotationArgs::of(Rotate::None)), [expected]);
    }

    #[test]
    fn a_backlog_older_than_the_files_are_kept_proves_nothing() {
        let rotation = RotationArgs { keep: 5, ..RotationArgs::of(Rotate::Rename) };
        let late = |behind_s| survived(vec![Kill { behind_s, ..Kill::default() }]).breaches(&rotation).len();
        assert_eq!([late(9.9), late(10.0)], [0, 1]);
    }
}
