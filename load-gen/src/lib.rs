//! Writes log lines by a schedule fixed in advance, and stamps each so that its loss, its repetition,
//! its lateness and any change to it can be counted at the other end.
//!
//! This is an instrument, not a model of an application: it never waits for whoever reads the files
//! (open loop), and a line that is written late still carries the time at which it was due.
//!
//! [`stamp`] is what a record carries, [`mod@format`] what it looks like, [`payload`] the pool of prepared ones,
//! [`replay`] a log that is written again. [`curve`] and [`schedule`] say when each is due, [`spread`] which
//! file it goes to. [`files`] are the log files and their rotation, [`run`] is the loop, [`journal`] what was
//! written, for the judge. [`civil`] are dates.

pub mod civil;
pub mod curve;
pub mod files;
pub mod format;
pub mod journal;
pub mod payload;
pub mod random;
pub mod replay;
pub mod run;
pub mod schedule;
pub mod spread;
pub mod stamp;
