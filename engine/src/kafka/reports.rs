//! The threads behind each producer instance: one receives its events, counts delivery reports, and in
//! the end takes the instance down; another asks about topics.
//!
//! It knows slots and codes, never batches. Nothing is allocated for a report: finished slots go into
//! a vector that the sink swaps empty, and the bell rings once for an event. The order of things at
//! the end is what keeps memory safe: purge, drain, destroy, and only then say that it is over.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::native::{Client, Described, Event, Kind, code, name_of};
use super::slots::{Slots, Ticket, refuses_for_good};
use super::status::{RoundTrip, round_trips};
use crate::bell::Bell;

/// What a reporter tells the sink beside finished slots; all of it is rare.
#[derive(Debug)]
pub(super) enum News {
    Described(Described),
    Created {
        topic: String,
        code: i32,
        text: String,
    },
    /// The instance is of no use any more.
    Fatal {
        code: i32,
        text: String,
    },
    RoundTrips(Vec<RoundTrip>),
    /// The instance and all its threads are gone.
    Retired,
}

/// What the reporters and the sink share.
pub(super) struct Shared {
    pub(super) slots: Slots,
    /// Slots whose last message is settled, and whose events are destroyed.
    pub(super) finished: Mutex<Vec<u32>>,
    pub(super) bell: Bell,
    pub(super) quota: Quota,
    pub(super) last_error: Mutex<Option<String>>,
}

/// What of librdkafka's lines is logged: so many until the next refill, and the same thing once in
/// [`TOLD_REFILLS`] refills, so that what comes many times a second leaves room for its cause.
pub(super) struct Quota(Mutex<Told>);

struct Told {
    left: u32,
    muted: u32,
    /// What was told, as a hash, and for how many refills it is not told again.
    told: Vec<(u64, u32)>,
}

/// With a refill every ten seconds: a minute.
const TOLD_REFILLS: u32 = 6;

impl Quota {
    pub(super) fn new(lines: u32) -> Quota {
        Quota(Mutex::new(Told { left: lines, muted: 0, told: Vec::new() }))
    }

    /// Whether this may be told now.
    pub(super) fn take(&self, what: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let what = hasher.finish();
        let mut quota = self.0.lock().expect("nobody panics with it");
        if quota.left == 0 || quota.told.iter().any(|(told, _)| *told == what) {
            quota.muted += 1;
            return false;
        }
        quota.left -= 1;
        quota.told.push((what, TOLD_REFILLS));
        true
    }

    /// Allows `lines` lines again; returns how many were held back.
    pub(super) fn refill(&self, lines: u32) -> u32 {
        let mut quota = self.0.lock().expect("nobody panics with it");
        quota.left = lines;
        quota.told.retain_mut(|(_, refills)| {
            *refills -= 1;
            *refills > 0
        });
        std::mem::take(&mut quota.muted)
    }
}

/// A text without what differs each time: how long it took and how often it was not told.
fn gist(text: &str) -> &str {
    text.split_once(" (after ").map_or(text, |(gist, _)| gist)
}

/// The sink's end of an instance's threads.
pub(super) struct Threads {
    questions: Sender<()>,
    returned: Returned,
}

/// Where the sink gives its reference to the client back.
type Returned = Arc<Mutex<Option<Arc<Client>>>>;

/// How long a question may wait for a broker.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the threads of an instance: one for its events, one for questions, which block.
pub(super) fn start(
    instance: usize,
    client: &Arc<Client>,
    shared: &Arc<Shared>,
    news: &Sender<(usize, News)>,
) -> std::io::Result<Threads> {
    let thread = |what: &str| std::thread::Builder::new().name(format!("kafka-{what}-{instance}"));
    let (questions, asked) = channel();
    let asker = {
        let (client, news, bell) = (Arc::clone(client), news.clone(), shared.bell.clone());
        thread("topics").spawn(move || {
            for () in asked {
                let _ = news.send((instance, News::Described(client.describe(ANSWER_TIMEOUT))));
                bell.ring();
            }
        })?
    };
    let returned = Returned::default();
    let reporter = Reporter { instance, shared: Arc::clone(shared), news: news.clone(), ended: Vec::new() };
    {
        let (client, returned) = (Arc::clone(client), Arc::clone(&returned));
        thread("reports").spawn(move || reporter.run(client, &returned, asker))?;
    }
    Ok(Threads { questions, returned })
}

impl Threads {
    /// Asks about all topics; the answer comes as news.
    pub(super) fn ask(&self) {
        self.questions.send(()).expect("the thread ends only when this end is gone");
    }

    /// Tells the reporter to take the instance down. The caller holds no other reference to the client.
    pub(super) fn dismiss(self, client: Arc<Client>) {
        let mut returned = self.returned.lock().expect("nobody panics with it");
        // Under the lock: woken, the reporter waits here until the reference is there.
        client.wake();
        *returned = Some(client);
    }
}

struct Reporter {
    instance: usize,
    shared: Arc<Shared>,
    news: Sender<(usize, News)>,
    /// Slots that ended in the present event; kept for its memory.
    ended: Vec<u32>,
}

/// How long the end of an instance waits for another report, and how often in vain.
const DRAIN_WAIT: Duration = Duration::from_millis(50);
const DRAIN_WAITS_MAX: u32 = 20;

impl Reporter {
    fn run(mut self, client: Arc<Client>, returned: &Returned, asker: JoinHandle<()>) {
        while returned.lock().expect("nobody panics with it").take().is_none() {
            if let Some(event) = client.poll(None) {
                self.take(event);
                self.publish();
            }
        }
        client.purge();
        let mut in_vain = 0;
        while client.outq_len() > 0 && in_vain < DRAIN_WAITS_MAX {
            match client.poll(Some(DRAIN_WAIT)) {
                Some(event) => {
                    self.take(event);
                    in_vain = 0;
                }
                None => in_vain += 1,
            }
        }
        // What ended since the purge is found by the sink when it sweeps: not before the client is gone.
        self.ended.clear();
        asker.join().expect("the asker does not panic");
        drop(Arc::into_inner(client).expect("the sink and the asker gave their references back"));
        self.tell(News::Retired);
    }

    /// Takes an event in; its messages are freed when this returns.
    fn take(&mut self, event: Event) {
        match event.kind() {
            Kind::Reports => self.count(&event),
            Kind::Error { code, text, fatal } => self.error(code, text, fatal),
            Kind::Log { level, text } => self.log(level, &text),
            Kind::Statistics(json) => {
                if let Some(found) = round_trips(&json) {
                    self.tell(News::RoundTrips(found));
                }
            }
            Kind::Created { topic, code, text } => self.tell(News::Created { topic, code, text }),
            Kind::Other => {}
        }
    }

    /// Books the messages of a report, one booking for each run of equal ones.
    fn count(&mut self, event: &Event) {
        let mut run = (0, 0);
        let mut messages = 0;
        event.for_each_report(|opaque, code| {
            if (opaque, code) != run {
                self.book(run, messages);
                run = (opaque, code);
                messages = 0;
            }
            messages += 1;
        });
        self.book(run, messages);
    }

    fn book(&mut self, (opaque, code): (usize, i32), messages: u32) {
        if messages == 0 {
            return;
        }
        let ticket = Ticket::unpack(opaque);
        if code != 0 && self.shared.quota.take(code) {
            let reason = name_of(code);
            match refuses_for_good(code) {
                true => warn!(messages, code, reason, "a broker refused records for good"),
                false => warn!(messages, code, reason, "records are not known to be stored"),
            }
        }
        if self.shared.slots.settle(ticket, messages, code) {
            self.ended.push(ticket.slot);
        }
    }

    /// Hands over what ended. The event is destroyed by now, so librdkafka has let go of the payloads.
    fn publish(&mut self) {
        if !self.ended.is_empty() {
            self.shared.finished.lock().expect("nobody panics with it").append(&mut self.ended);
        }
        // Also without an end: there is room in the queue again.
        self.shared.bell.nudge();
    }

    fn tell(&self, news: News) {
        // The sink may be gone already; then nobody needs to know.
        let _ = self.news.send((self.instance, news));
        self.shared.bell.ring();
    }

    fn error(&self, code: i32, text: String, fatal: bool) {
        if fatal {
            error!(instance = self.instance, code, text, "kafka producer failed and is rebuilt");
            self.tell(News::Fatal { code, text: text.clone() });
            *self.last_error() = Some(text);
            return;
        }
        // The numbers in it change all the time, and the cause, which was told before, says more.
        let only_a_sum = code == code::ALL_BROKERS_DOWN;
        if self.shared.quota.take((code, if only_a_sum { "" } else { gist(&text) })) {
            warn!(instance = self.instance, code, reason = name_of(code), text, "kafka");
        }
        match only_a_sum {
            true => {
                self.last_error().get_or_insert(text);
            }
            false => *self.last_error() = Some(text),
        }
    }

    fn last_error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.shared.last_error.lock().expect("nobody panics with it")
    }

    fn log(&self, level: i32, text: &str) {
        // Failed connections come as errors too.
        if level > 6 || text.starts_with("FAIL:") {
            debug!(instance = self.instance, "librdkafka: {text}");
        } else if self.shared.quota.take(gist(text)) {
            match level {
                ..=3 => warn!(instance = self.instance, "librdkafka: {text}"),
                _ => info!(instance = self.instance, "librdkafka: {text}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_told_once_a_minute_and_leaves_room_for_others() {
        let quota = Quota::new(2);
        let handshake = |ms: u32| format!("a:1: SSL handshake failed (after {ms}ms in state X)");
        assert!(quota.take(gist(&handshake(7))));
        for ms in 0..100 {
            assert!(!quota.take(gist(&handshake(ms))));
        }
        assert!(quota.take("another"));
        assert!(!quota.take("one too many"));
        assert_eq!(quota.refill(2), 101);
        for _ in 1..TOLD_REFILLS {
            assert!(!quota.take(gist(&handshake(7))));
            quota.refill(2);
        }
        assert!(quota.take(gist(&handshake(7))));
    }
}
