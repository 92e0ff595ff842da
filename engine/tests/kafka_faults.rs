//! What the sink does when Kafka does not do what it should.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kafka_letters;
mod kafka_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_support::*;
use logdrive::kafka::{CreateTopics, KafkaSettings, Sasl, SaslMechanism, Secret, Tls};
use logdrive_core::batch::{Outcome, Sink, TrySend};
use rdkafka::mocking::MockCluster;
use rdkafka_sys::RDKafkaApiKey::Produce;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

const TOO_LARGE: i32 = 10;

/// Sends `batches` batches of 100 numbered lines; returns the lines.
fn send_numbered(bed: &mut Bed, batches: usize, from: usize) -> Vec<String> {
    let file = file(1, "/l/a");
    let lines: Vec<String> = (from..from + batches * 100).map(|n| format!("{n:08}")).collect();
    for part in lines.chunks(100) {
        let batch = bed.batch(&file, part);
        bed.send(batch);
    }
    lines
}

fn values(cluster: &Cluster, count: usize) -> Vec<String> {
    let records = consume(&cluster.bootstrap_servers(), "web", 1, count);
    records.into_iter().map(|r| String::from_utf8(r.value.unwrap()).unwrap()).collect()
}

#[test]
fn k01_a_broker_that_is_down_at_the_start_is_waited_for() {
    let cluster = mock("web", 1);
    cluster.broker_down(-1).unwrap();
    let mut bed = Bed::on(&cluster, "web");
    let batch = bed.batch(&file(1, "/l/a"), &["one", "two"]);
    let TrySend::Unavailable(batch) = bed.sink.try_send(batch) else {
        panic!("taken though no partition is known")
    };
    bed.until("an error is known", |bed| bed.sink.status().last_error.is_some());
    cluster.broker_up(-1).unwrap();
    bed.send(batch);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(values(&cluster, 2), ["one", "two"]);
    assert_eq!(bed.sink.status().counters.rebuilds, 0);
}

#[test]
fn k02_what_is_in_flight_when_the_broker_goes_arrives_when_it_is_back() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    let mut expected = send_numbered(&mut bed, 5, 0);
    bed.settle();
    cluster.broker_down(-1).unwrap();
    expected.extend(send_numbered(&mut bed, 5, 500));
    bed.until("an error is known", |bed| bed.sink.status().last_error.is_some());
    assert_eq!(bed.sink.in_flight().batches, 5);
    cluster.broker_up(-1).unwrap();
    bed.settle();
    assert!(bed.all_acked());
    bed.assert_each_once();
    assert_eq!(values(&cluster, 1000), expected);
    assert_eq!(stored(&cluster.bootstrap_servers(), "web", 0), 1000);
}

#[test]
fn k22_too_few_replicas_are_retried_without_loss_duplicate_or_reordering() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    cluster.request_errors(Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 5]);
    let expected = send_numbered(&mut bed, 50, 0);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(values(&cluster, 5000), expected);
    assert_eq!(stored(&cluster.bootstrap_servers(), "web", 0), 5000);
}

#[test]
fn k08_a_brokers_refusal_counts_only_for_a_batch_that_was_alone() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    let file = file(1, "/l/a");
    // Other batches could have been in the same request: nobody knows whose record it was.
    let error = [Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE];
    cluster.request_errors(Produce, &error);
    let one = bed.batch(&file, &["one"]);
    bed.send(one);
    bed.settle();
    assert_eq!(bed.deliveries.pop().unwrap().1, Outcome::Lost { code: TOO_LARGE });
    cluster.request_errors(Produce, &error);
    let one = bed.returned.pop().unwrap();
    bed.send(one);
    let two = bed.batch(&file, &["two"]);
    let TrySend::Blocked(two) = bed.sink.try_send(two) else { panic!("the first one is not alone") };
    bed.send(two);
    let third = bed.batch(&file, &["three", "four"]);
    bed.send(third);
    bed.settle();
    let outcomes: Vec<Outcome> = bed.deliveries.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused { code: TOO_LARGE }, Outcome::Acked, Outcome::Acked]);
    assert_eq!(bed.sink.status().counters.messages_too_large, 0, "it was the broker");
    assert_eq!(values(&cluster, 3), ["two", "three", "four"]);
}

#[test]
fn k08_a_batch_with_a_record_larger_than_allowed_here_is_refused_here_and_nothing_of_it_is_sent() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    settings.message_bytes_max = 5000;
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    let file = file(1, "/l/a");
    let (large, largest) = ("x".repeat(4965), "y".repeat(4964));
    for lines in [["a", &large, "b"], [&large, "c", "d"], ["e", "f", &large]] {
        let batch = bed.batch(&file, &lines);
        bed.send(batch);
    }
    bed.settle();
    bed.assert_each_once();
    assert!(bed.deliveries.iter().all(|(_, outcome)| *outcome == Outcome::Refused { code: TOO_LARGE }));
    assert_eq!(bed.sink.status().counters.messages_too_large, 3);
    let fits = bed.batch(&file, &[&largest]);
    bed.send(fits);
    bed.settle();
    assert_eq!(bed.deliveries.last().unwrap().1, Outcome::Acked);
    assert_eq!(values(&cluster, 1), [largest]);
}

#[test]
fn k05_a_topic_that_is_created_later_is_waited_for_and_named() {
    let cluster = MockCluster::new(1).unwrap();
    let mut bed = Bed::on(&cluster, "web");
    let batch = bed.batch(&file(1, "/l/a"), &["one"]);
    let TrySend::Unavailable(batch) = bed.sink.try_send(batch) else { panic!("taken without a topic") };
    bed.until("the trouble is told", |bed| {
        let topic = &bed.sink.status().topics[0];
        topic.name == "web" && topic.trouble.as_ref().is_some_and(|t| t.contains("does not exist"))
    });
    cluster.create_topic("web", 1, 1).unwrap();
    bed.send(batch);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(bed.sink.status().topics[0].trouble, None);
    assert_eq!(values(&cluster, 1), ["one"]);
}

#[test]
fn k05_a_topic_that_cannot_be_created_is_told_and_waited_for() {
    // The mock cluster knows no request to create a topic, as an old or locked broker might not.
    let cluster = MockCluster::new(1).unwrap();
    let mut settings = settings(&cluster);
    settings.create_topics = Some(CreateTopics { partitions: 3, replication: 1 });
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    bed.until("the trouble is told", |bed| {
        bed.sink.status().topics[0].trouble.as_ref().is_some_and(|t| t.contains("cannot be created"))
    });
    cluster.create_topic("web", 1, 1).unwrap();
    let batch = bed.batch(&file(1, "/l/a"), &["one"]);
    bed.send(batch);
    bed.settle();
    assert!(bed.all_acked());
}

#[test]
fn k07_a_topic_that_is_not_authorized_waits_and_flows_again() {
    let cluster = mock("web", 1);
    cluster.topic_error("web", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let mut bed = Bed::on(&cluster, "web");
    bed.until("the trouble is told", |bed| {
        bed.sink.status().topics[0].trouble.as_ref().is_some_and(|t| t.contains("not authorized"))
    });
    cluster.topic_error("web", Code::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    let mut expected = send_numbered(&mut bed, 2, 0);
    bed.settle();
    // Taken away in the middle: what is on its way is lost, and waits to be sent again.
    cluster.request_errors(Produce, &[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let again = send_numbered(&mut bed, 1, 200);
    bed.settle();
    assert_eq!(bed.deliveries.last().unwrap().1, Outcome::Lost { code: 29 });
    let lost = bed.returned.pop().unwrap();
    let TrySend::Unavailable(lost) = bed.sink.try_send(lost) else { panic!("no pause after a loss") };
    bed.send(lost);
    bed.settle();
    assert_eq!(bed.deliveries.last().unwrap().1, Outcome::Acked);
    expected.extend(again);
    assert_eq!(values(&cluster, 300), expected);
}

#[test]
fn k14_a_fatal_error_gives_every_batch_back_once_and_a_new_producer_goes_on() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    let (file, freed) = (file(1, "/l/a"), Arc::new(AtomicUsize::new(0)));
    let mut sent = BTreeSet::new();
    let mut batches = 0;
    for round in 0..3 {
        for n in 0..20 {
            if n == 10 {
                let code = Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
                cluster.request_errors(Produce, &[code]);
            }
            let lines: Vec<String> = (0..50).map(|line| format!("{round} {n} {line}")).collect();
            let (bytes, events) = joined(&lines);
            let batch = bed.batch_of(&file, watched(bytes, &freed), events);
            bed.send(batch);
            batches += 1;
            sent.extend(lines);
        }
        bed.settle();
    }
    bed.assert_each_once();
    assert!(bed.sink.status().counters.rebuilds >= 1, "{:?}", bed.sink.status());
    assert!(!bed.returned.is_empty());
    assert_eq!(freed.load(Ordering::SeqCst) + bed.returned.len(), batches);
    for batch in std::mem::take(&mut bed.returned) {
        bed.send(batch);
    }
    bed.settle();
    assert!(bed.returned.is_empty());
    let count = stored(&cluster.bootstrap_servers(), "web", 0) as usize;
    assert_eq!(values(&cluster, count).into_iter().collect::<BTreeSet<_>>(), sent);
}

#[test]
fn k06_a_producer_that_makes_no_progress_although_brokers_answer_is_rebuilt() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    settings.stall_timeout = Duration::from_secs(30);
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    let expected = send_numbered(&mut bed, 2, 0);
    bed.settle();
    // Metadata goes on naming this leader, and this leader goes on denying it.
    cluster.request_errors(Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 10_000]);
    let lost = send_numbered(&mut bed, 3, 200);
    bed.until("a stall is seen", |bed| bed.sink.status().partitions_stalled > 0);
    bed.settle();
    assert_eq!(bed.sink.status().counters.rebuilds, 1);
    assert_eq!(bed.returned.len(), 3);
    bed.assert_each_once();
    cluster.clear_request_errors(Produce);
    for batch in std::mem::take(&mut bed.returned) {
        bed.send(batch);
    }
    bed.settle();
    assert!(bed.returned.is_empty());
    assert_eq!(values(&cluster, 500), [expected, lost].concat());
}

#[test]
fn k11_a_partition_without_a_leader_only_waits() {
    let cluster = mock("web", 2);
    // The mock's answers from version 10 on name the leader, and it crashes when there is none.
    cluster.apiversion(Produce, Some(0), Some(9)).unwrap();
    let mut settings = settings(&cluster);
    settings.stall_timeout = Duration::from_secs(20);
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    bed.until("the topic is known", |bed| bed.sink.status().topics[0].partitions == 2);
    let files: Vec<_> = (0..20).map(|n| file(n, &format!("/l/{n}"))).collect();
    let of = |partition: u64| files.iter().find(|f| f.family % 2 == partition).unwrap();
    cluster.partition_leader("web", 0, None).unwrap();
    let waiting = bed.batch(of(0), &["waits"]);
    let flowing = bed.batch(of(1), &["flows"]);
    bed.send(waiting);
    bed.send(flowing);
    for _ in 0..60 {
        bed.tick();
        bed.collect();
        bed.wait();
    }
    bed.until("the other partition flows", |bed| bed.deliveries.len() == 1);
    cluster.partition_leader("web", 0, Some(1)).unwrap();
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(bed.sink.status().counters.rebuilds, 0);
}

#[test]
fn k23_a_broker_that_swallows_everything_is_seen_as_a_stall() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    settings.stall_timeout = Duration::from_secs(100);
    settings.options.insert("socket.timeout.ms".into(), "2000".into());
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    bed.until("the topic is known", |bed| bed.sink.status().topics[0].partitions == 1);
    cluster.broker_round_trip_time(-1, Duration::from_secs(3600)).unwrap();
    let expected = send_numbered(&mut bed, 2, 0);
    bed.until("a stall is seen", |bed| bed.sink.status().partitions_stalled > 0);
    bed.until("an error is known", |bed| bed.sink.status().last_error.is_some());
    assert_eq!(bed.sink.in_flight().batches, 2);
    assert_eq!(bed.sink.status().counters.rebuilds, 0, "nobody answers: a new producer could do no better");
    cluster.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    bed.settle();
    assert!(bed.all_acked());
    let got: BTreeSet<String> =
        values(&cluster, stored(&cluster.bootstrap_servers(), "web", 0) as usize).into_iter().collect();
    assert_eq!(got, expected.into_iter().collect());
}

#[test]
fn s13_the_end_comes_in_time_though_the_broker_is_down() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    bed.until("the topic is known", |bed| bed.sink.status().topics[0].partitions == 1);
    cluster.broker_down(-1).unwrap();
    let (file, freed) = (file(1, "/l/a"), Arc::new(AtomicUsize::new(0)));
    for _ in 0..10 {
        let (bytes, events) = joined(&vec!["x".repeat(70_000); 5]);
        let batch = bed.batch_of(&file, watched(bytes, &freed), events);
        bed.send(batch);
    }
    let begin = Instant::now();
    // The allowance is for a busy machine: the producer itself is gone within milliseconds.
    assert!(!bed.sink.shutdown(Duration::from_secs(20)));
    assert!(begin.elapsed() < Duration::from_secs(20));
    bed.collect();
    bed.assert_each_once();
    assert!(bed.deliveries.iter().all(|(_, outcome)| matches!(outcome, Outcome::Lost { .. })));
    assert_eq!(freed.load(Ordering::SeqCst), 0, "they were given back, not dropped");
    let late = bed.batch(&file, &["late"]);
    assert!(matches!(bed.sink.try_send(late), TrySend::Full(_)));
}

#[test]
fn s13_the_end_delivers_what_it_can() {
    let cluster = mock("web", 1);
    cluster.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
    let mut settings = settings(&cluster);
    settings.linger = Duration::from_secs(600);
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    let expected = send_numbered(&mut bed, 3, 0);
    assert!(bed.sink.shutdown(PATIENCE));
    bed.collect();
    bed.assert_each_once();
    assert!(bed.all_acked());
    assert_eq!(values(&cluster, 300), expected);
}

#[test]
fn a_sink_that_is_dropped_frees_everything_after_its_producer() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    bed.until("the topic is known", |bed| bed.sink.status().topics[0].partitions == 1);
    cluster.broker_round_trip_time(-1, Duration::from_secs(60)).unwrap();
    let freed = Arc::new(AtomicUsize::new(0));
    for _ in 0..5 {
        let (bytes, events) = joined(&vec!["x".repeat(70_000); 5]);
        let batch = bed.batch_of(&file(1, "/l/a"), watched(bytes, &freed), events);
        bed.send(batch);
    }
    drop(bed);
    assert_eq!(freed.load(Ordering::SeqCst), 5);
}

#[test]
fn k24_librdkafkas_own_refusals_are_told_in_one_line() {
    let refused = |option: &str, value: &str| {
        let mut settings = KafkaSettings::new("localhost:1");
        settings.options.insert(option.into(), value.into());
        let sink = logdrive::kafka::KafkaSink::new(settings, BUDGET, "h", logdrive::bell::Bell::default());
        sink.map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused("no.such.property", "1").contains("no.such.property"));
    assert!(refused("socket.timeout.ms", "soon").contains("socket.timeout.ms"));
    assert!(refused("client.rack", "a\0b").contains("NUL"));
    assert!(!refused("ssl.keystore.password", "a\0swordfish").contains("swordfish"));
}

#[test]
fn tls_and_sasl_are_built_in_and_a_missing_certificate_is_named() {
    let mut settings = KafkaSettings::new("localhost:1");
    settings.tls = Some(Tls::default());
    let create = |settings: KafkaSettings| {
        logdrive::kafka::KafkaSink::new(settings, BUDGET, "h", logdrive::bell::Bell::default()).map(|_| ())
    };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        settings.sasl = Some(Sasl { mechanism, username: "u".into(), password: Secret::new("p") });
        create(settings.clone()).unwrap();
    }
    settings.tls = Some(Tls { ca: Some("/no/such/ca.pem".into()), ..Tls::default() });
    assert!(create(settings).unwrap_err().to_string().contains("ssl.ca.location"));
}

#[test]
fn round_trips_are_told_when_statistics_are_on() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    settings.statistics = Some(Duration::from_secs(5));
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    cluster.broker_round_trip_time(-1, Duration::from_millis(50)).unwrap();
    send_numbered(&mut bed, 1, 0);
    bed.until("round trips are known", |bed| !bed.sink.status().round_trips.is_empty());
    assert!(bed.sink.status().round_trips[0].p50_seconds >= 0.04);
}
