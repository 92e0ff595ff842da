//! How large a bulk request should be: as large as is answered quickly, and no larger.
//!
//! Additive up, halved down, as TCP does it: grows while full requests are answered quickly, shrinks when the
//! other side pushes back or takes long. Time is an argument.

use std::time::Duration;

/// Smaller requests would cost more in overhead than they relieve.
const BYTES_MIN: usize = 64 << 10;
/// Where it begins, and how much it grows.
const STEP_BYTES: usize = 512 << 10;
/// A full request that is answered within this could be larger.
const QUICK: Duration = Duration::from_millis(500);
/// One that takes longer is too large.
const SLOW: Duration = Duration::from_secs(4);

/// The size to aim at.
#[derive(Debug)]
pub(super) struct Pace {
    bytes: usize,
    bytes_max: usize,
}

/// How a request went.
#[derive(Copy, Clone, Debug)]
pub(super) struct Trip {
    /// Its size.
    pub(super) bytes: usize,
    /// From its first byte to the answer, of the last attempt.
    pub(super) took: Duration,
    /// Whether it had to be tried again because the other side was busy or did not answer.
    pub(super) pushed_back: bool,
}

impl Pace {
    /// A pace that never goes above `bytes_max`.
    #[must_use]
    pub(super) fn new(bytes_max: usize) -> Pace {
        Pace { bytes: STEP_BYTES.min(bytes_max), bytes_max }
    }

    /// The size at which a batch is full.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Learns from a request.
    pub(super) fn answered(&mut self, trip: &Trip) {
        if trip.pushed_back || trip.took > SLOW {
            self.bytes = (self.bytes / 2).max(BYTES_MIN.min(self.bytes_max));
        } else if trip.bytes >= self.bytes && trip.took < QUICK {
            self.bytes = (self.bytes + STEP_BYTES).min(self.bytes_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(bytes: usize, took_ms: u64, pushed_back: bool) -> Trip {
        Trip { bytes, took: Duration::from_millis(took_ms), pushed_back }
    }

    #[test]
    fn it_grows_by_full_requests_that_are_quick_and_halves_when_pushed_back() {
        let mut pace = Pace::new(4 << 20);
        for _ in 0..100 {
            pace.answered(&trip(1000, 1, false));
        }
        assert_eq!(pace.bytes(), STEP_BYTES, "small requests say nothing about large ones");
        for expected in [2, 3, 4, 5, 6, 7, 8, 8] {
            pace.answered(&trip(pace.bytes(), 499, false));
            assert_eq!(pace.bytes(), expected * STEP_BYTES);
        }
        pace.answered(&trip(pace.bytes(), 2000, false));
        assert_eq!(pace.bytes(), 8 * STEP_BYTES, "neither quick nor slow");
        pace.answered(&trip(pace.bytes(), 5000, false));
        assert_eq!(pace.bytes(), 4 * STEP_BYTES);
        for _ in 0..100 {
            pace.answered(&trip(1000, 1, true));
        }
        assert_eq!(pace.bytes(), BYTES_MIN);
    }

    #[test]
    fn a_small_bound_holds() {
        let mut pace = Pace::new(16 << 10);
        assert_eq!(pace.bytes(), 16 << 10);
        pace.answered(&trip(1, 1, true));
        pace.answered(&trip(16 << 10, 1, false));
        assert_eq!(pace.bytes(), 16 << 10);
    }
}
