//! The steady state allocates nothing: neither for a line nor for a batch (librdkafka's own memory,
//! which is not Rust's, aside).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../core/tests/counting/mod.rs"]
mod counting;
mod kafka_support;

use std::sync::atomic::Ordering;

use counting::ALLOCATIONS;
use kafka_support::*;
use logdrive::kafka::{Format, Key, Route};
use logdrive_core::batch::{Batch, BatchId, Outcome, Sink, TrySend};

/// Sends the same batches round and round, `count` of them.
fn circulate(bed: &mut Bed, pool: &mut Vec<Batch>, ids: &mut u64, count: usize) {
    let (mut sent, mut back) = (0, 0);
    while back < count {
        while sent < count
            && let Some(mut batch) = pool.pop()
        {
            *ids += 1;
            batch.id = BatchId(*ids);
            match bed.sink.try_send(batch) {
                TrySend::Sent => sent += 1,
                TrySend::Full(batch) | TrySend::Unavailable(batch) | TrySend::Blocked(batch) => {
                    pool.push(batch);
                    break;
                }
            }
        }
        match bed.sink.poll_delivery() {
            Some(delivery) => {
                assert_eq!(delivery.outcome, Outcome::Acked);
                pool.push(delivery.batch);
                back += 1;
            }
            None => bed.wait(),
        }
    }
}

#[test]
fn the_steady_state_allocates_nothing() {
    let cluster = mock("web", 2);
    let plain = Route { key: Key::Source, ..route("web") };
    let documents = Route { format: Format::Ecs { item: "i".into(), fields: vec![] }, ..plain.clone() };
    let with_headers = Route { headers: true, ..plain.clone() };
    for route in [plain, documents, with_headers] {
        let mut bed = Bed::with(settings(&cluster), BUDGET, route);
        let files = [file(1, "/l/a"), file(2, "/l/b"), file(3, "/l/c")];
        let lines: Vec<String> = (0..500).map(|n| format!("{n} some text")).collect();
        let mut pool: Vec<Batch> = (0..30).map(|n| bed.batch(&files[n % 3], &lines)).collect();
        let mut ids = 100;
        // Until every buffer has its size, whatever the order in which batches return.
        let mut quiet = 0;
        let mut rounds = 0;
        while quiet < 3 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            circulate(&mut bed, &mut pool, &mut ids, 300);
            let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
            quiet = if allocated == 0 { quiet + 1 } else { 0 };
            rounds += 1;
            assert!(
                rounds < 30,
                "{allocated} allocations for 300 batches of 500 lines, in the {rounds}th round"
            );
        }
    }
}
