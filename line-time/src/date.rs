//! Dates with their clock and zone, in the ways in which logs write them. Each function takes what it knows, or
//! nothing.

use jiff::tz::Offset;

use crate::cursor::Cursor;
use crate::moment::{Clock, Moment, date};

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// `2026-11-26T10:11:12.345Z`, with `/` or `.` in the date, or a space before the clock.
pub(crate) fn iso(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    let year = next.digits(4)?;
    let between = next.take_any(b"-/.")?;
    let month = next.digits(2)?;
    next.take(between)?;
    let day = next.digits(2)?;
    next.take_any(b"T t")?;
    let clock = clock(&mut next)?;
    let offset = offset(&mut next);
    let moment = Moment::Civil { date: date(year, month, day)?, clock, offset };
    next.is_at_end_of_word().then(|| *at = next)?;
    Some(moment)
}

/// `Nov 26 10:11:12`, also `Thu Nov  6 10:11:12.345 2026` and `Nov 26 2026 10:11:12`.
pub(crate) fn named(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    if WEEKDAYS.iter().any(|name| next.take_text(*name).is_some()) {
        next.take(b' ')?;
    }
    let month = month(&mut next)?;
    next.take(b' ')?;
    // One digit may stand alone, or behind another space.
    let _padding = next.take(b' ');
    let day = next.digits(2).or_else(|| next.digits(1))?;
    next.take(b' ')?;
    let before = year_and(b' ', &mut next);
    let clock = clock(&mut next)?;
    let offset = offset(&mut next);
    let year = before.or_else(|| {
        let mut behind = next;
        behind.take(b' ')?;
        let year = behind.digits(4)?;
        // What else begins with a number is the message.
        matches!(behind.peek(), None | Some(b' ' | b']')).then(|| next = behind)?;
        Some(year)
    });
    let moment = match year {
        Some(year) => Moment::Civil { date: date(year, month, day)?, clock, offset },
        None => yearless(month, day, clock)?,
    };
    next.is_at_end_of_word().then(|| *at = next)?;
    Some(moment)
}

/// `26/Nov/2026:10:11:12 +0000` of access logs, `26-Nov-2026 10:11:12.345` of Tomcat, BIND and PHP.
pub(crate) fn day_first(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    let day = next.digits(2)?;
    let between = next.take_any(b"/-")?;
    let month = month(&mut next)?;
    next.take(between)?;
    let year = next.digits(4)?;
    next.take_any(b": ")?;
    let clock = clock(&mut next)?;
    let offset = offset(&mut next);
    let moment = Moment::Civil { date: date(year, month, day)?, clock, offset };
    next.is_at_end_of_word().then(|| *at = next)?;
    Some(moment)
}

/// `1126 10:11:12.345678`, and `20261126 10:11:12.345678`: behind the letter of klog and glog.
pub(crate) fn numbered(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    let digits = next.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let year = match digits {
        4 => None,
        8 => Some(next.digits(4)?),
        _ => return None,
    };
    let (month, day) = (next.digits(2)?, next.digits(2)?);
    next.take(b' ')?;
    let clock = clock(&mut next)?;
    let moment = match year {
        Some(year) => Moment::Civil { date: date(year, month, day)?, clock, offset: None },
        None => yearless(month, day, clock)?,
    };
    next.is_at_end_of_word().then(|| *at = next)?;
    Some(moment)
}

fn yearless(month: u16, day: u16, clock: Clock) -> Option<Moment> {
    // In some year it must be there.
    date(2000, month, day).map(|_| Moment::Yearless { month, day, clock })
}

fn month(at: &mut Cursor<'_>) -> Option<u16> {
    let found = MONTHS.iter().position(|name| at.take_text(*name).is_some())?;
    u16::try_from(found + 1).ok()
}

fn year_and(end: u8, at: &mut Cursor<'_>) -> Option<u16> {
    let mut next = *at;
    let year = next.digits(4)?;
    next.take(end)?;
    *at = next;
    Some(year)
}

/// `10:11:12`, with a fraction of a second behind `.` or `,`. The twelve hours of a clock with AM and PM are refused:
/// a wrong half of the day is worse than no time.
fn clock(at: &mut Cursor<'_>) -> Option<Clock> {
    let hour = at.digits(2)?;
    at.take(b':')?;
    let minute = at.digits(2)?;
    at.take(b':')?;
    let second = at.digits(2)?;
    let mut fraction = *at;
    let mut nanos = 0;
    if fraction.take_any(b".,").is_some() {
        let digits = fraction.take_while(|byte| byte.is_ascii_digit());
        if !digits.is_empty() {
            let places = (0..9).map(|place| digits.get(place).map_or(0, |digit| i32::from(digit - b'0')));
            nanos = places.fold(0, |nanos, digit| nanos * 10 + digit);
            *at = fraction;
        }
    }
    let mut half = *at;
    let _space = half.take(b' ');
    let twelve = matches!(half.rest(), [b'A' | b'P' | b'a' | b'p', b'M' | b'm', ..]);
    half.skip(2);
    if hour > 23 || minute > 59 || second > 60 || (twelve && half.is_at_end_of_word()) {
        return None;
    }
    Some(Clock { hour: hour as i8, minute: minute as i8, second: second as i8, nanos })
}

/// `Z`, `+01:00`, `+0100`, `+01`, and behind a space also `UTC` and `GMT`. Other abbreviations mean several zones, and
/// are no zone here.
fn offset(at: &mut Cursor<'_>) -> Option<Offset> {
    let mut next = *at;
    let spaced = next.take(b' ').is_some();
    let seconds = match next.peek()? {
        b'Z' | b'z' => {
            next.skip(1);
            0
        }
        b'U' | b'G' if spaced => next.take_text(b"UTC").or_else(|| next.take_text(b"GMT")).map(|()| 0)?,
        sign @ (b'+' | b'-') => {
            next.skip(1);
            let hours = next.digits(2)?;
            let colon = next.take(b':').is_some();
            // Behind a space only four digits are a zone and not a number.
            let minutes = match next.digits(2) {
                Some(minutes) => minutes,
                None if colon || spaced => return None,
                None => 0,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    next.is_at_end_of_word().then(|| *at = next)?;
    Offset::from_seconds(seconds).ok()
}
