//! The text of a configuration: any bytes, or keys with values at and beyond their bounds.
//!
//! Input: one byte of which it is (lowest bit). Any bytes: the text. Keys: four bytes for each, which key,
//! what kind of value, which value; they stand beside what a configuration needs, so that the rules
//! between keys are reached.
//!
//! What is judged: each line of a refusal has file, line and column, of a place that the text has, and forges
//! nothing. What is accepted holds what a plan promises, means the same when it is read again, and is taken
//! by the parts of the agent.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use logdrive::config::keys::{KEYS, Key};
use logdrive::config::{Host, Kind, Plan, Refused, Typed, plan_of};
use logdrive::setup;
use logdrive_core::frame::{ByteOrder, Copied, End, EventUnit, Form, FramePolicy, Limit, Stretch};
use logdrive_core::position::Position;

/// What problems call the file.
const NAME: &str = "a.toml";

/// Makes a plan of a text, or says what is wrong with it.
pub type Reader = fn(&[u8]) -> Result<Plan, String>;

/// Reads it as the agent does.
///
/// # Errors
/// As it is shown to the user.
pub fn read(text: &[u8]) -> Result<Plan, String> {
    let host = Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") };
    plan_of(NAME, Some(text), &Typed::default(), &host).map_err(|refused: Refused| refused.to_string())
}

/// Runs one input.
pub fn run(input: &[u8]) {
    check(input, read);
}

/// Runs one input with any reader in place of the real one.
///
/// # Panics
/// If a refusal has no place, or a plan does not hold what it promises.
pub fn check(input: &[u8], reader: Reader) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let text = match kind & 1 {
        0 => rest.to_vec(),
        _ => text_of(rest.as_chunks::<4>().0).into_bytes(),
    };
    match reader(&text) {
        Err(refused) => refused.lines().for_each(|line| has_a_place(line, &text)),
        Ok(plan) => {
            holds(&plan);
            let commented = [&text[..], b"\n# the end\n"].concat();
            for again in [&text, &commented] {
                assert_eq!(reader(again).as_ref(), Ok(&plan), "the same text means the same");
            }
        }
    }
}

fn has_a_place(line: &str, text: &[u8]) {
    let place = line.strip_prefix("error: ").and_then(|line| line.strip_prefix(NAME)?.strip_prefix(':'));
    let mut parts = place.unwrap_or_else(|| panic!("no place: {line:?}")).splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(0);
    let (row, column) = (number(), number());
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let told = row.checked_sub(1).and_then(|row| lines.get(row));
    let told = told.unwrap_or_else(|| panic!("line {row} of {}: {line:?}", lines.len()));
    let columns = String::from_utf8_lossy(told).chars().count() + 1;
    assert!((1..=columns).contains(&column), "column {column} of {columns}: {line:?}");
    let message = parts.next().unwrap_or_default();
    assert!(message.len() > 1, "nothing is said: {line:?}");
    assert!(!message.chars().any(char::is_control), "a forged line: {line:?}");
}

/// What every plan promises to those who use it.
fn holds(plan: &Plan) {
    assert!((!plan.items.is_empty() || plan.etcd.is_some()) && !plan.kafka.brokers.is_empty());
    let names: BTreeSet<&str> = plan.items.iter().map(|item| &item.name[..]).collect();
    assert_eq!(names.len(), plan.items.len(), "two items of one name");
    assert!(plan.http.is_none_or(|address| address.ip().is_loopback()));
    assert!(plan.state.dir.is_absolute());
    assert!(plan.limits.open_files >= 1 && plan.limits.files_max >= 1);
    let limits = setup::limits(plan);
    for item in &plan.items {
        let frame = &item.frame;
        assert!(!item.include.is_empty() && !item.topic.is_empty());
        let record = match frame.unit {
            EventUnit::Line => frame.line_bytes_max,
            EventUnit::Chunk { bytes_max } => frame.line_bytes_max.max(bytes_max),
        };
        assert!(frame.line_bytes_max >= 1 && record as u64 <= plan.kafka.message_bytes_max);
        assert!(2 * frame.line_bytes_max <= limits.chunks_bytes, "not two lines fit into the chunks");
        let is_copied = frame.form != Form::Plain;
        assert!(!is_copied || 2 * frame.buffer_bytes_min() <= limits.chunks_bytes, "no room for a copy");
        assert_eq!(frame.flush_after.filter(|after| *after < Duration::from_millis(1)), None);
        // The policy works.
        works(frame);
        let _reading = setup::policy(item, Some(1_795_687_872_345));
        let _sending = setup::route(item);
    }
    if let Err(error) = setup::kafka(&plan.kafka).check(setup::budget(&plan.limits)) {
        panic!("the sink refuses what the configuration accepts: {error}");
    }
    files_are_found(plan);
}

/// A policy settles a file.
fn works(frame: &FramePolicy) {
    let bytes = b"one\r\n2 two\n\n\xff";
    let mut room = BytesMut::with_capacity(frame.form.copied_bytes_max(bytes.len()));
    let (mut events, mut details) = (Vec::new(), Vec::new());
    let into = Copied { bytes: &mut room, events: &mut events, details: &mut details };
    let framed = match frame.form {
        Form::Plain => frame.frame(bytes, false, End::Closed, Limit::NONE, into.events),
        Form::Wrapped(wrapping) => frame.unwrap_lines(wrapping, bytes, false, End::Closed, Limit::NONE, into),
        Form::Encoded(charset) => {
            let file = Stretch { bytes, position: Position::ZERO, order: ByteOrder::of(bytes) };
            frame.decode_lines(charset, file, false, End::Closed, Limit::NONE, into)
        }
    };
    assert_eq!(framed.settled, bytes.len());
}

/// A file that an item takes lies in a directory that is listed, below one of the roots.
fn files_are_found(plan: &Plan) {
    let patterns = &plan.patterns;
    for text in plan.items.iter().flat_map(|item| &item.include) {
        for path in [text.clone(), text.replace("**", "x/y").replace(['*', '?'], "z"), text.replace('*', "")]
        {
            let path = path.as_bytes();
            let taken = patterns.first_match(path);
            let verdict = patterns.verdicts(path).find(|verdict| verdict.takes());
            assert_eq!(taken, verdict.map(|verdict| verdict.item), "{text:?}");
            let Some(slash) = path.iter().rposition(|&byte| byte == b'/').filter(|_| taken.is_some()) else {
                continue;
            };
            let directory = if slash == 0 { &path[..1] } else { &path[..slash] };
            assert!(patterns.matches_in(directory), "{text:?} takes a file where nothing is listed");
            assert!(patterns.could_match_below(directory), "{text:?} takes a file where nothing is watched");
            assert!(
                setup::roots(plan.patterns.roots()).iter().any(|root| directory.starts_with(root)),
                "{text:?} takes a file below no root"
            );
        }
    }
}

/// A text of keys, beside what must be there.
fn text_of(entries: &[[u8; 4]]) -> String {
    let mut top = String::from("kafka.brokers = 'k:9092'\n");
    let mut item = String::from("[[item]]\ninclude = ['/l/*']\ntopic = 't'\n");
    for &[key, form, low, high] in entries {
        let key = &KEYS[usize::from(key) % KEYS.len()];
        let value = value_of(key, form, u16::from_le_bytes([low, high]));
        match key.path.strip_prefix("item.") {
            // A key that is there already stands for the next item.
            Some(name) if item.contains(&format!("\n{name} = ")) => {
                write!(item, "[[item]]\ninclude = ['/m/{low}*']\ntopic = 't{low}'\n")
            }
            Some(name) => writeln!(item, "{name} = {value}"),
            None if top.contains(&format!("{} = ", key.path)) => Ok(()),
            None => writeln!(top, "{} = {value}", key.path),
        }
        .expect("a string takes everything");
    }
    top + &item
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "a:1,b:2",
    "[::1]:9092",
    "k:0",
    "/l/a.log",
    "/l/**/*.{log,txt}",
    "/",
    "/l/[a-c]?*",
    "*.gz",
    "^[0-9]",
    "(",
    "a{1000}",
    "\\\\pL+",
    "127.0.0.1:0",
    "[::1]:80",
    "0.0.0.0:1",
    "off",
    "localhost:9180",
    "/dev/null",
    "relative",
    "../x",
    "\\u001b[2J",
    "\\n",
    "@timestamp",
    "linger.ms",
    "socket.timeout.ms",
    "debug",
    "PLAIN",
    "SCRAM-SHA-512",
    "HOME",
    "name\\u00fc",
    "100",
    "true",
    "utf-16",
    "GBK",
    "iso-2022-jp",
];

/// A value for a key: mostly of its kind, and mostly at a bound.
fn value_of(key: &Key, form: u8, which: u16) -> String {
    let text = TEXTS[usize::from(which) % TEXTS.len()];
    let other = TEXTS[usize::from(which / 61) % TEXTS.len()];
    if form % 8 == 7 {
        return ["true", "-1", "1.5", "[]", "{}", "''", "9223372036854775807", "[[1]]"]
            [usize::from(which % 8)]
        .to_owned();
    }
    let bounded = |min: u64, max: u64| match form % 8 {
        0 => min,
        1 => max,
        2 => max.saturating_add(1),
        3 => min.saturating_sub(1),
        4 => min + u64::from(which),
        5 => max.saturating_sub(which.into()),
        _ => min.saturating_add(1) << (which % 48),
    };
    let word = |words: &[&str]| {
        let word = words.get(usize::from(which) % words.len().max(1)).copied().unwrap_or(text);
        format!("\"{word}\"")
    };
    match key.kind {
        Kind::Flag => (which % 2 == 1).to_string(),
        Kind::Count { or, .. } | Kind::Duration { or, .. } | Kind::Size { or, .. }
            if form >= 128 && !or.is_empty() =>
        {
            word(or)
        }
        Kind::Count { min, max, .. } => bounded(min.unsigned_abs(), max.unsigned_abs()).to_string(),
        Kind::Duration { min, max, .. } => {
            format!("\"{}ms\"", bounded(min.as_millis() as u64, max.as_millis() as u64))
        }
        Kind::Size { min, max, .. } => match form & 8 {
            0 => bounded(min, max).to_string(),
            _ => format!("\"{}KiB\"", bounded(min / 1024, max / 1024)),
        },
        Kind::Choice(words) => word(words),
        Kind::Start => match form % 4 {
            0 => word(&["beginning", "end", "-24h", "-0s", "-11years", "2026-11-26", "9999-12-31T23:59:59Z"]),
            1 => format!("\"-{which}d\""),
            2 => format!("\"{:04}-{:02}-{:02} {:02}:00\"", which, form % 16, which % 40, form % 32),
            _ => format!("\"{text}\""),
        },
        Kind::Text(_) => format!("\"{text}\""),
        Kind::Texts(_) => format!("[\"{text}\", \"{other}\"]"),
        Kind::Fields | Kind::Options => format!("{{ \"{text}\" = \"{other}\" }}"),
    }
}
