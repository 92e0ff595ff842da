//! Lines as they come: straight from Kafka, held against a query here, and told as server-sent events.
//!
//! ```text
//! Kafka ── reader (a thread, while somebody listens) ──> hub ──> queue of each listener ──> stream of events
//! ```
//!
//! The reader is in no group and commits nothing: it begins at the end of every partition. It never waits for a
//! listener. What is more than a listener takes, or than people read, is counted and told as skipped; and when the
//! reader itself falls behind it goes to the end again.

mod reader;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use futures_util::stream;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::time::timeout;
use tracing::warn;

use super::Site;
use super::answer::{Failure, typed};
use super::document::Document;
use super::params::Params;
use super::query::matcher::Matcher;
use crate::group::KafkaPlan;

/// Listeners at the same time.
const LISTENERS_MAX: usize = 32;
/// Lines that wait for a listener.
const QUEUE_LINES: usize = 1000;
/// Lines a second for one listener: more than anybody reads. As many may come at once after a pause.
const LINES_A_SECOND: f64 = 200.0;
/// Lines in one event.
const EVENT_LINES_MAX: usize = 200;
/// How long lines are gathered for one event.
const GATHER: Duration = Duration::from_millis(200);
/// A silence is broken so often, so that both sides see that the other is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What is read live.
#[derive(Clone, Debug)]
pub struct TailPlan {
    /// How Kafka is reached.
    pub kafka: KafkaPlan,
    /// Names of topics, and patterns of them that begin with `^`.
    pub topics: Vec<String>,
    /// That of lines whose times name no zone.
    pub time_zone: TimeZone,
}

/// Brings lines to listeners.
#[derive(Debug)]
pub(super) struct Hub {
    plan: TailPlan,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    all: Vec<Listener>,
    is_read: bool,
    /// What was told last, for those who come later.
    state: Standing,
}

/// How it stands with the reader.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Standing {
    /// It looks for the ends of the partitions.
    #[default]
    Starting,
    /// It reads.
    Live,
    /// It cannot; why.
    Troubled(String),
}

#[derive(Debug)]
struct Listener {
    matcher: Arc<Matcher>,
    events: Sender<Event>,
    skipped: Arc<AtomicU64>,
    allowance: Allowance,
}

#[derive(Debug)]
enum Event {
    Line(String),
    Standing(Standing),
}

/// So much a second, and as much at once after a pause. Time is an argument.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * LINES_A_SECOND;
        self.left = (self.left + earned).min(LINES_A_SECOND);
        self.at = now;
        let may = self.left >= 1.0;
        self.left -= f64::from(u8::from(may));
        may
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a line to whoever looks for it.
    fn offer(&self, document: &Document, id: &str, time_ms: i64, now: Instant) {
        for listener in &mut self.lock().all {
            if !listener.matcher.matches(document) {
                continue;
            }
            if !listener.allowance.take(now) {
                listener.skipped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let line = document.line(id, time_ms, &listener.matcher).to_string();
            if let Err(TrySendError::Full(_)) = listener.events.try_send(Event::Line(line)) {
                listener.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// So many records were passed over; how many of them somebody looks for is not known.
    fn skip(&self, count: u64) {
        for listener in &self.lock().all {
            listener.skipped.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn tell(&self, state: Standing) {
        let mut listeners = self.lock();
        if listeners.state == state {
            return;
        }
        if let Standing::Troubled(text) = &state {
            warn!("live lines: {text}");
        }
        listeners.state = state.clone();
        for listener in &listeners.all {
            // Whoever has no room for it has lines to look at.
            let _full = listener.events.try_send(Event::Standing(state.clone()));
        }
    }

    /// Whether anybody listens; if not, the reader has ended with this.
    fn goes_on(&self) -> bool {
        let mut listeners = self.lock();
        listeners.all.retain(|listener| !listener.events.is_closed());
        listeners.is_read = !listeners.all.is_empty();
        if !listeners.is_read {
            listeners.state = Standing::Starting;
        }
        listeners.is_read
    }
}

impl Hub {
    /// A hub that nobody listens to yet.
    #[must_use]
    pub(super) fn new(plan: TailPlan) -> Hub {
        Hub { plan, shared: Arc::default() }
    }

    /// Listens to lines that a query finds.
    fn listen(&self, matcher: Matcher) -> Result<Feed, Failure> {
        let busy = |text: String| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "tail", text);
        let mut listeners = self.shared.lock();
        listeners.all.retain(|listener| !listener.events.is_closed());
        if listeners.all.len() >= LISTENERS_MAX {
            return Err(busy(format!("{LISTENERS_MAX} others watch live lines already: try again later")));
        }
        let (events, received) = channel(QUEUE_LINES);
        let skipped = Arc::new(AtomicU64::new(0));
        let allowance = Allowance { left: LINES_A_SECOND, at: Instant::now() };
        let _room = events.try_send(Event::Standing(listeners.state.clone()));
        listeners.all.push(Listener {
            matcher: Arc::new(matcher),
            events,
            skipped: Arc::clone(&skipped),
            allowance,
        });
        if !listeners.is_read {
            let (plan, shared) = (self.plan.clone(), Arc::clone(&self.shared));
            let read = move || reader::run(&plan, &shared);
            let started = std::thread::Builder::new().name("tail".into()).spawn(read);
            started.map_err(|error| busy(format!("the system refuses a thread: {error}")))?;
            listeners.is_read = true;
        }
        Ok(Feed { events: received, skipped, gather: GATHER, silence: SIGN_OF_LIFE })
    }
}

/// A listener's end.
#[derive(Debug)]
struct Feed {
    events: Receiver<Event>,
    skipped: Arc<AtomicU64>,
    gather: Duration,
    silence: Duration,
}

impl Feed {
    /// The next event as it is sent.
    async fn next(&mut self) -> Option<String> {
        match timeout(self.silence, self.events.recv()).await {
            Err(_) => Some(format!("event: alive\ndata: {}\n\n", self.skipped.swap(0, Ordering::Relaxed))),
            Ok(None) => None,
            Ok(Some(Event::Standing(state))) => Some(told(&state)),
            Ok(Some(Event::Line(first))) => {
                tokio::time::sleep(self.gather).await;
                let mut lines = first;
                let mut count = 1;
                let mut behind = String::new();
                while count < EVENT_LINES_MAX {
                    match self.events.try_recv() {
                        Ok(Event::Line(line)) => {
                            lines.push(',');
                            lines.push_str(&line);
                            count += 1;
                        }
                        Ok(Event::Standing(state)) => {
                            behind = told(&state);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                let skipped = self.skipped.swap(0, Ordering::Relaxed);
                // JSON holds no line end, which would end the event.
                Some(format!("event: lines\ndata: {{\"lines\":[{lines}],\"skipped\":{skipped}}}\n\n{behind}"))
            }
        }
    }
}

fn told(state: &Standing) -> String {
    let (name, text) = match state {
        Standing::Starting => ("starting", ""),
        Standing::Live => ("live", ""),
        Standing::Troubled(text) => ("trouble", text.as_str()),
    };
    format!("event: state\ndata: {}\n\n", serde_json::json!({ "state": name, "text": text }))
}

/// `/api/tail`: lines as they come.
pub(super) async fn tail(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response<Body>, Failure> {
    let hub = site.tail.as_ref().ok_or_else(|| {
        let text = "live lines need Kafka: set `brokers` in [kafka] and `topics` in [serve] or [index]";
        Failure::new(StatusCode::NOT_FOUND, "no_tail", text.to_owned())
    })?;
    let feed = hub.listen(Matcher::new(&Params::of(&uri)?.query()?))?;
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(event)), feed))
    });
    Ok(typed(StatusCode::OK, "text/event-stream", Body::from_stream(events)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::query::parse;
    use serde_json::{Value, json};

    fn listener(query: &str, room: usize) -> (Arc<Shared>, Feed) {
        let shared = Arc::new(Shared::default());
        let (events, received) = channel(room);
        let skipped = Arc::new(AtomicU64::new(0));
        shared.lock().all.push(Listener {
            matcher: Arc::new(Matcher::new(&parse(query).unwrap())),
            events,
            skipped: Arc::clone(&skipped),
            allowance: Allowance { left: LINES_A_SECOND, at: Instant::now() },
        });
        (
            shared,
            Feed { events: received, skipped, gather: Duration::ZERO, silence: Duration::from_millis(1) },
        )
    }

    fn offer(shared: &Shared, message: &str, now: Instant) {
        shared.offer(&Document::of(json!({ "message": message, "log.level": "info" })), "id", 5, now);
    }

    async fn event(feed: &mut Feed) -> (String, Value) {
        let text = feed.next().await.unwrap();
        let (name, data) = text.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data = data.strip_suffix("\n\n").unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    }

    #[tokio::test]
    async fn a_listener_gets_the_lines_that_its_query_finds() {
        let (shared, mut feed) = listener("refused level:info", 10);
        let now = Instant::now();
        for message in ["connection refused", "all is well", "refused\nagain"] {
            offer(&shared, message, now);
        }
        let (name, data) = event(&mut feed).await;
        assert_eq!((&name[..], &data["skipped"]), ("lines", &json!(0)));
        let parts: Vec<&Value> =
            data["lines"].as_array().unwrap().iter().map(|line| &line["parts"]).collect();
        assert_eq!(parts, [&json!(["connection ", "refused", ""]), &json!(["", "refused", "\nagain"])]);
    }

    #[tokio::test]
    async fn what_nobody_can_read_is_counted() {
        let (shared, mut feed) = listener("", 2000);
        let now = Instant::now();
        for _ in 0..1000 {
            offer(&shared, "x", now);
        }
        let (_, data) = event(&mut feed).await;
        assert_eq!((data["lines"].as_array().unwrap().len(), &data["skipped"]), (200, &json!(800)));
        offer(&shared, "y", now + Duration::from_millis(500));
        let (_, data) = event(&mut feed).await;
        assert_eq!((data["lines"].as_array().unwrap().len(), &data["skipped"]), (1, &json!(0)));
    }

    #[tokio::test]
    async fn a_listener_that_does_not_listen_holds_up_nobody() {
        let (shared, mut feed) = listener("", 3);
        let now = Instant::now();
        for _ in 0..10 {
            offer(&shared, "x", now);
        }
        shared.tell(Standing::Troubled("away".to_owned()));
        let (_, data) = event(&mut feed).await;
        assert_eq!((data["lines"].as_array().unwrap().len(), &data["skipped"]), (3, &json!(7)));
        shared.skip(5);
        let (name, data) = event(&mut feed).await;
        assert_eq!((&name[..], data), ("alive", json!(5)));
        drop(feed);
        assert!(!shared.goes_on());
    }

    #[tokio::test]
    async fn a_state_comes_behind_the_lines_before_it() {
        let (shared, mut feed) = listener("", 10);
        offer(&shared, "x", Instant::now());
        shared.tell(Standing::Live);
        shared.tell(Standing::Live);
        let text = feed.next().await.unwrap();
        assert!(
            text.starts_with("event: lines\n")
                && text.ends_with("event: state\ndata: {\"state\":\"live\",\"text\":\"\"}\n\n")
        );
        shared.tell(Standing::Troubled("a\nb".to_owned()));
        assert_eq!(event(&mut feed).await.1, json!({ "state": "trouble", "text": "a\nb" }));
    }
}
