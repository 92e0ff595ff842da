//! The agent is killed at random moments, again and again, and started again with the state it had kept.
//!
//! SIGKILL leaves no time to write anything, so what survives is what the agent had already remembered. At the end
//! every line must be in the topic, whole and in order of first occurrence. Duplicates are allowed, but only of
//! what was in flight: sent, and not yet remembered as acknowledged. They are counted for each kill: a line
//! that is in the topic a second time, behind the watermark of kill N and before that of kill N + 1, was
//! sent again after kill N.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use crate::agent::{Job, scrape};
use crate::broker::free_neighbour_ports;
use crate::interrupt;
use crate::judge::judge_topic;
use crate::load::Writing;
use crate::report::{Report, table, thousands};
use crate::setup::{Setup, SetupArgs, progress};
use crate::stats::Rng;

const PATIENCE: Duration = Duration::from_secs(120);

/// After a kill, requests on their way may still be written. The topic is at rest when it has not grown for so long.
const AFTER_KILL_QUIET: Duration = Duration::from_millis(30);

/// After the last line: whatever was still to come has come.
const QUIET: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// How often the agent is killed
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Lines a second
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Files that are written
    #[arg(long, default_value_t = 1)]
    files: u32,
    /// How the files are rotated
    #[arg(long, value_enum, default_value_t = Rotate::Rename)]
    rotate: Rotate,
    /// How often they are rotated
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    rotate_every: Duration,
    /// Which files the agent shall ship; *.log leaves the rotated ones outside
    #[arg(long, default_value = "*.log*")]
    glob: String,
    /// The agent lives at least this long
    #[arg(long, default_value = "200ms", value_parser = humantime::parse_duration)]
    life_min: Duration,
    /// The agent lives at most this long
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    life_max: Duration,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Rotate {
    None,
    Rename,
}

/// One life of the agent.
#[derive(Debug, Default, Serialize)]
struct Kill {
    lived_s: f64,
    /// From the metrics page just before the kill; none without such a page.
    in_flight_lines: Option<u64>,
    /// Records in the topic once it was at rest.
    watermark: u64,
    /// Lines that were sent again by the next life.
    duplicated: u64,
}

#[derive(Serialize)]
struct Figures {
    rate: u64,
    seed: u64,
    lines: u64,
    duplicated: u64,
    duplicated_per_kill_max: u64,
    kills_without_duplicates: usize,
    verdict: Verdict,
    kills: Vec<Kill>,
}

pub(crate) fn run(args: &KillArgs) -> Result<ExitCode> {
    ensure!(args.rate > 0 && args.files > 0, "--rate and --files begin at 1");
    ensure!(args.life_min <= args.life_max, "--life-min is above --life-max");
    let setup = Setup::prepare(&args.setup, "kill")?;
    let mut report = setup.report();
    let (folder, topic, state) = (setup.scratch("files"), setup.topic("kill"), setup.scratch("state"));
    std::fs::create_dir_all(&folder)?;
    setup.cluster.create_topic(&topic, 1)?;
    let (files, file) = (folder.join(&args.glob), folder.join("load-0.log"));
    let job = setup.job(&files, &file, &topic, &state);

    let period = humantime::format_duration(args.rotate_every).to_string().replace(' ', "");
    let rotation = ["--rotate", "rename", "--rotate-every", &period];
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate: args.rate,
        // Longer than the kills take; it is stopped when they are over.
        duration: PATIENCE + (args.life_max + Duration::from_secs(2)) * args.kills,
        line_bytes: "200",
        options: if args.rotate == Rotate::Rename { &rotation } else { &[] },
    };
    let writer = setup.generator.start(&writing, &setup.log("generator"))?;
    let mut rng = Rng::seeded(args.seed);
    let mut kills = Vec::new();
    for number in 1..=args.kills {
        kills.push(live_and_die(&setup, args, &job, &mut rng)?);
        if number % 10 == 0 || number == args.kills {
            progress(format!("{number} of {} kills", args.kills));
        }
    }
    let mut agent = setup.agent.start(&job, &setup.log("agent-last"))?;
    let journal = writer.stop(PATIENCE)?;
    setup.cluster.wait_until_quiet(&topic, 1, journal.header.lines, QUIET, PATIENCE)?;
    agent.terminate(PATIENCE)?;

    let verdict =
        judge_topic(setup.cluster.brokers(), &topic, &journal, |offset| attribute(&mut kills, offset))?;
    report.judge("the kills", &verdict, verdict.duplicated);
    judge_bound(&kills, &mut report);
    let figures = Figures {
        rate: args.rate,
        seed: args.seed,
        lines: journal.header.lines,
        duplicated: verdict.duplicated,
        duplicated_per_kill_max: kills.iter().map(|kill| kill.duplicated).max().unwrap_or(0),
        kills_without_duplicates: kills.iter().filter(|kill| kill.duplicated == 0).count(),
        verdict,
        kills,
    };
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

/// One life: started with the kept state, killed at a random moment, and waited for until the topic rests.
fn live_and_die(setup: &Setup, args: &KillArgs, job: &Job<'_>, rng: &mut Rng) -> Result<Kill> {
    let spread = (args.life_max - args.life_min).as_nanos() as u64;
    let life = args.life_min + Duration::from_nanos(rng.below(spread + 1));
    let http = SocketAddr::from(([127, 0, 0, 1], free_neighbour_ports(1)?));
    let mut agent = setup.agent.start(&Job { http: Some(http), ..*job }, &setup.log("agent"))?;
    interrupt::pause_until(agent.started() + life)?;
    let in_flight_lines = scrape(http, "logdrive_in_flight_lines").map(|lines| lines as u64);
    // An agent that ended by itself would make every number after this one meaningless.
    agent.expect_running()?;
    let lived_s = agent.started().elapsed().as_secs_f64();
    agent.kill()?;
    let watermark = setup.cluster.wait_until_quiet(job.topic, 1, 0, AFTER_KILL_QUIET, PATIENCE)?;
    Ok(Kill { lived_s, in_flight_lines, watermark, duplicated: 0 })
}

/// Gives a repeated line, by its offset, to the kill after which it was sent.
fn attribute(kills: &mut [Kill], offset: u64) {
    // A repeat before the first kill's watermark has no kill to blame; the total shows it.
    let behind = kills.partition_point(|kill| kill.watermark <= offset);
    if let Some(kill) = behind.checked_sub(1).and_then(|index| kills.get_mut(index)) {
        kill.duplicated += 1;
    }
}

/// Between the look at the metrics and the kill, lines move on; what a moment's load adds is forgiven.
const BOUND_SLACK_LINES: u64 = 2000;

fn judge_bound(kills: &[Kill], report: &mut Report) {
    for (index, kill) in kills.iter().enumerate() {
        if let Some(in_flight) = kill.in_flight_lines
            && kill.duplicated > in_flight + BOUND_SLACK_LINES
        {
            let (number, duplicated) = (index + 1, kill.duplicated);
            report.fail(format!(
                "kill {number}: {duplicated} lines sent again, but only {in_flight} were in flight"
            ));
        }
    }
}

fn tables(figures: &Figures) -> String {
    let in_flight_max = figures.kills.iter().filter_map(|kill| kill.in_flight_lines).max();
    let rows = [
        ("kills", figures.kills.len().to_string()),
        ("lines/s", thousands(figures.rate)),
        ("lines", thousands(figures.lines)),
        ("lost", thousands(figures.verdict.lost)),
        ("torn", thousands(figures.verdict.torn)),
        ("reordered first occurrences", thousands(figures.verdict.reordered)),
        ("duplicated", thousands(figures.duplicated)),
        ("duplicated by one kill, at most", thousands(figures.duplicated_per_kill_max)),
        ("kills without a duplicate", figures.kills_without_duplicates.to_string()),
        ("in flight before a kill, at most, lines", in_flight_max.map_or("-".to_owned(), thousands)),
    ];
    table(["what", "value"], rows.map(|(what, value)| [what.to_owned(), value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill_at(watermark: u64) -> Kill {
        Kill { watermark, ..Kill::default() }
    }

    #[test]
    fn a_repeat_belongs_to_the_last_kill_before_it() {
        let mut kills = [kill_at(100), kill_at(250), kill_at(250), kill_at(400)];
        [100, 249, 250, 399, 400, 10_000].into_iter().for_each(|offset| attribute(&mut kills, offset));
        let duplicated: Vec<u64> = kills.iter().map(|kill| kill.duplicated).collect();
        assert_eq!(duplicated, [2, 0, 2, 2]);
    }

    #[test]
    fn a_repeat_before_every_kill_is_nobodys() {
        let mut kills = [kill_at(100)];
        [3, 99].into_iter().for_each(|offset| attribute(&mut kills, offset));
        assert_eq!(kills[0].duplicated, 0);
    }
}
