//! The slow half of the store: what waits for a disk, one job after the other, on a thread of its own.
//!
//! It decides nothing and keeps nothing. A simulator runs the same jobs one by one with
//! [`Syncer::step`], without a thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::storage::{self, Replaced, Storage, StorageFile};
use super::{CATALOG, CATALOG_NEW, POSITIONS, POSITIONS_NEW};
use crate::bell::Bell;

/// Work that waits for the disk.
#[derive(Debug)]
pub(super) enum Job {
    /// Make what was written to this file durable.
    Sync(Arc<dyn StorageFile>),
    /// Put a complete new `positions` file in place.
    Rewrite(Vec<u8>),
    /// Put a complete new `catalog.json` in place.
    Catalog(Vec<u8>),
}

/// A finished job.
#[derive(Debug)]
pub(super) enum Done {
    Synced(io::Result<()>),
    Rewritten(Replaced),
    Catalog(io::Result<()>),
}

/// Runs the jobs of one store, in order.
#[derive(Debug)]
pub struct Syncer {
    storage: Arc<dyn Storage>,
    jobs: Receiver<Job>,
    done: Sender<Done>,
}

impl Syncer {
    pub(super) fn new(storage: Arc<dyn Storage>, jobs: Receiver<Job>, done: Sender<Done>) -> Syncer {
        Syncer { storage, jobs, done }
    }

    /// Works until the store is gone; rings after each job.
    pub fn run(self, bell: &Bell) {
        while let Ok(job) = self.jobs.recv() {
            self.finish(job);
            bell.ring();
        }
    }

    /// Does the next job if there is one.
    pub fn step(&self) -> bool {
        let job = self.jobs.try_recv();
        job.map(|job| self.finish(job)).is_ok()
    }

    fn finish(&self, job: Job) {
        let done = match job {
            Job::Sync(file) => Done::Synced(file.sync()),
            Job::Rewrite(bytes) => {
                Done::Rewritten(storage::replace(&*self.storage, POSITIONS, POSITIONS_NEW, &bytes))
            }
            Job::Catalog(bytes) => {
                Done::Catalog(storage::replace(&*self.storage, CATALOG, CATALOG_NEW, &bytes).result)
            }
        };
        // Nobody listens any more once the store is gone; the work is done all the same.
        let _gone = self.done.send(done);
    }
}
