//! How close the agent comes to what librdkafka costs by itself.
//!
//! The minimal program and the agent drain the same file into fresh topics of one broker, in pairs whose order
//! alternates (A B, B A, A B, ...), so that whatever drifts meanwhile hits both. The answer is two ratios, of
//! CPU per line and of throughput, each the median over the pairs with its bootstrap interval. The absolute
//! figures of a shared machine mean little beside them.
//!
//! What counts as done, and what as cost, is the same for both: see [`crate::drain`]. The minimal program reads the file into fresh memory whole, which costs it page faults that an agent with a
//! few buffers does not have; so the CPU ratio is also given with that reading taken off the minimal side.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::agent::Job;
use crate::drain::{Drain, Ending};
use crate::load::Backlog;
use crate::minimal;
use crate::paired::{self, Paired, order_of};
use crate::process::{Child, Usage};
use crate::report::{MachineWatch, Report, Warning, mib, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};
use crate::stats::Interval;

/// Nobody drains slower than this without something being wrong.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// An interval wider than this share of its median cannot tell 1.15 from 1.
const INTERVAL_WIDTH_MAX: f64 = 0.3;

#[derive(Args, Debug)]
pub(crate) struct CeilingArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Lines in the file
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Bytes of a line, its end not counted: a number, or a range such as 100..300
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// Pairs of runs
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// Lines to send before anything counts: a broker's first millions cost double
    #[arg(long, default_value_t = 4_000_000)]
    warm_lines: u64,
    /// Which of the agent's topics are read back line by line; all are counted
    #[arg(long, value_enum, default_value_t = Verify::Last)]
    verify: Verify,
    /// A librdkafka property of the minimal program, name=value; repeatable
    #[arg(long = "minimal-option", value_name = "NAME=VALUE")]
    minimal_options: Vec<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Verify {
    None,
    Last,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Minimal,
    Agent,
}

impl Side {
    fn of(side: paired::Side) -> Side {
        match side {
            paired::Side::A => Side::Minimal,
            paired::Side::B => Side::Agent,
        }
    }

    fn place(self) -> paired::Side {
        match self {
            Side::Minimal => paired::Side::A,
            Side::Agent => paired::Side::B,
        }
    }
}

/// One drained file.
#[derive(Debug, Serialize)]
struct Run {
    pair: u32,
    side: Side,
    /// From the start of the process to the last line in Kafka.
    wall_s: f64,
    /// From the first line seen in Kafka to the last.
    wall_from_first_line_s: f64,
    lines_per_second: f64,
    cpu_us_per_line: f64,
    /// Of it, what the minimal program spent on reading the file into memory; 0 for the agent.
    reading_us_per_line: f64,
    /// Lines in the topic after the process had ended.
    lines_in_topic: u64,
    usage: Usage,
}

impl Paired for Run {
    fn pair(&self) -> u32 {
        self.pair
    }

    fn side(&self) -> paired::Side {
        self.side.place()
    }
}

#[derive(Serialize)]
struct Figures {
    lines: u64,
    bytes: u64,
    pairs: u32,
    cpu_ratio: Option<Interval>,
    /// With the reading of the file taken off the minimal side.
    cpu_without_reading_ratio: Option<Interval>,
    throughput_ratio: Option<Interval>,
    throughput_from_first_line_ratio: Option<Interval>,
    runs: Vec<Run>,
}

pub(crate) fn run(args: &CeilingArgs) -> Result<ExitCode> {
    ensure!(args.lines > 0 && args.pairs > 0, "--lines and --pairs begin at 1");
    let setup = Setup::prepare(&args.setup, "ceiling")?;
    let mut report = setup.report();
    let backlog = setup.generator.backlog(&setup.inputs, args.lines, &args.line_bytes)?;
    let bench = Bench { setup: &setup, backlog: &backlog, options: &args.minimal_options };

    setup.warm_broker(args.warm_lines)?;
    let mut runs = Vec::new();
    for pair in 1..=args.pairs {
        for side in order_of(pair).map(Side::of) {
            let verify = side == Side::Agent
                && (args.verify == Verify::All || (args.verify == Verify::Last && pair == args.pairs));
            let run = bench.measure(pair, side, verify, &mut report)?;
            progress(format!(
                "pair {pair}/{}: {side:?}: {:.2} M lines/s, {:.3} us/line, {} MiB",
                args.pairs,
                run.lines_per_second / 1e6,
                run.cpu_us_per_line,
                mib(run.usage.rss_bytes_max)
            ));
            runs.push(run);
        }
    }
    let figures = Figures {
        lines: args.lines,
        bytes: backlog.journal.header.bytes,
        pairs: args.pairs,
        cpu_ratio: paired::ratio(&runs, |run| run.cpu_us_per_line),
        cpu_without_reading_ratio: paired::ratio(&runs, |run| run.cpu_us_per_line - run.reading_us_per_line),
        throughput_ratio: paired::ratio(&runs, |run| 1.0 / run.wall_s),
        throughput_from_first_line_ratio: paired::ratio(&runs, |run| 1.0 / run.wall_from_first_line_s),
        runs,
    };
    warn_of_width(&mut report, "the CPU ratio", figures.cpu_ratio);
    warn_of_width(&mut report, "the throughput ratio", figures.throughput_ratio);
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

struct Bench<'a> {
    setup: &'a Setup,
    backlog: &'a Backlog,
    options: &'a [String],
}

impl Bench<'_> {
    /// One counted run, with its doubts and failures reported.
    fn measure(&self, pair: u32, side: Side, verify: bool, report: &mut Report) -> Result<Run> {
        let watch = MachineWatch::begin();
        let cpu_before = self.known_cpu();
        let name = format!("pair {pair}, {side:?}");
        let run = self.drain(pair, side, verify.then_some(&mut *report))?;
        let spent = self.known_cpu().zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
        let own_cpu = spent.map(|spent| spent + Duration::from_secs_f64(run.usage.cpu_s()));
        watch.end(&name, own_cpu).into_iter().for_each(|warning| report.warn(warning));
        let (held, lines) = (run.lines_in_topic, self.backlog.lines());
        if held != lines {
            report.fail(format!("{name}: the topic holds {held} lines instead of {lines}"));
        }
        Ok(run)
    }

    /// CPU time so far of the broker and of this harness; none where the broker is somebody else's.
    fn known_cpu(&self) -> Option<Duration> {
        let broker = crate::procfs::cpu_time(self.setup.broker.pid()?).ok()?;
        let own = crate::procfs::cpu_time(std::process::id() as i32).ok()?;
        Some(broker + own)
    }

    /// Sends the whole file into a topic of its own.
    fn drain(&self, pair: u32, side: Side, verify: Option<&mut Report>) -> Result<Run> {
        let part = format!("{pair}-{side:?}").to_lowercase();
        let drain = Drain {
            setup: self.setup,
            backlog: self.backlog,
            part: part.clone(),
            stuck_after: STUCK_AFTER,
            verify: verify.is_some().then(|| self.setup.agent.framing()),
            ending: if side == Side::Minimal { Ending::ByItself } else { Ending::OnRequest },
        };
        let drained = drain.run(|job, log| self.start(side, job, log))?;
        ensure!(
            drained.complete,
            "{side:?} did not deliver the file; see {}",
            self.setup.log(&part).display()
        );
        if let Some((report, verdict)) = verify.zip(drained.verdict) {
            report.judge(&format!("pair {pair}, {side:?}"), &verdict, 0);
        }
        let lines = self.backlog.lines() as f64;
        Ok(Run {
            pair,
            side,
            wall_s: drained.wall_s,
            wall_from_first_line_s: drained.wall_from_first_line_s,
            lines_per_second: lines / drained.wall_s,
            cpu_us_per_line: drained.usage.cpu_s() * 1e6 / lines,
            reading_us_per_line: self.reading_cpu_s(side, &part)? * 1e6 / lines,
            lines_in_topic: drained.lines_in_topic,
            usage: drained.usage,
        })
    }

    fn reading_cpu_s(&self, side: Side, part: &str) -> Result<f64> {
        if side == Side::Agent {
            return Ok(0.0);
        }
        let output = std::fs::read_to_string(self.setup.log(part))?;
        minimal::reading_cpu_s(&output).context("the minimal program does not say what reading the file cost")
    }

    fn start(&self, side: Side, job: &Job<'_>, log: &Path) -> Result<Child> {
        match side {
            Side::Minimal => {
                let mut command = minimal::command(job.file, job.topic, job.brokers, self.options)?;
                Child::spawn("the minimal program", &mut command, log)
            }
            Side::Agent => self.setup.agent.start(job, log),
        }
    }
}

fn warn_of_width(report: &mut Report, of: &'static str, interval: Option<Interval>) {
    if let Some(Interval { median, low, high }) = interval
        && high - low > INTERVAL_WIDTH_MAX * median
    {
        report.warn(Warning::IntervalWide { of, low, high });
    }
}

fn tables(figures: &Figures) -> String {
    let side_row = |side: Side| {
        let of = |value: &dyn Fn(&Run) -> f64| {
            paired::median_of(&figures.runs, side.place(), value).unwrap_or(f64::NAN)
        };
        [
            match side {
                Side::Minimal => "minimal program".to_owned(),
                Side::Agent => "agent".to_owned(),
            },
            format!("{:.3}", of(&|run| run.cpu_us_per_line)),
            format!("{:.2}", of(&|run| run.usage.user_s)),
            format!("{:.2}", of(&|run| run.usage.system_s)),
            format!("{:.2}", of(&|run| run.wall_s)),
            format!("{:.2}", of(&|run| run.wall_from_first_line_s)),
            thousands(of(&|run| run.lines_per_second) as u64),
            mib(of(&|run| run.usage.rss_bytes_max as f64) as u64),
            thousands(of(&|run| run.usage.voluntary_switches as f64) as u64),
        ]
    };
    let header = [
        "median of the runs",
        "CPU s per 1M lines",
        "user s",
        "system s",
        "wall s",
        "wall s from first line",
        "lines/s",
        "peak RSS MiB",
        "voluntary switches",
    ];
    let sides = table(header, [Side::Minimal, Side::Agent].map(side_row));
    let shown = |interval: Option<Interval>| interval.map_or("-".to_owned(), |interval| interval.to_string());
    let ratios = table(
        ["agent / minimal, paired", "median [95 %]"],
        [
            ["CPU per line".to_owned(), shown(figures.cpu_ratio)],
            [
                "CPU per line, minimal without reading its file".to_owned(),
                shown(figures.cpu_without_reading_ratio),
            ],
            ["throughput".to_owned(), shown(figures.throughput_ratio)],
            [
                "throughput from the first line in Kafka".to_owned(),
                shown(figures.throughput_from_first_line_ratio),
            ],
        ],
    );
    format!(
        "{} lines, {} bytes, {} pairs\n\n{sides}\n\n{ratios}\n",
        thousands(figures.lines),
        thousands(figures.bytes),
        figures.pairs
    )
}
