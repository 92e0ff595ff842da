//! `limits.cpu`: keeps the process within a share of one core, by saying until when nothing is to be read.
//!
//! What is read makes all the work: framing here, compression on librdkafka's threads a little later. So the
//! whole process is measured, and the debt that a burst has made is made good for by a pause of reading
//! alone. Acknowledgements, checkpoints, signals and answers never wait. The clocks are arguments.

use std::num::NonZeroU32;
use std::time::Duration;

use logdrive_core::position::Nanos;
use rustix::time::{ClockId, clock_gettime};

/// To ask costs a microsecond or so.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Idle time is saved up for this long: what a burst may use beyond the share.
const SAVED: Duration = Duration::from_millis(100);
/// The longest pause, whatever the process has used: at its start, say, or to answer someone.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A share of one core, and how much of it is unused.
#[derive(Debug)]
pub struct CpuShare {
    percent: NonZeroU32,
    /// Nanoseconds of processor time that may be used; negative after more was.
    credit: i64,
    /// By both clocks, when `credit` was brought up to date.
    at: Nanos,
    used: Duration,
}

impl CpuShare {
    /// From now on, when the process has used so much.
    #[must_use]
    pub fn new(percent: NonZeroU32, now: Nanos, used: Duration) -> CpuShare {
        CpuShare { percent, credit: 0, at: now, used }
    }

    /// Which share it is.
    #[must_use]
    pub fn percent(&self) -> NonZeroU32 {
        self.percent
    }

    /// Until when nothing is to be read, when that has become known. `used` tells what the process has used; it is
    /// not asked each time.
    pub fn look(&mut self, now: Nanos, used: impl FnOnce() -> Duration) -> Option<Nanos> {
        let elapsed = now.since(self.at);
        if elapsed < LOOK_EVERY {
            return None;
        }
        let used = used();
        let spent = nanos(used.saturating_sub(self.used));
        (self.at, self.used) = (now, used);
        let credit = self.credit.saturating_add(self.share_of(elapsed)).saturating_sub(spent);
        self.credit = credit.clamp(-self.share_of(PAUSE_MAX), self.share_of(SAVED));
        (self.credit < 0).then(|| {
            let debt = self.credit.unsigned_abs().saturating_mul(100);
            now + Duration::from_nanos(debt.div_ceil(self.percent.get().into()))
        })
    }

    fn share_of(&self, time: Duration) -> i64 {
        nanos(time).saturating_mul(self.percent.get().into()) / 100
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// What all threads of this process have used.
#[must_use]
pub fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn share(percent: u32) -> CpuShare {
        CpuShare::new(NonZeroU32::new(percent).unwrap(), Nanos(0), Duration::ZERO)
    }

    fn look(share: &mut CpuShare, now_ms: u64, used_ms: u64) -> Option<u64> {
        share.look(Nanos(now_ms * MS), || Duration::from_millis(used_ms)).map(|until| until.0 / MS)
    }

    #[test]
    fn a_debt_is_made_good_for_by_a_pause() {
        let mut share = share(50);
        assert_eq!(look(&mut share, 100, 40), None, "10 ms are saved up");
        assert_eq!(look(&mut share, 200, 140), Some(280), "40 ms too many at half a core");
        assert_eq!(look(&mut share, 240, 141), Some(282), "what is used in the pause makes it longer");
        assert_eq!(look(&mut share, 282, 141), None);
    }

    #[test]
    fn idle_time_is_saved_for_a_tenth_of_a_second_and_a_pause_is_bounded() {
        let mut share = share(10);
        assert_eq!(look(&mut share, 3_600_000, 0), None);
        assert_eq!(look(&mut share, 3_600_100, 20), None, "the share of 200 ms");
        assert_eq!(look(&mut share, 3_600_200, 31), Some(3_600_210));
        let pause = look(&mut share, 3_600_300, 3_600_000).unwrap() - 3_600_300;
        assert_eq!(Duration::from_millis(pause), PAUSE_MAX);
    }

    #[test]
    fn it_is_not_looked_at_again_and_again() {
        let mut share = share(10);
        assert_eq!(share.look(Nanos(MS), || panic!("asked after a millisecond")), None);
        for used in [Duration::MAX, Duration::ZERO] {
            share.look(Nanos(u64::MAX), || used);
        }
    }

    #[test]
    fn over_any_time_a_busy_process_uses_its_share_and_the_last_burst() {
        for percent in [1, 5, 50, 100, 150] {
            // Reads for 1 ms, works for 3 ms, whenever it may.
            let (mut share, mut now, mut used) = (share(percent), 0, 0);
            while now < 60_000 {
                now = look(&mut share, now, used).unwrap_or(now) + 2;
                used += 4;
            }
            let allowed = now * u64::from(percent) / 100;
            assert!(used <= allowed + 8, "{percent} %: {used} of {allowed}");
            assert!(used + u64::from(percent) + 8 >= allowed, "{percent} %: only {used} of {allowed}");
        }
    }

    #[test]
    fn the_process_has_used_something() {
        let before = used();
        let mut sum = 0_u64;
        while used() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(used() > before);
    }
}
