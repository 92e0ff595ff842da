//! The lines that are due: when, and for a replay also what they say.

use super::{End, Options, clamp_ns};
use crate::replay::{Replay, ReplayError, Texts};
use crate::schedule::{Arrivals, Rate};

/// Lines between two looks at the clock, unless there are more files.
const SWEEP_LINES: u64 = 8192;
/// The same for a run without a schedule, about: what is written then should still be in the cache.
const BATCH_LINES: u64 = 1024;

/// Consecutive lines of a run that are written together.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The number of the first within the run.
    pub(super) first: u64,
    /// When each is due, in nanoseconds since the start.
    pub(super) due_ns: Vec<u64>,
    /// Their text, in a replay.
    pub(super) texts: Texts,
}

impl Sweep {
    pub(super) fn last_due_ns(&self) -> Option<u64> {
        self.due_ns.last().copied()
    }
}

/// Where the lines of a thread come from. Each has its own, and all are the same.
#[derive(Debug)]
pub(super) struct Feed {
    due: Due,
    replay: Option<Replay>,
    /// Lines of the run that were not taken.
    lines_left: u64,
    /// No line is due from here on.
    until_ns: u64,
    lines_max: u64,
    /// When the last line that was taken was due.
    last_due_ns: u64,
}

#[derive(Debug)]
enum Due {
    /// When it is written.
    Now,
    Scheduled(Arrivals),
    AsLogged,
}

impl Feed {
    pub(super) fn new(options: &Options, replay: Option<Replay>, start_ns: u64) -> Feed {
        let files = u64::from(options.files);
        let (due, lines_max) = match &options.rate {
            Rate::Max => (Due::Now, files * (BATCH_LINES / files).max(1)),
            Rate::Scheduled(schedule) => {
                (Due::Scheduled(schedule.arrivals(options.seed, start_ns)), SWEEP_LINES.max(files))
            }
            Rate::AsLogged(_) => (Due::AsLogged, SWEEP_LINES.max(files)),
        };
        let (lines_left, until_ns) = match options.end {
            End::Lines(lines) => (lines, u64::MAX),
            End::After(time) => (u64::MAX, clamp_ns(time)),
        };
        Feed { due, replay, lines_left, until_ns, lines_max, last_due_ns: 0 }
    }

    /// Replaces the sweep by the next lines that are due, in pieces: a backlog must delay neither a signal
    /// nor the other files.
    pub(super) fn take(&mut self, now_ns: u64, sweep: &mut Sweep) -> Result<(), ReplayError> {
        sweep.first += sweep.due_ns.len() as u64;
        sweep.due_ns.clear();
        sweep.texts.clear();
        let lines_max = self.lines_max.min(self.lines_left) as usize;
        let Some(by_ns) = self.until_ns.checked_sub(1).map(|last_ns| last_ns.min(now_ns)) else {
            return Ok(());
        };
        match (&mut self.due, &mut self.replay) {
            (Due::Now, None) if now_ns < self.until_ns => sweep.due_ns.resize(lines_max, now_ns),
            (Due::Scheduled(arrivals), None) => arrivals.take_due(by_ns, lines_max, &mut sweep.due_ns),
            (due, Some(replay)) => {
                while sweep.due_ns.len() < lines_max && !replay.is_over() {
                    match due {
                        Due::Now if now_ns < self.until_ns => sweep.due_ns.push(now_ns),
                        Due::Scheduled(arrivals) if arrivals.next_due_ns() <= by_ns => {
                            arrivals.take_due(by_ns, 1, &mut sweep.due_ns);
                        }
                        Due::AsLogged if replay.next_due_ns() <= by_ns => {
                            sweep.due_ns.push(replay.next_due_ns());
                        }
                        _ => break,
                    }
                    replay.take(&mut sweep.texts)?;
                }
            }
            (Due::Now | Due::AsLogged, None) => {}
        }
        self.lines_left -= sweep.due_ns.len() as u64;
        self.last_due_ns = sweep.last_due_ns().unwrap_or(self.last_due_ns);
        Ok(())
    }

    /// Whether more may have been due than the sweep took.
    pub(super) fn is_behind(&self, sweep: &Sweep) -> bool {
        matches!(self.due, Due::Now) || sweep.due_ns.len() as u64 >= self.lines_max
    }

    /// When there is something to take; none if there is nothing any more.
    pub(super) fn next_due_ns(&self, now_ns: u64) -> Option<u64> {
        let over = self.lines_left == 0 || self.replay.as_ref().is_some_and(Replay::is_over);
        let due_ns = match &self.due {
            Due::Now => now_ns,
            _ => self.scheduled_ns()?,
        };
        (!over && due_ns < self.until_ns).then_some(due_ns)
    }

    /// Until when the lines that were taken were spread: to the next one, if there is one, or to the end.
    /// None without a schedule.
    pub(super) fn spread_ns(&self) -> Option<u64> {
        match self.due {
            Due::Now => None,
            _ => Some(self.scheduled_ns().unwrap_or(self.until_ns).min(self.until_ns))
                .filter(|ns| (1..u64::MAX).contains(ns))
                .or(Some(self.last_due_ns)),
        }
    }

    fn scheduled_ns(&self) -> Option<u64> {
        let due_ns = match (&self.due, &self.replay) {
            (Due::Scheduled(arrivals), _) => arrivals.next_due_ns(),
            (Due::AsLogged, Some(replay)) => replay.next_due_ns(),
            _ => return None,
        };
        (due_ns < u64::MAX).then_some(due_ns)
    }
}
