//! The agent's own log lines: to standard error, as text or JSON, and never forged.
//!
//! File names and errors are the work of strangers. Whatever is logged, one event is one line, and no
//! byte of it can move a cursor, change a colour or reverse the reading direction: the finished line is
//! escaped on its way out, so that no place that logs needs to think of it.
//! Not here: which events there are, and how often; [`Repeated`] only keeps count for those who ask.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use logdrive_core::position::Nanos;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::progress;

/// How log lines look.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// The process has a log already.
#[derive(Debug, thiserror::Error)]
#[error("the log is already set up")]
pub struct AlreadyLogging;

/// Sends the process's log events to standard error: the agent's own from `level` on, those of its
/// libraries from `warn` on.
pub fn start(format: LogFormat, level: Level) -> Result<(), AlreadyLogging> {
    let json = match format {
        LogFormat::Text => false,
        LogFormat::Json => true,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    tracing_subscriber::registry()
        .with(layer(json, level, progress::stderr))
        .try_init()
        .map_err(|_| AlreadyLogging)
}

/// The layer that formats, filters and escapes.
fn layer<M, W>(json: bool, level: Level, open: M) -> impl Layer<Registry>
where
    M: Fn() -> W + Send + Sync + 'static,
    W: Write,
{
    let libraries = level.min(Level::WARN);
    let filter = Targets::new()
        .with_default(LevelFilter::from_level(libraries))
        .with_target("logdrive", LevelFilter::from_level(level));
    let make = Escaping { open, json };
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(make);
    if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() }.with_filter(filter)
}

struct Escaping<M> {
    open: M,
    json: bool,
}

impl<'a, M, W> MakeWriter<'a> for Escaping<M>
where
    M: Fn() -> W,
    W: Write,
{
    type Writer = EscapingWriter<W>;

    fn make_writer(&'a self) -> EscapingWriter<W> {
        EscapingWriter { out: (self.open)(), json: self.json }
    }
}

/// Escapes whole events: each `write` is one, with its newline at the end.
struct EscapingWriter<W> {
    out: W,
    json: bool,
}

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut safe = String::with_capacity(line.len() + 1);
        if self.json {
            escape_json(line, &mut safe)
        } else {
            escape_text(line, &mut safe)
        }
        safe.push('\n');
        self.out.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Control characters, and those that reorder or break what is shown: line and paragraph separators,
/// marks, embeddings, overrides and isolates of the writing direction.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `text` with unsafe characters written as `\n`, `\t` or `\u{1b}`.
pub fn escape_text(text: &str, out: &mut String) {
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// `text` as [`escape_text`] writes it.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    escape_text(text, &mut safe);
    safe
}

/// The same within a line of a JSON document, in whose strings alone such characters can stand.
pub fn escape_json(text: &str, out: &mut String) {
    for character in text.chars() {
        if is_unsafe(character) {
            // All of them are below U+10000, so that one unit of UTF-16 is enough.
            write!(out, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
        } else {
            out.push(character);
        }
    }
}

/// Says when a thing that goes on and on is worth another line: once for each interval and subject.
///
/// Time is an argument; nothing is logged here.
#[derive(Debug)]
pub struct Repeated<S> {
    interval: Duration,
    subjects_max: usize,
    subjects: BTreeMap<S, Silence>,
    /// All subjects for which there is no room share this one.
    others: Option<Silence>,
}

/// How long a subject stays silent, and what was not said since.
#[derive(Copy, Clone, Debug)]
struct Silence {
    until: Nanos,
    suppressed: u64,
}

impl<S: Ord> Repeated<S> {
    /// One report for each `interval` and subject, with memory for `subjects_max` subjects.
    #[must_use]
    pub fn new(interval: Duration, subjects_max: usize) -> Repeated<S> {
        Repeated { interval, subjects_max, subjects: BTreeMap::new(), others: None }
    }

    /// Whether to report now: `Some(suppressed)`, the number of times since the last report that the
    /// answer was `None`.
    pub fn report(&mut self, subject: S, now: Nanos) -> Option<u64> {
        let quiet = Silence { until: now + self.interval, suppressed: 0 };
        if !self.subjects.contains_key(&subject) {
            if self.subjects.len() >= self.subjects_max {
                self.subjects.retain(|_, silence| silence.until > now || silence.suppressed > 0);
            }
            if self.subjects.len() < self.subjects_max {
                self.subjects.insert(subject, quiet);
                return Some(0);
            }
            return match &mut self.others {
                Some(silence) => silence.report(now, quiet),
                None => {
                    self.others = Some(quiet);
                    Some(0)
                }
            };
        }
        self.subjects.get_mut(&subject)?.report(now, quiet)
    }

    /// The trouble is over: the next report comes at once. Returns what was never said.
    pub fn over(&mut self, subject: &S) -> u64 {
        self.subjects.remove(subject).map_or(0, |silence| silence.suppressed)
    }
}

impl Silence {
    fn report(&mut self, now: Nanos, quiet: Silence) -> Option<u64> {
        if now < self.until {
            self.suppressed += 1;
            return None;
        }
        let suppressed = self.suppressed;
        *self = quiet;
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::sync::{Arc, Mutex};

    /// Lines that were logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "/l/a\n2026-01-01 ERROR forged\r\u{1b}[2J\u{9b}31m\u{7f}\0\u{202e}gol.\u{2028}end";

    fn logged(json: bool, level: Level) -> String {
        let lines = Lines::default();
        let out = lines.clone();
        let subscriber = tracing_subscriber::registry().with(layer(json, level, move || out.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other(HOSTILE);
            tracing::warn!(target: "logdrive::fs", path = HOSTILE, %error, "cannot open {HOSTILE}");
            tracing::info!(target: "logdrive_core", path = %HOSTILE, debug = ?HOSTILE, "info");
            tracing::info!(target: "hyper", "chatter");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_hostile_name_cannot_forge_a_line_or_move_the_cursor() {
        for json in [false, true] {
            let text = logged(json, Level::INFO);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.trim_end_matches('\n').chars().any(|c| is_unsafe(c) && c != '\n'), "{text:?}");
            assert!(!text.contains("chatter"));
        }
    }

    #[test]
    fn json_says_what_was_meant() {
        for line in logged(true, Level::INFO).lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let path = value["path"].as_str().unwrap();
            // The text layer of the library may have escaped some of it already; the rest is exact.
            assert!(path.starts_with("/l/a\n2026-01-01 ERROR forged\r"), "{path:?}");
            assert!(path.ends_with("\u{202e}gol.\u{2028}end"), "{path:?}");
        }
    }

    #[test]
    fn the_level_holds_for_the_agent_and_not_for_its_libraries() {
        assert_eq!(logged(false, Level::WARN).lines().count(), 1);
        assert_eq!(logged(false, Level::ERROR), "");
        assert!(!logged(false, Level::TRACE).contains("chatter"));
    }

    #[test]
    fn escapes_are_readable() {
        let mut out = String::new();
        escape_text(HOSTILE, &mut out);
        expect![[r#"/l/a\n2026-01-01 ERROR forged\r\u{1b}[2J\u{9b}31m\u{7f}\u{0}\u{202e}gol.\u{2028}end"#]]
            .assert_eq(&out);
        out.clear();
        escape_text("ordinary \u{fc}\u{1f332} \\ \"text\"", &mut out);
        assert_eq!(out, "ordinary \u{fc}\u{1f332} \\ \"text\"");
    }

    #[test]
    fn a_report_comes_once_an_interval_with_the_number_that_did_not() {
        let mut repeated = Repeated::new(Duration::from_nanos(10), 8);
        let story: Vec<_> = [0, 1, 9, 10, 11, 40, 41].map(|at| repeated.report("a", Nanos(at))).into();
        assert_eq!(story, [Some(0), None, None, Some(2), None, Some(1), None]);
        assert_eq!(repeated.report("b", Nanos(41)), Some(0), "another subject has its own silence");
        assert_eq!(repeated.over(&"a"), 1);
        assert_eq!(repeated.report("a", Nanos(42)), Some(0), "after the end of it, at once");
    }

    #[test]
    fn subjects_are_bounded_and_the_rest_shares_one_silence() {
        let mut repeated = Repeated::new(Duration::from_nanos(10), 2);
        let mut said = 0;
        for subject in 0..1000 {
            said += u64::from(repeated.report(subject, Nanos(5)).is_some());
        }
        assert_eq!(said, 3, "two subjects, and one for all others");
        assert_eq!(repeated.report(1000, Nanos(15)), Some(0), "the silent ones made room");
        assert_eq!(repeated.report(1001, Nanos(15)), Some(0));
        assert_eq!(repeated.report(1002, Nanos(15)), Some(997), "what all others had to say");
    }
}
