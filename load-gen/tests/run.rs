//! Whole runs on a simulated clock: what stands in the files is what the journal says, whatever time does.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logdrive_load::files::{Full, Means, Rotation};
use logdrive_load::format::Format;
use logdrive_load::journal::{Generation, Journal};
use logdrive_load::run::{Clock, End, Options, RunError, Text, Writes, run};
use logdrive_load::schedule::{Rate, Schedule};
use logdrive_load::spread::Spread;
use logdrive_load::stamp::{Stamp, decode};

const START_NS: u64 = 1_700_000_000_000_000_000;

/// Time that passes by a microsecond at each look, exactly as asked when sleeping, and once by a stall.
#[derive(Clone, Default)]
struct SimulatedClock {
    now: u64,
    sleeps: u64,
    /// When the machine stalls, and until when.
    stall: Option<(u64, u64)>,
}

impl Clock for SimulatedClock {
    fn start(&mut self) -> u64 {
        START_NS
    }

    fn elapsed_ns(&mut self) -> u64 {
        self.now += 1_000;
        if let Some((from, to)) = self.stall
            && self.now >= from
        {
            self.now = to;
            self.stall = None;
        }
        self.now
    }

    fn sleep_until(&mut self, elapsed_ns: u64) {
        assert!(elapsed_ns > self.now, "a sleep of no time is a busy loop");
        self.sleeps += 1;
        self.now = elapsed_ns;
    }
}

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

fn made(format: Format, line_bytes: &str) -> Text {
    Text::Made { format, line_bytes: line_bytes.parse().unwrap() }
}

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.into(),
        files: 1,
        threads: 1,
        spread: Spread::Uniform,
        rate: rate("1000"),
        end: End::After(Duration::from_secs(2)),
        text: made(Format::Plain, "100..300"),
        rotation: None,
        seed: 1,
        run: 0xabcd,
        writes: Writes::Buffered,
        tick: Duration::from_millis(1),
    }
}

fn go(options: &Options, clock: &mut SimulatedClock) -> Journal {
    run(options, clock, &AtomicBool::new(false), |_| {}).unwrap()
}

/// The stamps of a file's records. A record ends with the line with which it is whole.
fn stamps_of(text: &[u8]) -> Vec<Stamp> {
    let (mut stamps, mut start) = (Vec::new(), 0);
    for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if let Ok(stamp) = decode(&text[start..at]) {
            stamps.push(stamp);
            start = at + 1;
        }
    }
    assert_eq!(start, text.len(), "{}", text[start..].escape_ascii());
    stamps
}

/// All lines in the files of a directory, and what a journal ought to say about them.
fn read_back(dir: &Path) -> (Vec<Stamp>, Vec<Generation>) {
    let (mut stamps, mut generations) = (Vec::new(), BTreeMap::new());
    for entry in fs::read_dir(dir).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let of_file = stamps_of(&text);
        let Some(first) = of_file.first() else { continue };
        let expected = Generation {
            writer: first.writer,
            generation: first.generation,
            first_seq: first.sequence,
            last_seq: first.sequence + of_file.len() as u64 - 1,
            lines: of_file.len() as u64,
            bytes: text.len() as u64,
            crc: crc32c::crc32c(&text),
        };
        for (stamp, sequence) in of_file.iter().zip(first.sequence..) {
            assert_eq!(
                (stamp.writer, stamp.generation, stamp.sequence),
                (first.writer, first.generation, sequence)
            );
        }
        assert_eq!(generations.insert((first.writer, first.generation), expected), None);
        stamps.extend(of_file);
    }
    stamps.sort_by_key(|stamp| (stamp.intended_ns, stamp.sequence, stamp.writer));
    (stamps, generations.into_values().collect())
}

#[test]
fn every_line_stands_in_the_files_and_the_journal_tells_them_all() {
    let rotations = [
        None,
        Some((Means::Rename, Full::Bytes(4_000))),
        Some((Means::CopyTruncate, Full::Lines(150))),
        Some((Means::Rename, Full::Every(Duration::from_millis(300)))),
    ];
    for writes in [Writes::Buffered, Writes::Single] {
        for (files, rotation) in [1, 3, 64].into_iter().zip(rotations.iter().cycle().skip(1)) {
            let dir = tempfile::tempdir().unwrap();
            let rotation = rotation.map(|(means, full)| Rotation { means, full, keep: None });
            let options = Options { files, rotation, writes, ..options(dir.path()) };
            let journal = go(&options, &mut SimulatedClock::default());
            let (stamps, generations) = read_back(dir.path());
            assert_eq!(journal.generations, generations, "{options:?}");
            assert_eq!((journal.header.lines, stamps.len()), (2_000, 2_000));
            assert!(generations.len() > files as usize || rotation.is_none());
        }
    }
}

#[test]
fn rotation_keeps_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let rotation = Some(Rotation { means: Means::Rename, full: Full::Bytes(5_000), keep: None });
    let journal = go(&Options { rotation, ..options(dir.path()) }, &mut SimulatedClock::default());
    assert!(journal.generations.iter().all(|generation| generation.bytes <= 5_000));
    let all_but_last = &journal.generations[..journal.generations.len() - 1];
    assert!(
        all_but_last.iter().all(|generation| generation.bytes > 5_000 - 301),
        "none is rotated too early"
    );
}

#[test]
fn lines_go_round_robin_and_carry_the_time_they_were_due() {
    let dir = tempfile::tempdir().unwrap();
    go(&Options { files: 3, ..options(dir.path()) }, &mut SimulatedClock::default());
    let mut due = Vec::new();
    Schedule::parse("1000").unwrap().arrivals(1, 0).take_due(u64::MAX - 1, 2000, &mut due);
    for (stamp, line) in read_back(dir.path()).0.iter().zip(0..) {
        let expected = Stamp {
            run: 0xabcd,
            writer: (line % 3) as u16,
            generation: 0,
            sequence: line / 3,
            intended_ns: START_NS + due[line as usize],
        };
        assert_eq!(*stamp, expected);
    }
}

#[test]
fn a_stall_delays_writing_but_not_the_time_in_the_lines() {
    let (dir, calm_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stall = Some((500_000_000, 800_000_000));
    let stalled = go(&options(dir.path()), &mut SimulatedClock { stall, ..SimulatedClock::default() });
    let calm = go(&options(calm_dir.path()), &mut SimulatedClock::default());
    assert_eq!(
        fs::read(dir.path().join("load-0.log")).unwrap(),
        fs::read(calm_dir.path().join("load-0.log")).unwrap()
    );
    assert_eq!(calm.header.pace.lines_late, 0);
    assert!(calm.header.pace.lateness_max_ns < 1_000_000);
    let pace = stalled.header.pace;
    assert!((298_000_000..301_000_000).contains(&pace.lateness_max_ns), "{pace:?}");
    assert!((286..=290).contains(&pace.lines_late), "those due in the first 289 of 300 ms: {pace:?}");
    assert!((999.0..=1000.1).contains(&pace.achieved_per_second), "it caught up: {pace:?}");
}

#[test]
fn a_slow_run_sleeps_between_lines_instead_of_polling() {
    let dir = tempfile::tempdir().unwrap();
    let mut clock = SimulatedClock::default();
    let slow = Options { rate: rate("1"), end: End::Lines(3), ..options(dir.path()) };
    let journal = go(&slow, &mut clock);
    assert_eq!((journal.header.lines, journal.header.pace.achieved_per_second.round()), (3, 1.0));
    assert!(clock.sleeps <= 25, "{} sleeps in 2 s, at most one per 100 ms is needed", clock.sleeps);
}

#[test]
fn as_fast_as_possible_ends_at_the_line_or_at_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let fast = Options { rate: Rate::Max, end: End::Lines(5_000), files: 2, ..options(dir.path()) };
    assert_eq!(go(&fast, &mut SimulatedClock::default()).header.lines, 5_000);
    let dir = tempfile::tempdir().unwrap();
    let end = End::After(Duration::from_micros(50));
    let timed = go(&Options { end, dir: dir.path().into(), ..fast }, &mut SimulatedClock::default());
    assert!(timed.header.lines > 0);
    assert_eq!(timed.header.pace.intended_per_second, None);
}

#[test]
fn a_run_that_is_stopped_leaves_whole_lines_and_a_true_journal() {
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let endless = Options { end: End::Lines(u64::MAX), files: 5, ..options(dir.path()) };
    let stop_at_700 =
        |progress: &logdrive_load::run::Progress| stop.store(progress.lines >= 700, Ordering::Relaxed);
    let journal = run(&endless, &mut SimulatedClock::default(), &stop, stop_at_700).unwrap();
    assert_eq!(journal.generations, read_back(dir.path()).1);
    assert!((700..710).contains(&journal.header.lines));
}

#[test]
fn a_directory_with_files_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("load-3.log.7"), "old").unwrap();
    let refused = run(&options(dir.path()), &mut SimulatedClock::default(), &AtomicBool::new(false), |_| {});
    assert!(
        matches!(&refused, Err(RunError::Occupied { path }) if path.ends_with("load-3.log.7")),
        "{refused:?}"
    );
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let crcs = dirs
        .each_ref()
        .map(|dir| go(&options(dir.path()), &mut SimulatedClock::default()).generations[0].crc);
    assert_eq!(crcs[0], crcs[1]);
}

#[test]
fn every_format_schedule_and_spread_is_written_whole() {
    let rates =
        ["max", "1000", "poisson:1000", "steps:500x1s,1500x1s", "ramp:0..2000/2s", "bursts:0,10000x200ms/1s"];
    for (format, rate_text) in Format::ALL.into_iter().zip(rates) {
        for (files, spread) in [(1, Spread::Uniform), (7, Spread::Zipf(1.1)), (7, Spread::Uniform)] {
            let dir = tempfile::tempdir().unwrap();
            let text = made(format, "lognormal:600,0.5");
            let end = End::Lines(2_000);
            let options = Options { files, spread, rate: rate(rate_text), text, end, ..options(dir.path()) };
            let journal = go(&options, &mut SimulatedClock::default());
            let (stamps, generations) = read_back(dir.path());
            assert_eq!(journal.generations, generations, "{options:?}");
            assert_eq!((journal.header.lines, stamps.len()), (2_000, 2_000));
            let header = &journal.header;
            assert_eq!((&header.text, &header.rate), (&format.name().into(), &rate_text.into()));
        }
    }
}

#[test]
fn lines_go_to_the_same_files_at_the_same_times_however_many_threads_share_them() {
    for (spread, text) in [(Spread::Uniform, "poisson:20000"), (Spread::Zipf(1.0), "ramp:1000..50000/2s")] {
        let written = [1, 2, 3].map(|threads| {
            let dir = tempfile::tempdir().unwrap();
            let options = Options { files: 10, threads, spread, rate: rate(text), ..options(dir.path()) };
            let journal = go(&options, &mut SimulatedClock::default());
            let (stamps, generations) = read_back(dir.path());
            assert_eq!(journal.generations, generations);
            assert_eq!(journal.header.pace.lines_late, 0);
            stamps
        });
        assert!(written[0].len() > 30_000);
        assert!(written[1] == written[0] && written[2] == written[0]);
    }
}

#[test]
fn threads_without_a_schedule_write_so_many_lines_too() {
    let dir = tempfile::tempdir().unwrap();
    let end = End::Lines(10_001);
    let options = Options { files: 3, threads: 2, rate: Rate::Max, end, ..options(dir.path()) };
    let journal = go(&options, &mut SimulatedClock::default());
    assert_eq!((journal.header.lines, read_back(dir.path()).0.len()), (10_001, 10_001));
}

#[test]
fn a_schedule_with_an_end_is_over_then() {
    let dir = tempfile::tempdir().unwrap();
    let end = End::After(Duration::from_secs(60));
    let journal = go(
        &Options { rate: rate("ramp:1000..0/2s"), end, ..options(dir.path()) },
        &mut SimulatedClock::default(),
    );
    assert_eq!(journal.header.lines, 1000);
    let intended = journal.header.pace.intended_per_second.unwrap();
    assert!((intended - 1000.0 / 60.0).abs() < 1e-3, "none in the last 58 seconds: {intended}");
}

#[test]
fn the_journal_says_how_late_lines_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let pace = go(&Options { rate: rate("100000"), ..options(dir.path()) }, &mut SimulatedClock::default())
        .header
        .pace;
    assert!((400_000..600_000).contains(&pace.lateness_p50_ns), "half a tick: {pace:?}");
    assert!((900_000..1_010_000).contains(&pace.lateness_max_ns), "a tick: {pace:?}");
    assert!((pace.intended_per_second.unwrap() - 100_000.0).abs() < 1e-3, "{pace:?}");
    let dir = tempfile::tempdir().unwrap();
    let pace = go(&options(dir.path()), &mut SimulatedClock::default()).header.pace;
    assert!(pace.lateness_max_ns < 10_000, "a line that comes alone is written when it is due: {pace:?}");
}

/// A log with a line every 10 ms, then a pause of a second, then the same again.
fn old_log(dir: &Path) -> std::path::PathBuf {
    let line = |at: u32| format!("2026-11-22T20:31:{:02}.{:03}Z GET /{at}\n", at / 1000, at % 1000);
    let path = dir.join("old");
    fs::write(
        &path,
        (0..500).map(|at| line(if at < 250 { at * 10 } else { at * 10 + 1000 })).collect::<String>(),
    )
    .unwrap();
    path
}

#[test]
fn a_log_is_replayed_at_its_own_speed_or_another_or_by_a_schedule() {
    let source = tempfile::tempdir().unwrap();
    let log = old_log(source.path());
    let last_ns = 5_990_000_000;
    for (rate, last_due_ns) in
        [(Rate::AsLogged(1.0), last_ns), (Rate::AsLogged(4.0), last_ns / 4), (rate("1000"), 499_000_000)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (text, end) = (Text::Log(log.clone()), End::After(Duration::MAX));
        let options = Options { files: 3, threads: 2, rate, text, end, ..options(dir.path()) };
        let journal = go(&options, &mut SimulatedClock::default());
        let (stamps, generations) = read_back(dir.path());
        assert_eq!(journal.generations, generations);
        assert_eq!(stamps.len(), 500);
        assert_eq!(stamps[499].intended_ns - START_NS, last_due_ns, "{options:?}");
        let mut lines: Vec<String> = Vec::new();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            lines.extend(text.lines().map(|line| line.split(" \"LD2").next().unwrap().into()));
        }
        lines.sort();
        assert_eq!(lines.join("\n") + "\n", fs::read_to_string(&log).unwrap(), "each line as it was");
    }
}

#[test]
fn a_replay_ends_at_the_line_or_the_time_it_is_told() {
    let source = tempfile::tempdir().unwrap();
    let text = Text::Log(old_log(source.path()));
    for (rate, end, lines) in [
        (Rate::AsLogged(1.0), End::Lines(7), 7),
        (Rate::AsLogged(1.0), End::After(Duration::from_secs(3)), 250),
        (Rate::Max, End::Lines(300), 300),
        (Rate::Max, End::After(Duration::from_secs(3)), 500),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { rate, end, text: text.clone(), ..options(dir.path()) };
        assert_eq!(go(&options, &mut SimulatedClock::default()).header.lines, lines, "{options:?}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused_before_a_file_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let good = options(dir.path());
    for bad in [
        Options { threads: 2, ..good.clone() },
        Options { threads: 0, ..good.clone() },
        Options { files: 0, ..good.clone() },
        Options { rate: Rate::AsLogged(1.0), ..good.clone() },
        Options { text: made(Format::Json, "100"), ..good.clone() },
    ] {
        let refused = run(&bad, &mut SimulatedClock::default(), &AtomicBool::new(false), |_| {});
        assert!(matches!(refused, Err(RunError::Options(_))), "{refused:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_system_that_refuses_ends_all_threads_without_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let rotation = Some(Rotation { means: Means::Rename, full: Full::Lines(10), keep: None });
    let end = End::Lines(u64::MAX);
    let options = Options { files: 4, threads: 2, rotation, end, ..options(dir.path()) };
    let pull_away = |progress: &logdrive_load::run::Progress| {
        if progress.lines > 500 {
            let _gone = fs::remove_dir_all(dir.path());
        }
    };
    let refused = run(&options, &mut SimulatedClock::default(), &AtomicBool::new(false), pull_away);
    assert!(matches!(refused, Err(RunError::File(_))), "{refused:?}");
}
