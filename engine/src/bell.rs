//! Wakes the driver: any thread rings, the driver waits. Rings before a wait are remembered as one.

use std::sync::Arc;

use tokio::sync::Notify;

/// A handle to ring or to wait with; clones are the same bell.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Wakes the driver, now or at its next wait. Never blocks, never allocates.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Returns after the next ring, at once if there was one since the last wait.
    pub async fn wait(&self) {
        self.0.notified().await;
    }
}
