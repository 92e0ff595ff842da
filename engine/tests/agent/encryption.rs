//! K18: TLS to a real broker, whose listeners show certificates of every kind.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use crate::certificates::{Authority, Holds};
use crate::cluster::Cluster;
use crate::lines::{Family, assert_complete};
use crate::load::Load;
use crate::process::{Launch, free_ports};
use crate::proxy::Proxy;
use crate::real::Real;
use crate::wait::until_true;

/// One broker with a listener for each kind of certificate.
struct World {
    /// Who has signed what brokers and agents show.
    trusted: Authority,
    /// Who is trusted by nobody.
    stranger: Authority,
    cluster: Cluster,
}

const HERE: &str = "DNS:localhost,IP:127.0.0.1";

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (trusted, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
        let mut cluster = Cluster::of(1).set("ssl.keystore.type=PEM").set("ssl.truststore.type=PEM");
        for (listener, pair) in [
            ("GOOD", trusted.issue("good", HERE, Holds::Now)),
            ("EXPIRED", trusted.issue("expired", HERE, Holds::NoLonger)),
            ("ELSEWHERE", trusted.issue("elsewhere", "DNS:kafka.example,IP:192.0.2.1", Holds::Now)),
            ("MUTUAL", trusted.issue("mutual", HERE, Holds::Now)),
        ] {
            let prefix = format!("listener.name.{}.ssl", listener.to_lowercase());
            cluster = cluster
                .listener(listener, "SSL")
                .set(format!("{prefix}.keystore.location={}", pair.bundle().display()));
        }
        let cluster = cluster
            .set("listener.name.mutual.ssl.client.auth=required")
            .set(format!("listener.name.mutual.ssl.truststore.location={}", trusted.ca().display()))
            .start();
        World { trusted, stranger, cluster }
    })
}

/// A command line of an agent that speaks TLS to a listener and trusts an authority.
fn agent(real: &Real, listener: &str, ca: &Authority) -> Launch {
    let address = match listener {
        "PLAINTEXT" => world().cluster.brokers(),
        _ => world().cluster.addresses_of(listener),
    };
    // Several read the same files.
    let state = format!("state-{}", free_ports(1));
    trusting(real.agent_apart(&address, &state), ca)
}

fn trusting(launch: Launch, ca: &Authority) -> Launch {
    launch.set(format!("kafka.tls.ca={}", ca.ca().display()))
}

fn own(launch: Launch, (cert, key): (&Path, &Path)) -> Launch {
    let launch = launch.set(format!("kafka.tls.cert={}", cert.display()));
    launch.set(format!("kafka.tls.key={}", key.display()))
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k18_a_broker_that_cannot_prove_who_it_is_gets_nothing_and_the_cause_is_said() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let World { trusted, stranger, .. } = world();
    let unknown = stranger.issue("unknown", HERE, Holds::Now);
    let (cert, key) = (real.log("unknown.pem"), real.log("unknown.key"));
    unknown.install(&cert, &key);
    let counted = Proxy::to(world().cluster.port_of("EXPIRED"));
    let begin = Instant::now();
    let mut agents = [
        (trusting(real.agent_apart(&counted.address(), "state"), trusted), "certificate has expired"),
        (agent(&real, "ELSEWHERE", trusted), "IP address mismatch"),
        (agent(&real, "GOOD", stranger), "issuer certificate"),
        (agent(&real, "PLAINTEXT", trusted), "PLAINTEXT broker listener"),
        (agent(&real, "MUTUAL", trusted), "alert bad certificate"),
        (own(agent(&real, "MUTUAL", trusted), (&cert, &key)), "alert"),
    ]
    .map(|(launch, words)| (launch.start(), words));
    for (agent, words) in &mut agents {
        agent.await_log(&[words]);
    }
    for (agent, _) in &mut agents {
        // It asks for ten seconds before it says so: there were several attempts by then.
        agent.await_log(&["no broker answers", "lines wait"]);
        assert_eq!(agent.metric("logdrive_lines_acked_total"), 0.0);
        assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
        assert!(agent.http("/readyz").is_none_or(|(code, _)| code == 503));
    }
    // A handshake costs the broker something: twice a second is enough.
    let (attempts, most) = (counted.accepted(), 10 + 2 * begin.elapsed().as_secs());
    assert!(attempts <= most, "{attempts} attempts, {most} are enough");
    agents.into_iter().for_each(|(agent, _)| drop(agent.stop()));
    assert!(topic.whole().is_empty(), "something was sent");
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k18_a_broker_that_proves_who_it_is_gets_everything() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let mut family = Family::create(real.log("app.log"));
    family.write(1000);
    let agent = agent(&real, "GOOD", &world().trusted).start();
    topic.await_count(1000);
    agent.stop();
    assert_complete(&topic.whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k18_an_expired_certificate_of_the_agent_is_replaced_on_disk_and_used_without_a_restart() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let (cert, key) = (real.log("agent.pem"), real.log("agent.key"));
    world().trusted.issue("agent-old", "DNS:agent", Holds::NoLonger).install(&cert, &key);
    let mut family = Family::create(real.log("app.log"));
    family.write(1000);
    let mut agent = own(agent(&real, "MUTUAL", &world().trusted), (&cert, &key)).start();
    agent.await_log(&["certificate"]);
    // A renewal that is not finished: the certificate is there, its key is not yet.
    let new = world().trusted.issue("agent-new", "DNS:agent", Holds::Now);
    new.install(&cert, &real.log("elsewhere.key"));
    agent.await_log(&["cannot be used", "old ones stay"]);
    new.install(&cert, &key);
    topic.await_count(1000);
    assert!(agent.is_alive());
    agent.stop();
    assert_complete(&topic.whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k18_a_certificate_is_replaced_under_load_and_nothing_is_lost_or_doubled() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let (cert, key) = (real.log("agent.pem"), real.log("agent.key"));
    let World { trusted, stranger, .. } = world();
    trusted.issue("agent-1", "DNS:agent", Holds::Now).install(&cert, &key);
    let families = (0..4).map(|at| Family::create(real.log(&format!("f{at}.log")))).collect();
    let load = Load::on(families, 25);
    let launch = own(agent(&real, "MUTUAL", trusted), (&cert, &key));
    let mut agent = launch.set("kafka.producers=2").start();
    topic.await_more(1000);
    // The broker takes no stranger's: so it is the new one that is used.
    stranger.issue("agent-2", "DNS:agent", Holds::Now).install(&cert, &key);
    agent.await_log(&["credentials have changed on disk"]);
    agent.await_log(&["SSL alert"]);
    trusted.issue("agent-3", "DNS:agent", Holds::Now).install(&cert, &key);
    load.await_more(1000);
    topic.await_more(5000);
    let families = load.end();
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0);
    agent.stop();
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
}
