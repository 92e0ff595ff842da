//! How long a line takes from the moment it was due to its consumption, and what the agent pays for it.
//!
//! Open loop: the generator writes by a schedule fixed in advance and waits for nobody, so a stall of the
//! agent, the broker or the machine counts for every line that was due in it. Each rate gets a fresh topic,
//! folder and agent. The agent's CPU time is read at both ends of the measured window and divided by the lines due
//! in it; the harness's own, which is the consumer's, stands apart. Every line is judged as it arrives.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::consume::unix_now_ns;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::interrupt;
use crate::load::Writing;
use crate::process::{Child, Usage};
use crate::procfs;
use crate::receiver::{self, Quantiles, Received, Receiver, Recorder};
use crate::report::{MachineWatch, Report, Warning, mib, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};

/// The receiver is considered fit when a line without any agent takes at most this long.
const FLOOR_P50_MS_MAX: f64 = 2.0;

/// Between the start of the agent and the first line.
const AGENT_SETTLES: Duration = Duration::from_secs(1);

/// The writer needs a moment to start, so the window begins so much later, and it writes on for as long
/// after the window's end, so that the last counted lines are not the last ones.
const MARGIN: Duration = Duration::from_millis(500);

const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(60);

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
struct Measured {
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
    rates: Vec<Measured>,
}

pub(crate) fn run(args: &LatencyArgs) -> Result<ExitCode> {
    ensure!(!args.duration.is_zero(), "--duration 0s measures nothing");
    ensure!(args.rates.iter().all(|&rate| rate > 0), "--rate 0 writes nothing");
    let setup = Setup::prepare(&args.setup, "latency")?;
    let mut report = setup.report();
    setup.warm_broker(args.warm_lines)?;
    let floor = receiver::floor(&setup.cluster, &setup.topic("floor"))?;
    progress(format!("the instrument alone: p50 {:.2} ms, p99 {:.2} ms", floor.p50_ms, floor.p99_ms));
    if floor.p50_ms > FLOOR_P50_MS_MAX {
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

fn measure(setup: &Setup, args: &LatencyArgs, rate: u64, report: &mut Report) -> Result<Measured> {
    let name = format!("{rate} lines/s");
    let (topic, folder) = (setup.topic(rate), setup.scratch(format!("files-{rate}")));
    std::fs::create_dir_all(&folder)?;
    setup.cluster.create_topic(&topic, args.partitions)?;
    let (files, file) = (folder.join("*.log"), folder.join("load-0.log"));
    let state = setup.scratch(format!("state-{rate}"));
    let job = setup.job(&files, &file, &topic, &state);
    let mut agent = setup.agent.start(&job, &setup.log(format!("agent-{rate}")))?;
    interrupt::pause(AGENT_SETTLES)?;

    let until_window = MARGIN + args.warm_up;
    let window_start = Instant::now() + until_window;
    let window_start_ns = unix_now_ns() + until_window.as_nanos() as u64;
    let recorder = Recorder::new(window_start_ns..window_start_ns + args.duration.as_nanos() as u64);
    let receiver = Receiver::start(setup.cluster.brokers(), &topic, recorder)?;
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate,
        duration: MARGIN + args.warm_up + args.duration + MARGIN,
        line_bytes: &args.line_bytes,
        options: &[],
    };
    let writer = setup.generator.start(&writing, &setup.log(format!("generator-{rate}")))?;

    interrupt::pause_until(window_start)?;
    let watch = MachineWatch::begin();
    let before = Spent::read(setup, &agent, &writer.child)?;
    interrupt::pause_until(window_start + args.duration)?;
    agent.expect_running()?;
    let spent = Spent::read(setup, &agent, &writer.child)?.since(&before);
    watch.end(&name, spent.all()).into_iter().for_each(|warning| report.warn(warning));

    let journal = writer.finish(DRAIN_PATIENCE)?;
    receiver.await_count(journal.header.lines, DRAIN_PATIENCE)?;
    let exit = agent.terminate(STOP_PATIENCE)?;
    // What the agent sent while it stopped belongs to the verdict.
    receiver.await_count(setup.cluster.watermarks(&topic, args.partitions)?, DRAIN_PATIENCE)?;
    let Received { recorder, ledger } = receiver.finish()?;
    recorder.write_log(&setup.out.join(format!("latency-{rate}.hlog")), &format!("rate-{rate}"))?;
    let verdict = ledger.verdict(&journal);
    report.judge(&name, &verdict, 0);
    setup.cluster.delete_topic(&topic)?;
    let _ = std::fs::remove_dir_all(&folder);

    let latency = recorder.quantiles();
    let per_line = |time: Duration| time.as_secs_f64() * 1e6 / latency.lines.max(1) as f64;
    let measured = Measured {
        rate,
        latency,
        agent_us_per_line: per_line(spent.agent),
        consumer_us_per_line: per_line(spent.harness),
        usage: exit.usage,
        generator_late_ms_max: journal.header.pace.lateness_max_ns as f64 / 1e6,
        generator_late_lines: journal.header.pace.lines_late,
        verdict,
    };
    doubt(&measured, &name, report);
    Ok(measured)
}

/// CPU time so far of everyone who takes part.
struct Spent {
    agent: Duration,
    harness: Duration,
    generator: Duration,
    /// None where the broker is somebody else's.
    broker: Option<Duration>,
}

impl Spent {
    fn read(setup: &Setup, agent: &Child, generator: &Child) -> Result<Spent> {
        Ok(Spent {
            agent: agent.cpu_time()?,
            harness: procfs::cpu_time(std::process::id() as i32)?,
            generator: generator.cpu_time()?,
            broker: setup.broker.pid().and_then(|pid| procfs::cpu_time(pid).ok()),
        })
    }

    fn since(&self, earlier: &Spent) -> Spent {
        Spent {
            agent: self.agent.saturating_sub(earlier.agent),
            harness: self.harness.saturating_sub(earlier.harness),
            generator: self.generator.saturating_sub(earlier.generator),
            broker: self.broker.zip(earlier.broker).map(|(now, before)| now.saturating_sub(before)),
        }
    }

    fn all(&self) -> Option<Duration> {
        Some(self.agent + self.harness + self.generator + self.broker?)
    }
}

/// A quantile needs this many lines beyond it to mean something.
const LINES_BEYOND_MIN: f64 = 10.0;

/// What speaks against the numbers of one rate.
fn doubt(measured: &Measured, name: &str, report: &mut Report) {
    if measured.generator_late_lines > 0 {
        let (late_ms, lines) = (measured.generator_late_ms_max, measured.generator_late_lines);
        report.warn(Warning::GeneratorLate { during: name.to_owned(), late_ms, lines });
    }
    let count = measured.latency.lines;
    let unsure =
        [(0.01, "p99"), (0.001, "p99.9")].iter().find(|(beyond, _)| count as f64 * beyond < LINES_BEYOND_MIN);
    if let Some(&(_, quantile)) = unsure {
        report.warn(Warning::FewSamples { during: name.to_owned(), count, quantile });
    }
}

fn row(measured: &Measured) -> [String; 13] {
    let Measured { latency, verdict, .. } = measured;
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
