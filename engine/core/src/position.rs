//! Byte positions in a file, spans between them, and monotonic time.
//!
//! A file offset is never a bare `u64`: it would meet lengths, counts and milliseconds in the same
//! expression sooner or later.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A byte offset from the start of one file generation.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The first byte of a generation.
    pub const ZERO: Position = Position(0);

    /// The position `bytes` further on.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Position {
        Position(self.0 + bytes as u64)
    }

    /// Bytes from `earlier` to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Position) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The bytes `[start, end)` of one file generation.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: Position,
    /// One past the last byte; never before `start`.
    pub end: Position,
}

impl Span {
    /// A span of `bytes` bytes from `start`.
    #[must_use]
    pub fn of(start: Position, bytes: usize) -> Span {
        Span { start, end: start.plus(bytes) }
    }

    /// How many bytes it covers.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.end.since(self.start)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?},{:?})", self.start, self.end)
    }
}

/// Monotonic time in nanoseconds since the agent started. Wall time never steers anything.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Default, Debug)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time `other` earlier, 0 when `other` is later.
    #[must_use]
    pub fn since(self, other: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;
    fn add(self, rhs: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Nanos {
    type Output = Nanos;
    fn sub(self, rhs: Duration) -> Nanos {
        Nanos(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}
