//! The text around the stamp: a pool of prepared access-log lines.
//!
//! Realistic only in what matters to a log shipper: printable text of the wanted length that lz4
//! compresses like the real thing (the stamp included, by 3 to 4). It is not random per line: a writer
//! walks through the pool, so a line costs one copy, and its checksum is known beforehand. The pool is
//! larger than lz4's window, so that no line is compressed into a reference to its own earlier copy.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::stamp::{STAMP_BYTES, payload_checksum};

/// How long lines are, stamp included, terminator not.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LineBytes {
    /// The shortest line; at least [`STAMP_BYTES`].
    pub min: usize,
    /// The longest line; every length between the two is equally frequent.
    pub max: usize,
}

/// The longest line that can be asked for.
pub const LINE_BYTES_MAX: usize = 16 << 20;

impl FromStr for LineBytes {
    type Err = String;

    /// Reads `200` or `100..300`.
    fn from_str(text: &str) -> Result<LineBytes, String> {
        let number = |part: &str| {
            part.trim().parse::<usize>().map_err(|_| format!("`{text}` is neither `200` nor `100..300`"))
        };
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (number(min)?, number(max)?),
            None => (number(text)?, number(text)?),
        };
        if min > max {
            return Err(format!("`{text}`: the shortest line is longer than the longest"));
        }
        if min < STAMP_BYTES || max > LINE_BYTES_MAX {
            return Err(format!(
                "`{text}`: a line has {STAMP_BYTES} bytes (its stamp alone) to {LINE_BYTES_MAX}"
            ));
        }
        Ok(LineBytes { min, max })
    }
}

impl fmt::Display for LineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "{}", self.min),
            false => write!(f, "{}..{}", self.min, self.max),
        }
    }
}

/// How many payloads a pool has, unless long lines would make it large.
const POOL_LINES: usize = 2048;
/// What a pool of long lines may take.
const POOL_BYTES_MAX: usize = 16 << 20;

/// One prepared text.
#[derive(Copy, Clone, Debug)]
pub struct Payload<'a> {
    /// The text.
    pub bytes: &'a [u8],
    /// Its [`payload_checksum`].
    pub checksum: u32,
}

/// The pool; the same seed and lengths give the same pool.
#[derive(Debug)]
pub struct Payloads {
    /// All texts, one after the other.
    text: Vec<u8>,
    /// Where each text ends, and its checksum.
    ends: Vec<(usize, u32)>,
}

impl Payloads {
    /// Prepares the pool.
    #[must_use]
    pub fn new(seed: u64, line_bytes: LineBytes) -> Payloads {
        let mut random = Random(seed);
        let mean = (line_bytes.min + line_bytes.max) / 2;
        let lines = (POOL_BYTES_MAX / mean).clamp(16, POOL_LINES);
        let mut lengths: Vec<usize> = (0..lines)
            .map(|at| line_bytes.min + at * (line_bytes.max - line_bytes.min + 1) / lines - STAMP_BYTES)
            .collect();
        for at in (1..lines).rev() {
            lengths.swap(at, random.below(at as u64 + 1) as usize);
        }
        let mut pool = Payloads { text: Vec::with_capacity(lines * mean), ends: Vec::with_capacity(lines) };
        let mut text = String::new();
        for length in lengths {
            text.clear();
            while text.len() < length {
                access(&mut random, &mut text);
            }
            let bytes = &text.as_bytes()[..length];
            pool.text.extend_from_slice(bytes);
            pool.ends.push((pool.text.len(), payload_checksum(bytes)));
        }
        pool
    }

    /// The payload of one line: each writer walks through the pool from a place of its own.
    #[must_use]
    pub fn of(&self, writer: u16, sequence: u64) -> Payload<'_> {
        let at = (sequence as usize).wrapping_add(usize::from(writer) * 31) % self.ends.len();
        let start = if at == 0 { 0 } else { self.ends[at - 1].0 };
        let (end, checksum) = self.ends[at];
        Payload { bytes: &self.text[start..end], checksum }
    }
}

/// The splitmix64 sequence: small, seedable, and stable across versions of everything.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; the bias of a 64-bit modulus is of no interest here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

const REQUESTS: &[&str] = &[
    "GET /api/v2/orders/",
    "GET /api/v2/items/",
    "GET /shop/basket/",
    "GET /shop/catalog/",
    "GET /search/stock/",
    "GET /images/picture/",
    "GET /account/profile/",
    "GET /account/invoice/",
    "POST /api/v2/orders/",
    "POST /api/v2/payment/",
    "POST /account/session/",
    "PUT /shop/voucher/",
    "HEAD /images/picture/",
    "DELETE /shop/basket/",
];
const STATUSES: &[&str] = &["200", "200", "200", "200", "200", "200", "304", "302", "404", "503"];
const ORIGINS: &[&str] = &[
    "\"https://www.example.com/catalog\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
    "\"https://shop.example.com/basket\" \"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/127.0\"",
    "\"https://shop.example.com/search\" \"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148\"",
    "\"https://m.example.com/\" \"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/127.0 Mobile\"",
    "\"-\" \"okhttp/4.12.0\"",
    "\"-\" \"curl/8.9.1\"",
];

/// Appends one record of an access log.
fn access(random: &mut Random, text: &mut String) {
    if !text.is_empty() {
        text.push(' ');
    }
    let client = random.below(1 << 7);
    let written = write!(
        text,
        "10.0.{}.{} {}{} {} {} {}ms {}",
        client % 8,
        100 + client,
        random.pick(REQUESTS),
        random.below(1_000),
        random.pick(STATUSES),
        random.below(1 << 8) * 16,
        random.below(100),
        random.pick(ORIGINS),
    );
    written.expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(lengths: &str) -> Payloads {
        Payloads::new(1, lengths.parse().unwrap())
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        let (a, b) = (pool("100..300"), pool("100..300"));
        assert_eq!(a.text, b.text);
        assert_ne!(a.text, Payloads::new(2, "100..300".parse().unwrap()).text);
    }

    #[test]
    fn lengths_cover_the_range_evenly_and_their_mean_is_the_middle() {
        let pool = pool("100..300");
        let lengths: Vec<usize> =
            (0..POOL_LINES as u64).map(|s| pool.of(0, s).bytes.len() + STAMP_BYTES).collect();
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&100), Some(&300)));
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((199..=200).contains(&mean), "mean {mean}");
    }

    #[test]
    fn text_is_printable_ascii_and_its_checksum_is_right() {
        for lengths in ["64", "65", "200", "1000..5000"] {
            let pool = pool(lengths);
            for sequence in 0..pool.ends.len() as u64 {
                let payload = pool.of(3, sequence);
                assert!(payload.bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
                assert_eq!(payload.checksum, payload_checksum(payload.bytes));
            }
        }
    }

    #[test]
    fn a_pool_of_long_lines_stays_small() {
        let pool = pool("1000000");
        assert_eq!((pool.ends.len(), pool.of(0, 5).bytes.len()), (16, 1_000_000 - STAMP_BYTES));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for text in ["", "x", "100..", "300..100", "63", "63..100", "20000000"] {
            assert!(text.parse::<LineBytes>().is_err(), "{text}");
        }
        assert_eq!("100..300".parse::<LineBytes>().unwrap().to_string(), "100..300");
        assert_eq!("200".parse::<LineBytes>().unwrap().to_string(), "200");
    }
}
