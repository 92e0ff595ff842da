//! Events: delivery reports, errors, logs, statistics, answers of the admin interface.

use std::ffi::{c_char, c_int};
use std::ptr::NonNull;

use rdkafka_sys as sys;

use super::admin;
use super::produce::Message;
use super::text_of;

unsafe extern "C" {
    /// As in rdkafka.h; an `i32`, because any code may come.
    pub(super) fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> i32;
}

/// One event, ours until it is dropped. Messages of a report are freed with it.
pub(in crate::kafka) struct Event(pub(super) NonNull<sys::rd_kafka_event_t>);

/// What an event is.
#[derive(Debug)]
pub(in crate::kafka) enum Kind {
    /// Delivery reports: see [`Event::for_each_report`].
    Reports,
    /// An error of the whole instance.
    Error {
        code: i32,
        text: String,
        fatal: bool,
    },
    /// A line of librdkafka's log, with syslog's levels.
    Log {
        level: i32,
        text: String,
    },
    /// Statistics as JSON.
    Statistics(String),
    /// The answer to `Client::create_topic`; code 0 when it was created.
    Created {
        topic: String,
        code: i32,
        text: String,
    },
    Other,
}

impl Event {
    /// What it is, with its contents copied out (delivery reports stay inside).
    pub(in crate::kafka) fn kind(&self) -> Kind {
        let event = self.0.as_ptr();
        // SAFETY: the event is valid as long as `self` is.
        match unsafe { sys::rd_kafka_event_type(event) } {
            sys::RD_KAFKA_EVENT_DR => Kind::Reports,
            sys::RD_KAFKA_EVENT_ERROR => {
                // SAFETY: as above.
                let fatal = unsafe { sys::rd_kafka_event_error_is_fatal(event) } != 0;
                Kind::Error { code: self.error_code(), text: self.error_text(), fatal }
            }
            sys::RD_KAFKA_EVENT_LOG => self.log(),
            sys::RD_KAFKA_EVENT_STATS => {
                // SAFETY: as above; the text lives as long as the event and is copied.
                Kind::Statistics(text_of(unsafe { sys::rd_kafka_event_stats(event) }))
            }
            sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT => admin::created(self),
            _ => Kind::Other,
        }
    }

    /// Calls `report(opaque, code)` for every message of a report; code 0 is delivered.
    pub(in crate::kafka) fn for_each_report(&self, mut report: impl FnMut(usize, i32)) {
        loop {
            // SAFETY: the event is valid; the message returned lives as long as the event.
            let message = unsafe { sys::rd_kafka_event_message_next(self.0.as_ptr()) };
            if message.is_null() {
                return;
            }
            // SAFETY: not null, and `Message` has the layout of `rd_kafka_message_t` (asserted there).
            let message = unsafe { &*message.cast::<Message>() };
            report(message.opaque(), message.code());
        }
    }

    pub(super) fn error_code(&self) -> i32 {
        // SAFETY: the event is valid as long as `self` is.
        unsafe { rd_kafka_event_error(self.0.as_ptr()) }
    }

    pub(super) fn error_text(&self) -> String {
        // SAFETY: as above; the text is copied.
        text_of(unsafe { sys::rd_kafka_event_error_string(self.0.as_ptr()) })
    }

    fn log(&self) -> Kind {
        let (mut facility, mut text) = (std::ptr::null::<c_char>(), std::ptr::null::<c_char>());
        let mut level: c_int = 7;
        // SAFETY: the event is valid, the out-pointers too; the texts live as long as the event.
        unsafe { sys::rd_kafka_event_log(self.0.as_ptr(), &mut facility, &mut text, &mut level) };
        Kind::Log { level, text: format!("{}: {}", text_of(facility), text_of(text)) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, given back once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
