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
pub(crate) mod problem;
mod resolve;
mod secret;
mod single;
mod start;
mod typed;
pub(crate) mod units;
mod value;
mod written;

pub use patterns::{Patterns, Verdict};
pub(crate) use patterns::{check_exclude, check_include};
pub use plan::{
    Acks, Certificate, Compression, CreateTopics, DeadLetters, EtcdLogin, EtcdPlan, Format, FramePlan,
    IoChoice, IoPriority, ItemPlan, KafkaPlan, LetterPlace, LimitsPlan, LogPlan, OnRefused, Origin,
    Partition, Plan, RecordKey, SaslPlan, StatePlan, Symlinks, TlsPlan,
};
pub use problem::{At, EXIT_CONFIG, Placed, Refused};
pub use resolve::{Host, Judge, legal_name};
pub(crate) use resolve::{line_bytes_most, option_refusal};
pub use secret::Secret;
pub use single::{ItemLimits, item_of};
pub use start::{ReadFrom, When};
pub use typed::{Setting, Typed};
pub use value::Kind;
pub use written::Section;

use std::fs::Metadata;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keys::{AGENT, KeyTable};
use problem::{Problem, shown};
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
    plan.warnings.extend(exposed(path, &metadata));
    Ok(plan)
}

/// Who else may change a file, and so choose what is read and where it goes.
fn exposed(path: &Path, metadata: &Metadata) -> impl Iterator<Item = String> {
    let by_others = (metadata.mode() & OTHERS_WRITE != 0)
        .then(|| format!("{} can be written by others than its owner", shown(path)));
    let owner = metadata.uid();
    let of_another = (owner != 0 && owner != rustix::process::geteuid().as_raw()).then(|| {
        let what = "who may so choose what the agent reads and where it sends it";
        format!("{} belongs to user {owner}, {what}", shown(path))
    });
    by_others.into_iter().chain(of_another)
}

/// Reads the configuration of another program of this workspace, which has its own keys: what `meaning` makes
/// of it, and warnings. It is refused in the words of the agent's; required keys may be missing in sections that are
/// not needed.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load_for<T>(
    keys: &'static KeyTable,
    typed: &Typed,
    is_needed: impl Fn(&str) -> bool,
    meaning: impl FnOnce(&Section, &mut Judge<'_>) -> Option<T>,
) -> Result<(T, Vec<String>), Refused> {
    let (name, text, exposed) = match &typed.config {
        None => ("command line".to_owned(), None, Vec::new()),
        Some(path) => {
            let (text, metadata) = read(path)?;
            (shown(path), Some(text), exposed(path, &metadata).collect())
        }
    };
    let mut problems = Vec::new();
    let mut config = written(keys, text.as_deref(), &mut problems)
        .map_err(|problem| Refused::new(&name, vec![problem]))?;
    typed.apply(&mut config, &mut problems);
    let mut judge = Judge::new(&mut problems, exposed);
    judge.required(&config.top, is_needed);
    let meant = meaning(&config.top, &mut judge);
    let warnings = judge.into_warnings();
    match meant {
        Some(meant) if problems.is_empty() => Ok((meant, warnings)),
        _ => Err(Refused::new(&name, problems)),
    }
}

/// The same with the text of the file at hand; `name` is what problems call it.
pub fn plan_of(name: &str, text: Option<&[u8]>, typed: &Typed, host: &Host) -> Result<Plan, Refused> {
    let mut problems = Vec::new();
    let mut config =
        written(&AGENT, text, &mut problems).map_err(|problem| Refused::new(name, vec![problem]))?;
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
    one(typed, "state.dir", |top| resolve::state_dir(top, host))
}

/// Where the agent of this configuration serves its status, `None` for nowhere; other parts may be wrong.
pub fn http(typed: &Typed) -> Result<Option<SocketAddr>, Refused> {
    one(typed, "http.listen", |top| match top.text("http.listen") {
        Some(text) => resolve::listen(&text),
        None => Err("`listen` must be a string".to_owned()),
    })
}

/// The meaning of a single key, which is refused at its place.
fn one<T>(
    typed: &Typed,
    path: &str,
    meaning: impl FnOnce(&Section) -> Result<T, String>,
) -> Result<T, Refused> {
    let (name, config) = in_part(typed, Elsewhere::Ignored)?;
    meaning(&config.top).map_err(|why| Refused::new(&name, vec![Problem::new(&config.top.at(path), why)]))
}

/// The connection to etcd, for whoever asks it from any host: what else the configuration names need not be
/// there.
pub fn etcd(typed: &Typed) -> Result<EtcdPlan, Refused> {
    let (name, config) = in_part(typed, Elsewhere::Refused)?;
    let mut problems = Vec::new();
    resolve::etcd(&config.top, &mut problems).ok_or_else(|| Refused::new(&name, problems))
}

/// The largest record that the brokers take, whatever else may be missing.
pub fn message_bytes_max(typed: &Typed) -> Result<u64, Refused> {
    in_part(typed, Elsewhere::Refused).map(|(_, config)| config.top.size("kafka.message_bytes_max"))
}

/// What becomes of unknown keys and wrong types in the file when only a part of it is needed.
enum Elsewhere {
    Ignored,
    Refused,
}

/// What is written and typed, of which only a part is needed; and what problems call it.
fn in_part(typed: &Typed, elsewhere: Elsewhere) -> Result<(String, FileConfig), Refused> {
    let (name, text) = match &typed.config {
        Some(path) => (shown(path), Some(read(path)?.0)),
        None => ("command line".to_owned(), None),
    };
    let mut problems = Vec::new();
    let mut config = written(&AGENT, text.as_deref(), &mut problems)
        .map_err(|problem| Refused::new(&name, vec![problem]))?;
    if let Elsewhere::Ignored = elsewhere {
        problems.clear();
    }
    typed.apply(&mut config, &mut problems);
    if problems.is_empty() { Ok((name, config)) } else { Err(Refused::new(&name, problems)) }
}

/// The text of a file, and who owns it and may write it.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Metadata), Refused> {
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
fn written(
    keys: &'static KeyTable,
    text: Option<&[u8]>,
    problems: &mut Vec<Problem>,
) -> Result<FileConfig, Problem> {
    let Some(bytes) = text else { return Ok(FileConfig::empty(keys, At::Whole)) };
    FileConfig::read(keys, text_of(bytes)?, problems)
}

/// The text that the bytes of a file are.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        Problem::new(&problem::Lines::of(good).at(good.len()), "not UTF-8 from here on")
    })
}
