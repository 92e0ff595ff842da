//! `logdrive-bench verify`: reads a topic, or an index, and says what became of the lines of a journal.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use logdrive_load::journal::Journal;

use super::{Framing, Ledger};
use crate::consume::{Consumer, drain};
use crate::indexed;

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the Kafka cluster is: host:port, several joined by commas
    #[arg(long, required_unless_present = "opensearch")]
    brokers: Option<String>,
    /// The topic to read, from its beginning
    #[arg(long, required_unless_present = "opensearch")]
    topic: Option<String>,
    /// The OpenSearch or Elasticsearch to read instead, like http://localhost:9200
    #[arg(long, value_name = "URL", conflicts_with_all = ["brokers", "topic"])]
    opensearch: Option<String>,
    /// The indexes to read there
    #[arg(long, value_name = "PATTERN", default_value = "logdrive-*", requires = "opensearch")]
    index: String,
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
    let mut ledger = Ledger::new(args.framing);
    let source = match (&args.opensearch, &args.brokers, &args.topic) {
        (Some(url), ..) => read_index(url, &args.index, &mut ledger)?,
        (None, Some(brokers), Some(topic)) => read_topic(brokers, topic, args, &journal, &mut ledger)?,
        _ => bail!("name a topic with --brokers and --topic, or an index with --opensearch"),
    };
    let verdict = ledger.verdict(&journal);
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&verdict).context("cannot write the verdict as JSON")?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{source}");
    println!("{verdict}\n{}", verdict.sentence(args.allow_duplicates));
    Ok(if verdict.passes(args.allow_duplicates) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the judge look at a topic; says in a line what was there.
fn read_topic(
    brokers: &str,
    topic: &str,
    args: &Args,
    journal: &Journal,
    ledger: &mut Ledger,
) -> anyhow::Result<String> {
    let mut consumer = Consumer::open(brokers, topic)?;
    let bar = progress_bar(journal.header.lines);
    let drained = drain(&mut consumer, ledger, journal, args.idle_timeout, |drained| {
        bar.set_position(drained.lines);
    })?;
    bar.finish_and_clear();
    let seconds = drained.busy.as_secs_f64().max(1e-9);
    Ok(format!(
        "{} records, {} lines, {:.1} MB from {} partitions of {topic} in {seconds:.2} s ({:.0} lines/s)",
        drained.records,
        drained.lines,
        drained.bytes as f64 / 1e6,
        consumer.partitions(),
        drained.lines as f64 / seconds,
    ))
}

/// Has the judge look at an index as it stands; says in a line what was there.
fn read_index(url: &str, indexes: &str, ledger: &mut Ledger) -> anyhow::Result<String> {
    let documents = indexed::read(url, indexes, |arrival| ledger.judge(arrival, |_| {}))?;
    Ok(format!("{documents} documents, {} lines from {indexes} at {url}", ledger.lines()))
}

fn progress_bar(lines: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} lines, {per_sec}, {elapsed}");
    ProgressBar::new(lines).with_style(style.expect("the template is well formed"))
}
