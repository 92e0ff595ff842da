//! The Kafka broker of a run: one that already runs, or one started for it through `scripts/kafka`.
//!
//! A broker that was started here is stopped, and its data are removed, when the value is dropped, whatever
//! went wrong before. How Kafka is fetched, formatted and started is the script's business; the harness
//! only says which port and folder.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::Child;

/// Starting includes, the first time on a machine, the download of Kafka.
const START_PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// A Kafka cluster to measure against.
pub(crate) struct Broker {
    brokers: String,
    /// Present when this harness started it.
    own: Option<Own>,
}

struct Own {
    script: PathBuf,
    port: u16,
    folder: PathBuf,
    logs: PathBuf,
}

impl Broker {
    /// A cluster that somebody else runs.
    pub(crate) fn existing(brokers: &str) -> Broker {
        Broker { brokers: brokers.to_owned(), own: None }
    }

    /// Starts a broker on a free port, with its data below `work` and the script's output in `logs`.
    pub(crate) fn start(script: &Path, work: &Path, logs: &Path) -> Result<Broker> {
        if !script.is_file() {
            bail!(
                "no script at {}; run from the root of the checkout, name it (`--kafka PATH`), or use a \
                 running broker (`--brokers HOST:PORT`)",
                script.display()
            );
        }
        let port = free_neighbour_ports(2)?;
        let own = Own {
            script: std::path::absolute(script)?,
            port,
            folder: work.join(format!("kafka-{port}")),
            logs: logs.to_owned(),
        };
        // From here on dropping the value stops whatever has been started.
        let broker = Broker { brokers: format!("127.0.0.1:{port}"), own: Some(own) };
        broker.restart()?;
        Ok(broker)
    }

    /// `host:port`, as clients want it.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Ends the broker with SIGKILL; its data stay.
    pub(crate) fn kill(&self) -> Result<()> {
        self.own()?.run("kill").map(drop)
    }

    /// Starts it (again), and returns when it answers.
    pub(crate) fn restart(&self) -> Result<()> {
        self.own()?.run("start").map(drop)
    }

    /// Stops the broker's process in its tracks; it goes on when the value is dropped.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        self.own()?;
        let pid = self.pid().context("the broker does not run, so it cannot be frozen")?;
        signal(pid, libc::SIGSTOP)?;
        Ok(Frozen { pid })
    }

    /// An error for a cluster that the harness did not start: it must not kill somebody else's.
    pub(crate) fn expect_own(&self) -> Result<()> {
        self.own().map(drop)
    }

    /// Process id of the broker, where the harness started it.
    pub(crate) fn pid(&self) -> Option<i32> {
        let status = self.own.as_ref()?.run("status").ok()?;
        parse_pid(&status)
    }

    /// Bytes of a topic on the broker's disk, as it keeps them, hence compressed as the agent sent them. None
    /// where the broker is somebody else's.
    pub(crate) fn topic_bytes(&self, topic: &str) -> Option<u64> {
        let own = self.own.as_ref()?;
        Some(segment_bytes(&own.folder, &format!("{topic}-"), FOLDER_DEPTH_MAX))
    }

    fn own(&self) -> Result<&Own> {
        self.own.as_ref().context("this needs a broker of its own to kill; leave `--brokers` away")
    }
}

/// A broker that holds its connections and answers nothing.
pub(crate) struct Frozen {
    pid: i32,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The broker is stopped by its script later; a signal that fails here fails there aloud.
        let _ = signal(self.pid, libc::SIGCONT);
    }
}

fn signal(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill touches no memory of ours; the id was just confirmed by the script that started it.
    if unsafe { libc::kill(pid, signal) } != 0 {
        bail!("cannot signal the broker (process {pid}): {}", std::io::Error::last_os_error());
    }
    Ok(())
}

impl Own {
    /// Runs one verb of the script and returns what it printed.
    fn run(&self, verb: &str) -> Result<String> {
        let log = self.logs.join(format!("kafka-{verb}.log"));
        let mut child = Child::spawn(&format!("`scripts/kafka {verb}`"), &mut self.command(verb), &log)?;
        child.finish(START_PATIENCE)?;
        Ok(std::fs::read_to_string(&log).unwrap_or_default())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).args(["--port", &self.port.to_string()]).arg("--dir").arg(&self.folder);
        command
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Not through `run`: that refuses to wait once an interrupt was asked for, and this is the answer
        // to it. The data are of no use to anyone, so the broker need not close them in good order.
        for verb in ["kill", "clean"] {
            let log = self.logs.join(format!("kafka-{verb}.log"));
            let Ok(log) = std::fs::File::create(log) else { continue };
            let Ok(errors) = log.try_clone() else { continue };
            let _ = self.command(verb).process_group(0).stdout(log).stderr(errors).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_file(self.folder.with_added_extension("lock"));
    }
}

/// The data lie this deep below the broker's folder at most.
const FOLDER_DEPTH_MAX: usize = 3;

/// Bytes of all segments in folders whose name is `prefix` and a partition's number.
fn segment_bytes(folder: &Path, prefix: &str, depth: usize) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes_of = |entry: std::fs::DirEntry| {
        let (path, name) = (entry.path(), entry.file_name());
        let partition = name.to_str().and_then(|name| name.strip_prefix(prefix));
        match partition.is_some_and(|number| number.parse::<u32>().is_ok()) {
            true => {
                let files = std::fs::read_dir(path).into_iter().flatten().flatten();
                let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
                logs.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
            }
            false if depth > 1 => segment_bytes(&path, prefix, depth - 1),
            false => 0,
        }
    };
    entries.map(bytes_of).sum()
}

/// The first of `count` neighbouring loopback ports that are free now, below those of outgoing connections.
pub(crate) fn free_neighbour_ports(count: u16) -> Result<u16> {
    let seed = u64::from(std::process::id())
        ^ std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let mut rng = crate::stats::Rng::seeded(seed);
    for _ in 0..200 {
        let first = 20_000 + rng.below(10_000) as u16;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(free) {
            return Ok(first);
        }
    }
    bail!("no {count} neighbouring free ports between 20000 and 30000 on 127.0.0.1")
}

/// From `broker 1: running, pid 4711, 127.0.0.1:9092, ...`.
fn parse_pid(status: &str) -> Option<i32> {
    let (_, rest) = status.split_once("pid ")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_is_read_from_the_status() {
        let status = "broker 1: running, pid 4711, 127.0.0.1:9092, Kafka 4.2.0\n";
        assert_eq!(parse_pid(status), Some(4711));
        assert_eq!(parse_pid("broker 1: not running, 127.0.0.1:9092\n"), None);
        assert_eq!(parse_pid("pid unknown"), None);
    }

    #[test]
    fn somebody_elses_broker_is_not_killed() {
        let error = Broker::existing("kafka.example:9092").kill().unwrap_err().to_string();
        assert!(error.contains("--brokers"), "{error}");
    }

    #[test]
    fn the_segments_of_a_topic_are_summed_over_its_partitions() {
        let folder = tempfile::tempdir().unwrap();
        for (partition, bytes) in
            [("data/t-0", 5), ("data/t-11", 7), ("data/t-x-0", 100), ("data/other-0", 100)]
        {
            let partition = folder.path().join(partition);
            std::fs::create_dir_all(&partition).unwrap();
            std::fs::write(partition.join("00000000000000000000.log"), vec![0; bytes]).unwrap();
            std::fs::write(partition.join("00000000000000000000.index"), [0; 50]).unwrap();
        }
        assert_eq!(segment_bytes(folder.path(), "t-", FOLDER_DEPTH_MAX), 12);
    }

    #[test]
    fn free_ports_can_be_listened_on() {
        let port = free_neighbour_ports(2).unwrap();
        assert!((20_000..30_000).contains(&port));
    }
}
