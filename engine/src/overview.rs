//! `logdrive status`: what a running agent says of itself, as text for a person.
//!
//! Counts and sizes are rounded where they are looked at, and exact where they are compared: positions.

use std::cmp::Reverse;
use std::fmt::Write as _;

use crate::columns::{Align, columns};
use crate::etcd::EtcdStatus;
use crate::figures::{grouped, rate, seconds, size};
use crate::logging::plain;
use crate::status::{FileStatus, ItemStatus, KafkaStatus, StatusReport};

/// Items of etcd that are named with what is wrong with them; `logdrive agents` and `/status` have all.
const REFUSED_MAX: usize = 20;

/// Everything on one page, with `files_max` files: those that are furthest behind.
#[must_use]
pub fn overview(report: &StatusReport, files_max: usize) -> String {
    let mut text = head(report);
    text += &section(&items(&report.items));
    if report.files.is_empty() {
        text += "\nno file is known\n";
    } else {
        text += &section(&files(&report.files, files_max));
    }
    text + &errors(report)
}

fn section(text: &str) -> String {
    format!("\n{text}")
}

fn head(report: &StatusReport) -> String {
    let StatusReport { version, pid, io, readiness, kafka, state, .. } = report;
    let mut text = String::new();
    let uptime = seconds(report.uptime_seconds);
    let ready = if readiness.ready { "ready".to_owned() } else { format!("not ready: {}", readiness.reason) };
    let lag: u64 = report.items.iter().map(|item| item.lag_bytes).sum();
    let files = report.files.len() as u64;
    let lines = [
        ("agent", format!("{version}, process {pid}, up {uptime}, reads by {io}, {ready}")),
        (
            "now",
            format!(
                "{} lines/s, {}/s; {} not acknowledged yet in {} files",
                grouped(rate(report.items.iter().map(|item| item.lines_per_second).sum())),
                size(rate(report.items.iter().map(|item| item.bytes_per_second).sum())),
                size(lag),
                grouped(files),
            ),
        ),
        (
            "in flight",
            format!(
                "{} lines, {}; the oldest was read {} ago",
                grouped(kafka.in_flight_lines),
                size(kafka.in_flight_bytes),
                seconds(kafka.oldest_unacked_seconds)
            ),
        ),
        ("kafka", connection(report, kafka)),
        ("state", {
            let age = seconds(state.checkpoint_age_seconds);
            let health = if state.healthy { "" } else { ", CANNOT BE WRITTEN" };
            format!("{}, {} generations, durable {age} ago{health}", state.dir, state.generations)
        }),
    ];
    let etcd = report.etcd.as_ref().map(|etcd| ("etcd", items_from(etcd)));
    for (name, line) in lines.into_iter().chain(etcd) {
        writeln!(text, "{name:<9}  {}", plain(&line)).expect("a string takes everything");
    }
    text
}

fn connection(report: &StatusReport, kafka: &KafkaStatus) -> String {
    let mut text = format!(
        "{}; {} of {} producers work, {} messages queued",
        report.brokers.join(", "),
        kafka.producers_running,
        kafka.producers,
        grouped(kafka.queue_messages as u64)
    );
    for trip in &kafka.round_trips {
        let (p50, p99) = (seconds(trip.p50_seconds), seconds(trip.p99_seconds));
        write!(text, "; {} answers in {p50}, at the 99th percentile {p99}", trip.broker)
            .expect("a string takes everything");
    }
    text
}

fn items_from(etcd: &EtcdStatus) -> String {
    let mut text = match etcd.connected {
        true => etcd.endpoint.clone(),
        false => format!("NOT CONNECTED to {}, its items as they were are in force", etcd.endpoint),
    };
    let (revision, items) = (grouped(etcd.revision), grouped(etcd.items as u64));
    write!(text, "; {items} items at revision {revision}").expect("a string takes everything");
    if !etcd.refused.is_empty() {
        write!(text, ", {} refused", grouped(etcd.refused.len() as u64)).expect("a string takes everything");
    }
    if etcd.holding {
        text += "; IT HAS LOST ITS DATA";
    }
    if let Some(rival) = &etcd.rival {
        write!(text, "; ANOTHER AGENT SPEAKS FOR THIS HOST: {rival}").expect("a string takes everything");
    }
    text
}

fn items(items: &[ItemStatus]) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let head = [
        ("ITEM", left),
        ("TOPIC", left),
        ("FILES", right),
        ("LAG", right),
        ("LINES/S", right),
        ("BYTES/S", right),
        ("ACKED", right),
        ("DROPPED", right),
    ];
    let row = |item: &ItemStatus| {
        [
            item.name.clone(),
            item.topic.clone(),
            grouped(item.files),
            size(item.lag_bytes),
            grouped(rate(item.lines_per_second)),
            size(rate(item.bytes_per_second)),
            grouped(item.lines_acked),
            grouped(item.lines_dropped),
        ]
    };
    columns(head, &items.iter().map(row).collect::<Vec<_>>())
}

/// The files that are furthest behind, and how many there are besides.
fn files(files: &[FileStatus], files_max: usize) -> String {
    let mut ranked: Vec<&FileStatus> = files.iter().collect();
    ranked.sort_by_key(|file| (Reverse(file.lag_bytes), &file.path));
    let shown = &ranked[..files_max.min(ranked.len())];
    let (left, right) = (Align::Left, Align::Right);
    let head = [
        ("LAG", right),
        ("DURABLE", right),
        ("ACKED", right),
        ("PRODUCED", right),
        ("FRAMED", right),
        ("READ", right),
        ("SIZE", right),
        ("ITEM", left),
        ("STATE", left),
        ("PATH", left),
    ];
    let row = |file: &&FileStatus| {
        let at = file.positions;
        let numbers = [at.durable, at.acked, at.produced, at.framed, at.read, at.size];
        let [durable, acked, produced, framed, read, end] = numbers.map(|number| number.to_string());
        let item = file.item.clone();
        let state = file.state.clone().into_owned();
        [size(file.lag_bytes), durable, acked, produced, framed, read, end, item, state, file.path.clone()]
    };
    let mut text = columns(head, &shown.iter().map(row).collect::<Vec<_>>());
    let others = files.len() - shown.len();
    if others > 0 {
        let others = grouped(others as u64);
        writeln!(text, "... and {others} more files that are not further behind; --files N shows N")
            .expect("a string takes everything");
    }
    text
}

/// What is wrong, or was lately; nothing when there is nothing.
fn errors(report: &StatusReport) -> String {
    let mut lines = Vec::new();
    for topic in report.kafka.topics.iter().filter(|topic| topic.trouble.is_some()) {
        lines.push(format!("topic {}: {}", topic.name, topic.trouble.as_deref().unwrap_or_default()));
    }
    let last = |error: &Option<String>, what: &str| Some(format!("{what}: {}", error.as_ref()?));
    lines.extend(last(&report.kafka.last_error, "kafka, last"));
    lines.extend(last(&report.state.last_error, "state, last"));
    lines.extend(last(&report.reloads.last_error, "configuration not reloaded"));
    if let Some(etcd) = &report.etcd {
        lines.extend(last(&etcd.last_error, "etcd, last"));
        let refused = etcd.refused.iter().take(REFUSED_MAX);
        lines.extend(refused.map(|refusal| format!("etcd, {}: {}", refusal.key, refusal.reason)));
    }
    for error in &report.errors {
        lines.push(format!("{} ago: {}", seconds(error.age_seconds), error.error));
    }
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  {}\n", plain(line))).collect();
    format!("\nerrors (the last of each kind and path; it may be over)\n{lines}")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::borrow::Cow;

    use expect_test::expect;

    use super::*;
    use crate::etcd::Refusal;
    use crate::status::{
        PaceStatus, PathError, Positions, Readiness, Reloads, RoundTripStatus, StateStatus, TopicState,
    };

    /// A file that is so far behind.
    pub(crate) fn file(path: &str, item: &str, lag_bytes: u64) -> FileStatus {
        let acked = 1_234_567;
        let end = acked + lag_bytes;
        FileStatus {
            path: path.to_owned(),
            item: item.to_owned(),
            generation: "00000000000000aa".to_owned(),
            positions: Positions {
                durable: acked.min(1_200_000),
                acked,
                produced: end.min(acked + 50_000),
                framed: end.min(acked + 60_000),
                read: end.min(acked + 60_100),
                size: end,
            },
            lag_bytes,
            state: Cow::Borrowed(if lag_bytes == 0 { "at end" } else { "waiting for its turn" }),
            last_error: None,
        }
    }

    /// An agent with two items and a hostile file.
    pub(crate) fn report() -> StatusReport {
        let item = |name: &str, files, lag_bytes, lines_per_second| ItemStatus {
            name: name.to_owned(),
            topic: format!("{name}_log"),
            files,
            lag_bytes,
            lines_read: 2_500_000,
            lines_acked: 2_400_000,
            bytes_acked: 480_000_000,
            lines_per_second,
            bytes_per_second: lines_per_second * 200.0,
            lines_dropped: 3,
            last_error: None,
            paced_seconds: 0.0,
        };
        StatusReport {
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 11_523.0,
            io: "uring".to_owned(),
            brokers: vec!["kafka-1:9092".to_owned(), "kafka-2:9092".to_owned()],
            readiness: Readiness { ready: true, reason: String::new() },
            reloads: Reloads { accepted: 1, ..Reloads::default() },
            pace: PaceStatus { cpu_seconds: 61.5, ..PaceStatus::default() },
            items: vec![item("web", 2, 3_400_000, 12_345.6), item("db", 1, 0, 0.0)],
            files: vec![
                file("/var/log/db.log", "db", 0),
                file("/var/log/nginx/access.log", "web", 3_300_000),
                file("/var/log/nginx/a\n\u{1b}[2J\u{202e}b.log", "web", 100_000),
            ],
            errors: vec![PathError {
                path: "/var/log/secret.log".to_owned(),
                error: "cannot open /var/log/secret.log: Permission denied (os error 13)".to_owned(),
                age_seconds: 12.0,
            }],
            state: StateStatus {
                dir: "/var/lib/logdrive".to_owned(),
                generations: 3,
                healthy: true,
                checkpoint_age_seconds: 0.42,
                last_error: None,
            },
            etcd: None,
            kafka: KafkaStatus {
                producers: 1,
                producers_running: 1,
                producer_rebuilds: 0,
                queue_messages: 250,
                partitions_stalled: 0,
                topics: vec![
                    TopicState { name: "web_log".to_owned(), partitions: 12, trouble: None },
                    TopicState {
                        name: "db_log".to_owned(),
                        partitions: 0,
                        trouble: Some("does not exist".to_owned()),
                    },
                ],
                in_flight_lines: 1500,
                in_flight_bytes: 300_000,
                oldest_unacked_seconds: 0.0123,
                last_error: None,
                round_trips: vec![RoundTripStatus {
                    broker: "kafka-1:9092/1".to_owned(),
                    p50_seconds: 0.0018,
                    p99_seconds: 0.0124,
                }],
            },
        }
    }

    #[test]
    fn a_page_tells_what_is_behind_first_and_cannot_move_the_cursor() {
        expect![[r#"
            agent      0.1.0, process 4711, up 3h 12m, reads by uring, ready
            now        12,346 lines/s, 2.47 MB/s; 3.40 MB not acknowledged yet in 3 files
            in flight  1,500 lines, 300 kB; the oldest was read 12 ms ago
            kafka      kafka-1:9092, kafka-2:9092; 1 of 1 producers work, 250 messages queued; kafka-1:9092/1 answers in 1.8 ms, at the 99th percentile 12 ms
            state      /var/lib/logdrive, 3 generations, durable 420 ms ago

            ITEM  TOPIC    FILES      LAG  LINES/S  BYTES/S      ACKED  DROPPED
            web   web_log      2  3.40 MB   12,346  2.47 MB  2,400,000        3
            db    db_log       1      0 B        0      0 B  2,400,000        3

                LAG  DURABLE    ACKED  PRODUCED   FRAMED     READ     SIZE  ITEM  STATE                 PATH
            3.30 MB  1200000  1234567   1284567  1294567  1294667  4534567  web   waiting for its turn  /var/log/nginx/access.log
             100 kB  1200000  1234567   1284567  1294567  1294667  1334567  web   waiting for its turn  /var/log/nginx/a\n\u{1b}[2J\u{202e}b.log
            ... and 1 more files that are not further behind; --files N shows N

            errors (the last of each kind and path; it may be over)
              topic db_log: does not exist
              12.0 s ago: cannot open /var/log/secret.log: Permission denied (os error 13)
        "#]].assert_eq(&overview(&report(), 2));
    }

    #[test]
    fn an_agent_without_files_and_errors_is_told_in_a_few_lines() {
        let mut quiet = report();
        quiet.files.clear();
        quiet.errors.clear();
        quiet.kafka.topics.clear();
        let text = overview(&quiet, 20);
        assert!(text.contains("no file is known") && !text.contains("errors"), "{text}");
    }

    #[test]
    fn what_etcd_wants_and_whether_it_is_there_is_told() {
        let mut with_etcd = report();
        let refusal = Refusal {
            key: "/logdrive/items/web/secret".to_owned(),
            item: None,
            reason: "`/etc/shadow` is outside of `allow_paths`".to_owned(),
            earlier_in_force: false,
        };
        let etcd = EtcdStatus {
            connected: true,
            endpoint: "etcd-1:2379".to_owned(),
            revision: 1234,
            items: 2,
            refused: vec![refusal],
            ..EtcdStatus::default()
        };
        with_etcd.etcd = Some(etcd.clone());
        let text = overview(&with_etcd, 0);
        let line = |text: &str| text.lines().find(|line| line.starts_with("etcd ")).unwrap().to_owned();
        expect!["etcd       etcd-1:2379; 2 items at revision 1,234, 1 refused"].assert_eq(&line(&text));
        let refused = "etcd, /logdrive/items/web/secret: `/etc/shadow` is outside of `allow_paths`";
        assert!(text.contains(refused), "{text}");
        let rival = Some("h1, process 7".to_owned());
        with_etcd.etcd = Some(EtcdStatus { connected: false, holding: true, rival, ..etcd });
        expect!["etcd       NOT CONNECTED to etcd-1:2379, its items as they were are in force; 2 items at revision 1,234, 1 refused; IT HAS LOST ITS DATA; ANOTHER AGENT SPEAKS FOR THIS HOST: h1, process 7"]
            .assert_eq(&line(&overview(&with_etcd, 0)));
    }

    #[test]
    fn ten_thousand_files_are_a_page() {
        let mut large = report();
        large.files = (0..10_000).map(|n| file(&format!("/l/{n}.log"), "web", n)).collect();
        let text = overview(&large, 20);
        assert!(text.lines().count() < 50);
        assert!(text.contains("/l/9999.log") && !text.contains("/l/9979.log"), "{text}");
        assert!(text.contains("... and 9,980 more files"), "{text}");
    }
}
