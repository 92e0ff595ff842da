//! How fast the harness's own consumer drains a topic, on one core: beyond that it would measure itself.
//!
//! The consumer does all that it does in a trial: it receives, checks and books every line and records its
//! latency. It and librdkafka's threads are kept to one core; the broker has the others.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use logdrive_bench::verify::{Framing, Verdict};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::interrupt;
use crate::minimal;
use crate::process::Child;
use crate::procfs;
use crate::receiver::{Received, Receiver};
use crate::recorder::Recorder;
use crate::report::{MachineWatch, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};

const SEND_PATIENCE: Duration = Duration::from_secs(600);
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

#[derive(Args, Debug)]
pub(crate) struct ConsumerArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Lines in the topic
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// Bytes of a line, its end not counted
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// How often the topic is drained
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
}

/// One drain.
#[derive(Debug, Serialize)]
struct Drain {
    seconds: f64,
    lines_per_second: f64,
    /// Of the whole harness, librdkafka's threads included.
    cpu_us_per_line: f64,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Figures {
    lines: u64,
    drains: Vec<Drain>,
}

pub(crate) fn run(args: &ConsumerArgs) -> Result<ExitCode> {
    let setup = Setup::prepare(&args.setup, "consumer")?;
    let mut report = setup.report();
    let backlog = setup.generator.backlog(&setup.inputs, args.lines, &args.line_bytes)?;
    let topic = setup.topic("drain");
    setup.cluster.create_topic(&topic, 1)?;
    progress(format!("sending {} lines", thousands(args.lines)));
    let mut command = minimal::command(&backlog.file, &topic, setup.cluster.brokers(), &[])?;
    Child::spawn("the sender", &mut command, &setup.log("sender"))?.finish(SEND_PATIENCE)?;
    let mut drains = Vec::new();
    for number in 1..=args.times {
        let name = format!("drain {number}");
        let watch = MachineWatch::begin();
        let header = &backlog.journal.header;
        let recorder = Recorder::new(header.start_ns..header.end_ns + 1);
        let (drain, received) = OneCore::hold(|| drain(&setup, &topic, recorder, args.lines))?;
        // The broker is busy as well, and its share is not known here: only stolen time can be judged.
        watch.end(&name, None).into_iter().for_each(|warning| report.warn(warning));
        let verdict = received.ledger.verdict(&backlog.journal);
        report.judge(&name, &verdict, 0);
        progress(format!("{name}: {} lines/s", thousands(drain.lines_per_second as u64)));
        drains.push(Drain { verdict, ..drain });
    }
    setup.cluster.delete_topic(&topic)?;
    let figures = Figures { lines: args.lines, drains };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

/// Drains the topic from its beginning; the clock runs from the first record to the last.
fn drain(setup: &Setup, topic: &str, recorder: Recorder, lines: u64) -> Result<(Drain, Received)> {
    let own = std::process::id() as i32;
    let mut receiver = Receiver::start(setup.cluster.brokers(), topic, Framing::Line, recorder)?;
    while receiver.records() == 0 {
        receiver.expect_receiving()?;
        interrupt::pause(LOOK_INTERVAL)?;
    }
    let (before, cpu_before, started) = (receiver.records(), procfs::cpu_time(own)?, Instant::now());
    receiver.await_count(lines, DRAIN_PATIENCE)?;
    let (cpu, took) = (procfs::cpu_time(own)?.saturating_sub(cpu_before), started.elapsed());
    ensure!(receiver.records() >= lines, "only {} of {lines} lines came", receiver.records());
    let drained = (lines - before).max(1) as f64;
    let drain = Drain {
        seconds: took.as_secs_f64(),
        lines_per_second: drained / took.as_secs_f64().max(1e-9),
        cpu_us_per_line: cpu.as_secs_f64() * 1e6 / drained,
        verdict: Verdict::default(),
    };
    Ok((drain, receiver.finish()?))
}

/// Keeps this thread, and all that it starts, to one core until it is dropped.
struct OneCore {
    before: CpuSet,
}

impl OneCore {
    fn hold<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = sched_getaffinity(None).context("cannot ask for the cores of this process")?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&core| before.is_set(core)).unwrap_or(0);
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(None, &one).context("cannot keep the consumer to one core")?;
        let _held = OneCore { before };
        work()
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // What was allowed before is allowed still.
        let _ = sched_setaffinity(None, &self.before);
    }
}

fn tables(figures: &Figures) -> String {
    let rows = figures.drains.iter().enumerate().map(|(index, drain)| {
        [
            (index + 1).to_string(),
            format!("{:.2}", drain.seconds),
            thousands(drain.lines_per_second as u64),
            format!("{:.3}", drain.cpu_us_per_line),
        ]
    });
    let measured = table(["drain", "seconds", "lines/s on one core", "CPU us/line"], rows);
    format!(
        "{} lines, received, checked and recorded by the harness's consumer on one core.\n\n{measured}\n",
        thousands(figures.lines)
    )
}
