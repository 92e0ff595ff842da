//! The loop: wake at each tick, write what is due, never wait for anybody else.
//!
//! One thread serves all files. What a tick finds due goes to each file with one write. When the machine
//! stalls, the next tick writes everything that has become due meanwhile, stamped with the times at which
//! it was due: the stall shows as latency of every line it hit, which is the point of an open loop.
//! Time comes from a [`Clock`], so tests decide how it passes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{self, Timespec, clock_gettime};

use crate::files::{FileError, LogFile, Rotation};
use crate::journal::{self, Generation, Header, Journal, LATE_NS, Pace};
use crate::payload::{LineBytes, Payloads};
use crate::schedule::{Rate, Schedule, Walk};
use crate::stamp::{STAMP_BYTES, Stamp, WRITER_MAX, encode};

/// The most files one run writes.
pub const FILES_MAX: u32 = WRITER_MAX as u32 + 1;

/// What is prepared before it is written, at most.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// Lines between two looks at the clock, unless there are more files.
const SWEEP_LINES: u64 = 8192;
/// How long a signal may have to wait, should it come just before the sleep.
const SLEEP_NS_MAX: u64 = 100_000_000;

/// When a run is over.
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

/// Everything that decides what a run writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are created.
    pub dir: PathBuf,
    /// How many files, 1 to [`FILES_MAX`]; lines go round-robin.
    pub files: u32,
    /// Lines a second over all files.
    pub rate: Rate,
    /// When it is over.
    pub end: End,
    /// How long lines are.
    pub line_bytes: LineBytes,
    /// Whether and how files are rotated.
    pub rotation: Option<Rotation>,
    /// The seed of the payloads.
    pub seed: u64,
    /// What every line carries to tell this run from others.
    pub run: u32,
    /// How lines reach a file.
    pub writes: Writes,
    /// How often due lines are written; not 0.
    pub tick: Duration,
}

/// How far a run is.
#[derive(Copy, Clone, Debug)]
pub struct Progress {
    /// Lines written.
    pub lines: u64,
    /// Lines there will be, if that is known.
    pub lines_total: Option<u64>,
    /// Time since the start.
    pub elapsed_ns: u64,
    /// The worst lateness until now.
    pub lateness_max_ns: u64,
}

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A log file refused.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// More files than the system allows.
    #[error(
        "{files} files need {needed} descriptors, but the limit is {limit}: raise it (ulimit -Hn) or write fewer"
    )]
    Descriptors {
        /// Files asked for.
        files: u32,
        /// Descriptors needed for them.
        needed: u64,
        /// The hard limit.
        limit: u64,
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
#[derive(Debug, Default)]
pub struct SystemClock {
    /// The start, as `CLOCK_MONOTONIC` counts.
    started_at: u64,
}

impl Clock for SystemClock {
    fn start(&mut self) -> u64 {
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
/// When the directory is occupied or a file cannot be written; what is in the files then is not known.
pub fn run(
    options: &Options,
    clock: &mut impl Clock,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Progress),
) -> Result<Journal, RunError> {
    let mut writer = Writer::open(options)?;
    // The preparations above take time for many files; the schedule begins after them.
    writer.start_ns = clock.start();
    let mut pace = PaceKeeper::new(options);
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = clock.elapsed_ns();
        let due = pace.due(written, now);
        if due > written {
            // In pieces: a backlog must delay neither a signal nor the other files.
            let end = due.min(written + SWEEP_LINES.max(u64::from(options.files)));
            writer.sweep(written, end, |first, stride| pace.walk(first, stride, now))?;
            pace.wrote(written, end, now, clock.elapsed_ns());
            written = end;
            progress(&pace.progress(written, clock.elapsed_ns()));
        } else if let Some(wake_at) = pace.wake_at(written) {
            clock.sleep_until(wake_at.min(now + SLEEP_NS_MAX));
        } else {
            break;
        }
    }
    let elapsed_ns = clock.elapsed_ns();
    Ok(writer.close(options, elapsed_ns, pace.result(written, elapsed_ns)))
}

/// What is due, and how well that is kept.
struct PaceKeeper {
    schedule: Option<Schedule>,
    lines_total: Option<u64>,
    /// Without a schedule: when the run is over.
    duration_ns: u64,
    batch_lines: u64,
    tick_ns: u64,
    pace: Pace,
}

impl PaceKeeper {
    fn new(options: &Options) -> PaceKeeper {
        let (schedule, intended_per_second) = match options.rate {
            Rate::PerSecond(rate) => (Some(Schedule::new(rate)), Some(rate)),
            Rate::Max => (None, None),
        };
        let (lines_total, duration_ns) = match (options.end, schedule) {
            (End::Lines(lines), _) => (Some(lines), u64::MAX),
            (End::After(time), Some(schedule)) => (Some(schedule.lines_in(clamp_ns(time))), u64::MAX),
            (End::After(time), None) => (None, clamp_ns(time)),
        };
        let files = u64::from(options.files);
        PaceKeeper {
            schedule,
            lines_total,
            duration_ns,
            batch_lines: files * (1024 / files).max(1),
            tick_ns: clamp_ns(options.tick).max(1),
            pace: Pace { intended_per_second, ..Pace::default() },
        }
    }

    /// How many lines of the run ought to be written at `now`.
    fn due(&self, written: u64, now: u64) -> u64 {
        let due = match self.schedule {
            Some(schedule) => schedule.due(now),
            None if now < self.duration_ns => written + self.batch_lines,
            None => written,
        };
        due.min(self.lines_total.unwrap_or(u64::MAX))
    }

    /// The due times of every `stride`th line from `first`.
    fn walk(&self, first: u64, stride: u64, now: u64) -> Walk {
        self.schedule.map_or(Walk::standing(now), |schedule| schedule.walk(first, stride))
    }

    /// The tick that finds the next line due, or none if there is no next line.
    fn wake_at(&self, written: u64) -> Option<u64> {
        let schedule = self.schedule.filter(|_| self.lines_total.is_none_or(|total| written < total))?;
        Some(schedule.due_at(written).div_ceil(self.tick_ns) * self.tick_ns)
    }

    fn wrote(&mut self, first: u64, end: u64, begun: u64, now: u64) {
        let due_at = self.schedule.map_or(begun, |schedule| schedule.due_at(first));
        self.pace.lateness_max_ns = self.pace.lateness_max_ns.max(now.saturating_sub(due_at));
        if let (Some(schedule), Some(limit)) = (self.schedule, now.checked_sub(self.tick_ns + LATE_NS)) {
            self.pace.lines_late += schedule.due(limit).clamp(first, end) - first;
        }
    }

    fn progress(&self, lines: u64, elapsed_ns: u64) -> Progress {
        let lateness_max_ns = self.pace.lateness_max_ns;
        Progress { lines, lines_total: self.lines_total, elapsed_ns, lateness_max_ns }
    }

    /// The last line's period belongs to the time taken: two lines at 1 a second are not 2 a second.
    fn result(&self, lines: u64, elapsed_ns: u64) -> Pace {
        let scheduled = self.schedule.map_or(0, |schedule| schedule.due_at(lines));
        let seconds = elapsed_ns.max(scheduled).max(1) as f64 / 1e9;
        Pace { achieved_per_second: lines as f64 / seconds, ..self.pace }
    }
}

fn clamp_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// All files of a run and what was written to them.
struct Writer<'a> {
    options: &'a Options,
    payloads: Payloads,
    files: Vec<LogFile>,
    /// Lines prepared for one file; reused, so that a run allocates only while this grows.
    text: Vec<u8>,
    ended: Vec<Generation>,
    start_ns: u64,
}

impl<'a> Writer<'a> {
    fn open(options: &'a Options) -> Result<Writer<'a>, RunError> {
        refuse_occupied(&options.dir)?;
        raise_descriptor_limit(options.files)?;
        let files = (0..options.files)
            .map(|at| LogFile::create(&options.dir, at as u16, options.files, options.rotation.as_ref()))
            .collect::<Result<_, _>>()?;
        let payloads = Payloads::new(options.seed, options.line_bytes);
        Ok(Writer { options, payloads, files, text: Vec::new(), ended: Vec::new(), start_ns: 0 })
    }

    /// Writes lines `first` to `end` (exclusive) of the run, each file's together.
    fn sweep(&mut self, first: u64, end: u64, walk: impl Fn(u64, u64) -> Walk) -> Result<(), RunError> {
        let files = self.files.len() as u64;
        for line in first..end.min(first + files) {
            let count = (end - 1 - line) / files + 1;
            self.write_file((line % files) as usize, line / files, count, walk(line, files))?;
        }
        Ok(())
    }

    fn write_file(&mut self, at: usize, first_seq: u64, count: u64, due: Walk) -> Result<(), RunError> {
        let (file, text, rotation) = (&mut self.files[at], &mut self.text, &self.options.rotation);
        let writer = at as u16;
        let mut pending = 0;
        text.clear();
        for (sequence, due_ns) in (first_seq..first_seq + count).zip(due) {
            let payload = self.payloads.of(writer, sequence);
            let line_bytes = STAMP_BYTES + payload.bytes.len() + 1;
            if let Some(rotation) = rotation
                && file.is_full(rotation.full, pending, text.len() as u64, line_bytes as u64, due_ns)
            {
                file.append(text, std::mem::take(&mut pending))?;
                text.clear();
                self.ended.extend(file.rotate(rotation, due_ns)?);
            }
            let stamp = Stamp {
                run: self.options.run,
                writer,
                generation: file.generation(),
                sequence,
                intended_ns: self.start_ns + due_ns,
            };
            let mut head = [0; STAMP_BYTES];
            encode(&stamp, payload.checksum, &mut head);
            text.extend_from_slice(&head);
            text.extend_from_slice(payload.bytes);
            text.push(b'\n');
            pending += 1;
            if self.options.writes == Writes::Single || text.len() >= WRITE_BYTES_MAX {
                file.append(text, std::mem::take(&mut pending))?;
                text.clear();
            }
        }
        if pending > 0 {
            file.append(text, pending)?;
        }
        Ok(())
    }

    fn close(self, options: &Options, elapsed_ns: u64, pace: Pace) -> Journal {
        let mut generations = self.ended;
        generations.extend(self.files.iter().filter_map(LogFile::record));
        generations.sort_unstable_by_key(|generation| (generation.writer, generation.generation));
        let header = Header {
            journal: journal::VERSION,
            run: options.run,
            seed: options.seed,
            files: options.files,
            line_bytes: options.line_bytes.to_string(),
            start_ns: self.start_ns,
            end_ns: self.start_ns + elapsed_ns,
            lines: generations.iter().map(|generation| generation.lines).sum(),
            bytes: generations.iter().map(|generation| generation.bytes).sum(),
            pace,
        };
        Journal { header, generations }
    }
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

fn raise_descriptor_limit(files: u32) -> Result<(), RunError> {
    let needed = u64::from(files) + DESCRIPTORS_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let limit = maximum.unwrap_or(u64::MAX);
    let raised =
        needed <= limit && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok();
    if raised { Ok(()) } else { Err(RunError::Descriptors { files, needed, limit }) }
}
