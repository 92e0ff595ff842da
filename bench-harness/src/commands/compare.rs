//! Agents beside each other: the same load, one broker, in rounds whose order alternates.
//!
//! In each round every agent ships a steady load (a [`Trial`]) and then drains a backlog (a [`Drain`]); the next
//! round goes through the agents backwards (A B C, C B A, ...), so that whatever drifts meanwhile hits all of them.
//! The figures are medians over the rounds with their bootstrap intervals, counts of missing and wrong lines are
//! sums. An agent that loses lines, or does not even finish, is shown as such: that is a result, and the
//! comparison goes on.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::picture::{self, Bar, Panel};
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::agent::Agent;
use crate::agents::{self, AgentsArgs};
use crate::drain::{Drain, Ending};
use crate::interrupt;
use crate::load::Backlog;
use crate::profile::LOGDRIVE;
use crate::report::{MachineWatch, Report, mib, table, thousands, write_whole};
use crate::setup::{Setup, SiteArgs, progress};
use crate::stats::{Interval, median_interval};
use crate::trial::{Load, Trial};

/// The version of `figures` in `run.json`; a change of a field's meaning is a new one.
const SCHEMA: u32 = 1;

/// An agent that has sent nothing for so long does not send the rest either.
const STUCK_AFTER: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    site: SiteArgs,
    #[command(flatten)]
    agents: AgentsArgs,
    /// How often every agent is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Lines a second of the steady load
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How long the steady load is measured
    #[arg(long, default_value = "8s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long it runs before it counts
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Lines of the backlog
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// Bytes of a line, its end not counted: a number, or a range such as 100..300
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// Lines to send through the broker before anything counts: its first millions cost double
    #[arg(long, default_value_t = 4_000_000)]
    warm_lines: u64,
}

/// What one agent did in one round; nothing of what it did not get to.
#[derive(Debug, Default, Serialize)]
struct Round {
    agent: &'static str,
    round: u32,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    steady_us_per_line: Option<f64>,
    drain_lines_per_second: Option<f64>,
    drain_us_per_line: Option<f64>,
    rss_bytes_max: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    /// What ended a measurement early.
    trouble: Vec<String>,
}

/// One agent over all rounds.
#[derive(Debug, Serialize)]
struct Standing {
    agent: &'static str,
    version: Option<String>,
    command: String,
    limit: Option<&'static str>,
    p50_ms: Option<Interval>,
    p99_ms: Option<Interval>,
    steady_us_per_line: Option<Interval>,
    drain_lines_per_second: Option<Interval>,
    drain_us_per_line: Option<Interval>,
    rss_bytes_max: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    troubles: usize,
}

#[derive(Serialize)]
struct Figures {
    schema: u32,
    rate: u64,
    duration_s: f64,
    backlog_lines: u64,
    line_bytes: String,
    rounds: u32,
    agents: Vec<Standing>,
    measurements: Vec<Round>,
}

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    ensure!(!args.duration.is_zero(), "--duration 0s measures nothing");
    let agents = args.agents.chosen()?;
    let setup = Setup::of(agents[0].clone(), &args.site, "compare-agents")?;
    let mut report = setup.report();
    let backlog = setup.generator.backlog(&setup.inputs, args.lines, &args.line_bytes)?;
    setup.warm_broker(args.warm_lines)?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        for index in agents::order_of(round, agents.len()) {
            let bench = Bench { args, setup: &setup, backlog: &backlog, agent: &agents[index], round };
            let measured = bench.measure(&mut report)?;
            progress(measured.line());
            rounds.push(measured);
        }
    }
    let figures = Figures {
        schema: SCHEMA,
        rate: args.rate,
        duration_s: args.duration.as_secs_f64(),
        backlog_lines: args.lines,
        line_bytes: args.line_bytes.clone(),
        rounds: args.rounds,
        agents: agents.iter().map(|agent| Standing::of(agent, &rounds)).collect(),
        measurements: rounds,
    };
    write_whole(&setup.out.join("agents.svg"), drawing(&figures).as_bytes())?;
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

struct Bench<'a> {
    args: &'a CompareArgs,
    setup: &'a Setup,
    backlog: &'a Backlog,
    agent: &'a Agent,
    round: u32,
}

impl Bench<'_> {
    /// Both measurements of one agent. Only a signal to the harness ends the comparison.
    fn measure(&self, report: &mut Report) -> Result<Round> {
        let mut round = Round { agent: self.agent.name(), round: self.round, ..Round::default() };
        for measurement in [Bench::steady, Bench::drained] {
            if let Err(error) = measurement(self, &mut round, report) {
                interrupt::check()?;
                let trouble = format!("{error:#}");
                let first = trouble.lines().next().unwrap_or_default();
                report.fail(format!("round {}, {}: {first}", self.round, self.agent.name()));
                round.trouble.push(trouble);
            }
        }
        Ok(round)
    }

    fn steady(&self, round: &mut Round, report: &mut Report) -> Result<()> {
        let trial = Trial {
            name: format!("round {}, {}", self.round, self.agent.name()),
            agent: self.agent,
            load: Load {
                rate: self.args.rate,
                files: 1,
                line_bytes: self.args.line_bytes.clone(),
                options: Vec::new(),
                glob: "*.log".to_owned(),
            },
            partitions: 1,
            warm_up: self.args.warm_up,
            duration: self.args.duration,
        };
        let measured = trial.measure(self.setup, report)?;
        round.p50_ms = Some(measured.latency.p50_ms);
        round.p99_ms = Some(measured.latency.p99_ms);
        round.steady_us_per_line = Some(measured.agent_us_per_line);
        round.count(measured.usage.rss_bytes_max, &measured.verdict);
        Ok(())
    }

    fn drained(&self, round: &mut Round, report: &mut Report) -> Result<()> {
        let part = format!("{}-{}-backlog", self.round, self.agent.name());
        let drain = Drain {
            setup: self.setup,
            backlog: self.backlog,
            part,
            stuck_after: STUCK_AFTER,
            verify: Some(self.agent.framing()),
            ending: Ending::OnRequest,
        };
        let watch = MachineWatch::begin();
        let drained = drain.run(|job, log| self.agent.start(job, log))?;
        let name = format!("round {}, {}, backlog", self.round, self.agent.name());
        watch.end(&name, None).into_iter().for_each(|warning| report.warn(warning));
        let lines = self.backlog.lines() as f64;
        if drained.complete {
            round.drain_lines_per_second = Some(lines / drained.wall_s);
            round.drain_us_per_line = Some(drained.usage.cpu_s() * 1e6 / lines);
        }
        round.count(drained.usage.rss_bytes_max, &drained.verdict.unwrap_or_default());
        Ok(())
    }
}

impl Round {
    fn count(&mut self, rss_bytes_max: u64, verdict: &Verdict) {
        self.rss_bytes_max = self.rss_bytes_max.max(rss_bytes_max);
        self.lost += verdict.lost;
        self.duplicated += verdict.duplicated;
        self.reordered += verdict.reordered;
        self.torn += verdict.torn + verdict.foreign;
    }

    fn line(&self) -> String {
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), picture::short);
        format!(
            "round {}: {}: p50 {} ms, p99 {} ms, {} us/line; backlog {} lines/s, {} us/line; {} lost",
            self.round,
            self.agent,
            shown(self.p50_ms),
            shown(self.p99_ms),
            shown(self.steady_us_per_line),
            shown(self.drain_lines_per_second),
            shown(self.drain_us_per_line),
            self.lost
        )
    }
}

impl Standing {
    fn of(agent: &Agent, rounds: &[Round]) -> Standing {
        let own = || rounds.iter().filter(|round| round.agent == agent.name());
        let interval = |value: fn(&Round) -> Option<f64>| {
            median_interval(&own().filter_map(value).collect::<Vec<f64>>())
        };
        let sum = |value: fn(&Round) -> u64| own().map(value).sum();
        Standing {
            agent: agent.name(),
            version: agent.version(),
            command: agent.template(),
            limit: agent.limit(),
            p50_ms: interval(|round| round.p50_ms),
            p99_ms: interval(|round| round.p99_ms),
            steady_us_per_line: interval(|round| round.steady_us_per_line),
            drain_lines_per_second: interval(|round| round.drain_lines_per_second),
            drain_us_per_line: interval(|round| round.drain_us_per_line),
            rss_bytes_max: own().map(|round| round.rss_bytes_max).max().unwrap_or(0),
            lost: sum(|round| round.lost),
            duplicated: sum(|round| round.duplicated),
            reordered: sum(|round| round.reordered),
            torn: sum(|round| round.torn),
            troubles: own().map(|round| round.trouble.len()).sum(),
        }
    }

    /// What is wrong with it, in a few words.
    fn fault(&self) -> Option<String> {
        let counts = [
            (self.lost, "lost"),
            (self.duplicated, "twice"),
            (self.reordered, "out of order"),
            (self.torn, "torn"),
        ];
        let wrong = counts.iter().find(|(count, _)| *count > 0);
        wrong
            .map(|(count, what)| format!("{} {what}", picture::short(*count as f64)))
            .or_else(|| (self.troubles > 0).then(|| "did not finish".to_owned()))
    }
}

fn tables(figures: &Figures) -> String {
    let header = [
        "agent",
        "p50 ms",
        "p99 ms",
        "CPU us/line, steady",
        "lines/s, backlog",
        "CPU us/line, backlog",
        "peak RSS MiB",
        "lost",
        "duplicated",
        "reordered",
        "torn",
    ];
    let shown = |interval: Option<Interval>| {
        let Some(Interval { median, low, high }) = interval else { return "-".to_owned() };
        let [median, low, high] = [median, low, high].map(picture::short);
        format!("{median} [{low}, {high}]")
    };
    let rows = figures.agents.iter().map(|standing| {
        [
            standing.agent.to_owned(),
            shown(standing.p50_ms),
            shown(standing.p99_ms),
            shown(standing.steady_us_per_line),
            shown(standing.drain_lines_per_second),
            shown(standing.drain_us_per_line),
            mib(standing.rss_bytes_max),
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
        format!("- {}: {version}{limit}", standing.agent)
    });
    format!(
        "{agents}\n\nMedian [95 %] of {} round(s). Steady: {} lines/s into one file for {} s, from the intended write of a line \
         to its consumption. Backlog: {} lines; CPU of the whole process, start and stop included. Counts are sums over \
         both and all rounds; torn includes whatever else is not a line as it was written.\n\n{}\n\n\
         ![cost and latency of each agent](agents.svg)\n",
        figures.rounds,
        thousands(figures.rate),
        figures.duration_s,
        thousands(figures.backlog_lines),
        known.collect::<Vec<String>>().join("\n"),
    )
}

fn drawing(figures: &Figures) -> String {
    let rows: Vec<picture::Row> = figures
        .agents
        .iter()
        .map(|standing| picture::Row {
            name: standing.agent.to_owned(),
            own: standing.agent == LOGDRIVE,
            fault: standing.fault(),
        })
        .collect();
    let panel = |title: String, value: fn(&Standing) -> Option<Interval>| {
        let bar = |interval: Option<Interval>| match interval {
            Some(Interval { median, low, high }) => Bar { value: Some(median), low, high },
            None => Bar { value: None, low: 0.0, high: 0.0 },
        };
        Panel { title, bars: figures.agents.iter().map(|standing| bar(value(standing))).collect() }
    };
    let rate = picture::short(figures.rate as f64);
    let panels = [
        panel("CPU, µs/line: backlog".to_owned(), |standing| standing.drain_us_per_line),
        panel(format!("CPU, µs/line: {rate} lines/s"), |standing| standing.steady_us_per_line),
        panel(format!("p99 latency, ms: {rate} lines/s"), |standing| standing.p99_ms),
    ];
    let caption = format!(
        "lower is better; lz4, acks=all; median and 95 % interval of {} round(s), lines of {} bytes",
        figures.rounds, figures.line_bytes
    );
    picture::bars(&caption, &rows, &panels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    #[test]
    fn an_agent_that_loses_lines_is_shown_with_what_it_lost() {
        let program = std::env::current_exe().unwrap();
        let agent = Agent::known(profile::find("kcat").unwrap(), Some(&program), None).unwrap();
        let round = |round, p99_ms, lost| Round { agent: "kcat", round, p99_ms, lost, ..Round::default() };
        let standing =
            Standing::of(&agent, &[round(1, Some(5.0), 0), round(2, None, 7), round(3, Some(7.0), 0)]);
        assert_eq!(standing.fault().as_deref(), Some("7 lost"));
        assert_eq!(standing.p99_ms.map(|interval| interval.median), Some(6.0));
        let figures = Figures {
            schema: SCHEMA,
            rate: 20_000,
            duration_s: 8.0,
            backlog_lines: 1_000_000,
            line_bytes: "200".to_owned(),
            rounds: 3,
            agents: vec![standing],
            measurements: Vec::new(),
        };
        assert!(drawing(&figures).contains("7 lost"));
        assert!(tables(&figures).contains("no state"), "{}", tables(&figures));
    }
}
