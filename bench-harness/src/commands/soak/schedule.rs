//! What happens when in a soak: a list that length and seed decide, made before anything starts.
//!
//! A soak is a row of cycles. Each begins with a storm, in which the agent is killed, stopped and started again every
//! few seconds, sometimes while the broker is away; the rest is one long life, in which memory and descriptors can
//! be judged: the broker is killed and comes back, and the configuration is loaded again and again. The first outage of
//! a long life is its longest, so that memory has been as full as it will be before it is judged.

use std::time::Duration;

use serde::Serialize;

use crate::stats::Rng;

/// Something that is done to the agent or the broker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// SIGKILL, and started again.
    Kill,
    /// SIGTERM, waited for, and started again.
    Restart,
    /// The broker is killed and comes back.
    Bounce { away_ms: u64 },
    /// The broker is killed, then the agent, which is started again before the broker is back.
    KillWhileAway { away_ms: u64 },
    /// SIGHUP, with a configuration that was changed.
    ReloadChanged,
    /// SIGHUP, with the same configuration.
    ReloadUnchanged,
    /// SIGHUP, with what is no configuration.
    ReloadInvalid,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Due {
    /// Since the start of the soak. What comes before it may take longer; then it comes at once.
    pub(super) at: Duration,
    pub(super) event: Event,
}

/// Cycles are about this long, in a soak that has room for three of them.
const CYCLE_MAX: Duration = Duration::from_secs(600);
/// A soak of less than two of these has one cycle.
const CYCLE_MIN: Duration = Duration::from_secs(60);

const RELOADS: [Event; 3] = [Event::ReloadChanged, Event::ReloadUnchanged, Event::ReloadInvalid];

pub(super) fn plan(length: Duration, seed: u64) -> Vec<Due> {
    let mut rng = Rng::seeded(seed);
    let wanted = (length / 3).clamp(CYCLE_MIN, CYCLE_MAX);
    let cycles = ((length.as_secs_f64() / wanted.as_secs_f64()).round() as u32).max(1);
    let cycle = length / cycles;
    (0..cycles).flat_map(|index| self::cycle(cycle * index, cycle, &mut rng)).collect()
}

fn cycle(start: Duration, length: Duration, rng: &mut Rng) -> Vec<Due> {
    let long = length >= CYCLE_MIN;
    let storm = (length / 4).min(Duration::from_secs(60));
    let mut dues = storm_of(start, storm, long, rng);
    let (calm, end) = (start + storm, start + length);
    dues.extend(outages(calm + ms(500), end, long, rng));
    dues.extend(reloads(calm + ms(1000), end, long, rng));
    dues.sort_by_key(|due| due.at);
    dues
}

fn storm_of(start: Duration, length: Duration, long: bool, rng: &mut Rng) -> Vec<Due> {
    let mut dues = Vec::new();
    let mut at = start;
    loop {
        at += between(rng, 1000, 3000);
        if at >= start + length {
            return dues;
        }
        let event = match rng.below(6) {
            0 if long => Event::KillWhileAway { away_ms: between(rng, 500, 3000).as_millis() as u64 },
            1 if long => Event::Restart,
            _ => Event::Kill,
        };
        dues.push(Due { at, event });
    }
}

fn outages(from: Duration, end: Duration, long: bool, rng: &mut Rng) -> Vec<Due> {
    let longest_ms = if long { 8000 } else { 1500 };
    let mut dues = vec![Due { at: from, event: Event::Bounce { away_ms: longest_ms } }];
    loop {
        let at = dues[dues.len() - 1].at + between(rng, 60_000, 120_000);
        // What comes at the very end would be judged without what follows from it.
        if at + Duration::from_secs(20) > end {
            return dues;
        }
        let away_ms = between(rng, 500, longest_ms / 2).as_millis() as u64;
        dues.push(Due { at, event: Event::Bounce { away_ms } });
    }
}

fn reloads(from: Duration, end: Duration, long: bool, rng: &mut Rng) -> Vec<Due> {
    let longest_ms = if long { 12_000 } else { 2000 };
    let first = rng.below(3) as usize;
    let mut dues = Vec::new();
    let mut at = from;
    loop {
        at += between(rng, longest_ms / 4, longest_ms);
        if at + Duration::from_secs(1) > end {
            return dues;
        }
        // The first three are one of each.
        let which = if dues.len() < 3 { first + dues.len() } else { rng.below(3) as usize };
        dues.push(Due { at, event: RELOADS[which % 3] });
    }
}

fn between(rng: &mut Rng, low_ms: u64, high_ms: u64) -> Duration {
    ms(low_ms + rng.below(high_ms - low_ms + 1))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dues: &[Due], wanted: impl Fn(&Event) -> bool) -> usize {
        dues.iter().filter(|due| wanted(&due.event)).count()
    }

    #[test]
    fn length_and_seed_decide_and_nothing_else() {
        let hour = Duration::from_secs(3600);
        assert_eq!(plan(hour, 1), plan(hour, 1));
        assert_ne!(plan(hour, 1), plan(hour, 2));
    }

    #[test]
    fn a_soak_of_any_length_has_everything_that_is_asked_for() {
        for seconds in [20, 30, 300, 3600, 36_000] {
            let length = Duration::from_secs(seconds);
            for seed in 0..100 {
                let dues = plan(length, seed);
                assert!(dues.windows(2).all(|pair| pair[0].at <= pair[1].at), "{seconds} {seed}");
                assert!(dues.iter().all(|due| due.at < length), "{seconds} {seed}");
                assert!(count(&dues, |event| *event == Event::Kill) > 0, "{seconds} {seed}");
                assert!(count(&dues, |event| matches!(event, Event::Bounce { .. })) > 0);
                for reload in RELOADS {
                    assert!(count(&dues, |event| *event == reload) > 0, "{seconds} {seed} {reload:?}");
                }
            }
        }
    }

    #[test]
    fn an_hour_has_six_long_lives_and_the_first_outage_of_each_is_the_longest() {
        let hour = Duration::from_secs(3600);
        let dues = plan(hour, 1);
        let mut lives = 0;
        let mut since = Duration::ZERO;
        for due in dues.iter().chain([&Due { at: hour, event: Event::Kill }]) {
            if matches!(due.event, Event::Kill | Event::Restart | Event::KillWhileAway { .. }) {
                let life = due.at - since;
                if life > Duration::from_secs(300) {
                    lives += 1;
                    let within = dues.iter().filter(|other| other.at > since && other.at < due.at);
                    let outages = within.filter_map(|other| match other.event {
                        Event::Bounce { away_ms } => Some(away_ms),
                        _ => None,
                    });
                    let outages: Vec<u64> = outages.collect();
                    assert!(outages.len() > 3 && outages[1..].iter().all(|away| *away < outages[0]));
                }
                since = due.at;
            }
        }
        assert_eq!(lives, 6);
        assert!(count(&dues, |event| *event == Event::Kill) > 60);
        assert!(count(&dues, |event| matches!(event, Event::KillWhileAway { .. })) > 5);
        assert!(count(&dues, |event| *event == Event::Restart) > 5);
    }
}
