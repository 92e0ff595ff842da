//! What a run wrote, for the judge: JSON lines, a header first, then one line per file generation.
//!
//! A journal that exists is complete: it is written under another name at the end of the run and renamed.
//! A run that failed leaves none, so nobody can be judged by half a truth.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of this format; a journal of another one is refused.
pub const VERSION: u32 = 2;

/// The run as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub journal: u32,
    /// The run that every line carries.
    pub run: u32,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// How many files were written side by side.
    pub files: u32,
    /// By how many threads.
    pub threads: u32,
    /// What the records look like: the name of a format, or the log that was replayed.
    pub text: String,
    /// The line lengths asked for, as they are typed; `as logged` for a replay.
    pub line_bytes: String,
    /// The rate or schedule, as it is typed.
    pub rate: String,
    /// How lines were spread over the files, as it is typed.
    pub spread: String,
    /// When the schedule began, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// When the last line was written.
    pub end_ns: u64,
    /// Records written; only one of format java has several lines.
    pub lines: u64,
    /// Bytes written, line ends included.
    pub bytes: u64,
    /// How well the schedule was kept.
    pub pace: Pace,
}

/// Intended against achieved.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Lines a second that the schedule had in this time; none for "as fast as possible".
    pub intended_per_second: Option<f64>,
    /// Lines a second that were written.
    pub achieved_per_second: f64,
    /// From a line's due time to the end of its write: half of the lines were not later.
    pub lateness_p50_ns: u64,
    /// 99 % of the lines were not later.
    pub lateness_p99_ns: u64,
    /// None was later.
    pub lateness_max_ns: u64,
    /// Lines written later than the tick plus [`LATE_NS`] after they were due.
    pub lines_late: u64,
}

/// A line this much later than the tick that should have written it is late.
pub const LATE_NS: u64 = 10_000_000;

/// One life of one writer's file, between two rotations. Generations without a line are not listed.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Who wrote it.
    pub writer: u16,
    /// Which life of the file.
    pub generation: u32,
    /// The first line's sequence number.
    pub first_seq: u64,
    /// The last line's sequence number.
    pub last_seq: u64,
    /// How many lines: `last_seq - first_seq + 1`.
    pub lines: u64,
    /// The file's length in bytes, line ends included.
    pub bytes: u64,
    /// crc32c of the whole file.
    pub crc: u32,
}

/// The whole journal, generations ordered by writer and generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// The run as a whole.
    pub header: Header,
    /// What was written. Invariant: per writer, sequence numbers are contiguous from 0.
    pub generations: Vec<Generation>,
}

/// Why a journal cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {action} journal {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a journal, or it contradicts itself.
    #[error("{}:{line}: {reason}; likely cause: not a journal of logdrive-load, or an edited one", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Journal {
    /// Writes the journal so that it exists whole or not at all.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), JournalError> {
        Claim::of(path)?.fill(self)
    }

    /// Reads a journal and checks that it agrees with itself.
    ///
    /// # Errors
    /// When it cannot be read, or is no journal.
    pub fn read(path: &Path) -> Result<Journal, JournalError> {
        let io = |source| JournalError::Io { action: "read", path: path.into(), source };
        let invalid = |line, reason: String| JournalError::Invalid { path: path.into(), line, reason };
        let mut lines = BufReader::new(fs::File::open(path).map_err(io)?).lines();
        let first = lines.next().transpose().map_err(io)?.unwrap_or_default();
        let header: Header = serde_json::from_str(&first).map_err(|error| invalid(1, error.to_string()))?;
        if header.journal != VERSION {
            return Err(invalid(1, format!("version {} of the format, not {VERSION}", header.journal)));
        }
        let mut generations: Vec<Generation> = Vec::new();
        for (at, text) in lines.enumerate() {
            let generation: Generation = serde_json::from_str(&text.map_err(io)?)
                .map_err(|error| invalid(at + 2, error.to_string()))?;
            follows(generations.last(), &generation).map_err(|reason| invalid(at + 2, reason))?;
            generations.push(generation);
        }
        let lines: u64 = generations.iter().map(|generation| generation.lines).sum();
        if lines != header.lines {
            return Err(invalid(1, format!("{} lines are promised, {lines} are listed", header.lines)));
        }
        Ok(Journal { header, generations })
    }
}

/// A place for a journal, taken before the run: a run of hours must not end with a folder that does not
/// exist. Dropped without a journal, it leaves nothing.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    unfinished: PathBuf,
    file: fs::File,
}

impl Claim {
    /// Takes the place.
    ///
    /// # Errors
    /// When a file cannot be created there.
    pub fn of(path: &Path) -> Result<Claim, JournalError> {
        let unfinished = path.with_added_extension("unfinished");
        match fs::File::create(&unfinished) {
            Ok(file) => Ok(Claim { path: path.into(), unfinished, file }),
            Err(source) => Err(JournalError::Io { action: "create", path: path.into(), source }),
        }
    }

    /// Puts the journal there, in place of an older one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn fill(self, journal: &Journal) -> Result<(), JournalError> {
        let write = || -> io::Result<()> {
            let mut out = BufWriter::new(&self.file);
            line(&mut out, &journal.header)?;
            for generation in &journal.generations {
                line(&mut out, generation)?;
            }
            out.into_inner()?.sync_all()?;
            fs::rename(&self.unfinished, &self.path)
        };
        write().map_err(|source| JournalError::Io { action: "write", path: self.path.clone(), source })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // It is there only if there is no journal; who cannot delete it has been told why by then.
        let _gone = fs::remove_file(&self.unfinished);
    }
}

fn line<T: Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Whether a generation may stand after the one before it.
fn follows(before: Option<&Generation>, this: &Generation) -> Result<(), String> {
    let (first_seq, generation_min) = match before {
        Some(before) if before.writer == this.writer => (before.last_seq + 1, before.generation + 1),
        Some(before) if before.writer > this.writer => return Err("writers are out of order".into()),
        _ => (0, 0),
    };
    if this.first_seq != first_seq || this.generation < generation_min {
        return Err(format!("sequence numbers of writer {} are not contiguous from 0", this.writer));
    }
    if this.last_seq.checked_sub(this.first_seq).and_then(|span| span.checked_add(1)) != Some(this.lines) {
        return Err(format!("{} lines cannot run from {} to {}", this.lines, this.first_seq, this.last_seq));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn generation(writer: u16, generation: u32, first_seq: u64, lines: u64) -> Generation {
        let last_seq = first_seq + lines - 1;
        Generation { writer, generation, first_seq, last_seq, lines, bytes: lines * 201, crc: 7 }
    }

    fn journal(generations: Vec<Generation>) -> Journal {
        let header = Header {
            journal: VERSION,
            run: 0xbeef,
            seed: 1,
            files: 2,
            line_bytes: "200".into(),
            start_ns: 1_000,
            end_ns: 2_000,
            lines: generations.iter().map(|generation| generation.lines).sum(),
            pace: Pace { intended_per_second: Some(5.5), ..Pace::default() },
            ..Header::default()
        };
        Journal { header, generations }
    }

    fn reread(journal: &Journal) -> Result<Journal, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.journal");
        journal.write(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing unfinished is left");
        Journal::read(&path).map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn what_was_written_is_read() {
        let journal = journal(vec![generation(0, 0, 0, 5), generation(0, 2, 5, 1), generation(1, 0, 0, 9)]);
        assert_eq!(reread(&journal), Ok(journal));
    }

    #[test]
    fn a_place_that_gets_no_journal_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.journal");
        fs::write(&path, "older").unwrap();
        drop(Claim::of(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), "older");
        let nowhere = Claim::of(&dir.path().join("missing/run.journal")).unwrap_err();
        assert!(nowhere.to_string().starts_with("cannot create journal /"), "{nowhere}");
    }

    #[test]
    fn a_run_without_lines_has_a_journal_too() {
        let journal = journal(vec![]);
        assert_eq!(reread(&journal), Ok(journal));
    }

    #[test]
    fn a_journal_that_contradicts_itself_is_refused() {
        let gap = journal(vec![generation(0, 0, 0, 5), generation(0, 1, 6, 5)]);
        expect!["DIR/run.journal:3: sequence numbers of writer 0 are not contiguous from 0; likely cause: not a journal of logdrive-load, or an edited one"]
            .assert_eq(&reread(&gap).unwrap_err());
        let mut short = journal(vec![generation(0, 0, 0, 5)]);
        short.header.lines = 6;
        expect!["DIR/run.journal:1: 6 lines are promised, 5 are listed; likely cause: not a journal of logdrive-load, or an edited one"]
            .assert_eq(&reread(&short).unwrap_err());
        let mut wrong = journal(vec![generation(0, 0, 0, 5)]);
        wrong.generations[0].last_seq = 9;
        assert!(reread(&wrong).is_err());
    }

    #[test]
    fn a_missing_file_and_a_wrong_one_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other");
        assert!(Journal::read(&path).unwrap_err().to_string().starts_with("cannot read journal /"));
        fs::write(&path, "hello\n").unwrap();
        assert!(Journal::read(&path).unwrap_err().to_string().contains("other:1: expected value"));
    }
}
