//! Log files as an application writes them, and the judge of what became of their lines.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::topic::Record;

/// A log file under rotation and every line that was ever written to it, in order.
#[derive(Debug)]
pub(crate) struct Family {
    name: String,
    path: PathBuf,
    /// `None` when its writer is gone.
    file: Option<File>,
    script: Script,
    /// All lines, oldest first, in UTF-8.
    pub(crate) lines: Vec<Vec<u8>>,
}

/// How lines are written.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Script {
    /// What a file begins with.
    pub(crate) mark: &'static [u8],
    /// What is in each line.
    pub(crate) words: &'static str,
    /// The bytes of a text.
    pub(crate) encode: fn(&str) -> Vec<u8>,
}

/// As it is.
const PLAIN: Script = Script { mark: b"", words: "", encode: |text| text.as_bytes().to_vec() };

impl Family {
    /// Creates the file. Its name, without directories, begins every line.
    pub(crate) fn create(path: impl Into<PathBuf>) -> Family {
        let path = path.into();
        let name = path.file_name().expect("a file").to_str().expect("a plain name").to_owned();
        Family::named(&name, path)
    }

    /// Creates the file; every line begins with this word.
    pub(crate) fn named(name: &str, path: impl Into<PathBuf>) -> Family {
        Family::written_in(PLAIN, name, path.into())
    }

    /// Creates the file; every line begins with this word, and is written in another script.
    pub(crate) fn written_in(script: Script, name: &str, path: PathBuf) -> Family {
        let file = Some(begun(&path, script));
        Family { name: name.to_owned(), file, path, script, lines: Vec::new() }
    }

    /// What its lines begin with.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file under another name or with an ending: `app.log` and `1` make `app.log.1`.
    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        self.path.with_added_extension(ending)
    }

    /// Appends that many lines of differing length with one write.
    pub(crate) fn write(&mut self, count: usize) {
        self.write_wide(count, 0);
    }

    /// Appends that many lines, each longer by `more` bytes, with one write for about 64 KiB.
    pub(crate) fn write_wide(&mut self, count: usize, more: usize) {
        let mut file = self.file.as_ref().expect("its writer is gone");
        let mut bytes = Vec::new();
        for _ in 0..count {
            let at = self.lines.len();
            let Script { words, encode, .. } = self.script;
            let line = format!("{} {at:07} {words}{}", self.name, "x".repeat(more + at * 7 % 60));
            bytes.extend_from_slice(&encode(&line));
            bytes.extend_from_slice(&encode("\n"));
            self.lines.push(line.into_bytes());
            if bytes.len() >= 64 * 1024 {
                file.write_all(&bytes).unwrap();
                bytes.clear();
            }
        }
        file.write_all(&bytes).unwrap();
    }

    /// Appends a part of a line that ends within a character. What is left of it is for [`Family::write_rest`].
    pub(crate) fn write_half(&mut self) -> Vec<u8> {
        let Script { words, encode, .. } = self.script;
        let line = format!("{} {:07} {words}", self.name, self.lines.len());
        let mut bytes = encode(&format!("{line}\n"));
        let before_words = encode(&line[..line.len() - words.len()]).len();
        let rest = bytes.split_off(before_words + 1);
        self.write_rest(&bytes);
        self.lines.push(line.into_bytes());
        rest
    }

    /// Appends these bytes.
    pub(crate) fn write_rest(&mut self, bytes: &[u8]) {
        self.file.as_ref().expect("its writer is gone").write_all(bytes).unwrap();
    }

    /// The last line.
    pub(crate) fn last(&self) -> &[u8] {
        self.lines.last().expect("a line was written")
    }

    /// Renames the file and begins a new one under the old name.
    pub(crate) fn rotate(&mut self, to: &Path) {
        std::fs::rename(&self.path, to).unwrap();
        self.file = Some(begun(&self.path, self.script));
    }

    /// Renames the file, as `rotate`, but what is written goes on into the renamed one until
    /// [`Family::reopen`].
    pub(crate) fn rename(&mut self, to: &Path) {
        std::fs::rename(&self.path, to).unwrap();
    }

    /// Has the disk take everything that was written.
    pub(crate) fn sync(&self) {
        self.file.as_ref().expect("its writer is gone").sync_all().unwrap();
    }

    /// Opens the path anew.
    pub(crate) fn reopen(&mut self) {
        self.file = Some(begun(&self.path, self.script));
    }

    /// Empties the file.
    pub(crate) fn truncate(&mut self) {
        self.file.as_ref().expect("its writer is gone").set_len(0).unwrap();
    }

    /// Its writer ends.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }
}

fn begun(path: &Path, script: Script) -> File {
    let mut file = appending(path);
    if file.metadata().unwrap().len() == 0 {
        file.write_all(script.mark).unwrap();
    }
    file
}

fn appending(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

/// Appends to a file with one write, creating it if need be.
pub(crate) fn append(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    appending(path.as_ref()).write_all(bytes.as_ref()).unwrap();
}

/// The values of records, as text where they are.
pub(crate) fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.value.escape_ascii().to_string()).collect()
}

/// Every line of every family is there once, byte for byte and in order, and nothing else is there.
#[track_caller]
pub(crate) fn assert_complete(records: &[Record], families: &[&Family]) {
    let duplicates = assert_no_loss(records, families);
    assert_eq!(duplicates, 0, "duplicates");
    let mut arrived: HashMap<&str, Vec<&[u8]>> = HashMap::new();
    for record in records {
        arrived.entry(family_of(&record.value)).or_default().push(&record.value);
    }
    for family in families {
        let arrived = arrived.remove(family.name.as_str()).unwrap_or_default();
        let wrong = arrived.iter().zip(&family.lines).position(|(arrived, line)| arrived != line);
        if let Some(at) = wrong {
            let around =
                |lines: Vec<String>| lines[at.saturating_sub(2)..lines.len().min(at + 3)].join("\n  ");
            let text = |line: &[u8]| String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
            panic!(
                "{} is out of order at line {at}; arrived:\n  {}\nwritten:\n  {}",
                family.name,
                around(arrived.iter().map(|line| text(line)).collect()),
                around(family.lines.iter().map(|line| text(line)).collect()),
            );
        }
    }
}

/// Every line is there, its first occurrence after those before it in its file; how many are there
/// again.
#[track_caller]
pub(crate) fn assert_no_loss(records: &[Record], families: &[&Family]) -> usize {
    let written: usize = families.iter().map(|family| family.lines.len()).sum();
    let mut seen: BTreeMap<&[u8], usize> = BTreeMap::new();
    for record in records {
        *seen.entry(&record.value).or_default() += 1;
    }
    let mut lost = Vec::new();
    for family in families {
        lost.extend(family.lines.iter().filter(|line| seen.remove(line.as_slice()).is_none()));
    }
    let text = |line: &[u8]| line[..line.len().min(80)].escape_ascii().to_string();
    let some: Vec<String> = lost.iter().take(5).map(|line| text(line)).collect();
    assert_eq!(lost.len(), 0, "lost, of {written}: {}", some.join("\n"));
    let some: Vec<String> = seen.keys().take(5).map(|line| text(line)).collect();
    assert_eq!(seen.len(), 0, "records that nobody wrote: {}", some.join("\n"));
    records.len() - written
}

/// First occurrences of the lines of each family come in the order in which they were written.
#[track_caller]
pub(crate) fn assert_order_of_firsts(records: &[Record], families: &[&Family]) {
    for family in families {
        let place: HashMap<&[u8], usize> =
            family.lines.iter().enumerate().map(|(at, line)| (line.as_slice(), at)).collect();
        let places = records.iter().filter_map(|record| place.get(record.value.as_slice()));
        let mut next = 0;
        for &at in places {
            assert!(at <= next, "{}: line {at} is there before line {next}", family.name);
            next = next.max(at + 1);
        }
    }
}

fn family_of(line: &[u8]) -> &str {
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    std::str::from_utf8(&line[..end]).unwrap_or("")
}
