//! What became of each setting of a foreign configuration, with its place.

use std::fmt;

use crate::config::problem::{At, escaped};

/// What became of one setting.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Fate {
    /// It means the same here.
    Carried,
    /// It was carried over, but means something else; the note says what.
    Changed,
    /// It was not carried over; the note says why.
    Left,
    /// Something is left to do before the new configuration can be used.
    ToDo,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Fate::Carried => "carried over",
            Fate::Changed => "changed",
            Fate::Left => "left out",
            Fate::ToDo => "to do",
        }
    }
}

#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
struct Note {
    at: At,
    fate: Fate,
    text: String,
}

/// The notes of one import. Its `Display` is what the user sees: one line for each, in the order of the text, and
/// the counts; nothing if nothing was read.
#[derive(Debug)]
pub struct Report {
    name: String,
    notes: Vec<Note>,
}

impl Report {
    pub(super) fn new(name: &str) -> Report {
        Report { name: name.to_owned(), notes: Vec::new() }
    }

    pub(super) fn add(&mut self, at: &At, fate: Fate, text: impl Into<String>) {
        let note = Note { at: at.clone(), fate, text: text.into() };
        // An alias of YAML says the same thing from the same place again.
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// How many settings met this fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> usize {
        self.notes.iter().filter(|note| note.fate == fate).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.notes.is_empty() {
            return Ok(());
        }
        let mut notes: Vec<&Note> = self.notes.iter().collect();
        notes.sort();
        for Note { at, fate, text } in notes {
            match at {
                At::File { line, column } => write!(f, "{}:{line}:{column}: ", self.name)?,
                At::Whole | At::Flag(_) => write!(f, "{}: ", self.name)?,
            }
            writeln!(f, "{}: {}", fate.name(), escaped(text))?;
        }
        let fates = [Fate::Carried, Fate::Changed, Fate::Left, Fate::ToDo];
        let counts: Vec<String> =
            fates.iter().map(|fate| format!("{} {}", self.count(*fate), fate.name())).collect();
        writeln!(f, "{}: {}", self.name, counts.join(", "))
    }
}
