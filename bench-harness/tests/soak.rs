//! `logdrive-bench soak` from the outside: a small one with everything in it against a broker of its own, and two
//! that must fail, with an agent that is known to be wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_logdrive-bench");

/// Runs a soak to its end; the exit code and the record that it left.
fn soak(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value, Output) {
    let mut command = Command::new(BENCH);
    command.current_dir(folder).args(["soak", "--out", "out", "--work", "work"]).args(arguments);
    let output = command.output().unwrap();
    let record = std::fs::read(folder.join("out/run.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), serde_json::from_slice(&record).unwrap(), output)
}

fn failures(record: &Value) -> Vec<&str> {
    record["failures"].as_array().unwrap().iter().map(|failure| failure.as_str().unwrap()).collect()
}

/// The broker is one of the soak's own, since it is killed.
#[test]
#[ignore = "needs a broker: run scripts/test"]
fn s18_a_small_soak_with_kills_bounces_and_reloads_loses_nothing_and_grows_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/kafka");
    let (code, record, output) = soak(
        folder.path(),
        &["--kafka", kafka.to_str().unwrap(), "--duration", "20s", "--rate", "2000", "--files", "2"],
    );
    assert_eq!(failures(&record), [""; 0], "{output:?}");
    assert_eq!(code, Some(0), "{output:?}");
    let figures = &record["figures"];
    assert!(figures["lines"].as_u64().unwrap() > 10_000, "{figures}");
    assert_eq!((&figures["verdict"]["lost"], &figures["verdict"]["reordered"]), (&0.into(), &0.into()));
    let kinds: Vec<&str> =
        figures["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect();
    for kind in ["kill", "bounce", "changed", "unchanged", "refused"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let judged: Vec<&str> =
        figures["levels"].as_array().unwrap().iter().map(|level| level["what"].as_str().unwrap()).collect();
    for what in ["resident memory", "descriptors", "threads", "state"] {
        assert!(judged.contains(&what), "{what}: {judged:?}");
    }
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Resident memory") && page.contains("State folder") && !page.contains("http://"));
    let left: Vec<_> = std::fs::read_dir(folder.path().join("work")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the inputs stay: {left:?}");
}

/// A soak without events of an agent that spoils a line, or more.
fn soak_of_the_faulty_agent(fault: &str, at_line: u64, more: &[&str]) -> (Option<i32>, Value, Output) {
    let brokers = std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA is host:port of a broker");
    let agent = format!(
        "{BENCH} faulty-agent --file {{file}} --topic {{topic}} --brokers {{brokers}} --fault {fault} --at-line {at_line}"
    );
    let common =
        ["--brokers", &brokers, "--agent-command", &agent, "--calm", "--files", "1", "--rotate", "none"];
    let folder = tempfile::tempdir().unwrap();
    soak(folder.path(), &[&common, more].concat())
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn s18_a_soak_finds_a_leak() {
    // 2 MB a second and more are kept for ever.
    let (code, record, output) =
        soak_of_the_faulty_agent("leak", 0, &["--duration", "10s", "--rate", "10000"]);
    assert_eq!(code, Some(1), "{output:?}");
    let failures = failures(&record);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].starts_with("resident memory of life 1 grew by"), "{failures:?}");
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn s18_a_soak_finds_a_single_spoilt_line() {
    // Too short to say anything of growth, which is said as well.
    let (code, record, output) =
        soak_of_the_faulty_agent("tear", 1000, &["--duration", "3s", "--rate", "1000"]);
    assert_eq!(code, Some(1), "{output:?}");
    assert_eq!(record["figures"]["verdict"]["torn"], 1);
    assert_eq!(record["figures"]["verdict"]["lost"], 1);
    let failures = failures(&record);
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].starts_with("the soak: FAIL: of ") && failures[1].contains("soak for longer"));
}
