//! `logdrive-bench run` from the outside: what it refuses, and, against a real broker on request, what it says of
//! an agent that is known to be wrong.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_logdrive-bench");

/// A shell stands in for programs that are looked for and never started.
const UNUSED: &str = "/bin/sh";

fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BENCH);
    command.current_dir(folder).args(arguments);
    command
}

/// The one line of an error, and that nothing which looks whole was left.
fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = bench(folder, arguments).output().unwrap();
    assert_eq!(status.code(), Some(2), "{arguments:?}");
    let said = String::from_utf8(stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((errors.len(), said.lines().last()), (1, errors.last().copied()), "{said}");
    errors[0].to_owned()
}

#[test]
fn an_agent_that_is_not_there_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["run", "--load", UNUSED, "--agent-command", "no-such-agent {file}"];
    assert!(refusal(folder.path(), &arguments).contains("no program `no-such-agent`"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_broker_that_does_not_answer_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // Nobody may listen there but root, and root does not.
    let arguments =
        ["run", "--load", UNUSED, "--agent-path", UNUSED, "--brokers", "127.0.0.1:1", "--out", "out"];
    let error = refusal(folder.path(), &arguments);
    assert!(error.contains("no broker answers at 127.0.0.1:1"), "{error}");
    assert!(!out.join("run.json").exists());
}

#[test]
fn a_folder_that_holds_a_run_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.json"), "{}").unwrap();
    let arguments = ["run", "--load", UNUSED, "--agent-path", UNUSED, "--out", "."];
    assert!(refusal(folder.path(), &arguments).contains("holds a run already"));
}

#[test]
fn a_damaged_record_makes_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let page = ["page", ".", "--html", "page.html"];
    assert!(refusal(folder.path(), &page).contains("cannot read ./run.json"));
    std::fs::write(folder.path().join("run.json"), "{\"command\": \"run\", \"sch").unwrap();
    assert!(refusal(folder.path(), &page).contains("./run.json is damaged"));
    assert!(!folder.path().join("page.html").exists());
}

/// A run with an agent that spoils one line, which is due 1.2 s after the first.
fn run_faulty(folder: &Path, fault: &str, more: &[&str]) -> Command {
    let brokers = std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA is host:port of a broker");
    let agent = format!(
        "{BENCH} faulty-agent --file {{file}} --topic {{topic}} --brokers {{brokers}} --fault {fault} --at-line 12000"
    );
    let mut command = bench(folder, &["run", "--out", "out", "--work", "work", "--warm-lines", "0"]);
    command.args(["--brokers", &brokers, "--agent-command", &agent, "--rate", "10000", "--warm-up", "500ms"]);
    command.args(more);
    command
}

fn record(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("out/run.json")).unwrap()).unwrap()
}

/// A line that is dropped is waited for, so that fault is left to the mock of a cluster.
#[test]
#[ignore = "needs a broker: run scripts/test"]
fn each_fault_is_in_the_record_and_in_the_exit_code() {
    for (fault, count) in [("none", ""), ("duplicate", "duplicated"), ("swap", "reordered"), ("tear", "torn")]
    {
        let folder = tempfile::tempdir().unwrap();
        let output = run_faulty(folder.path(), fault, &["--duration", "1s"]).output().unwrap();
        let record = record(folder.path());
        for name in ["duplicated", "reordered", "torn", "foreign"] {
            assert_eq!(record[name], u64::from(name == count), "{fault}: {name}\n{output:?}");
        }
        // A line that was torn never came whole.
        assert_eq!(record["lost"], u64::from(fault == "tear"), "{fault}");
        assert_eq!(record["passed"], fault == "none");
        assert_eq!(output.status.code(), Some(i32::from(fault != "none")), "{fault}");
        let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
        assert_eq!(page.contains("FAILED"), fault != "none");
        for file in ["latency.hlog", "README.md"] {
            assert!(folder.path().join("out").join(file).is_file(), "{file}");
        }
    }
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn a_stall_shows_at_the_percentiles_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    // Line 12,000 is due after a second and more of margins and warm-up, hence within the four seconds.
    let output = run_faulty(folder.path(), "stall", &["--duration", "4s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let latency = &record(folder.path())["latency_ms"];
    for (name, least_ms) in [("p90", 99.0), ("p99", 459.0), ("p999", 495.0), ("max", 499.0)] {
        assert!(latency[name].as_f64().unwrap() >= least_ms, "{name} of {latency}");
    }
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn an_interrupt_stops_what_was_started_and_leaves_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        run_faulty(folder.path(), "none", &["--duration", "600s"]).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = said.skip_while(|line| !line.contains("lines/s for"));
    assert!(said.next().is_some(), "the trial begins");
    // SAFETY: kill touches no memory of ours, and the child has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    let error = said.last().unwrap();
    assert!(error.contains("interrupted by a signal"), "{error}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(!folder.path().join("out/run.json").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("work")).unwrap().count(), 1, "only the inputs stay");
    let mine = folder.path().to_str().unwrap();
    let commands = std::fs::read_dir("/proc").unwrap().flatten();
    let left = commands.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    assert_eq!(left.filter(|command| command.contains(mine)).count(), 0, "no process of the run is left");
}
