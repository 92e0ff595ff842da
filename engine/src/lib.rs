//! The Logdrive agent as a library: the shell around [`logdrive_core`].
//!
//! `driver` moves between the core and the world and holds no policy; `io`, `kafka`, `state`, `watch`
//! and `fs` know the core's types and never each other.

pub mod agent;
pub mod alarm;
pub mod args;
pub mod ask;
pub mod bell;
pub mod cli;
pub mod clock;
pub mod columns;
pub mod config;
pub mod connection;
pub mod cpu;
pub mod credentials;
pub mod driver;
pub mod edits;
pub mod etcd;
pub mod explain;
pub mod figures;
pub mod fs;
pub mod http;
pub mod import;
pub mod io;
pub mod items;
pub mod kafka;
pub mod logging;
pub mod metrics;
pub mod monitor;
pub mod nice;
pub mod overview;
pub mod progress;
pub mod rates;
pub mod reload;
pub mod setup;
pub mod state;
pub mod status;
pub mod top;
pub mod wanted;
pub mod watch;
