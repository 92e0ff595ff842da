//! A host with a directory of logs, and a Kafka: what most tests begin with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tempfile::TempDir;

use crate::lines::append;
use crate::process::{Launch, between_births};
use crate::topic::{Record, Topic};

/// A directory of logs, a state folder, and a mock cluster with one topic.
pub(crate) struct Site {
    root: TempDir,
    /// The cluster, for faults of its own.
    pub(crate) kafka: MockCluster<'static, DefaultProducerContext>,
    /// What has arrived.
    pub(crate) topic: Topic,
}

/// The user that may do the least.
pub(crate) const NOBODY: u32 = 65_534;

/// The topic of a site.
pub(crate) const TOPIC: &str = "logs";

impl Site {
    /// A site with one broker, whose topic has four partitions.
    pub(crate) fn new() -> Site {
        Site::of(1, 4)
    }

    /// A site whose topic has this many partitions; with one, the records of all files are in one order.
    pub(crate) fn with_partitions(partitions: i32) -> Site {
        Site::of(1, partitions)
    }

    /// A site with one partition and a directory of logs in which everybody may write, and a file of root's that
    /// nobody else may read.
    pub(crate) fn beside_a_secret() -> (Site, PathBuf) {
        let site = Site::with_partitions(1);
        let secret = site.root().join("shadow");
        append(&secret, "root:secret\n");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(site.log(""), Permissions::from_mode(0o777)).unwrap();
        (site, secret)
    }

    /// A site with several brokers and four partitions.
    pub(crate) fn with_brokers(brokers: i32) -> Site {
        Site::of(brokers, 4)
    }

    fn of(brokers: i32, partitions: i32) -> Site {
        let kafka = MockCluster::new(brokers).unwrap();
        kafka.create_topic(TOPIC, partitions, 1).unwrap();
        let topic = Topic::read(&kafka.bootstrap_servers(), TOPIC, partitions);
        let root = tempfile::Builder::new().prefix("logdrive-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("logs")).unwrap();
        Site { root, kafka, topic }
    }

    /// The directory of everything.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A file in the directory of logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root().join("logs").join(name)
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// Where Kafka is.
    pub(crate) fn brokers(&self) -> String {
        self.kafka.bootstrap_servers()
    }

    /// Closes all connections to Kafka and accepts no new one.
    pub(crate) fn broker_down(&self) {
        self.kafka.broker_down(-1).unwrap();
    }

    /// Accepts connections again.
    pub(crate) fn broker_up(&self) {
        between_births(|| self.kafka.broker_up(-1)).unwrap();
    }

    /// Appends to a log with one write.
    pub(crate) fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        append(self.log(name), bytes);
    }

    /// `logdrive run` over the logs that match, from the beginning.
    pub(crate) fn reading(&self, pattern: &str) -> Launch {
        self.connected(Launch::run())
            .arg("--include")
            .arg(self.log(pattern))
            .args("--read-from beginning --topic")
            .arg(TOPIC)
    }

    /// `logdrive run` over `logs/*.log`, from the beginning.
    pub(crate) fn agent(&self) -> Launch {
        self.reading("*.log")
    }

    /// [`Site::agent`] with its status at this address.
    pub(crate) fn agent_serving_at(&self, address: &str) -> Launch {
        let launch = self.connected(Launch::verb("run")).arg("--include").arg(self.log("*.log"));
        launch.args("--read-from beginning --topic").arg(TOPIC).arg("--http").arg(address)
    }

    /// [`Site::agent`] with other brokers.
    pub(crate) fn agent_of(&self, brokers: &str) -> Launch {
        let launch = Launch::run().arg("--include").arg(self.log("*.log")).arg("--brokers").arg(brokers);
        launch.args("--read-from beginning --topic").arg(TOPIC).arg("--state-dir").arg(self.state())
    }

    /// [`Site::agent`] with another state folder.
    pub(crate) fn agent_in(&self, state: &Path) -> Launch {
        self.shipping(&self.log("*.log"), TOPIC, state)
    }

    /// `logdrive run` over the files of this pattern, from the beginning, into a topic of this site's Kafka, with a
    /// state folder of its own.
    pub(crate) fn shipping(&self, pattern: &Path, topic: &str, state: &Path) -> Launch {
        let launch = Launch::run().arg("--include").arg(pattern).arg("--state-dir").arg(state);
        launch.args("--read-from beginning --topic").arg(topic).arg("--brokers").arg(self.brokers())
    }

    /// Another topic of this site's Kafka.
    pub(crate) fn another_topic(&self, name: &str) -> Topic {
        self.kafka.create_topic(name, 4, 1).unwrap();
        Topic::read(&self.brokers(), name, 4)
    }

    /// A command line with this site's Kafka and state folder.
    pub(crate) fn connected(&self, launch: Launch) -> Launch {
        launch.arg("--brokers").arg(self.brokers()).arg("--state-dir").arg(self.state())
    }

    /// Writes a configuration file with this site's Kafka and state folder before `text`, in which
    /// `LOGS` stands for the directory of logs.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        let path = self.root().join("logdrive.toml");
        let logs = self.root().join("logs");
        let text = text.replace("LOGS", logs.to_str().expect("a plain path"));
        let state = self.state();
        let head = format!("kafka.brokers = {:?}\nstate.dir = {state:?}\n", self.brokers());
        // Written aside and renamed, as an editor does.
        let aside = path.with_extension("new");
        std::fs::write(&aside, head + &text).unwrap();
        std::fs::rename(aside, &path).unwrap();
        path
    }

    /// Everything in the topic, by partition and offset, after the agent has stopped.
    pub(crate) fn whole(&self) -> Vec<Record> {
        self.topic.whole()
    }
}

/// Tests that need the rights of root say so and pass without them.
pub(crate) fn is_root(why: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not tested, it needs root: {why}");
    }
    root
}
