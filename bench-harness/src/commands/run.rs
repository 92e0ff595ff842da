//! One rate from end to end: is everything there, how late was it, where did the time go, what did it cost.
//!
//! Starts what is needed, warms up, measures one [`Trial`], and leaves a record, the latencies in full and a page
//! to look at. The record comes last: a folder that holds one is whole.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::receiver;
use crate::recorder::Quantiles;
use crate::report::{Record, Report, Warning, page, thousands, write_whole};
use crate::setup::{Setup, SetupArgs, progress};
use crate::trial::{Load, Trial};

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Lines a second over all files
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How long is measured
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long the load runs before it counts
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Files that are written
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Bytes of a line, its end not counted: a number, or a range such as 100..300
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// More arguments for logdrive-load, separated by blanks
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    load_args: String,
    /// Which files in the folder of the load the agent is to ship; with rotation `*.log*`
    #[arg(long, value_name = "GLOB", default_value = "*.log")]
    glob: String,
    /// Lines to send through the broker before anything is measured: its first millions cost double
    #[arg(long, default_value_t = 2_000_000)]
    warm_lines: u64,
}

/// Makes the page of a run again, from its record.
#[derive(Args, Debug)]
pub(crate) struct PageArgs {
    /// The folder of a run, or its run.json
    run: PathBuf,
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    ensure!(!args.duration.is_zero(), "--duration 0s measures nothing");
    let setup = Setup::prepare(&args.setup, "run")?;
    let mut report = setup.report();
    setup.warm_broker(args.warm_lines)?;
    let instrument = instrument(&setup, &mut report)?;
    let trial = args.trial(&setup);
    progress(format!("{} for {:?}", trial.name, args.warm_up + args.duration));
    let measured = trial.run(&setup, &mut report)?;
    measured.recorder.write_log(&setup.out.join("latency.hlog"), "due-to-consumed")?;
    let record = Record::new(&trial, measured, instrument, &report);
    write_whole(&setup.out.join("report.html"), page::html(&record).as_bytes())?;
    report.finish_record(&setup.out, &record)
}

pub(crate) fn page(args: &PageArgs) -> Result<ExitCode> {
    let record = Record::read(&args.run)?;
    write_whole(&args.html, page::html(&record).as_bytes())?;
    println!("{}", page::tables(&record).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// What lines take that no agent touches.
fn instrument(setup: &Setup, report: &mut Report) -> Result<Quantiles> {
    let floor = receiver::floor(&setup.cluster, &setup.topic("floor"))?;
    progress(format!("the instrument alone: p50 {:.2} ms, p99 {:.2} ms", floor.p50_ms, floor.p99_ms));
    if floor.p50_ms > receiver::FLOOR_P50_MS_MAX {
        report.warn(Warning::InstrumentSlow { p50_ms: floor.p50_ms });
    }
    Ok(floor)
}

impl RunArgs {
    fn trial<'a>(&self, setup: &'a Setup) -> Trial<'a> {
        Trial {
            name: format!("{} lines/s", thousands(self.rate)),
            agent: &setup.agent,
            load: Load {
                rate: self.rate,
                files: self.files,
                line_bytes: self.line_bytes.clone(),
                options: self.load_args.split_whitespace().map(str::to_owned).collect(),
                glob: self.glob.clone(),
            },
            partitions: self.partitions,
            warm_up: self.warm_up,
            duration: self.duration,
        }
    }
}
