//! The pure part of the Logdrive agent.
//!
//! For one generation of one file there are six byte positions, each moved by exactly one module:
//!
//! ```text
//! durable <= acked <= produced <= framed <= read <= size
//! ```
//!
//! This crate moves the middle ones. It has no clock, no file system, no thread, no socket and no
//! random map: events and time go in (`handle_*`), operations come out (`poll_*`). The same inputs
//! give the same outputs, so that a simulator can replay any run.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod batch;
pub mod checkpoint;
pub mod chunk;
pub mod discover;
pub mod engine;
pub mod frame;
pub mod ledger;
pub mod pace;
pub mod plan;
pub mod position;
mod schedule;
pub mod source;
mod table;
mod tail;
mod trail;
mod turns;
