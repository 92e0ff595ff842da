//! The command line of the bench harness: one subcommand per question, each in a module of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logdrive_bench::{plan, verify};

mod agent;
mod agents;
mod broker;
mod clock;
mod commands;
mod counts;
mod drain;
mod faulty;
mod follow;
mod interrupt;
mod judge;
mod kafka;
mod load;
mod minimal;
mod ordeal;
mod paired;
mod process;
mod procfs;
mod profile;
mod receiver;
mod recorder;
mod report;
mod revision;
mod sampler;
mod setup;
mod stages;
mod stats;
mod timeline;
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
    /// One rate from end to end: completeness, latency and its stages, cost; with a page to look at
    Run(commands::run::RunArgs),
    /// Make the page of a run again from its run.json, and print its tables
    Page(commands::run::PageArgs),
    /// From the intended time of a line to its consumption, at given rates
    Latency(commands::latency::LatencyArgs),
    /// How fast the harness's own consumer is: beyond that it would measure itself
    Consumer(commands::consumer::ConsumerArgs),
    /// Peak memory while a backlog is drained and the broker is away in the middle
    Memory(commands::memory::MemoryArgs),
    /// What the agent takes from a host that it shares: on an ordinary day, and while it catches up beside
    /// somebody who wants the processors for himself
    Manners(commands::manners::MannersArgs),
    /// What a thousand quiet files cost
    Idle(commands::idle::IdleArgs),
    /// Ten thousand files that are all written
    Many(commands::many::ManyArgs),
    /// SIGKILL at random moments under load and rotation
    Kill(commands::kill::KillArgs),
    /// Every agent that is installed, killed again and again under the same load: what is lost and what comes twice
    KillAgents(commands::kill_agents::KillAgentsArgs),
    /// The broker killed and restarted under load
    Bounce(commands::bounce::BounceArgs),
    /// For hours: load, rotation, kills of agent and broker, reloads; every line judged, and the agent watched for growth
    Soak(commands::soak::SoakArgs),
    /// Every agent that is installed under the same load, interleaved: latency, cost, memory, completeness
    CompareAgents(commands::compare::CompareArgs),
    /// The highest rate that keeps a latency objective, and the curve up to it
    Sweep(commands::sweep::SweepArgs),
    /// Two binaries or revisions of logdrive in turns: whether the new one is slower, for CI
    Regress(commands::regress::RegressArgs),
    /// Instructions per line of the hot path against the committed baseline
    Instructions(commands::instructions::InstructionsArgs),
    /// Hosts, brokers and disks for a load, computed from measured rates
    Plan(plan::command::Args),
    /// What `ceiling` compares with
    #[command(hide = true)]
    MinimalProducer(minimal::MinimalArgs),
    /// An agent that spoils one line, for the proof that the harness sees it
    #[command(hide = true)]
    FaultyAgent(faulty::FaultyArgs),
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run() -> anyhow::Result<ExitCode> {
    match Args::parse().command {
        Command::Verify(args) => verify::command::run(&args),
        Command::Plan(args) => plan::command::run(&args),
        Command::CompareAgents(args) => commands::compare::run(&args),
        Command::Sweep(args) => commands::sweep::run(&args),
        Command::Regress(args) => commands::regress::run(&args),
        Command::Instructions(args) => commands::instructions::run(&args),
        Command::Ceiling(args) => commands::ceiling::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Page(args) => commands::run::page(&args),
        Command::Latency(args) => commands::latency::run(&args),
        Command::Consumer(args) => commands::consumer::run(&args),
        Command::Memory(args) => commands::memory::run(&args),
        Command::Manners(args) => commands::manners::run(&args),
        Command::Idle(args) => commands::idle::run(&args),
        Command::Many(args) => commands::many::run(&args),
        Command::Kill(args) => commands::kill::run(&args),
        Command::KillAgents(args) => commands::kill_agents::run(&args),
        Command::Bounce(args) => commands::bounce::run(&args),
        Command::Soak(args) => commands::soak::run(&args),
        Command::FaultyAgent(args) => faulty::run(&args).map(|()| ExitCode::SUCCESS),
        Command::MinimalProducer(args) => minimal::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
