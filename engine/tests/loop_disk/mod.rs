//! An ext4 file system in a file, whose power can be cut while it is in use.
//!
//! What the kernel has handed to a disk is in the file behind the loop device; what is only in a page cache
//! is not. So a copy of that file is what a disk holds when the power goes, provided that nothing was written
//! to the device during the copy, which the device's counters tell. The copy is mounted as a machine does
//! after the power is back, journal replay and all.
//!
//! A disk of its own kind: what it was given it keeps. What a disk may lose of its volatile cache is the
//! business of the simulated one (`state_disk`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_change};
use rustix::thread::UnshareFlags;

/// Runs a program to its end: what it wrote, or why it failed.
pub(crate) type Run = fn(&str, &[&str]) -> Result<String, String>;

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: usize = 64 * 1024;
/// Longer than any burst of writes.
const PATIENCE: Duration = Duration::from_secs(25);

/// Memory for the files behind disks, so that no real disk has to follow.
#[derive(Debug)]
pub(crate) struct Shelf {
    ram: PathBuf,
    run: Run,
}

impl Shelf {
    /// A shelf below this directory. `None`, after a line that says why, where disks cannot be made.
    pub(crate) fn below(dir: &Path, run: Run) -> Option<Shelf> {
        let ram = dir.join("disks");
        let shelf = Shelf { ram, run };
        let possible = shelf.mount_ram().and_then(|()| shelf.format("probe", 8)).map(drop);
        if let Err(error) = &possible {
            eprintln!("not tested, power cuts need root, loop devices and mkfs.ext4: {error}");
        }
        possible.is_ok().then_some(shelf)
    }

    /// The mounts are seen by this thread and what it starts from now on, and go with them, also when the test is
    /// killed.
    fn mount_ram(&self) -> Result<(), String> {
        // SAFETY: a thread may have mounts of its own; nothing that threads share in memory changes.
        let alone = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) };
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        alone.and_then(|()| mount_change("/", private)).map_err(|error| format!("unshare: {error}"))?;
        std::fs::create_dir(&self.ram).map_err(|error| error.to_string())?;
        rustix::mount::mount("disks", &self.ram, "tmpfs", MountFlags::empty(), c"size=1g")
            .map_err(|error| format!("mount: {error}"))
    }

    /// A new disk of that many MiB, mounted.
    pub(crate) fn format(&self, name: &str, mib: u64) -> Result<LoopDisk, String> {
        let image = self.ram.join(name).with_extension("img");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mib * MIB).map_err(|error| error.to_string())?;
        (self.run)("mkfs.ext4", &["-q", "-F", text(&image)])?;
        self.attach(&image)
    }

    /// A disk that was cut off, mounted again. It is used up by that.
    pub(crate) fn attach(&self, image: &Path) -> Result<LoopDisk, String> {
        let device = (self.run)("losetup", &["--find", "--show", text(image)])?.trim().to_owned();
        let at = image.with_extension("mounted");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let mounted = (self.run)("mount", &["-t", "ext4", &device, text(&at)]);
        // In use, the device goes with the mount; otherwise at once.
        let detached = (self.run)("losetup", &["--detach", &device]);
        mounted.and(detached)?;
        Ok(LoopDisk { image: image.into(), at, device })
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.ram, UnmountFlags::DETACH);
    }
}

/// One disk with its file system.
#[derive(Debug)]
pub(crate) struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl LoopDisk {
    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// What the disk would hold if the power went now, to be looked at with [`Shelf::attach`].
    pub(crate) fn cut(&self, name: &str) -> PathBuf {
        let copy = self.image.with_file_name(name).with_extension("img");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.writes();
            duplicate(&self.image, &copy);
            if before.is_some() && before == self.writes() {
                return copy;
            }
            assert!(Instant::now() < deadline, "the disk is written to all the time");
        }
    }

    /// How many writes the device has finished; `None` while some are under way.
    fn writes(&self) -> Option<u64> {
        let name = self.device.trim_start_matches("/dev/");
        let counters = std::fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        let counters: Vec<u64> = counters.split_whitespace().map(|number| number.parse().unwrap()).collect();
        (counters[8] == 0).then_some(counters[4])
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&self.at);
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Copies a file, leaving holes where there are zeros.
fn duplicate(from: &Path, to: &Path) {
    let mut from = File::open(from).unwrap();
    let mut to = File::create(to).unwrap();
    let length = from.metadata().unwrap().len();
    to.set_len(length).unwrap();
    let mut block = vec![0; BLOCK_BYTES];
    for at in (0..length).step_by(BLOCK_BYTES) {
        from.read_exact(&mut block).unwrap();
        if block.iter().any(|&byte| byte != 0) {
            to.seek(SeekFrom::Start(at)).unwrap();
            to.write_all(&block).unwrap();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
