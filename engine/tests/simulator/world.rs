//! Files, names and hints, as a kernel would have them, and what the agent asks of it.
//!
//! A file of this world has a real descriptor (of an empty memory file that is as long as it pretends
//! to be), because the driver passes descriptors on; its content is kept here. Work of the agent is
//! finished only when the run says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use logdrive::fs::{Done, FileError, Job, Opened};
use logdrive::io::{Read, ReadDone};
use logdrive::watch::Hint;
use logdrive_core::discover::{Entry, Listing, RawPath};
use logdrive_core::engine::Start;
use logdrive_core::position::Position;
use logdrive_core::source::{FileId, GUARD_BYTES_MAX, ItemId, SourceId};
use rustix::fs::MemfdFlags;

use crate::judge::{Judge, LineId};
use crate::random::Random;

pub(crate) const DIRECTORY: &[u8] = b"/l";
const EIO: i32 = 5;
const EINTR: i32 = 4;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOENT: i32 = 2;
const ESTALE: i32 = 116;

/// The item whose files may be in UTF-16.
pub(crate) const WIDE_ITEM: usize = 1;

/// How text is written.
#[derive(Copy, Clone, Debug)]
enum Script {
    /// As it is.
    Plain,
    /// Units of two bytes, behind a mark that says in which order.
    Wide(fn(u16) -> [u8; 2]),
}

impl Script {
    fn mark(self) -> Vec<u8> {
        match self {
            Script::Plain => Vec::new(),
            Script::Wide(unit) => unit(0xfeff).to_vec(),
        }
    }

    fn bytes(self, text: &[u8]) -> Vec<u8> {
        match self {
            Script::Plain => text.to_vec(),
            Script::Wide(unit) => text.iter().flat_map(|&letter| unit(letter.into())).collect(),
        }
    }
}

/// A file, whatever its names.
#[derive(Debug)]
pub(crate) struct Inode {
    /// Where the driver gets its descriptors from; given up with the file.
    memory: Option<OwnedFd>,
    id: FileId,
    script: Script,
    pub(crate) content: Vec<u8>,
    modified_ns: i64,
    pub(crate) readable: bool,
    /// Complete lines with where they end.
    pub(crate) lines: Vec<(LineId, usize)>,
    /// Counts truncations.
    life: u32,
    /// A line that is written in part, and its rest.
    unfinished: Option<(LineId, Vec<u8>)>,
    /// How far the last read saw.
    seen: usize,
}

/// What of the file system will fail, and how often.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) reads_failing: u8,
    pub(crate) reads_cut: u8,
    pub(crate) opens_failing: u8,
    pub(crate) opens_without_descriptor: u8,
    pub(crate) listings_failing: u8,
}

/// Everything around the agent but Kafka, the clock and the state's disk.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) inodes: Vec<Inode>,
    pub(crate) names: BTreeMap<RawPath, usize>,
    by_memory: BTreeMap<u64, usize>,
    births: i64,
    /// The file system keeps birth times.
    pub(crate) has_births: bool,
    /// The files of [`WIDE_ITEM`] are in UTF-16.
    pub(crate) is_wide: bool,
    pub(crate) wall_ns: i64,
    pub(crate) faults: Faults,
    pub(crate) retired: [bool; 2],
    /// Files of which the last read was cut short: it is not, twice in a row.
    cut_last: BTreeSet<usize>,
    // What belongs to the process of the agent.
    pub(crate) open: BTreeMap<SourceId, usize>,
    armed: BTreeMap<SourceId, usize>,
    watched: bool,
    pub(crate) hints: VecDeque<Hint>,
    /// With the names there were when they were asked for; none, if the directory was away.
    jobs: Vec<(Job, Option<BTreeSet<RawPath>>)>,
    pub(crate) jobs_done: VecDeque<Done>,
    pub(crate) reads: Vec<Read>,
    pub(crate) reads_done: VecDeque<ReadDone>,
    /// Sources that were told of a failed read, and those that never read.
    troubled: BTreeSet<SourceId>,
    has_read: BTreeSet<SourceId>,
    /// The directory is away, as when its file system is not mounted.
    away: bool,
    /// The number of its device, which changes with a mount.
    pub(crate) device: u64,
    /// Descriptors that were closed in this turn: of which source, file, and how far it was seen.
    pub(crate) released: Vec<(SourceId, usize, usize)>,
    /// Files that were let go with their item, and may be deleted before it is back.
    excused: BTreeSet<usize>,
}

/// The path that a number of a script means.
pub(crate) fn path(number: u8) -> RawPath {
    let base = ["a", "b", "c"][usize::from(number / 4 % 3)];
    let suffix = ["", ".1", ".2", ".out"][usize::from(number % 4)];
    Arc::from(format!("/l/{base}.log{suffix}").as_bytes())
}

fn by_name(path: &[u8]) -> usize {
    usize::from(path[DIRECTORY.len() + 1] == b'c')
}

impl World {
    pub(crate) fn item_of(&self, path: &[u8]) -> Option<ItemId> {
        let item = by_name(path);
        (!path.ends_with(b".out") && !self.retired[item]).then_some(ItemId(item as u32))
    }

    fn create(&mut self, path: &RawPath) -> usize {
        if let Some(&inode) = self.names.get(path) {
            return inode;
        }
        let memory = rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC).expect("a memory file");
        let number = rustix::fs::fstat(&memory).expect("of an open file").st_ino;
        // The smallest number that no file with a name or a reader has.
        let ino = (1..)
            .find(|ino| self.inodes.iter().all(|file| file.memory.is_none() || file.id.ino != *ino))
            .expect("there are many numbers");
        self.births += 1;
        let birth_ns = if self.has_births { self.births } else { 0 };
        let script = match self.is_wide && by_name(path) == WIDE_ITEM {
            true if self.births % 2 == 0 => Script::Wide(u16::to_be_bytes),
            true => Script::Wide(u16::to_le_bytes),
            false => Script::Plain,
        };
        self.inodes.push(Inode {
            memory: Some(memory),
            id: FileId { dev: self.device, ino, birth_ns },
            script,
            content: Vec::new(),
            modified_ns: self.wall_ns,
            readable: true,
            lines: Vec::new(),
            life: 0,
            unfinished: None,
            seen: 0,
        });
        let inode = self.inodes.len() - 1;
        self.by_memory.insert(number, inode);
        self.names.insert(path.clone(), inode);
        self.directory_changed();
        inode
    }

    pub(crate) fn append(
        &mut self,
        judge: &mut Judge,
        at: u8,
        (lines, open, silent): (u16, bool, bool),
        random: &mut Random,
    ) {
        let inode = self.create(&path(at));
        let file = &mut self.inodes[inode];
        let script = file.script;
        if file.content.is_empty() && (lines > 0 || open) {
            file.content.extend(script.mark());
        }
        if let Some((line, rest)) = file.unfinished.take() {
            file.content.extend_from_slice(&rest);
            file.content.extend(script.bytes(b"\n"));
            file.lines.push((line, file.content.len()));
            judge.lines[line].whole = true;
        }
        for _ in 0..lines {
            let line = judge.write((inode, file.life), random);
            file.content.extend(script.bytes(&judge.lines[line].bytes));
            file.content.extend(script.bytes(b"\n"));
            file.lines.push((line, file.content.len()));
            judge.lines[line].whole = true;
        }
        if open {
            let line = judge.write((inode, file.life), random);
            let text = &judge.lines[line].bytes;
            // Without birth times its first bytes tell a file from one that had its inode number before: they are
            // at least the number of the line.
            let told = if self.has_births {
                1
            } else {
                text.iter().position(|&byte| byte == b'.').map_or(1, |at| at + 1)
            };
            let (bytes, told) = (script.bytes(text), script.bytes(&text[..told]).len());
            // Within a letter too, where it has two bytes.
            let cut = told + random.below(bytes.len() - told + 1);
            file.content.extend_from_slice(&bytes[..cut]);
            file.unfinished = Some((line, bytes[cut..].to_vec()));
        }
        self.modified(inode, silent);
    }

    fn modified(&mut self, inode: usize, silent: bool) {
        let wall_ns = self.wall_ns;
        let file = &mut self.inodes[inode];
        file.modified_ns = wall_ns;
        let memory = file.memory.as_ref().expect("a file with a name");
        rustix::fs::ftruncate(memory, file.content.len() as u64).expect("a memory file");
        if !silent {
            let told: Vec<SourceId> =
                self.armed.iter().filter(|(_, armed)| **armed == inode).map(|(source, _)| *source).collect();
            for source in told {
                self.armed.remove(&source);
                self.hints.push_back(Hint::Modified(source));
            }
        }
    }

    fn directory_changed(&mut self) {
        if self.watched && !self.away {
            self.hints.push_back(Hint::Directory(DIRECTORY.into()));
        }
    }

    pub(crate) fn rename(&mut self, judge: &mut Judge, from: &RawPath, to: &RawPath) {
        let Some(inode) = self.names.remove(from) else { return };
        let before = self.names.insert(to.clone(), inode);
        if let Some(before) = before {
            self.nameless(judge, before);
        }
        self.directory_changed();
    }

    pub(crate) fn rotate(&mut self, judge: &mut Judge, base: u8) {
        let name = |suffix| path(base * 4 + suffix);
        self.rename(judge, &name(1), &name(2));
        self.rename(judge, &name(0), &name(1));
        self.create(&name(0));
    }

    pub(crate) fn unlink(&mut self, judge: &mut Judge, path: &RawPath) {
        if let Some(inode) = self.names.remove(path) {
            self.nameless(judge, inode);
            self.directory_changed();
        }
    }

    /// A name went: what is unfinished in a file without names may be sent as it is.
    fn nameless(&mut self, judge: &mut Judge, inode: usize) {
        if self.names.values().any(|&other| other == inode) {
            return;
        }
        if let Some((line, _)) = self.inodes[inode].unfinished {
            judge.lines[line].torn = true;
        }
        self.reap(inode);
    }

    /// Gives a file up that nobody can reach.
    fn reap(&mut self, inode: usize) {
        let named = self.names.values().any(|&other| other == inode);
        if !named && !self.open.values().any(|&open| open == inode) {
            self.inodes[inode].memory = None;
        }
    }

    pub(crate) fn truncate(&mut self, judge: &mut Judge, path: &RawPath) {
        let Some(&inode) = self.names.get(path) else { return };
        // What is written behind it under a name that no pattern matches is nobody's business.
        if self.names.iter().all(|(path, &other)| other != inode || self.item_of(path).is_none()) {
            self.excused.insert(inode);
        }
        let file = &mut self.inodes[inode];
        if let Some((line, _)) = file.unfinished.take() {
            judge.lines[line].torn = true;
        }
        file.content.clear();
        file.lines.clear();
        file.life += 1;
        file.seen = 0;
        self.modified(inode, false);
    }

    pub(crate) fn copy(&mut self, judge: &mut Judge, from: &RawPath, to: &RawPath) {
        let Some(&inode) = self.names.get(from).filter(|_| from != to) else { return };
        self.unlink(judge, to);
        let copy = self.create(to);
        let file = &self.inodes[inode];
        let (content, lines, script) = (file.content.clone(), file.lines.clone(), file.script);
        for &(line, _) in &lines {
            judge.lines[line].allowed += 1;
        }
        let unfinished = file.unfinished.clone();
        if let Some((line, _)) = unfinished {
            judge.lines[line].torn = true;
            judge.lines[line].allowed += 1;
        }
        (self.inodes[copy].unfinished, self.inodes[copy].script) = (unfinished, script);
        (self.inodes[copy].content, self.inodes[copy].lines) = (content, lines);
        self.modified(copy, false);
    }

    pub(crate) fn link(&mut self, from: &RawPath, to: &RawPath) {
        let Some(&inode) = self.names.get(from) else { return };
        if !self.names.contains_key(to) {
            self.names.insert(to.clone(), inode);
            self.directory_changed();
        }
    }

    /// A link, hard or symbolic, is put in the place of whatever has the name.
    pub(crate) fn switch(&mut self, judge: &mut Judge, from: &RawPath, to: &RawPath) {
        let Some(&inode) = self.names.get(from) else { return };
        let before = self.names.insert(to.clone(), inode);
        if let Some(before) = before {
            self.nameless(judge, before);
        }
        self.directory_changed();
    }

    /// The directory goes or comes back, with all that is in it. Files that were open can be read on.
    pub(crate) fn move_directory(&mut self, away: bool) {
        if std::mem::replace(&mut self.away, away) != away && away {
            self.hints.extend(self.watched.then(|| Hint::DirectoryGone(DIRECTORY.into())));
            self.watched = false;
        }
    }

    /// The file system comes back under another number: files are known by inode and birth time.
    pub(crate) fn remount(&mut self) {
        self.device += 1;
        self.inodes.iter_mut().for_each(|file| file.id.dev = self.device);
    }

    pub(crate) fn was_remounted(&self) -> bool {
        self.device > 1
    }

    pub(crate) fn permission(&mut self, path: &RawPath, readable: bool) {
        if let Some(&inode) = self.names.get(path) {
            self.inodes[inode].readable = readable;
            self.directory_changed();
        }
    }

    pub(crate) fn overflow(&mut self) {
        self.hints.clear();
        self.hints.push_back(Hint::Overflow);
    }

    /// The process is gone, with all that it held.
    pub(crate) fn forget_process(&mut self) {
        self.watched = false;
        self.armed.clear();
        self.hints.clear();
        self.jobs.clear();
        self.jobs_done.clear();
        self.reads.clear();
        self.reads_done.clear();
        self.released.clear();
        self.troubled.clear();
        self.has_read.clear();
        let open = std::mem::take(&mut self.open);
        open.into_values().for_each(|inode| self.reap(inode));
    }

    // What the agent asks.

    pub(crate) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty() || !self.jobs_done.is_empty()
    }

    pub(crate) fn submit(&mut self, job: Job) {
        let names = (!self.away).then(|| self.names.keys().cloned().collect());
        self.jobs.push((job, names));
    }

    pub(crate) fn adopt(&mut self, source: SourceId, file: impl AsFd) {
        let inode = self.inode_of(file);
        self.open.insert(source, inode);
        self.troubled.remove(&source);
        self.has_read.remove(&source);
    }

    pub(crate) fn release(&mut self, source: SourceId) {
        self.armed.remove(&source);
        let Some(inode) = self.open.remove(&source) else { return };
        if self.has_read.contains(&source) && !self.troubled.contains(&source) {
            self.released.push((source, inode, self.inodes[inode].seen));
        }
    }

    /// Files that were closed in this turn, and that nobody can reach any more.
    pub(crate) fn take_released(&mut self) -> Vec<(SourceId, usize, usize)> {
        let released = std::mem::take(&mut self.released);
        released.iter().for_each(|&(_, inode, _)| self.reap(inode));
        let judged = |inode: &usize| self.inodes[*inode].memory.is_none() && !self.excused.contains(inode);
        released.into_iter().filter(|(_, inode, _)| judged(inode)).collect()
    }

    pub(crate) fn retire(&mut self, item: usize) {
        self.retired[item] = true;
        self.excused.extend(self.open.values());
    }

    pub(crate) fn watch(&mut self) {
        self.watched = !self.away;
    }

    pub(crate) fn arm(&mut self, source: SourceId, file: impl AsFd) {
        let inode = self.inode_of(file);
        self.armed.insert(source, inode);
    }

    pub(crate) fn disarm(&mut self, source: SourceId) {
        self.armed.remove(&source);
    }

    fn inode_of(&self, file: impl AsFd) -> usize {
        self.by_memory[&rustix::fs::fstat(file).expect("of an open file").st_ino]
    }

    /// Finishes some of the work; all of it when `random` is none.
    pub(crate) fn work(&mut self, mut random: Option<&mut Random>) {
        let mut now = |chance| random.as_deref_mut().is_none_or(|random| random.percent(chance));
        let (jobs, later) = std::mem::take(&mut self.jobs).into_iter().partition(|_| now(60));
        self.jobs = later;
        let (reads, later): (Vec<_>, _) = std::mem::take(&mut self.reads).into_iter().partition(|_| now(70));
        self.reads = later;
        let mut cut = Random::of(self.births as u64 + reads.len() as u64);
        for (job, before) in jobs {
            let done = self.finish_job(job, before.as_ref());
            self.jobs_done.push_back(done);
        }
        for read in reads {
            let done = self.finish_read(read, random.as_deref_mut().unwrap_or(&mut cut));
            self.reads_done.push_back(done);
        }
    }

    fn finish_job(&mut self, job: Job, before: Option<&BTreeSet<RawPath>>) -> Done {
        match job {
            Job::List { directory } => {
                let before = before.filter(|_| !self.away);
                let failing = before.is_none() || take(&mut self.faults.listings_failing);
                let mut problems = Vec::new();
                let mut entries = Vec::new();
                if failing {
                    problems.push(trouble("list", &directory, if before.is_none() { ENOENT } else { EIO }));
                }
                // A name that came while the directory was read may be missing; one that went, is.
                let listed = |path: &RawPath| !failing && before.is_some_and(|before| before.contains(path));
                for (path, &inode) in self.names.iter().filter(|(path, _)| listed(path)) {
                    let file = &self.inodes[inode];
                    entries.push(Entry {
                        path: path.clone(),
                        item: self.item_of(path),
                        file: file.id,
                        size: file.content.len() as u64,
                        modified_ns: file.modified_ns,
                    });
                }
                let listing = Listing { directory, entries, complete: !failing };
                Done::Listed { listing, directories: Vec::new(), problems, device: None }
            }
            Job::Open { source, path, start, .. } => {
                let Start::At(position) = start else {
                    unreachable!("items are read from the beginning here")
                };
                let result = self.open_file(&path, position);
                let result = result.map_err(|errno| trouble("open", &path, errno));
                Done::Opened { source, result }
            }
        }
    }

    fn open_file(&mut self, path: &RawPath, position: Position) -> Result<Opened, i32> {
        let &inode = self.names.get(path).filter(|_| !self.away).ok_or(ENOENT)?;
        let file = &self.inodes[inode];
        if take(&mut self.faults.opens_without_descriptor) {
            return Err(EMFILE);
        }
        if take(&mut self.faults.opens_failing) {
            return Err(EIO);
        }
        if !file.readable {
            return Err(EACCES);
        }
        let memory = file.memory.as_ref().expect("a file with a name");
        let before = position.0 as usize;
        let end = before.min(file.content.len());
        // As the real one: bytes from so many before the position on, however short the file is.
        let start = before.saturating_sub(GUARD_BYTES_MAX).min(end);
        Ok(Opened {
            fd: memory.try_clone().expect("a descriptor"),
            file: file.id,
            size: file.content.len() as u64,
            head: file.content[..file.content.len().min(1024)].to_vec(),
            position,
            before: file.content[start..end].to_vec(),
            timeless: false,
        })
    }

    fn finish_read(&mut self, read: Read, random: &mut Random) -> ReadDone {
        let Read { source, position, mut buffer, want } = read;
        buffer.clear();
        let errno = [EIO, ESTALE, EINTR][random.below(3)];
        let Some(&inode) = self.open.get(&source).filter(|_| !take(&mut self.faults.reads_failing)) else {
            self.troubled.insert(source);
            let result = Err(io::Error::from_raw_os_error(errno));
            return ReadDone { source, position, want, buffer, result };
        };
        let file = &mut self.inodes[inode];
        let from = (position.0 as usize).min(file.content.len());
        let mut upto = file.content.len().min(from + want);
        if upto > from + 1 && !self.cut_last.contains(&inode) && take(&mut self.faults.reads_cut) {
            self.cut_last.insert(inode);
            upto = from + 1 + random.below(upto - from - 1);
        }
        if upto == file.content.len().min(from + want) {
            self.cut_last.remove(&inode);
        }
        buffer.extend_from_slice(&file.content[from..upto]);
        file.seen = upto;
        self.has_read.insert(source);
        ReadDone { source, position, want, buffer, result: Ok(()) }
    }
}

/// Whether a fault happens once more.
fn take(count: &mut u8) -> bool {
    let happens = *count > 0;
    *count -= u8::from(happens);
    happens
}

fn trouble(operation: &'static str, path: &RawPath, errno: i32) -> FileError {
    let path = String::from_utf8_lossy(path).into_owned().into();
    FileError { operation, path, source: io::Error::from_raw_os_error(errno) }
}
