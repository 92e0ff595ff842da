//! Runs an agent under load against a real Kafka and judges it.
//!
//! [`verify`] is the judge of completeness: pure, told of every record, answering with counts.
//! [`consume`] brings it the records of a topic. [`sweep`] searches for the highest rate that holds, [`plan`]
//! turns measured rates into hosts, brokers and disks, and [`picture`] draws; all three are pure as well.

pub mod consume;
pub mod indexed;
pub mod picture;
pub mod plan;
pub mod sweep;
pub mod verify;
