//! The indexer as a process: started, asked, signalled, and never left behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::until;

/// One member of a group. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Member {
    /// Starts `logdrive-search index` with these words behind its own; what it says goes to a file.
    pub(crate) fn start(words: &[String], log: std::path::PathBuf) -> Member {
        let port = free_port();
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logdrive-search"));
        command.arg("index").args(words).arg("--http").arg(format!("127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        // SAFETY: one system call, which touches no memory of this process.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?))
        };
        Member { child: command.spawn().unwrap(), port, log }
    }

    /// What it says of itself, once it listens.
    pub(crate) fn status(&mut self) -> Value {
        until("the indexer answers", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the indexer ended: {ended:?}\n{}", self.said());
            serde_json::from_str(&get(self.port, "/status")?).ok()
        })
    }

    /// The partitions that are its own.
    pub(crate) fn partitions(&mut self) -> Vec<i64> {
        let status = self.status();
        let partitions = status["partitions"].as_array().unwrap_or(&Vec::new()).clone();
        partitions.iter().map(|partition| partition["partition"].as_i64().unwrap()).collect()
    }

    /// One of its metrics, without the prefix that all have.
    pub(crate) fn metric(&mut self, name: &str) -> f64 {
        until("the metrics are there", || {
            let text = get(self.port, "/metrics")?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("logdrive_index_")?.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse().ok())
        })
    }

    /// Everything it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in good order, which must work.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = until("the indexer ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status:?}\n{}", self.said());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of an answer, whatever its status.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// A port below those that the kernel hands out, so that nobody gets it in between.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 5_000) as u16;
    until("a free port", || {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 5_000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
