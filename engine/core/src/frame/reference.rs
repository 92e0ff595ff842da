//! What a policy makes of a whole, finished input: the naive splitter that the framer is compared
//! with, in unit tests and under the fuzzer, and the reader that collects what a framer makes of it.
//!
//! Deliberately nothing like the framer: it sees all of the input at once, collects lines, then
//! groups of lines, and copies everything.

use std::vec::Vec;

use super::{CarriageReturn, Dropped, End, Event, FramePolicy, Framed, Limit, LongLine};

#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) lines: u32,
    pub(crate) dropped: Dropped,
}

pub(crate) fn reference(policy: &FramePolicy, input: &[u8]) -> Reference {
    reference_from(policy, input, false).0
}

/// The same for what follows a flush, which may have come while the rest of a line was `skipping`.
/// Answers with it whether the input ends that way too.
pub(crate) fn reference_from(policy: &FramePolicy, input: &[u8], skipping: bool) -> (Reference, bool) {
    let mut result = Reference::default();
    let input = match skipping {
        true => match result.skip(policy, input) {
            Some(rest) => rest,
            None => return (result, true),
        },
        false => input,
    };
    let mut groups: Vec<Vec<&[u8]>> = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        match &policy.multiline_start {
            Some(start) if !groups.is_empty() && !start.is_match(seen(policy, line)) => {
                groups.last_mut().unwrap().push(line);
            }
            _ => groups.push(Vec::from([line])),
        }
    }
    let mut skipping = false;
    for group in groups {
        skipping = result.add(policy, &group);
    }
    (result, skipping)
}

/// A line without its terminator.
fn body<'a>(policy: &FramePolicy, line: &'a [u8]) -> &'a [u8] {
    let Some(body) = line.strip_suffix(b"\n") else { return line };
    match policy.carriage_return {
        CarriageReturn::Strip => body.strip_suffix(b"\r").unwrap_or(body),
        CarriageReturn::Keep => body,
    }
}

/// What of a line decides whether it begins an event.
fn seen<'a>(policy: &FramePolicy, line: &'a [u8]) -> &'a [u8] {
    let body = body(policy, line);
    &body[..body.len().min(policy.line_bytes_max)]
}

impl Reference {
    /// Drops the rest of a line and of its event; `None` if the input ends before a line ends.
    fn skip<'a>(&mut self, policy: &FramePolicy, input: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = input;
        loop {
            let line = rest.split_inclusive(|&byte| byte == b'\n').next()?;
            self.dropped.long.bytes += line.len() as u64;
            rest = &rest[line.len()..];
            if !line.ends_with(b"\n") {
                return None;
            }
            let next = rest.split_inclusive(|&byte| byte == b'\n').next();
            match (&policy.multiline_start, next) {
                (Some(start), Some(next)) if !start.is_match(seen(policy, next)) => {
                    self.dropped.long.lines += 1;
                }
                _ => return Some(rest),
            }
        }
    }

    /// Adds one group; whether it was cut, and its last line goes on.
    fn add(&mut self, policy: &FramePolicy, group: &[&[u8]]) -> bool {
        let max = policy.line_bytes_max;
        let last = group[group.len() - 1];
        let all = group.concat();
        let terminator = last.len() - body(policy, last).len();
        let text = &all[..all.len() - terminator];
        let lines = group.len() as u32;
        if text.len() <= max {
            self.pass(policy, text, terminator, lines);
            return false;
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
        policy.on_long_line != LongLine::Split && !all.ends_with(b"\n")
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

/// Reads a growing file as the tail does: each pass begins at the settled position.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) settled: usize,
    pub(crate) skipping: bool,
    pub(crate) seen: Reference,
}

impl Reader {
    /// Frames `file` from the settled position on; answers how many bytes were settled.
    pub(crate) fn pass(&mut self, policy: &FramePolicy, file: &[u8], end: End, limit: Limit) -> usize {
        let bytes = &file[self.settled..];
        let mut events = Vec::new();
        let framed = policy.frame(bytes, self.skipping, end, limit, &mut events);
        self.take(bytes, &events, framed);
        framed.settled
    }

    /// Notes what came of a pass over `bytes`.
    pub(crate) fn take(&mut self, bytes: &[u8], events: &[Event], framed: Framed) {
        for event in events {
            let start = event.start as usize;
            self.seen.events.push(bytes[start..start + event.len as usize].to_vec());
        }
        self.settled += framed.settled;
        self.skipping = framed.skipping;
        self.seen.lines += framed.lines;
        let (sum, part) = (&mut self.seen.dropped, framed.dropped);
        for (sum, part) in [(&mut sum.filtered, part.filtered), (&mut sum.long, part.long)] {
            sum.lines += part.lines;
            sum.bytes += part.bytes;
        }
        sum.truncated += part.truncated;
    }
}

/// What a consumer does with a chunk: split at newlines, and strip what the agent left inside.
pub(crate) fn consumer_lines(policy: &FramePolicy, event: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<&[u8]> = event.split(|&byte| byte == b'\n').collect();
    let inner = lines.len() - 1;
    for line in &mut lines[..inner] {
        if policy.carriage_return == CarriageReturn::Strip {
            *line = line.strip_suffix(b"\r").unwrap_or(line);
        }
    }
    lines.into_iter().map(<[u8]>::to_vec).collect()
}
