//! How serious a line says it is.
//!
//! A level stands in a place that its format gives it: before or behind the time, in brackets or in capitals, as a
//! letter, a number, a priority, a member. A word of the message is none, so what could be either is none.

use crate::cursor::Cursor;
use crate::head;
use crate::json;

/// How serious a line is, the least serious first.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Level {
    /// Steps of an algorithm.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What happens as it should.
    Info,
    /// The same, and worth a look.
    Notice,
    /// May become an error.
    Warn,
    /// Something failed.
    Error,
    /// Critical, alert, emergency, panic: the program, or more than it, cannot go on.
    Fatal,
}

impl Level {
    /// Its name in small letters: `info`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }
}

const WORDS: [(&[u8], Level); 32] = [
    (b"info", Level::Info),
    (b"error", Level::Error),
    (b"warn", Level::Warn),
    (b"warning", Level::Warn),
    (b"debug", Level::Debug),
    (b"trace", Level::Trace),
    (b"notice", Level::Notice),
    (b"critical", Level::Fatal),
    (b"fatal", Level::Fatal),
    (b"inf", Level::Info),
    (b"information", Level::Info),
    (b"informational", Level::Info),
    // Of PostgreSQL.
    (b"log", Level::Info),
    // Of MySQL.
    (b"note", Level::Notice),
    (b"err", Level::Error),
    (b"severe", Level::Error),
    (b"wrn", Level::Warn),
    (b"dbg", Level::Debug),
    (b"dbug", Level::Debug),
    (b"trc", Level::Trace),
    (b"trce", Level::Trace),
    (b"verbose", Level::Trace),
    (b"vrb", Level::Trace),
    (b"fine", Level::Debug),
    (b"crit", Level::Fatal),
    (b"ftl", Level::Fatal),
    (b"panic", Level::Fatal),
    (b"dpanic", Level::Fatal),
    (b"pnc", Level::Fatal),
    (b"emerg", Level::Fatal),
    (b"emergency", Level::Fatal),
    (b"alert", Level::Fatal),
];

const NAMES: [&[u8]; 7] = [b"level", b"severity", b"lvl", b"log.level", b"levelname", b"level_name", b"@l"];

/// Words between the time and the level: threads, process numbers, names of loggers.
const WORDS_BETWEEN_MAX: usize = 4;

/// The level that a line says it has; `None` if it says none that is known.
#[must_use]
pub fn level(line: &[u8]) -> Option<Level> {
    if let Some(mut members) = json::object(line) {
        return members.find_map(|(name, value)| is_level(name).then(|| of_value(value)).flatten());
    }
    let start = head::begin(line);
    if let Some(priority) = head::priority(&mut { start }) {
        return of_severity(priority % 8);
    }
    if head::klog(&mut { start }).is_some() {
        return of_letter(start.peek()?);
    }
    if let Some(level) = leading(&mut { start }) {
        return Some(level);
    }
    let key = head::pairs(start).find_map(|(name, value)| is_level(name).then(|| of_value(value)).flatten());
    key.or_else(|| behind(head::of_text(line)?.1))
}

fn is_level(name: &[u8]) -> bool {
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn of_word(word: &[u8]) -> Option<Level> {
    let found = WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known))?;
    Some(found.1)
}

/// The letter of klog and of Ruby's logger.
fn of_letter(letter: u8) -> Option<Level> {
    match letter {
        b'D' => Some(Level::Debug),
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' => Some(Level::Fatal),
        _ => None,
    }
}

/// The severity of syslog, which counts the other way.
fn of_severity(severity: u16) -> Option<Level> {
    match severity {
        0..=2 => Some(Level::Fatal),
        3 => Some(Level::Error),
        4 => Some(Level::Warn),
        5 => Some(Level::Notice),
        6 => Some(Level::Info),
        7 => Some(Level::Debug),
        _ => None,
    }
}

/// A word, a severity of syslog (GELF has it), or one of the tens of pino and bunyan.
fn of_value(value: &[u8]) -> Option<Level> {
    let value = value.trim_ascii();
    let mut at = Cursor::at(value);
    let Some(number) = at.digits(value.len()).filter(|_| !value.is_empty()) else { return of_word(value) };
    match number {
        10..20 => Some(Level::Trace),
        20..30 => Some(Level::Debug),
        30..40 => Some(Level::Info),
        40..50 => Some(Level::Warn),
        50..60 => Some(Level::Error),
        60..70 => Some(Level::Fatal),
        severity => of_severity(severity),
    }
}

/// Takes the level with which a line begins: `[warn]`, `INFO`, `ERROR:`, and Ruby's `E,` before a bracket.
pub(crate) fn leading(at: &mut Cursor<'_>) -> Option<Level> {
    let mut next = *at;
    let level = match next.peek()? {
        b'[' | b'<' => of_word(enclosed(&mut next)?.trim_ascii())?,
        letter if next.rest().get(1..4) == Some(b", [") => {
            next.skip(2);
            of_letter(letter)?
        }
        _ => {
            let word = next.take_while(|byte| byte.is_ascii_uppercase());
            matches!(next.peek(), None | Some(b' ' | b'\t' | b':' | b'[' | b'\x1b'))
                .then(|| of_word(word))??
        }
    };
    *at = next;
    Some(level)
}

/// What stands in the brackets that come next.
fn enclosed<'a>(at: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let close = match at.take_any(b"[<({")? {
        b'[' => b']',
        b'<' => b'>',
        b'(' => b')',
        _ => b'}',
    };
    let content = at.take_while(|byte| byte != close);
    at.take(close).map(|()| content)
}

/// The level behind the time: the first of some words that may stand between the time and the message.
fn behind(mut at: Cursor<'_>) -> Option<Level> {
    let _bracket = at.take(b']');
    for place in 0..=WORDS_BETWEEN_MAX {
        let mut is_column = false;
        at.skip_styles();
        while let Some(separator) = at.take_any(b" \t-:|,") {
            is_column |= matches!(separator, b'\t' | b'|');
            at.skip_styles();
        }
        if matches!(at.peek()?, b'[' | b'<' | b'(' | b'{') {
            // Apache puts the module before it.
            let content = enclosed(&mut at)?;
            let last = content.rsplit(|&byte| byte == b':').next().unwrap_or_default();
            match of_word(last.trim_ascii()) {
                Some(level) => return Some(level),
                None => continue,
            }
        }
        let word = at.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'|' | b'[' | b'\x1b'));
        is_column &= matches!(at.rest().trim_ascii_start().first(), Some(b'|')) || at.peek() == Some(b'\t');
        if let Some(level) = of_column(word, is_column) {
            return Some(level);
        }
        let is_zone = place == 0 && word.len() <= 5 && word.iter().all(u8::is_ascii_uppercase);
        let is_number = word.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'#' | b':'));
        let is_user = word.contains(&b'@');
        let is_name = at.rest().starts_with(b" - ") || is_column;
        if !(is_zone || is_number || is_user || is_name) {
            return None;
        }
    }
    None
}

/// A word between the time and the message that is a level: in capitals, unless it has a column for itself. Monolog
/// puts its channel before it.
fn of_column(word: &[u8], is_column: bool) -> Option<Level> {
    let name = match word.strip_suffix(b":") {
        Some(name) => name.rsplit(|&byte| byte == b'.').next().unwrap_or_default(),
        None => word,
    };
    of_word(name).filter(|_| is_column || name.iter().all(u8::is_ascii_uppercase))
}
