//! A real broker, or several, for one test at a time: a topic of its own and a directory of logs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::process::{Launch, run};
use crate::topic::Topic;
use crate::wait::{until, until_true};

static TURN: Mutex<()> = Mutex::new(());

/// What a test has of Kafka. Tests take turns: some of them end the broker, all of them load the machine.
pub(crate) struct Real {
    /// Where the judge and the administrator go.
    pub(crate) brokers: String,
    /// The topic's name.
    pub(crate) topic: String,
    replication: i32,
    root: TempDir,
    runtime: tokio::runtime::Runtime,
    _turn: MutexGuard<'static, ()>,
}

impl Real {
    /// The broker that `LOGDRIVE_KAFKA` names.
    pub(crate) fn new() -> Real {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Real::of(std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA names a broker"), 1, turn)
    }

    /// The turn of a test with brokers of its own, whatever they are: `choose` is called in its turn.
    pub(crate) fn on<'a>(replication: i32, choose: impl FnOnce() -> &'a Cluster) -> Real {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Real::of(choose().brokers(), replication, turn)
    }

    fn of(brokers: String, replication: i32, turn: MutexGuard<'static, ()>) -> Real {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let topic = format!("agent-{}-{number}", std::process::id());
        let root = tempfile::Builder::new().prefix("logdrive-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Real { brokers, topic, replication, root, runtime, _turn: turn }
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }

    /// Creates the topic with three partitions and waits until every replica of them is in sync.
    pub(crate) fn create_topic(&self, settings: &[(&str, &str)]) -> Topic {
        let new = NewTopic::new(&self.topic, 3, TopicReplication::Fixed(self.replication));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let admin = self.admin();
        // The name of a deleted topic is free again only after a while.
        until("the topic is created", || {
            let made = self.runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).ok()?;
            made[0].is_ok().then_some(())
        });
        self.await_in_sync();
        self.topic()
    }

    /// Deletes the topic, with what is in it.
    pub(crate) fn delete_topic(&self) {
        let admin = self.admin();
        let deleted = self.runtime.block_on(admin.delete_topics(&[&self.topic], &AdminOptions::new()));
        assert_eq!(deleted.unwrap(), [Ok(self.topic.clone())]);
    }

    /// Gives the topic these settings and no others.
    pub(crate) fn alter_topic(&self, settings: &[(&str, &str)]) {
        let topic = AlterConfig::new(ResourceSpecifier::Topic(&self.topic));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let admin = self.admin();
        let altered = self.runtime.block_on(admin.alter_configs([&topic], &AdminOptions::new())).unwrap();
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    }

    /// Waits until every partition has a leader and all its replicas.
    pub(crate) fn await_in_sync(&self) {
        let admin = self.admin();
        until_true("every replica of every partition is in sync", || {
            let metadata = admin.inner().fetch_metadata(Some(&self.topic), Duration::from_secs(5));
            metadata.is_ok_and(|metadata| {
                let partitions = metadata.topics()[0].partitions();
                let whole = |replicas: &[i32]| replicas.len() == self.replication as usize;
                partitions.len() == 3 && partitions.iter().all(|p| p.leader() >= 0 && whole(p.isr()))
            })
        });
    }

    pub(crate) fn topic(&self) -> Topic {
        Topic::read(&self.brokers, &self.topic, 3)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn agent(&self) -> Launch {
        self.agent_of(&self.brokers)
    }

    /// [`Real::agent`] with another address of the brokers.
    pub(crate) fn agent_of(&self, brokers: &str) -> Launch {
        self.agent_apart(brokers, "state")
    }

    /// [`Real::agent_of`] with another state folder, for several agents that read the same.
    pub(crate) fn agent_apart(&self, brokers: &str, state: &str) -> Launch {
        Launch::run()
            .arg("--include")
            .arg(self.log("*.log*"))
            .args("--read-from beginning --topic")
            .arg(&self.topic)
            .arg("--brokers")
            .arg(brokers)
            .arg("--state-dir")
            .arg(self.log(state))
    }

    /// `scripts/kafka VERB` for the broker that `LOGDRIVE_KAFKA` names.
    pub(crate) fn control(&self, verb: &str) -> String {
        let command = std::env::var("LOGDRIVE_KAFKA_CTL").expect("LOGDRIVE_KAFKA_CTL controls the broker");
        run("sh", &["-c", &format!("{command} {verb}")])
    }
}
