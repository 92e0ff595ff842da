//! What the judge says, and how it is shown.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use logdrive_load::journal::Generation;
use serde::Serialize;

use super::FileSeen;
use super::seen::Seen;

/// How many problems, and how many lost ranges, are shown.
pub const SHOWN_MAX: usize = 10;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// The partition of the record.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// `duplicated`, `reordered`, `torn` or `foreign`.
    pub reason: &'static str,
    /// What it is about.
    pub detail: String,
}

/// Lines that never came, next to each other.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Lost {
    /// Who wrote them.
    pub writer: u16,
    /// Into which life of the file.
    pub generation: u32,
    /// The first one missing.
    pub first_seq: u64,
    /// The last one missing.
    pub last_seq: u64,
}

/// The counts. Always `lines_expected - lost + duplicated == lines_received`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Verdict {
    /// Lines in the journal.
    pub lines_expected: u64,
    /// Whole lines of the journal that were received, repetitions included.
    pub lines_received: u64,
    /// Lines never seen whole.
    pub lost: u64,
    /// Sights of lines after the first.
    pub duplicated: u64,
    /// First sights after a higher line of the same writer in the same partition.
    pub reordered: u64,
    /// Lines cut, glued or altered.
    pub torn: u64,
    /// Lines that are not of this run's journal.
    pub foreign: u64,
    /// File generations whose lines stood in more than one partition. No fault by itself: partition
    /// rules other than by source do that.
    pub generations_spread: u64,
    /// The first problems that have a place.
    pub first_problems: Vec<Problem>,
    /// The first ranges of lost lines.
    pub first_lost: Vec<Lost>,
}

impl Verdict {
    /// Whether everything arrived once, in order, unaltered, and nothing else did; so many duplicates
    /// are forgiven. A run of which nothing was expected proves nothing and does not pass.
    #[must_use]
    pub fn passes(&self, duplicates_allowed: u64) -> bool {
        self.lines_expected > 0
            && self.lost == 0
            && self.reordered == 0
            && self.torn == 0
            && self.foreign == 0
            && self.duplicated <= duplicates_allowed
    }

    /// The verdict in one line.
    #[must_use]
    pub fn sentence(&self, duplicates_allowed: u64) -> String {
        let Verdict { lines_expected, lost, duplicated, reordered, torn, foreign, .. } = self;
        let word = if self.passes(duplicates_allowed) { "PASS" } else { "FAIL" };
        let allowed = match duplicates_allowed {
            0 => String::new(),
            allowed => format!(" ({allowed} allowed)"),
        };
        format!(
            "{word}: of {lines_expected} lines {lost} lost, {duplicated} duplicated{allowed}, \
             {reordered} reordered, {torn} torn, {foreign} foreign"
        )
    }

    /// Counts one generation of the journal.
    pub(super) fn settle(&mut self, listed: &Generation, file: Option<&FileSeen>) {
        let Generation { writer, generation, first_seq, last_seq, lines, .. } = *listed;
        self.lines_expected += lines;
        let nothing = Seen::default();
        let seen = file.map_or(&nothing, |file| &file.seen);
        let found = seen.count_in(first_seq, last_seq);
        self.lost += lines - found;
        self.lines_received += found;
        let room = SHOWN_MAX - self.first_lost.len();
        self.first_lost.extend(seen.gaps(first_seq, last_seq).take(room).map(|(first_seq, last_seq)| Lost {
            writer,
            generation,
            first_seq,
            last_seq,
        }));
        if let Some(file) = file {
            self.lines_received += file.duplicated;
            self.duplicated += file.duplicated;
            self.reordered += file.reordered;
            self.generations_spread += u64::from(file.spread);
        }
    }
}

/// The counts as a table, then the first problems and lost ranges, if any.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("expected", self.lines_expected),
            ("received", self.lines_received),
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("torn", self.torn),
            ("foreign", self.foreign),
            ("generations in several partitions", self.generations_spread),
        ];
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["lines", "count"]);
        table.add_rows(rows.map(|(name, count)| [name.to_owned(), count.to_string()]));
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")?;
        for Lost { writer, generation, first_seq, last_seq } in &self.first_lost {
            write!(f, "\nlost: writer {writer} generation {generation} lines {first_seq} to {last_seq}")?;
        }
        for Problem { partition, offset, reason, detail } in &self.first_problems {
            write!(f, "\n{reason} at {partition}:{offset}: {detail}")?;
        }
        Ok(())
    }
}
