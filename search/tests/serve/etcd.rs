//! An etcd of a test's own, through `scripts/etcd`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use logdrive::config::EtcdPlan;
use logdrive::etcd::{EtcdError, Gateway};

/// One member, which is the whole cluster. Killed when dropped.
pub(crate) struct Etcd {
    dir: tempfile::TempDir,
    port: u16,
}

impl Etcd {
    pub(crate) fn start() -> Etcd {
        let dir = tempfile::Builder::new().prefix("logdrive-etcd-").tempdir().unwrap();
        let etcd = Etcd { dir, port: free_ports(3) };
        etcd.control("start");
        etcd
    }

    pub(crate) fn control(&self, verb: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/etcd");
        let mut command = Command::new(script);
        let output =
            command.args([verb, "--port", &self.port.to_string(), "--dir"]).arg(self.dir.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "etcd {verb}: {output:?}");
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks it.
    pub(crate) fn ask<T>(&self, asking: impl AsyncFnOnce(&mut Gateway) -> Result<T, EtcdError>) -> T {
        let plan = EtcdPlan {
            endpoints: vec![self.endpoint()],
            prefix: "/logdrive".to_owned(),
            groups: Vec::new(),
            host: "h".to_owned(),
            array_key: None,
            tls: None,
            login: None,
            relist: std::time::Duration::ZERO,
            allow_paths: Vec::new(),
            allow_topics: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { asking(&mut Gateway::open(&plan, 0).await.unwrap()).await.unwrap() })
    }

    /// Puts a key. Returns the revision.
    pub(crate) fn put(&self, key: &str, value: &str) -> u64 {
        self.ask(async |etcd| etcd.put(key, value.as_bytes(), None).await)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.control("kill");
    }
}

/// The first of some neighbouring ports that nobody listens on, below those of outgoing connections.
fn free_ports(count: u16) -> u16 {
    let start = 20_000 + u16::try_from(std::process::id() % 8000).unwrap();
    let is_free =
        |port: &u16| (*port..*port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (start..30_000).step_by(7).find(is_free).expect("free ports")
}
