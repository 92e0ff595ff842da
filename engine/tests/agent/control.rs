//! Faults G: wrong configurations end a start with their place, and never a running agent; reloads,
//! metrics and the agent's own words.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::lines::{Family, assert_complete, values};
use crate::process::{Agent, Launch};
use crate::site::{Site, TOPIC};
use crate::topic::Topic;
use crate::wait::until_true;

const ITEM: &str =
    "[[item]]\nname = \"web\"\ninclude = [\"LOGS/*.log\"]\ntopic = \"logs\"\nread_from = \"beginning\"\n";

fn configured(site: &Site) -> Launch {
    Launch::run().arg("--config").arg(site.root().join("logdrive.toml"))
}

/// `validate` and `run` refuse with exit code 78 and say where.
fn assert_refused(site: &Site, text: &str, words: &[&str]) {
    let path = site.root().join("logdrive.toml");
    fs::write(&path, text).unwrap();
    for launch in [Launch::verb("validate").arg("--config").arg(&path), configured(site)] {
        launch.finish().with_code(78).saying(words);
    }
}

#[test]
fn g01_a_broken_configuration_is_refused_with_its_place() {
    let site = Site::new();
    let good = format!("kafka.brokers = \"h:1\"\n{ITEM}").replace("LOGS", "/logs");
    for (text, words) in [
        ("kafka.brokers = \"h:1\n", &["logdrive.toml:1:"][..]),
        ("[kafka\n", &["logdrive.toml:1:"]),
        ("", &["logdrive.toml:1:1", "missing key `brokers` in `[kafka]`"]),
        ("kafka.brokers = 9092\n", &["logdrive.toml:1:17", "`brokers` must be a string"]),
        (&format!("{good}rate_limit = \"fast\"\n"), &["logdrive.toml:7:14", "rate_limit"]),
        (&format!("{good}line_bytes_max = \"1XB\"\n"), &["logdrive.toml:7:18", "line_bytes_max"]),
        (&format!("{good}multiline = {{ start = '(' }}\n"), &["logdrive.toml:7:"]),
        (&format!("{good}[limits]\nin_flight = \"1MiB\"\n"), &["logdrive.toml:8:13", "`in_flight` is 1MiB"]),
        (&good.replace("/logs/*.log", "logs/*.log"), &["logdrive.toml:4:", "absolute"]),
        (&good.replace("topic = \"logs\"", "topic = \"a/b\""), &["logdrive.toml:5:", "topic"]),
    ] {
        assert_refused(&site, text, words);
    }
    let missing = Launch::verb("validate").args("--config /no/such/file.toml").finish();
    missing.with_code(78).saying(&["/no/such/file.toml"]);
    fs::write(site.root().join("logdrive.toml"), &good).unwrap();
    let valid = Launch::verb("validate").arg("--config").arg(site.root().join("logdrive.toml"));
    valid.finish().with_code(0);
}

#[test]
fn g02_an_unknown_key_is_refused_with_the_nearest_one() {
    let site = Site::new();
    for (text, words) in [
        ("kafka.broker = \"h:1\"\n", &["logdrive.toml:1:7", "unknown key `broker`", "`brokers`"][..]),
        (
            &format!("kafka.brokers = \"h:1\"\n{ITEM}reed_from = \"end\"\n"),
            &["logdrive.toml:7:1", "read_from"],
        ),
        (
            &format!("kafka.brokers = \"h:1\"\n[limit]\nopen_files = 20\n{ITEM}"),
            &["logdrive.toml:2:2", "limits"],
        ),
    ] {
        assert_refused(&site, &text.replace("LOGS", "/logs"), words);
    }
    let flag = site.agent().set("kafka.lingr=5ms").finish();
    flag.with_code(78).saying(&["--set kafka.lingr", "linger"]);
}

/// Starts with the configuration of the site, and waits until it has been read.
fn start_configured(site: &Site) -> Agent {
    let agent = configured(site).start();
    agent.await_ready();
    agent
}

/// Every line that was read is acknowledged, dropped, or was read again; none is on its way.
pub(crate) fn assert_balance(agent: &Agent, acked: f64, dropped: f64) {
    let of = |name: &str| agent.metric(&format!("logdrive_lines_{name}_total"));
    let (read, replayed) = (of("read"), of("replayed"));
    assert_eq!((of("acked"), of("dropped")), (acked, dropped));
    assert_eq!(read, acked + dropped + replayed);
}

fn reload(agent: &mut Agent, result: &str) {
    let name = format!("logdrive_config_reloads_total{{result=\"{result}\"}}");
    let count = |agent: &Agent| agent.metrics().get(&name).copied().unwrap_or(0.0);
    let before = count(agent);
    agent.signal(Signal::HUP);
    until_true("the reload is counted", || count(agent) > before);
}

#[test]
fn g04_a_hundred_invalid_reloads_change_nothing() {
    let site = Site::new();
    site.configure(ITEM);
    let mut agent = start_configured(&site);
    let mut family = Family::create(site.log("app.log"));
    for round in 0..100 {
        let broken = match round % 4 {
            0 => "[[item]]\ninclude = [\"LOGS/*.txt\"]\n".to_owned(),
            1 => ITEM.replace("*.log", "*.txt") + "unknown = 1\n",
            2 => ITEM.replace("*.log", "*.txt") + "rate_limit = \"x\"\n",
            _ => "[[".to_owned(),
        };
        site.configure(&broken);
        reload(&mut agent, "refused");
        family.write(3);
        site.topic.await_value(family.last());
    }
    agent.await_log(&["logdrive.toml:"]);
    // A file that is not there is no better.
    fs::remove_file(site.root().join("logdrive.toml")).unwrap();
    reload(&mut agent, "refused");
    site.configure(ITEM);
    reload(&mut agent, "accepted");
    family.write(3);
    site.topic.await_value(family.last());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn g05_an_item_is_added_under_load() {
    let site = Site::new();
    site.configure(ITEM);
    let mut agent = start_configured(&site);
    let (mut old, mut new) = (Family::create(site.log("app.log")), Family::create(site.log("app.txt")));
    new.write(100);
    for round in 0..20 {
        old.write(2000);
        if round == 10 {
            let more = ITEM.replace("*.log", "*.txt").replace("\"web\"", "\"text\"");
            site.configure(&format!("{ITEM}{more}"));
            reload(&mut agent, "accepted");
        }
        new.write(100);
        site.topic.await_that("not too far behind", |records| records.len() >= round * 2000);
    }
    site.topic.await_value(old.last());
    site.topic.await_value(new.last());
    agent.stop();
    assert_complete(&site.whole(), &[&old, &new]);
}

#[test]
fn g05_the_topic_is_changed_under_load() {
    let site = Site::new();
    site.kafka.create_topic("other", 4, 1).unwrap();
    let other = Topic::read(&site.brokers(), "other", 4);
    site.configure(ITEM);
    let mut agent = start_configured(&site);
    let mut family = Family::create(site.log("app.log"));
    family.write(20_000);
    site.topic.await_count(1);
    site.configure(&ITEM.replace("topic = \"logs\"", "topic = \"other\""));
    reload(&mut agent, "accepted");
    family.write(20_000);
    other.await_value(family.last());
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    let (mut records, after) = (site.whole(), other.whole());
    assert!(!after.is_empty());
    records.extend(after);
    let duplicates = crate::lines::assert_no_loss(&records, &[&family]);
    assert_eq!(duplicates, 0, "no line is in both topics");
}

#[test]
fn g05_the_connection_is_changed_while_lines_are_in_flight() {
    let site = Site::new();
    site.configure(ITEM);
    let mut agent = start_configured(&site);
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    site.topic.await_count(100);
    site.broker_down();
    family.write(1000);
    until_true("lines are in flight", || agent.metric("logdrive_in_flight_lines") > 0.0);
    site.configure(&format!("kafka.linger = \"7ms\"\n{ITEM}"));
    reload(&mut agent, "accepted");
    assert_eq!(agent.count_log(&["left behind"]), 0, "{}", agent.log());
    site.broker_up();
    site.topic.await_value(family.last());
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn g11_an_item_is_deleted_and_comes_back() {
    let site = Site::new();
    let other = ITEM.replace("*.log", "*.txt").replace("\"web\"", "\"text\"");
    site.configure(&format!("{ITEM}{other}"));
    let mut agent = start_configured(&site);
    let (mut log, mut text) = (Family::create(site.log("app.log")), Family::create(site.log("app.txt")));
    for _ in 0..3 {
        log.write(100);
        text.write(100);
        site.topic.await_value(log.last());
        site.topic.await_value(text.last());
        site.configure(ITEM);
        reload(&mut agent, "accepted");
        // Written while nobody collects it: read when the item is back, from where it stood.
        text.write(100);
        log.write(100);
        site.topic.await_value(log.last());
        site.configure(&format!("{ITEM}{other}"));
        reload(&mut agent, "accepted");
        site.topic.await_value(text.last());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&log, &text]);
}

#[test]
fn the_status_holds_six_positions_in_order() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(500);
    let agent = site.agent().start();
    site.topic.await_count(500);
    let size = fs::metadata(family.path()).unwrap().len();
    until_true("everything is durable", || agent.status()["files"][0]["positions"]["durable"] == size);
    let status = agent.status();
    let file = &status["files"][0];
    assert_eq!(file["path"], family.path().to_str().unwrap());
    for position in ["durable", "acked", "produced", "framed", "read", "size"] {
        assert_eq!(file["positions"][position], size, "{position} in {file}");
    }
    assert_eq!(agent.http("/healthz").unwrap().0, 200);
    assert_eq!(agent.http("/readyz").unwrap().0, 200);
    assert_eq!(agent.http("/nothing").unwrap().0, 404);
    agent.stop();
}

#[test]
fn under_load_positions_keep_their_order_and_lines_add_up() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(50_000);
    let agent = site.agent().set("item.rate_limit=40000").start();
    for round in 1..=10 {
        site.topic.await_count(round * 5_000);
        for file in agent.status()["files"].as_array().unwrap() {
            let of = |name: &str| file["positions"][name].as_u64().unwrap();
            let chain = ["durable", "acked", "produced", "framed", "read", "size"].map(of);
            assert!(chain.is_sorted(), "{chain:?}");
        }
    }
    until_true("all is acknowledged", || agent.metric("logdrive_in_flight_lines") == 0.0);
    assert_balance(&agent, 50_000.0, 0.0);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn at_the_end_only_what_is_new_is_read() {
    let site = Site::with_partitions(1);
    site.append("app.log", "old 1\nold 2\nold, and unfin");
    let agent = || {
        let launch = site.connected(Launch::run()).args("--read-from end --topic logs --include");
        launch.arg(site.log("*.log")).start()
    };
    let running = agent();
    running.await_ready();
    site.append("app.log", "ished\nnew 1\n");
    site.append("later.log", "later 1\n");
    site.topic.await_value(b"new 1");
    site.topic.await_value(b"later 1");
    running.stop();
    site.append("app.log", "new 2\n");
    let running = agent();
    site.topic.await_value(b"new 2");
    running.stop();
    let mut arrived = values(&site.whole());
    arrived.sort();
    assert_eq!(arrived, ["later 1", "new 1", "new 2"]);
}

#[test]
fn an_explanation_names_item_and_position() {
    let site = Site::new();
    site.configure(ITEM);
    site.append("app.log", "one\ntwo\n");
    let agent = configured(&site).start();
    site.topic.await_count(2);
    agent.stop();
    let explain = |name: &str| {
        let launch = Launch::verb("explain").arg(site.log(name)).arg("--config");
        launch.arg(site.root().join("logdrive.toml")).finish().with_code(0).stdout
    };
    let known = explain("app.log");
    assert!(known.contains("web") && known.contains(TOPIC) && known.contains('8'), "{known}");
    let other = explain("app.txt");
    assert!(other.contains("no item"), "{other}");
}

#[test]
fn standard_output_is_empty_unless_it_is_a_terminal() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let agent = site.agent().start();
    site.topic.await_count(1);
    assert_eq!(agent.stop().stdout, "");
    let (terminal, side) = pseudo_terminal();
    let agent = site.agent().start_writing_to(side.into());
    site.append("app.log", "two\n");
    site.topic.await_count(2);
    let mut shown = Vec::new();
    until_true("progress on the terminal", || {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(&terminal, &mut buffer).unwrap_or(0);
        shown.extend_from_slice(&buffer[..count]);
        shown.escape_ascii().to_string().contains("lines")
    });
    agent.stop();
}

/// Both ends: what is written to the second can be read from the first.
pub(crate) fn pseudo_terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let side = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    rustix::fs::fcntl_setfl(&terminal, OFlags::NONBLOCK).unwrap();
    (terminal, side)
}

#[test]
fn the_log_is_json_when_asked_for() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let agent = site.agent().args("--log-format json").start();
    site.topic.await_count(1);
    let exit = agent.stop();
    assert!(!exit.stderr.is_empty());
    for line in exit.stderr.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}
