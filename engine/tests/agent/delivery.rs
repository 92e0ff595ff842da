//! Faults K, against the mock cluster: brokers that are away, slow, silent or of another opinion.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka_sys::{RDKafkaApiKey, RDKafkaRespErr};

use crate::lines::{Family, append, assert_complete, assert_no_loss, assert_order_of_firsts, values};
use crate::site::{Site, TOPIC, is_root};
use crate::wait::until_true;

use RDKafkaRespErr as Answer;

const SLOW: Duration = Duration::from_millis(700);
/// Longer than any test waits.
const SILENT: Duration = Duration::from_secs(3600);
#[test]
fn k01_the_broker_is_down_at_the_start() {
    let site = Site::with_partitions(1);
    site.broker_down();
    let mut family = Family::create(site.log("app.log"));
    family.write_wide(100_000, 400);
    let mut agent = site.agent().set("limits.in_flight=8MiB").start();
    agent.await_log(&["Connection refused"]);
    assert!(agent.http("/readyz").is_none_or(|(code, _)| code == 503));
    let before = agent.peak_mib();
    site.broker_up();
    site.topic.await_count(100_000);
    let peak = agent.peak_mib();
    agent.await_ready();
    agent.stop();
    assert!(peak < 96, "{before} MiB before and {peak} after were resident");
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn k02_down_for_longer_than_any_timeout() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    let mut agent = site.agent().set("kafka.stall_timeout=5s").start();
    site.topic.await_count(10);
    site.broker_down();
    family.write(5000);
    // Longer than what makes the watchdog replace a producer when brokers answer.
    until_true("they wait for long", || agent.metric("logdrive_oldest_unacked_seconds") > 8.0);
    family.write(5000);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    site.broker_up();
    site.topic.await_value(family.last());
    assert!(agent.is_alive());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn k02_a_timeout_that_drops_is_refused() {
    let site = Site::new();
    for option in ["message.timeout.ms", "delivery.timeout.ms"] {
        let launch = site.agent().set(format!("kafka.options={{\"{option}\"=\"1000\"}}"));
        launch.finish().with_code(78).saying(&[option]);
    }
}

#[test]
fn k04_the_leader_moves_again_and_again() {
    let site = Site::with_brokers(3);
    let mut family = Family::create(site.log("app.log"));
    let agent = site.agent().start();
    for round in 0..12 {
        family.write(3000);
        for partition in 0..4 {
            site.kafka.partition_leader(TOPIC, partition, Some(1 + (round + partition) % 3)).unwrap();
        }
        family.write(3000);
        site.topic.await_that("some of the round", |records| records.len() >= 6000 * round as usize);
    }
    site.topic.await_value(family.last());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn k05_the_topic_is_missing_and_created_later() {
    let site = Site::new();
    let missing = |answer| site.kafka.topic_error(TOPIC, answer).unwrap();
    missing(Answer::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let mut agent = site.agent().start();
    agent.await_log(&["topic", TOPIC, "does not exist"]);
    family.write(100);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    missing(Answer::RD_KAFKA_RESP_ERR_NO_ERROR);
    site.topic.await_count(200);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn k07_the_right_to_write_is_taken_and_given_back() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let mut agent = site.agent().start();
    site.topic.await_count(100);
    let denied = Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    site.kafka.topic_error(TOPIC, denied).unwrap();
    site.kafka.request_errors(RDKafkaApiKey::Produce, &[denied; 3]);
    family.write(100);
    agent.await_log(&["uthoriz"]);
    site.kafka.clear_request_errors(RDKafkaApiKey::Produce);
    site.kafka.topic_error(TOPIC, Answer::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    site.topic.await_count(200);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

/// Some produce requests are answered so; everything arrives, once and in order. One request at a time: a
/// broker takes nothing that follows a gap in the sequence numbers, the mock does.
fn all_arrives_after(answers: &[Answer]) {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = site.agent().start();
    site.topic.await_count(100);
    for round in 0..3 {
        site.kafka.request_errors(RDKafkaApiKey::Produce, answers);
        for part in 1..=5 {
            family.write(200);
            site.topic.await_count(100 + round * 1000 + part * 200);
            until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        }
    }
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0, "{answers:?}");
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

/// Of many requests one is refused as a whole; what it held is sent again.
fn nothing_is_lost_after(refusal: Answer) {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = site.agent().start();
    site.topic.await_count(100);
    site.kafka.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    for _ in 0..5 {
        family.write(200);
    }
    site.topic.await_value(family.last());
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0, "{refusal:?}");
    agent.stop();
    // A broker takes nothing that follows a gap in the sequence numbers; the mock does, and what followed
    // the refused batch comes twice.
    assert_no_loss(&site.whole(), &[&family]);
}

#[test]
fn k08_a_batch_that_is_too_large_is_split() {
    nothing_is_lost_after(Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
}

/// Codes of the answers to the next requests; the mock takes 0 for none.
fn answer(site: &Site, answers: &[Option<Answer>]) {
    let answers = answers.iter().map(|answer| answer.unwrap_or(Answer::RD_KAFKA_RESP_ERR_NO_ERROR));
    site.kafka.request_errors(RDKafkaApiKey::Produce, &answers.collect::<Vec<_>>());
}

const TOO_LARGE: Option<Answer> = Some(Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

#[test]
fn k08_a_record_that_is_cut_stays_in_its_place() {
    let site = Site::with_partitions(1);
    let large = "L".repeat(2000);
    site.append("app.log", format!("before\n{large}\nafter\n"));
    // All three with others and alone; the first half; the second half; the large one; what is left of it.
    answer(&site, &[TOO_LARGE, TOO_LARGE, None, TOO_LARGE, TOO_LARGE, TOO_LARGE]);
    let agent = site.agent().set("kafka.on_refused=truncate").start();
    site.topic.await_value(b"after");
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_records_cut_total"), 1.0);
    assert_eq!(agent.metric("logdrive_records_refused_total"), 1.0);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    agent.stop();
    let records = site.whole();
    assert_eq!(values(&records), ["before", &large[..500], "after"]);
    assert_eq!(records[1].headers, [("truncated".to_owned(), b"2000".to_vec())]);
}

#[test]
fn k08_dead_letters_in_a_file_survive_a_kill() {
    let site = Site::with_partitions(1);
    let letters = site.root().join("letters");
    let keeping = || {
        let file = format!("kafka.dead_letter.file={}", letters.display());
        site.agent().set("kafka.on_refused=dead_letter").set(file)
    };
    site.append("app.log", b"bad \xff\n");
    answer(&site, &[TOO_LARGE, TOO_LARGE]);
    let agent = keeping().start();
    until_true("it is kept", || agent.metric("logdrive_lines_dead_lettered_total") == 1.0);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    until_true("its position too", || agent.metric("logdrive_checkpoint_writes_total") > 0.0);
    agent.kill();
    let kept = std::fs::read_to_string(&letters).unwrap();
    let letter: serde_json::Value = serde_json::from_str(kept.trim_end()).unwrap();
    let path = site.log("app.log");
    for (field, value) in [("reason", "too_large"), ("topic", TOPIC), ("line_base64", "YmFkIP8=")] {
        assert_eq!(letter[field], value, "{letter}");
    }
    assert_eq!((&letter["path"], &letter["offset"]), (&path.to_str().unwrap().into(), &0.into()));

    site.append("app.log", "good\n");
    let agent = keeping().start();
    site.topic.await_value(b"good");
    agent.stop();
    assert_eq!(std::fs::read_to_string(&letters).unwrap(), kept, "it is not refused again");
    assert_eq!(values(&site.whole()), ["good"]);
}

#[test]
fn k09_a_broker_that_refuses_a_batch_once_is_asked_again() {
    nothing_is_lost_after(Answer::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE);
    nothing_is_lost_after(Answer::RD_KAFKA_RESP_ERR_INVALID_MSG);
}

#[test]
fn k11_a_partition_without_a_leader_pauses_its_files_only() {
    let site = Site::new();
    // In newer versions the mock's answers name the leader, and it crashes when there is none.
    site.kafka.apiversion(RDKafkaApiKey::Produce, Some(0), Some(9)).unwrap();
    site.kafka.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(11)).unwrap();
    let names: Vec<String> = (0..24).map(|at| format!("f{at}.log")).collect();
    let mut families: Vec<Family> = names.iter().map(|name| Family::create(site.log(name))).collect();
    families.iter_mut().for_each(|family| family.write(10));
    let agent = site.agent().set("limits.in_flight=8MiB").set("kafka.stall_timeout=5s").start();
    site.topic.await_count(240);
    let partition_of: Vec<i32> = {
        let mut found = Vec::new();
        site.topic.await_that("a line of each", |records| {
            let of =
                |family: &Family| records.iter().find(|r| r.value == family.lines[0]).map(|r| r.partition);
            found = families.iter().map(|family| of(family).expect("all have arrived")).collect();
            true
        });
        found
    };
    let stuck = partition_of[0];
    assert!(partition_of.iter().any(|&partition| partition != stuck), "{partition_of:?}");
    site.kafka.partition_leader(TOPIC, stuck, None).unwrap();
    for (family, &partition) in families.iter_mut().zip(&partition_of) {
        // Far more than may be in flight, for those that are stuck: at first they take all memory.
        family.write_wide(if partition == stuck { 20_000 } else { 1000 }, 300);
    }
    for (family, &partition) in families.iter().zip(&partition_of) {
        if partition != stuck {
            site.topic.await_value(family.last());
        }
    }
    site.kafka.partition_leader(TOPIC, stuck, Some(1)).unwrap();
    for family in &families {
        site.topic.await_value(family.last());
    }
    let peak = agent.peak_mib();
    agent.stop();
    assert!(peak < 96, "{peak} MiB were resident");
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn k13_errors_that_pass_keep_the_order() {
    all_arrives_after(&[
        Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Answer::RD_KAFKA_RESP_ERR_NO_ERROR,
        Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Answer::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ]);
}

#[test]
fn k14_an_out_of_order_sequence_does_not_end_the_shipping() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = site.agent().start();
    site.topic.await_count(100);
    for round in 0..3 {
        let answer = Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        site.kafka.request_errors(RDKafkaApiKey::Produce, &[answer]);
        family.write(1000);
        site.topic.await_value(family.last());
        assert_eq!(family.lines.len(), 100 + (round + 1) * 1000);
    }
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    agent.stop();
    let records = site.whole();
    assert_no_loss(&records, &[&family]);
    assert_order_of_firsts(&records, &[&family]);
}

#[test]
fn k20_a_slow_connection_costs_no_memory_and_no_line() {
    let site = Site::with_partitions(1);
    let mut family = Family::create(site.log("app.log"));
    family.write(1);
    let agent = site.agent().set("limits.in_flight=8MiB").start();
    site.topic.await_count(1);
    site.kafka.broker_round_trip_time(-1, SLOW).unwrap();
    family.write_wide(60_000, 400);
    site.topic.await_value(family.last());
    let peak = agent.peak_mib();
    agent.stop();
    assert!(peak < 96, "{peak} MiB were resident");
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn k21_a_full_queue_takes_the_rest_later_and_in_order() {
    let site = Site::with_partitions(1);
    let mut families: Vec<Family> =
        (0..8).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
    families[0].write(1);
    let agent = site.agent().set("limits.in_flight=8MiB").start();
    site.topic.await_count(1);
    site.kafka.broker_round_trip_time(-1, Duration::from_millis(30)).unwrap();
    // Many more messages than the queue takes.
    families.iter_mut().for_each(|family| family.write(20_000));
    site.topic.await_count(160_001);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn k22_a_broker_without_disk_or_replicas_is_waited_for() {
    all_arrives_after(&[
        Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ]);
}

#[test]
fn k23_a_broker_that_never_answers_is_noticed_and_its_lines_are_sent_again() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    let mut agent = site
        .agent()
        .set("kafka.stall_timeout=5s")
        .set("kafka.options={\"socket.timeout.ms\"=\"2000\"}")
        .start();
    site.topic.await_count(10);
    site.kafka.broker_round_trip_time(-1, SILENT).unwrap();
    family.write(1000);
    until_true("the stall shows", || agent.metric("logdrive_oldest_unacked_seconds") > 3.0);
    agent.await_log(&["brokers are down"]);
    site.kafka.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    // The connections over which nothing came are given up by then.
    site.topic.await_value(family.last());
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    let records = site.whole();
    assert_no_loss(&records, &[&family]);
    assert_order_of_firsts(&records, &[&family]);
}

#[test]
fn k24_weaker_promises_are_said_and_nonsense_is_refused() {
    let site = Site::new();
    site.append("app.log", "one\n");
    for acks in ["0", "1"] {
        let mut agent = site.agent().arg("--acks").arg(acks).args("--compression none").start();
        agent.await_log(&["kafka.acks"]);
        site.append("app.log", format!("with {acks}\n"));
        site.topic.await_value(format!("with {acks}").as_bytes());
        assert_eq!(agent.count_log(&["kafka.acks"]), 1, "{}", agent.log());
        agent.stop();
    }
    for (option, words) in [
        ("{\"no.such.property\"=\"1\"}", "no.such.property"),
        ("{\"enable.idempotence\"=\"false\"}", "enable.idempotence"),
        ("{\"acks\"=\"0\"}", "acks"),
    ] {
        let refused = site.agent().set(format!("kafka.options={option}")).finish();
        refused.with_code(78).saying(&[words]);
    }
    site.agent().args("--acks 2").finish().with_code(78).saying(&["--acks", "allowed: all, 1, 0"]);
}

#[test]
fn k25_killed_with_lines_in_the_queue() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(1000);
    let agent = site.agent().start();
    site.topic.await_count(1000);
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    site.broker_down();
    family.write(20_000);
    until_true("they are in the queue", || agent.metric("logdrive_in_flight_lines") == 20_000.0);
    agent.kill();
    site.broker_up();
    let agent = site.agent().start();
    site.topic.await_count(21_000);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn two_producers_and_every_codec_deliver_the_same() {
    for codec in ["none", "lz4", "zstd", "snappy", "gzip"] {
        let site = Site::new();
        let mut families: Vec<Family> =
            (0..8).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
        families.iter_mut().for_each(|family| family.write(1000));
        let agent = site.agent().arg("--compression").arg(codec).set("kafka.producers=2").start();
        site.topic.await_count(8000);
        agent.stop();
        assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
    }
}

#[test]
fn keys_and_headers_say_where_a_record_comes_from() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("item.headers=true").start();
    site.append("app.log", "one\ntwo\n");
    site.topic.await_count(2);
    agent.stop();
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let path = site.log("app.log").to_str().unwrap().to_owned();
    let records = site.whole();
    for (record, offset) in records.iter().zip(["0", "4"]) {
        assert_eq!(record.key.as_deref(), Some(format!("{host}:{path}").as_bytes()));
        let header = |name: &str| {
            let found = record.headers.iter().find(|(header, _)| header == name);
            String::from_utf8(found.unwrap_or_else(|| panic!("no {name} in {record:?}")).1.clone()).unwrap()
        };
        assert_eq!((header("host"), header("path")), (host.clone(), path.clone()));
        assert_eq!(header("offset"), offset);
        assert!(!header("generation").is_empty());
    }
}

#[test]
fn partitions_are_chosen_as_configured() {
    for (rule, spread) in [("2", 1..=1), ("sticky", 2..=4), ("key", 2..=4), ("source", 2..=4)] {
        let site = Site::new();
        for at in 0..30 {
            append(site.log(&format!("f{at}.log")), "a line\n".repeat(10));
        }
        let launch = site.agent().set(format!("item.partition={rule}"));
        let launch = if rule == "sticky" { launch.set("item.sticky_slice=1ms") } else { launch };
        let agent = launch.start();
        site.topic.await_count(300);
        let mut round = 0;
        while rule == "sticky" && round < 50 {
            round += 1;
            append(site.log("f0.log"), "a line\n");
            site.topic.await_count(300 + round);
        }
        agent.stop();
        let mut used: Vec<i32> = site.whole().iter().map(|record| record.partition).collect();
        used.dedup();
        used.sort_unstable();
        used.dedup();
        assert!(spread.contains(&used.len()), "{rule}: {used:?}");
        assert!(rule != "2" || used == [2], "{used:?}");
    }
}

#[test]
fn brokers_that_are_none_are_named() {
    let site = Site::new();
    let other = MockCluster::new(1).unwrap();
    let gone = other.bootstrap_servers();
    drop(other);
    let mut agent = site.agent_of(&gone).start();
    agent.await_log(&[&gone]);
    agent.stop();
}

#[test]
fn k17_the_name_of_the_broker_is_not_known_at_first() {
    if !is_root("a table of hosts of one's own") {
        return;
    }
    let site = Site::new();
    let hosts = site.root().join("hosts");
    append(&hosts, "127.0.0.1 localhost\n");
    let port = site.brokers().rsplit(':').next().expect("a port").to_owned();
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let mut agent = site
        .agent_of(&format!("kafka.invalid:{port}"))
        .under(&["unshare", "-m", "sh", "-c", &script, "sh"])
        .start();
    agent.await_log(&["kafka.invalid"]);
    append(&hosts, "127.0.0.1 kafka.invalid\n");
    site.topic.await_count(100);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}
