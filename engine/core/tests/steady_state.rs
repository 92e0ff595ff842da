//! In the steady state the engine allocates nothing, per line or per batch, and copies nothing: batches
//! point into the buffers that were read, and only the ends of unfinished lines are fetched twice.

#![allow(missing_docs)]

mod counting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use counting::ALLOCATIONS;
use logdrive_core::batch::{Batch, Delivery, Outcome, Sink, TrySend};
use logdrive_core::discover::{Entry, Listing};
use logdrive_core::engine::{Engine, Op, Opened};
use logdrive_core::frame::{CarriageReturn, EventUnit, Form, FramePolicy, LongLine};
use logdrive_core::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
use logdrive_core::position::{Nanos, Position};
use logdrive_core::source::{FileId, ItemId};

/// Takes everything and gives it back a few batches later, as Kafka does.
#[derive(Default)]
struct Later {
    pending: VecDeque<Batch>,
    lines: u64,
    /// Where the last buffer lay, and how often a batch did not point into it.
    read: std::ops::Range<usize>,
    copied: u64,
}

impl Sink for Later {
    fn try_send(&mut self, batch: Batch) -> TrySend {
        let at = batch.bytes.as_ptr() as usize;
        self.copied += u64::from(!(self.read.contains(&at)));
        self.lines += u64::from(batch.lines);
        self.pending.push_back(batch);
        TrySend::Sent
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        if self.pending.len() < 8 {
            return None;
        }
        self.pending.pop_front().map(|batch| Delivery { batch, outcome: Outcome::Acked })
    }
}

fn engine() -> Engine {
    let frame = FramePolicy {
        line_bytes_max: 1_000_000,
        on_long_line: LongLine::Truncate,
        carriage_return: CarriageReturn::Keep,
        multiline_start: None,
        flush_after: None,
        unit: EventUnit::Line,
        include_lines: None,
        exclude_lines: None,
        form: Form::Plain,
    };
    let limits = Limits {
        chunks_bytes: 32 << 20,
        open_files: 10,
        sources: 10,
        rest: Duration::from_millis(3),
        reconcile: Duration::from_secs(3600),
    };
    let mut engine = Engine::new(limits, frame.buffer_bytes_min(), 1, Vec::new());
    engine.add_item(ItemPolicy {
        name: 1,
        frame,
        read_from: ReadFrom::Beginning,
        seen_before: false,
        rate_limit: None,
        rate_limit_bytes: None,
        ignore_older: None,
        close_after: None,
        unlinked: UnlinkedHold {
            grace: Duration::from_secs(5),
            undrained_max: None,
            undrained_bytes_max: None,
        },
    });
    engine.add_root(Arc::from(&b"/l"[..]));
    engine
}

/// The byte of an endless file of 200-byte lines at a position.
fn fill(buffer: &mut bytes::BytesMut, position: u64, want: usize) {
    for at in position..position + want as u64 {
        buffer.extend_from_slice(if at % 200 == 199 { b"\n" } else { b"x" });
    }
}

fn operate(engine: &mut Engine, op: Op, now: Nanos) {
    let file = FileId { dev: 1, ino: 1, birth_ns: 1 };
    match op {
        Op::List { directory } => {
            let path = Arc::from(&b"/l/a"[..]);
            let entry = Entry { path, item: Some(ItemId(0)), file, size: 1 << 40, modified_ns: 0 };
            let listing = Listing { directory, entries: vec![entry], complete: true };
            engine.handle_listing(listing, Vec::new(), now, 0);
        }
        Op::Open { source, .. } => {
            let opened = Opened {
                file,
                size: 1 << 40,
                head: Vec::new(),
                position: Position::ZERO,
                before: Vec::new(),
            };
            engine.handle_opened(source, opened, now);
        }
        _ => {}
    }
}

#[test]
fn nothing_is_allocated_per_line_or_batch_and_nothing_is_copied() {
    let mut engine = engine();
    let mut sink = Later::default();
    let mut now = Nanos(1);
    let mut measured = (0, 0, 0);
    for round in 0..3000 {
        if round == 1000 {
            measured = (ALLOCATIONS.load(Ordering::Relaxed), sink.lines, engine.counts().reread_bytes);
        }
        now = Nanos(now.0 + 1_000_000);
        while let Some(op) = engine.poll_op(now) {
            operate(&mut engine, op, now);
        }
        while let Some(delivery) = sink.poll_delivery() {
            engine.handle_delivery(delivery, now);
        }
        let Some(mut read) = engine.poll_read(now, |_| true) else { continue };
        fill(&mut read.buffer, read.position.0, read.want);
        let at = read.buffer.as_ptr() as usize;
        sink.read = at..at + read.buffer.len();
        engine.handle_read(read, now, 0);
        engine.offer(&mut sink, now);
    }
    let (allocations, lines, reread) = measured;
    let lines = sink.lines - lines;
    assert!(lines > 1_000_000, "{lines} lines");
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - allocations, 0, "allocations for {lines} lines");
    assert_eq!(sink.copied, 0, "batches that do not point into what was read");
    let reread = engine.counts().reread_bytes - reread;
    assert!(reread < 2000 * 200, "{reread} bytes fetched again: at most one unfinished line a read");
}
