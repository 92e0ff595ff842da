//! The simulator of `engine/tests/simulator`, as it is: only its own tests stay there.

#![allow(clippy::unwrap_used, reason = "shared with tests")]
#![allow(dead_code, reason = "the simulator's tests use the rest")]

#[path = "../../tests/simulator/judge.rs"]
pub(crate) mod judge;
#[path = "../../tests/simulator/machine.rs"]
pub(crate) mod machine;
#[path = "../../tests/simulator/random.rs"]
pub(crate) mod random;
#[path = "../../tests/simulator/run.rs"]
pub(crate) mod run;
#[path = "../../tests/simulator/script.rs"]
pub(crate) mod script;
#[path = "../../tests/state_disk/mod.rs"]
pub(crate) mod state_disk;
#[path = "../../tests/simulator/world.rs"]
pub(crate) mod world;
