//! What a policy makes of a whole, finished file: the naive splitter that the framer is compared
//! with, in unit tests and under the fuzzer, and the reader that collects what a framer makes of it.
//!
//! Deliberately nothing like the framer: it sees all of the file at once, decodes it character by character into a
//! table, collects lines, then groups of lines, and copies everything.

use std::ops::Range;
use std::vec::Vec;

use bytes::BytesMut;
use encoding_rs::{DecoderResult, Encoding};

use super::{
    ByteOrder, CarriageReturn, Copied, Detail, Dropped, End, Event, Form, FramePolicy, Framed, Limit,
    LongLine, Position, Stretch,
};

/// The text of a file.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// For each place in it, where that is in the file; `None` within a character.
    pub(crate) places: Vec<Option<usize>>,
    /// Where replacements are.
    replacements: Vec<usize>,
}

impl Text {
    /// The text of a plain file.
    pub(crate) fn plain(file: &[u8]) -> Text {
        Text { bytes: file.to_vec(), places: (0..=file.len()).map(Some).collect(), replacements: Vec::new() }
    }

    /// The text of a file in the encoding with this label.
    pub(crate) fn decoded(label: &str, file: &[u8]) -> Text {
        let label = match label {
            "utf-16" if file.starts_with(b"\xfe\xff") => "utf-16be",
            label => label,
        };
        let encoding = Encoding::for_label(label.as_bytes()).expect("a label");
        let mut at = match Encoding::for_bom(file) {
            Some((of_mark, len)) if of_mark == encoding => len,
            _ => 0,
        };
        let (text, _) = encoding.decode_without_bom_handling(&file[at..]);
        let mut places = std::vec![None; text.len() + 1];
        let (mut place, mut replacements) = (0, Vec::new());
        places[0] = Some(at);
        // One decoder for all of it, which is given byte by byte.
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let mut character = [0; 8];
        while at < file.len() {
            let (byte, is_last) = (&file[at..=at], at + 1 == file.len());
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(byte, &mut character, is_last);
            at += read;
            place += written;
            if written > 0 {
                places[place] = Some(at);
            }
            if let DecoderResult::Malformed(_, behind) = result {
                if behind > 0 {
                    // What it holds back is given to another one.
                    decoder = encoding.new_decoder_without_bom_handling();
                }
                at -= usize::from(behind);
                replacements.push(place);
                place += "\u{fffd}".len();
                places[place] = Some(at);
            }
        }
        assert_eq!(place, text.len(), "the parts of {file:?} are the whole in {}", encoding.name());
        // Whoever cuts a text takes no accent off a letter that has two.
        for (letter, accent) in ["\u{ca}", "\u{ea}"]
            .iter()
            .flat_map(|letter| ["\u{304}", "\u{30c}"].map(|accent| (letter, accent)))
        {
            let pair = std::format!("{letter}{accent}");
            for (at, _) in text.match_indices(&pair) {
                places[at + letter.len()] = None;
            }
        }
        Text { bytes: text.into_owned().into_bytes(), places, replacements }
    }

    /// Where in the text a place of the file is.
    pub(crate) fn place_of(&self, in_file: usize) -> usize {
        self.places.iter().rposition(|place| place.is_some_and(|place| place <= in_file)).unwrap_or(0)
    }

    fn file_bytes(&self, text: Range<usize>) -> u32 {
        let [from, to] = [text.start, text.end].map(|place| self.places[place].expect("between characters"));
        (to - from) as u32
    }

    fn lines(&self, text: Range<usize>) -> Vec<Range<usize>> {
        let mut from = text.start;
        let lines = self.bytes[text].split_inclusive(|&byte| byte == b'\n');
        lines
            .map(|line| {
                from += line.len();
                from - line.len()..from
            })
            .collect()
    }
}

#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) events: Vec<Vec<u8>>,
    /// Where in the file each of them begins.
    pub(crate) places: Vec<usize>,
    pub(crate) lines: u32,
    pub(crate) dropped: Dropped,
}

pub(crate) fn reference(policy: &FramePolicy, text: &Text) -> Reference {
    reference_of(policy, text, 0..text.bytes.len(), false).0
}

/// The same for what lies between two flushes, the first of which may have come while the rest of a line was `skipping`.
/// Answers with it whether the range ends that way too.
pub(crate) fn reference_of(
    policy: &FramePolicy,
    text: &Text,
    range: Range<usize>,
    skipping: bool,
) -> (Reference, bool) {
    let mut result = Reference::default();
    result.dropped.replaced = text.replacements.iter().filter(|place| range.contains(place)).count() as u32;
    let range = match skipping {
        true => match result.skip(policy, text, range) {
            Some(rest) => rest,
            None => return (result, true),
        },
        false => range,
    };
    let mut groups: Vec<Vec<Range<usize>>> = Vec::new();
    for line in text.lines(range) {
        match &policy.multiline_start {
            Some(start) if !groups.is_empty() && !start.is_match(seen(policy, &text.bytes[line.clone()])) => {
                groups.last_mut().unwrap().push(line);
            }
            _ => groups.push(Vec::from([line])),
        }
    }
    let mut skipping = false;
    for group in groups {
        skipping = result.add(policy, text, &group);
    }
    (result, skipping)
}

/// A line without its terminator.
fn body<'a>(policy: &FramePolicy, line: &'a [u8]) -> &'a [u8] {
    let Some(body) = line.strip_suffix(b"\n") else { return line };
    match policy.carriage_return {
        CarriageReturn::Strip => body.strip_suffix(b"\r").unwrap_or(body),
        CarriageReturn::Keep => body,
    }
}

/// What of a line decides whether it begins an event.
fn seen<'a>(policy: &FramePolicy, line: &'a [u8]) -> &'a [u8] {
    let body = body(policy, line);
    &body[..body.len().min(policy.line_bytes_max)]
}

impl Reference {
    /// Drops the rest of a line and of its event; `None` if the text ends before a line ends.
    fn skip(&mut self, policy: &FramePolicy, text: &Text, range: Range<usize>) -> Option<Range<usize>> {
        let lines = text.lines(range.clone());
        for (at, line) in lines.iter().enumerate() {
            self.dropped.long.bytes += text.file_bytes(line.clone());
            if !text.bytes[line.clone()].ends_with(b"\n") {
                return None;
            }
            match (&policy.multiline_start, lines.get(at + 1)) {
                (Some(start), Some(next)) if !start.is_match(seen(policy, &text.bytes[next.clone()])) => {
                    self.dropped.long.lines += 1;
                }
                _ => return Some(line.end..range.end),
            }
        }
        None
    }

    /// Adds one group; whether it was cut, and its last line goes on.
    fn add(&mut self, policy: &FramePolicy, text: &Text, group: &[Range<usize>]) -> bool {
        let max = policy.line_bytes_max;
        let (first, last) = (&group[0], &group[group.len() - 1]);
        let all = first.start..last.end;
        let end = last.start + body(policy, &text.bytes[last.clone()]).len();
        let lines = group.len() as u32;
        if end - all.start <= max {
            self.pass(policy, text, all.start..end, all.end, lines);
            return false;
        }
        // The last place up to the limit where the text can be cut.
        let cut =
            |from: usize| (from + 1..=from + max).rev().find(|&place| text.places[place].is_some()).unwrap();
        match policy.on_long_line {
            LongLine::Drop => {
                self.dropped.long.lines += lines;
                self.dropped.long.bytes += text.file_bytes(all.clone());
            }
            LongLine::Truncate => {
                let cut = cut(all.start);
                let begun = group.iter().filter(|line| line.start < cut).count() as u32;
                if self.pass(policy, text, all.start..cut, cut, begun) {
                    self.dropped.truncated += 1;
                }
                self.dropped.long.lines += lines - begun;
                self.dropped.long.bytes += text.file_bytes(cut..all.end);
            }
            LongLine::Split => {
                let (mut left, mut from) = (lines, all.start);
                while end - from > max {
                    let to = cut(from);
                    let ended = text.bytes[from..to].iter().filter(|&&byte| byte == b'\n').count() as u32;
                    left -= ended;
                    self.pass(policy, text, from..to, to, ended);
                    from = to;
                }
                self.pass(policy, text, from..end, all.end, left);
            }
        }
        policy.on_long_line != LongLine::Split && !text.bytes[all].ends_with(b"\n")
    }

    fn pass(
        &mut self,
        policy: &FramePolicy,
        text: &Text,
        event: Range<usize>,
        next: usize,
        lines: u32,
    ) -> bool {
        let bytes = &text.bytes[event.clone()];
        let included = policy.include_lines.as_ref().is_none_or(|set| set.is_match(bytes));
        let excluded = policy.exclude_lines.as_ref().is_some_and(|set| set.is_match(bytes));
        if included && !excluded {
            self.events.push(bytes.to_vec());
            self.places.push(text.places[event.start].expect("events begin with a character"));
            self.lines += lines;
            return true;
        }
        self.dropped.filtered.lines += lines;
        self.dropped.filtered.bytes += text.file_bytes(event.start..next);
        false
    }

    pub(crate) fn add_dropped(&mut self, part: Dropped) {
        let sum = &mut self.dropped;
        for (sum, part) in [(&mut sum.filtered, part.filtered), (&mut sum.long, part.long)] {
            sum.lines += part.lines;
            sum.bytes += part.bytes;
        }
        sum.truncated += part.truncated;
        sum.replaced += part.replaced;
    }
}

/// Reads a growing file as the tail does: each pass begins at the settled position.
#[derive(Clone, Eq, PartialEq, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) settled: usize,
    pub(crate) skipping: bool,
    pub(crate) seen: Reference,
}

impl Reader {
    /// Frames `file` from the settled position on; answers how many bytes were settled.
    pub(crate) fn pass(&mut self, policy: &FramePolicy, file: &[u8], end: End, limit: Limit) -> usize {
        let bytes = &file[self.settled..];
        let Form::Encoded(charset) = policy.form else {
            let mut events = Vec::new();
            let framed = policy.frame(bytes, self.skipping, end, limit, &mut events);
            self.take(bytes, &events, framed);
            return framed.settled;
        };
        let mut room = BytesMut::with_capacity(policy.form.copied_bytes_max(bytes.len()));
        let (mut events, mut details) = (Vec::new(), Vec::new());
        let position = Position(self.settled as u64);
        let stretch = Stretch { bytes, position, order: ByteOrder::of(file) };
        let into = Copied { bytes: &mut room, events: &mut events, details: &mut details };
        let framed = policy.decode_lines(charset, stretch, self.skipping, end, limit, into);
        assert!(!framed.cramped, "there is room for all that may come of a read");
        self.take_copied(&room, &events, &details, framed);
        framed.settled
    }

    /// Notes what came of a pass over `bytes`.
    pub(crate) fn take(&mut self, bytes: &[u8], events: &[Event], framed: Framed) {
        self.seen.places.extend(events.iter().map(|event| self.settled + event.start as usize));
        self.note(bytes, events, framed);
    }

    /// The same for events that were copied.
    pub(crate) fn take_copied(&mut self, bytes: &[u8], events: &[Event], details: &[Detail], framed: Framed) {
        assert_eq!(events.len(), details.len(), "a detail for each event");
        self.seen.places.extend(details.iter().map(|detail| self.settled + detail.place as usize));
        self.note(bytes, events, framed);
    }

    fn note(&mut self, bytes: &[u8], events: &[Event], framed: Framed) {
        for event in events {
            let start = event.start as usize;
            self.seen.events.push(bytes[start..start + event.len as usize].to_vec());
        }
        self.settled += framed.settled;
        self.skipping = framed.skipping;
        self.seen.lines += framed.lines;
        self.seen.add_dropped(framed.dropped);
    }
}

/// What a consumer does with a chunk: split at newlines, and strip what the agent left inside.
pub(crate) fn consumer_lines(policy: &FramePolicy, event: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<&[u8]> = event.split(|&byte| byte == b'\n').collect();
    let inner = lines.len() - 1;
    for line in &mut lines[..inner] {
        if policy.carriage_return == CarriageReturn::Strip {
            *line = line.strip_suffix(b"\r").unwrap_or(line);
        }
    }
    lines.into_iter().map(<[u8]>::to_vec).collect()
}
