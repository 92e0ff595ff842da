//! One HTTP/1.1 connection to a server, encrypted or not: for etcd, and for whoever else is asked over HTTP.
//!
//! Certificates are read at every connection, so that renewed ones are used. Not here: what is said, and whether
//! anything is tried again.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509VerifyResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

use crate::config::TlsPlan;

/// Why there is no connection, or none any more. Whoever asks knows what to try, and whom it was to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No encrypted connection comes about.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// It broke, or something answers that does not speak HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It takes too long.
    #[error("no connection within {0:?}")]
    Slow(Duration),
}

/// A connection. Requests go one after the other.
#[derive(Debug)]
pub struct Connection {
    host: HeaderValue,
    requests: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to `host:port`, with TLS if there is a plan of it.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn open(
        endpoint: &str,
        tls: Option<&TlsPlan>,
        patience: Duration,
    ) -> Result<Connection, ConnectionError> {
        timeout(patience, connect(endpoint, tls)).await.map_err(|_| ConnectionError::Slow(patience))?
    }

    /// Sends a request; the answer's body is still on its way. The header that names the host is added here.
    ///
    /// # Errors
    /// [`ConnectionError::Broken`]: whether the request has arrived is not known.
    pub async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ConnectionError> {
        request.headers_mut().insert(HOST, self.host.clone());
        let broken = |error: hyper::Error| ConnectionError::Broken(told(&error));
        self.requests.ready().await.map_err(broken)?;
        self.requests.send_request(request).await.map_err(broken)
    }

    /// Whether another request can be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }
}

async fn connect(endpoint: &str, tls: Option<&TlsPlan>) -> Result<Connection, ConnectionError> {
    let host = HeaderValue::from_str(endpoint).map_err(|error| ConnectionError::Broken(error.to_string()))?;
    let stream = TcpStream::connect(endpoint).await.map_err(ConnectionError::Connect)?;
    stream.set_nodelay(true).map_err(ConnectionError::Connect)?;
    let requests = match tls {
        None => serve(stream).await?,
        Some(tls) => serve(encrypted(endpoint, stream, tls).await?).await?,
    };
    Ok(Connection { host, requests })
}

/// TLS over a stream, with a peer whose certificate is trusted and has the name of the endpoint.
async fn encrypted(
    endpoint: &str,
    stream: TcpStream,
    tls: &TlsPlan,
) -> Result<SslStream<TcpStream>, ConnectionError> {
    let refused = ConnectionError::Tls;
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let session = connector(tls).map_err(refused)?.configure().and_then(|session| session.into_ssl(host));
    let stream = session.and_then(|session| SslStream::new(session, stream));
    let mut stream = stream.map_err(|error| refused(error.to_string()))?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(refused(match stream.ssl().verify_result() {
            X509VerifyResult::OK => error.to_string(),
            verdict => format!("{error}: {}", verdict.error_string()),
        })),
    }
}

async fn serve<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| ConnectionError::Broken(told(&error));
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the connection; what went wrong is told by the request that it interrupts.
    tokio::spawn(connection);
    Ok(requests)
}

/// An error with what caused it, which hyper leaves to its sources.
fn told(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What a plan of TLS means to OpenSSL.
fn connector(plan: &TlsPlan) -> Result<SslConnector, String> {
    let text = |error: openssl::error::ErrorStack| error.to_string();
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error: io::Error| format!("cannot read {}: {error}", path.display()))
    };
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(text)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(text)?;
    if let Some(path) = &plan.ca {
        // In place of the system's authorities, not beside them.
        let mut store = X509StoreBuilder::new().map_err(text)?;
        for authority in X509::stack_from_pem(&read(path)?).map_err(text)? {
            store.add_cert(authority).map_err(text)?;
        }
        builder.set_cert_store(store.build());
    }
    if let Some(own) = &plan.certificate {
        let key = read(&own.key)?;
        let key = match &own.key_password {
            Some(password) => {
                PKey::private_key_from_pem_passphrase(&key, password.read_again()?.expose().as_bytes())
            }
            None => PKey::private_key_from_pem(&key),
        };
        builder.set_private_key(&*key.map_err(text)?).map_err(text)?;
        builder.set_certificate_chain_file(&own.cert).map_err(text)?;
        builder.check_private_key().map_err(text)?;
    }
    Ok(builder.build())
}
