//! The files of one thread, and what is written to them.

use super::lateness::Lateness;
use super::{Clock, Options, RunError, Text, Writes};
use crate::civil::Face;
use crate::files::{LogFile, Opened};
use crate::format::Format;
use crate::journal::Generation;
use crate::payload::Payloads;
use crate::run::feed::Sweep;
use crate::schedule::Rate;
use crate::spread::{Drawing, Spread};
use crate::stamp::Stamp;

/// What is prepared before it is written, at most.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Every `threads`th file from the thread's own number.
pub(super) struct Writer<'a> {
    options: &'a Options,
    /// None in a replay.
    payloads: Option<&'a Payloads>,
    thread: usize,
    files: Vec<LogFile>,
    rows: Option<Rows>,
    pen: Pen,
    lateness: Lateness,
    ended: Vec<Generation>,
    start_ns: u64,
}

/// What is about to be written to one file; reused, so that a run allocates only while this grows.
struct Pen {
    text: Vec<u8>,
    /// When the lines in it were due.
    due_ns: Vec<u64>,
    face: Face,
}

/// The lines of a sweep for each file, where files are drawn: chains through the sweep.
struct Rows {
    drawing: Drawing,
    /// The first and last line of each file.
    ends: Vec<Option<(u32, u32)>>,
    /// The files that have any.
    files: Vec<u32>,
    /// The next line of the same file; the last one's own number for the last.
    next: Vec<u32>,
}

impl<'a> Writer<'a> {
    /// The first `held` files of the run stay open, the others are opened for each write.
    pub(super) fn open(
        options: &'a Options,
        payloads: Option<&'a Payloads>,
        thread: u32,
        held: u64,
    ) -> Result<Writer<'a>, RunError> {
        let Options { dir, rotation, .. } = options;
        let opened = |at| if u64::from(at) < held { Opened::Once } else { Opened::EachTime };
        let files = (thread..options.files)
            .step_by(options.threads as usize)
            .map(|at| LogFile::create(dir, at as u16, options.files, rotation.as_ref(), opened(at)))
            .collect::<Result<_, _>>()?;
        let rows = match options.spread {
            Spread::Uniform => None,
            Spread::Zipf(exponent) => Some(Rows::new(Drawing::new(options.files, exponent, options.seed))),
        };
        let format = match &options.text {
            Text::Made { format, .. } => *format,
            Text::Log(_) => Format::Plain,
        };
        Ok(Writer {
            options,
            payloads,
            thread: thread as usize,
            files,
            rows,
            pen: Pen { text: Vec::new(), due_ns: Vec::new(), face: format.face() },
            lateness: Lateness::new(options.tick),
            ended: Vec::new(),
            start_ns: 0,
        })
    }

    pub(super) fn starting_at(self, start_ns: u64) -> Writer<'a> {
        Writer { start_ns, ..self }
    }

    pub(super) fn lateness_max_ns(&self) -> u64 {
        self.lateness.max_ns()
    }

    /// Writes the lines of a sweep that are for the thread's files, each file's together, and returns how
    /// many those are.
    pub(super) fn write(&mut self, sweep: &Sweep, clock: &mut impl Clock) -> Result<u64, RunError> {
        match self.rows.take() {
            Some(mut rows) => {
                let lines = self.write_rows(&mut rows, sweep, clock);
                self.rows = Some(rows);
                lines
            }
            None => self.write_in_turn(sweep, clock),
        }
    }

    fn write_in_turn(&mut self, sweep: &Sweep, clock: &mut impl Clock) -> Result<u64, RunError> {
        let (files, lines, mut written) = (self.options.files as usize, sweep.due_ns.len(), 0);
        let first_file = (sweep.first % files as u64) as usize;
        for at in 0..lines.min(files) {
            let file = (first_file + at) % files;
            if file % self.options.threads as usize == self.thread {
                self.write_file(file, (at..lines).step_by(files), sweep, clock)?;
                written += (lines - at).div_ceil(files) as u64;
            }
        }
        Ok(written)
    }

    fn write_rows(
        &mut self,
        rows: &mut Rows,
        sweep: &Sweep,
        clock: &mut impl Clock,
    ) -> Result<u64, RunError> {
        let written = rows.sort(sweep, self.thread as u32, self.options.threads);
        for file in &rows.files {
            let Some((first, last)) = rows.ends[*file as usize].take() else { continue };
            let next = |line: &u32| (*line != last).then(|| rows.next[*line as usize]);
            let lines = std::iter::successors(Some(first), next).map(|line| line as usize);
            self.write_file(*file as usize, lines, sweep, clock)?;
        }
        rows.files.clear();
        Ok(written)
    }

    fn write_file(
        &mut self,
        at: usize,
        lines: impl Iterator<Item = usize>,
        sweep: &Sweep,
        clock: &mut impl Clock,
    ) -> Result<(), RunError> {
        let Options { run, rotation, writes, threads, .. } = self.options;
        let file = &mut self.files[at / *threads as usize];
        let timed = self.options.rate != Rate::Max;
        let mut put_down = |pen: &mut Pen, file: &mut LogFile| -> Result<(), RunError> {
            file.append(&pen.text, pen.due_ns.len() as u64)?;
            if timed {
                let now = clock.elapsed_ns();
                pen.due_ns.iter().for_each(|due_ns| self.lateness.record(now.saturating_sub(*due_ns)));
            }
            pen.text.clear();
            pen.due_ns.clear();
            Ok(())
        };
        let pen = &mut self.pen;
        for line in lines {
            let due_ns = sweep.due_ns[line];
            let sequence = file.next_seq() + pen.due_ns.len() as u64;
            let payload = match self.payloads {
                Some(payloads) => payloads.of(at as u16, sequence),
                None => sweep.texts.of(line),
            };
            if let Some(rotation) = rotation
                && file.is_full(
                    rotation.full,
                    pen.due_ns.len() as u64,
                    pen.text.len() as u64,
                    payload.text.len() as u64,
                    due_ns,
                )
            {
                put_down(pen, file)?;
                self.ended.extend(file.rotate(rotation, due_ns)?);
            }
            let stamp = Stamp {
                run: *run,
                writer: at as u16,
                generation: file.generation(),
                sequence,
                intended_ns: self.start_ns + due_ns,
            };
            payload.append(&stamp, &mut pen.face, &mut pen.text);
            pen.due_ns.push(due_ns);
            if *writes == Writes::Single || pen.text.len() >= WRITE_BYTES_MAX {
                put_down(pen, file)?;
            }
        }
        if pen.due_ns.is_empty() { Ok(()) } else { put_down(pen, file) }
    }

    /// What the files hold, and how late it was written.
    pub(super) fn close(self) -> (Vec<Generation>, Lateness) {
        let mut generations = self.ended;
        generations.extend(self.files.iter().filter_map(LogFile::record));
        (generations, self.lateness)
    }
}

impl Rows {
    fn new(drawing: Drawing) -> Rows {
        Rows { ends: vec![None; drawing.files()], files: Vec::new(), next: Vec::new(), drawing }
    }

    /// Draws the files of a sweep and chains the lines of those that are the thread's own, which it counts.
    fn sort(&mut self, sweep: &Sweep, thread: u32, threads: u32) -> u64 {
        self.next.clear();
        let mut lines = 0;
        for line in 0..sweep.due_ns.len() as u32 {
            self.next.push(line);
            let file = self.drawing.file_of(sweep.first + u64::from(line));
            if file % threads != thread {
                continue;
            }
            lines += 1;
            match &mut self.ends[file as usize] {
                Some((_, last)) => {
                    self.next[*last as usize] = line;
                    *last = line;
                }
                none => {
                    *none = Some((line, line));
                    self.files.push(file);
                }
            }
        }
        lines
    }
}
