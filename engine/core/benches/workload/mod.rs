//! The work of the hot path, prepared so that it can be done again and again: the benches measure it by the clock
//! (`hot_path`) and by instructions (`instructions`), and so speak of the same thing.
//!
//! Nothing here measures. Whatever does not belong to the hot path (making up the text, finding and opening the
//! file, the first growth of buffers) is done when a work is made, before its first `run`. The text is a log's, not
//! a row of equal letters, so that a compressor beside it has something real to do; it has no chance in it, so
//! that two runs do the same to the last instruction.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use logdrive_core::batch::{Batch, BatchId, Delivery, Event, Outcome, Sink, TrySend};
use logdrive_core::discover::{Entry, Listing};
use logdrive_core::engine::{Engine, Op, Opened};
use logdrive_core::frame::{CarriageReturn, End, EventUnit, Form, FramePolicy, Framed, Limit, LongLine};
use logdrive_core::ledger::{Ledger, Mark};
use logdrive_core::plan::{ItemPolicy, Limits, ReadFrom, UnlinkedHold};
use logdrive_core::position::{Nanos, Position, Span};
use logdrive_core::source::{FileId, Guard, ItemId};

/// Lines (batches, checkpoints) of every counted case. The harness divides by it: `CASE_LINES` in
/// `bench-harness/src/instructions.rs` is the same number.
pub const LINES: u64 = 20_000;

/// Name of the variable that makes a counted case do more: so many percent more rounds of the same work. It is
/// there to prove that the check catches it.
pub const EXTRA_PERCENT: &str = "LOGDRIVE_BENCH_EXTRA_PERCENT";

/// How often a work that settles `lines` in a round is done for one counted case.
pub fn rounds(lines: u64) -> u64 {
    let extra = std::env::var(EXTRA_PERCENT).map_or(0, |text| text.parse().expect("a number of percent"));
    LINES / lines * (100 + extra) / 100
}

/// Lines of about one read of the agent (256 KiB at most), such that a case is at least 20 whole rounds.
pub fn lines_of_a_read(line_bytes: usize) -> usize {
    match line_bytes {
        0..=250 => 1000,
        251..=1000 => 250,
        _ => 25,
    }
}

/// The shape of the text and of what is cut from it.
#[derive(Copy, Clone, Debug)]
pub enum Shape {
    /// A line is an event.
    Lines,
    /// Lines joined up to 64 KiB.
    Chunks,
    /// Stack traces of five lines are events.
    Traces,
}

/// Lines of exactly `line_bytes` bytes, newline included.
pub fn text(lines: usize, line_bytes: usize, shape: Shape) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines * line_bytes);
    for number in 0..lines {
        let end = text.len() + line_bytes - 1;
        let mixed = number.wrapping_mul(2_654_435_761) >> 7;
        let line = match shape {
            Shape::Traces if number % 5 > 0 => {
                format!("\tat org.example.shop.Basket{}.add(Basket.java:{}) ", mixed % 89, mixed % 997)
            }
            _ => format!(
                "2026-01-02T03:04:{:02}.{:06}Z INFO worker-{} GET /items/{} 200 in {} us ",
                number / 1000 % 60,
                number,
                mixed % 16,
                mixed % 100_003,
                mixed % 7919
            ),
        };
        while text.len() < end {
            let rest = end - text.len();
            text.extend_from_slice(&line.as_bytes()[..line.len().min(rest)]);
        }
        text.push(b'\n');
    }
    text
}

/// The policy of an item as the defaults have it, but for its shape.
pub fn policy(shape: Shape) -> FramePolicy {
    let start = || regex::bytes::Regex::new(r"^\d{4}-\d{2}-\d{2}").expect("a good pattern");
    FramePolicy {
        line_bytes_max: 1_000_000,
        on_long_line: LongLine::Truncate,
        carriage_return: CarriageReturn::Keep,
        multiline_start: matches!(shape, Shape::Traces).then(start),
        flush_after: None,
        unit: match shape {
            Shape::Chunks => EventUnit::Chunk { bytes_max: 64 * 1024 },
            Shape::Lines | Shape::Traces => EventUnit::Line,
        },
        include_lines: None,
        exclude_lines: None,
        form: Form::Plain,
    }
}

/// One read's bytes to events.
pub struct Framing {
    pub text: Vec<u8>,
    pub lines: usize,
    policy: FramePolicy,
    events: Vec<Event>,
}

impl Framing {
    pub fn new(shape: Shape, line_bytes: usize) -> Framing {
        let lines = lines_of_a_read(line_bytes);
        let text = text(lines, line_bytes, shape);
        let mut framing = Framing { text, lines, policy: policy(shape), events: Vec::new() };
        framing.run();
        framing
    }

    /// Frames the whole text.
    pub fn run(&mut self) -> Framed {
        self.events.clear();
        let text = black_box(&self.text[..]);
        let framed = self.policy.frame(text, false, End::Flush, Limit::NONE, &mut self.events);
        assert_eq!((framed.settled, framed.lines as usize), (self.text.len(), self.lines));
        black_box(framed)
    }
}

/// Takes every batch and has it acknowledged at once.
#[derive(Default)]
struct NullSink {
    pending: VecDeque<Batch>,
    lines: u64,
}

impl Sink for NullSink {
    fn try_send(&mut self, batch: Batch) -> TrySend {
        self.lines += u64::from(batch.lines);
        self.pending.push_back(batch);
        TrySend::Sent
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        self.pending.pop_front().map(|batch| Delivery { batch, outcome: Outcome::Acked })
    }
}

/// The engine between a file that grows and a sink that costs nothing: turn, read, frame, batch, ledger, checkpoint.
/// The bytes are copied into the engine's buffer, as the kernel does it; that one copy is in the figures.
pub struct Batching {
    pub text: Vec<u8>,
    pub lines: usize,
    engine: Engine,
    sink: NullSink,
    now: Nanos,
    /// The file's size; its content is the text over and over.
    size: u64,
}

/// The copy is made in pieces: for a long one glibc takes a string instruction, which callgrind counts once for each
/// byte, and the engine would vanish beside it.
const COPY_BYTES: usize = 1024;

const FILE: FileId = FileId { dev: 1, ino: 1, birth_ns: 1 };

impl Batching {
    pub fn new(shape: Shape, line_bytes: usize) -> Batching {
        let limits = Limits {
            chunks_bytes: 32 << 20,
            open_files: 10,
            sources: 10,
            rest: Duration::from_millis(3),
            reconcile: Duration::from_secs(3600),
        };
        let frame = policy(shape);
        let mut engine = Engine::new(limits, frame.buffer_bytes_min(), 1, Vec::new());
        let unlinked =
            UnlinkedHold { grace: Duration::from_secs(5), undrained_max: None, undrained_bytes_max: None };
        engine.add_item(ItemPolicy {
            name: 1,
            frame,
            read_from: ReadFrom::Beginning,
            seen_before: false,
            rate_limit: None,
            rate_limit_bytes: None,
            ignore_older: None,
            close_after: None,
            unlinked,
        });
        engine.add_root(Arc::from(&b"/l"[..]));
        let lines = lines_of_a_read(line_bytes);
        let text = text(lines, line_bytes, shape);
        let sink = NullSink::default();
        let mut batching = Batching { text, lines, engine, sink, now: Nanos(1), size: 0 };
        // Until sizes of reads, pools and lists have settled.
        (0..200).for_each(|_| batching.run());
        batching
    }

    /// The file grows by the text, and all of it is read, sent and acknowledged.
    pub fn run(&mut self) {
        self.size += self.text.len() as u64;
        let target = self.sink.lines + self.lines as u64;
        while self.sink.lines < target {
            self.now = Nanos(self.now.0 + 1_000_000);
            while let Some(op) = self.engine.poll_op(self.now) {
                self.operate(op);
            }
            if let Some(mut read) = self.engine.poll_read(self.now, |_| true) {
                let end = self.size.min(read.position.0 + read.want as u64);
                let mut at = read.position.0;
                while at < end {
                    let from = (at % self.text.len() as u64) as usize;
                    let bytes = (self.text.len() - from).min((end - at) as usize).min(COPY_BYTES);
                    read.buffer.extend_from_slice(&self.text[from..from + bytes]);
                    at += bytes as u64;
                }
                self.engine.handle_read(read, self.now, 0);
                self.engine.offer(&mut self.sink, self.now);
            }
            while let Some(delivery) = self.sink.poll_delivery() {
                self.engine.handle_delivery(delivery, self.now);
            }
        }
        assert_eq!(self.sink.lines, target, "the text ends with a line, and so does what is sent of it");
    }

    fn operate(&mut self, op: Op) {
        match op {
            Op::List { directory } => {
                let path = Arc::from(&b"/l/a"[..]);
                let entry =
                    Entry { path, item: Some(ItemId(0)), file: FILE, size: self.size, modified_ns: 0 };
                let listing = Listing { directory, entries: vec![entry], complete: true };
                self.engine.handle_listing(listing, Vec::new(), self.now, 0);
            }
            Op::Open { source, .. } => {
                let opened = Opened {
                    file: FILE,
                    size: self.size,
                    head: Vec::new(),
                    position: Position::ZERO,
                    before: Vec::new(),
                };
                self.engine.handle_opened(source, opened, self.now);
            }
            _ => {}
        }
    }
}

/// Batches of one source sent and acknowledged, eight of them under way at a time.
pub struct Settling {
    ledger: Ledger,
    next: u64,
    /// Whether acknowledgements come in the order of sending, or the other way round.
    in_order: bool,
}

/// Batches of one round.
pub const SETTLED: u64 = 1000;

const UNDER_WAY: u64 = 8;

impl Settling {
    pub fn new(in_order: bool) -> Settling {
        let mut settling = Settling { ledger: Ledger::new(Mark::default()), next: 0, in_order };
        settling.run();
        settling
    }

    pub fn run(&mut self) {
        for _ in 0..SETTLED / UNDER_WAY {
            let ids = self.next..self.next + UNDER_WAY;
            self.next = ids.end;
            for id in ids.clone() {
                let span = Span::of(self.ledger.produced(), 200_000);
                let end = Mark {
                    position: span.end,
                    guard: Guard { len: 32, hash: black_box(id) },
                    skipping: false,
                };
                self.ledger.sent(BatchId(id), span, end, Nanos(id));
            }
            for at in 0..UNDER_WAY {
                let id = if self.in_order { ids.start + at } else { ids.end - 1 - at };
                black_box(self.ledger.delivered(BatchId(id)));
            }
        }
        assert!(self.ledger.is_settled() && self.ledger.acked().position > Position::ZERO);
    }
}
