//! Shapes as they are typed, and the due times that they mean.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// How many lines are due in each second of a run.
fn by_second(schedule: &Schedule, start_ns: u64, seconds: u64) -> Vec<usize> {
    let mut arrivals = schedule.arrivals(1, start_ns);
    (1..=seconds)
        .map(|second| {
            let mut due = Vec::new();
            arrivals.take_due(second * SECOND_NS - 1, usize::MAX, &mut due);
            assert!(due.iter().all(|due| due / SECOND_NS == second - 1));
            due.len()
        })
        .collect()
}

fn curve_file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let typed = format!("curve:{}", file.path().display());
    (file, typed)
}

#[test]
fn every_shape_has_its_lines_in_its_seconds() {
    for (text, expected) in [
        ("20", vec![20, 20, 20, 20]),
        ("steps:10x1s,30x2s", vec![10, 30, 30, 30]),
        ("ramp:0..40/2s", vec![10, 30, 40, 40]),
        ("ramp:40..0/2s", vec![30, 10, 0, 0]),
        ("bursts:0,100x500ms/2s", vec![0, 50, 0, 50]),
    ] {
        assert_eq!(by_second(&schedule(text), 0, 4), expected, "{text}");
    }
}

#[test]
fn schedules_with_an_end_know_it() {
    let length = |text: &str| schedule(text).length();
    assert_eq!(length("steps:10x1s,30x2s"), Some(Duration::from_secs(3)));
    assert_eq!(length("poisson:ramp:1..2/1m"), Some(Duration::from_secs(60)));
    assert_eq!([length("20"), length("bursts:0,100x500ms/2s")], [None, None]);
}

#[test]
fn a_curve_of_distances_begins_with_its_first_rate_and_ends_with_its_last() {
    let (_file, typed) = curve_file("# a launch\n1s 10\n\n3s, 30 # at noon\n");
    assert_eq!(by_second(&schedule(&typed), 1_795_379_466_000_000_000, 5), [10, 15, 25, 30, 30]);
    assert_eq!(schedule(&typed).length(), Some(Duration::from_secs(3)));
}

#[test]
fn a_curve_of_a_day_follows_the_clock_through_midnight() {
    let (_file, typed) = curve_file("06:00 0\n18:00 86400\n");
    let day = schedule(&typed);
    let hours = |hour: u64, count: u64| day.lines_before(hour * 3600 * SECOND_NS, count * 3600 * SECOND_NS);
    assert_eq!(hours(0, 24), 86_400 / 2 * 86_400);
    assert_eq!(hours(18, 12), hours(6, 12), "falling and rising are alike");
    assert_eq!(hours(0, 48), 2 * hours(13, 24), "wherever a day begins");
    // At midnight the rate is halfway down.
    let second = by_second(&day, 20_000 * DAY_NS, 1)[0];
    assert!((43_198..=43_200).contains(&second), "{second}");
    assert_eq!(day.arrivals(1, 5 * DAY_NS).next_due_ns(), 0);
}

#[test]
fn what_is_no_rate_is_refused_in_words() {
    for wrong in [
        "",
        "0",
        "-1",
        "fast",
        "1000000001",
        "10:30",
        "steps:",
        "steps:10",
        "steps:10x",
        "steps:10x0s",
        "steps:0x10s",
        "ramp:1..2",
        "ramp:1/10s",
        "ramp:1..2000000000/10s",
        "ramp:1..2/10d",
        "bursts:1,2x3s",
        "bursts:1,2x3s/3s",
        "curve:",
        "curve:/no/such/file",
        "poisson:max",
        "poisson:poisson:5",
        "max:5",
    ] {
        let refused = Rate::parse(wrong).expect_err(wrong);
        assert!(!refused.contains('\n') && !refused.is_empty(), "{wrong}: {refused}");
    }
    for (text, reason) in [
        ("6:30 1\n90s 5", "2: times of day"),
        ("5s 1\n5s 2", "2: `5s` is not after"),
        ("", "has no points"),
        ("10s", "1: `10s` is not like"),
        ("25:00 7", "1: `25:00` is not like"),
        ("5s 1\n6s many", "2: `many` is no number"),
        ("00:00 0", "no line at all"),
    ] {
        let (_file, typed) = curve_file(text);
        let refused = Schedule::parse(&typed).expect_err(text);
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn a_rate_is_shown_as_it_was_typed() {
    for text in ["max", "20000", "poisson:20000", "ramp:1..2/60s"] {
        assert_eq!(Rate::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn poisson_arrivals_have_the_rate_the_variance_and_the_independence_of_their_name() {
    let counts = by_second(&schedule("poisson:100"), 0, 10_000);
    let mean = counts.iter().sum::<usize>() as f64 / 1e4;
    let deviations: Vec<f64> = counts.iter().map(|count| *count as f64 - mean).collect();
    let variance = deviations.iter().map(|d| d * d).sum::<f64>() / 1e4;
    let covariance = deviations.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / 1e4;
    assert!((mean - 100.0).abs() < 0.5, "mean {mean}");
    assert!((variance - 100.0).abs() < 5.0, "variance {variance}");
    assert!(covariance.abs() < 4.0, "covariance of neighbours {covariance}");
    assert_eq!(counts, by_second(&schedule("poisson:100"), 0, 10_000), "the same seed, the same times");
    let mut other = schedule("poisson:100").arrivals(2, 0);
    let mut due = Vec::new();
    other.take_due(SECOND_NS, usize::MAX, &mut due);
    assert_ne!(due.len(), 0);
    assert_ne!(schedule("poisson:100").arrivals(1, 0).next_due_ns(), due[0]);
}

fn shape() -> impl Strategy<Value = String> {
    let (rate, ms) = (1u64..3_000_000, 1u64..100_000);
    let plain = prop_oneof![
        rate.clone().prop_map(|rate| rate.to_string()),
        (rate.clone(), rate.clone(), ms.clone(), ms.clone())
            .prop_map(|(a, b, ms, more)| format!("steps:{a}x{ms}ms,{b}x{more}ms")),
        (rate.clone(), rate.clone(), ms.clone()).prop_map(|(a, b, ms)| format!("ramp:{a}..{b}/{ms}ms")),
        (rate.clone(), rate, ms).prop_map(|(a, b, ms)| format!("bursts:{a},{b}x{ms}ms/{}ms", ms + 7)),
    ];
    (plain, any::<bool>()).prop_map(|(shape, by_chance)| match by_chance {
        true => format!("poisson:{shape}"),
        false => shape,
    })
}

proptest! {
    #[test]
    fn how_often_one_looks_does_not_change_what_is_due(
        text in shape(), looks in prop::collection::vec((0u64..1 << 32, 1usize..200), 1..30),
    ) {
        let schedule = schedule(&text);
        let (mut often, mut now) = (schedule.arrivals(3, 0), 0);
        let mut taken = Vec::new();
        for (later, lines_max) in looks {
            now += later;
            let before = taken.len();
            often.take_due(now, lines_max, &mut taken);
            prop_assert!(taken.len() - before == lines_max || often.next_due_ns() > now);
        }
        let mut at_once = Vec::new();
        schedule.arrivals(3, 0).take_due(u64::MAX - 1, taken.len(), &mut at_once);
        prop_assert_eq!(&taken, &at_once);
        prop_assert!(taken.is_sorted());
    }

    #[test]
    fn even_arrivals_are_those_of_the_curve(text in shape(), lines in 1usize..500) {
        prop_assume!(!text.starts_with("poisson:"));
        let schedule = schedule(&text);
        let mut due = Vec::new();
        schedule.arrivals(0, 0).take_due(u64::MAX - 1, lines, &mut due);
        for (index, due_ns) in due.iter().enumerate() {
            prop_assert_eq!(*due_ns, schedule.curve.time_of(index as u128 * LINE));
        }
        let last = due[due.len() - 1];
        let first_then = due.partition_point(|due| *due < last) as u64;
        prop_assert_eq!(schedule.lines_before(0, last), first_then);
    }
}
