//! How the agent behaves beside others: its share of the processor, its paces, its priorities, its sleep.

use std::collections::BTreeMap;
use std::fs;

use crate::lines::{Family, assert_complete};
use crate::process::{Agent, Launch};
use crate::site::Site;
use crate::wait::until_true;

const ITEM: &str =
    "[[item]]\nname = \"web\"\ninclude = [\"LOGS/*.log\"]\ntopic = \"logs\"\nread_from = \"beginning\"\n";

/// Seconds in which reading waited for this limit.
fn paced(agent: &Agent, reason: &str) -> f64 {
    agent.metrics()[&format!("logdrive_paced_seconds_total{{reason=\"{reason}\"}}")]
}

#[test]
fn a_share_of_the_processor_is_kept_and_a_stop_does_not_wait_for_it() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write_wide(200_000, 200);
    let agent = site.agent().set("limits.cpu=2%").set("limits.in_flight=8MiB").start();
    until_true("it has used its share and waits", || paced(&agent, "cpu") > 0.5);
    let status = agent.status();
    let of = |name: &str| status["pace"][name].as_f64().unwrap();
    let (cpu, uptime) = (of("cpu_seconds"), status["uptime_seconds"].as_f64().unwrap());
    // A start costs something, and what is in flight is shipped after it was read.
    assert!(cpu < 0.02 * uptime + 0.6, "{cpu} s of processor time in {uptime} s");
    assert!(agent.metric("logdrive_file_lag_bytes") > 0.0, "what waits shows");
    let exit = agent.stop();
    assert!(exit.stderr.contains("everything that was sent is acknowledged"), "{}", exit.stderr);
    let agent = site.agent().start();
    site.topic.await_value(family.last());
    assert_eq!(paced(&agent, "cpu"), 0.0);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn bytes_are_paced_over_all_items_and_for_each_until_a_reload_says_otherwise() {
    let site = Site::new();
    let mut families = ["a.log", "b.log", "c.log"].map(|name| Family::create(site.log(name)));
    families.iter_mut().for_each(|family| family.write(20_000));
    let paced_item = format!("{ITEM}rate_limit_bytes = \"200kB\"\n");
    for (text, reason) in [
        (format!("limits.bytes_per_second = \"200kB\"\n{ITEM}"), "bytes_per_second"),
        (paced_item, "rate_limit"),
    ] {
        site.configure(&text);
        let mut agent = Launch::run().arg("--config").arg(site.root().join("logdrive.toml")).start();
        until_true("it waits", || paced(&agent, reason) > 0.5);
        let status = agent.status();
        let acked = status["items"][0]["bytes_acked"].as_f64().unwrap();
        let uptime = status["uptime_seconds"].as_f64().unwrap();
        // What comes at once, and one read that was larger.
        assert!(acked < 200e3 * uptime + 20e3 + 16_384.0, "{acked} bytes in {uptime} s: {reason}");
        assert!(status["items"][0]["lag_bytes"].as_f64().unwrap() > 0.0, "what waits shows");
        if reason == "rate_limit" {
            site.configure(ITEM);
            agent.signal(rustix::process::Signal::HUP);
            agent.await_log(&["configuration reloaded"]);
            until_true("everything is there", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        }
        agent.stop();
    }
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn every_thread_is_as_nice_as_it_should_be() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let agent = site.agent().set("limits.nice=19").set("limits.io_class=idle").start();
    site.topic.await_count(1);
    agent.await_ready();
    let threads = threads(&agent);
    assert!(threads.len() > 3);
    for thread in threads {
        let stat = fs::read_to_string(agent.proc(&format!("task/{thread}/stat"))).unwrap();
        // What follows the name in brackets: the state is the 3rd field, niceness the 19th.
        let nice = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap();
        assert_eq!(nice, "19", "{stat}");
        // The kernel's own workers take the priority that each request has.
        if stat.contains("(iou-wrk-") {
            continue;
        }
        // SAFETY: the call takes integers and touches no memory of this process.
        let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, thread) };
        assert_eq!(priority >> 13, 3, "the class of {stat}");
    }
    agent.stop();
}

fn threads(agent: &Agent) -> Vec<libc::pid_t> {
    let tasks = fs::read_dir(agent.proc("task")).unwrap();
    tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// The name of each thread, and how often it has gone to sleep or was put to sleep.
type Switches = BTreeMap<libc::pid_t, (String, u64)>;

fn switches(agent: &Agent) -> Switches {
    let of = |thread: libc::pid_t| {
        // One may have ended since they were listed.
        let status = fs::read_to_string(agent.proc(&format!("task/{thread}/status"))).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let count = |name: &str| field(name).parse::<u64>().unwrap();
        let sum = count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
        Some((thread, (field("Name:"), sum)))
    };
    threads(agent).into_iter().filter_map(of).collect()
}

#[test]
fn an_idle_agent_sleeps() {
    let site = Site::new();
    let path = site.configure(&format!("watch = {{ config = true, reconcile = \"1h\" }}\n{ITEM}"));
    site.append("app.log", "one\n");
    let mut agent = Launch::run().arg("--config").arg(&path).start();
    site.topic.await_count(1);
    agent.await_ready();
    until_true("its own work is over", || agent.status()["state"]["checkpoint_age_seconds"] == 0.0);
    // The only clock that counts here is the agent's, which looks after itself about once a second.
    let seconds = |seconds: u64| {
        let before = switches(&agent);
        let count = |all: &Switches| all[&agent.pid().as_raw_nonzero().get()].1;
        until_true("seconds of the agent's", || count(&switches(&agent)) >= count(&before) + seconds);
        before
    };
    // What was asked last has come to its end.
    seconds(2);
    let before = seconds(3);
    let after = switches(&agent);
    for (thread, (name, count)) in &after {
        let woken = count - before.get(thread).map_or(0, |(_, count)| *count);
        let allowed = match &name[..] {
            // librdkafka's threads have timers of their own, of a second and less.
            name if name.starts_with("rdk:") => 12,
            // A worker of the kernel's, which looks whether it is wanted any more.
            name if name.starts_with("iou-wrk-") => 2,
            _ if *thread == agent.pid().as_raw_nonzero().get() => 8,
            _ => 0,
        };
        assert!(woken <= allowed, "{name} woke up {woken} times: {before:?} {after:?}");
    }
    assert!(agent.is_alive());
    agent.stop();
}
