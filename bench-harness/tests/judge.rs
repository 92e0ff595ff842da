//! The judge against stories with known endings, and against a slow and obvious model of itself.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use logdrive_bench::verify::{Arrival, Framing, Ledger, Verdict};
use logdrive_load::format::Format;
use logdrive_load::journal::{Generation, Header, Journal, VERSION};
use logdrive_load::payload::Payloads;
use logdrive_load::stamp::{Stamp, encode_line};
use proptest::prelude::*;

const RUN: u32 = 0xaaaa_0001;

fn stamp(writer: u16, generation: u32, sequence: u64) -> Stamp {
    Stamp { run: RUN, writer, generation, sequence, intended_ns: 1_000 + sequence }
}

fn line(stamp: &Stamp) -> Vec<u8> {
    let mut line = Vec::new();
    encode_line(stamp, b"10.0.0.1 GET / 200", &mut line);
    line
}

/// A journal from (writer, generation, first, last).
fn journal(generations: &[(u16, u32, u64, u64)]) -> Journal {
    let generations: Vec<Generation> = generations
        .iter()
        .map(|&(writer, generation, first_seq, last_seq)| {
            let lines = last_seq - first_seq + 1;
            Generation { writer, generation, first_seq, last_seq, lines, bytes: 0, crc: 0 }
        })
        .collect();
    let header = Header {
        journal: VERSION,
        run: RUN,
        files: 1,
        lines: generations.iter().map(|generation| generation.lines).sum(),
        ..Header::default()
    };
    Journal { header, generations }
}

/// The records of a story, one word each: `partition:writer.generation.sequence`, then `~` if its last
/// byte is missing or `*` if it is of another run; `partition:?` is a record of somebody else.
fn tell(ledger: &mut Ledger, story: &str) -> Vec<Stamp> {
    let mut first_sights = Vec::new();
    let mut offsets = BTreeMap::new();
    for word in story.split_whitespace() {
        let (partition, what) = word.split_once(':').unwrap();
        let partition: i32 = partition.parse().unwrap();
        let offset = offsets.entry(partition).or_insert(0);
        let payload = match what {
            "?" => b"hello".to_vec(),
            _ => {
                let parts: Vec<u64> =
                    what.trim_end_matches(['~', '*']).split('.').map(|n| n.parse().unwrap()).collect();
                let mut stamp = stamp(parts[0] as u16, parts[1] as u32, parts[2]);
                stamp.run += u32::from(what.ends_with('*'));
                let mut line = line(&stamp);
                line.truncate(line.len() - usize::from(what.ends_with('~')));
                line
            }
        };
        let arrival = Arrival { partition, offset: *offset, payload: &payload, consumed_at_ns: 0 };
        ledger.judge(&arrival, |stamp| first_sights.push(*stamp));
        *offset += 1;
    }
    first_sights
}

fn shown(verdict: &Verdict) -> String {
    let Verdict { lines_expected, lines_received, lost, duplicated, reordered, torn, foreign, .. } = verdict;
    let mut text = format!(
        "expected {lines_expected} received {lines_received} lost {lost} duplicated {duplicated} \
         reordered {reordered} torn {torn} foreign {foreign} spread {}\n",
        verdict.generations_spread
    );
    for lost in &verdict.first_lost {
        text += &format!("lost {}.{}.{}-{}\n", lost.writer, lost.generation, lost.first_seq, lost.last_seq);
    }
    for problem in &verdict.first_problems {
        text += &format!("{}:{} {}: {}\n", problem.partition, problem.offset, problem.reason, problem.detail);
    }
    text
}

fn check(generations: &[(u16, u32, u64, u64)], story: &str, expected: Expect) {
    let mut ledger = Ledger::new(Framing::Line);
    tell(&mut ledger, story);
    expected.assert_eq(&shown(&ledger.verdict(&journal(generations))));
}

#[test]
fn a_perfect_run_has_nothing_to_show() {
    check(
        &[(0, 0, 0, 2), (0, 1, 3, 3), (1, 0, 0, 0)],
        "0:0.0.0 1:1.0.0 0:0.0.1 0:0.0.2 1:0.1.3",
        expect![[r#"
            expected 5 received 5 lost 0 duplicated 0 reordered 0 torn 0 foreign 0 spread 0
        "#]],
    );
}

#[test]
fn every_kind_of_damage_is_counted_and_shown_where_it_is() {
    check(
        &[(0, 0, 0, 9)],
        "0:0.0.0 0:0.0.1 0:0.0.1 0:0.0.3 0:0.0.2 0:? 0:0.0.4~ 0:0.0.7 0:0.0.7",
        expect![[r#"
            expected 10 received 7 lost 5 duplicated 2 reordered 1 torn 1 foreign 1 spread 0
            lost 0.0.4-6
            lost 0.0.8-9
            0:2 duplicated: writer 0 line 1 generation 0, after line 1 generation 0
            0:4 reordered: writer 0 line 2 generation 0, after line 3 generation 0
            0:5 foreign: 5 bytes: hello
            0:6 torn: 81 bytes: LD2 aaaa0001 0000 000000 000000000004 00000000000003ec e0faefc0 10.0.0.1 GET / 20
            0:8 duplicated: writer 0 line 7 generation 0, after line 7 generation 0
        "#]],
    );
}

#[test]
fn a_replay_after_a_crash_is_duplicates_without_disorder() {
    check(
        &[(0, 0, 0, 5)],
        "0:0.0.0 0:0.0.1 0:0.0.2 0:0.0.3 0:0.0.1 0:0.0.2 0:0.0.3 0:0.0.4 0:0.0.5",
        expect![[r#"
            expected 6 received 9 lost 0 duplicated 3 reordered 0 torn 0 foreign 0 spread 0
            0:4 duplicated: writer 0 line 1 generation 0, after line 3 generation 0
            0:5 duplicated: writer 0 line 2 generation 0, after line 3 generation 0
            0:6 duplicated: writer 0 line 3 generation 0, after line 3 generation 0
        "#]],
    );
}

#[test]
fn order_is_kept_per_writer_and_partition_across_generations() {
    check(
        &[(0, 0, 0, 3), (0, 1, 4, 5), (1, 0, 0, 1)],
        "0:0.1.4 1:0.0.2 1:0.0.3 0:1.0.0 0:0.0.0 1:0.0.1 0:0.1.5 0:1.0.1",
        expect![[r#"
            expected 8 received 8 lost 0 duplicated 0 reordered 2 torn 0 foreign 0 spread 1
            0:2 reordered: writer 0 line 0 generation 0, after line 4 generation 1
            1:2 reordered: writer 0 line 1 generation 0, after line 3 generation 0
        "#]],
    );
}

#[test]
fn lines_of_another_run_cannot_stand_in_for_lost_ones() {
    check(
        &[(0, 0, 0, 2)],
        "0:0.0.0* 0:0.0.1* 0:0.0.2* 0:0.0.2* 0:0.0.0 0:0.0.2",
        expect![[r#"
            expected 3 received 2 lost 1 duplicated 0 reordered 0 torn 0 foreign 4 spread 0
            lost 0.0.1-1
            0:0 foreign: 4 lines of writer 0 generation 0 of run aaaa0002
        "#]],
    );
}

#[test]
fn lines_that_the_journal_does_not_know_are_foreign() {
    check(
        &[(0, 0, 0, 1)],
        "0:0.0.0 0:0.0.1 0:0.0.2 0:0.1.3 0:7.0.0",
        expect![[r#"
            expected 2 received 2 lost 0 duplicated 0 reordered 0 torn 0 foreign 3 spread 0
            0:0 foreign: 1 lines of writer 0 generation 0 are not in the journal
            0:3 foreign: 1 lines of writer 0 generation 1 are not in the journal
            0:4 foreign: 1 lines of writer 7 generation 0 are not in the journal
        "#]],
    );
}

#[test]
fn an_empty_topic_has_lost_everything_and_an_empty_run_proves_nothing() {
    check(
        &[(0, 0, 0, 99), (3, 0, 0, 0)],
        "",
        expect![[r#"
            expected 101 received 0 lost 101 duplicated 0 reordered 0 torn 0 foreign 0 spread 0
            lost 0.0.0-99
            lost 3.0.0-0
        "#]],
    );
    assert!(!Ledger::new(Framing::Line).verdict(&journal(&[])).passes(0));
}

#[test]
fn problems_are_shown_up_to_ten_and_counted_beyond() {
    let story = "0:? ".repeat(1_000);
    let mut ledger = Ledger::new(Framing::Line);
    tell(&mut ledger, &story);
    let verdict = ledger.verdict(&journal(&[(0, 0, 0, 0)]));
    assert_eq!((verdict.foreign, verdict.first_problems.len()), (1_000, 10));
}

#[test]
fn duplicates_are_forgiven_up_to_the_allowance_and_nothing_else_is() {
    let mut ledger = Ledger::new(Framing::Line);
    tell(&mut ledger, "0:0.0.0 0:0.0.0 0:0.0.0 0:0.0.1");
    let verdict = ledger.verdict(&journal(&[(0, 0, 0, 1)]));
    assert_eq!([0, 1, 2, 3].map(|allowed| verdict.passes(allowed)), [false, false, true, true]);
    expect!["PASS: of 2 lines 0 lost, 2 duplicated (2 allowed), 0 reordered, 0 torn, 0 foreign"]
        .assert_eq(&verdict.sentence(2));
    expect!["FAIL: of 2 lines 0 lost, 2 duplicated, 0 reordered, 0 torn, 0 foreign"]
        .assert_eq(&verdict.sentence(0));
    assert!(!ledger.verdict(&journal(&[(0, 0, 0, 2)])).passes(100), "a line is lost");
}

#[test]
fn latency_is_told_once_for_each_line_that_is_whole() {
    let mut ledger = Ledger::new(Framing::Line);
    let sights = tell(&mut ledger, "0:0.0.0 0:0.0.0 0:0.0.2 0:0.0.1 0:? 0:0.0.3~");
    assert_eq!(sights, [stamp(0, 0, 0), stamp(0, 0, 2), stamp(0, 0, 1)]);
    assert_eq!((ledger.lines(), ledger.lines_distinct(RUN), ledger.lines_distinct(RUN + 1)), (6, 3, 0));
}

#[test]
fn a_quoted_line_is_judged_without_its_quotes_and_a_bare_one_as_it_stands() {
    let mut ledger = Ledger::new(Framing::Quoted);
    let bare = line(&stamp(0, 0, 1));
    let quoted = [line(&stamp(0, 0, 0)), b"say \"hi\"".to_vec()]
        .map(|line| serde_json::to_vec(std::str::from_utf8(&line).unwrap()).unwrap());
    let payloads = [&quoted[0], &bare, &quoted[1], &quoted[0][1..].to_vec()];
    for (offset, payload) in payloads.into_iter().enumerate() {
        let arrival = Arrival { partition: 0, offset: offset as i64, payload, consumed_at_ns: 0 };
        ledger.judge(&arrival, |_| {});
    }
    let verdict = ledger.verdict(&journal(&[(0, 0, 0, 1)]));
    assert_eq!((verdict.lines_received, verdict.foreign, verdict.torn), (2, 1, 1), "{verdict}");
}

#[test]
fn a_chunk_holds_lines_with_or_without_a_newline_at_the_end() {
    let lines: Vec<Vec<u8>> = (0..3).map(|sequence| line(&stamp(0, 0, sequence))).collect();
    let journal = journal(&[(0, 0, 0, 2)]);
    for (chunk, foreign) in [
        (lines.join(&b'\n'), 0),
        ([lines.join(&b'\n'), b"\n".to_vec()].concat(), 0),
        ([lines.join(&b'\n'), b"\n\n".to_vec()].concat(), 1),
        (lines.join(&b"\n\n"[..]), 2),
    ] {
        let mut ledger = Ledger::new(Framing::Chunk);
        ledger.judge(&Arrival { partition: 0, offset: 0, payload: &chunk, consumed_at_ns: 0 }, |_| {});
        let verdict = ledger.verdict(&journal);
        assert_eq!((verdict.lines_received, verdict.lost, verdict.foreign), (3, 0, foreign));
    }
    let mut as_lines = Ledger::new(Framing::Line);
    let glued = lines.join(&b'\n');
    as_lines.judge(&Arrival { partition: 0, offset: 0, payload: &glued, consumed_at_ns: 0 }, |_| {});
    assert_eq!(
        as_lines.verdict(&journal).torn,
        1,
        "several lines in a record are torn where one is promised"
    );
    for framing in [Framing::Line, Framing::Chunk] {
        let mut empty = Ledger::new(framing);
        empty.judge(&Arrival { partition: 0, offset: 0, payload: b"", consumed_at_ns: 0 }, |_| {});
        assert_eq!(empty.verdict(&journal).foreign, 1);
    }
}

#[test]
fn the_records_of_every_format_are_judged_alike() {
    for format in Format::ALL {
        let pool = Payloads::new(1, format, format.line_bytes().parse().unwrap()).unwrap();
        let mut face = format.face();
        let mut records: Vec<Vec<u8>> = (0..100)
            .map(|sequence| {
                let mut record = Vec::new();
                pool.of(0, sequence).append(&stamp(0, 0, sequence), &mut face, &mut record);
                record.pop();
                record
            })
            .collect();
        let two_in_one = records[60..62].join(&b'\n');
        records.splice(60..62, [two_in_one]); // 1 torn, 2 lost
        records.swap(50, 51); // 1 reordered
        let middle = records[40].len() / 2;
        records[40][middle] ^= 1; // 1 torn, 1 lost
        records.insert(30, records[20].clone()); // 1 duplicated
        records.insert(10, b"another line".to_vec()); // 1 foreign
        records.pop(); // 1 lost
        let mut ledger = Ledger::new(Framing::Line);
        for (offset, payload) in (0..).zip(&records) {
            ledger.judge(&Arrival { partition: 0, offset, payload, consumed_at_ns: 0 }, |_| {});
        }
        let verdict = ledger.verdict(&journal(&[(0, 0, 0, 99)]));
        let Verdict { lost, duplicated, reordered, torn, foreign, .. } = verdict;
        assert_eq!([lost, duplicated, reordered, torn, foreign], [4, 1, 1, 2, 1], "{format}");
    }
}

/// What happens to one record of a stream.
#[derive(Clone, Debug)]
enum Fate {
    Intact,
    Dropped,
    /// So many further sights, each at some later place.
    Repeated(Vec<prop::sample::Index>),
    /// This byte becomes another one.
    Altered(prop::sample::Index, u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        10 => Just(Fate::Intact),
        2 => Just(Fate::Dropped),
        1 => prop::collection::vec(any::<prop::sample::Index>(), 1..3).prop_map(Fate::Repeated),
        1 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, by)| Fate::Altered(at, by)),
    ]
}

/// Where a line goes, and what was done to it.
#[derive(Clone, Debug)]
struct Sent {
    stamp: Stamp,
    partition: i32,
    altered: Option<(usize, u8)>,
}

/// Counts by looking at everything that came before.
fn model(generations: &[(u16, u32, u64, u64)], stream: &[Sent]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut first_sights = BTreeSet::new();
    let mut places: BTreeMap<(u16, u32), BTreeSet<i32>> = BTreeMap::new();
    for (at, sent) in stream.iter().enumerate() {
        match sent.altered {
            Some(_) => verdict.torn += 1,
            None => {
                verdict.lines_received += 1;
                places.entry((sent.stamp.writer, sent.stamp.generation)).or_default().insert(sent.partition);
                if !first_sights.insert(sent.stamp) {
                    verdict.duplicated += 1;
                } else if stream[..at].iter().any(|earlier| {
                    earlier.altered.is_none()
                        && earlier.partition == sent.partition
                        && earlier.stamp.writer == sent.stamp.writer
                        && earlier.stamp.sequence > sent.stamp.sequence
                }) {
                    verdict.reordered += 1;
                }
            }
        }
    }
    verdict.lines_expected = generations.iter().map(|(_, _, first, last)| last - first + 1).sum();
    verdict.lost = verdict.lines_expected - first_sights.len() as u64;
    verdict.generations_spread = places.values().filter(|places| places.len() > 1).count() as u64;
    verdict
}

proptest! {
    #[test]
    fn any_drop_repetition_alteration_and_permutation_is_counted_exactly(
        // Per writer, how many lines each generation has.
        lengths in prop::collection::vec(prop::collection::vec(1u64..40, 1..4), 1..4),
        fates in prop::collection::vec((fate(), 0..3i32), 480),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        by_source: bool,
    ) {
        let mut generations = Vec::new();
        for (writer, lengths) in (0u16..).zip(&lengths) {
            let mut first = 0;
            for (generation, length) in (0u32..).zip(lengths) {
                generations.push((writer, generation, first, first + length - 1));
                first += length;
            }
        }
        let mut stream: Vec<Sent> = Vec::new();
        let mut repeated = Vec::new();
        let mut fates = fates.into_iter();
        for &(writer, generation, first, last) in &generations {
            for sequence in first..=last {
                let (fate, partition) = fates.next().unwrap();
                let partition = if by_source { i32::from(writer) } else { partition };
                let stamp = stamp(writer, generation, sequence);
                let sent = Sent { stamp, partition, altered: None };
                match fate {
                    Fate::Intact => stream.push(sent),
                    Fate::Dropped => {}
                    Fate::Repeated(places) => {
                        repeated.extend(places.into_iter().map(|place| (place, sent.clone())));
                        stream.push(sent);
                    }
                    Fate::Altered(at, by) => {
                        let at = at.index(line(&stamp).len());
                        stream.push(Sent { altered: Some((at, by)), ..sent });
                    }
                }
            }
        }
        for (place, sent) in repeated {
            stream.insert(place.index(stream.len() + 1), sent);
        }
        for (a, b) in swaps {
            if !stream.is_empty() {
                let (a, b) = (a.index(stream.len()), b.index(stream.len()));
                stream.swap(a, b);
            }
        }
        let mut ledger = Ledger::new(Framing::Line);
        let mut first_sights = 0;
        for (offset, sent) in (0i64..).zip(&stream) {
            let mut payload = line(&sent.stamp);
            if let Some((at, by)) = sent.altered {
                payload[at] ^= by;
            }
            let arrival = Arrival { partition: sent.partition, offset, payload: &payload, consumed_at_ns: 0 };
            ledger.judge(&arrival, |_| first_sights += 1);
        }
        let verdict = ledger.verdict(&journal(&generations));
        prop_assert_eq!(first_sights, verdict.lines_expected - verdict.lost);
        prop_assert_eq!(verdict.lines_received, verdict.lines_expected - verdict.lost + verdict.duplicated);
        let lost_shown: u64 = verdict.first_lost.iter().map(|lost| lost.last_seq - lost.first_seq + 1).sum();
        prop_assert!(lost_shown == verdict.lost || verdict.first_lost.len() == 10);
        let counts = Verdict { first_problems: Vec::new(), first_lost: Vec::new(), ..verdict };
        prop_assert_eq!(counts, model(&generations, &stream));
    }
}
