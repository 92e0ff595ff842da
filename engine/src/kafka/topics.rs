//! What is known of each topic, when to ask again, and what to tell the operator.
//!
//! A state machine without a connection: answers and time go in, decisions come out. A topic takes
//! batches only when its partitions are known to the very instance that produces; everything else
//! (missing, not authorised, just failed) is a reason to wait, told in one line, and asked about again.

use std::ffi::CString;
use std::time::Duration;

use logdrive_core::position::Nanos;
use tracing::{info, warn};

use super::native::{TopicSeen, code, name_of};
use super::status::TopicStatus;

/// One topic.
pub(super) struct Topic {
    pub(super) name: CString,
    /// How many partitions it was last seen to have; 0 before that.
    partitions: i32,
    /// For each instance how many it knows of; 0 for none.
    known: Vec<i32>,
    /// For each instance when to ask again.
    ask_at: Vec<Nanos>,
    /// For each partition what is on its way to it.
    flows: Vec<Flow>,
    /// Nothing is taken before then: the last batch was lost.
    paused_until: Option<Nanos>,
    /// Failures in a row, for the pauses between attempts.
    failures: u32,
    trouble: Option<Trouble>,
    /// A request to create it is under way.
    pub(super) creating: bool,
    /// A route leads to it.
    pub(super) wanted: bool,
}

/// What is on its way to a partition.
#[derive(Copy, Clone, Debug, Default)]
struct Flow {
    batches: u32,
    /// When the last one came back, or the first one was sent.
    since: Nanos,
    leaderless: bool,
    /// So many more batches go alone, because a broker refused a request.
    alone: u32,
    /// For how many they were to go alone the last time.
    alone_last: u32,
    /// Batches acknowledged since they go together again.
    together: u32,
}

#[derive(Debug)]
struct Trouble {
    code: i32,
    text: String,
    told_at: Nanos,
    /// It was found by sending: that the topic exists does not end it, only a batch that arrives.
    by_sending: bool,
}

/// After a refusal at least so many batches go alone, and twice as many each time up to the maximum, if
/// the last refusal was less than [`TOGETHER_LONG`] batches ago. The least is more than what the engine needs to
/// find one record in the largest batch by halves.
const ALONE_MIN: u32 = 32;
const ALONE_MAX: u32 = 4096;
const TOGETHER_LONG: u32 = 1024;
/// A known topic is looked at again after this: it may have grown.
const REFRESH: Duration = Duration::from_secs(300);
/// A topic that has partitions without a leader is looked at again after this.
const LEADERLESS: Duration = Duration::from_secs(1);
/// A topic that lacks the partition that a rule names is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The same trouble is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// The longest pause between attempts at a topic in trouble.
const PAUSE_MAX: Duration = Duration::from_secs(32);

impl Topic {
    pub(super) fn new(name: CString, instances: usize, now: Nanos) -> Topic {
        Topic {
            name,
            partitions: 0,
            known: vec![0; instances],
            ask_at: vec![now; instances],
            flows: Vec::new(),
            paused_until: None,
            failures: 0,
            trouble: None,
            creating: false,
            wanted: true,
        }
    }

    /// Why it takes nothing now is known and told.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        self.name.to_string_lossy()
    }

    /// How many partitions a rule can choose from; `None` while nothing may be sent.
    pub(super) fn open(&self) -> Option<i32> {
        (self.partitions > 0 && self.paused_until.is_none()).then_some(self.partitions)
    }

    /// Whether this instance knows that partition, without which it must not be produced to.
    pub(super) fn known_to(&self, instance: usize, partition: i32) -> bool {
        partition < self.known[instance]
    }

    /// Whether to ask about the topic now.
    pub(super) fn is_due(&self, instance: usize, now: Nanos) -> bool {
        self.wanted && self.ask_at[instance] <= now
    }

    /// Asks at the next opportunity.
    pub(super) fn ask_soon(&mut self, instance: usize, now: Nanos) {
        self.ask_at[instance] = self.ask_at[instance].min(now);
    }

    /// A new instance knows nothing.
    pub(super) fn forget(&mut self, instance: usize, now: Nanos) {
        self.known[instance] = 0;
        self.ask_at[instance] = now;
    }

    /// 1, 2, 4, ... seconds.
    fn pause(&self) -> Duration {
        Duration::from_secs(1 << self.failures.min(5)).min(PAUSE_MAX)
    }

    /// What an instance's broker says of the topic. True if it does not exist.
    pub(super) fn seen(&mut self, instance: usize, seen: &TopicSeen, may_create: bool, now: Nanos) -> bool {
        match &seen.partitions {
            Ok(leaders) if !leaders.is_empty() => {
                if self.partitions < leaders.len() as i32 {
                    // The other instances must learn of what is new as well.
                    self.ask_at.fill(now);
                }
                self.partitions = leaders.len() as i32;
                self.known[instance] = self.partitions;
                let led = leaders.iter().all(|has_leader| *has_leader);
                self.ask_at[instance] = now + if led { REFRESH } else { LEADERLESS };
                self.flows.resize(leaders.len().max(self.flows.len()), Flow::default());
                for (flow, has_leader) in self.flows.iter_mut().zip(leaders) {
                    if flow.leaderless && *has_leader {
                        // Only from now on could what waits have gone.
                        flow.since = now;
                    }
                    flow.leaderless = !has_leader;
                }
                if self.trouble.as_ref().is_some_and(|trouble| !trouble.by_sending) {
                    self.recovered();
                }
                false
            }
            Ok(_) => {
                self.ask_at[instance] = now + self.pause();
                false
            }
            Err(reason) => {
                self.known[instance] = 0;
                let missing = *reason == code::UNKNOWN_TOPIC_OR_PARTITION;
                if !(missing && may_create) {
                    self.fail(*reason, &advice(*reason), now);
                }
                self.ask_at[instance] = now + self.pause();
                missing
            }
        }
    }

    /// A batch was lost, or could not be handed to librdkafka: look at the topic again, and wait a
    /// while, so that a failure that returns does not become a busy loop.
    pub(super) fn lost(&mut self, instance: usize, reason: i32, now: Nanos) {
        self.known[instance] = 0;
        self.ask_at[instance] = now;
        // The first of many that were lost together decides.
        if self.paused_until.is_none() {
            self.paused_until = Some(now + self.pause());
            self.fail(reason, &format!("{}; what was lost is sent again", advice(reason)), now);
            self.trouble.as_mut().expect("just told").by_sending = true;
        }
    }

    /// Tells of trouble: at once when it is new, then once a minute.
    pub(super) fn fail(&mut self, reason: i32, text: &str, now: Nanos) {
        self.failures = self.failures.saturating_add(1);
        let told = self.trouble.as_ref().filter(|t| t.code == reason && now.since(t.told_at) < TELL_AGAIN);
        let told_at = told.map_or(now, |t| t.told_at);
        if told.is_none() {
            warn!(topic = %self.text(), code = reason, "topic `{}`: {text}; its lines wait", self.text());
        }
        self.trouble = Some(Trouble { code: reason, text: text.to_owned(), told_at, by_sending: false });
    }

    /// Ends a pause whose time has come; whether it did.
    pub(super) fn resume(&mut self, now: Nanos) -> bool {
        let over = self.paused_until.is_some_and(|until| until <= now);
        if over {
            self.paused_until = None;
        }
        over
    }

    /// Whether a partition takes a batch now: not while it has no leader, who could be away for long, and
    /// only one at a time while a refusal is looked into.
    pub(super) fn admits(&self, partition: i32) -> bool {
        let flow = &self.flows[partition as usize];
        !flow.leaderless && (flow.alone == 0 || flow.batches == 0)
    }

    /// A batch is on its way. True if it is alone there, and will be.
    pub(super) fn sent(&mut self, partition: i32, now: Nanos) -> bool {
        let flow = &mut self.flows[partition as usize];
        if flow.batches == 0 {
            flow.since = now;
        }
        flow.batches += 1;
        flow.alone > 0
    }

    pub(super) fn returned(&mut self, partition: i32, now: Nanos) {
        let flow = &mut self.flows[partition as usize];
        flow.batches -= 1;
        flow.since = now;
    }

    /// A broker refuses a request as a whole, with everything that librdkafka put into it. Only for a
    /// batch that was alone is that a verdict (true); others must be sent again, one at a time.
    pub(super) fn refused(&mut self, partition: i32, alone: bool) -> bool {
        let flow = &mut self.flows[partition as usize];
        if alone {
            // The halves that the engine now sends must be alone as well.
            flow.alone = flow.alone.max(ALONE_MIN);
        } else if flow.alone == 0 {
            let again = flow.together < TOGETHER_LONG;
            flow.alone_last =
                if again { (2 * flow.alone_last).clamp(ALONE_MIN, ALONE_MAX) } else { ALONE_MIN };
            (flow.alone, flow.together) = (flow.alone_last, 0);
            let batches = flow.alone;
            warn!(
                topic = %self.text(), partition, batches,
                "a broker refused a request; the next batches go one at a time to find the record. \
                 If this comes often, set `batch_bytes` below the topic's max.message.bytes"
            );
        }
        alone
    }

    /// A batch arrived: whatever it was is over.
    pub(super) fn arrived(&mut self, partition: i32) {
        let flow = &mut self.flows[partition as usize];
        match flow.alone {
            0 => flow.together = flow.together.saturating_add(1),
            _ => flow.alone -= 1,
        }
        self.failures = 0;
        if self.trouble.is_some() {
            self.recovered();
        }
    }

    fn recovered(&mut self) {
        self.failures = 0;
        self.trouble = None;
        info!(topic = %self.text(), partitions = self.partitions, "topic takes records again");
    }

    /// A rule names a partition that is not there: somebody may add it.
    pub(super) fn no_partition(&mut self, instance: usize, number: i32, now: Nanos) {
        if self.trouble.as_ref().is_none_or(|t| t.code != code::UNKNOWN_PARTITION) {
            let text = format!("has no partition {number}, only {}; name another", self.partitions);
            self.fail(code::UNKNOWN_PARTITION, &text, now);
        }
        self.ask_at[instance] = self.ask_at[instance].min(now + LOOK_AGAIN);
    }

    /// Partitions that have waited since before `limit`, with the time since when and whether there is
    /// a leader who could take what waits.
    pub(super) fn waiting(&self, limit: Nanos) -> impl Iterator<Item = (i32, Nanos, bool)> {
        let waiting = (0..).zip(&self.flows).filter(move |(_, flow)| flow.batches > 0 && flow.since < limit);
        waiting.map(|(partition, flow)| (partition, flow.since, !flow.leaderless))
    }

    /// Partitions from which something came back since `limit`, and more is to come.
    pub(super) fn moving(&self, limit: Nanos) -> impl Iterator<Item = i32> {
        let moving = (0..).zip(&self.flows).filter(move |(_, flow)| flow.batches > 0 && flow.since >= limit);
        moving.map(|(partition, _)| partition)
    }

    pub(super) fn status(&self) -> TopicStatus {
        TopicStatus {
            name: self.text().into_owned(),
            partitions: self.partitions,
            trouble: self.trouble.as_ref().map(|trouble| trouble.text.clone()),
        }
    }
}

/// What an error means for a topic, and what to do.
fn advice(reason: i32) -> String {
    match reason {
        code::UNKNOWN_TOPIC_OR_PARTITION | code::UNKNOWN_TOPIC | code::UNKNOWN_PARTITION => {
            "does not exist; create it, or set `create_topics` to let the agent create it".into()
        }
        code::TOPIC_AUTHORIZATION_FAILED => "not authorized; grant this user Describe and Write on it".into(),
        code::INVALID_TOPIC => "is not a name that the brokers accept; change it".into(),
        _ => name_of(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn topic(instances: usize) -> Topic {
        Topic::new(c"web".into(), instances, Nanos(0))
    }

    fn at(seconds: u64) -> Nanos {
        Nanos(0) + SECOND * seconds as u32
    }

    fn there(leaders: &[bool]) -> TopicSeen {
        TopicSeen { name: "web".into(), partitions: Ok(leaders.to_vec()) }
    }

    fn refused(code: i32) -> TopicSeen {
        TopicSeen { name: "web".into(), partitions: Err(code) }
    }

    #[test]
    fn k05_a_missing_topic_is_named_once_a_minute_and_asked_about_again() {
        let mut topic = topic(1);
        assert_eq!(topic.open(), None);
        assert!(topic.is_due(0, at(0)));
        assert!(topic.seen(0, &refused(3), false, at(0)));
        let told_at = |topic: &Topic| topic.trouble.as_ref().unwrap().told_at;
        assert!(topic.status().trouble.unwrap().contains("does not exist"));
        let mut asked = 0;
        for second in 1..=59 {
            if topic.is_due(0, at(second)) {
                asked += 1;
                topic.seen(0, &refused(3), false, at(second));
                assert_eq!(told_at(&topic), at(0));
            }
        }
        assert_eq!(asked, 4, "after 2, 4, 8, 16 seconds, then 32");
        assert!(topic.is_due(0, at(70)));
        topic.seen(0, &refused(3), false, at(70));
        assert_eq!(told_at(&topic), at(70));
        assert!(!topic.seen(0, &there(&[true; 3]), false, at(71)));
        assert_eq!((topic.open(), topic.status().trouble), (Some(3), None));
    }

    #[test]
    fn a_topic_that_may_be_created_is_no_trouble() {
        let mut topic = topic(1);
        assert!(topic.seen(0, &refused(3), true, at(0)));
        assert_eq!(topic.status().trouble, None);
    }

    #[test]
    fn each_instance_must_know_the_partition_itself() {
        let mut topic = topic(2);
        topic.seen(0, &there(&[true; 4]), false, at(0));
        assert_eq!(topic.open(), Some(4));
        assert!(topic.known_to(0, 3) && !topic.known_to(1, 3));
        topic.seen(1, &there(&[true; 2]), false, at(0));
        assert!(topic.known_to(1, 1) && !topic.known_to(1, 3));
        topic.forget(0, at(1));
        assert!(!topic.known_to(0, 0));
        assert!(topic.is_due(0, at(1)));
    }

    #[test]
    fn k07_what_is_lost_again_and_again_is_paused_for_longer_and_longer() {
        let mut topic = topic(1);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            topic.seen(0, &there(&[true]), false, at(now));
            assert_eq!(topic.open(), Some(1));
            for _ in 0..100 {
                topic.lost(0, 29, at(now));
            }
            assert_eq!(topic.open(), None);
            let begin = now;
            while !topic.resume(at(now)) {
                now += 1;
                topic.seen(0, &there(&[true]), false, at(now));
            }
            pauses.push(now - begin);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
        topic.arrived(0);
        assert_eq!(topic.status().trouble, None);
        topic.lost(0, 29, at(now));
        assert!(topic.resume(at(now + 1)));
    }

    #[test]
    fn k08_only_a_batch_that_was_alone_is_refused_and_the_others_learn_to_go_alone() {
        let mut topic = topic(1);
        topic.seen(0, &there(&[true, true]), false, at(0));
        assert!(!topic.sent(0, at(0)) && topic.admits(0) && !topic.sent(0, at(0)));
        assert!(!topic.refused(0, false) && !topic.refused(0, false));
        assert!(!topic.admits(0) && topic.admits(1));
        topic.returned(0, at(0));
        topic.returned(0, at(0));
        let send_alone = |topic: &mut Topic| {
            assert!(topic.admits(0) && topic.sent(0, at(0)) && !topic.admits(0));
            topic.returned(0, at(0));
        };
        for _ in 0..20 {
            send_alone(&mut topic);
            topic.arrived(0);
        }
        send_alone(&mut topic);
        assert!(topic.refused(0, true));
        for _ in 0..ALONE_MIN {
            send_alone(&mut topic);
            topic.arrived(0);
        }
        assert!(!topic.sent(0, at(0)), "together again");
        topic.returned(0, at(0));
        topic.refused(0, false);
        assert_eq!(topic.flows[0].alone, 64, "soon again: for longer");
        topic.flows[0].alone = 0;
        topic.flows[0].together = TOGETHER_LONG;
        topic.refused(0, false);
        assert_eq!(topic.flows[0].alone, ALONE_MIN);
    }

    #[test]
    fn waiting_partitions_are_those_with_batches_and_no_progress() {
        let mut topic = topic(1);
        topic.seen(0, &there(&[true, false]), false, at(0));
        topic.sent(0, at(1));
        topic.sent(0, at(2));
        topic.sent(1, at(2));
        let waiting = |topic: &Topic, limit| topic.waiting(at(limit)).collect::<Vec<_>>();
        assert_eq!(waiting(&topic, 1), []);
        assert_eq!(waiting(&topic, 3), [(0, at(1), true), (1, at(2), false)]);
        topic.returned(0, at(5));
        assert_eq!(waiting(&topic, 5), [(1, at(2), false)]);
        assert_eq!(waiting(&topic, 6), [(0, at(5), true), (1, at(2), false)]);
        topic.returned(0, at(6));
        topic.returned(1, at(6));
        assert_eq!(waiting(&topic, 100), []);
    }

    #[test]
    fn a_partition_that_is_not_there_is_looked_for_every_ten_seconds() {
        let mut topic = topic(1);
        topic.seen(0, &there(&[true]), false, at(0));
        for _ in 0..1000 {
            topic.no_partition(0, 7, at(1));
        }
        assert_eq!(topic.failures, 1);
        assert!(topic.status().trouble.unwrap().contains("no partition 7"));
        assert!(!topic.is_due(0, at(10)));
        assert!(topic.is_due(0, at(11)));
    }
}
