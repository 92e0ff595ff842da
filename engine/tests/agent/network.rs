//! Faults K on the way to a real broker: slow lines, silence, connections that end anywhere.

use std::sync::OnceLock;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::lines::{Family, assert_complete};
use crate::process::{Agent, Launch};
use crate::proxy::{Proxy, Way, Weather};
use crate::real::Real;
use crate::topic::Topic;
use crate::wait::{is_long, until_true};

/// A broker and the bad network before it.
struct World {
    cluster: Cluster,
    proxy: Proxy,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (new, proxy) = Cluster::of(1).behind_proxy("PROXY", "PLAINTEXT");
        World { cluster: new.start(), proxy }
    })
}

/// An agent that has sent its first lines through the network.
struct Story {
    proxy: &'static Proxy,
    _real: Real,
    topic: Topic,
    agent: Agent,
    family: Family,
}

impl Story {
    fn begin(launch: impl FnOnce(Launch) -> Launch) -> Story {
        let real = Real::on(1, || &world().cluster);
        let proxy = &world().proxy;
        proxy.turn(Weather::Clear);
        let topic = real.create_topic(&[]);
        let mut family = Family::create(real.log("app.log"));
        family.write(100);
        let agent = launch(real.agent_of(&proxy.address())).start();
        let story = Story { proxy, _real: real, topic, agent, family };
        story.await_acked();
        story
    }

    fn await_acked(&self) {
        let lines = self.family.lines.len() as f64;
        until_true("all is acknowledged", || self.agent.metric("logdrive_lines_acked_total") == lines);
    }

    /// Everything is there once and in order, in bounded memory, by the producer of the beginning.
    fn end(self) {
        self.await_acked();
        let Story { topic, agent, family, .. } = self;
        let peak = agent.peak_mib();
        assert!(peak < 96, "{peak} MiB were resident");
        assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0, "{}", agent.log());
        assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
        agent.stop();
        assert_complete(&topic.whole(), &[&family]);
    }
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k20_a_round_trip_of_seconds_and_a_backlog() {
    let mut story = Story::begin(|agent| agent.set("limits.in_flight=8MiB"));
    let delay = if is_long() { 2500 } else { 700 };
    story.proxy.turn(Weather::Late(Duration::from_millis(delay)));
    story.family.write_wide(60_000, 400);
    story.end();
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k20_ten_kilobytes_a_second_and_then_single_bytes() {
    let mut story = Story::begin(|agent| agent.set("limits.in_flight=8MiB").set("kafka.stall_timeout=10s"));
    let every = Duration::from_millis(10);
    story.proxy.turn(Weather::Trickle { piece: 100, every });
    // A request may take longer than the whole patience with a producer: it is under way all the time.
    story.family.write_wide(if is_long() { 3000 } else { 600 }, 400);
    story.await_acked();
    story.proxy.turn(Weather::Trickle { piece: 1, every: Duration::ZERO });
    story.family.write(2000);
    story.end();
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k23_silence_after_the_connection_and_then_all_of_it_at_once() {
    let short = "kafka.options={\"socket.timeout.ms\"=\"2000\", \"request.timeout.ms\"=\"2000\"}";
    let mut story = Story::begin(|agent| agent.set(short).set("kafka.stall_timeout=5s"));
    story.proxy.turn(Weather::Still);
    story.family.write(5000);
    until_true("the stall shows", || story.agent.metric("logdrive_oldest_unacked_seconds") > 6.0);
    story.agent.await_log(&["brokers are down"]);
    story.family.write(5000);
    story.proxy.turn(Weather::Clear);
    story.end();
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k23_the_broker_has_forgotten_the_connection_and_the_agent_does_not_know() {
    let short = "kafka.options={\"socket.timeout.ms\"=\"3000\", \"request.timeout.ms\"=\"3000\"}";
    let mut story = Story::begin(|agent| agent.set(short));
    for _ in 0..2 {
        story.proxy.forget_connections();
        story.family.write(2000);
        story.await_acked();
    }
    story.end();
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn connections_cut_after_any_number_of_bytes_lose_and_double_nothing() {
    let mut story = Story::begin(|agent| agent.args("--compression none"));
    let few = [1, 2, 3, 4, 7, 12, 50, 61, 62, 100, 333, 1000, 4096, 20_000, 65_536, 150_000];
    let many = (1..=400).chain((0..100).map(|step| 1000 + 1777 * step));
    let places: Vec<usize> = if is_long() { many.collect() } else { few.to_vec() };
    for way in [Way::Up, Way::Down] {
        for &bytes in &places {
            let cuts = story.proxy.cuts();
            // What goes down is short: every answer is some fifty bytes.
            story.proxy.cut_after(way, if way == Way::Up { bytes } else { bytes % 400 + 1 });
            until_true("a connection is cut", || {
                story.family.write_wide(200, 100);
                story.await_acked();
                story.proxy.cuts() > cuts
            });
        }
    }
    story.end();
}
