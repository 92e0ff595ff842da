//! Fault C11: files that are not UTF-8. What arrives is UTF-8, line for line, whatever happens to files and agent.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::lines::{Family, Script, append, assert_complete, assert_no_loss, assert_order_of_firsts, values};
use crate::process::{Agent, Launch};
use crate::real::Real;
use crate::site::{Site, TOPIC};
use crate::topic::{Record, Topic};
use crate::wait::until_true;

/// Windows writes UTF-16 so: with a mark.
const UTF_16: Script = Script {
    mark: b"\xff\xfe",
    words: "\u{4f60}\u{597d} \u{1f98a} \u{a0a} ",
    encode: |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
};
const GBK: Script = Script {
    mark: b"",
    words: "\u{4f60}\u{597d} \u{20ac} ",
    encode: |text| encoding_rs::GBK.encode(text).0.into_owned(),
};

fn utf_16be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).unwrap_or_default()
}

#[test]
fn c11_text_in_other_encodings_arrives_as_utf8_with_its_place() {
    for (label, file, expected, replaced) in [
        (
            "utf-16",
            [&b"\xfe\xff"[..], &utf_16be("gr\u{fc}n\r\n\u{1f98a}\n\n")].concat(),
            &[(2, "gr\u{fc}n"), (14, "\u{1f98a}"), (20, "")][..],
            0.0,
        ),
        (
            "gb18030",
            b"\xc4\xe3\xba\xc3\n\x81\x30\x0a\xff!\n".to_vec(),
            &[(0, "\u{4f60}\u{597d}"), (5, "\u{fffd}0"), (8, "\u{fffd}!")],
            2.0,
        ),
        ("latin1", b"caf\xe9\n\x80 5\n".to_vec(), &[(0, "caf\u{e9}"), (5, "\u{20ac} 5")], 0.0),
        ("utf-8", b"\xef\xbb\xbfone\n\xc3\n".to_vec(), &[(3, "one"), (7, "\u{fffd}")], 1.0),
    ] {
        let site = Site::with_partitions(1);
        let agent = site.agent().set(format!("item.encoding={label}")).set("item.headers=true");
        let agent = agent.set("item.carriage_return=strip").start();
        site.append("app.log", &file);
        site.topic.await_count(expected.len());
        until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
        assert_eq!(agent.metric("logdrive_characters_replaced_total"), replaced, "{label}");
        assert_eq!(
            agent.metric("logdrive_bytes_acked_total"),
            file.len() as f64,
            "bytes of the file: {label}"
        );
        agent.stop();
        let records = site.whole();
        let text = |record: &Record| String::from_utf8(record.value.clone()).expect("text");
        let arrived: Vec<(usize, String)> =
            records.iter().map(|record| (header(record, "offset").parse().unwrap(), text(record))).collect();
        let expected: Vec<(usize, String)> =
            expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
        assert_eq!(arrived, expected, "{label}");
    }
}

#[test]
fn c11_events_of_many_lines_and_long_ones_in_utf16() {
    let site = Site::with_partitions(1);
    let agent =
        site.agent().set("item.encoding=utf-16be").set("item.format=ecs").set("item.line_bytes_max=64");
    let agent = agent.set("item.multiline.start=^\\d").set("item.multiline.flush_after=100ms");
    let agent = agent.set("item.on_long_line=split").start();
    let long = format!("3 {}\n", "\u{4f60}".repeat(50));
    site.append("app.log", utf_16be(&format!("1 first\n  at \u{597d}\n2 second\n{long}4 fourth\n")));
    site.topic.await_count(6);
    agent.stop();
    let document = |record: &Record| serde_json::from_slice::<serde_json::Value>(&record.value).unwrap();
    let documents: Vec<serde_json::Value> = site.whole().iter().map(document).collect();
    let messages: Vec<&str> =
        documents.iter().map(|document| document["message"].as_str().unwrap()).collect();
    // Two bytes and twenty characters of three fit into 64, and then twenty-one.
    let pieces = [20, 21, 9].map(|count| "\u{4f60}".repeat(count));
    let expected = [
        "1 first\n  at \u{597d}",
        "2 second",
        &format!("3 {}", pieces[0]),
        &pieces[1],
        &pieces[2],
        "4 fourth",
    ];
    assert_eq!(messages, expected);
    let places: Vec<u64> =
        documents.iter().map(|document| document["log.offset"].as_u64().unwrap()).collect();
    assert_eq!(places, [0, 30, 48, 48 + 44, 48 + 44 + 42, 48 + 106]);
}

/// Two items, each with files of its own.
fn configuration(brokers: &str, topic: &str, root: &Path) -> String {
    let item = |name: &str, encoding: &str| {
        format!(
            "[[item]]\nname = {name:?}\ninclude = [{:?}]\ntopic = {topic:?}\nread_from = \"beginning\"\nencoding = {encoding:?}\n",
            root.join(format!("{name}.log*"))
        )
    };
    let head = format!("kafka.brokers = {brokers:?}\nstate.dir = {:?}\n", root.join("state"));
    head + &item("wide", "utf-16") + &item("narrow", "gbk")
}

/// What was written is acknowledged, and that is on the disk.
fn is_durable(agent: &Agent) -> bool {
    let Some((200, body)) = agent.http("/status") else { return false };
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    let files = status["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    files.iter().all(|file| file["positions"]["durable"] == file["positions"]["size"])
}

/// Lines are written and rotated, and the agent is killed within lines and within characters.
fn ordeal(brokers: &str, topic_name: &str, topic: &Topic, root: &Path) {
    let path = root.join("logdrive.toml");
    std::fs::write(&path, configuration(brokers, topic_name, root)).unwrap();
    let start = || Launch::run().arg("--config").arg(&path).start();
    let mut families = [
        Family::written_in(UTF_16, "wide", root.join("wide.log")),
        Family::written_in(GBK, "narrow", root.join("narrow.log")),
    ];
    let mut agent = start();
    for round in 0..4 {
        families.iter_mut().for_each(|family| family.write(500));
        if round % 2 == 1 {
            families.iter_mut().for_each(|family| family.rotate(&family.beside(&format!("{}", 100 + round))));
        }
        families.iter_mut().for_each(|family| family.write(500));
    }
    topic.await_count(8000);
    until_true("all is acknowledged and on the disk", || is_durable(&agent));
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());

    // What is under way at a kill may come again, and nothing else.
    let mut excused = 0;
    for round in 0..4 {
        until_true("all is acknowledged and on the disk", || is_durable(&agent));
        let before = topic.count();
        families.iter_mut().for_each(|family| family.write(2000));
        let halves = families.each_mut().map(|family| family.write_half());
        topic.await_count(before + 1);
        agent.kill();
        excused += 4000;
        if round % 2 == 1 {
            families.iter_mut().for_each(|family| family.rename(&family.beside(&format!("{}", 200 + round))));
        }
        agent = start();
        for (family, rest) in families.iter_mut().zip(halves) {
            family.write_rest(&rest);
            family.reopen();
            family.write(100);
            topic.await_value(family.last());
        }
    }
    until_true("all is acknowledged and on the disk", || is_durable(&agent));
    agent.stop();
    let records = topic.whole();
    let families: Vec<&Family> = families.iter().collect();
    let duplicates = assert_no_loss(&records, &families);
    assert!(duplicates <= excused, "{duplicates} duplicates");
    assert_order_of_firsts(&records, &families);
}

#[test]
fn c11_rotated_and_killed_within_a_character() {
    let site = Site::with_partitions(1);
    ordeal(&site.brokers(), TOPIC, &site.topic, site.root());
}

#[test]
#[ignore = "needs a broker: run scripts/test"]
fn c11_rotated_and_killed_within_a_character_with_a_real_broker() {
    let real = Real::new();
    let topic = real.create_topic(&[]);
    ordeal(&real.brokers, &real.topic, &topic, &real.log(""));
}

#[test]
fn c11_reading_from_the_end_in_utf16_loses_no_line_that_is_written_then() {
    let site = Site::with_partitions(1);
    append(site.log("app.log"), [b"\xff\xfe".to_vec(), (UTF_16.encode)("old\nha")].concat());
    let agent =
        site.connected(Launch::run()).args("--read-from end --topic logs --include").arg(site.log("*.log"));
    let agent = agent.set("item.encoding=utf-16").start();
    agent.await_ready();
    let mut file = OpenOptions::new().append(true).open(site.log("app.log")).unwrap();
    for byte in (UTF_16.encode)("lf\nnew\n") {
        file.write_all(&[byte]).unwrap();
    }
    site.topic.await_count(1);
    agent.stop();
    assert_eq!(values(&site.whole()), ["new"]);
}
