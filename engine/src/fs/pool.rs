//! The threads that do the jobs.
//!
//! Jobs of one directory are done one after the other, so a directory that hangs holds one thread; the directories
//! take turns. A thread whose job has hung for a while is replaced, up to a bound, and no other
//! job of the same dead mount is started until it comes back. Its answer, however late, is delivered.
//!
//! The pool has no clock: time comes with [`FsPool::tick`], and a job's time starts at the first tick
//! that finds it running. Threads are never joined, since one may never return.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logdrive_core::discover::RawPath;
use logdrive_core::position::Nanos;

use super::error::Refusal;
use super::mounts::remote_mount_of;
use super::{Done, FileError, Job, Rules};
use crate::bell::Bell;

/// Threads that are not hung.
const THREADS: usize = 2;

/// Threads in all, hung ones included.
const THREADS_MAX: usize = 8;

/// A job that runs longer has hung.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// A queue of jobs, threads that do them, and their answers.
#[derive(Debug)]
pub struct FsPool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    bell: Bell,
}

struct State {
    rules: Arc<dyn Rules>,
    /// Jobs not started, by directory, oldest first; no queue is empty.
    waiting: HashMap<RawPath, VecDeque<Job>>,
    /// Directories with waiting jobs and none running, in the order of their turns.
    turns: VecDeque<RawPath>,
    running: HashMap<RawPath, Running>,
    done: VecDeque<Done>,
    threads: usize,
    /// The pool is dropped: threads end.
    stopped: bool,
}

/// A job on a thread.
enum Running {
    /// No tick has seen it yet.
    New,
    Since(Nanos),
    /// For too long; on this mount, if that is one that can be dead as a whole.
    Hung {
        mount: Option<PathBuf>,
    },
}

impl FsPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(bell: Bell, rules: Arc<dyn Rules>) -> io::Result<FsPool> {
        let state = State {
            rules,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            running: HashMap::new(),
            done: VecDeque::new(),
            threads: 0,
            stopped: false,
        };
        let pool = FsPool(Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), bell }));
        let mut state = pool.0.lock();
        while state.threads < THREADS {
            pool.start_thread(&mut state)?;
        }
        drop(state);
        Ok(pool)
    }

    /// Queues a job; the bell rings when it is done.
    pub fn submit(&self, job: Job) {
        let directory = job.directory();
        let mut state = self.0.lock();
        let queue = state.waiting.entry(directory.clone()).or_default();
        queue.push_back(job);
        if queue.len() == 1 && !state.running.contains_key(&directory) {
            state.turns.push_back(directory);
            drop(state);
            self.0.work.notify_one();
        }
    }

    /// The next answer.
    pub fn poll_done(&self) -> Option<Done> {
        self.0.lock().done.pop_front()
    }

    /// Jobs that start from now on follow these rules.
    pub fn replace_rules(&self, rules: Arc<dyn Rules>) {
        self.0.lock().rules = rules;
    }

    /// Looks for jobs that have hung, once a second or so.
    pub fn tick(&self, now: Nanos) {
        let mut state = self.0.lock();
        let State { running, done, .. } = &mut *state;
        for (directory, job) in running.iter_mut() {
            match job {
                Running::New => *job = Running::Since(now),
                Running::Since(start) if now.since(*start) >= HUNG_AFTER => {
                    let path: &Path = OsStr::from_bytes(directory).as_ref();
                    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
                    *job = Running::Hung { mount: remote_mount_of(path, &mounts) };
                    let source = Refusal::Hung(HUNG_AFTER).into();
                    done.push_back(Done::Hung(FileError { operation: "use", path: path.into(), source }));
                    self.0.bell.ring();
                }
                Running::Since(_) | Running::Hung { .. } => {}
            }
        }
        while state.threads - state.hung() < THREADS && state.threads < THREADS_MAX {
            // Refused now, it is tried again at the next tick.
            if self.start_thread(&mut state).is_err() {
                break;
            }
        }
    }

    fn start_thread(&self, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        std::thread::Builder::new().name("fs".to_owned()).spawn(move || shared.serve())?;
        state.threads += 1;
        Ok(())
    }
}

impl Drop for FsPool {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.stopped || state.threads - state.hung() > THREADS {
                state.threads -= 1;
                return;
            }
            let Some((directory, job)) = state.take() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let rules = Arc::clone(&state.rules);
            drop(state);
            let done = job.run(&*rules);
            state = self.lock();
            state.done.push_back(done);
            if state.finish(directory) {
                // The jobs that its mount held back are for everyone.
                self.work.notify_all();
            }
            self.bell.ring();
        }
    }
}

impl State {
    /// The first job of the directory whose turn it is.
    fn take(&mut self) -> Option<(RawPath, Job)> {
        let at = self.turns.iter().position(|directory| !self.is_held(directory))?;
        let directory = self.turns.remove(at)?;
        let queue = self.waiting.get_mut(&directory)?;
        let job = queue.pop_front()?;
        if queue.is_empty() {
            self.waiting.remove(&directory);
        }
        self.running.insert(directory.clone(), Running::New);
        Some((directory, job))
    }

    /// Gives the directory its next turn; whether the job had hung.
    fn finish(&mut self, directory: RawPath) -> bool {
        let hung = matches!(self.running.remove(&directory), Some(Running::Hung { .. }));
        if self.waiting.contains_key(&directory) {
            self.turns.push_back(directory);
        }
        hung
    }

    /// Whether a job of this directory would hang like another one on the same mount.
    fn is_held(&self, directory: &RawPath) -> bool {
        let path: &Path = OsStr::from_bytes(directory).as_ref();
        self.running
            .values()
            .any(|job| matches!(job, Running::Hung { mount: Some(mount) } if path.starts_with(mount)))
    }

    fn hung(&self) -> usize {
        self.running.values().filter(|job| matches!(job, Running::Hung { .. })).count()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        let running: Vec<_> = state.running.keys().collect();
        f.debug_struct("FsPool").field("threads", &state.threads).field("running", &running).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use logdrive_core::source::ItemId;
    use tempfile::TempDir;

    use super::*;
    use crate::fs::{FileErrorKind, Symlinks};

    /// Rules that never answer about paths with `hung` in them until they are let go: what a dead mount does
    /// to its thread.
    #[derive(Default)]
    struct DeadMount {
        released: Mutex<bool>,
        changed: Condvar,
        /// How many jobs are asking, and how many at most did at once.
        asking: AtomicUsize,
        asking_max: AtomicUsize,
    }

    impl DeadMount {
        fn release(&self) {
            *self.released.lock().unwrap() = true;
            self.changed.notify_all();
        }
    }

    impl Rules for DeadMount {
        fn first_match(&self, path: &[u8]) -> Option<ItemId> {
            self.asking_max.fetch_max(self.asking.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            if path.windows(4).any(|part| part == b"hung") {
                let released = self.released.lock().unwrap();
                drop(self.changed.wait_while(released, |released| !*released).unwrap());
            }
            self.asking.fetch_sub(1, Ordering::SeqCst);
            Some(ItemId(0))
        }
        fn could_match_below(&self, _: &[u8]) -> bool {
            false
        }
        fn symlinks(&self, _: ItemId) -> Symlinks {
            Symlinks::Never
        }
        fn follows_below(&self, _: &[u8]) -> bool {
            false
        }
        fn spelled_out(&self, directory: &[u8]) -> usize {
            directory.len()
        }
    }

    struct World {
        root: TempDir,
        rules: Arc<DeadMount>,
        bell: Bell,
        pool: FsPool,
    }

    impl World {
        /// A directory for each name, with one file in it.
        fn of(names: &[&str]) -> World {
            let root = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::create_dir(root.path().join(name)).unwrap();
                std::fs::write(root.path().join(name).join("a.log"), "one\n").unwrap();
            }
            let (rules, bell) = (Arc::new(DeadMount::default()), Bell::default());
            let pool = FsPool::new(bell.clone(), rules.clone()).unwrap();
            World { root, rules, bell, pool }
        }

        fn list(&self, name: &str) {
            let directory = self.root.path().join(name).as_os_str().as_bytes().into();
            self.pool.submit(Job::List { directory });
        }

        /// The next answer: the directory's name, marked when it hung.
        fn next(&self) -> String {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let done = loop {
                match self.pool.poll_done() {
                    Some(done) => break done,
                    None => runtime.block_on(self.bell.wait()),
                }
            };
            let name = |path: &[u8]| String::from_utf8_lossy(super::super::split(path).1).into_owned();
            match done {
                Done::Listed { listing, problems, .. } => {
                    assert!(listing.complete && problems.is_empty() && listing.entries.len() == 1);
                    name(&listing.directory)
                }
                Done::Hung(error) => {
                    assert_eq!(error.kind(), FileErrorKind::FileSystem);
                    format!("{}!", name(error.path.as_os_str().as_bytes()))
                }
                other @ Done::Opened { .. } => panic!("{other:?}"),
            }
        }

        /// Returns when that many jobs hang.
        fn wait_for_hung(&self, count: usize) {
            while self.rules.asking.load(Ordering::SeqCst) < count {
                std::thread::yield_now();
            }
        }

        fn tick(&self, seconds: u64) {
            self.pool.tick(Nanos(seconds * 1_000_000_000));
        }
    }

    #[test]
    fn f11_a_directory_that_hangs_holds_only_its_own_and_its_answer_is_taken_late() {
        let world = World::of(&["hung-1", "hung-2", "hung-3", "b", "c"]);
        world.list("hung-1");
        world.list("hung-1");
        world.wait_for_hung(1);
        for name in ["b", "c", "b"] {
            world.list(name);
            assert_eq!(world.next(), name);
        }
        world.list("hung-2");
        world.wait_for_hung(2);
        world.list("c");
        world.tick(5);
        world.tick(14);
        assert!(world.pool.poll_done().is_none(), "no thread is left, and none has hung for 10 s");
        world.tick(15);
        let mut first = [world.next(), world.next(), world.next()];
        first.sort();
        assert_eq!(first, ["c", "hung-1!", "hung-2!"]);
        world.tick(1000);
        world.list("b");
        assert_eq!(world.next(), "b", "what hung is told once, and the rest goes on");

        world.rules.release();
        let mut late = [world.next(), world.next(), world.next()];
        late.sort();
        assert_eq!(late, ["hung-1", "hung-1", "hung-2"]);
    }

    #[test]
    fn f11_replacements_are_bounded_and_leave_when_the_hung_come_back() {
        let names: Vec<String> = (0..THREADS_MAX + 1).map(|n| format!("hung-{n}")).collect();
        let world = World::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for name in &names {
            world.list(name);
        }
        let running = || world.pool.0.lock().running.len();
        let mut seconds = 0;
        let mut tick = || {
            seconds += 100;
            world.tick(seconds);
        };
        while running() < THREADS_MAX {
            tick();
            std::thread::yield_now();
        }
        world.wait_for_hung(THREADS_MAX);
        tick();
        tick();
        assert_eq!(world.pool.0.lock().threads, THREADS_MAX);
        assert_eq!(world.pool.0.lock().waiting.len(), 1, "one more than there may be threads");
        world.rules.release();
        let mut answers: Vec<String> = (0..2 * THREADS_MAX + 1).map(|_| world.next()).collect();
        answers.retain(|answer| !answer.ends_with('!'));
        answers.sort();
        assert_eq!(answers, names);
        while world.pool.0.lock().threads > THREADS {
            std::thread::yield_now();
        }
    }

    #[test]
    fn jobs_of_one_directory_are_done_one_after_the_other() {
        let world = World::of(&["a"]);
        for _ in 0..200 {
            world.list("a");
        }
        for _ in 0..200 {
            assert_eq!(world.next(), "a");
        }
        assert_eq!(world.rules.asking_max.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn f11_jobs_of_a_dead_mount_wait_for_the_one_that_hung() {
        let world = World::of(&["a"]);
        let mut state = world.pool.0.lock();
        let hung = Running::Hung { mount: Some("/mnt/dead".into()) };
        state.running.insert(b"/mnt/dead/a"[..].into(), hung);
        assert!(state.is_held(&b"/mnt/dead/b/c"[..].into()));
        assert!(!state.is_held(&b"/mnt/deadly"[..].into()));
        assert!(state.finish(b"/mnt/dead/a"[..].into()));
        assert!(!state.is_held(&b"/mnt/dead/b/c"[..].into()));
    }

    #[test]
    fn new_rules_hold_for_the_next_job() {
        let world = World::of(&["hung"]);
        world.pool.replace_rules(Arc::new(DeadMount { released: Mutex::new(true), ..DeadMount::default() }));
        world.list("hung");
        assert_eq!(world.next(), "hung");
    }
}
