//! The judge of completeness: told of every record in a topic, it counts what became of every line.
//!
//! A [`Ledger`] is pure: it knows neither Kafka nor the clock, and any stream of records gives the same
//! counts. It needs no journal while it listens, so it can listen while the load is still being written;
//! the journal comes at the end, for the [`Verdict`]. Exactly, for the run that the journal names:
//!
//! - *lost*: listed in the journal, never seen whole;
//! - *duplicated*: every sight of a line after its first;
//! - *reordered*: first sights of a line after a higher sequence number of the same writer was seen in
//!   the same partition (a repetition of something old is a duplicate, not a disorder);
//! - *torn*: has a stamp of ours, or most of one, but is cut, glued or altered;
//! - *foreign*: anything else, lines of other runs and lines that the journal does not know included.

pub mod command;
mod seen;
mod verdict;

use std::collections::HashMap;

use logdrive_load::journal::{Generation, Journal};
use logdrive_load::stamp::{Reject, Stamp, decode};

use seen::Seen;
pub use verdict::{Lost, Problem, SHOWN_MAX, Verdict};

/// One record as it came out of Kafka.
#[derive(Copy, Clone, Debug)]
pub struct Arrival<'a> {
    /// The partition it stood in.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its value; empty if it has none.
    pub payload: &'a [u8],
    /// When it was received, nanoseconds since the Unix epoch. Minus a stamp's intended time: its latency.
    pub consumed_at_ns: u64,
}

/// What a record holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Framing {
    /// One line.
    Line,
    /// Several lines joined by newlines; one may stand at the end.
    Chunk,
    /// One line as a JSON string.
    Quoted,
}

/// How much of a line that is not ours is shown.
const EXCERPT_BYTES_MAX: usize = 120;

/// Everything that was seen.
#[derive(Debug)]
pub struct Ledger {
    framing: Framing,
    files: Lookup<FileKey, FileSeen>,
    tops: Lookup<TopKey, Top>,
    /// Of each run: the first duplicated and reordered lines. Only the journal's run is shown.
    of_runs: HashMap<u32, Vec<Sighting>>,
    /// The first lines that are of no run at all.
    of_none: Vec<Sighting>,
    torn: u64,
    foreign: u64,
    lines: u64,
}

/// The life of one file in one run.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
struct FileKey {
    run: u32,
    writer: u16,
    generation: u32,
}

/// Where order is kept: one writer's lines in one partition.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
struct TopKey {
    run: u32,
    writer: u16,
    partition: i32,
}

/// The highest line of a writer in a partition so far.
#[derive(Copy, Clone, Debug)]
struct Top {
    sequence: u64,
    generation: u32,
}

impl FileKey {
    fn of(run: u32, listed: &Generation) -> FileKey {
        FileKey { run, writer: listed.writer, generation: listed.generation }
    }
}

#[derive(Debug)]
struct FileSeen {
    seen: Seen,
    duplicated: u64,
    reordered: u64,
    /// Where its first line was seen.
    partition: i32,
    offset: i64,
    /// Whether lines of it were seen in another partition too.
    spread: bool,
}

/// A problem and how many lines had been judged before it, to show problems in the order they came.
type Sighting = (u64, Problem);

impl Ledger {
    /// A ledger that has seen nothing.
    #[must_use]
    pub fn new(framing: Framing) -> Ledger {
        Ledger {
            framing,
            files: Lookup::default(),
            tops: Lookup::default(),
            of_runs: HashMap::new(),
            of_none: Vec::new(),
            torn: 0,
            foreign: 0,
            lines: 0,
        }
    }

    /// Judges a record. `first_sight` is called for each line that is whole and new, of whatever run:
    /// the place to take its latency.
    pub fn judge(&mut self, arrival: &Arrival<'_>, mut first_sight: impl FnMut(&Stamp)) {
        match self.framing {
            Framing::Line => self.judge_line(arrival, arrival.payload, &mut first_sight),
            // What is no JSON string is judged as it stands, and then is foreign or torn.
            Framing::Quoted => match serde_json::from_slice::<String>(arrival.payload) {
                Ok(line) => self.judge_line(arrival, line.as_bytes(), &mut first_sight),
                Err(_) => self.judge_line(arrival, arrival.payload, &mut first_sight),
            },
            Framing::Chunk => {
                let lines = arrival.payload.strip_suffix(b"\n").unwrap_or(arrival.payload);
                let mut start = 0;
                for end in memchr::memchr_iter(b'\n', lines).chain([lines.len()]) {
                    self.judge_line(arrival, &lines[start..end], &mut first_sight);
                    start = end + 1;
                }
            }
        }
    }

    /// How many lines were judged, whatever they were.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How many different lines of a run were seen.
    #[must_use]
    pub fn lines_distinct(&self, run: u32) -> u64 {
        self.files.iter().filter(|(key, _)| key.run == run).map(|(_, file)| file.seen.count()).sum()
    }

    /// What became of the lines of a journal.
    #[must_use]
    pub fn verdict(&self, journal: &Journal) -> Verdict {
        let run = journal.header.run;
        let mut verdict = Verdict { torn: self.torn, foreign: self.foreign, ..Verdict::default() };
        let mut problems = self.of_none.clone();
        problems.extend(self.of_runs.get(&run).into_iter().flatten().cloned());
        for listed in &journal.generations {
            verdict.settle(listed, self.files.find(&FileKey::of(run, listed)));
        }
        let listed: HashMap<FileKey, &Generation> =
            journal.generations.iter().map(|listed| (FileKey::of(run, listed), listed)).collect();
        for (key, file) in self.files.iter() {
            let lines = match listed.get(key) {
                Some(listed) => file.seen.count() - file.seen.count_in(listed.first_seq, listed.last_seq),
                None => file.seen.count() + file.duplicated,
            };
            if lines > 0 {
                verdict.foreign += lines;
                problems.push((u64::MAX, file.not_in_the_journal(key, run, lines)));
            }
        }
        problems.sort_by_key(|(at, problem)| (*at, problem.partition, problem.offset));
        verdict.first_problems = problems.into_iter().map(|(_, problem)| problem).collect();
        first_of_each_reason(&mut verdict.first_problems);
        verdict
    }

    fn judge_line(&mut self, arrival: &Arrival<'_>, line: &[u8], first_sight: &mut impl FnMut(&Stamp)) {
        self.lines += 1;
        match decode(line) {
            Ok(stamp) => self.judge_stamp(arrival, &stamp, first_sight),
            Err(reject) => self.reject(arrival, line, reject),
        }
    }

    fn judge_stamp(&mut self, arrival: &Arrival<'_>, stamp: &Stamp, first_sight: &mut impl FnMut(&Stamp)) {
        let Stamp { run, writer, generation, sequence, .. } = *stamp;
        let Arrival { partition, offset, .. } = *arrival;
        let file = self.files.entry(FileKey { run, writer, generation }, || FileSeen::new(partition, offset));
        let top = self.tops.entry(TopKey { run, writer, partition }, || Top { sequence, generation });
        file.spread |= partition != file.partition;
        let new = file.seen.insert(sequence);
        let before = *top;
        if sequence > top.sequence {
            *top = Top { sequence, generation };
        }
        if new {
            first_sight(stamp);
        }
        let reason = match new {
            true if sequence >= before.sequence => return,
            true => {
                file.reordered += 1;
                "reordered"
            }
            false => {
                file.duplicated += 1;
                "duplicated"
            }
        };
        note(self.of_runs.entry(run).or_default(), self.lines, reason, || {
            let highest = format!("line {} generation {}", before.sequence, before.generation);
            let detail = format!("writer {writer} line {sequence} generation {generation}, after {highest}");
            Problem { partition, offset, reason, detail }
        });
    }

    fn reject(&mut self, arrival: &Arrival<'_>, line: &[u8], reject: Reject) {
        let reason = match reject {
            Reject::Torn => {
                self.torn += 1;
                "torn"
            }
            Reject::Foreign => {
                self.foreign += 1;
                "foreign"
            }
        };
        let Arrival { partition, offset, .. } = *arrival;
        note(&mut self.of_none, self.lines, reason, || {
            let shown = &line[..line.len().min(EXCERPT_BYTES_MAX)];
            let detail = format!("{} bytes: {}", line.len(), shown.escape_ascii());
            Problem { partition, offset, reason, detail }
        });
    }
}

impl FileSeen {
    fn new(partition: i32, offset: i64) -> FileSeen {
        FileSeen { seen: Seen::default(), duplicated: 0, reordered: 0, partition, offset, spread: false }
    }

    fn not_in_the_journal(&self, key: &FileKey, run: u32, lines: u64) -> Problem {
        let FileKey { writer, generation, .. } = key;
        let detail = match key.run == run {
            true => {
                format!("{lines} lines of writer {writer} generation {generation} are not in the journal")
            }
            false => {
                format!("{lines} lines of writer {writer} generation {generation} of run {:08x}", key.run)
            }
        };
        Problem { partition: self.partition, offset: self.offset, reason: "foreign", detail }
    }
}

/// Keeps the first few of each reason; a stream that is wrong throughout must not fill the memory, or cost a
/// text each, and duplicates, which may be allowed, must not hide what never is.
fn note(kept: &mut Vec<Sighting>, at: u64, reason: &'static str, problem: impl FnOnce() -> Problem) {
    if kept.iter().filter(|(_, other)| other.reason == reason).count() < SHOWN_MAX {
        kept.push((at, problem()));
    }
}

fn first_of_each_reason(problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    problems.retain(|problem| {
        let count = seen.entry(problem.reason).or_default();
        *count += 1;
        *count <= SHOWN_MAX
    });
}

/// A map whose last entry is at hand: records of one file come in rows.
#[derive(Debug)]
struct Lookup<K, V> {
    entries: Vec<(K, V)>,
    index: HashMap<K, usize>,
    last: usize,
}

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Lookup<K, V> {
        Lookup { entries: Vec::new(), index: HashMap::new(), last: 0 }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V> Lookup<K, V> {
    #[inline]
    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.entries.get(self.last).is_none_or(|(last, _)| *last != key) {
            self.last = *self.index.entry(key).or_insert_with(|| {
                self.entries.push((key, new()));
                self.entries.len() - 1
            });
        }
        &mut self.entries[self.last].1
    }

    fn find(&self, key: &K) -> Option<&V> {
        Some(&self.entries[*self.index.get(key)?].1)
    }

    fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter()
    }
}
