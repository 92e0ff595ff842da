//! What a run leaves behind: `run.json` for machines, `README.md` for people, an exit code for scripts.
//!
//! A report says under which conditions its numbers were taken and what speaks against them. A warning
//! doubts a number; a failure means that a line is missing or wrong, and fails the run whatever the numbers.

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use logdrive_bench::verify::Verdict;
use serde::{Serialize, Serializer};

use crate::procfs::{self, MachineTicks};

/// What makes a measurement doubtful.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Warning {
    /// Optimisation is off in the harness, and then probably in the agent beside it.
    DebugBuild,
    /// Others used the machine: share of one core.
    MachineBusy { during: String, foreign_cores: f64 },
    /// The hypervisor gave the time to others.
    TimeStolen { during: String, share: f64 },
    /// The generator wrote lines later than intended, which counts as latency of the agent.
    GeneratorLate { during: String, late_ms: f64, lines: u64 },
    /// The consumer's own way adds this to every latency.
    InstrumentSlow { p50_ms: f64 },
    /// Percentiles of few lines mean little.
    FewSamples { during: String, count: u64, quantile: &'static str },
    /// More pairs would narrow the interval.
    IntervalWide { of: &'static str, low: f64, high: f64 },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DebugBuild => {
                f.write_str("this is a debug build: build with --release before believing a number")
            }
            Warning::MachineBusy { during, foreign_cores } => {
                write!(
                    f,
                    "{during}: other processes used {foreign_cores:.2} cores; stop them and measure again"
                )
            }
            Warning::TimeStolen { during, share } => {
                write!(f, "{during}: the hypervisor took {:.1} % of the machine's time", share * 100.0)
            }
            Warning::GeneratorLate { during, late_ms, lines } => write!(
                f,
                "{during}: the generator wrote {lines} lines late, by up to {late_ms:.1} ms, which counts as latency"
            ),
            Warning::InstrumentSlow { p50_ms } => write!(
                f,
                "the instrument itself shows a median of {p50_ms:.2} ms for lines produced at once; \
                 every latency here holds that much of it"
            ),
            Warning::FewSamples { during, count, quantile } => {
                write!(f, "{during}: {count} lines are too few for {quantile}; measure longer")
            }
            Warning::IntervalWide { of, low, high } => {
                write!(f, "the interval of {of} is wide, {low:.3} to {high:.3}; run more pairs")
            }
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where and with what a run was made.
#[derive(Debug, Serialize)]
pub(crate) struct Environment {
    started: String,
    cpu_model: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    librdkafka: String,
    harness: String,
    agent: Option<String>,
    agent_command: String,
    /// The commit of the checkout, with `+` when it had changes; none outside a checkout.
    commit: Option<String>,
    arguments: Vec<String>,
}

impl Environment {
    pub(crate) fn observe(agent: Option<String>, agent_command: String) -> Environment {
        let kernel = rustix::system::uname();
        Environment {
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cpu_model: procfs::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: procfs::machine_memory_bytes(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            agent,
            agent_command,
            commit: commit(),
            arguments: std::env::args().skip(1).collect(),
        }
    }
}

/// The report of one command while it grows.
#[derive(Serialize)]
pub(crate) struct Report {
    command: &'static str,
    environment: Environment,
    warnings: Vec<Warning>,
    /// Why the run failed, one line each; a run without failures passed.
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(command: &'static str, environment: Environment) -> Report {
        let warnings = if cfg!(debug_assertions) { vec![Warning::DebugBuild] } else { Vec::new() };
        Report { command, environment, warnings, failures: Vec::new() }
    }

    pub(crate) fn warn(&mut self, warning: Warning) {
        eprintln!("warning: {warning}");
        self.warnings.push(warning);
    }

    pub(crate) fn fail(&mut self, failure: String) {
        eprintln!("FAILED: {failure}");
        self.failures.push(failure);
    }

    /// Fails the run for any line that is missing, wrong or, beyond `duplicates_allowed`, there twice.
    pub(crate) fn judge(&mut self, what: &str, verdict: &Verdict, duplicates_allowed: u64) {
        let sentence = verdict.sentence(duplicates_allowed);
        if !verdict.passes(duplicates_allowed) {
            self.fail(format!("{what}: {sentence}"));
        }
    }

    /// Writes both files, prints the table, and turns failures into the exit code 1.
    pub(crate) fn finish<F: Serialize>(self, out: &Path, figures: &F, tables: &str) -> Result<ExitCode> {
        #[derive(Serialize)]
        struct Run<'a, F> {
            #[serde(flatten)]
            report: &'a Report,
            figures: &'a F,
        }
        let json = serde_json::to_string_pretty(&Run { report: &self, figures })?;
        let page = self.page(tables);
        for (name, text) in [("run.json", &json), ("README.md", &page)] {
            let path = out.join(name);
            std::fs::write(&path, format!("{}\n", text.trim_end()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!("\n{}\n\nwritten to {}", tables.trim_end(), out.display());
        Ok(if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn page(&self, tables: &str) -> String {
        let environment = &self.environment;
        let verdict = if self.failures.is_empty() { "passed" } else { "FAILED" };
        let list = |title: &str, lines: Vec<String>| match lines.is_empty() {
            true => String::new(),
            false => format!("## {title}\n\n- {}\n\n", lines.join("\n- ")),
        };
        let failures = list("Failures", self.failures.clone());
        let warnings = list("Warnings", self.warnings.iter().map(Warning::to_string).collect());
        let commit = environment.commit.as_deref().unwrap_or("unknown");
        let memory_gib = environment.memory_bytes as f64 / f64::from(1 << 30);
        format!(
            "# {}: {verdict}\n\n{}\n\n{failures}{warnings}## How\n\n    logdrive-bench {}\n\n\
             Agent: `{}`{}\n\n{}, {} cores, {memory_gib:.0} GiB, Linux {}, librdkafka {}, commit {commit}, {}\n",
            self.command,
            tables.trim_end(),
            shell_line(&environment.arguments),
            environment.agent_command,
            environment.agent.as_ref().map(|version| format!(" ({version})")).unwrap_or_default(),
            environment.cpu_model,
            environment.cores,
            environment.kernel,
            environment.librdkafka,
            environment.started,
        )
    }
}

/// Notices when somebody else used the machine during a measurement.
pub(crate) struct MachineWatch {
    ticks: MachineTicks,
    started: Instant,
}

/// More than this share of one core for others disturbs a measurement on a few cores.
const FOREIGN_CORES_MAX: f64 = 0.15;

/// More than this share of stolen time shows in tail latencies.
const STEAL_SHARE_MAX: f64 = 0.01;

impl MachineWatch {
    pub(crate) fn begin() -> MachineWatch {
        MachineWatch { ticks: procfs::machine_ticks(), started: Instant::now() }
    }

    /// What speaks against the time since `begin`. `own_cpu` is what the processes of the measurement used
    /// together, where that is known completely.
    pub(crate) fn end(&self, during: &str, own_cpu: Option<Duration>) -> Vec<Warning> {
        let ticks = procfs::machine_ticks().since(self.ticks);
        let during = during.to_owned();
        judge_machine(ticks, procfs::tick(), self.started.elapsed(), own_cpu, during)
    }
}

fn judge_machine(
    ticks: MachineTicks,
    tick: Duration,
    wall: Duration,
    own_cpu: Option<Duration>,
    during: String,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if ticks.steal_share() > STEAL_SHARE_MAX {
        warnings.push(Warning::TimeStolen { during: during.clone(), share: ticks.steal_share() });
    }
    if let Some(own_cpu) = own_cpu {
        let busy_s = ticks.busy as f64 * tick.as_secs_f64();
        let foreign_cores = (busy_s - own_cpu.as_secs_f64()) / wall.as_secs_f64().max(1e-9);
        if foreign_cores > FOREIGN_CORES_MAX {
            warnings.push(Warning::MachineBusy { during, foreign_cores });
        }
    }
    warnings
}

/// A table in Markdown.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table.to_string()
}

/// Bytes as MiB with one decimal.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// A count with its thousands apart.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Arguments as one would type them.
fn shell_line(arguments: &[String]) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=./:,@%+".contains(character);
    let quoted: Vec<String> = arguments
        .iter()
        .map(|argument| match !argument.is_empty() && argument.chars().all(plain) {
            true => argument.clone(),
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        })
        .collect();
    quoted.join(" ")
}

/// Today, as `2026-01-31`.
pub(crate) fn date() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string().chars().take(10).collect()
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    Some(if changed { commit + "+" } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn thousands_are_set_apart() {
        let shown: Vec<String> = [0, 7, 999, 1000, 123_456, 2_000_000].map(thousands).into();
        assert_eq!(shown, ["0", "7", "999", "1,000", "123,456", "2,000,000"]);
    }

    #[test]
    fn a_command_line_can_be_typed_again() {
        let arguments = ["kill", "--glob", "*.log*", "--agent-command", "ship 'a' {file}"].map(str::to_owned);
        assert_eq!(shell_line(&arguments), r"kill --glob '*.log*' --agent-command 'ship '\''a'\'' {file}'");
    }

    #[test]
    fn foreign_work_is_what_the_measurement_did_not_use_itself() {
        let ticks = MachineTicks { busy: 1000, steal: 0, total: 4000 };
        let judge = |own_s: Option<f64>| {
            let own = own_s.map(Duration::from_secs_f64);
            judge_machine(ticks, TICK, Duration::from_secs(20), own, "rate 1000".to_owned())
        };
        assert_eq!(judge(Some(9.5)), []);
        let expected = Warning::MachineBusy { during: "rate 1000".to_owned(), foreign_cores: 0.25 };
        assert_eq!(judge(Some(5.0)), [expected]);
        assert_eq!(judge(None), [], "an unknown broker may have used it all");
    }

    #[test]
    fn stolen_time_is_reported_by_its_share() {
        let ticks = MachineTicks { busy: 900, steal: 100, total: 2000 };
        let warnings = judge_machine(ticks, TICK, Duration::from_secs(10), None, "pair 1".to_owned());
        assert_eq!(warnings, [Warning::TimeStolen { during: "pair 1".to_owned(), share: 0.05 }]);
        assert_eq!(warnings[0].to_string(), "pair 1: the hypervisor took 5.0 % of the machine's time");
    }

    #[test]
    fn a_failure_marks_page_and_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::new("ceiling", Environment::observe(None, "ship {file}".to_owned()));
        report.fail("run 3: 5 lines lost".to_owned());
        let code = report.finish(folder.path(), &[1, 2], "| a |\n|---|\n").unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
        let page = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(
            page.starts_with("# ceiling: FAILED\n\n| a |") && page.contains("- run 3: 5 lines lost"),
            "{page}"
        );
        let json = std::fs::read_to_string(folder.path().join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(run["figures"], serde_json::json!([1, 2]));
        assert_eq!(run["failures"], serde_json::json!(["run 3: 5 lines lost"]));
    }
}
