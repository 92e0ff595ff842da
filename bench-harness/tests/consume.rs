//! The whole way from a topic to the verdict: a stream with planted damage is produced, read back and
//! counted exactly. Against librdkafka's own mock of a cluster always, against a real broker on request.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logdrive_bench::consume::{ConsumeError, Consumer, drain};
use logdrive_bench::verify::{Framing, Ledger, Verdict};
use logdrive_load::journal::{Generation, Header, Journal, VERSION};
use logdrive_load::stamp::{Stamp, encode_line};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const RUN: u32 = 0x5eed;
const PARTITIONS: i32 = 3;
const LINES: u64 = 10_000;

/// Three writers, one in each partition, with two generations each.
fn journal() -> Journal {
    let half = LINES / 2;
    let generations: Vec<Generation> = (0..PARTITIONS as u16)
        .flat_map(|writer| [(writer, 0, 0, half - 1), (writer, 1, half, LINES - 1)])
        .map(|(writer, generation, first_seq, last_seq)| {
            let lines = last_seq - first_seq + 1;
            Generation { writer, generation, first_seq, last_seq, lines, bytes: 0, crc: 0 }
        })
        .collect();
    let lines = generations.iter().map(|generation| generation.lines).sum();
    let (journal, run, files) = (VERSION, RUN, PARTITIONS as u32);
    let header = Header { journal, run, files, lines, ..Header::default() };
    Journal { header, generations }
}

/// The lines of each partition as they ought to be.
fn clean() -> Vec<Vec<Vec<u8>>> {
    let line = |writer, sequence| {
        let generation = u32::from(sequence >= LINES / 2);
        let stamp = Stamp { run: RUN, writer, generation, sequence, intended_ns: sequence };
        let mut line = Vec::new();
        encode_line(&stamp, b"10.0.0.7 GET /api/v2/orders/17 200", &mut line);
        line
    };
    (0..PARTITIONS as u16).map(|writer| (0..LINES).map(|sequence| line(writer, sequence)).collect()).collect()
}

/// The same with every kind of damage, and what the judge must say about it.
fn damaged() -> (Vec<Vec<Vec<u8>>>, Verdict) {
    let mut partitions = clean();
    let [first, second, third] = &mut partitions[..] else { unreachable!("three partitions") };
    first.drain(100..107); // 7 lost
    second.insert(900, second[10].clone()); // 1 duplicated
    second.insert(901, second[11].clone()); // 1 duplicated
    second.swap(5000, 5001); // 1 reordered
    third[3000].truncate(70); // 1 torn, 1 lost
    third[3001][80] ^= 1; // 1 torn, 1 lost
    let glued = third.remove(3002);
    third[3002].splice(0..0, glued); // two lines in one: 1 torn, 2 lost
    third.push(b"who are you?".to_vec()); // 1 foreign
    third.push(Vec::new()); // 1 foreign
    let expected = Verdict {
        lines_expected: 3 * LINES,
        lines_received: 3 * LINES - 11 + 2,
        lost: 11,
        duplicated: 2,
        reordered: 1,
        torn: 3,
        foreign: 2,
        ..Verdict::default()
    };
    (partitions, expected)
}

fn produce(brokers: &str, topic: &str, partitions: &[Vec<Vec<u8>>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.codec", "lz4")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    for (partition, records) in (0..).zip(partitions) {
        for record in records {
            producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(record)).unwrap();
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn counts(verdict: &Verdict) -> Verdict {
    Verdict { first_problems: Vec::new(), first_lost: Vec::new(), ..verdict.clone() }
}

fn judge(brokers: &str, topic: &str, framing: Framing) -> Verdict {
    let journal = journal();
    let mut consumer = Consumer::open(brokers, topic).unwrap();
    assert_eq!(consumer.partitions(), PARTITIONS as usize);
    let mut ledger = Ledger::new(framing);
    drain(&mut consumer, &mut ledger, &journal, Duration::ZERO, |_| {}).unwrap();
    ledger.verdict(&journal)
}

/// What was typed and what came of it.
fn verify(brokers: &str, topic: &str, journal: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logdrive-bench"))
        .args(["verify", "--idle-timeout", "0s", "--brokers", brokers, "--topic", topic, "--journal"])
        .arg(journal)
        .args(more)
        .output()
        .unwrap()
}

/// Everything a topic can be asked, on topics that `create` makes.
fn every_count_is_exact(brokers: &str, mut create: impl FnMut(&str) -> String) {
    let (damaged, expected) = damaged();
    let bad = create("damaged");
    produce(brokers, &bad, &damaged);
    let verdict = judge(brokers, &bad, Framing::Line);
    assert_eq!(counts(&verdict), expected);
    let places: Vec<_> = verdict.first_problems.iter().map(|p| (p.partition, p.offset, p.reason)).collect();
    for place in [(1, 900, "duplicated"), (1, 901, "duplicated"), (1, 5001, "reordered"), (2, 3001, "torn")] {
        assert!(places.contains(&place), "{place:?} is not among {places:?}");
    }

    let chunks = create("chunks");
    let joined: Vec<Vec<Vec<u8>>> =
        clean().iter().map(|lines| lines.chunks(97).map(|chunk| chunk.join(&b'\n')).collect()).collect();
    produce(brokers, &chunks, &joined);
    let verdict = judge(brokers, &chunks, Framing::Chunk);
    assert!(verdict.passes(0), "{verdict}");
    assert_eq!((verdict.lines_received, verdict.generations_spread), (3 * LINES, 0));

    let empty = create("empty");
    assert_eq!(judge(brokers, &empty, Framing::Line).lost, 3 * LINES);

    let dir = tempfile::tempdir().unwrap();
    let (path, json) = (dir.path().join("journal"), dir.path().join("verdict.json"));
    journal().write(&path).unwrap();
    let passed = verify(brokers, &chunks, &path, &["--framing", "chunk"]);
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    let failed = verify(brokers, &bad, &path, &["--json", json.to_str().unwrap()]);
    let said = String::from_utf8(failed.stdout).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    let last = "FAIL: of 30000 lines 11 lost, 2 duplicated, 1 reordered, 3 torn, 2 foreign";
    assert_eq!(said.lines().last(), Some(last));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(
        (&json["lost"], &json["torn"], &json["lines_expected"]),
        (&11.into(), &3.into(), &30_000.into())
    );
}

#[test]
fn planted_damage_is_counted_exactly_on_a_mock_cluster() {
    let cluster = MockCluster::new(1).unwrap();
    every_count_is_exact(&cluster.bootstrap_servers(), |name| {
        cluster.create_topic(name, PARTITIONS, 1).unwrap();
        name.into()
    });
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn planted_damage_is_counted_exactly_on_a_real_broker() {
    let brokers = std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA is host:port of a broker");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let mut topics = Vec::new();
    every_count_is_exact(&brokers, |name| {
        let topic = format!("judge-{name}-{unique}");
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        runtime.block_on(admin.create_topics([&new], &options)).unwrap()[0].as_ref().unwrap();
        topics.push(topic.clone());
        topic
    });
    let missing = Consumer::open(&brokers, "no-such-topic");
    assert!(matches!(missing, Err(ConsumeError::NoTopic { .. })));
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    runtime.block_on(admin.delete_topics(&topics, &options)).unwrap();
}
