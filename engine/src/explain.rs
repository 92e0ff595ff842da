//! `logdrive explain PATH`: which item takes a file, what the file is, how far it is read, and why it
//! is or is not read. Looks at the configuration, the file and the state, where the last items of etcd are kept;
//! asks no running agent.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use logdrive_core::position::Position;
use logdrive_core::source::{FileId, ItemId, SourceId};

use crate::config::Plan;
use crate::fs::{Done, Job, Opened};
use crate::setup::PlanRules;
use crate::state;

/// The explanation, some lines of text.
#[must_use]
pub fn explain(plan: &Plan, path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut text = format!("{}\n", path.display());
    let item = items(plan, &path, &mut text);
    let Some(item) = item else { return text };
    let opened = match open(plan, &path, item) {
        Ok(opened) => opened,
        Err(why) => {
            let _ = writeln!(text, "not read: {why}");
            return text;
        }
    };
    let FileId { dev, ino, birth_ns } = opened.file;
    let _ = writeln!(text, "file: device {dev}, inode {ino}, born {birth_ns} ns, {} bytes", opened.size);
    remembered(plan, &opened, &mut text);
    text
}

/// What each item says of the path; the one that takes it.
fn items(plan: &Plan, path: &Path, text: &mut String) -> Option<ItemId> {
    let mut taken = None;
    for verdict in plan.patterns.verdicts(path.as_os_str().as_bytes()) {
        let item = plan.item(verdict.item);
        let name = &item.name;
        let _ = match (verdict.included_by, verdict.excluded_by) {
            (None, _) => writeln!(text, "item `{name}`: no include pattern matches"),
            (Some(by), Some(out)) => writeln!(text, "item `{name}`: matches `{by}`, but excluded by `{out}`"),
            (Some(by), None) if taken.is_some() => {
                writeln!(text, "item `{name}`: matches `{by}`, but an item before it takes the file")
            }
            (Some(by), None) => {
                taken = Some(verdict.item);
                writeln!(text, "item `{name}`: takes it by `{by}`, to topic `{}`", item.topic)
            }
        };
    }
    if taken.is_none() {
        text.push_str("not read: no item takes it\n");
    }
    taken
}

/// Opens the file exactly as the agent would.
fn open(plan: &Plan, path: &Path, item: ItemId) -> Result<Opened, String> {
    let ids: Vec<ItemId> = (0..plan.items.len()).map(|index| ItemId(index as u32)).collect();
    let rules = PlanRules::new(plan, &ids);
    let source = SourceId { index: 0, epoch: 0 };
    let path = Arc::from(path.as_os_str().as_bytes());
    match (Job::Open { source, item, path, before: Position::ZERO }).run(&rules) {
        Done::Opened { result, .. } => result.map_err(|error| error.to_string()),
        _ => unreachable!("an open job ends in an opened file or an error"),
    }
}

fn remembered(plan: &Plan, opened: &Opened, text: &mut String) {
    let snapshot = match state::inspect(&plan.state.dir) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let _ = writeln!(text, "state: {error}");
            return;
        }
    };
    let FileId { dev, ino, birth_ns } = opened.file;
    let here = |row: &&state::Row| (row.dev, row.ino, row.birth_ns) == (dev, ino, birth_ns);
    let rows: Vec<_> = snapshot.rows.iter().filter(here).collect();
    if rows.is_empty() {
        text.push_str(
            "state: nothing is remembered of this file; a running agent takes it up by `read_from`\n",
        );
    }
    for row in rows {
        let (position, size) = (row.position, opened.size);
        let _ = write!(text, "state: generation {}, acknowledged up to byte {position}", row.generation);
        let _ = if position > size {
            writeln!(text, "; the file is shorter: it was truncated and is read from 0")
        } else {
            writeln!(text, ", {} bytes to go", size - position)
        };
    }
}
