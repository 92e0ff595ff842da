//! `logdrive-bench plan`: what carries a load, computed from measured records.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Assumptions, Demand};

/// What was typed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lines over all hosts, such as 5e9
    #[arg(long, value_parser = positive)]
    lines_per_day: f64,
    /// Bytes of a line without its end, on average
    #[arg(long, value_parser = positive)]
    line_bytes: f64,
    /// Hosts that write them
    #[arg(long, value_parser = whole)]
    hosts: f64,
    /// The highest rate over the average rate
    #[arg(long, default_value = "3", value_parser = positive)]
    peak_factor: f64,
    /// How long Kafka keeps a line
    #[arg(long, default_value = "7d", value_parser = humantime::parse_duration)]
    retention: Duration,
    /// Copies of each line in Kafka
    #[arg(long, default_value = "3", value_parser = whole)]
    replication: f64,
    /// How often every line is read
    #[arg(long, default_value = "1", value_parser = whole)]
    consumer_groups: f64,
    /// Records of `sweep` or `run`: folders, or their run.json; several of one machine and agent are joined
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Assumed: the share of cores, networks and disks that may be in use at the peak
    #[arg(long, default_value = "0.6", value_parser = share)]
    utilisation: f64,
    /// Assumed: cores of a broker
    #[arg(long, default_value = "8", value_parser = positive)]
    broker_cores: f64,
    /// Assumed: network of a broker in each direction, Gbit/s
    #[arg(long, default_value = "10", value_parser = positive)]
    broker_gbit: f64,
    /// Assumed: disk of a broker, TB
    #[arg(long, default_value = "8", value_parser = positive)]
    broker_disk_tb: f64,
    /// Assumed: compressed MB/s that one partition should take
    #[arg(long, default_value = "10", value_parser = positive)]
    partition_mb: f64,
    /// Assumed: brokers that may be away at the peak
    #[arg(long, default_value = "1", value_parser = at_least_zero)]
    brokers_spare: f64,
    /// Also write the answer as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the page as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Prints the plan.
///
/// # Errors
/// When a record cannot be planned with, or an output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.peak_factor >= 1.0,
        "--peak-factor {} is below the average; it begins at 1",
        args.peak_factor
    );
    ensure!(!args.retention.is_zero(), "--retention 0s keeps nothing");
    let demand = Demand {
        lines_per_day: args.lines_per_day,
        line_bytes: args.line_bytes,
        hosts: args.hosts,
        peak_factor: args.peak_factor,
        retention: args.retention,
        replication: args.replication,
        consumer_groups: args.consumer_groups,
    };
    let assumptions = Assumptions {
        utilisation: args.utilisation,
        broker_cores: args.broker_cores,
        broker_network_bytes_per_second: args.broker_gbit * 1e9 / 8.0,
        broker_disk_bytes: args.broker_disk_tb * 1e12,
        partition_bytes_per_second: args.partition_mb * 1e6,
        // A follower appends what the leader has validated: cheaper in truth, by how much nobody measured.
        follower_cost: 1.0,
        brokers_spare: args.brokers_spare,
    };
    let curve = super::read(&args.from, args.line_bytes)?;
    let plan = super::plan(&demand, &assumptions, &curve);
    let doubled = Demand { lines_per_day: demand.lines_per_day * 2.0, ..demand };
    let next_doubling = super::plan(&doubled, &assumptions, &curve);
    let page = super::markdown(&demand, &curve, &plan, &next_doubling);
    if let Some(path) = &args.json {
        let json = super::json(&demand, &assumptions, &curve, &plan, &next_doubling)?;
        write(path, &(json + "\n"))?;
    }
    if let Some(path) = &args.markdown {
        write(path, &page)?;
    }
    println!("{}", page.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// More than anybody has, and small enough that no product of two of them overflows.
const NUMBER_MAX: f64 = 1e18;

fn at_least_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=NUMBER_MAX).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is no number from 0 to {NUMBER_MAX:e}; try `3` or `5e9`")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    at_least_zero(text)
        .and_then(|value| if value > 0.0 { Ok(value) } else { Err("it must be above 0".into()) })
}

fn whole(text: &str) -> Result<f64, String> {
    positive(text).and_then(|value| {
        if value.fract() == 0.0 { Ok(value) } else { Err("it must be a whole number".into()) }
    })
}

fn share(text: &str) -> Result<f64, String> {
    positive(text).and_then(|value| if value <= 1.0 { Ok(value) } else { Err("it must be at most 1".into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_within_their_bounds() {
        assert_eq!(positive("5e9"), Ok(5e9));
        assert_eq!(at_least_zero("0"), Ok(0.0));
        for wrong in ["", "many", "-1", "NaN", "inf", "1e99", "0"] {
            assert!(positive(wrong).is_err(), "{wrong}");
        }
        assert!(whole("1.5").is_err() && share("1.1").is_err());
    }
}
