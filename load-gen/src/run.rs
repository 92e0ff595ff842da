//! A whole run: wake when lines are due, write them, never wait for anybody else.
//!
//! What a tick finds due goes to each file with one write. When the machine stalls, the next tick writes
//! everything that has become due meanwhile, stamped with the times at which it was due: the stall shows
//! as latency of every line it hit, which is the point of an open loop.
//!
//! Files are divided among threads, and each thread walks the whole schedule and passes over what is not
//! for its files: nothing is handed from one to another, so none can make another late. Time comes from a
//! [`Clock`], so tests decide how it passes.

mod feed;
mod lateness;
mod writer;

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{self, Timespec, clock_gettime};

use crate::files::{FileError, Rotation};
use crate::format::Format;
use crate::journal::{self, Header, Journal, Pace};
use crate::payload::{LineBytes, Payloads};
use crate::replay::{Replay, ReplayError};
use crate::schedule::Rate;
use crate::spread::Spread;
use crate::stamp::WRITER_MAX;
use feed::{Feed, Sweep};
use lateness::Lateness;
use writer::Writer;

/// The most files one run writes.
pub const FILES_MAX: u32 = WRITER_MAX as u32 + 1;

/// How long a signal may have to wait, should it come just before the sleep.
const SLEEP_NS_MAX: u64 = 100_000_000;

/// When a run is over. A replay is over at the end of its log in any case.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// After so many lines in all.
    Lines(u64),
    /// After so much time.
    After(Duration),
}

/// How the lines that are due reach a file.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Writes {
    /// One write for each line, as an unbuffered logger does.
    Single,
    /// One write for all lines of a tick.
    Buffered,
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// Made up.
    Made {
        /// What records look like.
        format: Format,
        /// How long they are.
        line_bytes: LineBytes,
    },
    /// The lines of this log.
    Log(PathBuf),
}

/// Everything that decides what a run writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are created.
    pub dir: PathBuf,
    /// How many files, 1 to [`FILES_MAX`].
    pub files: u32,
    /// How many threads share them, 1 to `files`.
    pub threads: u32,
    /// How lines are spread over the files.
    pub spread: Spread,
    /// When lines are due.
    pub rate: Rate,
    /// When it is over.
    pub end: End,
    /// What they say.
    pub text: Text,
    /// Whether and how files are rotated.
    pub rotation: Option<Rotation>,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// What every line carries to tell this run from others.
    pub run: u32,
    /// How lines reach a file.
    pub writes: Writes,
    /// The shortest time from one look for lines that are due to the next.
    pub tick: Duration,
}

/// How far a run is.
#[derive(Copy, Clone, Debug)]
pub struct Progress {
    /// Lines written.
    pub lines: u64,
    /// Lines there will be, if that is known; by chance a few more or less.
    pub lines_total: Option<u64>,
    /// Time since the start.
    pub elapsed_ns: u64,
    /// When the last line that was written was due.
    pub due_ns: u64,
    /// The worst lateness until now.
    pub lateness_max_ns: u64,
}

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A log file refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log to be replayed cannot be.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The directory cannot be used.
    #[error("cannot use directory {}", path.display())]
    Dir {
        /// Which directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another run's files are there; their lines would be taken for ours.
    #[error("{} is there already: use another directory or delete the files of the earlier run", path.display())]
    Occupied {
        /// The first one found.
        path: PathBuf,
    },
}

/// Time since the start of a run.
pub trait Clock {
    /// Starts now; returns the start in nanoseconds since the Unix epoch.
    fn start(&mut self) -> u64;
    /// Nanoseconds since the start.
    fn elapsed_ns(&mut self) -> u64;
    /// Sleeps until so many nanoseconds after the start; may return early.
    fn sleep_until(&mut self, elapsed_ns: u64);
}

/// The machine's clock: the epoch is read once, time passes monotonically from there. If the wall clock
/// is set during a run, the due times do not follow it.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemClock {
    /// The start, as `CLOCK_MONOTONIC` counts.
    started_at: u64,
}

impl Clock for SystemClock {
    fn start(&mut self) -> u64 {
        // The kernel may add so much to a sleep, by default 50 us. Threads started from here on inherit it;
        // if it is refused, lines are that much later, and the journal says so.
        let _refused = set_current_timer_slack(NonZeroU64::new(1));
        self.started_at = nanoseconds(clock_gettime(time::ClockId::Monotonic));
        nanoseconds(clock_gettime(time::ClockId::Realtime))
    }

    fn elapsed_ns(&mut self) -> u64 {
        nanoseconds(clock_gettime(time::ClockId::Monotonic)) - self.started_at
    }

    fn sleep_until(&mut self, elapsed_ns: u64) {
        let at = self.started_at + elapsed_ns;
        let at = Timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as i64 };
        // Interrupted by a signal is early, which is allowed; nothing else can fail.
        let _interrupted = clock_nanosleep_absolute(ClockId::Monotonic, &at);
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Writes a whole run and returns its journal. Ends early, and in order, when `stop` becomes true.
///
/// # Errors
/// When the directory is occupied, the options contradict each other or a file cannot be written; what is
/// in the files then is not known.
pub fn run(
    options: &Options,
    clock: &mut (impl Clock + Clone + Send),
    stop: &AtomicBool,
    mut progress: impl FnMut(&Progress),
) -> Result<Journal, RunError> {
    check(options)?;
    refuse_occupied(&options.dir)?;
    let held = descriptors(options.files);
    let payloads = match &options.text {
        Text::Made { format, line_bytes } => {
            Some(Payloads::new(options.seed, *format, *line_bytes).map_err(RunError::Options)?)
        }
        Text::Log(_) => None,
    };
    let replays: Vec<_> = (0..options.threads).map(|_| replay(options)).collect::<Result<_, _>>()?;
    let mut shares = Vec::new();
    for (replay, thread) in replays.into_iter().zip(0..) {
        shares.push((Writer::open(options, payloads.as_ref(), thread, held)?, replay));
    }
    // The preparations above take time for many files; the schedule begins after them.
    let start_ns = clock.start();
    let shares = shares.into_iter().map(|(writer, replay)| Share {
        feed: Feed::new(options, replay, start_ns),
        writer: writer.starting_at(start_ns),
    });
    let done = work_together(shares.collect(), clock, stop, tick_ns(options), |seen| {
        progress(&Progress { lines_total: lines_total(options, start_ns), ..*seen });
    })?;
    Ok(close(options, start_ns, done))
}

/// One thread's part of a run.
struct Share<'a> {
    feed: Feed,
    writer: Writer<'a>,
}

/// What a thread has done.
struct Done<'a> {
    writer: Writer<'a>,
    elapsed_ns: u64,
    /// How long the schedule had for the lines.
    spread_ns: Option<u64>,
}

/// What threads know of each other.
struct Together<'a> {
    stop: &'a AtomicBool,
    /// One of them could not go on.
    failed: AtomicBool,
    lines: AtomicU64,
    lateness_max_ns: AtomicU64,
}

fn work_together<'a>(
    shares: Vec<Share<'a>>,
    clock: &mut (impl Clock + Clone + Send),
    stop: &AtomicBool,
    tick_ns: u64,
    progress: impl FnMut(&Progress),
) -> Result<Vec<Done<'a>>, RunError> {
    let together = Together {
        stop,
        failed: AtomicBool::new(false),
        lines: AtomicU64::new(0),
        lateness_max_ns: AtomicU64::new(0),
    };
    let mut shares = shares.into_iter();
    let first = shares.next();
    std::thread::scope(|scope| {
        let together = &together;
        let others: Vec<_> = shares
            .map(|share| {
                let mut clock = clock.clone();
                scope.spawn(move || work(share, &mut clock, together, tick_ns, |_| {}))
            })
            .collect();
        let mut done = Vec::from_iter(first.map(|share| work(share, clock, together, tick_ns, progress)));
        done.extend(others.into_iter().map(|other| match other.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        done.into_iter().collect()
    })
}

/// The loop of one thread.
fn work<'a>(
    share: Share<'a>,
    clock: &mut impl Clock,
    together: &Together<'_>,
    tick_ns: u64,
    mut progress: impl FnMut(&Progress),
) -> Result<Done<'a>, RunError> {
    let Share { mut feed, mut writer } = share;
    let mut sweep = Sweep::default();
    let mut rest_until_ns = 0;
    let mut written = || -> Result<(), RunError> {
        while !together.stop.load(Ordering::Relaxed) && !together.failed.load(Ordering::Relaxed) {
            let now = clock.elapsed_ns();
            if now < rest_until_ns {
                clock.sleep_until(rest_until_ns.min(now + SLEEP_NS_MAX));
                continue;
            }
            feed.take(now, &mut sweep)?;
            if let Some(due_ns) = sweep.last_due_ns() {
                let lines = writer.write(&sweep, clock)?;
                let lateness_ns = writer.lateness_max_ns();
                // Ticks are counted from when the thread was to wake, so that a late wake-up does not make the
                // next one later. A sweep that was full has left lines that are due: no rest then.
                let woken_ns = if now - rest_until_ns < tick_ns { rest_until_ns } else { now };
                rest_until_ns = if feed.is_behind(&sweep) { now } else { woken_ns.saturating_add(tick_ns) };
                let lines = together.lines.fetch_add(lines, Ordering::Relaxed) + lines;
                let before_ns = together.lateness_max_ns.fetch_max(lateness_ns, Ordering::Relaxed);
                progress(&Progress {
                    lines,
                    lines_total: None,
                    elapsed_ns: now,
                    due_ns,
                    lateness_max_ns: before_ns.max(lateness_ns),
                });
            }
            match feed.next_due_ns(now) {
                Some(due_ns) => rest_until_ns = rest_until_ns.max(due_ns),
                None => break,
            }
        }
        Ok(())
    };
    if let Err(error) = written() {
        together.failed.store(true, Ordering::Relaxed);
        return Err(error);
    }
    Ok(Done { writer, elapsed_ns: clock.elapsed_ns(), spread_ns: feed.spread_ns() })
}

fn close(options: &Options, start_ns: u64, done: Vec<Done<'_>>) -> Journal {
    let elapsed_ns = done.iter().map(|done| done.elapsed_ns).max().unwrap_or(0);
    let spread_ns = done.iter().filter_map(|done| done.spread_ns).max();
    let (mut generations, mut lateness) = (Vec::new(), Lateness::new(options.tick));
    for done in done {
        let (of_thread, its_lateness) = done.writer.close();
        generations.extend(of_thread);
        lateness.add(&its_lateness);
    }
    generations.sort_unstable_by_key(|generation| (generation.writer, generation.generation));
    let lines: u64 = generations.iter().map(|generation| generation.lines).sum();
    // The last line's period belongs to the time taken: two lines at 1 a second are not 2 a second.
    let per_second = |ns: u64| lines as f64 / (ns.max(1) as f64 / 1e9);
    let pace = Pace {
        intended_per_second: spread_ns.map(per_second),
        achieved_per_second: per_second(elapsed_ns.max(spread_ns.unwrap_or(0))),
        ..lateness.pace()
    };
    let (text, line_bytes) = match &options.text {
        Text::Made { format, line_bytes } => (format.to_string(), line_bytes.to_string()),
        Text::Log(path) => (path.display().to_string(), "as logged".into()),
    };
    let header = Header {
        journal: journal::VERSION,
        run: options.run,
        seed: options.seed,
        files: options.files,
        threads: options.threads,
        text,
        line_bytes,
        rate: options.rate.to_string(),
        spread: options.spread.to_string(),
        start_ns,
        end_ns: start_ns + elapsed_ns,
        lines,
        bytes: generations.iter().map(|generation| generation.bytes).sum(),
        pace,
    };
    Journal { header, generations }
}

fn check(options: &Options) -> Result<(), RunError> {
    let Options { files, threads, .. } = options;
    let wrong = |text: String| Err(RunError::Options(text));
    match (&options.rate, &options.text) {
        _ if !(1..=FILES_MAX).contains(files) => {
            wrong(format!("{files} files: 1 to {FILES_MAX} are possible"))
        }
        _ if !(1..=*files).contains(threads) => {
            wrong(format!("{threads} threads for {files} files: each needs a file of its own"))
        }
        (Rate::AsLogged(_), Text::Made { .. }) => wrong("only a replay has the speed of a log".into()),
        _ => Ok(()),
    }
}

fn replay(options: &Options) -> Result<Option<Replay>, RunError> {
    let speed = match options.rate {
        Rate::AsLogged(speed) => Some(speed),
        _ => None,
    };
    match &options.text {
        Text::Log(path) => Ok(Some(Replay::open(path, speed)?)),
        Text::Made { .. } => Ok(None),
    }
}

fn lines_total(options: &Options, start_ns: u64) -> Option<u64> {
    match (&options.end, &options.rate, &options.text) {
        (_, _, Text::Log(_)) => None,
        (End::Lines(lines), ..) => Some(*lines),
        (End::After(time), Rate::Scheduled(schedule), _) => {
            Some(schedule.lines_before(start_ns, clamp_ns(*time)))
        }
        _ => None,
    }
}

fn tick_ns(options: &Options) -> u64 {
    clamp_ns(options.tick).max(1)
}

fn clamp_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Rotation would rename over another run's files, and a judge would take its lines for foreign ones.
fn refuse_occupied(dir: &Path) -> Result<(), RunError> {
    let unusable = |source| RunError::Dir { path: dir.into(), source };
    fs::create_dir_all(dir).map_err(unusable)?;
    for entry in fs::read_dir(dir).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("load-") && name.contains(".log") {
            return Err(RunError::Occupied { path });
        }
    }
    Ok(())
}

/// Standard streams, the directory being copied and the like.
const DESCRIPTORS_SPARE: u64 = 32;

/// How many files can be open at a time. The limits are raised as far as possible; the hard one only by
/// who has the right to.
fn descriptors(files: u32) -> u64 {
    let needed = u64::from(files) + DESCRIPTORS_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = [needed, needed.min(hard)].into_iter().find(|limit| {
        let raised = Rlimit { current: Some(*limit), maximum: Some(hard.max(*limit)) };
        *limit > soft && setrlimit(Resource::Nofile, raised).is_ok()
    });
    raised.unwrap_or(soft).saturating_sub(DESCRIPTORS_SPARE).max(1)
}
