//! What the agent costs when nothing happens: many quiet files, all shipped, all watched.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::interrupt;
use crate::load::Writing;
use crate::report::{mib, table, thousands};
use crate::sampler::{Sampler, rss_bytes_median};
use crate::setup::{Setup, SetupArgs, progress};

/// Each file holds what ten lines a second leave in one second: quiet, but not empty.
const LINES_PER_FILE: u64 = 10;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Quiet files
    #[arg(long, default_value_t = 1000)]
    files: u32,
    /// How long the agent is watched doing nothing
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long it may settle after the last line was delivered
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    settle: Duration,
}

#[derive(Serialize)]
struct Figures {
    files: u32,
    duration_s: f64,
    /// CPU time over wall time.
    cpu_share_of_core: f64,
    rss_bytes: u64,
    /// Including the start, when every file was read.
    rss_bytes_max: u64,
    verdict: Verdict,
}

pub(crate) fn run(args: &IdleArgs) -> Result<ExitCode> {
    ensure!(args.files > 0 && !args.duration.is_zero(), "--files and --duration must not be zero");
    let setup = Setup::prepare(&args.setup, "idle")?;
    let mut report = setup.report();
    let folder = setup.scratch("files");
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate: u64::from(args.files) * LINES_PER_FILE,
        duration: Duration::from_secs(1),
        line_bytes: "200",
        options: &[],
    };
    let journal = setup.generator.start(&writing, &setup.log("generator"))?.finish(PATIENCE)?;
    let lines = journal.header.lines;

    let (topic, state) = (setup.topic("quiet"), setup.scratch("state"));
    setup.cluster.create_topic(&topic, 1)?;
    let (files, file) = (folder.join("*.log"), folder.join("load-0.log"));
    let mut agent = setup.agent.start(&setup.job(&files, &file, &topic, &state), &setup.log("agent"))?;
    setup.cluster.wait_for_count(&topic, 1, lines, PATIENCE, |_| agent.expect_running())?;
    progress(format!("{} files shipped; settling, then watching for {:?}", args.files, args.duration));
    interrupt::pause(args.settle)?;

    let (cpu_before, started) = (agent.cpu_time()?, Instant::now());
    let sampler = Sampler::of_memory(agent.pid(), Duration::from_secs(1));
    interrupt::pause(args.duration)?;
    agent.expect_running()?;
    let spent = agent.cpu_time()?.saturating_sub(cpu_before);
    let cpu_share_of_core = spent.as_secs_f64() / started.elapsed().as_secs_f64();
    let rss_bytes = rss_bytes_median(&sampler.finish());
    let exit = agent.terminate(PATIENCE)?;
    let verdict = setup.judge(&topic, &journal)?;
    report.judge("the quiet files", &verdict, 0);
    let figures = Figures {
        files: args.files,
        duration_s: args.duration.as_secs_f64(),
        cpu_share_of_core,
        rss_bytes,
        rss_bytes_max: exit.usage.rss_bytes_max,
        verdict,
    };
    let tables = tables(&figures, lines);
    report.finish(&setup.out, &figures, &tables)
}

fn tables(figures: &Figures, lines: u64) -> String {
    let rows = [
        ("quiet files", thousands(figures.files.into())),
        ("lines shipped before", thousands(lines)),
        ("watched s", format!("{:.0}", figures.duration_s)),
        ("CPU % of a core", format!("{:.4}", figures.cpu_share_of_core * 100.0)),
        ("RSS MiB", mib(figures.rss_bytes)),
        ("peak RSS MiB", mib(figures.rss_bytes_max)),
        ("lost", thousands(figures.verdict.lost)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}
