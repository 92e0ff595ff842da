//! What an agent asks of etcd, through its HTTP gateway.
//!
//! Requests go one after the other over one connection, each stream of a watch over one of its own. Nothing is tried
//! again here: whoever asks decides about that.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::error::EtcdError;
use super::keyspace::end_of;
use super::mirror::{KeyValue, Stamp};
use super::stream::{Stream, Watch};
use super::wire::{Failure, Found, Lease, Line, Put, Range, Step, Taken, Transaction, Unchanged};
use crate::config::EtcdPlan;
use crate::connection::Connection;

/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A larger answer is not taken: no host has as many items.
pub(super) const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Somebody to ask: one member of the cluster.
#[derive(Debug)]
pub struct Gateway {
    plan: EtcdPlan,
    endpoint: String,
    connection: Connection,
    token: Option<String>,
}

/// What became of an attempt to write.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Written {
    /// It is written, or deleted, at this revision.
    At(u64),
    /// Something else stands there.
    Other(KeyValue),
    /// Nothing stands there any more.
    Gone,
}

impl Gateway {
    /// Connects and logs in. `attempt` chooses among the endpoints: another one each time.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn open(plan: &EtcdPlan, attempt: usize) -> Result<Gateway, EtcdError> {
        let endpoint = plan.endpoints[attempt % plan.endpoints.len()].clone();
        let connection = connect(&endpoint, plan).await?;
        let mut gateway = Gateway { plan: plan.clone(), endpoint, connection, token: None };
        gateway.log_in().await?;
        Ok(gateway)
    }

    /// Whom it asks.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    async fn log_in(&mut self) -> Result<(), EtcdError> {
        let Some(login) = self.plan.login.clone() else { return Ok(()) };
        let password = login.password.read_again().map_err(|reason| EtcdError::Password { reason })?;
        let request = json!({ "name": login.username, "password": password.expose() });
        #[derive(serde::Deserialize)]
        struct Answer {
            token: String,
        }
        match self.ask("log in", "/v3/auth/authenticate", &request).await {
            Ok(Answer { token }) => {
                self.token = Some(token);
                Ok(())
            }
            // Then it wants no login, and takes everybody for what they may do without.
            Err(EtcdError::Refused { reason, .. }) if reason.contains("authentication is not enabled") => {
                Ok(())
            }
            Err(EtcdError::Refused { reason, .. }) => {
                Err(EtcdError::Login { username: login.username, reason })
            }
            Err(error) => Err(error),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, EtcdError> {
        let document = serde_json::to_vec(request).expect("requests always serialise");
        let slow = |_| EtcdError::Slow { endpoint: self.endpoint.clone(), seconds: PATIENCE.as_secs() };
        let exchange = async {
            if !self.connection.is_open() {
                self.connection = connect(&self.endpoint, &self.plan).await?;
            }
            let request = post(path, self.token.as_deref(), document);
            let broken = |error| EtcdError::of(&self.endpoint, error);
            let answer = self.connection.send(request).await.map_err(broken)?;
            let good = answer.status().is_success();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let endpoint = || self.endpoint.clone();
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => EtcdError::TooMuch { endpoint: endpoint(), bytes_max: ANSWER_BYTES_MAX },
                false => EtcdError::Broken { endpoint: endpoint(), reason: error.to_string() },
            });
            Ok((good, body?.to_bytes()))
        };
        let (good, body) = timeout(PATIENCE, exchange).await.map_err(slow)??;
        let unclear = |reason: String| EtcdError::Unclear { endpoint: self.endpoint.clone(), reason };
        if !good {
            let failure: Failure = serde_json::from_slice(&body)
                .map_err(|_| unclear(format!("{:.100}", String::from_utf8_lossy(&body))))?;
            return Err(EtcdError::Refused { what, reason: failure.message });
        }
        serde_json::from_slice(&body).map_err(|error| unclear(error.to_string()))
    }

    /// Everything in some ranges, as it is at one moment; at most `limit` keys of each.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn list(
        &mut self,
        ranges: &[(String, Option<String>)],
        limit: usize,
    ) -> Result<(Stamp, Vec<KeyValue>), EtcdError> {
        let range = |(first, end): &(String, Option<String>)| Range::of(first, end.as_deref()).limited(limit);
        let success = ranges.iter().map(|one| Step::Range(range(one))).collect();
        let request = Transaction { success, ..Transaction::default() };
        let Taken { header, responses, .. } = self.ask("list items", "/v3/kv/txn", &request).await?;
        let pairs = responses.into_iter().flat_map(|step| step.response_range.kvs);
        Ok((header.stamp(), pairs.filter_map(|pair| pair.into_key_value()).collect()))
    }

    /// Everything below a prefix, which ends in a slash.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn below(&mut self, prefix: &str) -> Result<Vec<KeyValue>, EtcdError> {
        let range = Range::of(prefix, Some(&end_of(prefix)));
        let found: Found = self.ask("list keys", "/v3/kv/range", &range).await?;
        Ok(found.kvs.into_iter().filter_map(|pair| pair.into_key_value()).collect())
    }

    /// The names of a few keys below a prefix, which ends in a slash.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn names_below(&mut self, prefix: &str, limit: usize) -> Result<Vec<String>, EtcdError> {
        let range = Range::of(prefix, Some(&end_of(prefix))).limited(limit).keys_only();
        let found: Found = self.ask("list keys", "/v3/kv/range", &range).await?;
        Ok(found.kvs.into_iter().filter_map(|pair| Some(pair.into_key_value()?.key)).collect())
    }

    /// Puts a key, for as long as a lease lives if one is named. Returns the revision.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn put(&mut self, key: &str, value: &[u8], lease: Option<&str>) -> Result<u64, EtcdError> {
        let found: Found = self.ask("put a key", "/v3/kv/put", &put(key, value, lease)).await?;
        Ok(found.header.revision)
    }

    /// Puts a key if it was last changed at this revision (0: if it is not there), for as long as a lease lives if
    /// one is named.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn put_if(
        &mut self,
        key: &str,
        mod_revision: u64,
        value: &[u8],
        lease: Option<&str>,
    ) -> Result<Written, EtcdError> {
        self.change_if("put a key", key, mod_revision, Step::Put(put(key, value, lease))).await
    }

    /// Deletes a key if it was last changed at this revision.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn delete_if(&mut self, key: &str, mod_revision: u64) -> Result<Written, EtcdError> {
        let step = Step::DeleteRange(Range::of(key, None));
        self.change_if("delete a key", key, mod_revision, step).await
    }

    async fn change_if(
        &mut self,
        what: &'static str,
        key: &str,
        mod_revision: u64,
        step: Step,
    ) -> Result<Written, EtcdError> {
        let request = Transaction {
            compare: vec![Unchanged::since(key, mod_revision)],
            success: vec![step],
            failure: vec![Step::Range(Range::of(key, None))],
        };
        let taken: Taken = self.ask(what, "/v3/kv/txn", &request).await?;
        if taken.succeeded {
            return Ok(Written::At(taken.header.revision));
        }
        let found = taken.responses.into_iter().flat_map(|step| step.response_range.kvs).next();
        Ok(found.and_then(|pair| pair.into_key_value()).map_or(Written::Gone, Written::Other))
    }

    /// Deletes a key. Returns whether it was there.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn delete(&mut self, key: &str) -> Result<bool, EtcdError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            #[serde(default)]
            deleted: String,
        }
        let answer: Answer = self.ask("delete a key", "/v3/kv/deleterange", &Range::of(key, None)).await?;
        Ok(answer.deleted == "1")
    }

    /// A lease of so many seconds.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn grant(&mut self, seconds: u64) -> Result<String, EtcdError> {
        let request = json!({ "TTL": seconds.to_string() });
        let lease: Lease = self.ask("grant a lease", "/v3/lease/grant", &request).await?;
        Ok(lease.id)
    }

    /// Keeps a lease alive. Returns whether it still was.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn keep_alive(&mut self, lease: &str) -> Result<bool, EtcdError> {
        let answer = self.ask("keep a lease", "/v3/lease/keepalive", &json!({ "ID": lease })).await?;
        match answer {
            Line::Result(Lease { ttl, .. }) => Ok(!ttl.is_empty()),
            Line::Error(Failure { message }) => {
                Err(EtcdError::Refused { what: "keep a lease", reason: message })
            }
        }
    }

    /// Ends a lease, and with it its keys.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn revoke(&mut self, lease: &str) -> Result<(), EtcdError> {
        let _: serde_json::Value =
            self.ask("end a lease", "/v3/lease/revoke", &json!({ "ID": lease })).await?;
        Ok(())
    }

    /// Begins to tell what changes in some ranges from a revision on.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn watch(
        &self,
        ranges: &[(String, Option<String>)],
        from_revision: u64,
    ) -> Result<Watch, EtcdError> {
        let mut streams = Vec::with_capacity(ranges.len());
        for (first, end) in ranges {
            streams.push(self.stream(Range::of(first, end.as_deref()), from_revision).await?);
        }
        Ok(Watch::of(streams))
    }

    async fn stream(&self, range: Range, from_revision: u64) -> Result<Stream, EtcdError> {
        #[derive(Serialize)]
        struct Create {
            #[serde(flatten)]
            range: Range,
            start_revision: String,
        }
        let create = Create { range, start_revision: from_revision.to_string() };
        let document = json!({ "create_request": create }).to_string();
        let mut connection = connect(&self.endpoint, &self.plan).await?;
        let post = connection.send(post("/v3/watch", self.token.as_deref(), document.into_bytes()));
        let slow = |_| EtcdError::Slow { endpoint: self.endpoint.clone(), seconds: PATIENCE.as_secs() };
        let broken = |error| EtcdError::of(&self.endpoint, error);
        let answer = timeout(PATIENCE, post).await.map_err(slow)?.map_err(broken)?;
        Ok(Stream::new(self.endpoint.clone(), answer.into_body(), connection))
    }
}

async fn connect(endpoint: &str, plan: &EtcdPlan) -> Result<Connection, EtcdError> {
    let opened = Connection::open(endpoint, plan.tls.as_ref(), PATIENCE).await;
    opened.map_err(|error| EtcdError::of(endpoint, error))
}

fn post(path: &str, token: Option<&str>, document: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(document.into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().expect("paths are written here");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A token of etcd's holds nothing that a header cannot.
    if let Some(token) = token.and_then(|token| HeaderValue::from_str(token).ok()) {
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    request
}

fn put(key: &str, value: &[u8], lease: Option<&str>) -> Put {
    let lease = lease.unwrap_or("0").to_owned();
    Put { key: key.into(), value: super::wire::Base64(value.to_vec()), lease }
}
