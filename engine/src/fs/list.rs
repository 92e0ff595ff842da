//! Reads one directory: every regular file with its identity, every subdirectory in which a pattern
//! may match, and what was found and will not be read.
//!
//! Regular files that match nothing are listed too: one of them may be a file that was renamed. Only what
//! matches is worth a problem. A name that went between reading the directory and asking about it
//! was never there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use logdrive_core::discover::{Entry, Listing, RawPath};
use logdrive_core::source::ItemId;
use rustix::fs::{AtFlags, CWD, FileType, OFlags, RawDir, Statx};
use rustix::io::Errno;

use super::error::Refusal;
use super::resolve;
use super::{Done, FileError, FileErrorKind, Rules};

/// Directories below the root that are entered; a tree that is deeper is a mistake or a trap.
const DEPTH_MAX: usize = 128;

/// Problems told of one directory; the rest are more of the same.
const PROBLEMS_MAX: usize = 100;

/// Room for some hundred names at a time.
const BUFFER_BYTES: usize = 32 * 1024;

/// Lists a directory.
pub(super) fn list(directory: &RawPath, rules: &dyn Rules) -> Done {
    let listing = Listing { directory: directory.clone(), entries: Vec::new(), complete: true };
    let mut scan = Scan { rules, listing, directories: Vec::new(), problems: Vec::new() };
    let follow = rules.follows_below(directory);
    let device = match resolve::directory(directory, rules.spelled_out(directory), follow, OFlags::RDONLY) {
        Ok(fd) => {
            scan.read(&fd);
            resolve::facts(&fd, b"", AtFlags::EMPTY_PATH).ok()
        }
        Err(error) => {
            scan.problem("list", directory, error);
            // Where no directory is, certainly no file of it is left.
            let gone = scan.problems.last().is_some_and(|p| p.kind() == FileErrorKind::Vanished);
            scan.listing.complete = gone;
            if gone { nearest(directory) } else { None }
        }
    };
    let device = device.map(|facts| resolve::file_id(&facts).dev);
    Done::Listed { listing: scan.listing, directories: scan.directories, problems: scan.problems, device }
}

/// The nearest directory above one that is not there.
fn nearest(directory: &RawPath) -> Option<Statx> {
    let ends = directory.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    let mut above = ends.map(|(at, _)| &directory[..at.max(1)]);
    above.find_map(|path| resolve::facts(CWD, path, AtFlags::empty()).ok())
}

struct Scan<'a> {
    rules: &'a dyn Rules,
    listing: Listing,
    directories: Vec<RawPath>,
    problems: Vec<FileError>,
}

impl Scan<'_> {
    fn read(&mut self, fd: &OwnedFd) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut names = RawDir::new(fd, buffer.spare_capacity_mut());
        let mut path = self.listing.directory.to_vec();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let directory_bytes = path.len();
        while let Some(next) = names.next() {
            match next {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => {
                    path.truncate(directory_bytes);
                    path.extend_from_slice(entry.file_name().to_bytes());
                    self.name(fd, &path, entry.file_name().to_bytes(), entry.file_type());
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let directory = self.listing.directory.clone();
                    // Removed while it was read: nothing of it is left.
                    self.listing.complete &= errno == Errno::NOENT;
                    self.problem("list", &directory, errno.into());
                    return;
                }
            }
        }
    }

    /// One name of the directory. Whether it is a directory or a link is taken from the directory
    /// where that says so; all others are asked.
    fn name(&mut self, fd: &OwnedFd, path: &[u8], name: &[u8], kind: FileType) {
        match kind {
            FileType::Directory => return self.subdirectory(path),
            FileType::Symlink => return self.link(fd, path, name),
            _ => {}
        }
        let facts = match resolve::facts(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => return,
            Err(errno) => {
                // A directory that may be read but not entered fails for every name alike.
                if self.listing.complete {
                    self.problem("list", path, errno.into());
                }
                self.listing.complete = false;
                return;
            }
        };
        match resolve::file_type(&facts) {
            FileType::RegularFile => self.entry(path, self.rules.first_match(path), &facts),
            FileType::Directory => self.subdirectory(path),
            FileType::Symlink => self.link(fd, path, name),
            other if self.rules.first_match(path).is_some() => {
                self.problem("read", path, resolve::not_regular(other));
            }
            _ => {}
        }
    }

    fn entry(&mut self, path: &[u8], item: Option<ItemId>, facts: &Statx) {
        self.listing.entries.push(Entry {
            path: path.into(),
            item,
            file: resolve::file_id(facts),
            size: facts.stx_size,
            modified_ns: resolve::nanos(facts.stx_mtime),
        });
    }

    fn subdirectory(&mut self, path: &[u8]) {
        if !self.rules.could_match_below(path) {
            return;
        }
        if path.iter().filter(|byte| **byte == b'/').count() > DEPTH_MAX {
            self.problem("list", path, Refusal::Deep(DEPTH_MAX).into());
        } else {
            self.directories.push(path.into());
        }
    }

    fn link(&mut self, fd: &OwnedFd, path: &[u8], name: &[u8]) {
        if self.rules.could_match_below(path)
            && self.rules.follows_below(path)
            && let Ok(target) = resolve::facts(fd, name, AtFlags::empty())
            && resolve::file_type(&target) == FileType::Directory
        {
            return self.linked_directory(path, &target);
        }
        let Some(item) = self.rules.first_match(path) else { return };
        match resolve::find(fd, name, self.rules.symlinks(item)) {
            Ok(target) => match resolve::file_type(&target.facts) {
                FileType::RegularFile => self.entry(path, Some(item), &target.facts),
                // A directory that matches is not meant, linked or not.
                FileType::Directory => {}
                other => self.problem("read", path, resolve::not_regular(other)),
            },
            // It dangles; its target may come.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.problem("read", path, error),
        }
    }

    /// Enters the target of a link unless it is one of the directories that the path leads through:
    /// every loop comes to one of them again.
    fn linked_directory(&mut self, path: &[u8], target: &Statx) {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at.max(1));
        let id = resolve::file_id(target);
        let mut ancestors = ends.filter_map(|end| resolve::facts(CWD, &path[..end], AtFlags::empty()).ok());
        if ancestors.any(|ancestor| resolve::file_id(&ancestor) == id) {
            self.problem("list", path, Refusal::Loop.into());
        } else {
            self.subdirectory(path);
        }
    }

    fn problem(&mut self, operation: &'static str, path: &[u8], source: io::Error) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(FileError { operation, path: OsStr::from_bytes(path).into(), source });
        }
    }
}
