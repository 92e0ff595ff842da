//! What is on the screen, drawn without one.

use std::time::Duration;

use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::super::board::tests::{board, later, press};
use super::*;
use crate::overview::tests::{file, report};

fn drawn(board: &Board, width: u16, height: u16, palette: Palette) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, palette)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    // The bar shows where a row begins: most begin with a blank.
    rows.map(|cells| format!("|{}\n", line(cells).trim_end())).collect()
}

fn check(board: &Board, (width, height): (u16, u16), expected: Expect) {
    expected.assert_eq(&text(&drawn(board, width, height, Palette::of(None))));
}

fn watched() -> Board {
    let mut board = board();
    board.take(Ok(report()), Duration::from_secs(1));
    board.take(Ok(later(12_000, 1.0)), Duration::from_secs(2));
    board
}

#[test]
fn a_terminal_of_80_columns_and_24_rows() {
    check(
        &watched(),
        (80, 24),
        expect![[r#"
        | logdrive 0.1.0  process 4711  up 3h 12m  uring                           ready
        | 12,000 lines/s  3.60 MB/s  behind 3.40 MB  3 files                           █
        | in flight 1,500 lines, 300 kB, oldest 12 ms  queue 250                       █
        | kafka kafka-1:9092/1 1.8 ms / 12 ms  (p50 / p99)                             █
        | cpu 12.5 %  durable 420 ms ago
        | items ─────────────────────────────────────────────────────────────────────────
        | ITEM              FILES   BEHIND   LINES/S    BYTES/S   DROPPED TOPIC
        | web                   2  3.40 MB    12,346  2.47 MB/s         3 web_log
        | db                    1      0 B         0      0 B/s         3 db_log
        | files by lag: 3 ───────────────────────────────────────────────────────────────
        |  BEHIND    BYTES/S         ACKED STATE            PATH
        | 3.30 MB  1.20 MB/s     2,434,567 for its turn     /var/log/nginx/access.log
        |  100 kB  1.20 MB/s     2,434,567 for its turn     …nx/a\n\u{1b}[2J\u{202e}b.log
        |     0 B  1.20 MB/s     2,434,567 at end           /var/log/db.log
        |
        |
        |
        |
        |
        |
        |
        | errors ────────────────────────────────────────────────────────────────────────
        | 12.0 s ago: cannot open /var/log/secret.log: Permission denied (os error 13)
        | q quit  ? help  / filter  sort by: l lag  r rate  n name  Space pause
    "#]],
    );
}

#[test]
fn a_wide_terminal_shows_more_positions() {
    check(
        &watched(),
        (130, 20),
        expect![[r#"
        | logdrive 0.1.0  process 4711  up 3h 12m  uring                                                                             ready
        | 12,000 lines/s  3.60 MB/s  behind 3.40 MB  3 files                                                                             █
        | in flight 1,500 lines, 300 kB, oldest 12 ms  queue 250                                                                         █
        | kafka kafka-1:9092/1 1.8 ms / 12 ms  (p50 / p99)                                                                               █
        | cpu 12.5 %  durable 420 ms ago
        | items ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        | ITEM                                       FILES   BEHIND   LINES/S    BYTES/S   DROPPED TOPIC
        | web                                            2  3.40 MB    12,346  2.47 MB/s         3 web_log
        | db                                             1      0 B         0      0 B/s         3 db_log
        | files by lag: 3 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        |  BEHIND    BYTES/S       DURABLE         ACKED          READ          SIZE STATE            PATH
        | 3.30 MB  1.20 MB/s     1,200,000     2,434,567     1,294,667     4,534,567 for its turn     /var/log/nginx/access.log
        |  100 kB  1.20 MB/s     1,200,000     2,434,567     1,294,667     1,334,567 for its turn     …/log/nginx/a\n\u{1b}[2J\u{202e}b.log
        |     0 B  1.20 MB/s     1,200,000     2,434,567     1,234,567     1,234,567 at end           /var/log/db.log
        |
        |
        |
        | errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        | 12.0 s ago: cannot open /var/log/secret.log: Permission denied (os error 13)
        | q quit  ? help  / filter  sort by: l lag  r rate  n name  Space pause
    "#]],
    );
}

#[test]
fn a_narrow_terminal_shows_what_is_behind() {
    check(
        &watched(),
        (40, 12),
        expect![[r#"
        | logdrive 0.1.0  process 4711  up ready
        | 12,000 lines/s  3.60 MB/s  behind 3.40
        | files by lag: 3 ───────────────────────
        |  BEHIND PATH
        | 3.30 MB /var/log/nginx/access.log
        |  100 kB …inx/a\n\u{1b}[2J\u{202e}b.log
        |     0 B /var/log/db.log
        |
        |
        |
        |
        | q quit  ? help  / filter  sort by: l la
    "#]],
    );
}

#[test]
fn an_agent_that_is_gone_is_said_to_be_above_what_was_known() {
    let mut board = watched();
    let gone = "no agent answers at 127.0.0.1:9180: Connection refused (os error 111)";
    for second in [10, 75] {
        board.take(Err(gone.to_owned()), Duration::from_secs(second));
    }
    check(
        &board,
        (80, 20),
        expect![[r#"
        | logdrive 0.1.0  process 4711  up 3h 12m  uring            no answer for 1m 05s
        | 12,000 lines/s  3.60 MB/s  behind 3.40 MB  3 files                           █
        | in flight 1,500 lines, 300 kB, oldest 12 ms  queue 250                       █
        | kafka kafka-1:9092/1 1.8 ms / 12 ms  (p50 / p99)                             █
        | cpu 12.5 %  durable 420 ms ago
        | items ─────────────────────────────────────────────────────────────────────────
        | ITEM              FILES   BEHIND   LINES/S    BYTES/S   DROPPED TOPIC
        | web                   2  3.40 MB    12,346  2.47 MB/s         3 web_log
        | db                    1      0 B         0      0 B/s         3 db_log
        | files by lag: 3 ───────────────────────────────────────────────────────────────
        |  BEHIND    BYTES/S         ACKED STATE            PATH
        | 3.30 MB  1.20 MB/s     2,434,567 for its turn     /var/log/nginx/access.log
        |  100 kB  1.20 MB/s     2,434,567 for its turn     …nx/a\n\u{1b}[2J\u{202e}b.log
        |     0 B  1.20 MB/s     2,434,567 at end           /var/log/db.log
        |
        |
        | errors ────────────────────────────────────────────────────────────────────────
        | no agent answers at 127.0.0.1:9180: Connection refused (os error 111)
        | 12.0 s ago: cannot open /var/log/secret.log: Permission denied (os error 13)
        | q quit  ? help  / filter  sort by: l lag  r rate  n name  Space pause
    "#]],
    );
}

#[test]
fn before_the_first_answer_there_is_the_address() {
    check(
        &board(),
        (60, 8),
        expect![[r#"
        | logdrive at 127.0.0.1:9180                      asking ...
        |
        | files by lag: 0 ───────────────────────────────────────────
        |  BEHIND STATE            PATH
        |
        |
        |
        | q quit  ? help  / filter  sort by: l lag  r rate  n name  S
    "#]],
    );
}

#[test]
fn the_help_lies_above_everything() {
    let mut board = watched();
    press(&mut board, "/web\n?");
    check(
        &board,
        (80, 24),
        expect![[r#"
        | logdrive 0.1.0  process 4711  up 3h 12m  uring                           ready
        | 12,000 lines/s  3.60 MB/s  behind 3.40 MB  3 files                           █
        | in flight 1,500 lines, 300 kB, oldest 12 ms  queue 250                       █
        | kafka kafka-1:9092/1 1.8 ms / 12 ms  (p50 / p99)                             █
        | cpu 12.5 %  durable 420 ms ago
        | items ─────────────────────────────────────────────────────────────────────────
        | ITEM ┌ help ────────────────────────────────────────────────────────────┐
        | web  │ q  Esc  Ctrl-C  quit                                             │
        | db   │ l  r  n         sort files by lag, rate, name                    │
        | files│ /               show files with a text in path, item or state    │──────
        |  BEHI│ Up Down  j k    scroll by one                                    │
        | 3.30 │ PgUp PgDn       scroll by ten                                    │og
        |  100 │ Home End  g G   to the first, the last                           │}b.log
        |      │ Space  p        pause                                            │
        |      │ BEHIND          bytes in the file that Kafka has not acknowledged│
        |      │ ACKED           the position up to which it has                  │
        |      │ any key         ends this help                                   │
        |      └──────────────────────────────────────────────────────────────────┘
        |
        |
        |
        | errors ────────────────────────────────────────────────────────────────────────
        | 12.0 s ago: cannot open /var/log/secret.log: Permission denied (os error 13)
        | q quit  ? help  / filter  sort by: l lag  r rate  n name  Space pause
    "#]],
    );
}

#[test]
fn every_size_is_drawn_and_no_cell_controls_the_terminal() {
    let mut large = watched();
    let mut many = report();
    many.files = (0..300).map(|n| file(&format!("/l/\u{1b}[2J{n}\u{9b}\u{4e00}.log"), "web", n)).collect();
    many.items = (0..20).map(|n| ItemStatus { name: format!("i{n}\n"), ..many.items[0].clone() }).collect();
    many.version = "\u{1b}]0;owned\u{7}".to_owned();
    large.take(Ok(many), Duration::from_secs(3));
    for width in (0..140).step_by(3) {
        for height in 0..30 {
            let buffer = drawn(&large, width, height, Palette::of(None));
            let symbols = buffer.content.iter().flat_map(|cell| cell.symbol().chars());
            assert!(symbols.clone().all(|c| !c.is_control()), "{width}x{height}");
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let colours = |palette| {
        let buffer = drawn(&watched(), 80, 24, palette);
        buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(colours(Palette::of(Some("1".into()))), 0);
    assert!(colours(Palette::of(None)) > 100);
    assert!(colours(Palette::of(Some("".into()))) > 100, "set to nothing is not set");
}

#[test]
fn paths_are_cut_at_their_beginning() {
    assert_eq!(end_of("/var/log/a.log", 14), "/var/log/a.log");
    assert_eq!(end_of("/var/log/a.log", 8), "…g/a.log");
    assert_eq!(end_of("/\u{4e00}\u{4e01}", 4), "…\u{4e01}");
    assert_eq!(end_of("/abc", 0), "…");
}
