//! The hot path around the core by the clock: checkpoints, and lines into librdkafka.
//!
//! The sink is the agent's own, on a cluster that librdkafka plays inside this process, so no network and no disk
//! take part. `hand over` is the time that the agent's thread spends in `try_send`, which is `rd_kafka_produce_batch`
//! and the books around it; `there and back` is the way to the last acknowledgement with all of librdkafka's
//! threads and its mock broker in it, on however many cores there are. Beside them stand the limits: lz4 alone
//! over the same bytes with the compressor that librdkafka brings, in its blocks of 64 KiB, and one copy of them.

use std::ffi::{c_char, c_int};
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use kafka_support::{Bed, file, mock};
use logdrive_core::batch::{Batch, BatchId, Event, Sink, TrySend};
use saving::{SAVED, Saving};
use workload::{Shape, lines_of_a_read, text};

#[path = "../tests/kafka_support/mod.rs"]
mod kafka_support;
mod saving;
#[path = "../core/benches/workload/mod.rs"]
mod workload;

unsafe extern "C" {
    /// As in lz4.h of librdkafka's copy.
    fn LZ4_compress_default(
        source: *const c_char,
        target: *mut c_char,
        source_len: c_int,
        room: c_int,
    ) -> c_int;
}

/// What librdkafka's frames hold.
const LZ4_BLOCK_BYTES: usize = 64 * 1024;

/// Batches in circulation: enough to keep librdkafka busy, well within its budget of messages.
const BATCHES: usize = 40;

fn main() {
    // Before the bed of the tests installs its own: it would print the life of the mock cluster.
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR).init();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    checkpoint(&mut criterion);
    for line_bytes in [50, 200, 1000, 8000] {
        produce(&mut criterion, line_bytes);
    }
    criterion.final_summary();
}

fn checkpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    let mut saving = Saving::new();
    group.throughput(Throughput::Elements(SAVED));
    group.bench_function("put, without the kernel", |bencher| bencher.iter(|| saving.run()));
    group.finish();
}

fn produce(criterion: &mut Criterion, line_bytes: usize) {
    let lines = lines_of_a_read(line_bytes);
    let text = Bytes::from(text(lines, line_bytes, Shape::Lines));
    let mut group = criterion.benchmark_group(format!("produce/{line_bytes}"));
    group.throughput(Throughput::ElementsAndBytes { elements: lines as u64, bytes: text.len() as u64 });

    let cluster = mock("bench", 1);
    let mut circle = Circle::new(Bed::on(&cluster, "bench"), &text, lines, line_bytes);
    group.bench_function("hand over", |bencher| {
        bencher.iter_custom(|rounds| circle.send(rounds).handing_over)
    });
    group.bench_function("there and back", |bencher| bencher.iter_custom(|rounds| circle.send(rounds).all));

    let mut target = vec![0; 2 * LZ4_BLOCK_BYTES];
    group.bench_function("limit: lz4", |bencher| {
        bencher.iter(|| {
            black_box(&text).chunks(LZ4_BLOCK_BYTES).map(|block| lz4(block, &mut target)).sum::<usize>()
        });
    });
    let mut copy = vec![0; text.len()];
    group.bench_function("limit: memcpy", |bencher| {
        bencher.iter(|| black_box(&mut copy).copy_from_slice(black_box(&text)));
    });
    group.finish();
}

/// Compresses one block; the bytes that came of it.
fn lz4(block: &[u8], target: &mut [u8]) -> usize {
    let (len, room) = (block.len() as c_int, target.len() as c_int);
    // SAFETY: both places are valid for the lengths given with them, and do not overlap.
    let written =
        unsafe { LZ4_compress_default(block.as_ptr().cast(), target.as_mut_ptr().cast(), len, room) };
    assert!(written > 0, "the room is twice the block");
    written as usize
}

/// The same batches over and over.
struct Circle {
    bed: Bed,
    spare: Vec<Batch>,
    next: u64,
}

struct Took {
    handing_over: Duration,
    all: Duration,
}

impl Circle {
    fn new(mut bed: Bed, text: &Bytes, lines: usize, line_bytes: usize) -> Circle {
        let source = file(1, "/l/a");
        let len = line_bytes as u32 - 1;
        let events = |_| {
            (0..lines).map(|line| Event { start: (line * line_bytes) as u32, len }).collect::<Vec<Event>>()
        };
        let spare =
            (0..BATCHES).map(events).map(|events| bed.batch_of(&source, text.clone(), events)).collect();
        let mut circle = Circle { bed, spare, next: 1_000_000 };
        // The topic becomes known, and every buffer gets its size.
        circle.send(2 * BATCHES as u64);
        circle
    }

    /// Sends so many batches and waits for all of them.
    fn send(&mut self, batches: u64) -> Took {
        let start = Instant::now();
        let mut handing_over = Duration::ZERO;
        let (mut sent, mut back) = (0, 0);
        while back < batches {
            while sent < batches
                && let Some(mut batch) = self.spare.pop()
            {
                self.next += 1;
                batch.id = BatchId(self.next);
                let before = Instant::now();
                let answer = self.bed.sink.try_send(batch);
                match answer {
                    TrySend::Sent => {
                        handing_over += before.elapsed();
                        sent += 1;
                    }
                    TrySend::Full(batch) | TrySend::Unavailable(batch) | TrySend::Blocked(batch) => {
                        self.spare.push(batch);
                        break;
                    }
                }
            }
            match self.bed.sink.poll_delivery() {
                Some(delivery) => {
                    self.spare.push(delivery.batch);
                    back += 1;
                }
                None => self.bed.wait(),
            }
        }
        Took { handing_over, all: start.elapsed() }
    }
}
