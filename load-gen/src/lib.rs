//! Writes log lines by a schedule fixed in advance, and stamps each so that its loss, its repetition,
//! its lateness and any change to it can be counted at the other end.
//!
//! This is an instrument, not a model of an application: it never waits for whoever reads the files
//! (open loop), and a line that is written late still carries the time at which it was due.
//!
//! [`stamp`] is what a line carries, [`payload`] the text around it, [`schedule`] when each line is due,
//! [`files`] the log files and their rotation, [`run`] the loop, [`journal`] what was written, for the
//! judge.

pub mod files;
pub mod journal;
pub mod payload;
pub mod run;
pub mod schedule;
pub mod stamp;
