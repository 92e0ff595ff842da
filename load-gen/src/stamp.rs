//! What a generated line carries, and how it is written down.
//!
//! ```text
//! LD1 rrrrrrrr wwww gggggg ssssssssssss tttttttttttttttt cccccccc payload...
//!     |        |    |      |            |                checksum, 8
//!     |        |    |      |            intended time, ns since the Unix epoch, 16
//!     |        |    |      sequence number of the writer, 12
//!     |        |    generation of the writer's file, 6
//!     |        writer, 4
//!     run, 8
//! ```
//!
//! All numbers are lower-case hexadecimal of fixed width, so that a line stays text that tools can show
//! and the codec needs neither allocation nor a search. The run makes lines of an earlier run in the same
//! topic recognisable; without it they could stand in for lost ones.
//!
//! The checksum is the crc32c of the payload followed by every byte of the stamp but the checksum's own
//! digits. The payload comes first because payloads are drawn from a prepared pool: their part of the
//! checksum is computed once, and a line costs the stamp's bytes only. Only canonical digits are
//! accepted, so any change of any byte is a torn line.

/// Bytes before the payload, the separating blank included.
pub const STAMP_BYTES: usize = 64;

/// What every line begins with.
pub const PREFIX: &[u8; 4] = b"LD1 ";

/// Writers are numbered from 0 to here.
pub const WRITER_MAX: u16 = u16::MAX;
/// Generations of one writer's file are numbered from 0 to here.
pub const GENERATION_MAX: u32 = (1 << 24) - 1;
/// Lines of one writer are numbered from 0 to here.
pub const SEQUENCE_MAX: u64 = (1 << 48) - 1;

const RUN_AT: usize = 4;
const WRITER_AT: usize = RUN_AT + 8 + 1;
const GENERATION_AT: usize = WRITER_AT + 4 + 1;
const SEQUENCE_AT: usize = GENERATION_AT + 6 + 1;
const INTENDED_AT: usize = SEQUENCE_AT + 12 + 1;
const CHECKSUM_AT: usize = INTENDED_AT + 16 + 1;
const _: () = assert!(CHECKSUM_AT + 8 + 1 == STAMP_BYTES, "the widths above fill the stamp");

/// The identity and the due time of one line.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Stamp {
    /// The run of the generator; lines of different runs are never mixed up.
    pub run: u32,
    /// Who wrote it: the file's number within the run.
    pub writer: u16,
    /// How often the writer's file had been rotated. At most [`GENERATION_MAX`].
    pub generation: u32,
    /// The writer's line number, contiguous from 0 across generations. At most [`SEQUENCE_MAX`].
    pub sequence: u64,
    /// When the line was due, in nanoseconds since the Unix epoch (`CLOCK_REALTIME`).
    pub intended_ns: u64,
}

/// Why a line is not one of ours as it was written.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Reject {
    /// It does not begin with our prefix.
    Foreign,
    /// It begins like ours, but is cut, glued or altered.
    Torn,
}

/// The payload's part of the checksum.
#[must_use]
pub fn payload_checksum(payload: &[u8]) -> u32 {
    crc32c::crc32c(payload)
}

/// Writes the stamp of a line whose payload has this [`payload_checksum`].
///
/// # Panics
/// When a number does not fit its field: the caller bounds generations and sequence numbers.
pub fn encode(stamp: &Stamp, payload_checksum: u32, out: &mut [u8; STAMP_BYTES]) {
    assert!(stamp.generation <= GENERATION_MAX, "generation {} does not fit", stamp.generation);
    assert!(stamp.sequence <= SEQUENCE_MAX, "sequence {} does not fit", stamp.sequence);
    *out = [b' '; STAMP_BYTES];
    out[..RUN_AT].copy_from_slice(PREFIX);
    out[RUN_AT..][..8].copy_from_slice(&hex8(stamp.run));
    out[WRITER_AT..][..4].copy_from_slice(&hex8(u32::from(stamp.writer))[4..]);
    out[GENERATION_AT..][..6].copy_from_slice(&hex8(stamp.generation)[2..]);
    out[SEQUENCE_AT..][..4].copy_from_slice(&hex8((stamp.sequence >> 32) as u32)[4..]);
    out[SEQUENCE_AT + 4..][..8].copy_from_slice(&hex8(stamp.sequence as u32));
    out[INTENDED_AT..][..8].copy_from_slice(&hex8((stamp.intended_ns >> 32) as u32));
    out[INTENDED_AT + 8..][..8].copy_from_slice(&hex8(stamp.intended_ns as u32));
    let checksum = stamp_checksum(payload_checksum, out);
    out[CHECKSUM_AT..][..8].copy_from_slice(&hex8(checksum));
}

/// Appends a whole line, without its terminator.
pub fn encode_line(stamp: &Stamp, payload: &[u8], line: &mut Vec<u8>) {
    let mut head = [0; STAMP_BYTES];
    encode(stamp, payload_checksum(payload), &mut head);
    line.extend_from_slice(&head);
    line.extend_from_slice(payload);
}

/// Reads the stamp of a line (without its terminator) and checks every byte of the line.
///
/// # Errors
/// [`Reject`]: the line is not ours, or not as it was written.
pub fn decode(line: &[u8]) -> Result<Stamp, Reject> {
    if !line.starts_with(PREFIX) {
        return Err(Reject::Foreign);
    }
    let Some((head, payload)) = line.split_first_chunk::<STAMP_BYTES>() else {
        return Err(Reject::Torn);
    };
    let mut digits = Digits { head, valid: true };
    let stamp = Stamp {
        run: digits.number(RUN_AT, 8) as u32,
        writer: digits.number(WRITER_AT, 4) as u16,
        generation: digits.number(GENERATION_AT, 6) as u32,
        sequence: digits.number(SEQUENCE_AT, 12),
        intended_ns: digits.number(INTENDED_AT, 16),
    };
    let checksum = digits.number(CHECKSUM_AT, 8) as u32;
    if digits.valid && stamp_checksum(payload_checksum(payload), head) == checksum {
        Ok(stamp)
    } else {
        Err(Reject::Torn)
    }
}

/// Continues the payload's checksum over the stamp, leaving out the checksum's own digits. The last
/// blank goes with the rest: a separator that was altered must show.
fn stamp_checksum(payload_checksum: u32, head: &[u8; STAMP_BYTES]) -> u32 {
    let before = crc32c::crc32c_append(payload_checksum, &head[..CHECKSUM_AT]);
    crc32c::crc32c_append(before, &head[CHECKSUM_AT + 8..])
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
        self.valid &= bad & 0x80 == 0;
        value
    }
}

/// The value of each digit; 0x80 for every byte that is none (upper case included).
const NIBBLE: [u8; 256] = {
    let mut table = [0x80; 256];
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

    #[test]
    fn a_line_is_readable_text_of_fixed_shape() {
        let text = String::from_utf8(line(&STAMP, b"GET /")).unwrap();
        expect_test::expect!["LD1 00c0ffee 0007 000002 0001000000ff 1000000000000000 201cd5fc GET /"]
            .assert_eq(&text);
    }

    #[test]
    fn every_byte_value_at_every_place_is_detected() {
        let good = line(&STAMP, b"GET /index.html 200");
        for at in 0..good.len() {
            for value in 0..=u8::MAX {
                let mut bad = good.clone();
                bad[at] = value;
                let expected = match bad == good {
                    true => Ok(STAMP),
                    false if at < PREFIX.len() => Err(Reject::Foreign),
                    false => Err(Reject::Torn),
                };
                assert_eq!(decode(&bad), expected, "byte {at} became {value:#04x}");
            }
        }
    }

    #[test]
    fn every_cut_and_every_glue_is_detected() {
        let (one, two) = (line(&STAMP, b"first line"), line(&STAMP, b"another line"));
        for at in 0..one.len() {
            let reject = if at < PREFIX.len() { Reject::Foreign } else { Reject::Torn };
            assert_eq!(decode(&one[..at]), Err(reject), "cut at {at}");
        }
        for at in 1..one.len() {
            assert!(decode(&one[at..]).is_err(), "the first {at} bytes are missing");
            assert!(decode(&[&one[..at], &two[..]].concat()).is_err(), "another line begins at {at}");
        }
        assert_eq!(decode(&[one, two].concat()), Err(Reject::Torn));
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
        assert_eq!(line(&largest, b"").len(), STAMP_BYTES);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            run: u32, writer: u16, generation in 0..=GENERATION_MAX, sequence in 0..=SEQUENCE_MAX,
            intended_ns: u64, payload in "[ -~]{0,300}",
        ) {
            let stamp = Stamp { run, writer, generation, sequence, intended_ns };
            prop_assert_eq!(decode(&line(&stamp, payload.as_bytes())), Ok(stamp));
        }

        #[test]
        fn hex_is_what_the_standard_library_prints(value: u32) {
            let printed = format!("{value:08x}");
            prop_assert_eq!(&hex8(value), printed.as_bytes());
        }

        #[test]
        fn any_bytes_at_all_are_judged_without_panic(bytes: Vec<u8>) {
            let _verdict = decode(&bytes);
            let _verdict = decode(&[&PREFIX[..], &bytes].concat());
        }
    }
}
