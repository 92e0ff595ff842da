//! An etcd of a test's own: a real one, started through `scripts/etcd`, and gone with this process however it
//! ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use logdrive::config::EtcdPlan;
use logdrive::etcd::{EtcdError, Gateway, Report};

use crate::certificates::Pair;
use crate::process::{free_ports, run};
use crate::wait::until;

/// One member, which is the whole cluster.
#[derive(Debug)]
pub(crate) struct Member {
    dir: PathBuf,
    port: u16,
    keeper: Child,
}

impl Member {
    /// Starts one without data.
    pub(crate) fn start() -> Member {
        let member = Member::of(free_ports(3));
        member.control(&["start"]);
        member
    }

    /// Starts one that is also there with TLS, under this certificate.
    pub(crate) fn start_with_tls(pair: &Pair) -> Member {
        let member = Member::of(free_ports(3));
        let tls = format!("{}:{}", pair.cert.display(), pair.key.display());
        member.control(&["start", "--tls", &tls]);
        member
    }

    fn of(port: u16) -> Member {
        let dir = tempfile::Builder::new().prefix("logdrive-etcd-").tempdir().unwrap().keep();
        let keeper = keeper(&dir);
        Member { dir, port, keeper }
    }

    /// `scripts/etcd`, about this one.
    pub(crate) fn control(&self, words: &[&str]) -> String {
        let (port, dir) = (self.port.to_string(), self.dir.to_str().expect("a plain path"));
        let verb = [words[0], "--port", &port, "--dir", dir];
        run(script().to_str().expect("a plain path"), &[&verb, &words[1..]].concat())
    }

    /// Where it is in plain text.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it is in plain text, on this machine.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it is with TLS.
    pub(crate) fn tls_endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// How an agent would ask it.
    pub(crate) fn plan(&self) -> EtcdPlan {
        EtcdPlan {
            endpoints: vec![self.endpoint()],
            prefix: "/logdrive".to_owned(),
            groups: vec!["web".to_owned()],
            host: "h1".to_owned(),
            array_key: None,
            tls: None,
            login: None,
            relist: Duration::from_secs(300),
            allow_paths: vec!["/".into()],
            allow_topics: vec!["*".to_owned()],
        }
    }

    /// Asks it.
    pub(crate) fn ask<T>(&self, asking: impl AsyncFnOnce(&mut Gateway) -> Result<T, EtcdError>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let plan = self.plan();
        runtime.block_on(async { asking(&mut Gateway::open(&plan, 0).await.unwrap()).await.unwrap() })
    }

    /// Puts an item of the group `web`, of the files of this pattern into a topic.
    pub(crate) fn put_item(&self, name: &str, include: &Path, topic: &str) -> u64 {
        self.put(name, format!("include = [{include:?}]\ntopic = {topic:?}\nread_from = 'beginning'\n"))
    }

    /// Puts anything where an item of the group `web` belongs.
    pub(crate) fn put(&self, name: &str, value: impl AsRef<[u8]>) -> u64 {
        let key = format!("/logdrive/items/web/{name}");
        self.ask(async |etcd| etcd.put(&key, value.as_ref(), None).await)
    }

    /// Deletes an item of the group `web`.
    pub(crate) fn delete(&self, name: &str) {
        let key = format!("/logdrive/items/web/{name}");
        assert!(self.ask(async |etcd| etcd.delete(&key).await), "there was no {key}");
    }

    /// What the agents say of themselves.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let all = self.ask(async |etcd| etcd.below("/logdrive/agents/").await);
        all.iter().map(|one| serde_json::from_slice(&one.value).unwrap()).collect()
    }

    /// Waits until some agent says what satisfies.
    pub(crate) fn await_report(&self, what: &str, enough: impl Fn(&Report) -> bool) -> Report {
        until(what, || self.reports().into_iter().find(&enough))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/etcd")
}

/// A process that waits for this one to let go of a pipe, which its end does too, and then clears away.
fn keeper(dir: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let clear = r#"cat; "$0" kill --dir "$1"; case "$1" in */logdrive-etcd-*) rm -rf "$1" ;; esac"#;
    let mut command = Command::new("sh");
    command.arg("-c").arg(clear).arg(script()).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C is for the tests: what clears away behind them must not end before them.
    command.process_group(0).spawn().unwrap()
}
