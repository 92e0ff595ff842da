//! One producer instance as the sink holds it: running, on its way out, or not to be had.
//!
//! Here is the loop that hands records to librdkafka. A batch that a full queue takes only in part
//! stays here as the *remainder*: it goes on from its cursor as soon as there is room, and until then
//! nothing else is taken, so that nothing overtakes it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use logdrive_core::position::Nanos;

use super::container::Label;
use super::freight::Freight;
use super::letters::Letter;
use super::native::{Client, HEADERS_MAX, HeaderSet, Message, Topic, code};
use super::reports::{self, News, Shared, Threads};
use super::slots::{Slots, refuses_for_good};

/// Records in one call to librdkafka. Larger calls save nothing, and their array would not fit into
/// the first-level cache.
const CALL_MESSAGES: usize = 256;

/// The memory in which calls are prepared.
#[derive(Default)]
pub(super) struct Desk {
    messages: Vec<Message>,
}

/// What one attempt to hand over a batch came to.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Handed {
    /// Events before this one are done with: taken, or refused and settled.
    pub(super) cursor: usize,
    /// Events that were refused here for good, because they are too large.
    pub(super) refused: u64,
    /// Why it ended before the last event.
    pub(super) stopped: Option<i32>,
    /// The last message of the batch is settled already.
    pub(super) finished: bool,
}

/// A batch that was taken in part.
#[derive(Copy, Clone, Debug)]
pub(super) struct Remainder {
    pub(super) slot: u32,
    pub(super) cursor: usize,
}

/// One instance.
pub(super) struct Instance {
    pub(super) index: usize,
    state: State,
    pub(super) remainder: Option<Remainder>,
    /// It is to be replaced when everything is acknowledged, or then; meanwhile it takes nothing.
    pub(super) replace_by: Option<Nanos>,
    /// Since when a question about topics is under way.
    asked_at: Option<Nanos>,
    answers: Answers,
}

/// How well the brokers answer questions: the measure of whether waiting for them makes sense.
#[derive(Copy, Clone, Debug, Default)]
struct Answers {
    /// Since when every question was answered, and soon.
    prompt_since: Option<Nanos>,
    last_at: Nanos,
}

enum State {
    Running(Running),
    /// Its threads take it down, and say so when that is done.
    Retiring,
    /// Gone, or not created yet.
    Absent,
}

struct Running {
    /// By the sink's number of the topic.
    topics: Vec<Option<Topic>>,
    client: Arc<Client>,
    threads: Threads,
}

impl Instance {
    pub(super) fn new(index: usize) -> Instance {
        Instance {
            index,
            state: State::Absent,
            remainder: None,
            replace_by: None,
            asked_at: None,
            answers: Answers::default(),
        }
    }

    /// Creates the producer and its threads.
    pub(super) fn start(
        &mut self,
        properties: &BTreeMap<String, String>,
        shared: &Arc<Shared>,
        news: &Sender<(usize, News)>,
    ) -> Result<(), String> {
        let client = Client::new(properties)?;
        let threads = reports::start(self.index, &client, shared, news)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        self.state = State::Running(Running { topics: Vec::new(), client, threads });
        self.asked_at = None;
        self.answers = Answers::default();
        Ok(())
    }

    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        match &self.state {
            State::Running(running) => Some(&running.client),
            State::Retiring | State::Absent => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    pub(super) fn is_retiring(&self) -> bool {
        matches!(self.state, State::Retiring)
    }

    /// Begins to take the producer down. All our references go first, so that its thread has the last.
    pub(super) fn retire(&mut self) {
        match std::mem::replace(&mut self.state, State::Retiring) {
            State::Running(running) => {
                drop(running.topics);
                running.threads.dismiss(running.client);
                self.remainder = None;
                self.replace_by = None;
            }
            other => self.state = other,
        }
    }

    /// The producer is gone.
    pub(super) fn retired(&mut self) {
        self.state = State::Absent;
    }

    /// Asks about all topics, unless a question is under way.
    pub(super) fn ask(&mut self, now: Nanos) {
        if let State::Running(running) = &self.state
            && self.asked_at.is_none()
        {
            running.threads.ask();
            self.asked_at = Some(now);
        }
    }

    /// The question was answered, or not. An answer that takes longer than `slow` begins anew: the
    /// brokers may have been away until now.
    pub(super) fn answered(&mut self, answer: bool, slow: Duration, now: Nanos) {
        let asked_at = self.asked_at.take().unwrap_or(now);
        self.answers.prompt_since = match self.answers.prompt_since {
            _ if !answer => None,
            Some(since) if now.since(asked_at) <= slow => Some(since),
            _ => Some(now),
        };
        self.answers.last_at = now;
    }

    /// How long something that waits since then could have gone on, as far as the brokers go; `None`
    /// if they were not asked lately or do not answer.
    pub(super) fn could_have_gone_on(&self, since: Nanos, now: Nanos) -> Option<Duration> {
        let since = self.answers.prompt_since?.max(since);
        let could = now.since(since);
        (self.answers.last_at >= since + could / 2).then_some(could)
    }

    /// Makes a topic known to the producer.
    pub(super) fn open(&mut self, topic: usize, name: &std::ffi::CStr) -> Result<(), String> {
        let State::Running(running) = &mut self.state else { return Ok(()) };
        if running.topics.len() <= topic {
            running.topics.resize_with(topic + 1, || None);
        }
        if running.topics[topic].is_none() {
            running.topics[topic] = Some(Topic::new(&running.client, name)?);
        }
        Ok(())
    }

    /// Hands events of a batch over, from `cursor` on.
    pub(super) fn hand_over(
        &self,
        freight: &Freight,
        cursor: usize,
        records: Records<'_>,
        slots: &Slots,
        desk: &mut Desk,
    ) -> Handed {
        let mut handed = Handed { cursor, ..Handed::default() };
        let State::Running(running) = &self.state else {
            return Handed { stopped: Some(code::FATAL), ..handed };
        };
        let Some(Some(topic)) = running.topics.get(freight.topic) else {
            return Handed { stopped: Some(code::UNKNOWN_TOPIC), ..handed };
        };
        match records.headers {
            None => produce_calls(topic, freight, records.key, slots, desk, &mut handed),
            Some(headers) => produce_singly(topic, freight, records.key, headers, slots, &mut handed),
        }
        handed
    }
}

/// What every record of a batch has beside its value.
#[derive(Copy, Clone)]
pub(super) struct Records<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) headers: Option<Headers<'a>>,
}

/// What the headers of a batch's records have in common.
#[derive(Copy, Clone)]
pub(super) struct Headers<'a> {
    /// Host, path, generation and offset, on this host.
    pub(super) origin_on: Option<&'a str>,
    /// What the path says of a container.
    pub(super) labels: &'a [Label],
    /// Why it is sent for the second time.
    pub(super) letter: Option<&'a Letter>,
}

/// The hot loop: prepares a call's messages in one reused array and makes the call.
fn produce_calls(
    topic: &Topic,
    freight: &Freight,
    key: Option<&[u8]>,
    slots: &Slots,
    desk: &mut Desk,
    handed: &mut Handed,
) {
    let (bytes, events) = freight.values();
    let opaque = freight.ticket.pack();
    while handed.cursor < events.len() {
        let call = &events[handed.cursor..events.len().min(handed.cursor + CALL_MESSAGES)];
        desk.messages.clear();
        desk.messages.extend(call.iter().map(|event| {
            let value = &bytes[event.start as usize..(event.start + event.len) as usize];
            Message::new(value, key, opaque)
        }));
        // SAFETY: the values belong to `freight`, which the sink's hold keeps in place (its bytes are
        // on the heap) until all its messages are settled and their events destroyed, or the client is.
        let taken = unsafe { topic.produce(freight.partition, &mut desk.messages) };
        if taken == call.len() {
            handed.cursor += taken;
            continue;
        }
        for message in &desk.messages {
            if !book(message.code(), freight, slots, handed) {
                return;
            }
        }
    }
}

/// One record at a time, for those with headers.
fn produce_singly(
    topic: &Topic,
    freight: &Freight,
    key: Option<&[u8]>,
    headers: Headers<'_>,
    slots: &Slots,
    handed: &mut Handed,
) {
    let (bytes, events) = freight.values();
    let origin = &freight.batch.origin;
    let (mut generation, mut offset) = (Digits::default(), Digits::default());
    let generation = generation.write(format_args!("{:?}", origin.generation));
    while let Some(event) = events.get(handed.cursor) {
        let value = &bytes[event.start as usize..(event.start + event.len) as usize];
        let at = freight.batch.place(handed.cursor);
        let mut all: [(&CStr, &[u8]); HEADERS_MAX] = [(c"", b""); HEADERS_MAX];
        let mut count = 0;
        if let Some(host) = headers.origin_on {
            let own = [
                (c"host", host.as_bytes()),
                (c"path", origin.path.as_bytes()),
                (c"generation", generation),
                (c"offset", offset.write(format_args!("{at:?}"))),
            ];
            count = own.len();
            all[..count].copy_from_slice(&own);
        }
        let detail = freight.batch.details.get(handed.cursor).filter(|_| headers.origin_on.is_some());
        let unwrapped = detail.and_then(|detail| detail.stream.zip(Some(detail.time)));
        let unwrapped = unwrapped.iter().flat_map(|(stream, time)| {
            [(c"stream", stream.name().as_bytes()), (c"time", freight.batch.event(*time))]
        });
        let labels = headers.labels.iter().map(|label| (label.header, label.value.as_bytes()));
        let letter = headers.letter.iter().flat_map(|letter| letter.headers());
        for header in unwrapped.chain(labels).chain(letter) {
            all[count] = header;
            count += 1;
        }
        let set = HeaderSet(&all[..count]);
        let message = Message::new(value, key, freight.ticket.pack());
        // SAFETY: as in `produce_calls`.
        let code = unsafe { topic.produce_with(freight.partition, &message, freight.batch.read_at_ms, &set) };
        if !book(code, freight, slots, handed) {
            return;
        }
    }
}

/// Books what became of the event at the cursor. False when nothing more can be handed over.
fn book(code: i32, freight: &Freight, slots: &Slots, handed: &mut Handed) -> bool {
    if code != 0 {
        if !refuses_for_good(code) {
            handed.stopped = Some(code);
            return false;
        }
        handed.refused += 1;
        handed.finished |= slots.settle(freight.ticket, 1, code);
    }
    handed.cursor += 1;
    true
}

/// Room for a number as text, on the stack.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn write(&mut self, number: std::fmt::Arguments<'_>) -> &[u8] {
        let mut rest = &mut self.0[..];
        rest.write_fmt(number).expect("64 bits have at most 20 digits");
        let len = 20 - rest.len();
        &self.0[..len]
    }
}
