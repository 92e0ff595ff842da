//! Runs a script, and makes a failing one shorter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::machine::{Crash, Everything, Machine, PARTITIONS};
use crate::random::Random;
use crate::script::{Op, Step};
use crate::world::path;

const MILLI: u64 = 1_000_000;
/// Simulated time after which everything must have arrived once the faults have stopped.
const HEAL_MILLIS: u64 = 400_000;

/// What a run that kept all promises leaves to be compared and counted.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Trace {
    /// Turns that the agent took.
    pub(crate) turns: u64,
    /// Lines that were written.
    pub(crate) lines: u64,
    /// Of all that was sent and stored.
    pub(crate) digest: u64,
}

/// Runs the steps and judges the end; the error says what was wrong first.
pub(crate) fn run(seed: u64, steps: &[Step]) -> Result<Trace, String> {
    let done = catch_unwind(AssertUnwindSafe(|| run_to_the_end(seed, steps)));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default())
    })
}

fn run_to_the_end(seed: u64, steps: &[Step]) -> Result<Trace, String> {
    let mut machine = Machine::new(&mut Random::of(seed));
    for (number, step) in steps.iter().enumerate() {
        take(&mut machine, *step);
        verdict(&machine).map_err(|wrong| format!("{wrong} (in step {number}, {step:?})"))?;
    }
    heal(&mut machine);
    arrive(&mut machine)?;
    machine.crash(Crash::Kill, &mut Random::of(seed));
    arrive(&mut machine).map_err(|wrong| format!("after a last kill: {wrong}"))?;
    let judge = &machine.all.borrow().judge;
    Ok(Trace { turns: machine.turns, lines: judge.lines.len() as u64, digest: judge.digest })
}

fn verdict(machine: &Machine) -> Result<(), String> {
    machine.all.borrow_mut().judge.wrong.take().map_or(Ok(()), Err)
}

fn take(machine: &mut Machine, Step(op, seed): Step) {
    let mut random = Random::of(u64::from(seed));
    let random = &mut random;
    {
        let all = machine.all.clone();
        let Everything { world, broker, judge } = &mut *all.borrow_mut();
        match op {
            Op::Append { path, lines, open, silent } => {
                world.append(judge, path, (lines, open, silent), random);
            }
            Op::Rotate { base } => world.rotate(judge, base),
            Op::Rename { from, to } if from != to => world.rename(judge, &path(from), &path(to)),
            Op::Unlink { path: at } => world.unlink(judge, &path(at)),
            Op::Truncate { path: at } => world.truncate(judge, &path(at)),
            Op::Copy { from, to } => world.copy(judge, &path(from), &path(to)),
            Op::CopyTruncate { base } => {
                world.copy(judge, &path(base * 4), &path(base * 4 + 1));
                world.truncate(judge, &path(base * 4));
            }
            Op::Link { from, to } => world.link(&path(from), &path(to)),
            Op::Switch { from, to } if from != to => world.switch(judge, &path(from), &path(to)),
            Op::Directory { away } => world.move_directory(away),
            Op::Permission { path: at, readable } => world.permission(&path(at), readable),
            Op::FailReads(count) => world.faults.reads_failing += count,
            Op::CutReads(count) => world.faults.reads_cut += count,
            Op::FailOpens(count) => world.faults.opens_failing += count,
            Op::ExhaustDescriptors(count) => world.faults.opens_without_descriptor += count,
            Op::FailListings(count) => world.faults.listings_failing += count,
            Op::Full(full) => broker.full = full,
            Op::Away(away) => broker.away = away,
            Op::Block(base) => broker.blocked = (base < 3).then_some(base),
            Op::Overflow => world.overflow(),
            Op::Wall { seconds } => world.wall_ns += i64::from(seconds) * 1_000_000_000,
            Op::FailSyncs(count) => machine.disk.fail_syncs(usize::from(count)),
            Op::FillDisk(full) => machine.disk.limit(full.then(|| machine.disk.used())),
            _ => {}
        }
    }
    match op {
        Op::Ack(count) => machine.ack(usize::from(count), random),
        Op::Lose => machine.lose(random.below(PARTITIONS), random),
        Op::Fatal => (0..PARTITIONS).for_each(|partition| machine.lose(partition, random)),
        Op::Wait { ms } => machine.wait(u64::from(ms) * MILLI),
        Op::Stall { ms } => machine.pass(u64::from(ms) * MILLI),
        Op::Kill => machine.crash(Crash::Kill, random),
        Op::PowerCut => machine.crash(Crash::PowerCut, random),
        // Without birth times a file is a new one on another device.
        Op::Remount if machine.all.borrow().world.has_births => {
            machine.all.borrow_mut().world.remount();
            machine.crash(Crash::Kill, random);
        }
        Op::Widen => machine.widen(),
        Op::Reload { item, pace } => machine.reload(usize::from(item), pace),
        Op::Retire { item } => machine.retire(usize::from(item)),
        Op::Restore { item } => machine.restore(usize::from(item)),
        Op::Settle => {
            for _ in 0..5 {
                machine.ack_all();
                machine.wait(30 * MILLI);
            }
        }
        _ => {}
    }
    for _ in 0..random.below(4) {
        machine.pass(random.below(8) as u64 * MILLI);
        machine.pump(random);
    }
}

/// All faults stop.
fn heal(machine: &mut Machine) {
    {
        let Everything { world, broker, .. } = &mut *machine.all.borrow_mut();
        world.move_directory(false);
        world.faults = crate::world::Faults::default();
        world.inodes.iter_mut().for_each(|file| file.readable = true);
        (broker.full, broker.away, broker.blocked) = (false, false, None);
        machine.disk.mend();
    }
    for item in 0..2 {
        machine.restore(item);
        machine.reload(item, 0);
    }
}

/// Everything arrives.
fn arrive(machine: &mut Machine) -> Result<(), String> {
    let mut waited = 0;
    let mut pause = 20;
    loop {
        // Behind a refused line each line is sent alone, and awaited.
        for _ in 0..20 {
            if !machine.ack_all() {
                break;
            }
            machine.wait(MILLI);
        }
        machine.wait(pause * MILLI);
        verdict(machine)?;
        let missing = missing(machine);
        if missing.is_none() && machine.is_caught_up() {
            break;
        }
        waited += pause;
        pause = (pause * 3 / 2).min(5000);
        if waited > HEAL_MILLIS {
            return Err(match missing {
                Some(line) => format!("L: {line} has not arrived; {}", machine.statuses()),
                None => format!("the lag does not become 0; {}", machine.statuses()),
            });
        }
    }
    // What comes too much comes late.
    for _ in 0..4 {
        machine.wait(12_000 * MILLI);
        machine.ack_all();
        verdict(machine)?;
    }
    let (remembered, files) = machine.remembered();
    // Where no file of a device is left, it may only be away.
    if remembered > files && files > 0 && !machine.all.borrow().world.was_remounted() {
        return Err(format!("S19: {remembered} generations are remembered of {files} files"));
    }
    Ok(())
}

fn missing(machine: &Machine) -> Option<String> {
    let Everything { world, judge, .. } = &*machine.all.borrow();
    let matched = world.names.iter().filter(|(path, _)| world.item_of(path).is_some());
    let mut lines = matched.filter_map(|(path, &inode)| {
        let line = judge.missing(&world.inodes[inode].lines, usize::MAX)?;
        Some(format!("{line:?} of {}", String::from_utf8_lossy(path)))
    });
    lines.next()
}

/// Leaves out as many steps as it can while the run still fails for the same reason.
pub(crate) fn shrink(seed: u64, mut steps: Vec<Step>, mut wrong: String) -> (Vec<Step>, String) {
    let kind = |wrong: &str| wrong.chars().take(3).collect::<String>();
    let wanted = kind(&wrong);
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            match run(seed, &fewer) {
                Err(other) if kind(&other) == wanted => (steps, wrong, shorter) = (fewer, other, true),
                _ => from += size,
            }
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    (steps, wrong)
}
