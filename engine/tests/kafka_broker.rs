//! The sink and a real broker, whose address is in `LOGDRIVE_KAFKA`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kafka_support;

use std::time::{Duration, SystemTime};

use kafka_support::*;
use logdrive::kafka::{Compression, CreateTopics, Format, KafkaSettings, Key, Partition};
use logdrive_core::batch::Outcome;
use logdrive_core::source::ItemId;

fn brokers() -> String {
    std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA names a broker; scripts/test sets it")
}

/// A topic that no test before had.
fn new_topic(what: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("sink-{what}-{}-{}", std::process::id(), now.as_nanos())
}

fn creating(partitions: i32) -> KafkaSettings {
    let mut settings = KafkaSettings::new(brokers());
    settings.create_topics = Some(CreateTopics { partitions, replication: 1 });
    settings
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k05_a_topic_is_created_and_lines_arrive_once_and_in_order_with_every_codec() {
    let topic = new_topic("order");
    let codecs = [
        Compression::Lz4 { level: None },
        Compression::None,
        Compression::Zstd { level: None },
        Compression::Snappy,
        Compression::Gzip { level: None },
    ];
    let file = file(1, "/l/a.log");
    let mut expected = Vec::new();
    for (round, compression) in codecs.into_iter().enumerate() {
        let mut settings = creating(3);
        (settings.compression, settings.producers) = (compression, 2);
        let mut bed = Bed::with(settings, BUDGET, route(&topic));
        let mut dice = Dice(round as u64 + 1);
        for _ in 0..20 {
            let lines: Vec<String> = (0..2000)
                .map(|n| match dice.roll(9) {
                    0 => String::new(),
                    _ => format!("{round} {n} {}", "x".repeat(dice.roll(300))),
                })
                .collect();
            let batch = bed.batch(&file, &lines);
            bed.send(batch);
            expected.extend(lines);
        }
        bed.settle();
        assert!(bed.all_acked());
        assert_eq!(bed.sink.status().topics[0].partitions, 3);
        assert_eq!(bed.sink.status().counters.topics_created, u64::from(round == 0));
    }
    let got = consume(&brokers(), &topic, 3, expected.len());
    assert!(got.iter().map(|r| r.value.as_deref().unwrap()).eq(expected.iter().map(|l| l.as_bytes())));
    let all: i64 = (0..3).map(|partition| stored(&brokers(), &topic, partition)).sum();
    assert_eq!(all, expected.len() as i64);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn keys_headers_and_documents_arrive() {
    let topic = new_topic("shape");
    let mut shape = route(&topic);
    (shape.key, shape.partition, shape.headers) = (Key::Source, Partition::Key, true);
    shape.format = Format::Ecs { item: "shop".into(), fields: vec![("team".into(), "a".into())] };
    let mut bed = Bed::with(creating(4), BUDGET, shape);
    let batch = bed.batch(&file(1, "/l/a.log"), &["one", "two"]);
    bed.send(batch);
    bed.settle();
    let got = consume(&brokers(), &topic, 4, 2);
    assert!(got.iter().all(|r| r.key.as_deref() == Some(b"testhost:/l/a.log")));
    assert_eq!(got[1].headers[3], ("offset".to_owned(), "4".to_owned()));
    let document: serde_json::Value = serde_json::from_slice(got[1].value.as_ref().unwrap()).unwrap();
    assert_eq!((&document["message"], &document["log.offset"]), (&"two".into(), &4.into()));
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k08_a_record_that_the_broker_finds_too_large_is_refused_and_the_rest_goes_on() {
    let topic = new_topic("large");
    let mut settings = creating(1);
    settings.message_bytes_max = 8_000_000;
    settings.compression = Compression::None;
    let mut bed = Bed::with(settings, BUDGET, route(&topic));
    let file = file(1, "/l/a.log");
    for lines in [vec!["a".to_owned()], vec!["x".repeat(5_000_000)], vec!["b".to_owned()]] {
        let batch = bed.batch(&file, &lines);
        bed.send(batch);
    }
    bed.settle();
    // What was refused together is sent again as the engine would: from the first one lost, in order.
    let mut again = std::mem::take(&mut bed.returned);
    again.sort_by_key(|batch| batch.id);
    for batch in again {
        bed.send(batch);
        bed.settle();
    }
    assert_eq!(bed.returned.len(), 1);
    assert_eq!(bed.returned[0].bytes.len(), 5_000_001);
    let refused = bed.deliveries.iter().filter(|(_, outcome)| *outcome == Outcome::Refused { code: 10 });
    assert_eq!(refused.count(), 1);
    let got = consume(&brokers(), &topic, 1, 2);
    assert_eq!(got.iter().map(|r| r.value.as_deref().unwrap()).collect::<Vec<_>>(), [b"a", b"b"]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k05_a_missing_topic_is_named_and_not_created_without_leave() {
    let (missing, there) = (new_topic("missing"), new_topic("there"));
    let mut bed = Bed::with(KafkaSettings::new(brokers()), BUDGET, route(&missing));
    bed.until("the trouble is told", |bed| bed.sink.status().topics[0].trouble.is_some());
    assert_eq!(bed.sink.status().topics[0].partitions, 0);
    let mut creator = Bed::with(creating(1), BUDGET, route(&there));
    creator.until("the topic is there", |bed| bed.sink.status().topics[0].partitions == 1);
    bed.sink.define_route(ItemId(0), route(&there)).unwrap();
    let batch = bed.batch(&file(1, "/l/a.log"), &["one"]);
    bed.send(batch);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(bed.sink.status().topics.len(), 1, "nobody asks about the other one any more");
    assert!(bed.sink.shutdown(Duration::from_secs(60)));
}
