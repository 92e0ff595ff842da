//! What the state store asks of a disk: a handful of operations in one folder.
//!
//! The trait is narrow so that a simulated disk can stand in and lose what was never synced. It has no
//! locking and no permissions; those belong to the real folder (`folder.rs`). Names are plain file
//! names in that folder.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::folder::{FILE_MODE, keep_private};

/// One folder in which files are created, renamed and synced.
pub trait Storage: Send + Sync + Debug {
    /// Opens an existing file for reading and writing; `None` when there is none.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StorageFile>>>;
    /// Creates an empty file, in place of one that has the name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;
    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name; nothing happens when there is none.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file.
pub trait StorageFile: Send + Sync + Debug {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads the whole file.
    fn read_all(&self) -> io::Result<Vec<u8>>;
    /// Makes the file at least `bytes` long with the space for it reserved, so that a full disk shows
    /// here and not at a write.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes the content durable. An error is final for this file: the kernel may have dropped what it
    /// could not write and answer "done" the next time.
    fn sync(&self) -> io::Result<()>;
}

/// A file larger than this is none of ours and is not read.
const READ_BYTES_MAX: u64 = 2 << 30;

/// A folder of a real file system, reached through its descriptor.
#[derive(Debug)]
pub struct Disk {
    folder: OwnedFd,
    access: Access,
}

/// What a [`Disk`] may do.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

impl Disk {
    pub(super) fn new(folder: OwnedFd, access: Access) -> Disk {
        Disk { folder, access }
    }

    /// A folder that is there, without its lock: for whoever is alone with it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn at(dir: &Path) -> io::Result<Disk> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Disk::new(rustix::fs::open(dir, flags, Mode::empty())?, Access::ReadWrite))
    }
}

impl Storage for Disk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let mode = if self.access == Access::ReadOnly { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = mode | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(fd) => {
                if self.access == Access::ReadWrite {
                    keep_private(&fd)?;
                }
                Ok(Some(Arc::new(DiskFile { fd })))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.folder, name, flags, FILE_MODE)?;
        keep_private(&fd)?;
        Ok(Arc::new(DiskFile { fd }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

#[derive(Debug)]
struct DiskFile {
    fd: OwnedFd,
}

impl StorageFile for DiskFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(&self.fd, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        let stat = rustix::fs::fstat(self.fd.as_fd())?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if bytes > READ_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than any state file"));
        }
        let mut content = vec![0; bytes as usize];
        let mut done = 0;
        while done < content.len() {
            match rustix::io::pread(&self.fd, &mut content[done..], done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        content.truncate(done);
        Ok(content)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // File systems without reservations: written zeros are the next best.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.extend_with_zeros(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }
}

impl DiskFile {
    fn extend_with_zeros(&self, bytes: u64) -> io::Result<()> {
        let zeros = [0; 4096];
        let mut end = u64::try_from(rustix::fs::fstat(&self.fd)?.st_size).unwrap_or(0);
        while end < bytes {
            let step = (bytes - end).min(zeros.len() as u64);
            self.write_at(end, &zeros[..step as usize])?;
            end += step;
        }
        Ok(())
    }
}

/// Replaces a whole file so that a crash at any moment leaves the old or the new one: a second file is
/// written and synced, takes the name, and the folder is synced.
///
/// The outcome has the open new file as soon as it bears the name, even if the last step failed.
pub(super) fn replace(storage: &dyn Storage, name: &str, temporary: &str, bytes: &[u8]) -> Replaced {
    let written = storage.create(temporary).and_then(|file| {
        file.allocate(bytes.len() as u64)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        storage.rename(temporary, name)?;
        Ok(file)
    });
    match written {
        Ok(file) => Replaced { file: Some(file), result: storage.sync_folder() },
        Err(error) => {
            // Whatever space it took is given back; its name is overwritten by the next attempt anyway.
            let _unimportant = storage.remove(temporary);
            Replaced { file: None, result: Err(error) }
        }
    }
}

/// What came of [`replace`].
#[derive(Debug)]
pub(super) struct Replaced {
    /// The new file, if it bears the name.
    pub(super) file: Option<Arc<dyn StorageFile>>,
    /// Whether all of it is durable.
    pub(super) result: io::Result<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(folder: &tempfile::TempDir, access: Access) -> Disk {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Disk::new(rustix::fs::open(folder.path(), flags, Mode::empty()).unwrap(), access)
    }

    #[test]
    fn a_replaced_file_is_private_and_leaves_no_second_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(&folder, Access::ReadWrite);
        for content in [b"one".as_slice(), b"and two"] {
            replace(&disk, "a", "a.new", content).result.unwrap();
            assert_eq!(disk.open("a").unwrap().unwrap().read_all().unwrap(), content);
        }
        let mode = std::fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn allocated_space_reads_as_zeros_and_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = disk(&folder, Access::ReadWrite).create("a").unwrap();
        file.write_at(0, b"abc").unwrap();
        file.allocate(10).unwrap();
        assert_eq!(file.read_all().unwrap(), b"abc\0\0\0\0\0\0\0");
        let file = DiskFile { fd: std::fs::File::open(folder.path().join("a")).unwrap().into() };
        assert!(file.write_at(0, b"x").is_err(), "opened for reading only");
    }

    #[test]
    fn missing_files_links_and_folders_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(&folder, Access::ReadOnly);
        assert!(disk.open("a").unwrap().is_none());
        disk.remove("a").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("a")).unwrap();
        assert!(disk.open("a").is_err());
        std::fs::create_dir(folder.path().join("b")).unwrap();
        assert!(disk.open("b").unwrap().unwrap().read_all().is_err());
    }
}
