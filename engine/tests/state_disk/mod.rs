//! A disk that remembers what was synced, and can be looked at as a crash would have left it.
//!
//! Every operation is logged. From a prefix of the log follow the image after a kill (everything that
//! was written) and the images after a power cut: each sector written since the last sync of its file
//! holds any version that it has had since, lengths and names likewise, and at most one sector is torn.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use logdrive::state::{Storage, StorageFile};

pub(crate) const SECTOR: usize = 512;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EIO: i32 = 5;

type Content = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Create {
        name: String,
        inode: usize,
    },
    Write {
        inode: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Allocate {
        inode: usize,
        bytes: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    Sync {
        inode: usize,
    },
    /// The kernel could not write, said so once, and counts the pages as clean from now on.
    SyncFailed {
        inode: usize,
    },
    SyncFolder,
}

#[derive(Debug, Default)]
struct State {
    start: Content,
    log: Vec<Op>,
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    /// Bytes that fit in all; writes into space that is there already always succeed.
    capacity: Option<usize>,
    /// Syncs that will fail.
    sync_faults: usize,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk that holds these files, durably.
    pub(crate) fn holding(content: &Content) -> Disk {
        let mut state = State { start: content.clone(), ..State::default() };
        for (name, bytes) in content {
            state.names.insert(name.clone(), state.files.len());
            state.files.push(bytes.clone());
        }
        Disk(Arc::new(Mutex::new(state)))
    }

    /// How many operations have changed it.
    pub(crate) fn ops(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }

    /// Limits the space, `None` for no limit.
    pub(crate) fn limit(&self, capacity: Option<usize>) {
        self.0.lock().unwrap().capacity = capacity;
    }

    /// Bytes in all files.
    pub(crate) fn used(&self) -> usize {
        let state = self.0.lock().unwrap();
        state.names.values().map(|&inode| state.files[inode].len()).sum()
    }

    /// Takes all faults away.
    pub(crate) fn mend(&self) {
        self.limit(None);
        self.fail_syncs(0);
    }

    /// Lets the next `count` syncs of files fail.
    pub(crate) fn fail_syncs(&self, count: usize) {
        self.0.lock().unwrap().sync_faults = count;
    }

    /// What a new process finds when this one is killed after `ops` operations.
    pub(crate) fn killed(&self, ops: usize) -> Content {
        let state = self.0.lock().unwrap();
        let mut image = Image::of(&state.start);
        state.log[..ops].iter().for_each(|op| image.apply(op));
        image.names.iter().map(|(name, &inode)| (name.clone(), image.files[inode].now.clone())).collect()
    }

    /// The same disk when this process has been killed after `ops` operations: what was not synced still is
    /// not, and a power cut may yet take it away.
    pub(crate) fn after_kill(&self, ops: usize) -> Disk {
        let state = self.0.lock().unwrap();
        if ops == state.log.len() {
            return self.clone();
        }
        let mut image = Image::of(&state.start);
        state.log[..ops].iter().for_each(|op| image.apply(op));
        Disk(Arc::new(Mutex::new(State {
            start: state.start.clone(),
            log: state.log[..ops].to_vec(),
            names: image.names,
            files: image.files.into_iter().map(|file| file.now).collect(),
            capacity: state.capacity,
            sync_faults: state.sync_faults,
        })))
    }

    /// What may be found after a power cut after `ops` operations: with whole sectors, and with one
    /// torn. All combinations while they are few, a fixed sample of them otherwise.
    pub(crate) fn powered_off(&self, ops: usize) -> (Vec<Content>, Vec<Content>) {
        let state = self.0.lock().unwrap();
        let mut image = Image::of(&state.start);
        state.log[..ops].iter().for_each(|op| image.apply(op));
        image.crashes()
    }

    /// One of those with whole sectors: `choose` says which version of each thing is found, the number of
    /// versions beyond the oldest being given.
    pub(crate) fn powered_off_once(&self, ops: usize, choose: impl FnMut(usize) -> usize) -> Content {
        let state = self.0.lock().unwrap();
        let mut image = Image::of(&state.start);
        state.log[..ops].iter().for_each(|op| image.apply(op));
        let choice: Vec<usize> = image.units().into_iter().map(choose).collect();
        image.crash(&choice, None)
    }
}

/// A file as it is in the page cache and as it may be on the disk.
#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// For each sector written since the last sync: all it has held since, oldest first.
    pending: BTreeMap<usize, Vec<[u8; SECTOR]>>,
}

struct Image {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    /// The names as they were after each change since the last sync of the folder, oldest first; the
    /// first is what is durable.
    name_versions: Vec<BTreeMap<String, usize>>,
}

impl Image {
    fn of(start: &Content) -> Image {
        let files = start.values();
        let files =
            files.map(|b| Inode { now: b.clone(), durable: b.clone(), pending: BTreeMap::new() }).collect();
        let names: BTreeMap<_, _> = start.keys().cloned().zip(0..).collect();
        Image { files, name_versions: vec![names.clone()], names }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { name, inode } => {
                assert_eq!(*inode, self.files.len());
                self.files.push(Inode::default());
                self.names.insert(name.clone(), *inode);
                self.name_versions.push(self.names.clone());
            }
            Op::Write { inode, offset, bytes } => self.files[*inode].write(*offset, bytes),
            Op::Allocate { inode, bytes } => {
                let file = &mut self.files[*inode];
                let length = file.now.len().max(*bytes);
                file.now.resize(length, 0);
            }
            Op::Rename { from, to } => {
                let inode = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), inode);
                self.name_versions.push(self.names.clone());
            }
            Op::Remove { name } => {
                self.names.remove(name);
                self.name_versions.push(self.names.clone());
            }
            Op::Sync { inode } => {
                let file = &mut self.files[*inode];
                let pending = std::mem::take(&mut file.pending);
                file.durable.resize(file.now.len(), 0);
                for (sector, versions) in pending {
                    write_sector(&mut file.durable, sector, versions.last().unwrap());
                }
            }
            Op::SyncFailed { inode } => self.files[*inode].pending.clear(),
            Op::SyncFolder => self.name_versions = vec![self.names.clone()],
        }
    }

    /// One number for each thing that may be old or new: how many versions it has beyond the old.
    fn units(&self) -> Vec<usize> {
        let mut units = vec![self.name_versions.len() - 1];
        for file in &self.files {
            units.push((file.now.len() != file.durable.len()) as usize);
            units.extend(file.pending.values().map(Vec::len));
        }
        units
    }

    fn crashes(&self) -> (Vec<Content>, Vec<Content>) {
        let units = self.units();
        let whole = choices(&units).iter().map(|choice| self.crash(choice, None)).collect();
        let mut torn = Vec::new();
        for unit in 0..units.len() {
            for cut in [1, 100, 130, 255, 260, 390, 511] {
                let newest = units.clone();
                let mut oldest = vec![0; units.len()];
                oldest[0] = units[0];
                oldest[unit] = units[unit];
                torn.extend([newest, oldest].map(|choice| self.crash(&choice, Some((unit, cut)))));
            }
        }
        (whole, torn)
    }

    /// `torn` names the unit of which only so many bytes are of the chosen version.
    fn crash(&self, choice: &[usize], torn: Option<(usize, usize)>) -> Content {
        let names = &self.name_versions[choice[0]];
        let mut unit = 1;
        let mut files = Vec::new();
        for (inode, file) in self.files.iter().enumerate() {
            if !names.values().any(|&named| named == inode) {
                unit += 1 + file.pending.len();
                files.push(Vec::new());
                continue;
            }
            let mut disk = file.durable.clone();
            disk.resize(if choice[unit] == 1 { file.now.len() } else { file.durable.len() }, 0);
            unit += 1;
            for (&sector, versions) in &file.pending {
                let mut old = [0; SECTOR];
                let end = disk.len().min((sector + 1) * SECTOR);
                let start = end.min(sector * SECTOR);
                old[..end - start].copy_from_slice(&disk[start..end]);
                let mut found = if choice[unit] == 0 { old } else { versions[choice[unit] - 1] };
                if let Some((_, cut)) = torn.filter(|&(which, _)| which == unit) {
                    let before = if choice[unit] < 2 { old } else { versions[choice[unit] - 2] };
                    found[cut..].copy_from_slice(&before[cut..]);
                }
                write_sector(&mut disk, sector, &found);
                unit += 1;
            }
            files.push(disk);
        }
        names.iter().map(|(name, &inode)| (name.clone(), files[inode].clone())).collect()
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let length = self.now.len().max(end);
        self.now.resize(length, 0);
        self.now[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let mut version = [0; SECTOR];
            let part = &self.now[sector * SECTOR..length.min((sector + 1) * SECTOR)];
            version[..part.len()].copy_from_slice(part);
            self.pending.entry(sector).or_default().push(version);
        }
    }
}

/// Writes what of a sector lies inside the file.
fn write_sector(disk: &mut [u8], sector: usize, version: &[u8; SECTOR]) {
    let start = disk.len().min(sector * SECTOR);
    let end = disk.len().min((sector + 1) * SECTOR);
    disk[start..end].copy_from_slice(&version[..end - start]);
}

/// Combinations of `0..=units[n]`: all of them up to 256; else all old, all new, each one alone, each
/// one missing, and 64 drawn by a fixed generator.
fn choices(units: &[usize]) -> Vec<Vec<usize>> {
    let product = units.iter().try_fold(1usize, |product, &n| product.checked_mul(n + 1));
    if let Some(product) = product.filter(|&product| product <= 256) {
        return (0..product)
            .map(|mut rest| {
                let digit = |&n: &usize| {
                    let digit = rest % (n + 1);
                    rest /= n + 1;
                    digit
                };
                units.iter().map(digit).collect()
            })
            .collect();
    }
    let (old, new) = (vec![0; units.len()], units.to_vec());
    let mut all = vec![old.clone(), new.clone()];
    for unit in (0..units.len()).filter(|&unit| units[unit] > 0) {
        for (base, value) in [(&old, units[unit]), (&new, 0)] {
            let mut choice = base.clone();
            choice[unit] = value;
            all.push(choice);
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..64 {
        let draw = |&n: &usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % (n + 1)
        };
        all.push(units.iter().map(draw).collect());
    }
    all
}

impl State {
    fn space_for(&self, inode: usize, end: usize) -> io::Result<()> {
        let used: usize = self.names.values().map(|&inode| self.files[inode].len()).sum();
        let more = end.saturating_sub(self.files[inode].len());
        match self.capacity {
            Some(capacity) if more > 0 && used + more > capacity => Err(io::Error::from_raw_os_error(ENOSPC)),
            _ => Ok(()),
        }
    }
}

impl Storage for Disk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let inode = self.0.lock().unwrap().names.get(name).copied();
        Ok(inode.map(|inode| Arc::new(File { disk: self.clone(), inode }) as Arc<dyn StorageFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.0.lock().unwrap();
        let inode = state.files.len();
        state.files.push(Vec::new());
        state.names.insert(name.to_owned(), inode);
        state.log.push(Op::Create { name: name.to_owned(), inode });
        Ok(Arc::new(File { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.log.push(Op::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.names.remove(name).is_some() {
            state.log.push(Op::Remove { name: name.to_owned() });
        }
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.lock().unwrap().log.push(Op::SyncFolder);
        Ok(())
    }
}

#[derive(Debug)]
struct File {
    disk: Disk,
    inode: usize,
}

impl StorageFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (offset, inode) = (offset as usize, self.inode);
        let mut state = self.disk.0.lock().unwrap();
        state.space_for(inode, offset + bytes.len())?;
        let file = &mut state.files[inode];
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        state.log.push(Op::Write { inode, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        Ok(self.disk.0.lock().unwrap().files[self.inode].clone())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        state.space_for(self.inode, bytes as usize)?;
        let file = &mut state.files[self.inode];
        file.resize(file.len().max(bytes as usize), 0);
        state.log.push(Op::Allocate { inode: self.inode, bytes: bytes as usize });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock().unwrap();
        if state.sync_faults > 0 {
            state.sync_faults -= 1;
            state.log.push(Op::SyncFailed { inode: self.inode });
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.log.push(Op::Sync { inode: self.inode });
        Ok(())
    }
}
