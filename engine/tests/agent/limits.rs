//! Faults K of a real broker that takes less than it did: quotas, limits, its disk, its topics.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use crate::cluster::Cluster;
use crate::lines::{Family, assert_complete, assert_no_loss, assert_order_of_firsts, values};
use crate::load::Load;
use crate::real::Real;
use crate::site::is_root;
use crate::wait::until_true;

fn broker() -> &'static Cluster {
    static BROKER: OnceLock<Cluster> = OnceLock::new();
    let broker = BROKER.get_or_init(|| Cluster::of(1).start());
    broker.mend();
    broker
}

fn families(real: &Real) -> Vec<Family> {
    (0..4).map(|at| Family::create(real.log(&format!("f{at}.log")))).collect()
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k20_a_quota_of_the_broker_slows_the_agent_down_and_costs_nothing() {
    let real = Real::on(1, broker);
    let topic = real.create_topic(&[]);
    let client = ["--entity-type", "clients", "--entity-name", "throttled"];
    let quota = |change: [&str; 2]| {
        broker().control(&[&["configs", "--alter"][..], &change, &client].concat());
    };
    quota(["--add-config", "producer_byte_rate=100000"]);
    let mut family = Family::create(real.log("app.log"));
    family.write_wide(20_000, 400);
    let launch = real.agent().set("kafka.client_id=throttled").set("kafka.stall_timeout=20s");
    let agent = launch.args("--compression none").set("limits.in_flight=8MiB").start();
    topic.await_count(3000);
    until_true("it shows", || agent.metric("logdrive_oldest_unacked_seconds") > 5.0);
    family.write(100);
    quota(["--delete-config", "producer_byte_rate"]);
    topic.await_value(family.last());
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    let peak = agent.peak_mib();
    assert!(peak < 96, "{peak} MiB were resident");
    assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0);
    agent.stop();
    assert_complete(&topic.whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k08_the_limit_of_a_topic_is_lowered_while_lines_flow() {
    let real = Real::on(1, broker);
    let topic = real.create_topic(&[]);
    let mut agent = real.agent().args("--compression none").start();
    // A batch that is read again because of a refusal may come after the beginning of the next file.
    let load = Load::without_rotation(families(&real), 25);
    topic.await_more(2000);
    real.alter_topic(&[("max.message.bytes", "1500")]);
    agent.await_log(&["a broker refused a request", "max.message.bytes"]);
    topic.await_more(200);
    let families = load.end();
    real.alter_topic(&[]);
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert!(agent.is_alive());
    // Every line is shorter than the limit: none may be dropped for the company that it was in.
    let replayed = agent.metric("logdrive_lines_replayed_total");
    let dropped = agent.metrics().into_iter().filter(|(name, _)| name.contains("dropped"));
    let dropped: Vec<_> = dropped.filter(|(_, count)| *count > 0.0).collect();
    assert!(dropped.is_empty(), "{dropped:?}\n{}", agent.log());
    agent.stop();
    // Of a batch that a broker refused in part, the part that it took comes again: never more than the
    // lines that were read again.
    let records = topic.whole();
    let families: Vec<&Family> = families.iter().collect();
    let again = assert_no_loss(&records, &families);
    assert_order_of_firsts(&records, &families);
    assert!(again as f64 <= replayed, "{again} lines came twice, {replayed} were read again");
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k06_the_topic_is_deleted_and_created_again_under_load() {
    let real = Real::on(1, broker);
    let topic = real.create_topic(&[]);
    let mut agent = real.agent().set("kafka.stall_timeout=5s").start();
    let load = Load::on(families(&real), 25);
    topic.await_more(2000);
    drop(topic);
    real.delete_topic();
    agent.await_log(&[&real.topic, "lines wait"]);
    load.await_more(2000);
    let topic = real.create_topic(&[]);
    topic.await_more(5000);
    let families = load.end();
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert!(agent.is_alive());
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    let replayed = agent.metric("logdrive_lines_replayed_total");
    agent.stop();
    // What was in the old topic is gone with it. From the first line that is in the new one on, every line
    // of its file is there, in order; and again at most what was read again.
    let arrived = values(&topic.whole());
    let mut again = 0;
    for family in &families {
        let lines: Vec<String> = family.lines.iter().map(|line| line.escape_ascii().to_string()).collect();
        let name = lines[0].split(' ').next().unwrap().to_owned() + " ";
        let mut ours: Vec<&String> = arrived.iter().filter(|line| line.starts_with(&name)).collect();
        let first = lines.iter().position(|line| line == ours[0]).unwrap();
        assert!(first > 0, "the topic was deleted when lines had arrived");
        let mut next = first;
        ours.retain(|line| {
            let is_next = next < lines.len() && **line == lines[next];
            next += usize::from(is_next);
            !is_next
        });
        assert_eq!(next, lines.len(), "`{name}` is not complete from line {first} on");
        again += ours.len();
    }
    assert!(again as f64 <= replayed, "{again} lines came twice, {replayed} were read again");
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k22_the_disk_of_the_broker_is_full_until_somebody_makes_room() {
    if !is_root("a disk that can be filled is mounted") {
        return;
    }
    let cluster = Cluster::of(1).on_small_disk(64).start();
    let real = Real::on(1, || &cluster);
    let topic = real.create_topic(&[]);
    let mut agent = real.agent().args("--compression none").start();
    let load = Load::on(families(&real), 25);
    topic.await_more(2000);
    let filler = cluster.disk().join("filler");
    fill(&filler);
    until_true("the broker gives up", || cluster.pid(1).is_none());
    load.await_more(5000);
    assert!(agent.is_alive());
    assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    std::fs::remove_file(filler).unwrap();
    cluster.control(&["start"]);
    topic.await_more(10_000);
    let families = load.end();
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0, "{}", agent.log());
    agent.stop();
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
}

/// Writes until there is no room.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
}
