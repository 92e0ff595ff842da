//! Which process holds a state folder, for whoever wants to talk to it.
//!
//! The lock file names its holder, but only as a courtesy; the kernel's table of locks (`/proc/locks`) says
//! whether that process holds it now. The lock itself is not tried: an agent that starts at that moment would
//! be refused.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{StateError, failed, folder};

/// The process that holds a state folder. It is that very process which is signalled, whatever becomes of its
/// number.
#[derive(Debug)]
pub struct Holder {
    pid: Pid,
    process: OwnedFd,
}

impl Holder {
    /// Who holds the state of `dir` now; an error that says why nobody is known to.
    ///
    /// # Errors
    /// The folder or its lock file cannot be read.
    pub fn of(dir: &Path) -> Result<Result<Holder, String>, StateError> {
        let error = |errno: Errno| failed("open", dir, folder::LOCK, errno.into());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = match folder::open(dir) {
            Err(StateError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(Err("there is no such folder".to_owned()));
            }
            opened => opened?,
        };
        let lock = match rustix::fs::openat(opened, folder::LOCK, flags, Mode::empty()) {
            Ok(lock) => lock,
            Err(Errno::NOENT) => return Ok(Err("no agent has ever used it".to_owned())),
            Err(errno) => return Err(error(errno)),
        };
        let inode = rustix::fs::fstat(&lock).map_err(error)?.st_ino;
        let name = folder::holder(&lock);
        let Some(pid) = pid_of(&name) else { return Ok(Err(format!("it was used last by {name}"))) };
        // Opened before the look at the locks: so it is the process that held it then.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(Err(format!("{name} is no more, or runs in another container or on another host")));
        };
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        if !locks.lines().any(|line| is_held(line, pid, inode)) {
            return Ok(Err(format!("{name} does not hold it any more")));
        }
        Ok(Ok(Holder { pid, process }))
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is another user's, or has ended.
    pub fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        pidfd_send_signal(&self.process, signal)
    }
}

/// The number in `pid 4711 on host since ...`.
fn pid_of(introduction: &str) -> Option<Pid> {
    let number = introduction.strip_prefix("pid ")?.split(' ').next()?;
    Pid::from_raw(number.parse().ok().filter(|&number| number > 0)?)
}

/// Whether a line of `/proc/locks` says that a process holds the `flock` of a file. Only the inode is compared:
/// some file systems show another device number there.
fn is_held(line: &str, pid: Pid, inode: u64) -> bool {
    // `12: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF`; who waits has an arrow before the kind.
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", holder, file, ..] = words[..] else { return false };
    let its_inode = file.rsplit(':').next().and_then(|number| number.parse().ok());
    holder.parse() == Ok(pid.as_raw_nonzero().get()) && its_inode == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(dir: &Path) -> String {
        Holder::of(dir).unwrap().unwrap_err()
    }

    #[test]
    fn the_holder_is_found_as_long_as_it_holds() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        assert_eq!(nobody(&dir), "there is no such folder");
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(nobody(&dir), "no agent has ever used it");
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let held = folder::open_locked(&dir, 0).unwrap();
        assert_eq!(Holder::of(&dir).unwrap().unwrap().pid(), rustix::process::getpid());
        drop(held);
        assert!(nobody(&dir).ends_with("does not hold it any more"), "{}", nobody(&dir));
        std::fs::write(dir.join(folder::LOCK), "pid 2147483647 on moon since 1970-01-01T00:00:00Z\n")
            .unwrap();
        assert!(nobody(&dir).contains("on moon since"), "{}", nobody(&dir));
        for text in ["", "pid -1 on x", "pid 0 on x", "pid x", "\u{1b}[2J"] {
            std::fs::write(dir.join(folder::LOCK), text).unwrap();
            assert!(nobody(&dir).starts_with("it was used last by "), "{text:?}");
        }
    }

    #[test]
    fn a_lock_is_that_of_the_file_and_the_process() {
        let is_held = |line: &str| is_held(line, Pid::from_raw(4711).unwrap(), 1234);
        assert!(is_held("12: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF"));
        for line in [
            "12: FLOCK  ADVISORY  WRITE 4711 fe:01:1235 0 EOF",
            "12: FLOCK  ADVISORY  WRITE 4712 fe:01:1234 0 EOF",
            "12: FLOCK  ADVISORY  READ  4711 fe:01:1234 0 EOF",
            "12: POSIX  ADVISORY  WRITE 4711 fe:01:1234 0 EOF",
            "12: -> FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF",
            "",
        ] {
            assert!(!is_held(line), "{line}");
        }
    }
}
