//! Whether a change made the agent slower: two binaries, or two revisions, measured against each other.
//!
//! A gate for continuous integration on machines that are never quiet. Old and new take turns, A B B A, and each
//! turn is two measurements: a backlog drained as fast as it goes (CPU per line, throughput) and an open-loop
//! load (p99). Each figure is the median of the paired ratios with its bootstrap interval. The gate fails
//! only when a whole interval is worse than the threshold, and says so when the noise is too big to tell; how it
//! judges is in `verdict`. Instruction counts (`--instructions`) know no noise, and stand beside it.

mod summary;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use self::verdict::{Good, Outcome, Verdict, judge};
use crate::agent::Agent;
use crate::counts::Change;
use crate::drain::{Drain, Ending};
use crate::load::Backlog;
use crate::paired::{self, PAIRS_MIN, Paired, Side, order_of};
use crate::profile;
use crate::report::{self, Environment, Report, Warning};
use crate::revision::{Commit, Workshop};
use crate::setup::{Setup, SiteArgs, progress};
use crate::stats::Interval;
use crate::trial::{Load, Trial};

/// Nobody drains slower than this without something being wrong.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// The exit code of `--strict` where nobody can tell; 2 is that of errors.
const EXIT_INCONCLUSIVE: u8 = 3;

#[derive(Args, Debug)]
pub(crate) struct RegressArgs {
    #[command(flatten)]
    site: SiteArgs,
    /// The logdrive binary to compare with
    #[arg(long, value_name = "PATH", required_unless_present = "old_rev", conflicts_with = "old_rev")]
    old: Option<PathBuf>,
    /// The logdrive binary that may have become slower
    #[arg(long, value_name = "PATH", required_unless_present = "new_rev", conflicts_with = "new_rev")]
    new: Option<PathBuf>,
    /// The git revision to compare with; it is built below .cache/regress
    #[arg(long, value_name = "REVISION")]
    old_rev: Option<String>,
    /// The git revision that may have become slower
    #[arg(long, value_name = "REVISION")]
    new_rev: Option<String>,
    /// Pairs of runs, at least 5
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// Percent by which a figure may be worse
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    threshold: f64,
    /// End with code 3 when the noise is too big to tell
    #[arg(long)]
    strict: bool,
    /// Count the instructions of the hot path of both revisions too, or nothing else
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "also")]
    instructions: Option<Instructions>,
    /// Lines of the backlog
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Bytes of a line, its end not counted: a number, or a range such as 100..300
    #[arg(long, default_value = "200")]
    line_bytes: String,
    /// Lines a second while p99 is measured
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// How long p99 is measured in each run
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long that load runs before it counts
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Lines to send before anything counts: a broker's first millions cost double
    #[arg(long, default_value_t = 4_000_000)]
    warm_lines: u64,
    /// Where the summary in Markdown goes [default: appended to $GITHUB_STEP_SUMMARY if that is set]
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Instructions {
    Also,
    Only,
}

/// One turn of one side.
#[derive(Serialize)]
struct Run {
    pair: u32,
    side: Side,
    /// Of the drained backlog.
    cpu_us_per_line: f64,
    lines_per_second: f64,
    /// Of the open-loop load.
    p99_ms: f64,
}

impl Paired for Run {
    fn pair(&self) -> u32 {
        self.pair
    }

    fn side(&self) -> Side {
        self.side
    }
}

/// One figure of both sides.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    good: Good,
    /// Medians of the runs.
    old: f64,
    new: f64,
    /// New over old, paired.
    ratio: Interval,
    verdict: Verdict,
}

#[derive(Serialize)]
struct Figures {
    outcome: Outcome,
    threshold: f64,
    old: String,
    new: String,
    pairs: u32,
    figures: Vec<Figure>,
    instructions_per_line: Vec<Change>,
    runs: Vec<Run>,
}

/// One of the two, as it was asked for.
enum Candidate {
    Binary(PathBuf),
    Revision(Commit),
}

pub(crate) fn run(args: &RegressArgs) -> Result<ExitCode> {
    let threshold = args.threshold / 100.0;
    ensure!(
        (0.0..1.0).contains(&threshold),
        "--threshold {} is no share in percent below 100",
        args.threshold
    );
    ensure!(
        args.lines > 0 && args.rate > 0 && !args.duration.is_zero(),
        "nothing is measured without lines and time"
    );
    let by_time = args.instructions != Some(Instructions::Only);
    if by_time && args.pairs < PAIRS_MIN {
        bail!("--pairs {}: an interval needs at least {PAIRS_MIN} pairs", args.pairs);
    }
    let workshop = match args.old_rev.is_some() || args.new_rev.is_some() {
        true => Some(Workshop::open()?),
        false => None,
    };
    let candidates = [
        Candidate::choose(args.old.as_deref(), args.old_rev.as_deref(), workshop.as_ref())?,
        Candidate::choose(args.new.as_deref(), args.new_rev.as_deref(), workshop.as_ref())?,
    ];
    let changes = match args.instructions {
        Some(_) => count(&candidates, workshop.as_ref())?,
        None => Vec::new(),
    };
    let logdrive = profile::find(profile::LOGDRIVE).map_err(anyhow::Error::msg)?;
    let (mut report, out, runs) = if by_time {
        let binaries = [candidates[0].binary(workshop.as_ref())?, candidates[1].binary(workshop.as_ref())?];
        let [old, new] = binaries.map(|path| Agent::known(logdrive, Some(&path), None));
        let setup = Setup::of(new?, &args.site, "regress")?;
        let mut report = setup.report();
        let runs = measure(args, &setup, &old?, &mut report)?;
        (report, setup.out.clone(), runs)
    } else {
        let out = args.site.out_folder("regress")?;
        std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        (Report::new("regress", Environment::observe(None, "none".to_owned())), out, Vec::new())
    };
    let figures = judge_all(&runs, threshold);
    let counted = changes.iter().map(|change| match change.ratio() {
        _ if change.is_worse(threshold) => Verdict::Worse,
        _ => Verdict::Same,
    });
    let outcome = Outcome::of(figures.iter().map(|figure| figure.verdict).chain(counted));
    complain(&mut report, &figures, &changes, threshold);
    let [old, new] = candidates.map(|candidate| candidate.to_string());
    let pairs = if by_time { args.pairs } else { 0 };
    let all = Figures { outcome, threshold, old, new, pairs, figures, instructions_per_line: changes, runs };
    let lost = report.has_failed() && outcome != Outcome::Regression;
    summary::write(&summary::page(&all, lost), args.summary.as_deref())?;
    let code = report.finish(&out, &all, &summary::tables(&all))?;
    Ok(match outcome {
        Outcome::Inconclusive if args.strict && !lost => ExitCode::from(EXIT_INCONCLUSIVE),
        _ => code,
    })
}

impl Candidate {
    fn choose(path: Option<&Path>, revision: Option<&str>, workshop: Option<&Workshop>) -> Result<Candidate> {
        match (path, revision, workshop) {
            (Some(path), ..) => {
                expect_logdrive(path)?;
                Ok(Candidate::Binary(path.to_owned()))
            }
            (None, Some(revision), Some(workshop)) => Ok(Candidate::Revision(workshop.resolve(revision)?)),
            _ => {
                bail!("a side of the comparison is missing; name --old or --old-rev, and --new or --new-rev")
            }
        }
    }

    fn binary(&self, workshop: Option<&Workshop>) -> Result<PathBuf> {
        match (self, workshop) {
            (Candidate::Binary(path), _) => Ok(path.clone()),
            (Candidate::Revision(commit), Some(workshop)) => workshop.binary(commit),
            (Candidate::Revision(_), None) => unreachable!("a revision was resolved in a workshop"),
        }
    }
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Candidate::Binary(path) => write!(f, "{}", path.display()),
            Candidate::Revision(commit) => write!(f, "{commit}"),
        }
    }
}

/// A binary that cannot say that it is logdrive is none.
fn expect_logdrive(path: &Path) -> Result<()> {
    let output = Command::new(std::path::absolute(path)?).arg("--version").output();
    let output =
        output.with_context(|| format!("{} cannot be run; is it a logdrive binary?", path.display()))?;
    let version = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && version.starts_with("logdrive "),
        "{} is no logdrive binary: `--version` says `{}`",
        path.display(),
        version.lines().next().unwrap_or_default()
    );
    Ok(())
}

/// The instruction counts of both, which must be revisions: the benches are built from sources.
fn count(candidates: &[Candidate; 2], workshop: Option<&Workshop>) -> Result<Vec<Change>> {
    match (candidates, workshop) {
        ([Candidate::Revision(old), Candidate::Revision(new)], Some(workshop)) => {
            workshop.counts(old)?.changes(&workshop.counts(new)?)
        }
        _ => bail!(
            "--instructions counts what benches do that are built from sources; name both sides as revisions, \
             --old-rev and --new-rev"
        ),
    }
}

/// All turns of both sides.
fn measure(args: &RegressArgs, setup: &Setup, old: &Agent, report: &mut Report) -> Result<Vec<Run>> {
    let backlog = setup.generator.backlog(&setup.inputs, args.lines, &args.line_bytes)?;
    setup.warm_broker(args.warm_lines)?;
    let mut runs = Vec::new();
    for pair in 1..=args.pairs {
        for side in order_of(pair) {
            let agent = if side == Side::A { old } else { &setup.agent };
            let run = turn(args, setup, &backlog, agent, pair, side, report)?;
            progress(format!(
                "pair {pair}/{}: {}: {:.3} us/line, {:.2} M lines/s, p99 {:.2} ms",
                args.pairs,
                name_of(side),
                run.cpu_us_per_line,
                run.lines_per_second / 1e6,
                run.p99_ms
            ));
            runs.push(run);
        }
    }
    Ok(runs)
}

fn turn(
    args: &RegressArgs,
    setup: &Setup,
    backlog: &Backlog,
    agent: &Agent,
    pair: u32,
    side: Side,
    report: &mut Report,
) -> Result<Run> {
    let name = format!("pair {pair}, {}", name_of(side));
    let drain = Drain {
        setup,
        backlog,
        part: format!("{pair}-{}", name_of(side)),
        stuck_after: STUCK_AFTER,
        verify: None,
        ending: Ending::OnRequest,
    };
    let drained = drain.run(|job, log| agent.start(job, log))?;
    if drained.lines_in_topic != backlog.lines() {
        let (held, lines) = (drained.lines_in_topic, backlog.lines());
        report.fail(format!("{name}: the topic holds {held} lines instead of {lines}"));
    }
    let lines = backlog.lines() as f64;
    let load = Load {
        rate: args.rate,
        files: 1,
        line_bytes: args.line_bytes.clone(),
        options: Vec::new(),
        glob: "*.log".to_owned(),
    };
    let (warm_up, duration) = (args.warm_up, args.duration);
    let trial = Trial { name: format!("{name}, load"), agent, load, partitions: 1, warm_up, duration };
    let p99_ms = trial.run(setup, report)?.latency.p99_ms;
    let cpu_us_per_line = drained.usage.cpu_s() * 1e6 / lines;
    Ok(Run { pair, side, cpu_us_per_line, lines_per_second: lines / drained.wall_s, p99_ms })
}

fn name_of(side: Side) -> &'static str {
    match side {
        Side::A => "old",
        Side::B => "new",
    }
}

fn judge_all(runs: &[Run], threshold: f64) -> Vec<Figure> {
    let figure = |name, good, value: fn(&Run) -> f64| {
        let ratio = paired::ratio(runs, value)?;
        let (old, new) = (paired::median_of(runs, Side::A, value)?, paired::median_of(runs, Side::B, value)?);
        Some(Figure { name, good, old, new, ratio, verdict: judge(ratio, good, threshold) })
    };
    [
        figure("CPU us per line", Good::Less, |run| run.cpu_us_per_line),
        figure("throughput, lines/s", Good::More, |run| run.lines_per_second),
        figure("p99 ms", Good::Less, |run| run.p99_ms),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is worse fails the run, what is unclear is a warning.
fn complain(report: &mut Report, figures: &[Figure], changes: &[Change], threshold: f64) {
    for Figure { name, ratio, verdict, .. } in figures {
        match verdict {
            Verdict::Worse => report.fail(format!("{name} is worse: new / old {ratio}")),
            Verdict::Inconclusive => {
                report.warn(Warning::IntervalWide { of: name, low: ratio.low, high: ratio.high });
            }
            Verdict::Better | Verdict::Same => {}
        }
    }
    for change in changes.iter().filter(|change| change.is_worse(threshold)) {
        report.fail(change.to_string());
    }
}

impl Figures {
    /// What the two sides were called and how they were compared, for people.
    fn caption(&self) -> String {
        let time = match self.pairs {
            0 => "instruction counts only".to_owned(),
            pairs => format!("{pairs} pairs, old and new in turns"),
        };
        let percent = self.threshold * 100.0;
        format!("old `{}`, new `{}`; {time}; threshold {percent} %; {}", self.old, self.new, report::date())
    }
}
