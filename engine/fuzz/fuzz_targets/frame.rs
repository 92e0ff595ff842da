//! Any bytes, read in any pieces under any policy, against the naive splitter of the unit tests.
//!
//! Input: one byte of policy, one of `line_bytes_max`, eight of how much each read adds (again and
//! again), and the file.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use logdrive_core::frame::*;
use reference::{Reference, reference};
use regex::bytes::{Regex, RegexSet};

#[path = "../../core/src/frame/reference.rs"]
mod reference;

static STARTS: LazyLock<[Option<Regex>; 4]> =
    LazyLock::new(|| [None, Some("^[0-9]"), Some("a$"), Some("(?-u)^")].map(|start| start.map(regex)));
static FILTERS: LazyLock<[Option<RegexSet>; 2]> = LazyLock::new(|| [None, Some(set("x|^$"))]);

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn set(pattern: &str) -> RegexSet {
    RegexSet::new([pattern]).expect("a valid pattern")
}

fn policy(bits: u8, line_bytes_max: u8) -> FramePolicy {
    let bits = usize::from(bits);
    FramePolicy {
        line_bytes_max: usize::from(line_bytes_max).max(1),
        on_long_line: [LongLine::Truncate, LongLine::Split, LongLine::Drop][bits % 3],
        carriage_return: [CarriageReturn::Keep, CarriageReturn::Strip][bits / 3 % 2],
        multiline_start: STARTS[bits / 6 % 4].clone(),
        flush_after: None,
        unit: EventUnit::Line,
        include_lines: FILTERS[bits / 24 % 2].clone(),
        exclude_lines: FILTERS[bits / 48 % 2].clone(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(([bits, line_bytes_max, growths @ ..], file)) = input.split_first_chunk::<10>() else { return };
    let policy = policy(*bits, *line_bytes_max);
    let (mut seen, mut events) = (Reference::default(), Vec::new());
    let (mut size, mut position, mut skipping) = (0, 0, false);
    let mut growths = growths.iter().cycle();
    loop {
        let read = &file[position..size.min(position + policy.buffer_bytes_min())];
        let end = if position + read.len() == file.len() { End::Flush } else { End::More };
        let framed = policy.frame(read, skipping, end, Limit::NONE, &mut events);
        assert!(framed.settled > 0 || read.len() < policy.buffer_bytes_min());
        for event in events.drain(..) {
            seen.events.push(read[event.start as usize..][..event.len as usize].to_vec());
        }
        seen.lines += framed.lines;
        seen.dropped.filtered.lines += framed.dropped.filtered.lines;
        seen.dropped.filtered.bytes += framed.dropped.filtered.bytes;
        seen.dropped.long.lines += framed.dropped.long.lines;
        seen.dropped.long.bytes += framed.dropped.long.bytes;
        seen.dropped.truncated += framed.dropped.truncated;
        position += framed.settled;
        skipping = framed.skipping;
        if position == file.len() {
            break;
        }
        // At least one byte more, so that it ends.
        let growth = growths.next().map_or(0, |growth| usize::from(*growth));
        size = (size + growth.max(1)).min(file.len());
    }
    assert_eq!(seen, reference(&policy, file));
});
