//! Who decides whether a run was right: knows every line that was ever written, and how often Kafka has
//! it.

use std::collections::{BTreeMap, BTreeSet};

use logdrive_core::batch::Batch;
use logdrive_core::source::GenerationId;

use crate::random::Random;

pub(crate) type LineId = usize;
/// A file between two truncations.
pub(crate) type Life = (usize, u32);

/// Longer lines are cut by the agent.
pub(crate) const LINE_BYTES_MAX: usize = 120;

/// A line that was written, or will be.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    life: Life,
    /// Its end is written.
    pub(crate) whole: bool,
    /// A file may have ended in the middle of it: parts of it may be records.
    pub(crate) torn: bool,
    /// Kafka refuses it.
    pub(crate) poison: bool,
    pub(crate) stored: u32,
    /// How often it may be there beyond the first time.
    pub(crate) allowed: u32,
}

/// What was handed to Kafka: where it lies in which generation.
#[derive(Debug)]
struct Sent {
    end: u64,
    lines: Vec<LineId>,
}

/// Every line, every record, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) lines: Vec<Line>,
    by_record: BTreeMap<Vec<u8>, LineId>,
    sent: BTreeMap<GenerationId, Vec<Sent>>,
    newest: BTreeMap<Life, LineId>,
    /// Lives in which a line was refused: those behind it may come before it.
    unordered: BTreeSet<Life>,
    pub(crate) wrong: Option<String>,
    /// Of everything that was sent and stored, in its order: the same seed gives the same.
    pub(crate) digest: u64,
}

impl Judge {
    /// A new line, which nothing else is like.
    pub(crate) fn write(&mut self, life: Life, random: &mut Random) -> LineId {
        let id = self.lines.len();
        let pad = if random.percent(5) { 150 } else { random.below(40) };
        let poison = random.percent(1);
        let mark = if poison { "!" } else { "." };
        // Some come after a hole, as of a writer that goes on at its old offset in a truncated file.
        let hole = if id % 37 == 36 { "\0".repeat(1 + id % 50) } else { String::new() };
        let bytes = format!("{hole}{id}{mark}{}{mark}{id}", "x".repeat(pad)).into_bytes();
        self.by_record.insert(bytes[..bytes.len().min(LINE_BYTES_MAX)].to_vec(), id);
        let line = Line { bytes, life, whole: false, torn: false, poison, stored: 0, allowed: 0 };
        self.lines.push(line);
        id
    }

    pub(crate) fn condemn(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// The lines of a batch; records that are no line are wrong.
    pub(crate) fn lines_of(&mut self, batch: &Batch) -> Vec<LineId> {
        let mut lines = Vec::new();
        for &event in &batch.events {
            let record = batch.event(event);
            if let Some(&line) = self.by_record.get(record) {
                lines.push(line);
                continue;
            }
            // Where a file ended within a letter, the letter is none.
            let record = record.strip_suffix("\u{fffd}".as_bytes()).unwrap_or(record);
            let part =
                |line: &Line| line.torn && (line.bytes.starts_with(record) || line.bytes.ends_with(record));
            if record.is_empty() || !self.lines.iter().any(part) {
                let text = String::from_utf8_lossy(record).into_owned();
                let (path, span) = (&batch.origin.path, batch.span);
                self.condemn(format!("I: nobody wrote the record {text:?} of {path} {span:?}"));
            }
        }
        lines
    }

    pub(crate) fn sent(&mut self, batch: &Batch) {
        let lines = self.lines_of(batch);
        let sent = Sent { end: batch.span.end.0, lines };
        self.digest = Random::of(self.digest ^ sent.end).next();
        self.sent.entry(batch.origin.generation).or_default().push(sent);
    }

    pub(crate) fn is_poisoned(&mut self, batch: &Batch) -> bool {
        let lines = self.lines_of(batch);
        let poisoned = lines.iter().any(|&line| self.lines[line].poison);
        if poisoned {
            self.unordered.extend(lines.iter().map(|&line| self.lines[line].life));
        }
        poisoned
    }

    /// Kafka has a batch.
    pub(crate) fn stored(&mut self, batch: &Batch) {
        for id in self.lines_of(batch) {
            self.digest = Random::of(self.digest ^ id as u64).next();
            let line = &mut self.lines[id];
            line.stored += 1;
            let (stored, allowed, life) = (line.stored, line.allowed, line.life);
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            if stored > 1 + allowed {
                let (path, span) = (&batch.origin.path, batch.span);
                self.condemn(format!("D: {text:?} is there {stored} times, by {path} {span:?}"));
            }
            let newest = self.newest.entry(life).or_insert(id);
            let late = stored == 1 && *newest > id;
            *newest = (*newest).max(id);
            if late && !self.unordered.contains(&life) {
                self.condemn(format!("O: {text:?} came behind a later line of its file"));
            }
        }
    }

    /// What a generation has sent behind `acked` may be sent again.
    pub(crate) fn excuse_behind(&mut self, generation: GenerationId, acked: u64) {
        let Some(sent) = self.sent.get(&generation) else { return };
        for line in sent.iter().filter(|sent| sent.end > acked).flat_map(|sent| &sent.lines) {
            self.lines[*line].allowed += 1;
        }
    }

    pub(crate) fn generations(&self) -> Vec<GenerationId> {
        self.sent.keys().copied().collect()
    }

    /// A line that ought to be there and is not.
    pub(crate) fn missing(&self, lines: &[(LineId, usize)], upto: usize) -> Option<String> {
        let due = lines.iter().filter(|(_, end)| *end <= upto).map(|(id, _)| &self.lines[*id]);
        let mut missing = due.filter(|line| !line.poison && line.whole && line.stored == 0);
        missing.next().map(|line| String::from_utf8_lossy(&line.bytes).into_owned())
    }
}
