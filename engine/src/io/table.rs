//! Which files are open, and how many reads each file system holds: what both implementations share.
//!
//! A read on a dead network or FUSE mount never comes back. Each such read holds a lane (or a thread),
//! so every file system has a share of them, and a smaller one where it has no block device behind it.

use std::os::fd::AsFd;

use logdrive_core::source::SourceId;
use rustix::fs::{AtFlags, StatxFlags};

/// A file system, as the kernel numbers it.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// The file system of an open file, from what is cached: a dead server is not asked.
    pub(super) fn of(fd: impl AsFd) -> Device {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        rustix::fs::statx(fd, c"", flags, StatxFlags::TYPE)
            .map_or_else(|_| Device::default(), |s| Device { major: s.stx_dev_major, minor: s.stx_dev_minor })
    }

    /// How many of `lanes` reads it may hold. NFS, CIFS and FUSE mounts have no block device, so the
    /// major number 0 (as have tmpfs and btrfs, which lose nothing much by it); the kernel serves such
    /// reads with few threads of its own, four for each processor.
    fn share(self, lanes: usize) -> usize {
        let share = if self.major == 0 { lanes / 8 } else { lanes * 3 / 4 };
        share.max(1)
    }
}

/// Reads (and closes) under way, by file system.
#[derive(Debug)]
pub(super) struct Shares {
    lanes: usize,
    /// Never many: one for each mounted file system with open files. Entries stay.
    held: Vec<(Device, usize)>,
}

impl Shares {
    pub(super) fn new(lanes: usize) -> Shares {
        Shares { lanes, held: Vec::with_capacity(16) }
    }

    /// Whether `device` holds less than its share.
    pub(super) fn admits(&self, device: Device) -> bool {
        let held = self.held.iter().find(|(d, _)| *d == device).map_or(0, |(_, n)| *n);
        held < device.share(self.lanes)
    }

    pub(super) fn take(&mut self, device: Device) {
        match self.held.iter_mut().find(|(d, _)| *d == device) {
            Some((_, n)) => *n += 1,
            None => self.held.push((device, 1)),
        }
    }

    pub(super) fn give(&mut self, device: Device) {
        let (_, n) = self.held.iter_mut().find(|(d, _)| *d == device).expect("taken before");
        *n -= 1;
    }
}

/// An adopted file.
#[derive(Debug)]
pub(super) struct Adopted<F> {
    epoch: u32,
    pub(super) device: Device,
    pub(super) file: F,
}

/// Adopted files by [`SourceId`]: a slot has at most one, and a stale epoch finds nothing.
#[derive(Debug)]
pub(super) struct Table<F>(Vec<Option<Adopted<F>>>);

impl<F> Table<F> {
    pub(super) fn new() -> Table<F> {
        Table(Vec::new())
    }

    /// Puts a file in; what was in its slot comes back.
    pub(super) fn insert(&mut self, source: SourceId, device: Device, file: F) -> Option<Adopted<F>> {
        let index = source.index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index].replace(Adopted { epoch: source.epoch, device, file })
    }

    pub(super) fn find(&self, source: SourceId) -> Option<&Adopted<F>> {
        self.0.get(source.index as usize)?.as_ref().filter(|adopted| adopted.epoch == source.epoch)
    }

    pub(super) fn remove(&mut self, source: SourceId) -> Option<Adopted<F>> {
        self.find(source)?;
        self.0[source.index as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_a_file_system_never_holds_every_lane() {
        let (disk, network) = (Device { major: 8, minor: 1 }, Device { major: 0, minor: 40 });
        let mut shares = Shares::new(32);
        for (device, share) in [(disk, 24), (network, 4)] {
            for _ in 0..share {
                assert!(shares.admits(device));
                shares.take(device);
            }
            assert!(!shares.admits(device));
        }
        shares.give(network);
        assert!(shares.admits(network) && !shares.admits(disk));
        assert!(Shares::new(1).admits(network), "a single lane still serves everyone");
    }

    #[test]
    fn a_stale_epoch_finds_nothing_and_removes_nothing() {
        let old = SourceId { index: 3, epoch: 1 };
        let new = SourceId { index: 3, epoch: 2 };
        let mut table = Table::new();
        assert!(table.insert(old, Device::default(), "old").is_none());
        assert_eq!(table.insert(new, Device::default(), "new").map(|a| a.file), Some("old"));
        assert!(table.find(old).is_none() && table.remove(old).is_none());
        assert_eq!(table.remove(new).map(|a| a.file), Some("new"));
        assert!(table.find(new).is_none());
    }
}
