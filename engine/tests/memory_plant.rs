//! A use after free, planted: whoever runs tests under a sanitizer has to see it fail there, or sees nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kafka_support;

use std::time::Duration;

use bytes::Bytes;
use kafka_support::*;

/// Without this the test does nothing.
const PLANT: &str = "LOGDRIVE_PLANT_USE_AFTER_FREE";

#[test]
#[ignore = "wrong on purpose: scripts/checks/memory-safety.sh runs it"]
fn librdkafka_reads_what_was_freed() {
    if std::env::var_os(PLANT).is_none() {
        return;
    }
    let cluster = mock("web", 1);
    let mut settings = settings(&cluster);
    // The lines are still in librdkafka's queue when they are freed.
    settings.linger = Duration::from_secs(1);
    let mut bed = Bed::with(settings, BUDGET, route("web"));
    bed.until("the topic is known", |bed| bed.sink.status().topics[0].partitions == 1);
    let (bytes, events) = joined(&vec!["x".repeat(2000); 10]);
    // SAFETY: none. That is the plant: the memory does not live as long as is claimed.
    let dangling: &'static [u8] = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
    let batch = bed.batch_of(&file(1, "/l/a"), Bytes::from_static(dangling), events);
    bed.send(batch);
    drop(bytes);
    bed.settle();
}
