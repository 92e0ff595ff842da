//! Any bytes, read in any pieces under any policy, against the naive splitter of the unit tests.
//!
//! Input: what chooses the policy (two bytes), `line_bytes_max`, the size of a chunk; eight bytes that say
//! how the file grows and is read, again and again; the file. The log of a container has no naive counterpart: what is
//! read of it step by step must be what is read of it at once.

use std::sync::LazyLock;

use bytes::BytesMut;
use logdrive_core::batch::Event;
use logdrive_core::frame::*;
use logdrive_core::position::Position;
use regex::bytes::{Regex, RegexSet};

use self::reference::{Reader, Reference, Text, consumer_lines, reference_of};

#[allow(clippy::unwrap_used, reason = "shared with unit tests")]
#[allow(dead_code, reason = "the unit tests use the rest")]
#[path = "../../core/src/frame/reference.rs"]
mod reference;

/// Has the shape of [`FramePolicy::frame`].
pub type Plain = fn(&FramePolicy, &[u8], bool, End, Limit, &mut Vec<Event>) -> Framed;
/// Has the shape of [`FramePolicy::decode_lines`].
pub type Encoded = fn(&FramePolicy, Charset, Stretch<'_>, bool, End, Limit, Copied<'_>) -> Framed;
/// Has the shape of [`FramePolicy::unwrap_lines`].
pub type Wrapped = fn(&FramePolicy, Wrapping, &[u8], bool, End, Limit, Copied<'_>) -> Framed;

/// What cuts files into events, by their form.
#[derive(Copy, Clone)]
pub struct Framers {
    /// The text itself.
    pub plain: Plain,
    /// Text in an encoding of its own.
    pub encoded: Encoded,
    /// Lines of containers.
    pub wrapped: Wrapped,
}

/// The real ones.
pub const FRAMERS: Framers = Framers {
    plain: FramePolicy::frame,
    encoded: FramePolicy::decode_lines,
    wrapped: FramePolicy::unwrap_lines,
};

static STARTS: LazyLock<[Option<Regex>; 4]> =
    LazyLock::new(|| [None, Some("^[0-9]"), Some("a$"), Some("(?-u)^")].map(|start| start.map(regex)));
static INCLUDED: LazyLock<[Option<RegexSet>; 2]> = LazyLock::new(|| [None, Some(set("x|^$"))]);
static EXCLUDED: LazyLock<[Option<RegexSet>; 2]> = LazyLock::new(|| [None, Some(set("^b|\\r"))]);

/// One of each kind.
const LABELS: [&str; 9] =
    ["utf-8", "utf-16", "utf-16le", "utf-16be", "gb18030", "big5", "shift_jis", "euc-jp", "windows-1252"];

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn set(pattern: &str) -> RegexSet {
    RegexSet::new([pattern]).expect("a valid pattern")
}

/// The policy, and the label of its encoding.
fn policy(bits: u16, line_bytes_max: u8, chunk_bytes: u8) -> (FramePolicy, Option<&'static str>) {
    let bits = usize::from(bits);
    let form = bits / 288 % 20;
    let label = LABELS.get(form.wrapping_sub(1)).copied();
    let form = match (label, form) {
        (Some(label), _) => Form::Encoded(Charset::named(label).expect("a label")),
        (None, 10) => Form::Wrapped(Wrapping::Docker),
        (None, 11) => Form::Wrapped(Wrapping::Cri),
        (None, _) => Form::Plain,
    };
    let is_wrapped = matches!(form, Form::Wrapped(_));
    let is_chunk = bits / 96 % 3 == 1 && !is_wrapped;
    let policy = FramePolicy {
        line_bytes_max: usize::from(line_bytes_max).max(if label.is_some() { 4 } else { 1 }),
        on_long_line: [LongLine::Truncate, LongLine::Split, LongLine::Drop][bits % 3],
        carriage_return: [CarriageReturn::Keep, CarriageReturn::Strip][bits / 3 % 2],
        multiline_start: if is_chunk || is_wrapped { None } else { STARTS[bits / 6 % 4].clone() },
        flush_after: None,
        unit: match is_chunk {
            true => EventUnit::Chunk { bytes_max: usize::from(chunk_bytes) },
            false => EventUnit::Line,
        },
        include_lines: INCLUDED[bits / 24 % 2].clone(),
        exclude_lines: EXCLUDED[bits / 48 % 2].clone(),
        form,
    };
    (policy, label)
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

    /// All that there is between two flushes, at once.
    fn whole(growth: usize) -> Step {
        Step { growth, small: false, limit: Limit::NONE, flush: true }
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    check(input, FRAMERS);
}

/// Runs one input with any framers in place of the real ones.
///
/// # Panics
/// If a framer does not do what the naive splitter does.
pub fn check(input: &[u8], framers: Framers) {
    let Some(([low, high, line_bytes_max, chunk_bytes, steps @ ..], file)) = input.split_first_chunk::<12>()
    else {
        return;
    };
    let (policy, label) = policy(u16::from_le_bytes([*low, *high]), *line_bytes_max, *chunk_bytes);
    let steps = steps.iter().cycle().map(|&byte| Step::of(byte));
    let (mut reader, flushed) = read(framers, &policy, file, steps);
    let (expected, skipping) = match policy.form {
        Form::Wrapped(_) => {
            let sizes = flushed.iter().scan(0, |size, &(upto, _)| Some(upto - std::mem::replace(size, upto)));
            let (at_once, _) = read(framers, &policy, file, sizes.map(Step::whole));
            (at_once.seen, at_once.skipping)
        }
        _ => {
            let text = label.map_or_else(|| Text::plain(file), |label| Text::decoded(label, file));
            expected(&policy, &text, &flushed)
        }
    };
    if let EventUnit::Chunk { bytes_max } = policy.unit {
        for event in &reader.seen.events {
            assert!(event.len() <= bytes_max || !event.contains(&b'\n'), "a chunk is too large: {event:?}");
        }
        assert!(
            reader.seen.places.iter().all(|place| expected.places.contains(place)),
            "a chunk is elsewhere"
        );
        reader.seen.places.clone_from(&expected.places);
        let events = reader.seen.events.iter();
        reader.seen.events = events.flat_map(|event| consumer_lines(&policy, event)).collect();
    }
    assert_eq!(reader.seen, expected, "{policy:?}, flushed at {flushed:?}");
    assert_eq!(reader.skipping, skipping, "{policy:?}, flushed at {flushed:?}");
}

/// Reads a file that grows in these steps, the last of which closes it. Answers with how large it was, and how much of
/// it was settled, at each flush.
fn read(
    framers: Framers,
    policy: &FramePolicy,
    file: &[u8],
    mut steps: impl Iterator<Item = Step>,
) -> (Reader, Vec<(usize, usize)>) {
    let mut reader = Reader::default();
    let mut flushed = Vec::new();
    let mut size = 0;
    while size < file.len() {
        let step = steps.next().expect("there are as many as it takes");
        size = (size + step.growth).min(file.len());
        let end = match (size == file.len(), step.flush) {
            (true, _) => End::Closed,
            (false, true) => End::Flush,
            (false, false) => End::More,
        };
        loop {
            let settled = pass(framers, policy, &file[..size], &step, end, &mut reader);
            // A part of a character is not flushed.
            let rest = if end == End::Flush && matches!(policy.form, Form::Encoded(_)) { 3 } else { 0 };
            if end == End::More || settled == 0 && size - reader.settled <= rest {
                break;
            }
            assert!(settled > 0, "an end settles something: {policy:?} at {}", reader.settled);
        }
        if end != End::More {
            flushed.push((size, reader.settled));
        }
    }
    (reader, flushed)
}

/// One read and what is made of it; answers how much is settled.
fn pass(
    framers: Framers,
    policy: &FramePolicy,
    file: &[u8],
    step: &Step,
    end: End,
    reader: &mut Reader,
) -> usize {
    let least = policy.buffer_bytes_min();
    let rest = &file[reader.settled..];
    let bytes = &rest[..if step.small { rest.len().min(least) } else { rest.len() }];
    let end = if bytes.len() == rest.len() { end } else { End::More };
    let mut room = BytesMut::with_capacity(policy.form.copied_bytes_max(bytes.len()));
    let (mut events, mut details) = (Vec::new(), Vec::new());
    let into = Copied { bytes: &mut room, events: &mut events, details: &mut details };
    let (skipping, limit) = (reader.skipping, step.limit);
    let framed = match policy.form {
        Form::Plain => (framers.plain)(policy, bytes, skipping, end, limit, &mut events),
        Form::Wrapped(wrapping) => (framers.wrapped)(policy, wrapping, bytes, skipping, end, limit, into),
        Form::Encoded(charset) => {
            let position = Position(reader.settled as u64);
            let file = Stretch { bytes, position, order: ByteOrder::of(file) };
            (framers.encoded)(policy, charset, file, skipping, end, limit, into)
        }
    };
    assert!(framed.settled <= bytes.len(), "more is settled than there is");
    assert!(framed.settled > 0 || bytes.len() < least, "a full buffer settles something: {policy:?}");
    assert!(!framed.cramped, "there is room for all");
    let mut before = 0;
    for event in &events {
        assert!(event.start >= before, "events in order: {events:?}");
        before = event.start + event.len;
    }
    match policy.form {
        Form::Plain => {
            assert!(before as usize <= framed.settled, "an event beyond what is settled: {events:?}");
            reader.take(bytes, &events, framed);
        }
        Form::Wrapped(_) | Form::Encoded(_) => reader.take_copied(&room, &events, &details, framed),
    }
    framed.settled
}

/// What the naive splitter makes of it; each flush ends a file of its own, but for a line that is skipped.
fn expected(policy: &FramePolicy, text: &Text, flushed: &[(usize, usize)]) -> (Reference, bool) {
    let mut sum = Reference::default();
    let (mut from, mut skipping) = (0, false);
    for &(_, settled) in flushed {
        let upto = text.place_of(settled);
        let (part, goes_on) = reference_of(policy, text, from..upto, skipping);
        (from, skipping) = (upto, goes_on);
        sum.events.extend(part.events);
        sum.places.extend(part.places);
        sum.lines += part.lines;
        sum.add_dropped(part.dropped);
    }
    (sum, skipping)
}
