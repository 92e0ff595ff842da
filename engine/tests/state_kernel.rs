//! The state store on real file systems: killed, or without power, before each single operation of its life.
//!
//! The process that dies is another one, which runs the same life with the same operations, so its
//! history is known from a run that was left alone. What is found afterwards is held against that.

#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logdrive::bell::Bell;
use logdrive::state::{self, Sight, StateStore, Storage, StorageFile};
use logdrive_core::source::GenerationId;
use rustix::process::{Signal, getpid, kill_process};

#[path = "state_disk/history.rs"]
#[allow(dead_code, reason = "the simulated disk uses the rest")]
mod history;
mod loop_disk;
#[path = "state_disk/recorded.rs"]
mod recorded;
#[allow(dead_code, reason = "the simulated disk uses the rest")]
mod state_disk;
use history::History;
use loop_disk::Shelf;
use recorded::{Counted, Recorded, open, positions};
use state_disk::Disk as Image;

/// A real folder. It counts its operations, and the process ends before the one that is its last.
#[derive(Clone, Debug)]
struct Mortal {
    disk: Arc<state::Disk>,
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    ops: AtomicUsize,
    /// How many operations are carried out.
    lasts: usize,
    sync_faults: AtomicUsize,
}

impl Account {
    fn op(&self) {
        if self.ops.fetch_add(1, Ordering::Relaxed) == self.lasts {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

impl Mortal {
    fn at(dir: &Path, lasts: usize) -> Mortal {
        let account = Account { ops: AtomicUsize::new(0), lasts, sync_faults: AtomicUsize::new(0) };
        Mortal { disk: Arc::new(state::Disk::at(dir).unwrap()), account: Arc::new(account) }
    }

    /// Lets the next `count` syncs of files fail.
    fn fail_syncs(&self, count: usize) {
        self.account.sync_faults.store(count, Ordering::Relaxed);
    }

    fn file(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(MortalFile { file, account: Arc::clone(&self.account) })
    }
}

impl Counted for Mortal {
    fn ops(&self) -> usize {
        self.account.ops.load(Ordering::Relaxed)
    }
}

impl Storage for Mortal {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn StorageFile>>> {
        Ok(self.disk.open(name)?.map(|file| self.file(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.account.op();
        Ok(self.file(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.account.op();
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.account.op();
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.account.op();
        self.disk.sync_folder()
    }
}

#[derive(Debug)]
struct MortalFile {
    file: Arc<dyn StorageFile>,
    account: Arc<Account>,
}

impl StorageFile for MortalFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.account.op();
        self.file.write_at(offset, bytes)
    }

    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.file.read_all()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.account.op();
        self.file.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.account.op();
        let failing =
            self.account.sync_faults.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if failing.is_ok() { Err(io::Error::from_raw_os_error(5)) } else { self.file.sync() }
    }
}

/// A life, and what a kill in the middle of it has to leave.
struct Life {
    name: &'static str,
    live: fn(Mortal) -> Recorded<Mortal>,
    /// A kill leaves what was written, not only what was synced.
    kills_keep_all: bool,
}

const LIVES: [Life; 2] = [
    Life { name: "plain", live: plain_life, kills_keep_all: true },
    Life { name: "poisoned", live: poisoned_life, kills_keep_all: false },
];

/// First start, files that come and go, names, a second start.
fn plain_life(disk: Mortal) -> Recorded<Mortal> {
    let mut run = Recorded::on(disk);
    run.store.first_sight("web", Sight::Once, 5);
    run.put(1, 10);
    run.store.name(GenerationId(1), "/l/a");
    run.put(2, 20);
    run.sync();
    run.put(1, 11);
    run.put(1, 12);
    run.put(2, 21);
    run.sync();
    run.free(2);
    run.put(3, 30);
    run.store.name(GenerationId(1), "/l/a.1");
    run.request();
    // Written while the sync is under way.
    run.put(1, 13);
    run.put(3, 31);
    run.step();
    run.sync();
    let mut run = run.reopened();
    run.put(3, 32);
    run.put(4, 40);
    run.sync();
    run.free(1);
    run.free(3);
    run.sync();
    run
}

/// A sync fails, a new file is written while updates go on, and then again.
fn poisoned_life(disk: Mortal) -> Recorded<Mortal> {
    let mut run = Recorded::on(disk);
    run.put(1, 10);
    run.put(2, 20);
    run.sync();
    for round in 0..2 {
        run.put(1, 11 + 10 * round);
        run.disk.fail_syncs(1);
        run.request();
        run.syncer.step();
        run.store.poll_synced().unwrap().unwrap_err();
        run.put(2, 21 + 10 * round);
        run.request();
        run.put(1, 12 + 10 * round);
        run.put(3 + round, 30);
        run.step();
        assert!(run.store.is_healthy());
        run.sync();
    }
    run
}

const CHILD_DIR: &str = "LOGDRIVE_TEST_STATE_DIR";
const CHILD_LIFE: &str = "LOGDRIVE_TEST_STATE_LIFE";
const CHILD_LASTS: &str = "LOGDRIVE_TEST_STATE_LASTS";

/// Not a test by itself: the process that dies.
#[test]
fn child() {
    let (Some(dir), Ok(name)) = (std::env::var_os(CHILD_DIR), std::env::var(CHILD_LIFE)) else { return };
    let lasts = std::env::var(CHILD_LASTS).unwrap().parse().unwrap();
    let life = LIVES.iter().find(|life| life.name == name).unwrap();
    (life.live)(Mortal::at(Path::new(&dir), lasts));
}

/// Lets a process live this life in the folder for so many operations.
fn die(life: &Life, dir: &Path, lasts: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--test-threads=1"]);
    child.env(CHILD_DIR, dir).env(CHILD_LIFE, life.name).env(CHILD_LASTS, lasts.to_string());
    let output = child.output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{lasts}: {output:?}");
}

/// Every file of a folder; nothing when there is no folder.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

/// What a whole undisturbed life is like.
fn history(life: &Life) -> (History, usize) {
    let dir = tempfile::tempdir().unwrap();
    let run = (life.live)(Mortal::at(dir.path(), usize::MAX));
    (run.history, run.disk.ops())
}

/// The real folder opens, with the same positions as the copy that was judged.
fn assert_opens(dir: &Path, judged: &Image) {
    let (_, expected, _) = open(judged).unwrap();
    let (_store, found) = StateStore::open(dir, Bell::default(), 0).unwrap();
    assert_eq!(positions(&found), positions(&expected), "{}", dir.display());
}

fn check_after_kill(life: &Life, history: &History, dir: &Path, lasts: usize) {
    let found = Image::holding(&content(dir));
    match life.kills_keep_all {
        true => history.check_killed(lasts, &found),
        false => history.check_synced("kill", lasts, &found),
    }
}

#[test]
fn s02_killed_before_each_operation_on_a_real_file_system() {
    for life in &LIVES {
        let (history, ops) = history(life);
        for lasts in 0..ops {
            let parent = tempfile::tempdir().unwrap();
            die(life, parent.path(), lasts);
            let judged = Image::holding(&content(parent.path()));
            check_after_kill(life, &history, parent.path(), lasts);
            std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .unwrap();
            assert_opens(parent.path(), &judged);
        }
        println!("{}: killed {ops} times", life.name);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[test]
fn s03_the_power_goes_before_each_operation_on_ext4() {
    let parent = tempfile::tempdir().unwrap();
    let Some(shelf) = Shelf::below(parent.path(), run) else { return };
    let disk = shelf.format("used", 16).unwrap();
    for life in &LIVES {
        let (history, ops) = history(life);
        // Most of a power cut takes what was not synced; how often it did shows that it is one.
        let mut taken = 0;
        for lasts in 0..ops {
            let name = format!("{}-{lasts}", life.name);
            let dir = disk.path().join(&name);
            std::fs::create_dir(&dir).unwrap();
            // As `StateStore::open` does for a folder that it makes.
            std::fs::File::open(disk.path()).unwrap().sync_all().unwrap();
            die(life, &dir, lasts);
            let cut = disk.cut("cut");
            check_after_kill(life, &history, &dir, lasts);
            let after = shelf.attach(&cut).unwrap();
            let dir_after = after.path().join(&name);
            let found = content(&dir_after);
            taken += usize::from(found != content(&dir));
            let judged = Image::holding(&found);
            history.check_synced("power cut", lasts, &judged);
            std::fs::set_permissions(&dir_after, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .unwrap();
            assert_opens(&dir_after, &judged);
            std::fs::remove_dir_all(&dir).unwrap();
        }
        assert!(taken > ops / 4, "only {taken} of {ops} power cuts took anything");
        println!("{}: {ops} power cuts, {taken} of which took something", life.name);
    }
}
