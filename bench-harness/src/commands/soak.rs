//! Hours of everything at once: load with rotation, the agent killed and restarted, the broker killed under it, the
//! configuration loaded again, valid and not; every line judged while it runs, and the agent watched for what grows.
//!
//! What happens when is decided by length and seed ([`schedule`]). Nothing may be lost, torn or out of order; a kill
//! may double what was in flight and nothing else may double anything; after each event the agent must catch up; and
//! memory, descriptors, threads and the state must stay level ([`watch`]). Disk is bounded: rotated files are deleted,
//! and the topic keeps the last gigabyte, which has been judged by then.

mod configuration;
mod flat;
mod page;
mod schedule;
mod show;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use logdrive_bench::verify::Verdict;
use serde::Serialize;

use self::configuration::Configuration;
use self::schedule::Due;
use self::show::{Boundary, Show};
use self::watch::{Judged, Running, Sample};
use crate::follow::{Followed, Follower};
use crate::load::{RotationArgs, Writing};
use crate::report::{Report, table, thousands, write_whole};
use crate::setup::{Setup, SetupArgs, progress};

const PATIENCE: Duration = Duration::from_secs(300);

/// After the last line the topic has not grown for so long: whatever was still to come has come.
const QUIET: Duration = Duration::from_secs(2);

/// A shorter soak lasts longer by what its events take: an outage, whose length is the machine's business, must not eat
/// the time in which growth is judged.
const PROLONGED_BELOW: Duration = Duration::from_secs(600);

/// A word to whoever waits, so often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// How long; below ten minutes it lasts longer by what its events take
    #[arg(long, default_value = "60m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Lines a second
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Files that are written
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    files: u32,
    #[command(flatten)]
    rotation: RotationArgs,
    /// Load only: no kill, no outage, no reload. Any agent can be soaked so
    #[arg(long)]
    calm: bool,
    /// Seed of all that happens
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Bytes of a line, its end not counted.
const LINE_BYTES: u64 = 200;

#[derive(Serialize)]
struct Figures {
    schema: u32,
    duration_s: f64,
    rate: u64,
    files: u32,
    seed: u64,
    lines: u64,
    records: u64,
    lives: u32,
    behind_s_max: f64,
    harness_rss_bytes_max: u64,
    topic_bytes: Option<u64>,
    verdict: Verdict,
    levels: Vec<Judged>,
    events: Vec<Boundary>,
    samples: Vec<Sample>,
}

pub(crate) fn run(args: &SoakArgs) -> Result<ExitCode> {
    ensure!(args.duration >= Duration::from_secs(1), "--duration is below a second");
    let setup = Setup::prepare(&args.setup, "soak")?;
    let mut report = setup.report();
    let dues = if args.calm { Vec::new() } else { schedule::plan(args.duration, args.seed) };
    if !args.calm {
        setup.broker.expect_own()?;
    }
    let figures = soak(args, &setup, &dues)?;
    judge(args, &figures, &mut report);
    let page = page::html(&figures, &report);
    write_whole(&setup.out.join("report.html"), page.as_bytes())?;
    let tables = tables(&figures);
    report.finish(&setup.out, &figures, &tables)
}

fn soak(args: &SoakArgs, setup: &Setup, dues: &[Due]) -> Result<Figures> {
    let (folder, state) = (setup.scratch("files"), setup.scratch("state"));
    std::fs::create_dir_all(&folder)?;
    let topic = setup.topic("soak");
    let (files, file) = (folder.join(&args.rotation.glob), folder.join("load-0.log"));
    let job = setup.job(&files, &file, &topic, &state);
    let path = setup.scratch("agent.toml");
    let (agent, configuration) = match setup.agent.configured_by(&path) {
        Some(agent) => {
            (agent, Some(Configuration::new(path, setup.cluster.brokers(), &topic, &files, &state)))
        }
        None => (setup.agent.clone(), None),
    };
    ensure!(
        args.calm || configuration.is_some(),
        "only the configuration of logdrive is known, to be loaded again; soak others with --calm"
    );
    let follower = Follower::start(setup, &agent, topic.clone(), args.files)?;
    let gauge = follower.gauge();
    let running = Arc::new(Running::default());
    let writing = Writing {
        folder: &folder,
        files: args.files,
        rate: args.rate,
        // Longer than it may take; it is stopped when everything is over.
        duration: args.duration * 2 + PATIENCE * (dues.len() as u32 + 1),
        line_bytes: &LINE_BYTES.to_string(),
        options: &args.rotation.options(),
    };
    let writer = setup.generator.start(&writing, &setup.log("generator"))?;
    let in_flight_lines_max = configuration::in_flight_lines_max(LINE_BYTES + 1);
    let mut show = Show::begin(setup, agent, job, configuration, follower, Arc::clone(&running), args.seed)?;
    show.in_flight_lines_max = in_flight_lines_max;
    let sampler = watch::start(args.duration, running, gauge, state.clone());
    let started = Instant::now();
    let mut said = Instant::now();
    let mut late = Duration::ZERO;
    for due in dues {
        show.wait_until(started + due.at + late)?;
        let begun = Instant::now();
        let line = show.perform(due.event)?;
        if args.duration < PROLONGED_BELOW {
            late += begun.elapsed();
        }
        if said.elapsed() >= PROGRESS_INTERVAL || args.duration < PROGRESS_INTERVAL * 4 {
            said = Instant::now();
            progress(format!("{:.0} s: {line}; {}", started.elapsed().as_secs_f64(), show.status()));
        }
    }
    show.wait_until(started + args.duration + late)?;
    let samples = sampler.finish();
    let journal = writer.stop(PATIENCE)?;
    setup.cluster.wait_until_quiet(&topic, 1, journal.header.lines, QUIET, PATIENCE)?;
    let topic_bytes = setup.broker.topic_bytes(&topic);
    let (follower, mut events, lives) = show.end(PATIENCE)?;
    let Followed { verdict, repeats, records } = follower.finish(setup, &journal, PATIENCE)?;
    setup.cluster.delete_topic(&topic)?;
    show::count(&mut events, &repeats);
    Ok(Figures {
        schema: 1,
        duration_s: args.duration.as_secs_f64(),
        rate: args.rate,
        files: args.files,
        seed: args.seed,
        lines: journal.header.lines,
        records,
        lives,
        behind_s_max: samples.iter().map(|sample| sample.behind_s).fold(0.0, f64::max),
        harness_rss_bytes_max: samples.iter().map(|sample| sample.harness_rss_bytes).max().unwrap_or(0),
        topic_bytes,
        verdict,
        levels: watch::judge(&samples),
        events,
        samples,
    })
}

fn judge(args: &SoakArgs, figures: &Figures, report: &mut Report) {
    // Whether the duplicates are too many is asked event by event, which is stricter.
    report.judge("the soak", &figures.verdict, figures.verdict.duplicated);
    // Records that are no whole lines stand among the repeats; with such, it is the verdict that says what is wrong.
    let whole = figures.verdict.torn + figures.verdict.foreign == 0;
    for event in figures.events.iter().filter(|event| whole && event.repeated > event.allowed) {
        report.fail(format!(
            "{:.0} s, {}: {} lines sent again, of which {} are allowed",
            event.at_s,
            event.what,
            thousands(event.repeated),
            thousands(event.allowed)
        ));
    }
    for judged in figures.levels.iter().filter(|judged| !judged.flat) {
        report.fail(judged.sentence());
    }
    if !figures.levels.iter().any(|judged| judged.life.is_some()) {
        report.fail(format!(
            "no life of the agent was as long as {:?}: whether it grows is not known; soak for longer",
            watch::LIFE_JUDGED_MIN
        ));
    }
    if let Some(kept) = args.rotation.kept()
        && figures.behind_s_max >= kept.as_secs_f64()
    {
        report.fail(format!(
            "the agent was {:.1} s behind, and rotated files are deleted after {:.0} s: what it lost proves nothing; \
             raise --keep or lower --rate",
            figures.behind_s_max,
            kept.as_secs_f64()
        ));
    }
}

impl Figures {
    /// The verdict and what was done, in two columns.
    fn rows(&self) -> Vec<[String; 2]> {
        let of = |kind: &str| self.events.iter().filter(|event| event.kind == kind).count().to_string();
        let allowed: u64 = self.events.iter().map(|event| event.allowed).sum();
        let rows = [
            ("minutes", format!("{:.1}", self.duration_s / 60.0)),
            ("lines/s", thousands(self.rate)),
            ("lines", thousands(self.lines)),
            ("lost", thousands(self.verdict.lost)),
            ("torn or foreign", thousands(self.verdict.torn + self.verdict.foreign)),
            ("reordered first occurrences", thousands(self.verdict.reordered)),
            ("duplicated", thousands(self.verdict.duplicated)),
            ("allowed after kills", thousands(allowed)),
            ("kills of the agent while the broker was there", of("kill")),
            ("kills of the agent while the broker was away", of("kill while away")),
            ("restarts of the agent", of("restart")),
            ("kills of the broker", of("bounce")),
            (
                "reloads, changed / unchanged / refused",
                ["changed", "unchanged", "refused"].map(of).join(" / "),
            ),
            ("furthest behind, s", format!("{:.1}", self.behind_s_max)),
            ("peak memory of the judge, MiB", format!("{:.1}", watch::mib(self.harness_rss_bytes_max))),
            (
                "topic on disk at the end, MiB",
                self.topic_bytes.map_or("-".to_owned(), |bytes| format!("{:.0}", watch::mib(bytes))),
            ),
        ];
        rows.map(|(what, value)| [what.to_owned(), value]).to_vec()
    }

    /// How level everything stayed.
    fn level_rows(&self) -> Vec<[String; 6]> {
        let row = |judged: &Judged| {
            [
                judged.what.to_owned(),
                judged.life.map_or("all".to_owned(), |life| life.to_string()),
                format!("{:.0}", judged.window_s),
                format!("{:.1} {}", judged.level.median, judged.unit).trim_end().to_owned(),
                format!("{:+.2}", judged.level.growth),
                format!("{:.2}", judged.level.allowed),
            ]
        };
        self.levels.iter().map(row).collect()
    }
}

const LEVEL_HEADER: [&str; 6] = ["second half of a life", "life", "s", "level", "growth", "allowed"];

fn tables(figures: &Figures) -> String {
    format!(
        "{}\n\nDuplicates are counted for each event and must not exceed what was in flight at a kill; after \
         anything else there may be none.\n\n{}\n\nGrowth is the slope of Theil and Sen over the second half of each \
         life of {} s or more, times its length; of the state, over the second half of the soak.\n\n\
         Over time: report.html\n",
        table(["what", "value"], figures.rows()),
        table(LEVEL_HEADER, figures.level_rows()),
        watch::LIFE_JUDGED_MIN.as_secs(),
    )
}
