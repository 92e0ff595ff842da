//! `logdrive run`: puts the parts together, waits for whatever comes first, reloads and stops.

use std::future::poll_fn;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use logdrive_core::engine::Engine;
use logdrive_core::position::Nanos;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, error, info, warn};

use crate::alarm::Alarm;
use crate::bell::Bell;
use crate::cli::one_line;
use crate::clock::{Clock, wall_ns};
use crate::config::{self, KafkaPlan, LimitsPlan, Plan};
use crate::cpu::{self, CpuShare};
use crate::credentials::Credentials;
use crate::driver::Driver;
use crate::edits::Edits;
use crate::fs::FsPool;
use crate::io::Reads;
use crate::io::blocking::BlockingReads;
use crate::io::mixed::MixedReads;
use crate::io::probe::{Chosen, choose};
use crate::io::uring;
use crate::items::Items;
use crate::kafka::KafkaSink;
use crate::monitor::Monitor;
use crate::nice;
use crate::setup;
use crate::state::StateStore;
use crate::status;
use crate::wanted::{LINE_BUFFER_MAX, Wanted};
use crate::watch::Watch;

/// The sink's watchdog and the progress line are looked after this often.
const TICK_NANOS: u64 = 1_000_000_000;

/// Deliveries do not wake the driver when it wakes up by itself within this time.
const NAP_MAX: Duration = Duration::from_millis(5);

type AgentDriver<R> = Driver<R, KafkaSink, FsPool, Watch>;

/// Where the configuration came from.
pub struct Origin {
    /// The file; `None`: the command line alone.
    pub file: Option<PathBuf>,
    /// Reads it again.
    pub reread: Box<dyn Fn() -> Result<Plan, String>>,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// What stands in the way of a start, each in one line.
pub fn run(plan: Plan, origin: Origin) -> Result<ExitCode> {
    for warning in &plan.warnings {
        warn!("{warning}");
    }
    // Before the first ring, whose workers in the kernel take the niceness that they find.
    nice::set(&plan.limits);
    let chosen = choose(setup::io(plan.io)).map_err(|refused| anyhow::anyhow!(refused.advice()))?;
    info!("{chosen}");
    let bell = Bell::default();
    match chosen {
        Chosen::Uring => {
            uring::start(async { serve(MixedReads::new(bell.clone()), "uring", plan, bell, origin).await })
        }
        Chosen::Blocking | Chosen::BlockingInstead(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let reads = BlockingReads::new(bell.clone()).context("cannot start the reading threads")?;
            runtime.block_on(serve(reads, "blocking", plan, bell, origin))
        }
    }
}

async fn serve<R: Reads>(
    reads: R,
    io: &'static str,
    plan: Plan,
    bell: Bell,
    origin: Origin,
) -> Result<ExitCode> {
    let clock = Clock::start();
    let (store, slots) = StateStore::open(&plan.state.dir, bell.clone(), wall_ns() / 1_000_000)?;
    let mut signals = Signals::new()?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let sink = KafkaSink::new(setup::kafka(&plan.kafka), setup::budget(&plan.limits), &host, bell.clone())?;
    let line_buffers = plan.items.iter().map(|item| item.frame.buffer_bytes_min());
    let line_buffer_max = line_buffers.chain(plan.etcd.iter().map(|_| LINE_BUFFER_MAX)).max().unwrap_or(0);
    let strays = slots.iter().map(|(_, checkpoint)| *checkpoint).collect();
    let engine = Engine::new(setup::limits(&plan), line_buffer_max, wall_ns() as u64, strays);
    let lost_to_end = slots.is_empty() && plan.state.on_lost == config::ReadFrom::End;
    let slots = slots.iter().map(|(slot, checkpoint)| (checkpoint.generation.0, *slot));
    let watch = match Watch::new() {
        Ok(watch) => Some(watch),
        Err(error) => {
            warn!("{error}; changes are found by looking now and then");
            None
        }
    };
    let monitor = Monitor::start(&plan, io, &bell)?;
    let files = FsPool::new(bell.clone(), Arc::new(setup::PlanRules::new(&plan, &[])))?;
    let mut driver: AgentDriver<R> =
        Driver::new(engine, (reads, sink, files, watch), store, slots, monitor.metrics());
    let items = Items::new(host, lost_to_end);
    let wanted = Wanted::new(&plan.state.dir, line_buffer_max, bell.clone());
    let alarm = Alarm::new().context("cannot have a timer")?;
    let credentials = Credentials::watch().context("cannot start a thread")?;
    let tick_at = Nanos(0);
    let (first, edits, cpu) = (plan.clone(), None, None);
    let mut agent = Agent {
        items,
        wanted,
        first,
        plan: None,
        clock,
        bell,
        monitor,
        origin,
        credentials,
        edits,
        alarm,
        cpu,
        tick_at,
    };
    agent.adopt(&mut driver, plan)?;
    agent.ship(&mut driver, &mut signals).await;
    let code = agent.stop(driver, &mut signals).await?;
    // A read that hangs in the kernel would hold up the end of the ring, perhaps for ever.
    std::process::exit(code)
}

/// What lives as long as the process, beside the driver.
struct Agent {
    items: Items,
    wanted: Wanted,
    /// The plan of the start, some of which holds until the next.
    first: Plan,
    /// The plan in force; `None` before the first.
    plan: Option<Plan>,
    clock: Clock,
    bell: Bell,
    monitor: Monitor,
    origin: Origin,
    credentials: Credentials,
    /// As long as `watch.config` is set.
    edits: Option<Edits>,
    alarm: Alarm,
    /// As long as `limits.cpu` is set.
    cpu: Option<CpuShare>,
    tick_at: Nanos,
}

impl Agent {
    /// Puts a plan of the configuration in force, with the items that etcd adds to it. Returns the keys that
    /// hold from the next start on.
    fn adopt<R: Reads>(&mut self, driver: &mut AgentDriver<R>, base: Plan) -> Result<Vec<&'static str>> {
        let at_next_start = self.apply(driver, self.wanted.with_items(&base))?;
        // Also for what no item tells: their order, say, or that a tree was mounted.
        driver.engine.list_all();
        self.wanted.adopt(base)?;
        Ok(at_next_start)
    }

    /// Puts a plan in force: the first one, or the difference to the one before. Returns the keys that hold
    /// from the next start on.
    fn apply<R: Reads>(&mut self, driver: &mut AgentDriver<R>, plan: Plan) -> Result<Vec<&'static str>> {
        let now = self.clock.now();
        let at_next_start = setup::fixed_differences(&self.first, &plan);
        for key in &at_next_start {
            warn!("{key} has changed: it holds from the next start on");
        }
        if let Some(old) = &self.plan {
            if old.kafka != plan.kafka && old.kafka.differs_in_passwords_only(&plan.kafka) {
                info!("credentials have changed: connections are made anew with them");
                driver.sink.renew(setup::kafka(&plan.kafka))?;
            } else if old.kafka != plan.kafka {
                info!("the connection to kafka has changed: unacknowledged lines are read again");
                let settings = setup::kafka(&plan.kafka);
                let budget = setup::budget(&self.first.limits);
                let sink = KafkaSink::new(settings, budget, self.items.host(), self.bell.clone())?;
                driver.replace_sink(sink, now);
                self.items.forget_routes();
            }
        }
        let changed = self.items.apply(driver, &plan, now)?;
        self.pace(driver, &plan.limits, now);
        driver.files_mut().replace_rules(self.items.rules(&plan));
        for patterns in changed {
            for root in setup::roots(patterns.roots()) {
                driver.engine.add_root(root.clone());
                driver.engine.list_below(&root, |directory| patterns.could_match_below(directory));
            }
        }
        self.credentials.planned(&plan.kafka);
        self.watch_config(plan.watch_config);
        self.plan = Some(plan);
        Ok(at_next_start)
    }

    /// Brings the paces of the whole agent to what the limits say.
    fn pace<R: Reads>(&mut self, driver: &mut AgentDriver<R>, limits: &LimitsPlan, now: Nanos) {
        let before = self.plan.as_ref().map(|plan| plan.limits);
        if before.and_then(|before| before.bytes_per_second) != limits.bytes_per_second {
            driver.engine.pace_bytes(limits.bytes_per_second.and_then(NonZeroU64::new));
        }
        if before.and_then(|before| before.cpu_percent) != limits.cpu_percent {
            self.cpu = limits.cpu_percent.map(|percent| CpuShare::new(percent, now, cpu::used()));
            driver.engine.hold_reads(now);
        }
    }

    /// Begins or ends to look after the configuration file.
    fn watch_config(&mut self, wanted: bool) {
        let Some(file) = self.origin.file.as_ref().filter(|_| wanted) else {
            self.edits = None;
            return;
        };
        if self.edits.is_none() {
            let edits = Edits::watch(file.clone(), self.first.reconcile, self.bell.clone());
            self.edits = edits.map_err(|error| warn!("cannot watch the configuration: {error}")).ok();
        }
    }

    /// The plan in force with other credentials.
    fn renew<R: Reads>(&mut self, driver: &mut AgentDriver<R>, fresh: KafkaPlan) {
        match driver.sink.renew(setup::kafka(&fresh)) {
            Ok(()) => {
                self.wanted.renew(&fresh);
                self.plan.as_mut().expect("credentials belong to a plan").kafka = fresh;
            }
            Err(reason) => error!("the old credentials stay in use: {reason}"),
        }
    }

    /// Turns and waits until a signal says stop.
    async fn ship<R: Reads>(&mut self, driver: &mut AgentDriver<R>, signals: &mut Signals) {
        loop {
            match self.turn_and_wait(driver, signals, Nanos(u64::MAX)).await {
                Some(Wish::Stop) => return,
                Some(Wish::Reload) => {
                    let read = (self.origin.reread)();
                    self.reload(driver, read);
                }
                None => {}
            }
            if self.edits.as_ref().is_some_and(Edits::take) {
                let read = (self.origin.reread)();
                if read.as_ref().ok() == self.wanted.base() {
                    debug!("the configuration was edited, and means the same");
                } else {
                    self.reload(driver, read);
                }
            }
        }
    }

    /// One turn, and then the wait for whatever comes first. Returns the wish of a signal.
    async fn turn_and_wait<R: Reads>(
        &mut self,
        driver: &mut AgentDriver<R>,
        signals: &mut Signals,
        until: Nanos,
    ) -> Option<Wish> {
        let moment = self.clock.moment();
        if moment.now >= self.tick_at {
            self.tick_at = Nanos(moment.now.0 + TICK_NANOS);
            if let Some(fresh) = self.credentials.renewed() {
                self.renew(driver, fresh);
            }
            driver.tick(moment.now);
            self.items.see(driver);
            self.monitor.tick(driver, moment.now);
            self.monitor.publish_etcd(&self.wanted);
            self.wanted.tell(moment.now, |revision| {
                status::view(driver, self.plan.as_ref(), self.monitor.rates(), revision, moment.now)
            });
        }
        if let Some(plan) = self.wanted.news()
            && let Err(reason) = self.apply(driver, plan)
        {
            error!("what etcd wants cannot be put in force: {reason}");
        }
        if let Some(until) = self.cpu.as_mut().and_then(|share| share.look(moment.now, cpu::used)) {
            driver.engine.hold_reads(until);
        }
        let more = driver.turn(moment);
        self.monitor.answer(driver, self.plan.as_ref(), &self.wanted, moment.now);
        if more {
            tokio::task::yield_now().await;
            return None;
        }
        let at = driver.timeout().min(self.tick_at).min(until);
        let wait = self.clock.until(at);
        self.alarm.set(at, wait).expect("a timer can be set");
        self.bell.nap(wait <= NAP_MAX && !driver.engine.awaits_deliveries());
        let wish = tokio::select! {
            () = self.bell.wait() => None,
            () = hinted(driver.watch_mut()) => None,
            wish = signals.next() => Some(wish),
            () = self.alarm.ring() => None,
        };
        self.bell.nap(false);
        wish
    }

    /// Puts in force what was read; what is invalid leaves the old one in force, whole.
    fn reload<R: Reads>(&mut self, driver: &mut AgentDriver<R>, read: Result<Plan, String>) {
        let outcome = read.and_then(|plan| self.adopt(driver, plan).map_err(|error| one_line(&error)));
        self.monitor.reloaded(&outcome);
        match outcome {
            Ok(_) => info!("configuration reloaded"),
            Err(problems) => {
                for problem in problems.lines() {
                    error!("{problem}");
                }
                error!("configuration not reloaded: the one before stays in force");
            }
        }
    }

    /// Waits for what is in flight, at most `shutdown_timeout`; a second signal ends the waiting.
    async fn stop<R: Reads>(mut self, mut driver: AgentDriver<R>, signals: &mut Signals) -> Result<i32> {
        let timeout = self.plan.as_ref().map_or_else(Default::default, |plan| plan.shutdown_timeout);
        let deadline = self.clock.now() + timeout;
        info!("stopping: waiting for acknowledgements of what is in flight");
        driver.engine.drain();
        while !driver.engine.is_settled() && self.clock.now() < deadline {
            if let Some(Wish::Stop) = self.turn_and_wait(&mut driver, signals, deadline).await {
                warn!("stopping at once: what is not acknowledged is read again at the next start");
                break;
            }
        }
        let settled = driver.engine.is_settled();
        self.items.see(&mut driver);
        self.monitor.finish(&driver, self.clock.now());
        driver.close(self.clock.moment()).context("the state could not be written to the end")?;
        self.wanted.close();
        if settled {
            info!("stopped; everything that was sent is acknowledged");
        } else {
            warn!("stopped; what is not acknowledged is read again at the next start");
        }
        Ok(0)
    }
}

/// Waits for a hint, for ever if none can come.
async fn hinted(watch: Option<&mut Watch>) {
    if let Some(watch) = watch
        && watch.readable().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// What a signal asks for.
enum Wish {
    Stop,
    Reload,
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let of = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            term: of(SignalKind::terminate())?,
            int: of(SignalKind::interrupt())?,
            hup: of(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        poll_fn(|context| {
            if self.term.poll_recv(context).is_ready() || self.int.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(Wish::Stop);
            }
            self.hup.poll_recv(context).map(|_| Wish::Reload)
        })
        .await
    }
}
