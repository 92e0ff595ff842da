//! `logdrive explain PATH`: which item takes a file, what the file is, how far it is read, and why it
//! is or is not read. Looks at the configuration, the file and the state, and asks the running agent, if one
//! answers where the configuration says.

mod access;

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logdrive_core::engine::Start;
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, ItemId, SourceId};

use self::access::User;
use crate::clock::wall_ns;
use crate::config::{ItemPlan, Plan, ReadFrom};
use crate::figures::{grouped, seconds, size, span};
use crate::fs::{Done, Job, Opened};
use crate::logging::plain;
use crate::setup::PlanRules;
use crate::state::{self, Seen};
use crate::status::{FileStatus, StatusReport};

/// The explanation, some lines of text, the last of which is the answer. `agent` is what a running agent says, or why
/// none does.
#[must_use]
pub fn explain(plan: &Plan, path: &Path, agent: &Result<StatusReport, String>) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut text = format!("{}\n", path.display());
    let answer = answer(plan, &path, agent, &mut text);
    writeln!(text, "{answer}").expect("a string takes everything");
    text.lines().map(|line| plain(line) + "\n").collect()
}

/// Writes what is found on the way to the answer.
fn answer(plan: &Plan, path: &Path, agent: &Result<StatusReport, String>, text: &mut String) -> String {
    let Some(item) = items(plan, path, text) else { return "not read: no item takes it".to_owned() };
    let agent = match agent {
        Ok(report) if Path::new(&report.state.dir) == plan.state.dir => {
            tell(text, "agent", &format!("process {}, up {}", report.pid, seconds(report.uptime_seconds)));
            Some(report)
        }
        Ok(report) => {
            let other =
                format!("the one that answers is another's: its state folder is {}", report.state.dir);
            tell(text, "agent", &other);
            None
        }
        Err(why) => {
            tell(text, "agent", why);
            None
        }
    };
    let opened = match open(plan, path, item, Start::At(Position::ZERO)) {
        Ok(opened) => opened,
        Err(why) => return format!("not read: {why}"),
    };
    let FileId { dev, ino, birth_ns } = opened.file;
    let age =
        fs::metadata(path).ok().and_then(|file| file.modified().ok()?.elapsed().ok()).unwrap_or_default();
    let what = format!(
        "device {dev}, inode {ino}, born {birth_ns} ns, {} bytes, modified {} ago",
        opened.size,
        span(age)
    );
    tell(text, "file", &what);
    let generations = remembered(plan, path, item, &opened, text);
    let Some(report) = agent else { return without_agent(plan.item(item), generations.is_empty(), age) };
    let found = report.files.iter().find(|file| generations.contains(&file.generation));
    let found = found.or_else(|| report.files.iter().find(|file| Path::new(&file.path) == path));
    match found {
        Some(file) => {
            positions(file, path, text);
            known(plan, plan.item(item), file, report, age)
        }
        None => unknown(plan, plan.item(item), path, age, report),
    }
}

fn tell(text: &mut String, what: &str, how: &str) {
    writeln!(text, "{what}: {how}").expect("a string takes everything");
}

/// What each item says of the path; the one that takes it.
fn items(plan: &Plan, path: &Path, text: &mut String) -> Option<ItemId> {
    let mut taken = None;
    for verdict in plan.patterns.verdicts(path.as_os_str().as_bytes()) {
        let item = plan.item(verdict.item);
        let says = match (verdict.included_by, verdict.excluded_by) {
            (None, _) => "no include pattern matches".to_owned(),
            (Some(by), Some(out)) => format!("matches `{by}`, but excluded by `{out}`"),
            (Some(by), None) if taken.is_some() => {
                format!("matches `{by}`, but an item before it takes the file")
            }
            (Some(by), None) => {
                taken = Some(verdict.item);
                format!("takes it by `{by}`, to topic `{}`", item.topic)
            }
        };
        tell(text, &format!("item `{}`", item.name), &says);
    }
    taken
}

/// Opens the file exactly as the agent would.
fn open(plan: &Plan, path: &Path, item: ItemId, start: Start) -> Result<Opened, String> {
    let ids: Vec<ItemId> = (0..plan.items.len()).map(|index| ItemId(index as u32)).collect();
    let rules = PlanRules::new(plan, &ids);
    let source = SourceId { index: 0, epoch: 0 };
    let path = Arc::from(path.as_os_str().as_bytes());
    match (Job::Open { source, item, path, start }).run(&rules) {
        Done::Opened { result, .. } => result.map_err(|error| error.to_string()),
        _ => unreachable!("an open job ends in an opened file or an error"),
    }
}

/// The generations of this file that the state knows.
fn remembered(plan: &Plan, path: &Path, item: ItemId, opened: &Opened, text: &mut String) -> Vec<String> {
    let snapshot = match state::inspect(&plan.state.dir) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tell(text, "state", &error.to_string());
            return Vec::new();
        }
    };
    let FileId { dev, ino, birth_ns } = opened.file;
    let here = |row: &&state::Row| (row.dev, row.ino, row.birth_ns) == (dev, ino, birth_ns);
    let rows: Vec<_> = snapshot.rows.iter().filter(here).collect();
    if rows.is_empty() {
        let seen = snapshot.items.get(&plan.item(item).name).copied();
        let begin = begin(plan, path, item, opened.size, seen);
        tell(text, "state", &format!("nothing is remembered of this file; {begin}"));
    }
    for row in &rows {
        let (position, size) = (row.position, opened.size);
        let rest = match size.checked_sub(position) {
            None => "; the file is shorter: it was truncated and is read from 0".to_owned(),
            Some(rest) => format!(", {rest} bytes to go"),
        };
        let known = format!("generation {}, acknowledged up to byte {position}{rest}", row.generation);
        tell(text, "state", &known);
    }
    rows.iter().map(|row| row.generation.clone()).collect()
}

/// Where an agent with this state would begin in a file that it does not know.
fn begin(plan: &Plan, path: &Path, item: ItemId, size: u64, seen: Option<Seen>) -> String {
    let read_from = plan.item(item).read_from;
    let first_seen_ms = match seen {
        Some(seen) if seen.deciding => seen.first_seen_ms,
        Some(_) => return "its item is, so it is new, and read from its beginning".to_owned(),
        None => wall_ns() / 1_000_000,
    };
    let (position, why) = match read_from {
        ReadFrom::Beginning => (0, ""),
        ReadFrom::End => (size, ""),
        ReadFrom::Since(when) => match open(plan, path, item, Start::Since(when.unix_ns(first_seen_ms))) {
            Ok(Opened { position, timeless: true, .. }) => {
                (position.0, ", by when it was modified, as no line says a time that is known")
            }
            Ok(Opened { position, .. }) => (position.0, ", with the first line of that time or later"),
            Err(why) => return why,
        },
    };
    format!("when its item is first seen, `read_from = \"{read_from}\"` begins at byte {position}{why}")
}

/// The answer when no agent can be asked.
fn without_agent(item: &ItemPlan, unknown: bool, age: Duration) -> String {
    match too_old(item, age).filter(|_| unknown) {
        Some(why) => format!("not read: {why}"),
        None => {
            "not read now, as no agent of this configuration answers; one that runs would read it".to_owned()
        }
    }
}

fn too_old(item: &ItemPlan, age: Duration) -> Option<String> {
    let limit = item.ignore_older.filter(|&limit| age > limit)?;
    Some(format!("it was not modified for {}, and `ignore_older` is {}", span(age), span(limit)))
}

fn positions(file: &FileStatus, path: &Path, text: &mut String) {
    let at = file.positions;
    let chain = format!(
        "durable {} <= acked {} <= produced {} <= framed {} <= read {} <= size {}",
        at.durable, at.acked, at.produced, at.framed, at.read, at.size
    );
    tell(text, "positions", &chain);
    if Path::new(&file.path) != path {
        tell(text, "name", &format!("the agent knows it as {}", file.path));
    }
}

/// The answer for a file that the agent follows.
fn known(plan: &Plan, item: &ItemPlan, file: &FileStatus, report: &StatusReport, age: Duration) -> String {
    if let Some(error) = &file.last_error {
        let barrier = User::of_process(report.pid).and_then(|user| user.barrier(Path::new(&file.path)));
        return format!(
            "not read: {error}{}",
            barrier.map(|barrier| format!("; {barrier}")).unwrap_or_default()
        );
    }
    let behind = match file.lag_bytes {
        0 => "all of it is acknowledged".to_owned(),
        lag => format!("{} of it are not acknowledged yet", size(lag)),
    };
    let trouble = report.kafka.topics.iter().find(|topic| topic.name == item.topic);
    let trouble = trouble.and_then(|topic| topic.trouble.as_ref());
    let trouble = trouble.map(|trouble| format!(": topic {}: {trouble}", item.topic)).unwrap_or_default();
    match &file.state[..] {
        "at end" => match (file.positions.size - file.positions.framed, too_old(item, age)) {
            (1.., Some(why)) if file.positions.read == 0 => format!("not begun: {why}"),
            (0, _) => format!("read to its end; {behind}"),
            (unfinished, _) => format!(
                "read to its end; its last {unfinished} bytes are a line without its newline, which is waited for \
                 (`flush_after`)"
            ),
        },
        "behind its predecessor" => format!(
            "waits: a file of its family that is older has to be read to its end first, so that the order of \
             lines survives rotation; {behind}"
        ),
        "possible copy" => {
            "held back for up to 10 s: it begins like another file of its family, which may be \
                            about to be truncated (copytruncate)"
                .to_owned()
        }
        "waiting for a descriptor" => format!(
            "waits for a descriptor: {} files may be open (`limits.open_files`), and others have news; {behind}",
            grouped(plan.limits.open_files as u64)
        ),
        "waiting for kafka's queue" | "waiting for acknowledgements" => {
            format!("read; waits for kafka{trouble}; {behind}")
        }
        state => format!("read; {state}{}; {behind}{trouble}", paces(item, report)),
    }
}

/// What may make a file wait for its turn, in words.
fn paces(item: &ItemPlan, report: &StatusReport) -> String {
    let mut text = String::new();
    let mut tell = |key: String, paced: f64| {
        if paced > 0.0 {
            write!(text, ", paced by `{key}` ({} so far)", seconds(paced))
                .expect("a string takes everything");
        }
    };
    let of_item = report.items.iter().find(|known| known.name == item.name);
    let limits = [item.rate_limit.map(|_| "rate_limit"), item.rate_limit_bytes.map(|_| "rate_limit_bytes")];
    let limits: Vec<&str> = limits.into_iter().flatten().collect();
    tell(limits.join("` and `"), of_item.map_or(0.0, |item| item.paced_seconds));
    tell("limits.cpu".to_owned(), report.pace.cpu_paced_seconds);
    tell("limits.bytes_per_second".to_owned(), report.pace.bytes_paced_seconds);
    text
}

/// The answer for a file that the agent does not follow although it should.
fn unknown(plan: &Plan, item: &ItemPlan, path: &Path, age: Duration, report: &StatusReport) -> String {
    let on_the_way = |error: &&crate::status::PathError| path.starts_with(&error.path);
    if let Some(error) = report.errors.iter().rev().find(on_the_way) {
        return format!("not read: {} ({} ago)", error.error, seconds(error.age_seconds));
    }
    if !report.items.iter().any(|known| known.name == item.name) {
        return format!(
            "not read: the running agent has no item `{}`; `logdrive reload` brings it to what is configured",
            item.name
        );
    }
    if let Some(barrier) = User::of_process(report.pid).and_then(|user| user.barrier(path)) {
        return format!("not read: {barrier}");
    }
    if let Some(why) = too_old(item, age) {
        return format!("not read: {why}");
    }
    if report.files.len() >= plan.limits.files_max {
        let most = grouped(plan.limits.files_max as u64);
        return format!("not read: {most} files are followed already (`limits.files_max`)");
    }
    format!(
        "not read yet: the agent has not found it; directories are listed when they change, and every {} \
         (`watch.reconcile`); is the agent's configuration this one? `logdrive reload` makes it so",
        span(plan.reconcile)
    )
}
