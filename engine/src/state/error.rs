//! What can go wrong with the state, in the words of somebody who has to act on it.

use std::io;
use std::path::PathBuf;

use logdrive_core::source::GenerationId;

/// Why the state cannot be opened, kept or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused an operation.
    #[error("cannot {operation} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was attempted: `create`, `open`, `write`, `sync`, ...
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "state folder {} is in use by {holder}; stop that process or give this one a `state.dir` of its own",
        dir.display()
    )]
    Held {
        /// The folder.
        dir: PathBuf,
        /// Process id, host and start of the holder, as it wrote them.
        holder: String,
    },
    /// The path is not a folder.
    #[error("{} is not a folder; name another one as `state.dir`", dir.display())]
    NotAFolder {
        /// The path.
        dir: PathBuf,
    },
    /// The folder belongs to somebody else.
    #[error(
        "state folder {} belongs to uid {owner}, but this process runs as uid {own}; run as its owner, \
         or `chown -R {own} {}`",
        dir.display(), dir.display()
    )]
    Owner {
        /// The folder.
        dir: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs.
        own: u32,
    },
    /// Others may write in the folder, and so put files of theirs in place of ours.
    #[error(
        "state folder {} has mode {mode:04o}: other users may write in it; `chmod 0700 {}`",
        dir.display(), dir.display()
    )]
    WritableByOthers {
        /// The folder.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A newer version of the program wrote it. It is left untouched.
    #[error(
        "{} has format version {version}, and this version of logdrive knows {known}; run the newer \
         logdrive again, or start anew with another `state.dir`",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        version: u32,
        /// The newest version that is understood.
        known: u32,
    },
    /// What was read is not what was written. It is left untouched.
    #[error("{} is damaged: {what}; nothing was changed. {way_out}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: String,
        /// What an operator can do.
        way_out: String,
    },
    /// The folder was in use before, and the positions are gone.
    #[error(
        "{} is missing, but {} shows that the folder was in use; bring the file back, or remove the \
         latter as well to begin anew (items are then read by their `read_from`)",
        path.display(), evidence.display()
    )]
    Lost {
        /// The missing file.
        path: PathBuf,
        /// What shows that it existed.
        evidence: PathBuf,
    },
    /// Nothing in the state matches what was asked for.
    #[error("nothing in the state matches `{what}`; `logdrive state list` shows what there is")]
    NoMatch {
        /// What was asked for.
        what: String,
    },
    /// More than one generation matches.
    #[error("`{what}` matches {} generations ({}); name one of them", found.len(), ids(found))]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// What matches.
        found: Vec<GenerationId>,
    },
}

/// The likely cause and what to try, for the errors that operators meet.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; check who owns the folder and the mode of its files",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the file system is mounted read-only, name a writable folder as `state.dir`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space, or move `state.dir` to another file system"
        }
        io::ErrorKind::NotFound => "; create the parent folder first",
        _ => "",
    }
}

fn ids(found: &[GenerationId]) -> String {
    let ids: Vec<String> = found.iter().map(|id| format!("{id:?}")).collect();
    ids.join(", ")
}
