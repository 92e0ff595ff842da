//! The plan's items in the engine and the sink: which is which, and what a new plan changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use logdrive_core::plan::ReadFrom;
use logdrive_core::position::Nanos;
use logdrive_core::source::ItemId;
use tracing::{info, warn};

use crate::clock::wall_ns;
use crate::config::{self, ItemPlan, Patterns, Plan};
use crate::driver::Driver;
use crate::driver::{Files, Watches};
use crate::io::Reads;
use crate::kafka::KafkaSink;
use crate::setup::{self, PlanRules};
use crate::state::Sight;

/// An item as it was last applied.
#[derive(Debug)]
struct Known {
    id: ItemId,
    plan: Option<ItemPlan>,
    /// What it has to do with directories.
    patterns: Patterns,
    routed: bool,
    /// Its first sight is not over yet, as far as is known.
    is_first_sight: bool,
}

/// Where the end of a file is, depends on when that is asked; where a time is in it, does not.
fn sight(read_from: config::ReadFrom) -> Sight {
    match read_from {
        config::ReadFrom::Since(_) => Sight::Lasting,
        config::ReadFrom::Beginning | config::ReadFrom::End => Sight::Once,
    }
}

/// Items by name. The engine numbers items once and for all, so one that comes back gets its number.
#[derive(Debug)]
pub struct Items {
    host: String,
    /// Nothing is remembered of files of known items, and they are to begin at the end then.
    lost_to_end: bool,
    known: BTreeMap<String, Known>,
}

impl Items {
    /// No items yet, on this host. `lost_to_end`: the state was lost, and `state.on_lost` is `end`.
    #[must_use]
    pub fn new(host: String, lost_to_end: bool) -> Items {
        Items { host, lost_to_end, known: BTreeMap::new() }
    }

    /// The name of this host in records.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// There is a new sink that knows no routes.
    pub fn forget_routes(&mut self) {
        for known in self.known.values_mut() {
            known.routed = false;
        }
    }

    /// Brings engine and sink to what the plan says. Returns the patterns of what has changed, before and
    /// after: their directories are to be looked at by the new rules.
    ///
    /// # Errors
    /// A route that Kafka would refuse.
    pub fn apply<R: Reads, F: Files, W: Watches>(
        &mut self,
        driver: &mut Driver<R, KafkaSink, F, W>,
        plan: &Plan,
        now: Nanos,
    ) -> Result<Vec<Patterns>> {
        for item in &plan.items {
            setup::route(item).check()?;
        }
        let mut changed = Vec::new();
        let wanted: HashSet<&str> = plan.items.iter().map(|item| &item.name[..]).collect();
        for (name, known) in &mut self.known {
            if !wanted.contains(&name[..]) && known.plan.take().is_some() {
                info!(item = name, "item removed: its files are let go, their positions kept");
                driver.engine.retire_item(known.id, now);
                // Another item may take them.
                changed.push(known.patterns.clone());
            }
        }
        for (item, index) in plan.items.iter().zip(0..) {
            changed.extend(self.apply_item(driver, item, || plan.patterns.only(ItemId(index)))?);
        }
        Ok(changed)
    }

    /// Brings one item to what its plan says. Returns the patterns that have changed for that.
    fn apply_item<R: Reads, F: Files, W: Watches>(
        &mut self,
        driver: &mut Driver<R, KafkaSink, F, W>,
        item: &ItemPlan,
        patterns: impl FnOnce() -> Patterns,
    ) -> Result<Vec<Patterns>> {
        let known = self.known.get(&item.name);
        if known.is_some_and(|known| known.routed && known.plan.as_ref() == Some(item)) {
            return Ok(Vec::new());
        }
        let patterns = patterns();
        let mut changed = vec![patterns.clone()];
        changed.extend(known.map(|known| known.patterns.clone()));
        let (now_ms, sight) = (wall_ns() / 1_000_000, sight(item.read_from));
        let first_seen_ms = driver.first_sight(&item.name, sight, now_ms);
        if let Some(warning) = item.read_from.warning(now_ms).filter(|_| first_seen_ms.is_some()) {
            warn!(item = item.name, "{warning}");
        }
        let mut policy = setup::policy(item, first_seen_ms);
        if self.lost_to_end && first_seen_ms.is_none() {
            policy.read_from = ReadFrom::End;
            policy.seen_before = false;
        }
        let id = match known {
            Some(known) => {
                driver.engine.change_item(known.id, policy);
                known.id
            }
            None => driver.engine.add_item(policy),
        };
        driver.sink.define_route(id, setup::route(item))?;
        driver.name_item(id, &item.name);
        let is_first_sight = first_seen_ms.is_some() && sight == Sight::Lasting;
        let plan = Some(item.clone());
        self.known.insert(item.name.clone(), Known { id, plan, patterns, routed: true, is_first_sight });
        Ok(changed)
    }

    /// Has the state remember which first sights are over by now.
    pub fn see<R: Reads, F: Files, W: Watches>(&mut self, driver: &mut Driver<R, KafkaSink, F, W>) {
        for (name, known) in self.known.iter_mut().filter(|(_, known)| known.is_first_sight) {
            known.is_first_sight = driver.engine.is_first_sight(known.id);
            if !known.is_first_sight {
                driver.seen(name);
            }
        }
    }

    /// The rules of discovery for this plan.
    #[must_use]
    pub fn rules(&self, plan: &Plan) -> Arc<PlanRules> {
        let ids: Vec<ItemId> = plan.items.iter().map(|item| self.known[&item.name].id).collect();
        Arc::new(PlanRules::new(plan, &ids))
    }
}
