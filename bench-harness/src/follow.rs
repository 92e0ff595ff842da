//! Follows a topic for as long as it is written: every line is judged as it comes, and how far the lines have
//! come can be asked at any time.
//!
//! What was judged may be deleted: the topic keeps the last gigabyte only, so a run of hours takes no more disk
//! than one of minutes. A record that the broker deletes before it was read ends the run with an error; it is never
//! passed over. Memory follows the number of files and of rows of repeated lines, not the number of lines.
//! There is one partition, so that an offset says before or behind what a line stands.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use logdrive_bench::consume::{AppendedMs, unix_now_ns};
use logdrive_bench::verify::{Arrival, Verdict};
use logdrive_load::journal::Journal;
use logdrive_load::stamp::Stamp;

use crate::agent::Agent;
use crate::interrupt;
use crate::receiver::{Note, Received, Receiver};
use crate::setup::Setup;

/// What a followed topic keeps: at 20,000 lines a second of 200 bytes some ten minutes.
const KEPT: &[(&str, &str)] = &[("retention.bytes", "1073741824"), ("segment.bytes", "67108864")];

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(10);

/// A topic and whoever reads it.
pub(crate) struct Follower {
    topic: String,
    receiver: Receiver<Trail>,
    seen: Arc<Seen>,
}

/// What the reader tells while it reads.
struct Seen {
    /// For each writer, when its newest line was due; 0 before the first.
    newest_due_ns: Vec<AtomicU64>,
    /// The worst latency since somebody asked.
    latency_max_ns: AtomicU64,
}

struct Trail {
    seen: Arc<Seen>,
    repeats: Repeats,
}

/// Offsets of records whose line was not new (or not whole), as rows of neighbours.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Vec<Range<u64>>);

/// What it all came to.
pub(crate) struct Followed {
    pub(crate) verdict: Verdict,
    pub(crate) repeats: Repeats,
    /// Records in the topic.
    pub(crate) records: u64,
}

impl Follower {
    /// Creates the topic, for the lines of so many files, and begins to read it.
    pub(crate) fn start(setup: &Setup, agent: &Agent, topic: String, files: u32) -> Result<Follower> {
        setup.cluster.create_topic_with(&topic, 1, KEPT)?;
        let newest_due_ns = (0..files).map(|_| AtomicU64::new(0)).collect();
        let seen = Arc::new(Seen { newest_due_ns, latency_max_ns: AtomicU64::new(0) });
        let trail = Trail { seen: Arc::clone(&seen), repeats: Repeats::default() };
        let receiver = Receiver::start(setup.cluster.brokers(), &topic, agent.framing(), trail)?;
        Ok(Follower { topic, receiver, seen })
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Records that were read so far.
    pub(crate) fn records(&self) -> u64 {
        self.receiver.records()
    }

    /// The error with which reading has ended, if it has.
    pub(crate) fn expect_receiving(&mut self) -> Result<()> {
        self.receiver.expect_receiving()
    }

    /// Somebody who may ask how far the lines are, from another thread.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.seen))
    }

    /// Waits until, of every file, a line was seen that became due after this call: whatever had to be sent
    /// before it has been sent. `look` is asked meanwhile and may refuse to wait on.
    pub(crate) fn await_caught_up(
        &mut self,
        patience: Duration,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let (since_ns, deadline) = (unix_now_ns(), Instant::now() + patience);
        while self.seen.oldest_due_ns() <= since_ns {
            self.expect_receiving()?;
            look()?;
            if Instant::now() >= deadline {
                bail!(
                    "the agent is {:.0} s behind and did not catch up within {patience:?}",
                    self.gauge().behind_s()
                );
            }
            interrupt::pause(LOOK)?;
        }
        Ok(())
    }

    /// Reads what is left of a topic that nobody writes any more, and judges it by what was written.
    pub(crate) fn finish(mut self, setup: &Setup, journal: &Journal, patience: Duration) -> Result<Followed> {
        let records = setup.cluster.watermark(&self.topic, 0)?;
        self.receiver.await_count(records, patience)?;
        if self.receiver.records() < records {
            bail!("topic {} cannot be read to its end: {} of {records} records", self.topic, self.records());
        }
        let Received { note, ledger } = self.receiver.finish()?;
        Ok(Followed { verdict: ledger.verdict(journal), repeats: note.repeats, records })
    }
}

/// How far the lines have come.
pub(crate) struct Gauge(Arc<Seen>);

impl Gauge {
    /// How long ago the newest line that was seen was due, of the file that is the furthest behind. None before
    /// there was a line of every file.
    pub(crate) fn behind(&self) -> Option<Duration> {
        let due_ns = self.0.oldest_due_ns();
        (due_ns > 0).then(|| Duration::from_nanos(unix_now_ns().saturating_sub(due_ns)))
    }

    pub(crate) fn behind_s(&self) -> f64 {
        self.behind().map_or(0.0, |behind| behind.as_secs_f64())
    }

    /// The worst latency of a line that was seen since the last time this was asked.
    pub(crate) fn take_latency_max(&self) -> Duration {
        Duration::from_nanos(self.0.latency_max_ns.swap(0, Ordering::Relaxed))
    }
}

impl Seen {
    fn oldest_due_ns(&self) -> u64 {
        self.newest_due_ns.iter().map(|due| due.load(Ordering::Relaxed)).min().unwrap_or(0)
    }
}

impl Note for Trail {
    fn first_sight(&mut self, stamp: &Stamp, _: Option<AppendedMs>, received_ns: u64) {
        // A writer that the run does not have is the verdict's business.
        if let Some(newest) = self.seen.newest_due_ns.get(usize::from(stamp.writer)) {
            newest.fetch_max(stamp.intended_ns, Ordering::Relaxed);
        }
        let latency_ns = received_ns.saturating_sub(stamp.intended_ns);
        self.seen.latency_max_ns.fetch_max(latency_ns, Ordering::Relaxed);
    }

    fn repeat(&mut self, arrival: &Arrival<'_>) {
        self.repeats.add(arrival.offset as u64);
    }
}

impl Repeats {
    /// Offsets come in order.
    fn add(&mut self, offset: u64) {
        match self.0.last_mut() {
            Some(row) if row.end == offset => row.end += 1,
            _ => self.0.push(offset..offset + 1),
        }
    }

    /// How many there are before the first of these offsets, then from each to the next, the last without an end.
    /// The offsets rise.
    pub(crate) fn count_between(&self, bounds: &[u64]) -> Vec<u64> {
        let starts = std::iter::once(0).chain(bounds.iter().copied());
        let ends = bounds.iter().copied().chain([u64::MAX]);
        let within = |start: u64, end: u64| {
            let rows = self.0.iter().skip(self.0.partition_point(|row| row.end <= start));
            let rows = rows.take_while(|row| row.start < end);
            rows.map(|row| row.end.min(end) - row.start.max(start)).sum()
        };
        starts.zip(ends).map(|(start, end)| within(start, end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_behind_the_bound_that_they_stand_behind() {
        let mut repeats = Repeats::default();
        [3, 99, 100, 249, 250, 251, 252, 399, 400, 10_000].into_iter().for_each(|offset| repeats.add(offset));
        assert_eq!(repeats.0, [3..4, 99..101, 249..253, 399..401, 10_000..10_001]);
        assert_eq!(repeats.count_between(&[100, 250, 250, 400]), [2, 2, 0, 4, 2]);
        assert_eq!(repeats.count_between(&[]), [10]);
        assert_eq!(Repeats::default().count_between(&[5]), [0, 0]);
    }

    #[test]
    fn the_file_that_is_the_furthest_behind_counts() {
        let seen = Arc::new(Seen {
            newest_due_ns: vec![AtomicU64::new(0), AtomicU64::new(0)],
            latency_max_ns: AtomicU64::new(0),
        });
        let mut trail = Trail { seen: Arc::clone(&seen), repeats: Repeats::default() };
        let gauge = Gauge(seen);
        let mut see = |writer, intended_ns| {
            let stamp = Stamp { run: 0, writer, generation: 0, sequence: 0, intended_ns };
            trail.first_sight(&stamp, None, intended_ns + 5);
        };
        see(0, 1000);
        assert_eq!((gauge.behind(), gauge.behind_s()), (None, 0.0));
        see(1, 900);
        see(1, 800);
        see(7, 1);
        assert_eq!(gauge.0.oldest_due_ns(), 900);
        assert!(gauge.behind().is_some());
        assert_eq!([gauge.take_latency_max(), gauge.take_latency_max()].map(|max| max.as_nanos()), [5, 0]);
    }
}
