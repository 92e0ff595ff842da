//! What the driver needs of its world beside reads, a sink and a state: listings and hints.

use std::fmt::Display;
use std::os::fd::BorrowedFd;

use logdrive_core::discover::RawPath;
use logdrive_core::source::SourceId;

use crate::fs::{Done, FsPool, Job};
use crate::watch::{Hint, Watch, WatchError};

/// Lists directories and opens files.
pub trait Files {
    /// Starts a job.
    fn submit(&mut self, job: Job);
    /// The next finished job.
    fn poll_done(&mut self) -> Option<Done>;
    /// Called about once a second.
    fn tick(&mut self, now: logdrive_core::position::Nanos);
}

/// Tells that something changed; nothing relies on it.
pub trait Watches {
    /// Why something cannot be watched.
    type Error: Display;
    /// Watches a directory, or watches it anew.
    fn directory(&mut self, path: &RawPath) -> Result<(), Self::Error>;
    /// No longer watches a directory.
    fn forget(&mut self, path: &RawPath);
    /// Arms a one-shot watch of an open file.
    fn arm(&mut self, source: SourceId, file: BorrowedFd<'_>) -> Result<(), Self::Error>;
    /// No longer watches a file.
    fn disarm(&mut self, source: SourceId);
    /// Takes in what has happened until now, without waiting.
    fn catch_up(&mut self);
    /// The next hint.
    fn poll_hint(&mut self) -> Option<Hint>;
}

impl Watches for Watch {
    type Error = WatchError;
    fn directory(&mut self, path: &RawPath) -> Result<(), WatchError> {
        Watch::directory(self, path).map(|_| ())
    }
    fn forget(&mut self, path: &RawPath) {
        Watch::forget(self, path);
    }
    fn arm(&mut self, source: SourceId, file: BorrowedFd<'_>) -> Result<(), WatchError> {
        Watch::arm(self, source, file)
    }
    fn disarm(&mut self, source: SourceId) {
        Watch::disarm(self, source);
    }
    fn catch_up(&mut self) {
        Watch::catch_up(self);
    }
    fn poll_hint(&mut self) -> Option<Hint> {
        Watch::poll_hint(self)
    }
}

impl Files for FsPool {
    fn submit(&mut self, job: Job) {
        FsPool::submit(self, job);
    }
    fn poll_done(&mut self) -> Option<Done> {
        FsPool::poll_done(self)
    }
    fn tick(&mut self, now: logdrive_core::position::Nanos) {
        FsPool::tick(self, now);
    }
}
