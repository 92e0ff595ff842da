//! Instructions per line of the hot path against the committed baseline.
//!
//! Fails when any case is more than the threshold above its baseline, and names it. A case that is as far below is
//! shown too: the baseline should then be updated, or the next loss hides behind the gain.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::counts::{Change, Counting, Counts};
use crate::report::table;
use crate::setup::progress;

#[derive(Args, Debug)]
pub(crate) struct InstructionsArgs {
    /// The counts to compare with
    #[arg(long, value_name = "FILE", default_value = "bench-harness/baseline/instructions.json")]
    baseline: PathBuf,
    /// Write what is counted as the new baseline instead of comparing
    #[arg(long)]
    update: bool,
    /// Percent above the baseline from which a case fails
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    threshold: f64,
    /// Do so many percent more of the same work in every case, to see that it is caught; a multiple of 5
    #[arg(long, value_name = "PERCENT", default_value_t = 0, conflicts_with = "update")]
    extra_work: u32,
    /// Folder of what callgrind leaves, to be looked at with its tools
    #[arg(long, value_name = "DIR", default_value = ".cache/instructions")]
    work: PathBuf,
}

pub(crate) fn run(args: &InstructionsArgs) -> Result<ExitCode> {
    let threshold = args.threshold / 100.0;
    ensure!(
        threshold.is_finite() && threshold >= 0.0,
        "--threshold {} is no share in percent",
        args.threshold
    );
    ensure!(args.extra_work.is_multiple_of(5), "--extra-work {} is no multiple of 5", args.extra_work);
    // What can be wrong with the baseline shows before anything is built.
    let baseline = if args.update { None } else { Some(Counts::read(&args.baseline)?) };
    let checkout = std::env::current_dir().context("cannot find the current folder")?;
    std::fs::create_dir_all(&args.work).with_context(|| format!("cannot create {}", args.work.display()))?;
    progress("building the benches, then counting");
    let counting = Counting {
        checkout: &checkout,
        target: None,
        tools_of: &checkout,
        work: &args.work.join("callgrind"),
        extra_percent: args.extra_work,
        log: &args.work.join("cargo.log"),
    };
    let counts = counting.count()?;
    let Some(baseline) = baseline else {
        counts.write(&args.baseline)?;
        println!("{} cases written to {}", counts.instructions_per_line.len(), args.baseline.display());
        return Ok(ExitCode::SUCCESS);
    };
    let changes = baseline.changes(&counts)?;
    println!("{}", changes_table(&changes, threshold));
    if let Some(difference) = baseline.conditions.difference(&counts.conditions) {
        eprintln!("warning: the baseline was counted elsewhere: {difference}");
    }
    let worse: Vec<&Change> = changes.iter().filter(|change| change.is_worse(threshold)).collect();
    for change in &worse {
        eprintln!("FAILED: {change}");
    }
    if !worse.is_empty() {
        eprintln!("if that is the price of something, `logdrive-bench instructions --update` writes it down");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// One row for each case.
pub(crate) fn changes_table(changes: &[Change], threshold: f64) -> String {
    let rows = changes.iter().map(|change| {
        let verdict = match change.ratio() {
            _ if change.is_worse(threshold) => "worse",
            ratio if ratio < 1.0 - threshold => "better",
            _ => "same",
        };
        [
            change.case.clone(),
            format!("{:.2}", change.old),
            format!("{:.2}", change.new),
            format!("{:+.2} %", (change.ratio() - 1.0) * 100.0),
            verdict.to_owned(),
        ]
    });
    table(["instructions per line", "old", "new", "change", "verdict"], rows)
}
