//! `read_from` a time: which lines of the files that are there are sent, when the agent is new to them.
//!
//! That the right line is found, and with how few reads, tell the tests of the search itself; here is what becomes of
//! it in the whole: rotated files, kills, reloads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::lines::{append, values};
use crate::process::{Agent, Launch};
use crate::real::Real;
use crate::site::{NOBODY, Site, TOPIC, is_root};
use crate::wait::{until, until_true};

const HOUR: u64 = 3600;
/// 2026-11-26T00:00:00Z, in seconds.
const MIDNIGHT: u64 = 1_795_651_200;

/// A time as lines say it, so many seconds after the epoch.
fn at(second: u64) -> String {
    Timestamp::from_second(second as i64).unwrap().to_string()
}

/// So long ago.
fn ago(seconds: u64) -> SystemTime {
    SystemTime::now() - Duration::from_secs(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A line for each of these seconds, with a trace behind every tenth.
fn lines(name: &str, of: std::ops::Range<u64>) -> Vec<String> {
    let traced = |second: u64| {
        let line = format!("{} INFO {name} {second}", at(second));
        let trace = ["    at cart.add(Cart.java:12)".to_owned(), format!("    at main {name} {second}")];
        std::iter::once(line).chain(trace.into_iter().take(if second % 10 == 9 { 2 } else { 0 }))
    };
    of.flat_map(traced).collect()
}

fn write(path: &Path, lines: &[String]) {
    append(path, lines.join("\n") + "\n");
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Waits until Kafka has acknowledged all that the agent has found, and stops it.
fn drain(agent: Agent) {
    agent.await_ready();
    until_true("everything is acknowledged", || {
        let status = agent.status();
        let files = status["files"].as_array().unwrap();
        !files.is_empty() && files.iter().all(|file| file["lag_bytes"] == 0)
    });
    agent.stop();
}

/// `logdrive run` over `logs/*.log` from a time on.
fn reading_from(site: &Site, place: &str) -> Launch {
    let launch = site.connected(Launch::run()).arg("--include").arg(site.log("*.log"));
    launch.arg("--read-from").arg(place).arg("--topic").arg(TOPIC)
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn a_large_file_is_read_from_a_time_on() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let (before, after) = (MIDNIGHT..MIDNIGHT + 61_234, MIDNIGHT + 61_234..MIDNIGHT + 100_000);
    write(&real.log("app.log"), &lines("app", before));
    write(&real.log("app.log"), &lines("app", after.clone()));
    let mut agent = real.agent().set(format!("item.read_from={}", at(after.start))).start();
    agent.await_log(&["app.log", "reading", "position="]);
    let mut expected = lines("app", after);
    topic.await_count(expected.len());
    // From now on it is a file like any other.
    expected.push("no time".to_owned());
    append(real.log("app.log"), "no time\n");
    drain(agent);
    assert_eq!(values(&topic.whole()), expected);
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn of_rotated_files_the_one_that_holds_the_time_is_read_from_it() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let mut from = MIDNIGHT;
    for (age, name) in ["app.log.4", "app.log.3", "app.log.2", "app.log.1", "app.log"].iter().enumerate() {
        write(&real.log(name), &lines("app", from..from + 5_000));
        set_modified(&real.log(name), ago(50_000 - 10_000 * age as u64));
        from += 5_000;
    }
    let time = MIDNIGHT + 12_345;
    let mut agent = real.agent().set(format!("item.read_from={}", at(time))).start();
    for (name, position) in [("app.log.4", "end"), ("app.log.3", "end"), ("app.log.1", "0"), ("app.log", "0")]
    {
        let size = fs::metadata(real.log(name)).unwrap().len();
        let position = if position == "end" { size } else { 0 };
        agent.await_log(&["reading", &format!("{name} "), &format!("position={position} ")]);
    }
    drain(agent);
    assert_eq!(values(&topic.whole()), lines("app", time..from));
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn s01_killed_while_it_looks_for_a_time_the_agent_neither_loses_lines_nor_begins_before_it() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    let names: Vec<String> = (0..40).map(|number| format!("app-{number}.log")).collect();
    for name in &names {
        write(&real.log(name), &lines(name, MIDNIGHT..MIDNIGHT + 4_000));
    }
    let time = MIDNIGHT + 2_345;
    let launch = || real.agent().set(format!("item.read_from={}", at(time)));
    let catalog = real.log("state").join("catalog.json");
    let holds = |text: &str| fs::read_to_string(&catalog).is_ok_and(|json| json.contains(text));

    let agent = launch().start();
    until_true("there is a state", || real.log("state").join("positions").exists());
    agent.kill();
    for opened in [1, 20, 40] {
        let agent = launch().start();
        until_true("files are found", || agent.count_log(&["reading", "position="]) >= opened);
        agent.kill();
    }
    let agent = launch().start();
    until_true("the item is remembered", || holds("first_seen_ms"));
    agent.kill();
    let mut written: Vec<String> =
        names.iter().flat_map(|name| lines(name, time..MIDNIGHT + 4_000)).collect();
    for name in &names {
        // A file that has come meanwhile is new as a whole, and so is what was written meanwhile.
        let late = lines(name, MIDNIGHT + 4_000..MIDNIGHT + 4_100);
        write(&real.log(name), &late);
        written.extend(late);
    }
    let agent = launch().start();
    until_true("the first sight is over", || holds("first_seen_ms") && !holds("deciding"));
    drain(agent);

    let records = topic.whole();
    let arrived: BTreeSet<String> = values(&records).into_iter().collect();
    let written_once: BTreeSet<String> = written.iter().cloned().collect();
    let few = |lines: Vec<&String>| lines.into_iter().take(5).cloned().collect::<Vec<String>>();
    assert_eq!(few(written_once.difference(&arrived).collect()), [""; 0], "lost");
    assert_eq!(few(arrived.difference(&written_once).collect()), [""; 0], "older than the time");
    // The first of each line comes behind the first ones of those before it in its file.
    let place: BTreeMap<&str, usize> = written.iter().enumerate().map(|(at, line)| (&line[..], at)).collect();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in records.iter().map(|record| std::str::from_utf8(&record.value).unwrap()) {
        let Some(name) = line.split(' ').find(|word| word.starts_with("app-")) else { continue };
        if seen.insert(line) {
            let at = place[line];
            let before = last.insert(name, at);
            assert!(before.is_none_or(|before| before < at), "{line} is out of order");
        }
    }
    assert_eq!(last.len(), names.len());
}

#[test]
fn s01_what_could_not_be_opened_before_a_kill_is_read_from_the_same_time() {
    if !is_root("another user's agent") {
        return;
    }
    let site = Site::with_partitions(1);
    fs::create_dir(site.state()).unwrap();
    chown(site.state(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(site.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(site.log(""), fs::Permissions::from_mode(0o777)).unwrap();
    let now = seconds(SystemTime::now());
    for name in ["open.log", "shut.log"] {
        write(&site.log(name), &lines(name, now - 3 * HOUR..now - 3 * HOUR + 100));
        write(&site.log(name), &lines(name, now - HOUR..now - HOUR + 10));
    }
    fs::set_permissions(site.log("shut.log"), fs::Permissions::from_mode(0o600)).unwrap();
    let catalog = || fs::read_to_string(site.state().join("catalog.json")).unwrap_or_default();
    let mut agent = reading_from(&site, "-2h").user(NOBODY).start();
    agent.await_log(&["shut.log", "Permission denied"]);
    until_true("that it is not over is remembered", || catalog().contains("deciding"));
    site.topic.await_count(12);
    agent.kill();
    let first_sight = catalog();

    fs::set_permissions(site.log("shut.log"), fs::Permissions::from_mode(0o644)).unwrap();
    let agent = reading_from(&site, "-2h").user(NOBODY).start();
    until_true("the first sight is over", || !catalog().contains("deciding"));
    drain(agent);
    let seen = |json: &str| {
        json.lines().find(|line| line.contains("first_seen_ms")).unwrap().trim_end_matches(',').to_owned()
    };
    assert_eq!(seen(&catalog()), seen(&first_sight), "the time is counted from the first sight");
    let expected = ["open.log", "shut.log"].map(|name| lines(name, now - HOUR..now - HOUR + 10)).concat();
    let mut arrived = values(&site.whole());
    arrived.dedup();
    assert_eq!(arrived, expected);
}

#[test]
fn a_day_back_is_counted_from_the_first_sight_of_the_item() {
    let site = Site::with_partitions(1);
    let now = seconds(SystemTime::now());
    let all = |hours: &[u64]| {
        hours.iter().flat_map(|hour| lines("a", now - hour * HOUR..now - hour * HOUR + 3)).collect::<Vec<_>>()
    };
    write(&site.log("a.log"), &all(&[50, 26, 25, 23, 1]));
    drain(reading_from(&site, "-24h").start());
    assert_eq!(values(&site.whole()), all(&[23, 1]));
    // The item is known now: a file that was not there is new, whatever it says, and another time changes nothing.
    write(&site.log("b.log"), &all(&[50]));
    drain(reading_from(&site, "-1h").start());
    assert_eq!(values(&site.whole()), [all(&[23, 1]), all(&[50])].concat());
}

#[test]
fn the_time_of_a_container_is_that_of_its_runtime() {
    let site = Site::with_partitions(1);
    let inner = format!("{} inner", at(MIDNIGHT - 9 * HOUR));
    let docker = |second: u64, text: &str| {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{}\"}}\n", at(second))
    };
    let cri = |second: u64, text: &str| format!("{} stdout F {text}\n", at(second));
    let (old, new) = (MIDNIGHT - 1, MIDNIGHT);
    site.append("a.log", docker(old, "old") + &docker(new, &inner) + &docker(new, "new"));
    site.append("b.txt", cri(old, "old") + &cri(new, &inner) + &cri(new, "new"));
    drain(reading_from(&site, &at(MIDNIGHT)).set("item.container=docker").start());
    let cri = site.connected(Launch::run()).arg("--include").arg(site.log("*.txt")).arg("--topic").arg(TOPIC);
    let cri = cri.set("item.name=cri").set(format!("item.read_from={}", at(MIDNIGHT)));
    drain(cri.set("item.container=cri").start());
    assert_eq!(values(&site.whole()), [&inner[..], "new", &inner, "new"]);
}

#[test]
fn a_file_that_says_no_time_is_read_by_its_own_and_that_is_said_once() {
    let site = Site::with_partitions(1);
    site.append("old.log", "old 1\nold 2\n");
    set_modified(&site.log("old.log"), ago(3 * HOUR));
    site.append("new.log", "new 1\nnew 2\n");
    site.append("empty.log", "");
    let mut agent = reading_from(&site, "-2h").start();
    agent.await_log(&["new.log", "no line says a time", "read from its beginning"]);
    agent.await_log(&["old.log", "no line says a time", "read from its end"]);
    site.topic.await_count(2);
    site.append("old.log", "old 3\n");
    site.topic.await_count(3);
    assert_eq!(agent.count_log(&["no line says a time"]), 2, "{}", agent.log());
    agent.stop();
    assert_eq!(values(&site.whole()), ["new 1", "new 2", "old 3"]);
}

#[test]
fn an_item_that_a_reload_adds_begins_at_its_time_too() {
    let site = Site::with_partitions(1);
    let item = |name: &str, from: &str| {
        format!(
            "[[item]]\nname = '{name}'\ninclude = ['LOGS/{name}.log']\ntopic = '{TOPIC}'\nread_from = '{from}'\n"
        )
    };
    for name in ["first", "second", "third"] {
        write(&site.log(&format!("{name}.log")), &lines(name, MIDNIGHT..MIDNIGHT + 20));
    }
    let path = site.configure(&item("first", "beginning"));
    let mut agent = Launch::run().arg("--config").arg(&path).start();
    site.topic.await_count(24);
    let time = at(MIDNIGHT + 15);
    site.configure(&(item("first", "beginning") + &item("second", &time) + &item("third", "end")));
    agent.signal(rustix::process::Signal::HUP);
    agent.await_log(&["third.log", "reading"]);
    site.append("third.log", "third is new\n");
    site.topic.await_value(b"third is new");
    drain(agent);
    let mut arrived = values(&site.whole());
    let mut expected =
        [lines("first", MIDNIGHT..MIDNIGHT + 20), lines("second", MIDNIGHT + 15..MIDNIGHT + 20)].concat();
    expected.push("third is new".to_owned());
    arrived.sort();
    expected.sort();
    assert_eq!(arrived, expected);
}

#[test]
fn a_time_that_is_yet_to_come_is_warned_about() {
    let site = Site::with_partitions(1);
    let text = format!("[[item]]\ninclude = ['LOGS/*.log']\ntopic = '{TOPIC}'\nread_from = '2200-01-01'\n");
    let path = site.configure(&text);
    let validated = Launch::verb("validate").arg("--config").arg(&path).finish();
    validated.with_code(0).saying(&["item `logs`", "2200-01-01", "yet to come"]);
    site.append("a.log", "2026-11-26T00:00:00Z old\n");
    let mut agent = Launch::run().arg("--config").arg(&path).start();
    agent.await_log(&["yet to come"]);
    agent.await_log(&["a.log", "reading", "position=25"]);
    agent.stop();
    assert_eq!(values(&site.whole()), [""; 0]);
}

#[test]
fn an_explanation_says_where_an_unknown_file_would_begin() {
    let site = Site::new();
    write(&site.log("a.log"), &lines("a", MIDNIGHT..MIDNIGHT + 9));
    site.append("b.log", "no time\n");
    let text =
        |from: &str| format!("[[item]]\ninclude = ['LOGS/*.log']\ntopic = '{TOPIC}'\nread_from = '{from}'\n");
    let explain = |name: &str| {
        let launch = Launch::verb("explain").arg(site.log(name)).arg("--config");
        launch.arg(site.root().join("logdrive.toml")).finish().with_code(0).stdout
    };
    // A state with another item in it.
    let config =
        site.configure(&text("end").replace("*.log", "*.txt").replace("[[item]]", "[[item]]\nname = 'x'"));
    let agent = Launch::run().arg("--config").arg(config).start();
    agent.await_ready();
    agent.stop();
    let line = lines("a", MIDNIGHT..MIDNIGHT + 1)[0].len() + 1;
    for (from, name, words) in [
        ("beginning", "a.log", "begins at byte 0".to_owned()),
        ("end", "a.log", format!("begins at byte {}", 9 * line)),
        (
            &at(MIDNIGHT + 4)[..],
            "a.log",
            format!("begins at byte {}, with the first line of that time", 4 * line),
        ),
        ("-1h", "b.log", "begins at byte 0, by when it was modified".to_owned()),
    ] {
        site.configure(&text(from));
        let told = explain(name);
        assert!(
            told.contains(&words) && told.contains(&format!("`read_from = \"{from}\"`")),
            "{words}: {told}"
        );
    }
    let agent = Launch::run().arg("--config").arg(site.root().join("logdrive.toml")).start();
    until("both are known", || (agent.count_log(&["reading", "position="]) == 2).then_some(()));
    agent.stop();
    site.append("c.log", "new\n");
    assert!(explain("c.log").contains("its item is, so it is new, and read from its beginning"));
}
