//! The thread that asks etcd: connects, lists, watches, reports, and begins anew when that breaks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::{Instant, interval_at, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::cache;
use super::error::EtcdError;
use super::gateway::Gateway;
use super::keyspace::Keyspace;
use super::mirror::{ITEMS_MAX, Mirror, Terms};
use super::report::{Desk, KEEP_ALIVE_EVERY, Rates, Speaker, View};
use super::stream::{News, Watch};
use super::{Desired, Shared};

/// Changes that come within this time are handed over together.
const GATHER: Duration = Duration::from_millis(50);

/// The first pause after a failure; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// So many different failures are told until etcd answers again.
const TOLD_MAX: usize = 16;

/// How long an end waits for etcd to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the thread works with.
pub(super) struct Session {
    terms: Terms,
    ranges: Vec<(String, Option<String>)>,
    state_dir: PathBuf,
    mirror: Mirror,
    shared: Arc<Shared>,
    views: Receiver<Option<View>>,
    speaker: Speaker,
    rates: Rates,
    desk: Desk,
    /// When to hand over what has changed.
    due: Option<Instant>,
    /// Reports cannot be written; said once.
    mute: bool,
}

/// Why a session is over.
enum Over {
    /// The agent lets go.
    Dismissed,
    Failed(EtcdError),
}

impl From<EtcdError> for Over {
    fn from(error: EtcdError) -> Over {
        Over::Failed(error)
    }
}

impl Session {
    pub(super) fn new(
        terms: Terms,
        state_dir: PathBuf,
        speaker: Speaker,
        shared: Arc<Shared>,
        views: Receiver<Option<View>>,
    ) -> Session {
        let keyspace = Keyspace::new(&terms.plan);
        Session {
            ranges: keyspace.ranges(),
            desk: Desk::new(keyspace, speaker.instance.clone()),
            mirror: Mirror::new(terms.clone()),
            rates: Rates::default(),
            due: None,
            mute: false,
            terms,
            state_dir,
            shared,
            views,
            speaker,
        }
    }

    /// Runs until the agent lets go.
    pub(super) async fn run(mut self) {
        match cache::restore(&self.state_dir, &mut self.mirror) {
            Ok(true) => self.hand_over(),
            Ok(false) => {}
            Err(error) => {
                warn!("the items of etcd that were kept cannot be read ({error}): etcd is waited for")
            }
        }
        // What was said since etcd answered last: each endpoint has its own words, and says them once.
        let mut told = BTreeSet::new();
        let (mut attempt, mut pause) = (0, PAUSE_MIN);
        loop {
            let over = self.session(attempt, &mut told).await;
            let Err(Over::Failed(error)) = over else { return };
            if self.shared.with(|status| std::mem::take(&mut status.connected)) {
                pause = PAUSE_MIN;
            }
            let line = error.to_string();
            self.shared.with(|status| status.last_error = Some(line.clone()));
            if told.len() < TOLD_MAX && !told.contains(&line) {
                warn!("{line}; its items as they were stay in force");
                told.insert(line);
            }
            attempt += 1;
            tokio::select! {
                () = sleep(self.spread(pause, attempt)) => {}
                () = dismissed(&mut self.views) => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Between half and one and a half of a pause: what all agents have lost at the same moment they are not to
    /// ask for at the same moment.
    fn spread(&self, pause: Duration, attempt: usize) -> Duration {
        let text = format!("{} {attempt}", self.speaker.instance);
        let chance = xxhash_rust::xxh3::xxh3_64(text.as_bytes()) as f64 / u64::MAX as f64;
        pause.mul_f64(0.5 + chance)
    }

    async fn session(&mut self, attempt: usize, told: &mut BTreeSet<String>) -> Result<(), Over> {
        let mut gateway = Gateway::open(&self.terms.plan, attempt).await?;
        self.list(&mut gateway).await?;
        told.clear();
        info!(endpoint = gateway.endpoint(), "connected to etcd");
        self.shared.with(|status| {
            status.connected = true;
            status.sessions += 1;
            status.endpoint = gateway.endpoint().to_owned();
        });
        let start = Instant::now() + KEEP_ALIVE_EVERY;
        let mut keep_alive = interval_at(start, KEEP_ALIVE_EVERY);
        loop {
            let mut watch = gateway.watch(&self.ranges, self.mirror.stamp().revision + 1).await?;
            self.follow(&mut gateway, &mut watch, &mut keep_alive).await?;
            self.list(&mut gateway).await?;
        }
    }

    /// Watches until everything is to be listed again.
    async fn follow(
        &mut self,
        gateway: &mut Gateway,
        watch: &mut Watch,
        keep_alive: &mut tokio::time::Interval,
    ) -> Result<(), Over> {
        let relist = sleep_until(Instant::now() + self.terms.plan.relist);
        tokio::pin!(relist);
        loop {
            let due = self.due.unwrap_or_else(|| Instant::now() + KEEP_ALIVE_EVERY);
            tokio::select! {
                news = watch.next() => match news? {
                    News::Events(events) => {
                        for event in events {
                            if self.mirror.event(event) {
                                self.due.get_or_insert(Instant::now() + GATHER);
                            }
                        }
                    }
                    News::Compacted => {
                        info!("etcd has compacted what was not yet seen: everything is listed again");
                        return Ok(());
                    }
                },
                () = sleep_until(due), if self.due.is_some() => self.keep(),
                () = &mut relist => return Ok(()),
                _ = keep_alive.tick() => {
                    let kept = self.desk.keep_alive(gateway).await;
                    self.heard(kept)?;
                }
                changed = self.views.changed() => {
                    if changed.is_err() {
                        let _gone = timeout(FAREWELL, self.desk.withdraw(gateway)).await;
                        return Err(Over::Dismissed);
                    }
                    self.report(gateway).await?;
                }
            }
        }
    }

    async fn list(&mut self, gateway: &mut Gateway) -> Result<(), EtcdError> {
        let (stamp, all) = gateway.list(&self.ranges, ITEMS_MAX + 1).await?;
        let held = self.mirror.is_holding();
        if self.mirror.list(stamp, all) {
            warn!(
                "etcd has lost what it had (its revision is {} now, of cluster {:x}): its items as they were stay \
                 in force until it has items for this host again",
                stamp.revision, stamp.cluster
            );
        } else if held && !self.mirror.is_holding() {
            info!("etcd has items for this host again: they are what is in force");
        }
        self.shared.with(|status| status.lists += 1);
        self.keep();
        Ok(())
    }

    /// Keeps what is in force on disk, and hands it over. Also if only the revision is new: by it the next
    /// start tells an etcd that has lost its data.
    fn keep(&mut self) {
        if let Err(error) = cache::keep(&self.state_dir, &self.mirror) {
            warn!("the items of etcd cannot be kept for the next start: {error}");
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        self.due = None;
        let outcome = self.mirror.outcome();
        for refusal in &outcome.refusals {
            let known = self.shared.with(|status| status.refused.contains(refusal));
            if !known {
                let item = refusal.item.as_deref().unwrap_or("?");
                let earlier =
                    if refusal.earlier_in_force { "; its earlier value stays in force" } else { "" };
                warn!(key = refusal.key, "item `{item}` of etcd is refused: {}{earlier}", refusal.reason);
            }
        }
        self.shared.with(|status| {
            status.revision = self.mirror.stamp().revision;
            status.items = outcome.items.len();
            status.refused = outcome.refusals;
            status.holding = self.mirror.is_holding();
        });
        self.shared.want(Desired { items: outcome.items, revision: self.mirror.stamp().revision });
    }

    async fn report(&mut self, gateway: &mut Gateway) -> Result<(), EtcdError> {
        let Some(view) = self.views.borrow_and_update().clone() else { return Ok(()) };
        let (refused, holding) = self.shared.with(|status| (status.refused.clone(), status.holding));
        let mut report = self.rates.report(&self.speaker, &view, &refused);
        report.holding = holding;
        let written = self.desk.write(gateway, report).await;
        self.heard(written)
    }

    /// A refusal to take reports does not concern the items.
    fn heard(&mut self, outcome: Result<(), EtcdError>) -> Result<(), EtcdError> {
        self.shared.with(|status| {
            status.writes = self.desk.writes;
            status.rival = self.desk.rival().map(str::to_owned);
        });
        match outcome {
            // The token of the login has ended: the session begins anew with another.
            Err(EtcdError::Refused { reason, .. }) if reason.contains("auth token") => {
                Err(EtcdError::Refused { what: "go on", reason })
            }
            Err(error @ EtcdError::Refused { .. }) => {
                if !std::mem::replace(&mut self.mute, true) {
                    warn!("how this agent is cannot be written to etcd: {error}");
                }
                Ok(())
            }
            outcome => outcome,
        }
    }
}

/// Waits until nobody tells views any more.
async fn dismissed(views: &mut Receiver<Option<View>>) {
    while views.changed().await.is_ok() {}
}
