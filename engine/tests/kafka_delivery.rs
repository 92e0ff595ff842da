//! What arrives at the mock cluster: everything, once, in order, in the right shape.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kafka_support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_support::*;
use logdrive::kafka::{Acks, Compression, Format, InFlightBudget, Key, Partition};
use logdrive_core::batch::{Sink, TrySend};

/// Lines of all lengths, one in seven empty, that name their file and number.
fn lines(dice: &mut Dice, file: usize, from: usize, count: usize) -> Vec<String> {
    (from..from + count)
        .map(|number| match dice.roll(7) {
            0 => String::new(),
            _ => format!("{file} {number} {}", "log ".repeat(dice.roll(40))),
        })
        .collect()
}

#[test]
fn a_hundred_thousand_lines_of_five_files_arrive_once_and_in_order() {
    let cluster = mock("web", 3);
    let mut settings = settings(&cluster);
    settings.producers = 2;
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    let files: Vec<_> = (0..5).map(|n| file(n, &format!("/l/{n}/a.log"))).collect();
    let mut dice = Dice(7);
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); files.len()];
    let mut total = 0;
    while total < 100_000 {
        let at = dice.roll(files.len());
        let count = 1 + dice.roll(3000);
        let new = lines(&mut dice, at, expected[at].len(), count);
        let batch = bed.batch(&files[at], &new);
        bed.send(batch);
        expected[at].extend(new);
        total += count;
    }
    bed.settle();
    assert!(bed.all_acked());
    bed.assert_each_once();
    let counters = bed.sink.status().counters;
    assert_eq!((counters.messages_acked, counters.reports_unknown), (total as u64, 0));

    let partition = |at: usize| (files[at].family % 3) as i32;
    let mut got: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
    for record in consume(&cluster.bootstrap_servers(), "web", 3, total) {
        assert_eq!(record.key, None);
        got.entry(record.partition).or_default().push(record.value.expect("an empty line is no null"));
    }
    for (partition_at, records) in got {
        let here: Vec<usize> = (0..files.len()).filter(|at| partition(*at) == partition_at).collect();
        let empty = |all: &[Vec<u8>]| all.iter().filter(|line| line.is_empty()).count();
        let expected_empty: usize =
            here.iter().map(|at| expected[*at].iter().filter(|l| l.is_empty()).count()).sum();
        assert_eq!(empty(&records), expected_empty);
        for at in here {
            let prefix = format!("{at} ");
            let ours: Vec<_> = records.iter().filter(|r| r.starts_with(prefix.as_bytes())).collect();
            let want: Vec<_> = expected[at].iter().filter(|l| !l.is_empty()).map(|l| l.as_bytes()).collect();
            assert!(ours.iter().copied().eq(want.iter()), "file {at} is not in order");
        }
    }
}

#[test]
fn k21_a_full_queue_takes_a_part_and_the_rest_follows_in_order() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    // The queue holds 20 kB, a batch 100 kB.
    settings.message_bytes_max = 20_000;
    let budget = InFlightBudget { messages_max: 100_000, bytes_max: 1 };
    let mut bed = Bed::with(settings, budget, route("web"));
    let file = file(1, "/l/a");
    let mut expected = Vec::new();
    for batch in 0..20 {
        let lines: Vec<String> = (0..1000).map(|n| format!("{batch:03} {n:04} {}", "x".repeat(90))).collect();
        let batch = bed.batch(&file, &lines);
        bed.send(batch);
        expected.extend(lines);
    }
    bed.settle();
    assert!(bed.all_acked());
    bed.assert_each_once();
    assert!(bed.sink.status().counters.queue_full > 20);
    let got = consume(&cluster.bootstrap_servers(), "web", 1, expected.len());
    assert!(got.iter().map(|r| r.value.as_deref().unwrap()).eq(expected.iter().map(|l| l.as_bytes())));
}

#[test]
fn a_full_budget_hands_batches_back_and_a_larger_batch_goes_alone() {
    let cluster = mock("web", 1);
    cluster.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    let budget = InFlightBudget { messages_max: 10, bytes_max: 1 << 20 };
    let mut bed = Bed::with(settings(&cluster), budget, route("web"));
    let file = file(1, "/l/a");
    let first = bed.batch(&file, &["x"; 8]);
    bed.send(first);
    let second = bed.batch(&file, &["x"; 3]);
    let TrySend::Full(second) = bed.sink.try_send(second) else { panic!("11 messages of 10 were taken") };
    let third = bed.batch(&file, &["x"; 2]);
    assert!(matches!(bed.sink.try_send(third), TrySend::Sent));
    bed.send(second);
    let large = bed.batch(&file, &["x"; 50]);
    bed.send(large);
    assert_eq!(bed.sink.in_flight().messages, 50);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(stored(&cluster.bootstrap_servers(), "web", 0), 63);
}

#[test]
fn bytes_are_freed_only_after_their_delivery() {
    let cluster = mock("web", 1);
    let mut bed = Bed::on(&cluster, "web");
    let (file, freed) = (file(1, "/l/a"), Arc::new(AtomicUsize::new(0)));
    cluster.broker_round_trip_time(-1, Duration::from_millis(200)).unwrap();
    let mut expected = Vec::new();
    for n in 0..10_u8 {
        // Larger than what librdkafka writes into the request itself: it sends them from our memory.
        let lines = vec![vec![b'a' + n; 70_000]; 10];
        let (bytes, events) = joined(&lines);
        let batch = bed.batch_of(&file, watched(bytes, &freed), events);
        bed.send(batch);
        assert!(freed.load(Ordering::SeqCst) <= bed.deliveries.len());
        expected.extend(lines);
    }
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(freed.load(Ordering::SeqCst), 10);
    let got = consume(&cluster.bootstrap_servers(), "web", 1, 100);
    assert!(got.iter().map(|r| r.value.as_ref().unwrap()).eq(&expected));
}

#[test]
fn key_headers_time_and_documents_are_as_the_route_says() {
    let cluster = mock("web", 4);
    let mut route = route("web");
    (route.key, route.partition, route.headers) = (Key::Source, Partition::Key, true);
    let mut bed = Bed::with(settings(&cluster), BUDGET, route.clone());
    let file = file(0xabc, "/l/a.log");
    let batch = bed.batch(&file, &["one", "two"]);
    bed.send(batch);
    bed.settle();
    route.headers = false;
    route.format = Format::Ecs { item: "shop".into(), fields: vec![("team".into(), "a".into())] };
    bed.sink.define_route(logdrive_core::source::ItemId(0), route).unwrap();
    let batch = bed.batch(&file, &[&b"thr\xff"[..], b""]);
    bed.send(batch);
    bed.settle();
    assert!(bed.all_acked());
    assert_eq!(bed.sink.status().counters.messages_invalid_utf8, 1);

    let got = consume(&cluster.bootstrap_servers(), "web", 4, 4);
    assert!(got.iter().all(|r| r.key.as_deref() == Some(b"testhost:/l/a.log")));
    assert!(got.iter().all(|r| r.partition == got[0].partition));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (record, (value, offset)) in got.iter().zip([("one", "0"), ("two", "4")]) {
        assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(record.timestamp_ms, Some(1_767_323_045_678));
        let expected = [
            header("host", "testhost"),
            header("path", "/l/a.log"),
            header("generation", "0000000000000abc"),
            header("offset", offset),
        ];
        assert_eq!(record.headers, expected);
    }
    let document: serde_json::Value = serde_json::from_slice(got[2].value.as_ref().unwrap()).unwrap();
    assert_eq!(document["message"], "thr\u{fffd}");
    assert_eq!(document["log.offset"], 8);
    assert_eq!(document["team"], "a");
    assert!(got[2].headers.is_empty());
}

#[test]
fn every_codec_and_every_acks_delivers() {
    let cluster = mock("web", 1);
    let codecs = [
        Compression::None,
        Compression::Lz4 { level: None },
        Compression::Zstd { level: Some(1) },
        Compression::Snappy,
        Compression::Gzip { level: Some(1) },
    ];
    let all = codecs.into_iter().map(|codec| (codec, Acks::All));
    let mut expected = Vec::new();
    for (round, (compression, acks)) in all
        .chain([
            (Compression::Lz4 { level: None }, Acks::One),
            (Compression::Lz4 { level: None }, Acks::None),
        ])
        .enumerate()
    {
        let mut settings = settings(&cluster);
        (settings.compression, settings.acks) = (compression, acks);
        let mut bed = Bed::with(settings, BUDGET, route("web"));
        let lines: Vec<String> = (0..500).map(|n| format!("{round} {n} some text, some text")).collect();
        let batch = bed.batch(&file(1, "/l/a"), &lines);
        bed.send(batch);
        bed.settle();
        assert!(bed.all_acked(), "{compression:?} {acks:?}");
        expected.extend(lines);
    }
    let got = consume(&cluster.bootstrap_servers(), "web", 1, expected.len());
    assert!(got.iter().map(|r| r.value.as_deref().unwrap()).eq(expected.iter().map(|l| l.as_bytes())));
}

#[test]
fn k20_a_trickle_over_a_slow_line_stays_within_the_budget() {
    let cluster = mock("web", 1);
    cluster.broker_round_trip_time(-1, Duration::from_millis(500)).unwrap();
    let budget = InFlightBudget { messages_max: 50, bytes_max: 1 << 20 };
    let mut bed = Bed::with(settings(&cluster), budget, route("web"));
    let file = file(1, "/l/a");
    for n in 0..300 {
        let batch = bed.batch(&file, &[format!("{n}")]);
        bed.send(batch);
        assert!(bed.sink.in_flight().messages <= 50);
    }
    bed.settle();
    assert!(bed.all_acked());
    let got = consume(&cluster.bootstrap_servers(), "web", 1, 300);
    assert!(got.iter().enumerate().all(|(n, r)| r.value.as_deref() == Some(n.to_string().as_bytes())));
}

#[test]
fn k18_producers_are_replaced_under_load_when_what_they_have_is_acknowledged() {
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    settings.producers = 2;
    let mut bed = Bed::with(settings.clone(), BUDGET, route("web"));
    let file = file(1, "/l/a");
    let mut expected = Vec::new();
    for round in 0..20 {
        for batch in 0..10 {
            let new: Vec<String> = (0..50).map(|line| format!("{round} {batch} {line}")).collect();
            let batch = bed.batch(&file, &new);
            bed.send(batch);
            expected.extend(new);
        }
        if round % 5 == 4 {
            assert!(bed.sink.in_flight().batches > 0, "nothing is on its way: a replacement is too easy");
            bed.sink.renew(settings.clone()).unwrap();
            // No time passes for the sink meanwhile: the patience with what is on its way has no end.
            let deadline = Instant::now() + PATIENCE;
            while bed.sink.in_flight().batches > 0 {
                assert!(Instant::now() < deadline, "not settled: {:?}", bed.sink.status());
                bed.collect();
                std::thread::yield_now();
            }
        }
    }
    bed.settle();
    assert!(bed.all_acked(), "something was given up for a replacement");
    bed.assert_each_once();
    assert_eq!(bed.sink.status().counters.rebuilds, 0, "nothing was wrong with them");
    assert_eq!(stored(&cluster.bootstrap_servers(), "web", 0), expected.len() as i64);
    let got = consume(&cluster.bootstrap_servers(), "web", 1, expected.len());
    let got: Vec<String> =
        got.into_iter().map(|record| String::from_utf8(record.value.unwrap()).unwrap()).collect();
    assert_eq!(got, expected);
}
