//! Looks after the files that hold credentials, so that a certificate or a password that is replaced on
//! disk is used without a restart.
//!
//! On a thread of its own: a file may hang. It tries what it finds before it hands it over, because the
//! two halves of a pair are seldom replaced at the same moment; until they fit, the old ones stay in use.
//! Not here: how a connection is made anew (`kafka::renewal`).

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tracing::{info, warn};

use crate::config::KafkaPlan;
use crate::kafka;
use crate::setup;

/// The files are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The agent's end of the thread.
#[derive(Debug)]
pub struct Credentials {
    plans: Sender<KafkaPlan>,
    fresh: Receiver<KafkaPlan>,
}

/// What a file looked like: device, inode, size, and when it was changed; `None` if it was not there.
pub(crate) type Look = Option<(u64, u64, u64, i64, i64)>;

impl Credentials {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn watch() -> std::io::Result<Credentials> {
        let (plans, planned) = channel();
        let (found, fresh) = channel();
        let thread = std::thread::Builder::new().name("credentials".into());
        thread.spawn(move || watch(&planned, &found))?;
        Ok(Credentials { plans, fresh })
    }

    /// This plan is in force from now on.
    pub fn planned(&self, plan: &KafkaPlan) {
        // The thread outlives this end.
        let _ = self.plans.send(plan.clone());
        while self.fresh.try_recv().is_ok() {}
    }

    /// The plan in force with other credentials, if its files have changed and what they hold can work.
    pub fn renewed(&self) -> Option<KafkaPlan> {
        self.fresh.try_iter().last()
    }
}

fn watch(planned: &Receiver<KafkaPlan>, found: &Sender<KafkaPlan>) {
    let Ok(mut plan) = planned.recv() else { return };
    let mut used = looks(&plan);
    let mut refused = None;
    loop {
        // Without files there is nothing to look at: no reason to wake up.
        let next = match used.is_empty() {
            true => planned.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => planned.recv_timeout(LOOK_EVERY),
        };
        match next {
            Ok(next) => {
                plan = next;
                used = looks(&plan);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let seen = looks(&plan);
        if seen == used {
            continue;
        }
        match try_out(&plan) {
            Ok(fresh) => {
                plan = fresh;
                used = seen;
                if found.send(plan.clone()).is_err() {
                    return;
                }
            }
            Err(reason) if refused.as_ref() != Some(&seen) => {
                warn!(
                    "credentials have changed on disk but cannot be used: {reason}; the old ones stay in use"
                );
                refused = Some(seen);
            }
            Err(_) => {}
        }
    }
}

fn looks(plan: &KafkaPlan) -> Vec<Look> {
    plan.credential_files().into_iter().map(look).collect()
}

/// How a file looks now.
pub(crate) fn look(path: &Path) -> Look {
    let seen = std::fs::metadata(path).ok()?;
    Some((seen.dev(), seen.ino(), seen.size(), seen.ctime(), seen.ctime_nsec()))
}

/// Reads everything again and has librdkafka load it.
fn try_out(plan: &KafkaPlan) -> Result<KafkaPlan, String> {
    let fresh = plan.with_passwords_read_again()?;
    kafka::try_out(&setup::kafka(&fresh)).map_err(|error| error.to_string())?;
    info!("credentials have changed on disk: connections are made anew with them");
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_or_written_looks_different() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("cert"), dir.path().join("other"));
        assert_eq!(look(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = look(&path);
        assert_eq!(look(&path), first);
        // Of the same length, and with the same time.
        std::fs::write(&other, "two").unwrap();
        let times = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::File::open(&other).unwrap().set_modified(times).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(look(&path), first);
    }
}
