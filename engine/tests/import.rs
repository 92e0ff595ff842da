//! Configurations of others as they are found in the world, and what becomes of them: the new file and the report,
//! word for word beside each of them in `tests/import`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use expect_test::{expect, expect_file};
use logdrive::config::{Host, Plan, Typed, plan_of};
use logdrive::import::{Fate, Outcome, Product, Wanted, import};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn read(name: &str, wanted: &Wanted) -> Outcome {
    import(name, &fs::read(folder().join(name)).unwrap(), wanted)
}

/// The plan of what was made, once its secrets are where the report asks for them and its certificates are there.
fn planned(configuration: &str) -> Plan {
    let dir = tempfile::tempdir().unwrap();
    let mut text = configuration.to_owned();
    for place in ["/etc/logdrive/", "/etc/pki/kafka/"] {
        text = text.replace(place, &format!("{}/", dir.path().display()));
    }
    for name in ["kafka.password", "kafka.key.password", "kafka.key", "ca.pem", "agent.pem", "agent.key"] {
        use std::io::Write;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).mode(0o600).open(dir.path().join(name)).unwrap();
        file.write_all(b"word\n").unwrap();
    }
    let host = Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") };
    plan_of("made.toml", Some(text.as_bytes()), &Typed::default(), &host)
        .unwrap_or_else(|refused| panic!("{refused}\n{configuration}"))
}

/// Judges one import: it is as it was, it is valid, and no secret is in it.
fn check(name: &str, wanted: &Wanted, items: usize) {
    let outcome = read(name, wanted);
    let report = outcome.report.to_string();
    let configuration = outcome.configuration.unwrap_or_else(|refused| panic!("{report}{refused}"));
    let stem = folder().join(name);
    expect_file![stem.with_extension("made.toml")].assert_eq(&configuration);
    expect_file![stem.with_extension("report")].assert_eq(&report);
    for text in [&configuration, &report] {
        assert!(!text.contains("canary"), "a secret:\n{text}");
    }
    assert!(outcome.report.count(Fate::Carried) > 0 && outcome.report.count(Fate::Left) > 0);
    let plan = planned(&configuration);
    assert_eq!(plan.items.len(), items);
}

fn wanted(brokers: Option<&str>, topic: Option<&str>) -> Wanted {
    Wanted { from: None, brokers: brokers.map(str::to_owned), topic: topic.map(str::to_owned) }
}

#[test]
fn filebeat_of_a_web_server() {
    check("filebeat-web.yml", &Wanted::default(), 2);
}

#[test]
fn filebeat_of_java_with_tls_and_a_login() {
    check("filebeat-java.yml", &Wanted::default(), 3);
}

#[test]
fn filebeat_of_containers_to_elasticsearch() {
    check("filebeat-containers.yml", &wanted(Some("kafka:9092"), Some("containers")), 3);
}

#[test]
fn fluent_bit_of_a_web_server() {
    check("fluent-bit-web.conf", &Wanted::default(), 2);
}

#[test]
fn fluent_bit_of_java_with_tls_and_a_login() {
    check("fluent-bit-java.conf", &wanted(None, Some("apps")), 3);
}

#[test]
fn fluent_bit_in_yaml() {
    check("fluent-bit-pipeline.yaml", &Wanted::default(), 2);
}

#[test]
fn vector_of_a_web_server() {
    check("vector-web.toml", &Wanted::default(), 1);
}

#[test]
fn vector_of_a_shop_with_tls_and_a_login() {
    check("vector-shop.yaml", &wanted(Some("kafka:9093"), None), 3);
}

#[test]
fn vector_with_routes() {
    check("vector-routes.yaml", &wanted(None, Some("rest")), 4);
}

#[test]
fn what_cannot_be_imported_says_why_in_one_line() {
    let mut all = String::new();
    let deep = "[".repeat(10_000);
    for (name, text) in [
        ("empty.yml", ""),
        ("foreign.yml", "receivers: {filelog: {}}\n"),
        ("broken.yml", "filebeat.inputs:\n- type: log\n  paths: [/a\noutput: x\n"),
        ("tab.yml", "filebeat.inputs:\n\t- type: log\n"),
        ("twice.yml", "output.kafka.hosts: [a]\noutput.kafka: {hosts: [b]}\n"),
        ("deep.yml", &deep),
        ("nothing.yml", "filebeat.inputs: [{type: stdin}]\noutput.kafka.hosts: ['k:9092']\n"),
        ("no-topic.yml", "filebeat.inputs: [{paths: [/a.log]}]\noutput.kafka.hosts: ['k:9092']\n"),
        ("lists.yml", "filebeat.inputs: {paths: [[x], {y: z}]}\noutput.kafka: [hosts]\n"),
        ("heading.conf", "[INPUT]\n    Name tail\n[OUPTUT]\n    Name kafka\n"),
        ("value.conf", "[INPUT]\n    Name\n"),
        ("broken.toml", "[sources.a]\ntype = file\n"),
        ("twice.toml", "[sources.a]\ntype = 'file'\n[sources.a]\n"),
    ] {
        let outcome = import(name, text.as_bytes(), &Wanted::default());
        let why = outcome.configuration.expect_err(text).to_string();
        all += &format!("{why}\n");
    }
    let outcome = import("bytes.yml", b"filebeat:\n  a: \xff\n", &Wanted::default());
    all += &format!("{}\n", outcome.configuration.unwrap_err());
    expect![[r#"
        error: empty.yml: not recognised as a configuration of Filebeat, Fluent Bit or Vector; say whose it is with --from
        error: foreign.yml: not recognised as a configuration of Filebeat, Fluent Bit or Vector; say whose it is with --from
        error: broken.yml:4:7: not valid YAML: illegal placement of ':' indicator
        error: tab.yml:2:2: not valid YAML: tabs disallowed within this context (block indentation); a line begins with a tab, which YAML does not take for indentation
        error: twice.yml:2:16: `hosts` is written a second time here
        error: deep.yml:1:256: not valid YAML: recursion limit exceeded
        error: nothing.yml: it reads no files, or none that could be carried over
        error: no-topic.yml:1:19: no topic for these files could be carried over; name one with --topic
        error: lists.yml: it sends to no Kafka, or its brokers could not be carried over; name them with --brokers
        error: lists.yml: it reads no files, or none that could be carried over
        error: heading.conf:3:1: unknown section [OUPTUT]; known: [SERVICE], [INPUT], [FILTER], [OUTPUT], [PARSER], [MULTILINE_PARSER], [CUSTOM]
        error: value.conf:2:5: `Name` has no value; a key and its value stand on one line
        error: broken.toml:2:8: not valid TOML: invalid boolean, expected `false`
        error: twice.toml:3:10: not valid TOML: duplicate key
        error: bytes.yml:2:6: not UTF-8 from here on
    "#]].assert_eq(&all);
}

#[test]
fn whose_it_is_can_be_said() {
    let from = |from| Wanted { from, ..wanted(Some("k:9092"), Some("t")) };
    let text = b"sources: {a: {type: file, include: [/a.log]}}\nsinks: {k: {type: kafka, inputs: [a]}}\n";
    for (product, is_taken) in [(None, true), (Some(Product::Vector), true), (Some(Product::Filebeat), false)]
    {
        let outcome = import("x", text, &from(product));
        assert_eq!(outcome.configuration.is_ok(), is_taken, "{product:?}");
    }
}

/// A file with a line missing means something else, mostly nothing. Whatever it means, it ends, and shows no secret.
#[test]
fn g12_an_import_shows_no_secret_whichever_line_is_missing() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains(".made.") || name.ends_with(".report") {
            continue;
        }
        let text = fs::read(&path).unwrap();
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for cut in 0..lines.len() {
            let without = [&lines[..cut], &lines[cut + 1..]].concat().concat();
            let outcome = import(&name, &without, &wanted(Some("k:9092"), Some("t")));
            assert!(!outcome.report.to_string().contains("canary"), "{name} without line {}", cut + 1);
            if let Ok(configuration) = outcome.configuration {
                assert!(!configuration.contains("canary"), "{name} without line {}", cut + 1);
            }
        }
    }
}
