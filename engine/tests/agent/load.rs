//! Applications that go on writing while a test does something to their Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::lines::Family;
use crate::wait::until_true;

/// Between two writes of a file.
const EVERY: Duration = Duration::from_millis(20);
/// Writes between two rotations of a file.
const ROTATE_AFTER: usize = 100;

/// Writers at work, at a pace that heeds nobody.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Vec<Family>>>,
}

impl Load {
    /// Each of these files gets so many lines fifty times a second, and is renamed now and then.
    pub(crate) fn on(families: Vec<Family>, lines: usize) -> Load {
        Load::renaming(families, lines, ROTATE_AFTER)
    }

    /// The same with files that keep their names.
    pub(crate) fn without_rotation(families: Vec<Family>, lines: usize) -> Load {
        Load::renaming(families, lines, usize::MAX)
    }

    fn renaming(families: Vec<Family>, lines: usize, after: usize) -> Load {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), written.clone());
        let thread = std::thread::spawn(move || write(families, (lines, after), &stopped, &counted));
        Load { stop, written, thread: Some(thread) }
    }

    /// Waits until so many more lines were written.
    pub(crate) fn await_more(&self, lines: usize) {
        let wanted = self.written.load(Ordering::Relaxed) + lines;
        until_true("more lines are written", || self.written.load(Ordering::Relaxed) >= wanted);
    }

    /// The writers stop: what they wrote.
    pub(crate) fn end(mut self) -> Vec<Family> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    mut families: Vec<Family>,
    (lines, rotate_after): (usize, usize),
    stop: &AtomicBool,
    written: &AtomicUsize,
) -> Vec<Family> {
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for family in &mut families {
            family.write(lines);
            if round % rotate_after == 0 {
                family.rotate(&family.beside(&(round / rotate_after + 100).to_string()));
            }
        }
        written.fetch_add(lines * families.len(), Ordering::Relaxed);
        std::thread::sleep(EVERY);
    }
    families
}
