//! The highest rate that holds: one [`Trial`] after the other, each at the rate that the search asks for.
//!
//! A step that breaks is measured once more, because a stall of the machine breaks any step; only a step that
//! breaks twice has broken. On one machine the agent shares its cores with generator, broker and consumer, so the
//! rate that is found is that of all of them together: what the agent alone cost stands beside it. The steps are
//! the curve that `plan` computes with.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::picture::{self, Curve};
use logdrive_bench::sweep::{Broke, Objective, Quantile, Search, Step, knee};
use serde::Serialize;

use crate::interrupt;
use crate::procfs;
use crate::recorder::Quantiles;
use crate::report::{Report, mib, table, thousands, write_whole};
use crate::setup::{Setup, SetupArgs, progress};
use crate::trial::{Load, Measured, Trial};

/// The version of `figures` in `run.json`; a change of a field's meaning is a new one.
const SCHEMA: u32 = 1;

/// How long the idle broker is looked at.
const IDLE_TIME: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// What a rate must keep: p50, p90, p99, p99.9 or max, and its limit
    #[arg(long, default_value = "p99=50ms")]
    slo: Objective,
    /// The first rate, lines a second over all files
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    start: u64,
    /// What the rate grows by until it breaks
    #[arg(long, default_value_t = 2.0)]
    factor: f64,
    /// No rate above this one is tried
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate_max: u64,
    /// The search ends when the rate that holds and the one that breaks are this close, as a share
    #[arg(long, default_value_t = 0.1)]
    precision: f64,
    /// How long each rate is measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long each rate runs before it counts
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
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
    /// Lines to send through the broker before the first rate: its first millions cost double
    #[arg(long, default_value_t = 4_000_000)]
    warm_lines: u64,
}

/// One measured rate.
#[derive(Debug, Serialize)]
struct SweepStep {
    rate: u64,
    /// How often it was measured; the last time counts.
    times: u32,
    holds: bool,
    /// Why it does not hold.
    broke: Option<Broke>,
    latency: Quantiles,
    throughput_lines_per_second: f64,
    backlog_growth_lines: i64,
    agent_us_per_line: f64,
    agent_rss_bytes_max: u64,
    broker_us_per_line: Option<f64>,
    consumer_us_per_line: f64,
    /// On the broker's disk, compressed as it is.
    stored_bytes_per_line: Option<f64>,
    generator_late_ms_max: f64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    #[serde(skip)]
    bytes_per_line: f64,
}

#[derive(Serialize)]
struct Figures {
    schema: u32,
    objective: Objective,
    duration_s: f64,
    files: u32,
    partitions: i32,
    /// What the broker uses when nobody asks it for anything; none for somebody else's.
    broker_idle_cores: Option<f64>,
    /// Mean, without its end.
    line_bytes_mean: f64,
    sustainable_lines_per_second: Option<u64>,
    /// What broke the lowest rate that did not hold.
    limited_by: Option<Broke>,
    knee_lines_per_second: Option<u64>,
    /// By ascending rate.
    steps: Vec<SweepStep>,
}

pub(crate) fn run(args: &SweepArgs) -> Result<ExitCode> {
    ensure!(!args.duration.is_zero(), "--duration 0s measures nothing");
    ensure!(
        args.factor > 1.0 && args.factor <= 100.0,
        "--factor {} is not above 1 and up to 100",
        args.factor
    );
    ensure!(args.precision > 0.0, "--precision {} is not above 0", args.precision);
    ensure!(args.start <= args.rate_max, "--start is above --rate-max");
    let setup = Setup::prepare(&args.setup, "sweep")?;
    let mut report = setup.report();
    setup.warm_broker(args.warm_lines)?;
    let broker_idle_cores = idle_cores(&setup)?;
    let mut search = Search::new(args.start, args.factor, args.rate_max, args.precision);
    let mut steps = Vec::new();
    while let Some(rate) = search.next() {
        let mut step = args.measure(rate, 1, &setup, &mut report)?;
        // Lines that are missing were not lost by the machine.
        if step.broke.is_some_and(|broke| broke != Broke::Lines) {
            progress(format!("{} lines/s broke; once more", thousands(rate)));
            step = args.measure(rate, 2, &setup, &mut report)?;
        }
        search.judge(step.holds);
        steps.push(step);
    }
    steps.sort_by_key(|step| step.rate);
    let figures = figures(args, &search, broker_idle_cores, steps);
    write_whole(&setup.out.join("sweep.svg"), drawing(&figures).as_bytes())?;
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

/// What the broker uses before the first agent connects.
fn idle_cores(setup: &Setup) -> Result<Option<f64>> {
    let cpu = || setup.broker.pid().and_then(|pid| procfs::cpu_time(pid).ok());
    // What it had to do for the warm-up comes to its end.
    interrupt::pause(IDLE_TIME)?;
    let (before, started) = (cpu(), Instant::now());
    interrupt::pause(IDLE_TIME)?;
    let spent = cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
    Ok(spent.map(|spent| spent.as_secs_f64() / started.elapsed().as_secs_f64()))
}

impl SweepArgs {
    fn measure(&self, rate: u64, times: u32, setup: &Setup, report: &mut Report) -> Result<SweepStep> {
        let again = if times > 1 { ", again" } else { "" };
        let trial = Trial {
            name: format!("{} lines/s{again}", thousands(rate)),
            agent: &setup.agent,
            load: Load {
                rate,
                files: self.files,
                line_bytes: self.line_bytes.clone(),
                options: Vec::new(),
                glob: "*.log".to_owned(),
            },
            partitions: self.partitions,
            warm_up: self.warm_up,
            duration: self.duration,
        };
        let measured = trial.run(setup, report)?;
        let step = SweepStep::new(self.slo, times, &measured);
        progress(row(&step).join("  "));
        Ok(step)
    }
}

impl SweepStep {
    fn new(objective: Objective, times: u32, measured: &Measured) -> SweepStep {
        let Measured { rate, latency, verdict, usage, .. } = measured;
        let lines = latency.lines.max(1) as f64;
        let written = verdict.lines_expected.max(1) as f64;
        let broke = objective.broken_by(&Step {
            rate: *rate,
            latency_ms: at(latency, objective.quantile),
            backlog_growth_lines: measured.backlog_growth_lines,
            wrong_lines: verdict.lost
                + verdict.duplicated
                + verdict.reordered
                + verdict.torn
                + verdict.foreign,
            generator_late_ms: measured.generator_late_ms_max,
        });
        SweepStep {
            rate: *rate,
            times,
            holds: broke.is_none(),
            broke,
            latency: *latency,
            throughput_lines_per_second: measured.throughput_lines_per_second,
            backlog_growth_lines: measured.backlog_growth_lines,
            agent_us_per_line: measured.agent_us_per_line,
            agent_rss_bytes_max: usage.rss_bytes_max,
            broker_us_per_line: measured.spent.broker.map(|cpu| cpu.as_secs_f64() * 1e6 / lines),
            consumer_us_per_line: measured.consumer_us_per_line,
            stored_bytes_per_line: measured.topic_bytes.map(|bytes| bytes as f64 / written),
            generator_late_ms_max: measured.generator_late_ms_max,
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            reordered: verdict.reordered,
            torn: verdict.torn,
            bytes_per_line: measured.bytes_written as f64 / written,
        }
    }
}

fn at(latency: &Quantiles, quantile: Quantile) -> f64 {
    match quantile {
        Quantile::P50 => latency.p50_ms,
        Quantile::P90 => latency.p90_ms,
        Quantile::P99 => latency.p99_ms,
        Quantile::P999 => latency.p99_9_ms,
        Quantile::Max => latency.max_ms,
    }
}

fn figures(
    args: &SweepArgs,
    search: &Search,
    broker_idle_cores: Option<f64>,
    steps: Vec<SweepStep>,
) -> Figures {
    let curve: Vec<(u64, f64)> = steps.iter().map(|step| (step.rate, step.latency.p99_ms)).collect();
    let bytes: f64 = steps.iter().map(|step| step.bytes_per_line).sum();
    Figures {
        schema: SCHEMA,
        objective: args.slo,
        duration_s: args.duration.as_secs_f64(),
        files: args.files,
        partitions: args.partitions,
        broker_idle_cores,
        line_bytes_mean: bytes / steps.len().max(1) as f64 - 1.0,
        sustainable_lines_per_second: search.held(),
        limited_by: steps.iter().find_map(|step| step.broke),
        knee_lines_per_second: knee(&curve),
        steps,
    }
}

fn row(step: &SweepStep) -> [String; 11] {
    let ms = |value: f64| format!("{value:.2}");
    let wrong = step.lost + step.duplicated + step.reordered + step.torn;
    [
        thousands(step.rate),
        step.broke.map_or("holds".to_owned(), |broke| broke.to_string()),
        ms(step.latency.p50_ms),
        ms(step.latency.p99_ms),
        ms(step.latency.max_ms),
        step.backlog_growth_lines.to_string(),
        ms(step.agent_us_per_line),
        mib(step.agent_rss_bytes_max),
        step.broker_us_per_line.map_or("-".to_owned(), ms),
        step.stored_bytes_per_line.map_or("-".to_owned(), |bytes| format!("{bytes:.1}")),
        thousands(wrong),
    ]
}

fn tables(figures: &Figures) -> String {
    let header = [
        "lines/s",
        "outcome",
        "p50 ms",
        "p99 ms",
        "max ms",
        "backlog growth",
        "agent CPU us/line",
        "peak RSS MiB",
        "broker CPU us/line",
        "stored bytes/line",
        "wrong lines",
    ];
    let steps = table(header, figures.steps.iter().map(row));
    let sustained = match (figures.sustainable_lines_per_second, figures.limited_by) {
        (Some(rate), Some(broke)) => format!("**{} lines/s** hold; beyond that: {broke}", thousands(rate)),
        (Some(rate), None) => format!("**{} lines/s** hold, and nothing faster was tried", thousands(rate)),
        (None, _) => "no rate holds".to_owned(),
    };
    let knee = figures.knee_lines_per_second.map_or("-".to_owned(), thousands);
    format!(
        "{sustained} ({}). The knee, up to which p99 stays within twice its lowest: {knee} lines/s.\n\n{steps}\n\n\
         {} file(s), {} partition(s), {} s for each rate; generator, broker and consumer share the machine.\n\n\
         ![latency and cost over load](sweep.svg)\n",
        figures.objective, figures.files, figures.partitions, figures.duration_s
    )
}

fn drawing(figures: &Figures) -> String {
    let points = |value: &dyn Fn(&SweepStep) -> f64| -> Vec<(f64, f64)> {
        let points = figures.steps.iter().map(|step| (step.rate as f64, value(step)));
        points.filter(|point| point.1 > 0.0).collect()
    };
    let objective = figures.objective;
    let curves = [
        Curve {
            title: format!("latency, ms ({objective})"),
            points: points(&|step| at(&step.latency, objective.quantile)),
            limit: Some((objective.limit_ms, format!("{} ms", objective.limit_ms))),
        },
        Curve {
            title: "agent CPU, us/line".to_owned(),
            points: points(&|step| step.agent_us_per_line),
            limit: None,
        },
    ];
    let caption = format!("{} s for each rate, {} file(s)", figures.duration_s, figures.files);
    picture::curves(&caption, "lines/s", &curves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rate: u64, p99_ms: f64, broke: Option<Broke>) -> SweepStep {
        SweepStep {
            rate,
            times: 1,
            holds: broke.is_none(),
            broke,
            latency: Quantiles { lines: 1000, p99_ms, ..Quantiles::default() },
            throughput_lines_per_second: rate as f64,
            backlog_growth_lines: 0,
            agent_us_per_line: 1.0,
            agent_rss_bytes_max: 1 << 20,
            broker_us_per_line: None,
            consumer_us_per_line: 1.0,
            stored_bytes_per_line: Some(61.25),
            generator_late_ms_max: 0.0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            torn: 0,
            bytes_per_line: 201.0,
        }
    }

    #[test]
    fn the_page_says_what_holds_and_what_limits_it() {
        let steps =
            vec![step(1000, 5.0, None), step(2000, 6.0, None), step(4000, 80.0, Some(Broke::Objective))];
        let figures = Figures {
            schema: SCHEMA,
            objective: "p99=50ms".parse().unwrap(),
            duration_s: 10.0,
            files: 1,
            partitions: 1,
            broker_idle_cores: None,
            line_bytes_mean: 200.0,
            sustainable_lines_per_second: Some(2000),
            limited_by: Some(Broke::Objective),
            knee_lines_per_second: Some(2000),
            steps,
        };
        let page = tables(&figures);
        assert!(page.contains("**2,000 lines/s** hold; beyond that: the objective"), "{page}");
        assert!(page.contains("| 61.2") || page.contains(" 61.2 "), "{page}");
        assert_eq!(drawing(&figures).matches("<circle").count(), 6);
    }
}
