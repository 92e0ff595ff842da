//! The command line of the bench harness: one subcommand per question, each in a module of its own.

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
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Verify(args) => verify::command::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
