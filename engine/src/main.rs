//! The Logdrive agent.
fn main() {}
