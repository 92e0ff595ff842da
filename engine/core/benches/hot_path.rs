//! The hot path of the core by the clock, with the physical limits beside it.
//!
//! Each group holds one size of line: what the agent does with the bytes, and under `limit` what any agent must do
//! at least: copy them once (`memcpy`) and look at each of them once (`memchr`). The distance is what there is
//! to win. Throughput is in lines and in bytes. `logdrive-bench` measures the whole agent; nothing here does.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use memchr::memchr_iter;
use workload::{Batching, Framing, SETTLED, Settling, Shape};

mod workload;

const LINE_BYTES: [usize; 4] = [50, 200, 1000, 8000];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for line_bytes in LINE_BYTES {
        frame(&mut criterion, line_bytes);
        batch(&mut criterion, line_bytes);
    }
    ledger(&mut criterion);
    criterion.final_summary();
}

fn throughput(lines: usize, text: &[u8]) -> Throughput {
    Throughput::ElementsAndBytes { elements: lines as u64, bytes: text.len() as u64 }
}

fn frame(criterion: &mut Criterion, line_bytes: usize) {
    let mut group = criterion.benchmark_group(format!("frame/{line_bytes}"));
    for (name, shape) in [("line", Shape::Lines), ("chunk", Shape::Chunks), ("multiline", Shape::Traces)] {
        let mut framing = Framing::new(shape, line_bytes);
        group.throughput(throughput(framing.lines, &framing.text));
        group.bench_function(name, |bencher| bencher.iter(|| framing.run()));
    }
    let Framing { text, .. } = Framing::new(Shape::Lines, line_bytes);
    let mut copy = vec![0; text.len()];
    group.bench_function("limit: memchr count", |bencher| {
        bencher.iter(|| memchr_iter(b'\n', black_box(&text)).count());
    });
    group.bench_function("limit: memcpy", |bencher| {
        bencher.iter(|| black_box(&mut copy).copy_from_slice(black_box(&text)));
    });
    group.finish();
}

fn batch(criterion: &mut Criterion, line_bytes: usize) {
    let mut group = criterion.benchmark_group(format!("batch/{line_bytes}"));
    let mut batching = Batching::new(Shape::Lines, line_bytes);
    group.throughput(throughput(batching.lines, &batching.text));
    group.bench_function("engine, read to null sink and back", |bencher| bencher.iter(|| batching.run()));
    let text = &batching.text;
    let mut copy = vec![0; text.len()];
    group.bench_function("limit: memcpy and memchr count", |bencher| {
        bencher.iter(|| {
            black_box(&mut copy).copy_from_slice(black_box(text));
            memchr_iter(b'\n', black_box(&copy)).count()
        });
    });
    group.finish();
}

fn ledger(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(SETTLED));
    for (name, in_order) in [("send, settle in order", true), ("send, settle last first", false)] {
        let mut settling = Settling::new(in_order);
        group.bench_function(name, |bencher| bencher.iter(|| settling.run()));
    }
    group.finish();
}
