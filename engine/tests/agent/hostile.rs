//! Faults X: applications and users of the host that mean no good: what they write, link, create without number,
//! or ask of the HTTP server reaches neither the files of others nor their share of the agent.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::lines::{Family, assert_complete, values};
use crate::process::{Agent, Launch};
use crate::site::{Site, is_root};
use crate::wait::until_true;

#[test]
fn x08_a_hard_link_in_a_directory_of_everybody_does_not_leak_a_secret() {
    if !is_root("files of other users") {
        return;
    }
    let (site, secret) = Site::beside_a_secret();
    // As where fs.protected_hardlinks is not set: who made it, nobody can tell.
    fs::hard_link(&secret, site.log("x.log")).unwrap();
    site.append("own.log", "own\n");
    let mut agent = site.agent().set("watch.reconcile=100ms").start();
    agent.await_log(&["x.log", "linked into this directory", "follow"]);
    site.topic.await_value(b"own");
    // A log that is being read goes on, whoever links it: nobody can end its collection like this.
    fs::set_permissions(site.log("own.log"), Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(site.log("own.log"), site.root().join("stolen")).unwrap();
    site.append("own.log", "and on\n");
    site.topic.await_value(b"and on");
    agent.stop();
    assert_eq!(values(&site.whole()), ["own", "and on"]);
    let agent = site.agent().set("item.symlinks=follow").start();
    site.topic.await_value(b"root:secret");
    agent.stop();
}

#[test]
fn x01_a_running_agent_listens_on_loopback_only() {
    let site = Site::new();
    let agent = site.agent().start();
    agent.await_ready();
    let own = agent.descriptors();
    let mut listening = Vec::new();
    for table in ["net/tcp", "net/tcp6", "net/udp", "net/udp6"] {
        // An address in hexadecimal, as the kernel stores it; state 0A of TCP listens, and 07 of UDP receives.
        let text = fs::read_to_string(agent.proc(table)).unwrap();
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let is_own = own.contains(&format!("socket:[{}]", cells[9]));
            if is_own && ["0A", "07"].contains(&cells[3]) {
                listening.push(cells[1].to_owned());
            }
        }
    }
    let expected = format!("0100007F:{:04X}", agent.address().1);
    assert_eq!(listening, [expected]);
    agent.stop();
}

/// Two items: `flood` with the files of an application that takes what it can get, and `quiet`.
fn flood_and_quiet(site: &Site, more: &str) -> Launch {
    site.kafka.create_topic("flood", 4, 1).unwrap();
    for directory in ["flood", "quiet"] {
        fs::create_dir(site.log(directory)).unwrap();
    }
    let item = |name, topic| {
        format!(
            "[[item]]\nname = \"{name}\"\ninclude = [\"LOGS/{name}/*.log\"]\ntopic = \"{topic}\"\n\
             read_from = \"beginning\"\n"
        )
    };
    let config = site.configure(&format!("{}{}{more}", item("flood", "flood"), item("quiet", "logs")));
    Launch::run().arg("--config").arg(config)
}

#[test]
fn x12_an_application_that_floods_all_its_files_does_not_drown_another() {
    let site = Site::with_partitions(1);
    let more = "[limits]\nin_flight = \"8MiB\"\n";
    // Fewer descriptors than files, and each file with more than one turn takes.
    let launch = flood_and_quiet(&site, more).under(&["prlimit", "--nofile=256"]);
    let block = [b"x".repeat(249), b"\n".to_vec()].concat().repeat(1200);
    let files = 600;
    (0..files).for_each(|at| fs::write(site.log(&format!("flood/f{at}.log")), &block).unwrap());
    let total = (files * block.len()) as f64;
    let agent = launch.start();
    let lag = || agent.metric("logdrive_file_lag_bytes");
    until_true("the flood has begun", || agent.metric("logdrive_lines_acked_total") > 1000.0);
    // Slow enough that it goes on for seconds.
    site.kafka.broker_round_trip_time(-1, Duration::from_millis(30)).unwrap();
    let mut families: Vec<Family> =
        (0..10).map(|at| Family::create(site.log(&format!("quiet/q{at}.log")))).collect();
    for _ in 0..3 {
        for family in &mut families {
            family.write(10);
        }
        for family in &families {
            site.topic.await_value(family.last());
        }
    }
    let left = lag();
    assert!(left > total / 3.0, "of the flood only {left} of {total} bytes were left");
    agent.kill();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn x12_files_without_number_leave_room_for_those_of_others() {
    let site = Site::new();
    let launch = flood_and_quiet(&site, "[limits]\nfiles_max = 100\n[watch]\nreconcile = \"200ms\"\n");
    for at in 0..1000 {
        fs::write(site.log(&format!("flood/f{at}.log")), "one\n").unwrap();
    }
    let mut agent = launch.start();
    agent.await_log(&["limits.files_max"]);
    until_true("the flood has taken what it can get", || agent.metric("logdrive_files_known") >= 75.0);
    let mut families: Vec<Family> =
        (0..25).map(|at| Family::create(site.log(&format!("quiet/q{at}.log")))).collect();
    for _ in 0..3 {
        families.iter_mut().for_each(|family| family.write(10));
        for family in &families {
            site.topic.await_value(family.last());
        }
    }
    assert_eq!(agent.metric("logdrive_files_known"), 100.0);
    assert!(agent.count_log(&["limits.files_max"]) <= 2, "a flood in the log:\n{}", agent.log());
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

/// Asks for a page as often as it is let, and takes no answer.
fn asking(agent: &Agent, page: &str, times: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(agent.address()).ok()?;
    let question = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(times);
    let _made_room = stream.write_all(question.as_bytes());
    Some(stream)
}

#[test]
fn x03_clients_that_flood_or_never_read_cost_little_and_lines_go_on() {
    let site = Site::new();
    for at in 0..10_000 {
        fs::write(site.log(&format!("many-{at}.txt")), "").unwrap();
    }
    let agent = site.reading("*.{log,txt}").start();
    until_true("all files are known", || agent.metric("logdrive_files_known") == 10_000.0);
    let status_mib = agent.http("/status").unwrap().1.len() >> 20;
    assert!(status_mib >= 3, "{status_mib} MiB of status");
    let before = agent.peak_mib();
    let mut family = Family::create(site.log("app.log"));
    let mut streams = Vec::new();
    for round in 0..10 {
        for at in 0..30 {
            // Some ask once and do not read, some ask without end.
            streams.extend(asking(&agent, "/status", if at % 3 == 0 { 300 } else { 1 }));
            streams.extend(asking(&agent, "/metrics", if at % 3 == 0 { 300 } else { 1 }));
        }
        family.write(10);
        site.topic.await_value(family.last());
        let sockets = agent.descriptors().iter().filter(|target| target.starts_with("socket:")).count();
        assert!(sockets < 64 + 20, "{sockets} sockets in round {round}");
    }
    let grown = agent.peak_mib() - before;
    assert!(grown < 100, "{grown} MiB more for {} clients", streams.len());
    // Those that are still connected are closed, whatever they do.
    for mut stream in streams {
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
    }
    assert_eq!(agent.http("/healthz").unwrap().0, 200);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}
