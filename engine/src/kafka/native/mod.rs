//! librdkafka's C interface in safe clothes: the only unsafe module of the sink.
//!
//! Deliberately thin: no policy, no retry, no state beside the pointers. Error codes are `i32`
//! throughout, because the bindings' enum knows only the codes of its day, and a newer broker may
//! send others (a Rust enum outside its range would be undefined behaviour).

mod admin;
mod event;
mod produce;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

pub(super) use admin::{Described, TopicSeen};
pub(super) use event::{Event, Kind};
pub(super) use produce::{HEADERS_MAX, HeaderSet, Message, Topic, partition_of_key};

/// librdkafka's codes that this module or the sink names. Negative ones are its own.
pub(super) mod code {
    pub(in crate::kafka) const ALL_BROKERS_DOWN: i32 = -187;
    pub(in crate::kafka) const UNKNOWN_PARTITION: i32 = -190;
    pub(in crate::kafka) const UNKNOWN_TOPIC: i32 = -188;
    pub(in crate::kafka) const QUEUE_FULL: i32 = -184;
    pub(in crate::kafka) const FATAL: i32 = -150;
    pub(in crate::kafka) const PURGE_QUEUE: i32 = -152;
    pub(in crate::kafka) const PURGE_INFLIGHT: i32 = -151;
    pub(in crate::kafka) const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
    pub(in crate::kafka) const MSG_SIZE_TOO_LARGE: i32 = 10;
    pub(in crate::kafka) const INVALID_TOPIC: i32 = 17;
    pub(in crate::kafka) const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    pub(in crate::kafka) const TOPIC_ALREADY_EXISTS: i32 = 36;
}

/// Room for librdkafka's error texts, in bytes.
const ERROR_BYTES: usize = 512;

/// One producer instance. It is destroyed, with all its threads, when this is dropped: no pointer that
/// was given to it is used after that.
pub(super) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    /// The queue of all events, this instance's own reference.
    events: NonNull<sys::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's handles may be used from any thread at the same time (rdkafka.h, "thread-safe").
unsafe impl Send for Client {}
// SAFETY: as above; all methods take `&self` and go to thread-safe functions.
unsafe impl Sync for Client {}

impl Client {
    /// Creates an instance with these properties; its reports, errors, logs and statistics come as
    /// events.
    pub(super) fn new(properties: &BTreeMap<String, String>) -> Result<Arc<Client>, String> {
        let conf = Conf::new(properties)?;
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: `conf` is valid and given away only on success; `text` has the length that is said.
        let rk = unsafe {
            sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                conf.0.as_ptr(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        let Some(rk) = NonNull::new(rk) else { return Err(text_of(text.as_ptr())) };
        std::mem::forget(conf);
        // SAFETY: `rk` is valid; the queue returned is a reference of our own.
        let events = unsafe { sys::rd_kafka_queue_get_main(rk.as_ptr()) };
        let events = NonNull::new(events).expect("a producer has a main queue");
        // SAFETY: `rk` is valid; a null queue means the main one.
        unsafe { sys::rd_kafka_set_log_queue(rk.as_ptr(), std::ptr::null_mut()) };
        Ok(Arc::new(Client { rk, events }))
    }

    /// The next event, waiting for it at most so long (`None`: until there is one or [`Client::wake`]).
    pub(super) fn poll(&self, timeout: Option<Duration>) -> Option<Event> {
        let milliseconds = timeout.map_or(-1, milliseconds);
        // SAFETY: the queue is valid as long as `self` is.
        let event = unsafe { sys::rd_kafka_queue_poll(self.events.as_ptr(), milliseconds) };
        NonNull::new(event).map(Event)
    }

    /// Ends one `poll` without an event, the present one or the next.
    pub(super) fn wake(&self) {
        // SAFETY: the queue is valid as long as `self` is.
        unsafe { sys::rd_kafka_queue_yield(self.events.as_ptr()) };
    }

    /// Waits until everything is delivered, without linger; whether it was. Somebody else must poll.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        // SAFETY: `rk` is valid; the codes of this function are all in the enum.
        let result = unsafe { sys::rd_kafka_flush(self.rk.as_ptr(), milliseconds(timeout)) };
        result == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Gives up everything that is queued or in flight; each message is then reported with an error.
    pub(super) fn purge(&self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: `rk` is valid, the flags are the documented ones.
        unsafe { sys::rd_kafka_purge(self.rk.as_ptr(), flags) };
    }

    /// Messages, requests and events that are not finished.
    pub(super) fn outq_len(&self) -> usize {
        // SAFETY: `rk` is valid.
        let len = unsafe { sys::rd_kafka_outq_len(self.rk.as_ptr()) };
        usize::try_from(len).unwrap_or(0)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: our own reference, given back once; `rd_kafka_destroy` wants it back first.
        unsafe { sys::rd_kafka_queue_destroy(self.events.as_ptr()) };
        // SAFETY: the last use of `rk`; topics hold an `Arc` of the client, so none is left.
        unsafe { sys::rd_kafka_destroy(self.rk.as_ptr()) };
    }
}

/// A configuration that no instance owns yet.
struct Conf(NonNull<sys::rd_kafka_conf_t>);

impl Conf {
    fn new(properties: &BTreeMap<String, String>) -> Result<Conf, String> {
        // SAFETY: no arguments; never null.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        let conf = Conf(NonNull::new(conf).expect("librdkafka allocates or aborts"));
        for (name, value) in properties {
            conf.set(name, value)?;
        }
        let events = sys::RD_KAFKA_EVENT_DR
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_LOG
            | sys::RD_KAFKA_EVENT_STATS;
        // SAFETY: `conf` is valid, the flags are the documented ones.
        unsafe { sys::rd_kafka_conf_set_events(conf.0.as_ptr(), events) };
        // SAFETY: as above; the function lives for ever and has the documented shape.
        unsafe { sys::rd_kafka_conf_set_ssl_cert_verify_cb(conf.0.as_ptr(), Some(explain_certificate)) };
        Ok(conf)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let (Ok(c_name), Ok(c_value)) = (CString::new(name), CString::new(value)) else {
            return Err(format!("property `{name}` holds a NUL byte"));
        };
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: all pointers are valid for the call, `text` has the length that is said.
        let result = unsafe {
            sys::rd_kafka_conf_set(
                self.0.as_ptr(),
                c_name.as_ptr(),
                c_value.as_ptr(),
                text.as_mut_ptr(),
                text.len(),
            )
        };
        match result {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            // librdkafka's text may quote the value.
            _ if super::invariants::is_secret(name) => Err(format!("property `{name}` is not valid")),
            _ => Err(text_of(text.as_ptr())),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still ours: `Client::new` forgets a configuration that it has given away.
        unsafe { sys::rd_kafka_conf_destroy(self.0.as_ptr()) };
    }
}

/// Says why the certificate of a broker is not accepted. Whether it is has been decided by OpenSSL; without
/// this librdkafka has the same words for a name that is wrong, a date that has passed and an authority
/// that nobody knows.
unsafe extern "C" fn explain_certificate(
    _: *mut sys::rd_kafka_t,
    _broker: *const c_char,
    _broker_id: i32,
    verdict: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _certificate_bytes: usize,
    reason: *mut c_char,
    reason_bytes: usize,
    _: *mut c_void,
) -> c_int {
    unsafe extern "C" {
        /// As in OpenSSL's x509_vfy.h: a static text for any number.
        fn X509_verify_cert_error_string(verdict: c_long) -> *const c_char;
    }
    // SAFETY: librdkafka passes a valid pointer.
    let verdict = unsafe { *verdict };
    if verdict == 0 {
        return 1;
    }
    // SAFETY: takes any number, and answers with a text that lives for ever.
    let text = text_of(unsafe { X509_verify_cert_error_string(verdict.into()) });
    let text = &text.as_bytes()[..text.len().min(reason_bytes.saturating_sub(1))];
    // SAFETY: there is room for so many bytes and a NUL, by the length that librdkafka says.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), reason, text.len()) };
    if reason_bytes > 0 {
        // SAFETY: as above.
        unsafe { reason.add(text.len()).write(0) };
    }
    0
}

/// What librdkafka calls an error.
pub(super) fn name_of(code: i32) -> String {
    unsafe extern "C" {
        /// As in rdkafka.h; an `i32`, because any code may come.
        fn rd_kafka_err2str(code: i32) -> *const c_char;
    }
    // SAFETY: takes any number, and answers with a static or thread-local text.
    text_of(unsafe { rd_kafka_err2str(code) })
}

/// An error code in librdkafka's words.
#[must_use]
pub fn describe(code: i32) -> String {
    name_of(code)
}

/// Copies a C string; empty when there is none.
fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's texts end in NUL and live at least until the caller's next call.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Whole milliseconds as librdkafka takes them, at least 1 for any time above 0.
fn milliseconds(time: Duration) -> c_int {
    c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}
