//! Who a file is: its identity on the file system, the evidence that its content is still the same,
//! and the names under which the rest of the agent knows it.

use alloc::sync::Arc;
use core::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// A collection item, by its place in the configuration.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct ItemId(pub u32);

/// One generation of one file while the agent knows it: the slot is reused, the pair never.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct SourceId {
    /// Index into the engine's table of sources.
    pub index: u32,
    /// Counts the uses of that slot.
    pub epoch: u32,
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.epoch)
    }
}

/// What the file system says a file is. ext4 hands a freed inode number out again almost always, so
/// the birth time belongs to the identity.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct FileId {
    /// Device number (`st_dev`).
    pub dev: u64,
    /// Inode number (`st_ino`).
    pub ino: u64,
    /// Birth time in nanoseconds since the epoch; 0 where the file system has none.
    pub birth_ns: i64,
}

/// One life of a file, from creation or truncation to the next; kept in the state across restarts.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GenerationId(pub u64);

impl fmt::Debug for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How many of the first bytes of a file a fingerprint covers at most.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;

/// A hash (xxh3) of the first `len` bytes of a generation. It grows with the file up to
/// [`FINGERPRINT_BYTES_MAX`], and is compared over the length that was stored.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Fingerprint {
    /// Bytes covered, 0 for an empty file.
    pub len: u16,
    /// xxh3 of them.
    pub hash: u64,
}

impl Fingerprint {
    /// The fingerprint of a file that begins with `head`.
    #[must_use]
    pub fn of(head: &[u8]) -> Fingerprint {
        let len = head.len().min(FINGERPRINT_BYTES_MAX);
        Fingerprint { len: len as u16, hash: xxh3_64(&head[..len]) }
    }

    /// Whether a file that now begins with `head` can be the one that was fingerprinted.
    #[must_use]
    pub fn admits(self, head: &[u8]) -> bool {
        let len = self.len as usize;
        len == 0 || (head.len() >= len && xxh3_64(&head[..len]) == self.hash)
    }
}

/// How many bytes before a position a guard covers at most: the ends of two lines are often alike (the same user
/// agent, the same message), whole lines with their time stamps are not. Up to 240 bytes xxh3 takes its short way.
pub const GUARD_BYTES_MAX: usize = 240;

/// A hash (xxh3) of the up to [`GUARD_BYTES_MAX`] bytes just before a position: the proof that the file at that
/// position is still what was read there. An empty guard proves nothing and admits everything.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
pub struct Guard {
    /// Bytes covered, at most [`GUARD_BYTES_MAX`].
    pub len: u8,
    /// xxh3 of them.
    pub hash: u64,
}

impl Guard {
    /// The guard of the position at the end of `bytes`.
    #[must_use]
    pub fn before_end_of(bytes: &[u8]) -> Guard {
        let tail = &bytes[bytes.len().saturating_sub(GUARD_BYTES_MAX)..];
        Guard { len: tail.len() as u8, hash: xxh3_64(tail) }
    }

    /// Whether `tail`, the `len` bytes found before the position, is what was there.
    #[must_use]
    pub fn admits(self, tail: &[u8]) -> bool {
        self.len == 0 || (tail.len() == self.len as usize && xxh3_64(tail) == self.hash)
    }
}

/// Where the records of one generation come from: shared by all its batches, never copied per batch.
#[derive(Debug)]
pub struct Origin {
    /// The collection item that matched.
    pub item: ItemId,
    /// The generation; in the headers of a record if those are on.
    pub generation: GenerationId,
    /// The path under which the file was first found, as UTF-8 (lossy where it is not).
    pub path: Arc<str>,
    /// Names the family of a rotated file (`app.log`, `app.log.1`, ... are one): decides the
    /// partition under the `source` rule, so that order survives a rotation.
    pub family: u64,
}

/// The family of a path: a hash of it without rotation suffixes (`.1`, `-20260102`, `.2026-01-02`).
///
/// Only digits and date punctuation after a `.` or `-` are taken for a suffix, so `app-1.log` and
/// `app-2.log` stay apart while `app.log` and `app.log.2` are one family.
#[must_use]
pub fn family_of(path: &str) -> u64 {
    xxh3_64(family_name(path).as_bytes())
}

/// The part of `path` that its rotated names share; see [`family_of`].
#[must_use]
pub fn family_name(path: &str) -> &str {
    let directory = path.rfind('/').map_or(0, |at| at + 1);
    let mut name = path;
    while let Some(at) = name.rfind(['.', '-', '_']) {
        let suffix = &name[at + 1..];
        let rotation = !suffix.is_empty()
            && suffix.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z' | b':' | b'+'))
            && suffix.bytes().any(|b| b.is_ascii_digit());
        if at <= directory || !rotation {
            break;
        }
        name = &name[..at];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_one_family_and_numbered_files_are_not() {
        for (path, family) in [
            ("/l/app.log", "/l/app.log"),
            ("/l/app.log.1", "/l/app.log"),
            ("/l/app.log-20260102", "/l/app.log"),
            ("/l/app.log.2026-01-02", "/l/app.log"),
            ("/l/app.log.2026-01-02T03:04:05Z.7", "/l/app.log"),
            ("/l/app-1.log", "/l/app-1.log"),
            ("/l/2", "/l/2"),
            ("/l.1/a", "/l.1/a"),
        ] {
            assert_eq!(family_name(path), family);
        }
    }

    #[test]
    fn a_fingerprint_admits_growth_and_refuses_another_beginning() {
        let print = Fingerprint::of(b"one\n");
        assert!(print.admits(b"one\ntwo\n"));
        assert!(!print.admits(b"two\none\n"));
        assert!(!print.admits(b"one"));
        assert!(Fingerprint::of(b"").admits(b"anything"));
    }

    #[test]
    fn a_guard_covers_the_last_bytes_only() {
        let long = [b'x'; 3 * GUARD_BYTES_MAX];
        let guard = Guard::before_end_of(&long);
        assert_eq!(guard.len as usize, GUARD_BYTES_MAX);
        assert!(guard.admits(&long[..GUARD_BYTES_MAX]));
        assert!(!guard.admits(&[b'y'; GUARD_BYTES_MAX]));
        assert!(Guard::default().admits(b""));
    }
}
