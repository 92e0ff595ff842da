//! Collection items from etcd, and the state of this agent written back to it.
//!
//! On one thread of its own, only if `[etcd]` is configured: the driver never waits for etcd. To the agent
//! goes the newest set of items (a slot and the bell), from it comes a view every few seconds. Nothing that
//! etcd does or does not do stops the shipping of what is in force.
//!
//! ```text
//! connection ── gateway ── session ──> mirror ──> Desired ──> agent (as a reload)
//!   HTTP, TLS    requests    │  ^        │ keyspace, definition, allow: which keys, what they hold, what they may
//!                            │  └ cache: the last good items, for a start without etcd
//!                            └──> report <── View <── agent
//! ```
//!
//! `mirror` and what it uses are pure. Not here: how a set of items is put in force (`items`, `agent`).

mod allow;
mod cache;
pub mod definition;
mod error;
mod gateway;
pub mod keyspace;
mod mirror;
mod report;
mod session;
mod stream;
pub mod verbs;
mod wire;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use allow::Allow;
pub use error::EtcdError;
pub use gateway::{Gateway, Written};
pub use mirror::{Event, Good, KeyValue, Refusal, Stamp, Terms};
pub use report::{ItemReport, ItemView, Report, Speaker, View};
pub use stream::{News, Watch};

use crate::bell::Bell;
use mirror::Mirror;
use session::Session;

/// How often an agent tells how it is.
pub const VIEW_EVERY: Duration = Duration::from_secs(5);

/// A set of items to be put in force.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The items, each name once; those that go before come before.
    pub items: Vec<Arc<Good>>,
    /// The revision of etcd that they are of.
    pub revision: u64,
}

/// How it stands with etcd, for `/status` and the metrics.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EtcdStatus {
    /// Whether it answers.
    pub connected: bool,
    /// Who is asked.
    pub endpoint: String,
    /// The newest revision that is known.
    pub revision: u64,
    /// How many items of it are in force.
    pub items: usize,
    /// What it wants and does not get.
    pub refused: Vec<Refusal>,
    /// Items are in force that etcd has lost.
    pub holding: bool,
    /// Another agent that goes by the name of this host.
    pub rival: Option<String>,
    /// How often a connection came about.
    pub sessions: u64,
    /// How often everything was listed.
    pub lists: u64,
    /// How often the state of this agent was written.
    pub writes: u64,
    /// The last thing that went wrong. It may be over.
    pub last_error: Option<String>,
}

/// What both threads see. Nobody holds it for longer than a copy takes.
#[derive(Debug)]
struct Shared {
    desired: Mutex<Option<Desired>>,
    status: Mutex<EtcdStatus>,
    bell: Bell,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut EtcdStatus) -> T) -> T {
        act(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn want(&self, desired: Desired) {
        *self.desired.lock().unwrap_or_else(PoisonError::into_inner) = Some(desired);
        self.bell.ring();
    }
}

/// The items that were in force last, as they were kept in the state folder; none if that cannot be read.
#[must_use]
pub fn remembered(terms: Terms, state_dir: &Path) -> Vec<Arc<Good>> {
    let mut mirror = Mirror::new(terms);
    match cache::restore(state_dir, &mut mirror) {
        Ok(_) => mirror.outcome().items,
        Err(_) => Vec::new(),
    }
}

/// The agent's end of the thread. Dropping it dismisses the thread.
#[derive(Debug)]
pub struct Etcd {
    terms: Terms,
    shared: Arc<Shared>,
    views: watch::Sender<Option<View>>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Etcd {
    /// Starts the thread, which first waits for the end of the one before, if there is one.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        terms: Terms,
        state_dir: &Path,
        speaker: Speaker,
        bell: Bell,
        before: Option<Etcd>,
    ) -> std::io::Result<Etcd> {
        let shared =
            Arc::new(Shared { desired: Mutex::new(None), status: Mutex::new(EtcdStatus::default()), bell });
        let (views, seen) = watch::channel(None);
        let session = Session::new(terms.clone(), state_dir.to_owned(), speaker, shared.clone(), seen);
        let (end, ended) = channel();
        // Its half of the channel is dropped here, so that it is dismissed before it is waited for.
        let before = before.map(|before| before.thread);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("etcd".into()).spawn(move || {
            // One writes the cache at a time. A panic has told itself.
            let _over = before.map(JoinHandle::join);
            runtime.block_on(session.run());
            let _told = end.send(());
        })?;
        Ok(Etcd { terms, shared, views, ended, thread })
    }

    /// What it works by.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The newest set of items, if it was not taken yet.
    #[must_use]
    pub fn desired(&self) -> Option<Desired> {
        self.shared.desired.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Looks at how it stands with etcd.
    pub fn look<T>(&self, look: impl FnOnce(&EtcdStatus) -> T) -> T {
        self.shared.with(|status| look(status))
    }

    /// Tells how the agent is.
    pub fn tell(&self, view: View) {
        self.views.send_replace(Some(view));
    }

    /// Says farewell to etcd, for so long at most.
    pub fn close(self, patience: Duration) {
        drop(self.views);
        // Whoever ends does not care whether it was heard.
        let _heard = self.ended.recv_timeout(patience);
    }
}
