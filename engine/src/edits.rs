//! Sees that the configuration file was edited, for `watch.config`.
//!
//! Files are edited in many ways: written in place, bit by bit; written aside and renamed; deleted and made
//! anew; or, as Kubernetes does, by a symbolic link in between that is switched. What they have in common is that
//! another file, or the same one changed, is found under the name afterwards, and that it rests then. So
//! inotify only says when to look; a look now and then finds what it cannot say. On a thread of its own, which
//! sleeps in between: a file may hang. Not here: what the file means, and whether that is anything new.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tracing::warn;

use crate::bell::Bell;
use crate::credentials::{Look, look};

/// A file that has not changed for this long is whole.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// What may happen in a directory when a file of it is edited.
const EDITED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ONLYDIR);

/// The agent's end of the thread, which ends some time after this was dropped.
#[derive(Debug)]
pub struct Edits(Arc<AtomicBool>);

impl Edits {
    /// Watches the file from now on; `every` is how often it is looked at without a hint. Rings when there is
    /// an edit to take.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn watch(file: PathBuf, every: Duration, bell: Bell) -> std::io::Result<Edits> {
        let edited = Arc::new(AtomicBool::new(false));
        let told = Arc::downgrade(&edited);
        // Before the thread runs, so that no edit after this call is missed.
        let seen = look(&file);
        let thread = std::thread::Builder::new().name("config".into());
        thread.spawn(move || follow(&file, seen, every, &told, &bell))?;
        Ok(Edits(edited))
    }

    /// Whether the file is another one than before and rests.
    pub fn take(&self) -> bool {
        // Mostly it is not, and a load is cheaper.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

fn follow(file: &Path, mut seen: Look, every: Duration, told: &Weak<AtomicBool>, bell: &Bell) {
    let hints = Hints::new();
    loop {
        hints.watch(file);
        // What happened before the watch.
        if look(file) == seen {
            hints.wait(every);
        }
        let mut now = look(file);
        if now != seen {
            loop {
                std::thread::sleep(SETTLED_AFTER);
                let again = look(file);
                if again == now {
                    break;
                }
                now = again;
            }
        }
        let Some(edited) = told.upgrade() else { return };
        if now != seen {
            seen = now;
            // Between deletion and rebirth there is nothing to read.
            if now.is_some() {
                edited.store(true, Ordering::Release);
                bell.ring();
            }
        }
    }
}

/// inotify, if there is any.
struct Hints(Option<OwnedFd>);

impl Hints {
    fn new() -> Hints {
        let instance = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Hints(instance.map_err(|error| warn!("watch.config looks now and then only: {error}")).ok())
    }

    /// Watches the directories in which something happens when the file is edited: its own, and that of the
    /// file that links lead to.
    fn watch(&self, file: &Path) {
        let Some(inotify) = &self.0 else { return };
        let target = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let directories: BTreeSet<_> = [file, &target].into_iter().filter_map(Path::parent).collect();
        for directory in directories {
            // One that is watched already stays so. One that is not there will be found by looking.
            let _absent = inotify::add_watch(inotify, directory, EDITED);
        }
    }

    /// Waits for something to happen, no longer than this.
    fn wait(&self, at_most: Duration) {
        let Some(inotify) = &self.0 else { return std::thread::sleep(at_most) };
        let timeout = Timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let _hint = poll(&mut [PollFd::new(inotify, PollFlags::IN)], Some(&timeout));
        // What it was does not matter.
        let mut events = [0; 4096];
        while rustix::io::read(inotify, &mut events).is_ok_and(|count| count > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Looks by itself never: only hints are followed.
    const NEVER: Duration = Duration::from_secs(3600);

    async fn edited(edits: &Edits, bell: &Bell) {
        while !edits.take() {
            bell.wait().await;
        }
    }

    #[tokio::test]
    async fn every_way_to_edit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, aside) = (dir.path().join("logdrive.toml"), dir.path().join("logdrive.toml~"));
        fs::write(&file, "0").unwrap();
        let bell = Bell::default();
        let edits = Edits::watch(file.clone(), NEVER, bell.clone()).unwrap();
        assert!(!edits.take());

        fs::write(&file, "in place").unwrap();
        edited(&edits, &bell).await;

        fs::write(&aside, "aside").unwrap();
        fs::rename(&aside, &file).unwrap();
        edited(&edits, &bell).await;

        fs::remove_file(&file).unwrap();
        fs::write(&file, "anew").unwrap();
        edited(&edits, &bell).await;
        assert!(!edits.take(), "each is told once");
    }

    #[tokio::test]
    async fn a_link_that_is_switched_is_an_edit() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("logdrive.toml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/logdrive.toml", at("logdrive.toml")).unwrap();
        let bell = Bell::default();
        let edits = Edits::watch(at("logdrive.toml"), NEVER, bell.clone()).unwrap();
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        edited(&edits, &bell).await;
        // In the directory that the link leads to now.
        fs::write(at("..2").join("logdrive.toml"), "3").unwrap();
        edited(&edits, &bell).await;
    }

    #[tokio::test]
    async fn where_there_are_no_hints_it_is_looked_at_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("away/logdrive.toml");
        let bell = Bell::default();
        // Nothing can be watched: the directory is not there yet.
        let edits = Edits::watch(file.clone(), Duration::from_millis(1), bell.clone()).unwrap();
        fs::create_dir(dir.path().join("away")).unwrap();
        fs::write(&file, "here").unwrap();
        edited(&edits, &bell).await;
    }
}
