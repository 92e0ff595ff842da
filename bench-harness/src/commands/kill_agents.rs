//! Every agent through the same [`Ordeal`]: killed at random moments under load, and started again with the state
//! that it had kept. What is lost, and what comes twice?
//!
//! In each round every agent goes through it once, with the same moments; the next round goes through the agents
//! backwards. What a peer loses or repeats, and an agent that does not come back, are results; of Logdrive nothing may
//! be missing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use super::kill::PEER_QUIET;
use crate::agent::Agent;
use crate::agents::{self, AgentsArgs};
use crate::interrupt;
use crate::load::{Rotate, RotationArgs};
use crate::ordeal::{Kill, Ordeal, Survived};
use crate::report::{Report, table, thousands};
use crate::setup::{Setup, SiteArgs, progress};

#[derive(Args, Debug)]
pub(crate) struct KillAgentsArgs {
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    agents: AgentsArgs,
    /// How often every agent goes through it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How often an agent is killed in a round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Lines a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How the file is rotated
    #[arg(long, value_enum, default_value_t = Rotate::None)]
    rotate: Rotate,
    /// An agent lives at least this long
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    life_min: Duration,
    /// An agent lives at most this long
    #[arg(long, default_value = "6s", value_parser = humantime::parse_duration)]
    life_max: Duration,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One agent in one round; nothing of what it did not get to.
#[derive(Debug, Default, Serialize)]
struct Round {
    agent: &'static str,
    round: u32,
    lines: u64,
    records: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    kills: Vec<Kill>,
    verdict: Verdict,
    /// What ended it early, or did not end.
    trouble: Option<String>,
}

/// One agent over all rounds.
#[derive(Debug, Serialize)]
struct Standing {
    agent: &'static str,
    version: Option<String>,
    command: String,
    limit: Option<&'static str>,
    kills: usize,
    lines: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    troubles: Vec<String>,
}

#[derive(Serialize)]
struct Figures {
    schema: u32,
    rate: u64,
    rotated: bool,
    seed: u64,
    rounds: u32,
    kills: u32,
    agents: Vec<Standing>,
    ordeals: Vec<Round>,
}

pub(crate) fn run(args: &KillAgentsArgs) -> Result<ExitCode> {
    let ordeal = |round: u32| Ordeal {
        kills: args.kills,
        rate: args.rate,
        files: 1,
        rotation: RotationArgs::of(args.rotate),
        life_min: args.life_min,
        life_max: args.life_max,
        seed: args.seed + u64::from(round) - 1,
        quiet: PEER_QUIET,
    };
    ordeal(1).check()?;
    let agents = args.agents.chosen()?;
    let setup = Setup::of(agents[0].clone(), &args.site, "kill-agents")?;
    let mut report = setup.report();
    let mut ordeals = Vec::new();
    for round in 1..=args.rounds {
        for index in agents::order_of(round, agents.len()) {
            let survived = go_through(&ordeal(round), &setup, &agents[index], round, &mut report)?;
            progress(survived.line());
            ordeals.push(survived);
        }
    }
    let figures = Figures {
        schema: 1,
        rate: args.rate,
        rotated: args.rotate != Rotate::None,
        seed: args.seed,
        rounds: args.rounds,
        kills: args.kills,
        agents: agents.iter().map(|agent| Standing::of(agent, &ordeals)).collect(),
        ordeals,
    };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

/// One agent, once. Only a signal to the harness ends the comparison.
fn go_through(
    ordeal: &Ordeal,
    setup: &Setup,
    agent: &Agent,
    round: u32,
    report: &mut Report,
) -> Result<Round> {
    let name = format!("round {round}, {}", agent.name());
    progress(format!("{name}: {} kills at {} lines/s", ordeal.kills, thousands(ordeal.rate)));
    let mut result = Round { agent: agent.name(), round, ..Round::default() };
    match ordeal.run(setup, agent, &format!("{round}-{}", agent.name())) {
        Ok(survived) => {
            if !agent.is_peer() {
                report.judge(&name, &survived.verdict, survived.verdict.duplicated);
            }
            let breaches = survived.breaches(&ordeal.rotation).into_iter();
            breaches.for_each(|breach| report.fail(format!("{name}: {breach}")));
            result.take(survived);
        }
        Err(error) => {
            interrupt::check()?;
            let trouble = format!("{error:#}");
            report.fail(format!("{name}: {}", trouble.lines().next().unwrap_or_default()));
            result.trouble = Some(trouble);
        }
    }
    Ok(result)
}

impl Round {
    fn take(&mut self, survived: Survived) {
        let Verdict { lost, duplicated, reordered, torn, foreign, .. } = survived.verdict;
        (self.lines, self.records) = (survived.lines, survived.records);
        (self.lost, self.duplicated, self.reordered) = (lost, duplicated, reordered);
        self.torn = torn + foreign;
        (self.kills, self.trouble) = (survived.kills, survived.trouble);
        self.verdict = survived.verdict;
    }

    fn line(&self) -> String {
        format!(
            "round {}, {}: of {} lines {} lost, {} duplicated, {} reordered, {} torn",
            self.round,
            self.agent,
            thousands(self.lines),
            thousands(self.lost),
            thousands(self.duplicated),
            thousands(self.reordered),
            thousands(self.torn)
        )
    }
}

impl Standing {
    fn of(agent: &Agent, ordeals: &[Round]) -> Standing {
        let own = || ordeals.iter().filter(|round| round.agent == agent.name());
        let sum = |value: fn(&Round) -> u64| own().map(value).sum();
        Standing {
            agent: agent.name(),
            version: agent.version(),
            command: agent.template(),
            limit: agent.limit(),
            kills: own().map(|round| round.kills.len()).sum(),
            lines: sum(|round| round.lines),
            lost: sum(|round| round.lost),
            duplicated: sum(|round| round.duplicated),
            reordered: sum(|round| round.reordered),
            torn: sum(|round| round.torn),
            troubles: own().filter_map(|round| round.trouble.clone()).collect(),
        }
    }
}

fn tables(figures: &Figures) -> String {
    let header = ["agent", "kills", "lines", "lost", "duplicated", "reordered", "torn"];
    let rows = figures.agents.iter().map(|standing| {
        [
            standing.agent.to_owned(),
            standing.kills.to_string(),
            thousands(standing.lines),
            thousands(standing.lost),
            thousands(standing.duplicated),
            thousands(standing.reordered),
            thousands(standing.torn),
        ]
    });
    let agents = table(header, rows);
    let known = figures.agents.iter().map(|standing| {
        let version = standing.version.as_deref().unwrap_or("unknown version");
        let limit = standing.limit.map(|limit| format!("; {limit}")).unwrap_or_default();
        let troubles: Vec<String> = standing
            .troubles
            .iter()
            .map(|trouble| format!("; {}", trouble.lines().next().unwrap_or_default()))
            .collect();
        format!("- {}: {version}{limit}{}", standing.agent, troubles.concat())
    });
    format!(
        "{agents}\n\nSIGKILL to every process of the agent {} times in each of {} round(s), under {} lines/s into one \
         file{}, each time started again at once with the state that it had kept. Duplicated: every arrival of a line \
         after its first. Reordered: first arrivals after a later line. Torn includes whatever else is not a line as \
         it was written.\n\n{}\n",
        figures.kills,
        figures.rounds,
        thousands(figures.rate),
        if figures.rotated { " that is rotated by renaming" } else { "" },
        known.collect::<Vec<String>>().join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    #[test]
    fn rounds_are_summed_by_agent_and_trouble_is_told() {
        let program = std::env::current_exe().unwrap();
        let agent = Agent::known(profile::find("kcat").unwrap(), Some(&program), None).unwrap();
        let round = |agent, lost, trouble: Option<&str>| Round {
            agent,
            lines: 1000,
            lost,
            kills: vec![Kill::default()],
            trouble: trouble.map(str::to_owned),
            ..Round::default()
        };
        let ordeals =
            [round("kcat", 7, None), round("logdrive", 1, None), round("kcat", 1500, Some("gone\nwhy"))];
        let standing = Standing::of(&agent, &ordeals);
        assert_eq!((standing.kills, standing.lines, standing.lost), (2, 2000, 1507));
        let figures = Figures {
            schema: 1,
            rate: 20_000,
            rotated: false,
            seed: 1,
            rounds: 2,
            kills: 1,
            agents: vec![standing],
            ordeals: Vec::new(),
        };
        let tables = tables(&figures);
        assert!(tables.contains("1,507") && tables.contains("; gone\n"), "{tables}");
    }
}
