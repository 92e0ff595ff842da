//! Asking OpenSearch or Elasticsearch over HTTP: the few requests that are needed, with what they are answered.
//!
//! Plain HTTP/1.1 through the same connection that asks etcd: no client library knows both of them. A request
//! takes an idle connection or makes one; a server that does not answer is left for the next one. Nothing is tried
//! again here: whoever asks decides about that.

mod answer;
mod error;
mod template;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use logdrive::config::{Secret, TlsPlan};
use logdrive::connection::Connection;
use serde::Deserialize;
use tokio::time::timeout;

pub use answer::Verdict;
pub use error::OpenSearchError;
pub use template::{JOINTS, Template, name_of as template_name};

/// The port of a server that is named without one.
const PORT: u16 = 9200;
/// No connection comes about after this.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A larger answer is not taken.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How a cluster is reached.
#[derive(Clone, Debug)]
pub struct OpenSearchPlan {
    /// `host:port` of each server to ask.
    pub endpoints: Vec<String>,
    /// Encryption; `None`: plain text.
    pub tls: Option<TlsPlan>,
    /// Who asks.
    pub login: Login,
    /// An answer that takes longer never comes.
    pub timeout: Duration,
}

/// Who asks. Secrets are read again with each connection, so that a changed one is used.
#[derive(Clone, Debug)]
pub enum Login {
    /// Nobody in particular.
    None,
    /// A user with a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An API key in its encoded form.
    ApiKey(Secret),
}

/// Somebody to ask.
#[derive(Debug)]
pub struct Client {
    plan: OpenSearchPlan,
    /// Connections that nobody uses, the one used last at the end.
    idle: Mutex<Vec<Open>>,
    /// The server to connect to next.
    next: AtomicUsize,
}

#[derive(Debug)]
struct Open {
    endpoint: usize,
    connection: Connection,
    authorization: Option<HeaderValue>,
}

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// `2.19.0`.
    pub number: String,
    /// `opensearch`; Elasticsearch says nothing.
    #[serde(default = "elasticsearch")]
    pub distribution: String,
}

fn elasticsearch() -> String {
    "elasticsearch".to_owned()
}

impl Client {
    /// A client that has not asked anybody yet.
    #[must_use]
    pub fn new(plan: OpenSearchPlan) -> Client {
        Client { plan, idle: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// Which version answers.
    ///
    /// # Errors
    /// See [`OpenSearchError`].
    pub async fn version(&self) -> Result<Version, OpenSearchError> {
        #[derive(Deserialize)]
        struct Answer {
            version: Version,
        }
        let body = self.ask(Method::GET, "/", Bytes::new(), JSON).await?;
        serde_json::from_slice(&body).map(|answer: Answer| answer.version).map_err(|error| {
            OpenSearchError::Unclear { endpoint: self.endpoints(), reason: error.to_string() }
        })
    }

    /// Puts the template of the indexes whose names begin as it says.
    ///
    /// # Errors
    /// See [`OpenSearchError`].
    pub async fn put_template(&self, template: &Template) -> Result<(), OpenSearchError> {
        let path = format!("/_index_template/{}", template_name(&template.prefix));
        self.ask(Method::PUT, &path, template.document().into(), JSON).await.map(drop)
    }

    /// Sends a bulk request of so many documents: what became of each, in their order.
    ///
    /// # Errors
    /// See [`OpenSearchError`]: whether anything was written is not known then.
    pub async fn bulk(&self, body: Bytes, documents: usize) -> Result<Vec<Verdict>, OpenSearchError> {
        let path = format!("/_bulk?filter_path={}", answer::FILTER);
        let answer = self.ask(Method::POST, &path, body, "application/x-ndjson").await?;
        answer::read(&answer, documents)
            .map_err(|reason| OpenSearchError::Unclear { endpoint: self.endpoints(), reason })
    }

    /// All servers, in a word.
    fn endpoints(&self) -> String {
        self.plan.endpoints.join(",")
    }

    /// The body of a good answer.
    ///
    /// # Errors
    /// See [`OpenSearchError`].
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: &'static str,
    ) -> Result<Bytes, OpenSearchError> {
        let mut open = self.open().await?;
        let endpoint = self.plan.endpoints[open.endpoint].clone();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("paths are made of legal names");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(authorization) = &open.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let exchange = async {
            let failed = |source| OpenSearchError::Connection { endpoint: endpoint.clone(), source };
            let answer = open.connection.send(request).await.map_err(failed)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let cut = |reason: String| OpenSearchError::Cut { endpoint: endpoint.clone(), reason };
            Ok((status, body.map_err(|error| cut(error.to_string()))?.to_bytes()))
        };
        let outcome = match timeout(self.plan.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(OpenSearchError::Slow { endpoint: endpoint.clone(), patience: self.plan.timeout }),
        };
        match outcome {
            Ok((status, body)) => {
                if !is_for_another(status) && open.connection.is_open() {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(open);
                }
                if status.is_success() {
                    Ok(body)
                } else {
                    Err(OpenSearchError::of(&endpoint, status, &body))
                }
            }
            Err(error) => {
                // What waits for this server in other connections is likely to find the same.
                self.idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .retain(|other| other.endpoint != open.endpoint);
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Open, OpenSearchError> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(open) if open.connection.is_open() => return Ok(open),
                Some(_) => {}
                None => break,
            }
        }
        let endpoint = self.next.fetch_add(1, Ordering::Relaxed) % self.plan.endpoints.len();
        let address = &self.plan.endpoints[endpoint];
        let authorization = self.plan.login.header()?;
        let failed = |source| OpenSearchError::Connection { endpoint: address.clone(), source };
        let connection =
            Connection::open(address, self.plan.tls.as_ref(), CONNECT_PATIENCE).await.map_err(failed)?;
        Ok(Open { endpoint, connection, authorization })
    }
}

/// Whether a URL is encrypted, and its `host:port`.
///
/// # Errors
/// What is wrong with it; a password in it is not shown.
pub fn endpoint(url: &str) -> Result<(bool, String), String> {
    if url.contains('@') {
        return Err("something before an `@`; to log in, see `username`".to_owned());
    }
    let wrong =
        |what: &str| Err(format!("{url:?}, which {what}; write http://host:port or https://host:port"));
    let (is_encrypted, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return wrong("does not begin with http:// or https://"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return wrong("has a path");
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (format!("[{host}]"), port.strip_prefix(':')),
        None => match rest.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (rest.to_owned(), None),
        },
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%' | '[' | ']');
    if host.is_empty() || !host.chars().all(legal) {
        return wrong("names no host");
    }
    match port.map_or(Ok(PORT), str::parse) {
        Ok(port) if port > 0 => Ok((is_encrypted, format!("{host}:{port}"))),
        _ => wrong("has no valid port"),
    }
}

/// The content type of everything but bulk requests.
pub const JSON: &str = "application/json";

/// Whether another server, or another login, may do better.
fn is_for_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 502 | 503 | 504)
}

impl Login {
    fn header(&self) -> Result<Option<HeaderValue>, OpenSearchError> {
        let read = |secret: &Secret| secret.read_again().map_err(|reason| OpenSearchError::Secret { reason });
        let value = match self {
            Login::None => return Ok(None),
            Login::Basic { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", read(password)?.expose())))
            }
            Login::ApiKey(key) => format!("ApiKey {}", read(key)?.expose()),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| OpenSearchError::Secret { reason: "it holds what no header can".to_owned() })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        let mut shown = String::new();
        for url in [
            "http://localhost:9200",
            "https://a.b-c/",
            "http://[::1]",
            "https://[fd00::1]:1/",
            "localhost:9200",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:65536",
            "http://a:9200/es",
            "http://me:canary@a",
            "http://a b",
        ] {
            shown += &match endpoint(url) {
                Ok((is_encrypted, endpoint)) => format!("{endpoint} {is_encrypted}\n"),
                Err(why) => format!("{why}\n"),
            };
        }
        expect![[r#"
            localhost:9200 false
            a.b-c:9200 true
            [::1]:9200 false
            [fd00::1]:1 true
            "localhost:9200", which does not begin with http:// or https://; write http://host:port or https://host:port
            "ftp://a", which does not begin with http:// or https://; write http://host:port or https://host:port
            "http://", which names no host; write http://host:port or https://host:port
            "http://a:0", which has no valid port; write http://host:port or https://host:port
            "http://a:65536", which has no valid port; write http://host:port or https://host:port
            "http://a:9200/es", which has a path; write http://host:port or https://host:port
            something before an `@`; to log in, see `username`
            "http://a b", which names no host; write http://host:port or https://host:port
        "#]]
        .assert_eq(&shown);
    }
}
