//! The simulator: the driver and the core as they are, in a world that a seed makes up.
//!
//! # The fault model
//!
//! **Files.** One directory, three bases (`a`, `b` of one item, `c` of another) with up to four names each, one
//! of which no pattern matches. Files are appended to (also unfinished lines, also behind holes, also unseen by
//! inotify), rotated, renamed over each other, unlinked while read and written, truncated, copied, copied and
//! truncated, linked, replaced by a link, made unreadable. The directory goes and comes back with all that is in
//! it; the file system comes back under another device number. Inode numbers are reused at once; in one run of
//! five the file system keeps no birth times; in three of ten the files of `c` are in UTF-16 of either byte order. Reads fail (EIO, ESTALE, EINTR) or are short; opening fails (EIO,
//! EACCES, EMFILE); listings fail, or miss what was renamed or created meanwhile; every job takes as long as it
//! likes. inotify's queue overflows. In one run of four only two files may be open.
//!
//! **Kafka.** Three partitions keep their order; acknowledgements are late, partial, in another order across
//! partitions, and sometimes within one. A producer, or all of them after a fatal error, gives up what it holds: a
//! prefix of that is stored, and of that it may say so or not. The queue is full, a topic is away, a partition
//! takes nothing, a record is refused for good.
//!
//! **Process, disk of the state, time.** A kill within a turn finds what the page cache had, and what was not
//! synced before it still is not; a power cut finds any mixture of old and new sectors and names since the last
//! sync. Syncs fail, the disk is full. Items are retired and come back, across restarts too, and change their pace.
//! The wall clock jumps, the agent is stopped for a minute.
//!
//! # What is judged
//!
//! After every step: the chain of positions (the engine asserts it), memory and descriptors (B), no spinning, no
//! record that nobody wrote (I), first occurrences in the order of their file (O), no record more often than
//! losses, refusals, crashes and copies explain (D), positions after a crash at least what was promised (S), no
//! deleted file closed before what was seen of it has arrived (L). At the end all faults stop: within simulated
//! minutes everything is read and acknowledged, every complete line of every file that is there has arrived (L),
//! no more generations are remembered than there are files, and a last kill brings nothing twice.
//!
//! # What is not in it
//!
//! Log files that lose data in a power cut, what a symbolic link may lead to (tests on real file systems),
//! `read_from = "end"`, multiline and filters (the framing's own tests), io_uring, librdkafka itself.
//!
//! A failure prints its seed and the shortest script found that still fails; such a script becomes
//! a test in `found.rs`. `LOGDRIVE_SIM_SEEDS=2000..20000` chooses other seeds. Whether bugs would be found at all
//! is the question of `scripts/checks/planted-bugs.sh`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod found;
mod found_copies;
mod judge;
mod machine;
mod random;
mod run;
mod script;
#[allow(dead_code, reason = "the tests of the state use the rest")]
#[path = "../state_disk/mod.rs"]
mod state_disk;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..2000;
/// Failures that are told of at most.
const FAILURES_MAX: usize = 5;
/// Steps of a run; each is followed by up to three turns of the agent, or by as many as it waits for.
const STEPS: usize = 150;
/// A line for each so many seeds.
const TOLD_EVERY: u64 = 50_000;
/// Seeds that a thread takes at a time.
const SHARE: u64 = 100;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("LOGDRIVE_SIM_SEEDS") else { return SEEDS };
    let (from, upto) = text.split_once("..").expect("LOGDRIVE_SIM_SEEDS is like 0..1000");
    from.parse().expect("a first seed")..upto.parse().expect("a last seed")
}

/// What all threads have done so far.
#[derive(Debug, Default)]
struct Tally {
    next: AtomicU64,
    runs: AtomicU64,
    turns: AtomicU64,
    lines: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    /// Runs the seeds that nobody has taken yet, until there are none or enough of them have failed.
    fn work(&self, seeds: &Range<u64>) {
        while self.failures.lock().unwrap().len() < FAILURES_MAX {
            let first = seeds.start + self.next.fetch_add(SHARE, Ordering::Relaxed);
            if first >= seeds.end {
                return;
            }
            for seed in first..seeds.end.min(first + SHARE) {
                self.run(seed);
            }
            // Seen with --nocapture.
            if first.is_multiple_of(TOLD_EVERY) {
                println!("seed {first} of {seeds:?}");
            }
        }
    }

    fn run(&self, seed: u64) {
        let steps = script::generate(seed, STEPS);
        match run::run(seed, &steps) {
            Ok(trace) => {
                self.runs.fetch_add(1, Ordering::Relaxed);
                self.turns.fetch_add(trace.turns, Ordering::Relaxed);
                self.lines.fetch_add(trace.lines, Ordering::Relaxed);
            }
            Err(wrong) => {
                let (short, wrong) = run::shrink(seed, steps, wrong);
                let lines: String = short.iter().map(|step| format!("    {step:?},\n")).collect();
                let failure = format!("seed {seed}: {wrong}\nrun({seed}, &[\n{lines}])\n");
                self.failures.lock().unwrap().push(failure);
            }
        }
    }
}

#[test]
fn no_seed_breaks_a_promise() {
    // A panic inside a run is a result like any other, and told with its script.
    std::panic::set_hook(Box::new(|_| {}));
    let (tally, seeds, begin) = (Tally::default(), seeds(), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| tally.work(&seeds));
        }
    });
    let _quiet = std::panic::take_hook();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "seeds {seeds:?}: {} runs of {STEPS} steps kept every promise; {} turns, {} lines, {:.0} s on {threads} threads",
        count(&tally.runs),
        count(&tally.turns),
        count(&tally.lines),
        begin.elapsed().as_secs_f64(),
    );
    let failures = tally.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.concat());
}

#[test]
fn a_seed_replays_everything() {
    for seed in 0..20 {
        let steps = script::generate(seed, STEPS);
        assert_eq!(run::run(seed, &steps), run::run(seed, &steps), "seed {seed}");
    }
}
