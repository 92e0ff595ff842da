//! What a line says of itself: when it was written, and how grave it is.
//!
//! The one place where the indexer asks for either. Lines are not looked into yet: their time is that of their
//! record, and their level is not known.

/// Nanoseconds since the Unix epoch at which a line was written; its record says when it was read.
#[must_use]
pub fn written_at_ns(_line: &[u8], record_ms: i64) -> i64 {
    record_ms.saturating_mul(1_000_000)
}

/// How grave a line is, as `log.level` has it.
#[must_use]
pub fn level(_line: &[u8]) -> Option<&'static str> {
    None
}
