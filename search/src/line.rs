//! What a line says of itself: when it was written, and how serious it is.
//!
//! Both follow from the line, the time of its record, and a zone that is configured, and never from the host: so every
//! member of a group says the same of a line, however often it is asked.

use jiff::tz::TimeZone;
use logdrive_line_time::{Level, LineTime};

/// Reads the times of lines.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
}

impl Calendar {
    /// For lines that were written in `zone` where they name none.
    #[must_use]
    pub fn new(zone: TimeZone) -> Calendar {
        Calendar { zone }
    }

    /// When a line was written, in milliseconds since the Unix epoch: what it says, or else when its record says that
    /// it was read.
    #[must_use]
    pub fn written_at_ms(&self, line: &[u8], record_ms: i64) -> i64 {
        let times = LineTime::new(self.zone.clone(), record_ms.saturating_mul(1_000_000));
        times.of(line).map_or(record_ms, |ns| ns.div_euclid(1_000_000))
    }
}

/// How serious a line says it is, as `log.level` has it.
#[must_use]
pub fn level(line: &[u8]) -> Option<&'static str> {
    logdrive_line_time::level(line).map(Level::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_own_time_or_that_of_its_record() {
        let (utc, east) = (TimeZone::UTC, TimeZone::fixed(jiff::tz::offset(8)));
        let (read_ms, hour_ms) = (1_767_355_200_123, 3_600_000);
        let of =
            |zone: &TimeZone, line: &str| Calendar::new(zone.clone()).written_at_ms(line.as_bytes(), read_ms);
        assert_eq!(of(&utc, "no time"), read_ms);
        assert_eq!(of(&utc, "2026-01-02 11:00:00,500 INFO x"), 1_767_351_600_500);
        assert_eq!(of(&east, "2026-01-02 11:00:00,500 INFO x"), 1_767_351_600_500 - 8 * hour_ms);
        assert_eq!(of(&east, "2026-01-02T11:00:00.5Z x"), 1_767_351_600_500);
        // Without a year, across New Year.
        assert_eq!(of(&utc, "Dec 31 12:00:00 host x"), 1_767_182_400_000);
        assert_eq!(level(b"2026-01-02 11:00:00,500 ERROR x"), Some("error"));
        assert_eq!(level(b"all errors are gone"), None);
    }
}
