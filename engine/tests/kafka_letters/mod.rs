//! What becomes of records that are refused for good.

use logdrive::kafka::{DeadLetters, Format, KafkaSettings, LetterPlace, OnFailure, OnRefused, Refusal};
use logdrive_core::batch::Outcome;
use rdkafka::mocking::MockCluster;
use rdkafka_sys::RDKafkaApiKey::Produce;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

use crate::kafka_support::*;

const TOO_LARGE: Code = Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
const INVALID: Code = Code::RD_KAFKA_RESP_ERR_INVALID_RECORD;

/// Dead letters go to the topic `dead`. The agent's own limit is 5,000 bytes.
fn keeping(cluster: &Cluster, on_failure: OnFailure) -> KafkaSettings {
    let mut settings = settings(cluster);
    settings.message_bytes_max = 5000;
    settings.on_refused = OnRefused::DeadLetter;
    settings.dead_letters = Some(DeadLetters { place: LetterPlace::Topic("dead".into()), on_failure });
    settings
}

/// Sends a line of the file `/l/a` and has it refused alone, by the second code; more are for what is sent instead.
fn refuse_alone(bed: &mut Bed, cluster: &Cluster, line: &str, codes: &[Code]) {
    cluster.request_errors(Produce, codes);
    let batch = bed.batch(&file(7, "/l/a"), &[line]);
    bed.send(batch);
    // It could have been in a request with others: nobody knows yet that it was this one.
    bed.until("it is back", |bed| !bed.returned.is_empty());
    assert!(matches!(bed.deliveries.pop(), Some((_, Outcome::Lost { .. }))));
    let batch = bed.returned.pop().unwrap();
    bed.send(batch);
}

fn only_outcome(bed: &mut Bed) -> Outcome {
    bed.settle();
    let [(_, outcome)] = bed.deliveries[..] else { panic!("{:?}", bed.deliveries) };
    bed.deliveries.clear();
    outcome
}

fn dead_letters(cluster: &Cluster, count: usize) -> Vec<Record> {
    consume(&cluster.bootstrap_servers(), "dead", 1, count)
}

#[test]
fn k08_a_refused_record_is_a_dead_letter_with_its_reason_and_origin() {
    let cluster = mock("web", 1);
    cluster.create_topic("dead", 1, 1).unwrap();
    let mut bed = Bed::with(keeping(&cluster, OnFailure::Wait), BUDGET, route("web"));
    refuse_alone(&mut bed, &cluster, "one", &[INVALID, INVALID]);
    assert_eq!(only_outcome(&mut bed), Outcome::Diverted);
    let large = "x".repeat(4990);
    let batch = bed.batch(&file(7, "/l/a"), &[&large]);
    bed.send(batch);
    assert_eq!(only_outcome(&mut bed), Outcome::Diverted);

    let got = dead_letters(&cluster, 2);
    let header = |record: &Record, name: &str| {
        record.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    assert_eq!(got[0].value.as_deref(), Some(&b"one"[..]));
    let expected =
        [("host", "testhost"), ("path", "/l/a"), ("offset", "0"), ("reason_code", "87"), ("topic", "web")];
    for (name, value) in expected {
        assert_eq!(header(&got[0], name).as_deref(), Some(value), "{name}");
    }
    assert!(
        header(&got[0], "reason").is_some_and(|reason| reason.contains("Broker")),
        "{:?}",
        got[0].headers
    );
    assert_eq!(header(&got[0], "truncated"), None);
    // What is too large for every topic is cut.
    let cut = got[1].value.as_deref().unwrap();
    assert!(cut.len() > 4400 && cut.len() < 5000 && cut.iter().all(|&byte| byte == b'x'), "{}", cut.len());
    assert_eq!(header(&got[1], "truncated").as_deref(), Some("4990"));
    assert_eq!(header(&got[1], "offset").as_deref(), Some("4"));
    let status = bed.sink.status();
    assert_eq!(status.counters.refused[Refusal::Invalid as usize], 1);
    assert_eq!(status.counters.refused[Refusal::TooLarge as usize], 1);
    assert_eq!((status.counters.dead_letters, status.letters_waiting, status.in_flight.messages), (2, 0, 0));
    assert_eq!(stored(&cluster.bootstrap_servers(), "web", 0), 0);
}

#[test]
fn k08_a_dead_letter_that_is_refused_waits_or_is_dropped_as_configured() {
    for on_failure in [OnFailure::Wait, OnFailure::Drop] {
        let cluster = mock("web", 1);
        cluster.create_topic("dead", 1, 1).unwrap();
        let mut bed = Bed::with(keeping(&cluster, on_failure), BUDGET, route("web"));
        // Twice each: once with others, as far as anybody knows, and once alone.
        refuse_alone(&mut bed, &cluster, "one", &[INVALID; 4]);
        if on_failure == OnFailure::Drop {
            assert_eq!(only_outcome(&mut bed), Outcome::Refused { code: INVALID as i32 });
            continue;
        }
        let is_told = |bed: &mut Bed| {
            let topics = bed.sink.status().topics;
            topics.iter().any(|topic| topic.name == "dead" && topic.trouble.is_some())
        };
        bed.until("the trouble is told", is_told);
        assert_eq!(bed.deliveries, []);
        assert_eq!(only_outcome(&mut bed), Outcome::Diverted);
        assert_eq!(dead_letters(&cluster, 1)[0].value.as_deref(), Some(&b"one"[..]));
    }
}

#[test]
fn k08_a_dead_letter_waits_for_its_topic_and_holds_up_its_own_file_only() {
    for on_failure in [OnFailure::Wait, OnFailure::Drop] {
        let cluster: Cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("web", 1, 1).unwrap();
        let mut bed = Bed::with(keeping(&cluster, on_failure), BUDGET, route("web"));
        let large = bed.batch(&file(7, "/l/a"), &["x".repeat(4990)]);
        bed.send(large);
        if on_failure == OnFailure::Drop {
            assert_eq!(only_outcome(&mut bed), Outcome::Refused { code: TOO_LARGE as i32 });
            continue;
        }
        let other = bed.batch(&file(8, "/l/b"), &["two"]);
        bed.send(other);
        bed.until("the other file goes on", |bed| bed.deliveries.len() == 1);
        let status = bed.sink.status();
        assert_eq!((status.letters_waiting, status.in_flight.batches), (1, 1));
        bed.deliveries.clear();
        cluster.create_topic("dead", 1, 1).unwrap();
        assert_eq!(only_outcome(&mut bed), Outcome::Diverted);
    }
}

#[test]
fn k08_a_record_that_is_too_large_is_cut_until_it_is_taken() {
    let cluster = mock("web", 1);
    let mut settings = keeping(&cluster, OnFailure::Wait);
    settings.on_refused = OnRefused::Truncate;
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    let whole = "ä".repeat(500);
    refuse_alone(&mut bed, &cluster, &whole, &[TOO_LARGE; 3]);
    assert_eq!(only_outcome(&mut bed), Outcome::Acked);
    // Its size is not what is wrong with it.
    cluster.request_errors(Produce, &[INVALID]);
    let one = bed.batch(&file(7, "/l/a"), &["one"]);
    bed.send(one);
    assert_eq!(only_outcome(&mut bed), Outcome::Refused { code: INVALID as i32 });
    let mut documents = route("web");
    documents.format = Format::Ecs { item: "shop".into(), fields: vec![] };
    bed.sink.define_route(logdrive_core::source::ItemId(0), documents).unwrap();
    let quotes = bed.batch(&file(7, "/l/a"), &["\"".repeat(4000)]);
    bed.send(quotes);
    assert_eq!(only_outcome(&mut bed), Outcome::Acked);

    let got = consume(&cluster.bootstrap_servers(), "web", 1, 2);
    assert_eq!(got[0].value.as_deref(), Some("ä".repeat(125).as_bytes()), "halved twice");
    assert_eq!(got[0].headers, [("truncated".to_owned(), "1000".to_owned())]);
    let document: serde_json::Value = serde_json::from_slice(got[1].value.as_deref().unwrap()).unwrap();
    let message = document["message"].as_str().unwrap();
    assert!(message.len() > 100 && message.chars().all(|quote| quote == '"'), "{message}");
    assert_eq!(bed.sink.status().counters.messages_cut, 2);
}

#[test]
fn what_waits_at_the_end_is_given_back_to_be_read_again() {
    let cluster = mock("web", 1);
    let mut bed = Bed::with(keeping(&cluster, OnFailure::Wait), BUDGET, route("web"));
    let large = bed.batch(&file(7, "/l/a"), &["x".repeat(4990)]);
    bed.send(large);
    bed.until("it waits for its topic", |bed| bed.sink.status().letters_waiting == 1);
    bed.sink.shutdown(std::time::Duration::ZERO);
    assert!(bed.collect());
    assert!(matches!(only_outcome(&mut bed), Outcome::Lost { .. }));
}
