//! An answer that is given again to whoever asks soon after.
//!
//! Making one keeps the driver from its work, and a client that does not read keeps one in memory as long as
//! it is connected. Anybody on this host may ask as often as they like, so the time is bounded to a share of
//! the driver's, and the copies to a number, however many ask and however slowly they read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::status::Readiness;

/// What took the driver a while to tell is told again for this many times as long.
const REST_SHARE: u32 = 10;

/// Different answers of one page that exist at the same time.
const COPIES_MAX: usize = 3;

/// A page as it was last made.
#[derive(Debug)]
pub(super) struct Page {
    last: Mutex<Option<Kept>>,
    copies: Arc<Semaphore>,
}

impl Default for Page {
    fn default() -> Page {
        Page { last: Mutex::default(), copies: Arc::new(Semaphore::new(COPIES_MAX)) }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Made {
    /// Its status.
    pub code: StatusCode,
    /// Its text.
    pub body: Vec<u8>,
    /// How long whoever does the work was kept from it.
    pub took: Duration,
}

impl Made {
    /// Whether the work can be done, and why not.
    #[must_use]
    pub fn readiness(told: &Readiness, took: Duration) -> Made {
        let (code, body) = match told {
            Readiness { ready: true, .. } => (StatusCode::OK, "ready\n".to_owned()),
            Readiness { reason, .. } => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        };
        Made { code, body: body.into(), took }
    }

    /// A report of strings, numbers, and maps with strings for keys.
    #[must_use]
    pub fn json(report: &impl Serialize, took: Duration) -> Made {
        let body = serde_json::to_vec_pretty(report).expect("strings, numbers, and maps without other keys");
        Made { code: StatusCode::OK, body, took }
    }
}

#[derive(Debug)]
struct Kept {
    /// `None`: the driver did not answer.
    answer: Option<(StatusCode, Bytes)>,
    made_at: Instant,
    fresh_until: Instant,
}

impl Page {
    /// The page as it is now, or was a moment ago; `None` when the driver does not answer.
    pub(super) async fn show(&self, make: impl AsyncFnOnce() -> Option<Made>) -> Option<(StatusCode, Bytes)> {
        let asked_at = Instant::now();
        let mut last = self.last.lock().await;
        // Whoever had to wait for the lock is answered with what was made in the meantime.
        if let Some(kept) = last.as_ref().filter(|kept| asked_at < kept.made_at.max(kept.fresh_until)) {
            return kept.answer.clone();
        }
        let Ok(permit) = Arc::clone(&self.copies).try_acquire_owned() else {
            // Slow clients hold all copies; none of them is older than a connection may be.
            return last.as_ref().and_then(|kept| kept.answer.clone());
        };
        let made = make().await;
        let made_at = Instant::now();
        let fresh_until = made_at + made.as_ref().map_or(Duration::ZERO, |made| made.took * REST_SHARE);
        let answer =
            made.map(|made| (made.code, Bytes::from_owner(Copy { body: made.body, _permit: permit })));
        *last = Some(Kept { answer: answer.clone(), made_at, fresh_until });
        answer
    }
}

/// The text of an answer, which counts as one copy until the last connection has let go of it.
struct Copy {
    body: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Copy {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Shows the page, which is made anew with a number, and returns the number shown.
    async fn show(page: &Page, made: &Cell<u8>, took: Duration) -> (Option<u8>, Option<Bytes>) {
        let make = async || {
            made.set(made.get() + 1);
            Some(Made { code: StatusCode::OK, body: vec![made.get()], took })
        };
        let body = page.show(make).await.map(|(_, body)| body);
        (body.as_ref().map(|body| body[0]), body)
    }

    fn run(story: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(story);
    }

    #[test]
    fn x03_what_took_long_is_told_again() {
        run(async {
            let (page, made) = (Page::default(), Cell::new(0));
            let hour = Duration::from_secs(3600);
            for _ in 0..100 {
                assert_eq!(show(&page, &made, hour).await.0, Some(1));
            }
            let (page, made) = (Page::default(), Cell::new(0));
            for number in 1..100 {
                assert_eq!(show(&page, &made, Duration::ZERO).await.0, Some(number));
            }
        });
    }

    #[test]
    fn x03_who_does_not_read_holds_few_copies() {
        run(async {
            let (page, made) = (Page::default(), Cell::new(0));
            let mut unread = Vec::new();
            for _ in 0..100 {
                unread.push(show(&page, &made, Duration::ZERO).await.1);
            }
            assert_eq!(usize::from(made.get()), COPIES_MAX);
            drop(unread);
            assert_eq!(usize::from(show(&page, &made, Duration::ZERO).await.0.unwrap()), COPIES_MAX + 1);
        });
    }

    #[test]
    fn x03_all_who_wait_for_a_driver_that_does_not_answer_wait_together() {
        run(async {
            let (page, asked) = (Page::default(), Cell::new(0));
            let ask = || {
                page.show(async || {
                    asked.set(asked.get() + 1);
                    tokio::task::yield_now().await;
                    None
                })
            };
            let answers = tokio::join!(ask(), ask(), ask());
            assert_eq!(answers, (None, None, None));
            assert_eq!(asked.get(), 1);
            assert_eq!(ask().await, None);
            assert_eq!(asked.get(), 2, "it is asked again later");
        });
    }
}
