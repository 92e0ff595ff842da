//! Words for what happens: each thing that an operator should know is said once, then counted.

use std::time::Duration;

use logdrive_core::checkpoint::Checkpoint;
use logdrive_core::engine::Ending;
use logdrive_core::engine::{Engine, Note};
use logdrive_core::position::{Nanos, Position};
use tracing::{debug, error, info, warn};

use crate::fs::FileError;
use crate::logging::Repeated;
use crate::state::{StateError, StateStore};

/// A thing that goes on is said again after this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// Things that are told apart at most.
const SUBJECTS_MAX: usize = 1024;

/// What was said and when.
#[derive(Debug)]
pub(super) struct Notes {
    repeated: Repeated<String>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes { repeated: Repeated::new(INTERVAL, SUBJECTS_MAX) }
    }
}

fn text(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}

impl Notes {
    /// Says a note of the engine.
    pub(super) fn tell(&mut self, note: &Note, now: Nanos) {
        match note {
            Note::Found { path, position, resumed } => {
                info!(path = %text(path), position = position.0, resumed, "reading");
            }
            Note::Renamed { from, to } => debug!(from = %text(from), to = %text(to), "renamed"),
            Note::Over { path, ending: Ending::Gone, lost_bytes } => {
                error!(path = %text(path), lost_bytes, "deleted before it was read to its end");
            }
            Note::Over { path, ending, lost_bytes } => {
                debug!(path = %text(path), ?ending, lost_bytes, "file is over");
            }
            Note::Replaced { path, position } => {
                info!(path = %text(path), position = position.0, "truncated or replaced, reading from 0");
            }
            Note::Adopted { path, position } => {
                info!(path = %text(path), position = position.0, "copy of a truncated file, read on there");
            }
            Note::TooManyFiles { path, files } => {
                if let Some(more) = self.repeated.report("files".into(), now) {
                    warn!(path = %text(path), files, more, "limit of files reached (limits.files_max); not read");
                }
            }
            Note::Refused { path, position, code } => {
                if let Some(more) = self.repeated.report(format!("refused {}", text(path)), now) {
                    let why = crate::kafka::describe(*code);
                    warn!(path = %text(path), position = position.0, more, "record refused by kafka: {why}");
                }
            }
            Note::Replayed { path, position, code } => {
                if let Some(more) = self.repeated.report(format!("replayed {}", text(path)), now) {
                    let why = crate::kafka::describe(*code);
                    warn!(path = %text(path), position = position.0, more, "not delivered, read again: {why}");
                }
            }
        }
    }

    /// Says of a file which of `read_from` could be told by its lines. Once for each file: it is opened so only once.
    pub(super) fn timeless(path: &str, position: Position) {
        let found = match position {
            Position::ZERO => "read from its beginning, since it was modified after the time in `read_from`",
            _ => "read from its end, since it was not modified after the time in `read_from`",
        };
        info!(path, position = position.0, "no line says a time that is known: {found}");
    }

    /// Keeps the names of generations, which only people need.
    pub(super) fn name(&mut self, store: &mut StateStore, engine: &Engine, note: &Note) {
        let path = match note {
            Note::Found { path, .. } | Note::Replaced { path, .. } => path,
            Note::Renamed { to, .. } => to,
            _ => return,
        };
        if let Some(generation) = engine.generation_at(path) {
            store.name(generation, &text(path));
        }
    }

    pub(super) fn file_error(&mut self, problem: &FileError, now: Nanos) {
        let subject = format!("{} {}", problem.operation, problem.path.display());
        if let Some(more) = self.repeated.report(subject, now) {
            warn!(more, "{problem}; the other files go on");
        }
    }

    pub(super) fn cannot_watch(&mut self, problem: &impl std::fmt::Display, now: Nanos) {
        if let Some(more) = self.repeated.report("watch".into(), now) {
            warn!(more, "{problem}; changes are found by looking now and then");
        }
    }

    pub(super) fn state_failed(&mut self, problem: &StateError, now: Nanos) {
        if let Some(more) = self.repeated.report("state".into(), now) {
            error!(more, "{problem}; shipping goes on, a crash now would repeat lines");
        }
    }

    pub(super) fn forgotten(&mut self, store: &StateStore, checkpoint: &Checkpoint) {
        let names = store.names(checkpoint.generation);
        let path = names.map_or("a file of unknown name", |names| names.current.as_str());
        warn!(path, position = checkpoint.position.0, "gone while the agent was stopped; not read further");
    }
}
