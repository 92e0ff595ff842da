//! A directory of files under simple rules: everything below a root whose name has no dot in front.

#![allow(dead_code, reason = "each binary uses its part")]

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use logdrive::fs::{Done, FileError, FileErrorKind, Job, Opened, Rules, Symlinks};
use logdrive_core::discover::{Entry, RawPath};
use logdrive_core::engine::Start;
use logdrive_core::position::Position;
use logdrive_core::source::{ItemId, SourceId};

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) symlinks: Symlinks,
}

/// What a listing said, by name below the root.
pub(crate) struct Listed {
    pub(crate) entries: Vec<Entry>,
    pub(crate) directories: Vec<RawPath>,
    pub(crate) problems: Vec<FileError>,
    pub(crate) complete: bool,
}

impl World {
    pub(crate) fn new(symlinks: Symlinks) -> World {
        World { directory: tempfile::tempdir().unwrap(), symlinks }
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
        self.path(name)
    }

    pub(crate) fn list(&self, name: &str) -> Listed {
        let directory = raw(&self.path(name));
        match (Job::List { directory }).run(self) {
            Done::Listed { listing, directories, problems, .. } => {
                Listed { entries: listing.entries, directories, problems, complete: listing.complete }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn open(&self, name: &str) -> Result<Opened, FileError> {
        self.open_at(name, 0)
    }

    pub(crate) fn open_at(&self, name: &str, before: u64) -> Result<Opened, FileError> {
        self.open_from(name, Start::At(Position(before)))
    }

    pub(crate) fn open_from(&self, name: &str, start: Start) -> Result<Opened, FileError> {
        let source = SourceId { index: 0, epoch: 0 };
        let path = raw(&self.path(name));
        match (Job::Open { source, item: ItemId(0), path, start }).run(self) {
            Done::Opened { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    fn root_bytes(&self) -> &[u8] {
        self.root().as_os_str().as_bytes()
    }
}

impl Listed {
    /// The entry with this name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path.ends_with(format!("/{name}").as_bytes()))
    }

    /// The kinds of problems with this name.
    pub(crate) fn problem(&self, name: &str) -> Option<FileErrorKind> {
        self.problems.iter().find(|problem| problem.path.ends_with(name)).map(FileError::kind)
    }

    pub(crate) fn has_directory(&self, name: &str) -> bool {
        self.directories.iter().any(|path| path.ends_with(format!("/{name}").as_bytes()))
    }
}

impl Rules for World {
    fn first_match(&self, path: &[u8]) -> Option<ItemId> {
        let name = path.rsplit(|byte| *byte == b'/').next()?;
        (path.starts_with(self.root_bytes()) && !name.starts_with(b".")).then_some(ItemId(0))
    }
    fn could_match_below(&self, directory: &[u8]) -> bool {
        directory.starts_with(self.root_bytes())
    }
    fn symlinks(&self, _: ItemId) -> Symlinks {
        self.symlinks
    }
    fn follows_below(&self, _: &[u8]) -> bool {
        self.symlinks == Symlinks::Follow
    }
    fn spelled_out(&self, _: &[u8]) -> usize {
        self.root_bytes().len()
    }
}

pub(crate) fn raw(path: &Path) -> RawPath {
    path.as_os_str().as_bytes().into()
}

pub(crate) const NOBODY: u32 = 65534;

/// Whether this process may change owners; tests of other users' files do what they can without.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes a path, not its target, somebody's who is not root: nobody's, or else the tester's own.
pub(crate) fn give_away(path: &Path) {
    if is_root() {
        std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
