//! Ten thousand files at once, each written a little: fairness, descriptors and memory, not speed.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::agent::{Job, scrape};
use crate::broker::free_neighbour_ports;
use crate::interrupt;
use crate::load::Writing;
use crate::process::Usage;
use crate::report::{MachineWatch, Warning, mib, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};

const PATIENCE: Duration = Duration::from_secs(60);

/// The agent may look at all files before the first line is written.
const AGENT_SETTLES: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct ManyArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Files written side by side
    #[arg(long, default_value_t = 10_000)]
    files: u32,
    /// Lines a second into each file
    #[arg(long, default_value_t = 10)]
    rate: u64,
    /// How long they are written
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Partitions of the topic
    #[arg(long, default_value_t = 4)]
    partitions: i32,
}

#[derive(Serialize)]
struct Figures {
    files: u32,
    rate_per_file: u64,
    lines: u64,
    /// From the agent's start to its end.
    wall_s: f64,
    /// From the last line's write until all lines were in the topic.
    behind_s: f64,
    cpu_us_per_line: f64,
    /// The most that was seen on the metrics page, once a second; none without such a page.
    in_flight_bytes_max: Option<u64>,
    usage: Usage,
    verdict: Verdict,
}

pub(crate) fn run(args: &ManyArgs) -> Result<ExitCode> {
    ensure!(args.files > 0 && args.rate > 0, "--files and --rate begin at 1");
    let setup = Setup::prepare(&args.setup, "many")?;
    let mut report = setup.report();
    let (folder, topic, state) = (setup.scratch("files"), setup.topic("many"), setup.scratch("state"));
    std::fs::create_dir_all(&folder)?;
    setup.cluster.create_topic(&topic, args.partitions)?;
    let (files, file) = (folder.join("*.log"), folder.join("load-0.log"));
    let http = SocketAddr::from(([127, 0, 0, 1], free_neighbour_ports(1)?));
    let job = Job { http: Some(http), ..setup.job(&files, &file, &topic, &state) };
    let watch = MachineWatch::begin();
    let mut agent = setup.agent.start(&job, &setup.log("agent"))?;
    interrupt::pause(AGENT_SETTLES)?;
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate: u64::from(args.files) * args.rate,
        duration: args.duration,
        line_bytes: "200",
        options: &[],
    };
    let mut writer = setup.generator.start(&writing, &setup.log("generator"))?;
    let mut in_flight_bytes_max = None;
    while writer.child.poll()?.is_none() {
        let in_flight = scrape(http, "logdrive_in_flight_bytes").map(|bytes| bytes as u64);
        in_flight_bytes_max = in_flight_bytes_max.max(in_flight);
        agent.expect_running()?;
        interrupt::pause(Duration::from_secs(1))?;
    }
    let written = Instant::now();
    let journal = writer.finish(PATIENCE)?;
    let lines = journal.header.lines;
    progress(format!("{} lines written", thousands(lines)));
    setup.cluster.wait_for_count(&topic, args.partitions, lines, PATIENCE, |_| agent.expect_running())?;
    let behind_s = written.elapsed().as_secs_f64();
    let wall_s = agent.started().elapsed().as_secs_f64();
    let exit = agent.terminate(PATIENCE)?;
    watch.end("the run", None).into_iter().for_each(|warning| report.warn(warning));
    if journal.header.pace.lines_late > 0 {
        let late_ms = journal.header.pace.lateness_max_ns as f64 / 1e6;
        let lines = journal.header.pace.lines_late;
        report.warn(Warning::GeneratorLate { during: "the run".to_owned(), late_ms, lines });
    }
    let verdict = setup.judge(&topic, &journal)?;
    report.judge("many files", &verdict, 0);
    let figures = Figures {
        files: args.files,
        rate_per_file: args.rate,
        lines,
        wall_s,
        behind_s,
        cpu_us_per_line: exit.usage.cpu_s() * 1e6 / lines.max(1) as f64,
        in_flight_bytes_max,
        usage: exit.usage,
        verdict,
    };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn tables(figures: &Figures) -> String {
    let rows = [
        ("files", thousands(figures.files.into())),
        ("lines/s into each", thousands(figures.rate_per_file)),
        ("lines", thousands(figures.lines)),
        ("all in the topic s after the last write", format!("{:.2}", figures.behind_s)),
        ("CPU us/line, whole life", format!("{:.2}", figures.cpu_us_per_line)),
        ("CPU % of a core", format!("{:.1}", figures.usage.cpu_s() / figures.wall_s * 100.0)),
        ("peak RSS MiB", mib(figures.usage.rss_bytes_max)),
        ("most in flight MiB, seen once a second", figures.in_flight_bytes_max.map_or("-".to_owned(), mib)),
        ("lost", thousands(figures.verdict.lost)),
        ("duplicated", thousands(figures.verdict.duplicated)),
        ("reordered", thousands(figures.verdict.reordered)),
        ("torn", thousands(figures.verdict.torn)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}
