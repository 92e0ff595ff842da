//! Finds the first line of a time or later in a file, by halving over the times that its lines say of themselves.
//!
//! Lines are taken to be in the order of their times, roughly: what is found is a line of the time or later, of
//! which the last line before it that has a time is earlier. Where times go forth and back there are several such
//! places, and any of them may be found. A line without a time belongs to the last one that has one.
//!
//! A stretch that is too long without a time, or that cannot be read, is passed over; where that leaves a doubt, the
//! answer is the earlier place, so that more is sent rather than less. Whatever the file is and becomes meanwhile, a
//! probe reads a bounded number of bytes, and so do all of them together.

use std::io;

use logdrive_line_time::LineTime;

/// Bytes of one read. A stretch that is no longer is not halved but read.
const BLOCK_BYTES: u64 = 64 * 1024;
/// Within so many bytes a line with a time must be found: more than the longest line of the default.
const PROBE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of all reads together. A file whose lines have times needs two megabytes of them.
const SEARCH_BYTES_MAX: u64 = 64 << 20;

/// Where a file is to be read from.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Place {
    /// From here: the beginning of a line, or the end of the file.
    At(u64),
    /// No line was found that has a time.
    Timeless,
}

/// A line that has a time.
#[derive(Copy, Clone)]
struct Stamped {
    start: u64,
    /// Behind its newline.
    end: u64,
    time: i64,
}

/// How far a look at lines got.
#[derive(Copy, Clone)]
enum Reached {
    /// Whoever looks has seen enough.
    Enough,
    /// Every line that begins before the end was looked at.
    End,
    /// Too much had to be read, or it could not be: what is there is not known up to here.
    Dark(u64),
}

/// A search in one file, read by position.
struct Search<'a, R> {
    read: R,
    size: u64,
    lines: &'a LineTime,
    buffer: Vec<u8>,
    /// Bytes that may still be read.
    budget: u64,
    /// Behind the last line that is earlier than the time, as far as is known; 0 if there is none.
    earlier: u64,
    /// Where behind that a stretch begins that was passed over.
    dark: Option<u64>,
    /// Some line has a time.
    timed: bool,
}

/// Looks in the first `size` bytes of a file for its first line that is not older than `time`, in nanoseconds since
/// the epoch. `read` fills a buffer from a position on as far as it can, and says how far.
pub(super) fn find(
    read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    size: u64,
    time: i64,
    lines: &LineTime,
) -> Place {
    let search = Search {
        read,
        size,
        lines,
        buffer: Vec::new(),
        budget: SEARCH_BYTES_MAX,
        earlier: 0,
        dark: None,
        timed: false,
    };
    search.run(time)
}

impl<R: FnMut(u64, &mut [u8]) -> io::Result<usize>> Search<'_, R> {
    fn run(mut self, time: i64) -> Place {
        let (mut from, to) = (0, self.size);
        // The beginning and the end: most files are as a whole younger than the time, or older.
        match self.first(from, to) {
            (Some(line), _) if line.time >= time => return Place::At(0),
            (Some(line), _) => from = self.pass_earlier(line),
            (None, Reached::Dark(upto)) => from = self.pass_over(0, upto),
            (None, _) => return Place::Timeless,
        }
        if self.last().is_some_and(|line| line.time < time) {
            return Place::At(self.end());
        }
        let mut found = self.first_since(from, to, time);
        if !self.timed {
            return Place::Timeless;
        }
        let mut is_doubtful = false;
        while let Some(dark) = self.dark.take() {
            // What follows the stretch is of the time or later: then so may be the stretch, and what is before it.
            is_doubtful = true;
            found = self.first_since(self.earlier, dark, time);
        }
        match found {
            Some(start) => Place::At(start),
            None if is_doubtful => Place::At(self.earlier),
            None => Place::At(self.end()),
        }
    }

    /// The first line between two places that is not older than the time, by halving.
    fn first_since(&mut self, mut from: u64, mut to: u64, time: i64) -> Option<u64> {
        let mut found = None;
        while to.saturating_sub(from) > BLOCK_BYTES {
            let middle = from + (to - from) / 2;
            match self.first(middle, to) {
                (Some(line), _) if line.time >= time => (to, found) = (middle, Some(line.start)),
                (Some(line), _) => from = self.pass_earlier(line),
                (None, Reached::Dark(upto)) => from = self.pass_over(middle, upto.clamp(middle, to)),
                (None, _) => to = middle,
            }
        }
        // The rest, line by line.
        let mut earlier = None;
        let reached = self.look(from, to, |line| {
            match line.time >= time {
                true => found = Some(line.start),
                false => earlier = Some(line),
            }
            line.time >= time
        });
        if let Some(line) = earlier {
            from = self.pass_earlier(line);
        }
        if let Reached::Dark(upto) = reached {
            self.pass_over(from, upto);
        }
        found
    }

    fn pass_earlier(&mut self, line: Stamped) -> u64 {
        (self.earlier, self.dark) = (line.end, None);
        line.end
    }

    fn pass_over(&mut self, start: u64, upto: u64) -> u64 {
        self.dark.get_or_insert(start);
        upto
    }

    /// The first line with a time that begins from `from` on and before `to`.
    fn first(&mut self, from: u64, to: u64) -> (Option<Stamped>, Reached) {
        let mut first = None;
        let reached = self.look(from, to, |line| {
            first = Some(line);
            true
        });
        (first, reached)
    }

    /// The last line with a time, if it begins in the last block.
    fn last(&mut self) -> Option<Stamped> {
        let mut last = None;
        let from = self.size.saturating_sub(BLOCK_BYTES);
        let reached = self.look(from, self.size, |line| {
            last = Some(line);
            false
        });
        last.filter(|_| matches!(reached, Reached::End))
    }

    /// Where whoever has no line to begin with begins: at the end. A line that is not whole may say a time yet.
    fn end(&mut self) -> u64 {
        let from = self.size.saturating_sub(BLOCK_BYTES);
        self.buffer.clear();
        while self.fill(from) {}
        let unfinished = self.buffer.iter().rposition(|&byte| byte == b'\n').map(|newline| newline + 1);
        let start = unfinished.or((from == 0).then_some(0));
        match start.filter(|&start| start < self.buffer.len()) {
            Some(start) if self.lines.of(&self.buffer[start..]).is_none() => from + start as u64,
            _ => self.size,
        }
    }

    /// Looks at the lines with a time that begin from `from` on and before `to`, until `is_enough`.
    fn look(&mut self, from: u64, to: u64, mut is_enough: impl FnMut(Stamped) -> bool) -> Reached {
        if from >= to {
            return Reached::End;
        }
        // With the byte before: if that ends a line, the next one begins here.
        let base = from.saturating_sub(1);
        let mut is_line = from == 0;
        let mut start = 0;
        self.buffer.clear();
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[start..]).map(|newline| start + newline);
            let begins = base + start as u64;
            if is_line && begins >= to {
                return Reached::End;
            }
            let whole = match newline {
                Some(_) => true,
                None if self.buffer.len() as u64 >= PROBE_BYTES_MAX => {
                    return Reached::Dark(base + self.buffer.len() as u64);
                }
                None if self.fill(base) => continue,
                None => false,
            };
            let end = newline.unwrap_or(self.buffer.len());
            if !whole && base + (end as u64) < self.size {
                return Reached::Dark(base + end as u64);
            }
            let time = if is_line { self.lines.of(&self.buffer[start..end]) } else { None };
            self.timed |= time.is_some();
            let after = end + usize::from(whole);
            let line = time.map(|time| Stamped { start: begins, end: base + after as u64, time });
            if line.is_some_and(&mut is_enough) {
                return Reached::Enough;
            }
            if !whole {
                return Reached::End;
            }
            (start, is_line) = (after, true);
        }
    }

    /// Reads one more block behind what is in the buffer, which begins at `base`. False at the end of what is looked
    /// at, and where nothing can be read.
    fn fill(&mut self, base: u64) -> bool {
        let have = self.buffer.len();
        let position = base + have as u64;
        let want = self.size.saturating_sub(position).min(BLOCK_BYTES).min(self.budget) as usize;
        if want == 0 {
            return false;
        }
        self.budget -= want as u64;
        self.buffer.resize(have + want, 0);
        let got = (self.read)(position, &mut self.buffer[have..]).unwrap_or(0).min(want);
        self.buffer.truncate(have + got);
        got > 0
    }
}

#[cfg(test)]
mod tests;
