//! Records that brokers refuse for good, on their second way: cut and into their own topic again, or as
//! dead letters into another topic or a file.
//!
//! A letter is a batch of one event that was refused alone. It is given back only when its second way has
//! ended, so the position of its file stands still until the copy is acknowledged or on the disk; and its
//! file sends nothing meanwhile, so a record that was cut is where it belongs. A letter holds its line and not
//! the chunk, for it may have to wait long. What is more than [`LETTERS_BYTES_MAX`] is given back as lost: it
//! waits in its file.

use std::collections::VecDeque;
use std::ffi::CStr;

use base64::Engine as _;
use bytes::Bytes;
use logdrive_core::batch::{Batch, Delivery, Event, Outcome};
use serde::Serialize;
use tracing::warn;

use super::ecs::{self, Documents};
use super::freight::Freight;
use super::letter_file::LetterFile;
use super::native::{code, name_of};
use super::route::{Format, OnRefused};
use super::sending::{NoPlace, Place, RECORD_OVERHEAD_BYTES_MAX};
use super::settings::OnFailure;
use super::sink::KafkaSink;
use super::slots::Refusal;

/// Lines of all letters together, in bytes.
const LETTERS_BYTES_MAX: usize = 8 << 20;
/// A value is not cut below this: then it is not its size that the brokers do not like.
const VALUE_BYTES_MIN: usize = 256;
/// What a header costs beside its name and its value, at most.
const HEADER_OVERHEAD_BYTES_MAX: usize = 10;

/// Why and how a record is sent for the second time.
pub(super) struct Letter {
    code: i32,
    aim: Aim,
    /// Its value is cut to this; halved whenever it is still too large.
    value_bytes_max: usize,
    /// How many bytes the whole value has, once it is cut.
    whole: Option<String>,
    /// The texts of its headers.
    code_text: String,
    reason: String,
    topic: String,
}

/// How a record was refused.
#[derive(Copy, Clone, Debug)]
pub(super) struct Refused {
    /// The size of its value.
    pub(super) value_bytes: usize,
    /// By the agent, before a broker saw it.
    pub(super) here: bool,
    /// Through which producer.
    pub(super) instance: usize,
}

/// Which topic a letter goes to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Aim {
    /// Its own, cut.
    Own,
    /// The one for dead letters.
    Dead,
}

impl Letter {
    /// What its headers say beside where it comes from.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static CStr, &[u8])> {
        let why = [(c"reason_code", &self.code_text), (c"reason", &self.reason), (c"topic", &self.topic)];
        let why = why.into_iter().filter(|_| self.aim == Aim::Dead);
        let cut = self.whole.iter().map(|whole| (c"truncated", whole));
        why.chain(cut).map(|(name, value)| (name, value.as_bytes()))
    }

    /// Whether host, path, generation and offset are among the headers whatever the item says.
    pub(super) fn names_origin(&self) -> bool {
        self.aim == Aim::Dead
    }
}

/// All letters of a sink, but those that librdkafka has.
#[derive(Default)]
pub(super) struct Letters {
    /// The number of the topic for dead letters.
    pub(super) topic: Option<usize>,
    /// The file for dead letters.
    pub(super) file: Option<LetterFile>,
    on_failure: OnFailure,
    /// Those that cannot go yet.
    waiting: VecDeque<(Batch, Letter)>,
    /// Those that the file's thread has, in its order.
    filing: VecDeque<(Batch, Letter)>,
    /// Lines of all letters, those that librdkafka has included.
    bytes: usize,
    /// Those whose second way has ended.
    pub(super) settled: VecDeque<Delivery>,
}

impl Letters {
    pub(super) fn new(on_failure: OnFailure) -> Letters {
        Letters { on_failure, ..Letters::default() }
    }

    /// How many are neither settled nor with librdkafka.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.filing.len()
    }
}

impl KafkaSink {
    /// A record was refused alone. What it comes to, if that is known already.
    pub(super) fn divert(
        &mut self,
        mut batch: Batch,
        code: i32,
        Refused { value_bytes, here, .. }: Refused,
    ) -> Option<Delivery> {
        let refusal = Refusal::of(code).expect("the caller saw that it is one");
        self.counters.refused[refusal as usize] += 1;
        let route = &self.routes[&batch.origin.item].route;
        let cut = refusal == Refusal::TooLarge && value_bytes > VALUE_BYTES_MIN;
        let aim = match route.on_refused.unwrap_or(self.settings.on_refused) {
            OnRefused::Truncate if cut => Aim::Own,
            OnRefused::DeadLetter if self.letters.topic.is_some() || self.letters.file.is_some() => Aim::Dead,
            _ => return Some(self.given_back(batch, Outcome::Refused { code })),
        };
        let bytes = batch.bytes.len();
        let crowded = self.letters.bytes > 0 && self.letters.bytes + bytes > LETTERS_BYTES_MAX;
        if self.closed || crowded {
            return Some(self.given_back(batch, Outcome::Lost { code }));
        }
        // The chunk is wanted for what is read meanwhile.
        batch.bytes = Bytes::copy_from_slice(&batch.bytes);
        self.letters.bytes += bytes;
        let letter = Letter {
            code,
            aim,
            // The agent knows its own limit; that of the topic it has to find.
            value_bytes_max: if aim == Aim::Own && !here { value_bytes / 2 } else { usize::MAX },
            whole: None,
            code_text: code.to_string(),
            reason: name_of(code),
            topic: route.topic.clone(),
        };
        if aim == Aim::Dead && self.shared.quota.take("dead letter") {
            let (path, position) = (&batch.origin.path, batch.span.start.0);
            let reason = &letter.reason;
            warn!(%path, position, reason, "kafka refuses a record for good: it becomes a dead letter");
        }
        match &self.letters.file {
            Some(file) if aim == Aim::Dead => {
                file.keep(line_of(&batch, &letter, &self.host));
                self.letters.filing.push_back((batch, letter));
            }
            _ => self.letters.waiting.push_back((batch, letter)),
        }
        None
    }

    /// A letter comes back from librdkafka. What it comes to, if that is known now.
    pub(super) fn letter_back(
        &mut self,
        batch: Batch,
        mut letter: Letter,
        outcome: Outcome,
        Refused { value_bytes, instance, .. }: Refused,
    ) -> Option<Delivery> {
        let shorter = value_bytes / 2;
        match outcome {
            Outcome::Acked => return Some(self.arrived(batch, letter.aim)),
            Outcome::Refused { code }
                if Refusal::of(code) == Some(Refusal::TooLarge)
                    && value_bytes > VALUE_BYTES_MIN
                    && shorter < letter.value_bytes_max =>
            {
                letter.value_bytes_max = shorter;
            }
            Outcome::Refused { code } => match (letter.aim, self.letters.topic, self.letters.on_failure) {
                // Its topic rests as one that has lost a batch does, and says so.
                (Aim::Dead, Some(topic), OnFailure::Wait) => {
                    self.topics[topic].lost(instance, code, self.now)
                }
                _ => return Some(self.not_kept(batch, &letter)),
            },
            Outcome::Lost { .. } | Outcome::Diverted => {}
        }
        if self.closed {
            return Some(self.ended(batch, Outcome::Lost { code: code::PURGE_INFLIGHT }));
        }
        self.letters.waiting.push_back((batch, letter));
        None
    }

    /// Hears what became of the letters in the file, and sends those that waited.
    pub(super) fn advance_letters(&mut self) {
        while let Some(kept) = self.letters.file.as_mut().and_then(LetterFile::answer) {
            let (batch, letter) = self.letters.filing.pop_front().expect("one answer for each letter");
            let delivery = if kept { self.arrived(batch, letter.aim) } else { self.not_kept(batch, &letter) };
            self.letters.settled.push_back(delivery);
        }
        for _ in 0..self.letters.waiting.len() {
            let Some((batch, letter)) = self.letters.waiting.pop_front() else { return };
            let back = match self.place_letter(&batch, letter.aim) {
                Ok(place) => self.send_letter(place, batch, letter),
                Err(NoPlace::Unavailable) if self.is_given_up(letter.aim) => {
                    let delivery = self.not_kept(batch, &letter);
                    self.letters.settled.push_back(delivery);
                    None
                }
                Err(_) => Some((batch, letter)),
            };
            self.letters.waiting.extend(back);
        }
    }

    /// The end: what waits is given back, to be read again by the next process.
    pub(super) fn close_letters(&mut self, until: std::time::Instant) {
        if let Some(file) = &mut self.letters.file {
            file.close(until);
        }
        self.advance_letters();
        let waiting = self.letters.filing.drain(..).chain(self.letters.waiting.drain(..));
        for (batch, _) in waiting.collect::<Vec<_>>() {
            let delivery = self.ended(batch, Outcome::Lost { code: code::PURGE_QUEUE });
            self.letters.settled.push_back(delivery);
        }
    }

    fn is_given_up(&self, aim: Aim) -> bool {
        let topic = self.letters.topic.filter(|_| aim == Aim::Dead);
        let in_trouble = topic.is_some_and(|topic| self.topics[topic].is_in_trouble());
        in_trouble && self.letters.on_failure == OnFailure::Drop
    }

    fn place_letter(&mut self, batch: &Batch, aim: Aim) -> Result<Place, NoPlace> {
        match (aim, self.letters.topic) {
            (Aim::Dead, Some(topic)) => {
                let partitions = self.topics[topic].open().ok_or(NoPlace::Unavailable)?;
                self.berth(topic, (batch.origin.family % partitions as u64) as i32)
            }
            _ => {
                let (topic, partition) = self.destination(batch)?;
                self.berth(topic, partition)
            }
        }
    }

    /// Sends a letter; hands it back if librdkafka does not take it now.
    fn send_letter(&mut self, place: Place, batch: Batch, mut letter: Letter) -> Option<(Batch, Letter)> {
        let documents = self.value_of(&batch, &mut letter);
        let slot = self.load(place, batch, documents, Some(letter));
        let handed = self.hand_over(slot, 0);
        let Freight { batch, letter, .. } = self.depart(slot, handed)?;
        Some((batch, letter.expect("it was loaded with one")))
    }

    /// The value of a letter, if it is not the line as it stands in the batch.
    fn value_of(&mut self, batch: &Batch, letter: &mut Letter) -> Option<Documents> {
        let bound = &self.routes[&batch.origin.item];
        let lane = self.lanes.of(&batch.origin, &bound.route, bound.revision, &self.host);
        let header =
            |(name, value): (&CStr, &[u8])| name.count_bytes() + value.len() + HEADER_OVERHEAD_BYTES_MAX;
        // Host, path, two numbers and their names, and the one that says what was cut. What the path says of a
        // container, and when and where that wrote it.
        let origin = self.host.len() + 2 * batch.origin.path.len() + 400;
        let beside = RECORD_OVERHEAD_BYTES_MAX
            + lane.key.as_ref().map_or(0, |key| key.len())
            + letter.headers().map(header).sum::<usize>()
            + origin;
        let room = self.settings.message_bytes_max.saturating_sub(beside).min(letter.value_bytes_max);
        let event = batch.events[0];
        let mut documents = Documents::default();
        let whole = match bound.route.format {
            Format::Raw => event.len as usize,
            Format::Ecs { .. } => {
                ecs::render(batch, &[event], &lane.ecs_rest, &mut documents);
                documents.bytes.len()
            }
        };
        if whole > room {
            // Each byte of the line is at least one of the document.
            let kept = (event.len as usize).saturating_sub(whole - room);
            let event = Event { start: event.start, len: text_end(batch.event(event), kept) as u32 };
            letter.whole = Some(whole.to_string());
            match bound.route.format {
                Format::Raw => {
                    documents.bytes.extend_from_slice(batch.event(event));
                    documents.events.push(Event { start: 0, len: event.len });
                }
                Format::Ecs { .. } => {
                    ecs::render(batch, &[event], &lane.ecs_rest, &mut documents);
                }
            }
        }
        (!documents.events.is_empty()).then_some(documents)
    }

    fn arrived(&mut self, batch: Batch, aim: Aim) -> Delivery {
        match aim {
            Aim::Own => {
                self.counters.messages_cut += 1;
                self.ended(batch, Outcome::Acked)
            }
            Aim::Dead => {
                self.counters.dead_letters += 1;
                self.ended(batch, Outcome::Diverted)
            }
        }
    }

    /// The second way is closed too.
    fn not_kept(&mut self, batch: Batch, letter: &Letter) -> Delivery {
        if letter.aim == Aim::Dead && self.shared.quota.take("no dead letter") {
            let (path, position) = (&batch.origin.path, batch.span.start.0);
            warn!(%path, position, "a dead letter cannot be kept; `on_failure` says to drop the record");
        }
        self.ended(batch, Outcome::Refused { code: letter.code })
    }

    fn ended(&mut self, batch: Batch, outcome: Outcome) -> Delivery {
        self.letters.bytes -= batch.bytes.len();
        self.given_back(batch, outcome)
    }
}

/// Where to cut a text so that at most `bytes` are left, not within a character.
fn text_end(text: &[u8], bytes: usize) -> usize {
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    // A character has at most four bytes; what has more of this kind is no text.
    (bytes.saturating_sub(3)..=bytes).rev().find(|&at| !continues(at)).unwrap_or(bytes)
}

/// A dead letter as a line of the file.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    reason: &'static str,
    code: i32,
    error: &'a str,
    topic: &'a str,
    host: &'a str,
    path: &'a str,
    generation: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_base64: Option<String>,
}

fn line_of(batch: &Batch, letter: &Letter, host: &str) -> Vec<u8> {
    let bytes = batch.event(batch.events[0]);
    let text = std::str::from_utf8(bytes).ok();
    let line = Line {
        time: humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
        reason: Refusal::of(letter.code).map_or("", Refusal::label),
        code: letter.code,
        error: &letter.reason,
        topic: &letter.topic,
        host,
        path: &batch.origin.path,
        generation: format!("{:?}", batch.origin.generation),
        offset: batch.place(0).0,
        line: text,
        line_base64: text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(bytes)),
    };
    let mut json = serde_json::to_vec(&line).expect("texts and numbers are JSON");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::text_end;

    #[test]
    fn a_text_is_not_cut_within_a_character() {
        let text = "aäö€".as_bytes();
        let ends: Vec<usize> = (0..=text.len()).map(|bytes| text_end(text, bytes)).collect();
        assert_eq!(ends, [0, 1, 1, 3, 3, 5, 5, 5, 8]);
        assert_eq!(text_end(&[0x80; 20], 10), 10, "no text is cut where it is said");
    }
}
