//! The window to look through: `/metrics`, `/healthz`, `/readyz`, `/status`. Nothing can be changed here.
//!
//! On a thread and a runtime of its own, so that nobody who talks to it slows the driver down. Every
//! connection has a deadline, from its first byte to its last, and their number is bounded: when the
//! limit is reached the oldest one that is not being answered makes room, so that silent and slow
//! clients cannot keep a scrape out. What they can make the driver do and hold in memory is bounded in
//! `page`.

mod guests;
mod page;

pub use guests::accept;
pub use page::Made;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use self::page::Page;
use crate::metrics::{self, Metrics};
use crate::status::{Question, Told};

/// Bounds of what a client can use up.
#[derive(Copy, Clone, Debug)]
pub struct HttpLimits {
    /// From the start of a connection, or the end of an answer, to the end of the next request's header.
    pub header_timeout: Duration,
    /// From question to answer of the driver.
    pub answer_timeout: Duration,
    /// The whole life of a connection, however many requests it brings.
    pub connection_timeout: Duration,
    /// Connections open at the same time.
    pub connections_max: usize,
}

impl Default for HttpLimits {
    fn default() -> HttpLimits {
        HttpLimits {
            header_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(3),
            connection_timeout: Duration::from_secs(10),
            connections_max: 64,
        }
    }
}

/// How much of a request's header is read: far more than any scraper sends.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// What the kernel keeps of an answer for a client that does not read: else it would grow with the answer.
const SEND_BUFFER_BYTES: u32 = 128 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// What is seen through the window, each as it is now; `None`: whoever knows does not answer.
pub trait View: Send + Sync + 'static {
    /// `/metrics`: text for Prometheus.
    fn metrics(&self) -> impl Future<Output = Option<Made>> + Send;
    /// `/readyz`: 200 or 503, and a line that says why.
    fn readiness(&self) -> impl Future<Output = Option<Made>> + Send;
    /// `/status`: JSON.
    fn status(&self) -> impl Future<Output = Option<Made>> + Send;
}

/// Puts a question to the driver. Must not block.
pub type Ask = Arc<dyn Fn(Question) + Send + Sync>;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {cause}; set `listen` in [http] to a free local address, or to \"off\"")]
pub struct HttpError {
    listen: SocketAddr,
    /// Part of the text, so not told a second time as its source.
    cause: io::Error,
}

/// The running server; it ends when this is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Shows the agent: its metrics, and what the driver says when it is asked. As [`HttpServer::show`].
    ///
    /// # Errors
    /// The address is taken or not one of this host.
    pub fn start(
        listen: SocketAddr,
        limits: HttpLimits,
        metrics: Arc<Metrics>,
        ask: Ask,
    ) -> Result<HttpServer, HttpError> {
        HttpServer::show(listen, limits, AgentView { metrics, ask, answer_timeout: limits.answer_timeout })
    }

    /// Listens on `listen` (port 0: any free one) and answers until dropped.
    ///
    /// # Errors
    /// The address is taken or not one of this host.
    pub fn show(listen: SocketAddr, limits: HttpLimits, view: impl View) -> Result<HttpServer, HttpError> {
        let error = |cause| HttpError { listen, cause };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
        let listener = listen_on(listen, &runtime).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let (stop, stopped) = oneshot::channel();
        let site = Arc::new(Site {
            view,
            limits,
            loopback: address.ip().is_loopback(),
            of_metrics: Page::default(),
            of_readiness: Page::default(),
            of_status: Page::default(),
        });
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(&listener, limits.connections_max, |stream, answering| {
                        serve(stream, Arc::clone(&site), answering)
                    }) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(serve).map_err(error)?;
        Ok(HttpServer { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn listen_on(address: SocketAddr, runtime: &Runtime) -> io::Result<TcpListener> {
    // Not `block_on`: the agent may be within a runtime of its own.
    let _within = runtime.enter();
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve<V: View>(stream: tokio::net::TcpStream, site: Arc<Site<V>>, answering: Arc<AtomicUsize>) {
    let limits = site.limits;
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (site, answering) = (Arc::clone(&site), Arc::clone(&answering));
        async move {
            answering.fetch_add(1, Ordering::Relaxed);
            let response = site.answer(&request).await;
            answering.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        // Without a timer hyper's own timeouts do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever reads or writes slower than this is cut off; a scraper just connects again.
    let _closed = tokio::time::timeout(limits.connection_timeout, connection).await;
}

/// What is served.
struct Site<V> {
    view: V,
    limits: HttpLimits,
    loopback: bool,
    of_metrics: Page,
    of_readiness: Page,
    of_status: Page,
}

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl<V: View> Site<V> {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !request.body().is_end_stream() {
            return closing(text(StatusCode::PAYLOAD_TOO_LARGE, "requests with a body are not read\n"));
        }
        if self.loopback && !names_this_host(request) {
            return text(StatusCode::FORBIDDEN, "the Host header names another host\n");
        }
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz" | "/status") {
            return text(StatusCode::NOT_FOUND, "there are /metrics, /healthz, /readyz and /status\n");
        }
        // hyper leaves out the body of an answer to HEAD.
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let (content_type, shown) = match path {
            "/metrics" => {
                (metrics::CONTENT_TYPE, self.of_metrics.show(async || self.view.metrics().await).await)
            }
            "/status" => (JSON, self.of_status.show(async || self.view.status().await).await),
            _ => (TEXT, self.of_readiness.show(async || self.view.readiness().await).await),
        };
        match shown {
            None => text(StatusCode::SERVICE_UNAVAILABLE, "the agent does not respond\n"),
            // An answer is all that is asked for.
            Some(_) if path == "/healthz" => text(StatusCode::OK, "ok\n"),
            Some((code, body)) => respond(code, content_type, body),
        }
    }
}

/// The agent, whose driver is asked.
struct AgentView {
    metrics: Arc<Metrics>,
    ask: Ask,
    answer_timeout: Duration,
}

impl View for AgentView {
    async fn metrics(&self) -> Option<Made> {
        // A driver that does not answer in time is shown as it was last.
        let took = self.question(Question::Publish).await.map_or(Duration::ZERO, |told| told.took);
        Some(Made { code: StatusCode::OK, body: self.metrics.text().into(), took })
    }

    async fn readiness(&self) -> Option<Made> {
        let Told { answer, took } = self.question(Question::Readiness).await?;
        Some(Made::readiness(&answer, took))
    }

    async fn status(&self) -> Option<Made> {
        let Told { answer, took } = self.question(Question::Status).await?;
        Some(Made::json(&answer, took))
    }
}

impl AgentView {
    /// Asks the driver; `None` when it is gone or does not answer in time.
    async fn question<T>(&self, of: impl FnOnce(oneshot::Sender<Told<T>>) -> Question) -> Option<Told<T>> {
        let (reply, answer) = oneshot::channel();
        (self.ask)(of(reply));
        tokio::time::timeout(self.answer_timeout, answer).await.ok()?.ok()
    }
}

/// Whether the request was meant for this host. A web page can make a browser ask 127.0.0.1 under a
/// name of its own (DNS rebinding) and read the answer; it cannot make it send a bare address.
fn names_this_host(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else { return true };
    host.to_str().is_ok_and(|host| is_no_name(name_of(host)))
}

/// The name or address in a `Host` header, without its port and brackets.
#[must_use]
pub fn name_of(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Whether it is an address, or `localhost`: no name that somebody could make lead here.
#[must_use]
pub fn is_no_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
