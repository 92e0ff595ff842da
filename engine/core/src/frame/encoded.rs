//! Text in an encoding of its own: decoded, and then framed as any text.
//!
//! The bytes of a read are decoded into a chunk in one go, and [`Pass`] frames what that gives; so long lines,
//! multiline events, filters and chunks are here what they are for plain text. What is left is to say where in the file
//! a place in the text is. That needs no table beside the text and no word in the state. Nothing but a line feed has
//! the byte of one (in UTF-16, the unit), so the n-th line of the text is the n-th line of the file, and only whoever
//! asks for a place within a line has the line decoded once more up to there. And no character depends on those before it,
//! so whoever begins behind one reads the same as whoever has read all. Both hold for wrong bytes too: what of them is
//! one U+FFFD depends on nothing before or behind.

use encoding_rs::DecoderResult;
use memchr::memchr;

use super::charset::Charset;
use super::pass::{Pass, Source};
use super::{Copied, Detail, End, FramePolicy, Framed, Limit, Stretch};

/// So much text is made before it is copied to where it belongs: it stays in the first cache.
const PIECE_BYTES: usize = 4096;
/// So many bytes are decoded at once on the way to a place within a line.
const STRIDE_BYTES: usize = 1024;

const REPLACEMENT: &str = "\u{fffd}";

impl FramePolicy {
    /// As [`FramePolicy::frame`], for a file in an encoding of its own: its text is decoded into `into`. A part of a
    /// character is settled with [`End::Closed`] only.
    ///
    /// Nothing is settled either when there is no room for [`FramePolicy::buffer_bytes_min`] bytes and 4 KiB.
    #[must_use]
    pub fn decode_lines(
        &self,
        charset: Charset,
        file: Stretch<'_>,
        skipping: bool,
        end: End,
        limit: Limit,
        into: Copied<'_>,
    ) -> Framed {
        let charset = charset.ordered(file.order);
        let before = charset.bytes_before_text(file.bytes, file.position);
        let raw = &file.bytes[before..];
        let Copied { bytes, events, details } = into;
        let mut replaced = 0;
        let is_whole = decode(charset, raw, end == End::Closed, |text, is_replacement| {
            let has_room = bytes.capacity() - bytes.len() >= text.len();
            if has_room {
                bytes.extend_from_slice(text);
                replaced += u32::from(is_replacement);
            }
            has_room
        });
        let end = if is_whole { end } else { End::More };
        let text = &bytes[..];
        let origin = || Origin { charset, raw, is_closed: end == End::Closed, text, at: 0, raw_at: 0 };
        let framed = Pass::new(self, text, skipping, end, limit, events, origin()).run();
        let mut origin = origin();
        let places = events.iter().map(|event| before + origin.place(event.start as usize));
        details.extend(places.map(Detail::at));
        let settled = origin.place(framed.settled);
        if replaced > 0 {
            // Those behind will be seen again.
            replaced = count_replaced(charset, raw, end == End::Closed, framed.settled);
        }
        bytes.truncate(framed.settled);
        let mut dropped = framed.dropped;
        dropped.replaced = replaced;
        Framed { settled: before + settled, dropped, cramped: !is_whole, ..framed }
    }
}

/// Decodes bytes, and hands over the text piece by piece, with whether the piece is a replacement. False if `take`
/// wanted no more.
fn decode(charset: Charset, raw: &[u8], is_last: bool, mut take: impl FnMut(&[u8], bool) -> bool) -> bool {
    let mut decoder = charset.decoder();
    let mut piece = [0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(&raw[at..], &mut piece, is_last);
        at += read;
        if !take(&piece[..written], false) {
            return false;
        }
        match result {
            DecoderResult::InputEmpty => return true,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) if !take(REPLACEMENT.as_bytes(), true) => return false,
            DecoderResult::Malformed(..) => {}
        }
    }
}

/// How many replacements there are in the first `text_bytes` of the text. All bytes are decoded for that, since what
/// follows wrong ones decides how many they are.
fn count_replaced(charset: Charset, raw: &[u8], is_last: bool, text_bytes: usize) -> u32 {
    let (mut at, mut count) = (0, 0);
    decode(charset, raw, is_last, |text, is_replacement| {
        let is_counted = at < text_bytes;
        count += u32::from(is_counted && is_replacement);
        at += text.len();
        is_counted
    });
    count
}

/// Goes through the text and the bytes that it was decoded from, side by side.
struct Origin<'a> {
    charset: Charset,
    raw: &'a [u8],
    /// Nothing follows: what is not whole at the end of `raw` is wrong.
    is_closed: bool,
    text: &'a [u8],
    /// `text` before this is what `raw` before `raw_at` is.
    at: usize,
    raw_at: usize,
}

impl Origin<'_> {
    /// Where in `raw` the place `to` of the text is; never before the one that was asked for last.
    fn place(&mut self, to: usize) -> usize {
        while let Some(len) = memchr(b'\n', &self.text[self.at..to]) {
            self.at += len + 1;
            let next = self.charset.next_line(self.raw, self.raw_at);
            self.raw_at = next.expect("each line of the text is one of the file");
        }
        while self.at < to {
            let (raw, text) = self.stride(to);
            self.raw_at += raw;
            self.at += text;
        }
        assert!(self.at == to, "{to} lies within a character, which ends at {}", self.at);
        self.raw_at
    }

    /// The next characters on the way to a place within the line: their bytes, and the bytes of their text.
    fn stride(&self, to: usize) -> (usize, usize) {
        let raw = &self.raw[self.raw_at..];
        // So many become no more text than there is to go.
        let stride = ((to - self.at) / super::charset::TEXT_BYTES_MAX).min(STRIDE_BYTES).min(raw.len());
        if stride >= 16 {
            let mut text = [0; PIECE_BYTES];
            let decoded =
                self.charset.decoder().decode_to_utf8_without_replacement(&raw[..stride], &mut text, true);
            match decoded {
                (DecoderResult::InputEmpty, read, written) => return (read, written),
                // The stride may have cut a character: what is before is taken, if there is anything.
                (DecoderResult::Malformed(wrong, behind), read, written) if written > 0 => {
                    return (read - usize::from(behind) - usize::from(wrong), written);
                }
                _ => {}
            }
        }
        self.character(raw)
    }

    /// The first character, or the first bytes that are none.
    fn character(&self, raw: &[u8]) -> (usize, usize) {
        let mut text = [0; 8];
        for len in 1..=raw.len() {
            let is_last = self.is_closed && len == raw.len();
            let (result, _, written) =
                self.charset.decoder().decode_to_utf8_without_replacement(&raw[..len], &mut text, is_last);
            match result {
                DecoderResult::Malformed(wrong, _) => return (wrong.into(), REPLACEMENT.len()),
                _ if written > 0 => return (len, written),
                _ => {}
            }
        }
        unreachable!("text was made of {raw:?}")
    }
}

impl Source for Origin<'_> {
    fn file_bytes(&mut self, from: usize, to: usize) -> usize {
        let from = self.place(from);
        self.place(to) - from
    }

    /// Between two characters, as near to the limit as may be.
    fn cut(&self, at: usize, bytes_max: usize) -> usize {
        let fitting = (at + 1..=at + bytes_max).rev().find(|&place| is_between_characters(self.text, place));
        fitting.expect("`line_bytes_max` holds a character")
    }
}

/// Whether a file can be read on from this place of its text.
fn is_between_characters(text: &[u8], place: usize) -> bool {
    let (before, behind) = text.split_at(place);
    let continues = behind.first().is_some_and(|byte| byte & 0xc0 == 0x80);
    // Big5 has characters that are two in Unicode: E and e with a circumflex, and a macron or caron on top.
    let is_pair = (before.ends_with("\u{ca}".as_bytes()) || before.ends_with("\u{ea}".as_bytes()))
        && (behind.starts_with("\u{304}".as_bytes()) || behind.starts_with("\u{30c}".as_bytes()));
    !continues && !is_pair
}
