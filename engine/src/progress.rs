//! One line on the terminal that says how it goes, rewritten each second. Nothing where standard output
//! is not a terminal.
//!
//! The cursor rests at the start of the line. The log goes to the same screen through [`stderr`], which
//! erases the line before it writes over it; the next second draws it again beneath.

use std::io::{self, IsTerminal, Stderr, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use logdrive_core::engine::Amount;
use logdrive_core::position::Nanos;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::figures::{grouped, size};

/// Erases the line that the cursor is in.
const ERASE: &str = "\r\x1b[2K";
/// The width of a terminal that does not tell.
const COLUMNS: usize = 80;

/// The line is on the screen that standard error is shown on, and the cursor is in it.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// How it stands at one moment.
#[derive(Copy, Clone, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: Nanos,
    /// Acknowledged since the start.
    pub acked: Amount,
    /// Bytes in files that are not acknowledged.
    pub lag_bytes: u64,
    /// Read and not settled.
    pub in_flight: Amount,
    /// Files that are known.
    pub files: u64,
}

/// The line. It is left as it is, and the cursor beneath it, when this is dropped.
#[derive(Debug)]
pub struct Progress {
    before: Sample,
    /// Log lines come to a terminal too.
    shared: bool,
}

impl Progress {
    /// The line, if standard output is a terminal that can erase.
    #[must_use]
    pub fn on_terminal() -> Option<Progress> {
        let erases = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let shared = io::stderr().is_terminal();
        (io::stdout().is_terminal() && erases).then(|| Progress { before: Sample::default(), shared })
    }

    /// Draws the line anew. Does nothing while the terminal is held, so that nobody waits for it.
    pub fn draw(&mut self, now: &Sample) {
        let before = std::mem::replace(&mut self.before, *now);
        let stdout = io::stdout();
        if !takes_output(&stdout) {
            return;
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        let columns = if columns == 0 { COLUMNS } else { columns };
        // In the last column some terminals go on to the next line.
        let line = format!("{ERASE}{}\r", line(&before, now, columns - 1));
        let mut stdout = stdout.lock();
        // A terminal that is gone sends a signal; there is nothing to do about it here.
        let _gone = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        SHOWN.store(self.shared, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if SHOWN.swap(false, Ordering::Relaxed) || !self.shared {
            let mut stdout = io::stdout().lock();
            let _gone = stdout.write_all(b"\n").and_then(|()| stdout.flush());
        }
    }
}

/// Whether a write would not wait, as it does after the stop key.
fn takes_output(stdout: &io::Stdout) -> bool {
    let mut wanted = [PollFd::new(stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut wanted, Some(&at_once)).is_ok() && wanted[0].revents().contains(PollFlags::OUT)
}

/// Standard error for the log: a line of it takes the place of the progress line.
#[must_use]
pub fn stderr() -> LogScreen {
    LogScreen(io::stderr())
}

/// See [`stderr`].
#[derive(Debug)]
pub struct LogScreen(Stderr);

impl Write for LogScreen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if SHOWN.swap(false, Ordering::Relaxed) {
            self.0.write_all(ERASE.as_bytes())?;
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text of the line, as many of its parts as fit.
fn line(before: &Sample, now: &Sample, columns: usize) -> String {
    let seconds = now.at.since(before.at).as_secs_f64();
    let rate = |before: u64, now: u64| {
        if seconds > 0.0 { (now.saturating_sub(before) as f64 / seconds).round() as u64 } else { 0 }
    };
    let parts = [
        format!("{} lines/s", grouped(rate(before.acked.lines, now.acked.lines))),
        format!("{}/s", size(rate(before.acked.bytes, now.acked.bytes))),
        format!("lag {}", size(now.lag_bytes)),
        format!("in flight {} lines", grouped(now.in_flight.lines)),
        format!("{} file{}", grouped(now.files), if now.files == 1 { "" } else { "s" }),
        format!("total {} lines, {}", grouped(now.acked.lines), size(now.acked.bytes)),
    ];
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { "  " };
        if text.len() + gap.len() + part.len() > columns {
            break;
        }
        text.push_str(gap);
        text.push_str(&part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_rates_of_the_time_between_and_fits() {
        let before = Sample {
            at: Nanos(1_000_000_000),
            acked: Amount { lines: 100, bytes: 20_000 },
            ..Sample::default()
        };
        let now = Sample {
            at: Nanos(3_000_000_000),
            acked: Amount { lines: 40_100, bytes: 8_020_000 },
            lag_bytes: 1_234_567,
            in_flight: Amount { lines: 1500, bytes: 300_000 },
            files: 12,
        };
        let whole = "20,000 lines/s  4.00 MB/s  lag 1.23 MB  in flight 1,500 lines  12 files  total 40,100 lines, \
                     8.02 MB";
        assert_eq!(line(&before, &now, whole.len()), whole);
        for columns in 0..whole.len() {
            let part = line(&before, &now, columns);
            assert!(part.len() <= columns && whole.starts_with(&part), "{part}");
        }
        assert_eq!(line(&before, &now, 45), "20,000 lines/s  4.00 MB/s  lag 1.23 MB");
        assert!(line(&now, &now, 80).starts_with("0 lines/s  0 B/s"), "no time, no rate");
        assert!(line(&now, &before, 80).starts_with("0 lines/s"), "counts that went back are no rate");
    }
}
