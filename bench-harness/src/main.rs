//! The command line of the bench harness: one subcommand per question, each in a module of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logdrive_bench::verify;

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

/// Judges log shippers: completeness first, then latency and cost.
#[derive(Parser)]
#[command(name = "logdrive-bench", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count what became of the lines that a load generator wrote
    Verify(verify::command::Args),
    /// The agent against a minimal librdkafka program, interleaved: cost, throughput, memory
    Ceiling(ceiling::CeilingArgs),
    /// From the intended time of a line to its consumption, at given rates
    Latency(latency::LatencyArgs),
    /// Peak memory while a backlog is drained and the broker is away in the middle
    Memory(memory::MemoryArgs),
    /// What a thousand quiet files cost
    Idle(idle::IdleArgs),
    /// Ten thousand files that are all written
    Many(many::ManyArgs),
    /// SIGKILL at random moments under load and rotation
    Kill(kill::KillArgs),
    /// The broker killed and restarted under load
    Bounce(bounce::BounceArgs),
    /// What `ceiling` compares with
    #[command(hide = true)]
    MinimalProducer(minimal::MinimalArgs),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let command = Args::parse().command;
    if let Command::Verify(args) = command {
        return verify::command::run(&args);
    }
    interrupt::listen()?;
    match command {
        Command::Verify(args) => verify::command::run(&args),
        Command::Ceiling(args) => ceiling::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Memory(args) => memory::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Many(args) => many::run(&args),
        Command::Kill(args) => kill::run(&args),
        Command::Bounce(args) => bounce::run(&args),
        Command::MinimalProducer(args) => minimal::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
