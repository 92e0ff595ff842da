//! What the agent says about itself when asked: the answers of `/status`, `/readyz` and `explain`.
//!
//! The driver owns the truth, so it is asked, and answers between two of its turns. Nothing is
//! collected that nobody asked for.

use serde::Serialize;
use tokio::sync::oneshot;

/// A question for the driver. A dropped sender is the answer "I am gone".
#[derive(Debug)]
pub enum Question {
    /// Can the agent do its work? Cheap to answer.
    Readiness(oneshot::Sender<Readiness>),
    /// Everything about everything.
    Status(oneshot::Sender<StatusReport>),
}

/// Whether lines can be read and delivered now.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Readiness {
    /// They can.
    pub ready: bool,
    /// Why not; empty if they can.
    pub reason: String,
}

/// The answer of `/status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// The version that runs.
    pub version: String,
    /// Seconds since the start.
    pub uptime_seconds: f64,
    /// How files are read: `uring` or `blocking`.
    pub io: String,
    /// The brokers as configured.
    pub brokers: Vec<String>,
    /// As `/readyz` answers.
    pub readiness: Readiness,
    /// The collection items.
    pub items: Vec<ItemStatus>,
    /// Every file that is known.
    pub files: Vec<FileStatus>,
    /// What is remembered across restarts.
    pub state: StateStatus,
    /// The way out.
    pub kafka: KafkaStatus,
}

/// One collection item.
#[derive(Clone, Debug, Serialize)]
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
    /// Lines dropped since the start, for any reason.
    pub lines_dropped: u64,
    /// The last thing that went wrong with it.
    pub last_error: Option<String>,
}

/// One generation of one file.
#[derive(Clone, Debug, Serialize)]
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
    /// What is done with it now: `reading`, `at end`, `draining`, `waiting`, ...
    pub state: String,
    /// The last thing that went wrong with it.
    pub last_error: Option<String>,
}

/// The chain `durable <= acked <= produced <= framed <= read <= size`, in bytes from the file's start.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct StateStatus {
    /// Its folder.
    pub dir: String,
    /// How many generations are remembered.
    pub generations: u64,
    /// Whether the disk takes what it is given.
    pub healthy: bool,
    /// Time since everything acknowledged was durable.
    pub checkpoint_age_seconds: f64,
    /// The last thing that went wrong with it.
    pub last_error: Option<String>,
}

/// The Kafka clients.
#[derive(Clone, Debug, Serialize)]
pub struct KafkaStatus {
    /// How many producers share the partitions.
    pub producers: u64,
    /// Messages in their queues.
    pub queue_messages: u64,
    /// Lines read and not settled.
    pub in_flight_lines: u64,
    /// Bytes of those.
    pub in_flight_bytes: u64,
    /// Age of the oldest of them.
    pub oldest_unacked_seconds: f64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}
