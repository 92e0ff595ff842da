//! Reads through the ring, but of files on FUSE mounts on threads.
//!
//! FUSE and the ring do not go together. Seen with Linux 6.18: a read of what is not cached may wait for the
//! server within its submission, so that one dead mount stops the thread that submits; and when the server
//! asks for direct I/O, a read that comes to the end of the file fills the rest of the buffer with the same
//! bytes again and again. `pread` on a thread does neither. Network file systems of the kernel's own are
//! served through the ring like disks.
//!
//! Which file system a file is on is asked of the mount table, since `fstatfs` asks the server.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use logdrive_core::source::SourceId;
use rustix::fs::{AtFlags, StatxFlags};
use tracing::warn;

use super::blocking::BlockingReads;
use super::uring::UringReads;
use super::{Read, ReadDone, Reads};
use crate::bell::Bell;

/// [`Reads`] through the ring of the runtime it is made in, and on threads for FUSE.
#[derive(Debug)]
pub struct MixedReads {
    ring: UringReads,
    /// Started with the first file on a FUSE mount.
    threads: Option<BlockingReads>,
    on_threads: HashSet<SourceId>,
    mounts: Mounts,
    bell: Bell,
}

impl MixedReads {
    /// Starts the ring's lanes. Only inside [`super::uring::start`].
    #[must_use]
    pub fn new(bell: Bell) -> MixedReads {
        MixedReads {
            ring: UringReads::new(bell.clone()),
            threads: None,
            on_threads: HashSet::new(),
            mounts: Mounts::default(),
            bell,
        }
    }

    /// The threads, if a file on a FUSE mount is to be read and they can be started.
    fn threads_for(&mut self, fd: &OwnedFd) -> Option<&mut BlockingReads> {
        if !self.mounts.is_fuse(fd) {
            return None;
        }
        if self.threads.is_none() {
            match BlockingReads::new(self.bell.clone()) {
                Ok(threads) => self.threads = Some(threads),
                Err(error) => warn!(%error, "no threads for reads of FUSE mounts; read through io_uring"),
            }
        }
        self.threads.as_mut()
    }

    fn of(&self, source: SourceId) -> &dyn Reads {
        match &self.threads {
            Some(threads) if self.on_threads.contains(&source) => threads,
            _ => &self.ring,
        }
    }

    fn of_mut(&mut self, source: SourceId) -> &mut dyn Reads {
        match &mut self.threads {
            Some(threads) if self.on_threads.contains(&source) => threads,
            _ => &mut self.ring,
        }
    }
}

impl Reads for MixedReads {
    fn adopt(&mut self, source: SourceId, fd: OwnedFd) {
        match self.threads_for(&fd) {
            Some(threads) => {
                threads.adopt(source, fd);
                self.on_threads.insert(source);
            }
            None => self.ring.adopt(source, fd),
        }
    }

    fn fd(&self, source: SourceId) -> Option<BorrowedFd<'_>> {
        self.of(source).fd(source)
    }

    fn release(&mut self, source: SourceId) {
        self.of_mut(source).release(source);
        self.on_threads.remove(&source);
    }

    fn closing(&self) -> usize {
        self.ring.closing() + self.threads.as_ref().map_or(0, Reads::closing)
    }

    fn ready(&self) -> bool {
        self.ring.ready()
    }

    fn admits(&self, source: SourceId) -> bool {
        self.of(source).admits(source)
    }

    fn submit(&mut self, read: Read) {
        self.of_mut(read.source).submit(read);
    }

    fn poll_done(&mut self) -> Option<ReadDone> {
        let done = self.ring.poll_done();
        done.or_else(|| self.threads.as_mut().and_then(Reads::poll_done))
    }
}

/// Which mounts are FUSE. Numbers of mounts are given again, so the device belongs to the key.
#[derive(Debug, Default)]
struct Mounts {
    /// Never many: one for each mounted file system with open files. Entries stay.
    known: Vec<((u64, u32, u32), bool)>,
}

impl Mounts {
    fn is_fuse(&mut self, fd: impl AsFd) -> bool {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let Ok(facts) = rustix::fs::statx(fd, c"", flags, StatxFlags::MNT_ID) else { return false };
        let key = (facts.stx_mnt_id, facts.stx_dev_major, facts.stx_dev_minor);
        if let Some((_, fuse)) = self.known.iter().find(|(known, _)| *known == key) {
            return *fuse;
        }
        let table: io::Result<String> = std::fs::read_to_string("/proc/self/mountinfo");
        let fuse = table.is_ok_and(|table| mount_is_fuse(facts.stx_mnt_id, &table));
        self.known.push((key, fuse));
        fuse
    }
}

/// What a text like `/proc/self/mountinfo` says: `36 35 0:40 / /point options - fuse.sshfs host: rw`.
fn mount_is_fuse(id: u64, mountinfo: &str) -> bool {
    let of_line = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        (mount.split(' ').next()?.parse() == Ok(id)).then(|| file_system.starts_with("fuse"))
    };
    mountinfo.lines().find_map(of_line).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_the_mount_table_says_which_mounts_are_fuse() {
        let table = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            30 22 0:40 / /mnt/a rw - nfs4 server:/export rw\n\
            32 22 0:41 / /mnt/b rw master:2 - fuse.sshfs host: rw\n\
            33 22 8:17 / /mnt/c rw - fuseblk /dev/sdb1 rw\n\
            34 22 0:42 / /mnt/d rw - fuse far rw\n\
            garbage\n";
        let fuse: Vec<u64> = (20..40).filter(|&id| mount_is_fuse(id, table)).collect();
        assert_eq!(fuse, [32, 33, 34]);
        assert!(!Mounts::default().is_fuse(tempfile::tempfile().unwrap()));
    }
}
