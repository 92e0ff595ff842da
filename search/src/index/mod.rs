//! `logdrive-search index`: a member of a consumer group that writes lines to OpenSearch or Elasticsearch.
//!
//! ```text
//! Kafka ─> group ─> batch ─> sender ─> OpenSearch
//!            ^       │ document: two lines a record, in place
//!            │       v
//!         ledger <─ indexer <─ effort: every document settled ─┬─ created, or known
//!        (commit)                                              └─ refused ─> letters ─> topic of dead letters
//! ```
//!
//! An offset is committed when everything before it in its partition is in the index or acknowledged as a dead
//! letter. What is written twice for that, after a crash or a rebalance, has the same index and id and stays one.

mod batch;
pub(crate) mod document;
mod effort;
mod indexer;
mod letters;
mod metrics;
mod pace;
mod report;
mod sender;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use logdrive::http::{HttpLimits, HttpServer};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::info;

use crate::group::{Group, KafkaPlan, Subscription};
use crate::opensearch::{Client, OpenSearchPlan, Template};
use indexer::Indexer;
use letters::{Letters, Posted};
pub use metrics::Metrics;
use report::{Report, Window};
use sender::{Sender, Settled};

/// What an indexer is to do.
#[derive(Clone, Debug)]
pub struct IndexPlan {
    /// How Kafka is reached.
    pub kafka: KafkaPlan,
    /// Which records are read.
    pub subscription: Subscription,
    /// How OpenSearch is reached.
    pub opensearch: OpenSearchPlan,
    /// What the names of indexes begin with.
    pub prefix: String,
    /// The template of the indexes; `None`: somebody else sees to it.
    pub template: Option<Template>,
    /// That of lines whose times name no zone.
    pub time_zone: TimeZone,
    /// The topic of records that the index refuses.
    pub dead_letter_topic: String,
    /// Bulk requests on their way at the same time.
    pub requests: usize,
    /// The largest bulk request, in bytes; a larger document goes alone.
    pub batch_bytes_max: usize,
    /// How long a record may wait for company.
    pub linger: Duration,
    /// How long a stop waits for what is on its way.
    pub shutdown_timeout: Duration,
    /// Where questions are answered; `None`: nowhere.
    pub http: Option<SocketAddr>,
}

/// What comes back to the indexer.
#[derive(Debug)]
enum Event {
    /// A shipment is settled.
    Settled(Settled),
    /// A dead letter has arrived, or has not.
    Posted(Posted),
}

/// Indexes until it is told to stop.
///
/// # Errors
/// What stands in the way of a start.
pub fn run(plan: &IndexPlan) -> Result<()> {
    let stop = stop_on_signals().context("cannot listen to signals")?;
    let window = Window {
        metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))),
        report: Arc::new(Mutex::new(Report { reason: "just started".to_owned(), ..Report::default() })),
    };
    let show = |listen| HttpServer::show(listen, HttpLimits::default(), window.clone());
    let _server = plan.http.map(show).transpose()?.inspect(|server| {
        info!(address = %server.address(), "answering /metrics, /healthz, /readyz and /status");
    });
    let (events, received) = channel();
    let client = Client::new(plan.opensearch.clone());
    let sender =
        Sender::start(client, plan.template.clone(), events.clone()).context("cannot start a thread")?;
    let letters = Letters::new(&plan.kafka, &plan.dead_letter_topic, events);
    let letters = letters.context("cannot create the producer of dead letters")?;
    let group = Group::join(&plan.kafka, &plan.subscription).context("cannot join the group")?;
    Indexer::new(plan, &group, sender, letters, received, window).run(&stop);
    Ok(())
}

/// Set by the first SIGTERM or SIGINT; a second one ends the process, which costs nothing but time.
fn stop_on_signals() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    debug_assert!(!stop.load(Ordering::Relaxed));
    Ok(stop)
}
