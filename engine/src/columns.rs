//! Tables in plain text: aligned columns under a headline, safe to show whatever stands in them.

use crate::logging::plain;

/// On which side the texts of a column begin.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One line for the headline and one for each row. The last column is not padded, so that what is long stands
/// there.
#[must_use]
pub fn columns<const N: usize>(head: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|text| plain(text))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].0.len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let begin = text.len();
        for (column, (cell, (_, align))) in cells.into_iter().zip(head).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let padding = " ".repeat(widths[column] - cell.chars().count());
            text.push_str(gap);
            match align {
                Align::Right => text.extend([&padding, cell]),
                Align::Left if column + 1 < N => text.extend([cell, &padding]),
                Align::Left => text.push_str(cell),
            }
        }
        text.truncate(begin + text[begin..].trim_end().len());
        text.push('\n');
    };
    line(head.map(|(name, _)| name));
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text_and_show_no_control_character() {
        let rows = [["1", "web", "/a"], ["100,000", "\u{fc}ber", "/b\n\u{1b}[2J c"]]
            .map(|row| row.map(str::to_owned));
        let table = columns([("LAG", Align::Right), ("ITEM", Align::Left), ("PATH", Align::Left)], &rows);
        expect![[r"
                LAG  ITEM  PATH
                  1  web   /a
            100,000  über  /b\n\u{1b}[2J c
        "]]
        .assert_eq(&table);
        assert_eq!(columns([("A", Align::Left), ("B", Align::Right)], &[]), "A  B\n");
    }
}
