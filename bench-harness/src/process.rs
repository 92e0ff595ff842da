//! One child process: started, watched, ended, and accounted for to the last CPU tick.
//!
//! A child lives in its own process group, so that a Ctrl-C meant for the harness does not reach it and a
//! signal meant for it reaches whatever it starts. It is ended by its process id, never by its name, and
//! a child that is dropped while it runs is killed: no error path can leave one behind. Its CPU time comes
//! from `wait4`, hence covers its whole life, start and stop included.
//!
//! A child may be fed: another child writes what it reads (`tail -F file | kcat`). The two count as one, in CPU
//! time and memory, and they end as a pipe ends: first the feeder, then, having read the rest, the other.
//!
//! Peak memory needs care: `ru_maxrss` is inherited over fork and exec, so a small child of a large harness
//! reports the harness. It is taken only where it exceeds what the harness itself ever had; otherwise the
//! last sample of `VmHWM` counts, which starts at zero with the program.

mod descendants;

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::descendants::Descendants;
use crate::interrupt;
use crate::procfs;

/// How often a wait looks whether the child has ended.
const POLL: Duration = Duration::from_millis(5);

/// What a process cost over its whole life.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// CPU time in user mode.
    pub(crate) user_s: f64,
    /// CPU time in the kernel.
    pub(crate) system_s: f64,
    /// The most memory that was ever resident.
    pub(crate) rss_bytes_max: u64,
    /// How often it waited for something.
    pub(crate) voluntary_switches: u64,
    /// How often something else took its core.
    pub(crate) involuntary_switches: u64,
}

impl Usage {
    pub(crate) fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// Two processes as one. Their peaks need not have come at the same time, so the sum is an upper bound.
    fn add(&mut self, other: &Usage) {
        self.user_s += other.user_s;
        self.system_s += other.system_s;
        self.rss_bytes_max += other.rss_bytes_max;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) usage: Usage,
}

/// A child process that the harness started.
pub(crate) struct Child {
    name: String,
    pid: i32,
    started: Instant,
    /// Its standard output and error, kept to be shown when it fails.
    log: PathBuf,
    /// The highest `VmHWM` seen so far.
    rss_bytes_max: u64,
    /// Set once the process has been waited for; then `pid` means nothing any more.
    exit: Option<Exit>,
    /// Whose output is its input.
    feeder: Option<Box<Child>>,
}

impl Child {
    /// Starts `command`; its output goes to the file `log`. `name` is how messages call it.
    pub(crate) fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Child> {
        let (output, errors) = open_log(log)?;
        let command = command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        Child::launch(name, command, log)
    }

    /// Starts `feeder` and, with its output as input, `command`; whatever else they print goes to `log`. They are one
    /// process group, led by `command`.
    pub(crate) fn spawn_fed(
        name: &str,
        mut feeder: Command,
        mut command: Command,
        log: &Path,
    ) -> Result<Child> {
        let (output, errors) = open_log(log)?;
        let (read_end, write_end) = std::io::pipe().context("cannot create a pipe")?;
        feeder.stdin(Stdio::null()).stdout(write_end).stderr(errors.try_clone()?);
        let mut child =
            Child::launch(name, command.stdin(read_end).stdout(output).stderr(errors).process_group(0), log)?;
        feeder.process_group(child.pid);
        child.feeder = Some(Box::new(Child::launch(&format!("the feeder of {name}"), &mut feeder, log)?));
        Ok(child)
    }

    fn launch(name: &str, command: &mut Command, log: &Path) -> Result<Child> {
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", command.get_program().to_string_lossy()))?;
        // The standard library's handle neither kills nor waits when dropped, so this one owns the process.
        let pid = i32::try_from(child.id()).expect("process ids of Linux fit into 31 bits");
        let (name, log) = (name.to_owned(), log.to_owned());
        Ok(Child { name, pid, started, log, rss_bytes_max: 0, exit: None, feeder: None })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// CPU time so far of the running process.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let own = procfs::cpu_time(self.pid)
            .with_context(|| format!("cannot read the CPU time of {}", self.name))?;
        let fed = self.feeder.as_ref().map_or(Ok(Duration::ZERO), |feeder| feeder.cpu_time())?;
        Ok(own + fed)
    }

    /// Samples the memory of the running process; `None` when it has just ended.
    pub(crate) fn sample_memory(&mut self) -> Option<procfs::Memory> {
        if self.exit.is_some() {
            return None;
        }
        let mut memory = procfs::memory(self.pid).ok()?;
        self.rss_bytes_max = self.rss_bytes_max.max(memory.rss_bytes_max);
        if let Some(fed) = self.feeder.as_mut().and_then(|feeder| feeder.sample_memory()) {
            memory.rss_bytes += fed.rss_bytes;
            memory.rss_bytes_max += fed.rss_bytes_max;
        }
        Some(memory)
    }

    /// Looks whether it has ended, without waiting.
    pub(crate) fn poll(&mut self) -> Result<Option<Exit>> {
        if self.exit.is_none() {
            self.sample_memory();
            if let Some(exit) = self.wait(libc::WNOHANG)? {
                self.exit = Some(exit);
                self.exit = Some(self.with_feeder(exit)?);
            }
        }
        Ok(self.exit)
    }

    /// An error when it has failed; running, or having ended well, is fine.
    pub(crate) fn expect_healthy(&mut self) -> Result<()> {
        match self.poll()? {
            Some(exit) if !exit.status.success() => {
                bail!("{} failed ({}){}", self.name, exit.status, self.last_words())
            }
            _ => Ok(()),
        }
    }

    /// An error that names the child and the end of its output, when it is not running any more.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        match self.poll()? {
            None => Ok(()),
            Some(exit) => bail!("{} ended too early ({}){}", self.name, exit.status, self.last_words()),
        }
    }

    /// Waits up to `patience` for it to end by itself, and insists on success.
    pub(crate) fn finish(&mut self, patience: Duration) -> Result<Exit> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(exit) = self.poll()? {
                if exit.status.success() {
                    return Ok(exit);
                }
                bail!("{} failed ({}){}", self.name, exit.status, self.last_words());
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {patience:?}{}", self.name, self.last_words());
            }
            interrupt::pause(POLL)?;
        }
    }

    /// Its end, with the feeder's: nobody reads what that writes any more.
    fn with_feeder(&mut self, mut exit: Exit) -> Result<Exit> {
        if let Some(mut feeder) = self.feeder.take() {
            exit.usage.add(&feeder.end()?.usage);
        }
        Ok(exit)
    }

    /// Asks it to end with SIGTERM. If `patience` is not enough it is killed, which is an error.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<Exit> {
        if let Some(exit) = self.poll()? {
            return Ok(exit);
        }
        match &mut self.feeder {
            // It reads what is left in the pipe and ends at its end.
            Some(feeder) => feeder.signal_one(libc::SIGTERM)?,
            None => self.signal(libc::SIGTERM)?,
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(exit) = self.poll()? {
                return Ok(exit);
            }
            interrupt::pause(POLL)?;
        }
        self.kill()?;
        bail!("{} did not end within {patience:?} of SIGTERM and was killed{}", self.name, self.last_words());
    }

    /// Ends it at once with SIGKILL, and everything that it has started, also what has left its group. When this
    /// returns none of them runs any more.
    pub(crate) fn kill(&mut self) -> Result<Exit> {
        if let Some(exit) = self.poll()? {
            return Ok(exit);
        }
        let started = Descendants::of(self.pid);
        self.signal(libc::SIGKILL)?;
        let exit = self.reap()?;
        started.end().with_context(|| format!("what {} had started does not end", self.name))?;
        Ok(exit)
    }

    /// Ends a feeder, which leads no group.
    fn end(&mut self) -> Result<Exit> {
        if let Some(exit) = self.poll()? {
            return Ok(exit);
        }
        self.signal_one(libc::SIGKILL)?;
        self.reap()
    }

    fn reap(&mut self) -> Result<Exit> {
        let exit = self.wait(0)?.with_context(|| format!("{} could not be waited for", self.name))?;
        self.exit = Some(exit);
        let exit = self.with_feeder(exit)?;
        self.exit = Some(exit);
        Ok(exit)
    }

    /// Sends `signal` to the process and to whatever is in its group.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        self.send(-self.pid, signal)
    }

    /// Sends `signal` to the process alone, which need not lead a group.
    fn signal_one(&self, signal: i32) -> Result<()> {
        self.send(self.pid, signal)
    }

    fn send(&self, target: i32, signal: i32) -> Result<()> {
        assert!(self.exit.is_none(), "a process id must not be used after the process was waited for");
        // SAFETY: kill touches no memory of ours. The target is the child or the group that it leads, and it has
        // not been waited for, so the number cannot belong to anyone else.
        if unsafe { libc::kill(target, signal) } != 0 {
            let error = std::io::Error::last_os_error();
            bail!("cannot signal {} (process {}): {error}", self.name, self.pid);
        }
        Ok(())
    }

    /// The end of its output, to be appended to an error.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).trim().to_owned();
        if text.is_empty() { String::new() } else { format!("; its last words:\n{text}") }
    }

    fn wait(&mut self, flags: i32) -> Result<Option<Exit>> {
        let mut status = 0;
        // SAFETY: an all-zero rusage is a valid value of this struct of integers.
        let mut rusage: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: both places are valid, live across the call, and belong to this function alone.
            let pid = unsafe { libc::wait4(self.pid, &mut status, flags, &mut rusage) };
            if pid == self.pid {
                let status = ExitStatus::from_raw(status);
                return Ok(Some(Exit { status, usage: self.usage(&rusage) }));
            }
            if pid == 0 {
                return Ok(None);
            }
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                bail!("cannot wait for {} (process {}): {error}", self.name, self.pid);
            }
        }
    }

    fn usage(&self, rusage: &libc::rusage) -> Usage {
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        let own_rss_bytes_max = procfs::memory(std::process::id() as i32).unwrap_or_default().rss_bytes_max;
        let reported = rusage.ru_maxrss as u64 * 1024;
        let inherited = reported <= own_rss_bytes_max;
        Usage {
            user_s: seconds(rusage.ru_utime),
            system_s: seconds(rusage.ru_stime),
            rss_bytes_max: if inherited { self.rss_bytes_max } else { reported.max(self.rss_bytes_max) },
            voluntary_switches: rusage.ru_nvcsw as u64,
            involuntary_switches: rusage.ru_nivcsw as u64,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing better than trying can be done here, and the error that led here is the one to report.
        if self.exit.is_none() {
            let _ = self.kill();
        }
    }
}

fn open_log(log: &Path) -> Result<(File, File)> {
    let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let errors = output.try_clone().with_context(|| format!("cannot share {}", log.display()))?;
    Ok((output, errors))
}

/// The first of `names` that a folder of PATH has as a program.
pub(crate) fn in_path(names: &[&str]) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH")?;
    let runs = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    // Daemons are installed where an ordinary user's PATH does not look.
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(runs))
}

/// The program `name`: the one given, else the one beside this binary.
pub(crate) fn program(given: Option<&Path>, name: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().context("cannot find the harness's own path")?.with_file_name(name),
    };
    if !path.is_file() {
        bail!(
            "no program at {}; build it (`cargo build --release -p {}`) or name another",
            path.display(),
            name
        );
    }
    Ok(path)
}

/// An error unless `program`, a path or a name, can be found as a shell would find it.
pub(crate) fn expect_installed(program: &str) -> Result<()> {
    let found =
        if program.contains('/') { Path::new(program).is_file() } else { in_path(&[program]).is_some() };
    if !found {
        bail!("there is no program `{program}`; install it, or name it with its path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let child = Child::spawn("the script", &mut command, &folder.path().join("log")).unwrap();
        (folder, child)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_finished_child_is_accounted_for() {
        let (_folder, mut child) = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
        let exit = child.finish(LONG).unwrap();
        assert!(exit.usage.cpu_s() > 0.0, "{exit:?}");
    }

    #[test]
    fn a_failed_child_is_quoted() {
        let (_folder, mut child) = shell("echo no such topic >&2; exit 3");
        let error = child.finish(LONG).unwrap_err().to_string();
        assert!(error.contains("the script failed") && error.contains("no such topic"), "{error}");
    }

    #[test]
    fn a_dropped_child_is_killed_with_what_it_started() {
        let (_folder, child) = shell("sleep 1000 & wait");
        let pid = child.pid();
        drop(child);
        // SAFETY: signal 0 only asks whether the process group exists.
        let code = unsafe { libc::kill(-pid, 0) };
        let gone_or_dying = code == -1 || procfs::memory(pid).is_err();
        assert!(gone_or_dying, "the group {pid} is still there");
    }

    #[test]
    fn a_fed_child_ends_when_its_feeder_has_ended_and_has_read_everything() {
        let folder = tempfile::tempdir().unwrap();
        let (log, copy) = (folder.path().join("log"), folder.path().join("copy"));
        let mut feeder = Command::new("sh");
        feeder.args(["-c", "echo one; echo two; exec sleep 1000"]);
        let mut reader = Command::new("tee");
        reader.arg(&copy);
        let mut child = Child::spawn_fed("the reader", feeder, reader, &log).unwrap();
        while std::fs::read_to_string(&copy).unwrap_or_default() != "one\ntwo\n" {
            child.expect_running().unwrap();
        }
        assert!(child.cpu_time().unwrap() > Duration::ZERO);
        assert!(child.sample_memory().unwrap().rss_bytes > 0);
        let exit = child.terminate(LONG).unwrap();
        assert!(exit.status.success(), "{exit:?}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn programs_are_looked_for_by_each_of_their_names() {
        assert!(in_path(&["no-such-program", "sh"]).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(in_path(&["no-such-program"]), None);
    }

    #[test]
    fn a_killed_child_reports_the_signal_and_may_be_asked_again() {
        let (_folder, mut child) = shell("sleep 1000");
        assert_eq!(child.kill().unwrap().status.signal(), Some(libc::SIGKILL));
        assert!(child.poll().unwrap().is_some());
        assert!(child.expect_running().is_err());
    }

    #[test]
    fn a_program_is_looked_for_as_a_shell_does() {
        assert!(expect_installed("sh").is_ok() && expect_installed("/bin/sh").is_ok());
        let error = expect_installed("no-such-agent").unwrap_err().to_string();
        assert!(error.contains("`no-such-agent`"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = program(Some(Path::new("/nowhere/logdrive")), "logdrive").unwrap_err().to_string();
        assert!(error.contains("/nowhere/logdrive"), "{error}");
    }
}
