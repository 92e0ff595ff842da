//! From a path to a held inode, so that nobody can swap anything between the check and the use.
//!
//! Every step ends in an `O_PATH` descriptor: it names an inode without opening it, so a FIFO has no
//! reader and a device no side effect, and what was checked is what is opened later. Nothing is looked
//! up twice by name.
//!
//! Three levels of trust (see [`super::Rules`]): what a pattern spells out is opened as any path; below
//! it no directory may be a link; the last name may be one, by the item's policy. With
//! [`Symlinks::Owner`] a link is followed by hand, name by name, so that the owner of every link on the
//! way and of the directory it lies in can be held against the owner of what is found in the end. Hard
//! links are judged in [`super::hard_link`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Once;

use logdrive_core::source::FileId;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::fs::{makedev, openat, openat2, readlinkat, statx};
use rustix::io::Errno;

use super::Symlinks;
use super::error::Refusal;

/// As many links on the way to one file as the kernel follows.
const LINKS_MAX: usize = 40;

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A held inode and what it is.
#[derive(Debug)]
pub(super) struct Found {
    /// `O_PATH`.
    pub(super) fd: OwnedFd,
    pub(super) facts: Statx,
    /// The directory in which it has its own name, however that was reached; `None`: no link was looked at.
    pub(super) place: Option<Statx>,
}

/// Asks for all that identity, order and trust need.
pub(super) fn facts(at: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    statx(at, name, flags | AtFlags::NO_AUTOMOUNT, wanted)
}

/// What the file system says a file is.
pub(super) fn file_id(facts: &Statx) -> FileId {
    let born = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
    FileId {
        dev: makedev(facts.stx_dev_major, facts.stx_dev_minor),
        ino: facts.stx_ino,
        birth_ns: if born { nanos(facts.stx_btime) } else { 0 },
    }
}

/// A time of the file system in nanoseconds since the epoch.
pub(super) fn nanos(time: rustix::fs::StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
}

pub(super) fn file_type(facts: &Statx) -> FileType {
    FileType::from_raw_mode(facts.stx_mode.into())
}

/// The refusal of what is not a regular file.
pub(super) fn not_regular(kind: FileType) -> io::Error {
    let name = match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        _ => "special file",
    };
    Refusal::NotRegular(name).into()
}

/// Opens a directory with `flags`: the first `spelled_out` bytes of its path as they are, no link below
/// them unless `follow`.
pub(super) fn directory(path: &[u8], spelled_out: usize, follow: bool, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (trusted, rest) = trusted_part(path, spelled_out);
    if follow || rest.is_empty() {
        return Ok(openat(CWD, path, flags, Mode::empty())?);
    }
    let base = openat(CWD, trusted, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    let opened = match openat2(&base, rest, flags, Mode::empty(), resolve) {
        Err(refused @ (Errno::NOSYS | Errno::PERM)) => {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::info!(
                    "openat2 is refused ({refused}): an old kernel or a seccomp profile; \
                     paths are opened name by name instead"
                );
            });
            name_by_name(base, rest, flags)
        }
        opened => opened,
    };
    opened.map_err(|errno| if errno == Errno::LOOP { Refusal::LinkOnPath.into() } else { errno.into() })
}

/// Cuts an absolute path after whole components within the first `spelled_out` bytes.
fn trusted_part(path: &[u8], spelled_out: usize) -> (&[u8], &[u8]) {
    let most = spelled_out.min(path.len());
    let at = if most == path.len() || path[most] == b'/' {
        most
    } else {
        path[..most].iter().rposition(|byte| *byte == b'/').unwrap_or(0)
    };
    let (trusted, rest) = path.split_at(at);
    let below = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
    (if trusted.is_empty() { b"/" } else { trusted }, &rest[below..])
}

/// What `openat2` does with `RESOLVE_NO_SYMLINKS`, in more steps: no component is followed.
fn name_by_name(base: OwnedFd, rest: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut at = base;
    for name in rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let found = hold(&at, name, PATH_ONLY | OFlags::NOFOLLOW)?;
        at = match file_type(&found.facts) {
            FileType::Directory => found.fd,
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NOTDIR),
        };
    }
    openat(&at, ".", flags, Mode::empty())
}

/// Finds what `name` in an open directory is, links followed by the policy.
pub(super) fn find(directory: impl AsFd, name: &[u8], symlinks: Symlinks) -> io::Result<Found> {
    if symlinks == Symlinks::Follow {
        return Ok(hold(&directory, name, PATH_ONLY)?);
    }
    let mut found = hold(&directory, name, PATH_ONLY | OFlags::NOFOLLOW)?;
    match (file_type(&found.facts), symlinks) {
        (FileType::Symlink, Symlinks::Owner) => {
            let directory = openat(&directory, ".", PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
            let (target, links) = follow(directory, found)?;
            for link in links {
                link.judge(target.facts.stx_uid)?;
            }
            Ok(target)
        }
        (FileType::Symlink, _) => Err(Refusal::Link.into()),
        _ => {
            found.place = Some(facts(&directory, b"", AtFlags::EMPTY_PATH)?);
            Ok(found)
        }
    }
}

fn hold(at: impl AsFd, name: &[u8], flags: OFlags) -> rustix::io::Result<Found> {
    let fd = openat(at, name, flags, Mode::empty())?;
    let facts = facts(&fd, b"", AtFlags::EMPTY_PATH)?;
    Ok(Found { fd, facts, place: None })
}

/// A link that was followed: who made it, and who can put links where it lies.
struct Link {
    owner: u32,
    directory_owner: u32,
    /// Others may write to the directory.
    shared: bool,
}

impl Link {
    fn of(directory: &OwnedFd, link: &Statx) -> rustix::io::Result<Link> {
        let directory = facts(directory, b"", AtFlags::EMPTY_PATH)?;
        let mode = Mode::from_raw_mode(directory.stx_mode.into());
        Ok(Link {
            owner: link.stx_uid,
            directory_owner: directory.stx_uid,
            shared: mode.intersects(Mode::WOTH | Mode::SVTX),
        })
    }

    /// Whether the link gives nobody what they could not read before: its maker owns the target, or is
    /// root; and so is, since links can be moved, the owner of the directory. Where everyone may
    /// write, root's word about somebody's file is not taken either.
    fn judge(&self, target: u32) -> Result<(), Refusal> {
        let maker = self.owner == target || (self.owner == 0 && !self.shared);
        let place = self.directory_owner == target || self.directory_owner == 0;
        if maker && place {
            return Ok(());
        }
        Err(Refusal::ForeignLink { link: self.owner, directory: self.directory_owner, target })
    }
}

/// Follows a link by its text, name by name from the directory it lies in, and remembers every link.
fn follow(directory: OwnedFd, link: Found) -> io::Result<(Found, Vec<Link>)> {
    let mut at = directory;
    let mut links = vec![Link::of(&at, &link.facts)?];
    let mut rest = readlinkat(&link.fd, "", Vec::new())?.into_bytes();
    loop {
        if rest.first() == Some(&b'/') {
            at = openat(CWD, "/", PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        }
        let Some(start) = rest.iter().position(|byte| *byte != b'/') else {
            // The text ends in a slash: a directory.
            return Ok((hold(&at, b".", PATH_ONLY)?, links));
        };
        let length = rest[start..].iter().position(|byte| *byte == b'/');
        let end = length.map_or(rest.len(), |length| start + length);
        let mut found = hold(&at, &rest[start..end], PATH_ONLY | OFlags::NOFOLLOW)?;
        if file_type(&found.facts) == FileType::Symlink {
            if links.len() == LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            links.push(Link::of(&at, &found.facts)?);
            let mut text = readlinkat(&found.fd, "", Vec::new())?.into_bytes();
            text.extend_from_slice(&rest[end..]);
            rest = text;
        } else if end == rest.len() {
            found.place = Some(facts(&at, b"", AtFlags::EMPTY_PATH)?);
            return Ok((found, links));
        } else {
            // Relative from here on: the slash that follows does not lead back to the root.
            let next = rest[end..].iter().position(|byte| *byte != b'/').map_or(rest.len(), |n| end + n);
            at = found.fd;
            rest.drain(..next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trusted_part_ends_with_a_component() {
        for (path, spelled_out, trusted, rest) in [
            ("/var/log/a", 8, "/var/log", "a"),
            ("/var/log/a", 9, "/var/log", "a"),
            ("/var/log", 8, "/var/log", ""),
            ("/var/log", 99, "/var/log", ""),
            ("/var/logs", 8, "/var", "logs"),
            ("/a", 0, "/", "a"),
            ("/a", 1, "/", "a"),
            ("/", 1, "/", ""),
        ] {
            let found = trusted_part(path.as_bytes(), spelled_out);
            assert_eq!(found, (trusted.as_bytes(), rest.as_bytes()), "{path} {spelled_out}");
        }
    }

    #[test]
    fn x08_a_link_is_trusted_when_its_maker_and_its_place_are() {
        let judge = |owner, directory_owner, shared, target| {
            Link { owner, directory_owner, shared }.judge(target).is_ok()
        };
        assert!(judge(0, 0, false, 1000), "root's link to a user's file");
        assert!(judge(1000, 1000, false, 1000), "a user's link to their own file");
        assert!(judge(1000, 0, true, 1000), "the same in /tmp");
        assert!(!judge(1000, 1000, false, 0), "a user's link to root's file");
        assert!(!judge(1000, 0, true, 0), "the same in /tmp");
        assert!(!judge(0, 0, true, 1000), "root's link to a user's file in /tmp");
        assert!(!judge(0, 1000, false, 0), "root's link, moved to a user's directory");
        assert!(!judge(1000, 1000, false, 1001), "a user's link to another's file");
    }
}
