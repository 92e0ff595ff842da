//! The simulator, steered by the fuzzer: the driver, the core and the state in a world of files, Kafka, disk
//! and time, with everything that the simulator judges after each step and at the end.
//!
//! Input: one byte that makes the machine; four bytes for each step, the seed from which the simulator
//! draws it with all its details. So a fuzzer adds, drops, swaps and replaces steps, and keeps what
//! reaches code that no seed has reached.

use crate::run;
use crate::script::{Op, Step, generate};

/// A longer run shows nothing that two shorter ones don't, and takes twice the time.
const STEPS_MAX: usize = 120;

/// Lines behind a refused one are sent one by one, each when the one before is acknowledged. So many arrive in
/// the time that the simulator waits at the end; a fuzzer would find out how to write more.
const LINES_MAX: u32 = 1200;

/// The machine's seed and the steps of an input.
fn read(input: &[u8]) -> Option<(u64, Vec<Step>)> {
    let (&machine, steps) = input.split_first()?;
    let (steps, _) = steps.as_chunks::<4>();
    let steps = steps.iter().take(STEPS_MAX).flat_map(|&seed| generate(u32::from_le_bytes(seed).into(), 1));
    let mut left = LINES_MAX;
    let fits = |step: &Step| match step {
        Step(Op::Append { lines, .. }, _) => {
            let fits = u32::from(*lines) <= left;
            left -= if fits { u32::from(*lines) } else { 0 };
            fits
        }
        _ => true,
    };
    Some((machine.into(), steps.filter(fits).collect()))
}

/// Runs one input.
///
/// # Panics
/// If a promise is broken; with the script, as it stands in the simulator's `found.rs`.
pub fn run(input: &[u8]) {
    let Some((machine, steps)) = read(input) else { return };
    if let Err(wrong) = run::run(machine, &steps) {
        let lines: String = steps.iter().map(|step| format!("    {step:?},\n")).collect();
        panic!("{wrong}\nrun({machine}, &[\n{lines}])");
    }
}

/// What happens in an input, as words: for whoever wants to know what a corpus covers.
#[must_use]
pub fn kinds(input: &[u8]) -> Vec<String> {
    let words = |Step(op, _)| {
        let text = format!("{op:?}");
        text.split([' ', '(']).next().unwrap_or_default().to_owned()
    };
    read(input).into_iter().flat_map(|(_, steps)| steps).map(words).collect()
}
