//! Judge of agents.
mod agent;
mod bounce;
mod broker;
mod ceiling;
mod idle;
mod interrupt;
mod judge;
mod kafka;
mod kill;
mod latency;
mod load;
mod many;
mod memory;
mod minimal;
mod process;
mod procfs;
mod receiver;
mod report;
mod sampler;
mod setup;
mod stats;
use clap::Parser;
use std::process::ExitCode;
#[derive(Parser)]
enum Cli {
    Ceiling(ceiling::CeilingArgs),
    Latency(latency::LatencyArgs),
    Memory(memory::MemoryArgs),
    Idle(idle::IdleArgs),
    Many(many::ManyArgs),
    Kill(kill::KillArgs),
    Bounce(bounce::BounceArgs),
    #[command(hide = true)]
    MinimalProducer(minimal::MinimalArgs),
}
fn main() -> ExitCode {
    let run = || -> anyhow::Result<ExitCode> {
        interrupt::listen()?;
        match Cli::parse() {
            Cli::Ceiling(args) => ceiling::run(&args),
            Cli::Latency(args) => latency::run(&args),
            Cli::Memory(args) => memory::run(&args),
            Cli::Idle(args) => idle::run(&args),
            Cli::Many(args) => many::run(&args),
            Cli::Kill(args) => kill::run(&args),
            Cli::Bounce(args) => bounce::run(&args),
            Cli::MinimalProducer(args) => minimal::run(&args).map(|()| ExitCode::SUCCESS),
        }
    };
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
