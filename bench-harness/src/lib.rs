//! Runs an agent under load against a real Kafka and judges it.
//!
//! [`verify`] is the judge of completeness: pure, told of every record, answering with counts.
//! [`consume`] brings it the records of a topic.

pub mod consume;
pub mod verify;
