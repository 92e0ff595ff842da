//! Nothing lost, nothing twice: from agents to the index, through kills and rebalances.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use logdrive_load::journal::Journal;
use serde_json::Value;

use crate::load::Load;
use crate::member::Member;
use crate::stage::Stage;
use crate::wait::{is_long, until_true};

/// Another program of the workspace, which the same build has made.
fn sibling(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_logdrive-search")).with_file_name(name);
    assert!(path.exists(), "{} is not built; run the tests with --workspace", path.display());
    path
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(stage: &Stage, format: &str) -> Agent {
    let mut command = Command::new(sibling("logdrive"));
    command.args(["run", "--http", "off", "--read-from", "beginning", "--set", "item.headers=true"]);
    command.args([
        "--brokers",
        &stage.brokers,
        "--topic",
        &stage.topic,
        "--set",
        &format!("item.format={format}"),
    ]);
    command.arg("--include").arg(stage.file("logs/*.log")).arg("--state-dir").arg(stage.file("state"));
    let out = std::fs::File::create(stage.file("agent.log")).unwrap();
    Agent(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out).spawn().unwrap())
}

fn written(stage: &Stage, format: &str, lines: u64) -> Journal {
    let journal = stage.file("journal.json");
    let mut command = Command::new(sibling("logdrive-load"));
    command.args(["--files", "4", "--rate", "max", "--format", format, "--lines", &lines.to_string()]);
    command.arg("--dir").arg(stage.file("logs")).arg("--journal").arg(&journal);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Journal::read(&journal).unwrap()
}

fn from_agent_to_index(agents_format: &str, lines_format: &str) {
    let stage = Stage::new(3);
    let journal = written(&stage, lines_format, 10_000);
    let _agent = agent(&stage, agents_format);
    let member = stage.member();
    until_true("every line can be found", || stage.count() >= journal.header.lines);
    stage.await_committed();
    member.stop();
    stage.assert_exact(&journal);
    let found = stage.find("log.file.path:*load\\-0.log AND log.offset:0");
    let [document] = &found[..] else { panic!("one line begins that file: {found:?}") };
    assert_eq!(document["kafka.topic"], stage.topic.as_str());
    assert!(document["@timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(document["host.name"].is_string() && document["logdrive.generation"].is_string(), "{document}");
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_what_an_agent_sends_as_it_is_stands_in_the_index_once() {
    from_agent_to_index("raw", "nginx");
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_what_an_agent_sends_as_documents_stands_in_the_index_once() {
    from_agent_to_index("ecs", "json");
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_killed_again_and_again_under_load() {
    let stage = Stage::new(3);
    let load = Load::on(&stage.brokers, &stage.topic, stage.partitions, 1000);
    let kills = if is_long() { 50 } else { 4 };
    for kill in 0..kills {
        let mut member = stage.member();
        // Now with a batch on its way, now between a bulk request and the commit of its offsets.
        let batches = f64::from(kill % 3 + 1);
        until_true("some batches are written", || member.metric("batches_total") >= batches);
        member.kill();
    }
    let journal = load.end();
    let mut member = stage.member();
    stage.await_committed();
    assert_eq!(member.metric("dead_letters_total"), 0.0);
    member.stop();
    stage.assert_exact(&journal);
}

/// Partitions of each member, when every partition has an owner and the group is at rest.
fn owned(members: &mut [Member], partitions: i32) -> Vec<Vec<i64>> {
    let mut shares = Vec::new();
    until_true("every partition has one reader, and every reader some", || {
        shares = members.iter_mut().map(Member::partitions).collect();
        let all: Vec<i64> = shares.iter().flatten().copied().collect();
        let different: BTreeSet<i64> = all.iter().copied().collect();
        all.len() == partitions as usize
            && different.len() == all.len()
            && shares.iter().all(|share| !share.is_empty())
    });
    shares
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_a_group_of_one_to_four_members_that_come_and_go_under_load() {
    let stage = Stage::new(8);
    let load = Load::on(&stage.brokers, &stage.topic, stage.partitions, 1000);
    let mut members = vec![stage.member()];
    owned(&mut members, stage.partitions);
    for count in [2, 3, 4] {
        let before = owned(&mut members, stage.partitions);
        members.push(stage.member());
        let after = owned(&mut members, stage.partitions);
        // Who has been there keeps what stays with it: only what moves is let go.
        for (before, after) in before.iter().zip(&after) {
            assert!(after.iter().all(|partition| before.contains(partition)), "{before:?} {after:?}");
        }
        assert_eq!(after.len(), count);
    }
    // One ends in good order, one does not.
    members.pop().unwrap().stop();
    owned(&mut members, stage.partitions);
    members.pop().unwrap().kill();
    owned(&mut members, stage.partitions);
    let journal = load.end();
    stage.await_committed();
    for member in members {
        assert!(!member.said().contains("panicked"), "{}", member.said());
        member.stop();
    }
    stage.assert_exact(&journal);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_stopped_in_good_order_nothing_is_written_again() {
    let stage = Stage::new(2);
    let journal = Load::all(&stage.brokers, &stage.topic, stage.partitions, 2000);
    let mut member = stage.member();
    until_true("some of it is written", || member.metric("documents_created_total") > 0.0);
    member.stop();
    let (written, committed) = (stage.judge(&journal), stage.committed());
    let mut again = stage.member();
    stage.await_committed();
    let records = again.metric("records_total{kind=\"text\"}");
    again.stop();
    stage.assert_exact(&journal);
    // What the first one had written was committed: the second one began behind it.
    let total: i64 = stage.committed().iter().sum();
    assert_eq!(records as i64, total - committed.iter().sum::<i64>());
    assert!(written.lines_received <= journal.header.lines);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn lines_are_found_by_their_words() {
    let stage = Stage::new(1);
    let line = "2026-01-02 ERROR com.example.Foo: connection to 10.0.0.1 refused, user_id=42 \u{8fde}\u{63a5}\u{88ab}\u{62d2}\u{7edd}\n\tat com.example.Bar.baz(Bar.java:17)";
    stage.send(&[(Some(b"web1:/var/log/a.log"), Some(line.as_bytes())), (None, Some(b"other"))]);
    let member = stage.member();
    stage.await_committed();
    member.stop();
    for query in [
        "message:refused",
        "message:REFUSED",
        "message:\"10.0.0.1\"",
        "message:example",
        "message:Foo",
        "message:user_id",
        "message:\"com.example.Foo\"",
        "message:\"connection to\"",
        "message:17",
        "message:\"\u{88ab}\u{62d2}\"",
        "host.name:web* AND log.file.path:\"/var/log/a.log\"",
    ] {
        let found = stage.find(query);
        let messages: Vec<&Value> = found.iter().map(|document| &document["message"]).collect();
        assert_eq!(messages, [line], "{query}");
    }
    assert_eq!(stage.find("message:\"10.0.0.2\"").len(), 0);
}
