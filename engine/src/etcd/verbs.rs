//! `logdrive item ...` and `logdrive agents`: what stands in etcd, seen and changed from any host.
//!
//! They need nothing of an agent: only where etcd is. What an item may want is decided on the hosts that
//! collect it; here it is only held against what no host would take.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::definition::{self, VALUE_BYTES_MAX};
use super::error::EtcdError;
use super::gateway::Gateway;
use super::keyspace::{agents, items, scope, scope_of_host};
use super::mirror::KeyValue;
use super::report::Report;
use crate::columns::{Align, columns};
use crate::config::{EtcdPlan, ItemLimits, ItemPlan, item_of};
use crate::figures::{grouped, size, span};
use crate::logging::plain;
use crate::setup;

/// Whose items are meant.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Scope {
    /// Those of every host in a group.
    Group(String),
    /// Those of one host.
    Host(String),
}

impl Scope {
    /// What the keys of its items begin with.
    #[must_use]
    pub fn prefix(&self, plan: &EtcdPlan) -> String {
        match self {
            Scope::Group(group) => scope(&plan.prefix, group),
            Scope::Host(host) => scope_of_host(&plan.prefix, host),
        }
    }
}

/// Where etcd is, and what the brokers take.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The connection.
    pub plan: EtcdPlan,
    /// What an item is held against.
    pub limits: ItemLimits,
}

/// What `diff` found.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Difference {
    /// A line for each item that differs.
    pub text: String,
    /// Whether none does.
    pub is_empty: bool,
}

impl Remote {
    /// Connects. Every endpoint is asked in turn; the last one's failure is told.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn open(&self) -> Result<Gateway, EtcdError> {
        let mut attempt = 0;
        loop {
            match Gateway::open(&self.plan, attempt).await {
                Err(EtcdError::Connect { .. } | EtcdError::Slow { .. })
                    if attempt + 1 < self.plan.endpoints.len() =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn ask<T>(&self, asking: impl AsyncFnOnce(&mut Gateway) -> Result<T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { asking(&mut self.open().await?).await })
    }

    /// A table of the items of a scope, or of all.
    ///
    /// # Errors
    /// etcd cannot be asked.
    pub fn list(&self, scope: Option<&Scope>) -> Result<String> {
        let all = items(&self.plan.prefix);
        let prefix = scope.map_or_else(|| all.clone(), |scope| scope.prefix(&self.plan));
        let found = self.ask(async |etcd| Ok(etcd.below(&prefix).await?))?;
        let left = Align::Left;
        let head =
            [("FOR", left), ("NAME", left), ("TOPIC", left), ("REVISION", Align::Right), ("INCLUDE", left)];
        let mut rows = Vec::new();
        let mut notes = String::new();
        for KeyValue { key, value, mod_revision } in found {
            let place = key.strip_prefix(&all).unwrap_or(&key);
            let (whose, name) = place.split_once('/').unwrap_or(("", place));
            let (topic, include) = match self.judge(name, &value) {
                Ok(item) => (item.topic, item.include.join(" ")),
                Err(reason) => {
                    notes.push_str(&format!("{}: {}\n", plain(place), plain(&reason)));
                    ("-".to_owned(), "(no host takes it, see below)".to_owned())
                }
            };
            rows.push([whose.to_owned(), name.to_owned(), topic, mod_revision.to_string(), include]);
        }
        Ok(columns(head, &rows) + &notes)
    }

    /// Puts an item, if it is one. Returns what to say.
    ///
    /// # Errors
    /// It is none, or etcd cannot be asked.
    pub fn put(&self, scope: &Scope, name: &str, file: &Path) -> Result<String> {
        let value = read(file)?;
        self.judge(name, &value)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{} is no item `{name}`", file.display()))?;
        let key = scope.prefix(&self.plan) + name;
        let revision = self.ask(async |etcd| Ok(etcd.put(&key, &value, None).await?))?;
        Ok(format!("{key} is put, at revision {revision}\n"))
    }

    /// Deletes an item. Returns what to say.
    ///
    /// # Errors
    /// There is none, or etcd cannot be asked.
    pub fn delete(&self, scope: &Scope, name: &str) -> Result<String> {
        let key = scope.prefix(&self.plan) + name;
        match self.ask(async |etcd| Ok(etcd.delete(&key).await?))? {
            true => Ok(format!("{key} is deleted; agents keep its positions, so it can come back\n")),
            false => bail!("there is no {key}; `logdrive item list` shows what there is"),
        }
    }

    /// Holds files, or all files of a directory, against the items of a scope.
    ///
    /// # Errors
    /// A file cannot be read or is no item, or etcd cannot be asked.
    pub fn diff(&self, scope: &Scope, path: &Path) -> Result<Difference> {
        let whole = path.is_dir();
        let mut wanted = BTreeMap::new();
        for file in if whole { files_of(path)? } else { vec![path.to_owned()] } {
            wanted.insert(name_of(&file)?, lint(&self.limits, &file)?);
        }
        let prefix = scope.prefix(&self.plan);
        let found = self.ask(async |etcd| Ok(etcd.below(&prefix).await?))?;
        let mut there: BTreeMap<String, Option<ItemPlan>> = BTreeMap::new();
        for KeyValue { key, value, .. } in found {
            let name = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
            let item = self.judge(&name, &value).ok();
            there.insert(name, item);
        }
        let mut text = String::new();
        for (name, item) in &wanted {
            match there.remove(name) {
                None => text.push_str(&format!("+ {name}  in the files, not in etcd\n")),
                Some(other) if other.as_ref() != Some(item) => {
                    text.push_str(&format!("~ {name}  another one in etcd\n"));
                }
                Some(_) => {}
            }
        }
        for name in there.keys().filter(|_| whole) {
            text.push_str(&format!("- {}  in etcd, not in the files\n", plain(name)));
        }
        Ok(Difference { is_empty: text.is_empty(), text })
    }

    /// The item of that name with this value.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn judge(&self, name: &str, value: &[u8]) -> Result<ItemPlan, String> {
        judge(&self.limits, name, value)
    }

    /// What all agents say of themselves.
    ///
    /// # Errors
    /// etcd cannot be asked.
    pub fn agents(&self) -> Result<Vec<Report>> {
        let found = self.ask(async |etcd| Ok(etcd.below(&agents(&self.plan.prefix)).await?))?;
        let report = |one: KeyValue| {
            serde_json::from_slice(&one.value).unwrap_or_else(|error| Report {
                host: one.key,
                reason: format!("what it says is not understood: {error}"),
                ..Report::default()
            })
        };
        Ok(found.into_iter().map(report).collect())
    }
}

/// The item in a file, whose name without its ending is the item's.
///
/// # Errors
/// What is wrong with it.
pub fn lint(limits: &ItemLimits, file: &Path) -> Result<ItemPlan> {
    let judged = judge(limits, &name_of(file)?, &read(file)?);
    judged.map_err(|reason| anyhow::anyhow!("{}: {reason}", file.display()))
}

fn judge(limits: &ItemLimits, name: &str, value: &[u8]) -> Result<ItemPlan, String> {
    let definition = definition::item(name, value)?;
    let item = item_of(&definition.name, &definition.text, limits)?;
    setup::route(&item).check().map_err(|error| error.to_string())?;
    Ok(item)
}

/// A table of agents, and under it what is wrong with some of them. `now` is seconds since the epoch.
#[must_use]
pub fn agents_table(reports: &[Report], now: u64) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let head = [
        ("HOST", left),
        ("VERSION", left),
        ("UP", right),
        ("ITEMS", right),
        ("FILES", right),
        ("LAG", right),
        ("LINES/S", right),
        ("REVISION", right),
        ("STATE", left),
    ];
    let mut rows = Vec::new();
    let mut notes = String::new();
    for report in reports {
        let mut note = |text: String| notes.push_str(&format!("{}: {}\n", plain(&report.host), plain(&text)));
        let failing = report.items.iter().filter_map(|item| Some((&item.name, item.error.as_ref()?)));
        failing.for_each(|(name, error)| note(format!("item {name}: {error}")));
        for refusal in &report.refused {
            let item = refusal.item.as_ref().unwrap_or(&refusal.key);
            let earlier = if refusal.earlier_in_force { " (its earlier value is in force)" } else { "" };
            note(format!("item {item} refused: {}{earlier}", refusal.reason));
        }
        if let Some(rival) = &report.rival {
            note(format!("another agent goes by this name: {rival}"));
        }
        if report.holding {
            note("items are in force that etcd has lost".to_owned());
        }
        let up = Duration::from_secs(now.saturating_sub(report.started));
        let not_ready = || format!("not ready: {}", report.reason);
        rows.push([
            report.host.clone(),
            report.version.clone(),
            span(up),
            grouped(report.items_total as u64),
            grouped(report.files),
            size(report.lag_bytes),
            grouped(report.lines_per_second),
            report.revision.to_string(),
            if report.ready { "ready".to_owned() } else { not_ready() },
        ]);
    }
    if reports.is_empty() {
        notes.push_str("no agent says anything; each does that has [etcd] in its configuration\n");
    }
    columns(head, &rows) + &notes
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let most = VALUE_BYTES_MAX as u64 + 1;
    let read = match file == Path::new("-") {
        true => io::stdin().lock().take(most).read_to_end(&mut value),
        false => std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut value)),
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(value)
}

fn name_of(file: &Path) -> Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).with_context(|| format!("{} has no name that an item could have", file.display()))
}

/// The items of a directory, by name.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml" || ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::mirror::Refusal;
    use crate::etcd::report::ItemReport;
    use expect_test::expect;

    #[test]
    fn agents_are_seen_at_a_glance_and_what_is_wrong_below() {
        let good = Report {
            host: "web-1".into(),
            version: "0.1.0".into(),
            started: 1000,
            revision: 57,
            ready: true,
            items_total: 12,
            files: 40,
            lag_bytes: 123_456,
            lines_per_second: 1200,
            ..Report::default()
        };
        let refused = Refusal {
            key: "/logdrive/items/web/x".into(),
            item: Some("x".into()),
            reason: "it may not read in /etc".into(),
            earlier_in_force: true,
        };
        let bad = Report {
            host: "web-2\u{1b}[2J".into(),
            ready: false,
            reason: "topic t: does not exist".into(),
            items: vec![ItemReport {
                name: "db".into(),
                error: Some("denied".into()),
                ..ItemReport::default()
            }],
            refused: vec![refused],
            rival: Some("instance 7f".into()),
            started: 90_000,
            ..good.clone()
        };
        expect![[r#"
            HOST            VERSION      UP  ITEMS  FILES     LAG  LINES/S  REVISION  STATE
            web-1           0.1.0    1d 03h     12     40  123 kB    1,200        57  ready
            web-2\u{1b}[2J  0.1.0    2h 46m     12     40  123 kB    1,200        57  not ready: topic t: does not exist
            web-2\u{1b}[2J: item db: denied
            web-2\u{1b}[2J: item x refused: it may not read in /etc (its earlier value is in force)
            web-2\u{1b}[2J: another agent goes by this name: instance 7f
        "#]]
        .assert_eq(&agents_table(&[good, bad], 100_000));
        assert!(agents_table(&[], 0).contains("no agent says anything"));
    }
}
