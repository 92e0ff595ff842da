//! Durations and sizes as people write them: `"5ms"`, `"1h 30m"`, `"64MiB"`, `"1MB"`, `4096`.
//!
//! Not a general unit library: a duration always carries its unit, since a bare number once meant
//! seconds here and milliseconds there; a size without one is bytes, since nothing else could be meant.
//! Decimal and binary prefixes differ as the standards say: 1 MB is 1,000,000 bytes, 1 MiB 1,048,576.

use std::time::Duration;

/// The prefixes that a size may carry, largest first, so that printing finds the shortest form.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a size; the error says what is wrong with it.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("{text:?} is not a size; write a whole number and a unit, like \"64MiB\""));
    }
    let unit = unit.trim_start();
    let factor = match unit {
        "" => 1,
        "KB" => 1_000,
        _ => match SIZES.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None => return Err(format!("{text:?} has an unknown unit; allowed: {}", size_units())),
        },
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is too large"))
}

fn size_units() -> String {
    let mut names: Vec<&str> = SIZES.iter().map(|(name, _)| *name).collect();
    names.reverse();
    names.join(", ")
}

/// A size in the shortest exact form that [`parse_size`] reads back.
pub(crate) fn size(bytes: u64) -> String {
    let (name, factor) = SIZES
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{name}", bytes / factor)
}

/// Reads a duration; the error says what is wrong with it.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text != "0" {
        return Err(format!("{text:?} needs a unit, like \"{text}ms\" or \"{text}s\""));
    }
    humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is not a duration; write it like \"500us\", \"5ms\", \"2m\", \"1h 30m\"")
    })
}

/// A duration in a form that [`parse_duration`] reads back.
pub(crate) fn duration(value: Duration) -> String {
    humantime::format_duration(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_decimal_or_binary_as_their_unit_says() {
        let mut shown = String::new();
        for text in [
            "0",
            "4096",
            "1B",
            "1kB",
            "1KB",
            "60KiB",
            "1MB",
            "64MiB",
            "2 GiB",
            "1TB",
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "1M",
            "1mb",
            "1 MiB extra",
            "18446744073709551616",
            "18446744073709551615kB",
            "١",
        ] {
            shown += &match parse_size(text) {
                Ok(bytes) => format!("{text:?} = {bytes} = {}\n", size(bytes)),
                Err(why) => format!("{text:?}: {why}\n"),
            };
        }
        expect![[r#"
            "0" = 0 = 0B
            "4096" = 4096 = 4KiB
            "1B" = 1 = 1B
            "1kB" = 1000 = 1kB
            "1KB" = 1000 = 1kB
            "60KiB" = 61440 = 60KiB
            "1MB" = 1000000 = 1MB
            "64MiB" = 67108864 = 64MiB
            "2 GiB" = 2147483648 = 2GiB
            "1TB" = 1000000000000 = 1TB
            "": "" is not a size; write a whole number and a unit, like "64MiB"
            "MiB": "MiB" is not a size; write a whole number and a unit, like "64MiB"
            "-1": "-1" is not a size; write a whole number and a unit, like "64MiB"
            "1.5MiB": "1.5MiB" has an unknown unit; allowed: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
            "1M": "1M" has an unknown unit; allowed: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
            "1mb": "1mb" has an unknown unit; allowed: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
            "1 MiB extra": "1 MiB extra" has an unknown unit; allowed: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB
            "18446744073709551616": "18446744073709551616" is too large
            "18446744073709551615kB": "18446744073709551615kB" is too large
            "١": "١" is not a size; write a whole number and a unit, like "64MiB"
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn durations_carry_their_unit() {
        let mut shown = String::new();
        for text in [
            "0",
            "0s",
            "500us",
            "5ms",
            "2m",
            "1h 30m",
            "1h30m",
            "7d",
            "5",
            "",
            "s",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
            "1.5s",
        ] {
            shown += &match parse_duration(text) {
                Ok(value) => format!("{text:?} = {value:?} = {}\n", duration(value)),
                Err(why) => format!("{text:?}: {why}\n"),
            };
        }
        expect![[r#"
            "0" = 0ns = 0s
            "0s" = 0ns = 0s
            "500us" = 500µs = 500us
            "5ms" = 5ms = 5ms
            "2m" = 120s = 2m
            "1h 30m" = 5400s = 1h 30m
            "1h30m" = 5400s = 1h 30m
            "7d" = 604800s = 7days
            "5": "5" needs a unit, like "5ms" or "5s"
            "": "" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "s": "s" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "-1s": "-1s" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "5 parsecs": "5 parsecs" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "99999999999999999999s": "99999999999999999999s" is not a duration; write it like "500us", "5ms", "2m", "1h 30m"
            "1.5s" = 1.5s = 1s 500ms
        "#]].assert_eq(&shown);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes: u64, nanos: u64) {
            prop_assert_eq!(parse_size(&size(bytes)), Ok(bytes));
            let value = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&duration(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
