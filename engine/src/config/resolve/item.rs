//! `[[item]]`: what is read, how it is cut, what the records look like.

use std::collections::{BTreeMap, BTreeSet};

use logdrive_core::frame::{CarriageReturn, EventUnit, Form, FramePolicy, LongLine, Wrapping};
use regex::bytes::{Regex, RegexSet};

use super::{Judge, encoding, legal_name, on_refused};
use crate::config::patterns::{check_exclude, check_include};
use crate::config::plan::{Format, FramePlan, ItemPlan, Origin, Partition, RecordKey, Symlinks};
use crate::config::problem::{At, Placed};
use crate::config::start::ReadFrom;
use crate::config::units;
use crate::config::written::Section;

/// A path has at most 4,096 bytes (`PATH_MAX`), which may triple when it is not UTF-8; it stands in the
/// key and in a header, beside the host, numbers, and Kafka's own framing of record and batch.
const RAW_OVERHEAD_BYTES: u64 = 32 * 1024;

/// The same, and the path once more within the document, where it may be escaped.
const ECS_OVERHEAD_BYTES: u64 = 64 * 1024;

/// JSON writes a control character with six bytes (`\u0001`), and nothing with more.
const JSON_GROWTH_MAX: u64 = 6;

/// The default of `line_bytes_max` under `format = "ecs"`: even if every byte grows, the document stays
/// below the default of `message_bytes_max`.
const ECS_LINE_BYTES: u64 = 160_000;

/// The default of `line_bytes_max` where lines are copied out of the files: with it, what has to be read at once always
/// fits into a read buffer of the smallest size, and what is made of it too.
const COPIED_LINE_BYTES: u64 = 128 * 1024;

/// The longest line that becomes a record of at most `message_bytes_max` whatever it holds: as it is, or in a document
/// with fields of so many bytes (names and values, and six more for each).
pub(crate) fn line_bytes_most(message_bytes_max: u64, document_fields: Option<u64>) -> u64 {
    match document_fields {
        None => message_bytes_max.saturating_sub(RAW_OVERHEAD_BYTES),
        Some(fields) => {
            (message_bytes_max.saturating_sub(ECS_OVERHEAD_BYTES) / JSON_GROWTH_MAX).saturating_sub(fields)
        }
    }
}

/// Makes the plans of all items. Items with problems are left out; their problems stay.
pub(super) fn plans(sections: &[Section], message_bytes_max: u64, judge: &mut Judge<'_>) -> Vec<ItemPlan> {
    let mut seen = BTreeSet::new();
    let mut plans = Vec::with_capacity(sections.len());
    for section in sections {
        let Some(plan) = plan(section, message_bytes_max, judge) else { continue };
        if !seen.insert(plan.name.clone()) {
            let at = section.at("item.name");
            judge.refuse(
                &at,
                format!(
                    "two items are named `{}`; give each its own `name`, \
                     since positions are remembered under it",
                    plan.name
                ),
            );
        }
        plans.push(plan);
    }
    plans
}

pub(super) fn plan(section: &Section, message_bytes_max: u64, judge: &mut Judge<'_>) -> Option<ItemPlan> {
    let include = globs(section, "item.include", check_include, judge);
    let exclude = globs(section, "item.exclude", check_exclude, judge);
    if section.has("item.include") && section.texts("item.include").is_empty() && include.is_some() {
        judge.refuse(&section.at("item.include"), "`include` is empty: the item would read nothing");
    }
    let topic = section.text("item.topic").and_then(|topic| {
        judge.accept(section, "item.topic", legal_name("topic", &topic))?;
        Some(topic)
    });
    let name = match section.text("item.name") {
        Some(name) => judge.accept(section, "item.name", legal_name("name", &name)).map(|()| name),
        None => topic.clone(),
    };
    let format = format(section, judge);
    let frame = frame(section, &format, judge);
    let read_from = section.start("item.read_from");
    let is_utf16 = |frame: &FramePlan| matches!(frame.0.form, Form::Encoded(charset) if charset.is_utf16());
    if matches!(read_from, ReadFrom::Since(_)) && frame.as_ref().is_some_and(is_utf16) {
        let why = "`read_from` cannot look for a time in files in UTF-16; \"beginning\" and \"end\" it can";
        judge.refuse(&section.at("item.read_from"), why);
    }
    if let Some(frame) = &frame {
        largest_record(section, frame, &format, message_bytes_max, judge);
    }
    let key = match section.word("item.key") {
        "none" => RecordKey::None,
        _ => RecordKey::Source,
    };
    Some(ItemPlan {
        read_from,
        ignore_older: section.duration_or_word("item.ignore_older"),
        symlinks: match section.word("item.symlinks") {
            "follow" => Symlinks::Follow,
            "never" => Symlinks::Never,
            _ => Symlinks::Owner,
        },
        close_after: section.duration_or_word("item.close_after"),
        rotated_hold: section.duration_or_word("item.rotated_hold"),
        rotated_hold_bytes: section.size_or_word("item.rotated_hold_bytes"),
        rate_limit_bytes: section.size_or_word("item.rate_limit_bytes"),
        rate_limit: section.count("item.rate_limit").and_then(|lines| lines.try_into().ok()),
        headers: section.flag("item.headers"),
        partition: partition(section, key, judge),
        on_refused: on_refused(section, "item.on_refused"),
        key,
        name: name?,
        origin: Origin::File,
        include: include?,
        exclude: exclude?,
        topic: topic?,
        frame: frame?,
        format,
    })
}

fn globs(
    section: &Section,
    path: &str,
    check: fn(&str) -> Result<(), String>,
    judge: &mut Judge<'_>,
) -> Option<Vec<String>> {
    let texts = section.texts(path);
    let mut good = true;
    for Placed { value, at } in &texts {
        if let Err(why) = check(value) {
            judge.refuse(at, why);
            good = false;
        }
    }
    good.then(|| texts.into_iter().map(|text| text.value).collect())
}

fn format(section: &Section, judge: &mut Judge<'_>) -> Format {
    let is_ecs = section.word("item.format") == "ecs";
    judge.needs(section, "item.fields", is_ecs, "`format = \"ecs\"`");
    if !is_ecs {
        return Format::Raw;
    }
    let mut fields = BTreeMap::new();
    for (name, value) in section.entries("item.fields") {
        const OURS: [&str; 5] = ["@timestamp", "message", "host.name", "log.file.path", "log.offset"];
        if OURS.contains(&&name.value[..]) || name.value.is_empty() {
            judge.refuse(&name.at, format!("`{}` in `fields` is written by the agent itself", name.value));
        }
        fields.insert(name.value, value);
    }
    Format::Ecs { fields }
}

fn frame(section: &Section, format: &Format, judge: &mut Judge<'_>) -> Option<FramePlan> {
    let is_chunk = section.word("item.framing") == "chunk";
    judge.needs(section, "item.chunk_bytes", is_chunk, "`framing = \"chunk\"`");
    let carriage_return = match section.word("item.carriage_return") {
        "strip" => CarriageReturn::Strip,
        _ => CarriageReturn::Keep,
    };
    if is_chunk {
        one_span_of_the_file(section, format, carriage_return, judge);
    }
    let form = form(section, judge)?;
    let is_wrapped = matches!(form, Form::Wrapped(_));
    let multiline = section.table("item.multiline").is_some();
    if is_wrapped {
        unwrapped_one_by_one(section, is_chunk, judge);
    }
    if multiline && section.has("item.flush_after") {
        judge.refuse(
            &section.at("item.flush_after"),
            "`flush_after` and `multiline` exclude each other: write `flush_after` within `multiline`",
        );
    }
    let multiline_start = match section.text("item.multiline.start") {
        Some(text) => judge.accept(section, "item.multiline.start", regex(&text)).map(Some),
        None => Some(None),
    };
    let include_lines = regexes(section, "item.include_lines", judge);
    let exclude_lines = regexes(section, "item.exclude_lines", judge);
    let line_bytes_max = match format {
        _ if form != Form::Plain && !section.has("item.line_bytes_max") => COPIED_LINE_BYTES,
        Format::Ecs { .. } if !section.has("item.line_bytes_max") => ECS_LINE_BYTES,
        _ => section.size("item.line_bytes_max"),
    };
    Some(FramePlan(FramePolicy {
        line_bytes_max: usize::try_from(line_bytes_max).ok()?,
        on_long_line: match section.word("item.on_long_line") {
            "split" => LongLine::Split,
            "drop" => LongLine::Drop,
            _ => LongLine::Truncate,
        },
        carriage_return,
        multiline_start: multiline_start?,
        flush_after: section.duration_or_word(if multiline {
            "item.multiline.flush_after"
        } else {
            "item.flush_after"
        }),
        unit: match is_chunk {
            true => EventUnit::Chunk { bytes_max: usize::try_from(section.size("item.chunk_bytes")).ok()? },
            false => EventUnit::Line,
        },
        include_lines: include_lines?,
        exclude_lines: exclude_lines?,
        form,
    }))
}

/// What the files hold.
fn form(section: &Section, judge: &mut Judge<'_>) -> Option<Form> {
    let charset = match section.text("item.encoding") {
        Some(label) => judge.accept(section, "item.encoding", encoding::named(&label)).map(Some)?,
        None => None,
    };
    let wrapping = match section.word("item.container") {
        "docker" => Some(Wrapping::Docker),
        "cri" => Some(Wrapping::Cri),
        _ => None,
    };
    match (wrapping, charset) {
        (None, None) => Some(Form::Plain),
        (Some(wrapping), None) => Some(Form::Wrapped(wrapping)),
        (None, Some(charset)) => Some(Form::Encoded(charset)),
        (Some(_), Some(_)) => {
            let why = "`encoding` is for files that are not UTF-8, and `container` for those of a container \
                       runtime, which are; choose one";
            judge.refuse(&section.at("item.encoding"), why);
            None
        }
    }
}

/// Events of containers are copied out of the file line by line.
fn unwrapped_one_by_one(section: &Section, is_chunk: bool, judge: &mut Judge<'_>) {
    let multiline = section.table("item.multiline").cloned();
    let chunk = is_chunk.then(|| section.at("item.framing"));
    for (name, at) in [("multiline", multiline), ("framing = \"chunk\"", chunk)] {
        if let Some(at) = at {
            let why =
                format!("`{name}` works on the lines of the file, and `container` unwraps these; choose one");
            judge.refuse(&at, why);
        }
    }
}

/// A chunk is one span of the file as it is: what joins or changes lines excludes it. Filters do not: a
/// line that is left out ends a chunk.
fn one_span_of_the_file(
    section: &Section,
    format: &Format,
    carriage_return: CarriageReturn,
    judge: &mut Judge<'_>,
) {
    for (path, is_there) in [
        ("item.multiline", section.table("item.multiline").is_some()),
        ("item.carriage_return", carriage_return == CarriageReturn::Strip),
        ("item.format", matches!(format, Format::Ecs { .. })),
    ] {
        if is_there {
            let at = section.table(path).cloned().unwrap_or_else(|| section.at(path));
            let name = path.trim_start_matches("item.");
            judge.refuse(
                &at,
                format!(
                    "`{name}` works on lines, and `framing = \"chunk\"` sends spans of the file \
                     as they are; choose one"
                ),
            );
        }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        // The parser draws its message over several lines; the last says what is wrong.
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default();
        format!("{text:?} is no valid regular expression: {}", last.trim_start_matches("error: "))
    })
}

/// `Some(None)` is an empty list.
fn regexes(section: &Section, path: &str, judge: &mut Judge<'_>) -> Option<Option<RegexSet>> {
    let texts = section.texts(path);
    let mut good = true;
    for Placed { value, at } in &texts {
        if let Err(why) = regex(value) {
            judge.refuse(at, why);
            good = false;
        }
    }
    if !good || texts.is_empty() {
        return good.then_some(None);
    }
    let set = RegexSet::new(texts.iter().map(|text| &text.value)).map_err(|_| {
        format!("`{}`: together too large; write fewer or simpler ones", path.trim_start_matches("item."))
    });
    judge.accept(section, path, set).map(Some)
}

/// A legal line must never be refused by a broker that is set up as `message_bytes_max` says.
fn largest_record(
    section: &Section,
    frame: &FramePlan,
    format: &Format,
    message_bytes_max: u64,
    judge: &mut Judge<'_>,
) {
    let line = frame.line_bytes_max as u64;
    let value = match frame.unit {
        EventUnit::Line => line,
        EventUnit::Chunk { bytes_max } => line.max(bytes_max as u64),
    };
    let (record, why) = match format {
        Format::Raw => (value + RAW_OVERHEAD_BYTES, "with key and headers"),
        Format::Ecs { fields } => {
            let fields: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
            let record = (value + fields as u64) * JSON_GROWTH_MAX + ECS_OVERHEAD_BYTES;
            (record, "as a JSON document, in which a byte can grow to six")
        }
    };
    if record > message_bytes_max {
        let at: At = section.at("item.line_bytes_max");
        judge.refuse(
            &at,
            format!(
                "a line of `line_bytes_max` ({}) can become a record of {record} bytes ({why}), more than \
                 `message_bytes_max` in `[kafka]` ({message_bytes_max}); lower the one, or raise the other \
                 together with the brokers' message.max.bytes",
                units::size(line)
            ),
        );
    }
}

fn partition(section: &Section, key: RecordKey, judge: &mut Judge<'_>) -> Partition {
    if let Some(number) = section.count("item.partition") {
        judge.needs(section, "item.sticky_slice", false, "`partition = \"sticky\"`");
        return Partition::Number(i32::try_from(number).unwrap_or(i32::MAX));
    }
    let word = section.word("item.partition");
    judge.needs(section, "item.sticky_slice", word == "sticky", "`partition = \"sticky\"`");
    match word {
        "key" => {
            if key == RecordKey::None {
                judge.refuse(
                    &section.at("item.partition"),
                    "`partition = \"key\"` needs a key, but `key` is \"none\"",
                );
            }
            Partition::Key
        }
        "sticky" => Partition::Sticky { slice: section.duration("item.sticky_slice") },
        _ => Partition::Source,
    }
}
