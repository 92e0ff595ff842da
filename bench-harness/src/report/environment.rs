//! Where and with what a run was made, observed once at its start.

use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::procfs;

/// Where and with what a run was made.
#[derive(Debug, Serialize)]
pub(crate) struct Environment {
    pub(super) started: String,
    pub(super) cpu_model: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    pub(super) librdkafka: String,
    harness: String,
    pub(super) agent: Option<String>,
    pub(super) agent_command: String,
    /// The commit of the checkout, with `+` when it had changes; none outside a checkout.
    pub(super) commit: Option<String>,
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
