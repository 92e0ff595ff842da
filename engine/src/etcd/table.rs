//! Aligned columns for a terminal, of text that may come from anybody.

use std::fmt::Write;

/// One line for each row, its columns aligned with those of the others; the first row is the headline.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _infallible = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text that cannot move the cursor or end the line.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    crate::logging::escape_text(text, &mut out);
    out
}
