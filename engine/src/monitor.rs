//! Shows what the agent does: publishes what the engine has counted, answers `/metrics`, `/readyz` and
//! `/status`, draws the progress line.
//!
//! It counts nothing that the engine counts: it looks at it about once a second, and when someone asks.
//! Between two looks it costs the driver one histogram sample for each batch.

mod etcd;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use logdrive_core::batch::{Delivery, Outcome};
use logdrive_core::engine::{Amount, Counts, Engine, ItemCounts};
use logdrive_core::position::Nanos;
use logdrive_core::source::ItemId;
use tracing::info;

use crate::bell::Bell;
use crate::config::Plan;
use crate::driver::Driver;
use crate::fs::FileError;
use crate::http::{Ask, HttpLimits, HttpServer};
use crate::kafka::{KafkaSink, Refusal, SinkCounters, SinkStatus};
use crate::metrics::{ItemMetrics, Metrics};
use crate::progress::{Progress, Sample};
use crate::rates::Rates;
use crate::state::StateError;
use crate::status::{self, Facts, Question, Reloads, Told};
use crate::wanted::Wanted;
use etcd::PublishedEtcd;

/// Files whose last error is kept.
const TROUBLES_MAX: usize = 64;

/// The version that runs.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The last thing that went wrong with a file or directory.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
    /// When.
    pub at: Nanos,
}

#[derive(Debug)]
struct Item {
    metrics: ItemMetrics,
    /// What is published of it.
    published: ItemCounts,
}

/// What the driver tells as it happens, because the engine does not know it.
#[derive(Debug)]
pub struct AgentMetrics {
    metrics: Arc<Metrics>,
    /// Indexed by [`ItemId`].
    names: Vec<String>,
    /// Oldest first, one for each path.
    troubles: VecDeque<Trouble>,
    state_error: Option<String>,
}

/// Told to nobody.
impl Default for AgentMetrics {
    fn default() -> AgentMetrics {
        AgentMetrics::new(Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))))
    }
}

impl AgentMetrics {
    fn new(metrics: Arc<Metrics>) -> AgentMetrics {
        AgentMetrics { metrics, names: Vec::new(), troubles: VecDeque::new(), state_error: None }
    }

    /// A batch came back. One histogram sample: a lock that only a scrape ever holds, no allocation.
    pub fn delivered(&mut self, delivery: &Delivery, now: Nanos) {
        if delivery.outcome == Outcome::Acked {
            let took = now.since(delivery.batch.read_at);
            self.metrics.read_to_ack_seconds.observe(took.as_secs_f64());
        }
    }

    /// A checkpoint was written to the state.
    pub fn checkpoint_written(&mut self) {
        self.metrics.checkpoint_writes.inc();
    }

    /// The state could not be written.
    pub fn state_failed(&mut self, error: &StateError) {
        self.metrics.checkpoint_errors.inc();
        self.state_error = Some(error.to_string());
    }

    /// An operation on a file or directory failed.
    pub fn file_error(&mut self, problem: &FileError, now: Nanos) {
        self.metrics.file_error(problem.operation);
        self.troubles.retain(|trouble| trouble.path != problem.path);
        if self.troubles.len() == TROUBLES_MAX {
            self.troubles.pop_front();
        }
        self.troubles.push_back(Trouble { path: problem.path.clone(), text: problem.to_string(), at: now });
    }

    /// Says what an item is called.
    pub fn name_item(&mut self, id: ItemId, name: &str) {
        let index = id.0 as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, String::new());
        }
        name.clone_into(&mut self.names[index]);
    }

    /// What an item is called.
    #[must_use]
    pub fn item_name(&self, id: ItemId) -> &str {
        self.names.get(id.0 as usize).map_or("", String::as_str)
    }

    /// The last error of each path that has had one lately, oldest first.
    #[must_use]
    pub fn troubles(&self) -> &VecDeque<Trouble> {
        &self.troubles
    }

    /// The last error of one path.
    #[must_use]
    pub fn trouble(&self, path: &Path) -> Option<&Trouble> {
        self.troubles.iter().find(|trouble| trouble.path == path)
    }

    /// The last error of the state.
    #[must_use]
    pub fn state_error(&self) -> Option<&str> {
        self.state_error.as_deref()
    }
}

/// What is published of the counts that only grow.
#[derive(Debug, Default)]
struct Published {
    counts: Counts,
    /// Indexed by [`ItemId`].
    items: Vec<Item>,
    /// All items together.
    items_paced: Duration,
    sink: SinkCounters,
    etcd: PublishedEtcd,
}

/// By how much a count has grown that may have begun again at 0.
fn growth(before: &mut u64, now: u64) -> u64 {
    let before = std::mem::replace(before, now);
    now.checked_sub(before).unwrap_or(now)
}

impl Published {
    /// Publishes what has been counted since the last time.
    fn follow(&mut self, metrics: &Metrics, names: &[String], engine: &Engine, sink: &SinkStatus) {
        let named = names.len().min(engine.item_count());
        for name in &names[self.items.len().min(named)..named] {
            self.items.push(Item { metrics: metrics.item(name), published: ItemCounts::default() });
        }
        let mut in_flight = Amount::default();
        for (id, item) in (0..).map(ItemId).zip(&mut self.items) {
            let now = engine.item_counts(id);
            item.metrics.publish(&item.published, &now);
            item.published = now;
            in_flight += now.in_flight;
        }
        let paced: Duration = self.items.iter().map(|item| item.published.paced).sum();
        metrics.in_flight_lines.set(in_flight.lines.cast_signed());
        metrics.in_flight_bytes.set(in_flight.bytes.cast_signed());

        let (before, now) = (self.counts, engine.counts());
        metrics.reread_bytes.inc_by(now.reread_bytes - before.reread_bytes);
        metrics.rotations.inc_by(now.rotations - before.rotations);
        metrics.truncations.inc_by(now.truncations - before.truncations);
        metrics.batches_sent.inc_by(now.batches_sent - before.batches_sent);
        metrics.batches_lost.inc_by(now.batches_lost - before.batches_lost);
        metrics.publish_paced([before.held, before.paced, self.items_paced], [now.held, now.paced, paced]);
        self.counts = now;
        self.items_paced = paced;
        // A new connection counts from 0 again.
        let (before, now) = (&mut self.sink, sink.counters);
        metrics.producer_rebuilds.inc_by(growth(&mut before.rebuilds, now.rebuilds));
        metrics.records_cut.inc_by(growth(&mut before.messages_cut, now.messages_cut));
        for refusal in Refusal::ALL {
            let index = refusal as usize;
            metrics.refused(refusal, growth(&mut before.refused[index], now.refused[index]));
        }
        metrics.refused_waiting.set(gauge(sink.letters_waiting));
        metrics.kafka_queue_messages.set(gauge(sink.queue_messages));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The side of the agent that is turned to people and monitoring systems.
#[derive(Debug)]
pub struct Monitor {
    metrics: Arc<Metrics>,
    io: &'static str,
    questions: Receiver<Question>,
    published: Published,
    rates: Rates,
    reloads: Reloads,
    progress: Option<Progress>,
    _server: Option<HttpServer>,
}

impl Monitor {
    /// Listens where the plan says, and finds out whether there is a terminal for the progress line.
    /// `io` is how files are read, in a word.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(plan: &Plan, io: &'static str, bell: &Bell) -> Result<Monitor> {
        let metrics = Arc::new(Metrics::new(VERSION));
        let (ask, questions) = channel();
        let bell = bell.clone();
        let ask: Ask = Arc::new(move |question| {
            if ask.send(question).is_ok() {
                bell.ring();
            }
        });
        let server = |listen| HttpServer::start(listen, HttpLimits::default(), Arc::clone(&metrics), ask);
        let server = plan.http.map(server).transpose()?;
        if let Some(server) = &server {
            info!(address = %server.address(), "answering /metrics, /healthz, /readyz and /status");
        }
        let progress = Progress::on_terminal();
        let (published, rates, reloads) = Default::default();
        Ok(Monitor { metrics, io, questions, published, rates, reloads, progress, _server: server })
    }

    /// The driver's part.
    #[must_use]
    pub fn metrics(&self) -> AgentMetrics {
        AgentMetrics::new(Arc::clone(&self.metrics))
    }

    /// About once a second: publishes the counts and draws the progress line.
    pub fn tick<R, F, W>(&mut self, driver: &Driver<R, KafkaSink, F, W>, now: Nanos) {
        self.publish(driver, &driver.sink.status(), now);
        self.rates.look(now, self.published.items.iter().map(|item| item.published.acked));
        if let Some(progress) = &mut self.progress {
            progress.draw(&sample(&self.metrics, &self.published, now));
        }
    }

    /// Answers what was asked since the last turn; without a question this is one atomic load.
    pub fn answer<R, F, W>(
        &mut self,
        driver: &Driver<R, KafkaSink, F, W>,
        plan: Option<&Plan>,
        wanted: &Wanted,
        now: Nanos,
    ) {
        while let Ok(question) = self.questions.try_recv() {
            let begun = Instant::now();
            let sink = driver.sink.status();
            // Whoever asked may have gone away in the meantime.
            match question {
                Question::Publish(reply) => {
                    self.publish(driver, &sink, now);
                    let _left = reply.send(Told { answer: (), took: begun.elapsed() });
                }
                Question::Readiness(reply) => {
                    let answer = status::readiness(driver, &sink, now);
                    let _left = reply.send(Told { answer, took: begun.elapsed() });
                }
                Question::Status(reply) => {
                    self.publish(driver, &sink, now);
                    let facts = Facts {
                        version: VERSION,
                        io: self.io,
                        metrics: &self.metrics,
                        wanted,
                        reloads: &self.reloads,
                        rates: &self.rates,
                    };
                    let answer = status::report(driver, &sink, plan, facts, now);
                    let _left = reply.send(Told { answer, took: begun.elapsed() });
                }
            }
        }
    }

    /// About once a second, if etcd is asked: how it stands there.
    pub fn publish_etcd(&mut self, wanted: &Wanted) {
        let revision = wanted.revision();
        wanted.look_at_etcd(|status| self.published.etcd.follow(&self.metrics, status, revision));
    }

    /// How fast items are shipped.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// The configuration was read again: it is in force but for the keys that hold from the next start on, or
    /// was refused for a reason.
    pub fn reloaded(&mut self, outcome: &Result<Vec<&'static str>, String>) {
        self.metrics.config_reload(outcome.is_ok());
        match outcome {
            Ok(at_next_start) => {
                self.reloads.accepted += 1;
                self.reloads.last_error = None;
                self.reloads.at_next_start = at_next_start.iter().map(|&key| key.to_owned()).collect();
            }
            Err(problems) => {
                self.reloads.refused += 1;
                self.reloads.last_error = Some(problems.clone());
            }
        }
    }

    /// The last look, before the driver ends; the progress line stays where it is.
    pub fn finish<R, F, W>(&mut self, driver: &Driver<R, KafkaSink, F, W>, now: Nanos) {
        self.tick(driver, now);
        self.progress = None;
    }

    fn publish<R, F, W>(&mut self, driver: &Driver<R, KafkaSink, F, W>, sink: &SinkStatus, now: Nanos) {
        let metrics = &self.metrics;
        self.published.follow(metrics, &driver.metrics().names, &driver.engine, sink);
        let (known, open, buffers_bytes) = driver.engine.sizes();
        metrics.files_known.set(gauge(known));
        metrics.files_open.set(gauge(open));
        metrics.buffers_allocated_bytes.set(gauge(buffers_bytes));
        let backlog = driver.engine.backlog();
        metrics.file_lag_bytes.set(backlog.lag_bytes.cast_signed());
        let oldest = backlog.oldest_read_at.map_or(Duration::ZERO, |at| now.since(at));
        metrics.oldest_unacked_seconds.set(oldest.as_secs_f64());
        metrics.checkpoint_age_seconds.set(driver.checkpoint_age(now).as_secs_f64());
    }
}

fn sample(metrics: &Metrics, published: &Published, at: Nanos) -> Sample {
    let mut acked = Amount::default();
    for item in &published.items {
        acked += item.published.acked;
    }
    Sample {
        at,
        acked,
        lag_bytes: metrics.file_lag_bytes.get().cast_unsigned(),
        in_flight: Amount {
            lines: metrics.in_flight_lines.get().cast_unsigned(),
            bytes: metrics.in_flight_bytes.get().cast_unsigned(),
        },
        files: metrics.files_known.get().cast_unsigned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use logdrive_core::batch::{Batch, Sink, TrySend};
    use logdrive_core::discover::{Entry, Listing};
    use logdrive_core::engine::{Op, Opened};
    use logdrive_core::frame::{CarriageReturn, EventUnit, Form, FramePolicy, LongLine};
    use logdrive_core::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
    use logdrive_core::position::Position;
    use logdrive_core::source::FileId;

    use super::*;

    const NOW: Nanos = Nanos(1_000_000_000);
    const CONTENT: &[u8] = b"one\ntwo\nunfinished";

    fn policy() -> ItemPolicy {
        ItemPolicy {
            name: 1,
            frame: FramePolicy {
                line_bytes_max: 100,
                on_long_line: LongLine::Truncate,
                carriage_return: CarriageReturn::Keep,
                multiline_start: None,
                flush_after: None,
                unit: EventUnit::Line,
                include_lines: None,
                exclude_lines: None,
                form: Form::Plain,
            },
            read_from: ReadFrom::Beginning,
            seen_before: false,
            rate_limit: None,
            rate_limit_bytes: None,
            ignore_older: None,
            close_after: None,
            unlinked: UnlinkedHold { grace: Duration::ZERO, undrained_max: None, undrained_bytes_max: None },
        }
    }

    /// Keeps what it is given.
    #[derive(Default)]
    struct Shelf(Vec<Batch>);

    impl Sink for Shelf {
        fn try_send(&mut self, batch: Batch) -> TrySend {
            self.0.push(batch);
            TrySend::Sent
        }

        fn poll_delivery(&mut self) -> Option<Delivery> {
            None
        }
    }

    /// An engine with one item, and its only file.
    fn engine() -> Engine {
        let limits = Limits {
            chunks_bytes: 8 << 20,
            open_files: 10,
            sources: 10,
            rest: Duration::from_millis(2),
            reconcile: Duration::from_secs(10),
        };
        let mut engine = Engine::new(limits, 102, 1, Vec::new());
        engine.add_item(policy());
        engine.add_root(Arc::from(&b"/l"[..]));
        engine
    }

    /// Lets the engine list, open and read as it wishes.
    fn run(engine: &mut Engine, shelf: &mut Shelf) {
        let file = FileId { dev: 1, ino: 2, birth_ns: 3 };
        loop {
            if let Some(op) = engine.poll_op(NOW) {
                let size = CONTENT.len() as u64;
                match op {
                    Op::List { directory } => {
                        let path = Arc::from(&b"/l/a"[..]);
                        let entry = Entry { path, item: Some(ItemId(0)), file, size, modified_ns: 0 };
                        let listing = Listing { directory, entries: vec![entry], complete: true };
                        engine.handle_listing(listing, Vec::new(), NOW, 0);
                    }
                    Op::Open { source, .. } => {
                        let opened = Opened {
                            file,
                            size,
                            head: CONTENT.to_vec(),
                            position: Position::ZERO,
                            before: Vec::new(),
                        };
                        engine.handle_opened(source, opened, NOW);
                    }
                    _ => {}
                }
            } else if let Some(mut read) = engine.poll_read(NOW, |_| true) {
                let from = CONTENT.len().min(read.position.0 as usize);
                read.buffer.extend_from_slice(&CONTENT[from..]);
                engine.handle_read(read, NOW, 0);
                engine.offer(shelf, NOW);
            } else {
                return;
            }
        }
    }

    fn lines_of(text: &str, names: &[&str]) -> Vec<String> {
        let value = |name: &&str| {
            let line = text.lines().find(|line| line.starts_with(&format!("logdrive_{name}")));
            line.and_then(|line| line.rsplit_once(' ')).map_or(String::new(), |(_, value)| value.to_owned())
        };
        names.iter().map(value).collect()
    }

    #[test]
    fn what_the_engine_counts_is_published_once() {
        let (mut engine, mut shelf) = (engine(), Shelf::default());
        let (metrics, mut published) = (Metrics::new("1"), Published::default());
        let mut sink = SinkStatus::default();
        let names = ["lines_read_total", "bytes_read_total", "lines_acked_total", "in_flight_lines"];
        let mut look = |engine: &Engine, sink: &SinkStatus| {
            published.follow(&metrics, &["web".to_owned()], engine, sink);
            metrics.text()
        };

        run(&mut engine, &mut shelf);
        look(&engine, &sink);
        assert_eq!(lines_of(&look(&engine, &sink), &names), ["2", "8", "0", "2"]);

        let batch = shelf.0.pop().expect("two lines were sent");
        engine.handle_delivery(Delivery { batch, outcome: Outcome::Acked }, NOW);
        sink.counters.rebuilds = 2;
        let text = look(&engine, &sink);
        assert_eq!(lines_of(&text, &names), ["2", "8", "2", "0"]);
        assert_eq!(lines_of(&text, &["producer_rebuilds_total", "batches_sent_total"]), ["2", "1"]);

        sink.counters.rebuilds = 1;
        let text = look(&engine, &sink);
        assert_eq!(lines_of(&text, &["producer_rebuilds_total"]), ["3"], "a new sink counts from 0");
    }

    #[test]
    fn the_last_error_of_each_path_is_kept_for_a_bounded_number() {
        let mut notes = AgentMetrics::new(Arc::new(Metrics::new("1")));
        let mut fail = |path: String, at| {
            let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
            notes.file_error(&FileError { operation: "open", path: path.into(), source }, Nanos(at));
        };
        (0..100).for_each(|at| fail(format!("/l/{at}"), at));
        fail("/l/50".to_owned(), 200);
        assert_eq!(notes.troubles().len(), TROUBLES_MAX);
        assert!(notes.trouble(Path::new("/l/35")).is_none(), "the oldest made room");
        assert_eq!(notes.trouble(Path::new("/l/50")).map(|trouble| trouble.at), Some(Nanos(200)));
        assert_eq!(notes.troubles().back().map(|trouble| trouble.at), Some(Nanos(200)));
    }
}
