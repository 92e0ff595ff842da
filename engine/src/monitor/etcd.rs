//! How it stands with etcd, for the metrics.

use super::{gauge, growth};
use crate::etcd::EtcdStatus;
use crate::metrics::Metrics;

/// What is published of etcd's counts. Another thread that asks counts from 0 again.
#[derive(Debug, Default)]
pub(super) struct PublishedEtcd {
    sessions: u64,
    lists: u64,
    writes: u64,
}

impl PublishedEtcd {
    /// Publishes how it stands; `revision` is that of the items in force.
    pub(super) fn follow(&mut self, metrics: &Metrics, status: &EtcdStatus, revision: u64) {
        metrics.etcd_connected.set(status.connected.into());
        metrics.etcd_applied_revision.set(revision.cast_signed());
        metrics.etcd_items.set(gauge(status.items));
        metrics.etcd_items_refused.set(gauge(status.refused.len()));
        metrics.etcd_holding.set(status.holding.into());
        metrics.etcd_connects.inc_by(growth(&mut self.sessions, status.sessions));
        metrics.etcd_lists.inc_by(growth(&mut self.lists, status.lists));
        metrics.etcd_status_writes.inc_by(growth(&mut self.writes, status.writes));
    }
}
