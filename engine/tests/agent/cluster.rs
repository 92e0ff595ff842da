//! Brokers of a test's own: real ones, started through `scripts/kafka`, and gone with this process however
//! it ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{free_ports, run};
use crate::proxy::Proxy;

/// Ports for so many listeners of each broker, beside its first one and its controller's.
const LISTENERS_MAX: u16 = 8;

/// Brokers that are not running yet.
#[derive(Debug)]
pub(crate) struct NewCluster {
    cluster: Cluster,
    options: Vec<String>,
}

/// Running brokers, numbered from 1. Their first listener takes everybody, in plain text.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    brokers: u16,
    port: u16,
    listeners: Vec<(&'static str, u16)>,
    keeper: Child,
}

impl NewCluster {
    /// One more listener of every broker.
    pub(crate) fn listener(self, name: &'static str, protocol: &str) -> NewCluster {
        self.add(name, protocol, "")
    }

    /// One more plain listener, for which clients are sent to a proxy before it. Of one broker only.
    pub(crate) fn behind_proxy(self, name: &'static str, protocol: &str) -> (NewCluster, Proxy) {
        assert_eq!(self.cluster.brokers, 1, "a proxy has one port");
        let proxy = Proxy::to(self.port_of_next());
        let advertised = format!(":{}", proxy.port());
        (self.add(name, protocol, &advertised), proxy)
    }

    fn port_of_next(&self) -> u16 {
        let Cluster { port, brokers, listeners, .. } = &self.cluster;
        port + brokers * (2 + listeners.len() as u16)
    }

    fn add(mut self, name: &'static str, protocol: &str, advertised: &str) -> NewCluster {
        assert!(self.cluster.listeners.len() < LISTENERS_MAX.into(), "raise LISTENERS_MAX");
        let port = self.port_of_next();
        self.cluster.listeners.push((name, port));
        self.options.extend(["--listener".into(), format!("{name}:{protocol}:{port}{advertised}")]);
        self
    }

    /// A setting of every broker, as in its `server.properties`.
    pub(crate) fn set(mut self, setting: impl Into<String>) -> NewCluster {
        self.options.extend(["--set".into(), setting.into()]);
        self
    }

    /// A disk of its own for what it is sent, so small that it can be filled. Needs root.
    pub(crate) fn on_small_disk(self, mebibytes: u32) -> NewCluster {
        let (disk, elsewhere) = (self.cluster.disk(), self.cluster.dir.join("metadata"));
        std::fs::create_dir(&disk).unwrap();
        let size = format!("size={mebibytes}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", disk.to_str().expect("a plain path")]);
        let new = self.set(format!("log.dirs={}", disk.display()));
        new.set(format!("metadata.log.dir={}", elsewhere.display()))
    }

    /// Starts them.
    pub(crate) fn start(self) -> Cluster {
        let NewCluster { cluster, options } = self;
        let (port, brokers) = (cluster.port.to_string(), cluster.brokers.to_string());
        let mut words = vec!["start", "--port", &port, "--brokers", &brokers];
        words.extend(options.iter().map(String::as_str));
        cluster.control(&words);
        cluster
    }
}

impl Cluster {
    /// So many brokers, not yet running.
    pub(crate) fn of(brokers: u16) -> NewCluster {
        let port = free_ports(brokers * (2 + LISTENERS_MAX));
        let dir = tempfile::Builder::new().prefix("logdrive-kafka-").tempdir().unwrap().keep();
        let keeper = keeper(&dir);
        let cluster = Cluster { dir, brokers, port, listeners: Vec::new(), keeper };
        NewCluster { cluster, options: Vec::new() }
    }

    /// `scripts/kafka`, about these brokers.
    pub(crate) fn control(&self, words: &[&str]) -> String {
        let dir = self.dir.to_str().expect("a plain path");
        let before = ["--dir", dir];
        run(script().to_str().expect("a plain path"), &[&before, words].concat())
    }

    /// [`Cluster::control`] for one of them.
    pub(crate) fn control_one(&self, verb: &str, broker: u16) -> String {
        self.control(&[verb, "--broker", &broker.to_string()])
    }

    /// The addresses of their first listeners.
    pub(crate) fn brokers(&self) -> String {
        self.addresses((0..self.brokers).map(|at| self.port + 2 * at))
    }

    /// The addresses of a further listener.
    pub(crate) fn addresses_of(&self, listener: &str) -> String {
        let port = self.port_of(listener);
        self.addresses(port..port + self.brokers)
    }

    /// The first broker's port of a further listener.
    pub(crate) fn port_of(&self, listener: &str) -> u16 {
        let known = self.listeners.iter().find(|(name, _)| *name == listener);
        known.unwrap_or_else(|| panic!("no listener {listener}")).1
    }

    fn addresses(&self, ports: impl Iterator<Item = u16>) -> String {
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Where the small disk is, if there is one. The keeper knows it too.
    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// The process of a broker; `None` if it does not run.
    pub(crate) fn pid(&self, broker: u16) -> Option<Pid> {
        let node = self.dir.join(format!("broker-{broker}"));
        let pid = std::fs::read_to_string(node.join("pid")).ok()?.trim().parse().ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let settings = node.join("server.properties");
        let ours =
            command.split(|&byte| byte == 0).any(|word| word == settings.as_os_str().as_encoded_bytes());
        ours.then(|| Pid::from_raw(pid)).flatten()
    }

    /// Sends a signal to a broker that runs.
    pub(crate) fn signal(&self, broker: u16, signal: Signal) {
        kill_process(self.pid(broker).expect("it runs"), signal).unwrap();
    }

    /// Brings all of them up again, whatever a test before has left behind.
    pub(crate) fn mend(&self) {
        for pid in (1..=self.brokers).filter_map(|broker| self.pid(broker)) {
            let _ = kill_process(pid, Signal::CONT);
        }
        self.control(&["start"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka")
}

/// A process that waits for this one to let go of a pipe, which its end does too, and then clears away. The
/// disk is let go lazily: a broker that was killed may still hold a file of it for a moment.
fn keeper(dir: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let clear = r#"cat; "$0" kill --dir "$1"; umount -l "$1/disk"; case "$1" in */logdrive-kafka-*) rm -rf "$1" ;; esac"#;
    let mut command = Command::new("sh");
    command.arg("-c").arg(clear).arg(script()).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C is for the tests: what clears away behind them must not end before them.
    command.process_group(0).spawn().unwrap()
}
