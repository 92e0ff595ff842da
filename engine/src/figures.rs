//! Figures for people: counts, sizes and times in as few characters as can be read at a glance.

use std::fmt::Write as _;
use std::time::Duration;

/// `1234567` as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes with three digits, in powers of 1000.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    // What would be rounded up to 1000 belongs to the next unit.
    while value >= 999.5 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let mut text = String::new();
    write!(text, "{value:.digits$} {}", UNITS[unit]).expect("a string takes everything");
    text
}

/// A rate as it comes from a difference: a whole number, and 0 for what is none.
#[must_use]
pub fn rate(per_second: f64) -> u64 {
    // The conversion saturates; what is no number becomes 0.
    per_second.round() as u64
}

/// A time in its two largest units from a minute on, and in milliseconds below a second.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.is_zero() => "0 s".to_owned(),
        0 if time < Duration::from_millis(10) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", (time.as_secs_f64() * 10.0).floor() / 10.0),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// [`span`] of seconds as an agent tells them; 0 for what is no time.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_every_border() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_995, "10.0 kB"),
            (99_949, "99.9 kB"),
            (99_950, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (24_681_357, "24.7 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn times_have_two_units_at_most() {
        let cases = [
            (0.0, "0 s"),
            (0.000_04, "0.0 ms"),
            (0.0012, "1.2 ms"),
            (0.25, "250 ms"),
            (59.99, "59.9 s"),
            (60.0, "1m 00s"),
            (3_599.0, "59m 59s"),
            (3_600.0, "1h 00m"),
            (90_000.0, "1d 01h"),
            (-1.0, "0 s"),
            (f64::NAN, "0 s"),
            (f64::INFINITY, "0 s"),
        ];
        for (time, text) in cases {
            assert_eq!(seconds(time), text, "{time}");
        }
    }

    #[test]
    fn what_is_no_rate_is_none() {
        let rates = [-1.0, f64::NAN, 0.4, 0.5, 1e30].map(rate);
        assert_eq!(rates, [0, 0, 0, 1, u64::MAX]);
    }
}
