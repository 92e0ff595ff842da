//! `logdrive-search serve`: the web page to search with, and what it asks for.
//!
//! ```text
//! browser ──> server ──> security ──┬─ page     files, part of the program
//!          (connections)  (gate)    ├─ api      query ─> dsl ─> search ─> OpenSearch
//!                                   ├─ tail     Kafka ─> query::matcher ─> server-sent events
//!                                   └─ fleet    etcd
//! ```
//!
//! One thread and its runtime answer everybody; reading live lines is a second thread while somebody looks. The
//! server keeps nothing: what a page shows is all in its address.

mod answer;
mod api;
mod document;
mod dsl;
mod fleet;
mod page;
mod params;
pub mod query;
mod range;
mod search;
mod security;
mod server;
mod tail;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use logdrive::config::Certificate;
use logdrive::etcd::verbs::Remote;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::opensearch::OpenSearchPlan;
use search::Searcher;
pub use security::LoginPlan;
pub use server::Limits;
use server::Server;
use tail::Hub;
pub use tail::TailPlan;

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct ServePlan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names of this server, for the `Host` header; addresses and `localhost` need none.
    pub hosts: Vec<String>,
    /// Encryption; `None`: plain text.
    pub certificate: Option<Certificate>,
    /// Who may come in.
    pub login: LoginPlan,
    /// How OpenSearch is reached.
    pub opensearch: OpenSearchPlan,
    /// What the names of indexes begin with.
    pub prefix: String,
    /// After this OpenSearch answers with what it has.
    pub timeout: Duration,
    /// Lines in an export.
    pub export_lines_max: usize,
    /// Live lines; `None`: none.
    pub tail: Option<TailPlan>,
    /// Agents and their items; `None`: not shown.
    pub fleet: Option<Remote>,
    /// Bounds of what a client can use up.
    pub limits: Limits,
}

/// What answers are made of.
#[derive(Debug)]
struct Site {
    searcher: Searcher,
    export_lines_max: usize,
    tail: Option<Hub>,
    fleet: Option<Remote>,
    login: LoginPlan,
    hosts: Vec<String>,
    body_timeout: Duration,
    /// What changes must carry; another one at each start.
    token: String,
}

impl Site {
    /// Whether items may be changed: by whoever has logged in. On a host with other users loopback is no login.
    fn may_edit(&self) -> bool {
        self.fleet.is_some() && self.login.is_wanted()
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// What stands in the way of a start.
pub fn run(plan: ServePlan) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
        let serving = Serving::start(plan).await?;
        info!("the search page is at {}", serving.url());
        tokio::select! {
            () = serving.run() => {}
            _ = terminate.recv() => info!("stopping: SIGTERM"),
            _ = interrupt.recv() => info!("stopping: SIGINT"),
        }
        Ok(())
    })
}

/// A server that listens already.
pub struct Serving {
    server: Server,
    router: Router,
    address: SocketAddr,
    is_encrypted: bool,
}

impl Serving {
    /// Listens.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn start(plan: ServePlan) -> Result<Serving> {
        let server = Server::bind(plan.listen, plan.certificate.as_ref(), plan.limits).await;
        let server = server.map_err(anyhow::Error::msg)?;
        let mut token = [0; 16];
        openssl::rand::rand_bytes(&mut token).context("OpenSSL has no random numbers")?;
        let site = Arc::new(Site {
            searcher: Searcher::new(&plan.opensearch, &plan.prefix, plan.timeout),
            export_lines_max: plan.export_lines_max,
            tail: plan.tail.map(Hub::new),
            fleet: plan.fleet,
            login: plan.login,
            hosts: plan.hosts,
            body_timeout: plan.limits.body_timeout,
            token: token.iter().map(|byte| format!("{byte:02x}")).collect(),
        });
        let address = server.address()?;
        Ok(Serving { server, router: router(site), address, is_encrypted: plan.certificate.is_some() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a browser on this host finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.is_encrypted { "https" } else { "http" }, self.address)
    }

    /// Answers for as long as it is polled.
    pub async fn run(self) {
        self.server.run(self.router).await;
    }
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/api/about", get(api::about))
        .route("/api/search", get(api::search))
        .route("/api/counts", get(api::counts))
        .route("/api/context", get(api::context))
        .route("/api/export", get(api::export))
        .route("/api/tail", get(tail::tail))
        .route("/api/fleet", get(fleet::fleet))
        .route("/api/fleet/item", put(fleet::put).delete(fleet::delete))
        .route("/api/fleet/lint", post(fleet::lint))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(get(page::file))
        .layer(from_fn_with_state(Arc::clone(&site), security::gate))
        .with_state(site)
}
