//! How the batches of one collection item become records: topic, partition rule, key, format.
//!
//! A [`Lane`] is what follows from the route for one file generation: it is worked out at the
//! generation's first batch and then only looked up, so that a batch costs one map access and a line
//! nothing.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use logdrive_core::batch::Batch;
use logdrive_core::source::{GenerationId, Origin};

use super::container::{self, Label};
use super::ecs;
use super::native::partition_of_key;

/// Which partition a batch goes to.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Partition {
    /// One for all generations of a rotated file, so that its order is kept. Chosen when a generation
    /// sends its first batch and kept as long as the process lives, even when the topic grows.
    #[default]
    Source,
    /// This one.
    Number(i32),
    /// By the key, as Kafka's own producer chooses; needs one.
    Key,
    /// One for all sources for a slice of time, then the next. The order of a file is kept only
    /// within a slice.
    Sticky {
        /// How long.
        slice: Duration,
    },
}

/// The key of a record.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Key {
    /// `host:path`.
    #[default]
    Source,
    /// No key.
    None,
}

/// The value of a record.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// The event's bytes, not copied.
    #[default]
    Raw,
    /// An Elastic Common Schema document in JSON.
    Ecs {
        /// The item's name, as `event.dataset`.
        item: String,
        /// More fields, by name.
        fields: Vec<(String, String)>,
    },
}

/// What becomes of a record that brokers refuse for good.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum OnRefused {
    /// It is given back as refused.
    #[default]
    Drop,
    /// If it is too large it is cut and sent again; else as [`OnRefused::Drop`].
    Truncate,
    /// It is kept where [`super::KafkaSettings::dead_letters`] says; without that as [`OnRefused::Drop`].
    DeadLetter,
}

/// Where the batches of an item go, and in which shape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The topic.
    pub topic: String,
    /// The partition rule.
    pub partition: Partition,
    /// The key of each record.
    pub key: Key,
    /// The value of each record.
    pub format: Format,
    /// Adds host, path, generation and offset to each record. Records are then produced one by one,
    /// each header with memory of its own in librdkafka: about five times the CPU of plain records.
    pub headers: bool,
    /// The files are logs of containers: what their paths say of these goes into documents and headers.
    pub container: bool,
    /// What becomes of records that are refused for good; `None`: what the settings say.
    pub on_refused: Option<OnRefused>,
}

/// Why a route was refused.
#[derive(Debug, thiserror::Error, Clone, Eq, PartialEq)]
pub enum RouteError {
    /// Kafka allows no such name.
    #[error("topic `{0}` cannot exist: 1 to 249 of letters, digits, `.`, `_` and `-`, not `.` or `..`")]
    Topic(String),
    /// By key, but without one.
    #[error("topic `{0}`: partition by key needs `key = \"source\"`")]
    NoKey(String),
    /// Not a partition number.
    #[error("topic `{topic}`: partition {number} cannot exist")]
    Number {
        /// The topic.
        topic: String,
        /// The number.
        number: i32,
    },
    /// Slices must take time.
    #[error("topic `{0}`: sticky partitions need a slice of at least 1 ms")]
    Slice(String),
    /// A field of the document would be there twice.
    #[error("field `{0}` is set by the format itself; choose another name")]
    Field(String),
    /// librdkafka refused the topic.
    #[error("topic `{topic}`: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// Its reason.
        reason: String,
    },
}

impl Route {
    /// Whether Kafka can have such a route.
    ///
    /// # Errors
    /// What it would refuse.
    pub fn check(&self) -> Result<(), RouteError> {
        let topic = || self.topic.clone();
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let name = self.topic.as_bytes();
        if !(1..=249).contains(&name.len()) || !name.iter().all(|b| legal(*b)) || matches!(name, b"." | b"..")
        {
            return Err(RouteError::Topic(topic()));
        }
        match self.partition {
            Partition::Key if self.key == Key::None => return Err(RouteError::NoKey(topic())),
            Partition::Number(number) if number < 0 => {
                return Err(RouteError::Number { topic: topic(), number });
            }
            Partition::Sticky { slice } if slice < Duration::from_millis(1) => {
                return Err(RouteError::Slice(topic()));
            }
            _ => {}
        }
        if let Format::Ecs { fields, .. } = &self.format
            && let Some(twice) = ecs::reserved(fields, self.container)
        {
            return Err(RouteError::Field(twice.to_owned()));
        }
        Ok(())
    }
}

/// What a route means for one generation.
pub(super) struct Lane {
    /// Whose; when nobody else holds it, the generation is gone.
    origin: Weak<Origin>,
    /// Which definition of the route it was made from.
    revision: u32,
    /// Under the `source` rule: the partition, once chosen.
    pinned: Option<i32>,
    /// The key, if there is one.
    pub(super) key: Option<Box<[u8]>>,
    /// What the path says of a container.
    pub(super) labels: Vec<Label>,
    /// What follows the message in an ECS document, up to the offset.
    pub(super) ecs_rest: Vec<u8>,
}

impl Lane {
    /// The partition of a batch in a topic with so many; `None` if the rule names one that is not there.
    pub(super) fn partition(&mut self, rule: Partition, batch: &Batch, partitions: i32) -> Option<i32> {
        match rule {
            Partition::Source => {
                let pinned = self.pinned.filter(|at| *at < partitions);
                let partition = pinned.unwrap_or((batch.origin.family % partitions as u64) as i32);
                self.pinned = Some(partition);
                Some(partition)
            }
            Partition::Number(number) => (number < partitions).then_some(number),
            Partition::Key => self.key.as_deref().map(|key| partition_of_key(key, partitions)),
            Partition::Sticky { slice } => {
                let slice_ms = i64::try_from(slice.as_millis()).unwrap_or(i64::MAX);
                Some((batch.read_at_ms.max(0) / slice_ms % i64::from(partitions)) as i32)
            }
        }
    }
}

/// The lanes of all generations that still exist.
#[derive(Default)]
pub(super) struct Lanes {
    by_generation: HashMap<GenerationId, Lane>,
    /// When there are more than this, those of gone generations are dropped.
    crowded_at: usize,
}

impl Lanes {
    /// The lane of an origin, made now if this is its first batch under this definition of the route.
    pub(super) fn of(&mut self, origin: &Arc<Origin>, route: &Route, revision: u32, host: &str) -> &mut Lane {
        if self.by_generation.len() > self.crowded_at {
            self.by_generation.retain(|_, lane| lane.origin.strong_count() > 0);
            self.crowded_at = (2 * self.by_generation.len()).max(1024);
        }
        let make = || {
            let labels = if route.container { container::labels(&origin.path) } else { Vec::new() };
            Lane {
                origin: Arc::downgrade(origin),
                revision,
                pinned: None,
                key: match route.key {
                    Key::Source => Some(format!("{host}:{}", origin.path).into_bytes().into()),
                    Key::None => None,
                },
                ecs_rest: match &route.format {
                    Format::Raw => Vec::new(),
                    Format::Ecs { item, fields } => ecs::rest(host, &origin.path, item, fields, &labels),
                },
                labels,
            }
        };
        let lane = self.by_generation.entry(origin.generation).or_insert_with(make);
        let same = std::ptr::eq(lane.origin.as_ptr(), Arc::as_ptr(origin)) && lane.revision == revision;
        if !same {
            let pinned = lane.pinned;
            *lane = Lane { pinned, ..make() };
        }
        lane
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use logdrive_core::batch::{BatchId, Event};
    use logdrive_core::position::Span;
    use logdrive_core::source::{ItemId, SourceId, family_of};

    use super::*;

    fn route(partition: Partition) -> Route {
        Route {
            topic: "t".into(),
            partition,
            key: Key::Source,
            format: Format::Raw,
            headers: false,
            container: false,
            on_refused: None,
        }
    }

    fn origin(generation: u64, path: &str) -> Arc<Origin> {
        let generation = GenerationId(generation);
        Arc::new(Origin { item: ItemId(0), generation, path: path.into(), family: family_of(path) })
    }

    fn batch(origin: &Arc<Origin>, read_at_ms: i64) -> Batch {
        Batch {
            id: BatchId(0),
            source: SourceId { index: 0, epoch: 0 },
            origin: Arc::clone(origin),
            span: Span::default(),
            bytes: Bytes::new(),
            events: vec![Event { start: 0, len: 0 }],
            dropped: logdrive_core::frame::Dropped::default(),
            details: Vec::new(),
            read_at: logdrive_core::position::Nanos(0),
            lines: 1,
            read_at_ms,
        }
    }

    #[test]
    fn a_source_keeps_its_partition_when_the_topic_grows_and_rotated_names_share_one() {
        let (route, mut lanes) = (route(Partition::Source), Lanes::default());
        let first = origin(1, "/l/app.log");
        let mut place = |origin: &Arc<Origin>, partitions| {
            lanes
                .of(origin, &route, 0, "h")
                .partition(Partition::Source, &batch(origin, 0), partitions)
                .unwrap()
        };
        let before = place(&first, 5);
        assert_eq!(before, (family_of("/l/app.log") % 5) as i32);
        assert_eq!(place(&origin(2, "/l/app.log.1"), 5), before);
        for partitions in 6..100 {
            assert_eq!(place(&first, partitions), before);
        }
        // A partition that is gone cannot be kept.
        assert_eq!(place(&first, 1), 0);
    }

    #[test]
    fn a_number_must_exist() {
        let origin = origin(1, "/l/a");
        let mut lanes = Lanes::default();
        let lane = lanes.of(&origin, &route(Partition::Number(3)), 0, "h");
        assert_eq!(lane.partition(Partition::Number(3), &batch(&origin, 0), 4), Some(3));
        assert_eq!(lane.partition(Partition::Number(3), &batch(&origin, 0), 3), None);
    }

    #[test]
    fn a_key_chooses_as_kafka_does() {
        let origin = origin(1, "/l/a");
        let mut lanes = Lanes::default();
        let lane = lanes.of(&origin, &route(Partition::Key), 0, "host");
        assert_eq!(lane.key.as_deref(), Some(&b"host:/l/a"[..]));
        let expected = partition_of_key(b"host:/l/a", 12);
        assert_eq!(lane.partition(Partition::Key, &batch(&origin, 0), 12), Some(expected));
    }

    #[test]
    fn sticky_partitions_take_turns_by_the_time_of_the_read() {
        let origin = origin(1, "/l/a");
        let rule = Partition::Sticky { slice: Duration::from_millis(100) };
        let mut lanes = Lanes::default();
        let lane = lanes.of(&origin, &route(rule), 0, "h");
        let turns = [-5, 0, 99, 100, 250, 399, 400];
        let got = turns.map(|at| lane.partition(rule, &batch(&origin, at), 3).unwrap());
        assert_eq!(got, [0, 0, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn lanes_of_gone_generations_are_dropped_and_a_new_route_renews_the_rest() {
        let mut lanes = Lanes::default();
        let kept = origin(0, "/l/a");
        lanes.of(&kept, &route(Partition::Source), 0, "h");
        for generation in 1..5000 {
            lanes.of(&origin(generation, "/l/b"), &route(Partition::Source), 0, "h");
        }
        assert!(lanes.by_generation.len() < 2100, "{}", lanes.by_generation.len());
        let without = Route { key: Key::None, ..route(Partition::Source) };
        assert!(lanes.of(&kept, &route(Partition::Source), 0, "h").key.is_some());
        assert!(lanes.of(&kept, &without, 1, "h").key.is_none());
    }

    #[test]
    fn routes_that_cannot_work_are_refused() {
        let refused = |change: fn(&mut Route)| {
            let mut route = route(Partition::Source);
            change(&mut route);
            route.check().is_err()
        };
        assert!(!refused(|_| ()));
        assert!(refused(|r| r.topic = String::new()));
        assert!(refused(|r| r.topic = "a b".into()));
        assert!(refused(|r| r.topic = "..".into()));
        assert!(refused(|r| r.topic = "x".repeat(250)));
        assert!(refused(|r| r.partition = Partition::Number(-1)));
        assert!(refused(|r| r.partition = Partition::Sticky { slice: Duration::ZERO }));
        assert!(refused(|r| (r.partition, r.key) = (Partition::Key, Key::None)));
        assert!(refused(|r| {
            r.format = Format::Ecs { item: "i".into(), fields: vec![("message".into(), "x".into())] };
        }));
    }
}
