//! The hot path of the core in instructions, under callgrind.
//!
//! An instruction count does not know who else uses the machine: the same program gives the same number, to the
//! last digit, so a change of a few percent shows after one run. It knows no caches, no branches gone wrong and no
//! kernel either, so it stands beside the clock (`logdrive-bench regress`), not in its place.
//!
//! `logdrive-bench instructions` runs this, compares with the committed baseline and names the case that became
//! dearer. Every case settles [`LINES`] lines, or batches.

#![allow(missing_docs, reason = "the macros make public items without any")]

use gungraun::prelude::*;
use workload::{Batching, Framing, LINES, SETTLED, Settling, Shape, rounds};

mod workload;

const _: () = assert!(LINES.is_multiple_of(20 * SETTLED), "10 % more must be whole rounds");

/// A work and how often it is done.
type Repeated<W> = (W, u64);

fn framing(shape: Shape, line_bytes: usize) -> Repeated<Framing> {
    let framing = Framing::new(shape, line_bytes);
    let rounds = rounds(framing.lines as u64);
    (framing, rounds)
}

fn batching(shape: Shape, line_bytes: usize) -> Repeated<Batching> {
    let batching = Batching::new(shape, line_bytes);
    let rounds = rounds(batching.lines as u64);
    (batching, rounds)
}

fn settling(in_order: bool) -> Repeated<Settling> {
    (Settling::new(in_order), rounds(SETTLED))
}

// What was worked on is returned, so that giving its memory back is not counted.

#[library_benchmark]
#[bench::line_50(args = (Shape::Lines, 50), setup = framing)]
#[bench::line_200(args = (Shape::Lines, 200), setup = framing)]
#[bench::line_1000(args = (Shape::Lines, 1000), setup = framing)]
#[bench::line_8000(args = (Shape::Lines, 8000), setup = framing)]
#[bench::chunk_200(args = (Shape::Chunks, 200), setup = framing)]
#[bench::multiline_200(args = (Shape::Traces, 200), setup = framing)]
fn frame((mut framing, rounds): Repeated<Framing>) -> Framing {
    for _ in 0..rounds {
        framing.run();
    }
    framing
}

#[library_benchmark]
#[bench::line_50(args = (Shape::Lines, 50), setup = batching)]
#[bench::line_200(args = (Shape::Lines, 200), setup = batching)]
#[bench::line_1000(args = (Shape::Lines, 1000), setup = batching)]
#[bench::chunk_200(args = (Shape::Chunks, 200), setup = batching)]
fn batch((mut batching, rounds): Repeated<Batching>) -> Batching {
    for _ in 0..rounds {
        batching.run();
    }
    batching
}

#[library_benchmark]
#[bench::in_order(args = (true), setup = settling)]
#[bench::last_first(args = (false), setup = settling)]
fn ledger((mut settling, rounds): Repeated<Settling>) -> Settling {
    for _ in 0..rounds {
        settling.run();
    }
    settling
}

library_benchmark_group!(name = core, benchmarks = [frame, batch, ledger]);

main!(
    config = LibraryBenchmarkConfig::default()
        .pass_through_env(workload::EXTRA_PERCENT)
        .tool(gungraun::Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = core
);
