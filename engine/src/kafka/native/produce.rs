//! Topics, and the two ways of producing to one of their partitions.

use std::ffi::{CStr, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka_sys as sys;

use super::{Client, name_of};

unsafe extern "C" {
    /// As in rdkafka.h; an `i32`, because any code may come.
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> i32;
}

/// `rd_kafka_message_t` with a plain number for the error, which may be any.
#[repr(C)]
pub(in crate::kafka) struct Message {
    code: i32,
    topic: *mut sys::rd_kafka_topic_t,
    partition: i32,
    payload: *mut c_void,
    len: usize,
    key: *mut c_void,
    key_len: usize,
    offset: i64,
    opaque: *mut c_void,
}

const _: () = {
    type Theirs = sys::rd_kafka_message_t;
    assert!(size_of::<Message>() == size_of::<Theirs>());
    assert!(offset_of!(Message, code) == offset_of!(Theirs, err));
    assert!(offset_of!(Message, payload) == offset_of!(Theirs, payload));
    assert!(offset_of!(Message, len) == offset_of!(Theirs, len));
    assert!(offset_of!(Message, key) == offset_of!(Theirs, key));
    assert!(offset_of!(Message, opaque) == offset_of!(Theirs, _private));
    assert!(size_of::<usize>() == 8, "the opaque holds two 32-bit numbers");
};

// SAFETY: the pointers mean something only inside `Topic::produce`, which refills what it is given.
unsafe impl Send for Message {}

impl Message {
    /// A message to produce. An empty payload is an empty value, not a missing one.
    pub(in crate::kafka) fn new(payload: &[u8], key: Option<&[u8]>, opaque: usize) -> Message {
        let (key, key_len) = key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        Message {
            code: 0,
            topic: ptr::null_mut(),
            partition: 0,
            payload: payload.as_ptr().cast_mut().cast(),
            len: payload.len(),
            key: key.cast_mut().cast(),
            key_len,
            offset: 0,
            opaque: ptr::without_provenance_mut(opaque),
        }
    }

    /// What became of it: 0 is well.
    pub(in crate::kafka) fn code(&self) -> i32 {
        self.code
    }

    /// The number that it was produced with.
    pub(in crate::kafka) fn opaque(&self) -> usize {
        self.opaque.addr()
    }
}

/// A topic of one instance; holds that instance.
pub(in crate::kafka) struct Topic {
    rkt: NonNull<sys::rd_kafka_topic_t>,
    client: Arc<Client>,
}

// SAFETY: as for `Client`: topic handles are thread-safe.
unsafe impl Send for Topic {}

impl Topic {
    /// Makes the topic known to the instance, which then asks the brokers about it by itself too.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &CStr) -> Result<Topic, String> {
        // SAFETY: both are valid; a null configuration means the instance's defaults.
        let rkt = unsafe { sys::rd_kafka_topic_new(client.rk.as_ptr(), name.as_ptr(), ptr::null_mut()) };
        match NonNull::new(rkt) {
            Some(rkt) => Ok(Topic { rkt, client: Arc::clone(client) }),
            None => {
                // SAFETY: reads a thread-local number that the call above has set.
                let code = unsafe { sys::rd_kafka_last_error() };
                Err(name_of(code as i32))
            }
        }
    }

    /// Produces messages in order to one partition, without copying their payloads. Each one's
    /// `code` says whether it was taken; returns how many were. A full queue takes a prefix.
    ///
    /// The partition must be one that the brokers named (see `Client::describe`).
    ///
    /// # Safety
    /// Payloads must stay where they are until the message's delivery report was received and its
    /// event dropped, or the client is dropped. Keys are copied.
    pub(in crate::kafka) unsafe fn produce(&self, partition: i32, messages: &mut [Message]) -> usize {
        let count = c_int::try_from(messages.len()).expect("a call takes some hundred messages");
        // SAFETY: `Message` has the layout of `rd_kafka_message_t`; no flag: neither copied nor freed.
        let taken = unsafe {
            sys::rd_kafka_produce_batch(self.rkt.as_ptr(), partition, 0, messages.as_mut_ptr().cast(), count)
        };
        usize::try_from(taken).expect("a count")
    }

    /// Produces one message with headers and a timestamp (milliseconds since the epoch). Dearer than
    /// [`Topic::produce`], which has room for neither. Returns the code, 0 when it was taken.
    ///
    /// # Safety
    /// As for [`Topic::produce`]. Headers are copied.
    pub(in crate::kafka) unsafe fn produce_with(
        &self,
        partition: i32,
        message: &Message,
        timestamp_ms: i64,
        headers: &HeaderSet<'_>,
    ) -> i32 {
        use sys::rd_kafka_vtype_t as vtype;
        let memory = |ptr: *mut c_void, size: usize| sys::rd_kafka_vu_s__bindgen_ty_1 {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size },
        };
        let header = |&(name, value): &(&'static CStr, &[u8])| {
            let header = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                name: name.as_ptr(),
                val: value.as_ptr().cast(),
                size: value.len().cast_signed(),
            };
            (vtype::RD_KAFKA_VTYPE_HEADER, sys::rd_kafka_vu_s__bindgen_ty_1 { header })
        };
        let fixed = [
            (vtype::RD_KAFKA_VTYPE_RKT, sys::rd_kafka_vu_s__bindgen_ty_1 { rkt: self.rkt.as_ptr() }),
            (vtype::RD_KAFKA_VTYPE_PARTITION, sys::rd_kafka_vu_s__bindgen_ty_1 { i32_: partition }),
            (vtype::RD_KAFKA_VTYPE_MSGFLAGS, sys::rd_kafka_vu_s__bindgen_ty_1 { i: 0 }),
            (vtype::RD_KAFKA_VTYPE_VALUE, memory(message.payload, message.len)),
            (vtype::RD_KAFKA_VTYPE_KEY, memory(message.key, message.key_len)),
            (vtype::RD_KAFKA_VTYPE_OPAQUE, sys::rd_kafka_vu_s__bindgen_ty_1 { ptr: message.opaque }),
            (vtype::RD_KAFKA_VTYPE_TIMESTAMP, sys::rd_kafka_vu_s__bindgen_ty_1 { i64_: timestamp_ms }),
        ];
        let unused = (vtype::RD_KAFKA_VTYPE_END, memory(ptr::null_mut(), 0));
        let mut all = fixed.into_iter().chain(headers.0.iter().map(header));
        let values: [sys::rd_kafka_vu_t; FIXED_VALUES + HEADERS_MAX] = std::array::from_fn(|_| {
            let (vtype, u) = all.next().unwrap_or(unused);
            sys::rd_kafka_vu_t { vtype, u }
        });
        let count = FIXED_VALUES + headers.0.len();
        assert!(count <= values.len(), "a record has at most {HEADERS_MAX} headers");
        // SAFETY: every value has the type that its tag says, and is valid for the call.
        let error = unsafe { sys::rd_kafka_produceva(self.client.rk.as_ptr(), values.as_ptr(), count) };
        if error.is_null() {
            return 0;
        }
        // SAFETY: a valid error, ours.
        let code = unsafe { rd_kafka_error_code(error) };
        // SAFETY: given back once, after its last use.
        unsafe { sys::rd_kafka_error_destroy(error) };
        code
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: ours, given back once; the client outlives it.
        unsafe { sys::rd_kafka_topic_destroy(self.rkt.as_ptr()) };
    }
}

/// The headers of one record, at most [`HEADERS_MAX`].
pub(in crate::kafka) struct HeaderSet<'a>(pub(in crate::kafka) &'a [(&'static CStr, &'a [u8])]);

/// More headers than a dead letter has are never needed.
pub(in crate::kafka) const HEADERS_MAX: usize = 14;
/// What [`Topic::produce_with`] says of a record beside its headers.
const FIXED_VALUES: usize = 7;

/// The partition that Kafka's own (Java) producer would choose for this key: murmur2, positive,
/// modulo the number of partitions.
pub(in crate::kafka) fn partition_of_key(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    // SAFETY: the key is valid for the call; this partitioner looks at nothing else.
    unsafe {
        sys::rd_kafka_msg_partitioner_murmur2(
            ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            partitions,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafkas_own_producer_sends_them() {
        // Hashes as in Kafka's own test of its murmur2 (UtilsTest), taken positive.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            for partitions in [1, 3, 12, i32::MAX] {
                let expected = (hash & i32::MAX) % partitions;
                assert_eq!(partition_of_key(key.as_bytes(), partitions), expected, "{key} of {partitions}");
            }
        }
    }
}
