//! A driver for the HTTP server to ask, with one file and a name in it that no page may take for its own.

use std::sync::Arc;
use std::time::Duration;

use logdrive::http::Ask;
use logdrive::status::{
    FileStatus, ItemStatus, KafkaStatus, PaceStatus, Positions, Question, Readiness, Reloads, StateStatus,
    StatusReport, Told,
};

pub(crate) fn report() -> StatusReport {
    let positions = Positions { durable: 1, acked: 2, produced: 3, framed: 4, read: 5, size: 6 };
    StatusReport {
        version: "1.2.3".to_owned(),
        pid: 4711,
        uptime_seconds: 1.5,
        io: "uring".to_owned(),
        brokers: vec!["localhost:9092".to_owned()],
        readiness: Readiness { ready: true, reason: String::new() },
        reloads: Reloads::default(),
        pace: PaceStatus::default(),
        items: vec![ItemStatus {
            name: "web".to_owned(),
            topic: "web_log".to_owned(),
            files: 1,
            lag_bytes: 4,
            lines_read: 3,
            lines_acked: 2,
            bytes_acked: 20,
            lines_per_second: 0.5,
            bytes_per_second: 5.0,
            lines_dropped: 0,
            last_error: None,
            paced_seconds: 0.0,
        }],
        files: vec![FileStatus {
            path: "/l/<script>\n".to_owned(),
            item: "web".to_owned(),
            generation: "00000000000000ff".to_owned(),
            positions,
            lag_bytes: 4,
            state: "reading".into(),
            last_error: None,
        }],
        errors: Vec::new(),
        state: StateStatus {
            dir: "/s".to_owned(),
            generations: 1,
            healthy: true,
            checkpoint_age_seconds: 0.5,
            last_error: None,
        },
        kafka: KafkaStatus {
            producers: 1,
            producers_running: 1,
            producer_rebuilds: 0,
            queue_messages: 0,
            partitions_stalled: 0,
            topics: Vec::new(),
            in_flight_lines: 1,
            in_flight_bytes: 10,
            oldest_unacked_seconds: 0.0,
            last_error: None,
            round_trips: Vec::new(),
        },
        etcd: None,
    }
}

fn told<T>(answer: T) -> Told<T> {
    Told { answer, took: Duration::ZERO }
}

/// A driver that answers at once, and is ready or not.
pub(crate) fn driver(reason: &'static str) -> Ask {
    Arc::new(move |question| match question {
        Question::Publish(reply) => {
            let _left = reply.send(told(()));
        }
        Question::Readiness(reply) => {
            let _left = reply.send(told(Readiness { ready: reason.is_empty(), reason: reason.to_owned() }));
        }
        Question::Status(reply) => {
            let _left = reply.send(told(report()));
        }
    })
}
