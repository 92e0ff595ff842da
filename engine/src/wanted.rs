//! What is to be collected: the plan of the configuration, and the items that etcd adds to it.
//!
//! The configuration goes before: etcd adds items, and changes nothing else. Not here: how a plan is put in
//! force, and what etcd may want (`etcd`).

use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use logdrive_core::position::Nanos;
use tracing::info;

use crate::bell::Bell;
use crate::clock::wall_ns;
use crate::config::{ItemLimits, KafkaPlan, Plan};
use crate::etcd::{self, Desired, Etcd, EtcdStatus, Speaker, Terms, VIEW_EVERY, View};

/// Room for the longest line of an item with no `line_bytes_max` of its own, and with `multiline`, for which
/// it must fit in twice: more than that etcd may not want, since buffers are made at the start.
pub const LINE_BUFFER_MAX: usize = 2_000_010;

/// How long an end waits for etcd to hear of it.
const FAREWELL: Duration = Duration::from_millis(1500);

/// The configuration in force and the items of etcd.
#[derive(Debug)]
pub struct Wanted {
    base: Option<Plan>,
    etcd: Option<Etcd>,
    desired: Desired,
    instance: String,
    line_buffer_max: usize,
    started: u64,
    bell: Bell,
    told_at: Option<Nanos>,
}

impl Wanted {
    /// Nothing yet. `state_dir` is locked by this agent; `line_buffer_max` is what its buffers can hold.
    #[must_use]
    pub fn new(state_dir: &Path, line_buffer_max: usize, bell: Bell) -> Wanted {
        Wanted {
            base: None,
            etcd: None,
            desired: Desired::default(),
            instance: instance(state_dir),
            line_buffer_max,
            started: (wall_ns() / 1_000_000_000).unsigned_abs(),
            bell,
            told_at: None,
        }
    }

    /// A plan of the configuration, with the items that etcd adds now.
    #[must_use]
    pub fn with_items(&self, base: &Plan) -> Plan {
        let items = if base.etcd.is_some() { &self.desired.items[..] } else { &[] };
        let taken: HashSet<&str> = base.items.iter().map(|item| &item.name[..]).collect();
        base.with_items(
            items
                .iter()
                .filter(|good| !taken.contains(&good.plan.name[..]))
                .map(|good| (&good.plan, &good.patterns)),
        )
    }

    /// This plan of the configuration is in force from now on: etcd is asked as it says.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn adopt(&mut self, base: Plan) -> Result<()> {
        match terms(&base, self.line_buffer_max) {
            Some(terms) if self.etcd.as_ref().is_none_or(|etcd| *etcd.terms() != terms) => {
                let speaker = Speaker {
                    host: terms.plan.host.clone(),
                    instance: self.instance.clone(),
                    version: env!("CARGO_PKG_VERSION"),
                    started: self.started,
                };
                let (dir, bell) = (&base.state.dir, self.bell.clone());
                let etcd = Etcd::start(terms, dir, speaker, bell, self.etcd.take());
                self.etcd = Some(etcd.context("cannot start a thread")?);
                self.told_at = None;
            }
            Some(_) => {}
            None => {
                self.desired = Desired::default();
                if let Some(etcd) = self.etcd.take() {
                    info!("etcd is no longer asked");
                    etcd.close(Duration::ZERO);
                }
            }
        }
        self.base = Some(base);
        Ok(())
    }

    /// The plan of the configuration; `None` before the first.
    #[must_use]
    pub fn base(&self) -> Option<&Plan> {
        self.base.as_ref()
    }

    /// The credentials of the configuration were replaced on disk.
    pub fn renew(&mut self, kafka: &KafkaPlan) {
        if let Some(base) = &mut self.base {
            base.kafka = kafka.clone();
        }
    }

    /// The plan with what etcd wants since the last time, if that has changed.
    pub fn news(&mut self) -> Option<Plan> {
        self.desired = self.etcd.as_ref()?.desired()?;
        // Its own view is due: whoever has put an item wants to see it there.
        self.told_at = None;
        Some(self.with_items(self.base.as_ref()?))
    }

    /// Tells etcd how this agent is, if it is time to; `look` is given the revision whose items are in force.
    pub fn tell(&mut self, now: Nanos, look: impl FnOnce(u64) -> View) {
        let Some(etcd) = &self.etcd else { return };
        if self.told_at.is_none_or(|at| now.since(at) >= VIEW_EVERY) {
            self.told_at = Some(now);
            etcd.tell(look(self.desired.revision));
        }
    }

    /// Looks at how it stands with etcd; `None` if it is not asked.
    pub fn look_at_etcd<T>(&self, look: impl FnOnce(&EtcdStatus) -> T) -> Option<T> {
        self.etcd.as_ref().map(|etcd| etcd.look(look))
    }

    /// The revision of etcd whose items are in force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.desired.revision
    }

    /// Says farewell to etcd.
    pub fn close(self) {
        if let Some(etcd) = self.etcd {
            etcd.close(FAREWELL);
        }
    }
}

/// By what a configuration judges the items of etcd; `None` if it does not ask for any.
fn terms(base: &Plan, line_buffer_max: usize) -> Option<Terms> {
    base.etcd.clone().map(|plan| Terms {
        limits: ItemLimits { message_bytes_max: base.kafka.message_bytes_max, line_buffer_max },
        taken: base.items.iter().map(|item| item.name.clone()).collect::<BTreeSet<_>>(),
        plan,
    })
}

/// A plan with the items of etcd that were in force last, as far as the state folder tells: for whoever asks
/// neither a running agent nor etcd.
#[must_use]
pub fn with_remembered(base: Plan) -> Plan {
    let Some(terms) = terms(&base, LINE_BUFFER_MAX) else { return base };
    let items = etcd::remembered(terms, &base.state.dir);
    base.with_items(items.iter().map(|good| (&good.plan, &good.patterns)))
}

/// A name that no two agents have at the same time, and that one has again after it was killed: the boot of
/// this machine, and the state folder, which only one of them can have locked.
fn instance(state_dir: &Path) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let folder = std::fs::metadata(state_dir).map(|folder| (folder.dev(), folder.ino())).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(format!("{} {folder:?}", boot.trim()).as_bytes()))
}
