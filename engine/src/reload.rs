//! `logdrive reload`: tells the running agent to read its configuration again, and says what became of it.
//!
//! The agent is the one that holds the state folder. What it made of the file stands in its `/status`; if it
//! does not answer there, the log is the only place that tells.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::ask;
use crate::state::Holder;
use crate::status::Reloads;

/// A reload takes milliseconds; a driver that is kept from it for longer has more to tell in its log.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions what became of it.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of it.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Outcome {
    /// The configuration is in force, but for these keys, which hold from the next start on.
    Applied(Vec<String>),
    /// The configuration before stays in force. One line for each problem.
    Refused(String),
    /// The agent was told, and nobody says what it made of it.
    Told,
}

/// The outcome, and the process that was told.
///
/// # Errors
/// There is no agent, it may not be signalled, or it does not come to it.
pub fn reload(state_dir: &Path, http: Option<SocketAddr>) -> Result<(Outcome, u32)> {
    let holder = match Holder::of(state_dir)? {
        Ok(holder) => holder,
        Err(why) => bail!(
            "no running agent uses the state folder {}: {why}; name that of the agent with --config FILE or \
             --state-dir DIR",
            state_dir.display()
        ),
    };
    let pid = holder.pid().as_raw_nonzero().get().unsigned_abs();
    let before = http.and_then(|address| reloads(address, pid));
    holder.signal(Signal::HUP).with_context(|| {
        format!("cannot signal the agent (process {pid}); run this as root or as the agent's user")
    })?;
    let (Some(before), Some(address)) = (before, http) else { return Ok((Outcome::Told, pid)) };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        std::thread::sleep(PAUSE);
        match reloads(address, pid) {
            Some(now) if now.attempts() != before.attempts() => {
                let outcome = match now.last_error {
                    Some(problems) => Outcome::Refused(problems),
                    None => Outcome::Applied(now.at_next_start),
                };
                return Ok((outcome, pid));
            }
            Some(_) => {}
            None => bail!(
                "the agent (process {pid}) was told, but no longer answers at {address}; its log says more"
            ),
        }
    }
    bail!("the agent (process {pid}) was told, and has not come to it within {} s", PATIENCE.as_secs())
}

/// What the agent of this process tells there; another one's answer is none.
fn reloads(address: SocketAddr, pid: u32) -> Option<Reloads> {
    let report = ask::status_now(address).ok()?.report;
    (report.pid == pid).then_some(report.reloads)
}
