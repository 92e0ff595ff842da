//! What a line costs beside its write: its due time, its file, its text, and reading it again.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logdrive_load::format::Format;
use logdrive_load::payload::Payloads;
use logdrive_load::schedule::Schedule;
use logdrive_load::stamp::{Stamp, decode};

const LINES: u64 = 2048;
const START_NS: u64 = 1_795_379_466_000_000_000;

fn pool(format: Format) -> Payloads {
    let line_bytes = "250".parse().expect("a length");
    Payloads::new(1, format, line_bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// A tick's worth of records, 500 ns apart.
fn write(pool: &Payloads, format: Format, text: &mut Vec<u8>) {
    text.clear();
    let mut face = format.face();
    for sequence in 0..LINES {
        let stamp =
            Stamp { run: 7, writer: 3, generation: 0, sequence, intended_ns: START_NS + sequence * 500 };
        pool.of(3, sequence).append(&stamp, &mut face, text);
    }
}

fn codec(criterion: &mut Criterion) {
    for format in Format::ALL.into_iter().filter(|format| format.bytes_min() <= 250) {
        let (pool, mut text) = (pool(format), Vec::new());
        let mut group = criterion.benchmark_group("encode");
        group.throughput(Throughput::Elements(LINES));
        group.bench_function(BenchmarkId::from_parameter(format), |bench| {
            bench.iter(|| write(black_box(&pool), format, &mut text));
        });
        group.finish();
        let mut group = criterion.benchmark_group("decode");
        group.throughput(Throughput::Elements(LINES));
        group.bench_function(BenchmarkId::from_parameter(format), |bench| {
            bench.iter(|| {
                let (records, mut whole) = (text.chunks_exact(251), 0);
                for record in records {
                    whole += u64::from(decode(black_box(&record[..250])).is_ok());
                }
                assert_eq!(whole, LINES);
            });
        });
        group.finish();
    }
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(LINES));
    for shape in ["2000000", "ramp:1000..3000000/1h", "bursts:1000,50000x200ms/5s", "poisson:2000000"] {
        let schedule = Schedule::parse(shape).unwrap_or_else(|error| panic!("{error}"));
        let (mut arrivals, mut due) = (schedule.arrivals(1, START_NS), Vec::new());
        group.bench_function(BenchmarkId::from_parameter(shape), |bench| {
            bench.iter(|| {
                due.clear();
                arrivals.take_due(u64::MAX - 1, LINES as usize, &mut due);
                black_box(&due);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec, schedule);
criterion_main!(benches);
