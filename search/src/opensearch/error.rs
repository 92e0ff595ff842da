//! What can go wrong between us and OpenSearch, each in one line with what to try.

use std::time::Duration;

use hyper::StatusCode;
use logdrive::connection::ConnectionError;
use serde::Deserialize;

use super::answer::Cause;

/// How much of an answer that is not understood is shown.
const EXCERPT_CHARS_MAX: usize = 120;

/// A request that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum OpenSearchError {
    /// There is no connection, or none any more.
    #[error("OpenSearch at {endpoint}: {source}; {}", advice(source))]
    Connection {
        /// `host:port`.
        endpoint: String,
        /// Why.
        source: ConnectionError,
    },
    /// It takes too long.
    #[error("OpenSearch at {endpoint} does not answer within {patience:?}; is it overloaded?")]
    Slow {
        /// `host:port`.
        endpoint: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The answer ended before its end.
    #[error("the answer of OpenSearch at {endpoint} was cut off: {reason}")]
    Cut {
        /// `host:port`.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// It answers with something else.
    #[error(
        "{endpoint} answers what is not understood: {reason}; is that OpenSearch or Elasticsearch, and no proxy's page?"
    )]
    Unclear {
        /// `host:port`.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// It does not let us in, or not do this.
    #[error("OpenSearch at {endpoint} refuses: {} {reason}; {}", status.as_u16(), rights(*status))]
    Denied {
        /// `host:port`.
        endpoint: String,
        /// 401 or 403.
        status: StatusCode,
        /// What it says.
        reason: String,
    },
    /// It cannot now, or does not want to.
    #[error("OpenSearch at {endpoint} cannot: {} {reason}", status.as_u16())]
    Busy {
        /// `host:port`.
        endpoint: String,
        /// Its status.
        status: StatusCode,
        /// What it says.
        reason: String,
    },
    /// What was sent is the reason.
    #[error("OpenSearch at {endpoint} does not take it: {} {reason}", status.as_u16())]
    Content {
        /// `host:port`.
        endpoint: String,
        /// 400 or 413.
        status: StatusCode,
        /// What it says.
        reason: String,
    },
    /// The secret to log in with cannot be had.
    #[error("no login for OpenSearch: {reason}; look at [opensearch] `password_file` or `api_key_file`")]
    Secret {
        /// Why.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Failure {
    error: Cause,
}

impl OpenSearchError {
    /// What an answer with this status means.
    pub(super) fn of(endpoint: &str, status: StatusCode, body: &[u8]) -> OpenSearchError {
        let endpoint = endpoint.to_owned();
        let failure = serde_json::from_slice(body).map(|failure: Failure| failure.error.told());
        let is_its_own = failure.is_ok();
        let reason = failure.unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body);
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
        });
        let reason = match reason.trim_end_matches([';', '.', ' ']) {
            "" => status.canonical_reason().unwrap_or_default().to_owned(),
            said => said.to_owned(),
        };
        match status.as_u16() {
            401 | 403 => OpenSearchError::Denied { endpoint, status, reason },
            413 => OpenSearchError::Content { endpoint, status, reason },
            // A proxy's complaint about us, say of TLS that it did not expect, is no word about the documents.
            400 if is_its_own => OpenSearchError::Content { endpoint, status, reason },
            400 | 404 | 405 => {
                OpenSearchError::Unclear { endpoint, reason: format!("{} {reason}", status.as_u16()) }
            }
            _ => OpenSearchError::Busy { endpoint, status, reason },
        }
    }

    /// Whether what was sent is the reason: then the same again would meet the same.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        matches!(self, OpenSearchError::Content { .. })
    }
}

fn advice(source: &ConnectionError) -> &'static str {
    match source {
        ConnectionError::Tls(_) => {
            "look at [opensearch.tls] `ca`, `cert` and `key`, and at the names in the server's certificate"
        }
        ConnectionError::Broken(_) => "does it speak HTTP there, with TLS or without as `urls` says?",
        _ => "is it running there, and does a firewall let this host in?",
    }
}

fn rights(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "look at [opensearch] `username` and `password_file`, or `api_key_file`",
        _ => "either the user may not do this, or the index is read-only: is a disk full (flood stage)?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn i04_every_answer_has_its_line() {
        let mut shown = String::new();
        for (status, body) in [
            (401, "Unauthorized"),
            (
                403,
                r#"{"error":{"type":"cluster_block_exception","reason":"index [a] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];"},"status":403}"#,
            ),
            (
                400,
                r#"{"error":{"type":"illegal_argument_exception","reason":"Malformed action/metadata line [1]"},"status":400}"#,
            ),
            (400, "<html>\n<h1>The plain HTTP request was sent to HTTPS port</h1>"),
            (404, "<html>nothing here</html>"),
            (413, "<html>too large</html>"),
            (
                429,
                r#"{"error":{"type":"circuit_breaking_exception","reason":"Data too large"},"status":429}"#,
            ),
            (503, ""),
        ] {
            let error = OpenSearchError::of("h:9200", StatusCode::from_u16(status).unwrap(), body.as_bytes());
            shown += &format!("{} {error}\n", if error.is_about_content() { "content" } else { "later  " });
        }
        expect![[r#"
            later   OpenSearch at h:9200 refuses: 401 Unauthorized; look at [opensearch] `username` and `password_file`, or `api_key_file`
            later   OpenSearch at h:9200 refuses: 403 cluster_block_exception: index [a] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)]; either the user may not do this, or the index is read-only: is a disk full (flood stage)?
            content OpenSearch at h:9200 does not take it: 400 illegal_argument_exception: Malformed action/metadata line [1]
            later   h:9200 answers what is not understood: 400 <html> <h1>The plain HTTP request was sent to HTTPS port</h1>; is that OpenSearch or Elasticsearch, and no proxy's page?
            later   h:9200 answers what is not understood: 404 <html>nothing here</html>; is that OpenSearch or Elasticsearch, and no proxy's page?
            content OpenSearch at h:9200 does not take it: 413 <html>too large</html>
            later   OpenSearch at h:9200 cannot: 429 circuit_breaking_exception: Data too large
            later   OpenSearch at h:9200 cannot: 503 Service Unavailable
        "#]]
        .assert_eq(&shown);
    }
}
