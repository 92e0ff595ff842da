//! How much memory the agent takes when there is far more to ship than memory, and the broker goes away.
//!
//! A backlog of some gigabytes is drained; half-way the broker is killed (or frozen) and comes back after a
//! while. An agent whose memory follows the backlog, or the outage, shows it here. Everything must arrive.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::interrupt;
use crate::process::Usage;
use crate::report::{mib, table, thousands};
use crate::sampler::{Sample, Sampler, rss_bytes_median};
use crate::setup::{Setup, SetupArgs, parse_bytes, progress};

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Nothing arrives for so long, broker up: the agent is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

const STOP_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct MemoryArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Size of the backlog, such as 4GB or 512MiB; generated once and kept
    #[arg(long, default_value = "4GB", value_parser = parse_bytes)]
    bytes: u64,
    /// Bytes of a line, its end not counted
    #[arg(long, default_value_t = 200)]
    line_bytes: u64,
    /// How long the broker is away
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    away: Duration,
    /// How the broker goes away
    #[arg(long, value_enum, default_value_t = Outage::Kill)]
    outage: Outage,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outage {
    /// SIGKILL and a new start: connections break
    Kill,
    /// SIGSTOP and SIGCONT: connections stay, nothing answers
    Freeze,
    /// It stays
    None,
}

#[derive(Serialize)]
struct Figures {
    backlog_bytes: u64,
    lines: u64,
    outage: Outage,
    away_s: f64,
    wall_s: f64,
    /// The most that was ever resident.
    rss_bytes_max: u64,
    rss_bytes_median: u64,
    usage: Usage,
    verdict: Verdict,
    samples: Vec<Sample>,
}

pub(crate) fn run(args: &MemoryArgs) -> Result<ExitCode> {
    ensure!(args.line_bytes > 0, "--line-bytes 0 is no line");
    let setup = Setup::prepare(&args.setup, "memory")?;
    if args.outage != Outage::None {
        setup.broker.expect_own()?;
    }
    let mut report = setup.report();
    let lines = (args.bytes / (args.line_bytes + 1)).max(2);
    let backlog = setup.generator.backlog(&setup.inputs, lines, &args.line_bytes.to_string())?;
    let (topic, state) = (setup.topic("backlog"), setup.scratch("state"));
    setup.cluster.create_topic(&topic, 1)?;
    let mut agent =
        setup.agent.start(&setup.job(&backlog.file, &backlog.file, &topic, &state), &setup.log("agent"))?;
    let sampler = Sampler::of_memory(agent.pid(), SAMPLE_INTERVAL);

    let half_way =
        setup.cluster.wait_for_count(&topic, 1, lines / 2, STUCK_AFTER, |_| agent.expect_healthy())?;
    ensure!(half_way, "the agent did not deliver half of the file{}", agent.last_words());
    progress(format!("half-way; the broker is away for {:?}", args.away));
    go_away(&setup, args)?;
    agent.expect_healthy()?;
    let mut said = Instant::now();
    setup.cluster.wait_for_count(&topic, 1, lines, STUCK_AFTER, |held| {
        if said.elapsed() > Duration::from_secs(5) {
            said = Instant::now();
            progress(format!("{} of {} lines", thousands(held), thousands(lines)));
        }
        agent.expect_healthy()
    })?;
    let wall_s = agent.started().elapsed().as_secs_f64();
    let samples = sampler.finish();
    let exit = agent.terminate(STOP_PATIENCE)?;
    let verdict = setup.judge(&topic, &backlog.journal)?;
    report.judge("the backlog", &verdict, 0);
    let figures = Figures {
        backlog_bytes: backlog.journal.header.bytes,
        lines,
        outage: args.outage,
        away_s: args.away.as_secs_f64(),
        wall_s,
        rss_bytes_max: exit.usage.rss_bytes_max,
        rss_bytes_median: rss_bytes_median(&samples),
        usage: exit.usage,
        verdict,
        samples,
    };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn go_away(setup: &Setup, args: &MemoryArgs) -> Result<()> {
    match args.outage {
        Outage::Kill => {
            setup.broker.kill()?;
            interrupt::pause(args.away)?;
            setup.broker.restart()
        }
        Outage::Freeze => {
            let frozen = setup.broker.freeze()?;
            interrupt::pause(args.away)?;
            drop(frozen);
            Ok(())
        }
        Outage::None => Ok(()),
    }
}

fn tables(figures: &Figures) -> String {
    let rows = [
        ("backlog MiB", mib(figures.backlog_bytes)),
        ("lines", thousands(figures.lines)),
        ("broker away s", format!("{:.0} ({:?})", figures.away_s, figures.outage).to_lowercase()),
        ("wall s", format!("{:.1}", figures.wall_s)),
        ("peak RSS MiB", mib(figures.rss_bytes_max)),
        ("median RSS MiB", mib(figures.rss_bytes_median)),
        ("CPU s per 1M lines", format!("{:.3}", figures.usage.cpu_s() * 1e6 / figures.lines as f64)),
        ("lost", thousands(figures.verdict.lost)),
        ("duplicated", thousands(figures.verdict.duplicated)),
        ("reordered", thousands(figures.verdict.reordered)),
        ("torn", thousands(figures.verdict.torn)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}
