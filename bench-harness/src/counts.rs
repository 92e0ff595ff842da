//! Instructions per line of the hot path: counted under callgrind, compared case by case.
//!
//! The counting is gungraun's: the bench targets `instructions` of the engine's two crates run under valgrind, once
//! for each case, and leave a summary in JSON, of which one number is taken here. A count is no measurement: the same
//! sources, compiler and C library give the same number every time, so there is no interval, and one run of a
//! few seconds is enough. What it cannot see (caches, the kernel, librdkafka's threads) is what the clock is for.
//!
//! gungraun needs a second program, its runner, of exactly the library's version. `cargo install` brings it on a
//! clean machine in about a minute, since it is plain Rust without a C library, so `scripts/setup` does just
//! that, into a folder of the checkout: nothing of the user's is touched, and the version follows Cargo.lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::process::Child;

/// Lines (batches, checkpoints) of every case: `LINES` in `engine/core/benches/workload/mod.rs` is the same number.
const CASE_LINES: f64 = 20_000.0;

/// The packages that have a bench target of this name.
const BENCH: &str = "instructions";
const PACKAGES: [&str; 2] = ["logdrive-core", "logdrive"];

/// Makes the benches do more of the same, to prove that it shows.
const EXTRA_PERCENT: &str = "LOGDRIVE_BENCH_EXTRA_PERCENT";

/// Where `scripts/setup` puts gungraun's runner.
const TOOLS: &str = ".cache/tools/bin";

/// Compiling the agent in release mode included.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Instructions per line of each case, and what they depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// What they were counted with; another compiler or processor gives other numbers.
    pub(crate) conditions: Conditions,
    pub(crate) instructions_per_line: BTreeMap<String, f64>,
}

/// What a count depends on besides the sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
    /// Whether the processor has AVX2, which is the widest that valgrind lets a program see.
    pub(crate) avx2: bool,
}

/// One case in two counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) case: String,
    pub(crate) old: f64,
    pub(crate) new: f64,
}

impl Change {
    /// New over old; above 1 is worse.
    pub(crate) fn ratio(&self) -> f64 {
        self.new / self.old
    }

    pub(crate) fn is_worse(&self, threshold: f64) -> bool {
        self.ratio() > 1.0 + threshold
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (percent, Change { case, old, new }) = ((self.ratio() - 1.0) * 100.0, self);
        write!(f, "{case}: {old:.2} -> {new:.2} instructions per line ({percent:+.2} %)")
    }
}

/// What to count.
pub(crate) struct Counting<'a> {
    /// A checkout of the sources.
    pub(crate) checkout: &'a Path,
    /// Cargo's target folder, where it is not the checkout's own.
    pub(crate) target: Option<&'a Path>,
    /// Where the runner was installed: the checkout of whoever asks.
    pub(crate) tools_of: &'a Path,
    /// A folder for what callgrind leaves; replaced.
    pub(crate) work: &'a Path,
    /// So many percent more rounds of the same work.
    pub(crate) extra_percent: u32,
    /// File for what the programs print.
    pub(crate) log: &'a Path,
}

impl Counting<'_> {
    /// Builds the benches and counts every case.
    pub(crate) fn count(&self) -> Result<Counts> {
        for package in ["engine/core", "engine"] {
            let source = self.checkout.join(package).join("benches/instructions.rs");
            ensure!(
                source.is_file(),
                "no instruction benches in {}: that revision is older than they are; leave out --instructions \
                 or compare with a later one",
                self.checkout.display()
            );
        }
        let path = self.path_with_runner()?;
        let conditions = Conditions::observe(self.checkout)?;
        let _ = std::fs::remove_dir_all(self.work);
        let mut command = Command::new("cargo");
        command.current_dir(self.checkout).args(["bench", "--locked", "--bench", BENCH]);
        command.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
        command.env("PATH", path).env("GUNGRAUN_HOME", std::path::absolute(self.work)?);
        command.env("GUNGRAUN_SAVE_SUMMARY", "json").env(EXTRA_PERCENT, self.extra_percent.to_string());
        if let Some(target) = self.target {
            command.env("CARGO_TARGET_DIR", std::path::absolute(target)?);
        }
        Child::spawn("counting instructions (cargo bench)", &mut command, self.log)?.finish(PATIENCE)?;
        let instructions_per_line = read_summaries(self.work)?;
        ensure!(!instructions_per_line.is_empty(), "no case was counted; see {}", self.log.display());
        Ok(Counts { conditions, instructions_per_line })
    }

    /// The search path with the runner's folder in front.
    fn path_with_runner(&self) -> Result<std::ffi::OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.tools_of.join(TOOLS)).chain(std::env::split_paths(&before));
        let path = std::env::join_paths(folders).context("PATH cannot be extended")?;
        for (program, argument) in [("gungraun-runner", "--version"), ("valgrind", "--version")] {
            let answer = Command::new(program).env("PATH", &path).arg(argument).output();
            ensure!(
                answer.is_ok_and(|output| output.status.success()),
                "{program} is missing, with which instructions are counted; scripts/setup installs it"
            );
        }
        Ok(path)
    }
}

impl Conditions {
    fn observe(checkout: &Path) -> Result<Conditions> {
        let first_line = |program: &str| {
            let output = Command::new(program).arg("--version").current_dir(checkout).output();
            let output = output.with_context(|| format!("cannot run {program}"))?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let avx2 = processor.split_whitespace().any(|word| word == "avx2");
        Ok(Conditions { rustc: first_line("rustc")?, valgrind: first_line("valgrind")?, avx2 })
    }

    /// What differs, if anything, in one sentence.
    pub(crate) fn difference(&self, now: &Conditions) -> Option<String> {
        let mut differs = Vec::new();
        for (old, new) in [(&self.rustc, &now.rustc), (&self.valgrind, &now.valgrind)] {
            if old != new {
                differs.push(format!("{old} then, {new} now"));
            }
        }
        if self.avx2 != now.avx2 {
            differs.push(format!("a processor {} AVX2 now", if now.avx2 { "with" } else { "without" }));
        }
        (!differs.is_empty()).then(|| differs.join("; "))
    }
}

impl Counts {
    pub(crate) fn read(path: &Path) -> Result<Counts> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the baseline {}; `logdrive-bench instructions --update` makes one",
                path.display()
            )
        })?;
        let counts: Counts = serde_json::from_str(&text)
            .with_context(|| format!("{} is no baseline of instruction counts", path.display()))?;
        let sound = counts.instructions_per_line.values().all(|count| count.is_finite() && *count > 0.0);
        ensure!(sound, "{} is damaged: a count is not above 0", path.display());
        Ok(counts)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Case by case from `self` to `new`. Both must know the same cases: one that is missing on either
    /// side is not a change of speed, and must not pass for none.
    pub(crate) fn changes(&self, new: &Counts) -> Result<Vec<Change>> {
        let (old, new) = (&self.instructions_per_line, &new.instructions_per_line);
        let only = |these: &BTreeMap<String, f64>, those: &BTreeMap<String, f64>| {
            these.keys().filter(|case| !those.contains_key(*case)).cloned().collect::<Vec<_>>().join(", ")
        };
        let (gone, added) = (only(old, new), only(new, old));
        if !(gone.is_empty() && added.is_empty()) {
            bail!(
                "the cases differ: only old [{gone}], only new [{added}]; update the baseline with the benches"
            );
        }
        Ok(old.iter().map(|(case, &old)| Change { case: case.clone(), old, new: new[case] }).collect())
    }
}

/// The part of gungraun's summary that is wanted here.
#[derive(Deserialize)]
struct Summary {
    function_name: String,
    id: Option<String>,
    profiles: Vec<serde_json::Value>,
}

fn read_summaries(folder: &Path) -> Result<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for path in files_named(folder, "summary.json")? {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (case, instructions) = read_summary(&text).with_context(|| format!("in {}", path.display()))?;
        counts.insert(case, instructions / CASE_LINES);
    }
    Ok(counts)
}

fn read_summary(text: &str) -> Result<(String, f64)> {
    let summary: Summary = serde_json::from_str(text).context("not a summary of gungraun as we know it")?;
    let instructions = summary.profiles.iter().find_map(|profile| {
        profile.pointer("/data/total/metrics/Ir/values/new").and_then(serde_json::Value::as_f64)
    });
    let instructions = instructions.filter(|&count| count > 0.0).context("it counts no instructions")?;
    Ok((format!("{}.{}", summary.function_name, summary.id.unwrap_or_default()), instructions))
}

fn files_named(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false if entry.file_name() == name => found.push(entry.path()),
                false => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(cases: &[(&str, f64)]) -> Counts {
        let conditions =
            Conditions { rustc: "rustc 1".to_owned(), valgrind: "valgrind-3".to_owned(), avx2: true };
        let cases = cases.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect();
        Counts { conditions, instructions_per_line: cases }
    }

    #[test]
    fn a_case_beyond_the_threshold_is_named() {
        let old = counts(&[("frame.line_50", 100.0), ("ledger.in_order", 200.0)]);
        let new = counts(&[("frame.line_50", 104.9), ("ledger.in_order", 211.0)]);
        let changes = old.changes(&new).unwrap();
        let worse: Vec<String> =
            changes.iter().filter(|change| change.is_worse(0.05)).map(Change::to_string).collect();
        assert_eq!(worse, ["ledger.in_order: 200.00 -> 211.00 instructions per line (+5.50 %)"]);
        assert!(old.changes(&old).unwrap().iter().all(|change| !change.is_worse(0.0)));
    }

    #[test]
    fn a_case_that_is_missing_does_not_pass_for_unchanged() {
        let (old, new) = (counts(&[("a", 1.0), ("b", 1.0)]), counts(&[("a", 1.0), ("c", 1.0)]));
        let error = old.changes(&new).unwrap_err().to_string();
        assert!(error.contains("only old [b], only new [c]"), "{error}");
    }

    #[test]
    fn the_number_is_found_in_a_summary() {
        let summary = r#"{"function_name": "frame", "id": "line_50", "version": "7", "profiles":
            [{"tool": "Callgrind", "data": {"total": {"metrics": {"Ir": {"values": {"new": 2465833}}}}}}]}"#;
        assert_eq!(read_summary(summary).unwrap(), ("frame.line_50".to_owned(), 2_465_833.0));
        assert!(read_summary(&summary.replace("Ir", "Dr")).is_err());
        assert!(read_summary("{}").is_err());
    }

    #[test]
    fn a_baseline_survives_the_disk_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instructions.json");
        let baseline = counts(&[("a", 1.25)]);
        baseline.write(&path).unwrap();
        assert_eq!(Counts::read(&path).unwrap(), baseline);
        std::fs::write(&path, "{\"cond").unwrap();
        assert!(Counts::read(&path).unwrap_err().to_string().contains("no baseline"));
        assert!(Counts::read(Path::new("/nowhere")).unwrap_err().to_string().contains("--update"));
    }

    #[test]
    fn another_compiler_is_said() {
        let old = counts(&[]).conditions;
        assert_eq!(old.difference(&old), None);
        let new = Conditions { rustc: "rustc 2".to_owned(), avx2: false, ..old.clone() };
        let difference = "rustc 1 then, rustc 2 now; a processor without AVX2 now";
        assert_eq!(old.difference(&new).as_deref(), Some(difference));
    }
}
