//! Where in a line its time stands: at its beginning, or where formats put something short before it.

use crate::HEAD_BYTES_MAX;
use crate::cursor::Cursor;
use crate::json::Members;
use crate::moment::Moment;
use crate::{date, epoch, level};

/// How members of JSON objects and keys of logfmt are called that hold a time.
const NAMES: [&[u8]; 7] = [b"time", b"ts", b"timestamp", b"@timestamp", b"datetime", b"asctime", b"@t"];

/// The beginning of a line, without what is not part of its text.
pub(crate) fn begin(line: &[u8]) -> Cursor<'_> {
    let mut at = Cursor::at(&line[..line.len().min(HEAD_BYTES_MAX)]);
    let _mark = at.take_text(b"\xef\xbb\xbf");
    at.skip_styles();
    at
}

/// The time in the head of a line, and what stands behind it.
pub(crate) fn of_text(line: &[u8]) -> Option<(Moment, Cursor<'_>)> {
    let start = begin(line);
    // The most frequent line without a time is the continuation of another.
    if matches!(start.peek(), None | Some(b' ' | b'\t')) {
        return None;
    }
    let mut at = start;
    if let Some(moment) = stamp(&mut at) {
        return Some((moment, at));
    }
    if let Some(moment) = syslog(&mut at).or_else(|| klog(&mut at)).or_else(|| behind_level(&mut at)) {
        return Some((moment, at));
    }
    let key = pairs(start).find_map(|(name, value)| is_time(name).then(|| of_value(value)).flatten());
    if let Some(moment) = key {
        return Some((moment, start));
    }
    access(start)
}

/// The time of a JSON object: its first member that is called like one and reads as one.
pub(crate) fn of_members(mut members: Members<'_>) -> Option<Moment> {
    members.find_map(|(name, value)| is_time(name).then(|| of_value(value)).flatten())
}

fn is_time(name: &[u8]) -> bool {
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn of_value(value: &[u8]) -> Option<Moment> {
    stamp(&mut Cursor::at(value))
}

/// A date or a number that is one, perhaps in brackets.
fn stamp(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    let _bracket = next.take(b'[');
    let moment = match next.peek()? {
        b'0'..=b'9' => {
            date::iso(&mut next).or_else(|| date::day_first(&mut next)).or_else(|| epoch::epoch(&mut next))
        }
        b'A'..=b'Z' => date::named(&mut next),
        _ => None,
    }?;
    *at = next;
    Some(moment)
}

/// The priority of syslog, and the version that follows it in its newer form.
pub(crate) fn priority(at: &mut Cursor<'_>) -> Option<u16> {
    let mut next = *at;
    next.take(b'<')?;
    let digits = next.take_while(|byte| byte.is_ascii_digit());
    let priority = Cursor::at(digits).digits(digits.len()).filter(|_| (1..=3).contains(&digits.len()))?;
    next.take(b'>')?;
    let _version = next.take_text(b"1 ");
    *at = next;
    (priority < 192).then_some(priority)
}

fn syslog(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    priority(&mut next)?;
    let moment = stamp(&mut next)?;
    *at = next;
    Some(moment)
}

/// The letter of klog and its time.
pub(crate) fn klog(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    next.take_any(b"DIWEF")?;
    let moment = date::numbered(&mut next)?;
    *at = next;
    Some(moment)
}

/// `INFO  [main] 2026-...`, `[WARN] 2026-...`, `E, [2026-...`: a level, and perhaps a thread in brackets.
fn behind_level(at: &mut Cursor<'_>) -> Option<Moment> {
    let mut next = *at;
    level::leading(&mut next)?;
    next.take_while(|byte| matches!(byte, b' ' | b'\t' | b':' | b'-' | b'|' | b','));
    let mut behind = next;
    let moment = stamp(&mut next).or_else(|| {
        behind.take(b'[')?;
        behind.take_while(|byte| byte != b']');
        behind.take(b']')?;
        behind.take_while(|byte| byte == b' ');
        next = behind;
        stamp(&mut next)
    })?;
    *at = next;
    Some(moment)
}

/// The pairs of logfmt with which a line begins. A value in quotes is what stands between them.
pub(crate) fn pairs(mut at: Cursor<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    core::iter::from_fn(move || {
        let name =
            at.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@' | b'-'));
        at.take(b'=').filter(|()| !name.is_empty())?;
        let value = match at.take(b'"') {
            Some(()) => {
                let mut escaped = false;
                let value = at.take_while(|byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    !ends
                });
                at.take(b'"')?;
                value
            }
            None => at.take_while(|byte| byte != b' '),
        };
        at.take_while(|byte| byte == b' ');
        Some((name, value))
    })
}

/// The time of an access log, which stands in brackets behind host and user.
fn access(mut at: Cursor<'_>) -> Option<(Moment, Cursor<'_>)> {
    loop {
        let bracket = memchr::memchr(b'[', at.rest())?;
        at.skip(bracket + 1);
        if let Some(moment) = date::day_first(&mut at) {
            return Some((moment, at));
        }
    }
}
