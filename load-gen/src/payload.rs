//! The text of generated records: a pool that is prepared before a run.
//!
//! Realistic only in what matters to a log shipper: text of the wanted length and format that lz4
//! compresses like the real thing (the stamp included, by 3 to 4). It is not random per line: a writer
//! walks through the pool, so a line costs one copy, its time and its stamp. The pool is larger than lz4's
//! window, so that no line is compressed into a reference to its own earlier copy.

use std::fmt;
use std::str::FromStr;

use crate::civil::Face;
use crate::format::Format;
use crate::random::Random;
use crate::stamp::{STAMP_BYTES, Stamp, encode, rest_checksum};

/// How long records are, stamp included, terminator not.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum LineBytes {
    /// Every length between the two is equally frequent.
    Uniform {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// Most near the median, a few much longer: the logarithm is normally distributed. No record is
    /// shorter than its format needs.
    LogNormal {
        /// Half of the records are longer.
        median: usize,
        /// The standard deviation of the natural logarithm.
        deviation: f64,
    },
}

/// The longest line that can be asked for.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// The widest log-normal distribution: one line in 30 is more than 40 times as long as the median.
const DEVIATION_MAX: f64 = 2.0;

impl FromStr for LineBytes {
    type Err = String;

    /// Reads `200`, `100..300` or `lognormal:200,0.8`.
    fn from_str(text: &str) -> Result<LineBytes, String> {
        let wrong = || format!("`{text}` is none of `200`, `100..300`, `lognormal:200,0.8`");
        let number = |part: &str| part.trim().parse::<usize>().map_err(|_| wrong());
        let (longest, lengths) = if let Some(shape) = text.strip_prefix("lognormal:") {
            let (median, deviation) = shape.split_once(',').ok_or_else(wrong)?;
            let (median, deviation) = (number(median)?, deviation.trim().parse().map_err(|_| wrong())?);
            if !(0.0..=DEVIATION_MAX).contains(&deviation) {
                return Err(format!("`{text}`: the deviation is 0 to {DEVIATION_MAX}"));
            }
            (median, LineBytes::LogNormal { median, deviation })
        } else {
            let (min, max) = text.split_once("..").unwrap_or((text, text));
            let (min, max) = (number(min)?, number(max)?);
            if min > max {
                return Err(format!("`{text}`: the shortest line is longer than the longest"));
            }
            (max, LineBytes::Uniform { min, max })
        };
        match longest {
            0 => Err(format!("`{text}`: a line has at least its stamp")),
            1..=LINE_BYTES_MAX => Ok(lengths),
            _ => Err(format!("`{text}`: a line has at most {LINE_BYTES_MAX} bytes")),
        }
    }
}

impl fmt::Display for LineBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineBytes::Uniform { min, max } if min == max => write!(f, "{min}"),
            LineBytes::Uniform { min, max } => write!(f, "{min}..{max}"),
            LineBytes::LogNormal { median, deviation } => write!(f, "lognormal:{median},{deviation}"),
        }
    }
}

impl LineBytes {
    /// The shortest that was asked for by name.
    #[must_use]
    pub fn least(&self) -> usize {
        match self {
            LineBytes::Uniform { min, .. } => *min,
            LineBytes::LogNormal { median, .. } => *median,
        }
    }

    /// The lengths of so many records, in no order.
    fn drawn(&self, records: usize, least: usize, random: &mut Random) -> Vec<usize> {
        let mut lengths: Vec<usize> = match *self {
            LineBytes::Uniform { min, max } => {
                (0..records).map(|at| min + at * (max - min + 1) / records).collect()
            }
            LineBytes::LogNormal { median, deviation } => (0..records)
                .map(|_| (median as f64 * (deviation * random.normal()).exp()) as usize)
                .map(|length| length.clamp(least, LINE_BYTES_MAX))
                .collect(),
        };
        for at in (1..records).rev() {
            lengths.swap(at, random.below(at as u64 + 1) as usize);
        }
        lengths
    }

    fn mean(&self) -> usize {
        match *self {
            LineBytes::Uniform { min, max } => usize::midpoint(min, max),
            LineBytes::LogNormal { median, deviation } => {
                (median as f64 * (deviation * deviation / 2.0).exp()) as usize
            }
        }
    }
}

/// How many records a pool has, unless long lines would make it large.
const POOL_RECORDS: usize = 2048;
/// What a pool of long lines may take, about.
const POOL_BYTES_MAX: usize = 16 << 20;
/// Records that belong together, such as the parts of a long message, are within as many.
pub(crate) const GROUP_RECORDS: usize = 16;

/// One prepared record.
#[derive(Copy, Clone, Debug)]
pub struct Payload<'a> {
    /// The text with its line end; blank where the time and the stamp belong.
    pub text: &'a [u8],
    /// Where the time belongs, if it has one.
    pub time_at: Option<usize>,
    /// Where the stamp belongs.
    pub stamp_at: usize,
    /// Its [`rest_checksum`], if it has no time.
    pub checksum: u32,
}

impl Payload<'_> {
    /// Appends the record as it is to stand in the file.
    #[inline]
    pub fn append(&self, stamp: &Stamp, face: &mut Face, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.text);
        let end = out.len() - 1;
        let record = &mut out[start..end];
        let mut checksum = self.checksum;
        if let Some(at) = self.time_at {
            let time = face.show(stamp.intended_ns);
            record[at..at + time.len()].copy_from_slice(time);
            checksum = rest_checksum(&record[..self.stamp_at], &record[self.stamp_at + STAMP_BYTES..]);
        }
        let room = record[self.stamp_at..].first_chunk_mut().expect("the text has room for the stamp");
        encode(stamp, checksum, room);
    }
}

/// The pool; the same seed, format and lengths give the same pool.
#[derive(Debug)]
pub struct Payloads {
    /// All texts, one after the other.
    text: Vec<u8>,
    /// Where each ends, and the places within it.
    ends: Vec<(usize, Places)>,
}

#[derive(Copy, Clone, Debug)]
struct Places {
    time_at: Option<usize>,
    stamp_at: usize,
    checksum: u32,
}

impl Payloads {
    /// Prepares the pool.
    ///
    /// # Errors
    /// When records of this format cannot be as short as asked, in words.
    pub fn new(seed: u64, format: Format, line_bytes: LineBytes) -> Result<Payloads, String> {
        let mut random = Random::new(seed);
        let least = format.bytes_min();
        if line_bytes.least() < least {
            return Err(format!("`{line_bytes}`: a record of format {format} has at least {least} bytes"));
        }
        let mean = line_bytes.mean();
        let records =
            (POOL_BYTES_MAX / mean).clamp(GROUP_RECORDS, POOL_RECORDS) / GROUP_RECORDS * GROUP_RECORDS;
        let mut pool =
            Payloads { text: Vec::with_capacity(records * (mean + 1)), ends: Vec::with_capacity(records) };
        for (at, length) in line_bytes.drawn(records, least, &mut random).into_iter().enumerate() {
            let draft = format.draft(&mut random, at, length);
            let text = draft.text.as_bytes();
            debug_assert_eq!(text.len(), length, "{format}");
            let (before, after) = (&text[..draft.stamp_at], &text[draft.stamp_at + STAMP_BYTES..]);
            let checksum = rest_checksum(before, after);
            pool.text.extend_from_slice(text);
            pool.text.push(b'\n');
            let places = Places { time_at: draft.time_at, stamp_at: draft.stamp_at, checksum };
            pool.ends.push((pool.text.len(), places));
        }
        Ok(pool)
    }

    /// The payload of one record: each writer walks through the pool from a place of its own.
    #[must_use]
    #[inline]
    pub fn of(&self, writer: u16, sequence: u64) -> Payload<'_> {
        let first = usize::from(writer) * 3 * GROUP_RECORDS;
        let at = (sequence as usize).wrapping_add(first) % self.ends.len();
        let start = if at == 0 { 0 } else { self.ends[at - 1].0 };
        let (end, Places { time_at, stamp_at, checksum }) = self.ends[at];
        Payload { text: &self.text[start..end], time_at, stamp_at, checksum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(format: Format, lengths: &str) -> Payloads {
        Payloads::new(1, format, lengths.parse().unwrap()).unwrap()
    }

    fn lengths(pool: &Payloads) -> Vec<usize> {
        (0..pool.ends.len() as u64).map(|sequence| pool.of(0, sequence).text.len() - 1).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_text() {
        let (a, b) = (pool(Format::Plain, "100..300"), pool(Format::Plain, "100..300"));
        assert_eq!(a.text, b.text);
        assert_ne!(a.text, Payloads::new(2, Format::Plain, "100..300".parse().unwrap()).unwrap().text);
    }

    #[test]
    fn lengths_cover_the_range_evenly_and_their_mean_is_the_middle() {
        let lengths = lengths(&pool(Format::Plain, "100..300"));
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&100), Some(&300)));
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((199..=200).contains(&mean), "mean {mean}");
    }

    #[test]
    fn lognormal_lengths_have_their_median_and_their_deviation() {
        let mut lengths = lengths(&pool(Format::Plain, "lognormal:400,0.5"));
        lengths.sort_unstable();
        let quantile = |q: f64| lengths[(q * lengths.len() as f64) as usize] as f64;
        assert!((quantile(0.5) / 400.0 - 1.0).abs() < 0.05, "{}", quantile(0.5));
        let spread = (quantile(0.8413) / quantile(0.1587)).ln() / 2.0;
        assert!((spread - 0.5).abs() < 0.05, "{spread}");
        assert!(lengths[0] >= Format::Plain.bytes_min());
    }

    #[test]
    fn every_format_has_records_of_every_length_from_its_shortest() {
        for format in Format::ALL {
            let least = format.bytes_min();
            for length in (least..least + 300).step_by(7).chain([least + 1, 5000]) {
                let pool = pool(format, &length.to_string());
                assert!(lengths(&pool).iter().all(|bytes| *bytes == length), "{format} {length}");
            }
            let refused = Payloads::new(1, format, (least - 1).to_string().parse().unwrap()).unwrap_err();
            assert!(refused.contains(&format!("at least {least} bytes")), "{refused}");
        }
    }

    #[test]
    fn a_pool_of_long_lines_stays_small() {
        let pool = pool(Format::Plain, "1000000");
        assert_eq!((pool.ends.len(), pool.of(0, 5).text.len()), (16, 1_000_001));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for text in [
            "",
            "x",
            "100..",
            "300..100",
            "0",
            "20000000",
            "lognormal:200",
            "lognormal:200,9",
            "lognormal:200,nan",
        ] {
            assert!(text.parse::<LineBytes>().is_err(), "{text}");
        }
        for text in ["100..300", "200", "lognormal:200,0.8"] {
            assert_eq!(text.parse::<LineBytes>().unwrap().to_string(), text);
        }
    }
}
