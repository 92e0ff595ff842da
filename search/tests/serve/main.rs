//! The search page as a browser sees it: over real sockets, with its real configuration.
//!
//! `gate` needs nothing else, `fleet` a real etcd, which it starts. The modules that begin with `opensearch_` are run by `scripts/test` beside those of
//! `tests/index`, with `LOGDRIVE_KAFKA` and `LOGDRIVE_OPENSEARCH`; that of the browser also wants `LOGDRIVE_CHROMIUM`, the
//! path of a Chromium. Nothing here sleeps to let something happen: a test waits for a condition.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod chromium;
mod etcd;
#[path = "../index/member.rs"]
#[allow(dead_code, reason = "the indexer's tests use the rest")]
mod member;
mod site;
#[path = "../index/stage.rs"]
#[allow(dead_code, reason = "the indexer's tests use the rest")]
mod stage;
#[path = "../../../engine/tests/agent/wait.rs"]
mod wait;

mod fleet;
mod gate;
mod opensearch_browser;
mod opensearch_page;
