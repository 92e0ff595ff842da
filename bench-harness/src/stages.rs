//! Where the time of a line goes: due -> written -> read -> acknowledged -> consumed.
//!
//! Two cuts can be seen from outside, whatever the agent. The generator knows how late it wrote, and the broker
//! stamps each record when it appends it, to the millisecond; between both lies the agent. What happens inside
//! the agent only the agent can tell: Logdrive exports the time from the read of a batch to its acknowledgement
//! as a histogram, which is read at both ends of the window. What is not known is absent, never guessed.

use serde::{Deserialize, Serialize};

/// The histogram that an agent exports, in seconds.
const READ_TO_ACKNOWLEDGED: &str = "logdrive_read_to_ack_seconds";

/// The parts of the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stages {
    /// From the time a line was due to its write, as the generator tells.
    pub(crate) due_to_written: Lateness,
    /// From the time a line was due to its append by the broker: generator, agent and the way to the broker. To
    /// the millisecond, since the broker counts in those. None where the topic does not keep the broker's time.
    pub(crate) due_to_appended_ms: Option<Part>,
    /// From the append to the consumer. To the millisecond.
    pub(crate) appended_to_consumed_ms: Option<Part>,
    /// From the write to the agent's read, about: what is left of the mean of `due_to_appended` without the mean of
    /// `read_to_acknowledged`. The broker's answer is in the latter only, so this is too little by it. None where
    /// the agent does not tell, and where nothing is left.
    pub(crate) written_to_read_mean_ms: Option<f64>,
    /// From the read of a batch to its acknowledgement, as the agent tells; each batch counts once.
    pub(crate) read_to_acknowledged_ms: Option<Exported>,
}

impl Stages {
    /// `parts` are from due to appended and from appended to consumed.
    pub(crate) fn put_together(
        due_to_written: Lateness,
        parts: Option<(Part, Part)>,
        read_to_acknowledged_ms: Option<Exported>,
    ) -> Stages {
        let rest = |(appended, _): &(Part, Part)| Some(appended.mean - read_to_acknowledged_ms?.mean);
        Stages {
            due_to_written,
            due_to_appended_ms: parts.map(|(appended, _)| appended),
            appended_to_consumed_ms: parts.map(|(_, consumed)| consumed),
            written_to_read_mean_ms: parts.as_ref().and_then(rest).filter(|mean| *mean > 0.0),
            read_to_acknowledged_ms,
        }
    }
}

/// How late the generator was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// Lines that were written more than 10 ms after their tick.
    pub(crate) late_lines: u64,
    pub(crate) max_ms: f64,
}

/// One part of the way, over all lines of the window, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// A part of the way from the buckets of an exported histogram, in milliseconds. Quantiles are interpolated
/// within their bucket, so they are no better than the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exported {
    pub(crate) batches: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// A histogram as a metrics page shows it: counts up to each bound.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets {
    /// Upper bound in seconds and how many lie below it; bounds rise, the last one is infinite.
    upto: Vec<(f64, f64)>,
    sum_s: f64,
    count: f64,
}

/// What happened between two metrics pages of an agent; none when they do not hold the histogram, or nothing
/// was acknowledged between them.
pub(crate) fn read_to_acknowledged(before: &str, after: &str) -> Option<Exported> {
    let (before, after) = (parse(before)?, parse(after)?);
    let upto = after.upto.iter().zip(&before.upto).map(|((bound, now), (_, then))| (*bound, now - then));
    let (upto, count): (Vec<_>, f64) = (upto.collect(), after.count - before.count);
    (count > 0.0).then(|| Exported {
        batches: count as u64,
        mean: (after.sum_s - before.sum_s) / count * 1e3,
        p50: quantile_s(&upto, count, 0.5) * 1e3,
        p99: quantile_s(&upto, count, 0.99) * 1e3,
    })
}

/// The quantile by linear interpolation within its bucket; in the last, which has no end, its lower bound.
fn quantile_s(upto: &[(f64, f64)], count: f64, quantile: f64) -> f64 {
    let rank = quantile * count;
    let mut below = (0.0, 0.0);
    for &(bound, number) in upto {
        if number >= rank {
            let share = (rank - below.1) / (number - below.1).max(f64::MIN_POSITIVE);
            return if bound.is_finite() { below.0 + (bound - below.0) * share } else { below.0 };
        }
        below = (bound, number);
    }
    below.0
}

fn parse(page: &str) -> Option<Buckets> {
    let mut buckets = Buckets::default();
    for line in page.lines().filter_map(|line| line.strip_prefix(READ_TO_ACKNOWLEDGED)) {
        if let Some(rest) = line.strip_prefix("_bucket{le=\"") {
            let (bound, number) = rest.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            buckets.upto.push((bound, number.trim().parse().ok()?));
        } else if let Some(sum) = line.strip_prefix("_sum ") {
            buckets.sum_s = sum.trim().parse().ok()?;
        } else if let Some(count) = line.strip_prefix("_count ") {
            buckets.count = count.trim().parse().ok()?;
        }
    }
    (!buckets.upto.is_empty()).then_some(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u64; 3], sum: f64) -> String {
        let [a, b, c] = counts;
        let name = READ_TO_ACKNOWLEDGED;
        format!(
            "# TYPE {name} histogram\n{name}_sum {sum}\n{name}_count {c}\n{name}_bucket{{le=\"0.001\"}} {a}\n\
             {name}_bucket{{le=\"0.002\"}} {b}\n{name}_bucket{{le=\"+Inf\"}} {c}\n# EOF\n"
        )
    }

    #[test]
    fn two_pages_give_what_happened_between_them() {
        let exported = read_to_acknowledged(&page([5, 5, 5], 0.5), &page([5, 105, 105], 0.65)).unwrap();
        assert_eq!(exported.batches, 100);
        assert!((exported.mean - 1.5).abs() < 1e-9, "{exported:?}");
        assert!((exported.p50 - 1.5).abs() < 1e-9 && (exported.p99 - 1.99).abs() < 1e-9, "{exported:?}");
    }

    #[test]
    fn beyond_the_last_bound_only_the_bound_is_known() {
        let exported = read_to_acknowledged(&page([0, 0, 0], 0.0), &page([0, 0, 10], 9.0)).unwrap();
        assert_eq!((exported.p50, exported.p99), (2.0, 2.0));
    }

    #[test]
    fn an_agent_that_tells_nothing_or_did_nothing_has_no_such_stage() {
        assert_eq!(read_to_acknowledged("# EOF\n", "# EOF\n"), None);
        let same = page([1, 2, 3], 1.0);
        assert_eq!(read_to_acknowledged(&same, &same), None);
    }
}
