//! Judge of agents.
#![allow(dead_code)]
mod interrupt;
mod kafka;
mod minimal;
mod process;
mod procfs;
mod stats;
use clap::Parser;
#[derive(Parser)]
enum Cli {
    MinimalProducer(minimal::MinimalArgs),
}
fn main() -> anyhow::Result<()> {
    interrupt::listen();
    match Cli::parse() {
        Cli::MinimalProducer(args) => minimal::run(&args),
    }
}
