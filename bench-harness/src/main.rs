//! The command line of the bench harness: one subcommand per question, each in a module of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logdrive_bench::verify;

mod agent;
mod broker;
mod commands;
mod counts;
mod drain;
mod interrupt;
mod judge;
mod kafka;
mod load;
mod minimal;
mod paired;
mod process;
mod procfs;
mod receiver;
mod report;
mod revision;
mod sampler;
mod setup;
mod stats;
mod trial;

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
    Ceiling(commands::ceiling::CeilingArgs),
    /// From the intended time of a line to its consumption, at given rates
    Latency(commands::latency::LatencyArgs),
    /// Peak memory while a backlog is drained and the broker is away in the middle
    Memory(commands::memory::MemoryArgs),
    /// What a thousand quiet files cost
    Idle(commands::idle::IdleArgs),
    /// Ten thousand files that are all written
    Many(commands::many::ManyArgs),
    /// SIGKILL at random moments under load and rotation
    Kill(commands::kill::KillArgs),
    /// The broker killed and restarted under load
    Bounce(commands::bounce::BounceArgs),
    /// Two binaries or revisions of logdrive in turns: whether the new one is slower, for CI
    Regress(commands::regress::RegressArgs),
    /// Instructions per line of the hot path against the committed baseline
    Instructions(commands::instructions::InstructionsArgs),
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
        Command::Ceiling(args) => commands::ceiling::run(&args),
        Command::Latency(args) => commands::latency::run(&args),
        Command::Memory(args) => commands::memory::run(&args),
        Command::Idle(args) => commands::idle::run(&args),
        Command::Many(args) => commands::many::run(&args),
        Command::Kill(args) => commands::kill::run(&args),
        Command::Bounce(args) => commands::bounce::run(&args),
        Command::Regress(args) => commands::regress::run(&args),
        Command::Instructions(args) => commands::instructions::run(&args),
        Command::MinimalProducer(args) => minimal::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
