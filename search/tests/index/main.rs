//! The indexer end to end: the binary as processes of its own, a real Kafka and a real OpenSearch, and what can go wrong
//! between them. What counts is what stands in the index at the end, document by document.
//!
//! Run by `scripts/test` as its step `search tests`, and passed over by its other steps for the beginnings of their
//! modules' names. `LOGDRIVE_KAFKA` and `LOGDRIVE_OPENSEARCH` name the servers
//! (`host:port`), `LOGDRIVE_OPENSEARCH_CTL` is `scripts/opensearch` for that one. It takes requests of up to 2 MB
//! (`--set http.max_content_length=2mb`), so that requests are refused for their size. Nothing here sleeps to let
//! something happen: a test waits for a condition.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod load;
mod member;
#[path = "../../../engine/tests/agent/proxy.rs"]
#[allow(dead_code, reason = "the agent's tests use the rest")]
mod proxy;
mod stage;
#[path = "../../../engine/tests/agent/wait.rs"]
mod wait;

mod opensearch_exact;
mod opensearch_faults;
