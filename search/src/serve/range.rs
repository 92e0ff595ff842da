//! The range of time that is looked at, and how finely it is counted.

use std::time::SystemTime;

/// The last millisecond with a year of four digits.
const MILLISECOND_MAX: i64 = 253_402_300_799_999;
/// A histogram has at most so many bars.
pub(super) const BARS_MAX: i64 = 120;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Widths of a bar that people can read off, in milliseconds; wider ones are whole years.
const WIDTHS: &[i64] = &[
    1,
    10,
    100,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    30 * DAY,
];

/// From the first to before the last, in milliseconds since the Unix epoch; never empty.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct TimeRange {
    /// The first millisecond.
    pub from_ms: i64,
    /// The one after the last.
    pub to_ms: i64,
}

/// Why a range of time is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum RangeError {
    /// An end is not written as a time.
    #[error("{0:?} is no time: write now, now-15m (s, m, h, d, w), or 2026-01-02T03:04:05Z")]
    NoTime(String),
    /// It ends before it begins.
    #[error("the range of time ends before it begins")]
    Backwards,
}

impl TimeRange {
    /// What two texts mean at a moment.
    ///
    /// # Errors
    /// One of them is no time, or they are the wrong way round.
    pub(super) fn read(from: &str, to: &str, now_ms: i64) -> Result<TimeRange, RangeError> {
        let [from_ms, to_ms] = [from, to].map(|text| time(text, now_ms));
        let range = TimeRange { from_ms: from_ms?, to_ms: to_ms? };
        if range.from_ms < range.to_ms { Ok(range) } else { Err(RangeError::Backwards) }
    }

    /// The width of a bar of its histogram, in milliseconds.
    #[must_use]
    pub(super) fn bar_ms(&self) -> i64 {
        let span = self.to_ms - self.from_ms;
        // The first and the last may be cut.
        let fits = |width: &i64| span / width + 2 <= BARS_MAX;
        WIDTHS.iter().copied().find(fits).unwrap_or_else(|| {
            let years = span.div_euclid(365 * DAY * (BARS_MAX - 2)) + 1;
            years * 365 * DAY
        })
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(text: &str, now_ms: i64) -> Result<i64, RangeError> {
    let none = || RangeError::NoTime(text.chars().take(40).collect());
    let moment = match text.strip_prefix("now") {
        Some("") => now_ms,
        Some(back) => now_ms.saturating_sub(back.strip_prefix('-').and_then(duration_ms).ok_or_else(none)?),
        None => {
            let time = humantime::parse_rfc3339(text).map_err(|_| none())?;
            let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| none())?;
            i64::try_from(since.as_millis()).map_err(|_| none())?
        }
    };
    Ok(moment.clamp(0, MILLISECOND_MAX))
}

/// `15m` in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let unit = match text.chars().last()? {
        's' => SECOND,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return None,
    };
    let count = &text[..text.len() - 1];
    let is_number = count.bytes().all(|b| b.is_ascii_digit());
    count.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_767_355_200_000;

    #[test]
    fn ends_are_relative_or_absolute() {
        let read =
            |from, to| TimeRange::read(from, to, NOW).map(|range| (range.from_ms - NOW, range.to_ms - NOW));
        assert_eq!(read("now-15m", "now"), Ok((-15 * MINUTE, 0)));
        assert_eq!(read("now-2w", "now-1d"), Ok((-14 * DAY, -DAY)));
        assert_eq!(read("2026-01-02T11:00:00Z", "2026-01-02T12:00:00.001Z"), Ok((-HOUR, 1)));
        assert_eq!(read("now-9999999w", "now"), Ok((-NOW, 0)));
        assert_eq!(read("now", "now"), Err(RangeError::Backwards));
        assert_eq!(read("now", "now-1s"), Err(RangeError::Backwards));
        for text in
            ["", "now-", "now-m", "now+1h", "now-1x", "now--1h", "now- 1h", "now-99999999999999999999s"]
        {
            assert_eq!(read(text, "now"), Err(RangeError::NoTime(text.to_owned())), "{text}");
        }
        for text in ["2026-01-02", "2026-13-01T00:00:00Z", "1767355200000", "x\u{202e}"] {
            assert_eq!(read(text, "now"), Err(RangeError::NoTime(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn x06_a_histogram_has_as_many_bars_as_can_be_drawn(from in 0..MILLISECOND_MAX, span in 1..MILLISECOND_MAX) {
            let range = TimeRange { from_ms: from, to_ms: from.saturating_add(span) };
            let width = range.bar_ms();
            let bars = range.to_ms.div_euclid(width) - range.from_ms.div_euclid(width) + 1;
            prop_assert!((1..=BARS_MAX).contains(&bars), "{} bars of {} ms", bars, width);
        }
    }

    #[test]
    fn bars_have_a_width_that_can_be_read() {
        let width = |span| TimeRange { from_ms: 0, to_ms: span }.bar_ms();
        assert_eq!(width(1), 1);
        assert_eq!(width(15 * MINUTE), 10 * SECOND);
        assert_eq!(width(HOUR), 30 * SECOND + 30 * SECOND);
        assert_eq!(width(DAY), 15 * MINUTE);
        assert_eq!(width(7 * DAY), 2 * HOUR);
    }
}
