//! Faults K that need a real broker: its limits, its deaths, its topics.
//!
//! `LOGDRIVE_KAFKA` names its address and `LOGDRIVE_KAFKA_CTL` the words that begin a command to start or
//! kill it (`scripts/kafka --dir D`). `scripts/test` sets both. The tests take turns with it.

use crate::lines::{Family, append, assert_complete, values};
use crate::real::Real;
use crate::topic::{Record, Topic};
use crate::wait::until_true;

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k03_the_broker_is_killed_three_times_under_load() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let mut agent = real.agent().start();
    let mut families: Vec<Family> =
        (0..4).map(|at| Family::create(real.log(&format!("f{at}.log")))).collect();
    let mut written = 0;
    for round in 0..3 {
        for _ in 0..50 {
            families.iter_mut().for_each(|family| family.write(100));
        }
        written += 20_000;
        topic.await_count(written - 10_000);
        real.control("kill");
        for family in &mut families {
            family.write(2500);
            family.rotate(&family.beside(&format!("{}", 100 + round)));
            family.write(2500);
        }
        written += 20_000;
        real.control("start");
        topic.await_count(written);
    }
    assert!(agent.is_alive());
    agent.stop();
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k05_a_missing_topic_is_created_when_that_is_allowed() {
    let real = Real::new();
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let mut agent = real.agent().start();
    agent.await_log(&[&real.topic, "does not exist"]);
    agent.stop();
    let agent = real.agent().set("kafka.create_topics.partitions=3").start();
    until_true("everything is acknowledged", || agent.metric("logdrive_lines_acked_total") == 100.0);
    agent.stop();
    assert_complete(&real.topic().whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k05_a_missing_topic_is_created_as_the_broker_likes_it() {
    let real = Real::new();
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let agent = real.agent().set("kafka.create_topics.partitions=broker").start();
    until_true("everything is acknowledged", || agent.metric("logdrive_lines_acked_total") == 100.0);
    agent.stop();
    // `num.partitions` of a broker that was told nothing is 1.
    assert_complete(&Topic::read(&real.brokers, &real.topic, 1).whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k05_a_missing_topic_is_waited_for() {
    let real = Real::new();
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let mut agent = real.agent().start();
    agent.await_log(&[&real.topic, "does not exist"]);
    let topic = real.create_topic(&[]);
    topic.await_count(100);
    agent.stop();
    assert_complete(&topic.whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k06_the_topic_is_deleted_and_created_again() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let mut agent = real.agent().set("kafka.stall_timeout=5s").start();
    topic.await_count(100);
    drop(topic);
    real.delete_topic();
    let mut second = Family::named("second", real.log("app.log"));
    second.write(100);
    agent.await_log(&[&real.topic]);
    let topic = real.create_topic(&[]);
    topic.await_value(second.last());
    agent.stop();
    assert_complete(&topic.whole(), &[&second]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k08_a_record_that_the_topic_refuses_is_counted_and_the_file_goes_on() {
    let real = Real::new();
    let topic = real.create_topic(&[("max.message.bytes", "20000")]);
    let mut agent = real.agent().args("--compression none").start();
    let large = "L".repeat(50_000);
    let mut written = Vec::new();
    for at in 0..200 {
        written.push(format!("small {at}"));
        if at % 50 == 25 {
            written.push(large.clone());
        }
    }
    append(real.log("app.log"), written.join("\n") + "\n");
    topic.await_value(b"small 199");
    agent.await_log(&["app.log", "refused"]);
    until_true("all is settled", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    let metrics = agent.metrics();
    let refused: f64 = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("logdrive_lines_dropped_total") && name.contains("refused"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(refused, 4.0);
    agent.stop();
    written.retain(|line| line.len() < 20_000);
    assert_eq!(values(&topic.whole()), written);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k08_what_a_topic_refuses_is_in_the_topic_of_dead_letters() {
    let mut real = Real::new();
    let topic = real.create_topic(&[("max.message.bytes", "20000")]);
    let refusing = real.topic.clone();
    real.topic.push_str("-dead");
    let dead = real.create_topic(&[]);
    let place = format!("kafka.dead_letter.topic={}", real.topic);
    real.topic.clone_from(&refusing);
    let agent =
        real.agent().args("--compression none").set("kafka.on_refused=dead_letter").set(place).start();
    let large = "L".repeat(50_000);
    let mut written: Vec<String> = (0..200).map(|at| format!("small {at}")).collect();
    written[120].clone_from(&large);
    append(real.log("app.log"), written.join("\n") + "\n");
    topic.await_value(b"small 199");
    until_true("all is settled", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_lines_dead_lettered_total"), 1.0);
    agent.stop();
    let letters = dead.whole();
    assert_eq!(values(&letters), [&large[..]]);
    let reason = letters[0].headers.iter().find(|(name, _)| name == "reason_code");
    assert_eq!(reason.map(|(_, code)| &code[..]), Some(&b"10"[..]), "{:?}", letters[0].headers);
    written.retain(|line| line.len() < 20_000);
    assert_eq!(values(&topic.whole()), written);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k23_the_broker_is_stopped_for_a_while() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let agent = real.agent().set("kafka.options={\"socket.timeout.ms\"=\"2000\"}").start();
    let mut family = Family::create(real.log("app.log"));
    family.write(1000);
    topic.await_count(1000);
    let port = real.brokers.rsplit(':').next().expect("a port");
    let pid = broker_pid(&real, port);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    family.write(5000);
    until_true("the stall shows", || agent.metric("logdrive_oldest_unacked_seconds") > 5.0);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    topic.await_count(6000);
    agent.stop();
    assert_complete(&topic.whole(), &[&family]);
}

/// Who listens at a port, by what `scripts/kafka status` says.
fn broker_pid(real: &Real, port: &str) -> rustix::process::Pid {
    let text = real.control("status");
    let line = text.lines().find(|line| line.contains(&format!(":{port},"))).expect("a running broker");
    let pid = line.split("pid ").nth(1).and_then(|rest| rest.split(',').next()).expect("a pid");
    rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap()
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn any_bytes_arrive_as_they_were_written() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let agent = real.agent().start();
    let mut seed = 3u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    let mut written: Vec<u8> = (0..2_000_000).map(|_| noise()).collect();
    written.push(b'\n');
    append(real.log("app.log"), &written);
    let lines: Vec<&[u8]> = written[..written.len() - 1].split(|&byte| byte == b'\n').collect();
    topic.await_count(lines.len());
    agent.stop();
    let records: Vec<Record> = topic.whole();
    let arrived: Vec<&[u8]> = records.iter().map(|record| record.value.as_slice()).collect();
    assert!(arrived == lines);
}
