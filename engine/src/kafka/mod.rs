//! librdkafka behind the batch-level seam [`logdrive_core::batch::Sink`].
//!
//! Batches go in whole and come back whole, with one outcome. Payloads are not copied: librdkafka is
//! given pointers into the batches, which stay here until their last delivery report is in. The sink
//! never drops and never decides what to send again: what is not acknowledged comes back as refused or
//! lost, and the engine goes back to its files.
//!
//! | file | what |
//! |---|---|
//! | `settings`, `invariants` | what an operator may set, and the librdkafka properties that follow |
//! | `route`, `ecs`, `container` | what a batch becomes: topic, partition, key, value, labels |
//! | `sink`, `sending`, `upkeep` | the seam: gives back; takes; asks, watches, rebuilds, ends |
//! | `renewal` | other credentials for connections that are in use |
//! | `instance` | one producer instance and the loop that feeds it |
//! | `reports`, `slots` | its thread, and the counting of delivery reports |
//! | `freight` | owns the bytes that librdkafka points to |
//! | `letters`, `letter_file` | records that are refused for good: cut, or kept as dead letters |
//! | `topics` | what is known of each topic, stalls included |
//! | `native` | librdkafka's C interface: all of the unsafe code but the two calls of `instance` |

mod container;
mod ecs;
mod freight;
mod instance;
mod invariants;
mod letter_file;
mod letters;
mod native;
mod renewal;
mod reports;
mod route;
mod sending;
mod settings;
mod sink;
mod slots;
mod status;
mod topics;
mod upkeep;

pub use ecs::escape;
pub use native::describe;
pub use renewal::try_out;
pub use route::{Format, Key, OnRefused, Partition, Route, RouteError};
pub use settings::{
    Acks, Compression, CreateTopics, DeadLetters, InFlightBudget, KafkaSettings, LetterPlace, MESSAGES_MAX,
    OnFailure, Sasl, SaslMechanism, Secret, SettingsError, Tls, security,
};
pub use sink::{KafkaError, KafkaSink};
pub use slots::Refusal;
pub use status::{InFlight, RoundTrip, SinkCounters, SinkStatus, TopicStatus};
