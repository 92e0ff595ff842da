//! The load: backlogs that are generated once and drained often, and writers that run beside the agent.
//!
//! The generator is a process of its own, so that neither its CPU time nor its pauses are anyone else's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use logdrive_load::journal::Journal;

use crate::process::{self, Child};
use crate::setup::progress;

/// Writing 4 GB takes seconds; a slow disk may take minutes.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(1800);

/// Finds and starts `logdrive-load`.
pub(crate) struct Generator {
    program: PathBuf,
}

/// A file that was written whole, and the books of it.
pub(crate) struct Backlog {
    pub(crate) file: PathBuf,
    pub(crate) journal: Journal,
}

impl Backlog {
    pub(crate) fn lines(&self) -> u64 {
        self.journal.header.lines
    }
}

/// How the files are rotated while the agent is put to the test.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct RotationArgs {
    /// How the files are rotated
    #[arg(long, value_enum, default_value_t = Rotate::Rename)]
    pub(crate) rotate: Rotate,
    /// How often they are rotated
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) rotate_every: Duration,
    /// How many rotated files of each writer stay; the agent must have read what is deleted
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: u32,
    /// Which files the agent shall ship; *.log leaves the rotated ones outside
    #[arg(long, default_value = "*.log*")]
    pub(crate) glob: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rotate {
    None,
    Rename,
}

impl RotationArgs {
    /// None at all, or the defaults of the command line.
    pub(crate) fn of(rotate: Rotate) -> RotationArgs {
        let glob = if rotate == Rotate::None { "*.log" } else { "*.log*" };
        RotationArgs { rotate, rotate_every: Duration::from_secs(2), keep: 60, glob: glob.to_owned() }
    }

    /// As the generator is told.
    pub(crate) fn options(&self) -> Vec<String> {
        let period = humantime::format_duration(self.rotate_every).to_string().replace(' ', "");
        let words = ["--rotate", "rename", "--rotate-every", &period, "--keep", &self.keep.to_string()];
        match self.rotate {
            Rotate::None => Vec::new(),
            Rotate::Rename => words.map(str::to_owned).to_vec(),
        }
    }

    /// How long a line stays on disk at least. None when nothing is ever deleted.
    pub(crate) fn kept(&self) -> Option<Duration> {
        (self.rotate == Rotate::Rename).then(|| self.rotate_every * self.keep)
    }
}

/// A writer that runs beside the agent.
#[derive(Clone, Debug)]
pub(crate) struct Writing<'a> {
    /// Its folder; created by it, and empty before.
    pub(crate) folder: &'a Path,
    pub(crate) files: u32,
    /// Lines a second over all files.
    pub(crate) rate: u64,
    pub(crate) duration: Duration,
    pub(crate) line_bytes: &'a str,
    /// More options of the generator, such as its rotation.
    pub(crate) options: &'a [String],
}

/// A running writer; its journal appears when it has ended.
pub(crate) struct Writer {
    pub(crate) child: Child,
    journal: PathBuf,
}

impl Generator {
    pub(crate) fn find(given: Option<&Path>) -> Result<Generator> {
        Ok(Generator { program: process::program(given, "logdrive-load")? })
    }

    /// One file of so many lines below `inputs`: that of an earlier run if there is one.
    pub(crate) fn backlog(&self, inputs: &Path, lines: u64, line_bytes: &str) -> Result<Backlog> {
        let folder = inputs.join(format!("{lines}-lines-of-{}", line_bytes.replace("..", "-to-")));
        if !folder.exists() {
            progress(format!("generating {lines} lines of {line_bytes} bytes, once"));
            let unfinished = folder.with_added_extension("unfinished");
            let _ = std::fs::remove_dir_all(&unfinished);
            let mut command = Command::new(&self.program);
            command.arg("--dir").arg(&unfinished).args(["--rate", "max", "--line-bytes", line_bytes]);
            command.args(["--lines", &lines.to_string()]).arg("--journal").arg(unfinished.join("journal"));
            let log = inputs.join("generator.log");
            Child::spawn("the generator", &mut command, &log)?.finish(BACKLOG_PATIENCE)?;
            std::fs::rename(&unfinished, &folder)
                .with_context(|| format!("cannot rename {}", unfinished.display()))?;
        }
        Ok(Backlog { file: folder.join("load-0.log"), journal: Journal::read(&folder.join("journal"))? })
    }

    /// Starts a writer; what it prints goes to `log`.
    pub(crate) fn start(&self, writing: &Writing<'_>, log: &Path) -> Result<Writer> {
        let journal = writing.folder.with_added_extension("journal");
        let mut command = Command::new(&self.program);
        command.arg("--dir").arg(writing.folder).arg("--journal").arg(&journal);
        command.args(["--files", &writing.files.to_string(), "--rate", &writing.rate.to_string()]);
        command.args(["--duration", &format!("{}ms", writing.duration.as_millis())]);
        command.args(["--line-bytes", writing.line_bytes]).args(writing.options);
        Ok(Writer { child: Child::spawn("the generator", &mut command, log)?, journal })
    }
}

impl Writer {
    /// Waits for the writer's own end, and reads its books.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<Journal> {
        self.child.finish(patience)?;
        Ok(Journal::read(&self.journal)?)
    }

    /// Ends the writer now, in order, and reads its books.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<Journal> {
        self.child.terminate(patience)?;
        Ok(Journal::read(&self.journal)?)
    }
}
