//! Unwraps the logs of containers: each line of the file says when and on which stream the container wrote a
//! piece of a line, and pieces make one event.
//!
//! A stage of its own in the place of [`super::pass`]: events here are not ranges of the file, so they are copied
//! out of it, once. What holds there holds here: nothing is kept from one read to the next but one bit, and what
//! is decided depends on the bytes and not on where a read ends. A position can only say "all before it is
//! settled", so while a line of one stream is open, what follows it is not settled either, whole lines of the
//! other stream included; all of it is settled when nothing is open any more. A runtime writes the pieces of a
//! line within moments, so that is rarely seen. A group that grows beyond [`FramePolicy::group_bytes_max`] is
//! closed as it is, and so is one at the end of a file that is flushed.
//!
//! A line that is not what its runtime writes is an event as it is, and counted.

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use memchr::memchr;

use super::wrapped::{Stream, Wrapping};
use super::{Copied, Detail, Dropped, End, FramePolicy, Framed, Limit, LongLine};
use crate::batch::Event;

/// A line of which a piece is there, and more is to come.
#[derive(Default)]
struct Open {
    /// What is there of it, up to the longest legal line.
    text: Vec<u8>,
    /// What is cut off, in bytes.
    cut: usize,
    place: usize,
    time: (usize, usize),
    /// Lines of the file, and their bytes.
    pieces: u32,
    file_bytes: usize,
}

/// What an event will be said to come from.
#[derive(Copy, Clone)]
struct Label {
    place: usize,
    stream: Option<Stream>,
    time: Event,
}

/// A place before which everything is settled.
struct Safe {
    at: usize,
    bytes: usize,
    events: usize,
    lines: u32,
    dropped: Dropped,
}

struct Pass<'a, 'b> {
    policy: &'a FramePolicy,
    wrapping: Wrapping,
    file: &'a [u8],
    /// `file` before this is in `into`, in `open` or in `dropped`.
    at: usize,
    skipping: bool,
    /// By stream.
    open: [Option<Open>; 2],
    into: Copied<'b>,
    lines: u32,
    dropped: Dropped,
    safe: Safe,
}

impl FramePolicy {
    /// The longest line of a container's log in bytes; of a longer one only the beginning is sent, as it is.
    fn wrapped_bytes_max(&self) -> usize {
        // JSON makes two bytes of a quote, and more of what is rarer; pieces are no longer than 16 KiB.
        2 * self.line_bytes_max + 64 * 1024
    }

    /// How many bytes of the file may belong together.
    pub(super) fn group_bytes_max(&self) -> usize {
        2 * self.wrapped_bytes_max()
    }

    /// The smallest read in which [`FramePolicy::unwrap_lines`] always settles something.
    pub(super) fn group_buffer_bytes_min(&self) -> usize {
        self.group_bytes_max() + self.wrapped_bytes_max() + 1
    }

    /// As [`FramePolicy::frame`], for the log of a container: events are unwrapped into `into`, behind what is
    /// there, and lie in the order in which they were whole.
    #[must_use]
    pub fn unwrap_lines(
        &self,
        wrapping: Wrapping,
        file: &[u8],
        skipping: bool,
        end: End,
        limit: Limit,
        into: Copied<'_>,
    ) -> Framed {
        let safe = Safe {
            at: 0,
            bytes: into.bytes.len(),
            events: into.events.len(),
            lines: 0,
            dropped: Dropped::default(),
        };
        let events_max = into.events.len().saturating_add(limit.events_max);
        let mut pass = Pass {
            policy: self,
            wrapping,
            file,
            at: 0,
            skipping,
            open: [None, None],
            into,
            lines: 0,
            dropped: Dropped::default(),
            safe,
        };
        while pass.at < file.len() && pass.into.events.len() < events_max && pass.lines < limit.lines_max {
            if !pass.step(end) {
                break;
            }
        }
        pass.end(end)
    }
}

impl Pass<'_, '_> {
    /// Takes lines until nothing is open. False when more bytes are needed.
    fn step(&mut self, end: End) -> bool {
        loop {
            let rest = &self.file[self.at..];
            let newline = memchr(b'\n', rest);
            if self.skipping {
                let next = newline.map_or(self.file.len(), |newline| self.at + newline + 1);
                self.dropped.long.add(0, next - self.at);
                self.at = next;
                self.skipping = newline.is_none();
                self.settle();
                return newline.is_some();
            }
            let bytes_max = self.policy.wrapped_bytes_max();
            let (len, next) = match newline {
                Some(len) => (len, self.at + len + 1),
                None if rest.len() > bytes_max || end != End::More => (rest.len(), self.file.len()),
                None => return false,
            };
            if self.is_anything_open() && next - self.safe.at > self.policy.group_bytes_max() {
                self.close_all();
                self.settle();
                return true;
            }
            if len > bytes_max {
                self.close_all();
                self.settle();
                self.cut(newline.is_none());
            } else {
                self.take(self.at..self.at + len, next);
            }
            if !self.is_anything_open() {
                self.settle();
                return true;
            }
            if self.at == self.file.len() {
                return false;
            }
        }
    }

    fn is_anything_open(&self) -> bool {
        self.open.iter().any(Option::is_some)
    }

    /// Everything before `at` is settled from now on.
    fn settle(&mut self) {
        self.safe = Safe {
            at: self.at,
            bytes: self.into.bytes.len(),
            events: self.into.events.len(),
            lines: self.lines,
            dropped: self.dropped,
        };
    }

    /// Takes back what is not settled, unless the end is forced.
    fn end(mut self, end: End) -> Framed {
        if end != End::More && self.at == self.file.len() {
            self.close_all();
            self.settle();
        }
        let Safe { at, bytes, events, lines, dropped } = self.safe;
        self.into.bytes.truncate(bytes);
        self.into.events.truncate(events);
        self.into.details.truncate(events);
        Framed { settled: at, skipping: self.skipping, lines, dropped, cramped: false }
    }

    /// A line that is no piece of anything: the beginning of it is an event, the rest is skipped.
    fn cut(&mut self, is_endless: bool) {
        let begun = self.at;
        let kept = self.policy.line_bytes_max.max(1);
        let next = match is_endless {
            true => self.file.len(),
            false => begun + memchr(b'\n', &self.file[begun..]).expect("the caller saw it") + 1,
        };
        // Where the cut is must not depend on how much of the line is there.
        let cut = if is_endless { begun + self.policy.wrapped_bytes_max() + 1 } else { next };
        self.at = cut;
        self.skipping = is_endless;
        self.dropped.damaged += 1;
        if self.policy.on_long_line == LongLine::Drop {
            self.dropped.long.add(1, cut - begun);
        } else {
            self.dropped.truncated += 1;
            self.dropped.long.add(0, cut - begun - kept);
            let range = begun..begun + kept;
            let label = Label { place: begun, stream: None, time: Event { start: 0, len: 0 } };
            self.event(label, 1, kept, |file, out| out.put_slice(&file[range]));
        }
        self.settle();
    }

    /// Takes a whole line of the file.
    fn take(&mut self, line: core::ops::Range<usize>, next: usize) {
        let (place, file_bytes) = (line.start, next - line.start);
        self.at = next;
        let file = self.file;
        let Some(piece) = self.wrapping.unwrap(&file[line.clone()]) else {
            self.dropped.damaged += 1;
            let label = Label { place, stream: None, time: Event { start: 0, len: 0 } };
            self.event(label, 1, file_bytes, |file, out| out.put_slice(&file[line]));
            return;
        };
        let time = (line.start + piece.time.0, piece.time.1);
        let slot = &mut self.open[piece.stream as usize];
        if slot.is_none() && !piece.is_part && piece.text_bytes() <= self.policy.line_bytes_max {
            // The way of nearly all lines: copied once.
            let label = Label { place, stream: Some(piece.stream), time: self.stamp(time) };
            self.event(label, 1, file_bytes, |_, out| piece.write(|part| out.put_slice(part)));
            return;
        }
        let open = slot.get_or_insert_with(|| Open { place, time, ..Open::default() });
        open.pieces += 1;
        open.file_bytes += file_bytes;
        let bytes_max = match self.policy.on_long_line {
            // What is dropped is not kept; that it is too long is seen from `cut`.
            LongLine::Truncate | LongLine::Drop => self.policy.line_bytes_max,
            LongLine::Split => usize::MAX,
        };
        piece.write(|part| {
            let room = bytes_max.saturating_sub(open.text.len()).min(part.len());
            open.text.extend_from_slice(&part[..room]);
            open.cut += part.len() - room;
        });
        if !piece.is_part {
            self.close(piece.stream);
        }
    }

    /// Closes what is open, in the order in which it was begun.
    fn close_all(&mut self) {
        let begun = |open: &Option<Open>| open.as_ref().map_or(usize::MAX, |open| open.place);
        let mut streams = [Stream::Stdout, Stream::Stderr];
        streams.sort_unstable_by_key(|stream| begun(&self.open[*stream as usize]));
        for stream in streams {
            self.close(stream);
        }
    }

    /// What is open of a stream is an event.
    fn close(&mut self, stream: Stream) {
        let Some(open) = self.open[stream as usize].take() else { return };
        let Open { text, cut, place, time, pieces, file_bytes } = open;
        if cut > 0 && self.policy.on_long_line == LongLine::Drop {
            self.dropped.long.add(pieces, file_bytes);
            return;
        }
        let bytes_max = self.policy.line_bytes_max.max(1);
        let label = Label { place, stream: Some(stream), time: self.stamp(time) };
        let mut rest = &text[..];
        while rest.len() > bytes_max {
            let (piece, behind) = rest.split_at(bytes_max);
            self.event(label, 0, 0, |_, out| out.put_slice(piece));
            rest = behind;
        }
        if self.event(label, pieces, file_bytes, |_, out| out.put_slice(rest)) && cut > 0 {
            self.dropped.truncated += 1;
            self.dropped.long.add(0, cut);
        }
    }

    /// Copies a time, before the events that have it.
    fn stamp(&mut self, (start, len): (usize, usize)) -> Event {
        let stamped = Event { start: self.into.bytes.len() as u32, len: len as u32 };
        self.into.bytes.put_slice(&self.file[start..start + len]);
        stamped
    }

    /// An event, unless it is filtered out; `lines` lines of the file end with it.
    fn event(
        &mut self,
        label: Label,
        lines: u32,
        file_bytes: usize,
        write: impl FnOnce(&[u8], &mut BytesMut),
    ) -> bool {
        let out = &mut *self.into.bytes;
        let start = out.len();
        write(self.file, out);
        let text = &out[start..];
        let len = match text {
            [.., b'\r'] if self.policy.carriage_return == super::CarriageReturn::Strip => text.len() - 1,
            _ => text.len(),
        };
        if !self.policy.sends(&text[..len]) {
            out.truncate(start);
            self.dropped.filtered.add(lines, file_bytes);
            return false;
        }
        self.into.events.push(Event { start: start as u32, len: len as u32 });
        let Label { place, stream, time } = label;
        self.into.details.push(Detail { place: place as u32, stream, time });
        self.lines += lines;
        true
    }
}
