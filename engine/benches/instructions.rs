//! The hot path around the core in instructions, under callgrind: what `engine/core/benches/instructions.rs` is for
//! the core, this is for what the agent adds per batch. librdkafka is not here: it works in threads of its own,
//! and its count would be that of somebody else's C compiler.

#![allow(missing_docs, reason = "the macros make public items without any")]

use gungraun::prelude::*;
use saving::{SAVED, Saving};

mod saving;
#[path = "../core/benches/workload/mod.rs"]
mod workload;

fn saving() -> (Saving, u64) {
    (Saving::new(), workload::rounds(SAVED))
}

// The state is returned, so that giving its memory back is not counted.
#[library_benchmark]
#[bench::put(setup = saving)]
fn checkpoint((mut saving, rounds): (Saving, u64)) -> Saving {
    for _ in 0..rounds {
        saving.run();
    }
    saving
}

library_benchmark_group!(name = engine, benchmarks = [checkpoint]);

main!(
    config = LibraryBenchmarkConfig::default()
        .pass_through_env(workload::EXTRA_PERCENT)
        .tool(gungraun::Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = engine
);
