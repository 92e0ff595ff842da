//! An agent that does one thing wrong, once: the proof that the harness sees it.
//!
//! It tails one file into partition 0 of a topic, as simply as that can be done, and is honest but for the one
//! line that it is told to spoil. It runs as a process of its own (a hidden command of the harness's binary), as
//! any agent does, or on a thread of a test. It has no position, no rotation and no state.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::interrupt;

/// Between two looks at the end of the file.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// For the acknowledgements of the last lines.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 1 << 20;

/// What happens to the one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// Nothing: the line is as good as the others.
    None,
    /// It waits for `--stall` before it is sent, and every line after it waits with it.
    Stall,
    /// It is not sent.
    Drop,
    /// It is sent twice.
    Duplicate,
    /// It is sent after the next one.
    Swap,
    /// Its last byte is cut off.
    Tear,
    /// It and every line after it are sent, and kept in memory for ever.
    Leak,
}

/// The faulty agent's command line.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct FaultyArgs {
    #[arg(long)]
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long, value_enum)]
    pub(crate) fault: Fault,
    /// Which line of the file, counted from 0
    #[arg(long)]
    pub(crate) at_line: u64,
    #[arg(long, default_value = "500ms", value_parser = humantime::parse_duration)]
    pub(crate) stall: Duration,
}

/// Ships until a signal asks to stop, then what is left in the file.
pub(crate) fn run(args: &FaultyArgs) -> Result<()> {
    interrupt::listen()?;
    ship(args, || interrupt::check().is_err())
}

/// Ships until `ended` says so, then what is left in the file.
pub(crate) fn ship(args: &FaultyArgs, ended: impl Fn() -> bool) -> Result<()> {
    let producer = Sender::connect(args)?;
    let mut tail = Tail::open(&args.file, &ended)?;
    let (fault, at_line) = (args.fault, args.at_line);
    let mut faulty = Faulty { fault, at_line, line: 0, held: None, leaked: Vec::new() };
    loop {
        // Asked before the look, so that the last look comes after the last line.
        let last = ended();
        let read = tail.lines(|line| {
            if faulty.stalls() {
                std::thread::sleep(args.stall);
            }
            faulty.pass(line, |line| producer.send(line))
        })?;
        if read == 0 && last {
            return producer.flush();
        }
        if read == 0 {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// What the fault makes of a stream of lines.
struct Faulty {
    fault: Fault,
    at_line: u64,
    /// The next line's number.
    line: u64,
    /// The line that waits for the next one.
    held: Option<Vec<u8>>,
    /// What is kept for ever.
    leaked: Vec<Vec<u8>>,
}

impl Faulty {
    fn stalls(&self) -> bool {
        self.fault == Fault::Stall && self.line == self.at_line
    }

    fn pass(&mut self, line: &[u8], mut send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let spoilt = self.line == self.at_line;
        if self.fault == Fault::Leak && self.line >= self.at_line {
            self.leaked.push(line.to_owned());
        }
        self.line += 1;
        match self.fault {
            Fault::Drop if spoilt => {}
            Fault::Duplicate if spoilt => {
                send(line)?;
                send(line)?;
            }
            Fault::Swap if spoilt => self.held = Some(line.to_owned()),
            Fault::Tear if spoilt => send(&line[..line.len() - 1])?,
            _ => send(line)?,
        }
        if !spoilt && let Some(held) = self.held.take() {
            send(&held)?;
        }
        Ok(())
    }
}

struct Sender {
    producer: BaseProducer,
    topic: String,
}

impl Sender {
    fn connect(args: &FaultyArgs) -> Result<Sender> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &args.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.codec", "lz4")
            .set("linger.ms", "2")
            .create()
            .context("cannot create a producer")?;
        Ok(Sender { producer, topic: args.topic.clone() })
    }

    fn send(&self, line: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<(), _>::to(&self.topic).partition(0).payload(line);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(LOOK_INTERVAL);
                }
                Err((error, _)) => return Err(error).context("cannot produce a line"),
            }
        }
    }

    fn flush(&self) -> Result<()> {
        self.producer.flush(FLUSH_PATIENCE).context("the last lines were not acknowledged")
    }
}

/// A file that grows.
struct Tail {
    file: File,
    buffer: Vec<u8>,
    /// The begun line at the front of the buffer.
    kept_bytes: usize,
}

impl Tail {
    /// Opens the file, when it is there.
    fn open(path: &Path, ended: impl Fn() -> bool) -> Result<Tail> {
        loop {
            match File::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !ended() => {
                    std::thread::sleep(LOOK_INTERVAL);
                }
                opened => {
                    let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
                    return Ok(Tail { file, buffer: vec![0; READ_BYTES], kept_bytes: 0 });
                }
            }
        }
    }

    /// Gives out the complete lines of one read, and returns how many bytes were read.
    fn lines(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let read = self.file.read(&mut self.buffer[self.kept_bytes..]).context("cannot read the file")?;
        let filled = self.kept_bytes + read;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &self.buffer[..filled]) {
            take(&self.buffer[start..end])?;
            start = end + 1;
        }
        self.buffer.copy_within(start..filled, 0);
        self.kept_bytes = filled - start;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use logdrive_bench::consume::unix_now_ns;
    use logdrive_bench::verify::{Framing, Verdict};
    use logdrive_load::format::Format;
    use logdrive_load::journal::Journal;
    use logdrive_load::run::{End, Options, SystemClock, Text, Writes};
    use logdrive_load::schedule::Rate;
    use logdrive_load::spread::Spread;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::receiver::{Received, Receiver};
    use crate::recorder::{Quantiles, Recorder};

    /// Longer than any of this takes.
    const WINDOW: Duration = Duration::from_secs(600);

    /// Generator, faulty agent, a mock of a cluster, and the harness's own consumer: what the harness says. The mock
    /// keeps 5 MB of a partition, so there are few lines and short ones.
    fn measure(fault: Fault, rate: Rate, lines: u64, at_line: u64) -> (Quantiles, Verdict) {
        let folder = tempfile::tempdir().unwrap();
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("faults", 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let args = FaultyArgs {
            file: folder.path().join("load/load-0.log"),
            topic: "faults".to_owned(),
            brokers: brokers.clone(),
            fault,
            at_line,
            stall: Duration::from_millis(500),
        };
        let now_ns = unix_now_ns();
        let recorder = Recorder::new(now_ns..now_ns + WINDOW.as_nanos() as u64);
        let mut receiver = Receiver::start(&brokers, "faults", Framing::Line, recorder).unwrap();
        let written = AtomicBool::new(false);
        let journal = std::thread::scope(|scope| {
            let agent = scope.spawn(|| ship(&args, || written.load(Ordering::Relaxed)));
            let journal = generate(&folder.path().join("load"), rate, lines);
            written.store(true, Ordering::Relaxed);
            agent.join().unwrap().unwrap();
            journal
        });
        let records = match fault {
            Fault::Drop => lines - 1,
            Fault::Duplicate => lines + 1,
            _ => lines,
        };
        receiver.await_count(records, FLUSH_PATIENCE).unwrap();
        let Received { note: recorder, ledger } = receiver.finish().unwrap();
        (recorder.quantiles(), ledger.verdict(&journal))
    }

    fn generate(dir: &Path, rate: Rate, lines: u64) -> Journal {
        let options = Options {
            dir: dir.to_owned(),
            files: 1,
            threads: 1,
            spread: Spread::Uniform,
            rate,
            end: End::Lines(lines),
            text: Text::Made { format: Format::Plain, line_bytes: "100..120".parse().unwrap() },
            rotation: None,
            seed: 1,
            run: 7,
            writes: Writes::Buffered,
            tick: Duration::from_millis(1),
        };
        logdrive_load::run::run(&options, &mut SystemClock::default(), &AtomicBool::new(false), |_| {})
            .unwrap()
    }

    /// Of twenty thousand lines, one is spoilt.
    fn one_line(fault: Fault) -> String {
        let (_, verdict) = measure(fault, Rate::Max, 20_000, 12_361);
        assert_eq!(verdict.passes(0), fault == Fault::None, "{verdict}");
        verdict.sentence(0)
    }

    #[test]
    fn an_honest_agent_passes() {
        let expected = "PASS: of 20000 lines 0 lost, 0 duplicated, 0 reordered, 0 torn, 0 foreign";
        assert_eq!(one_line(Fault::None), expected);
    }

    #[test]
    fn one_dropped_line_is_caught() {
        let expected = "FAIL: of 20000 lines 1 lost, 0 duplicated, 0 reordered, 0 torn, 0 foreign";
        assert_eq!(one_line(Fault::Drop), expected);
    }

    #[test]
    fn one_duplicated_line_is_caught() {
        let expected = "FAIL: of 20000 lines 0 lost, 1 duplicated, 0 reordered, 0 torn, 0 foreign";
        assert_eq!(one_line(Fault::Duplicate), expected);
    }

    #[test]
    fn one_swapped_line_is_caught() {
        let expected = "FAIL: of 20000 lines 0 lost, 0 duplicated, 1 reordered, 0 torn, 0 foreign";
        assert_eq!(one_line(Fault::Swap), expected);
    }

    #[test]
    fn one_torn_line_is_caught_and_is_lost_as_well() {
        let expected = "FAIL: of 20000 lines 1 lost, 0 duplicated, 0 reordered, 1 torn, 0 foreign";
        assert_eq!(one_line(Fault::Tear), expected);
    }

    /// Of 40,000 lines in four seconds, those of half a second wait, each for what is left of it: the share of
    /// lines that take longer than `t` is (500 ms - t) / 4 s. A harness that waited for the agent would have
    /// seen one slow line in 40,000, and the 99th percentile would not know of it. These are lower bounds, so
    /// that a busy machine cannot break them.
    #[test]
    fn a_stall_of_half_a_second_shows_at_the_percentiles_where_it_belongs() {
        let (latency, verdict) = measure(Fault::Stall, Rate::parse("10000").unwrap(), 40_000, 15_000);
        assert!(verdict.passes(0), "{verdict}");
        assert_eq!(latency.lines, 40_000);
        assert!(latency.p90_ms >= 99.0, "500 ms less a tenth of 4 s: {latency:?}");
        assert!(latency.p99_ms >= 459.0, "500 ms less a hundredth of 4 s: {latency:?}");
        assert!(latency.p99_9_ms >= 495.0, "500 ms less a thousandth of 4 s: {latency:?}");
        assert!(latency.max_ms >= 499.0, "{latency:?}");
    }
}
