//! What a record of Kafka says about itself, beside its value: where its line comes from.
//!
//! Agents that are told to (`headers = true`) say it in headers; else the key says host and path, as `host:path`.
//! Records of others say nothing, and that is no error.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// A record, as far as it matters here.
#[derive(Copy, Clone, Debug)]
pub struct Record<'a> {
    /// The topic it stands in.
    pub topic: &'a str,
    /// The partition of it.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time: milliseconds since the Unix epoch; 0 if it has none.
    pub timestamp_ms: i64,
    /// Where its line comes from.
    pub origin: Origin<'a>,
    /// Its value; `None`: a tombstone, which says that there is none.
    pub value: Option<&'a [u8]>,
}

/// Where a line comes from.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin<'a> {
    /// The host.
    pub host: Option<&'a str>,
    /// The file.
    pub path: Option<&'a str>,
    /// The life of that file: 16 hexadecimal digits.
    pub generation: Option<&'a str>,
    /// Where the line begins in it, in bytes.
    pub offset: Option<u64>,
}

impl<'a> Record<'a> {
    /// What a message says.
    #[must_use]
    pub fn of(message: &'a BorrowedMessage<'_>) -> Record<'a> {
        let mut origin = message.key().map(Origin::of_key).unwrap_or_default();
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            origin.header(header.key, header.value.unwrap_or_default());
        }
        Record {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0).max(0),
            origin,
            value: message.payload(),
        }
    }
}

impl<'a> Origin<'a> {
    /// What a key says, if an agent has written it: a host cannot hold a slash, a path begins with one.
    #[must_use]
    pub fn of_key(key: &'a [u8]) -> Origin<'a> {
        let Ok(key) = std::str::from_utf8(key) else { return Origin::default() };
        let slash = key.find('/').unwrap_or(0);
        match key[..slash].strip_suffix(':') {
            Some(host) if !host.is_empty() => {
                Origin { host: Some(host), path: Some(&key[slash..]), ..Origin::default() }
            }
            _ => Origin::default(),
        }
    }

    /// Takes what a header says. One that is not as agents write it says nothing.
    pub fn header(&mut self, name: &str, value: &'a [u8]) {
        let Ok(value) = std::str::from_utf8(value) else { return };
        match name {
            "host" if !value.is_empty() => self.host = Some(value),
            "path" if !value.is_empty() => self.path = Some(value),
            "generation" if value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                self.generation = Some(value);
            }
            "offset" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.offset = value.parse().ok();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_agent_names_host_and_path() {
        let of = |key: &'static str| {
            let origin = Origin::of_key(key.as_bytes());
            (origin.host, origin.path)
        };
        assert_eq!(of("web1:/var/log/a:b.log"), (Some("web1"), Some("/var/log/a:b.log")));
        assert_eq!(of("fe80::1:/a"), (Some("fe80::1"), Some("/a")));
        for foreign in ["", ":", "/a", ":/a", "web1", "web1/a", "user 17", "web1:a"] {
            assert_eq!(of(foreign), (None, None), "{foreign}");
        }
        assert_eq!(Origin::of_key(b"h\xff:/a"), Origin::default());
    }

    #[test]
    fn i05_headers_that_are_not_an_agents_say_nothing() {
        let mut origin = Origin::of_key(b"h:/a");
        let foreign: [(&str, &[u8]); 8] = [
            ("host", b""),
            ("path", b"\xff"),
            ("generation", b"12"),
            ("generation", b"00000000000000xx"),
            ("offset", b"-1"),
            ("offset", b""),
            ("offset", b"99999999999999999999"),
            ("trace", b"1"),
        ];
        for (name, value) in foreign {
            origin.header(name, value);
            assert_eq!(origin, Origin::of_key(b"h:/a"), "{name} {value:?}");
        }
        origin.header("host", b"h2");
        origin.header("generation", b"00000000000000ff");
        origin.header("offset", b"17");
        assert_eq!((origin.host, origin.path), (Some("h2"), Some("/a")), "a header comes before the key");
        assert_eq!((origin.generation, origin.offset), (Some("00000000000000ff"), Some(17)));
    }
}
