//! What one line of a container's log says: the time, the stream, and a piece of what the container wrote.
//!
//! Not a JSON library: it reads the one shape that Docker's `json-file` driver writes, in any order of its
//! members, and skips those that it does not know. Nothing is copied before it is known to be right.

use memchr::memchr;

/// How a container runtime wraps the lines of a container.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Wrapping {
    /// `{"log":"text\n","stream":"stdout","time":"..."}`, the `json-file` driver; a text without a newline goes on
    /// in the next line of its stream.
    Docker,
    /// `<time> <stream> <P|F> <text>`, containerd and CRI-O; `P` goes on in the next line of its stream.
    Cri,
}

/// The stream that a container wrote to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    /// Its name in the file, and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    fn of(name: &[u8]) -> Option<Stream> {
        match name {
            b"stdout" => Some(Stream::Stdout),
            b"stderr" => Some(Stream::Stderr),
            _ => None,
        }
    }
}

/// One line of the file, understood.
#[derive(Copy, Clone, Debug)]
pub(super) struct Piece<'a> {
    /// Where the time stands in the line: start and length.
    pub(super) time: (usize, usize),
    pub(super) stream: Stream,
    /// More of the same line follows.
    pub(super) is_part: bool,
    /// As it stands in the file, without what only says that the line ends.
    text: &'a [u8],
    /// `text` is the inside of a JSON string, all of whose escapes are right.
    is_escaped: bool,
}

impl Wrapping {
    /// Understands a line; `None` if the runtime does not write such.
    pub(super) fn unwrap(self, line: &[u8]) -> Option<Piece<'_>> {
        match self {
            Wrapping::Docker => docker(line),
            Wrapping::Cri => cri(line),
        }
    }
}

impl Piece<'_> {
    /// How many bytes the text has once it is unescaped.
    pub(super) fn text_bytes(&self) -> usize {
        let mut bytes = 0;
        self.write(|part| bytes += part.len());
        bytes
    }

    /// Hands over the text, part by part.
    pub(super) fn write(&self, mut out: impl FnMut(&[u8])) {
        if !self.is_escaped {
            return out(self.text);
        }
        let mut rest = self.text;
        while let Some(at) = memchr(b'\\', rest) {
            out(&rest[..at]);
            let (character, len) = unescape(&rest[at..]).expect("the text was looked through");
            out(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + len..];
        }
        out(rest);
    }
}

fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let time_len = memchr(b' ', line)?;
    let rest = &line[time_len + 1..];
    let stream_len = memchr(b' ', rest)?;
    let stream = Stream::of(&rest[..stream_len])?;
    let rest = &rest[stream_len + 1..];
    let (tags, text) = match memchr(b' ', rest) {
        Some(len) => (&rest[..len], &rest[len + 1..]),
        None => (rest, &b""[..]),
    };
    // More tags may follow the first, with a colon between them.
    let is_part = match tags.split(|&byte| byte == b':').next() {
        Some(b"P") => true,
        Some(b"F") => false,
        _ => return None,
    };
    is_time(&line[..time_len]).then_some(Piece {
        time: (0, time_len),
        stream,
        is_part,
        text,
        is_escaped: false,
    })
}

/// Whether it begins as RFC 3339 does; runtimes write nothing else.
fn is_time(text: &[u8]) -> bool {
    text.len() >= "2026-01-02T03:04:05Z".len()
        && text.len() <= "2026-01-02T03:04:05.123456789+00:00".len()
        && text[10] == b'T'
        && text[..4].iter().all(u8::is_ascii_digit)
        && text.iter().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(byte))
}

fn docker(line: &[u8]) -> Option<Piece<'_>> {
    let (mut log, mut stream, mut time) = (None, None, None);
    let mut json = Json { text: line, at: 0 };
    json.expect(b'{')?;
    loop {
        let key = json.string()?;
        json.expect(b':')?;
        match &line[key.0..key.1] {
            b"log" => log = Some(json.string()?),
            b"stream" => stream = Some(json.string()?),
            b"time" => time = Some(json.string()?),
            _ => json.skip()?,
        }
        match json.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    json.spaces();
    let ((start, end), stream, time) = (log?, stream?, time?);
    if json.at != line.len() || !is_time(&line[time.0..time.1]) {
        return None;
    }
    let (whole, has_end) = without_newline(&line[start..end])?;
    let stream = Stream::of(&line[stream.0..stream.1])?;
    let time = (time.0, time.1 - time.0);
    Some(Piece { time, stream, is_part: !has_end, text: whole, is_escaped: true })
}

/// The inside of a JSON string without the newline at its end, and whether there was one; `None` if an escape is
/// wrong.
fn without_newline(text: &[u8]) -> Option<(&[u8], bool)> {
    let mut at = 0;
    while let Some(next) = memchr(b'\\', &text[at..]) {
        let escape = at + next;
        let (character, len) = unescape(&text[escape..])?;
        at = escape + len;
        if at == text.len() && character == '\n' {
            return Some((&text[..escape], true));
        }
    }
    Some((text, false))
}

/// The character of the escape that `text` begins with, and how long the escape is. Half of a surrogate pair is
/// U+FFFD, as in Go.
fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let plain = match text.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        &byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'u' => {
            let first = hex(text.get(2..6)?)?;
            let second = match text.get(6..12) {
                Some([b'\\', b'u', digits @ ..]) if (0xD800..0xDC00).contains(&first) => hex(digits),
                _ => None,
            };
            if let Some(second) = second.filter(|second| (0xDC00..0xE000).contains(second)) {
                let pair = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Some((char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
            }
            return Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
        }
        _ => return None,
    };
    Some((plain, 2))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, &digit| Some(number * 16 + char::from(digit).to_digit(16)?))
}

/// A place in the JSON of a line.
struct Json<'a> {
    text: &'a [u8],
    at: usize,
}

/// Values within values: more than a runtime writes.
const DEPTH_MAX: usize = 16;

impl Json<'_> {
    fn spaces(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        self.spaces();
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Start and end of the inside of a string.
    fn string(&mut self) -> Option<(usize, usize)> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let found = memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            let at = self.at + found;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Some((start, at));
            }
            self.at = at + 2;
        }
    }

    /// Skips a value of any kind.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            self.spaces();
            match *self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' if depth < DEPTH_MAX => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                byte if byte.is_ascii_alphanumeric() || b"-+.".contains(&byte) => {
                    while self
                        .text
                        .get(self.at)
                        .is_some_and(|b| b.is_ascii_alphanumeric() || b"-+.".contains(b))
                    {
                        self.at += 1;
                    }
                }
                _ => return None,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn understood(wrapping: Wrapping, line: &str) -> Option<(String, &'static str, bool, String)> {
        let piece = wrapping.unwrap(line.as_bytes())?;
        let mut text = Vec::new();
        piece.write(|part| text.extend_from_slice(part));
        assert_eq!(text.len(), piece.text_bytes());
        let time = &line[piece.time.0..piece.time.0 + piece.time.1];
        let text = String::from_utf8_lossy(&text).into_owned();
        Some((time.to_string(), piece.stream.name(), piece.is_part, text))
    }

    const TIME: &str = "2026-01-02T03:04:05.123456789Z";

    fn docker_text(inside: &str) -> Option<String> {
        let line = std::format!(r#"{{"log":"{inside}","stream":"stdout","time":"{TIME}"}}"#);
        understood(Wrapping::Docker, &line)
            .map(|(_, _, is_part, text)| text + if is_part { "..." } else { "" })
    }

    #[test]
    fn lines_of_docker_are_understood_whatever_their_members() {
        let line = r#"{"log":"GET /\n","stream":"stderr","attrs":{"tag":["a}",{"b":-1.5e3}],"x":null},"time":"TIME"}"#;
        let line = line.replace("TIME", TIME);
        let expected = (TIME.to_string(), "stderr", false, "GET /".to_string());
        assert_eq!(understood(Wrapping::Docker, &line), Some(expected.clone()));
        let turned = std::format!(r#" {{ "time" : "{TIME}", "stream":"stderr", "log":"GET /\n" }} "#);
        assert_eq!(understood(Wrapping::Docker, &turned), Some(expected));
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        assert_eq!(docker_text(r"").as_deref(), Some("..."));
        assert_eq!(docker_text(r"\n").as_deref(), Some(""));
        assert_eq!(docker_text(r"a\\n").as_deref(), Some("a\\n..."));
        assert_eq!(
            docker_text(r"\u001b[1m\t\u00e4ä\u20ac\ud83d\ude00\u000a").as_deref(),
            Some("\u{1b}[1m\tää€😀")
        );
        assert_eq!(docker_text(r"\ud83d x\n").as_deref(), Some("\u{fffd} x"));
        assert_eq!(docker_text(r"\udc00\ud83d\u0041\n").as_deref(), Some("\u{fffd}\u{fffd}A"));
        for wrong in [r"\x", r"\u12", r"\u12g4", "\\"] {
            assert_eq!(docker_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_of_cri_are_understood() {
        let of = |line: &str| understood(Wrapping::Cri, &line.replace("TIME", TIME));
        let some = |stream, is_part, text: &str| Some((TIME.to_string(), stream, is_part, text.to_string()));
        assert_eq!(of("TIME stdout F GET / 1"), some("stdout", false, "GET / 1"));
        assert_eq!(of("TIME stderr P  half"), some("stderr", true, " half"));
        assert_eq!(of("TIME stdout F "), some("stdout", false, ""));
        assert_eq!(of("TIME stdout F"), some("stdout", false, ""));
        assert_eq!(of("TIME stdout P:x text"), some("stdout", true, "text"));
        assert!(of("2026-01-02T03:04:05+01:00 stdout F x").is_some());
    }

    #[test]
    fn what_no_runtime_writes_is_not_understood() {
        for line in
            ["", "x", "TIME", "TIME stdout", "TIME stdout X y", "TIME stdin F y", "yesterday stdout F y"]
        {
            assert_eq!(understood(Wrapping::Cri, &line.replace("TIME", TIME)), None, "{line}");
        }
        let whole = std::format!(r#"{{"log":"a\n","stream":"stdout","time":"{TIME}"}}"#);
        assert!(understood(Wrapping::Docker, &whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(understood(Wrapping::Docker, &whole[..len]), None, "{}", &whole[..len]);
        }
        assert_eq!(understood(Wrapping::Docker, &(whole + "x")), None);
        assert_eq!(understood(Wrapping::Docker, r#"{"log":"a\n","stream":"stdout"}"#), None);
        assert_eq!(understood(Wrapping::Docker, &"[".repeat(10_000)), None);
        let deep = std::format!(r#"{{"x":{}"#, "[".repeat(10_000));
        assert_eq!(understood(Wrapping::Docker, &deep), None);
    }
}
