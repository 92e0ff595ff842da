//! The command from outside: exit codes, and what is left behind when it fails.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use logdrive_load::journal::Journal;

fn load(dir: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-load"));
    command.current_dir(dir).args(["--journal", "journal", "--lines", "50", "--rate", "max"]);
    command.args(line.split_whitespace()).output().unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((text.matches('\n').count(), text.starts_with("error: ")), (1, true), "{text}");
    text
}

#[test]
fn a_run_leaves_its_files_and_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let output = load(dir.path(), "--dir out --files 2 --format json");
    assert!(output.status.success(), "{output:?}");
    let journal = Journal::read(&dir.path().join("journal")).unwrap();
    assert_eq!((journal.header.lines, journal.header.text.as_str()), (50, "json"));
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["journal", "out"], "nothing unfinished");
}

#[test]
fn the_journal_may_stand_beside_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-load"));
    command.current_dir(dir.path()).args(["--dir", "new", "--journal", "new/journal", "--lines", "5"]);
    assert!(command.output().unwrap().status.success());
    assert_eq!(Journal::read(&dir.path().join("new/journal")).unwrap().header.lines, 5);
}

#[test]
fn what_cannot_be_done_is_one_line_exit_code_1_and_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("used")).unwrap();
    fs::write(dir.path().join("used/load-0.log"), "").unwrap();
    fs::write(dir.path().join("file"), "no time\n").unwrap();
    for (line, reason) in [
        ("--dir used", "is there already"),
        ("--dir file", "cannot use directory file"),
        ("--dir file/below", "cannot use directory file/below"),
        ("--dir new --threads 2", "2 threads for 1 files"),
        ("--dir new --format json --line-bytes 80", "a record of format json has at least"),
        ("--dir new --rotate rename", "when is a file full?"),
    ] {
        let text = error(&load(dir.path(), line));
        assert!(text.contains(reason), "{line}: {text}");
        assert!(!dir.path().join("journal").exists() && !dir.path().join("journal.unfinished").exists());
    }
    for (log, reason) in [("file", "no line shows a time"), ("missing", "cannot read missing")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-load"));
        command.current_dir(dir.path()).args(["--dir", "new", "--replay", log]);
        let text = error(&command.output().unwrap());
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn impossible_rates_are_refused_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    for rate in ["0", "5000000000", "fast", "steps:1", "curve:missing", "poisson:max"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-load"));
        let text =
            error(&command.current_dir(dir.path()).args(["--dir", "new", "--rate", rate]).output().unwrap());
        assert!(text.starts_with("error: --rate `") || text.contains("cannot read curve"), "{text}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_journal_that_could_not_be_written_is_known_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-load"));
    command.current_dir(dir.path()).args(["--dir", "new", "--lines", "5", "--journal", "missing/journal"]);
    assert!(error(&command.output().unwrap()).contains("cannot create journal missing/journal"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
