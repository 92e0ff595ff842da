//! From what is written to what it means: rules between keys, defaults that depend on the host, files
//! that must be there. Every problem is collected; a plan comes out only when there is none.

mod credentials;
mod encoding;
mod etcd;
mod item;
mod kafka;
mod options;

pub(crate) use item::line_bytes_most;
pub(crate) use options::refusal as option_refusal;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logdrive_core::frame::Form;

use super::keys::{Fallback, ITEM};
use super::patterns::Patterns;
use super::plan::{
    Certificate, EtcdPlan, IoChoice, IoPriority, ItemPlan, KafkaPlan, LetterPlace, LimitsPlan, LogPlan,
    OnRefused, Plan, SaslPlan, StatePlan, TlsPlan,
};
use super::problem::{At, Problem};
use super::secret::Secret;
use super::start::ReadFrom;
use super::units;
use super::written::{FileConfig, Section, heading};
use crate::logging::LogFormat;

/// Descriptors for everything but log files: brokers, state, inotify, HTTP. A sixteenth of what the
/// process may have, within these bounds.
const RESERVE_MIN: u64 = 64;
const RESERVE_MAX: u64 = 1024;

/// Fewer log files are never allowed, whatever the process may have.
const OPEN_FILES_MIN: u64 = 16;

/// More would only make tables large: a host has no more logs that are written at once.
const OPEN_FILES_MAX: u64 = 1_000_000;

/// The longest line must fit several times into what is in flight, or reading stands still.
const LINES_IN_FLIGHT_MIN: u64 = 4;

/// A hundred cores: more than the agent has threads for.
const CPU_PERCENT_MAX: u32 = 10_000;
/// The longest name of a topic in Kafka; items keep to it, since they are named after topics.
const NAME_BYTES_MAX: usize = 249;

/// What the plan takes from the machine instead of from the configuration.
#[derive(Clone, Debug)]
pub struct Host {
    /// How many descriptors the process may have (the soft limit).
    pub descriptors_max: u64,
    /// Where the state is kept if nothing else is written.
    pub state_dir: PathBuf,
}

impl Host {
    /// This machine and user. `quick` is a run without a configuration file, for which an ordinary user
    /// keeps the state at home; a service has it where `state.dir` says.
    #[must_use]
    pub fn here(quick: bool) -> Host {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let home = || {
            let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
        };
        let own = (quick && !rustix::process::geteuid().is_root()).then(home).flatten();
        Host {
            descriptors_max: limit.current.unwrap_or(u64::MAX),
            state_dir: own.unwrap_or_else(|| PathBuf::from("/var/lib")).join("logdrive"),
        }
    }

    fn open_files_max(&self) -> u64 {
        let reserve = (self.descriptors_max / 16).clamp(RESERVE_MIN, RESERVE_MAX);
        self.descriptors_max.saturating_sub(reserve).clamp(OPEN_FILES_MIN, OPEN_FILES_MAX)
    }
}

/// Collects what is wrong and what is unwise, and knows the rules that several sections and programs share.
#[derive(Debug)]
pub struct Judge<'a> {
    problems: &'a mut Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(problems: &'a mut Vec<Problem>, warnings: Vec<String>) -> Judge<'a> {
        Judge { problems, warnings }
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.problems.is_empty()
    }

    /// Something is wrong at a place.
    pub fn refuse(&mut self, at: &At, message: impl Into<String>) {
        self.problems.push(Problem::new(at, message));
    }

    /// Something is unwise.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// The value, or a problem at the key.
    pub fn accept<T>(&mut self, section: &Section, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.refuse(&section.at(path), why)).ok()
    }

    /// An absolute path, if the key is written.
    pub fn path(&mut self, section: &Section, path: &str) -> Option<PathBuf> {
        let text = section.text(path)?;
        // A password in place of the name of its file is not shown.
        let hidden =
            |why| if path.ends_with("password_file") { "not an absolute path".to_owned() } else { why };
        self.accept(section, path, absolute(&text).map_err(hidden))
    }

    /// Names the required keys that are not written.
    pub(super) fn required(&mut self, section: &Section, is_mine: impl Fn(&str) -> bool) {
        let table = section.keys;
        for key in table.keys.iter().filter(|key| is_mine(key.section())) {
            let must = matches!(key.fallback, Fallback::Required)
                && (!table.optional_sections.contains(&key.section())
                    || section.table(key.section()).is_some());
            if must && !section.has(key.path) {
                let place = heading(key.section());
                self.refuse(
                    &section.at(key.path),
                    format!("missing key `{}` in {place}: {}", key.name(), key.doc),
                );
            }
        }
    }

    /// A key that means nothing without another one is a misunderstanding.
    pub fn needs(&mut self, section: &Section, path: &str, holds: bool, what: &str) {
        if section.is_right(path) && !holds {
            let name = path.rsplit('.').next().unwrap_or(path);
            self.refuse(&section.at(path), format!("`{name}` has no effect without {what}"));
        }
    }

    /// A list of `host:port` at `key` of the table `section`, without spaces.
    pub fn hosts(&mut self, top: &Section, section: &str, key: &str) -> Option<String> {
        let path = format!("{section}.{key}");
        let hosts = kafka::hosts(&top.text(&path)?, key, section);
        self.accept(top, &path, hosts)
    }

    /// Text without control characters, since others log it.
    pub fn plain(&mut self, top: &Section, path: &str) -> Option<String> {
        let name = path.rsplit('.').next().unwrap_or(path);
        let plain = kafka::plain(name, top.text(path)?);
        self.accept(top, path, plain)
    }

    /// The name of a topic.
    pub fn topic(&mut self, top: &Section, path: &str) -> Option<String> {
        let name = top.text(path)?;
        let legal = legal_name(path.rsplit('.').next().unwrap_or(path), &name);
        self.accept(top, path, legal.map(|()| name))
    }

    /// The table of TLS at `path`; `Some(None)` if there is none.
    pub fn tls(&mut self, top: &Section, path: &str) -> Option<Option<TlsPlan>> {
        match top.table(path) {
            Some(_) => credentials::tls(top, path, self).map(Some),
            None => Some(None),
        }
    }

    /// The certificate of a server, in the table of TLS at `path`, which is there.
    pub fn certificate(&mut self, top: &Section, path: &str) -> Option<Certificate> {
        credentials::certificate(top, path, self)?
    }

    /// The table of SASL at `kafka.sasl`; `Some(None)` if there is none.
    pub fn sasl(&mut self, top: &Section, encrypted: bool) -> Option<Option<SaslPlan>> {
        match top.table("kafka.sasl") {
            Some(_) => kafka::sasl(top, encrypted, self).map(Some),
            None => Some(None),
        }
    }

    /// The password of a section that wants one: from a file or from the environment.
    pub fn password(&mut self, top: &Section, section: &str) -> Option<Secret> {
        credentials::password(top, section, self)
    }

    /// A secret in a file, if the key is written.
    pub fn secret_file(&mut self, top: &Section, path: &str) -> Option<Secret> {
        let file = self.path(top, path)?;
        self.accept(top, path, Secret::from_file(&file))
    }

    /// Properties of librdkafka at `kafka.options`: none that a key decides (property, key; those of the connection
    /// are known here), none that would break a promise (property, what would happen), and no secret.
    pub fn kafka_options(
        &mut self,
        top: &Section,
        decided: &[(&str, &str)],
        promised: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        options::plan(top, decided, promised, self)
    }

    /// The connection to etcd, for whoever only asks it; `Some(None)` if there is no `[etcd]`.
    pub fn etcd(&mut self, top: &Section) -> Option<Option<EtcdPlan>> {
        match top.table("etcd") {
            Some(_) => etcd::connection(top, self).map(Some),
            None => Some(None),
        }
    }

    /// Where to answer questions; `Some(None)` is `"off"`.
    pub fn http(&mut self, top: &Section) -> Option<Option<SocketAddr>> {
        let text = top.text("http.listen")?;
        self.accept(top, "http.listen", listen(&text))
    }
}

/// Makes the plan; `None` if there is any problem.
pub(super) fn plan(config: &FileConfig, host: &Host, problems: &mut Vec<Problem>) -> Option<Plan> {
    let mut judge = Judge { problems, warnings: Vec::new() };
    let top = &config.top;
    let is_item = |section: &str| section == ITEM || section.starts_with("item.");
    judge.required(top, |section| !is_item(section));
    for item in &config.items {
        judge.required(item, is_item);
    }
    let etcd = match top.table("etcd") {
        Some(_) => etcd::plan(top, &mut judge),
        None => None,
    };
    if config.items.is_empty() && top.table("etcd").is_none() {
        judge.refuse(
            &top.at,
            "no `[[item]]`: an item says which files to read (`include`) and where to send them (`topic`)",
        );
    }
    let kafka = kafka::plan(top, &mut judge);
    let items = item::plans(&config.items, top.size("kafka.message_bytes_max"), &mut judge);
    let limits = limits(top, host, items.iter().map(held_bytes_max), &mut judge);
    let state = state(top, host, &mut judge);
    let http = judge.http(top);
    if !judge.problems.is_empty() {
        return None;
    }
    let patterns = Patterns::new(items.iter().map(|item| (&item.include[..], &item.exclude[..])));
    let patterns = patterns.expect("each pattern is checked");
    let kafka = kafka?;
    if !dead_letters_rest(config, &kafka, &items, &patterns, &mut judge) {
        return None;
    }
    Some(Plan {
        io: match top.word("io") {
            "uring" => IoChoice::Uring,
            "blocking" => IoChoice::Blocking,
            _ => IoChoice::Auto,
        },
        shutdown_timeout: top.duration("shutdown_timeout"),
        kafka,
        patterns: Arc::new(patterns),
        items,
        etcd,
        limits,
        state: state?,
        http: http?,
        log: LogPlan::of(top),
        reconcile: top.duration("watch.reconcile"),
        watch_config: top.flag("watch.config"),
        warnings: judge.warnings,
    })
}

/// Whether dead letters have a place, from which none is sent again.
fn dead_letters_rest(
    config: &FileConfig,
    kafka: &KafkaPlan,
    items: &[ItemPlan],
    patterns: &Patterns,
    judge: &mut Judge<'_>,
) -> bool {
    let wants = |item: &ItemPlan| item.on_refused.unwrap_or(kafka.on_refused) == OnRefused::DeadLetter;
    let (at, why) = match kafka.dead_letters.as_ref().map(|dead| &dead.place) {
        None => {
            let Some(item) = items.iter().position(wants) else { return true };
            let at = match items[item].on_refused {
                Some(_) => config.items[item].at("item.on_refused"),
                None => config.top.at("kafka.on_refused"),
            };
            (at, "`on_refused = \"dead_letter\"` needs `topic` or `file` in `[kafka.dead_letter]`".to_owned())
        }
        Some(LetterPlace::Topic(topic)) if items.iter().any(|item| item.topic == *topic && wants(item)) => {
            let why = format!(
                "`topic` is {topic:?}, where an item sends to: what it refuses, it would refuse again"
            );
            (config.top.at("kafka.dead_letter.topic"), why)
        }
        Some(LetterPlace::File { path, .. })
            if patterns.first_match(path.as_os_str().as_bytes()).is_some() =>
        {
            let why =
                format!("`file` is {path:?}, which an item reads: each dead letter would be sent again");
            (config.top.at("kafka.dead_letter.file"), why)
        }
        Some(_) => return true,
    };
    judge.refuse(&at, why);
    false
}

/// What must be in memory at once to settle a line of an item, in bytes.
fn held_bytes_max(item: &ItemPlan) -> u64 {
    match item.frame.form {
        Form::Plain => item.frame.line_bytes_max as u64,
        Form::Wrapped(_) | Form::Encoded(_) => item.frame.buffer_bytes_min() as u64,
    }
}

fn limits(top: &Section, host: &Host, lines: impl Iterator<Item = u64>, judge: &mut Judge<'_>) -> LimitsPlan {
    let in_flight_bytes = top.size("limits.in_flight");
    let longest = lines.max().unwrap_or(0);
    if longest.saturating_mul(LINES_IN_FLIGHT_MIN) > in_flight_bytes {
        judge.refuse(
            &top.at("limits.in_flight"),
            format!(
                "`in_flight` must hold at least {LINES_IN_FLIGHT_MIN} of the longest lines (`line_bytes_max`), which \
                 need {} each while they are read",
                units::size(longest)
            ),
        );
    }
    let most = host.open_files_max();
    let open_files = match top.count("limits.open_files") {
        None => most,
        Some(wanted) => {
            let wanted = wanted.unsigned_abs();
            if wanted > most {
                judge.warn(format!(
                    "limits.open_files is {wanted}, but the process may have {} descriptors: \
                     {most} is used; raise LimitNOFILE= or ulimit -n",
                    host.descriptors_max
                ));
            }
            wanted.min(most)
        }
    };
    let cpu = top.text("limits.cpu").and_then(|text| judge.accept(top, "limits.cpu", cpu_percent(&text)));
    let best_effort = top.word("limits.io_class") == "best-effort";
    judge.needs(top, "limits.io_level", best_effort, "`io_class = \"best-effort\"`");
    LimitsPlan {
        in_flight_bytes,
        open_files: usize::try_from(open_files).unwrap_or(usize::MAX),
        files_max: top.number("limits.files_max"),
        cpu_percent: cpu.flatten(),
        bytes_per_second: top.size_or_word("limits.bytes_per_second"),
        nice: top.count("limits.nice").and_then(|nice| nice.try_into().ok()),
        io_priority: match top.word("limits.io_class") {
            "idle" => Some(IoPriority::Idle),
            "best-effort" => Some(IoPriority::BestEffort { level: top.number("limits.io_level") }),
            _ => None,
        },
    }
}

/// What `50%` of one core is; `None` for no limit.
fn cpu_percent(text: &str) -> Result<Option<NonZeroU32>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    let percent = number.and_then(NonZeroU32::new).filter(|percent| percent.get() <= CPU_PERCENT_MAX);
    percent.map(Some).ok_or_else(|| {
        format!(
            "`cpu` is {text:?}; allowed: a whole percentage of one core like \"50%\", up to \
             \"{CPU_PERCENT_MAX}%\", or \"unlimited\""
        )
    })
}

fn state(top: &Section, host: &Host, judge: &mut Judge<'_>) -> Option<StatePlan> {
    let dir = state_dir(top, host);
    let dir = judge.accept(top, "state.dir", dir)?;
    let on_lost = match top.word("state.on_lost") {
        "end" => ReadFrom::End,
        _ => ReadFrom::Beginning,
    };
    Some(StatePlan { dir, on_lost })
}

/// The folder of the state, whatever else may be wrong.
pub(super) fn state_dir(top: &Section, host: &Host) -> Result<PathBuf, String> {
    match top.text("state.dir") {
        Some(text) if top.has("state.dir") => absolute(&text),
        _ => Ok(host.state_dir.clone()),
    }
}

/// The connection to etcd alone, whatever else may be wrong or missing: for whoever only asks it.
pub(super) fn etcd(top: &Section, problems: &mut Vec<Problem>) -> Option<EtcdPlan> {
    let mut judge = Judge { problems, warnings: Vec::new() };
    if !top.has("etcd.endpoints") {
        judge.refuse(
            &top.at("etcd.endpoints"),
            "no etcd is named; give --endpoints HOST:PORT, or name with --config a file that has `[etcd]`",
        );
    }
    let plan = etcd::plan(top, &mut judge);
    if judge.problems.is_empty() { plan } else { None }
}

/// One item that stands alone; its problems are told if there are any.
pub(super) fn item(
    section: &Section,
    message_bytes_max: u64,
    problems: &mut Vec<Problem>,
) -> Option<ItemPlan> {
    let mut judge = Judge { problems, warnings: Vec::new() };
    judge.required(section, |section| section == ITEM || section.starts_with("item."));
    let plan = item::plan(section, message_bytes_max, &mut judge);
    if judge.problems.is_empty() { plan } else { None }
}

/// Where to serve what is asked for with this text; `None` for nowhere.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    let address = text.parse::<SocketAddr>().map_err(|_| {
        format!("`listen` is {text:?}; allowed: an address with a port like \"127.0.0.1:9180\", or \"off\"")
    })?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "`listen` is {address}, which other hosts can reach; only loopback is allowed, \
             since there is no login: put a proxy with TLS and login before it"
        ));
    }
    Ok(Some(address))
}

impl LogPlan {
    /// What `[log]` says.
    #[must_use]
    pub fn of(top: &Section) -> LogPlan {
        LogPlan {
            level: match top.word("log.level") {
                "error" => tracing::Level::ERROR,
                "warn" => tracing::Level::WARN,
                "debug" => tracing::Level::DEBUG,
                "trace" => tracing::Level::TRACE,
                _ => tracing::Level::INFO,
            },
            format: match top.word("log.format") {
                "json" => LogFormat::Json,
                "auto" => LogFormat::Auto,
                _ => LogFormat::Text,
            },
        }
    }
}

/// Whether it can be the name of a topic, an item, a group or a host; `key` is what the refusal calls it.
///
/// # Errors
/// What is allowed.
pub fn legal_name(key: &str, name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.chars().all(legal)
        || name == "."
        || name == ".."
    {
        return Err(format!(
            "`{key}` is {name:?}; allowed: 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`"
        ));
    }
    Ok(())
}

/// `None`: it is not written.
fn on_refused(section: &Section, path: &str) -> Option<OnRefused> {
    match section.word(path) {
        "drop" => Some(OnRefused::Drop),
        "truncate" => Some(OnRefused::Truncate),
        "dead_letter" => Some(OnRefused::DeadLetter),
        _ => None,
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match text {
        _ if text.contains('\0') => Err("a path cannot hold a NUL".to_owned()),
        _ if !path.is_absolute() => Err(format!("{text:?} is not an absolute path")),
        _ => Ok(path.to_owned()),
    }
}
