//! Whatever a process has started, to be ended with it: a child may leave its group, and its parent.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::POLL;
use crate::procfs;

/// What a process had started at one moment, held by descriptors: a number may belong to another process by the
/// time it is signalled.
pub(super) struct Descendants(Vec<(procfs::Identity, OwnedFd)>);

/// How long a process may take to go that was killed.
const KILLED_PATIENCE: Duration = Duration::from_secs(10);

impl Descendants {
    pub(super) fn of(pid: i32) -> Descendants {
        let held = procfs::descendants(pid).into_iter().filter_map(|process| {
            let pid = Pid::from_raw(process.pid)?;
            let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Looked at again: between the list and the descriptor it may have become another.
            procfs::is_alive(process).then_some((process, descriptor))
        });
        Descendants(held.collect())
    }

    pub(super) fn end(self) -> Result<()> {
        for (_, descriptor) in &self.0 {
            // One that has gone by itself is what is wanted.
            let _gone = pidfd_send_signal(descriptor, Signal::KILL);
        }
        let deadline = Instant::now() + KILLED_PATIENCE;
        while let Some((process, _)) = self.0.iter().find(|(process, _)| procfs::is_alive(*process)) {
            if Instant::now() >= deadline {
                bail!("process {} survives SIGKILL", process.pid);
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::Child;
    use crate::procfs;

    #[test]
    fn what_has_left_the_group_is_killed_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sh -c 'sleep 1000 & wait' & setsid sleep 1000 & wait"]);
        let mut child = Child::spawn("the script", &mut command, &folder.path().join("log")).unwrap();
        let mut descendants = Vec::new();
        // Two shells and two sleeps, the inner ones in groups of their own.
        while descendants.len() < 3 || procfs::group(child.pid()).len() > 1 {
            child.expect_running().unwrap();
            descendants = procfs::descendants(child.pid());
        }
        child.kill().unwrap();
        assert!(!descendants.iter().any(|process| procfs::is_alive(*process)), "{descendants:?}");
    }
}
