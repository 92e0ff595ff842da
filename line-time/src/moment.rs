//! A time as it is written, which may leave out its year or its zone, and what is meant by it.

use core::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

const SECOND_NS: i64 = 1_000_000_000;
/// A line without a year is not written further ahead than this.
const AHEAD_NS: i64 = 7 * 86_400 * SECOND_NS;
/// What 64 bits of nanoseconds reach lies in these years.
const YEARS: RangeInclusive<i16> = 1677..=2262;
/// From one 29th of February to the next, at most.
const LEAP_YEARS: i16 = 8;

#[derive(Copy, Clone, Debug)]
pub(crate) enum Moment {
    /// Nanoseconds since the epoch.
    Unix(i64),
    /// What a calendar and a clock show, in a zone that is written as well or left out.
    Civil { date: Date, clock: Clock, offset: Option<Offset> },
    /// The same without a year.
    Yearless { month: u16, day: u16, clock: Clock },
}

/// What a clock shows.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Clock {
    /// Below 24.
    pub(crate) hour: i8,
    /// Below 60.
    pub(crate) minute: i8,
    /// Up to 60, which is a leap second.
    pub(crate) second: i8,
    /// Below a second.
    pub(crate) nanos: i32,
}

/// The day of the calendar, if there is one. Asks first: an error of the library would be an allocation.
pub(crate) fn date(year: u16, month: u16, day: u16) -> Option<Date> {
    let (year, month, day) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    if !YEARS.contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let first = Date::new(year, month, 1).ok()?;
    if !(1..=first.days_in_month()).contains(&day) {
        return None;
    }
    Date::new(year, month, day).ok()
}

impl Moment {
    pub(crate) fn unix_ns(self, zone: &TimeZone, reference_ns: i64) -> Option<i64> {
        match self {
            Moment::Unix(ns) => Some(ns),
            Moment::Civil { date, clock, offset: Some(offset) } => {
                clock.on(date, |at| offset.to_timestamp(at).ok())
            }
            Moment::Civil { date, clock, offset: None } => clock.in_zone(date, zone),
            Moment::Yearless { month, day, clock } => {
                let latest_ns = reference_ns.saturating_add(AHEAD_NS);
                let reference = Timestamp::from_nanosecond(reference_ns.into()).ok()?;
                let this_year = Offset::UTC.to_datetime(reference).year();
                let years = (this_year - LEAP_YEARS..=this_year + 1).rev();
                let dates = years.filter_map(|year| self::date(year.unsigned_abs(), month, day));
                dates.filter_map(|date| clock.in_zone(date, zone)).find(|&ns| ns <= latest_ns)
            }
        }
    }
}

impl Clock {
    fn in_zone(self, date: Date, zone: &TimeZone) -> Option<i64> {
        // The later of two: whoever looks for what is not older than a time must not miss it.
        self.on(date, |at| zone.to_ambiguous_timestamp(at).later().ok())
    }

    fn on(self, date: Date, timestamp: impl Fn(DateTime) -> Option<Timestamp>) -> Option<i64> {
        let at = date.at(self.hour, self.minute, self.second.min(59), self.nanos);
        let ns = i64::try_from(timestamp(at)?.as_nanosecond()).ok()?;
        ns.checked_add(if self.second == 60 { SECOND_NS } else { 0 })
    }
}
