//! Judge of agents.
fn main() {}
