//! Faults K with three brokers that hold every record three times, and take it when two have it.
//!
//! One cluster serves all of these tests, in turn; it is mended before each.

use std::sync::OnceLock;

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::lines::{Family, assert_complete};
use crate::load::Load;
use crate::process::{Agent, Launch};
use crate::real::Real;
use crate::topic::Topic;
use crate::wait::{is_long, until_true};

/// The three, which live as long as this process.
fn trio() -> &'static Cluster {
    static TRIO: OnceLock<Cluster> = OnceLock::new();
    let trio = TRIO.get_or_init(|| {
        // Patience of the brokers with each other: with that of the script, three of them and a load on two
        // busy cores take each other for dead.
        let patient = Cluster::of(3).set("broker.session.timeout.ms=6000");
        let patient = patient.set("controller.quorum.fetch.timeout.ms=5000");
        patient.set("controller.quorum.election.timeout.ms=3000").start()
    });
    trio.mend();
    trio
}

/// An agent under load on the three brokers.
struct Story {
    trio: &'static Cluster,
    real: Real,
    topic: Topic,
    agent: Agent,
    load: Load,
}

impl Story {
    fn begin(launch: impl FnOnce(Launch) -> Launch) -> Story {
        let real = Real::on(3, trio);
        let topic = real.create_topic(&[]);
        let agent = launch(real.agent()).start();
        let families = (0..4).map(|at| Family::create(real.log(&format!("f{at}.log")))).collect();
        let load = Load::on(families, 25);
        let trio = trio();
        topic.await_more(1000);
        Story { trio, real, topic, agent, load }
    }

    /// Nothing was lost, doubled or overtaken, and no producer had to be given up for that.
    fn end(self) {
        let Story { topic, mut agent, load, .. } = self;
        let families = load.end();
        until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        assert!(agent.is_alive());
        assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
        assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0, "{}", agent.log());
        agent.stop();
        assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "needs three brokers: run scripts/test"]
fn k03_each_of_three_brokers_is_killed_and_then_all_at_once() {
    for _ in 0..if is_long() { 5 } else { 1 } {
        let story = Story::begin(|agent| agent);
        for broker in 1..=3 {
            story.trio.control_one("kill", broker);
            // Two of three are enough.
            story.topic.await_more(5000);
            story.trio.control_one("start", broker);
            story.real.await_in_sync();
        }
        story.trio.control(&["kill"]);
        story.load.await_more(10_000);
        story.trio.control(&["start"]);
        story.topic.await_more(10_000);
        story.end();
    }
}

#[test]
#[ignore = "needs three brokers: run scripts/test"]
fn k04_the_brokers_are_restarted_in_turn_and_leaders_move_every_time() {
    let story = Story::begin(|agent| agent);
    for broker in 1..=3 {
        story.trio.control_one("stop", broker);
        story.topic.await_more(2000);
        story.trio.control_one("start", broker);
        story.real.await_in_sync();
    }
    story.end();
}

/// How often it is done; each takes most of a minute.
fn rounds() -> usize {
    if is_long() { 2 } else { 1 }
}

/// Two of three stand still for so many seconds, and run until lines flow again.
fn k15_stand_still(story: &Story, seconds: f64, stopped: [u16; 2]) {
    let (trio, agent) = (story.trio, &story.agent);
    stopped.iter().for_each(|&broker| trio.signal(broker, Signal::STOP));
    until_true("nothing is acknowledged", || agent.metric("logdrive_oldest_unacked_seconds") > seconds);
    stopped.iter().for_each(|&broker| trio.signal(broker, Signal::CONT));
    story.real.await_in_sync();
    story.topic.await_more(5000);
}

#[test]
#[ignore = "needs three brokers: run scripts/test"]
fn k15_two_of_three_brokers_stand_still_again_and_again() {
    let seconds = if is_long() { 45.0 } else { 10.0 };
    let story = Story::begin(|agent| agent);
    for stopped in [[1, 2], [2, 3]].into_iter().take(rounds()) {
        k15_stand_still(&story, seconds, stopped);
    }
    story.end();
}

#[test]
#[ignore = "needs three brokers: run scripts/test"]
fn k15_requests_expire_while_two_of_three_brokers_stand_still() {
    let seconds = if is_long() { 45.0 } else { 12.0 };
    // Every request that is under way when they stop is given up and sent again, twice and more.
    let short = "kafka.options={\"socket.timeout.ms\"=\"2000\", \"request.timeout.ms\"=\"2000\"}";
    let story = Story::begin(|agent| agent.set(short));
    for stopped in [[1, 3], [2, 1]].into_iter().take(rounds()) {
        k15_stand_still(&story, seconds, stopped);
    }
    story.end();
}

#[test]
#[ignore = "needs three brokers: run scripts/test"]
fn k15_one_of_three_brokers_stands_still_and_loses_its_leadership() {
    let short = "kafka.options={\"socket.timeout.ms\"=\"4000\", \"request.timeout.ms\"=\"4000\"}";
    let story = Story::begin(|agent| agent.set(short));
    for broker in 1..=3 {
        story.trio.signal(broker, Signal::STOP);
        // The others go on without it, with what it had not answered too.
        story.topic.await_more(5000);
        until_true("all but the last second is acknowledged", || {
            story.agent.metric("logdrive_oldest_unacked_seconds") < 1.0
        });
        story.trio.signal(broker, Signal::CONT);
        story.real.await_in_sync();
    }
    story.end();
}
