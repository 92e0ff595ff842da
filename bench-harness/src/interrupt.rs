//! Ctrl-C and SIGTERM as a flag that every wait looks at.
//!
//! Nothing is ended from inside a signal: the flag makes the current wait return an error, the error
//! unwinds the command, and the owners of brokers, agents and files clean up as they are dropped. The
//! same signal a second time has its usual effect, for the impatient.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The longest time between two looks at the flag.
const SLICE_MAX: Duration = Duration::from_millis(20);

/// A signal asked the harness to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by a signal; what was started has been stopped")]
pub(crate) struct Interrupted;

/// From now on SIGINT and SIGTERM raise the flag. To be called once: a second pair of actions would take the first
/// signal for the second.
pub(crate) fn listen() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the default action is taken only if the flag is already up.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&INTERRUPTED))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED)))
            .context("cannot catch signals")?;
    }
    Ok(())
}

/// An error when a signal has asked to stop.
pub(crate) fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
}

/// Sleeps for `duration`, or until a signal asks to stop.
pub(crate) fn pause(duration: Duration) -> Result<(), Interrupted> {
    pause_until(Instant::now() + duration)
}

/// Sleeps until `deadline`, or until a signal asks to stop. A deadline that has passed returns at once.
pub(crate) fn pause_until(deadline: Instant) -> Result<(), Interrupted> {
    loop {
        check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE_MAX));
    }
}
