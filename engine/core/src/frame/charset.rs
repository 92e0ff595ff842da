//! The encodings that a file may be in, and what of them is known without decoding: where lines end, and where the
//! units of UTF-16 begin.
//!
//! The tables are those of `encoding_rs`, after the Encoding Standard. Left out are encodings with a state from one
//! character to the next (ISO-2022-JP), since a file is read from any place on, and `x-user-defined`, which is none.

use encoding_rs::{Decoder, Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, X_USER_DEFINED};
use memchr::{memchr, memchr_iter};

use crate::position::Position;

/// No byte becomes more bytes of text: a wrong one becomes U+FFFD.
pub(super) const TEXT_BYTES_MAX: usize = 3;

/// How many bytes become at least so many bytes of text, wherever they begin and end.
pub(super) fn bytes_of_text(text: usize) -> usize {
    // No character is longer than twice its UTF-8, as ASCII is in UTF-16; before the first there may be a mark of
    // three bytes, and behind the last, three of one that is not whole.
    text.saturating_mul(2).saturating_add(6)
}

/// The order of the two bytes of a unit.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum ByteOrder {
    /// The low one first; also what is taken for granted without a mark.
    #[default]
    Little,
    /// The high one first.
    Big,
}

impl ByteOrder {
    /// What the first bytes of a file say.
    #[must_use]
    pub fn of(head: &[u8]) -> ByteOrder {
        if head.starts_with(b"\xfe\xff") { ByteOrder::Big } else { ByteOrder::Little }
    }
}

/// Why a label is that of no [`Charset`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum NoCharset {
    /// Nothing is known under it.
    Unknown,
    /// What a byte means depends on those before it, and a file is read from any place on.
    Stateful,
}

/// An encoding that a file may be in.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Charset {
    encoding: &'static Encoding,
    /// UTF-16 in the order that its mark says.
    is_marked: bool,
}

impl Charset {
    /// The encoding with this label of the Encoding Standard, in any case. `utf-16` is in the order that the beginning
    /// of a file says.
    ///
    /// # Errors
    /// There is none, or files cannot be read in it.
    pub fn named(label: &str) -> Result<Charset, NoCharset> {
        let encoding = Encoding::for_label(label.as_bytes()).ok_or(NoCharset::Unknown)?;
        match encoding {
            // That one stands for others with a state, which the standard does not decode any more.
            _ if encoding == ISO_2022_JP || encoding == REPLACEMENT => Err(NoCharset::Stateful),
            _ if encoding == X_USER_DEFINED => Err(NoCharset::Unknown),
            _ => Ok(Charset { encoding, is_marked: label.trim().eq_ignore_ascii_case("utf-16") }),
        }
    }

    /// The same, when the order of bytes in a file is known.
    pub(super) fn ordered(self, order: ByteOrder) -> Charset {
        match order {
            ByteOrder::Big if self.is_marked => Charset { encoding: UTF_16BE, ..self },
            _ => self,
        }
    }

    /// A decoder at the beginning of a character.
    pub(super) fn decoder(self) -> Decoder {
        self.encoding.new_decoder_without_bom_handling()
    }

    /// Whether a character is made of units of two bytes: no byte of such a file means anything alone.
    #[must_use]
    pub fn is_utf16(self) -> bool {
        self.encoding == UTF_16LE || self.encoding == UTF_16BE
    }

    /// What may stand at the beginning of a file and is no part of its text.
    fn mark(self) -> &'static [u8] {
        match self.encoding {
            encoding if encoding == UTF_8 => b"\xef\xbb\xbf",
            encoding if encoding == UTF_16LE => b"\xff\xfe",
            encoding if encoding == UTF_16BE => b"\xfe\xff",
            _ => b"",
        }
    }

    /// How many bytes before a position belong to a unit that goes on behind it.
    pub(super) fn torn_bytes(self, position: Position) -> usize {
        if self.is_utf16() { (position.0 % 2) as usize } else { 0 }
    }

    /// How many bytes at the beginning of a stretch are no text: the mark of a file, or the rest of a unit.
    pub(super) fn bytes_before_text(self, bytes: &[u8], position: Position) -> usize {
        match position {
            Position::ZERO if bytes.starts_with(self.mark()) => self.mark().len(),
            _ => self.torn_bytes(position).min(bytes.len()),
        }
    }

    /// Whether a line begins behind these bytes: they end with one, or are nothing but the mark.
    pub(super) fn begins_line(self, before: &[u8]) -> bool {
        let line_feed: &[u8] = match self.encoding {
            encoding if encoding == UTF_16LE => b"\n\0",
            encoding if encoding == UTF_16BE => b"\0\n",
            _ => b"\n",
        };
        before.is_empty() || before == self.mark() || before.ends_with(line_feed)
    }

    /// The place behind the first line feed from `from` on, where a character begins.
    pub(super) fn next_line(self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = &bytes[from..];
        if !self.is_utf16() {
            return Some(from + memchr(b'\n', rest)? + 1);
        }
        let is_little = self.encoding == UTF_16LE;
        let unit = memchr_iter(b'\n', rest).find_map(|at| {
            let (is_low, other) = (at % 2 == usize::from(!is_little), at ^ 1);
            (is_low && rest.get(other) == Some(&0)).then_some(at & !1)
        })?;
        Some(from + unit + 2)
    }
}
