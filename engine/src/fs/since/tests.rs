//! The search against files, against a look at every line, and by the number of its reads.

use std::fs::File;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;
/// 2026-11-26T00:00:00Z.
const MIDNIGHT: i64 = 1_795_651_200 * SECOND;

fn lines() -> LineTime {
    LineTime::new(TimeZone::UTC, MIDNIGHT)
}

fn stamp(time: i64) -> String {
    Timestamp::from_nanosecond(time.into()).unwrap().to_string()
}

/// The search in these bytes, and how many reads it took.
fn search(content: &[u8], time: i64) -> (Place, usize) {
    let mut reads = 0;
    let read = |position: u64, buffer: &mut [u8]| {
        reads += 1;
        let rest = content.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    };
    let place = find(read, content.len() as u64, time, &lines());
    (place, reads)
}

/// What a look at every line finds.
fn by_every_line(content: &[u8], time: i64) -> Place {
    let (mut at, mut last, mut earlier) = (0, None, false);
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        last = lines().of(line.trim_ascii_end());
        match last {
            Some(said) if said >= time => return Place::At(if earlier { at } else { 0 }),
            said => earlier |= said.is_some(),
        }
        at += line.len() as u64;
    }
    let unfinished = content.iter().rev().take_while(|&&byte| byte != b'\n').count() as u64;
    match (earlier, last) {
        (false, _) => Place::Timeless,
        (true, None) => Place::At(at - unfinished),
        (true, Some(_)) => Place::At(at),
    }
}

/// A real file that holds this, searched with positioned reads that are counted.
fn search_file(file: &File, time: i64) -> (Place, usize) {
    let mut reads = 0;
    let size = file.metadata().unwrap().len();
    let read = |position: u64, buffer: &mut [u8]| {
        reads += 1;
        file.read_at(buffer, position)
    };
    let place = find(read, size, time, &lines());
    (place, reads)
}

#[test]
fn the_first_line_of_a_time_is_found_in_a_file_with_few_reads() {
    let file = tempfile::tempfile().unwrap();
    let mut content = String::new();
    let mut starts = Vec::new();
    for second in 0..150_000 {
        starts.push(content.len() as u64);
        content += &format!("{} line {second} {}\n", stamp(MIDNIGHT + second * SECOND), "x".repeat(80));
        if second % 10 == 9 {
            content += "\tat org.example.Cart.add(Cart.java:12)\n\tat org.example.Main.main(Main.java:3)\n";
        }
    }
    file.write_all_at(content.as_bytes(), 0).unwrap();
    assert!(content.len() > 16 << 20, "{}", content.len());
    for (after, expected) in [
        (-10, 0),
        (0, 0),
        (1, starts[1]),
        (10, starts[10]),
        (75_000, starts[75_000]),
        (149_999, starts[149_999]),
        (150_000, content.len() as u64),
    ] {
        let (place, reads) = search_file(&file, MIDNIGHT + after * SECOND);
        assert_eq!(place, Place::At(expected), "{after} s after midnight");
        // Beginning and end, 16 MiB halved down to 64 KiB, and the rest.
        assert!(reads <= 2 + 9 + 2, "{after} s after midnight: {reads} reads");
    }
    // Between two lines, and where the first and the last answer are told without halving.
    assert_eq!(search_file(&file, MIDNIGHT + 42 * SECOND + 1).0, Place::At(starts[43]));
    assert_eq!(search_file(&file, MIDNIGHT - 1).1, 1);
    let (_, reads) = search_file(&file, MIDNIGHT + 150_000 * SECOND);
    assert!(reads <= 2 + 2, "{reads} reads");
}

/// A file that is made up: line `n` is `LINE_BYTES` long and says the time of second `n`.
#[test]
fn a_terabyte_takes_some_thirty_reads() {
    const LINE_BYTES: u64 = 1024;
    let size = 1 << 40;
    let mut reads = 0;
    let read = |position: u64, buffer: &mut [u8]| {
        reads += 1;
        let mut at = position;
        for chunk in buffer.chunks_mut(LINE_BYTES as usize) {
            let ending =
                format!("{}{}\n", 1_000_000_000 + at / LINE_BYTES, " ".repeat(LINE_BYTES as usize - 11));
            let next =
                format!("{}{}\n", 1_000_000_001 + at / LINE_BYTES, " ".repeat(LINE_BYTES as usize - 11));
            let both = [&ending.as_bytes()[(at % LINE_BYTES) as usize..], next.as_bytes()].concat();
            chunk.copy_from_slice(&both[..chunk.len()]);
            at += chunk.len() as u64;
        }
        Ok(buffer.len())
    };
    let line = 123_456_789;
    let place = find(read, size, (1_000_000_000 + line) * SECOND, &lines());
    assert_eq!(place, Place::At(line as u64 * LINE_BYTES));
    assert!(reads <= 2 + 24 + 2, "{reads} reads");
}

#[test]
fn a_line_that_is_not_whole_counts_if_it_says_its_time() {
    let old = format!("{} a\n\tat b\n", stamp(MIDNIGHT));
    let place = |more: &str| search((old.clone() + more).as_bytes(), MIDNIGHT + SECOND).0;
    let end = old.len() as u64;
    assert_eq!(place(""), Place::At(end));
    assert_eq!(place(&stamp(MIDNIGHT + SECOND)), Place::At(end));
    // It is older: what is written behind it does not make it new.
    assert_eq!(place(&stamp(MIDNIGHT)), Place::At(end + 20));
    // It may become a line of any time.
    assert_eq!(place("2026-11-2"), Place::At(end));
    assert_eq!(place("{\"msg\":\"a"), Place::At(end));
}

#[test]
fn files_without_times_are_told_apart() {
    for content in ["", "\n", "no time\n", "no time\nnone", &"\n".repeat(300_000), &"x".repeat(5_000_000)] {
        assert_eq!(search(content.as_bytes(), MIDNIGHT).0, Place::Timeless);
    }
    let (place, reads) = search(&vec![0; 64 << 20], MIDNIGHT);
    assert_eq!(place, Place::Timeless);
    // One probe at each step, of sixteen reads each.
    assert!(reads <= 16 * (1 + 10) + 1, "{reads} reads");
}

#[test]
fn what_is_passed_over_is_sent_rather_than_lost() {
    let line = |second: i64| format!("{} {}\n", stamp(MIDNIGHT + second * SECOND), "x".repeat(200));
    let block = |from: i64, to: i64| (from..to).map(line).collect::<String>();
    let before = block(0, 5_000);
    // Longer than a probe: a dump, a line of which nobody knows the end, or what cannot be read.
    for dark in ["\tat somewhere\n".repeat(200_000), "y".repeat(3 << 20) + "\n"] {
        let whole = [&before[..], &dark, &block(5_000, 10_000)].concat();
        let after = before.len() + dark.len();
        let place = |second: i64| search(whole.as_bytes(), MIDNIGHT + second * SECOND).0;
        // Far from it nothing is in doubt.
        assert_eq!(place(1_000), Place::At(before.len() as u64 / 5));
        assert_eq!(place(6_000), Place::At(after as u64 + before.len() as u64 / 5));
        // What is in it may be of that time; what is known to be earlier is not sent.
        let Place::At(found) = place(5_000) else { panic!("no time") };
        assert!(found <= after as u64 && found >= before.len() as u64 - 300, "{found}");
        assert_eq!(whole.as_bytes()[found as usize - 1], b'\n');
    }
    // The same where the file ends with it.
    let whole = before.clone() + &"\tat somewhere\n".repeat(200_000);
    let Place::At(found) = search(whole.as_bytes(), MIDNIGHT + 90_000 * SECOND).0 else { panic!("no time") };
    assert!(found >= before.len() as u64 - 300, "{found}");
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let content: String = (0..20_000)
        .map(|second| format!("{} {}\n", stamp(MIDNIGHT + second * SECOND), "x".repeat(80)))
        .collect();
    let line = content.len() as u64 / 20_000;
    let search = |broken: std::ops::Range<u64>, second: u64| {
        let mut reads = 0;
        let read = |position: u64, buffer: &mut [u8]| {
            reads += 1;
            let upto = position + buffer.len() as u64;
            if position < broken.end && broken.start < upto {
                return Err(io::Error::from_raw_os_error(5));
            }
            buffer.copy_from_slice(&content.as_bytes()[position as usize..upto as usize]);
            Ok(buffer.len())
        };
        let time = MIDNIGHT + second as i64 * SECOND;
        let place = find(read, content.len() as u64, time, &lines());
        assert!(reads < 60, "{reads} reads");
        place
    };
    let size = content.len() as u64;
    let middle = size / 2..size / 2 + 100_000;
    assert_eq!(search(middle.clone(), 1_000), Place::At(1_000 * line));
    assert_eq!(search(middle.clone(), 19_000), Place::At(19_000 * line));
    let Place::At(found) = search(middle.clone(), middle.start / line + 10) else { panic!("no time") };
    assert!(found <= middle.start && found % line == 0, "{found}");
    assert_eq!(search(0..100_000, 19_000), Place::At(19_000 * line));
    assert_eq!(search(size - 1..size, 19_000), Place::At(19_000 * line));
    assert_eq!(search(0..size, 19_000), Place::Timeless);
}

#[test]
fn a_file_that_shrinks_meanwhile_ends_the_search() {
    let content: String = (0..20_000).map(|second| stamp(MIDNIGHT + second * SECOND) + "\n").collect();
    for gone_after in 0..12 {
        let mut reads = 0;
        let read = |position: u64, buffer: &mut [u8]| {
            reads += 1;
            let size = if reads > gone_after { 1000 } else { content.len() };
            let rest = content.as_bytes()[..size].get(position as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        let place = find(read, content.len() as u64, MIDNIGHT + 10_000 * SECOND, &lines());
        assert!(reads < 60, "{reads} reads");
        let Place::At(found) = place else { panic!("no time") };
        assert!(found <= 10_000 * 21, "{found}");
    }
}

/// Lines of all kinds: with a time that is not before that of the last one, or without any.
fn content() -> impl Strategy<Value = (Vec<u8>, Vec<i64>)> {
    let line = (0i64..3, 0usize..12, 0usize..400);
    let lines = prop::collection::vec(line, 0..1200);
    (lines, any::<bool>(), 0i64..5).prop_map(|(lines, whole, first)| {
        let (mut content, mut times, mut time) = (Vec::new(), Vec::new(), MIDNIGHT + first * SECOND);
        for (step, kind, length) in lines {
            match kind {
                // Also within a second, and far ahead.
                0..=7 => {
                    time += step * step * step * 250_000_000;
                    times.push(time);
                    content.extend_from_slice(stamp(time).as_bytes());
                }
                8 => {
                    times.push(time);
                    let text =
                        format!("{{\"msg\":\"{}\",\"time\":\"{}\"}}", "y".repeat(length * 3), stamp(time));
                    content.extend_from_slice(text.as_bytes());
                }
                9 => content.extend_from_slice(b"\tat "),
                10 => content.extend_from_slice(b"2026-02-30T10:11:12Z \xff\0"),
                _ => {}
            }
            content.resize(content.len() + length, b'x');
            content.push(b'\n');
        }
        if !whole {
            content.pop();
        }
        (content, times)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn what_is_found_is_what_a_look_at_every_line_finds(
        (content, times) in content(),
        at: prop::sample::Index,
        aside in -1i64..2,
    ) {
        let time = if times.is_empty() { MIDNIGHT } else { times[at.index(times.len())] } + aside;
        prop_assert_eq!(search(&content, time).0, by_every_line(&content, time));
    }

    /// Whatever the order of the times: a line of the time or later, and before it an earlier one.
    #[test]
    fn in_a_file_out_of_order_a_place_is_found_where_times_pass_by(
        seconds in prop::collection::vec(0i64..1000, 1..2000),
        wanted in 0i64..1000,
    ) {
        let text: String = seconds.iter().map(|at| format!("{} {}\n", stamp(MIDNIGHT + at * SECOND), "x".repeat(90))).collect();
        let length = text.len() / seconds.len();
        let Place::At(found) = search(text.as_bytes(), MIDNIGHT + wanted * SECOND).0 else { panic!("no time") };
        let line = found as usize / length;
        prop_assert_eq!(found as usize % length, 0);
        prop_assert!(line == seconds.len() || seconds[line] >= wanted);
        prop_assert!(line == 0 || seconds[line - 1] < wanted);
    }

    #[test]
    fn no_bytes_harm(content in prop::collection::vec(any::<u8>(), 0..100_000), time: i64) {
        if let Place::At(found) = search(&content, time).0 {
            prop_assert!(found <= content.len() as u64);
        }
    }
}
