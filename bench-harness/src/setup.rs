//! What every command needs before it can measure: a broker, an agent, a generator, and places for files.
//!
//! Three places: `out` is kept and holds the report and the logs of everything that ran; the scratch folder
//! holds states, backlogs and the broker's data, and goes when the run ends; `inputs` holds generated files that
//! are large and always the same, and stays for the next run.

use std::path::{Path, PathBuf};

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use logdrive_bench::verify::Verdict;
use logdrive_load::journal::Journal;

use crate::agent::{Agent, AgentArgs, Job};
use crate::broker::Broker;
use crate::interrupt;
use crate::judge::judge_topic;
use crate::kafka::Cluster;
use crate::load::Generator;
use crate::minimal;
use crate::process::Child;
use crate::report::{self, Environment, RUN_FILE, Report, thousands};

/// The options that all measuring commands share.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    agent: AgentArgs,
    #[command(flatten)]
    site: SiteArgs,
}

/// The options of a place to measure at, whichever agent it is for.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SiteArgs {
    /// Measure against a running cluster instead of starting a broker
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// The script that starts a broker
    #[arg(long, value_name = "PATH", default_value = "scripts/kafka")]
    kafka: PathBuf,
    /// The logdrive-load binary; by default the one beside this binary
    #[arg(long, value_name = "PATH")]
    load: Option<PathBuf>,
    /// Folder of the report; must not hold one [default: results/<date>-local-<command>, numbered from the second on]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of everything large: backlogs, states, the broker's data
    #[arg(long, value_name = "DIR", default_value = ".cache/bench")]
    work: PathBuf,
}

impl SiteArgs {
    /// Where the report of a command goes.
    pub(crate) fn out_folder(&self, command: &str) -> Result<PathBuf> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => fresh_folder(Path::new("results"), &format!("{}-local-{command}", report::date())),
        };
        // What stands in a folder must be of one run: a failed one would leave half of the old report.
        ensure!(
            !out.join(RUN_FILE).exists(),
            "{} holds a run already; name another folder (`--out DIR`), or remove it",
            out.display()
        );
        Ok(out)
    }
}

/// Everything that a measuring command works with. Dropping it stops the broker and removes the scratch folder.
pub(crate) struct Setup {
    pub(crate) agent: Agent,
    pub(crate) generator: Generator,
    pub(crate) cluster: Cluster,
    pub(crate) broker: Broker,
    /// Where the report goes.
    pub(crate) out: PathBuf,
    /// Large generated files that later runs use again.
    pub(crate) inputs: PathBuf,
    command: &'static str,
    scratch: Scratch,
}

impl Setup {
    pub(crate) fn prepare(args: &SetupArgs, command: &'static str) -> Result<Setup> {
        Setup::of(Agent::choose(&args.agent)?, &args.site, command)
    }

    /// A setup for an agent that is already chosen.
    pub(crate) fn of(agent: Agent, args: &SiteArgs, command: &'static str) -> Result<Setup> {
        // Only now: a command that starts nothing may be ended by a signal as usual.
        interrupt::listen()?;
        // What can be wrong with the command line shows before a broker is started.
        let generator = Generator::find(args.load.as_deref())?;
        let out = args.out_folder(command)?;
        let work = std::path::absolute(&args.work)?;
        let inputs = work.join("inputs");
        for folder in [&out.join("logs"), &inputs] {
            create_folder(folder)?;
        }
        let scratch = Scratch::create(work.join(format!("{command}-{}", std::process::id())))?;
        let broker = match &args.brokers {
            Some(brokers) => Broker::existing(brokers),
            None => {
                progress("starting a broker");
                Broker::start(&args.kafka, &scratch.0, &out.join("logs"))?
            }
        };
        let cluster = Cluster::connect(broker.brokers())?;
        cluster.expect_reachable()?;
        Ok(Setup { agent, generator, cluster, broker, out, inputs, command, scratch })
    }

    /// Sends at least so many lines through the broker before anything is measured.
    pub(crate) fn warm_broker(&self, lines: u64) -> Result<()> {
        if lines == 0 {
            return Ok(());
        }
        let backlog = self.generator.backlog(&self.inputs, WARM_UP_LINES, "200")?;
        let topic = self.topic("warm-up");
        self.cluster.create_topic(&topic, 1)?;
        for sent in (0..lines).step_by(WARM_UP_LINES as usize) {
            progress(format!("warming the broker: {} of {} lines", thousands(sent), thousands(lines)));
            let mut command = minimal::command(&backlog.file, &topic, self.cluster.brokers(), &[])?;
            Child::spawn("the warm-up", &mut command, &self.log("warm-up"))?.finish(WARM_UP_PATIENCE)?;
        }
        self.cluster.delete_topic(&topic)
    }

    /// Reads the whole topic, which nobody writes any more, and judges it by what the generator wrote.
    pub(crate) fn judge(&self, topic: &str, journal: &Journal) -> Result<Verdict> {
        progress(format!("reading {} lines back", thousands(journal.header.lines)));
        judge_topic(self.cluster.brokers(), topic, self.agent.framing(), journal, |_| {})
    }

    pub(crate) fn report(&self) -> Report {
        Report::new(self.command, Environment::observe(self.agent.version(), self.agent.template()))
    }

    /// A topic name that no other run uses.
    pub(crate) fn topic(&self, part: impl std::fmt::Display) -> String {
        format!("bench-{}-{}-{part}", self.command, std::process::id())
    }

    /// The file for what `part` prints.
    pub(crate) fn log(&self, part: impl std::fmt::Display) -> PathBuf {
        self.out.join("logs").join(format!("{part}.log"))
    }

    /// A path below the scratch folder; nothing is there yet.
    pub(crate) fn scratch(&self, part: impl std::fmt::Display) -> PathBuf {
        self.scratch.0.join(part.to_string())
    }

    /// What the agent is to do: `files` into `topic`, with its state in the scratch folder `state`.
    pub(crate) fn job<'a>(
        &'a self,
        files: &'a Path,
        file: &'a Path,
        topic: &'a str,
        state: &'a Path,
    ) -> Job<'a> {
        Job { files, file, topic, brokers: self.cluster.brokers(), state, http: None }
    }
}

/// Lines of the file that warms a broker up, sent as often as it takes.
const WARM_UP_LINES: u64 = 1_000_000;

const WARM_UP_PATIENCE: Duration = Duration::from_secs(120);

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn create(path: PathBuf) -> Result<Scratch> {
        create_folder(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `name` below `parent`, or `name-2` and so on when that is taken.
fn fresh_folder(parent: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|number| parent.join(format!("{name}-{number}")));
    let mut candidates = std::iter::once(parent.join(name)).chain(numbered);
    candidates.find(|folder| !folder.exists()).expect("a folder has finitely many entries")
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// A number of bytes: `4GB`, `512MiB`, `65536`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let parsed = UNITS.iter().find_map(|&(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(factor)
    });
    parsed.ok_or_else(|| format!("`{text}` is no number of bytes; try `4GB` or `512MiB`"))
}

/// One line on standard error, so that a long run is seen to live; standard output is the result's.
pub(crate) fn progress(line: impl std::fmt::Display) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_is_never_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let fresh = || fresh_folder(parent.path(), "run");
        for expected in ["run", "run-2", "run-3"] {
            assert_eq!(fresh(), parent.path().join(expected));
            std::fs::create_dir(fresh()).unwrap();
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        let read = ["7", "4GB", "512MiB", "1 kB"].map(|text| parse_bytes(text).unwrap());
        assert_eq!(read, [7, 4_000_000_000, 512 << 20, 1000]);
        for wrong in ["", "GB", "-1", "4TB", "99999999999999GiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
