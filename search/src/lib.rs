//! From Kafka to the reader, as a library.
//!
//! Each verb is a folder of its own: `index` writes lines to OpenSearch or Elasticsearch,
//! `serve` is the web page that searches them. What verbs share stands
//! beside them: `config` and `cli`, `group` (a member of a consumer group), `ledger` (answers out of order become
//! offsets to commit), `record` and `line` (what a record and its line say), `opensearch` (whom to ask over HTTP).

pub mod cli;
pub mod config;
pub mod group;
pub mod index;
pub mod ledger;
pub mod line;
pub mod opensearch;
pub mod record;
pub mod serve;
