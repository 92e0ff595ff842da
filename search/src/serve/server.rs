//! Connections: how many, how long, and whether encrypted. What is said over them is the router's.
//!
//! An event stream lives for hours and an export for minutes, so no connection has an end by the clock. What is
//! bounded is every wait for the other side: for its handshake, for the head of a request, and for it to take what is
//! sent. Their number is bounded too; when it is reached, the oldest that nobody uses makes room.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use logdrive::config::Certificate;
use logdrive::http::accept;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep, timeout};
use tokio_openssl::SslStream;
use tracing::debug;

/// Bounds of what a client can use up.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// For the handshake of TLS; and from the start of a connection, or the end of an answer, to the end of the next
    /// request's head.
    pub head_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// A client that takes nothing of an answer for so long is gone.
    pub write_timeout: Duration,
    /// Connections open at the same time.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            connections_max: 256,
        }
    }
}

/// How much of a request's head is read: queries are part of its first line.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Where to listen, and how.
pub(super) struct Server {
    listener: TcpListener,
    acceptor: Option<SslAcceptor>,
    limits: Limits,
}

impl Server {
    /// Listens. With a certificate connections are encrypted.
    ///
    /// # Errors
    /// The address is not free, or the certificate cannot be used.
    pub(super) async fn bind(
        listen: SocketAddr,
        certificate: Option<&Certificate>,
        limits: Limits,
    ) -> Result<Server, String> {
        let acceptor = certificate.map(acceptor).transpose().map_err(|why| format!("[serve.tls]: {why}"))?;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            format!("cannot listen on {listen}: {error}; set `listen` in [serve] to a free local address")
        })?;
        Ok(Server { listener, acceptor, limits })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for as long as it is polled.
    pub(super) async fn run(self, router: Router) {
        let (limits, acceptor) = (self.limits, self.acceptor.map(Arc::new));
        let serve = |stream, answering| {
            let (router, acceptor) = (router.clone(), acceptor.clone());
            async move {
                let Some(acceptor) = acceptor else { return serve(stream, router, limits, answering).await };
                match timeout(limits.head_timeout, encrypted(&acceptor, stream)).await {
                    Ok(Ok(stream)) => serve(stream, router, limits, answering).await,
                    Ok(Err(error)) => debug!(error, "no TLS connection"),
                    Err(_) => debug!("no TLS connection in time"),
                }
            }
        };
        accept(&self.listener, limits.connections_max, serve).await;
    }
}

/// Counts an answer until its last byte is handed over, or nobody wants it any more.
struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn begin(count: &Arc<AtomicUsize>) -> Answering {
        count.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(count))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve<S>(stream: S, router: Router, limits: Limits, answering: Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let begun = Answering::begin(&answering);
        let answer = hyper::service::Service::call(&router, request);
        async move {
            let answer: Response<Body> = answer.await?;
            // The count goes down when the body has been sent.
            Ok::<_, std::convert::Infallible>(answer.map(|body| Counted { body, _begun: begun }))
        }
    });
    let stream = Patient { stream, limit: limits.write_timeout, waiting: None };
    let connection = hyper::server::conn::http1::Builder::new()
        // Without a timer hyper's own timeouts do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection ended");
    }
}

/// The body of an answer that counts as long as it lasts.
struct Counted {
    body: Body,
    _begun: Answering,
}

impl hyper::body::Body for Counted {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose writes do not wait for ever.
struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Since a write could not go on.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Patient<S> {
    fn bounded<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let limit = self.limit;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(context, done)
    }
}

async fn encrypted(acceptor: &SslAcceptor, stream: TcpStream) -> Result<SslStream<TcpStream>, String> {
    let ssl = Ssl::new(acceptor.context()).map_err(|error| error.to_string())?;
    let mut stream = SslStream::new(ssl, stream).map_err(|error| error.to_string())?;
    Pin::new(&mut stream).accept().await.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// TLS 1.2 and later, with Mozilla's choice of the rest.
fn acceptor(certificate: &Certificate) -> Result<SslAcceptor, String> {
    let text = |error: openssl::error::ErrorStack| error.to_string();
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(text)?;
    let key = std::fs::read(&certificate.key).map_err(|error| format!("cannot read the key: {error}"))?;
    let key = match &certificate.key_password {
        Some(password) => PKey::private_key_from_pem_passphrase(&key, password.expose().as_bytes()),
        None => PKey::private_key_from_pem(&key),
    };
    builder.set_private_key(&*key.map_err(text)?).map_err(text)?;
    builder.set_certificate_chain_file(&certificate.cert).map_err(text)?;
    builder.check_private_key().map_err(text)?;
    Ok(builder.build())
}
