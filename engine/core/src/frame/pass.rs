//! One pass over the bytes of a read.
//!
//! [`Pass::settle_lines`] is the hot loop: it settles complete lines of legal length, and nothing
//! else. Whatever stops it (a long line, an unfinished one) is one step of the slower code beneath,
//! after which the loop goes on. There is no second implementation for the fast case, nor for text that had to be
//! decoded first: what differs there is a [`Source`].

use alloc::vec::Vec;
use core::ops::ControlFlow::{self, Break, Continue};

use memchr::{memchr, memchr_iter};
use regex::bytes::Regex;

use super::{CarriageReturn, Dropped, End, EventUnit, FramePolicy, Framed, Limit, LongLine};
use crate::batch::Event;

/// What places in the text are in the file that it comes from.
pub(super) trait Source {
    /// How many bytes of the file are the text from one place to the other. From one call to the next, places do not
    /// go back.
    fn file_bytes(&mut self, from: usize, to: usize) -> usize;

    /// Where an event is cut that begins at `at`, of which `bytes_max` bytes are allowed and more are there.
    fn cut(&self, at: usize, bytes_max: usize) -> usize;
}

/// The text is the file.
pub(super) struct Itself;

impl Source for Itself {
    #[inline]
    fn file_bytes(&mut self, from: usize, to: usize) -> usize {
        to - from
    }

    #[inline]
    fn cut(&self, at: usize, bytes_max: usize) -> usize {
        at + bytes_max
    }
}

/// Invariant: everything before `at` is settled, and is in `events`, in `dropped`, or a terminator.
pub(super) struct Pass<'a, S> {
    policy: &'a FramePolicy,
    /// [`FramePolicy::line_bytes_max`], at least 1.
    bytes_max: usize,
    bytes: &'a [u8],
    end: End,
    lines_max: u32,
    /// `events` may grow to this length.
    events_len_max: usize,
    at: usize,
    /// The line that contains `at` is skipped to its end without another look; it is counted already.
    skipping: bool,
    lines: u32,
    dropped: Dropped,
    events: &'a mut Vec<Event>,
    source: S,
}

/// What is known of the line at some place.
enum Line {
    /// It is no longer than allowed: `end` is behind its last byte, `next` behind its terminator.
    Legal { end: usize, next: usize },
    /// It is longer than allowed, wherever it ends.
    Long,
    /// Bytes to come decide.
    Open,
}

impl<'a, S: Source> Pass<'a, S> {
    pub(super) fn new(
        policy: &'a FramePolicy,
        bytes: &'a [u8],
        skipping: bool,
        end: End,
        limit: Limit,
        events: &'a mut Vec<Event>,
        source: S,
    ) -> Pass<'a, S> {
        assert!(bytes.len() <= u32::MAX as usize, "a read of {} bytes: offsets are 32 bits", bytes.len());
        // One step instead of a dozen doublings for a vector that is new; a recycled one has the room.
        events.reserve((bytes.len() / 256).min(limit.events_max));
        Pass {
            policy,
            bytes_max: policy.line_bytes_max.max(1),
            bytes,
            end,
            lines_max: limit.lines_max,
            events_len_max: events.len().saturating_add(limit.events_max),
            at: 0,
            skipping,
            lines: 0,
            dropped: Dropped::default(),
            events,
            source,
        }
    }

    pub(super) fn run(mut self) -> Framed {
        while self.at < self.bytes.len() && self.within_limit() && self.step().is_continue() {}
        let Pass { at, skipping, lines, dropped, .. } = self;
        Framed { settled: at, skipping, lines, dropped, cramped: false }
    }

    fn step(&mut self) -> ControlFlow<()> {
        match &self.policy.multiline_start {
            _ if self.skipping => self.skip_line(),
            Some(start) => self.settle_multiline(start),
            None => {
                self.settle_lines();
                self.settle_odd_line()
            }
        }
    }

    fn within_limit(&self) -> bool {
        self.events.len() < self.events_len_max && self.lines < self.lines_max
    }

    /// Settles complete legal lines up to the first that is not. One line is an event that no line
    /// can join, a chunk is one that lines join up to its size.
    fn settle_lines(&mut self) {
        let chunk_bytes_max = match self.policy.unit {
            EventUnit::Line => 0,
            EventUnit::Chunk { bytes_max } => bytes_max,
        };
        let filtered = self.policy.include_lines.is_some() || self.policy.exclude_lines.is_some();
        let (base, bytes) = (self.at, self.bytes);
        let (mut at, mut lines) = (self.at, self.lines);
        // Where the event begins that the next line may join.
        let mut open: Option<usize> = None;
        for newline in memchr_iter(b'\n', &bytes[base..]) {
            let newline = base + newline;
            let end = self.policy.line_end(bytes, at, newline);
            if end - at > self.bytes_max || lines == self.lines_max {
                break;
            }
            if filtered && !self.policy.sends(&bytes[at..end]) {
                self.dropped.filtered.add(1, self.source.file_bytes(at, newline + 1));
                (at, open) = (newline + 1, None);
                continue;
            }
            let joined = open.filter(|start| end - start <= chunk_bytes_max);
            if let (Some(start), Some(chunk)) = (joined, self.events.last_mut()) {
                chunk.len = (end - start) as u32;
            } else if self.events.len() < self.events_len_max {
                self.events.push(Event { start: at as u32, len: (end - at) as u32 });
                open = Some(at);
            } else {
                break;
            }
            lines += 1;
            at = newline + 1;
        }
        (self.at, self.lines) = (at, lines);
    }

    /// What [`Pass::settle_lines`] leaves: a long line, or the unfinished one at the end.
    fn settle_odd_line(&mut self) -> ControlFlow<()> {
        while self.within_limit() && !self.skipping {
            match self.line(self.at) {
                Line::Legal { end, next } => {
                    self.settle(end, next, 1);
                    break;
                }
                // Pieces follow each other here, so that the rest is not searched again for each.
                Line::Long => self.cut(),
                Line::Open => return Break(()),
            }
        }
        Continue(())
    }

    /// Settles one event: the line at `at`, whatever it is, and those that follow up to the next start.
    fn settle_multiline(&mut self, start: &Regex) -> ControlFlow<()> {
        let (mut end, mut next) = match self.line(self.at) {
            Line::Legal { end, next } => (end, next),
            Line::Long => {
                self.cut();
                return Continue(());
            }
            Line::Open => return Break(()),
        };
        let mut lines = 1;
        loop {
            match self.begins_event(start, next) {
                None if self.end == End::More => return Break(()),
                None | Some((_, true)) => break,
                Some((Line::Legal { end: line_end, next: line_next }, false))
                    if line_end - self.at <= self.bytes_max =>
                {
                    (end, next) = (line_end, line_next);
                    lines += 1;
                }
                Some((_, false)) => {
                    self.cut();
                    return Continue(());
                }
            }
        }
        self.settle(end, next, lines);
        Continue(())
    }

    /// The line at `from` and whether it begins an event; `None` as long as that is open, which under
    /// any end but [`End::More`] means that there is no such line.
    fn begins_event(&self, start: &Regex, from: usize) -> Option<(Line, bool)> {
        let line = self.line(from);
        let seen = match line {
            Line::Legal { end, .. } => from..end,
            Line::Long => from..from + self.bytes_max,
            Line::Open => return None,
        };
        let begins = start.is_match(&self.bytes[seen]);
        Some((line, begins))
    }

    /// Skips the rest of the line at `at`, and then looks whether the next one is sent again.
    fn skip_line(&mut self) -> ControlFlow<()> {
        let Some(rest) = memchr(b'\n', &self.bytes[self.at..]) else {
            self.drop_long(0, self.bytes.len());
            return Break(());
        };
        let newline = self.at + rest;
        let next = newline + 1;
        let ends = match &self.policy.multiline_start {
            None => true,
            Some(start) => match self.begins_event(start, next) {
                Some((_, begins)) => begins,
                // Lines that follow a flush are an event of their own, not lost to this one.
                None if self.end != End::More => true,
                None => {
                    // The newline stays, so that the next pass still knows that a line begins behind it.
                    self.drop_long(0, newline);
                    return Break(());
                }
            },
        };
        self.drop_long(u32::from(!ends), next);
        self.skipping = !ends;
        Continue(())
    }

    /// Applies the policy to the event at `at`, which is known to be too long.
    fn cut(&mut self) {
        let cut = self.source.cut(self.at, self.bytes_max);
        let newlines = |from, to| memchr_iter(b'\n', &self.bytes[from..to]).count() as u32;
        match self.policy.on_long_line {
            LongLine::Split => {
                let lines = newlines(self.at, cut);
                self.settle(cut, cut, lines);
            }
            LongLine::Truncate => {
                let begun = 1 + newlines(self.at, cut - 1);
                // A cut between two lines: the one behind it is skipped whole.
                let behind = newlines(cut - 1, cut);
                if self.settle(cut, cut, begun) {
                    self.dropped.truncated += 1;
                }
                self.drop_long(behind, cut);
                self.skipping = true;
            }
            LongLine::Drop => {
                self.drop_long(1 + newlines(self.at, cut), cut);
                self.skipping = true;
            }
        }
    }

    /// Settles the event `[at, end)` and what follows up to `next`: sent, or filtered out.
    fn settle(&mut self, end: usize, next: usize, lines: u32) -> bool {
        let sent = self.policy.sends(&self.bytes[self.at..end]);
        if sent {
            self.events.push(Event { start: self.at as u32, len: (end - self.at) as u32 });
            self.lines += lines;
        } else {
            self.dropped.filtered.add(lines, self.source.file_bytes(self.at, next));
        }
        self.at = next;
        sent
    }

    fn drop_long(&mut self, lines: u32, to: usize) {
        self.dropped.long.add(lines, self.source.file_bytes(self.at, to));
        self.at = to;
    }

    /// What is known of the line at `from`. Looks at no more bytes than decide that, so a line without
    /// end costs no more than one of legal length.
    fn line(&self, from: usize) -> Line {
        let rest = &self.bytes[from..];
        let seen = &rest[..rest.len().min(self.bytes_max.saturating_add(2))];
        if let Some(len) = memchr(b'\n', seen) {
            let end = self.policy.line_end(self.bytes, from, from + len);
            let next = from + len + 1;
            return if end - from > self.bytes_max { Line::Long } else { Line::Legal { end, next } };
        }
        let flush = self.end != End::More;
        // The newline that makes a final `\r` part of the terminator may be the next byte.
        let strip = self.policy.carriage_return == CarriageReturn::Strip && !flush;
        let terminator = usize::from(strip && seen.last() == Some(&b'\r'));
        if seen.len() - terminator > self.bytes_max {
            Line::Long
        } else if flush && !rest.is_empty() {
            Line::Legal { end: self.bytes.len(), next: self.bytes.len() }
        } else {
            Line::Open
        }
    }
}
