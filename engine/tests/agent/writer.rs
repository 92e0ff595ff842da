//! Lines under way: a writer that writes and rotates while a test does something else.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lines::Family;
use crate::site::Site;
use crate::wait::until_true;

/// Writes and rotates until the reader has seen enough, never further ahead of it than a bound.
pub(crate) struct Writer {
    /// How many records the reader has seen, as it says.
    pub(crate) seen: Arc<AtomicUsize>,
    /// Ends when everything is written.
    pub(crate) thread: std::thread::JoinHandle<Vec<Family>>,
}

/// How far the writer may be ahead of the reader, in lines.
pub(crate) const AHEAD: usize = 5_000;

impl Writer {
    /// Begins to write that many lines, or a few more, into four logs of the site.
    pub(crate) fn start(site: &Site, total: usize) -> Writer {
        let paths: Vec<PathBuf> = (0..4).map(|at| site.log(&format!("f{at}.log"))).collect();
        let seen = Arc::new(AtomicUsize::new(0));
        let told = seen.clone();
        let thread = std::thread::spawn(move || {
            let mut over: Vec<Family> = Vec::new();
            let (mut written, mut generation) = (0, 0);
            while written < total {
                let mut now: Vec<Family> = paths
                    .iter()
                    .enumerate()
                    .map(|(at, path)| Family::named(&format!("f{at}g{generation}"), path))
                    .collect();
                for round in 0..60 {
                    for family in &mut now {
                        family.write(1 + round % 20);
                        written += 1 + round % 20;
                    }
                    let told = || told.load(Ordering::Relaxed) + AHEAD >= written;
                    until_true("the reader follows", told);
                }
                for family in &now {
                    fs::rename(family.path(), family.beside(&format!("{}", 100 + generation))).unwrap();
                }
                over.extend(now);
                generation += 1;
            }
            over
        });
        Writer { seen, thread }
    }

    /// Waits for the end: every generation of every log.
    pub(crate) fn finish(self) -> Vec<Family> {
        self.thread.join().unwrap()
    }
}
