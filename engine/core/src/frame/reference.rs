//! What a policy makes of a whole, finished input: the naive splitter that the framer is compared
//! with, in unit tests and under the fuzzer.
//!
//! Deliberately nothing like the framer: it sees all of the input at once, collects lines, then
//! groups of lines, and copies everything.

use std::vec::Vec;

use super::{CarriageReturn, Dropped, FramePolicy, LongLine};

#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) lines: u32,
    pub(crate) dropped: Dropped,
}

pub(crate) fn reference(policy: &FramePolicy, input: &[u8]) -> Reference {
    let mut groups: Vec<Vec<&[u8]>> = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let body = body(policy, line);
        let seen = &body[..body.len().min(policy.line_bytes_max)];
        match &policy.multiline_start {
            Some(start) if !groups.is_empty() && !start.is_match(seen) => {
                groups.last_mut().unwrap().push(line);
            }
            _ => groups.push(Vec::from([line])),
        }
    }
    let mut result = Reference::default();
    for group in groups {
        result.add(policy, &group);
    }
    result
}

/// A line without its terminator.
fn body<'a>(policy: &FramePolicy, line: &'a [u8]) -> &'a [u8] {
    let Some(body) = line.strip_suffix(b"\n") else { return line };
    match policy.carriage_return {
        CarriageReturn::Strip => body.strip_suffix(b"\r").unwrap_or(body),
        CarriageReturn::Keep => body,
    }
}

impl Reference {
    fn add(&mut self, policy: &FramePolicy, group: &[&[u8]]) {
        let max = policy.line_bytes_max;
        let last = group[group.len() - 1];
        let all = group.concat();
        let terminator = last.len() - body(policy, last).len();
        let text = &all[..all.len() - terminator];
        let lines = group.len() as u32;
        if text.len() <= max {
            self.pass(policy, text, terminator, lines);
            return;
        }
        match policy.on_long_line {
            LongLine::Drop => {
                self.dropped.long.lines += lines;
                self.dropped.long.bytes += all.len() as u64;
            }
            LongLine::Truncate => {
                let mut begin = 0;
                let mut begun = 0;
                for line in group {
                    begun += u32::from(begin < max);
                    begin += line.len();
                }
                if self.pass(policy, &text[..max], 0, begun) {
                    self.dropped.truncated += 1;
                }
                self.dropped.long.lines += lines - begun;
                self.dropped.long.bytes += (all.len() - max) as u64;
            }
            LongLine::Split => {
                let mut left = lines;
                let pieces: Vec<&[u8]> = text.chunks(max).collect();
                for (at, piece) in pieces.iter().enumerate() {
                    let is_last = at + 1 == pieces.len();
                    let ended = piece.iter().filter(|&&byte| byte == b'\n').count() as u32;
                    let count = if is_last { left } else { ended };
                    left -= count;
                    self.pass(policy, piece, if is_last { terminator } else { 0 }, count);
                }
            }
        }
    }

    fn pass(&mut self, policy: &FramePolicy, event: &[u8], terminator: usize, lines: u32) -> bool {
        let included = policy.include_lines.as_ref().is_none_or(|set| set.is_match(event));
        let excluded = policy.exclude_lines.as_ref().is_some_and(|set| set.is_match(event));
        if included && !excluded {
            self.events.push(event.to_vec());
            self.lines += lines;
            return true;
        }
        self.dropped.filtered.lines += lines;
        self.dropped.filtered.bytes += (event.len() + terminator) as u64;
        false
    }
}
