//! The configuration as written: which keys stand where, each with a value of its kind.
//!
//! Not yet what it means: defaults are looked up here, but no key is compared with another, no file is
//! opened and no pattern compiled. Flags of the command line land in the same place as the file's keys,
//! so that both are judged alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Fallback, ITEM, KEYS, Key, key};
use super::problem::{At, Lines, Placed, Problem, hint, nearest};
use super::start::ReadFrom;
use super::value::{Value, type_name};

/// The keys of one part of the configuration: all sections but items, or one item.
#[derive(Debug)]
pub(crate) struct Section {
    /// Where it begins.
    pub(crate) at: At,
    set: BTreeMap<&'static str, Placed<Value>>,
    /// Keys that are written, but wrong: their problem is already told.
    broken: BTreeSet<&'static str>,
    /// Tables that are written, and where; also empty ones.
    tables: BTreeMap<&'static str, At>,
}

/// All that is written, in a file and on the command line.
#[derive(Debug)]
pub(crate) struct FileConfig {
    pub(crate) top: Section,
    pub(crate) items: Vec<Section>,
}

impl Section {
    pub(crate) fn new(at: At) -> Section {
        Section { at, set: BTreeMap::new(), broken: BTreeSet::new(), tables: BTreeMap::new() }
    }

    /// Writes a key, over what may be there.
    pub(crate) fn set(&mut self, key: &'static Key, value: Value, at: At) {
        self.broken.remove(key.path);
        self.tables.entry(key.section()).or_insert_with(|| at.clone());
        self.set.insert(key.path, Placed { value, at });
    }

    /// Whether the key itself is written, rightly or not.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.set.contains_key(path) || self.broken.contains(path)
    }

    /// Whether the key is written, and rightly.
    pub(crate) fn is_right(&self, path: &str) -> bool {
        self.set.contains_key(path)
    }

    /// Where the table of a section begins, if there is one.
    pub(crate) fn table(&self, path: &str) -> Option<&At> {
        self.tables.get(path)
    }

    /// Where a key is written, or else where it could be.
    pub(crate) fn at(&self, path: &str) -> At {
        match self.set.get(path) {
            Some(placed) => placed.at.clone(),
            None => {
                let section = path.rsplit_once('.').map_or("", |(section, _)| section);
                self.tables.get(section).unwrap_or(&self.at).clone()
            }
        }
    }

    /// The value of a key or its default; `None` if there is neither.
    fn value(&self, path: &str) -> Option<Value> {
        if let Some(placed) = self.set.get(path) {
            return Some(placed.value.clone());
        }
        let key = key(path).expect("the path of a key");
        match key.fallback {
            Fallback::Value(text) => {
                let value = DeValue::parse(text).expect("defaults are tested");
                Some(key.kind.check(path, &value, &|_| At::Whole).expect("defaults are tested"))
            }
            Fallback::Required | Fallback::Absent(_) => None,
        }
    }

    pub(crate) fn flag(&self, path: &str) -> bool {
        matches!(self.value(path), Some(Value::Flag(true)))
    }

    /// A number; `None` if one of the key's words stands instead.
    pub(crate) fn count(&self, path: &str) -> Option<i64> {
        match self.value(path) {
            Some(Value::Count(count)) => Some(count),
            _ => None,
        }
    }

    /// A number of a key without words, whose bounds the type holds.
    pub(crate) fn number<T: TryFrom<i64>>(&self, path: &str) -> T {
        let count = self.count(path).expect("a number with a default");
        T::try_from(count).ok().expect("bounds within the type")
    }

    /// A duration; `None` if one of the key's words stands instead.
    pub(crate) fn duration_or_word(&self, path: &str) -> Option<Duration> {
        match self.value(path) {
            Some(Value::Duration(duration)) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, path: &str) -> Duration {
        self.duration_or_word(path).expect("a duration with a default")
    }

    /// A size; `None` if one of the key's words stands instead.
    pub(crate) fn size_or_word(&self, path: &str) -> Option<u64> {
        match self.value(path) {
            Some(Value::Size(bytes)) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn size(&self, path: &str) -> u64 {
        self.size_or_word(path).expect("a size with a default")
    }

    /// A word; "" if a number stands instead, or if the key has no default.
    pub(crate) fn word(&self, path: &str) -> &'static str {
        match self.value(path) {
            Some(Value::Word(word)) => word,
            _ => "",
        }
    }

    /// Where to begin; the key has a default.
    pub(crate) fn start(&self, path: &str) -> ReadFrom {
        match self.value(path) {
            Some(Value::Start(start)) => start,
            _ => ReadFrom::Beginning,
        }
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self.value(path) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, path: &str) -> Vec<Placed<String>> {
        match self.value(path) {
            Some(Value::Texts(texts)) => texts,
            _ => Vec::new(),
        }
    }

    pub(crate) fn entries(&self, path: &str) -> Vec<(Placed<String>, String)> {
        match self.value(path) {
            Some(Value::Table(entries)) => entries,
            _ => Vec::new(),
        }
    }
}

impl FileConfig {
    /// Nothing written.
    pub(crate) fn empty(at: At) -> FileConfig {
        FileConfig { top: Section::new(at), items: Vec::new() }
    }

    /// Reads the text of a file. Broken TOML is the error; what else is wrong is added to `problems`, and
    /// the rest is there.
    pub(crate) fn read(text: &str, problems: &mut Vec<Problem>) -> Result<FileConfig, Problem> {
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = lines.at(error.span().map_or(0, |span| span.start));
            Problem::new(&at, format!("broken TOML: {}", error.message()))
        })?;
        let mut config = FileConfig::empty(lines.at(0));
        let mut reader = Reader { lines: &lines, items: Vec::new(), problems };
        reader.table(table.get_ref(), "", &mut config.top);
        config.items = reader.items;
        Ok(config)
    }
}

impl Section {
    /// Reads the text of one item that stands alone: the keys of `[[item]]` at its top. Broken TOML is the
    /// error.
    pub(crate) fn read_item(text: &str, problems: &mut Vec<Problem>) -> Result<Section, Problem> {
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = lines.at(error.span().map_or(0, |span| span.start));
            Problem::new(&at, format!("broken TOML: {}", error.message()))
        })?;
        let mut section = Section::new(lines.at(0));
        let mut reader = Reader { lines: &lines, items: Vec::new(), problems };
        reader.table(table.get_ref(), ITEM, &mut section);
        Ok(section)
    }
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    items: Vec<Section>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, prefix: &str, section: &mut Section) {
        for (name, value) in table {
            let at = self.lines.at(name.span().start);
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            if let Some(key) = key(&path) {
                self.key(key, value, at, section);
            } else if path == ITEM {
                self.items(value, &at);
            } else if let Some(path) = section_at(&path) {
                match value.get_ref() {
                    DeValue::Table(inner) => {
                        section.tables.insert(path, at);
                        self.table(inner, path, section);
                    }
                    other => {
                        let message = format!("`{path}` must be a table, not {}", type_name(other));
                        self.problems.push(Problem::new(&at, message));
                    }
                }
            } else {
                let message = unknown(prefix, name.get_ref(), value.get_ref());
                self.problems.push(Problem::new(&at, message));
            }
        }
    }

    fn key(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>, at: At, section: &mut Section) {
        let lines = self.lines;
        match key.kind.check(key.name(), value, &|offset| lines.at(offset)) {
            Ok(value) => {
                section.set.insert(key.path, Placed { value, at });
            }
            Err(problem) => {
                section.broken.insert(key.path);
                self.problems.push(problem);
            }
        }
    }

    fn items(&mut self, value: &Spanned<DeValue<'_>>, at: &At) {
        let DeValue::Array(elements) = value.get_ref() else {
            self.problems
                .push(Problem::new(at, "an item begins with `[[item]]`, since there may be several"));
            return;
        };
        for element in elements.iter() {
            let at = self.lines.at(element.span().start);
            let mut section = Section::new(at.clone());
            match element.get_ref() {
                DeValue::Table(table) => self.table(table, ITEM, &mut section),
                other => {
                    let message = format!("an item must be a table, not {}", type_name(other));
                    self.problems.push(Problem::new(&at, message));
                }
            }
            self.items.push(section);
        }
    }
}

/// The section of that path, if there is one.
fn section_at(path: &str) -> Option<&'static str> {
    KEYS.iter().map(Key::section).find(|section| *section == path)
}

/// Names that may stand directly in a section: keys, and sections below it.
fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let rest = match section {
            "" => key.path,
            _ => key.path.strip_prefix(section)?.strip_prefix('.')?,
        };
        rest.split('.').next()
    })
}

/// A section as it is written in a file.
pub(crate) fn heading(section: &str) -> String {
    match section {
        "" => "the top of the file".to_owned(),
        ITEM => "`[[item]]`".to_owned(),
        _ => format!("`[{section}]`"),
    }
}

fn unknown(section: &str, name: &str, value: &DeValue<'_>) -> String {
    if matches!(
        (section, name),
        ("kafka.sasl" | "etcd", "password") | ("kafka.tls" | "etcd.tls", "key_password")
    ) {
        return format!(
            "`{name}` is refused: this file is read by many and copied around; \
             put the password into a file of mode 0600 and name it in `{name}_file`"
        );
    }
    let what = if matches!(value, DeValue::Table(_)) { "section" } else { "key" };
    if nearest(name, names_in(section)).is_none()
        && let Some(key) = KEYS.iter().find(|key| key.name() == name)
    {
        let place = heading(key.section());
        let place =
            if key.section().is_empty() { format!("{place}, before the first section") } else { place };
        return format!("unknown {what} `{name}` in {} (it belongs into {place})", heading(section));
    }
    match hint(name, names_in(section)) {
        near if near.is_empty() => format!("unknown {what} `{name}` in {}", heading(section)),
        near => format!("unknown {what} `{name}`{near}"),
    }
}
