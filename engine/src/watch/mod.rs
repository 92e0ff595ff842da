//! inotify: hints that something changed. Nothing relies on them.
//!
//! Directories are watched for names that come, go or change their mode. A file is armed when a reader
//! stands at its end: one event for the next write, then silence, so that a busy file costs nothing. What
//! no event tells (mmap, other hosts, an overflow) is found by the slow pass over the listings, and when
//! the system refuses a watch, the caller polls.
//!
//! Watch descriptors belong to inodes: two names or two sources can share one, the kernel drops it
//! by itself (after the one event, with a directory) and may in the end give its number to another. So
//! every call goes to the kernel again, and a wrong guess ends in a hint too many, never in one too few.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use logdrive_core::discover::RawPath;
use logdrive_core::source::SourceId;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Something may have changed.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Hint {
    /// A name in this directory came, went, or changed its mode: list it.
    Directory(RawPath),
    /// The directory itself went, or moved, and is no longer watched.
    DirectoryGone(RawPath),
    /// An armed file was written to or truncated, and is no longer armed.
    Modified(SourceId),
    /// Events were lost: list everything, and read or arm every file again.
    Overflow,
}

/// A watch was refused; polling has to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}{}", self.advice())]
pub struct WatchError {
    operation: &'static str,
    source: io::Error,
}

impl WatchError {
    /// Whether a limit is reached, so that every further watch will be refused as well.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        !self.advice().is_empty()
    }

    fn advice(&self) -> &'static str {
        match Errno::from_io_error(&self.source) {
            Some(Errno::NOSPC) => {
                "; likely cause: this user's inotify watches are all taken; raise the sysctl \
                 fs.inotify.max_user_watches; until then changes are found by polling"
            }
            Some(Errno::MFILE) => {
                "; likely cause: this user's inotify instances (or this process's descriptors) are all taken; \
                 raise the sysctl fs.inotify.max_user_instances (or LimitNOFILE=); until then changes are \
                 found by polling"
            }
            Some(Errno::NFILE | Errno::NOMEM) => {
                "; likely cause: the system is out of descriptors or memory; until then changes are found by polling"
            }
            _ => "",
        }
    }
}

/// One inotify instance.
#[derive(Debug)]
pub struct Watch {
    fd: AsyncFd<OwnedFd>,
    tables: Tables,
}

/// What is watched, and what was heard of it.
#[derive(Debug)]
struct Tables {
    watches: HashMap<i32, Watched>,
    /// The watch of each directory; its path is in `watches`.
    directories: HashMap<RawPath, i32>,
    /// The watch of each armed source; the source is in `watches`.
    armed: HashMap<SourceId, i32>,
    hints: VecDeque<Hint>,
    buffer: Box<[MaybeUninit<u8>]>,
    /// Counts the reads of the descriptor.
    round: u64,
}

/// What a watch descriptor stands for.
#[derive(Debug)]
enum Watched {
    /// Usually one path; more where a directory is reached by several.
    Directory { paths: Vec<RawPath>, hinted_in: u64 },
    /// Usually one source; more for an instant when a file is found under two names.
    File { first: SourceId, others: Vec<SourceId> },
}

/// Room for a thousand events of files, or for some hundred that name a directory's entry.
const BUFFER_BYTES: usize = 16 * 1024;

const DIRECTORY: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

impl Watch {
    /// An instance without watches. Only inside a runtime.
    ///
    /// # Errors
    /// When the system refuses an instance; the caller polls.
    pub fn new() -> Result<Watch, WatchError> {
        let refused = |source| WatchError { operation: "use inotify", source };
        let fd =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|e| refused(e.into()))?;
        // SAFETY: the descriptor is owned by the `AsyncFd`, is never taken out, and is the same for life.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(|e| refused(e.into()))?;
        let tables = Tables {
            watches: HashMap::new(),
            directories: HashMap::new(),
            armed: HashMap::new(),
            hints: VecDeque::new(),
            buffer: vec![MaybeUninit::uninit(); BUFFER_BYTES].into(),
            round: 0,
        };
        Ok(Watch { fd, tables })
    }

    /// Watches a directory; `true` when it was not watched before (list it again then: what happened
    /// in between made no event). Asked again, it looks whether the path is still that directory.
    ///
    /// # Errors
    /// The path is no directory that can be read, or a limit is reached; it is not watched then.
    pub fn directory(&mut self, path: &RawPath) -> Result<bool, WatchError> {
        let added = inotify::add_watch(self.fd.get_ref(), OsStr::from_bytes(path), DIRECTORY);
        let wd = match added {
            Ok(wd) => wd,
            Err(errno) => {
                self.forget(path);
                return Err(WatchError { operation: "watch a directory", source: errno.into() });
            }
        };
        match self.tables.directories.insert(path.clone(), wd) {
            Some(before) if before == wd => return Ok(false),
            Some(before) => self.drop_path(before, path),
            None => {}
        }
        match self.tables.watches.entry(wd) {
            Entry::Occupied(mut watched) => match watched.get_mut() {
                Watched::Directory { paths, .. } => paths.push(path.clone()),
                // The number of a file's watch that is gone.
                file => *file = Watched::directory(path),
            },
            Entry::Vacant(vacant) => {
                vacant.insert(Watched::directory(path));
            }
        }
        Ok(true)
    }

    /// Watches a directory no longer.
    pub fn forget(&mut self, path: &RawPath) {
        if let Some(wd) = self.tables.directories.remove(path) {
            self.drop_path(wd, path);
        }
    }

    /// One [`Hint::Modified`] at the next write to an open file, whatever it is called by then. A write just
    /// before makes none: read (or stat) once more after arming.
    ///
    /// # Errors
    /// A limit is reached, or the file may no longer be read by its name; it is not armed then.
    pub fn arm(&mut self, source: SourceId, file: BorrowedFd<'_>) -> Result<(), WatchError> {
        let mut room = [0; 32];
        let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT;
        let wd = match inotify::add_watch(self.fd.get_ref(), link_of(file, &mut room), flags) {
            Ok(wd) => wd,
            Err(errno) => {
                self.disarm(source);
                return Err(WatchError { operation: "watch a file", source: errno.into() });
            }
        };
        match self.tables.armed.insert(source, wd) {
            Some(before) if before == wd => return Ok(()),
            // Its event came and is not read yet, or was lost.
            Some(before) => self.drop_source(before, source),
            None => {}
        }
        match self.tables.watches.entry(wd) {
            Entry::Occupied(mut watched) => match watched.get_mut() {
                Watched::File { others, .. } => others.push(source),
                // The number of a directory's watch that is gone.
                directory @ Watched::Directory { .. } => *directory = Watched::file(source),
            },
            Entry::Vacant(vacant) => {
                vacant.insert(Watched::file(source));
            }
        }
        Ok(())
    }

    /// Takes the watch of an armed file back.
    pub fn disarm(&mut self, source: SourceId) {
        if let Some(wd) = self.tables.armed.remove(&source) {
            self.drop_source(wd, source);
        }
    }

    /// The next hint of those that [`Watch::readable`] has read.
    pub fn poll_hint(&mut self) -> Option<Hint> {
        self.tables.hints.pop_front()
    }

    /// Waits until there is a hint. Can be dropped at any time without losing one.
    ///
    /// # Errors
    /// The descriptor cannot be read; no hint will come any more.
    pub async fn readable(&mut self) -> io::Result<()> {
        while self.tables.hints.is_empty() {
            let mut guard = self.fd.readable().await?;
            if self.tables.read(guard.get_inner())? {
                guard.clear_ready();
            }
        }
        Ok(())
    }

    /// Takes in what has happened until now, without waiting. What cannot be read now is told by
    /// [`Watch::readable`].
    pub fn catch_up(&mut self) {
        while matches!(self.tables.read(self.fd.get_ref()), Ok(false)) {}
    }

    fn drop_path(&mut self, wd: i32, path: &RawPath) {
        let Some(Watched::Directory { paths, .. }) = self.tables.watches.get_mut(&wd) else { return };
        paths.retain(|other| other != path);
        if paths.is_empty() {
            self.drop_watch(wd);
        }
    }

    fn drop_source(&mut self, wd: i32, source: SourceId) {
        let Some(Watched::File { first, others }) = self.tables.watches.get_mut(&wd) else { return };
        others.retain(|other| *other != source);
        if *first == source {
            match others.pop() {
                Some(other) => *first = other,
                None => self.drop_watch(wd),
            }
        }
    }

    fn drop_watch(&mut self, wd: i32) {
        self.tables.watches.remove(&wd);
        // It may be gone already; its last event is then ignored.
        let _ = inotify::remove_watch(self.fd.get_ref(), wd);
    }
}

impl Watched {
    fn directory(path: &RawPath) -> Watched {
        Watched::Directory { paths: vec![path.clone()], hinted_in: u64::MAX }
    }

    fn file(source: SourceId) -> Watched {
        Watched::File { first: source, others: Vec::new() }
    }
}

impl Tables {
    /// Reads once, at most a buffer of events, and turns them into hints. Whether nothing was left.
    fn read(&mut self, inotify: &OwnedFd) -> io::Result<bool> {
        self.round += 1;
        // Taken out while its events are told; the iterator would read again after the last of them.
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        let read = loop {
            match events.next() {
                Ok(event) => self.event(inotify, event.wd(), event.events()),
                Err(Errno::INTR) => break Ok(false),
                Err(Errno::AGAIN) => break Ok(true),
                Err(errno) => break Err(errno.into()),
            }
            if events.is_buffer_empty() {
                break Ok(false);
            }
        };
        self.buffer = buffer;
        read
    }

    fn event(&mut self, inotify: &OwnedFd, wd: i32, flags: ReadFlags) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.hints.push_back(Hint::Overflow);
            return;
        }
        match self.watches.get_mut(&wd) {
            // The last words of a watch that was dropped here.
            None => {}
            Some(Watched::File { .. }) => self.modified(wd),
            Some(Watched::Directory { .. }) if flags.contains(ReadFlags::IGNORED) => self.gone(wd),
            Some(Watched::Directory { .. }) if flags.contains(ReadFlags::MOVE_SELF) => {
                let _ = inotify::remove_watch(inotify, wd);
                self.gone(wd);
            }
            Some(Watched::Directory { paths, hinted_in }) => {
                let told = std::mem::replace(hinted_in, self.round) == self.round;
                if !told {
                    self.hints.extend(paths.iter().cloned().map(Hint::Directory));
                }
            }
        }
    }

    /// A file's only event, or the end of its watch without one: a hint in any case.
    fn modified(&mut self, wd: i32) {
        let Some(Watched::File { first, others }) = self.watches.remove(&wd) else { return };
        for source in std::iter::once(first).chain(others) {
            if self.armed.get(&source) == Some(&wd) {
                self.armed.remove(&source);
            }
            self.hints.push_back(Hint::Modified(source));
        }
    }

    fn gone(&mut self, wd: i32) {
        let Some(Watched::Directory { paths, .. }) = self.watches.remove(&wd) else { return };
        for path in paths {
            self.directories.remove(&path);
            self.hints.push_back(Hint::DirectoryGone(path));
        }
    }
}

/// `/proc/self/fd/N`, without an allocation.
fn link_of<'a>(file: BorrowedFd<'_>, room: &'a mut [u8; 32]) -> &'a CStr {
    use io::Write;
    let mut rest = &mut room[..];
    write!(rest, "/proc/self/fd/{}\0", file.as_raw_fd()).expect("14 bytes and the digits of an i32 fit");
    CStr::from_bytes_until_nul(room).expect("the terminator was written")
}
