//! What a generated record carries, and how it is written down.
//!
//! ```text
//! LD2 rrrrrrrr wwww gggggg ssssssssssss tttttttttttttttt cccccccc
//!     |        |    |      |            |                checksum, 8
//!     |        |    |      |            intended time, ns since the Unix epoch, 16
//!     |        |    |      sequence number of the writer, 12
//!     |        |    generation of the writer's file, 6
//!     |        writer, 4
//!     run, 8
//! ```
//!
//! All numbers are lower-case hexadecimal of fixed width, so that a record stays text that tools can show
//! and the codec needs no allocation. The run makes records of an earlier run in the same topic
//! recognisable; without it they could stand in for lost ones.
//!
//! The stamp stands where the record's format has room for it: at the beginning of a plain line, in a
//! field at the end, in a member of a JSON object. Who reads it looks at the beginning first and then for
//! the last place that has the shape of a stamp: a replayed line may contain older ones.
//!
//! The checksum is a crc32c that begins with the stamp's position as its state and runs over the bytes
//! before the stamp, the bytes after it, and the stamp up to the checksum's own digits. The stamp comes
//! last because records are drawn from a prepared pool: where nothing else changes, their part is computed
//! once and a record costs the stamp's bytes only. Only canonical digits are accepted, so any change of
//! any byte is a torn record.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 63;

/// What every stamp begins with.
pub const MARK: &[u8; 4] = b"LD2 ";

/// Writers are numbered from 0 to here.
pub const WRITER_MAX: u16 = u16::MAX;
/// Generations of one writer's file are numbered from 0 to here.
pub const GENERATION_MAX: u32 = (1 << 24) - 1;
/// Records of one writer are numbered from 0 to here.
pub const SEQUENCE_MAX: u64 = (1 << 48) - 1;

const RUN_AT: usize = 4;
const WRITER_AT: usize = RUN_AT + 8 + 1;
const GENERATION_AT: usize = WRITER_AT + 4 + 1;
const SEQUENCE_AT: usize = GENERATION_AT + 6 + 1;
const INTENDED_AT: usize = SEQUENCE_AT + 12 + 1;
const CHECKSUM_AT: usize = INTENDED_AT + 16 + 1;
/// Where blanks stand: before every number.
const BLANKS_AT: [usize; 6] =
    [RUN_AT - 1, WRITER_AT - 1, GENERATION_AT - 1, SEQUENCE_AT - 1, INTENDED_AT - 1, CHECKSUM_AT - 1];
const _: () = assert!(CHECKSUM_AT + 8 == STAMP_BYTES, "the widths above fill the stamp");

/// The identity and the due time of one record.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Stamp {
    /// The run of the generator; records of different runs are never mixed up.
    pub run: u32,
    /// Who wrote it: the file's number within the run.
    pub writer: u16,
    /// How often the writer's file had been rotated. At most [`GENERATION_MAX`].
    pub generation: u32,
    /// The writer's record number, contiguous from 0 across generations. At most [`SEQUENCE_MAX`].
    pub sequence: u64,
    /// When the record was due, in nanoseconds since the Unix epoch (`CLOCK_REALTIME`).
    pub intended_ns: u64,
}

/// Why a record is not one of ours as it was written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Reject {
    /// It has no stamp, not even a damaged one.
    Foreign,
    /// It has a stamp, or most of one, and is cut, glued or altered.
    Torn,
}

/// The part of the checksum that the record around the stamp has.
#[must_use]
pub fn rest_checksum(before: &[u8], after: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(before.len() as u32, before), after)
}

/// Writes the stamp of a record that has this [`rest_checksum`].
///
/// # Panics
/// When a number does not fit its field: the caller bounds generations and sequence numbers.
pub fn encode(stamp: &Stamp, rest_checksum: u32, out: &mut [u8; STAMP_BYTES]) {
    assert!(stamp.generation <= GENERATION_MAX, "generation {} does not fit", stamp.generation);
    assert!(stamp.sequence <= SEQUENCE_MAX, "sequence {} does not fit", stamp.sequence);
    *out = [b' '; STAMP_BYTES];
    out[..RUN_AT].copy_from_slice(MARK);
    out[RUN_AT..][..8].copy_from_slice(&hex8(stamp.run));
    out[WRITER_AT..][..4].copy_from_slice(&hex8(u32::from(stamp.writer))[4..]);
    out[GENERATION_AT..][..6].copy_from_slice(&hex8(stamp.generation)[2..]);
    out[SEQUENCE_AT..][..4].copy_from_slice(&hex8((stamp.sequence >> 32) as u32)[4..]);
    out[SEQUENCE_AT + 4..][..8].copy_from_slice(&hex8(stamp.sequence as u32));
    out[INTENDED_AT..][..8].copy_from_slice(&hex8((stamp.intended_ns >> 32) as u32));
    out[INTENDED_AT + 8..][..8].copy_from_slice(&hex8(stamp.intended_ns as u32));
    let checksum = crc32c::crc32c_append(rest_checksum, &out[..CHECKSUM_AT]);
    out[CHECKSUM_AT..].copy_from_slice(&hex8(checksum));
}

/// Appends a whole plain line, without its terminator: the stamp, a blank, the text.
pub fn encode_line(stamp: &Stamp, text: &[u8], line: &mut Vec<u8>) {
    let start = line.len();
    line.extend_from_slice(&[b' '; STAMP_BYTES + 1]);
    line.extend_from_slice(text);
    let (head, after) =
        line[start..].split_first_chunk_mut::<STAMP_BYTES>().expect("the stamp's room was just made");
    encode(stamp, rest_checksum(b"", after), head);
}

/// Reads the stamp of a record (without its terminator) and checks every byte of the record.
///
/// # Errors
/// [`Reject`]: the record is not ours, or not as it was written.
pub fn decode(record: &[u8]) -> Result<Stamp, Reject> {
    if record.starts_with(MARK)
        && let Some(stamp) = whole_with_stamp_at(record, 0)
    {
        return Ok(stamp);
    }
    let (mut marked, mut last) = (false, None);
    for at in MARK_FINDER.find_iter(record) {
        marked = true;
        if record[at..].first_chunk().is_some_and(has_shape) {
            last = Some(at);
        }
    }
    match last {
        Some(at) => whole_with_stamp_at(record, at).ok_or(Reject::Torn),
        None if marked || has_remains(record) => Err(Reject::Torn),
        None => Err(Reject::Foreign),
    }
}

static MARK_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// The stamp at this place, if it is one and the whole record is as it was written.
#[inline]
fn whole_with_stamp_at(record: &[u8], at: usize) -> Option<Stamp> {
    let (before, rest) = record.split_at(at);
    let (head, after) = rest.split_first_chunk::<STAMP_BYTES>()?;
    let mut digits = Digits { head, valid: true };
    let stamp = Stamp {
        run: digits.number(RUN_AT, 8) as u32,
        writer: digits.number(WRITER_AT, 4) as u16,
        generation: digits.number(GENERATION_AT, 6) as u32,
        sequence: digits.number(SEQUENCE_AT, 12),
        intended_ns: digits.number(INTENDED_AT, 16),
    };
    let checksum = digits.number(CHECKSUM_AT, 8) as u32;
    let expected = crc32c::crc32c_append(rest_checksum(before, after), &head[..CHECKSUM_AT]);
    (digits.valid && expected == checksum).then_some(stamp)
}

/// Whether blanks and digits stand where a stamp has them, whatever the mark.
fn has_shape(head: &[u8; STAMP_BYTES]) -> bool {
    BLANKS_AT[1..].iter().all(|at| head[*at] == b' ')
        && (RUN_AT..STAMP_BYTES)
            .all(|at| BLANKS_AT.contains(&at) || NIBBLE[usize::from(head[at])] != NO_DIGIT)
}

/// Whether there is a stamp whose mark is damaged or cut off. Asked only of records without a mark.
fn has_remains(record: &[u8]) -> bool {
    let numbers_bytes = STAMP_BYTES - RUN_AT;
    record.windows(numbers_bytes).any(|numbers| {
        // Most places are dismissed by one look at one byte.
        numbers[WRITER_AT - 1 - RUN_AT] == b' ' && {
            let mut head = [b' '; STAMP_BYTES];
            head[RUN_AT..].copy_from_slice(numbers);
            has_shape(&head)
        }
    })
}

/// Eight lower-case digits, most significant first: nibbles spread over the bytes of one word, then
/// turned into characters together. Cheaper than a table, which would compete for the cache.
fn hex8(value: u32) -> [u8; 8] {
    let mut x = u64::from(value);
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
    x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in every byte that holds 10..=15.
    let letters = ((x + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (x + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Reads numbers out of a stamp and remembers whether any digit was not one.
struct Digits<'a> {
    head: &'a [u8; STAMP_BYTES],
    valid: bool,
}

impl Digits<'_> {
    #[inline]
    fn number(&mut self, at: usize, width: usize) -> u64 {
        let mut bad = 0;
        let value = self.head[at..][..width].iter().fold(0, |value, &byte| {
            let digit = NIBBLE[usize::from(byte)];
            bad |= digit;
            value << 4 | u64::from(digit & 0x0f)
        });
        self.valid &= bad & NO_DIGIT == 0;
        value
    }
}

/// In place of a digit's value: every byte that is none, upper case included.
const NO_DIGIT: u8 = 0x80;

/// The value of each digit.
const NIBBLE: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < digits.len() {
        table[digits[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp =
        Stamp { run: 0xc0ffee, writer: 7, generation: 2, sequence: 0x1_0000_00ff, intended_ns: 1 << 60 };

    fn line(stamp: &Stamp, payload: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        encode_line(stamp, payload, &mut line);
        line
    }

    /// A record with its stamp between the two.
    fn record(before: &str, after: &str) -> Vec<u8> {
        let mut head = [0; STAMP_BYTES];
        encode(&STAMP, rest_checksum(before.as_bytes(), after.as_bytes()), &mut head);
        [before.as_bytes(), &head, after.as_bytes()].concat()
    }

    #[test]
    fn a_line_is_readable_text_of_fixed_shape() {
        let text = String::from_utf8(line(&STAMP, b"GET /")).unwrap();
        expect_test::expect!["LD2 00c0ffee 0007 000002 0001000000ff 1000000000000000 0cc92832 GET /"]
            .assert_eq(&text);
    }

    #[test]
    fn every_byte_value_at_every_place_is_detected() {
        for good in [line(&STAMP, b"GET /index.html 200"), record(r#"{"a":1,"stamp":""#, "\"}")] {
            assert_eq!(decode(&good), Ok(STAMP));
            for at in 0..good.len() {
                for value in 0..=u8::MAX {
                    let mut bad = good.clone();
                    bad[at] = value;
                    let expected = if bad == good { Ok(STAMP) } else { Err(Reject::Torn) };
                    assert_eq!(decode(&bad), expected, "byte {at} became {value:#04x}");
                }
            }
        }
    }

    #[test]
    fn every_cut_and_every_glue_is_detected() {
        let (one, two) = (line(&STAMP, b"first line"), line(&STAMP, b"another line"));
        for at in 0..one.len() {
            let reject = if at < MARK.len() { Reject::Foreign } else { Reject::Torn };
            assert_eq!(decode(&one[..at]), Err(reject), "cut at {at}");
        }
        for at in 1..one.len() {
            assert!(decode(&one[at..]).is_err(), "the first {at} bytes are missing");
            assert!(decode(&[&one[..at], &two[..]].concat()).is_err(), "another line begins at {at}");
        }
        assert_eq!(decode(&[one, two].concat()), Err(Reject::Torn));
    }

    #[test]
    fn a_record_that_is_cut_before_its_stamp_is_nobodys() {
        let whole = record("some text ", " more");
        for at in 0..whole.len() {
            let reject = if at < 10 + MARK.len() { Reject::Foreign } else { Reject::Torn };
            assert_eq!(decode(&whole[..at]), Err(reject), "cut at {at}");
        }
    }

    #[test]
    fn a_stamp_that_moved_within_its_record_is_torn() {
        let whole = record("aaaa", "aaaa");
        for at in (0..=8).filter(|at| *at != 4) {
            let moved = [&b"aaaaaaaa"[..at], &whole[4..4 + STAMP_BYTES], &b"aaaaaaaa"[at..]].concat();
            assert_eq!(decode(&moved), Err(Reject::Torn), "moved to {at}");
        }
    }

    #[test]
    fn an_older_stamp_within_a_record_is_text() {
        let old = String::from_utf8(line(&STAMP, b"replayed")).unwrap();
        let newer = Stamp { sequence: 9, ..STAMP };
        for (before, after) in [(format!("{old} "), ""), (format!("x {old} LD2 "), " LD2 00")] {
            let mut head = [0; STAMP_BYTES];
            encode(&newer, rest_checksum(before.as_bytes(), after.as_bytes()), &mut head);
            assert_eq!(decode(&[before.as_bytes(), &head, after.as_bytes()].concat()), Ok(newer));
        }
    }

    #[test]
    fn a_line_with_its_terminator_or_a_carriage_return_is_torn() {
        for end in [&b"\n"[..], b"\r", b" "] {
            assert_eq!(decode(&[&line(&STAMP, b"x"), end].concat()), Err(Reject::Torn));
        }
    }

    #[test]
    fn the_largest_numbers_fit() {
        let largest = Stamp {
            run: u32::MAX,
            writer: WRITER_MAX,
            generation: GENERATION_MAX,
            sequence: SEQUENCE_MAX,
            intended_ns: u64::MAX,
        };
        assert_eq!(decode(&line(&largest, b"")), Ok(largest));
        assert_eq!(line(&largest, b"").len(), STAMP_BYTES + 1);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            run: u32, writer: u16, generation in 0..=GENERATION_MAX, sequence in 0..=SEQUENCE_MAX,
            intended_ns: u64, before in "[ -~]{0,300}", after in "[ -~\n]{0,300}",
        ) {
            let stamp = Stamp { run, writer, generation, sequence, intended_ns };
            prop_assert_eq!(decode(&line(&stamp, after.as_bytes())), Ok(stamp));
            let mut head = [0; STAMP_BYTES];
            encode(&stamp, rest_checksum(before.as_bytes(), after.as_bytes()), &mut head);
            prop_assert_eq!(decode(&[before.as_bytes(), &head, after.as_bytes()].concat()), Ok(stamp));
        }

        #[test]
        fn hex_is_what_the_standard_library_prints(value: u32) {
            let printed = format!("{value:08x}");
            prop_assert_eq!(&hex8(value), printed.as_bytes());
        }

        #[test]
        fn any_bytes_at_all_are_judged_without_panic(bytes: Vec<u8>) {
            let _verdict = decode(&bytes);
            let _verdict = decode(&[&MARK[..], &bytes].concat());
        }
    }
}
