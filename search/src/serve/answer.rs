//! What the page is answered: JSON, or a complaint in one line.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::opensearch::OpenSearchError;

/// A request that is not answered as it was meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// The status.
    pub status: StatusCode,
    /// `code`, a word that does not change; `text`, one line; and what belongs to it.
    pub document: Value,
}

impl Failure {
    /// A failure of a kind, in one line.
    #[must_use]
    pub(super) fn new(status: StatusCode, code: &str, text: String) -> Failure {
        Failure { status, document: json!({ "code": code, "text": text }) }
    }

    /// What was asked for is wrong.
    #[must_use]
    pub(super) fn bad(code: &str, text: String) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, code, text)
    }
}

impl From<OpenSearchError> for Failure {
    fn from(error: OpenSearchError) -> Failure {
        let (status, code) = match &error {
            OpenSearchError::Content { .. } => (StatusCode::BAD_REQUEST, "content"),
            OpenSearchError::Slow { .. } => (StatusCode::GATEWAY_TIMEOUT, "slow"),
            _ => (StatusCode::BAD_GATEWAY, "opensearch"),
        };
        Failure::new(status, code, logdrive::logging::plain(&error.to_string()))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        document(self.status, &json!({ "error": self.document }))
    }
}

/// An answer in JSON.
#[must_use]
pub(super) fn document(status: StatusCode, document: &Value) -> Response<Body> {
    typed(status, "application/json", Body::from(document.to_string()))
}

/// An answer that nobody keeps, of this type.
#[must_use]
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
