//! How `top` looks: from a board to a frame, whatever the size of the terminal.
//!
//! What is most asked for stands first, so that a small terminal cuts off the rest: rates and lag, items, files.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row as TableRow, Sparkline, Table};

use super::board::{Board, Link, Row, Sort};
use super::palette::Palette;
use crate::figures::{grouped, rate, seconds, size, span};
use crate::logging::plain;
use crate::status::{ItemStatus, StatusReport};

/// Columns that a table shows from these widths on.
const WIDE: u16 = 72;
const VERY_WIDE: u16 = 110;
/// No more of the screen than this is for items, and for errors.
const ITEMS_MAX: usize = 8;
const ERRORS_MAX: usize = 4;
/// A terminal that is smaller shows only that.
const COLUMNS_MIN: u16 = 24;
const ROWS_MIN: u16 = 6;
/// Lag that is worth a colour.
const BEHIND_BYTES: u64 = 1_000_000;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, palette: Palette) {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        frame.render_widget(Paragraph::new("too small"), area);
        return;
    }
    let errors = board.errors();
    let shown_errors = errors.len().min(ERRORS_MAX);
    let items = board.report.as_ref().map_or(0, |report| report.items.len()).min(ITEMS_MAX);
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    // On a small terminal the files come before the errors and the items.
    let roomy = area.height >= 16;
    let [head, item_table, file_table, error_list, foot] = Layout::vertical([
        Constraint::Length(if roomy { 5 } else { 2 }),
        Constraint::Length(if roomy { rows(items) + 2 } else { 0 }),
        Constraint::Min(3),
        Constraint::Length(if roomy && shown_errors > 0 { rows(shown_errors) + 1 } else { 0 }),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, board, palette, head);
    if roomy {
        draw_items(frame, board, palette, item_table);
        draw_errors(frame, &errors, palette, error_list);
    }
    draw_files(frame, board, palette, file_table);
    draw_foot(frame, board, palette, foot);
    if board.help {
        draw_help(frame, palette, area);
    }
}

fn draw_head(frame: &mut Frame<'_>, board: &Board, palette: Palette, area: Rect) {
    let (state, style) = state(board, palette);
    let title = match &board.report {
        Some(report) => format!(
            " logdrive {}  process {}  up {}  {}",
            plain(&report.version),
            report.pid,
            seconds(report.uptime_seconds),
            plain(&report.io)
        ),
        None => format!(" logdrive at {}", board.address),
    };
    let state_width = u16::try_from(state.chars().count() + 1).unwrap_or(u16::MAX).min(area.width / 2);
    let top = Rect { height: 1, ..area };
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(state_width)]).areas(top);
    frame.render_widget(Line::styled(title, palette.title), left);
    frame.render_widget(Line::styled(state, style), right);
    let Some(report) = &board.report else { return };

    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let curve_width = if area.width >= WIDE && below.height >= 3 { area.width / 4 } else { 0 };
    let [figures, curve] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(curve_width)]).areas(below);
    frame.render_widget(Paragraph::new(figures_of(board, report, palette)), figures);
    if curve_width > 0 {
        // The newest at the right end.
        let width = usize::from(curve.width.saturating_sub(1));
        let newest = board.history.iter().rev().take(width).copied().collect::<Vec<_>>();
        let mut values = vec![0; width - newest.len()];
        values.extend(newest.iter().rev());
        let curve = Rect { height: curve.height.min(3), ..curve };
        frame.render_widget(Sparkline::default().data(values).style(palette.title), curve);
    }
}

/// What is told of the connection, in a few words.
fn state(board: &Board, palette: Palette) -> (String, Style) {
    match &board.link {
        Link::Asking => ("asking ...".to_owned(), palette.dim),
        Link::Lost { since, .. } => {
            (format!("no answer for {}", span(board.now.saturating_sub(*since))), palette.bad)
        }
        Link::Up if board.is_paused() => ("paused".to_owned(), palette.poor),
        Link::Up => match &board.report {
            Some(report) if !report.readiness.ready => ("not ready".to_owned(), palette.poor),
            _ => ("ready".to_owned(), palette.good),
        },
    }
}

/// The lines of figures under the title, the most important first.
fn figures_of(board: &Board, report: &StatusReport, palette: Palette) -> Vec<Line<'static>> {
    let kafka = &report.kafka;
    let lag: u64 = report.items.iter().map(|item| item.lag_bytes).sum();
    let figure = |text: String| Span::styled(text, palette.figure);
    let lag_style = if lag >= BEHIND_BYTES { palette.poor } else { palette.figure };
    let rates = vec![
        Span::raw(" "),
        figure(grouped(board.lines_per_second())),
        Span::raw(" lines/s  "),
        figure(format!("{}/s", size(rate(board.bytes_per_second())))),
        Span::raw("  behind "),
        Span::styled(size(lag), lag_style),
        Span::raw("  "),
        figure(grouped(board.files_known() as u64)),
        Span::raw(" files"),
    ];
    let flight = vec![
        Span::raw(" in flight "),
        figure(grouped(kafka.in_flight_lines)),
        Span::raw(" lines, "),
        figure(size(kafka.in_flight_bytes)),
        Span::raw(", oldest "),
        figure(seconds(kafka.oldest_unacked_seconds)),
        Span::raw("  queue "),
        figure(grouped(kafka.queue_messages as u64)),
    ];
    let mut use_of = vec![Span::raw(" cpu ")];
    use_of.push(figure(board.cpu.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))));
    if let Some(percent) = report.pace.cpu_percent {
        use_of.push(Span::raw(format!(
            " of {percent} %, held back {}",
            seconds(report.pace.cpu_paced_seconds)
        )));
    }
    use_of.push(Span::raw("  durable "));
    use_of.push(figure(seconds(report.state.checkpoint_age_seconds)));
    use_of.push(Span::raw(" ago"));
    let mut trips = vec![Span::raw(" kafka ")];
    if kafka.round_trips.is_empty() {
        trips.push(Span::styled(plain(&report.brokers.join(", ")), palette.dim));
    }
    for trip in &kafka.round_trips {
        trips.push(Span::raw(format!("{} ", plain(&trip.broker))));
        trips.push(figure(format!("{} / {}", seconds(trip.p50_seconds), seconds(trip.p99_seconds))));
        trips.push(Span::raw("  "));
    }
    if !kafka.round_trips.is_empty() {
        trips.push(Span::styled("(p50 / p99)", palette.dim));
    }
    [rates, flight, trips, use_of].map(Line::from).into()
}

/// A table's headline over its width.
fn headline(title: String, palette: Palette) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(palette.dim).title(Span::styled(title, palette.title))
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::new(Line::from(text.into()).alignment(Alignment::Right))
}

fn draw_items(frame: &mut Frame<'_>, board: &Board, palette: Palette, area: Rect) {
    let Some(report) = &board.report else { return };
    let wide = area.width >= WIDE;
    let mut items: Vec<&ItemStatus> = report.items.iter().collect();
    // Where not all have room, those that are behind do.
    if items.len() > ITEMS_MAX {
        items.sort_by_key(|item| std::cmp::Reverse(item.lag_bytes));
    }
    let title = match items.len().saturating_sub(ITEMS_MAX) {
        0 => " items ".to_owned(),
        more => format!(" items: {ITEMS_MAX} that are behind, and {more} more "),
    };
    let row = |item: &&ItemStatus| {
        let behind = if item.lag_bytes >= BEHIND_BYTES { palette.poor } else { Style::new() };
        let mut cells = vec![
            Cell::new(format!(" {}", plain(&item.name))),
            right(grouped(item.files)),
            right(size(item.lag_bytes)).style(behind),
            right(grouped(rate(item.lines_per_second))),
        ];
        if wide {
            cells.push(right(format!("{}/s", size(rate(item.bytes_per_second)))));
            cells.push(right(grouped(item.lines_dropped)));
            cells.push(Cell::new(plain(&item.topic)));
        }
        TableRow::new(cells)
    };
    let mut head = vec![Cell::new(" ITEM"), right("FILES"), right("BEHIND"), right("LINES/S")];
    let mut widths =
        vec![Constraint::Min(8), Constraint::Length(7), Constraint::Length(8), Constraint::Length(9)];
    if wide {
        head.extend([right("BYTES/S"), right("DROPPED"), Cell::new("TOPIC")]);
        widths.extend([Constraint::Length(10), Constraint::Length(9), Constraint::Fill(1)]);
    }
    let table = Table::new(items.iter().take(ITEMS_MAX).map(row), widths)
        .header(TableRow::new(head).style(palette.dim))
        .block(headline(title, palette));
    frame.render_widget(table, area);
}

fn draw_files(frame: &mut Frame<'_>, board: &Board, palette: Palette, area: Rect) {
    let (wide, very_wide) = (area.width >= WIDE, area.width >= VERY_WIDE);
    let by = match board.sort {
        Sort::Lag => "by lag",
        Sort::Rate => "by rate",
        Sort::Path => "by name",
    };
    let filter = match board.filter.is_empty() {
        true => String::new(),
        false => format!(", with {:?}: {}", board.filter, grouped(board.rows.len() as u64)),
    };
    let title = format!(" files {by}: {}{filter} ", grouped(board.files_known() as u64));
    let (mut head, mut widths) = (vec![right("BEHIND")], vec![Constraint::Length(8)]);
    let mut column = |name: &str, width| {
        head.push(right(name));
        widths.push(Constraint::Length(width));
    };
    if wide {
        column("BYTES/S", 10);
    }
    if very_wide {
        column("DURABLE", 13);
    }
    if wide {
        column("ACKED", 13);
    }
    if very_wide {
        column("READ", 13);
        column("SIZE", 13);
    }
    // The columns of the path and of what a file waits for share what is left.
    let used: u16 =
        widths.iter().map(|width| if let Constraint::Length(n) = width { n + 1 } else { 0 }).sum();
    let state_width = if area.width >= 48 { 16 } else { 0 };
    let path_width = area.width.saturating_sub(used + state_width + 1);
    if state_width > 0 {
        head.push(Cell::new("STATE"));
        widths.push(Constraint::Length(state_width));
    }
    head.push(Cell::new("PATH"));
    widths.push(Constraint::Length(path_width));
    let row = |row: &Row| {
        let (file, at) = (&row.status, row.status.positions);
        let behind = if file.lag_bytes >= BEHIND_BYTES { palette.poor } else { Style::new() };
        let mut cells = vec![right(size(file.lag_bytes)).style(behind)];
        if wide {
            cells.push(right(format!("{}/s", size(rate(row.bytes_per_second)))));
        }
        if very_wide {
            cells.push(right(grouped(at.durable)));
        }
        if wide {
            cells.push(right(grouped(at.acked)));
        }
        if very_wide {
            cells.extend([right(grouped(at.read)), right(grouped(at.size))]);
        }
        if state_width > 0 {
            cells.push(Cell::new(short(&file.state).to_owned()).style(palette.dim));
        }
        let style = if file.last_error.is_some() { palette.bad } else { Style::new() };
        cells.push(Cell::new(end_of(&row.path, usize::from(path_width))).style(style));
        TableRow::new(cells)
    };
    let rows = board.rows.iter().skip(board.top).take(usize::from(area.height)).map(row);
    let table = Table::new(rows, widths)
        .header(TableRow::new(head).style(palette.dim))
        .block(headline(title, palette));
    frame.render_widget(table, area);
}

/// What a file waits for, in no more words than have room.
fn short(state: &str) -> &str {
    match state {
        "waiting for a descriptor" => "for a descriptor",
        "behind its predecessor" => "for predecessor",
        "waiting for its turn" => "for its turn",
        "waiting for kafka's queue" => "for kafka queue",
        "waiting for acknowledgements" => "for kafka acks",
        state => state,
    }
}

/// The end of a path, since names differ at their end.
fn end_of(path: &str, width: usize) -> String {
    let line = Line::from(path);
    if line.width() <= width {
        return path.to_owned();
    }
    let mut from = path.len();
    for (at, _) in path.char_indices().rev() {
        if Line::from(&path[at..]).width() + 1 > width {
            break;
        }
        from = at;
    }
    format!("…{}", &path[from..])
}

fn draw_errors(frame: &mut Frame<'_>, errors: &[String], palette: Palette, area: Rect) {
    let more = errors.len().saturating_sub(ERRORS_MAX);
    let title = if more > 0 { format!(" errors: {more} more ") } else { " errors ".to_owned() };
    let lines = errors.iter().take(ERRORS_MAX).map(|error| Line::styled(format!(" {error}"), palette.bad));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(headline(title, palette)), area);
}

fn draw_foot(frame: &mut Frame<'_>, board: &Board, palette: Palette, area: Rect) {
    let text = if board.typing {
        format!(" /{}_   Enter: done  Esc: all files", board.filter)
    } else {
        " q quit  ? help  / filter  sort by: l lag  r rate  n name  Space pause".to_owned()
    };
    frame.render_widget(Line::styled(text, palette.dim), area);
}

fn draw_help(frame: &mut Frame<'_>, palette: Palette, area: Rect) {
    const HELP: [(&str, &str); 10] = [
        ("q  Esc  Ctrl-C", "quit"),
        ("l  r  n", "sort files by lag, rate, name"),
        ("/", "show files with a text in path, item or state"),
        ("Up Down  j k", "scroll by one"),
        ("PgUp PgDn", "scroll by ten"),
        ("Home End  g G", "to the first, the last"),
        ("Space  p", "pause"),
        ("BEHIND", "bytes in the file that Kafka has not acknowledged"),
        ("ACKED", "the position up to which it has"),
        ("any key", "ends this help"),
    ];
    let lines = HELP.map(|(key, what)| {
        Line::from(vec![Span::styled(format!(" {key:<16}"), palette.figure), Span::raw(what)])
    });
    let (width, height) = (area.width.min(68), area.height.min(HELP.len() as u16 + 2));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let block = Block::bordered().border_style(palette.dim).title(Span::styled(" help ", palette.title));
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), place);
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
