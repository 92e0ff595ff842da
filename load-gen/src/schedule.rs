//! When each line of a run is due: fixed before the first one is written.
//!
//! A [`Schedule`] is a [`Curve`] and how lines keep to it: line `i` where the curve has counted to `i`, or
//! as the points of a Poisson process that the curve warps. [`Arrivals`] are its due times in order; who
//! is slow does not change them. Nothing here knows a clock: the caller says how much time has passed.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::curve::{Curve, CurveError, LINE, PER_SECOND_MAX, Stretch, Then};
use crate::random::Random;

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// How fast lines come.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// By a schedule fixed in advance.
    Scheduled(Schedule),
    /// As fast as they can be written; a line is due when it is written.
    Max,
    /// As far apart as the lines of the replayed log were, divided by this factor.
    AsLogged(f64),
}

/// How lines keep to a curve.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Spacing {
    /// As evenly as nanoseconds allow.
    Even,
    /// Each independently of the others, as many clients together do.
    Poisson,
}

/// When lines are due.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    curve: Curve,
    spacing: Spacing,
    /// Whether the curve begins at midnight (UTC) and not with the run.
    follows_day: bool,
    /// Whether the run is over when the curve is.
    ends: bool,
}

/// The ways to write a rate, for messages.
const SHAPES: &str = "`20000`, `max`, `steps:1000x10s,5000x10s`, `ramp:1000..50000/60s`, \
                      `bursts:1000,50000x200ms/5s`, `curve:FILE`, `poisson:` and any of these but `max`";

impl Rate {
    /// Reads a rate as it is typed. A curve's file is read, too.
    ///
    /// # Errors
    /// In words, when it is none, is impossible, or the file cannot be read.
    pub fn parse(text: &str) -> Result<Rate, String> {
        match text {
            "max" => Ok(Rate::Max),
            _ => Schedule::parse(text).map(Rate::Scheduled),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Scheduled(schedule) => f.write_str(&schedule.text),
            Rate::Max => f.write_str("max"),
            Rate::AsLogged(speed) => write!(f, "as logged, {speed} times as fast"),
        }
    }
}

impl Schedule {
    /// Reads anything that [`Rate::parse`] reads but `max`.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let (spacing, shape) = match text.strip_prefix("poisson:") {
            Some(shape) => (Spacing::Poisson, shape),
            None => (Spacing::Even, text),
        };
        let impossible = |error: CurveError| format!("`{shape}`: {error}");
        let mut schedule = Schedule {
            text: text.into(),
            curve: Curve::constant(1).map_err(impossible)?,
            spacing,
            follows_day: false,
            ends: false,
        };
        schedule.curve = match shape.split_once(':') {
            None => Curve::constant(rate(shape)?).map_err(impossible)?,
            Some(("steps", steps)) => {
                schedule.ends = true;
                let steps: Vec<Stretch> = steps.split(',').map(step).collect::<Result<_, _>>()?;
                Curve::new(&steps, Then::Hold).map_err(impossible)?
            }
            Some(("ramp", ramp)) => {
                schedule.ends = true;
                Curve::new(&[slope(ramp)?], Then::Hold).map_err(impossible)?
            }
            Some(("bursts", bursts)) => Curve::new(&burst(bursts)?, Then::Repeat).map_err(impossible)?,
            Some(("curve", file)) => {
                let (curve, follows_day) = read_curve(Path::new(file))?;
                (schedule.follows_day, schedule.ends) = (follows_day, !follows_day);
                curve
            }
            Some(_) => return Err(format!("`{text}` is no rate; try {SHAPES}")),
        };
        Ok(schedule)
    }

    /// How long the run is by itself, if the schedule has an end.
    #[must_use]
    pub fn length(&self) -> Option<Duration> {
        self.ends.then(|| Duration::from_nanos(self.curve.length_ns()))
    }

    /// How much of the curve has passed when a run starts at this moment.
    fn skipped_ns(&self, start_ns: u64) -> u64 {
        if self.follows_day { start_ns % DAY_NS } else { 0 }
    }

    /// How many lines are due within the first `length_ns` of a run that starts at `start_ns` (since the
    /// Unix epoch); only about, if they are not evenly spaced.
    #[must_use]
    pub fn lines_before(&self, start_ns: u64, length_ns: u64) -> u64 {
        let skipped_ns = self.skipped_ns(start_ns);
        self.curve.lines_before(skipped_ns.saturating_add(length_ns)) - self.curve.lines_before(skipped_ns)
    }

    /// The due times of a run that starts at `start_ns`, since the Unix epoch.
    #[must_use]
    pub fn arrivals(&self, seed: u64, start_ns: u64) -> Arrivals {
        let skipped_ns = self.skipped_ns(start_ns);
        let mut arrivals = Arrivals {
            curve: self.curve.clone(),
            skipped_ns,
            place: u128::from(self.curve.lines_before(skipped_ns)) * LINE,
            random: (self.spacing == Spacing::Poisson).then(|| Random::new(seed)),
            next_due_ns: 0,
        };
        if arrivals.random.is_some() {
            arrivals.place += arrivals.gap();
        }
        arrivals.look();
        arrivals
    }
}

/// Due times in order, in nanoseconds since the start of the run.
#[derive(Clone, Debug)]
pub struct Arrivals {
    curve: Curve,
    skipped_ns: u64,
    /// Of the next line, on the curve.
    place: u128,
    /// For lines that keep their distances by chance.
    random: Option<Random>,
    next_due_ns: u64,
}

impl Arrivals {
    /// When the next line is due; `u64::MAX` if there is none.
    #[must_use]
    #[inline]
    pub fn next_due_ns(&self) -> u64 {
        self.next_due_ns
    }

    /// Appends the due times of at most so many lines that are due by then.
    pub fn take_due(&mut self, by_ns: u64, lines_max: usize, due: &mut Vec<u64>) {
        for _ in 0..lines_max {
            if self.next_due_ns > by_ns || self.next_due_ns == u64::MAX {
                return;
            }
            due.push(self.next_due_ns);
            self.place += self.gap();
            self.look();
        }
    }

    #[inline]
    fn look(&mut self) {
        let at = self.curve.time_of(self.place);
        self.next_due_ns = if at == u64::MAX { u64::MAX } else { at - self.skipped_ns };
    }

    /// From a line to the next, as the curve counts. In a Poisson process that warps to a constant rate of
    /// one, distances are exponentially distributed with mean one.
    #[inline]
    fn gap(&mut self) -> u128 {
        match &mut self.random {
            None => LINE,
            Some(random) => (-random.unit().ln() * LINE as f64) as u128,
        }
    }
}

fn rate(text: &str) -> Result<u64, String> {
    match text.trim().parse() {
        Ok(rate @ 0..=PER_SECOND_MAX) => Ok(rate),
        Ok(_) => Err(format!("`{text}`: {}", CurveError::TooFast)),
        Err(_) => Err(format!("`{text}` is no number of lines a second; a rate is {SHAPES}")),
    }
}

fn length_ns(text: &str) -> Result<u64, String> {
    let length = humantime::parse_duration(text.trim()).map_err(|error| format!("`{text}`: {error}"))?;
    u64::try_from(length.as_nanos()).map_err(|_| format!("`{text}` is too long"))
}

/// Reads `1000x10s`.
fn step(text: &str) -> Result<Stretch, String> {
    let (per_second, length) =
        text.split_once('x').ok_or_else(|| format!("`{text}` is not like `1000x10s`"))?;
    let per_second = rate(per_second)?;
    Ok(Stretch { length_ns: length_ns(length)?, from: per_second, to: per_second })
}

/// Reads `1000..50000/60s`.
fn slope(text: &str) -> Result<Stretch, String> {
    let parts = text.split_once('/').and_then(|(rates, length)| Some((rates.split_once("..")?, length)));
    let ((from, to), length) = parts.ok_or_else(|| format!("`{text}` is not like `1000..50000/60s`"))?;
    Ok(Stretch { length_ns: length_ns(length)?, from: rate(from)?, to: rate(to)? })
}

/// Reads `1000,50000x200ms/5s`: the quiet part, then the burst.
fn burst(text: &str) -> Result<[Stretch; 2], String> {
    let parts = text.split_once(',').and_then(|(quiet, burst)| Some((quiet, burst.split_once('/')?)));
    let (quiet, (burst, period)) =
        parts.ok_or_else(|| format!("`{text}` is not like `1000,50000x200ms/5s`"))?;
    let (quiet, burst, period_ns) = (rate(quiet)?, step(burst)?, length_ns(period)?);
    let quiet_ns = period_ns.checked_sub(burst.length_ns).filter(|ns| *ns > 0);
    let length_ns = quiet_ns.ok_or_else(|| format!("`{text}`: the burst is as long as its period"))?;
    Ok([Stretch { length_ns, from: quiet, to: quiet }, burst])
}

/// Reads the points of a curve, one a line: a time of day (`06:30`) or a distance from the start
/// (`90s`), a blank, lines a second. Whether it follows the time of day comes with it.
fn read_curve(file: &Path) -> Result<(Curve, bool), String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read curve {shown}: {error}"))?;
    let mut points: Vec<(u64, u64)> = Vec::new();
    let mut of_day = None;
    for (at, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |reason: String| format!("{shown}:{at}: {reason}");
        let (time, per_second) = line
            .split_once(|mark: char| mark.is_whitespace() || mark == ',')
            .ok_or_else(|| wrong(format!("`{line}` is not like `06:30 1000` or `90s 1000`")))?;
        let (clock, distance) = (time_of_day_ns(time), length_ns(time));
        let time_ns = clock.or(distance.as_ref().ok().copied());
        let time_ns = time_ns.ok_or_else(|| wrong(format!("`{time}` is not like `06:30` or `90s`")))?;
        if *of_day.get_or_insert(clock.is_some()) != clock.is_some() {
            return Err(wrong("times of day and distances from the start do not mix".into()));
        }
        if points.last().is_some_and(|(before_ns, _)| *before_ns >= time_ns) {
            return Err(wrong(format!("`{time}` is not after the time before it")));
        }
        points.push((time_ns, rate(per_second).map_err(wrong)?));
    }
    let of_day = of_day.ok_or_else(|| format!("curve {shown} has no points"))?;
    curve_of(&points, of_day).map(|curve| (curve, of_day)).map_err(|error| format!("curve {shown}: {error}"))
}

fn curve_of(points: &[(u64, u64)], of_day: bool) -> Result<Curve, CurveError> {
    let (first, last) = (points[0], points[points.len() - 1]);
    let mut chain = points.to_vec();
    if of_day {
        // Midnight lies on the line from the last point to the first of the next day.
        let gap_ns = u128::from(first.0 + DAY_NS - last.0);
        let share = |rate: u64, ns: u64| u128::from(rate) * u128::from(ns);
        let midnight = (share(last.1, first.0) + share(first.1, DAY_NS - last.0)) / gap_ns;
        if first.0 > 0 {
            chain.insert(0, (0, midnight as u64));
        }
        chain.push((DAY_NS, midnight as u64));
    } else if first.0 > 0 {
        chain.insert(0, (0, first.1));
    }
    let mut stretches: Vec<Stretch> = chain
        .windows(2)
        .map(|pair| Stretch { length_ns: pair[1].0 - pair[0].0, from: pair[0].1, to: pair[1].1 })
        .collect();
    if stretches.is_empty() {
        stretches.push(Stretch { length_ns: 1, from: first.1, to: first.1 });
    }
    Curve::new(&stretches, if of_day { Then::Repeat } else { Then::Hold })
}

/// Reads `06:30` or `06:30:15`.
fn time_of_day_ns(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts[..] {
        [hour @ 0..24, minute @ 0..60] => Some((hour * 3600 + minute * 60) * SECOND_NS),
        [hour @ 0..24, minute @ 0..60, second @ 0..60] => {
            Some((hour * 3600 + minute * 60 + second) * SECOND_NS)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
