//! What looks how. Colour only underlines what words and order say already, so there may be none.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};

/// The styles of what has a meaning. Without colours the words alone say it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Palette {
    /// Names of things, and curves.
    pub(super) title: Style,
    /// What is there for orientation.
    pub(super) dim: Style,
    /// As it should be.
    pub(super) good: Style,
    /// Worth a look.
    pub(super) poor: Style,
    /// Wrong.
    pub(super) bad: Style,
    /// Figures in a text.
    pub(super) figure: Style,
}

impl Palette {
    /// By the environment: no colour where `NO_COLOR` is set to anything.
    pub(super) fn of(no_color: Option<OsString>) -> Palette {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if no_color.is_some_and(|value| !value.is_empty()) {
            let plain = Style::new();
            let dim = plain.add_modifier(Modifier::DIM);
            let turned = bold.add_modifier(Modifier::REVERSED);
            return Palette { title: bold, dim, good: bold, poor: bold, bad: turned, figure: bold };
        }
        Palette {
            title: bold.fg(Color::Cyan),
            dim: Style::new().fg(Color::DarkGray),
            good: bold.fg(Color::Green),
            poor: Style::new().fg(Color::Yellow),
            bad: bold.fg(Color::Red),
            figure: bold,
        }
    }
}
