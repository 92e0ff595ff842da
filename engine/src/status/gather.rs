//! Finds out what the agent says about itself.
//!
//! The driver owns the truth, so it is asked, and answers between two of its turns. Nothing is
//! collected that nobody asked for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use logdrive_core::engine::SourceStatus;
use logdrive_core::position::Nanos;

use super::{
    FileStatus, ItemStatus, KafkaStatus, PaceStatus, PathError, Positions, Readiness, Reloads,
    RoundTripStatus, StateStatus, StatusReport, TopicState,
};
use crate::config::{ItemPlan, Origin, Plan};
use crate::driver::Driver;
use crate::etcd::{EtcdStatus, ItemView, View};
use crate::kafka::{KafkaSink, SinkStatus};
use crate::metrics::Metrics;
use crate::monitor::{AgentMetrics, Trouble};
use crate::rates::Rates;
use crate::wanted::Wanted;

/// A line in flight for longer than this is a sign that Kafka cannot be reached.
const UNACKED_MAX: Duration = Duration::from_secs(30);

/// What a report needs besides the driver.
#[derive(Copy, Clone, Debug)]
pub struct Facts<'a> {
    /// The version that runs.
    pub version: &'static str,
    /// How files are read.
    pub io: &'static str,
    /// As they were just published.
    pub metrics: &'a Metrics,
    /// What is to be collected, and who says so.
    pub wanted: &'a Wanted,
    /// What became of reloads.
    pub reloads: &'a Reloads,
    /// How fast items are shipped.
    pub rates: &'a Rates,
}

/// Whether lines can be read and delivered now.
#[must_use]
pub fn readiness<R, F, W>(driver: &Driver<R, KafkaSink, F, W>, sink: &SinkStatus, now: Nanos) -> Readiness {
    let unacked = driver.engine.backlog().oldest_read_at.map_or(Duration::ZERO, |at| now.since(at));
    judge(driver.engine.has_settled_in(), sink, unacked, driver.store().is_healthy())
}

fn judge(listed: bool, sink: &SinkStatus, unacked: Duration, state_healthy: bool) -> Readiness {
    let mut reasons = Vec::new();
    if !listed {
        reasons.push("not every directory has been listed yet".to_owned());
    }
    for topic in &sink.topics {
        match &topic.trouble {
            Some(trouble) => reasons.push(format!("topic {}: {trouble}", topic.name)),
            None if topic.partitions == 0 => {
                reasons.push(format!("topic {}: no broker has told about it yet", topic.name));
            }
            None => {}
        }
    }
    if unacked > UNACKED_MAX {
        let seconds = unacked.as_secs();
        reasons.push(format!("a line has waited {seconds} s for its acknowledgement by kafka"));
    }
    if !state_healthy {
        reasons.push("the state cannot be written".to_owned());
    }
    Readiness { ready: reasons.is_empty(), reason: reasons.join("; ") }
}

/// Everything about everything. Looks at each file; allocates.
#[must_use]
pub fn report<R, F, W>(
    driver: &Driver<R, KafkaSink, F, W>,
    sink: &SinkStatus,
    plan: Option<&Plan>,
    facts: Facts<'_>,
    now: Nanos,
) -> StatusReport {
    let (metrics, notes, store) = (facts.metrics, driver.metrics(), driver.store());
    let sources = driver.engine.statuses();
    let brokers =
        plan.map_or("", |plan| &plan.kafka.brokers).split(',').map(|broker| broker.trim().to_owned());
    StatusReport {
        version: facts.version.to_owned(),
        pid: std::process::id(),
        uptime_seconds: Duration::from_nanos(now.0).as_secs_f64(),
        io: facts.io.to_owned(),
        brokers: brokers.collect(),
        readiness: readiness(driver, sink, now),
        reloads: facts.reloads.clone(),
        pace: pace(driver, plan),
        items: items(driver, sink, plan, &sources, facts.rates, now),
        files: sources.iter().map(|source| file(source, notes)).collect(),
        errors: notes.troubles().iter().map(|trouble| path_error(trouble, now)).collect(),
        state: StateStatus {
            dir: plan.map_or_else(String::new, |plan| plan.state.dir.display().to_string()),
            generations: store.slots_in_use(),
            healthy: store.is_healthy(),
            checkpoint_age_seconds: driver.checkpoint_age(now).as_secs_f64(),
            last_error: notes.state_error().map(str::to_owned),
        },
        kafka: KafkaStatus {
            producers: plan.map_or(0, |plan| plan.kafka.producers),
            producers_running: sink.producers_running,
            producer_rebuilds: sink.counters.rebuilds,
            queue_messages: sink.queue_messages,
            partitions_stalled: sink.partitions_stalled,
            topics: sink.topics.iter().map(topic).collect(),
            in_flight_lines: metrics.in_flight_lines.get().cast_unsigned(),
            in_flight_bytes: metrics.in_flight_bytes.get().cast_unsigned(),
            oldest_unacked_seconds: metrics.oldest_unacked_seconds.get(),
            last_error: sink.last_error.clone(),
            round_trips: sink.round_trips.iter().map(round_trip).collect(),
        },
        etcd: facts.wanted.look_at_etcd(EtcdStatus::clone),
    }
}

/// How the agent is, as etcd is told. `revision` is that of the items in force.
#[must_use]
pub fn view<R, F, W>(
    driver: &Driver<R, KafkaSink, F, W>,
    plan: Option<&Plan>,
    rates: &Rates,
    revision: u64,
    now: Nanos,
) -> View {
    let sink = driver.sink.status();
    let Readiness { ready, reason } = readiness(driver, &sink, now);
    let of_etcd = |plan: &Plan| {
        let items = plan.items.iter().filter(|item| item.origin == Origin::Etcd);
        items.map(|item| item.name.clone()).collect::<std::collections::HashSet<_>>()
    };
    let of_etcd = plan.map(of_etcd).unwrap_or_default();
    let items = items(driver, &sink, plan, &driver.engine.statuses(), rates, now);
    let items = items.into_iter().map(|item| ItemView {
        from_etcd: of_etcd.contains(&item.name),
        name: item.name,
        topic: item.topic,
        files: item.files,
        lag_bytes: item.lag_bytes,
        lines_acked: item.lines_acked,
        bytes_acked: item.bytes_acked,
        error: item.last_error,
    });
    View { at: Instant::now(), revision, ready, reason, items: items.collect() }
}

fn pace<R, F, W>(driver: &Driver<R, KafkaSink, F, W>, plan: Option<&Plan>) -> PaceStatus {
    let counts = driver.engine.counts();
    let limits = plan.map(|plan| plan.limits);
    PaceStatus {
        cpu_seconds: crate::cpu::used().as_secs_f64(),
        cpu_percent: limits.and_then(|limits| limits.cpu_percent).map(NonZeroU32::get),
        cpu_paced_seconds: counts.held.as_secs_f64(),
        bytes_per_second: limits.and_then(|limits| limits.bytes_per_second),
        bytes_paced_seconds: counts.paced.as_secs_f64(),
    }
}

/// The items that are configured. Looks once at each file and at each item.
fn items<R, F, W>(
    driver: &Driver<R, KafkaSink, F, W>,
    sink: &SinkStatus,
    plan: Option<&Plan>,
    sources: &[SourceStatus],
    rates: &Rates,
    now: Nanos,
) -> Vec<ItemStatus> {
    let notes = driver.metrics();
    let plans: HashMap<&str, &ItemPlan> =
        plan.into_iter().flat_map(|plan| &plan.items).map(|item| (&item.name[..], item)).collect();
    let waiting = sink.topics.iter().filter_map(|topic| Some((&topic.name[..], topic.trouble.as_ref()?)));
    let waiting: HashMap<&str, &String> = waiting.collect();
    let mut items: Vec<Option<ItemStatus>> = (0..driver.engine.item_count() as u32)
        .map(|id| {
            let id = logdrive_core::source::ItemId(id);
            let item = plans.get(notes.item_name(id))?;
            let counts = driver.engine.item_counts(id);
            let dropped = [counts.filtered, counts.long, counts.refused, counts.vanished];
            let rate = rates.of(id.0 as usize, counts.acked, now);
            Some(ItemStatus {
                name: item.name.clone(),
                topic: item.topic.clone(),
                files: 0,
                lag_bytes: 0,
                lines_read: counts.read.lines,
                lines_acked: counts.acked.lines,
                bytes_acked: counts.acked.bytes,
                lines_per_second: rate.lines,
                bytes_per_second: rate.bytes,
                lines_dropped: dropped.iter().map(|amount| amount.lines).sum(),
                last_error: waiting.get(&item.topic[..]).map(|why| format!("topic {}: {why}", item.topic)),
                paced_seconds: counts.paced.as_secs_f64(),
            })
        })
        .collect();
    for source in sources {
        let Some(Some(item)) = items.get_mut(source.origin.item.0 as usize) else { continue };
        item.files += 1;
        item.lag_bytes += lag_bytes(source);
        if item.last_error.is_none() {
            item.last_error = trouble_of(source, notes).map(|trouble| trouble.text.clone());
        }
    }
    items.into_iter().flatten().collect()
}

fn trouble_of<'a>(source: &SourceStatus, notes: &'a AgentMetrics) -> Option<&'a Trouble> {
    let path = source.path.as_deref().unwrap_or(source.origin.path.as_bytes());
    if source.failures > 0 { notes.trouble(Path::new(OsStr::from_bytes(path))) } else { None }
}

fn lag_bytes(source: &SourceStatus) -> u64 {
    let [_, acked, _, _, _, size] = source.positions;
    size.since(acked)
}

fn file(source: &SourceStatus, notes: &AgentMetrics) -> FileStatus {
    let path = source.path.as_deref().unwrap_or(source.origin.path.as_bytes());
    let [durable, acked, produced, framed, read, size] = source.positions.map(|position| position.0);
    FileStatus {
        path: String::from_utf8_lossy(path).into_owned(),
        item: notes.item_name(source.origin.item).to_owned(),
        generation: format!("{:?}", source.origin.generation),
        positions: Positions { durable, acked, produced, framed, read, size },
        lag_bytes: lag_bytes(source),
        state: Cow::Borrowed(source.state),
        last_error: trouble_of(source, notes).map(|trouble| trouble.text.clone()),
    }
}

fn path_error(trouble: &Trouble, now: Nanos) -> PathError {
    PathError {
        path: trouble.path.to_string_lossy().into_owned(),
        error: trouble.text.clone(),
        age_seconds: now.since(trouble.at).as_secs_f64(),
    }
}

fn topic(topic: &crate::kafka::TopicStatus) -> TopicState {
    TopicState { name: topic.name.clone(), partitions: topic.partitions, trouble: topic.trouble.clone() }
}

fn round_trip(of: &crate::kafka::RoundTrip) -> RoundTripStatus {
    let crate::kafka::RoundTrip { broker, p50_seconds, p99_seconds } = of.clone();
    RoundTripStatus { broker, p50_seconds, p99_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::TopicStatus;

    fn sink(topics: &[(&str, i32, Option<&str>)]) -> SinkStatus {
        let topic = |&(name, partitions, trouble): &(&str, i32, Option<&str>)| TopicStatus {
            name: name.to_owned(),
            partitions,
            trouble: trouble.map(str::to_owned),
        };
        SinkStatus { topics: topics.iter().map(topic).collect(), ..SinkStatus::default() }
    }

    #[test]
    fn ready_is_listed_and_topics_known_and_state_sound() {
        let good = sink(&[("web", 4, None)]);
        assert_eq!(judge(true, &good, UNACKED_MAX, true), Readiness { ready: true, reason: String::new() });
    }

    #[test]
    fn every_reason_is_told() {
        let bad = sink(&[("web", 4, None), ("db", 0, Some("does not exist")), ("new", 0, None)]);
        let expected = "not every directory has been listed yet; topic db: does not exist; topic new: no broker \
                        has told about it yet; a line has waited 31 s for its acknowledgement by kafka; the state cannot be written";
        assert_eq!(
            judge(false, &bad, Duration::from_secs(31), false),
            Readiness { ready: false, reason: expected.to_owned() }
        );
    }
}
