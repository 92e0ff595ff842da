//! A timer of the kernel's: exact where the runtime's own would round up to whole milliseconds, and set by
//! one system call where that needs several and a turn of its loop.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use logdrive_core::position::Nanos;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Rings once at the time for which it was last set; may ring once more for a time before that.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// The time it is set for and has not rung for.
    set_for: Option<Nanos>,
}

impl Alarm {
    /// An alarm that is not set. Only inside a runtime.
    ///
    /// # Errors
    /// When the system has no timer or descriptor left.
    pub fn new() -> io::Result<Alarm> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned by the `AsyncFd`, is never taken out, and is the same for life.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Alarm { timer, set_for: None })
    }

    /// Sets it for the time `at`, which it is in `wait`, instead of what it was set for.
    ///
    /// # Errors
    /// Never for a descriptor that is a timer.
    pub fn set(&mut self, at: Nanos, wait: Duration) -> io::Result<()> {
        if self.set_for == Some(at) {
            return Ok(());
        }
        // A timer set to 0 would never ring.
        let wait = wait.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        self.set_for = Some(at);
        Ok(())
    }

    /// Waits until it rings. Can be dropped at any time.
    pub async fn ring(&mut self) {
        // An error would mean that the runtime is ending.
        if let Ok(mut ready) = self.timer.readable().await {
            ready.clear_ready();
            self.set_for = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_rings_when_it_is_due_and_again_when_it_is_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for at in 1..4 {
            let before = std::time::Instant::now();
            alarm.set(Nanos(at), Duration::from_millis(2)).unwrap();
            alarm.ring().await;
            assert!(before.elapsed() >= Duration::from_millis(2));
        }
        alarm.set(Nanos(4), Duration::ZERO).unwrap();
        alarm.ring().await;
    }

    #[tokio::test]
    async fn the_later_setting_counts() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Nanos(2), Duration::from_secs(3600)).unwrap();
        alarm.set(Nanos(1), Duration::from_millis(1)).unwrap();
        alarm.ring().await;
    }
}
