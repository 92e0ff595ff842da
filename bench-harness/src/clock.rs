//! Whether the clock that latencies are taken with was set while they were taken.
//!
//! Latency is a difference of two readings of the real-time clock. A clock that is slewed runs a little faster
//! or slower, together with the monotonic one, and moves no latency by more than its share; one that is set
//! moves every line in flight. So the distance between both clocks is watched: it changes only by a step.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Readings that a pair of clocks gets, of which the closest counts: between two of them the thread may lose its
/// core.
const READINGS: usize = 8;

/// The distance between the real-time clock and the monotonic one, from an arbitrary zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distance(i128);

impl Distance {
    /// Reads both clocks. Distances that share `zero` can be compared.
    pub(crate) fn read(zero: Instant) -> Distance {
        let reading = || {
            let before = Instant::now();
            let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let took = before.elapsed();
            (took, real.as_nanos() as i128 - (before - zero).as_nanos() as i128)
        };
        let closest = (0..READINGS).map(|_| reading()).min();
        Distance(closest.map_or(0, |(_, distance_ns)| distance_ns))
    }
}

/// The largest step between neighbouring readings, in milliseconds: forwards above 0, backwards below.
pub(crate) fn largest_step_ms(distances: &[Distance]) -> f64 {
    let steps_ms = distances.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64 / 1e6);
    steps_ms.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_step_is_found_whatever_its_direction() {
        let distances = [7, 7, 2_000_007, -1_000_000, -1_000_003].map(Distance);
        assert_eq!(largest_step_ms(&distances), -3.000007);
        assert_eq!(largest_step_ms(&distances[..1]), 0.0);
    }

    #[test]
    fn the_clocks_of_this_machine_are_readable() {
        let zero = Instant::now();
        assert!(Distance::read(zero).0 > 0, "the epoch is long ago");
    }
}
