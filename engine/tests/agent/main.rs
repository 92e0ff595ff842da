//! The fault catalogue, end to end: the agent as a process of its own, real files, a Kafka, and what can
//! go wrong between them.
//!
//! A test begins with the id of its fault; `docs/faults.md` lists all of them. Kafka is librdkafka's mock
//! cluster in this process, which the agent reaches over TCP, and in `real_broker` a real one
//! (`scripts/test` starts it). Nothing here sleeps to let something happen: a test waits for a condition,
//! and what must not have happened is judged when the agent has drained and the topic is read to its end.
//!
//! Not here: what the engine decides (its own stories tell that, exhaustively), and figures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod certificates;
mod cluster;
mod lines;
mod load;
#[path = "../loop_disk/mod.rs"]
mod loop_disk;
mod member;
mod process;
mod proxy;
mod real;
mod site;
#[allow(dead_code, reason = "the tests of the state use the rest")]
#[path = "../state_disk/mod.rs"]
mod state_disk;
mod topic;
mod wait;
mod writer;

mod collection;
mod collection_login;
mod collection_scale;
mod content;
mod control;
mod crash;
mod damage;
mod delivery;
mod discovery;
mod encodings;
mod encryption;
mod hostile;
mod hung;
mod limits;
mod login;
mod manners;
mod names;
mod network;
mod objects;
mod power;
mod real_broker;
mod replicas;
mod resources;
mod rotation;
mod secrets;
mod security;
mod since;
mod state;
mod truncation;
mod verbs;
mod volumes;
