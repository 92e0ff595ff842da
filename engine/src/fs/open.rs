//! Opens one regular file, and nothing else, and collects the evidence of what it is.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use jiff::tz::TimeZone;
use logdrive_core::engine::Start;
use logdrive_core::position::Position;
use logdrive_core::source::{FINGERPRINT_BYTES_MAX, GUARD_BYTES_MAX, ItemId};
use logdrive_line_time::LineTime;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::resolve::{self, Found};
use super::since::{self, Place};
use super::{FileError, Opened, Rules, Symlinks, hard_link, split};

/// Opens the file that an item found at `path`.
pub(super) fn open(item: ItemId, path: &[u8], start: Start, rules: &dyn Rules) -> Result<Opened, FileError> {
    let failed =
        |operation| move |source| FileError { operation, path: OsStr::from_bytes(path).into(), source };
    let fd = open_regular(item, path, rules).map_err(failed("open"))?;
    evidence(fd, start).map_err(failed("read"))
}

fn open_regular(item: ItemId, path: &[u8], rules: &dyn Rules) -> io::Result<OwnedFd> {
    let symlinks = rules.symlinks(item);
    let (parent, name) = split(path);
    let follow = symlinks == Symlinks::Follow;
    let directory = resolve::directory(parent, rules.spelled_out(parent), follow, OFlags::PATH)?;
    let Found { fd: held, facts, place } = resolve::find(&directory, name, symlinks)?;
    match resolve::file_type(&facts) {
        FileType::RegularFile => {}
        other => return Err(resolve::not_regular(other)),
    }
    // Here and not in the listing: whoever links somebody else's log must not end what is being read.
    if let Some(place) = place {
        hard_link::judge(&facts, &place, hard_link::are_protected)?;
    }
    // The held inode itself is opened, whatever the path names by now. Non-blocking for the sake of
    // files under a lease.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let link = format!("/proc/self/fd/{}", held.as_raw_fd());
    rustix::fs::open(link, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => io::Error::other("/proc is not mounted, and the agent opens files through it"),
        errno => errno.into(),
    })
}

fn evidence(fd: OwnedFd, start: Start) -> io::Result<Opened> {
    let facts = resolve::facts(&fd, b"", AtFlags::EMPTY_PATH)?;
    let (position, timeless) = match start {
        Start::At(position) => (position, false),
        Start::Since(time) => position_since(&fd, &facts, time)?,
    };
    let guard_bytes = position.0.min(GUARD_BYTES_MAX as u64);
    let before = read_at(&fd, position.0 - guard_bytes, guard_bytes as usize)?;
    // Last: a file that still begins as it did held those bytes when they were read.
    let head = read_at(&fd, 0, FINGERPRINT_BYTES_MAX)?;
    let file = resolve::file_id(&facts);
    Ok(Opened { fd, file, size: facts.stx_size, head, position, before, timeless })
}

/// Where the file begins to be of a time (nanoseconds since the epoch) or later, and whether that had to be told by the
/// file's own time, since no line has one.
fn position_since(fd: &OwnedFd, facts: &Statx, time: i64) -> io::Result<(Position, bool)> {
    let modified_ns = resolve::nanos(facts.stx_mtime);
    let lines = LineTime::new(TimeZone::system(), modified_ns);
    let first = read_at(fd, 0, FINGERPRINT_BYTES_MAX)?;
    let place = since::find(|position, buffer| fill_at(fd, position, buffer), facts.stx_size, time, &lines);
    if !read_at(fd, 0, FINGERPRINT_BYTES_MAX)?.starts_with(&first) {
        // Another content, all of which is newer than the search.
        return Ok((Position::ZERO, false));
    }
    Ok(match place {
        Place::At(position) => (Position(position), false),
        Place::Timeless if modified_ns < time => (Position(facts.stx_size), facts.stx_size > 0),
        Place::Timeless => (Position::ZERO, facts.stx_size > 0),
    })
}

/// How long an open file is, from what is cached: a dead server is not asked.
pub(crate) fn size_now(fd: impl AsFd) -> Option<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Some(rustix::fs::statx(fd, c"", flags, StatxFlags::SIZE).ok()?.stx_size)
}

/// At most `count` bytes from `position`, fewer only at the end of the file.
fn read_at(fd: &OwnedFd, position: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let filled = fill_at(fd, position, &mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Fills a buffer from `position`, and says how far: less only at the end of the file.
fn fill_at(fd: &OwnedFd, position: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::pread(fd, &mut bytes[filled..], position.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => {}
            // A position that no file can have is as far past the end as any.
            Err(Errno::INVAL) if i64::try_from(position).is_err() => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(filled)
}
