//! The times that log lines show.
//!
//! The first line that shows one decides which kind all others have; it is looked for where the last one
//! was, then from the beginning. Only distances matter, so a time without a zone is taken for UTC, and one
//! without a year for some year. Known kinds:
//!
//! ```text
//! 2026-11-22T20:31:06.123456Z   2026-11-22 20:31:06,123+01:00   2026/11/22 20:31:06
//! 22/Nov/2026:20:31:06 +0100
//! Nov 22 20:31:06               Sun Nov 22 20:31:06.123456 2026
//! 1795379466.123   1795379466   1795379466123   and with 16 or 19 digits
//! ```

use crate::civil::{MONTHS, days_of};

const SECOND_NS: u64 = 1_000_000_000;
/// How far into a line a time is looked for.
const LOOKED_BYTES: usize = 4096;
/// The year of times that have none: a leap year, so that the 29th of February exists.
const SOME_YEAR: i64 = 2000;

/// A moment as a log shows it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Nanoseconds since the Unix epoch.
    pub ns: u64,
    /// The smallest step of the clock that wrote it.
    pub resolution_ns: u64,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Kind {
    Iso,
    Access,
    Syslog,
    Epoch,
}

/// Reads the times of the lines of one log.
#[derive(Clone, Debug, Default)]
pub struct LogClock {
    /// What kind the log has, and where it was in the last line.
    found: Option<(Kind, usize)>,
    /// The year and the time of the last line of a log without years.
    last: Option<(i64, u64)>,
}

impl LogClock {
    /// The time of a line, if it shows one.
    pub fn time_of(&mut self, line: &[u8]) -> Option<Shown> {
        let line = &line[..line.len().min(LOOKED_BYTES)];
        let (kind, at) = match self.found {
            Some((kind, at)) if self.read(kind, line, at).is_some() => (kind, at),
            Some((kind, _)) => (kind, self.find(kind, line)?),
            // A number may be anything: it is a time only if nothing else is.
            None => [Kind::Iso, Kind::Access, Kind::Syslog, Kind::Epoch]
                .into_iter()
                .find_map(|kind| Some((kind, self.find(kind, line)?)))?,
        };
        self.found = Some((kind, at));
        match kind {
            Kind::Syslog => self.in_nearest_year(line, at),
            _ => self.read(kind, line, at),
        }
    }

    /// Of a time without a year, the one nearest to the line before: logs pass the turn of the year, and
    /// lines overtake each other there, too.
    fn in_nearest_year(&mut self, line: &[u8], at: usize) -> Option<Shown> {
        let read = |year| Scan { rest: &line[at..] }.syslog(year).map(|shown| (year, shown));
        let (year, shown) = match self.last {
            None => read(SOME_YEAR)?,
            Some((year, last_ns)) => {
                let years = (year - 1..=year + 1).filter_map(read);
                years.min_by_key(|(_, shown)| shown.ns.abs_diff(last_ns))?
            }
        };
        self.last = Some((year, shown.ns));
        Some(shown)
    }

    fn find(&self, kind: Kind, line: &[u8]) -> Option<usize> {
        (0..line.len()).find(|at| self.read(kind, line, *at).is_some())
    }

    fn read(&self, kind: Kind, line: &[u8], at: usize) -> Option<Shown> {
        // A time begins where a word does.
        if at > 0 && line.get(at - 1)?.is_ascii_alphanumeric() {
            return None;
        }
        let mut scan = Scan { rest: line.get(at..)? };
        match kind {
            Kind::Iso => scan.iso(),
            Kind::Access => scan.access(),
            Kind::Syslog => scan.syslog(SOME_YEAR),
            Kind::Epoch => scan.epoch(),
        }
    }
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn one_of(&mut self, choices: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        choices.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.rest.split_at_checked(digits)?;
        let value = number.iter().try_fold(0i64, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
        })?;
        self.rest = rest;
        Some(value)
    }

    fn two(&mut self, from: i64, to: i64) -> Option<i64> {
        self.number(2).filter(|number| (from..=to).contains(number))
    }

    fn month(&mut self) -> Option<i64> {
        let (name, rest) = self.rest.split_at_checked(3)?;
        let month = MONTHS.iter().position(|month| month.as_bytes() == name)?;
        self.rest = rest;
        Some(month as i64 + 1)
    }

    /// `20:31:06`, in seconds.
    fn of_day(&mut self) -> Option<i64> {
        let hour = self.two(0, 23)?;
        self.one_of(b":")?;
        let minute = self.two(0, 59)?;
        self.one_of(b":")?;
        Some(hour * 3600 + minute * 60 + self.two(0, 60)?)
    }

    /// Digits after a point or a comma, if there are any: nanoseconds and resolution.
    fn fraction(&mut self) -> (u64, u64) {
        let digits = match self.rest {
            [b'.' | b',', digits @ ..] => digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            _ => 0,
        };
        if digits == 0 {
            return (0, SECOND_NS);
        }
        let (mut ns, mut resolution_ns) = (0, SECOND_NS);
        for byte in self.rest[1..=digits].iter().take(9) {
            resolution_ns /= 10;
            ns += u64::from(byte - b'0') * resolution_ns;
        }
        self.rest = &self.rest[1 + digits..];
        (ns, resolution_ns)
    }

    /// `+0100` or `+01:00`, in seconds; nothing and `Z` are 0.
    fn offset(&mut self) -> i64 {
        let mut read = || {
            let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
            let hours = self.two(0, 23)?;
            let _colon = self.one_of(b":");
            Some(sign * (hours * 3600 + self.two(0, 59)? * 60))
        };
        read().unwrap_or(0)
    }

    fn iso(&mut self) -> Option<Shown> {
        let year = self.number(4)?;
        let mark = self.one_of(b"-/")?;
        let month = self.two(1, 12)?;
        self.one_of(&[mark])?;
        let day = self.two(1, 31)?;
        self.one_of(b"T ")?;
        let of_day = self.of_day()?;
        let fraction = self.fraction();
        shown(days_of(year, month, day), of_day - self.offset(), fraction)
    }

    fn access(&mut self) -> Option<Shown> {
        let day = self.two(1, 31)?;
        self.one_of(b"/")?;
        let month = self.month()?;
        self.one_of(b"/")?;
        let year = self.number(4)?;
        self.one_of(b":")?;
        let of_day = self.of_day()?;
        let fraction = self.fraction();
        self.one_of(b" ")?;
        shown(days_of(year, month, day), of_day - self.offset(), fraction)
    }

    fn syslog(&mut self, year: i64) -> Option<Shown> {
        let month = self.month()?;
        self.one_of(b" ")?;
        let day = match self.one_of(b" ") {
            Some(_) => self.number(1)?,
            None => self.two(1, 31)?,
        };
        self.one_of(b" ")?;
        let of_day = self.of_day()?;
        let fraction = self.fraction();
        let mut after = Scan { rest: self.rest };
        let own_year = after.one_of(b" ").and_then(|_| after.number(4)).filter(|year| *year >= 1970);
        shown(days_of(own_year.unwrap_or(year), month, day), of_day, fraction)
    }

    fn epoch(&mut self) -> Option<Shown> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let resolution_ns = match digits {
            10 => SECOND_NS,
            13 => 1_000_000,
            16 => 1_000,
            19 => 1,
            _ => return None,
        };
        // From 2001 to 2286, as long as ten digits suffice.
        let whole = u64::try_from(self.number(digits)?).ok()?.checked_mul(resolution_ns)?;
        (whole >= SECOND_NS * SECOND_NS).then_some(())?;
        match digits {
            10 => {
                let (ns, resolution_ns) = self.fraction();
                Some(Shown { ns: whole + ns, resolution_ns })
            }
            _ => Some(Shown { ns: whole, resolution_ns }),
        }
    }
}

fn shown(days: i64, of_day: i64, (fraction_ns, resolution_ns): (u64, u64)) -> Option<Shown> {
    let second = u64::try_from(days * 86_400 + of_day).ok()?;
    Some(Shown { ns: second.checked_mul(SECOND_NS)?.checked_add(fraction_ns)?, resolution_ns })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOMENT: u64 = 1_795_379_466;

    fn time_of(line: &str) -> Option<Shown> {
        LogClock::default().time_of(line.as_bytes())
    }

    #[test]
    fn every_kind_is_read_wherever_it_stands() {
        for (line, fraction_ns, resolution_ns) in [
            ("2026-11-22T20:31:06.123456Z level=info", 123_456_000, 1_000),
            ("2026-11-22T21:31:06+01:00 x", 0, SECOND_NS),
            ("[2026-11-22 20:31:06,123] ERROR", 123_000_000, 1_000_000),
            ("2026/11/22 20:31:06 [error] 7#7: *1", 0, SECOND_NS),
            ("{\"id\":\"a\",\"time\":\"2026-11-22T15:31:06.5-05:00\"}", 500_000_000, 100_000_000),
            ("<134>1 2026-11-22T20:31:06.000001Z web orders", 1_000, 1_000),
            ("10.0.0.1 - - [22/Nov/2026:21:31:06 +0100] \"GET /\" 200", 0, SECOND_NS),
            ("[Sun Nov 22 20:31:06.250000 2026] [core:error]", 250_000_000, 1_000),
            ("1795379466.125 200 GET", 125_000_000, 1_000_000),
            ("{\"level\":30,\"time\":1795379466123,\"pid\":1}", 123_000_000, 1_000_000),
            ("ts=1795379466000001 x", 1_000, 1_000),
            ("1795379466000000009", 9, 1),
        ] {
            let expected = Shown { ns: MOMENT * SECOND_NS + fraction_ns, resolution_ns };
            assert_eq!(time_of(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for line in [
            "",
            "a b c",
            "2026-13-01 00:00:00",
            "id 179537946612",
            "x1795379466",
            "0000000001",
            "22/Foo/2026:00:00:00 +0000",
        ] {
            assert_eq!(time_of(line), None, "{line}");
        }
    }

    #[test]
    fn a_log_without_years_passes_the_turn_of_the_year() {
        let mut clock = LogClock::default();
        let mut ns = |line: &str| clock.time_of(line.as_bytes()).unwrap().ns;
        let old = ns("Dec 31 23:59:59 web sshd[7]: bye");
        let new = ns("Jan  1 00:00:01 web sshd[7]: hello");
        assert_eq!(new - old, 2 * SECOND_NS);
        assert_eq!(ns("Dec 31 23:59:58 web late"), old - SECOND_NS, "a line that was overtaken");
    }

    #[test]
    fn the_first_time_of_a_line_counts_and_its_kind_is_kept() {
        let mut clock = LogClock::default();
        assert!(clock.time_of(b"2026-11-22 20:31:06 request 1795379470").is_some());
        assert_eq!(clock.time_of(b"continued 1795379470"), None);
        assert!(clock.time_of(b"  moved 2026-11-22 20:31:06").is_some());
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(line: Vec<u8>, text in "[0-9TZ:., /+-]{0,40}") {
            let _time = LogClock::default().time_of(&line);
            let _time = LogClock::default().time_of(text.as_bytes());
        }
    }
}
