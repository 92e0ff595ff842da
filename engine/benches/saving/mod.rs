//! Checkpoints into a state whose disk is memory: what encoding and sealing one costs, without the kernel.

use std::collections::HashMap;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use logdrive::state::{Slot, StateStore, Storage, StorageFile, Syncer};
use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, Fingerprint, GenerationId, Guard};

/// Checkpoints of one round.
pub(crate) const SAVED: u64 = 1000;

const SOURCES: u64 = 100;

/// A state of a hundred files, each of which gets a newer position again and again.
pub(crate) struct Saving {
    store: StateStore,
    sources: Vec<(Slot, Checkpoint)>,
    /// Kept, since the store insists on somebody to sync for it; nobody asks.
    _syncer: Syncer,
}

impl Saving {
    pub(crate) fn new() -> Saving {
        let disk = Arc::new(MemoryDisk::default());
        let opened = StateStore::open_on(disk, Path::new("memory"));
        let (mut store, _, syncer) = opened.expect("an empty memory is an empty state");
        let sources = (1..=SOURCES).map(checkpoint).map(|first| (store.claim(&first), first)).collect();
        Saving { store, sources, _syncer: syncer }
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..SAVED / SOURCES {
            for (slot, checkpoint) in &mut self.sources {
                checkpoint.position = checkpoint.position.plus(200_000);
                checkpoint.guard.hash = checkpoint.guard.hash.wrapping_add(1);
                self.store.put(*slot, black_box(checkpoint));
            }
        }
        assert!(self.store.is_healthy());
    }
}

fn checkpoint(number: u64) -> Checkpoint {
    Checkpoint {
        generation: GenerationId(number),
        file: FileId { dev: 1, ino: number, birth_ns: 1 },
        position: Position::ZERO,
        guard: Guard { len: 32, hash: number },
        fingerprint: Fingerprint { len: 1024, hash: number },
        item: 1,
        family: number,
        skipping: false,
    }
}

#[derive(Debug, Default)]
struct MemoryDisk(Mutex<HashMap<String, Arc<MemoryFile>>>);

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl Storage for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let file = self.0.lock().expect("one thread").get(name).cloned();
        Ok(file.map(|file| file as Arc<dyn StorageFile>))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = Arc::new(MemoryFile::default());
        self.0.lock().expect("one thread").insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().expect("one thread");
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().expect("one thread").remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for MemoryFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().expect("one thread");
        let start = offset as usize;
        if content.len() < start + bytes.len() {
            content.resize(start + bytes.len(), 0);
        }
        content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        Ok(self.0.lock().expect("one thread").clone())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut content = self.0.lock().expect("one thread");
        let bytes = content.len().max(bytes as usize);
        content.resize(bytes, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
