//! Waiting for a condition, never for time to pass.

use std::time::{Duration, Instant};

/// A condition that does not come within this time never will.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if is_long() { 250 } else { 90 })
}

/// Whether faults are to be as large as the catalogue has them, where that takes minutes
/// (`LOGDRIVE_LONG=1`), and not just large enough to show the same.
pub(crate) fn is_long() -> bool {
    std::env::var_os("LOGDRIVE_LONG").is_some_and(|value| value == "1")
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {:?}: {what}", patience());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until the answer is yes.
pub(crate) fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}
