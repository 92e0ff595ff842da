//! The fuzz targets: each a function that takes any bytes and panics if something is wrong.
//!
//! libFuzzer runs them (`scripts/fuzz`), and every test run replays the inputs in `corpus`. What they
//! judge by is what the tests judge by: the naive splitter of the framer's unit tests, the disk of the
//! state's crash tests, the simulator with all its judges. Where a target takes the thing that
//! it examines as an argument, the tests put a broken one in its place, to see that it is found.

pub mod configuration;
pub mod framing;
pub mod http;
pub mod operations;
pub mod state;

// The simulator's modules name each other by these names.
mod simulator;
use simulator::{judge, machine, random, run, script, state_disk, world};
