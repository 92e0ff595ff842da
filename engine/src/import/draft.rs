//! The new configuration in the making: keys of ours, each with a value that its kind accepts.
//!
//! It cannot hold a key that does not exist, and a value of the wrong kind is handed back with the words in which
//! `validate` would refuse it. Rules between keys are asked of the whole at the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml::de::DeValue;

use crate::config::keys::{KEYS, Key, key};
use crate::config::problem::At;

/// Keys of one section and of those below it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The part of the foreign configuration that it comes from.
    pub(super) at: At,
    values: Vec<(&'static Key, toml::Value)>,
    /// Sections below it that are there although no key is in them.
    open: Vec<&'static str>,
}

impl Section {
    pub(super) fn new(at: &At) -> Section {
        Section { at: at.clone(), values: Vec::new(), open: Vec::new() }
    }

    /// Sets a key; the error says what it takes instead.
    pub(super) fn set(&mut self, path: &str, value: impl Into<toml::Value>) -> Result<(), String> {
        let (key, value) = (key(path).expect("the path of a key"), value.into());
        let text = value.to_string();
        let parsed = DeValue::parse(&text).expect("what TOML writes, it reads");
        key.kind.check(key.name(), &parsed, &|_| At::Whole).map_err(|problem| problem.message)?;
        self.values.retain(|(known, _)| known.path != key.path);
        self.values.push((key, value));
        Ok(())
    }

    pub(super) fn value(&self, path: &str) -> Option<&toml::Value> {
        self.values.iter().find(|(key, _)| key.path == path).map(|(_, value)| value)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.value(path).and_then(toml::Value::as_str)
    }

    /// Writes a section even if no key is in it: it means something by itself.
    pub(super) fn open(&mut self, section: &'static str) {
        self.open.push(section);
    }

    /// Adds to a table of free keys.
    pub(super) fn insert(&mut self, path: &str, name: &str, value: &str) -> Result<(), String> {
        let mut table = self.value(path).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        table.insert(name.to_owned(), value.into());
        self.set(path, table)
    }

    /// `name = value` for each key of one section, in the order of the reference.
    fn lines_of(&self, section: &str) -> String {
        let mine = KEYS.iter().filter(|key| key.section() == section && self.has(key.path));
        mine.fold(String::new(), |mut lines, key| {
            let _ = writeln!(lines, "{} = {}", key.name(), self.value(key.path).expect("filtered by it"));
            lines
        })
    }
}

/// The whole.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kafka: Section,
    pub(super) items: Vec<Section>,
}

impl Draft {
    pub(super) fn new() -> Draft {
        Draft { kafka: Section::new(&At::Whole), items: Vec::new() }
    }

    /// Gives a name to each item that needs one: those of one topic, and those whose names are the same.
    pub(super) fn name_items(&mut self) {
        let mut topics = BTreeMap::new();
        for item in &self.items {
            *topics.entry(item.text("item.topic").map(str::to_owned)).or_insert(0) += 1;
        }
        let mut taken: Vec<String> = Vec::new();
        for item in &mut self.items {
            let topic = item.text("item.topic").map(str::to_owned);
            let written = item.text("item.name").map(str::to_owned);
            let Some(wanted) = written.clone().or_else(|| topic.clone()) else { continue };
            let numbered = (2..).map(|number| format!("{wanted}-{number}"));
            let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
            let name = candidates.find(|name| !taken.contains(name)).expect("there is always a next number");
            if written.is_some() || topics[&topic] > 1 {
                let _ = item.set("item.name", name.clone());
            }
            taken.push(name);
        }
    }

    /// The file, with where each item comes from; `name` is that of the foreign file.
    pub(super) fn write(&self, name: &str, product: &str) -> String {
        let mut out = format!(
            "# Made by `logdrive import` from {name} ({product}). What it reported is part of the result:\n\
             # some settings mean something else here, and some have no counterpart.\n\n[kafka]\n"
        );
        out += &self.kafka.lines_of("kafka");
        for section in ["kafka.tls", "kafka.sasl"] {
            let lines = self.kafka.lines_of(section);
            if !lines.is_empty() || self.kafka.open.contains(&section) {
                let _ = write!(out, "\n[{section}]\n{lines}");
            }
        }
        for item in &self.items {
            if let At::File { line, .. } = item.at {
                let _ = write!(out, "\n# {name}:{line}");
            }
            let _ = write!(out, "\n[[item]]\n{}", item.lines_of("item"));
            let multiline = item.lines_of("item.multiline");
            if !multiline.is_empty() {
                let _ = writeln!(out, "multiline = {{ {} }}", multiline.trim_end().replace('\n', ", "));
            }
        }
        out
    }
}
