//! Wakes the driver: any thread rings, the driver waits. Rings before a wait are remembered as one.
//!
//! A wake-up costs more than most of what it announces. What can wait a few milliseconds (a delivery,
//! while there is room for more) nudges instead: that is silent while the driver naps, which it does
//! only when it will wake up by itself that soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A handle to ring or to wait with; clones are the same bell.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    notify: Notify,
    napping: AtomicBool,
}

impl Bell {
    /// Wakes the driver, now or at its next wait. Never blocks, never allocates.
    pub fn ring(&self) {
        self.0.notify.notify_one();
    }

    /// Wakes the driver unless it naps. What is announced was put in place before, so the driver finds
    /// it when the nap is over.
    pub fn nudge(&self) {
        if !self.0.napping.load(Ordering::Acquire) {
            self.ring();
        }
    }

    /// From now on the driver naps, or no longer.
    pub fn nap(&self, napping: bool) {
        self.0.napping.store(napping, Ordering::Release);
    }

    /// Returns after the next ring, at once if there was one since the last wait.
    pub async fn wait(&self) {
        self.0.notify.notified().await;
    }
}
