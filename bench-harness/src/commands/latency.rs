//! How long a line takes from the moment it was due to its consumption, at several rates, a row for each.
//!
//! Each rate is a [`Trial`] of its own. Before the first one the instrument is measured alone, so that what it
//! adds is known.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::process::Usage;
use crate::receiver;
use crate::recorder::Quantiles;
use crate::report::{Report, Warning, mib, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};
use crate::trial::{Load, Measured, Trial};

#[derive(Args, Debug)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Lines a second over all files; several rates are measured one after the other
    #[arg(long = "rate", value_delimiter = ',', default_value = "1000,20000,100000")]
    rates: Vec<u64>,
    /// How long each rate is measured
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long each rate runs before it counts
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Files that are written
    #[arg(long, default_value_t = 1)]
    files: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Bytes of a line, its end not counted: a number, or a range such as 100..300
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// Lines to send through the broker before the first rate: its first millions cost double
    #[arg(long, default_value_t = 4_000_000)]
    warm_lines: u64,
}

/// One measured rate.
#[derive(Debug, Serialize)]
struct Row {
    rate: u64,
    latency: Quantiles,
    /// Of the agent, within the window.
    agent_us_per_line: f64,
    /// Of the harness, which consumes, within the window.
    consumer_us_per_line: f64,
    /// The agent over its whole life.
    usage: Usage,
    generator_late_ms_max: f64,
    generator_late_lines: u64,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Figures {
    duration_s: f64,
    files: u32,
    /// What lines take that no agent has touched.
    floor: Quantiles,
    rates: Vec<Row>,
}

pub(crate) fn run(args: &LatencyArgs) -> Result<ExitCode> {
    ensure!(!args.duration.is_zero(), "--duration 0s measures nothing");
    ensure!(args.rates.iter().all(|&rate| rate > 0), "--rate 0 writes nothing");
    let setup = Setup::prepare(&args.setup, "latency")?;
    let mut report = setup.report();
    setup.warm_broker(args.warm_lines)?;
    let floor = receiver::floor(&setup.cluster, &setup.topic("floor"))?;
    progress(format!("the instrument alone: p50 {:.2} ms, p99 {:.2} ms", floor.p50_ms, floor.p99_ms));
    if floor.p50_ms > receiver::FLOOR_P50_MS_MAX {
        report.warn(Warning::InstrumentSlow { p50_ms: floor.p50_ms });
    }
    let mut rates = Vec::new();
    for &rate in &args.rates {
        progress(format!("{} lines/s for {:?}", thousands(rate), args.warm_up + args.duration));
        let measured = measure(&setup, args, rate, &mut report)?;
        progress(row(&measured).join("  "));
        rates.push(measured);
    }
    let figures = Figures { duration_s: args.duration.as_secs_f64(), files: args.files, floor, rates };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

/// One rate, as a trial of its own.
fn measure(setup: &Setup, args: &LatencyArgs, rate: u64, report: &mut Report) -> Result<Row> {
    let trial = Trial {
        name: format!("{rate} lines/s"),
        agent: &setup.agent,
        load: Load {
            rate,
            files: args.files,
            line_bytes: args.line_bytes.clone(),
            options: Vec::new(),
            glob: "*.log".to_owned(),
        },
        partitions: args.partitions,
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let measured = trial.run(setup, report)?;
    let log = setup.out.join(format!("latency-{rate}.hlog"));
    measured.recorder.write_log(&log, &format!("rate-{rate}"))?;
    Ok(Row::from(measured))
}

impl From<Measured> for Row {
    fn from(measured: Measured) -> Row {
        Row {
            rate: measured.rate,
            latency: measured.latency,
            agent_us_per_line: measured.agent_us_per_line,
            consumer_us_per_line: measured.consumer_us_per_line,
            usage: measured.usage,
            generator_late_ms_max: measured.generator_late_ms_max,
            generator_late_lines: measured.generator_late_lines,
            verdict: measured.verdict,
        }
    }
}

fn row(measured: &Row) -> [String; 13] {
    let Row { latency, verdict, .. } = measured;
    let ms = |value: f64| format!("{value:.2}");
    [
        thousands(measured.rate),
        thousands(latency.lines),
        ms(latency.p50_ms),
        ms(latency.p90_ms),
        ms(latency.p99_ms),
        ms(latency.p99_9_ms),
        ms(latency.max_ms),
        format!("{:.2}", measured.agent_us_per_line),
        mib(measured.usage.rss_bytes_max),
        thousands(verdict.lost),
        thousands(verdict.duplicated),
        thousands(verdict.reordered),
        thousands(verdict.torn),
    ]
}

fn tables(figures: &Figures) -> String {
    let header = [
        "lines/s",
        "lines measured",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "agent CPU us/line",
        "peak RSS MiB",
        "lost",
        "duplicated",
        "reordered",
        "torn",
    ];
    let measured = table(header, figures.rates.iter().map(row));
    format!(
        "From the intended write of a line to its consumption, {} file(s), {} s for each rate.\n\n{measured}\n\n\
         The instrument alone (produce singly without linger, consume): p50 {:.2} ms, p99 {:.2} ms, included above. \
         The consumer's own cost is not the agent's and is not included.\n",
        figures.files, figures.duration_s, figures.floor.p50_ms, figures.floor.p99_ms
    )
}
