//! Turns the bytes of a read into events: where each one begins and ends.
//!
//! The framer knows neither files nor Kafka, keeps no bytes, and copies none. It is given the bytes
//! from a tail's `framed` position on, and answers how many of them are settled; what is not settled
//! (an unfinished line, the last multiline event) is read again later.

use core::time::Duration;

use regex::bytes::{Regex, RegexSet};

/// What to do with a line (or multiline event) longer than [`FramePolicy::line_bytes_max`].
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum LongLine {
    /// Send the first `line_bytes_max` bytes, skip the rest.
    #[default]
    Truncate,
    /// Send it in pieces of `line_bytes_max` bytes.
    Split,
    /// Skip it whole.
    Drop,
}

/// Whether a `\r` before the `\n` belongs to the event.
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

/// How one collection item's files are cut into events.
#[derive(Clone, Debug)]
pub struct FramePolicy {
    /// The longest event in bytes, without its terminator.
    pub line_bytes_max: usize,
    /// What to do with a longer one.
    pub on_long_line: LongLine,
    /// Whether `\r\n` ends a line as well.
    pub carriage_return: CarriageReturn,
    /// A line that matches begins a new event; others continue the one before.
    pub multiline_start: Option<Regex>,
    /// How long the end of a file may stay unfinished before it is sent as it is; `None`: for ever.
    pub flush_after: Option<Duration>,
    /// One record a line, or many lines a record.
    pub unit: EventUnit,
    /// Only events that match one of these are sent, if there are any.
    pub include_lines: Option<RegexSet>,
    /// Events that match one of these are not sent.
    pub exclude_lines: Option<RegexSet>,
}
