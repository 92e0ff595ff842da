//! Somebody who wants every processor for himself, and counts what he gets done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt;

/// Steps between two looks at the clock of the others: some tens of microseconds.
const STEPS: u64 = 1 << 15;

/// A thread for each processor that computes until it is dropped.
pub(super) struct Neighbour {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    steps: AtomicU64,
    stopped: AtomicBool,
}

impl Neighbour {
    pub(super) fn start() -> Result<Neighbour> {
        let processors = std::thread::available_parallelism().context("cannot count processors")?.get();
        let mut neighbour = Neighbour { shared: Arc::default(), threads: Vec::new() };
        for _ in 0..processors {
            let shared = Arc::clone(&neighbour.shared);
            let thread = std::thread::Builder::new().name("neighbour".to_owned());
            neighbour.threads.push(thread.spawn(move || compute(&shared)).context("cannot start a thread")?);
        }
        Ok(neighbour)
    }

    /// Steps so far, of all threads.
    pub(super) fn work(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// Watches for so long.
    pub(super) fn work_per_second_for(&self, duration: Duration) -> Result<f64> {
        let (started, before) = (Instant::now(), self.work());
        interrupt::pause(duration)?;
        Ok((self.work() - before) as f64 / started.elapsed().as_secs_f64())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn compute(shared: &Shared) {
    let mut value = 1_u64;
    while !shared.stopped.load(Ordering::Relaxed) {
        for _ in 0..STEPS {
            // Each step needs the one before, and the compiler cannot know where it ends.
            value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        shared.steps.fetch_add(STEPS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_gets_something_done_and_ends() {
        let neighbour = Neighbour::start().unwrap();
        let rate = neighbour.work_per_second_for(Duration::from_millis(20)).unwrap();
        let shared = Arc::clone(&neighbour.shared);
        drop(neighbour);
        let done = shared.steps.load(Ordering::Relaxed);
        assert!(done > 0 && rate >= 0.0);
        assert_eq!(Arc::strong_count(&shared), 1, "a thread is still there");
    }
}
