//! Faults C: what is in the lines. One record is one line, byte for byte.

use std::fs::OpenOptions;
use std::io::Write;

use crate::lines::{append, values};
use crate::site::Site;
use crate::topic::Record;
use crate::wait::{is_long, until_true};

fn bytes(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.value.as_slice()).collect()
}

#[test]
fn c01_a_line_without_end_in_bounded_memory() {
    let mebibytes = if is_long() { 1024 } else { 256 };
    let site = Site::with_partitions(1);
    let agent = site.agent().set("limits.in_flight=8MiB").start();
    site.append("app.log", "before\n");
    let mut file = OpenOptions::new().append(true).open(site.log("app.log")).unwrap();
    let block = vec![b'x'; 1 << 20];
    (0..mebibytes).for_each(|_| file.write_all(&block).unwrap());
    file.write_all(b"\nafter\n").unwrap();
    site.topic.await_value(b"after");
    let peak = agent.peak_mib();
    assert!(peak < 96, "{peak} MiB were resident");
    let cut = agent.metric("logdrive_bytes_dropped_total");
    agent.stop();
    let records = site.whole();
    let values = bytes(&records);
    assert_eq!(values.len(), 3);
    assert_eq!((values[0], values[2]), (&b"before"[..], &b"after"[..]));
    assert!(values[1].len() == 1_000_000 && values[1].iter().all(|&byte| byte == b'x'));
    // The terminator is part of what was cut off.
    assert_eq!(cut, f64::from((mebibytes << 20) + 1 - 1_000_000), "what was cut off is counted");
}

#[test]
fn c02_lines_around_the_limit_and_those_after_them() {
    for (policy, of_longer) in [
        ("truncate", vec![vec![b'c'; 100]]),
        ("split", vec![vec![b'c'; 100], vec![b'c'; 1]]),
        ("drop", vec![]),
    ] {
        let site = Site::with_partitions(1);
        let agent =
            site.agent().set("item.line_bytes_max=100").set(format!("item.on_long_line={policy}")).start();
        let lines = [vec![b'a'; 99], vec![b'b'; 100], vec![b'c'; 101], b"plain".to_vec(), vec![b'd'; 100]];
        site.append("app.log", lines.join(&b'\n'));
        site.append("app.log", "\nlast\n");
        site.topic.await_value(b"last");
        let dropped =
            (agent.metric("logdrive_lines_dropped_total"), agent.metric("logdrive_bytes_dropped_total"));
        agent.stop();
        let mut expected = lines[..2].to_vec();
        expected.extend(of_longer);
        expected.extend([b"plain".to_vec(), vec![b'd'; 100], b"last".to_vec()]);
        assert_eq!(bytes(&site.whole()), expected, "{policy}");
        let counted = match policy {
            "truncate" => (0.0, 2.0),
            "split" => (0.0, 0.0),
            _ => (1.0, 102.0),
        };
        assert_eq!(dropped, counted, "{policy}");
    }
}

#[test]
fn c04_nul_bytes_and_a_compressed_file_in_the_glob() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("item.exclude=[]").start();
    // Any bytes at all: a deflate stream is as good as random ones.
    let mut seed = 1u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    let mut written: Vec<u8> = b"\x1f\x8b\x08\0a\0b\n\0\0\n\0\n".to_vec();
    written.extend((0..300_000).map(|_| noise()));
    written.push(b'\n');
    site.append("app.log", &written);
    let lines: Vec<&[u8]> = written[..written.len() - 1].split(|&byte| byte == b'\n').collect();
    site.topic.await_count(lines.len());
    agent.stop();
    assert_eq!(bytes(&site.whole()), lines);
}

#[test]
fn c06_a_million_one_byte_lines_and_empty_ones() {
    let site = Site::with_partitions(1);
    let mut written = Vec::new();
    for at in 0..1_000_000u32 {
        if at % 10 != 0 {
            written.push(b'a' + (at % 26) as u8);
        }
        written.push(b'\n');
    }
    append(site.log("app.log"), &written);
    // Small enough for the mock cluster, which forgets what is beyond 5 MB.
    let agent = site.agent().set("item.key=none").args("--compression zstd").start();
    site.topic.await_count(1_000_000);
    let peak = agent.peak_mib();
    agent.stop();
    assert!(peak < 160, "{peak} MiB were resident");
    let records = site.whole();
    let lines = written[..written.len() - 1].split(|&byte| byte == b'\n');
    assert!(bytes(&records).into_iter().eq(lines));
}

#[test]
fn c09_a_line_of_a_thousand_writes_is_never_a_half_record() {
    let site = Site::with_partitions(1);
    let agent = site.agent().start();
    site.append("app.log", "before\n");
    site.topic.await_count(1);
    let line = "Grüße, 世界 🦀 ".repeat(50);
    assert!(line.len() > 1000);
    for byte in line.as_bytes() {
        // Each byte is a write of its own, and so every character of more bytes is cut.
        site.append("app.log", [*byte]);
    }
    site.append("app.log", "\nafter\n");
    site.topic.await_value(b"after");
    agent.stop();
    assert_eq!(bytes(&site.whole()), [b"before", line.as_bytes(), b"after"]);
}

#[test]
fn c09_an_unfinished_line_waits_across_a_restart() {
    let site = Site::with_partitions(1);
    let agent = site.agent().start();
    site.append("app.log", "one\ntw");
    site.topic.await_count(1);
    agent.stop();
    let agent = site.agent().start();
    site.append("app.log", "o\nthree\n");
    site.topic.await_count(3);
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "two", "three"]);
}

#[test]
fn c08_an_unfinished_line_that_is_flushed_is_sent_in_pieces() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("item.flush_after=50ms").start();
    site.append("app.log", "one\nhalf");
    site.topic.await_value(b"half");
    until_true("it is acknowledged", || agent.metric("logdrive_in_flight_lines") == 0.0);
    agent.kill();
    site.append("app.log", " a line\nlast\n");
    let agent = site.agent().set("item.flush_after=50ms").start();
    site.topic.await_value(b"last");
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "half", " a line", "last"]);
}

#[test]
fn c08_an_unfinished_line_that_was_flushed_and_not_acknowledged_is_read_again_whole() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("item.flush_after=50ms").start();
    site.append("app.log", "one\n");
    site.topic.await_value(b"one");
    until_true("it is acknowledged", || agent.metric("logdrive_in_flight_lines") == 0.0);
    site.broker_down();
    site.append("app.log", "half");
    until_true("the half is on its way", || agent.metric("logdrive_in_flight_lines") == 1.0);
    agent.kill();
    site.append("app.log", " a line\nlast\n");
    site.broker_up();
    let agent = site.agent().set("item.flush_after=50ms").start();
    site.topic.await_value(b"last");
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "half a line", "last"]);
}

/// Sequences that are no UTF-8, or should not be.
const NO_TEXT: [&[u8]; 8] = [
    b"plain",
    b"\xff\xfe\xfd",
    b"overlong \xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf",
    b"surrogates \xed\xa0\x80\xed\xbf\xbf",
    b"cut \xe2\x82",
    b"alone \x80\xbf",
    b"beyond \xf4\x90\x80\x80",
    b"\xef\xbb\xbfmark of byte order",
];

#[test]
fn c10_what_is_no_utf8_arrives_unchanged() {
    let site = Site::with_partitions(1);
    let agent = site.agent().start();
    site.append("app.log", [NO_TEXT.join(&b'\n'), b"\n".to_vec()].concat());
    site.topic.await_count(NO_TEXT.len());
    agent.stop();
    assert_eq!(bytes(&site.whole()), NO_TEXT);
}

#[test]
fn c10_documents_of_what_is_no_utf8_are_valid_json() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("item.format=ecs").set("item.fields={team=\"a\\\"b\"}").start();
    site.append("app.log", [NO_TEXT.join(&b'\n'), b"\n\0\x01\x1b\"\\ \xe2\x80\xa8\n".to_vec()].concat());
    site.topic.await_count(NO_TEXT.len() + 1);
    agent.stop();
    let mut position = 0;
    for (at, record) in site.whole().iter().enumerate() {
        let document: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        let line = NO_TEXT.get(at).copied().unwrap_or(b"\0\x01\x1b\"\\ \xe2\x80\xa8");
        assert_eq!(document["message"], String::from_utf8_lossy(line).as_ref(), "{document}");
        assert_eq!(document["log.offset"], position, "{document}");
        assert_eq!(document["log.file.path"], site.log("app.log").to_str().unwrap(), "{document}");
        assert_eq!(document["team"], "a\"b", "{document}");
        position += line.len() + 1;
    }
}

#[test]
fn carriage_returns_empty_lines_and_nul_bytes_are_kept() {
    let written = b"one\r\n\r\n\n\0\n \ntwo\rthree\r\r\n\xff\n";
    for (carriage_return, expected) in [
        ("keep", [&b"one\r"[..], b"\r", b"", b"\0", b" ", b"two\rthree\r\r", b"\xff"]),
        ("strip", [&b"one"[..], b"", b"", b"\0", b" ", b"two\rthree\r", b"\xff"]),
    ] {
        let site = Site::with_partitions(1);
        let agent = site.agent().set(format!("item.carriage_return={carriage_return}")).start();
        site.append("app.log", written);
        site.topic.await_count(expected.len());
        agent.stop();
        assert_eq!(bytes(&site.whole()), expected, "{carriage_return}");
    }
}

#[test]
fn events_of_many_lines_are_one_record() {
    let site = Site::with_partitions(1);
    let agent =
        site.agent().set("item.multiline.start=^\\d{4}-").set("item.multiline.flush_after=100ms").start();
    let events = ["2026-01-02 first\n  at a\n  at b", "2026-01-02 second", "2026-01-02 third\n\n  at c"];
    for event in events {
        for line in event.split_inclusive('\n') {
            site.append("app.log", line);
        }
        site.append("app.log", "\n");
        site.topic.await_value(event.as_bytes());
    }
    agent.stop();
    assert_eq!(values(&site.whole()), events.map(|event| event.escape_default().to_string()));
}

#[test]
fn filters_leave_lines_out_and_the_counts_add_up() {
    let site = Site::with_partitions(1);
    let agent = site
        .agent()
        .set("item.include_lines=['^keep', 'also$']")
        .set("item.exclude_lines=['secret']")
        .start();
    for round in 0..100 {
        site.append("app.log", format!("keep {round}\nother\nkeep secret {round}\n{round} also\n\n"));
    }
    site.topic.await_value(b"99 also");
    site.append("app.log", "keep the last\n");
    site.topic.await_value(b"keep the last");
    let count = |name: &str| agent.metric(name) as u64;
    until_true("everything is acknowledged", || count("logdrive_in_flight_lines") == 0);
    crate::control::assert_balance(&agent, 201.0, 300.0);
    agent.stop();
    assert_eq!(site.whole().len(), 201);
}

#[test]
fn includes_and_excludes_choose_the_files() {
    let site = Site::with_partitions(1);
    std::fs::create_dir_all(site.log("app/old")).unwrap();
    for name in ["a.log", "a.txt", "debug.log", "app/b.log", "app/old/c.log", "a.log.gz"] {
        site.append(name, format!("{name}\n"));
    }
    let agent = site
        .reading("**/*.log*")
        .arg("--include")
        .arg(site.log("*.txt"))
        .args("--exclude *.gz --exclude debug.* --exclude")
        .arg(site.log("app/old/**"))
        .start();
    site.topic.await_count(3);
    agent.stop();
    let mut arrived = values(&site.whole());
    arrived.sort();
    assert_eq!(arrived, ["a.log", "a.txt", "app/b.log"]);
}

#[test]
fn whole_lines_of_one_file_make_a_chunk() {
    let site = Site::with_partitions(1);
    let lines: Vec<String> = (0..20_000).map(|at| format!("line {at} {}", "y".repeat(at % 90))).collect();
    site.append("app.log", lines.join("\n") + "\n");
    let agent = site.agent().set("item.framing=chunk").set("item.chunk_bytes=8KiB").start();
    let total: usize = lines.iter().map(|line| line.len() + 1).sum();
    site.topic.await_that("all lines", |records| {
        records.iter().map(|record| record.value.len() + 1).sum::<usize>() >= total
    });
    agent.stop();
    let records = site.whole();
    assert!(records.len() < 400 && records.iter().all(|record| record.value.len() <= 8192));
    let arrived: Vec<u8> = bytes(&records).join(&b'\n');
    assert_eq!(arrived.split(|&byte| byte == b'\n').count(), 20_000);
    assert!(arrived.split(|&byte| byte == b'\n').eq(lines.iter().map(String::as_bytes)));
}

#[test]
fn c11_a_byte_order_mark_is_kept_and_its_file_is_read_once() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("watch.reconcile=100ms").start();
    site.append("utf8.log", b"\xef\xbb\xbfone\ntwo\n");
    site.topic.await_count(2);
    let wide: Vec<u8> = "\u{feff}one\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    site.append("utf16.log", &wide);
    site.topic.await_count(3);
    site.append("last.log", "last\n");
    site.topic.await_count(4);
    agent.stop();
    // The newline of UTF-16 is two bytes: its second begins the next line, which is not finished.
    let expected: [&[u8]; 4] = [b"\xef\xbb\xbfone", b"two", &wide[..wide.len() - 2], b"last"];
    assert_eq!(bytes(&site.whole()), expected);
}

/// Time, stream, tag and text of a line as containerd writes it.
fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-01-02T03:04:05.123456789Z {stream} {tag} {text}\n")
}

#[test]
fn c12_pieces_of_containers_are_joined_across_a_kill_and_nothing_is_lost() {
    let site = Site::with_partitions(1);
    let reading = || site.agent().set("item.container=cri").set("item.headers=true");
    let agent = reading().start();
    site.append(
        "app.log",
        cri("stdout", "F", "one") + &cri("stdout", "P", "be") + &cri("stderr", "F", "other"),
    );
    site.topic.await_value(b"one");
    until_true("its position is kept", || agent.metric("logdrive_checkpoint_writes_total") > 0.0);
    agent.kill();
    site.append("app.log", cri("stdout", "P", "gin") + "no container writes this\n");
    let agent = reading().start();
    site.append("app.log", cri("stdout", "F", "ning") + &cri("stdout", "F", "last"));
    site.topic.await_value(b"last");
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    assert_eq!(agent.metric("logdrive_lines_damaged_total"), 1.0);
    agent.stop();
    let mut records = site.whole();
    // What was acknowledged and not yet remembered at the kill may be there twice.
    records.dedup_by(|second, first| second.value == first.value);
    assert_eq!(values(&records), ["one", "other", "no container writes this", "beginning", "last"]);
    let header = |at: usize, name: &str| {
        let found = records[at].headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let place = cri("stdout", "F", "one").len().to_string();
    assert_eq!(header(3, "offset"), Some(place), "where its first piece is");
    assert_eq!((header(1, "stream"), header(2, "stream")), (Some("stderr".into()), None));
    assert_eq!(header(1, "time").as_deref(), Some("2026-01-02T03:04:05.123456789Z"));
}

#[test]
fn c12_lines_of_docker_with_names_from_the_path() {
    let site = Site::with_partitions(1);
    let name = format!("web-7d4b9_shop_nginx-{}.log", "0123456789abcdef".repeat(4));
    std::fs::create_dir(site.log("containers")).unwrap();
    let agent = site.reading("containers/*.log").set("item.container=docker").set("item.format=ecs").start();
    let time = "2026-01-02T03:04:05.123456789Z";
    let lines = [r#"say \"hi\" "#, r#"and bye\n"#]
        .map(|log| format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n"));
    site.append(&format!("containers/{name}"), lines.concat());
    site.topic.await_count(1);
    agent.stop();
    let records = site.whole();
    let document: serde_json::Value = serde_json::from_slice(&records[0].value).unwrap();
    for (field, value) in [
        ("message", "say \"hi\" and bye"),
        ("@timestamp", time),
        ("stream", "stdout"),
        ("kubernetes.namespace", "shop"),
        ("kubernetes.pod.name", "web-7d4b9"),
        ("kubernetes.container.name", "nginx"),
    ] {
        assert_eq!(document[field], value, "{document}");
    }
    assert_eq!((records.len(), &document["log.offset"]), (1, &0.into()));
}
