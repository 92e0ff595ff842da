//! What etcd wants of this host: a copy of its keys, and the items that follow from them.
//!
//! Pure: lists and events come in, in whatever order and number etcd and the network make of them, and the
//! items in force come out. Each key is guarded by its revision: what is older than what is known changes
//! nothing. A value that is refused leaves the one before in force.
//!
//! etcd may come back without its data. Then its revision has gone back, and nobody has deleted anything: the
//! items in force are *held* until etcd has items for this host again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allow::Allow;
use super::definition::{self, Definition};
use super::keyspace::{Keyspace, Place};
use crate::config::{EtcdPlan, ItemLimits, ItemPlan, Patterns, item_of};
use crate::setup;

/// More items on one host are a mistake.
pub(super) const ITEMS_MAX: usize = 5_000;

/// What this host makes of items: all that decides besides etcd.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// The connection, the groups and what is allowed.
    pub plan: EtcdPlan,
    /// Sizes that the configuration sets.
    pub limits: ItemLimits,
    /// The names of the file's own items, which go before.
    pub taken: BTreeSet<String>,
}

/// Which data an answer of etcd is about.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The cluster.
    pub cluster: u64,
    /// Grows with every change of any key.
    pub revision: u64,
    /// Grows with every election.
    pub term: u64,
}

impl Stamp {
    /// Whether what `self` was taken from cannot be what `known` was taken from, only later.
    fn is_older_than(&self, known: &Stamp) -> bool {
        self.cluster != known.cluster || self.revision < known.revision || self.term < known.term
    }
}

/// A key with its value.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: u64,
}

/// A change of a key.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Event {
    /// The key.
    pub key: String,
    /// What it holds now; `None` if it was deleted.
    pub value: Option<Vec<u8>>,
    /// The revision of the change.
    pub mod_revision: u64,
}

/// An item in force, with what it was made of.
#[derive(Debug)]
pub struct Good {
    /// As it is wanted.
    pub definition: Definition,
    /// What it means.
    pub plan: ItemPlan,
    /// Its patterns, compiled.
    pub patterns: Patterns,
}

/// Something that is wanted and not done.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Where it stands.
    pub key: String,
    /// The item, if that is known.
    pub item: Option<String>,
    /// Why.
    pub reason: String,
    /// Whether an earlier value of the same item is in force instead.
    pub earlier_in_force: bool,
}

/// What follows from the keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Items in force, each name once; those that go before come before.
    pub items: Vec<Arc<Good>>,
    /// What is not done.
    pub refusals: Vec<Refusal>,
}

#[derive(Debug, Default)]
struct Entry {
    mod_revision: u64,
    good: BTreeMap<String, Arc<Good>>,
    refusals: Vec<Refusal>,
}

/// The items in force stay although etcd does not have them.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
struct Hold {
    /// Somebody has put or deleted an item since.
    touched: bool,
}

/// The copy.
#[derive(Debug)]
pub(super) struct Mirror {
    keyspace: Keyspace,
    allow: Allow,
    terms: Terms,
    entries: BTreeMap<String, Entry>,
    /// That of the last list.
    stamp: Option<Stamp>,
    /// The newest of what is known, of lists and events.
    revision: u64,
    hold: Option<Hold>,
}

impl Mirror {
    /// Nothing known yet.
    #[must_use]
    pub(super) fn new(terms: Terms) -> Mirror {
        Mirror {
            keyspace: Keyspace::new(&terms.plan),
            allow: Allow::new(&terms.plan),
            terms,
            entries: BTreeMap::new(),
            stamp: None,
            revision: 0,
            hold: None,
        }
    }

    /// Takes up what was in force when it was last known; each item is judged anew.
    pub(super) fn restore(&mut self, stamp: Stamp, items: Vec<(String, Definition)>) {
        self.stamp = Some(stamp);
        self.revision = stamp.revision;
        for (key, definition) in items {
            if self.keyspace.place(&key).is_none() {
                continue;
            }
            let judged = self.judge(&definition, None);
            let entry = self.entries.entry(key.clone()).or_default();
            match judged {
                Ok(good) => {
                    entry.good.insert(definition.name, good);
                }
                Err(reason) => entry.refusals.push(Refusal {
                    key,
                    item: Some(definition.name),
                    reason,
                    earlier_in_force: false,
                }),
            }
        }
    }

    /// Which data was seen last, and up to where.
    #[must_use]
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { revision: self.revision, ..self.stamp.unwrap_or_default() }
    }

    /// Whether items are held that etcd does not have.
    #[must_use]
    pub(super) fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    /// Everything that etcd has for this host. Returns whether etcd has lost what it had.
    pub(super) fn list(&mut self, stamp: Stamp, all: Vec<KeyValue>) -> bool {
        let older = self.stamp.is_some_and(|known| stamp.is_older_than(&known));
        self.stamp = Some(stamp);
        let removes = match self.hold {
            _ if older => false,
            Some(hold) => hold.touched || !all.is_empty(),
            None => true,
        };
        if older {
            // The revisions of other data say nothing about these.
            self.entries.values_mut().for_each(|entry| entry.mod_revision = 0);
            self.revision = 0;
            self.hold = Some(Hold { touched: false });
        }
        self.revision = self.revision.max(stamp.revision);
        if removes {
            self.hold = None;
            let listed: BTreeSet<&str> = all.iter().map(|one| &one.key[..]).collect();
            self.entries
                .retain(|key, entry| listed.contains(&key[..]) || entry.mod_revision > stamp.revision);
        }
        for one in all {
            self.put(one);
        }
        older
    }

    /// A change. Returns whether it was news.
    pub(super) fn event(&mut self, event: Event) -> bool {
        let Event { key, value, mod_revision } = event;
        if self.keyspace.place(&key).is_none() {
            return false;
        }
        if let (Some(stamp), Some(hold)) = (&self.stamp, &mut self.hold) {
            hold.touched |= mod_revision > stamp.revision;
        }
        self.revision = self.revision.max(mod_revision);
        match value {
            Some(value) => self.put(KeyValue { key, value, mod_revision }),
            None => {
                let entry = self.entries.entry(key).or_default();
                let news = mod_revision > entry.mod_revision;
                if news {
                    // It stays as a tombstone until the next list, so that an older event cannot raise it.
                    *entry = Entry { mod_revision, ..Entry::default() };
                }
                news
            }
        }
    }

    fn put(&mut self, one: KeyValue) -> bool {
        let Some(place) = self.keyspace.place(&one.key) else { return false };
        let known = self.entries.get(&one.key);
        if known.is_some_and(|entry| entry.mod_revision >= one.mod_revision) {
            return false;
        }
        let mut old = self.entries.remove(&one.key).unwrap_or_default();
        let refuse =
            |item, reason, earlier_in_force| Refusal { key: one.key.clone(), item, reason, earlier_in_force };
        let definitions = match place {
            Place::Item { name, .. } => definition::item(&name, &one.value).map(|item| vec![Ok(item)]),
            Place::Array { .. } => definition::array(&one.value),
        };
        let mut entry = Entry { mod_revision: one.mod_revision, ..Entry::default() };
        match definitions {
            Err(reason) => {
                entry.refusals.push(refuse(None, reason, !old.good.is_empty()));
                entry.good = old.good;
            }
            Ok(definitions) => {
                for definition in definitions {
                    let (name, judged) = match definition {
                        Ok(definition) => {
                            let earlier = old.good.get(&definition.name);
                            let judged = self.judge(&definition, earlier);
                            (Some(definition.name), judged)
                        }
                        Err(unclear) => (unclear.name, Err(unclear.reason)),
                    };
                    let earlier = name.as_ref().and_then(|name| old.good.remove(name));
                    match (judged, name) {
                        (Ok(good), Some(name)) => {
                            entry.good.insert(name, good);
                        }
                        (judged, name) => {
                            let reason = judged.err().unwrap_or_default();
                            entry.refusals.push(refuse(name.clone(), reason, earlier.is_some()));
                            entry.good.extend(name.zip(earlier));
                        }
                    }
                }
            }
        }
        self.entries.insert(one.key, entry);
        true
    }

    fn judge(&self, wanted: &Definition, earlier: Option<&Arc<Good>>) -> Result<Arc<Good>, String> {
        if let Some(earlier) = earlier.filter(|earlier| earlier.definition == *wanted) {
            return Ok(earlier.clone());
        }
        let plan = item_of(&wanted.name, &wanted.text, &self.terms.limits)?;
        let patterns = Patterns::new([(&plan.include[..], &plan.exclude[..])])?;
        self.allow.judge(&plan, &patterns)?;
        setup::route(&plan).check().map_err(|error| error.to_string())?;
        Ok(Arc::new(Good { definition: wanted.clone(), plan, patterns }))
    }

    /// The items in force and what is refused.
    #[must_use]
    pub(super) fn outcome(&self) -> Outcome {
        let mut ranked: Vec<(usize, &String, &Entry)> = Vec::with_capacity(self.entries.len());
        for (key, entry) in &self.entries {
            match self.keyspace.place(key) {
                Some(Place::Item { rank, .. } | Place::Array { rank }) => ranked.push((rank, key, entry)),
                None => {}
            }
        }
        ranked.sort_by_key(|(rank, ..)| *rank);
        let mut outcome = Outcome::default();
        let mut names: BTreeMap<&str, &str> =
            self.terms.taken.iter().map(|name| (&name[..], "an item of the configuration file")).collect();
        for (_, key, entry) in ranked {
            outcome.refusals.extend(entry.refusals.iter().cloned());
            for (name, good) in &entry.good {
                let reason = match names.get(&name[..]) {
                    Some(other) => format!("{other} has the same name and goes before"),
                    None if outcome.items.len() == ITEMS_MAX => {
                        format!("this host has {ITEMS_MAX} items already")
                    }
                    None => {
                        names.insert(name, key);
                        outcome.items.push(good.clone());
                        continue;
                    }
                };
                let (key, item) = (key.clone(), Some(name.clone()));
                outcome.refusals.push(Refusal { key, item, reason, earlier_in_force: false });
            }
        }
        outcome
    }

    /// Everything in force by its key, to be kept for [`Mirror::restore`].
    pub(super) fn in_force(&self) -> impl Iterator<Item = (&str, &Definition)> {
        let entries = self.entries.iter();
        entries.flat_map(|(key, entry)| entry.good.values().map(|good| (&key[..], &good.definition)))
    }
}

#[cfg(test)]
mod tests;
