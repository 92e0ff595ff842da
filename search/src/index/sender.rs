//! Sends batches to OpenSearch, several at the same time, each for as long as it takes.
//!
//! On a thread with a runtime of its own, so that whoever reads from Kafka is not held up by sockets. What a batch
//! needs is decided by its [`Effort`]; here are the waiting and the sockets. Nothing is sent before the index
//! template is in place: an index that is made without it would be wrong for its whole life.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use super::Event;
use super::effort::{Done, Effort, Next};
use super::pace::Trip;
use crate::ledger::BatchId;
use crate::opensearch::{Client, OpenSearchError, Template};

/// The first rest after a failure; each next one is twice as long, up to the last.
const REST_FIRST: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(15);
/// A trouble that goes on is told again so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Documents to be written.
#[derive(Debug)]
pub(super) struct Shipment {
    /// The batch that they are of.
    pub(super) batch: BatchId,
    /// The body of a bulk request.
    pub(super) body: Bytes,
    /// Where each document ends in it.
    pub(super) ends: Vec<u32>,
}

/// What became of a shipment: all of it is settled.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// The batch.
    pub(super) batch: BatchId,
    /// What became of its documents.
    pub(super) done: Done,
    /// How the requests went.
    pub(super) trip: Trip,
}

/// What stands between us and OpenSearch.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// In one line.
    pub(super) text: String,
    /// Since when nothing was answered well.
    pub(super) since: Instant,
    told_at: Instant,
}

/// The thread. It ends when this is dropped; what is on its way then may or may not arrive.
#[derive(Debug)]
pub(super) struct Sender {
    shipments: Option<UnboundedSender<Shipment>>,
    trouble: Arc<Mutex<Option<Trouble>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts it. `template`: to be put before anything else.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(
        client: Client,
        template: Option<Template>,
        events: mpsc::Sender<Event>,
    ) -> std::io::Result<Sender> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (shipments, received) = unbounded_channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let trouble = Arc::new(Mutex::new(None));
        let road = Arc::new(Road { client, trouble: Arc::clone(&trouble), events });
        let thread = std::thread::Builder::new().name("opensearch".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = road.serve(template, received) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Sender { shipments: Some(shipments), trouble, stop: Some(stop), thread: Some(thread) })
    }

    /// Sends it; what becomes of it is told as an [`Event::Settled`].
    pub(super) fn send(&self, shipment: Shipment) {
        let shipments = self.shipments.as_ref().expect("there until the end");
        shipments.send(shipment).expect("the thread listens until it is dropped");
    }

    /// What stands between us and OpenSearch, if something does.
    #[must_use]
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.shipments.take());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Road {
    client: Client,
    trouble: Arc<Mutex<Option<Trouble>>>,
    events: mpsc::Sender<Event>,
}

impl Road {
    async fn serve(self: Arc<Road>, template: Option<Template>, mut received: UnboundedReceiver<Shipment>) {
        self.prepare(template).await;
        while let Some(shipment) = received.recv().await {
            let road = Arc::clone(&self);
            tokio::spawn(async move {
                let settled = road.deliver(shipment).await;
                // Nobody listens any more: then it is the end.
                let _ = road.events.send(Event::Settled(settled));
            });
        }
        // The thread is told when to end.
        std::future::pending::<()>().await;
    }

    /// Finds out who answers, and puts the template, however long that takes.
    async fn prepare(&self, template: Option<Template>) {
        let mut rests = Rests::new(0);
        loop {
            let asked = async {
                let version = self.client.version().await?;
                if let Some(template) = &template {
                    self.client.put_template(template).await?;
                }
                Ok::<_, OpenSearchError>(version)
            };
            match asked.await {
                Ok(version) => {
                    self.well();
                    info!(version = %version.number, "{} answers", version.distribution);
                    return;
                }
                Err(error) => self.rest(&mut rests, error.to_string()).await,
            }
        }
    }

    async fn deliver(&self, shipment: Shipment) -> Settled {
        let Shipment { batch, body, ends } = shipment;
        let mut effort = Effort::new(body, ends);
        let mut rests = Rests::new(batch.0);
        let mut trip = Trip { bytes: 0, took: Duration::ZERO, pushed_back: false };
        while let Some((body, documents)) = effort.request() {
            trip.bytes = trip.bytes.max(body.len());
            let begun_at = Instant::now();
            let answer = self.client.bulk(body, documents).await;
            trip.took = begun_at.elapsed();
            let next = match answer {
                Ok(verdicts) => effort.answered(verdicts),
                Err(error) if error.is_about_content() => effort.refused(error.to_string()),
                Err(error) => Next::Rest(error.to_string()),
            };
            match next {
                Next::Go => {
                    rests = Rests::new(batch.0);
                    self.well();
                }
                Next::Rest(reason) => {
                    trip.pushed_back = true;
                    self.rest(&mut rests, reason).await;
                }
            }
        }
        Settled { batch, done: effort.into_done(), trip }
    }

    /// Rests before another attempt, and says why: at once, and now and then while it goes on.
    async fn rest(&self, rests: &mut Rests, reason: String) {
        let now = Instant::now();
        {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let known = trouble.as_ref();
            let tell = known.is_none_or(|known| now - known.told_at >= TELL_EVERY);
            let since = known.map_or(now, |known| known.since);
            let told_at = known.map_or(now, |known| if tell { now } else { known.told_at });
            if tell {
                let waited = (now - since).as_secs();
                warn!(waited_s = waited, "not written, and tried again: {reason}");
            }
            *trouble = Some(Trouble { text: reason, since, told_at });
        }
        tokio::time::sleep(rests.next()).await;
    }

    fn well(&self) {
        let over = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(trouble) = over {
            info!(lasted_s = trouble.since.elapsed().as_secs(), "written again");
        }
    }
}

/// Rests that grow. Those of different batches differ, so that not all come back at the same moment.
#[derive(Debug)]
struct Rests {
    next: Duration,
    dice: u64,
}

impl Rests {
    fn new(seed: u64) -> Rests {
        Rests { next: REST_FIRST, dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn next(&mut self) -> Duration {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let rest = self.next;
        self.next = (rest * 2).min(REST_MAX);
        // Three quarters of it, and up to a quarter more.
        rest * 3 / 4 + rest * (self.dice % 256) as u32 / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_bound_and_differ() {
        let (mut one, mut other) = (Rests::new(1), Rests::new(2));
        let mut differ = false;
        let mut expected = REST_FIRST;
        for _ in 0..20 {
            let (a, b) = (one.next(), other.next());
            assert!(a >= expected * 3 / 4 && a < expected, "{a:?} of {expected:?}");
            differ |= a != b;
            expected = (expected * 2).min(REST_MAX);
        }
        assert_eq!((expected, differ), (REST_MAX, true));
    }
}
