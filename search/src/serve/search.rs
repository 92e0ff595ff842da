//! Asking OpenSearch, and what it answers: whole, in part, or not.
//!
//! A question that nobody waits for any more is given up with its connection, at which OpenSearch stops working on
//! it. So many questions are asked at the same time at most; others wait.

use std::time::Duration;

use hyper::Method;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::Failure;
use super::document::Document;
use super::dsl::Listing;
use super::query::matcher::Matcher;
use crate::opensearch::{Client, JSON, OpenSearchError, OpenSearchPlan};

/// Questions at the same time.
const QUESTIONS_MAX: usize = 8;
/// OpenSearch is to answer in part after the patience; this much later it is not waited for any more.
const GRACE: Duration = Duration::from_secs(3);
/// An answer is too large with long lines: then fewer of them are asked for.
const FEWER: usize = 10;

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Searcher {
    client: Client,
    /// Path and parameters of every question: the indexes are always ours, and some of them may be missing.
    path: String,
    patience: Duration,
    questions: Semaphore,
}

/// What was found.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    took: u64,
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    /// The lines.
    pub hits: Hits,
    /// What was counted.
    #[serde(default)]
    pub aggregations: Value,
    /// How many lines were asked for in the end.
    #[serde(skip)]
    pub asked: usize,
}

#[derive(Debug, Deserialize)]
struct Shards {
    total: u64,
    failed: u64,
    #[serde(default)]
    failures: Vec<Value>,
}

/// The lines of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Hits {
    /// How many there are in all, if that was asked for.
    pub total: Option<Total>,
    /// Those that were asked for.
    pub hits: Vec<Hit>,
}

/// How many lines there are.
#[derive(Debug, Deserialize)]
pub(super) struct Total {
    value: u64,
    relation: String,
}

/// A line.
#[derive(Debug, Deserialize)]
pub(super) struct Hit {
    /// Its name.
    #[serde(rename = "_id")]
    pub id: String,
    /// Its document as it stands in the index.
    #[serde(rename = "_source")]
    pub source: Box<RawValue>,
    /// Its place in the order that was asked for.
    #[serde(default)]
    pub sort: Vec<Value>,
}

impl Hit {
    /// Its document.
    #[must_use]
    pub(super) fn document(&self) -> Document {
        Document::of(serde_json::from_str(self.source.get()).unwrap_or_default())
    }

    /// As the page takes it.
    #[must_use]
    pub(super) fn line(&self, matcher: &Matcher) -> Value {
        let document = self.document();
        let time_ms = document.time_ms().unwrap_or_default();
        document.line(&self.id, time_ms, matcher)
    }
}

impl Total {
    /// As the page takes it.
    #[must_use]
    pub(super) fn document(&self) -> Value {
        json!({ "value": self.value, "exact": self.relation == "eq" })
    }
}

impl Searcher {
    /// Asks the indexes whose names begin with `prefix`; for an answer in part after `patience`.
    #[must_use]
    pub(super) fn new(plan: &OpenSearchPlan, prefix: &str, patience: Duration) -> Searcher {
        let plan = OpenSearchPlan { timeout: patience + GRACE, ..plan.clone() };
        let path = format!(
            "/{prefix}-*/_search?ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=true"
        );
        Searcher { client: Client::new(plan), path, patience, questions: Semaphore::new(QUESTIONS_MAX) }
    }

    /// After how many milliseconds an answer is to be given in part.
    #[must_use]
    pub(super) fn patience_ms(&self) -> u128 {
        self.patience.as_millis()
    }

    /// Asks.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn ask(&self, document: &Value) -> Result<Found, Failure> {
        Ok(self.answer(document).await?)
    }

    async fn answer(&self, document: &Value) -> Result<Found, OpenSearchError> {
        let _place = self.questions.acquire().await.expect("it is never closed");
        let answer = self.client.ask(Method::POST, &self.path, document.to_string().into(), JSON).await?;
        serde_json::from_slice(&answer).map_err(|error| OpenSearchError::Unclear {
            endpoint: "it".to_owned(),
            reason: error.to_string(),
        })
    }

    /// Lists lines: as many as are asked for, or fewer if they are very long.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn list(&self, listing: &Listing<'_>) -> Result<Found, Failure> {
        self.with_fewer(listing.size, |size| Listing { size, ..*listing }.document(self.patience_ms())).await
    }

    /// Asks for so many lines, and for fewer if the answer is too large.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn with_fewer(
        &self,
        size: usize,
        question: impl Fn(usize) -> Value,
    ) -> Result<Found, Failure> {
        let mut size = size;
        loop {
            match self.answer(&question(size)).await {
                Err(OpenSearchError::Cut { .. }) if size > 1 => size = (size / FEWER).max(1),
                answer => return Ok(Found { asked: size, ..answer? }),
            }
        }
    }
}

impl Found {
    /// What is to be said beside an answer: why it is not all of it.
    #[must_use]
    pub(super) fn warnings(&self) -> Vec<Value> {
        let mut warnings = Vec::new();
        if self.timed_out {
            let text =
                "the search took too long: this is only a part; take a shorter range of time, or say more";
            warnings.push(json!({ "code": "timed_out", "text": text }));
        }
        let Shards { total, failed, failures } = &self.shards;
        if *failed > 0 {
            let reason = failures
                .first()
                .and_then(|failure| failure["reason"]["reason"].as_str())
                .unwrap_or("no reason");
            let reason = logdrive::logging::plain(&reason.chars().take(200).collect::<String>());
            let text = format!("{failed} of {total} shards did not answer, so lines are missing: {reason}");
            warnings.push(
                json!({ "code": "shards", "text": text, "failed": failed, "total": total, "reason": reason }),
            );
        }
        if *total == 0 {
            let text = "nothing is indexed yet: does `logdrive-search index` run, with the same `prefix`?";
            warnings.push(json!({ "code": "no_index", "text": text }));
        }
        warnings
    }

    /// How long OpenSearch took, in milliseconds.
    #[must_use]
    pub(super) fn took_ms(&self) -> u64 {
        self.took
    }

    /// All shards that there are have failed, although they answered.
    ///
    /// # Errors
    /// Why.
    pub(super) fn usable(self) -> Result<Found, Failure> {
        match self.shards.total > 0 && self.shards.failed == self.shards.total {
            true => {
                let reason =
                    &self.shards.failures.first().map_or(Value::Null, |one| one["reason"]["reason"].clone());
                let reason = logdrive::logging::plain(reason.as_str().unwrap_or("no shard answers"));
                Err(Failure::new(
                    StatusCode::BAD_GATEWAY,
                    "opensearch",
                    format!("OpenSearch cannot search: {reason}"),
                ))
            }
            false => Ok(self),
        }
    }
}
