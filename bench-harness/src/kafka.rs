//! Topics and watermarks: what the harness asks a broker besides consuming.
//!
//! The high watermark is the judge of "done": with `acks=all` and one broker it is the count of lines that
//! the topic holds, whoever wrote them, and asking costs the broker a fraction of a millisecond.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use crate::interrupt;
use crate::setup::progress;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const GLANCE_TIMEOUT: Duration = Duration::from_millis(300);

/// Topics of one cluster.
pub(crate) struct Cluster {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    asker: BaseConsumer,
}

impl Cluster {
    pub(crate) fn connect(brokers: &str) -> Result<Cluster> {
        let mut config = ClientConfig::new();
        // Its complaints while a broker is killed on purpose are no news: level 2 is "critical".
        config.set("bootstrap.servers", brokers).set("log_level", "2").set("reconnect.backoff.max.ms", "200");
        let admin = config.create().context("cannot create a Kafka admin client")?;
        let asker = config.create().context("cannot create a Kafka client")?;
        Ok(Cluster { brokers: brokers.to_owned(), admin, asker })
    }

    /// An error when no broker answers: better than the first request's, which names a topic.
    pub(crate) fn expect_reachable(&self) -> Result<()> {
        match self.asker.fetch_metadata(None, REQUEST_TIMEOUT) {
            Ok(_) => Ok(()),
            Err(error) => bail!(
                "no broker answers at {} within {REQUEST_TIMEOUT:?} ({error}); likely cause: it is down, or listens                  elsewhere; try `--brokers HOST:PORT` with another address, or leave it away to start one",
                self.brokers
            ),
        }
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Creates a topic and returns when its partitions have leaders. It must not exist yet: lines of others in it
    /// would be judged with the run's. The broker stamps records when it appends them, so that the way of a
    /// line can be seen in two parts, whatever the agent.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_topic_with(topic, partitions, &[])
    }

    /// The same, with settings of the topic's own.
    pub(crate) fn create_topic_with(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime");
        let wanted = settings.iter().fold(wanted, |topic, (key, value)| topic.set(key, value));
        let results = block_on(self.admin.create_topics(&[wanted], &admin_options()))
            .with_context(|| format!("cannot create topic {topic} at {}", self.brokers))?;
        for result in results {
            result.map_err(|(name, code)| match code {
                RDKafkaErrorCode::TopicAlreadyExists => anyhow!(
                    "topic {name} exists already at {}; it may hold lines of others, so name one that does not exist",
                    self.brokers
                ),
                code => anyhow!("cannot create topic {name} at {}: {code}", self.brokers),
            })?;
        }
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while !self.has_leaders(topic, partitions) {
            if Instant::now() >= deadline {
                bail!(
                    "topic {topic} has no leader {REQUEST_TIMEOUT:?} after its creation; is the broker healthy?"
                );
            }
            interrupt::pause(Duration::from_millis(10))?;
        }
        Ok(())
    }

    pub(crate) fn delete_topic(&self, topic: &str) -> Result<()> {
        let results = block_on(self.admin.delete_topics(&[topic], &admin_options()))
            .with_context(|| format!("cannot delete topic {topic}"))?;
        for result in results {
            result.map_err(|(name, code)| anyhow!("cannot delete topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// How many records one partition has taken since its creation.
    pub(crate) fn watermark(&self, topic: &str, partition: i32) -> Result<u64> {
        let (_, high) = self
            .asker
            .fetch_watermarks(topic, partition, REQUEST_TIMEOUT)
            .with_context(|| format!("cannot ask for the watermark of {topic}/{partition}"))?;
        Ok(u64::try_from(high).unwrap_or(0))
    }

    /// How many records all partitions have taken together.
    pub(crate) fn watermarks(&self, topic: &str, partitions: i32) -> Result<u64> {
        (0..partitions).map(|partition| self.watermark(topic, partition)).sum()
    }

    /// The same, for a look that must not take long; none when the broker does not answer at once.
    pub(crate) fn glance(&self, topic: &str, partitions: i32) -> Option<u64> {
        let mut count = 0;
        for partition in 0..partitions {
            let (_, high) = self.asker.fetch_watermarks(topic, partition, GLANCE_TIMEOUT).ok()?;
            count += u64::try_from(high).unwrap_or(0);
        }
        Some(count)
    }

    /// Waits until the topic holds `count` records; false when it has not grown for `patience`. `on_poll` is
    /// told the count at each look and may refuse to wait on. An unreachable broker is waited for as well.
    pub(crate) fn wait_for_count(
        &self,
        topic: &str,
        partitions: i32,
        count: u64,
        patience: Duration,
        mut on_poll: impl FnMut(u64) -> Result<()>,
    ) -> Result<bool> {
        let mut last = (0, Instant::now());
        loop {
            let held = self.watermarks(topic, partitions).unwrap_or(last.0);
            if held > last.0 {
                last = (held, Instant::now());
            }
            on_poll(held)?;
            if held >= count {
                return Ok(true);
            }
            if last.1.elapsed() >= patience {
                progress(format!(
                    "topic {topic} holds {held} of {count} lines and has not grown for {patience:?}"
                ));
                return Ok(false);
            }
            interrupt::pause(WATERMARK_INTERVAL)?;
        }
    }

    /// Waits until the topic holds at least `count` records and has not grown for `quiet`: with duplicates
    /// in it, the count alone does not say that the last line is there.
    pub(crate) fn wait_until_quiet(
        &self,
        topic: &str,
        partitions: i32,
        count: u64,
        quiet: Duration,
        patience: Duration,
    ) -> Result<u64> {
        self.wait_for_count(topic, partitions, count, patience, |_| Ok(()))?;
        let mut last = (0, Instant::now());
        loop {
            let held = self.watermarks(topic, partitions)?;
            if held > last.0 {
                last = (held, Instant::now());
            } else if last.1.elapsed() >= quiet {
                return Ok(held);
            }
            interrupt::pause(WATERMARK_INTERVAL)?;
        }
    }

    /// The watermark of a partition whose broker has just been started and may not lead it yet.
    pub(crate) fn watermark_when_back(&self, topic: &str, partition: i32, patience: Duration) -> Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            match self.watermark(topic, partition) {
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => interrupt::pause(WATERMARK_INTERVAL)?,
                Ok(held) => return Ok(held),
            }
        }
    }

    fn has_leaders(&self, topic: &str, partitions: i32) -> bool {
        let Ok(metadata) = self.asker.fetch_metadata(Some(topic), REQUEST_TIMEOUT) else {
            return false;
        };
        metadata.topics().iter().any(|found| {
            found.partitions().len() == partitions as usize
                && found.partitions().iter().all(|partition| partition.leader() >= 0)
        })
    }
}

/// Time between two looks at a watermark: the resolution of every "done" here.
pub(crate) const WATERMARK_INTERVAL: Duration = Duration::from_millis(10);

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

/// Runs one future on this thread. The admin client answers in futures; a runtime for two requests a run
/// would be the larger machine.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_on_sleeps_until_another_thread_wakes_it() {
        let mut polls = 0;
        let answer = block_on(std::future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                let waker = context.waker().clone();
                thread::spawn(move || waker.wake());
                return Poll::Pending;
            }
            Poll::Ready(polls)
        }));
        assert_eq!(answer, 2);
    }

    #[test]
    #[ignore = "needs a broker: run scripts/test"]
    fn a_topic_that_exists_is_refused() {
        let brokers = std::env::var("LOGDRIVE_KAFKA").expect("LOGDRIVE_KAFKA is host:port of a broker");
        let cluster = Cluster::connect(&brokers).unwrap();
        let topic = format!("twice-{}", std::process::id());
        cluster.create_topic(&topic, 1).unwrap();
        let error = cluster.create_topic(&topic, 1).unwrap_err().to_string();
        cluster.delete_topic(&topic).unwrap();
        assert!(error.contains(&topic) && error.contains("exists already"), "{error}");
    }
}
