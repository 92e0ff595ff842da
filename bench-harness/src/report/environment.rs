//! Where and with what a run was made, observed once at its start.

use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::procfs;

/// Where and with what a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(super) started: String,
    cpu_model: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    librdkafka: String,
    harness: String,
    pub(super) agent: Option<String>,
    pub(super) agent_command: String,
    /// The commit of the checkout, with `+` when it had changes; none outside a checkout.
    commit: Option<String>,
    pub(super) arguments: Vec<String>,
}

impl Environment {
    pub(crate) fn observe(agent: Option<String>, agent_command: String) -> Environment {
        let kernel = rustix::system::uname();
        Environment {
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cpu_model: procfs::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: procfs::machine_memory_bytes(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            agent,
            agent_command,
            commit: commit(),
            arguments: std::env::args().skip(1).collect(),
        }
    }

    /// The machine and what ran on it, in one line.
    pub(super) fn machine(&self) -> String {
        format!(
            "{}, {} cores, {:.0} GiB, Linux {}, librdkafka {}, commit {}",
            self.cpu_model,
            self.cores,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.librdkafka,
            self.commit.as_deref().unwrap_or("unknown")
        )
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    Some(if changed { commit + "+" } else { commit })
}
