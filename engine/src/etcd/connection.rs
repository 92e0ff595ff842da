//! One HTTP/1.1 connection to a member of etcd, encrypted or not.
//!
//! Certificates are read at every connection, so that renewed ones are used. Not here: what is said.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
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

use super::error::EtcdError;
use crate::config::TlsPlan;

/// An answer that takes longer never comes.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection. Requests go one after the other.
#[derive(Debug)]
pub(super) struct Connection {
    endpoint: String,
    requests: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to `host:port`.
    pub(super) async fn open(endpoint: &str, tls: Option<&TlsPlan>) -> Result<Connection, EtcdError> {
        let slow = |_| EtcdError::Slow { endpoint: endpoint.to_owned(), seconds: PATIENCE.as_secs() };
        timeout(PATIENCE, Connection::connect(endpoint, tls)).await.map_err(slow)?
    }

    async fn connect(endpoint: &str, tls: Option<&TlsPlan>) -> Result<Connection, EtcdError> {
        let failed = |source| EtcdError::Connect { endpoint: endpoint.to_owned(), source };
        let stream = TcpStream::connect(endpoint).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let requests = match tls {
            None => serve(endpoint, stream).await?,
            Some(tls) => serve(endpoint, encrypted(endpoint, stream, tls).await?).await?,
        };
        Ok(Connection { endpoint: endpoint.to_owned(), requests })
    }

    /// Posts a document; the answer's body is still on its way.
    pub(super) async fn post(
        &mut self,
        path: &str,
        token: Option<&str>,
        document: Vec<u8>,
    ) -> Result<Response<Incoming>, EtcdError> {
        let mut request =
            Request::post(path).header(HOST, &self.endpoint).header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let broken = |reason: String| EtcdError::Broken { endpoint: self.endpoint.clone(), reason };
        let request = request.body(Full::new(document.into())).map_err(|error| broken(error.to_string()))?;
        self.requests.ready().await.map_err(|error| broken(error.to_string()))?;
        self.requests.send_request(request).await.map_err(|error| broken(error.to_string()))
    }

    /// Whether another request can be made.
    pub(super) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }
}

/// TLS over a stream, with a peer whose certificate is trusted and has the name of the endpoint.
async fn encrypted(
    endpoint: &str,
    stream: TcpStream,
    tls: &TlsPlan,
) -> Result<SslStream<TcpStream>, EtcdError> {
    let refused = |reason: String| EtcdError::Tls { endpoint: endpoint.to_owned(), reason };
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

async fn serve<S>(endpoint: &str, stream: S) -> Result<SendRequest<Full<Bytes>>, EtcdError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken =
        |error: hyper::Error| EtcdError::Broken { endpoint: endpoint.to_owned(), reason: error.to_string() };
    let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the connection; what went wrong is told by the request that it interrupts.
    tokio::spawn(connection);
    Ok(requests)
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
