//! What time and what level a log line says of itself: bytes in, answer out.
//!
//! Formats are recognised by their shape, never guessed: a line of another shape has no time, and a word in the
//! middle of a message is no level. What stands for a time but cannot be one (a 30th of February) is none. Not here:
//! where lines begin and end, and what a whole file says.
//!
//! | shape | example |
//! |---|---|
//! | RFC 3339, ISO 8601, Java, Python, PostgreSQL | `2026-11-26T10:11:12.345Z`, `2026-11-26 10:11:12,345 +0100`, `[2026-11-26 10:11:12 UTC]` |
//! | Go, nginx's error log | `2026/11/26 10:11:12.345678` |
//! | access logs of nginx and Apache | `10.0.0.1 - - [26/Nov/2026:10:11:12 +0000] "GET / ..."` |
//! | Tomcat, BIND, PHP | `26-Nov-2026 10:11:12.345` |
//! | syslog, RFC 3164 and 5424 | `<34>Nov 26 10:11:12 host`, `<165>1 2026-11-26T10:11:12Z host` |
//! | asctime, Apache's error log | `[Thu Nov 26 10:11:12.345678 2026]` |
//! | klog, glog | `I1126 10:11:12.345678`, `I20261126 10:11:12.345678` |
//! | since the epoch | `1795687872.345`, in s, ms, us or ns by its digits |
//! | JSON, logfmt | `{"level":"info","ts":1795687872.345}`, `time="2026-11-26T10:11:12Z" level=info` |
//!
//! Each may stand behind a level (`INFO [main] 2026-...`) and behind the colours of a terminal. Only the first
//! [`HEAD_BYTES_MAX`] bytes of a line are looked at, but for the members of a JSON object, which may be anywhere.
//!
//! Nothing allocates, and nothing is compiled or kept between lines.

#![no_std]
#![forbid(unsafe_code)]

mod cursor;
mod date;
mod epoch;
mod head;
mod json;
mod level;
mod moment;

use jiff::tz::TimeZone;

pub use self::level::{Level, level};

/// How many bytes of a line are looked at, unless it is a JSON object.
pub const HEAD_BYTES_MAX: usize = 256;

/// Reads the times of lines, with what lines leave out.
#[derive(Clone, Debug)]
pub struct LineTime {
    zone: TimeZone,
    reference_ns: i64,
}

impl LineTime {
    /// For lines that, where they name no zone, were written in `zone`, and, where they name no year, not more than a
    /// week after `reference_ns` (nanoseconds since the epoch): the time of reading, or the last modification of the
    /// file. Of several years the last one that fits is taken, since a log is written before it is read; the week is
    /// for clocks that differ.
    #[must_use]
    pub fn new(zone: TimeZone, reference_ns: i64) -> LineTime {
        LineTime { zone, reference_ns }
    }

    /// The time that a line says it was written at, in nanoseconds since the epoch; `None` if it says none that is
    /// known.
    ///
    /// An hour that the zone's clocks show twice is taken for the second one. A leap second is the second after it, as
    /// everywhere in Unix. Digits beyond nanoseconds are cut off.
    #[must_use]
    pub fn of(&self, line: &[u8]) -> Option<i64> {
        let moment = match json::object(line) {
            Some(members) => head::of_members(members)?,
            None => head::of_text(line)?.0,
        };
        moment.unix_ns(&self.zone, self.reference_ns)
    }
}
