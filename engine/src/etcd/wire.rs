//! The JSON of etcd's HTTP gateway: keys and values in base64, numbers of 64 bits as strings, and everything
//! that is zero or empty left out.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mirror::{Event, KeyValue, Stamp};

/// Bytes, in base64 on the wire.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl From<&str> for Base64 {
    fn from(text: &str) -> Base64 {
        Base64(text.as_bytes().to_vec())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&openssl::base64::encode_block(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        openssl::base64::decode_block(&text).map(Base64).map_err(|_| serde::de::Error::custom("no base64"))
    }
}

/// A number, which is a string on the wire.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// What an answer is about.
#[derive(Copy, Clone, Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
    #[serde(default, deserialize_with = "number")]
    raft_term: u64,
}

impl Header {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { cluster: self.cluster_id, revision: self.revision, term: self.raft_term }
    }
}

/// A key as etcd has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pair {
    #[serde(default)]
    pub(super) key: Base64,
    #[serde(default)]
    pub(super) value: Base64,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

impl Pair {
    /// The key as text; a key that is none is nobody's of ours.
    pub(super) fn into_key_value(self) -> Option<KeyValue> {
        let key = String::from_utf8(self.key.0).ok()?;
        Some(KeyValue { key, value: self.value.0, mod_revision: self.mod_revision })
    }
}

/// A range of keys; without an end, one key.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Range {
    key: Base64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end: Option<Base64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keys_only: bool,
}

impl Range {
    pub(super) fn of(first: &str, end: Option<&str>) -> Range {
        Range { key: first.into(), range_end: end.map(Base64::from), ..Range::default() }
    }

    /// At most so many keys.
    pub(super) fn limited(self, count: usize) -> Range {
        Range { limit: Some(count.to_string()), ..self }
    }

    /// Without their values.
    pub(super) fn keys_only(self) -> Range {
        Range { keys_only: true, ..self }
    }
}

/// The answer to a range.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<Pair>,
}

/// A key to be put.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Put {
    pub(super) key: Base64,
    pub(super) value: Base64,
    /// 0: it stays.
    pub(super) lease: String,
}

/// One step of a transaction.
#[derive(Clone, Debug, Serialize)]
pub(super) enum Step {
    #[serde(rename = "request_range")]
    Range(Range),
    #[serde(rename = "request_put")]
    Put(Put),
    #[serde(rename = "request_delete_range")]
    DeleteRange(Range),
}

/// What must hold: the key was last changed at this revision; 0 stands for a key that is not there.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Unchanged {
    key: Base64,
    mod_revision: String,
    target: &'static str,
    result: &'static str,
}

impl Unchanged {
    pub(super) fn since(key: &str, mod_revision: u64) -> Unchanged {
        Unchanged { key: key.into(), mod_revision: mod_revision.to_string(), target: "MOD", result: "EQUAL" }
    }
}

/// Steps that are taken at one revision.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Transaction {
    pub(super) compare: Vec<Unchanged>,
    pub(super) success: Vec<Step>,
    pub(super) failure: Vec<Step>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Taken {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<StepTaken>,
}

/// The answer to one step.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct StepTaken {
    #[serde(default)]
    pub(super) response_range: Found,
}

/// A lease, granted or kept alive.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Lease {
    #[serde(rename = "ID", default)]
    pub(super) id: String,
    /// Seconds; nothing once it has ended.
    #[serde(rename = "TTL", default)]
    pub(super) ttl: String,
}

/// One line of a stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<T> {
    Result(T),
    Error(Failure),
}

/// An error of the gateway.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) message: String,
}

/// One message of a watch.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) cancel_reason: String,
    /// What was asked for begins earlier than what is still there.
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    #[serde(default)]
    pub(super) events: Vec<WireEvent>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireEvent {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    kv: Pair,
}

impl WireEvent {
    pub(super) fn into_event(self) -> Option<Event> {
        let deleted = self.kind.as_deref() == Some("DELETE");
        let KeyValue { key, value, mod_revision } = self.kv.into_key_value()?;
        Some(Event { key, value: (!deleted).then_some(value), mod_revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_is_understood() {
        let line = r#"{"result":{"header":{"cluster_id":"10144879847569953045","revision":"4"},"watch_id":"2",
            "events":[{"kv":{"key":"L3p6","mod_revision":"3","value":"aGk="}},
                      {"type":"DELETE","kv":{"key":"L3p6","mod_revision":"4"}}]}}"#;
        let Line::Result(Watched { events, .. }) = serde_json::from_str(line).unwrap() else { panic!() };
        let events: Vec<Event> = events.into_iter().filter_map(WireEvent::into_event).collect();
        let key = || "/zz".to_owned();
        assert_eq!(
            events,
            [
                Event { key: key(), value: Some(b"hi".to_vec()), mod_revision: 3 },
                Event { key: key(), value: None, mod_revision: 4 }
            ]
        );
        let line = r#"{"result":{"header":{"raft_term":"2"},"canceled":true,"compact_revision":"3"}}"#;
        let Line::Result(Watched { canceled, compact_revision, .. }) = serde_json::from_str(line).unwrap()
        else {
            panic!()
        };
        assert_eq!((canceled, compact_revision), (true, 3));
        let line = r#"{"error":{"grpc_code":16,"message":"etcdserver: invalid auth token"}}"#;
        let Line::<Watched>::Error(failure) = serde_json::from_str(line).unwrap() else { panic!() };
        assert_eq!(failure.message, "etcdserver: invalid auth token");
        let found: Found = serde_json::from_str(r#"{"header":{"revision":"2"}}"#).unwrap();
        assert_eq!((found.header.revision, found.kvs.len()), (2, 0));
    }

    #[test]
    fn what_is_asked_is_written_as_etcd_wants_it() {
        let transaction = Transaction {
            compare: vec![Unchanged::since("/a", 0)],
            success: vec![Step::Put(Put { key: "/a".into(), value: "1".into(), lease: "7".to_owned() })],
            failure: vec![Step::Range(Range::of("/a", Some("/b")).limited(3))],
        };
        assert_eq!(
            serde_json::to_string(&transaction).unwrap(),
            r#"{"compare":[{"key":"L2E=","mod_revision":"0","target":"MOD","result":"EQUAL"}],"success":[{"request_put":{"key":"L2E=","value":"MQ==","lease":"7"}}],"failure":[{"request_range":{"key":"L2E=","range_end":"L2I=","limit":"3"}}]}"#
        );
    }
}
