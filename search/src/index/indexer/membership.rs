//! What the group decides: partitions come, and go when what is on its way of them is settled.

use std::time::Instant;

use rdkafka::consumer::CommitMode;
use rdkafka::topic_partition_list::TopicPartitionList;
use tracing::{debug, info, warn};

use super::{Indexer, Leaving, REVOKE_PATIENCE};
use crate::group::{Change, partitions};

impl Indexer<'_> {
    /// Does what the group decides. A change is begun when the one before it is done.
    pub(super) fn membership(&mut self) {
        loop {
            if let Some(leaving) = self.leaving.take() {
                let waits = partitions(&leaving.list)
                    .any(|partition| self.ledger.in_flight(&partition) > 0 || self.batch.holds(&partition));
                if waits && Instant::now() < leaving.until {
                    self.leaving = Some(leaving);
                    return;
                }
                self.commit(CommitMode::Sync);
                self.release(&leaving.list);
            }
            match self.group.change() {
                None => return,
                Some(Change::Assign(list)) => self.accept(&list),
                Some(Change::Revoke { list, is_lost: true }) => self.release(&list),
                Some(Change::Revoke { list, is_lost: false }) => {
                    if let Err(error) = self.group.pause(&list) {
                        debug!(%error, "cannot pause");
                    }
                    self.leaving = Some(Leaving { list, until: Instant::now() + REVOKE_PATIENCE });
                }
            }
        }
    }

    fn accept(&mut self, list: &TopicPartitionList) {
        self.has_joined = true;
        match self.group.accept(list) {
            Ok(()) => {
                for partition in partitions(list) {
                    info!(%partition, "ours");
                    self.window.metrics.partitions_moved.inc();
                    self.ledger.assigned(partition);
                }
            }
            Err(error) => warn!(%error, "cannot take partitions; the group will decide again"),
        }
        if self.paused {
            // The new ones are not.
            self.paused = false;
            self.pause(true);
        }
    }

    pub(super) fn release(&mut self, list: &TopicPartitionList) {
        if let Err(error) = self.group.release(list) {
            warn!(%error, "cannot let partitions go; the group will decide again");
        }
        for partition in partitions(list) {
            info!(%partition, "no longer ours");
            self.window.metrics.partitions_moved.inc();
            self.ledger.revoked(&partition);
            self.batch.forget(&partition);
        }
    }
}
