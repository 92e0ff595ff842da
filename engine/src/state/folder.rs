//! The state folder: who may use it, and the lock that keeps a second agent out.
//!
//! The lock is held by the kernel on an open file description (`flock`), so it ends with the process,
//! however that ends, and there is no stale lock to clean up. The content of the lock file decides
//! nothing: it names the holder to a person. The file is never removed, because a second process
//! could then lock a file that has no name any more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{POSITIONS, StateError};

pub(super) const LOCK: &str = "lock";
const FOLDER_MODE: Mode = Mode::RWXU;
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The held lock; dropping it lets the next process in.
#[derive(Debug)]
pub(super) struct Lock {
    file: OwnedFd,
}

impl Drop for Lock {
    /// Closing would not be enough: a child process that is just being started shares the open file until
    /// it executes its program.
    fn drop(&mut self) {
        let _gone = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Opens the folder for an agent: creates it if only the last component is missing, refuses it when it
/// is not ours alone to write, and takes the lock. `wall_ms` (milliseconds since the epoch) is what the
/// lock file names as the start of the holder.
pub(super) fn open_locked(dir: &Path, wall_ms: i64) -> Result<(OwnedFd, Lock), StateError> {
    let made = match rustix::fs::mkdir(dir, FOLDER_MODE) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(failed("create", dir, error)),
    };
    let folder = open(dir)?;
    if made {
        sync_parent(dir)?;
    } else if rustix::fs::statat(&folder, POSITIONS, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        // A start that made the folder and was killed may not have come to this. If it cannot be done, the
        // parent is not ours, and then nor was it an agent that made the folder.
        let _not_ours = sync_parent(dir);
    }
    check(dir, &folder)?;
    let lock = lock(dir, &folder, wall_ms)?;
    Ok((folder, lock))
}

/// Opens the folder to read in it, without any condition and without the lock.
pub(super) fn open(dir: &Path) -> Result<OwnedFd, StateError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOTDIR => StateError::NotAFolder { dir: dir.to_path_buf() },
        error => failed("open", dir, error),
    })
}

/// A new folder is only safe from a power cut when its parent is synced.
fn sync_parent(dir: &Path) -> Result<(), StateError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open(parent)?;
    match rustix::fs::fsync(&folder) {
        // Some file systems have no fsync for folders; they have no ordering to enforce either.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(failed("sync", parent, error)),
    }
}

fn check(dir: &Path, folder: &OwnedFd) -> Result<(), StateError> {
    let stat = rustix::fs::fstat(folder).map_err(|error| failed("examine", dir, error))?;
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own {
        return Err(StateError::Owner { dir: dir.to_path_buf(), owner: stat.st_uid, own });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StateError::WritableByOthers { dir: dir.to_path_buf(), mode });
    }
    Ok(())
}

fn lock(dir: &Path, folder: &OwnedFd, wall_ms: i64) -> Result<Lock, StateError> {
    let path = dir.join(LOCK);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::openat(folder, LOCK, flags, FILE_MODE).map_err(|error| failed("open", &path, error))?;
    keep_private(&file).map_err(|error| failed("change the mode of", &path, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(StateError::Held { dir: dir.to_path_buf(), holder: holder(&file) });
        }
        Err(error) => return Err(failed("lock", &path, error)),
    }
    // A full disk must not keep the agent from starting: the name is a courtesy, the lock is held.
    let _courtesy = rustix::fs::ftruncate(&file, 0)
        .and_then(|()| rustix::io::pwrite(&file, introduction(wall_ms).as_bytes(), 0));
    Ok(Lock { file })
}

/// Takes away what others may do with a file that was there already: restored from a copy, say.
pub(super) fn keep_private(file: impl AsFd) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        rustix::fs::fchmod(&file, FILE_MODE)?;
    }
    Ok(())
}

/// What a holder writes into the lock file.
fn introduction(wall_ms: i64) -> String {
    let pid = rustix::process::getpid().as_raw_nonzero();
    let system = rustix::system::uname();
    let started = UNIX_EPOCH + Duration::from_millis(wall_ms.max(0).unsigned_abs());
    format!(
        "pid {pid} on {} since {}\n",
        system.nodename().to_string_lossy(),
        humantime::format_rfc3339_seconds(started)
    )
}

/// What the holder of a lock file has written into it.
pub(super) fn holder(file: &OwnedFd) -> String {
    let mut buffer = [0; 512];
    let read = rustix::io::pread(file, &mut buffer, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..read]);
    let line: String = text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { "another process (it has not written its name yet)".to_owned() } else { line }
}

fn failed(operation: &'static str, path: &Path, error: Errno) -> StateError {
    StateError::Io { operation, path: path.to_path_buf(), source: io::Error::from(error) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn refusal(dir: &Path) -> String {
        open_locked(dir, 0).unwrap_err().to_string()
    }

    #[test]
    fn s09_a_missing_folder_is_created_private_but_its_parent_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        open_locked(&dir, 0).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(std::fs::metadata(dir.join(LOCK)).unwrap().permissions().mode() & 0o7777, 0o600);
        let refused = refusal(&parent.path().join("no/state"));
        assert!(refused.contains("create the parent folder first"), "{refused}");
    }

    #[test]
    fn s09_a_folder_that_others_may_write_in_or_that_is_none_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        std::fs::create_dir(&dir).unwrap();
        for (mode, refused) in [(0o700, false), (0o755, false), (0o770, true), (0o1777, true)] {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_locked(&dir, 0).is_err(), refused, "mode {mode:o}");
        }
        assert!(refusal(&dir).contains("chmod 0700"));
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refusal(&file).contains("is not a folder"));
    }

    #[test]
    fn s10_the_second_lock_is_refused_with_the_name_of_the_holder_and_a_dropped_one_is_free() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let held = open_locked(&dir, 1_700_000_000_000).unwrap();
        let refused = refusal(&dir);
        let pid = std::process::id();
        assert!(refused.contains(&format!("pid {pid} on ")), "{refused}");
        assert!(refused.contains("since 2023-11-14T22:13:20Z"), "{refused}");
        drop(held);
        open_locked(&dir, 0).unwrap();
    }
}
