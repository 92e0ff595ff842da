//! Descriptors run out: files take turns, nothing is given up, and Kafka and the state keep theirs.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use crate::lines::{Family, assert_complete};
use crate::process::Agent;
use crate::site::Site;
use crate::wait::{is_long, until_true};

#[test]
fn f02_thousands_of_active_files_and_256_descriptors() {
    let files = if is_long() { 5000 } else { 2000 };
    let site = Site::new();
    // What has no descriptor is not watched, and found by looking.
    let agent = site.agent().set("watch.reconcile=500ms").under(&["prlimit", "--nofile=256"]).start();
    let mut families: Vec<Family> = Vec::new();
    for at in 0..files {
        let mut family = Family::create(site.log(&format!("f{at:04}.log")));
        family.write(2);
        family.close();
        families.push(family);
    }
    for round in 1..5 {
        site.topic.await_count(files * round * 2);
        for family in &mut families {
            family.reopen();
            family.write(2);
            family.close();
        }
    }
    site.topic.await_count(files * 10);
    assert!(agent.descriptors().len() < 256);
    assert_eq!(agent.count_log(&["Too many open files"]), 0, "{}", agent.log());
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

fn limit_descriptors(agent: &Agent, soft: u64) -> Rlimit {
    let limit = rustix::process::prlimit(
        Some(agent.pid()),
        Resource::Nofile,
        Rlimit { current: Some(soft), maximum: Some(20_000) },
    );
    limit.unwrap()
}

#[test]
fn f03_descriptors_run_out_for_a_while() {
    let site = Site::new();
    let mut agent = site.agent().under(&["prlimit", "--nofile=1024:20000"]).start();
    let mut families = vec![Family::create(site.log("before.log"))];
    families[0].write(10);
    site.topic.await_count(10);
    agent.await_ready();
    // From now on every open fails, though the agent was told another limit at its start.
    limit_descriptors(&agent, 3);
    for at in 0..50 {
        let mut family = Family::create(site.log(&format!("during{at}.log")));
        family.write(10);
        families.push(family);
    }
    agent.await_log(&["LimitNOFILE"]);
    let begun = Instant::now();
    until_true("it has gone on for a while", || !is_long() || begun.elapsed() > Duration::from_secs(30));
    // The file that is open goes on.
    families[0].write(10);
    site.topic.await_value(families[0].last());
    assert!(agent.count_log(&["LimitNOFILE"]) < 60, "a flood:\n{}", agent.log());
    limit_descriptors(&agent, 1024);
    site.topic.await_count(10 * 52);
    until_true("every file is read to its end", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn f15_a_flood_in_one_file_does_not_drown_the_others() {
    let site = Site::with_partitions(1);
    let mut flood = Family::create(site.log("flood.log"));
    flood.write_wide(300_000, 200);
    let mut slow: Vec<Family> = (0..100).map(|at| Family::create(site.log(&format!("s{at}.log")))).collect();
    let agent = site.agent().set("limits.in_flight=8MiB").set("kafka.batch_bytes=64KiB").start();
    site.topic.await_count(1000);
    // Slow enough that the flood goes on for seconds.
    site.kafka.broker_round_trip_time(-1, Duration::from_millis(30)).unwrap();
    slow.iter_mut().for_each(|family| family.write(10));
    for family in &slow {
        site.topic.await_value(family.last());
    }
    let overtaken = 301_000 - site.topic.count();
    assert!(overtaken > 50_000, "only {overtaken} lines of the flood came after those of the others");
    site.kafka.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    site.topic.await_count(301_000);
    agent.stop();
    let mut all = vec![&flood];
    all.extend(&slow);
    assert_complete(&site.whole(), &all);
}
