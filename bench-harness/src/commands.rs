//! The commands that measure: one question each, and nothing that two of them need.
//!
//! What they share lives beside this folder: `setup` brings broker, agent and generator, `trial` is the
//! open-loop measurement, `report` is what a run leaves behind.

pub(crate) mod bounce;
pub(crate) mod ceiling;
pub(crate) mod compare;
pub(crate) mod consumer;
pub(crate) mod idle;
pub(crate) mod instructions;
pub(crate) mod kill;
pub(crate) mod kill_agents;
pub(crate) mod latency;
pub(crate) mod manners;
pub(crate) mod many;
pub(crate) mod memory;
pub(crate) mod regress;
pub(crate) mod run;
pub(crate) mod soak;
pub(crate) mod sweep;
