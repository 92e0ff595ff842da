//! A log that is written again: each line as it was, and its stamp in a field at its end.
//!
//! Lines are read one after the other and never held all; when they are due comes from the times that
//! they show ([`time`]), unless a schedule says otherwise. Lines that show the same time, or none, are
//! spread evenly over the time until the clock that wrote them would have shown the next.

pub mod time;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::payload::{LINE_BYTES_MAX, Payload};
use crate::stamp::{STAMP_BYTES, rest_checksum};
use time::LogClock;

/// Lines without a time at the beginning of a log, until it is given up.
const TIMELESS_LINES_MAX: usize = 1000;
/// What is held of lines of the same time; more of them are due at the end of that time.
const GROUP_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 1 << 20;

/// Why a log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which log.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no lines.
    #[error("{} is empty: there is nothing to replay", path.display())]
    Empty {
        /// Which log.
        path: PathBuf,
    },
    /// None of its first lines shows a time.
    #[error("no line shows a time at the beginning of {}: say how fast with --rate", path.display())]
    NoTime {
        /// Which log.
        path: PathBuf,
    },
    /// A line is longer than any that is written.
    #[error("{}: line {line} has more than {LINE_BYTES_MAX} bytes; likely cause: not a log", path.display())]
    TooLong {
        /// Which log.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
    },
}

/// Lines with room for their stamps.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    text: Vec<u8>,
    /// Where each ends, line end included, and where its stamp belongs within it.
    ends: Vec<(usize, usize)>,
}

impl Texts {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(crate) fn of(&self, at: usize) -> Payload<'_> {
        let start = if at == 0 { 0 } else { self.ends[at - 1].0 };
        let (end, stamp_at) = self.ends[at];
        let text = &self.text[start..end];
        let checksum = rest_checksum(&text[..stamp_at], &text[stamp_at + STAMP_BYTES..text.len() - 1]);
        Payload { text, time_at: None, stamp_at, checksum }
    }

    /// Appends a line, given without its end.
    fn push(&mut self, line: &[u8]) {
        let (body, end) = match line.strip_suffix(b"\r") {
            Some(body) => (body, &b"\r\n"[..]),
            None => (line, &b"\n"[..]),
        };
        let (body, before, after) = match json_members(body) {
            Some(Members { open, none: true }) => (open, &b"\"stamp\":\""[..], &b"\"}"[..]),
            Some(Members { open, none: false }) => (open, &b",\"stamp\":\""[..], &b"\"}"[..]),
            None => (body, &b" \""[..], &b"\""[..]),
        };
        self.text.extend_from_slice(body);
        self.text.extend_from_slice(before);
        let stamp_at = body.len() + before.len();
        self.text.extend_from_slice(&[b' '; STAMP_BYTES]);
        self.text.extend_from_slice(after);
        self.text.extend_from_slice(end);
        self.ends.push((self.text.len(), stamp_at));
    }
}

/// A JSON object without its last brace.
struct Members<'a> {
    open: &'a [u8],
    /// Whether it has no member.
    none: bool,
}

/// Takes a line for an object if it looks like one at both ends.
fn json_members(line: &[u8]) -> Option<Members<'_>> {
    let inner = line.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let trimmed = inner.trim_ascii();
    let open = &line[..line.len() - 1];
    (trimmed.is_empty() || trimmed.starts_with(b"\"")).then_some(Members { open, none: trimmed.is_empty() })
}

/// A log that is being replayed.
#[derive(Debug)]
pub(crate) struct Replay {
    path: PathBuf,
    reader: BufReader<File>,
    /// How much faster than it was written; without it, times are not looked at.
    speed: Option<f64>,
    clock: LogClock,
    /// The time of the first line, as the log shows it.
    first_ns: Option<u64>,
    lines_read: u64,
    group: Group,
    /// The first line after the group.
    ahead: Option<(Vec<u8>, u64)>,
    /// No line is due before the one before it.
    due_ns: u64,
}

/// Lines that show the same time.
#[derive(Debug, Default)]
struct Group {
    text: Vec<u8>,
    ends: Vec<usize>,
    /// The next one to be taken.
    at: usize,
    /// The time that they show, and how long the clock showed it.
    shown_ns: u64,
    lasts_ns: u64,
}

impl Replay {
    pub(crate) fn open(path: &Path, speed: Option<f64>) -> Result<Replay, ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Read { path: path.into(), source })?;
        let mut replay = Replay {
            path: path.into(),
            reader: BufReader::with_capacity(READ_BYTES, file),
            speed,
            clock: LogClock::default(),
            first_ns: None,
            lines_read: 0,
            group: Group::default(),
            ahead: None,
            due_ns: 0,
        };
        replay.advance()?;
        match replay.is_over() {
            true => Err(ReplayError::Empty { path: path.into() }),
            false => Ok(replay),
        }
    }

    /// Whether all lines were taken.
    pub(crate) fn is_over(&self) -> bool {
        self.group.at == self.group.ends.len()
    }

    /// When the next line is due, in nanoseconds since the first.
    pub(crate) fn next_due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Moves the next line to `texts`. There must be one.
    pub(crate) fn take(&mut self, texts: &mut Texts) -> Result<(), ReplayError> {
        let group = &mut self.group;
        let start = if group.at == 0 { 0 } else { group.ends[group.at - 1] };
        texts.push(&group.text[start..group.ends[group.at]]);
        group.at += 1;
        if self.is_over() {
            self.advance()
        } else {
            self.look();
            Ok(())
        }
    }

    /// Reads the next group; it is empty at the end of the log.
    fn advance(&mut self) -> Result<(), ReplayError> {
        self.group.text.clear();
        self.group.ends.clear();
        self.group.at = 0;
        match self.speed {
            None => _ = self.read_line()?,
            Some(_) => self.read_group()?,
        }
        self.look();
        Ok(())
    }

    fn read_group(&mut self) -> Result<(), ReplayError> {
        if let Some((line, shown_ns)) = self.ahead.take() {
            self.group.shown_ns = shown_ns;
            self.group.text.extend_from_slice(&line);
            self.group.ends.push(line.len());
        }
        while self.group.text.len() < GROUP_BYTES_MAX {
            let start = self.group.text.len();
            if !self.read_line()? {
                break;
            }
            let Some(time) = self.clock.time_of(&self.group.text[start..]) else {
                if self.first_ns.is_none() && self.group.ends.len() >= TIMELESS_LINES_MAX {
                    break;
                }
                continue;
            };
            match self.first_ns {
                None => (self.first_ns, self.group.shown_ns) = (Some(time.ns), time.ns),
                Some(_) if time.ns > self.group.shown_ns => {
                    self.ahead = Some((self.group.text[start..].to_vec(), time.ns));
                    self.group.text.truncate(start);
                    self.group.ends.pop();
                    self.group.lasts_ns = time.resolution_ns.min(time.ns - self.group.shown_ns);
                    return Ok(());
                }
                // Threads overtake each other on the way to a log: what shows an earlier time is due now.
                Some(_) => {}
            }
            self.group.lasts_ns = time.resolution_ns;
        }
        match self.first_ns {
            None if !self.group.ends.is_empty() => Err(ReplayError::NoTime { path: self.path.clone() }),
            _ => Ok(()),
        }
    }

    /// Appends a line to the group; false at the end of the log.
    fn read_line(&mut self) -> Result<bool, ReplayError> {
        let text = &mut self.group.text;
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let read = limited
            .read_until(b'\n', text)
            .map_err(|source| ReplayError::Read { path: self.path.clone(), source })?;
        self.lines_read += 1;
        if read > LINE_BYTES_MAX {
            return Err(ReplayError::TooLong { path: self.path.clone(), line: self.lines_read });
        }
        if text.ends_with(b"\n") && read > 0 {
            text.pop();
        }
        if read > 0 {
            self.group.ends.push(text.len());
        }
        Ok(read > 0)
    }

    fn look(&mut self) {
        let (Some(speed), Some(first_ns)) = (self.speed, self.first_ns) else { return };
        let Group { ends, at, shown_ns, lasts_ns, .. } = &self.group;
        let within = u128::from(*lasts_ns) * *at as u128 / (ends.len() as u128).max(1);
        let since_first = shown_ns.saturating_sub(first_ns) + within as u64;
        self.due_ns = self.due_ns.max((since_first as f64 / speed) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::{Stamp, decode};

    const MS: u64 = 1_000_000;

    /// Every line of a replay and when it is due.
    fn replayed(log: &str, speed: Option<f64>) -> Result<Vec<(u64, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.log");
        std::fs::write(&path, log).unwrap();
        let all = || -> Result<Vec<(u64, String)>, ReplayError> {
            let (mut replay, mut texts, mut due) =
                (Replay::open(&path, speed)?, Texts::default(), Vec::new());
            while !replay.is_over() {
                due.push(replay.next_due_ns());
                replay.take(&mut texts)?;
            }
            let text = |at| String::from_utf8(texts.of(at).text.to_vec()).unwrap();
            Ok(due.iter().enumerate().map(|(at, due)| (*due, text(at))).collect())
        };
        all().map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
    }

    fn due(log: &str, speed: f64) -> Vec<u64> {
        replayed(log, Some(speed)).unwrap().into_iter().map(|(due, _)| due).collect()
    }

    #[test]
    fn lines_keep_their_text_and_get_a_field_or_a_member() {
        let blank = " ".repeat(STAMP_BYTES);
        let log = "a line\r\n\n{\"a\":1}\n{ }\n{not json}\nthe last without an end";
        let lines: Vec<String> = replayed(log, None).unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            lines,
            [
                format!("a line \"{blank}\"\r\n"),
                format!(" \"{blank}\"\n"),
                format!("{{\"a\":1,\"stamp\":\"{blank}\"}}\n"),
                format!("{{ \"stamp\":\"{blank}\"}}\n"),
                format!("{{not json}} \"{blank}\"\n"),
                format!("the last without an end \"{blank}\"\n"),
            ]
        );
    }

    #[test]
    fn a_stamped_line_is_decoded_even_if_it_was_stamped_before() {
        let stamp = Stamp { run: 1, writer: 0, generation: 0, sequence: 0, intended_ns: 5 };
        let mut old = Vec::new();
        crate::stamp::encode_line(&stamp, b"text", &mut old);
        for line in [&b"text\r"[..], b"{\"a\":[1,{}]}", &old, b"\xff\xfe"] {
            let (mut texts, mut out) = (Texts::default(), Vec::new());
            texts.push(line);
            let newer = Stamp { sequence: 8, ..stamp };
            texts.of(0).append(&newer, &mut crate::format::Format::Plain.face(), &mut out);
            assert_eq!(decode(out.strip_suffix(b"\n").unwrap()), Ok(newer), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn lines_are_due_as_far_apart_as_they_were() {
        let log = "2026-11-22T20:31:06.100Z a\n2026-11-22T20:31:06.350Z b\n2026-11-22T20:31:08.100Z c\n";
        assert_eq!(due(log, 1.0), [0, 250 * MS, 2000 * MS]);
        assert_eq!(due(log, 10.0), [0, 25 * MS, 200 * MS]);
        assert_eq!(due(log, 0.5), [0, 500 * MS, 4000 * MS]);
    }

    #[test]
    fn lines_of_the_same_second_are_spread_over_it() {
        let at = |second: u32| format!("10.0.0.1 - - [22/Nov/2026:20:31:{second:02} +0000] \"GET /\" 200\n");
        let log = [at(1), at(1), at(1), at(1), at(2), at(5), at(5)].concat();
        assert_eq!(due(&log, 1.0), [0, 250, 500, 750, 1000, 4000, 4500].map(|ms| ms * MS));
    }

    #[test]
    fn lines_without_a_time_or_behind_their_time_follow_the_line_before() {
        let log = "no time yet\n2026-11-22 20:31:06,100 a\n\tat b\n2026-11-22 20:31:05,000 late\n2026-11-22 20:31:06,200 c\n";
        let due = due(log, 1.0);
        assert!(due.is_sorted() && due[3] < MS, "{due:?}");
        assert_eq!(due[4], 100 * MS);
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_in_a_sentence() {
        assert_eq!(replayed("", None).unwrap_err(), "DIR/old.log is empty: there is nothing to replay");
        assert_eq!(
            replayed("a\nb\n", Some(1.0)).unwrap_err(),
            "no line shows a time at the beginning of DIR/old.log: say how fast with --rate"
        );
        assert!(replayed(&"a\n".repeat(5000), Some(1.0)).is_err());
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        assert!(
            replayed(&format!("short\n{long}\n"), None).unwrap_err().starts_with("DIR/old.log: line 2 has")
        );
    }
}
