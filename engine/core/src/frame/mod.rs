//! Turns the bytes of a read into events: where each one begins and ends.
//!
//! The framer knows neither files nor Kafka, keeps no bytes, and copies none of a plain file. It is given the bytes
//! from a tail's `framed` position on, and answers how many of them are settled; what is not settled
//! (an unfinished line, the last multiline event) is read again later. All that it remembers from one
//! read to the next is one bit, [`Framed::skipping`], so position and bit are a complete checkpoint.
//!
//! What is decided depends on the bytes and never on where a read happened to end: a decision is
//! made when no further byte could change it, and not before. So every way to cut a file into reads
//! gives the same events. Two things are outside of that: [`End::Flush`], which takes what is there
//! for complete, and how many lines a chunk ([`EventUnit::Chunk`]) joins.
//!
//! A file has one [`Form`]. `pass` cuts plain text where it is; `container` and `encoded` copy events out of files
//! whose bytes are not the text, and say of each where it comes from.

mod charset;
mod container;
mod encoded;
mod pass;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod wrapped;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;
use regex::bytes::{Regex, RegexSet};

use crate::batch::Event;
use crate::position::Position;
pub use charset::{ByteOrder, Charset, NoCharset};
use pass::{Itself, Pass};
pub use wrapped::{Stream, Wrapping};

/// What to do with a line (or multiline event) longer than [`FramePolicy::line_bytes_max`].
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum LongLine {
    /// Send the first `line_bytes_max` bytes, skip the rest up to and with its newline.
    #[default]
    Truncate,
    /// Send it in pieces of `line_bytes_max` bytes; the last may be shorter, and is never empty.
    Split,
    /// Skip it whole.
    Drop,
}

/// Whether a `\r` before the `\n` belongs to the event.
///
/// An event is one contiguous span, so what lies inside of it stays as it is: only the `\r` before
/// its final `\n` is ever stripped, not those between the lines of a chunk or a multiline event.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum CarriageReturn {
    /// It is part of the bytes that are sent.
    #[default]
    Keep,
    /// It is part of the terminator.
    Strip,
}

/// What becomes one record.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum EventUnit {
    /// One line, or one multiline event.
    #[default]
    Line,
    /// Whole lines joined by their newlines, up to `bytes_max` bytes: consumers split on `\n`.
    Chunk {
        /// At most this many bytes an event (a single longer line is an event of its own).
        bytes_max: usize,
    },
}

/// What stands in the files: the text of the events, or something that it has to be taken out of.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Form {
    /// The text, to be sent as it is: [`FramePolicy::frame`].
    #[default]
    Plain,
    /// Lines in the wrapping of a container runtime: [`FramePolicy::unwrap_lines`]. Not together with
    /// [`EventUnit::Chunk`] or `multiline_start`.
    Wrapped(Wrapping),
    /// The text in an encoding of its own, to be sent as UTF-8: [`FramePolicy::decode_lines`].
    Encoded(Charset),
}

/// How one collection item's files are cut into events.
#[derive(Clone, Debug)]
pub struct FramePolicy {
    /// The longest line or multiline event in bytes, without its terminator; at least 1, and 4 where the text is in an
    /// encoding of its own, so that each character fits.
    pub line_bytes_max: usize,
    /// What to do with a longer one.
    pub on_long_line: LongLine,
    /// Whether `\r\n` ends a line as well.
    pub carriage_return: CarriageReturn,
    /// A line that matches begins a new event; others continue the one before. Of a line longer than
    /// `line_bytes_max` only that many bytes are looked at. Not together with [`EventUnit::Chunk`].
    pub multiline_start: Option<Regex>,
    /// How long the end of a file may stay unfinished before it is sent as it is; `None`: for ever.
    pub flush_after: Option<Duration>,
    /// One record a line, or many lines a record.
    pub unit: EventUnit,
    /// Only events that match one of these are sent, if there are any. Filters see what would be sent
    /// as one record, or one line of a chunk: each piece of a split line is tested by itself.
    pub include_lines: Option<RegexSet>,
    /// Events that match one of these are not sent.
    pub exclude_lines: Option<RegexSet>,
    /// What the files hold.
    pub form: Form,
}

/// What is known about the end of the bytes that are framed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum End {
    /// More bytes may follow, directly behind these.
    More,
    /// The file has rested at this end for [`FramePolicy::flush_after`]: what is unfinished is settled as it is, up to
    /// the last whole character. Bytes that follow nevertheless begin an event of their own.
    Flush,
    /// The file is closed for good: all of it is settled.
    Closed,
}

/// Where to stop although there are more events in the bytes.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Limit {
    /// Stop behind this many events.
    pub events_max: usize,
    /// Stop behind this many lines in events; a multiline event is not cut for it, so its last lines
    /// may be beyond.
    pub lines_max: u32,
}

impl Limit {
    /// Frame all there is.
    pub const NONE: Limit = Limit { events_max: usize::MAX, lines_max: u32::MAX };
}

/// An amount of input that was settled without being sent; of one pass, whose offsets have 32 bits too.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Tally {
    /// Lines of which nothing is sent.
    pub lines: u32,
    /// Bytes that are not sent, terminators included.
    pub bytes: u32,
}

impl Tally {
    fn add(&mut self, lines: u32, bytes: usize) {
        self.lines += lines;
        self.bytes += bytes as u32;
    }
}

/// What a pass settled without sending it, by reason.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Dropped {
    /// By [`FramePolicy::include_lines`] or [`FramePolicy::exclude_lines`].
    pub filtered: Tally,
    /// By [`FramePolicy::on_long_line`]: what lies behind the cut, or all of the line.
    pub long: Tally,
    /// Events of which the beginning was sent and the rest dropped; what was dropped is in `long`.
    pub truncated: u32,
    /// Lines that could not be unwrapped, and were taken as they are.
    pub damaged: u32,
    /// Byte sequences that are no character of the file's encoding; each is U+FFFD in the text.
    pub replaced: u32,
}

/// The outcome of one pass over the bytes of a read.
///
/// Every line settled is counted once, when it is decided: in `lines` or in one of the tallies.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Framed {
    /// How many of the bytes are settled: the next pass starts behind them.
    pub settled: usize,
    /// The next pass starts inside a line whose rest is to be skipped; belongs to the checkpoint.
    pub skipping: bool,
    /// Source lines in the events that were pushed. A line that is split counts with its last piece.
    pub lines: u32,
    /// What was settled but not sent.
    pub dropped: Dropped,
    /// There was no more room for a copy: there may be more events in the bytes.
    pub cramped: bool,
}

/// Where an event that was copied out of the file comes from.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Detail {
    /// Where its first piece begins, from the beginning of the batch's span.
    pub place: u32,
    /// The stream that a container wrote it to, if it is unwrapped from the line of one.
    pub stream: Option<Stream>,
    /// The time that the runtime gave to its first piece, among the bytes of the batch; empty if there is none.
    pub time: Event,
}

impl Detail {
    fn at(place: usize) -> Detail {
        Detail { place: place as u32, stream: None, time: Event { start: 0, len: 0 } }
    }
}

/// What is copied out of a file: the bytes, the events in them, and a detail for each.
#[derive(Debug)]
pub struct Copied<'a> {
    /// Empty at first, with room for [`Form::copied_bytes_max`] of what is read. It never grows beyond its room.
    pub bytes: &'a mut BytesMut,
    /// Ranges of `bytes`.
    pub events: &'a mut Vec<Event>,
    /// As many as there are events.
    pub details: &'a mut Vec<Detail>,
}

/// A part of a file.
#[derive(Copy, Clone, Debug)]
pub struct Stretch<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where they begin.
    pub position: Position,
    /// What the first bytes of the file say of the order of bytes.
    pub order: ByteOrder,
}

impl Form {
    /// How many bytes a copy of the events of so many bytes may need; 0 if there is none to make.
    #[must_use]
    pub fn copied_bytes_max(&self, bytes: usize) -> usize {
        match self {
            Form::Plain => 0,
            Form::Wrapped(_) => bytes,
            Form::Encoded(_) => bytes.saturating_mul(charset::TEXT_BYTES_MAX),
        }
    }

    /// Whether a line begins behind these bytes of a file: all that are before it, or the last few.
    pub(crate) fn begins_line(&self, order: ByteOrder, before: &[u8]) -> bool {
        match self {
            Form::Plain | Form::Wrapped(_) => before.last().is_none_or(|&byte| byte == b'\n'),
            Form::Encoded(charset) => charset.ordered(order).begins_line(before),
        }
    }

    /// How many bytes before a position belong to a unit that goes on behind it.
    pub(crate) fn torn_bytes(&self, position: Position) -> usize {
        match self {
            Form::Plain | Form::Wrapped(_) => 0,
            Form::Encoded(charset) => charset.torn_bytes(position),
        }
    }
}

impl FramePolicy {
    /// Appends the events of `bytes` to `events`, offsets relative to `bytes`.
    ///
    /// `skipping` is what the pass before answered, false at the start of a file. Nothing is settled
    /// when an unfinished event needs more bytes than are there, which is never the case for
    /// [`FramePolicy::buffer_bytes_min`] of them, nor for any number with another end than [`End::More`].
    #[must_use]
    pub fn frame(
        &self,
        bytes: &[u8],
        skipping: bool,
        end: End,
        limit: Limit,
        events: &mut Vec<Event>,
    ) -> Framed {
        Pass::new(self, bytes, skipping, end, limit, events, Itself).run()
    }

    /// The smallest read that always settles something, however long a line is.
    #[must_use]
    pub fn buffer_bytes_min(&self) -> usize {
        match self.form {
            Form::Plain => self.text_bytes_min(),
            Form::Wrapped(_) => self.group_buffer_bytes_min(),
            Form::Encoded(_) => charset::bytes_of_text(self.text_bytes_min()),
        }
    }

    /// The smallest text that always settles something.
    fn text_bytes_min(&self) -> usize {
        // The longest legal line, and the two bytes that show whether it ends there.
        let line = self.line_bytes_max.max(1).saturating_add(2);
        // A multiline event ends where the line behind it is known to begin another.
        if self.multiline_start.is_some() { line.saturating_mul(2) } else { line }
    }

    /// Whether the filters let an event pass.
    fn sends(&self, event: &[u8]) -> bool {
        self.include_lines.as_ref().is_none_or(|set| set.is_empty() || set.is_match(event))
            && !self.exclude_lines.as_ref().is_some_and(|set| set.is_match(event))
    }

    /// Where the line `[start, newline)` ends without its terminator.
    #[inline]
    fn line_end(&self, bytes: &[u8], start: usize, newline: usize) -> usize {
        let strip = self.carriage_return == CarriageReturn::Strip;
        if strip && newline > start && bytes[newline - 1] == b'\r' { newline - 1 } else { newline }
    }
}
