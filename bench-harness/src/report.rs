//! What a run leaves behind: `run.json` for machines, `README.md` for people, an exit code for scripts.
//!
//! A report says under which conditions its numbers were taken and what speaks against them. A warning
//! doubts a number; a failure means that a line is missing or wrong, and fails the run whatever the numbers.

mod environment;
pub(crate) mod page;
pub(crate) mod plot;
mod record;
mod warning;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use logdrive_bench::verify::Verdict;
use serde::Serialize;

pub(crate) use environment::Environment;
pub(crate) use record::Record;
pub(crate) use warning::{Note, Warning};
pub(crate) use watch::MachineWatch;

/// The file for programs.
pub(crate) const RUN_FILE: &str = "run.json";

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

    /// What has failed so far, and what speaks against the numbers.
    pub(crate) fn findings(&self) -> (&[String], Vec<String>) {
        (&self.failures, self.warnings.iter().map(Warning::to_string).collect())
    }

    /// Whether anything has failed so far.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failures.is_empty()
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
        // The file for programs comes last: a folder that has one is whole.
        for (name, text) in [("README.md", &page), (RUN_FILE, &json)] {
            write_whole(&out.join(name), format!("{}\n", text.trim_end()).as_bytes())?;
        }
        self.say_end(out, tables)
    }

    /// The same for a run with a record, which is the file for programs.
    pub(crate) fn finish_record(self, out: &Path, record: &Record) -> Result<ExitCode> {
        let tables = page::tables(record);
        write_whole(&out.join("README.md"), self.page(&tables).as_bytes())?;
        record.write(out)?;
        self.say_end(out, &tables)
    }

    fn say_end(&self, out: &Path, tables: &str) -> Result<ExitCode> {
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
        format!(
            "# {}: {verdict}\n\n{}\n\n{failures}{warnings}## How\n\n    logdrive-bench {}\n\n\
             Agent: `{}`{}\n\n{}, {}\n",
            self.command,
            tables.trim_end(),
            shell_line(&environment.arguments),
            environment.agent_command,
            environment.agent.as_ref().map(|version| format!(" ({version})")).unwrap_or_default(),
            environment.machine(),
            environment.started,
        )
    }
}

/// Writes a file so that it exists whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_added_extension("unfinished");
    std::fs::write(&unfinished, content)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

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
