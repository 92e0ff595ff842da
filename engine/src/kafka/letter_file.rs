//! The file of dead letters: JSON lines, each on the disk before its letter counts as kept.
//!
//! A thread of its own writes and syncs, for a disk may stand still and the driver must not. Letters that came
//! meanwhile are written together and synced once. A write that failed is done again from its first byte: what
//! the file has of it stays, cut off by a newline, so a line may be there twice and is never missing.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Thread, park_timeout};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tracing::{info, warn};

use super::settings::OnFailure;
use crate::bell::Bell;

/// Lines that are written together, in bytes: about so many.
const WRITE_BYTES: usize = 1 << 20;
/// A file that cannot be written is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The same failure is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The sink's end of the file.
pub(super) struct LetterFile {
    /// `None` once it is closed.
    lines: Option<Sender<Vec<u8>>>,
    /// For each line in its order: whether it is kept.
    answers: Receiver<bool>,
    /// Those that came while it was closed.
    last_answers: VecDeque<bool>,
    closing: Arc<AtomicBool>,
    thread: Thread,
}

impl LetterFile {
    /// Starts the thread. That the file cannot be opened is told by it, and tried again.
    pub(super) fn start(
        path: PathBuf,
        bytes_max: u64,
        on_failure: OnFailure,
        bell: Bell,
    ) -> io::Result<LetterFile> {
        let (lines, incoming) = channel();
        let (outgoing, answers) = channel();
        let closing = Arc::new(AtomicBool::new(false));
        let writer =
            Writer { path, bytes_max, on_failure, closing: Arc::clone(&closing), open: None, told_at: None };
        let thread = std::thread::Builder::new()
            .name("dead-letters".into())
            .spawn(move || writer.run(&incoming, &outgoing, &bell))?;
        let thread = thread.thread().clone();
        Ok(LetterFile { lines: Some(lines), answers, last_answers: VecDeque::new(), closing, thread })
    }

    /// Hands a line over, with its newline.
    pub(super) fn keep(&self, line: Vec<u8>) {
        let lines = self.lines.as_ref().expect("nothing is diverted by a sink that is closed");
        // A thread that is gone is found by who waits for its answers.
        let _gone = lines.send(line);
    }

    /// Whether the next line is kept; `None` as long as that is open.
    pub(super) fn answer(&mut self) -> Option<bool> {
        self.last_answers.pop_front().or_else(|| self.answers.try_recv().ok())
    }

    /// Takes no more, and gives the thread until then for what it has.
    pub(super) fn close(&mut self, until: Instant) {
        self.lines = None;
        self.closing.store(true, Ordering::Relaxed);
        self.thread.unpark();
        // The thread ends when it has answered for all that it had.
        let left = || until.saturating_duration_since(Instant::now());
        while let Ok(kept) = self.answers.recv_timeout(left()) {
            self.last_answers.push_back(kept);
        }
    }
}

struct Writer {
    path: PathBuf,
    bytes_max: u64,
    on_failure: OnFailure,
    closing: Arc<AtomicBool>,
    open: Option<Open>,
    /// When a failure was told that is not over.
    told_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Vec<u8>>, answers: &Sender<bool>, bell: &Bell) {
        // What is wrong with the path is better said now than with the first letter.
        if let Err(error) = self.append(b"") {
            self.tell(&error);
        }
        while let Ok(mut text) = lines.recv() {
            let mut count = 1;
            while text.len() < WRITE_BYTES
                && let Ok(more) = lines.try_recv()
            {
                text.extend_from_slice(&more);
                count += 1;
            }
            let Some(kept) = self.keep(&text) else { return };
            for _ in 0..count {
                let _closed = answers.send(kept);
            }
            bell.ring();
        }
    }

    /// Whether the text is on the disk; `None` if that is still to be tried and nobody waits for it any more.
    fn keep(&mut self, text: &[u8]) -> Option<bool> {
        loop {
            match self.append(text) {
                Ok(()) => {
                    if self.told_at.take().is_some() {
                        info!(path = %self.path.display(), "dead letters can be written again");
                    }
                    return Some(true);
                }
                Err(error) => self.tell(&error),
            }
            if self.on_failure == OnFailure::Drop {
                return Some(false);
            }
            if self.closing.load(Ordering::Relaxed) {
                return None;
            }
            park_timeout(TRY_AGAIN);
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            let then = match self.on_failure {
                OnFailure::Wait => "the files that they are from wait",
                OnFailure::Drop => "they are dropped",
            };
            warn!(path = %self.path.display(), %error, "dead letters cannot be written; {then}");
            self.told_at = Some(Instant::now());
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        // Taken out: after a failure it is opened anew, which tells where its last line ends.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        if open.bytes > 0 && open.bytes + text.len() as u64 > self.bytes_max {
            self.rotate()?;
            open = Open::at(&self.path)?;
        }
        if !text.is_empty() {
            open.file.write_all(text)?;
            open.file.sync_data()?;
            open.bytes += text.len() as u64;
        }
        self.open = Some(open);
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        if Path::new(&aside).exists() {
            let path = self.path.display();
            warn!(%path, "the dead letters have reached their limit: the older half is removed");
        }
        std::fs::rename(&self.path, aside)
    }
}

struct Open {
    file: File,
    bytes: u64,
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        // Not blocking: a FIFO of that name would keep the thread for ever.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.read(true).append(true).create(true).mode(0o600).custom_flags(flags.bits().cast_signed());
        let mut file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        let mut bytes = file.seek(SeekFrom::End(0))?;
        if bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Open { file, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(path: &Path, bytes_max: u64, on_failure: OnFailure) -> Writer {
        let closing = Arc::new(AtomicBool::new(false));
        Writer { path: path.to_owned(), bytes_max, on_failure, closing, open: None, told_at: None }
    }

    #[test]
    fn k08_the_file_of_dead_letters_is_private_and_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("letters"), dir.path().join("letters.1"));
        let mut writer = writer(&path, 10, OnFailure::Wait);
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "longer than the limit\n"] {
            assert_eq!(writer.keep(line.as_bytes()), Some(true));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "longer than the limit\n");
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), "four\nfive\n");
        for file in [&path, &aside] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_line_that_was_cut_by_a_crash_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letters");
        std::fs::write(&path, "whole\nto").unwrap();
        assert_eq!(writer(&path, 100, OnFailure::Wait).keep(b"next\n"), Some(true));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nto\nnext\n");
    }

    #[test]
    fn what_cannot_be_written_is_dropped_or_waits_as_configured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/letters");
        assert_eq!(writer(&path, 100, OnFailure::Drop).keep(b"x\n"), Some(false));
        let mut waiting = writer(&path, 100, OnFailure::Wait);
        waiting.closing.store(true, Ordering::Relaxed);
        assert_eq!(waiting.keep(b"x\n"), None, "nobody may take it for kept or for dropped");
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        assert_eq!(waiting.keep(b"x\n"), Some(true));
    }

    #[test]
    fn x08_a_link_in_the_place_of_the_dead_letters_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(writer(&link, 100, OnFailure::Drop).keep(b"x\n"), Some(false));
        assert!(!target.exists());
        assert_eq!(writer(dir.path(), 100, OnFailure::Drop).keep(b"x\n"), Some(false));
    }
}
