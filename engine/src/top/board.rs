//! What `top` knows of an agent, and how somebody looks at it.
//!
//! An agent tells positions and counts; rates of files are differences between two of its answers. No clock here:
//! every answer comes with its time.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::figures::seconds;
use crate::logging::plain;
use crate::status::{FileStatus, StatusReport};

/// Answers whose throughput is remembered, for the curve.
const HISTORY_MAX: usize = 120;
/// A page of files, for the keys that move by one.
const PAGE: usize = 10;
/// More is not typed as a filter.
const FILTER_CHARS_MAX: usize = 64;

/// What a key leads to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Next {
    Go,
    Quit,
}

/// What stands first among files.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Sort {
    Lag,
    Rate,
    Path,
}

/// Whether the agent answers.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Link {
    /// It was not heard of yet.
    Asking,
    /// The last answer is one.
    Up,
    /// It does not, for this long, and for this reason.
    Lost { since: Duration, why: String },
}

/// A file, and how fast it is read.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) status: FileStatus,
    /// Safe to show.
    pub(super) path: String,
    /// Acknowledged bytes a second between the last two answers.
    pub(super) bytes_per_second: f64,
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) address: SocketAddr,
    pub(super) link: Link,
    /// The last answer, without its files.
    pub(super) report: Option<StatusReport>,
    /// Its files, in their order, as far as the filter lets them through.
    pub(super) rows: Vec<Row>,
    /// All its files.
    all: Vec<Row>,
    /// When the last answer came, and the latest of all times.
    answered_at: Duration,
    pub(super) now: Duration,
    /// Lines a second, over all items, from one answer to the next; the newest last.
    pub(super) history: VecDeque<u64>,
    /// Processor time between the last two answers, as a share of a core.
    pub(super) cpu: Option<f64>,
    pub(super) sort: Sort,
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    pub(super) help: bool,
    paused: bool,
    /// The first file that is shown.
    pub(super) top: usize,
}

impl Board {
    /// Nothing is known yet of the agent at this address.
    pub(super) fn new(address: SocketAddr) -> Board {
        Board {
            address,
            link: Link::Asking,
            report: None,
            rows: Vec::new(),
            all: Vec::new(),
            answered_at: Duration::ZERO,
            now: Duration::ZERO,
            history: VecDeque::new(),
            cpu: None,
            sort: Sort::Lag,
            filter: String::new(),
            typing: false,
            help: false,
            paused: false,
            top: 0,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn files_known(&self) -> usize {
        self.all.len()
    }

    /// The lines a second of the last answer.
    pub(super) fn lines_per_second(&self) -> u64 {
        self.history.back().copied().unwrap_or(0)
    }

    pub(super) fn bytes_per_second(&self) -> f64 {
        self.all.iter().map(|row| row.bytes_per_second).sum()
    }

    /// What is wrong, the latest first.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if let Link::Lost { why, .. } = &self.link {
            errors.push(why.clone());
        }
        let Some(report) = &self.report else { return errors };
        if !report.readiness.ready {
            errors.push(format!("not ready: {}", plain(&report.readiness.reason)));
        }
        if let Some(why) = &report.reloads.last_error {
            errors.push(format!("configuration not reloaded: {}", plain(why)));
        }
        for error in report.errors.iter().rev() {
            errors.push(format!("{} ago: {}", seconds(error.age_seconds), plain(&error.error)));
        }
        errors.extend(report.kafka.last_error.iter().map(|why| format!("kafka, last: {}", plain(why))));
        errors.extend(report.state.last_error.iter().map(|why| format!("state, last: {}", plain(why))));
        errors
    }

    /// Takes in what the agent answered, or why it did not.
    pub(super) fn take(&mut self, answer: Result<StatusReport, String>, at: Duration) {
        self.now = at;
        if self.paused {
            return;
        }
        match answer {
            Ok(report) => self.renew(report, at),
            Err(why) => {
                let since = match self.link {
                    Link::Lost { since, .. } => since,
                    Link::Asking | Link::Up => at,
                };
                self.link = Link::Lost { since, why: plain(&why) };
            }
        }
    }

    fn renew(&mut self, mut report: StatusReport, at: Duration) {
        self.link = Link::Up;
        let files = std::mem::take(&mut report.files);
        let seconds = (at.saturating_sub(self.answered_at)).as_secs_f64().max(1e-3);
        // Another process counts from 0.
        let same = self.report.as_ref().filter(|before| before.pid == report.pid);
        let acked = |report: &StatusReport| report.items.iter().map(|item| item.lines_acked).sum::<u64>();
        if let Some(before) = same {
            let lines = acked(&report).saturating_sub(acked(before)) as f64 / seconds;
            self.history.push_back(lines.round() as u64);
            if self.history.len() > HISTORY_MAX {
                self.history.pop_front();
            }
            let used = report.pace.cpu_seconds - before.pace.cpu_seconds;
            // By the agent's clock: an answer may be one that was given before.
            let lived = report.uptime_seconds - before.uptime_seconds;
            self.cpu = if lived > 0.0 { Some(used / lived) } else { self.cpu };
        } else {
            self.history.clear();
            self.cpu = None;
        }
        let before: HashMap<&str, u64> = match same {
            Some(_) => {
                let known = self.all.iter();
                known.map(|row| (&row.status.generation[..], row.status.positions.acked)).collect()
            }
            None => HashMap::new(),
        };
        let row = |status: FileStatus| {
            let acked = status.positions.acked;
            let moved = before.get(&status.generation[..]).map_or(0, |&before| acked.saturating_sub(before));
            Row { path: plain(&status.path), bytes_per_second: moved as f64 / seconds, status }
        };
        self.all = files.into_iter().map(row).collect();
        self.report = Some(report);
        self.answered_at = at;
        self.arrange();
    }

    /// Puts the files in their order, without those that the filter keeps out.
    fn arrange(&mut self) {
        let through = |row: &&Row| {
            let FileStatus { item, state, .. } = &row.status;
            self.filter.is_empty()
                || [&row.path[..], item, state].iter().any(|text| text.contains(&self.filter))
        };
        let mut rows: Vec<Row> = self.all.iter().filter(through).cloned().collect();
        rows.sort_by(|a, b| {
            let rate = |row: &Row| row.bytes_per_second;
            let first = match self.sort {
                Sort::Lag => Reverse(a.status.lag_bytes).cmp(&Reverse(b.status.lag_bytes)),
                Sort::Rate => rate(b).total_cmp(&rate(a)),
                Sort::Path => std::cmp::Ordering::Equal,
            };
            first.then_with(|| a.path.cmp(&b.path))
        });
        self.rows = rows;
        self.scroll_to(self.top);
    }

    fn scroll_to(&mut self, top: usize) {
        self.top = top.min(self.rows.len().saturating_sub(1));
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            let quits = matches!(key.code, KeyCode::Char('c' | 'd'));
            return if quits { Next::Quit } else { Next::Go };
        }
        if self.typing {
            self.type_filter(key.code);
            return Next::Go;
        }
        if std::mem::take(&mut self.help) {
            return Next::Go;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('l') => self.sort_by(Sort::Lag),
            KeyCode::Char('r') => self.sort_by(Sort::Rate),
            KeyCode::Char('n') => self.sort_by(Sort::Path),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_to(self.top + 1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_to(self.top.saturating_sub(1)),
            KeyCode::PageDown => self.scroll_to(self.top + PAGE),
            KeyCode::PageUp => self.scroll_to(self.top.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll_to(0),
            KeyCode::End | KeyCode::Char('G') => self.scroll_to(usize::MAX),
            _ => {}
        }
        Next::Go
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.top = 0;
        self.arrange();
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(character) if self.filter.chars().count() < FILTER_CHARS_MAX => {
                self.filter.push(character);
            }
            _ => {}
        }
        self.top = 0;
        self.arrange();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::overview::tests::{file, report};

    pub(in crate::top) fn board() -> Board {
        Board::new("127.0.0.1:9180".parse().unwrap())
    }

    /// Presses the keys of a text; `\n` is the enter key, `\x1b` the escape key.
    pub(in crate::top) fn press(board: &mut Board, keys: &str) -> Next {
        let mut next = Next::Go;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                key => KeyCode::Char(key),
            };
            next = board.press(KeyEvent::new(code, KeyModifiers::NONE));
        }
        next
    }

    /// The report, so many lines and seconds later: each of them 100 bytes of each file.
    pub(in crate::top) fn later(lines: u64, seconds: f64) -> StatusReport {
        let mut report = report();
        report.items[0].lines_acked += lines;
        report.uptime_seconds += seconds;
        report.pace.cpu_seconds += seconds / 8.0;
        for file in &mut report.files {
            file.positions.acked += lines * 100;
        }
        report
    }

    fn paths(board: &Board) -> Vec<&str> {
        board.rows.iter().map(|row| row.path.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn rates_are_differences_between_answers_of_one_process() {
        let mut board = board();
        board.take(Ok(report()), Duration::from_secs(10));
        assert_eq!((board.lines_per_second(), board.bytes_per_second(), board.cpu), (0, 0.0, None));
        board.take(Ok(later(500, 2.0)), Duration::from_secs(12));
        assert_eq!((board.lines_per_second(), board.bytes_per_second()), (250, 75_000.0));
        assert_eq!(board.cpu, Some(0.125));
        let mut other = later(100, 0.0);
        other.pid += 1;
        board.take(Ok(other), Duration::from_secs(13));
        assert_eq!((board.lines_per_second(), board.bytes_per_second(), board.cpu), (0, 0.0, None));
        for second in 14..1000 {
            board.take(Ok(report()), Duration::from_secs(second));
        }
        assert_eq!(board.history.len(), HISTORY_MAX);
    }

    #[test]
    fn files_are_sorted_filtered_and_scrolled() {
        let mut board = board();
        board.take(Ok(report()), Duration::from_secs(1));
        let hostile = "a\\n\\u{1b}[2J\\u{202e}b.log";
        assert_eq!(paths(&board), ["access.log", hostile, "db.log"]);
        let mut faster = report();
        faster.files[0].positions.acked += 1000;
        board.take(Ok(faster), Duration::from_secs(2));
        press(&mut board, "r");
        assert_eq!(paths(&board), ["db.log", hostile, "access.log"]);
        press(&mut board, "n/web\n");
        assert_eq!(paths(&board), [hostile, "access.log"]);
        press(&mut board, "jjjj");
        assert_eq!(board.top, 1);
        press(&mut board, "/x");
        assert_eq!((paths(&board), board.top), (vec![], 0));
        press(&mut board, "\u{1b}G");
        assert_eq!((paths(&board).len(), board.top), (3, 2));
        assert_eq!(press(&mut board, "/q\n"), Next::Go, "what is typed is no command");
        assert_eq!(press(&mut board, "?q"), Next::Go, "any key ends the help");
        assert_eq!(press(&mut board, "q"), Next::Quit);
    }

    #[test]
    fn an_agent_that_goes_away_is_said_to_be_and_what_was_known_stays() {
        let mut board = board();
        board.take(Ok(report()), Duration::from_secs(1));
        for second in 5..8 {
            board.take(Err("no agent\u{1b}[2J".to_owned()), Duration::from_secs(second));
        }
        let why = "no agent\\u{1b}[2J".to_owned();
        assert_eq!(board.link, Link::Lost { since: Duration::from_secs(5), why });
        assert_eq!(board.rows.len(), 3);
        board.take(Ok(report()), Duration::from_secs(9));
        assert_eq!(board.link, Link::Up);
    }

    #[test]
    fn a_pause_keeps_what_is_shown() {
        let mut board = board();
        board.take(Ok(report()), Duration::from_secs(1));
        press(&mut board, " ");
        let mut other = report();
        other.files.push(file("/more.log", "web", 1));
        board.take(Ok(other.clone()), Duration::from_secs(2));
        assert_eq!(board.files_known(), 3);
        press(&mut board, " ");
        board.take(Ok(other), Duration::from_secs(3));
        assert_eq!(board.files_known(), 4);
    }

    #[test]
    fn ten_thousand_files_are_arranged() {
        let mut board = board();
        let mut large = report();
        large.files = (0..10_000).map(|n| file(&format!("/l/{n:05}.log"), "web", n)).collect();
        board.take(Ok(large), Duration::from_secs(1));
        press(&mut board, "/0999");
        assert_eq!(paths(&board).len(), 11);
        assert_eq!(paths(&board)[0], "09999.log");
    }
}
