//! S03: the power goes under load, and the agent goes on with what the disk has.
//!
//! The state, in the second test the logs too, are on an ext4 file system in a file (`loop_disk`). The agent
//! runs on while its disk is cut off again and again; each picture is then mounted and a new agent
//! started on it. `LOGDRIVE_LONG=1` cuts ten times as often.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::lines::{Family, append, assert_no_loss};
use crate::loop_disk::Shelf;
use crate::process::{Agent, attempt};
use crate::site::{Site, TOPIC};
use crate::topic::Record;
use crate::wait::{is_long, until_true};
use crate::writer::{AHEAD, Writer};

/// How many lines the first test writes from one cut to the next.
const LINES_BETWEEN_CUTS: usize = AHEAD;

fn cuts(short: usize) -> usize {
    if is_long() { 10 * short } else { short }
}

/// Numbers that are the same in every run.
fn roll(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize % below
}

/// One of the positions of every generation, as the agent tells it.
fn positions(agent: &Agent, which: &str) -> BTreeMap<String, u64> {
    let status = agent.status();
    let files = status["files"].as_array().unwrap().iter();
    files
        .map(|file| (file["generation"].as_str().unwrap().into(), file["positions"][which].as_u64().unwrap()))
        .collect()
}

/// What the disk held when the power went, and what the agent had told of it.
struct Cut {
    name: String,
    image: std::path::PathBuf,
    /// On the disk, it had said before the cut.
    durable: BTreeMap<String, u64>,
    /// Acknowledged, it said after the cut.
    acked: BTreeMap<String, u64>,
}

impl Cut {
    /// Nothing that was durable is missing, and nothing that was not acknowledged is there. Returns by how many
    /// bytes the state is behind what was acknowledged.
    fn check(&self, state: &Path) -> u64 {
        let found = logdrive::state::inspect(state).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let found: BTreeMap<String, u64> =
            found.rows.into_iter().map(|row| (row.generation, row.position)).collect();
        for (generation, durable) in self.durable.iter().filter(|(_, durable)| **durable > 0) {
            let position = found.get(generation);
            assert!(position >= Some(durable), "{}: {generation} at {position:?} < {durable}", self.name);
        }
        let mut behind = 0;
        for (generation, acked) in &self.acked {
            let position = found.get(generation).copied().unwrap_or(0);
            assert!(position <= *acked, "{}: {generation} at {position} > {acked}", self.name);
            behind += acked - position;
        }
        behind
    }
}

/// The records of each family are the end of its lines, each once and in order; how many there are.
fn assert_ends(records: &[Record], families: &[Family]) -> usize {
    let mut of: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for record in records {
        let name = record.value.split(|&byte| byte == b' ').next().unwrap_or_default();
        of.entry(name).or_default().push(&record.value);
    }
    for family in families {
        let arrived = of.remove(family.name().as_bytes()).unwrap_or_default();
        let expected = &family.lines[family.lines.len() - arrived.len().min(family.lines.len())..];
        assert!(arrived.iter().eq(expected.iter()), "{} does not arrive to its end", family.name());
    }
    assert!(of.is_empty(), "lines that nobody wrote: {:?}", of.keys().next());
    records.len()
}

#[test]
fn s03_twenty_power_cuts_under_load() {
    let site = Site::new();
    let Some(shelf) = Shelf::below(site.root(), attempt) else { return };
    let disk = shelf.format("state", 16).unwrap();
    let logs = site.log("*.log*");
    let cuts = cuts(20);
    let agent = site.shipping(&logs, TOPIC, &disk.path().join("state")).start();
    let writer = Writer::start(&site, cuts * LINES_BETWEEN_CUTS);
    let mut seed = 11;
    let mut taken: Vec<Cut> = Vec::new();
    // The writer is let go on from cut to cut, so that there is load until the last.
    let follow = |most: usize| writer.seen.store(site.topic.count().min(most), Ordering::Relaxed);
    for number in 0..cuts {
        if let Some(last) = taken.last().filter(|_| number % 2 == 0) {
            // The disk follows: a power cut costs what came since, and not more and more.
            until_true("what was acknowledged is on the disk", || {
                let durable = positions(&agent, "durable");
                last.acked
                    .iter()
                    .all(|(generation, acked)| durable.get(generation).is_none_or(|d| d >= acked))
            });
        }
        let begun = number * LINES_BETWEEN_CUTS;
        let enough = begun + roll(&mut seed, LINES_BETWEEN_CUTS);
        until_true("some lines more", || {
            follow(begun);
            site.topic.count() >= enough
        });
        let durable = positions(&agent, "durable");
        let name = format!("cut-{number}");
        let image = disk.cut(&name);
        taken.push(Cut { name, image, durable, acked: positions(&agent, "acked") });
    }
    until_true("everything is written", || {
        follow(usize::MAX);
        writer.thread.is_finished()
    });
    let mut families = writer.finish();
    // Something new, so that every agent has something to say.
    let mut last = Family::named("last", site.log("last.log"));
    last.write(5);
    families.push(last);
    for family in &families {
        site.topic.await_value(family.last());
    }
    agent.stop();
    let first = site.whole();
    assert_eq!(assert_no_loss(&first, &families.iter().collect::<Vec<_>>()), 0);

    let mut again = Vec::new();
    for cut in &taken {
        let after = shelf.attach(&cut.image).unwrap();
        let state = after.path().join("state");
        let behind = cut.check(&state);
        let topic = site.another_topic(&cut.name);
        let agent = site.shipping(&logs, &cut.name, &state).start();
        agent.await_ready();
        topic.await_value(families.last().unwrap().last());
        until_true("all files are read to their ends", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        agent.stop();
        let sent = assert_ends(&topic.whole(), &families);
        again.push((behind, sent));
    }
    println!("bytes behind what was acknowledged, lines sent after: {again:?}");
    let took = again.iter().filter(|(behind, _)| *behind > 0).count();
    assert!(took > 0, "no cut took anything: they cannot be power cuts");
}

/// Every line of a file, an unfinished last one left out.
fn whole_lines(path: &Path) -> Vec<Vec<u8>> {
    let content = fs::read(path).unwrap();
    let mut lines: Vec<Vec<u8>> = content.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.pop();
    lines
}

/// Whose files the names of logs are: those that a machine finds after its power came back, by path.
fn surviving(logs: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(logs).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn s03_the_power_goes_and_logs_lose_what_was_not_synced_either() {
    let site = Site::new();
    let Some(shelf) = Shelf::below(site.root(), attempt) else { return };
    let disk = shelf.format("host", 32).unwrap();
    let logs = disk.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let agent = site.shipping(&logs.join("*.log*"), TOPIC, &disk.path().join("state")).start();
    let mut families: Vec<Family> =
        (0..4).map(|at| Family::named(&format!("f{at}"), logs.join(format!("f{at}.log")))).collect();
    let (mut seed, mut written, mut images) = (5, 0, Vec::new());
    for number in 0..cuts(6) {
        for round in 0..30 {
            for family in &mut families {
                let count = 1 + roll(&mut seed, 40);
                family.write(count);
                written += count;
                match roll(&mut seed, 40) {
                    0 => family.sync(),
                    1 => family.rotate(&family.beside(&format!("{}", 1000 + 100 * number + round))),
                    _ => {}
                }
            }
        }
        site.topic.await_count(written - roll(&mut seed, 400));
        images.push(disk.cut(&format!("cut-{number}")));
    }
    site.topic.await_count(written);
    agent.stop();
    let before: std::collections::BTreeSet<Vec<u8>> =
        site.whole().into_iter().map(|record| record.value).collect();

    let mut lost = 0;
    for (number, image) in images.iter().enumerate() {
        let after = shelf.attach(image).unwrap();
        let (logs, state) = (after.path().join("logs"), after.path().join("state"));
        let survived = surviving(&logs);
        lost += usize::from(written > survived.iter().map(|path| whole_lines(path).len()).sum());
        // The applications go on at once, and some of their files had been longer before.
        survived.iter().for_each(|path| append(path, format!("new {number} {}\n", path.display())));
        let name = format!("cut-{number}");
        let topic = site.another_topic(&name);
        let agent = site.shipping(&logs.join("*.log*"), &name, &state).start();
        let mut more = Family::named("more", logs.join("more.log"));
        for path in &survived {
            append(path, format!("newer {number} {}\n{}\n", path.display(), "y".repeat(5000)));
        }
        more.write(5);
        agent.await_ready();
        topic.await_value(more.last());
        until_true("all files are read to their ends", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        agent.stop();
        let arrived: std::collections::BTreeSet<Vec<u8>> =
            topic.whole().into_iter().map(|record| record.value).collect();
        let there: Vec<Vec<u8>> = surviving(&logs).iter().flat_map(|path| whole_lines(path)).collect();
        for line in &there {
            let text = String::from_utf8_lossy(&line[..line.len().min(80)]);
            assert!(arrived.contains(line) || before.contains(line), "{name}: lost `{text}`");
        }
        let there: std::collections::BTreeSet<&Vec<u8>> = there.iter().collect();
        for line in &arrived {
            assert!(there.contains(line), "{name}: nobody wrote `{}`", String::from_utf8_lossy(line));
        }
    }
    assert!(lost > 0, "no log lost anything: they cannot be power cuts");
}
