//! Where to begin in files that are there when their item is first seen: what `read_from` takes.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::problem::hint;
use super::units;

/// Where to begin in a file that has no position yet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ReadFrom {
    /// At its first byte.
    Beginning,
    /// Behind its last byte.
    End,
    /// At its first line of this time or later.
    Since(When),
}

/// A time, as it is written.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum When {
    /// The same moment everywhere.
    At(Timestamp),
    /// What calendar and clock show where the agent runs.
    Local(DateTime),
    /// So long before the agent has first seen the item.
    Before(Duration),
}

/// Ten years; whoever wants more wants the beginning.
const BEFORE_MAX: Duration = Duration::from_secs(315_576_000);

/// What is allowed, for whoever wrote something else.
pub(super) const ALLOWED: &str = "\"beginning\", \"end\", a span back like \"-24h\", or a time like \
     \"2026-11-26T10:00:00Z\", \"2026-11-26 10:00\", \"2026-11-26\"";

impl ReadFrom {
    /// From what is written; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<ReadFrom, String> {
        match text {
            "beginning" => Ok(ReadFrom::Beginning),
            "end" => Ok(ReadFrom::End),
            _ => When::parse(text).map(ReadFrom::Since),
        }
    }

    /// What is unwise about it now, in milliseconds since the epoch.
    #[must_use]
    pub fn warning(self, now_ms: i64) -> Option<String> {
        let ReadFrom::Since(when) = self else { return None };
        (when.unix_ns(now_ms) / 1_000_000 > now_ms).then(|| {
            format!("`read_from` is {self}, which is yet to come: of the files that are there nothing is sent, as with \"end\"")
        })
    }
}

impl When {
    fn parse(text: &str) -> Result<When, String> {
        if let Some(span) = text.strip_prefix('-') {
            let span = units::parse_duration(span)?;
            return match span <= BEFORE_MAX {
                true => Ok(When::Before(span)),
                false => {
                    Err(format!("it is more than {} back; write \"beginning\"", units::duration(BEFORE_MAX)))
                }
            };
        }
        if units::parse_duration(text).is_ok() {
            return Err(format!("it is a span without a direction; back is \"-{text}\""));
        }
        if let Ok(at) = text.parse() {
            return Ok(When::At(at));
        }
        // The library reads more: names of zones, which it then passes over.
        let plain = |byte: u8| byte.is_ascii_digit() || b"-: T.".contains(&byte);
        match text.parse() {
            Ok(at) if text.bytes().all(plain) => Ok(When::Local(at)),
            _ => Err(format!("allowed: {ALLOWED}{}", hint(text, ["beginning", "end"].into_iter()))),
        }
    }

    /// In nanoseconds since the epoch, for an item that was first seen at `first_seen_ms` (milliseconds since the
    /// epoch). Of an hour that the clocks here show twice it is the first one.
    #[must_use]
    pub fn unix_ns(self, first_seen_ms: i64) -> i64 {
        let ns = match self {
            When::At(at) => at.as_nanosecond(),
            When::Local(at) => {
                let earlier = TimeZone::system().to_ambiguous_timestamp(at).earlier();
                // Only the ends of all time have no moment.
                earlier.map_or(0, Timestamp::as_nanosecond)
            }
            When::Before(span) => {
                let ns = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
                i128::from(first_seen_ms) * 1_000_000 - ns
            }
        };
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

impl fmt::Display for ReadFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadFrom::Beginning => f.write_str("beginning"),
            ReadFrom::End => f.write_str("end"),
            ReadFrom::Since(When::At(at)) => at.fmt(f),
            ReadFrom::Since(When::Local(at)) => at.fmt(f),
            ReadFrom::Since(When::Before(span)) => write!(f, "-{}", units::duration(*span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_words_times_and_spans_back() {
        let mut shown = String::new();
        for text in [
            "beginning",
            "end",
            "-24h",
            "-1d 12h",
            "-0s",
            "2026-11-26T10:00:00Z",
            "2026-11-26T10:00:00+01:00",
            "2026-11-26 10:00:00.5Z",
            "2026-11-26T10:00:00",
            "2026-11-26 10:00",
            "2026-11-26",
            "",
            "yesterday",
            "begining",
            "24h",
            "-",
            "-24",
            "-11y",
            "+24h",
            "2026-02-30",
            "2026-11-26 25:00",
            "10:00",
            "2026-11-26T10:00[Europe/Berlin]",
            "2026-11-26T10:00+01:00[Europe/Berlin]",
            "26.11.2026",
            "1795687872",
        ] {
            shown += &match ReadFrom::parse(text) {
                Ok(from) => format!("{text:?} = {from}\n"),
                Err(why) => format!("{text:?}: {why}\n"),
            };
        }
        expect![[r#"
            "beginning" = beginning
            "end" = end
            "-24h" = -1day
            "-1d 12h" = -1day 12h
            "-0s" = -0s
            "2026-11-26T10:00:00Z" = 2026-11-26T10:00:00Z
            "2026-11-26T10:00:00+01:00" = 2026-11-26T09:00:00Z
            "2026-11-26 10:00:00.5Z" = 2026-11-26T10:00:00.5Z
            "2026-11-26T10:00:00" = 2026-11-26T10:00:00
            "2026-11-26 10:00" = 2026-11-26T10:00:00
            "2026-11-26" = 2026-11-26T00:00:00
            "": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "yesterday": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "begining": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26" (did you mean `beginning`?)
            "24h": it is a span without a direction; back is "-24h"
            "-": "" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "-24": "24" needs a unit, like "24ms" or "24s"
            "-11y": it is more than 10years back; write "beginning"
            "+24h": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "2026-02-30": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "2026-11-26 25:00": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "10:00": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "2026-11-26T10:00[Europe/Berlin]": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "2026-11-26T10:00+01:00[Europe/Berlin]" = 2026-11-26T09:00:00Z
            "26.11.2026": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
            "1795687872": allowed: "beginning", "end", a span back like "-24h", or a time like "2026-11-26T10:00:00Z", "2026-11-26 10:00", "2026-11-26"
        "#]].assert_eq(&shown);
    }

    #[test]
    fn a_span_back_is_counted_from_the_first_sight() {
        let ns = |text: &str| match ReadFrom::parse(text) {
            Ok(ReadFrom::Since(when)) => when.unix_ns(1_795_687_872_345),
            other => panic!("{other:?}"),
        };
        assert_eq!(ns("-1h"), 1_795_684_272_345_000_000);
        assert_eq!(ns("-0s"), 1_795_687_872_345_000_000);
        assert_eq!(ns("2026-11-26T10:11:12Z"), 1_795_687_872_000_000_000);
        assert_eq!(ns("1970-01-01T00:00:00Z"), 0);
        assert_eq!(ns("9999-01-01T00:00:00Z"), i64::MAX);
        assert_eq!(ReadFrom::parse("-10years").map(|from| from == ReadFrom::End), Ok(false));
        let When::Before(span) = When::parse("-1ns").unwrap() else { panic!() };
        assert_eq!(When::Before(span).unix_ns(i64::MIN), i64::MIN);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(text in "-?[0-9]{1,4}[-hdms]?[0-9T: ]{0,12}Z?") {
            if let Ok(from) = ReadFrom::parse(&text) {
                prop_assert_eq!(ReadFrom::parse(&from.to_string()), Ok(from));
            }
        }
    }
}
