//! The configuration: what was written in a file and typed on the command line, and the validated plan
//! that it means.
//!
//! Three steps, three shapes. [`keys`] says which keys there are; `written` holds what stands where;
//! `resolve` makes a [`Plan`] of it, in which nothing is left to look up. A configuration is refused as a
//! whole or taken as a whole: there is no half-valid plan, so a reload can keep the old one.
//! Not here: how the parts of the agent use their plan, and who decides when to reload.

mod braces;
mod glob;
pub mod keys;
mod patterns;
mod plan;
mod problem;
mod resolve;
mod secret;
mod typed;
mod units;
mod value;
mod written;

pub use patterns::{Patterns, Verdict};
pub use plan::{
    Acks, Certificate, Compression, CreateTopics, DeadLetters, Format, FramePlan, IoChoice, ItemPlan,
    KafkaPlan, LetterPlace, LimitsPlan, LogPlan, OnRefused, Partition, Plan, ReadFrom, RecordKey, SaslPlan,
    StatePlan, Symlinks, TlsPlan,
};
pub use problem::{EXIT_CONFIG, Refused};
pub use resolve::Host;
pub use secret::Secret;
pub use typed::{Setting, Typed};
pub use value::Kind;

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use problem::{At, Problem, shown};
use written::FileConfig;

/// A larger file is not a configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Permission bits with which others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// Reads the file, if one is named, adds what was typed, and makes the plan.
pub fn load(typed: &Typed, host: &Host) -> Result<Plan, Refused> {
    let Some(path) = &typed.config else { return plan_of("command line", None, typed, host) };
    let (text, metadata) = read(path)?;
    let mut plan = plan_of(&shown(path), Some(&text), typed, host)?;
    if metadata.mode() & OTHERS_WRITE != 0 {
        plan.warnings.push(format!("{} can be written by others than its owner", shown(path)));
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let what = "who may so choose what the agent reads and where it sends it";
        plan.warnings.push(format!("{} belongs to user {owner}, {what}", shown(path)));
    }
    Ok(plan)
}

/// The same with the text of the file at hand; `name` is what problems call it.
pub fn plan_of(name: &str, text: Option<&[u8]>, typed: &Typed, host: &Host) -> Result<Plan, Refused> {
    let mut problems = Vec::new();
    let mut config = written(text, &mut problems).map_err(|problem| Refused::new(name, vec![problem]))?;
    typed.apply(&mut config, &mut problems);
    if text.is_none() && typed.is_empty() {
        let what = "nothing to do; name a file with --config, or give --include, --topic and --brokers";
        return Err(Refused::new(name, vec![Problem::new(&At::Whole, what)]));
    }
    match resolve::plan(&config, host, &mut problems) {
        Some(plan) => Ok(plan),
        None => Err(Refused::new(name, problems)),
    }
}

/// The folder of the state, for whoever looks at it: other parts of the configuration may be wrong.
pub fn state_dir(typed: &Typed, host: &Host) -> Result<PathBuf, Refused> {
    let (name, text) = match &typed.config {
        Some(path) => (shown(path), Some(read(path)?.0)),
        None => ("command line".to_owned(), None),
    };
    let refused = |problem| Refused::new(&name, vec![problem]);
    let mut problems = Vec::new();
    let mut config = written(text.as_deref(), &mut problems).map_err(refused)?;
    typed.apply(&mut config, &mut problems);
    resolve::state_dir(&config.top, host)
        .map_err(|why| refused(Problem::new(&config.top.at("state.dir"), why)))
}

/// The text of a file, and who owns it and may write it.
fn read(path: &Path) -> Result<(Vec<u8>, Metadata), Refused> {
    let refused = |why: String| Refused::new(&shown(path), vec![Problem::new(&At::Whole, why)]);
    let cannot = |error: std::io::Error| refused(format!("cannot read the configuration: {error}"));
    let file = std::fs::File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(format!(
            "larger than {}: this is no configuration",
            units::size(FILE_BYTES_MAX)
        )));
    }
    Ok((text, metadata))
}

/// What stands in the text. Broken TOML is the one problem that ends the reading at once: what comes
/// after it would only be misunderstood.
fn written(text: Option<&[u8]>, problems: &mut Vec<Problem>) -> Result<FileConfig, Problem> {
    let Some(bytes) = text else { return Ok(FileConfig::empty(At::Whole)) };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        Problem::new(&problem::Lines::of(good).at(good.len()), "not UTF-8 from here on")
    })?;
    FileConfig::read(text, problems)
}
