//! What every command needs before it can measure: a broker, an agent, a generator, and places for files.
//!
//! Three places: `out` is kept and holds the report and the logs of everything that ran; the scratch folder
//! holds states, backlogs and the broker's data, and goes when the run ends; `inputs` holds generated files that
//! are large and always the same, and stays for the next run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::agent::{Agent, AgentArgs, Job};
use crate::broker::Broker;
use crate::kafka::Cluster;
use crate::load::Generator;
use crate::report::{self, Environment, Report};

/// The options that all measuring commands share.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    agent: AgentArgs,
    /// Measure against a running cluster instead of starting a broker
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// The script that starts a broker
    #[arg(long, value_name = "PATH", default_value = "scripts/kafka")]
    kafka: PathBuf,
    /// The logdrive-load binary; by default the one beside this binary
    #[arg(long, value_name = "PATH")]
    load: Option<PathBuf>,
    /// Folder of the report [default: results/<date>-local-<command>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of everything large: backlogs, states, the broker's data
    #[arg(long, value_name = "DIR", default_value = ".cache/bench")]
    work: PathBuf,
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
        // What can be wrong with the command line shows before a broker is started.
        let agent = Agent::choose(&args.agent)?;
        let generator = Generator::find(args.load.as_deref())?;
        let out = match &args.out {
            Some(out) => out.clone(),
            None => PathBuf::from("results").join(format!("{}-local-{command}", report::date())),
        };
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
        Ok(Setup { agent, generator, cluster, broker, out, inputs, command, scratch })
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
    pub(crate) fn job<'a>(&'a self, files: &'a Path, file: &'a Path, topic: &'a str, state: &'a Path) -> Job<'a> {
        Job { files, file, topic, brokers: self.cluster.brokers(), state, http: None }
    }
}

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

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// One line on standard error, so that a long run is seen to live; standard output is the result's.
pub(crate) fn progress(line: impl std::fmt::Display) {
    eprintln!("{line}");
}
