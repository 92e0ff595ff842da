//! Samples the memory of a process at a fixed interval, on a thread of its own.
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

/// A running sampler. Stop it before the process is waited for: afterwards its id means nothing.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    pub(crate) fn start(pid: i32, interval: Duration) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut samples = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                if let Ok(memory) = procfs::memory(pid) {
                    let at_s = started.elapsed().as_secs_f64();
                    samples.push(Sample { at_s, rss_bytes: memory.rss_bytes });
                }
                std::thread::sleep(interval);
            }
            samples
        });
        Sampler { stop, thread: Some(thread) }
    }

    pub(crate) fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the thread is taken once, here");
        thread.join().expect("sampling does not panic")
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The median of the samples' memory.
pub(crate) fn rss_bytes_median(samples: &[Sample]) -> u64 {
    let values: Vec<f64> = samples.iter().map(|sample| sample.rss_bytes as f64).collect();
    crate::stats::median(&values).unwrap_or(0.0) as u64
}
