//! Niceness and input/output priority: how much others go first.
//!
//! Both belong to a thread, and a new thread begins with those of the one that starts it; so they are set once,
//! before there is a second thread.

use std::io;

use tracing::warn;

use crate::config::{IoPriority, LimitsPlan};

/// `IOPRIO_WHO_PROCESS` of `ioprio_set(2)`: a thread, and 0 is the calling one.
const WHO_PROCESS: libc::c_int = 1;
const CLASS_BEST_EFFORT: libc::c_int = 2;
const CLASS_IDLE: libc::c_int = 3;
/// The class stands above the level.
const CLASS_SHIFT: libc::c_int = 13;

/// Sets what the limits say for this thread and all that it will start. What the system refuses is warned about, and
/// shipping goes on.
pub fn set(limits: &LimitsPlan) {
    if let Some(nice) = limits.nice
        && let Err(errno) = rustix::process::setpriority_process(None, nice)
    {
        warn!(
            "limits.nice = {nice} is without effect: {errno}; less than before takes CAP_SYS_NICE or LimitNICE="
        );
    }
    if let Some(priority) = limits.io_priority
        && let Err(error) = set_io_priority(priority)
    {
        warn!("limits.io_class is without effect: {error}");
    }
}

fn set_io_priority(priority: IoPriority) -> io::Result<()> {
    let value = match priority {
        IoPriority::BestEffort { level } => (CLASS_BEST_EFFORT << CLASS_SHIFT) | libc::c_int::from(level),
        IoPriority::Idle => CLASS_IDLE << CLASS_SHIFT,
    };
    // SAFETY: the call takes three integers and touches no memory of this process.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
