//! Who is answered: the gate before every page and answer.
//!
//! - The `Host` header names an address, `localhost` or a name of ours: a page of somebody else's cannot reach a
//!   server on loopback under a name of its own (DNS rebinding).
//! - With a login, whoever knows it: name and password, or the token (as a bearer, or as the password of `token`).
//! - What changes something comes from a page of ours (`Origin`) and carries a word that only such a page can read
//!   (CSRF): a browser sends a login along with whatever request anybody's page makes.
//! - Every answer says that nothing but our own scripts and styles is to run in it, and that nobody may frame it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logdrive::config::Secret;
use logdrive::http::{is_no_name, name_of};
use openssl::sha::sha256;

use super::Site;
use super::answer::Failure;

/// The name that stands before a token where a browser wants a name.
const TOKEN_NAME: &str = "token";
/// The header with the word of a page of ours.
const WORD: &str = "x-logdrive-token";
/// A wrong login is answered so much later; guessing is not made quick by many connections, which are bounded.
const WRONG_LOGIN_PAUSE: Duration = Duration::from_secs(1);

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub struct LoginPlan {
    /// A name and its password.
    pub user: Option<(String, Secret)>,
    /// A token.
    pub token: Option<Secret>,
}

impl LoginPlan {
    /// Whether there is any login.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.user.is_some() || self.token.is_some()
    }

    /// Whether an `Authorization` header opens the door.
    fn admits(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some((scheme, value)) = authorization.and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.token.as_ref().is_some_and(|token| is_same(value, token));
        }
        let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return false;
        };
        let user = self.user.as_ref().is_some_and(|(known, secret)| {
            // Both are compared whatever the first says.
            is_same(password, secret) & (name == known)
        });
        let token = self.token.as_ref().is_some_and(|token| is_same(password, token) & (name == TOKEN_NAME));
        scheme.eq_ignore_ascii_case("basic") && (user || token)
    }
}

/// In a time that says nothing about where they differ. A file that has changed since counts as it is now.
fn is_same(text: &str, secret: &Secret) -> bool {
    let current = secret.read_again();
    let expected = current.as_ref().unwrap_or(secret).expose();
    openssl::memcmp::eq(&sha256(text.as_bytes()), &sha256(expected.as_bytes()))
}

/// Lets a request through, or not.
pub(super) async fn gate(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response<Body> {
    let mut answer = match admitted(&site, &request) {
        Ok(()) => match bounded(request, site.body_timeout).await {
            Ok(request) => next.run(request).await,
            Err(failure) => failure.into_response(),
        },
        Err(failure) => {
            let is_login = failure.status == StatusCode::UNAUTHORIZED;
            let mut answer = failure.into_response();
            if is_login {
                if request.headers().contains_key(header::AUTHORIZATION) {
                    tokio::time::sleep(WRONG_LOGIN_PAUSE).await;
                }
                let challenge = HeaderValue::from_static("Basic realm=\"logdrive\", charset=\"UTF-8\"");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            answer
        }
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn admitted(site: &Site, request: &Request) -> Result<(), Failure> {
    let forbidden = |code: &str, text: String| Failure::new(StatusCode::FORBIDDEN, code, text);
    let headers = request.headers();
    let authority = only(headers, &header::HOST)
        .ok_or_else(|| Failure::bad("host", "one `Host` header says whom the request is for".to_owned()))?;
    let name = name_of(authority);
    if !is_no_name(name) && !site.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let text =
            "the Host header names another host; if it is this one, add the name to `hosts` in [serve]";
        return Err(forbidden("host", text.to_owned()));
    }
    // Whether it lives is nobody's secret, and says nothing else.
    if request.uri().path() == "/healthz" {
        return Ok(());
    }
    if site.login.is_wanted() && !site.login.admits(headers.get(header::AUTHORIZATION)) {
        let text = "a login is needed: name and password, or the token".to_owned();
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "login", text));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
    if origin.is_none_or(|(_, of)| !of.eq_ignore_ascii_case(authority)) {
        let text = "changes are made from a page of this server; programs use `logdrive item`".to_owned();
        return Err(forbidden("origin", text));
    }
    let word = only(headers, &HeaderName::from_static(WORD)).unwrap_or_default();
    if !openssl::memcmp::eq(&sha256(word.as_bytes()), &sha256(site.token.as_bytes())) {
        return Err(forbidden(
            "token",
            "the page is of an earlier start of this server: load it again".to_owned(),
        ));
    }
    Ok(())
}

/// A header that is there once, and is text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// What a page of ours sends fits into this.
const BODY_BYTES_MAX: usize = 256 << 10;

/// The request with its whole body, which comes in time and is not too large.
async fn bounded(request: Request, patience: Duration) -> Result<Request, Failure> {
    let (head, body) = request.into_parts();
    let body = match head.method {
        // Whatever comes along is not read.
        Method::GET | Method::HEAD => Bytes::new(),
        _ => {
            let slow =
                || Failure::new(StatusCode::REQUEST_TIMEOUT, "body", "the body comes too slowly".to_owned());
            let large =
                |_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body", "the body is too large".to_owned());
            let whole = tokio::time::timeout(patience, axum::body::to_bytes(body, BODY_BYTES_MAX));
            whole.await.map_err(|_| slow())?.map_err(large)?
        }
    };
    Ok(Request::from_parts(head, Body::from(body)))
}
