//! What an agent takes from a host that it shares: on an ordinary day, and while it catches up beside somebody who
//! wants the processors for himself.
//!
//! The ordinary day is a low rate over many files. Then a backlog is drained beside a neighbour who computes on
//! every processor without pause, once for each way to hold the agent back, in turns. What the neighbour gets done
//! meanwhile is divided by what he gets done in the same round when nobody drains. The broker and the harness run
//! beside as well and are in what the neighbour loses; they do so in every case.

mod neighbour;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::agent::Agent;
use crate::interrupt;
use crate::load::Backlog;
use crate::report::{Report, mib, table, thousands, write_whole};
use crate::setup::{Setup, SetupArgs, progress};
use crate::stats::{Interval, median_interval};
use crate::trial::{Load, Trial};
use neighbour::Neighbour;

/// What holds the agent back, as it stands in `[limits]` of its configuration.
const CASES: [&str; 4] = ["", "nice = 19", "cpu = \"50%\"", "cpu = \"25%\""];

/// A case as a reader knows it.
fn named(limits: &'static str) -> &'static str {
    if limits.is_empty() { "as it is" } else { limits }
}

/// How long the neighbour is watched when nobody drains.
const ALONE: Duration = Duration::from_secs(3);

/// The agent's start is not what is measured.
const AGENT_STARTS: Duration = Duration::from_secs(1);

/// Nothing arrives for so long: the agent is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct MannersArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Lines a second on an ordinary day, over all files
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Files that are written on an ordinary day
    #[arg(long, default_value_t = 100)]
    files: u32,
    /// How long an ordinary day is
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Lines of the backlog
    #[arg(long, default_value_t = 4_000_000)]
    lines: u64,
    /// How often each case is seen
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// A low rate over many files.
#[derive(Serialize)]
struct Ordinary {
    rate: u64,
    files: u32,
    duration_s: f64,
    /// CPU time over wall time.
    cpu_share_of_core: f64,
    rss_bytes_max: u64,
    p99_ms: f64,
    verdict: Verdict,
}

/// One backlog, drained beside the neighbour.
#[derive(Serialize)]
struct Drained {
    /// What held the agent back.
    case: &'static str,
    round: u32,
    wall_s: f64,
    /// CPU time over wall time.
    cpu_share_of_core: f64,
    lines_per_second: f64,
    /// What the neighbour got done, of what he does alone.
    neighbour_keeps: f64,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Figures {
    ordinary: Ordinary,
    backlog_lines: u64,
    drained: Vec<Drained>,
}

pub(crate) fn run(args: &MannersArgs) -> Result<ExitCode> {
    ensure!(args.rounds > 0 && !args.duration.is_zero(), "--rounds and --duration must not be zero");
    let setup = Setup::prepare(&args.setup, "manners")?;
    let mut report = setup.report();
    setup.warm_broker(1_000_000)?;
    let ordinary = ordinary_day(args, &setup, &mut report)?;
    let backlog = setup.generator.backlog(&setup.inputs, args.lines, "200")?;
    let mut drained = Vec::new();
    for round in 0..args.rounds {
        for step in 0..CASES.len() {
            // Another one begins each round, so that none always follows the same.
            let limits = CASES[(step + round as usize) % CASES.len()];
            let case = named(limits);
            progress(format!("round {} of {}: {case}", round + 1, args.rounds));
            let one = drain(&setup, &backlog, limits, (round, step))?;
            report.judge(&format!("the backlog of round {}, {case}", round + 1), &one.verdict, 0);
            drained.push(one);
        }
    }
    let figures = Figures { ordinary, backlog_lines: args.lines, drained };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn ordinary_day(args: &MannersArgs, setup: &Setup, report: &mut Report) -> Result<Ordinary> {
    let trial = Trial {
        name: format!("{} lines/s over {} files", thousands(args.rate), args.files),
        agent: &setup.agent,
        load: Load {
            rate: args.rate,
            files: args.files,
            line_bytes: "200".to_owned(),
            options: Vec::new(),
            glob: "*.log".to_owned(),
        },
        partitions: 1,
        warm_up: Duration::from_secs(5),
        duration: args.duration,
    };
    progress(format!("{} for {:?}", trial.name, args.duration));
    let measured = trial.run(setup, report)?;
    Ok(Ordinary {
        rate: args.rate,
        files: args.files,
        duration_s: args.duration.as_secs_f64(),
        cpu_share_of_core: measured.spent.agent.as_secs_f64() / args.duration.as_secs_f64(),
        rss_bytes_max: measured.usage.rss_bytes_max,
        p99_ms: measured.latency.p99_ms,
        verdict: measured.verdict,
    })
}

fn drain(
    setup: &Setup,
    backlog: &Backlog,
    limits: &'static str,
    (round, step): (u32, usize),
) -> Result<Drained> {
    let slug = format!("{round}-{step}");
    let topic = setup.topic(format!("drain-{slug}"));
    setup.cluster.create_topic(&topic, 1)?;
    let state = setup.scratch(format!("state-{slug}"));
    let configuration = setup.scratch(format!("agent-{slug}.toml"));
    let agent = configured(setup, &configuration, backlog, &topic, &state, limits)?;

    let neighbour = Neighbour::start()?;
    let alone = neighbour.work_per_second_for(ALONE)?;
    let job = setup.job(&backlog.file, &backlog.file, &topic, &state);
    let mut agent = agent.start(&job, &setup.log(format!("agent-{slug}")))?;
    interrupt::pause(AGENT_STARTS)?;
    let (started, cpu_before, work_before) = (Instant::now(), agent.cpu_time()?, neighbour.work());
    let held_before = setup.cluster.watermarks(&topic, 1)?;
    ensure!(held_before < backlog.lines(), "all was shipped before it was looked at; give more --lines");
    setup.cluster.wait_for_count(&topic, 1, backlog.lines(), STUCK_AFTER, |_| agent.expect_running())?;
    let (wall, work) = (started.elapsed().as_secs_f64(), neighbour.work() - work_before);
    let spent = agent.cpu_time()?.saturating_sub(cpu_before).as_secs_f64();
    drop(neighbour);
    agent.terminate(STOP_PATIENCE)?;
    let verdict = setup.judge(&topic, &backlog.journal)?;
    setup.cluster.delete_topic(&topic)?;
    Ok(Drained {
        case: named(limits),
        round,
        wall_s: wall,
        cpu_share_of_core: spent / wall,
        lines_per_second: (backlog.lines() - held_before) as f64 / wall,
        neighbour_keeps: work as f64 / wall / alone,
        verdict,
    })
}

/// The agent with one item, and with these limits.
fn configured(
    setup: &Setup,
    configuration: &Path,
    backlog: &Backlog,
    topic: &str,
    state: &Path,
    limits: &str,
) -> Result<Agent> {
    let text = format!(
        "[state]\ndir = {state:?}\n[limits]\n{limits}\n[kafka]\nbrokers = {:?}\n\
         [[item]]\nname = \"backlog\"\ninclude = [{:?}]\ntopic = {topic:?}\nread_from = \"beginning\"\n",
        setup.cluster.brokers(),
        backlog.file,
    );
    write_whole(configuration, text.as_bytes())?;
    let agent = setup.agent.configured_by(configuration);
    agent.context("only logdrive's own agent is told of limits here; leave out --agent and --agent-command")
}

fn tables(figures: &Figures) -> String {
    let Ordinary { rate, files, duration_s, cpu_share_of_core, rss_bytes_max, p99_ms, verdict } =
        &figures.ordinary;
    let ordinary = [
        ("lines/s", thousands(*rate)),
        ("files", thousands((*files).into())),
        ("watched s", format!("{duration_s:.0}")),
        ("CPU % of a core", format!("{:.3}", cpu_share_of_core * 100.0)),
        ("peak RSS MiB", mib(*rss_bytes_max)),
        ("p99 ms", format!("{p99_ms:.2}")),
        ("lost", thousands(verdict.lost)),
        ("duplicated", thousands(verdict.duplicated)),
    ];
    let ordinary =
        table(["an ordinary day", "value"], ordinary.map(|(what, value)| [what.to_owned(), value]));
    let cases = CASES.map(named).map(|case| {
        let of = |value: fn(&Drained) -> f64| {
            let values: Vec<f64> = figures.drained.iter().filter(|d| d.case == case).map(value).collect();
            median_interval(&values)
        };
        [
            case.to_owned(),
            percent(of(|drained| drained.cpu_share_of_core)),
            of(|drained| drained.lines_per_second)
                .map_or_else(String::new, |rate| thousands(rate.median as u64)),
            percent(of(|drained| drained.neighbour_keeps)),
        ]
    });
    let drained = table(["catching up", "CPU % of a core", "lines/s", "neighbour keeps %"], cases);
    format!("{ordinary}\n{drained}")
}

/// The median with its interval of 95 %.
fn percent(share: Option<Interval>) -> String {
    let of = |value: f64| value * 100.0;
    share.map_or_else(String::new, |share| {
        format!("{:.1} [{:.1}, {:.1}]", of(share.median), of(share.low), of(share.high))
    })
}
