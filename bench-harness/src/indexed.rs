//! Reads lines back from OpenSearch or Elasticsearch, for the judge: everything that an index holds, in the order of
//! Kafka.
//!
//! A scroll, not pages after the last document seen: two documents at one place of Kafka are what is looked for, and
//! whoever pages by place passes over the second one.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use hyper::Method;
use logdrive_search::opensearch::{Client, JSON, Login, OpenSearchPlan, endpoint};
use serde::Deserialize;
use serde_json::json;

use crate::verify::Arrival;

/// Documents of an answer.
const PAGE: usize = 5000;
/// How long the server keeps a scroll between two answers.
const KEPT: &str = "5m";
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "_scroll_id")]
    scroll: String,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_source")]
    source: Source,
}

/// What the judge needs of a document.
#[derive(Deserialize)]
struct Source {
    message: String,
    #[serde(rename = "kafka.partition")]
    partition: i32,
    #[serde(rename = "kafka.offset")]
    offset: i64,
}

/// Gives out every document of the indexes with this name (a pattern, mostly) at `url`; returns how many there are.
///
/// # Errors
/// When they cannot be read to the last one.
pub fn read(url: &str, indexes: &str, mut arrive: impl FnMut(&Arrival<'_>)) -> Result<u64> {
    let (is_encrypted, endpoint) = endpoint(url).map_err(|why| anyhow!("cannot ask {why}"))?;
    ensure!(!is_encrypted, "{url} is encrypted; only plain http is spoken here");
    let plan = OpenSearchPlan { endpoints: vec![endpoint], tls: None, login: Login::None, timeout: PATIENCE };
    let client = Client::new(plan);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ask = |method: Method, path: &str, body: serde_json::Value| -> Result<Bytes> {
        Ok(runtime.block_on(client.ask(method, path, body.to_string().into(), JSON))?)
    };
    // What was written is not found before.
    ask(Method::POST, &format!("/{indexes}/_refresh"), json!({}))?;
    let query = json!({
        "size": PAGE,
        "sort": ["kafka.topic", "kafka.partition", "kafka.offset"],
        "_source": ["message", "kafka.partition", "kafka.offset"],
    });
    let mut body = ask(Method::POST, &format!("/{indexes}/_search?scroll={KEPT}"), query)?;
    let mut documents = 0;
    loop {
        let page: Page =
            serde_json::from_slice(&body).context("a document that no indexer of ours has written")?;
        for Hit { source: Source { message, partition, offset } } in &page.hits.hits {
            arrive(&Arrival {
                partition: *partition,
                offset: *offset,
                payload: message.as_bytes(),
                consumed_at_ns: 0,
            });
        }
        documents += page.hits.hits.len() as u64;
        if page.hits.hits.is_empty() {
            ask(Method::DELETE, "/_search/scroll", json!({ "scroll_id": page.scroll }))?;
            return Ok(documents);
        }
        body = ask(Method::POST, "/_search/scroll", json!({ "scroll": KEPT, "scroll_id": page.scroll }))?;
    }
}
