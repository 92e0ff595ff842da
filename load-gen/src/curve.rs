//! A rate that changes over time, with the exact count of lines until any moment, and its inverse.
//!
//! The rate is a chain of straight lines, so the count is a chain of parabolas. Integer arithmetic
//! throughout: a run of weeks does not drift, and line 10^12 is as exact as line 1. Counts are kept in
//! *half nanolines* (`1 / 2e9` of a line): a nanosecond at one line a second is two of them, and the mean
//! of two rates needs no fraction. Nothing here knows a clock, or how a curve is written down.

/// A line, in the unit in which counts are kept.
pub const LINE: u128 = 2_000_000_000;

/// The highest rate: a line a nanosecond.
pub const PER_SECOND_MAX: u64 = 1_000_000_000;

/// The longest stretch of a changing rate, a little more than three days: its square must fit.
pub const SLOPE_NS_MAX: u64 = 1 << 48;

const _: () = assert!(
    (PER_SECOND_MAX as u128).ilog2() + 1 + 2 * SLOPE_NS_MAX.ilog2() < 127,
    "rate * time * time fits 128 bits, doubled"
);

/// A stretch of time in which the rate changes evenly, or not at all.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// How long, in nanoseconds; not 0.
    pub length_ns: u64,
    /// Lines a second at its beginning, at most [`PER_SECOND_MAX`].
    pub from: u64,
    /// Lines a second at its end, at most [`PER_SECOND_MAX`].
    pub to: u64,
}

/// What follows the last stretch.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Then {
    /// The last rate, for ever.
    Hold,
    /// The first stretch, and so on for ever.
    Repeat,
}

/// Why stretches make no curve.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CurveError {
    /// None were given, or one has no length.
    #[error("a stretch of no time")]
    Empty,
    /// A rate is too high.
    #[error("more than {PER_SECOND_MAX} lines a second")]
    TooFast,
    /// A slope is too long, or all together are.
    #[error("a rate that changes for more than three days: give a point between")]
    TooLong,
    /// The rate is 0 throughout.
    #[error("no line at all")]
    NoLines,
}

/// The curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Not empty. The last one of a curve that holds its rate has no end.
    pieces: Vec<Piece>,
    /// With [`Then::Repeat`]: the length of all pieces and what is due in them.
    cycle: Option<(u64, u128)>,
    /// How long the given stretches are together.
    length_ns: u64,
}

#[derive(Copy, Clone, Debug, PartialEq)]
struct Piece {
    stretch: Stretch,
    /// When it begins.
    begin_ns: u64,
    /// What is due before it begins.
    before: u128,
}

impl Curve {
    /// One rate for ever.
    ///
    /// # Errors
    /// When it is 0 or too high.
    pub fn constant(per_second: u64) -> Result<Curve, CurveError> {
        Curve::new(&[Stretch { length_ns: 1, from: per_second, to: per_second }], Then::Hold)
    }

    /// A curve of these stretches.
    ///
    /// # Errors
    /// When they cannot be counted exactly, or there is no line in them.
    pub fn new(stretches: &[Stretch], then: Then) -> Result<Curve, CurveError> {
        let (mut pieces, mut begin_ns, mut before) = (Vec::with_capacity(stretches.len() + 1), 0u64, 0u128);
        for stretch in stretches {
            match *stretch {
                Stretch { length_ns: 0, .. } => return Err(CurveError::Empty),
                Stretch { from, to, .. } if from.max(to) > PER_SECOND_MAX => return Err(CurveError::TooFast),
                Stretch { from, to, length_ns } if from != to && length_ns > SLOPE_NS_MAX => {
                    return Err(CurveError::TooLong);
                }
                _ => {}
            }
            pieces.push(Piece { stretch: *stretch, begin_ns, before });
            before += u128::from(stretch.from + stretch.to) * u128::from(stretch.length_ns);
            begin_ns = begin_ns.checked_add(stretch.length_ns).ok_or(CurveError::TooLong)?;
        }
        let last = stretches.last().ok_or(CurveError::Empty)?;
        let cycle = (then == Then::Repeat).then_some((begin_ns, before));
        if before == 0 && (then == Then::Repeat || last.to == 0) {
            return Err(CurveError::NoLines);
        }
        if then == Then::Hold {
            let stretch = Stretch { length_ns: u64::MAX - begin_ns, from: last.to, to: last.to };
            pieces.push(Piece { stretch, begin_ns, before });
        }
        // A single rate needs one piece, not two.
        if let [first, rest @ ..] = &pieces[..]
            && then == Then::Hold
            && rest
                .iter()
                .all(|piece| (piece.stretch.from, piece.stretch.to) == (first.stretch.to, first.stretch.to))
            && first.stretch.from == first.stretch.to
        {
            let stretch = Stretch { length_ns: u64::MAX, ..first.stretch };
            pieces = vec![Piece { stretch, ..*first }];
        }
        Ok(Curve { pieces, cycle, length_ns: begin_ns })
    }

    /// How long the given stretches are, in nanoseconds.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// The last nanosecond before which at most `place` (in [`LINE`]s) is due: when the line that stands
    /// there is due. `u64::MAX` if the curve ends before it.
    #[must_use]
    #[inline]
    pub fn time_of(&self, place: u128) -> u64 {
        match self.cycle {
            Some((cycle_ns, cycle)) if place >= cycle => {
                let whole = u64::try_from(place / cycle).unwrap_or(u64::MAX).saturating_mul(cycle_ns);
                whole.saturating_add(self.time_within(place % cycle))
            }
            _ => self.time_within(place),
        }
    }

    #[inline]
    fn time_within(&self, place: u128) -> u64 {
        let piece = match &self.pieces[..] {
            [only] => only,
            // The last piece that begins at or before the place: a stretch without lines is passed over.
            pieces => &pieces[pieces.partition_point(|piece| piece.before <= place) - 1],
        };
        piece.begin_ns.saturating_add(piece.time_of(place - piece.before))
    }

    /// How many lines are due `elapsed_ns` after the start: those with a due time of at most that.
    #[must_use]
    pub fn due(&self, elapsed_ns: u64) -> u64 {
        self.lines_before(elapsed_ns.saturating_add(1))
    }

    /// How many lines fall into the first `elapsed_ns`, the end excluded.
    #[must_use]
    pub fn lines_before(&self, elapsed_ns: u64) -> u64 {
        let (cycles, cycle, rest_ns) = match self.cycle {
            Some((cycle_ns, cycle)) => (elapsed_ns / cycle_ns, cycle, elapsed_ns % cycle_ns),
            None => (0, 0, elapsed_ns),
        };
        let piece = &self.pieces[self.pieces.partition_point(|piece| piece.begin_ns <= rest_ns) - 1];
        let (within, more) = piece.due(rest_ns - piece.begin_ns);
        let count = cycle.saturating_mul(u128::from(cycles)).saturating_add(piece.before + within);
        let lines = if more { count / LINE + 1 } else { count.div_ceil(LINE) };
        u64::try_from(lines).unwrap_or(u64::MAX)
    }
}

impl Piece {
    /// What is due within the first `x` nanoseconds, multiplied by the piece's length (only for slopes).
    fn scaled(&self, x: u64) -> u128 {
        let Stretch { length_ns, from, to } = self.stretch;
        let (x, from, to) = (u128::from(x), u128::from(from), u128::from(to));
        from * x * (2 * u128::from(length_ns) - x) + to * x * x
    }

    /// What is due within the first `x` nanoseconds, rounded down, and whether there is a fraction more.
    fn due(&self, x: u64) -> (u128, bool) {
        let Stretch { length_ns, from, to } = self.stretch;
        if from == to {
            return (2 * u128::from(from) * u128::from(x), false);
        }
        let scaled = self.scaled(x);
        (scaled / u128::from(length_ns), !scaled.is_multiple_of(u128::from(length_ns)))
    }

    /// The largest time within the piece until which at most `place` is due.
    #[inline]
    fn time_of(&self, place: u128) -> u64 {
        let Stretch { length_ns, from, to } = self.stretch;
        if from != to {
            return self.time_on_slope(place);
        }
        match u64::try_from(place) {
            _ if from == 0 => length_ns,
            // Nearly always; the division of 128 bits is several times slower.
            Ok(place) => place / (2 * from),
            Err(_) => u64::try_from(place / (2 * u128::from(from))).unwrap_or(u64::MAX),
        }
    }

    /// Solves the parabola in floating point, then makes the answer exact.
    fn time_on_slope(&self, place: u128) -> u64 {
        let Stretch { length_ns, from, to } = self.stretch;
        let limit = place.saturating_mul(u128::from(length_ns));
        let fits = |x: u64| x <= length_ns && self.scaled(x) <= limit;
        let (from, change, half) = (from as f64, to as f64 - from as f64, place as f64 / 2.0);
        let root = (from * from + 2.0 * change * half / length_ns as f64).max(0.0).sqrt();
        let guess = if from + root > 0.0 { (2.0 * half / (from + root)) as u64 } else { 0 };
        let (mut low, mut high) = bracket(guess.min(length_ns), fits);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Two times, the lower of which fits and the higher not, found in growing steps from a guess. 0 fits.
fn bracket(guess: u64, fits: impl Fn(u64) -> bool) -> (u64, u64) {
    let mut step = 1;
    if fits(guess) {
        let (mut low, mut high) = (guess, guess + 1);
        while fits(high) {
            (low, high) = (high, high + step);
            step *= 2;
        }
        return (low, high);
    }
    let (mut low, mut high) = (guess - 1, guess);
    while !fits(low) {
        (low, high) = (low.saturating_sub(step), low);
        step *= 2;
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn due_at(curve: &Curve, line: u64) -> u64 {
        curve.time_of(u128::from(line) * LINE)
    }

    fn slope(from: u64, to: u64, seconds: u64) -> Stretch {
        Stretch { length_ns: seconds * SECOND_NS, from, to }
    }

    #[test]
    fn the_first_line_is_due_at_once_and_the_next_a_period_later() {
        let curve = Curve::constant(3).unwrap();
        assert_eq!([0, 1, 2, 3].map(|i| due_at(&curve, i)), [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!([0, 333_333_332, 333_333_333].map(|t| curve.due(t)), [1, 1, 2]);
        assert_eq!([0, 1, 10 * SECOND_NS].map(|t| curve.lines_before(t)), [0, 1, 30]);
    }

    #[test]
    fn a_slope_holds_the_mean_of_its_rates_and_is_followed_by_its_end() {
        let curve = Curve::new(&[slope(0, 100, 10)], Then::Hold).unwrap();
        assert_eq!(curve.lines_before(10 * SECOND_NS), 500);
        assert_eq!(curve.lines_before(11 * SECOND_NS), 600);
        assert_eq!(due_at(&curve, 125), 5 * SECOND_NS, "a quarter of the lines in half of the time");
        let down = Curve::new(&[slope(100, 0, 10)], Then::Hold).unwrap();
        assert_eq!(due_at(&down, 375), 5 * SECOND_NS);
        assert_eq!([499, 500].map(|line| due_at(&down, line) < u64::MAX), [true, false], "no line after it");
        assert_eq!(down.lines_before(u64::MAX), 500);
    }

    #[test]
    fn a_repeated_day_is_as_exact_after_a_year() {
        let hours = [slope(100, 0, 43_200), slope(0, 101, 43_200)];
        let curve = Curve::new(&hours, Then::Repeat).unwrap();
        let (day_ns, a_day) = (86_400 * SECOND_NS, 201 * 43_200 / 2);
        assert_eq!(curve.lines_before(365 * day_ns), 365 * a_day);
        assert_eq!(due_at(&curve, 365 * a_day), 365 * day_ns);
    }

    #[test]
    fn a_stretch_without_lines_is_waited_for() {
        let curve = Curve::new(&[slope(0, 0, 5), slope(10, 10, 1)], Then::Repeat).unwrap();
        assert_eq!([0, 9, 10].map(|i| due_at(&curve, i)), [5_000_000_000, 5_900_000_000, 11_000_000_000]);
    }

    #[test]
    fn impossible_curves_are_refused() {
        let refused = |stretches: &[Stretch], then| Curve::new(stretches, then).unwrap_err();
        assert_eq!(refused(&[], Then::Hold), CurveError::Empty);
        assert_eq!(refused(&[slope(1, 1, 0)], Then::Hold), CurveError::Empty);
        assert_eq!(refused(&[slope(0, 0, 1)], Then::Repeat), CurveError::NoLines);
        assert_eq!(refused(&[slope(1, PER_SECOND_MAX + 1, 1)], Then::Hold), CurveError::TooFast);
        assert_eq!(refused(&[slope(1, 2, 300_000)], Then::Hold), CurveError::TooLong);
        assert_eq!(Curve::constant(0), Err(CurveError::NoLines));
    }

    fn rate() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 1..100u64, 1..3_000_000u64, Just(PER_SECOND_MAX)]
    }

    fn stretch() -> impl Strategy<Value = Stretch> {
        let length_ns = prop_oneof![1..1000u64, 1..100 * SECOND_NS, Just(SLOPE_NS_MAX)];
        (length_ns, rate(), rate(), any::<bool>()).prop_map(|(length_ns, from, to, steady)| Stretch {
            length_ns,
            from,
            to: if steady { from } else { to },
        })
    }

    fn curve() -> impl Strategy<Value = Curve> {
        (prop::collection::vec(stretch(), 1..6), prop_oneof![Just(Then::Hold), Just(Then::Repeat)])
            .prop_filter_map("no line", |(stretches, then)| Curve::new(&stretches, then).ok())
    }

    proptest! {
        #[test]
        fn the_due_time_is_the_inverse_of_the_count(
            curve in curve(), line in prop_oneof![0..100u64, 0..1u64 << 40],
        ) {
            let due_at = due_at(&curve, line);
            if due_at < u64::MAX {
                prop_assert!(curve.due(due_at) > line, "it is due at its time");
                prop_assert!(due_at == 0 || curve.due(due_at - 1) <= line, "and not before");
            } else {
                prop_assert!(curve.lines_before(u64::MAX) <= line.saturating_add(1));
            }
        }

        #[test]
        fn the_count_is_that_of_the_due_times(curve in curve(), elapsed in 0..1u64 << 50) {
            let due = curve.due(elapsed);
            prop_assume!(due < u64::MAX);
            prop_assert!(due == 0 || due_at(&curve, due - 1) <= elapsed);
            prop_assert!(due_at(&curve, due) > elapsed);
        }

        #[test]
        fn time_never_goes_back(curve in curve(), line in 0..1u64 << 40, places in 0..1u128 << 60) {
            let place = u128::from(line) * LINE;
            prop_assert!(curve.time_of(place) <= curve.time_of(place + places));
        }
    }
}
