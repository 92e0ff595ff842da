//! Questions about topics and their creation. Both are asynchronous: the answers come as events, so
//! that nobody waits for a broker that may be down.
//!
//! The answer to `describe` also brings the instance's own view of the topic up to date, which is what
//! makes producing to an explicit partition safe (see `Topic::produce`).

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka_sys as sys;

use super::event::{Event, Kind};
use super::{Client, ERROR_BYTES, milliseconds, text_of};

unsafe extern "C" {
    /// As in rdkafka.h; an `i32`, because any code may come.
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> i32;
    /// As above.
    fn rd_kafka_topic_result_error(result: *const sys::rd_kafka_topic_result_t) -> i32;
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

/// Options of one request.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Options {
    fn new(client: &Client, operation: sys::rd_kafka_admin_op_t, timeout: Duration) -> Options {
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

impl Client {
    /// Asks the brokers about these (distinct, not empty) topics. Creates none.
    pub(in crate::kafka) fn describe(&self, topics: &[&CStr], timeout: Duration) {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Options::new(self, operation, timeout);
        let mut names: Vec<*const c_char> = topics.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names are valid for the call, which copies them.
        let collection = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
        // SAFETY: all are valid; the request copies the names.
        unsafe {
            sys::rd_kafka_DescribeTopics(
                self.rk.as_ptr(),
                collection,
                options.0.as_ptr(),
                self.events.as_ptr(),
            )
        };
        // SAFETY: ours, given back once.
        unsafe { sys::rd_kafka_TopicCollection_destroy(collection) };
    }

    /// Asks the brokers to create a topic.
    pub(in crate::kafka) fn create_topic(
        &self,
        topic: &CStr,
        partitions: i32,
        replication: i32,
        timeout: Duration,
    ) -> Result<(), String> {
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS;
        let options = Options::new(self, operation, timeout);
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: the name is valid for the call, which copies it; `text` has the length that is said.
        let mut wanted = unsafe {
            sys::rd_kafka_NewTopic_new(
                topic.as_ptr(),
                partitions,
                replication,
                text.as_mut_ptr(),
                text.len(),
            )
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

/// Copies the answer to `describe` out of its event.
pub(super) fn described(event: &Event) -> Described {
    let code = event.error_code();
    if code != 0 {
        return Err((code, event.error_text()));
    }
    // SAFETY: the event is a DescribeTopics result (its type was checked).
    let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(event.0.as_ptr()) };
    let mut count = 0;
    // SAFETY: the result lives as long as the event.
    let topics = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &mut count) };
    Ok(elements(topics, count).map(topic_seen).collect())
}

fn topic_seen(topic: *const sys::rd_kafka_TopicDescription_t) -> TopicSeen {
    // SAFETY: the description lives as long as its event, here and below.
    let name = text_of(unsafe { sys::rd_kafka_TopicDescription_name(topic) });
    // SAFETY: as above; null when there is no error.
    let error = unsafe { sys::rd_kafka_TopicDescription_error(topic) };
    // SAFETY: `error` is null, which means no error, or valid.
    let code = unsafe { rd_kafka_error_code(error) };
    if code != 0 {
        return TopicSeen { name, partitions: Err(code) };
    }
    let mut count = 0;
    // SAFETY: as above.
    let partitions = unsafe { sys::rd_kafka_TopicDescription_partitions(topic, &mut count) };
    let leaders = elements(partitions, count).map(|partition| {
        // SAFETY: as above; null when there is no leader.
        !unsafe { sys::rd_kafka_TopicPartitionInfo_leader(partition) }.is_null()
    });
    TopicSeen { name, partitions: Ok(leaders.collect()) }
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
    let Some(topic) = elements(topics, count).next() else { return Kind::Other };
    Kind::Created {
        // SAFETY: the topic's result lives as long as the event, here and below.
        topic: text_of(unsafe { sys::rd_kafka_topic_result_name(topic) }),
        // SAFETY: as above.
        code: unsafe { rd_kafka_topic_result_error(topic) },
        // SAFETY: as above; null when there is no error.
        text: text_of(unsafe { sys::rd_kafka_topic_result_error_string(topic) }),
    }
}

/// The elements of a C array of pointers.
fn elements<T>(array: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    (0..if array.is_null() { 0 } else { count }).map(move |at| {
        // SAFETY: librdkafka said how many there are, and the callers keep their event alive.
        unsafe { *array.add(at) }
    })
}
