//! Turns answers that come out of order into one number for each partition: the offset to commit.
//!
//! The ledger knows neither Kafka nor whoever writes. It is told of batches sent and of batches done, and answers
//! with the end of the *contiguous* prefix that is done: the same rule by which the agent moves `acked`. A
//! partition that is taken away is forgotten with everything about it, so a late answer moves nothing that
//! belongs to somebody else by then.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// One partition of one topic.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: Arc<str>,
    /// Which one of it, from 0.
    pub number: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// A batch of records, of any number of partitions. Never the same twice in one process.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct BatchId(pub u64);

/// How far every partition of ours is.
#[derive(Debug, Default)]
pub struct Ledger {
    tracks: BTreeMap<Partition, Track>,
}

/// One partition. Offsets are those of the next record to read, as Kafka commits them.
#[derive(Debug, Default)]
struct Track {
    /// What is on its way, in the order of the partition.
    spans: VecDeque<Span>,
    /// Everything before it is done: the end of the last span that was taken off the front.
    done: Option<i64>,
    /// What the group was last told: never more than `done`.
    committed: Option<i64>,
}

/// The records of one batch in one partition: they end before `next`.
#[derive(Copy, Clone, Debug)]
struct Span {
    batch: BatchId,
    next: i64,
    is_done: bool,
}

impl Ledger {
    /// A partition is ours from now on. What was known of it before is over.
    pub fn assigned(&mut self, partition: Partition) {
        self.tracks.insert(partition, Track::default());
    }

    /// A partition is no longer ours.
    pub fn revoked(&mut self, partition: &Partition) {
        self.tracks.remove(partition);
    }

    /// Whether it is ours.
    #[must_use]
    pub fn owns(&self, partition: &Partition) -> bool {
        self.tracks.contains_key(partition)
    }

    /// All that are ours.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.tracks.keys()
    }

    /// A batch is on its way whose records of this partition end before `next`. One that is not ours (any more)
    /// is not kept.
    pub fn sent(&mut self, partition: &Partition, batch: BatchId, next: i64) {
        let Some(track) = self.tracks.get_mut(partition) else { return };
        let before = track.spans.back().map(|span| span.next).or(track.done);
        if before.is_some_and(|before| next <= before) {
            // Offsets go back only when the topic was made anew: what was on its way is of the old one.
            *track = Track::default();
        }
        track.spans.push_back(Span { batch, next, is_done: false });
    }

    /// All records of a batch are where they belong.
    pub fn done(&mut self, batch: BatchId) {
        for track in self.tracks.values_mut() {
            for span in track.spans.iter_mut().filter(|span| span.batch == batch) {
                span.is_done = true;
            }
            while let Some(span) = track.spans.pop_front_if(|span| span.is_done) {
                track.done = Some(span.next);
            }
        }
    }

    /// What can be committed and is not, each with the offset of its next record.
    pub fn to_commit(&self) -> impl Iterator<Item = (&Partition, i64)> {
        let open = |track: &Track| track.done.filter(|_| track.done != track.committed);
        self.tracks.iter().filter_map(move |(partition, track)| Some((partition, open(track)?)))
    }

    /// The group knows it.
    pub fn committed(&mut self, partition: &Partition, next: i64) {
        if let Some(track) = self.tracks.get_mut(partition)
            && track.done >= Some(next)
        {
            track.committed = track.committed.max(Some(next));
        }
    }

    /// What the group was last told of a partition by us.
    #[must_use]
    pub fn committed_of(&self, partition: &Partition) -> Option<i64> {
        self.tracks.get(partition)?.committed
    }

    /// Batches of a partition that are on their way.
    #[must_use]
    pub fn in_flight(&self, partition: &Partition) -> usize {
        self.tracks.get(partition).map_or(0, |track| track.spans.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition(number: i32) -> Partition {
        Partition { topic: "logs".into(), number }
    }

    fn to_commit(ledger: &Ledger) -> Vec<(i32, i64)> {
        ledger.to_commit().map(|(partition, next)| (partition.number, next)).collect()
    }

    #[test]
    fn a_late_answer_holds_back_what_came_after_it() {
        let mut ledger = Ledger::default();
        ledger.assigned(partition(0));
        for (batch, next) in [(1, 10), (2, 25), (3, 30)] {
            ledger.sent(&partition(0), BatchId(batch), next);
        }
        ledger.done(BatchId(2));
        assert_eq!(to_commit(&ledger), []);
        ledger.done(BatchId(1));
        assert_eq!(to_commit(&ledger), [(0, 25)]);
        ledger.committed(&partition(0), 25);
        assert_eq!(to_commit(&ledger), []);
        ledger.done(BatchId(3));
        assert_eq!(to_commit(&ledger), [(0, 30)]);
    }

    #[test]
    fn a_batch_of_several_partitions_is_done_in_all_of_them() {
        let mut ledger = Ledger::default();
        for number in 0..3 {
            ledger.assigned(partition(number));
        }
        ledger.sent(&partition(0), BatchId(1), 5);
        ledger.sent(&partition(2), BatchId(1), 7);
        ledger.sent(&partition(2), BatchId(2), 9);
        ledger.done(BatchId(1));
        assert_eq!(to_commit(&ledger), [(0, 5), (2, 7)]);
    }

    #[test]
    fn i03_an_answer_after_a_revocation_moves_nothing() {
        let mut ledger = Ledger::default();
        ledger.assigned(partition(0));
        ledger.sent(&partition(0), BatchId(1), 10);
        ledger.revoked(&partition(0));
        ledger.done(BatchId(1));
        assert_eq!(to_commit(&ledger), []);
        // Back again, from what another member has committed: the old batch is still nothing of it.
        ledger.assigned(partition(0));
        ledger.sent(&partition(0), BatchId(2), 5);
        ledger.done(BatchId(1));
        assert_eq!((to_commit(&ledger), ledger.in_flight(&partition(0))), (vec![], 1));
        ledger.committed(&partition(0), 10);
        assert_eq!(ledger.committed_of(&partition(0)), None, "nor is a late commit");
    }

    #[test]
    fn a_topic_that_is_made_anew_counts_from_its_own_beginning() {
        let mut ledger = Ledger::default();
        ledger.assigned(partition(0));
        ledger.sent(&partition(0), BatchId(1), 1000);
        ledger.sent(&partition(0), BatchId(2), 1100);
        ledger.done(BatchId(1));
        ledger.committed(&partition(0), 1000);
        ledger.sent(&partition(0), BatchId(3), 7);
        ledger.done(BatchId(2));
        assert_eq!(to_commit(&ledger), []);
        ledger.done(BatchId(3));
        assert_eq!(to_commit(&ledger), [(0, 7)]);
    }

    #[test]
    fn what_is_not_ours_is_not_kept() {
        let mut ledger = Ledger::default();
        ledger.sent(&partition(0), BatchId(1), 10);
        ledger.done(BatchId(1));
        assert_eq!(to_commit(&ledger), []);
    }

    /// The same by brute force: every record by itself.
    #[derive(Default)]
    struct Naive {
        owned: BTreeMap<i32, Vec<(u64, i64, bool)>>,
    }

    impl Naive {
        fn ready(&self) -> BTreeMap<i32, i64> {
            let prefix = |records: &Vec<(u64, i64, bool)>| {
                records.iter().take_while(|(_, _, done)| *done).last().map(|(_, offset, _)| offset + 1)
            };
            self.owned.iter().filter_map(|(number, records)| Some((*number, prefix(records)?))).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(i32),
        Revoke(i32),
        /// Records of these partitions, so many each; offsets may have gaps.
        Send(Vec<(i32, usize, i64)>),
        /// One of the batches so far, old ones and finished ones too.
        Done(prop::sample::Index),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (0..4).prop_map(Step::Assign),
            1 => (0..4).prop_map(Step::Revoke),
            4 => prop::collection::vec((0..4, 1..4usize, 1..3i64), 1..4).prop_map(Step::Send),
            4 => any::<prop::sample::Index>().prop_map(Step::Done),
            1 => Just(Step::Commit),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_committed_that_is_not_done_and_not_ours(steps in prop::collection::vec(step(), 1..80)) {
            let (mut ledger, mut naive) = (Ledger::default(), Naive::default());
            let (mut batches, mut offsets) = (0, [0i64; 4]);
            let mut told: BTreeMap<i32, i64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Assign(number) => {
                        ledger.assigned(partition(number));
                        naive.owned.insert(number, Vec::new());
                        // Another member may have committed less than was sent here: it starts anywhere.
                        offsets[number as usize] /= 2;
                        told.remove(&number);
                    }
                    Step::Revoke(number) => {
                        ledger.revoked(&partition(number));
                        naive.owned.remove(&number);
                        told.remove(&number);
                    }
                    Step::Send(parts) => {
                        batches += 1;
                        let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
                        for (number, count, gap) in parts {
                            for _ in 0..count {
                                let offset = offsets[number as usize];
                                offsets[number as usize] += gap;
                                if let Some(records) = naive.owned.get_mut(&number) {
                                    records.push((batches, offset, false));
                                }
                                ends.insert(number, offset + 1);
                            }
                        }
                        for (number, next) in ends {
                            ledger.sent(&partition(number), BatchId(batches), next);
                        }
                    }
                    Step::Done(index) if batches > 0 => {
                        let batch = index.index(batches as usize) as u64 + 1;
                        ledger.done(BatchId(batch));
                        for record in naive.owned.values_mut().flatten().filter(|record| record.0 == batch) {
                            record.2 = true;
                        }
                    }
                    Step::Done(_) => {}
                    Step::Commit => {
                        let ready: Vec<_> =
                            ledger.to_commit().map(|(partition, next)| (partition.clone(), next)).collect();
                        for (partition, next) in ready {
                            ledger.committed(&partition, next);
                            told.insert(partition.number, next);
                        }
                    }
                }
                let mut expected = naive.ready();
                expected.retain(|number, next| told.get(number) != Some(next));
                let found: BTreeMap<i32, i64> = to_commit(&ledger).into_iter().collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
