//! The broker is killed and comes back, again and again, under load.
//!
//! An idempotent producer owes exactly the lines that were written, each once, also while files are rotated and the
//! broker is away; an agent that stops, or is restarted by somebody, has failed even if every line arrived. The topic
//! is followed while it is written: what the broker deletes has been judged.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::follow::{Followed, Follower};
use crate::interrupt;
use crate::load::{Rotate, RotationArgs, Writing};
use crate::process::Usage;
use crate::report::{mib, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};
use crate::stats;

const PATIENCE: Duration = Duration::from_secs(120);

/// The topic has not grown for so long: whatever was still to come has come.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct BounceArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// How often the broker is killed
    #[arg(long, default_value_t = 3)]
    times: u32,
    /// Lines a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Files that are written
    #[arg(long, default_value_t = 1)]
    files: u32,
    #[command(flatten)]
    rotation: RotationArgs,
    /// How long the broker is away each time
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    away: Duration,
    /// How long it serves between two kills
    #[arg(long, default_value = "8s", value_parser = humantime::parse_duration)]
    between: Duration,
}

#[derive(Serialize)]
struct Figures {
    kills: u32,
    rate: u64,
    lines: u64,
    rotate: Rotate,
    /// For each kill: from the moment the broker answered again until a new line was in the topic.
    recovery_s: Vec<f64>,
    usage: Usage,
    verdict: Verdict,
}

pub(crate) fn run(args: &BounceArgs) -> Result<ExitCode> {
    ensure!(args.rate > 0 && args.files > 0, "--rate and --files begin at 1");
    let setup = Setup::prepare(&args.setup, "bounce")?;
    setup.broker.expect_own()?;
    let mut report = setup.report();
    let (folder, topic, state) = (setup.scratch("files"), setup.topic("bounce"), setup.scratch("state"));
    std::fs::create_dir_all(&folder)?;
    let mut follower = Follower::start(&setup, &setup.agent, topic.clone(), args.files)?;
    let (files, file) = (folder.join(&args.rotation.glob), folder.join("load-0.log"));
    let mut agent = setup.agent.start(&setup.job(&files, &file, &topic, &state), &setup.log("agent"))?;
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate: args.rate,
        // Longer than everything below may take; it is stopped when that is over.
        duration: (args.away + args.between + PATIENCE) * (args.times + 1),
        line_bytes: "200",
        options: &args.rotation.options(),
    };
    let writer = setup.generator.start(&writing, &setup.log("generator"))?;
    let mut recovery_s = Vec::new();
    for kill in 1..=args.times {
        interrupt::pause(args.between)?;
        agent.expect_running()?;
        progress(format!("kill {kill} of {}", args.times));
        setup.broker.kill()?;
        interrupt::pause(args.away)?;
        setup.broker.restart()?;
        let answered = Instant::now();
        // The log is never shorter than before: nothing that was acknowledged may go.
        let held = setup.cluster.watermark_when_back(&topic, 0, PATIENCE)?;
        setup.cluster.wait_for_count(&topic, 1, held + 1, PATIENCE, |_| agent.expect_running())?;
        recovery_s.push(answered.elapsed().as_secs_f64());
        // What was written meanwhile is to be read before rotation deletes it, and before the next kill.
        follower.await_caught_up(PATIENCE, || agent.expect_running())?;
    }
    interrupt::pause(args.between)?;
    let journal = writer.stop(PATIENCE)?;
    let lines = journal.header.lines;
    setup.cluster.wait_until_quiet(&topic, 1, lines, QUIET, PATIENCE)?;
    agent.expect_running()?;
    // Still the process of the beginning: its id was never given to another one while it is not waited for.
    let exit = agent.terminate(PATIENCE)?;
    let Followed { verdict, .. } = follower.finish(&setup, &journal, PATIENCE)?;
    report.judge("the bounced broker", &verdict, 0);
    let (kills, rate, rotate) = (args.times, args.rate, args.rotation.rotate);
    let figures = Figures { kills, rate, lines, rotate, recovery_s, usage: exit.usage, verdict };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn tables(figures: &Figures) -> String {
    let recovery_max_s = figures.recovery_s.iter().copied().fold(0.0, f64::max);
    let recoveries =
        format!("{:.2}, {recovery_max_s:.2}", stats::median(&figures.recovery_s).unwrap_or_default());
    let rows = [
        ("broker kills", figures.kills.to_string()),
        ("lines/s", thousands(figures.rate)),
        ("lines", thousands(figures.lines)),
        ("rotation", format!("{:?}", figures.rotate).to_lowercase()),
        ("agent restarts", "0".to_owned()),
        ("first new line s after the broker answered, median and worst", recoveries),
        ("CPU us/line", format!("{:.2}", figures.usage.cpu_s() * 1e6 / figures.lines.max(1) as f64)),
        ("peak RSS MiB", mib(figures.usage.rss_bytes_max)),
        ("lost", thousands(figures.verdict.lost)),
        ("duplicated", thousands(figures.verdict.duplicated)),
        ("reordered", thousands(figures.verdict.reordered)),
        ("torn", thousands(figures.verdict.torn)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}
