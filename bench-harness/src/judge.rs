//! Reads a topic that nobody writes any more, and has every line of it judged.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use logdrive_bench::consume::Consumer;
use logdrive_bench::verify::{Framing, Ledger, Verdict};
use logdrive_load::journal::Journal;

use crate::interrupt;

const POLL_WAIT: Duration = Duration::from_millis(100);

/// The broker gives nothing for so long, although there is more.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Judges the whole topic by what the generator wrote. `on_repeat` is told the offset of every record
/// whose line is not new (or, in a run that failed anyway, not whole).
pub(crate) fn judge_topic(
    brokers: &str,
    topic: &str,
    framing: Framing,
    journal: &Journal,
    mut on_repeat: impl FnMut(u64),
) -> Result<Verdict> {
    let mut consumer = Consumer::open(brokers, topic)?;
    let mut ledger = Ledger::new(framing);
    let mut last = Instant::now();
    loop {
        interrupt::check()?;
        let records = consumer.poll(POLL_WAIT, |arrival, _| {
            let mut new = false;
            ledger.judge(arrival, |_| new = true);
            if !new {
                on_repeat(arrival.offset as u64);
            }
        })?;
        if records > 0 {
            last = Instant::now();
        } else if consumer.is_at_end() {
            return Ok(ledger.verdict(journal));
        } else if last.elapsed() >= STALLED_AFTER {
            bail!("topic {topic} cannot be read to its end: {}", consumer.last_word());
        }
    }
}
