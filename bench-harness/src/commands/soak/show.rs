//! Carries out what a soak's schedule asks for, and notes what each event may double.
//!
//! Everything but a kill begins and ends with an agent that has caught up. So what a kill doubles stands in the topic
//! before the next event's mark, and what stands behind the mark of an outage, a restart or a reload was doubled by
//! that, which is never allowed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::configuration::Configuration;
use super::schedule::Event;
use super::watch::Running;
use crate::agent::{Agent, Job, metric_value, metrics_page, scrape};
use crate::broker::free_neighbour_ports;
use crate::follow::{Follower, Repeats};
use crate::interrupt;
use crate::ordeal::{IN_FLIGHT, doubled_lines_max};
use crate::process::Child;
use crate::report::thousands;
use crate::setup::Setup;
use crate::stats::Rng;

/// For anything that the agent, the broker or the topic must come to. On a machine that does much else a broker alone
/// takes a minute to start.
const PATIENCE: Duration = Duration::from_secs(300);
/// After a kill, requests on their way may still be written; then the topic is at rest.
const AFTER_KILL_QUIET: Duration = Duration::from_millis(30);
const LOOK: Duration = Duration::from_millis(20);

/// An event that was carried out, and the lines that are in the topic again because of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Boundary {
    pub(super) at_s: f64,
    pub(super) kind: &'static str,
    pub(super) what: String,
    /// Records in the topic before anything that the event could double.
    pub(super) watermark: u64,
    pub(super) allowed: u64,
    pub(super) repeated: u64,
}

/// The stage: an agent, a broker, a topic that is followed.
pub(super) struct Show<'a> {
    setup: &'a Setup,
    agent: Agent,
    job: Job<'a>,
    configuration: Option<Configuration>,
    follower: Follower,
    running: Arc<Running>,
    child: Child,
    http: SocketAddr,
    rng: Rng,
    started: Instant,
    boundaries: Vec<Boundary>,
    /// Of an agent that was killed before it could say how many.
    pub(super) in_flight_lines_max: u64,
}

impl<'a> Show<'a> {
    pub(super) fn begin(
        setup: &'a Setup,
        agent: Agent,
        job: Job<'a>,
        configuration: Option<Configuration>,
        follower: Follower,
        running: Arc<Running>,
        seed: u64,
    ) -> Result<Show<'a>> {
        let (child, http) = start(setup, &agent, &job, configuration.as_ref())?;
        running.begin(child.pid());
        Ok(Show {
            setup,
            agent,
            job,
            configuration,
            follower,
            running,
            child,
            http,
            rng: Rng::seeded(seed),
            started: Instant::now(),
            // What is doubled before any event.
            boundaries: vec![Boundary {
                at_s: 0.0,
                kind: "start",
                what: "start".to_owned(),
                watermark: 0,
                allowed: 0,
                repeated: 0,
            }],
            in_flight_lines_max: 0,
        })
    }

    /// Waits, and looks that agent and judge are still there.
    pub(super) fn wait_until(&mut self, deadline: Instant) -> Result<()> {
        while Instant::now() < deadline {
            self.child.expect_running()?;
            self.follower.expect_receiving()?;
            interrupt::pause_until(deadline.min(Instant::now() + Duration::from_millis(200)))?;
        }
        Ok(())
    }

    /// Carries out an event, and says what it was.
    pub(super) fn perform(&mut self, event: Event) -> Result<String> {
        match event {
            Event::Kill => self.kill(),
            Event::Restart => self.restart(),
            Event::Bounce { away_ms } => self.bounce(Duration::from_millis(away_ms)),
            Event::KillWhileAway { away_ms } => self.kill_while_away(Duration::from_millis(away_ms)),
            Event::ReloadChanged | Event::ReloadUnchanged | Event::ReloadInvalid => self.reload(event),
        }
    }

    /// How far it is, in a few words.
    pub(super) fn status(&self) -> String {
        format!(
            "{} records, {:.1} s behind",
            thousands(self.follower.records()),
            self.follower.gauge().behind_s()
        )
    }

    /// Ends the agent in good order; returns what was noted.
    pub(super) fn end(mut self, patience: Duration) -> Result<(Follower, Vec<Boundary>, u32)> {
        self.child.expect_running()?;
        self.running.end();
        self.child.terminate(patience)?;
        Ok((self.follower, self.boundaries, self.running.lives()))
    }

    fn kill(&mut self) -> Result<String> {
        self.child.expect_running()?;
        // Asked for before the look at what is in flight: see `doubled_lines_max`.
        let before = self.watermark()?;
        let in_flight = self.kill_agent()?;
        let cluster = &self.setup.cluster;
        let watermark = cluster.wait_until_quiet(self.job.topic, 1, 0, AFTER_KILL_QUIET, PATIENCE)?;
        self.start_again()?;
        let allowed = doubled_lines_max(in_flight, watermark.saturating_sub(before));
        Ok(self.note("kill", "agent killed".to_owned(), watermark, allowed))
    }

    fn restart(&mut self) -> Result<String> {
        self.catch_up()?;
        let watermark = self.watermark()?;
        self.running.end();
        self.child.terminate(PATIENCE)?;
        self.start_again()?;
        self.catch_up()?;
        Ok(self.note("restart", "agent stopped and started".to_owned(), watermark, 0))
    }

    fn bounce(&mut self, away: Duration) -> Result<String> {
        self.catch_up()?;
        let watermark = self.watermark()?;
        self.running.set_outage(true);
        self.setup.broker.kill()?;
        self.wait_until(Instant::now() + away)?;
        self.setup.broker.restart()?;
        self.catch_up()?;
        self.running.set_outage(false);
        Ok(self.note("bounce", format!("broker away for {away:?}"), watermark, 0))
    }

    fn kill_while_away(&mut self, away: Duration) -> Result<String> {
        self.catch_up()?;
        let watermark = self.watermark()?;
        self.running.set_outage(true);
        self.setup.broker.kill()?;
        self.wait_until(Instant::now() + away / 2)?;
        let in_flight = self.kill_agent()?;
        self.start_again()?;
        self.wait_until(Instant::now() + away / 2)?;
        self.setup.broker.restart()?;
        self.catch_up()?;
        self.running.set_outage(false);
        let what = format!("broker away for {away:?}, agent killed meanwhile");
        // Nothing arrived between the look and the kill.
        Ok(self.note("kill while away", what, watermark, doubled_lines_max(in_flight, 0)))
    }

    fn reload(&mut self, event: Event) -> Result<String> {
        self.catch_up()?;
        let watermark = self.watermark()?;
        let configuration = self.configuration.as_mut().context("this agent has no configuration to load")?;
        let (kind, result, what) = match event {
            Event::ReloadChanged => {
                configuration.change(&mut self.rng);
                configuration.write(self.http)?;
                ("changed", "accepted", "changed configuration loaded")
            }
            Event::ReloadInvalid => {
                configuration.write_invalid(self.http, &mut self.rng)?;
                ("refused", "refused", "invalid configuration refused")
            }
            _ => ("unchanged", "accepted", "unchanged configuration loaded"),
        };
        let valid = configuration.clone();
        let before = self.reloads(result)?;
        self.child.signal(libc::SIGHUP)?;
        let deadline = Instant::now() + PATIENCE;
        while self.reloads(result)? <= before {
            if Instant::now() >= deadline {
                bail!("SIGHUP: no reload was {result} within {PATIENCE:?}{}", self.child.last_words());
            }
            interrupt::pause(LOOK)?;
        }
        // The next start is to find a valid one.
        valid.write(self.http)?;
        self.catch_up()?;
        Ok(self.note(kind, what.to_owned(), watermark, 0))
    }

    /// How many reloads had this result; waits for an agent that does not answer yet.
    fn reloads(&mut self, result: &str) -> Result<u64> {
        let name = format!("logdrive_config_reloads_total{{result=\"{result}\"}}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.child.expect_running()?;
            if let Some(page) = metrics_page(self.http) {
                return Ok(metric_value(&page, &name).unwrap_or(0.0) as u64);
            }
            if Instant::now() >= deadline {
                bail!("the agent serves no metrics{}", self.child.last_words());
            }
            interrupt::pause(LOOK)?;
        }
    }

    fn catch_up(&mut self) -> Result<()> {
        let Show { follower, child, .. } = self;
        follower.await_caught_up(PATIENCE, || child.expect_running())
    }

    fn watermark(&self) -> Result<u64> {
        self.setup.cluster.watermark_when_back(self.job.topic, 0, PATIENCE)
    }

    /// Kills the agent; returns how many lines were in flight, at most.
    fn kill_agent(&mut self) -> Result<u64> {
        let in_flight = scrape(self.http, IN_FLIGHT).map(|lines| lines as u64);
        self.running.end();
        self.child.kill()?;
        Ok(in_flight.unwrap_or(self.in_flight_lines_max))
    }

    fn start_again(&mut self) -> Result<()> {
        (self.child, self.http) = start(self.setup, &self.agent, &self.job, self.configuration.as_ref())?;
        self.running.begin(self.child.pid());
        Ok(())
    }

    fn note(&mut self, kind: &'static str, what: String, watermark: u64, allowed: u64) -> String {
        let at_s = self.started.elapsed().as_secs_f64();
        self.boundaries.push(Boundary { at_s, kind, what: what.clone(), watermark, allowed, repeated: 0 });
        what
    }
}

fn start(
    setup: &Setup,
    agent: &Agent,
    job: &Job<'_>,
    configuration: Option<&Configuration>,
) -> Result<(Child, SocketAddr)> {
    let http = SocketAddr::from(([127, 0, 0, 1], free_neighbour_ports(1)?));
    configuration.map_or(Ok(()), |configuration| configuration.write(http))?;
    let child = agent.start(&Job { http: Some(http), ..*job }, &setup.log("agent"))?;
    Ok((child, http))
}

/// Gives every repeated line to the last event whose mark it stands behind.
pub(super) fn count(boundaries: &mut [Boundary], repeats: &Repeats) {
    let marks: Vec<u64> = boundaries.iter().map(|boundary| boundary.watermark).collect();
    for (boundary, repeated) in boundaries.iter_mut().zip(repeats.count_between(&marks).into_iter().skip(1)) {
        boundary.repeated = repeated;
    }
    hand_on(boundaries);
}

/// Of events at the same place in the topic, between which nothing was sent, the last is charged with what is sent
/// again: so it has what those before it may double, too.
fn hand_on(boundaries: &mut [Boundary]) {
    for index in 1..boundaries.len() {
        let (before, after) = boundaries.split_at_mut(index);
        let (before, after) = (&mut before[index - 1], &mut after[0]);
        if before.watermark == after.watermark {
            after.allowed += std::mem::take(&mut before.allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_life_leaves_open_that_sent_nothing_is_that_of_the_one_before_it() {
        let at = |watermark, allowed| Boundary {
            at_s: 0.0,
            kind: "kill",
            what: String::new(),
            watermark,
            allowed,
            repeated: 0,
        };
        let mut boundaries = [at(0, 0), at(10, 5), at(10, 7), at(10, 1), at(20, 2), at(30, 0)];
        hand_on(&mut boundaries);
        assert_eq!(boundaries.map(|boundary| boundary.allowed), [0, 0, 0, 13, 2, 0]);
    }
}
