//! What happens in a run: a list of steps, drawn from a seed, that can be shortened and printed.
//!
//! Each step carries the seed of everything that is decided while it is done, so that leaving out one
//! step does not change what the others do more than it must. A step that makes no sense any more
//! (there is no such file) does nothing.

use crate::random::Random;

/// One thing that happens. A `u8` names a path: base `a`, `b`, `c` times four suffixes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Op {
    /// Lines are written, the last one perhaps without its end; `silent`: without a hint, as through mmap.
    Append {
        path: u8,
        lines: u16,
        open: bool,
        silent: bool,
    },
    /// `.1` becomes `.2`, the file becomes `.1`, a new one takes its name.
    Rotate {
        base: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Unlink {
        path: u8,
    },
    Truncate {
        path: u8,
    },
    Copy {
        from: u8,
        to: u8,
    },
    /// A copy, then a truncation.
    CopyTruncate {
        base: u8,
    },
    Link {
        from: u8,
        to: u8,
    },
    /// A link takes the place of whatever has its name.
    Switch {
        from: u8,
        to: u8,
    },
    /// The directory is away, or back.
    Directory {
        away: bool,
    },
    /// Nobody may open the file any more, or everybody again.
    Permission {
        path: u8,
        readable: bool,
    },
    /// The next so many reads fail: EIO, ESTALE or EINTR.
    FailReads(u8),
    /// The next so many reads are cut short.
    CutReads(u8),
    FailOpens(u8),
    ExhaustDescriptors(u8),
    FailListings(u8),
    /// Kafka stores and acknowledges so many batches.
    Ack(u8),
    /// The producer of a partition loses what it holds, some of it stored.
    Lose,
    /// The producer is of no use any more: all partitions lose what they hold.
    Fatal,
    Full(bool),
    Away(bool),
    /// The partition of this base takes nothing; 3: none.
    Block(u8),
    /// The queue of hints overflows.
    Overflow,
    /// Time passes, and everything but Kafka goes on.
    Wait {
        ms: u32,
    },
    /// Time passes, and the agent stands still.
    Stall {
        ms: u32,
    },
    /// The wall clock is set.
    Wall {
        seconds: i32,
    },
    /// The process dies within or after a turn.
    Kill,
    /// So does the machine: what the state had not synced is there or not. The log files stay.
    PowerCut,
    /// The process dies, and the file system of the logs comes back under another device number.
    Remount,
    FailSyncs(u8),
    /// The disk of the state is full, or no longer.
    FillDisk(bool),
    Retire {
        item: u8,
    },
    Restore {
        item: u8,
    },
    /// An item gets another pace: lines a second in hundreds, 0 for no limit.
    Reload {
        item: u8,
        pace: u8,
    },
    /// Everything that is under way comes to its end.
    Settle,
    /// The files of one item are in UTF-16. Comes first, or does nothing.
    Widen,
}

/// A thing that happens, with the seed of its details.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Step(pub(crate) Op, pub(crate) u32);

/// How many kinds of faults come and go together.
const WEATHER: usize = 20;

/// The steps of a seed.
pub(crate) fn generate(seed: u64, count: usize) -> Vec<Step> {
    let mut random = Random::of(seed);
    // Each run has its own weather: a fault that is never there in some runs is frequent in others.
    let weather: Vec<usize> = (0..WEATHER).map(|_| [0, 0, 1, 1, 2, 6][random.below(6)]).collect();
    let drawn = (0..count).map(|_| Step(draw(&mut random, &weather), random.next() as u32));
    // Drawn apart, so that the steps of a seed stay what they are.
    let widen = Random::of(!seed).percent(30).then_some(Step(Op::Widen, 0));
    widen.into_iter().chain(drawn).collect()
}

fn draw(random: &mut Random, weather: &[usize]) -> Op {
    let of = |random: &mut Random| if random.percent(70) { 4 * random.below(3) } else { random.below(12) };
    let path = of(random) as u8;
    let (base, few) = (random.below(3) as u8, 1 + random.below(4) as u8);
    let flag = random.percent(40);
    let weights = [
        (30, 0),
        (5 * weather[0], 1),
        (3 * weather[1], 2),
        (3 * weather[2], 3),
        (4 * weather[3], 4),
        (weather[4], 5),
        (4 * weather[4], 6),
        (weather[5], 7),
        (2 * weather[6], 8),
        (2 * weather[7], 9),
        (2 * weather[7], 10),
        (2 * weather[8], 11),
        (2 * weather[8], 12),
        (2 * weather[8], 13),
        (25, 14),
        (3 * weather[9], 15),
        (2 * weather[10], 16),
        (2 * weather[10], 17),
        (2 * weather[10], 18),
        (weather[11], 19),
        (25, 20),
        (weather[11], 21),
        (weather[11], 22),
        (2 * weather[12], 23),
        (2 * weather[13], 24),
        (weather[14], 25),
        (weather[14], 26),
        (weather[15], 27),
        (2 * weather[15], 28),
        (3, 29),
        (3 * weather[16], 30),
        (weather[17], 31),
        (weather[18], 32),
        (weather[10], 33),
        (2 * weather[19], 34),
    ];
    let total: usize = weights.iter().map(|(weight, _)| weight).sum();
    let mut at = random.below(total);
    let mut kind = 0;
    for (weight, which) in weights {
        if at < weight {
            kind = which;
            break;
        }
        at -= weight;
    }
    match kind {
        0 => {
            let lines = if random.percent(2) { 400 } else { random.below(6) as u16 };
            Op::Append { path, lines, open: random.percent(25), silent: weather[11] > 0 && flag }
        }
        1 => Op::Rotate { base },
        2 => Op::Rename { from: path, to: path / 4 * 4 + few % 4 },
        3 => Op::Unlink { path },
        4 => Op::Truncate { path },
        5 => Op::Copy { from: path, to: path / 4 * 4 + few % 4 },
        6 => Op::CopyTruncate { base },
        7 => Op::Link { from: path, to: path / 4 * 4 + few % 4 },
        8 => Op::Permission { path, readable: flag },
        9 => Op::FailReads(few),
        10 => Op::CutReads(few),
        11 => Op::FailOpens(few),
        12 => Op::ExhaustDescriptors(few),
        13 => Op::FailListings(few),
        14 => Op::Ack(few),
        15 => Op::Lose,
        16 => Op::Full(flag),
        17 => Op::Away(flag),
        18 => Op::Block(few - 1),
        19 => Op::Overflow,
        20 => Op::Wait { ms: [1, 5, 30, 200, 1500, 6000, 12_000, 40_000][random.below(8)] },
        21 => Op::Stall { ms: [10, 3000, 60_000][random.below(3)] },
        22 => Op::Wall { seconds: random.below(200_000) as i32 - 100_000 },
        23 => Op::Kill,
        24 => Op::PowerCut,
        25 => Op::FailSyncs(few),
        26 => Op::FillDisk(flag),
        27 => Op::Retire { item: few % 2 },
        28 => Op::Restore { item: few % 2 },
        29 => Op::Settle,
        30 => Op::Switch { from: path, to: path / 4 * 4 + few % 4 },
        31 => Op::Directory { away: flag },
        32 => Op::Remount,
        33 => Op::Fatal,
        _ => Op::Reload { item: few % 2, pace: [0, 1, 2, 20][random.below(4)] },
    }
}
