//! `logdrive-bench verify`: reads a topic and says what became of the lines of a journal.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use logdrive_load::journal::Journal;

use super::{Framing, Ledger};
use crate::consume::{Consumer, drain};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the Kafka cluster is: host:port, several joined by commas
    #[arg(long)]
    brokers: String,
    /// The topic to read, from its beginning
    #[arg(long)]
    topic: String,
    /// What was written, as said by `logdrive-load --journal`
    #[arg(long)]
    journal: PathBuf,
    /// What a record holds
    #[arg(long, value_enum, default_value_t = Framing::Line)]
    framing: Framing,
    /// Lines that did not come are lost when nothing came for so long
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
    /// How many duplicates are forgiven, for tests that kill the agent
    #[arg(long, default_value_t = 0)]
    allow_duplicates: u64,
    /// Where to write the same numbers as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Exit code 0 if everything arrived once, in order, unaltered; 1 if not.
///
/// # Errors
/// When it cannot be judged.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let journal = Journal::read(&args.journal)?;
    let mut consumer = Consumer::open(&args.brokers, &args.topic)?;
    let mut ledger = Ledger::new(args.framing);
    let bar = progress_bar(journal.header.lines);
    let drained = drain(&mut consumer, &mut ledger, &journal, args.idle_timeout, |drained| {
        bar.set_position(drained.lines);
    })?;
    bar.finish_and_clear();
    let verdict = ledger.verdict(&journal);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&verdict).context("cannot write the verdict as JSON")?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let seconds = drained.busy.as_secs_f64().max(1e-9);
    println!(
        "{} records, {} lines, {:.1} MB from {} partitions of {} in {seconds:.2} s ({:.0} lines/s)",
        drained.records,
        drained.lines,
        drained.bytes as f64 / 1e6,
        consumer.partitions(),
        args.topic,
        drained.lines as f64 / seconds,
    );
    println!("{verdict}\n{}", verdict.sentence(args.allow_duplicates));
    Ok(if verdict.passes(args.allow_duplicates) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress_bar(lines: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} lines, {per_sec}, {elapsed}");
    ProgressBar::new(lines).with_style(style.expect("the template is well formed"))
}
