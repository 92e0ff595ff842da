//! The command line of the bench harness: one subcommand per question, each in a module of its own.

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

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logdrive_bench::verify;

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
    /// Compare the agent with the least that librdkafka can cost, draining a file
    Ceiling(ceiling::CeilingArgs),
    /// Measure the time from a line's intended write to its consumption, at fixed rates
    Latency(latency::LatencyArgs),
    /// Measure the agent's memory on a large backlog, with the broker away half-way
    Memory(memory::MemoryArgs),
    /// Measure what many quiet files cost
    Idle(idle::IdleArgs),
    /// Ship very many files that are each written a little
    Many(many::ManyArgs),
    /// Kill the agent at random moments and count what is lost and sent again
    Kill(kill::KillArgs),
    /// Kill the broker under load and count what is lost and sent again
    Bounce(bounce::BounceArgs),
    #[command(hide = true)]
    MinimalProducer(minimal::MinimalArgs),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Verify(args) => verify::command::run(&args),
        Command::Ceiling(args) => ceiling::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Memory(args) => memory::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Many(args) => many::run(&args),
        Command::Kill(args) => kill::run(&args),
        Command::Bounce(args) => bounce::run(&args),
        Command::MinimalProducer(args) => minimal::run(&args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
