//! The least a program can do to move a file into Kafka with librdkafka: the floor an agent is held to.
//!
//! The file is read into memory whole, split with memchr, and handed over in `rd_kafka_produce_batch` calls
//! without copying, to partition 0, idempotent, with all acknowledgements; then every delivery report is
//! awaited. It deliberately has no position, no state, no rotation and no limit on memory: what an agent
//! costs beyond this is what those things cost. It runs as a process of its own (a hidden command of the
//! harness's binary), so that its CPU time and memory are measured exactly as an agent's.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka_sys as sys;
use rdkafka_sys::types::{RDKafka, RDKafkaErrorCode, RDKafkaMessage, RDKafkaTopic, RDKafkaType};

use crate::procfs;

/// Lines per `rd_kafka_produce_batch` call: large enough that the call's own cost vanishes.
const BATCH_LINES: usize = 10_000;

/// How long to stand back when librdkafka's queue is full. At 2 M lines/s its half million lines last 250 ms,
/// so it does not run dry meanwhile, and the looks cost nothing.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// librdkafka's settings. Never expire a line, batches as large as the broker takes, and a queue that can
/// fill them; statistics stay off.
const SETTINGS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.codec", "lz4"),
    ("message.timeout.ms", "0"),
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "100000"),
    ("queue.buffering.max.messages", "500000"),
    ("statistics.interval.ms", "0"),
];

/// Before the CPU seconds that went into reading the file, on the last line of the output: filling fresh
/// memory with the whole file is a cost that an agent with a few buffers does not have.
const READING: &str = "CPU seconds to read the file: ";

/// The CPU seconds to read the file, from the output of a minimal producer.
pub(crate) fn reading_cpu_s(output: &str) -> Option<f64> {
    output.lines().find_map(|line| line.strip_prefix(READING)?.parse().ok())
}

/// The minimal producer's command line.
#[derive(clap::Args, Debug)]
pub(crate) struct MinimalArgs {
    #[arg(long)]
    file: PathBuf,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    brokers: String,
    /// A librdkafka property, `name=value`; overrides the built-in one.
    #[arg(long = "option")]
    options: Vec<String>,
}

/// Sends the file and returns when every line is acknowledged.
pub(crate) fn run(args: &MinimalArgs) -> Result<()> {
    let file = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let reading = procfs::cpu_time(std::process::id() as i32).context("cannot read the own CPU time")?;
    let producer = Producer::connect(&args.brokers, &args.topic, &args.options)?;
    // How many reports to wait for; known once every line was handed over.
    let awaited = AtomicU64::new(u64::MAX);
    let outcome = std::thread::scope(|scope| {
        let reports = scope.spawn(|| producer.count_deliveries(&awaited));
        let sent = producer.send_lines(&file, &reports);
        // When a line was refused, nothing is worth waiting for.
        awaited.store(*sent.as_ref().unwrap_or(&0), Ordering::Release);
        let reported = reports.join().expect("counting deliveries does not panic");
        sent.and_then(|sent| reported.map(|()| sent))
    });
    // The lines in librdkafka's queue point into the file: the producer goes first, then the file.
    drop(producer);
    let sent = outcome?;
    println!("{sent} lines acknowledged\n{READING}{}", reading.as_secs_f64());
    Ok(())
}

/// A librdkafka producer with one topic, and the queue of its events.
struct Producer {
    client: *mut RDKafka,
    topic: *mut RDKafkaTopic,
    events: *mut sys::rd_kafka_queue_t,
}

// SAFETY: librdkafka's client, topic and queue handles may be used from any thread; the pointers are set
// once and freed only by `drop`, which needs the whole value.
unsafe impl Sync for Producer {}

impl Producer {
    fn connect(brokers: &str, topic: &str, options: &[String]) -> Result<Producer> {
        // SAFETY: no preconditions; the configuration is consumed by rd_kafka_new below.
        let config = unsafe { sys::rd_kafka_conf_new() };
        let mut settings = vec![("bootstrap.servers", brokers)];
        settings.extend_from_slice(SETTINGS);
        for option in options {
            let pair = option.split_once('=');
            settings.push(pair.with_context(|| format!("--option {option}: expected name=value"))?);
        }
        let mut complaint = [0 as c_char; 512];
        for (name, value) in settings {
            let (name_c, value_c) = (CString::new(name)?, CString::new(value)?);
            let place = complaint.as_mut_ptr();
            // SAFETY: all strings end in NUL and live across the call; `complaint` has the length given.
            let code = unsafe {
                sys::rd_kafka_conf_set(config, name_c.as_ptr(), value_c.as_ptr(), place, complaint.len())
            };
            if code != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                bail!("librdkafka refuses {name}={value}: {}", text(&complaint));
            }
        }
        // SAFETY: `config` is the live configuration from above.
        unsafe { sys::rd_kafka_conf_set_events(config, sys::RD_KAFKA_EVENT_DR) };
        let kind = RDKafkaType::RD_KAFKA_PRODUCER;
        // SAFETY: `config` is owned by the client from here on; `complaint` has the length given.
        let client = unsafe { sys::rd_kafka_new(kind, config, complaint.as_mut_ptr(), complaint.len()) };
        ensure!(!client.is_null(), "librdkafka makes no producer: {}", text(&complaint));
        let topic_c = CString::new(topic)?;
        // SAFETY: the client is live, the name ends in NUL, and no topic configuration is passed.
        let topic = unsafe { sys::rd_kafka_topic_new(client, topic_c.as_ptr(), ptr::null_mut()) };
        // SAFETY: the client is live; the reference to its main queue is released by `drop`.
        let events = unsafe { sys::rd_kafka_queue_get_main(client) };
        let producer = Producer { client, topic, events };
        ensure!(!topic.is_null(), "librdkafka refuses the topic");
        producer.await_metadata()?;
        Ok(producer)
    }

    /// Learns the topic's leader before the first line, so that no line waits in an unassigned partition.
    fn await_metadata(&self) -> Result<()> {
        let mut metadata = ptr::null();
        // SAFETY: client and topic are live, and `metadata` is a valid place for the answer.
        let code = unsafe { sys::rd_kafka_metadata(self.client, 0, self.topic, &mut metadata, 10_000) };
        ensure!(
            code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            "no metadata of the topic: {code:?}"
        );
        // SAFETY: the call succeeded, so `metadata` is an answer that this function owns.
        unsafe { sys::rd_kafka_metadata_destroy(metadata) };
        Ok(())
    }

    /// Hands over every complete line of `file`; gives up when `reports` has ended.
    fn send_lines(
        &self,
        file: &[u8],
        reports: &std::thread::ScopedJoinHandle<'_, Result<()>>,
    ) -> Result<u64> {
        let mut batch: Vec<RDKafkaMessage> = Vec::with_capacity(BATCH_LINES);
        let mut line_start = 0;
        let mut sent = 0;
        for line_end in memchr::memchr_iter(b'\n', file) {
            batch.push(message(&file[line_start..line_end]));
            line_start = line_end + 1;
            if batch.len() == BATCH_LINES {
                self.send_batch(&mut batch, reports)?;
                sent += BATCH_LINES as u64;
                batch.clear();
            }
        }
        self.send_batch(&mut batch, reports)?;
        Ok(sent + batch.len() as u64)
    }

    fn send_batch(
        &self,
        mut left: &mut [RDKafkaMessage],
        reports: &std::thread::ScopedJoinHandle<'_, Result<()>>,
    ) -> Result<()> {
        while !left.is_empty() {
            // SAFETY: the topic is live, `left` holds as many messages as said, and their payloads stay
            // where they are until the producer is destroyed: `run` drops it before the file.
            let taken = unsafe {
                sys::rd_kafka_produce_batch(self.topic, 0, 0, left.as_mut_ptr(), left.len() as c_int)
            };
            left = &mut left[taken as usize..];
            // A full queue refuses a suffix, so going on from there keeps the order.
            match left.first().map(|refused| RDKafkaErrorCode::from(refused.err)) {
                None => {}
                Some(RDKafkaErrorCode::QueueFull) if !reports.is_finished() => {
                    std::thread::sleep(QUEUE_FULL_PAUSE);
                }
                Some(code) => bail!("librdkafka refuses a line: {code}"),
            }
        }
        Ok(())
    }

    /// Counts delivery reports until all that are awaited have come; a failed delivery is an error.
    fn count_deliveries(&self, awaited: &AtomicU64) -> Result<()> {
        let mut messages: Vec<*const RDKafkaMessage> = vec![ptr::null(); BATCH_LINES];
        let mut delivered = 0;
        while delivered < awaited.load(Ordering::Acquire) {
            // SAFETY: the queue is live; the event belongs to this loop and is destroyed below.
            let event = unsafe { sys::rd_kafka_queue_poll(self.events, 100) };
            if event.is_null() {
                continue;
            }
            let mut failed = None;
            loop {
                // SAFETY: the event is live, and `messages` has room for as many pointers as said.
                let count = unsafe {
                    sys::rd_kafka_event_message_array(event, messages.as_mut_ptr(), messages.len())
                };
                for &message in &messages[..count] {
                    // SAFETY: librdkafka wrote `count` pointers, valid until the event is destroyed.
                    let code = RDKafkaErrorCode::from(unsafe { (*message).err });
                    if code != RDKafkaErrorCode::NoError {
                        failed = Some(code);
                    }
                }
                delivered += count as u64;
                if count < messages.len() {
                    break;
                }
            }
            // SAFETY: the event is live and nothing refers to its messages any more.
            unsafe { sys::rd_kafka_event_destroy(event) };
            if let Some(code) = failed {
                bail!("a line was not delivered: {code}");
            }
        }
        Ok(())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // SAFETY: each handle is live (or null where its creation failed), freed once, children first.
        unsafe {
            sys::rd_kafka_queue_destroy(self.events);
            if !self.topic.is_null() {
                sys::rd_kafka_topic_destroy(self.topic);
            }
            sys::rd_kafka_destroy(self.client);
        }
    }
}

fn message(line: &[u8]) -> RDKafkaMessage {
    // SAFETY: an all-zero message is valid: no error, no topic, no key, no payload.
    let mut message: RDKafkaMessage = unsafe { std::mem::zeroed() };
    message.payload = line.as_ptr() as *mut c_void;
    message.len = line.len();
    message
}

fn text(buffer: &[c_char]) -> String {
    // SAFETY: librdkafka ends its texts in NUL within the length it was given, and the buffer began as zeros.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}

/// The arguments that run the minimal producer as a process of its own.
pub(crate) fn command(
    file: &Path,
    topic: &str,
    brokers: &str,
    options: &[String],
) -> Result<std::process::Command> {
    let own = std::env::current_exe().context("cannot find the harness's own path")?;
    let mut command = std::process::Command::new(own);
    command.arg("minimal-producer").arg("--file").arg(file).args(["--topic", topic, "--brokers", brokers]);
    command.args(options.iter().map(|option| format!("--option={option}")));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_understood() {
        assert_eq!(reading_cpu_s(&format!("2 lines acknowledged\n{READING}0.125\n")), Some(0.125));
        assert_eq!(reading_cpu_s("error: no such topic\n"), None);
    }
}
