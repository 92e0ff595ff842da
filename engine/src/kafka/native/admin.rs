//! Questions about topics, and their creation.
//!
//! A question blocks until a broker answers, so it has a thread of its own; librdkafka's asynchronous
//! twin would ask the cluster's controller only, which need not be a broker that we talk to. Its answer
//! also brings the instance's own view of the topics up to date, which is what makes producing to an
//! explicit partition safe (see `Topic::produce`). Creation is asynchronous: the answer is an event.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka_sys as sys;

use super::event::{Event, Kind};
use super::{Client, ERROR_BYTES, milliseconds, name_of, text_of};

unsafe extern "C" {
    /// As in rdkafka.h; an `i32`, because any code may come.
    fn rd_kafka_topic_result_error(result: *const sys::rd_kafka_topic_result_t) -> i32;
    /// As above.
    fn rd_kafka_metadata(
        rk: *mut sys::rd_kafka_t,
        all_topics: c_int,
        only_topic: *mut sys::rd_kafka_topic_t,
        metadata: *mut *const sys::rd_kafka_metadata,
        timeout_ms: c_int,
    ) -> i32;
}

/// What the brokers say of one topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::kafka) struct TopicSeen {
    pub(in crate::kafka) name: String,
    /// For each partition whether it has a leader; or the code of the refusal.
    pub(in crate::kafka) partitions: Result<Vec<bool>, i32>,
}

/// The answer to `describe`; an error with its text when no broker gave one.
pub(in crate::kafka) type Described = Result<Vec<TopicSeen>, (i32, String)>;

impl Client {
    /// Asks a broker about all topics that were made known to this instance. Creates none. Blocks.
    pub(in crate::kafka) fn describe(&self, timeout: Duration) -> Described {
        let mut metadata = ptr::null();
        // SAFETY: `rk` is valid, the out-pointer too; no topic means those known to the instance.
        let code = unsafe {
            rd_kafka_metadata(self.rk.as_ptr(), 0, ptr::null_mut(), &mut metadata, milliseconds(timeout))
        };
        if code != 0 {
            return Err((code, name_of(code)));
        }
        // SAFETY: after success it points to metadata that is ours until it is destroyed below.
        let seen = topics_seen(unsafe { &*metadata });
        // SAFETY: ours, given back once, after its last use.
        unsafe { sys::rd_kafka_metadata_destroy(metadata) };
        Ok(seen)
    }

    /// Asks the brokers to create a topic.
    pub(in crate::kafka) fn create_topic(
        &self,
        topic: &CStr,
        partitions: i32,
        replication: i32,
        timeout: Duration,
    ) -> Result<(), String> {
        let options = Options::new(self, timeout);
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: the name is valid for the call, which copies it; `text` has the length that is said.
        let mut wanted = unsafe {
            sys::rd_kafka_NewTopic_new(topic.as_ptr(), partitions, replication, text.as_mut_ptr(), text.len())
        };
        if wanted.is_null() {
            return Err(text_of(text.as_ptr()));
        }
        // SAFETY: an array of one valid element, which the request copies.
        unsafe {
            sys::rd_kafka_CreateTopics(
                self.rk.as_ptr(),
                ptr::from_mut(&mut wanted),
                1,
                options.0.as_ptr(),
                self.events.as_ptr(),
            )
        };
        // SAFETY: ours, given back once.
        unsafe { sys::rd_kafka_NewTopic_destroy(wanted) };
        Ok(())
    }
}

fn topics_seen(metadata: &sys::rd_kafka_metadata) -> Vec<TopicSeen> {
    // SAFETY: librdkafka says how many there are.
    let topics = unsafe { array(metadata.topics, metadata.topic_cnt) };
    let seen = topics.iter().map(|topic| TopicSeen {
        name: text_of(topic.topic),
        // SAFETY: reads the enum's number without claiming that the bindings know it.
        partitions: match unsafe { ptr::from_ref(&topic.err).cast::<i32>().read() } {
            0 => {
                // SAFETY: as above.
                let partitions = unsafe { array(topic.partitions, topic.partition_cnt) };
                Ok(partitions.iter().map(|partition| partition.leader >= 0).collect())
            }
            code => Err(code),
        },
    });
    seen.collect()
}

/// A C array as a slice.
///
/// # Safety
/// There must be so many elements, and they must live as long as is claimed.
unsafe fn array<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(first, count) }
}

/// Options of a request to create a topic.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Options {
    fn new(client: &Client, timeout: Duration) -> Options {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        // SAFETY: `rk` is valid; never null for an operation that exists.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(client.rk.as_ptr(), operation) };
        let options = Options(NonNull::new(options).expect("the operation exists"));
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: the options are valid, `text` has the length that is said.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.0.as_ptr(),
                milliseconds(timeout),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        options
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, given back once; requests copy what they need.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) };
    }
}

/// Copies the answer to `create_topic` out of its event.
pub(super) fn created(event: &Event) -> Kind {
    let code = event.error_code();
    if code != 0 {
        return Kind::Created { topic: String::new(), code, text: event.error_text() };
    }
    // SAFETY: the event is a CreateTopics result (its type was checked).
    let result = unsafe { sys::rd_kafka_event_CreateTopics_result(event.0.as_ptr()) };
    let mut count = 0;
    // SAFETY: the result lives as long as the event.
    let topics = unsafe { sys::rd_kafka_CreateTopics_result_topics(result, &mut count) };
    if count == 0 {
        return Kind::Other;
    }
    // SAFETY: there is at least one, and it lives as long as the event.
    let topic = unsafe { *topics };
    Kind::Created {
        // SAFETY: as above.
        topic: text_of(unsafe { sys::rd_kafka_topic_result_name(topic) }),
        // SAFETY: as above.
        code: unsafe { rd_kafka_topic_result_error(topic) },
        // SAFETY: as above; null when there is no error.
        text: text_of(unsafe { sys::rd_kafka_topic_result_error_string(topic) }),
    }
}
