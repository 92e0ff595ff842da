//! The only place where the agent asks what time it is.

use std::time::{Duration, Instant, SystemTime};

use logdrive_core::position::Nanos;

use crate::driver::Moment;

/// Monotonic time since the start of the agent, and wall time for records.
#[derive(Copy, Clone, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that stands at 0 now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Now, by both clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), wall_ns: wall_ns() }
    }

    /// Now, since the start.
    #[must_use]
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long from now until `at`.
    #[must_use]
    pub fn until(&self, at: Nanos) -> Duration {
        at.since(self.now())
    }
}

/// Nanoseconds since the epoch; 0 when the clock stands before it.
#[must_use]
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
