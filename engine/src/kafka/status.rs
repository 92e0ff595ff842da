//! What the sink can tell about itself: plain numbers and texts, for metrics and the status page.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::slots::Refusal;

/// Counters since the start.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct SinkCounters {
    /// Batches that Kafka acknowledged whole.
    pub batches_acked: u64,
    /// Their records.
    pub messages_acked: u64,
    /// Batches of which Kafka refuses at least one record for good.
    pub batches_refused: u64,
    /// Batches of which at least one record is not known to be stored.
    pub batches_lost: u64,
    /// Records that were refused before they were sent, because they are larger than allowed here.
    pub messages_too_large: u64,
    /// Records that were refused for good, each once, by [`Refusal`].
    pub refused: [u64; Refusal::ALL.len()],
    /// Records that were refused for their size and acknowledged when they were cut.
    pub messages_cut: u64,
    /// Records that were refused and are kept as dead letters.
    pub dead_letters: u64,
    /// How often librdkafka's queue had no room.
    pub queue_full: u64,
    /// How often a batch was handed back.
    pub handed_back: u64,
    /// Events that were not UTF-8 and were sent in ECS documents with replacements.
    pub messages_invalid_utf8: u64,
    /// How often a producer instance was rebuilt.
    pub rebuilds: u64,
    /// Topics that were created.
    pub topics_created: u64,
    /// Delivery reports that belong to no batch; anything but 0 is a bug.
    pub reports_unknown: u64,
}

/// What is on its way.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct InFlight {
    /// Batches taken and not yet given back.
    pub batches: usize,
    /// Their records.
    pub messages: usize,
}

/// One topic as the sink sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// How many partitions it has; 0 as long as that is not known and its batches wait.
    pub partitions: i32,
    /// Why its batches wait, if they do.
    pub trouble: Option<String>,
}

/// Round trips to one broker, from librdkafka's statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundTrip {
    /// The broker as librdkafka names it.
    pub broker: String,
    /// Median in seconds over the last interval.
    pub p50_seconds: f64,
    /// 99th percentile in seconds.
    pub p99_seconds: f64,
}

/// Everything at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SinkStatus {
    /// Counters since the start.
    pub counters: SinkCounters,
    /// What is on its way.
    pub in_flight: InFlight,
    /// Refused records that wait for their second way, or are on it to a file.
    pub letters_waiting: usize,
    /// Messages, requests and events inside librdkafka.
    pub queue_messages: usize,
    /// Producer instances that work, of [`super::KafkaSettings::producers`].
    pub producers_running: usize,
    /// Partitions whose batches have made no progress for longer than half the stall timeout.
    pub partitions_stalled: usize,
    /// The topics of all routes.
    pub topics: Vec<TopicStatus>,
    /// The last error that librdkafka told, in its words.
    pub last_error: Option<String>,
    /// Round trips, when statistics are on.
    pub round_trips: Vec<RoundTrip>,
}

/// The few of librdkafka's statistics that we look at.
#[derive(Deserialize)]
struct Statistics {
    brokers: BTreeMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    /// -1 for an address of the configuration that is not a broker of the cluster.
    nodeid: i64,
    rtt: Window,
}

/// In microseconds.
#[derive(Deserialize)]
struct Window {
    p50: f64,
    p99: f64,
    cnt: u64,
}

/// Round trips to the brokers that answered anything in the interval; `None` if this is not what
/// librdkafka renders.
pub(super) fn round_trips(json: &str) -> Option<Vec<RoundTrip>> {
    let statistics: Statistics = serde_json::from_str(json).ok()?;
    let answered = statistics.brokers.into_iter().filter(|(_, b)| b.nodeid >= 0 && b.rtt.cnt > 0);
    let seconds = |microseconds: f64| microseconds / 1e6;
    let all = answered.map(|(broker, b)| RoundTrip {
        broker,
        p50_seconds: seconds(b.rtt.p50),
        p99_seconds: seconds(b.rtt.p99),
    });
    Some(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_read_from_statistics() {
        let json = r#"{"name":"x","brokers":{
            "b:1/0":{"nodeid":0,"rtt":{"p50":1500,"p99":9000,"cnt":3},"more":[]},
            "b:1/bootstrap":{"nodeid":-1,"rtt":{"p50":0,"p99":0,"cnt":1}},
            "b:2/1":{"nodeid":1,"rtt":{"p50":0,"p99":0,"cnt":0}}}}"#;
        let expected = RoundTrip { broker: "b:1/0".into(), p50_seconds: 0.0015, p99_seconds: 0.009 };
        assert_eq!(round_trips(json), Some(vec![expected]));
        assert_eq!(round_trips("{"), None);
    }
}
