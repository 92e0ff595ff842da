//! What the agent says about itself when asked: the answers of `/status` and `/readyz`, which `ask` reads again.
//!
//! Here is what is said; `gather` finds it out.

mod gather;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::etcd::EtcdStatus;
pub use gather::{Facts, readiness, report, view};

/// A question for the driver. A dropped sender is the answer "I am gone".
#[derive(Debug)]
pub enum Question {
    /// Publish the metrics as they stand now.
    Publish(oneshot::Sender<Told<()>>),
    /// Can the agent do its work?
    Readiness(oneshot::Sender<Told<Readiness>>),
    /// Everything about everything.
    Status(oneshot::Sender<Told<StatusReport>>),
}

/// An answer of the driver. Each looks at every file, so who asks again and again is to leave it time for
/// its work.
#[derive(Clone, Debug)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// How long the driver was kept from its work.
    pub took: Duration,
}

/// Whether lines can be read and delivered now.
#[derive(Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// They can.
    pub ready: bool,
    /// Why not; empty if they can.
    pub reason: String,
}

/// The answer of `/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The version that runs.
    pub version: String,
    /// Its process.
    #[serde(default)]
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// How files are read: `uring` or `blocking`.
    pub io: String,
    /// The brokers as configured.
    pub brokers: Vec<String>,
    /// As `/readyz` answers.
    pub readiness: Readiness,
    /// What became of attempts to reload the configuration.
    #[serde(default)]
    pub reloads: Reloads,
    /// What the agent has used of the processor, and how it is held back.
    #[serde(default)]
    pub pace: PaceStatus,
    /// The collection items.
    pub items: Vec<ItemStatus>,
    /// Every file that is known.
    pub files: Vec<FileStatus>,
    /// The last error of each file and directory that had one lately, oldest first. It may be over.
    pub errors: Vec<PathError>,
    /// What is remembered across restarts.
    pub state: StateStatus,
    /// The way out.
    pub kafka: KafkaStatus,
    /// Where more items come from, if etcd is asked.
    #[serde(default)]
    pub etcd: Option<EtcdStatus>,
}

/// What became of attempts to reload the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reloads {
    /// How many were put in force.
    pub accepted: u64,
    /// How many were refused whole.
    pub refused: u64,
    /// Why the last one was refused, one line for each problem; `None` if it was not.
    pub last_error: Option<String>,
    /// Keys of the last one that was accepted which hold from the next start on.
    pub at_next_start: Vec<String>,
}

impl Reloads {
    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.accepted + self.refused
    }
}

/// What the agent has used of the processor, and how it is held back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PaceStatus {
    /// Processor time of all its threads.
    pub cpu_seconds: f64,
    /// `limits.cpu`; `None`: no limit.
    pub cpu_percent: Option<u32>,
    /// How long reading has waited for it.
    pub cpu_paced_seconds: f64,
    /// `limits.bytes_per_second`; `None`: no limit.
    pub bytes_per_second: Option<u64>,
    /// How long reading has waited for it.
    pub bytes_paced_seconds: f64,
}

/// One collection item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ItemStatus {
    /// Its name.
    pub name: String,
    /// Where its lines go.
    pub topic: String,
    /// How many files match it.
    pub files: u64,
    /// Bytes in them that are not acknowledged yet.
    pub lag_bytes: u64,
    /// Lines read since the start.
    pub lines_read: u64,
    /// Lines acknowledged since the start.
    pub lines_acked: u64,
    /// Their bytes.
    #[serde(default)]
    pub bytes_acked: u64,
    /// Lines acknowledged per second, over the last 5 to 10 s.
    #[serde(default)]
    pub lines_per_second: f64,
    /// Their bytes.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Lines dropped since the start, for any reason.
    pub lines_dropped: u64,
    /// What stands in the way of one of its files, or of its topic, as long as it does.
    #[serde(default)]
    pub last_error: Option<String>,
    /// How long its files have waited for `rate_limit` or `rate_limit_bytes`.
    #[serde(default)]
    pub paced_seconds: f64,
}

/// Something that went wrong with a file or directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathError {
    /// Where.
    pub path: String,
    /// What, and what to try.
    pub error: String,
    /// How long ago.
    pub age_seconds: f64,
}

/// One generation of one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileStatus {
    /// Where it was found last.
    pub path: String,
    /// The item that it belongs to.
    pub item: String,
    /// 16 hexadecimal digits, as in `logdrive state list`.
    pub generation: String,
    /// The six positions.
    pub positions: Positions,
    /// `size - acked`.
    pub lag_bytes: u64,
    /// What it waits for now: `at end`, `waiting for acknowledgements`, ...
    pub state: Cow<'static, str>,
    /// What stands in the way of reading it, as long as it does.
    pub last_error: Option<String>,
}

/// The chain `durable <= acked <= produced <= framed <= read <= size`, in bytes from the file's start.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize, Deserialize)]
pub struct Positions {
    /// Acknowledged, and on the disk of the state.
    pub durable: u64,
    /// Acknowledged by Kafka without a gap.
    pub acked: u64,
    /// Given to the Kafka client.
    pub produced: u64,
    /// Cut into lines.
    pub framed: u64,
    /// Read into a buffer.
    pub read: u64,
    /// The length of the file.
    pub size: u64,
}

/// The state store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateStatus {
    /// Its folder.
    pub dir: String,
    /// How many generations are remembered.
    pub generations: usize,
    /// Whether the disk takes what it is given.
    pub healthy: bool,
    /// Time since everything acknowledged was durable.
    pub checkpoint_age_seconds: f64,
    /// The last thing that went wrong with it.
    pub last_error: Option<String>,
}

/// The Kafka clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KafkaStatus {
    /// How many producers share the partitions.
    pub producers: usize,
    /// How many of them work.
    pub producers_running: usize,
    /// How often one stopped delivering and was replaced.
    pub producer_rebuilds: u64,
    /// Messages in their queues.
    pub queue_messages: usize,
    /// Partitions that have acknowledged nothing for half of the stall timeout.
    pub partitions_stalled: usize,
    /// The topics of all items.
    pub topics: Vec<TopicState>,
    /// Lines read and not settled.
    pub in_flight_lines: u64,
    /// Bytes of those.
    pub in_flight_bytes: u64,
    /// Age of the oldest of them.
    pub oldest_unacked_seconds: f64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// How long brokers took to answer, over the last [`STATISTICS_EVERY`](crate::setup::STATISTICS_EVERY).
    #[serde(default)]
    pub round_trips: Vec<RoundTripStatus>,
}

/// How long one broker took to answer requests, replication included where `acks` wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTripStatus {
    /// The broker: `host:port/id`.
    pub broker: String,
    /// Half of the requests took no longer.
    pub p50_seconds: f64,
    /// 99 of 100 requests took no longer.
    pub p99_seconds: f64,
}

/// One topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// How many partitions it has; 0 as long as that is not known.
    pub partitions: i32,
    /// Why its lines wait, if they do.
    pub trouble: Option<String>,
}
