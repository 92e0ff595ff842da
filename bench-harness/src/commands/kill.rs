//! An agent is killed at random moments, again and again: see [`Ordeal`].
//!
//! Of Logdrive, and of a command that is not known by name, nothing may be missing, and no kill may double more than
//! was in flight. What another agent loses or repeats is a result.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::load::RotationArgs;
use crate::ordeal::{Kill, Ordeal, Survived};
use crate::report::{table, thousands};
use crate::setup::{Setup, SetupArgs};

#[derive(Args, Debug)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// How often the agent is killed
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Lines a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Files that are written
    #[arg(long, default_value_t = 1)]
    files: u32,
    #[command(flatten)]
    rotation: RotationArgs,
    /// The agent lives at least this long
    #[arg(long, default_value = "200ms", value_parser = humantime::parse_duration)]
    life_min: Duration,
    /// The agent lives at most this long
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    life_max: Duration,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// After the last line; a peer may take longer to begin again.
const QUIET: Duration = Duration::from_secs(2);
pub(crate) const PEER_QUIET: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Figures {
    rate: u64,
    seed: u64,
    lines: u64,
    records: u64,
    duplicated: u64,
    duplicated_per_kill_max: u64,
    kills_without_duplicates: usize,
    behind_s_max: f64,
    in_flight_lines_max: Option<u64>,
    trouble: Option<String>,
    verdict: Verdict,
    kills: Vec<Kill>,
}

pub(crate) fn run(args: &KillArgs) -> Result<ExitCode> {
    let mut ordeal = Ordeal {
        kills: args.kills,
        rate: args.rate,
        files: args.files,
        rotation: args.rotation.clone(),
        life_min: args.life_min,
        life_max: args.life_max,
        seed: args.seed,
        quiet: QUIET,
    };
    ordeal.check()?;
    let setup = Setup::prepare(&args.setup, "kill")?;
    let mut report = setup.report();
    if setup.agent.is_peer() {
        ordeal.quiet = PEER_QUIET;
    }
    let survived = ordeal.run(&setup, &setup.agent, "kill")?;
    if !setup.agent.is_peer() {
        report.judge("the kills", &survived.verdict, survived.verdict.duplicated);
        survived.breaches(&ordeal.rotation).into_iter().for_each(|breach| report.fail(breach));
    }
    let figures = figures(args, survived);
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn figures(args: &KillArgs, survived: Survived) -> Figures {
    Figures {
        rate: args.rate,
        seed: args.seed,
        lines: survived.lines,
        records: survived.records,
        duplicated: survived.verdict.duplicated,
        duplicated_per_kill_max: survived.duplicated_per_kill_max(),
        kills_without_duplicates: survived.kills.iter().filter(|kill| kill.duplicated == 0).count(),
        behind_s_max: survived.behind_s_max(),
        in_flight_lines_max: survived.in_flight_lines_max(),
        trouble: survived.trouble,
        verdict: survived.verdict,
        kills: survived.kills,
    }
}

fn tables(figures: &Figures) -> String {
    let rows = [
        ("kills", figures.kills.len().to_string()),
        ("lines/s", thousands(figures.rate)),
        ("lines", thousands(figures.lines)),
        ("lost", thousands(figures.verdict.lost)),
        ("torn", thousands(figures.verdict.torn)),
        ("reordered first occurrences", thousands(figures.verdict.reordered)),
        ("duplicated", thousands(figures.duplicated)),
        ("duplicated by one kill, at most", thousands(figures.duplicated_per_kill_max)),
        ("kills without a duplicate", figures.kills_without_duplicates.to_string()),
        (
            "in flight before a kill, at most, lines",
            figures.in_flight_lines_max.map_or("-".to_owned(), thousands),
        ),
        ("behind after a kill, at most, s", format!("{:.1}", figures.behind_s_max)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}
