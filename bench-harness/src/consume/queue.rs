//! Batches of records from librdkafka, without a safe wrapper's cost for each: the only unsafe code here.
//!
//! The client and its configuration are rdkafka's. Beside it stand one topic handle and one queue, to
//! which all partitions deliver (librdkafka's simple consumer: explicit offsets, no group). The queue is
//! emptied with `rd_kafka_consume_batch_queue`, which would wait for a *full* batch; so the first record
//! is waited for alone, and the batch after it takes what is there and never waits.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__PARTITION_EOF, RD_KAFKA_RESP_ERR_NO_ERROR};

/// How many records one batch takes at most.
const BATCH_RECORDS: usize = 4096;
/// librdkafka's logical offset of a partition's first record.
const OFFSET_BEGINNING: i64 = -2;

/// What a queue delivers.
#[derive(Debug)]
pub(super) enum Delivery<'a> {
    /// A record; a missing value is an empty one.
    Record { partition: i32, offset: i64, payload: &'a [u8], appended_ms: Option<u64> },
    /// Everything before this offset was delivered, and nothing is there yet.
    End { partition: i32 },
    /// The partition has an error.
    Error { partition: i32, code: sys::RDKafkaErrorCode, reason: String },
}

/// All partitions of a topic, from their beginning.
pub(super) struct Queue<C: ConsumerContext> {
    /// Refers to `client`, which is dropped last: fields are dropped after `drop`.
    topic: *mut sys::rd_kafka_topic_t,
    queue: *mut sys::rd_kafka_queue_t,
    /// Those that were started.
    partitions: Vec<i32>,
    batch: Vec<*mut sys::rd_kafka_message_t>,
    client: BaseConsumer<C>,
}

// SAFETY: librdkafka's handles may be used from any thread; `&mut self` keeps it to one at a time.
unsafe impl<C: ConsumerContext + Send> Send for Queue<C> {}

impl<C: ConsumerContext> Queue<C> {
    /// Starts fetching; `None` if librdkafka refuses the topic or a partition of it.
    pub(super) fn start(client: BaseConsumer<C>, topic: &str, partitions: &[i32]) -> Option<Queue<C>> {
        let name = CString::new(topic).ok()?;
        let native = client.client().native_ptr();
        // SAFETY: `native` lives as long as `client`, which the result owns; the name is copied.
        let topic = unsafe { sys::rd_kafka_topic_new(native, name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            return None;
        }
        // SAFETY: as above; a queue is always returned.
        let queue = unsafe { sys::rd_kafka_queue_new(native) };
        let batch = Vec::with_capacity(BATCH_RECORDS);
        let mut this = Queue { topic, queue, partitions: Vec::new(), batch, client };
        for &partition in partitions {
            // SAFETY: topic and queue are valid until `drop`, which stops every started partition first.
            let refused = unsafe {
                sys::rd_kafka_consume_start_queue(this.topic, partition, OFFSET_BEGINNING, this.queue)
            };
            if refused != 0 {
                return None;
            }
            this.partitions.push(partition);
        }
        Some(this)
    }

    pub(super) fn client(&self) -> &BaseConsumer<C> {
        &self.client
    }

    pub(super) fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// Waits for a delivery at most so long, then fetches with it whatever else is there, and returns
    /// how many there are. They are given out by [`Queue::drain`].
    pub(super) fn fetch(&mut self, wait: Duration) -> usize {
        assert!(self.batch.is_empty(), "the last batch was given out");
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; a message that is returned is ours to destroy.
        let first = unsafe { sys::rd_kafka_consume_queue(self.queue, wait_ms) };
        if first.is_null() {
            return 0;
        }
        self.batch.push(first);
        let room = BATCH_RECORDS - 1;
        // SAFETY: the vector has room for `room` more pointers; the call writes as many as it returns,
        // each a message that is ours to destroy, and -1 (nothing written) on error.
        unsafe {
            let free = self.batch.as_mut_ptr().add(1);
            let taken = sys::rd_kafka_consume_batch_queue(self.queue, 0, free, room);
            self.batch.set_len(1 + usize::try_from(taken).unwrap_or(0));
        }
        self.batch.len()
    }

    /// Gives out what was fetched.
    pub(super) fn drain(&mut self, mut deliver: impl FnMut(Delivery<'_>)) {
        for message in self.batch.drain(..) {
            let message = Message(message);
            deliver(message.delivery());
        }
    }
}

impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        self.drain(|_| {});
        // SAFETY: every partition was started on this topic, no message is left with us, and topic and
        // queue are released once, before the client that they belong to.
        unsafe {
            for &partition in &self.partitions {
                sys::rd_kafka_consume_stop(self.topic, partition);
            }
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_topic_destroy(self.topic);
        }
    }
}

/// A message that is ours. Invariant: not null, not destroyed before this is dropped.
struct Message(*mut sys::rd_kafka_message_t);

impl Message {
    fn delivery(&self) -> Delivery<'_> {
        // SAFETY: the invariant; librdkafka does not touch a message it has handed over.
        let message = unsafe { &*self.0 };
        let (partition, offset) = (message.partition, message.offset);
        match message.err {
            RD_KAFKA_RESP_ERR_NO_ERROR => {
                let payload = match message.payload.is_null() {
                    true => &[],
                    // SAFETY: the payload is `len` bytes that live as long as the message.
                    false => unsafe { std::slice::from_raw_parts(message.payload.cast::<u8>(), message.len) },
                };
                Delivery::Record { partition, offset, payload, appended_ms: self.appended_ms() }
            }
            RD_KAFKA_RESP_ERR__PARTITION_EOF => Delivery::End { partition },
            error => {
                // SAFETY: never null for a message with an error, and valid as long as the message.
                let reason = unsafe { CStr::from_ptr(sys::rd_kafka_message_errstr(self.0)) };
                let reason = reason.to_string_lossy().into_owned();
                Delivery::Error { partition, code: error.into(), reason }
            }
        }
    }
}

impl Message {
    /// When the broker appended the record, milliseconds since the epoch; none where the topic keeps the
    /// producers' time instead.
    fn appended_ms(&self) -> Option<u64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the invariant, and `kind` is a valid place for the answer.
        let at_ms = unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) };
        let by_broker = kind == sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
        by_broker.then(|| u64::try_from(at_ms).ok()).flatten()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the invariant, and this is the only place.
        unsafe { sys::rd_kafka_message_destroy(self.0) }
    }
}
