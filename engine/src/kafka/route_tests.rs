use bytes::Bytes;
use logdrive_core::batch::{BatchId, Event};
use logdrive_core::position::Span;
use logdrive_core::source::{ItemId, SourceId, family_of};

use super::*;

fn route(partition: Partition) -> Route {
    Route { topic: "t".into(), partition, key: Key::Source, format: Format::Raw, headers: false }
}

fn origin(generation: u64, path: &str) -> Arc<Origin> {
    let generation = GenerationId(generation);
    Arc::new(Origin { item: ItemId(0), generation, path: path.into(), family: family_of(path) })
}

fn batch(origin: &Arc<Origin>, read_at_ms: i64) -> Batch {
    Batch {
        id: BatchId(0),
        source: SourceId { index: 0, epoch: 0 },
        origin: Arc::clone(origin),
        span: Span::default(),
        bytes: Bytes::new(),
        events: vec![Event { start: 0, len: 0 }],
        lines: 1,
        kept_bytes: 0,
        read_at: logdrive_core::position::Nanos(0),
        read_at_ms,
    }
}

#[test]
fn a_source_keeps_its_partition_when_the_topic_grows_and_rotated_names_share_one() {
    let (route, mut lanes) = (route(Partition::Source), Lanes::default());
    let first = origin(1, "/l/app.log");
    let mut place = |origin: &Arc<Origin>, partitions| {
        lanes.of(origin, &route, 0, "h").partition(Partition::Source, &batch(origin, 0), partitions).unwrap()
    };
    let before = place(&first, 5);
    assert_eq!(before, (family_of("/l/app.log") % 5) as i32);
    assert_eq!(place(&origin(2, "/l/app.log.1"), 5), before);
    for partitions in 6..100 {
        assert_eq!(place(&first, partitions), before);
    }
    // A partition that is gone cannot be kept.
    assert_eq!(place(&first, 1), 0);
}

#[test]
fn a_number_must_exist() {
    let origin = origin(1, "/l/a");
    let mut lanes = Lanes::default();
    let lane = lanes.of(&origin, &route(Partition::Number(3)), 0, "h");
    assert_eq!(lane.partition(Partition::Number(3), &batch(&origin, 0), 4), Some(3));
    assert_eq!(lane.partition(Partition::Number(3), &batch(&origin, 0), 3), None);
}

#[test]
fn a_key_chooses_as_kafka_does() {
    let origin = origin(1, "/l/a");
    let mut lanes = Lanes::default();
    let lane = lanes.of(&origin, &route(Partition::Key), 0, "host");
    assert_eq!(lane.key.as_deref(), Some(&b"host:/l/a"[..]));
    let expected = partition_of_key(b"host:/l/a", 12);
    assert_eq!(lane.partition(Partition::Key, &batch(&origin, 0), 12), Some(expected));
}

#[test]
fn sticky_partitions_take_turns_by_the_time_of_the_read() {
    let origin = origin(1, "/l/a");
    let rule = Partition::Sticky { slice: Duration::from_millis(100) };
    let mut lanes = Lanes::default();
    let lane = lanes.of(&origin, &route(rule), 0, "h");
    let turns = [-5, 0, 99, 100, 250, 399, 400];
    let got = turns.map(|at| lane.partition(rule, &batch(&origin, at), 3).unwrap());
    assert_eq!(got, [0, 0, 0, 1, 2, 0, 1]);
}

#[test]
fn lanes_of_gone_generations_are_dropped_and_a_new_route_renews_the_rest() {
    let mut lanes = Lanes::default();
    let kept = origin(0, "/l/a");
    lanes.of(&kept, &route(Partition::Source), 0, "h");
    for generation in 1..5000 {
        lanes.of(&origin(generation, "/l/b"), &route(Partition::Source), 0, "h");
    }
    assert!(lanes.by_generation.len() < 2100, "{}", lanes.by_generation.len());
    let without = Route { key: Key::None, ..route(Partition::Source) };
    assert!(lanes.of(&kept, &route(Partition::Source), 0, "h").key.is_some());
    assert!(lanes.of(&kept, &without, 1, "h").key.is_none());
}

#[test]
fn routes_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut Route)| {
        let mut route = route(Partition::Source);
        change(&mut route);
        route.check().is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|r| r.topic = String::new()));
    assert!(refused(|r| r.topic = "a b".into()));
    assert!(refused(|r| r.topic = "..".into()));
    assert!(refused(|r| r.topic = "x".repeat(250)));
    assert!(refused(|r| r.partition = Partition::Number(-1)));
    assert!(refused(|r| r.partition = Partition::Sticky { slice: Duration::ZERO }));
    assert!(refused(|r| (r.partition, r.key) = (Partition::Key, Key::None)));
    assert!(refused(|r| {
        r.format = Format::Ecs { item: "i".into(), fields: vec![("message".into(), "x".into())] };
    }));
}
