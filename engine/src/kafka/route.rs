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
    /// which costs about a third more CPU each.
    pub headers: bool,
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
    pub(super) fn check(&self) -> Result<(), RouteError> {
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
            && let Some(twice) = ecs::reserved(fields)
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
        let make = || Lane {
            origin: Arc::downgrade(origin),
            revision,
            pinned: None,
            key: match route.key {
                Key::Source => Some(format!("{host}:{}", origin.path).into_bytes().into()),
                Key::None => None,
            },
            ecs_rest: match &route.format {
                Format::Raw => Vec::new(),
                Format::Ecs { item, fields } => ecs::rest(host, &origin.path, item, fields),
            },
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
#[path = "route_tests.rs"]
mod tests;
