//! K19 and K07: logins at a real broker, and what a user may do there.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use crate::cluster::Cluster;
use crate::lines::{Family, assert_complete};
use crate::load::Load;
use crate::process::{Launch, free_ports};
use crate::proxy::Proxy;
use crate::real::Real;
use crate::wait::{is_long, until_true};

const CANARY: &str = "canary-7c20e";

/// A broker that asks who comes, behind a proxy that counts how often somebody does.
struct World {
    cluster: Cluster,
    proxy: Proxy,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> World {
        let new = Cluster::of(1)
            .set("sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN")
            .set("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            // Whoever comes to the first listener.
            .set("super.users=User:ANONYMOUS");
        let (new, proxy) = new.behind_proxy("LOGIN", "SASL_PLAINTEXT");
        let module = "org.apache.kafka.common.security";
        let cluster = new
            .set(format!(
                "listener.name.login.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;"
            ))
            .set(format!(
                "listener.name.login.plain.sasl.jaas.config={module}.plain.PlainLoginModule required \
                 user_plain=\"{CANARY}\";"
            ))
            .start();
        World { cluster, proxy }
    }

    fn set_password(&self, password: &str) {
        let change = format!("SCRAM-SHA-512=[password={password}]");
        let user = ["--entity-type", "users", "--entity-name", "agent"];
        self.cluster.control(&[&["configs", "--alter", "--add-config", &change][..], &user].concat());
    }

    fn right(&self, change: &str, real: &Real) {
        let words = ["acls", change, "--force", "--allow-principal", "User:agent", "--topic", &real.topic];
        self.cluster.control(&[&words[..], &["--operation", "Write", "--operation", "Describe"]].concat());
    }

    fn agent(&self, real: &Real, mechanism: &str, user: &str, password: &Path) -> Launch {
        // Several read the same files.
        let state = format!("state-{}", free_ports(1));
        real.agent_apart(&self.proxy.address(), &state)
            .set(format!("kafka.sasl.mechanism={mechanism}"))
            .set(format!("kafka.sasl.username={user}"))
            .set(format!("kafka.sasl.password_file={}", password.display()))
    }
}

fn password_file(path: PathBuf, password: &str) -> PathBuf {
    let aside = path.with_extension("new");
    std::fs::write(&aside, format!("{password}\n")).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(aside, &path).unwrap();
    path
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k19_a_login_that_fails_is_told_without_the_secret_and_not_tried_in_a_hurry() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let world = world();
    world.set_password("right");
    let mut family = Family::create(real.log("app.log"));
    family.write(100);
    let wrong = password_file(real.log("wrong"), CANARY);
    let (connections, begin) = (world.proxy.accepted(), Instant::now());
    let mut agents = [
        (world.agent(&real, "SCRAM-SHA-512", "agent", &wrong), "invalid credentials"),
        (world.agent(&real, "SCRAM-SHA-512", "nobody", &wrong), "invalid credentials"),
        (world.agent(&real, "PLAIN", "agent", &wrong), "Invalid username or password"),
        (world.agent(&real, "SCRAM-SHA-256", "agent", &wrong), "SCRAM-SHA-256"),
    ]
    .map(|(launch, words)| (launch.start(), words));
    for (agent, words) in &mut agents {
        agent.await_log(&[words]);
    }
    for (agent, _) in &mut agents {
        agent.await_log(&["no broker answers", "lines wait"]);
        assert_eq!(agent.metric("logdrive_lines_acked_total"), 0.0);
        assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    }
    // The broker is to be left in peace: twice a second is enough.
    let attempts = (world.proxy.accepted() - connections) / agents.len() as u64;
    let most = 10 + 2 * begin.elapsed().as_secs();
    assert!(attempts <= most, "{attempts} attempts of each, {most} are enough");
    for (agent, _) in agents {
        let exit = agent.stop();
        assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
    }
    assert!(topic.whole().is_empty(), "something was sent");
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k19_a_password_is_rotated_and_the_new_one_used_without_a_restart() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let world = world();
    world.set_password("first");
    world.right("--add", &real);
    let password = password_file(real.log("password"), "first");
    let mut family = Family::create(real.log("app.log"));
    family.write(1000);
    let mut agent = world.agent(&real, "SCRAM-SHA-512", "agent", &password).start();
    topic.await_count(1000);
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    // The broker knows only the new one; a connection that is open stays open.
    world.set_password("second");
    family.write(1000);
    topic.await_count(2000);
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    world.proxy.cut_all();
    family.write(1000);
    agent.await_log(&["invalid credentials"]);
    password_file(password, "second");
    topic.await_count(3000);
    assert!(agent.is_alive());
    assert_eq!(agent.metric("logdrive_producer_rebuilds_total"), 0.0);
    let exit = agent.stop();
    assert!(!exit.stderr.contains("second"), "{}", exit.stderr);
    assert_complete(&topic.whole(), &[&family]);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn k07_the_right_to_write_to_a_real_topic_is_taken_and_given_back() {
    let real = Real::on(1, || &world().cluster);
    let topic = real.create_topic(&[]);
    let world = world();
    world.set_password("right");
    let password = password_file(real.log("password"), "right");
    let families = (0..4).map(|at| Family::create(real.log(&format!("f{at}.log")))).collect();
    let load = Load::on(families, 25);
    let mut agent = world.agent(&real, "SCRAM-SHA-512", "agent", &password).start();
    // At first it may do nothing at all.
    agent.await_log(&["not authorized", &real.topic]);
    assert_eq!(agent.metric("logdrive_lines_acked_total"), 0.0);
    for _ in 0..if is_long() { 3 } else { 1 } {
        world.right("--add", &real);
        topic.await_more(5000);
        let told = agent.count_log(&["not authorized", &real.topic]);
        world.right("--remove", &real);
        until_true("it is told", || agent.count_log(&["not authorized", &real.topic]) > told);
        load.await_more(5000);
        assert_eq!(agent.metric("logdrive_lines_dropped_total"), 0.0);
    }
    world.right("--add", &real);
    topic.await_more(5000);
    let families = load.end();
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert!(agent.is_alive());
    agent.stop();
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
}
