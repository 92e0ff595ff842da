//! Any bytes, read in any pieces under any policy, against the naive splitter of the unit tests.
//!
//! Input: what chooses the policy (two bytes), `line_bytes_max`, the size of a chunk; eight bytes that say
//! how the file grows and is read, again and again; the file.

use std::sync::LazyLock;

use logdrive_core::batch::Event;
use logdrive_core::frame::*;
use regex::bytes::{Regex, RegexSet};

use self::reference::{Reader, Reference, consumer_lines, reference_from};

#[allow(clippy::unwrap_used, reason = "shared with unit tests")]
#[allow(dead_code, reason = "the unit tests use the rest")]
#[path = "../../core/src/frame/reference.rs"]
mod reference;

/// Has the shape of [`FramePolicy::frame`].
pub type Framer = fn(&FramePolicy, &[u8], bool, End, Limit, &mut Vec<Event>) -> Framed;

static STARTS: LazyLock<[Option<Regex>; 4]> =
    LazyLock::new(|| [None, Some("^[0-9]"), Some("a$"), Some("(?-u)^")].map(|start| start.map(regex)));
static INCLUDED: LazyLock<[Option<RegexSet>; 2]> = LazyLock::new(|| [None, Some(set("x|^$"))]);
static EXCLUDED: LazyLock<[Option<RegexSet>; 2]> = LazyLock::new(|| [None, Some(set("^b|\\r"))]);

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn set(pattern: &str) -> RegexSet {
    RegexSet::new([pattern]).expect("a valid pattern")
}

fn policy(bits: u16, line_bytes_max: u8, chunk_bytes: u8) -> FramePolicy {
    let bits = usize::from(bits);
    let is_chunk = bits / 96 % 3 == 1;
    FramePolicy {
        line_bytes_max: usize::from(line_bytes_max).max(1),
        on_long_line: [LongLine::Truncate, LongLine::Split, LongLine::Drop][bits % 3],
        carriage_return: [CarriageReturn::Keep, CarriageReturn::Strip][bits / 3 % 2],
        multiline_start: if is_chunk { None } else { STARTS[bits / 6 % 4].clone() },
        flush_after: None,
        unit: match is_chunk {
            true => EventUnit::Chunk { bytes_max: usize::from(chunk_bytes) },
            false => EventUnit::Line,
        },
        include_lines: INCLUDED[bits / 24 % 2].clone(),
        exclude_lines: EXCLUDED[bits / 48 % 2].clone(),
        wrapping: None,
    }
}

/// How much a file grows, and how it is read then.
struct Step {
    growth: usize,
    /// Not more than must be read at once is read.
    small: bool,
    limit: Limit,
    /// The file rests here: what is unfinished is settled.
    flush: bool,
}

impl Step {
    fn of(byte: u8) -> Step {
        let growth = match byte & 0x1f {
            0x1f => 5000,
            few => usize::from(few) + 1,
        };
        let tight = Limit { events_max: 1 + usize::from(byte & 1), lines_max: 1 + u32::from(byte >> 1 & 3) };
        let limit = if byte & 0x20 == 0 { Limit::NONE } else { tight };
        Step { growth, small: byte & 0x40 != 0, limit, flush: byte & 0x80 != 0 }
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    check(input, FramePolicy::frame);
}

/// Runs one input with any framer in place of the real one.
///
/// # Panics
/// If the framer does not do what the naive splitter does.
pub fn check(input: &[u8], framer: Framer) {
    let Some(([low, high, line_bytes_max, chunk_bytes, steps @ ..], file)) = input.split_first_chunk::<12>()
    else {
        return;
    };
    let policy = policy(u16::from_le_bytes([*low, *high]), *line_bytes_max, *chunk_bytes);
    let mut reader = Reader::default();
    // Where a flush has settled everything, in order.
    let mut flushed = Vec::new();
    let mut size = 0;
    let mut steps = steps.iter().cycle();
    while size < file.len() {
        let step = steps.next().map_or_else(|| Step::of(0), |&byte| Step::of(byte));
        size = (size + step.growth).min(file.len());
        let flush = step.flush || size == file.len();
        loop {
            let settled = pass(framer, &policy, &file[..size], &step, flush, &mut reader);
            if !flush || reader.settled == size {
                break;
            }
            assert!(settled > 0, "a flush settles something: {policy:?} at {}", reader.settled);
        }
        if flush {
            flushed.push(size);
        }
    }
    let (expected, skipping) = expected(&policy, file, &flushed);
    if let EventUnit::Chunk { bytes_max } = policy.unit {
        for event in &reader.seen.events {
            assert!(event.len() <= bytes_max || !event.contains(&b'\n'), "a chunk is too large: {event:?}");
        }
        let events = reader.seen.events.iter();
        reader.seen.events = events.flat_map(|event| consumer_lines(&policy, event)).collect();
    }
    assert_eq!(reader.seen, expected, "{policy:?}, flushed at {flushed:?}");
    assert_eq!(reader.skipping, skipping, "{policy:?}, flushed at {flushed:?}");
}

/// One read and what is made of it; answers how much is settled.
fn pass(
    framer: Framer,
    policy: &FramePolicy,
    file: &[u8],
    step: &Step,
    flush: bool,
    reader: &mut Reader,
) -> usize {
    let least = policy.buffer_bytes_min();
    let rest = &file[reader.settled..];
    let read = &rest[..if step.small { rest.len().min(least) } else { rest.len() }];
    let end = if flush && read.len() == rest.len() { End::Flush } else { End::More };
    let mut events = Vec::new();
    let framed = framer(policy, read, reader.skipping, end, step.limit, &mut events);
    assert!(framed.settled <= read.len(), "more is settled than there is");
    assert!(framed.settled > 0 || read.len() < least, "a full buffer settles something: {policy:?}");
    let mut before = 0;
    for event in &events {
        assert!(event.start >= before, "events in order: {events:?}");
        before = event.start + event.len;
    }
    assert!(before as usize <= framed.settled, "an event beyond what is settled: {events:?}");
    reader.take(read, &events, framed);
    framed.settled
}

/// What the naive splitter makes of it; each flush ends a file of its own, but for a line that is skipped.
fn expected(policy: &FramePolicy, file: &[u8], flushed: &[usize]) -> (Reference, bool) {
    let mut sum = Reference::default();
    let (mut from, mut skipping) = (0, false);
    for &upto in flushed {
        let (part, goes_on) = reference_from(policy, &file[from..upto], skipping);
        (from, skipping) = (upto, goes_on);
        sum.events.extend(part.events);
        sum.lines += part.lines;
        sum.dropped.filtered.lines += part.dropped.filtered.lines;
        sum.dropped.filtered.bytes += part.dropped.filtered.bytes;
        sum.dropped.long.lines += part.dropped.long.lines;
        sum.dropped.long.bytes += part.dropped.long.bytes;
        sum.dropped.truncated += part.dropped.truncated;
    }
    (sum, skipping)
}
