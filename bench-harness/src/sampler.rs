//! Looks at something at a fixed interval, on a thread of its own; most of the time at the memory of a process.
//!
//! The waits of a run are on the broker, which may be down for a while; memory must be looked at all the
//! same. The peak is not taken from the samples: `VmHWM` knows what happened between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::procfs;

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Since the sampler started.
    pub(crate) at_s: f64,
    pub(crate) rss_bytes: u64,
}

/// A running sampler.
pub(crate) struct Sampler<S = Sample> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<S>>>,
}

impl Sampler {
    /// Of the memory of a process. Stop it before the process is waited for: afterwards its id means nothing.
    pub(crate) fn of_memory(pid: i32, interval: Duration) -> Sampler {
        Sampler::start(interval, move |at_s| {
            let memory = procfs::memory(pid).ok()?;
            Some(Sample { at_s, rss_bytes: memory.rss_bytes })
        })
    }
}

impl<S: Send + 'static> Sampler<S> {
    /// Of whatever `look` returns; it is told the seconds since the start.
    pub(crate) fn start(
        interval: Duration,
        mut look: impl FnMut(f64) -> Option<S> + Send + 'static,
    ) -> Sampler<S> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut samples = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                samples.extend(look(started.elapsed().as_secs_f64()));
                std::thread::sleep(interval);
            }
            samples
        });
        Sampler { stop, thread: Some(thread) }
    }

    pub(crate) fn finish(mut self) -> Vec<S> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the thread is taken once, here");
        thread.join().expect("sampling does not panic")
    }
}

impl<S> Drop for Sampler<S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The median of the samples' memory.
pub(crate) fn rss_bytes_median(samples: &[Sample]) -> u64 {
    let values: Vec<f64> = samples.iter().map(|sample| sample.rss_bytes as f64).collect();
    crate::stats::median(&values).unwrap_or(0.0) as u64
}
