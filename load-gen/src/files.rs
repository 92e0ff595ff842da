//! The log files: appending to them, and rotating them as logrotate does.
//!
//! A [`LogFile`] knows its own life and keeps the books of it (lines, bytes, checksum) for the journal.
//! It does not know when a line is due; [`LogFile::is_full`] is asked before each line, so that a limit is
//! never passed and no generation stays empty.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal::Generation;
use crate::stamp::GENERATION_MAX;

/// How a full file makes room for the next.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Means {
    /// The file is renamed and a new one created.
    Rename,
    /// The file is copied, then truncated. Who has not read it by then finds the rest in the copy only.
    CopyTruncate,
}

/// When a file is full.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Full {
    /// Before the line that would take it past so many bytes.
    Bytes(u64),
    /// After so many lines.
    Lines(u64),
    /// With the first line that is due after each such period; the files of a run take turns within it.
    Every(Duration),
}

/// The whole rule of rotation.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Rotation {
    /// How.
    pub means: Means,
    /// When.
    pub full: Full,
    /// How many rotated files are kept; all of them if not told.
    pub keep: Option<u32>,
}

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Whether a file stays open between writes. Who reads it sees no difference.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Opened {
    /// For as long as it lives.
    Once,
    /// For each write, when there are more files than descriptors.
    EachTime,
}

#[derive(Debug)]
enum Handle {
    Held(File),
    None,
}

impl Handle {
    fn of(file: File, opened: Opened) -> Handle {
        match opened {
            Opened::Once => Handle::Held(file),
            Opened::EachTime => Handle::None,
        }
    }
}

/// One writer's log file, in its present life.
#[derive(Debug)]
pub struct LogFile {
    writer: u16,
    path: PathBuf,
    handle: Handle,
    generation: u32,
    /// The first line of this life.
    first_seq: u64,
    /// The next line. Invariant: `first_seq + lines` of this life.
    next_seq: u64,
    /// The length of the file.
    bytes: u64,
    /// Of the file so far.
    crc: u32,
    /// Rotated files that exist: `.1` to `.rotated`.
    rotated: u32,
    /// With [`Full::Every`]: lines due from here on belong to the next life.
    rotate_at_ns: u64,
}

impl LogFile {
    /// Creates `load-<writer>.log`, which must not exist: lines of another run would stand in it.
    ///
    /// # Errors
    /// When it exists or cannot be created.
    pub fn create(
        dir: &Path,
        writer: u16,
        writers: u32,
        rotation: Option<&Rotation>,
        opened: Opened,
    ) -> Result<LogFile, FileError> {
        let path = dir.join(format!("load-{writer}.log"));
        let rotate_at_ns = match rotation {
            Some(Rotation { full: Full::Every(period), .. }) => {
                (period.as_nanos() * u128::from(writer + 1) / u128::from(writers)) as u64
            }
            _ => u64::MAX,
        };
        let handle = Handle::of(open_new(&path)?, opened);
        Ok(LogFile {
            writer,
            path,
            handle,
            generation: 0,
            first_seq: 0,
            next_seq: 0,
            bytes: 0,
            crc: 0,
            rotated: 0,
            rotate_at_ns,
        })
    }

    /// The generation that is being written.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The number of the next line that is appended.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether the file must be rotated before a line that is due at `due_ns`, when `pending_lines` of
    /// `pending_bytes` are prepared and not yet appended, and the line has `line_bytes` with its end.
    #[must_use]
    #[inline]
    pub fn is_full(
        &self,
        full: Full,
        pending_lines: u64,
        pending_bytes: u64,
        line_bytes: u64,
        due_ns: u64,
    ) -> bool {
        let lines = self.next_seq - self.first_seq + pending_lines;
        lines > 0
            && match full {
                Full::Bytes(limit) => self.bytes + pending_bytes + line_bytes > limit,
                Full::Lines(limit) => lines >= limit,
                Full::Every(_) => due_ns >= self.rotate_at_ns,
            }
    }

    /// Appends whole lines, ends included, with one write (more only if the kernel takes less).
    ///
    /// # Errors
    /// When the file system refuses; part of the lines may be written then.
    pub fn append(&mut self, text: &[u8], lines: u64) -> Result<(), FileError> {
        self.with_file("write to", |mut file| file.write_all(text))?;
        self.crc = crc32c::crc32c_append(self.crc, text);
        self.bytes += text.len() as u64;
        self.next_seq += lines;
        Ok(())
    }

    /// Ends this life of the file and begins the next, for a line that is due at `due_ns`. Returns what
    /// the old one held.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn rotate(&mut self, rotation: &Rotation, due_ns: u64) -> Result<Option<Generation>, FileError> {
        if self.generation == GENERATION_MAX {
            return Err(self.error("rotate", io::Error::other("it was rotated too often to number")));
        }
        self.shift(rotation.keep)?;
        let first = self.rotated_path(1);
        match rotation.means {
            Means::Rename => {
                fs::rename(&self.path, &first).map_err(|source| self.error("rename", source))?;
                let new = open_new(&self.path)?;
                if let Handle::Held(file) = &mut self.handle {
                    *file = new;
                }
            }
            Means::CopyTruncate => {
                fs::copy(&self.path, &first).map_err(|source| self.error("copy", source))?;
                self.with_file("truncate", |file| file.set_len(0))?;
            }
        }
        self.rotated += 1;
        if let Full::Every(period) = rotation.full {
            let period_ns = (period.as_nanos() as u64).max(1);
            let periods = due_ns.saturating_sub(self.rotate_at_ns) / period_ns + 1;
            self.rotate_at_ns = self.rotate_at_ns.saturating_add(periods.saturating_mul(period_ns));
        }
        let ended = self.record();
        self.generation += 1;
        (self.first_seq, self.bytes, self.crc) = (self.next_seq, 0, 0);
        Ok(ended)
    }

    /// What this life of the file holds by now; nothing if it is empty.
    #[must_use]
    pub fn record(&self) -> Option<Generation> {
        (self.next_seq > self.first_seq).then(|| Generation {
            writer: self.writer,
            generation: self.generation,
            first_seq: self.first_seq,
            last_seq: self.next_seq - 1,
            lines: self.next_seq - self.first_seq,
            bytes: self.bytes,
            crc: self.crc,
        })
    }

    /// Makes `.1` free: the oldest is deleted if told, the others move up by one, oldest first.
    fn shift(&mut self, keep: Option<u32>) -> Result<(), FileError> {
        while keep.is_some_and(|keep| self.rotated >= keep.max(1)) {
            fs::remove_file(self.rotated_path(self.rotated))
                .map_err(|source| self.error("delete an old", source))?;
            self.rotated -= 1;
        }
        for at in (1..=self.rotated).rev() {
            fs::rename(self.rotated_path(at), self.rotated_path(at + 1))
                .map_err(|source| self.error("rename an old", source))?;
        }
        Ok(())
    }

    fn with_file(
        &self,
        action: &'static str,
        act: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let done = match &self.handle {
            Handle::Held(file) => act(file),
            Handle::None => OpenOptions::new().append(true).open(&self.path).and_then(|file| act(&file)),
        };
        done.map_err(|source| self.error(action, source))
    }

    fn rotated_path(&self, at: u32) -> PathBuf {
        self.path.with_added_extension(at.to_string())
    }

    fn error(&self, action: &'static str, source: io::Error) -> FileError {
        FileError { action, path: self.path.clone(), source }
    }
}

/// Appending mode matters: after a truncation the next write must begin at 0, not where the last ended.
fn open_new(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().append(true).create_new(true).open(path).map_err(|source| FileError {
        action: "create",
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of every file below `dir`, by name.
    fn contents(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().into(), fs::read_to_string(path).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
    }

    fn four_generations(
        means: Means,
        keep: Option<u32>,
        opened: Opened,
    ) -> (tempfile::TempDir, Vec<Generation>) {
        let dir = tempfile::tempdir().unwrap();
        let rotation = Rotation { means, full: Full::Lines(1), keep };
        let mut file = LogFile::create(dir.path(), 0, 1, Some(&rotation), opened).unwrap();
        let mut ended = Vec::new();
        for (at, text) in ["a\n", "bb\n", "ccc\n", "dddd\n"].into_iter().enumerate() {
            if at > 0 {
                ended.extend(file.rotate(&rotation, 0).unwrap());
            }
            file.append(text.as_bytes(), 1).unwrap();
        }
        ended.extend(file.record());
        (dir, ended)
    }

    #[test]
    fn both_means_leave_the_same_chain_however_the_file_is_opened() {
        let ways = [Means::Rename, Means::CopyTruncate]
            .map(|means| [Opened::Once, Opened::EachTime].map(|opened| (means, opened)));
        for (means, opened) in ways.into_iter().flatten() {
            let (dir, generations) = four_generations(means, None, opened);
            let expected = owned(&[
                ("load-0.log", "dddd\n"),
                ("load-0.log.1", "ccc\n"),
                ("load-0.log.2", "bb\n"),
                ("load-0.log.3", "a\n"),
            ]);
            assert_eq!(contents(dir.path()), expected, "{means:?}");
            let books: Vec<_> = generations
                .iter()
                .map(|g| (g.generation, g.first_seq, g.last_seq, g.lines, g.bytes))
                .collect();
            assert_eq!(books, [(0, 0, 0, 1, 2), (1, 1, 1, 1, 3), (2, 2, 2, 1, 4), (3, 3, 3, 1, 5)]);
            assert_eq!(generations[2].crc, crc32c::crc32c(b"ccc\n"));
        }
    }

    #[test]
    fn the_oldest_are_deleted_only_if_told() {
        let (dir, generations) = four_generations(Means::Rename, Some(2), Opened::Once);
        let expected =
            owned(&[("load-0.log", "dddd\n"), ("load-0.log.1", "ccc\n"), ("load-0.log.2", "bb\n")]);
        assert_eq!(contents(dir.path()), expected);
        assert_eq!(generations.len(), 4, "the books know the deleted one");
    }

    #[test]
    fn a_renamed_file_stays_the_same_file_and_a_truncated_one_too() {
        use std::os::unix::fs::MetadataExt;
        for (means, same) in [(Means::Rename, "load-0.log.1"), (Means::CopyTruncate, "load-0.log")] {
            let dir = tempfile::tempdir().unwrap();
            let rotation = Rotation { means, full: Full::Lines(1), keep: None };
            let mut file = LogFile::create(dir.path(), 0, 1, Some(&rotation), Opened::Once).unwrap();
            file.append(b"a\n", 1).unwrap();
            let inode = fs::metadata(dir.path().join("load-0.log")).unwrap().ino();
            file.rotate(&rotation, 0).unwrap();
            assert_eq!(fs::metadata(dir.path().join(same)).unwrap().ino(), inode, "{means:?}");
        }
    }

    #[test]
    fn fullness_counts_what_is_prepared_and_never_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::create(dir.path(), 0, 1, None, Opened::Once).unwrap();
        assert!(!file.is_full(Full::Bytes(5), 0, 0, 10, 0), "a line larger than the limit stands alone");
        assert!(file.is_full(Full::Bytes(12), 1, 3, 10, 0));
        assert!(!file.is_full(Full::Bytes(13), 1, 3, 10, 0));
        file.append(b"a\n", 1).unwrap();
        assert!(file.is_full(Full::Lines(2), 1, 2, 2, 0));
        assert!(!file.is_full(Full::Lines(2), 0, 0, 2, 0));
    }

    #[test]
    fn files_take_turns_within_a_period() {
        let dir = tempfile::tempdir().unwrap();
        let full = Full::Every(Duration::from_nanos(100));
        let rotation = Rotation { means: Means::Rename, full, keep: None };
        let mut files = [0, 1]
            .map(|writer| LogFile::create(dir.path(), writer, 2, Some(&rotation), Opened::Once).unwrap());
        for file in &mut files {
            file.append(b"a\n", 1).unwrap();
        }
        let full_at = |file: &LogFile| (0..1000).find(|due| file.is_full(full, 0, 0, 2, *due));
        assert_eq!([&files[0], &files[1]].map(full_at), [Some(50), Some(100)]);
        files[0].rotate(&rotation, 275).unwrap();
        assert_eq!(full_at(&files[0]), None, "an empty file is not full");
        files[0].append(b"a\n", 1).unwrap();
        assert_eq!(full_at(&files[0]), Some(350), "periods that went by without a line are skipped");
    }

    #[test]
    fn an_existing_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let _first = LogFile::create(dir.path(), 4, 5, None, Opened::Once).unwrap();
        let error = LogFile::create(dir.path(), 4, 5, None, Opened::Once).unwrap_err();
        assert!(error.to_string().ends_with("load-4.log"), "{error}");
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
    }
}
