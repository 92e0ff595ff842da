//! Dates and times of day in UTC, as the formats write them.
//!
//! Only what log lines need: no time zones but offsets, no leap seconds (the Unix clock has none), years
//! 0 to 9999. A [`Face`] keeps the text of the second it showed last, so a line costs its fraction's digits.

const DAY_SECONDS: i64 = 86_400;
const SECOND_NS: u64 = 1_000_000_000;
/// Days from the first of March of the year 0 to the Unix epoch.
const EPOCH_DAYS: i64 = 719_468;

/// The names that nginx and syslog use.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Days from the Unix epoch to a date; `month` and `day` count from 1.
#[must_use]
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, months have 31, 30, 31, 30, 31 days, and that again: 153 in five.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - EPOCH_DAYS
}

/// Year, month and day of so many days after the Unix epoch.
#[must_use]
pub fn date_of(days: i64) -> (i64, i64, i64) {
    // A guess that is never too late.
    let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (2..=12).rev().find(|month| days_of(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_of(year, month, 1) + 1)
}

/// How a time is written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Style {
    /// `22/Nov/2026:20:31:06 +0000`
    Access,
    /// `2026-11-22T20:31:06.123Z`, with so many digits after the point.
    Rfc3339 {
        /// Digits after the point, 1 to 9.
        digits: usize,
    },
    /// `2026-11-22 20:31:06,123`
    Java,
}

impl Style {
    /// How long a time is.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Style::Access => 26,
            Style::Rfc3339 { digits } => 21 + digits,
            Style::Java => 23,
        }
    }

    /// Where the digits of the fraction are, and how many.
    fn fraction(self) -> (usize, usize) {
        match self {
            Style::Access => (0, 0),
            Style::Rfc3339 { digits } => (20, digits),
            Style::Java => (20, 3),
        }
    }
}

/// Writes times in one style.
#[derive(Clone, Debug)]
pub struct Face {
    style: Style,
    /// The second that `text` shows.
    second: u64,
    text: Vec<u8>,
}

impl Face {
    /// A face that shows times in this style.
    #[must_use]
    pub fn new(style: Style) -> Face {
        Face { style, second: 0, text: spelled(style, 0) }
    }

    /// The text of a moment, in nanoseconds since the Unix epoch.
    #[inline]
    pub fn show(&mut self, ns: u64) -> &[u8] {
        let (second, mut fraction) = (ns / SECOND_NS, (ns % SECOND_NS) as u32);
        if second != self.second {
            self.second = second;
            self.text = spelled(self.style, second);
        }
        let (at, digits) = self.style.fraction();
        if digits > 0 {
            fraction /= 10u32.pow(9 - digits as u32);
            for digit in self.text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
        }
        &self.text
    }
}

fn spelled(style: Style, second: u64) -> Vec<u8> {
    let (days, of_day) = ((second as i64).div_euclid(DAY_SECONDS), (second as i64).rem_euclid(DAY_SECONDS));
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let text = match style {
        Style::Access => {
            let month = MONTHS[month as usize - 1];
            format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
        }
        Style::Rfc3339 { digits } => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:0digits$}Z", 0)
        }
        Style::Java => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},000"),
    };
    debug_assert_eq!(text.len(), style.bytes());
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_style_shows_the_same_moment() {
        let moment = 1_795_379_466_123_456_789;
        let shown = |style| String::from_utf8(Face::new(style).show(moment).to_vec()).unwrap();
        assert_eq!(shown(Style::Access), "22/Nov/2026:20:31:06 +0000");
        assert_eq!(shown(Style::Rfc3339 { digits: 3 }), "2026-11-22T20:31:06.123Z");
        assert_eq!(shown(Style::Rfc3339 { digits: 9 }), "2026-11-22T20:31:06.123456789Z");
        assert_eq!(shown(Style::Java), "2026-11-22 20:31:06,123");
    }

    #[test]
    fn every_day_of_eight_centuries_has_one_date() {
        let (first, last) = (days_of(1600, 1, 1), days_of(2400, 1, 1));
        assert_eq!(days_of(1970, 1, 1), 0);
        let mut before = date_of(first - 1);
        assert_eq!(before, (1599, 12, 31));
        for days in first..=last {
            let date = date_of(days);
            assert_eq!(days_of(date.0, date.1, date.2), days);
            assert!(date > before, "{date:?} after {before:?}");
            before = date;
        }
    }

    proptest! {
        #[test]
        fn a_face_that_showed_something_else_agrees_with_another_implementation(
            moments in prop::collection::vec(0..253_402_300_799_000_000_000u128, 1..20),
        ) {
            let mut face = Face::new(Style::Rfc3339 { digits: 9 });
            for moment in moments {
                let moment = (moment % u128::from(u64::MAX)) as u64;
                let expected = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(moment));
                let shown = String::from_utf8(face.show(moment).to_vec()).unwrap();
                prop_assert_eq!(shown, expected.to_string());
            }
        }
    }
}
