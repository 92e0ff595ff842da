//! What was typed beside (or instead of) a file: single keys, and perhaps one more item.
//!
//! Typed values are checked by the same kinds as written ones and override them. A typed item stands
//! before those of the file, so that it gets the files that it names.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::keys::{ITEM, KEYS, Key, key};
use super::problem::{At, Placed, Problem, hint};
use super::value::{Kind, Value};
use super::written::{FileConfig, Section};

/// What was typed.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// The file to read.
    pub config: Option<PathBuf>,
    /// Patterns of an item of its own; relative ones are meant from the working directory.
    pub include: Vec<String>,
    /// What that item leaves out.
    pub exclude: Vec<String>,
    /// Where that item's records go.
    pub topic: Option<String>,
    /// Single keys, later ones override earlier ones.
    pub settings: Vec<Setting>,
}

/// One typed key.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How it was typed, for messages: `--brokers`, `--set kafka.linger`.
    pub flag: String,
    /// The path of the key; one of `item.` holds for all items.
    pub path: String,
    /// Its value.
    pub text: String,
}

impl Typed {
    pub(super) fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.topic.is_none() && self.settings.is_empty()
    }

    /// Writes what was typed over what is in the file.
    pub(super) fn apply(&self, config: &mut FileConfig, problems: &mut Vec<Problem>) {
        self.add_item(config, problems);
        for setting in &self.settings {
            if let Err(message) = setting.apply(config) {
                problems.push(Problem { at: At::Flag(setting.flag.clone()), message });
            }
        }
    }

    fn add_item(&self, config: &mut FileConfig, problems: &mut Vec<Problem>) {
        let mut refuse = |flag: &str, message: &str| {
            problems.push(Problem { at: At::Flag(flag.to_owned()), message: message.to_owned() });
        };
        if self.include.is_empty() {
            if self.topic.is_some() {
                refuse("--topic", "needs --include: which files shall go to this topic?");
            }
            if !self.exclude.is_empty() {
                refuse("--exclude", "needs --include: from which files shall these be left out?");
            }
            return;
        }
        let Some(topic) = &self.topic else {
            refuse("--include", "needs --topic: where shall these files go?");
            return;
        };
        let at = At::Flag("--include".to_owned());
        let mut item = Section::new(at.clone());
        let mut set = |path, value, flag: &str| {
            item.set(key(path).expect("the path of a key"), value, At::Flag(flag.to_owned()));
        };
        set("item.include", globs(&self.include, "--include"), "--include");
        if !self.exclude.is_empty() {
            set("item.exclude", globs(&self.exclude, "--exclude"), "--exclude");
        }
        set("item.topic", Value::Text(topic.clone()), "--topic");
        config.items.insert(0, item);
    }
}

fn globs(texts: &[String], flag: &str) -> Value {
    let here = std::env::current_dir().ok().and_then(|here| here.into_os_string().into_string().ok());
    let placed = |text: &String| {
        // Without a slash, `--exclude` means a name in any directory.
        let stays = flag == "--exclude" && !text.contains('/');
        let value = match &here {
            Some(here) if !stays => seen_from(here, text),
            _ => text.clone(),
        };
        Placed { value, at: At::Flag(flag.to_owned()) }
    };
    Value::Texts(texts.iter().map(placed).collect())
}

/// A pattern as typed in the directory `here`, whose own name is no pattern.
fn seen_from(here: &str, text: &str) -> String {
    if text.is_empty() || text.starts_with(['/', '{']) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(here.len() + text.len() + 1);
    for character in here.trim_end_matches('/').chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('/');
    out.push_str(text.trim_start_matches("./"));
    out
}

impl Setting {
    fn apply(&self, config: &mut FileConfig) -> Result<(), String> {
        let Some(key) = key(&self.path) else {
            let near = hint(&self.path, KEYS.iter().map(|key| key.path));
            return Err(format!("unknown key `{}`{near}", self.path));
        };
        let value = check(key, &self.text)?;
        let at = At::Flag(self.flag.clone());
        let section = key.section();
        if section != ITEM && !section.starts_with("item.") {
            config.top.set(key, value, at);
            return Ok(());
        }
        if config.items.is_empty() {
            return Err("there is no item that it could hold for".to_owned());
        }
        for item in &mut config.items {
            item.set(key, value.clone(), at.clone());
        }
        Ok(())
    }
}

/// Checks a typed value: as a string where the kind takes one, else as TOML.
fn check(key: &Key, text: &str) -> Result<Value, String> {
    let is_path = matches!(key.kind, Kind::Text("absolute path"));
    if is_path && !Path::new(text).is_absolute() && !text.is_empty() {
        let path = std::path::absolute(text).map_err(|error| format!("{text:?}: {error}"))?;
        let path = path.into_os_string().into_string().map_err(|_| format!("{text:?} is not UTF-8"))?;
        return key.kind.check_text(key.name(), &path);
    }
    let as_text = key.kind.check_text(key.name(), text);
    match key.kind {
        Kind::Flag | Kind::Count { .. } | Kind::Texts(_) | Kind::Fields | Kind::Options => {}
        Kind::Duration { .. } | Kind::Size { .. } | Kind::Choice(_) | Kind::Start | Kind::Text(_) => {
            return as_text;
        }
    }
    match DeValue::parse(text) {
        Ok(value) if as_text.is_err() => {
            key.kind.check(key.name(), &value, &|_| At::Whole).map_err(|problem| problem.message)
        }
        _ => as_text,
    }
}
