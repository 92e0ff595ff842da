//! OpenSearch refuses, blocks, fails, is away, or answers into the void; records are damaged. Nothing is lost, and no
//! partition stands still for longer than its reason.

use serde_json::{Value, json};

use crate::load::Load;
use crate::proxy::{Proxy, Way, Weather};
use crate::stage::{Pair, Stage};
use crate::wait::{is_long, until_true};

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i02_a_document_that_the_index_refuses_goes_to_the_dead_letters() {
    let stage = Stage::new(2);
    let poison = br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"poison","log.offset":"not a number"}"#;
    let good = br#"{"@timestamp":"2026-01-02T00:00:00Z","message":"good","log.offset":7}"#;
    stage.send(&[(Some(b"k"), Some(poison)), (None, Some(good)), (None, Some(good)), (None, Some(b"text"))]);
    let mut member = stage.member();
    stage.await_committed();
    until_true("it is counted", || member.metric("dead_letters_total") == 1.0);
    let status = member.status();
    assert!(status["last_refused"].as_str().unwrap().contains("log.offset"), "{status}");
    member.stop();
    let letters = stage.dead_letters(1);
    let (value, headers) = &letters[0];
    assert_eq!(value, poison, "as it was");
    assert!(headers["logdrive.reason"].as_str().unwrap().contains("400"), "{headers}");
    assert_eq!(
        (&headers["logdrive.topic"], &headers["logdrive.partition"], &headers["logdrive.offset"]),
        (&Value::from(stage.topic.as_str()), &"0".into(), &"0".into())
    );
    assert_eq!(stage.count(), 3);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i05_damaged_and_foreign_records_hold_up_nobody() {
    let stage = Stage::new(3);
    // OpenSearch takes two megabytes in these tests: one record is too large by itself, the others only together.
    let (huge, large) = (vec![b'x'; 3_000_000], vec![b'y'; 700_000]);
    let records: [Pair<'_>; 14] = [
        (None, Some(b"first")),
        (None, None),
        (Some(b"\xff\xfe"), Some(b"\xff\xfe not UTF-8 \xc3")),
        (None, Some(b"")),
        (None, Some(b"{\"@timestamp\":\"2026-01-02T00:00:00Z\",\"message\":\"cut")),
        (None, Some(&huge)),
        (None, Some(b"\x00\x1b[2J\xe2\x80\xae")),
        (None, Some(&large)),
        (None, Some(b"{\"@timestamp\":\"2026-01-02T00:00:00Z\",\n\"message\":\"over two lines\"}")),
        (None, Some(&large)),
        (Some(b"host:/p"), None),
        (None, Some(&large)),
        (None, Some(b"{\"create\":{}}\n{}\n{\"delete\":{\"_id\":\"1\"}}")),
        (None, Some(b"last")),
    ];
    stage.send(&records);
    let mut member = stage.member();
    stage.await_committed();
    assert_eq!(member.metric("records_total{kind=\"nothing\"}"), 2.0);
    assert_eq!(member.metric("records_total{kind=\"damaged\"}"), 1.0);
    assert_eq!(member.metric("records_total{kind=\"document\"}"), 1.0);
    member.stop();
    let letters = stage.dead_letters(1);
    assert!(letters[0].1["logdrive.reason"].as_str().unwrap().contains("413"), "{}", letters[0].1);
    // Its topic takes a megabyte: it is cut until it fits, and no further.
    let kept = letters[0].0.len();
    assert!(huge.starts_with(&letters[0].0) && kept > 500_000, "{kept} bytes are kept");
    assert_eq!(stage.count(), 11);
    assert_eq!(
        stage.find("message:\"not UTF\" AND NOT message:first")[0]["message"],
        "\u{fffd}\u{fffd} not UTF-8 \u{fffd}"
    );
    assert_eq!(stage.find("message:delete").len(), 1, "what looks like a request is text");
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i04_a_read_only_index_is_waited_for() {
    let stage = Stage::new(2);
    let first = Load::all(&stage.brokers, &stage.topic, stage.partitions, 200);
    let mut member = stage.member();
    stage.await_committed();
    let committed = stage.committed();
    let block = |on: Value| {
        let body = json!({ "index.blocks.read_only_allow_delete": on });
        stage.ask("PUT", &format!("/{}-*/_settings", stage.prefix), &body).unwrap();
    };
    // As a full disk does it.
    block(true.into());
    let more = [(None, Some(&b"while it was read-only"[..])), (None, Some(&b"too"[..]))];
    stage.send(&more);
    until_true("it says what it waits for", || {
        member.status()["reason"].as_str().unwrap().contains("cluster_block_exception")
    });
    assert_eq!(member.status()["ready"], false);
    assert_eq!(stage.committed(), committed, "nothing is committed that is not written");
    block(Value::Null);
    stage.await_committed();
    assert_eq!((member.metric("dead_letters_total"), member.metric("documents_refused_total")), (0.0, 0.0));
    until_true("it is well again", || member.status()["ready"] == true);
    member.stop();
    assert_eq!(stage.count(), first.header.lines + 2);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i04_opensearch_killed_and_started_again_under_load() {
    let stage = Stage::new(3);
    let load = Load::on(&stage.brokers, &stage.topic, stage.partitions, 1000);
    let mut member = stage.member();
    for _ in 0..if is_long() { 5 } else { 1 } {
        let written = member.metric("documents_created_total");
        until_true("lines are written", || member.metric("documents_created_total") > written);
        stage.control(&["kill"]);
        until_true("it waits", || member.status()["ready"] == false);
        let sent = load.sent();
        until_true("lines come meanwhile", || load.sent() > sent + 2000);
        assert!(!member.partitions().is_empty(), "it stays a member");
        stage.control(&["start"]);
        until_true("it goes on", || member.status()["ready"] == true);
    }
    let journal = load.end();
    stage.await_committed();
    member.stop();
    stage.assert_exact(&journal);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i03_requests_and_answers_that_are_cut_off() {
    let stage = Stage::new(3);
    let port = stage.opensearch.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(port);
    let load = Load::on(&stage.brokers, &stage.topic, stage.partitions, 1000);
    let mut member = stage.member_with(&stage.words(&proxy.address()));
    for round in 0..if is_long() { 30 } else { 6 } {
        let written = member.metric("batches_total");
        // An answer that is lost: what was asked for is done, and nobody knows. A request that is not whole: nothing is.
        let (way, bytes) = if round % 2 == 0 { (Way::Down, 10) } else { (Way::Up, 20_000) };
        let cuts = proxy.cuts();
        proxy.cut_after(way, bytes);
        until_true("a connection is cut", || proxy.cuts() > cuts);
        until_true("it goes on", || member.metric("batches_total") > written + 1.0);
    }
    let journal = load.end();
    stage.await_committed();
    // Documents of an agent's copies are known, too; but there are more.
    assert!(member.metric("documents_known_total") > 0.0);
    member.stop();
    stage.assert_exact(&journal);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i04_a_server_that_does_not_answer_is_left_and_reading_pauses() {
    let stage = Stage::new(3);
    let port = stage.opensearch.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(port);
    let mut words = stage.words(&proxy.address());
    words.extend(["--set".to_owned(), "opensearch.timeout=2s".to_owned()]);
    words.extend(["--set".to_owned(), "index.batch_bytes_max=16KiB".to_owned()]);
    let mut member = stage.member_with(&words);
    let load = Load::on(&stage.brokers, &stage.topic, stage.partitions, 1000);
    until_true("lines are written", || member.metric("documents_created_total") > 0.0);
    proxy.turn(Weather::Still);
    until_true("reading pauses", || member.metric("paused") == 1.0);
    until_true("it says why", || member.status()["reason"].as_str().unwrap().contains("does not answer"));
    let records = member.metric("records_total{kind=\"text\"}");
    let sent = load.sent();
    until_true("lines come meanwhile", || load.sent() > sent + 5000);
    assert_eq!(member.metric("records_total{kind=\"text\"}"), records, "memory does not follow the backlog");
    proxy.turn(Weather::Clear);
    proxy.cut_all();
    let journal = load.end();
    stage.await_committed();
    assert_eq!(member.metric("paused"), 0.0);
    member.stop();
    stage.assert_exact(&journal);
}

#[test]
#[ignore = "needs a real Kafka and OpenSearch"]
fn i04_without_opensearch_at_the_start_it_waits_and_makes_no_index_without_the_template() {
    let stage = Stage::new(2);
    let port = stage.opensearch.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::to(port);
    proxy.turn(Weather::Still);
    let journal = Load::all(&stage.brokers, &stage.topic, stage.partitions, 400);
    let mut words = stage.words(&proxy.address());
    words.extend(["--set".to_owned(), "opensearch.timeout=1s".to_owned()]);
    let mut member = stage.member_with(&words);
    until_true("it says what it waits for", || {
        member.status()["reason"].as_str().unwrap().contains("does not answer within 1s")
    });
    assert_eq!(stage.committed(), [0, 0]);
    proxy.turn(Weather::Clear);
    proxy.cut_all();
    stage.await_committed();
    member.stop();
    stage.assert_exact(&journal);
    let mapping = stage.ask("GET", &format!("/{}-*/_mapping", stage.prefix), &Value::Null).unwrap();
    let index = mapping.as_object().unwrap().values().next().unwrap();
    assert_eq!(index["mappings"]["properties"]["message"]["analyzer"], "line");
}
