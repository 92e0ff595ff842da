//! What went wrong with one file or directory, in one line with its cause and what to try.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

/// One operation failed on one file or directory; the others go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}{}", path.display(), advice(self.kind()))]
pub struct FileError {
    /// The operation: `open`, `list`, `read`, ...
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What a [`FileError`] means for what to do next.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum FileErrorKind {
    /// It is not there (any more). Nothing to report when it was just listed.
    Vanished,
    /// Permissions; a change of mode makes a hint.
    Denied,
    /// No descriptors are left, here or in the system: try again when some are closed.
    Descriptors,
    /// A FIFO, socket, device or directory; never opened.
    NotRegular,
    /// A link that the item's policy refuses.
    Link,
    /// The file system does not answer, or answers that the file is stale or damaged.
    FileSystem,
    /// Anything else.
    Other,
}

/// A refusal of our own.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is a {0}, and only regular files are read")]
    NotRegular(&'static str),
    #[error("it is a symbolic link; the item has `symlinks = \"never\"`")]
    Link,
    #[error(
        "it is a symbolic link of user {link} in a directory of user {directory} to a file of user {target}: \
         whoever made it may not be allowed to read that file; if they are all trusted, \
         set the item's `symlinks = \"follow\"`"
    )]
    ForeignLink { link: u32, directory: u32, target: u32 },
    #[error(
        "it is a file of user {file}, and may have been linked into this directory of user {directory} by \
         somebody who may not read it; if all who can write here are trusted, \
         set the item's `symlinks = \"follow\"`"
    )]
    HardLink { file: u32, directory: u32 },
    #[error(
        "a directory on its path, below what the pattern spells out, is a symbolic link; \
         write that directory out in `include`, or set the item's `symlinks = \"follow\"`"
    )]
    LinkOnPath,
    #[error("it is a symbolic link to a directory that it lies in")]
    Loop,
    #[error("it is nested deeper than {0} directories")]
    Deep(usize),
    #[error("no answer for {} s; likely cause: a network or FUSE mount whose server is gone", .0.as_secs())]
    Hung(Duration),
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        io::Error::other(refusal)
    }
}

impl FileError {
    /// What it means.
    #[must_use]
    pub fn kind(&self) -> FileErrorKind {
        if let Some(refusal) = self.source.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return match refusal {
                Refusal::NotRegular(_) => FileErrorKind::NotRegular,
                Refusal::Link | Refusal::ForeignLink { .. } | Refusal::LinkOnPath => FileErrorKind::Link,
                Refusal::HardLink { .. } => FileErrorKind::Link,
                Refusal::Loop | Refusal::Deep(_) => FileErrorKind::Link,
                Refusal::Hung(_) => FileErrorKind::FileSystem,
            };
        }
        match Errno::from_io_error(&self.source) {
            Some(Errno::NOENT | Errno::NOTDIR) => FileErrorKind::Vanished,
            Some(Errno::ACCESS | Errno::PERM) => FileErrorKind::Denied,
            Some(Errno::MFILE | Errno::NFILE) => FileErrorKind::Descriptors,
            Some(Errno::LOOP) => FileErrorKind::Link,
            Some(Errno::IO | Errno::STALE | Errno::TIMEDOUT | Errno::HOSTDOWN | Errno::NOTCONN) => {
                FileErrorKind::FileSystem
            }
            _ => FileErrorKind::Other,
        }
    }
}

fn advice(kind: FileErrorKind) -> &'static str {
    match kind {
        FileErrorKind::Denied => {
            "; add the agent's user to the group that owns the file, or grant CAP_DAC_READ_SEARCH"
        }
        FileErrorKind::Descriptors => {
            "; likely cause: the limit of open files; raise LimitNOFILE= (`ulimit -n`) or lower limits.open_files"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn every_error_is_one_line_with_a_kind() {
        let line = |source: io::Error| {
            let error = FileError { operation: "open", path: "/var/log/a".into(), source };
            format!("{:?}: {error}\n", error.kind())
        };
        let lines: String = [
            Errno::NOENT.into(),
            Errno::ACCESS.into(),
            Errno::MFILE.into(),
            Errno::STALE.into(),
            Refusal::NotRegular("FIFO").into(),
            Refusal::ForeignLink { link: 1000, directory: 0, target: 0 }.into(),
            Refusal::HardLink { file: 0, directory: 1000 }.into(),
            Refusal::LinkOnPath.into(),
            Refusal::Hung(Duration::from_secs(10)).into(),
        ]
        .map(line)
        .concat();
        expect![[r#"
            Vanished: cannot open /var/log/a: No such file or directory (os error 2)
            Denied: cannot open /var/log/a: Permission denied (os error 13); add the agent's user to the group that owns the file, or grant CAP_DAC_READ_SEARCH
            Descriptors: cannot open /var/log/a: Too many open files (os error 24); likely cause: the limit of open files; raise LimitNOFILE= (`ulimit -n`) or lower limits.open_files
            FileSystem: cannot open /var/log/a: Stale file handle (os error 116)
            NotRegular: cannot open /var/log/a: it is a FIFO, and only regular files are read
            Link: cannot open /var/log/a: it is a symbolic link of user 1000 in a directory of user 0 to a file of user 0: whoever made it may not be allowed to read that file; if they are all trusted, set the item's `symlinks = "follow"`
            Link: cannot open /var/log/a: it is a file of user 0, and may have been linked into this directory of user 1000 by somebody who may not read it; if all who can write here are trusted, set the item's `symlinks = "follow"`
            Link: cannot open /var/log/a: a directory on its path, below what the pattern spells out, is a symbolic link; write that directory out in `include`, or set the item's `symlinks = "follow"`
            FileSystem: cannot open /var/log/a: no answer for 10 s; likely cause: a network or FUSE mount whose server is gone
        "#]].assert_eq(&lines);
    }
}
