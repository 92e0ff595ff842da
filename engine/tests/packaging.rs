//! What is packed: pages and completions for every verb, a configuration that is valid, a unit and a container file
//! that agree with the agent, alerts and a dashboard that ask for metrics that exist.
//!
//! Not here: the package itself, which `scripts/checks/package.sh` installs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::CommandFactory;
use logdrive::args::Arguments;
use logdrive::config::{Host, Typed, plan_of};
use regex::Regex;
use serde_json::Value;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn logdrive(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_logdrive")).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names of all verbs, those below a verb with it: `run`, `state-set`.
fn verbs() -> Vec<String> {
    let command = Arguments::command();
    let below = |verb: &clap::Command| {
        let own = verb.get_name().to_owned();
        let nested: Vec<String> =
            verb.get_subcommands().map(|sub| format!("{own}-{}", sub.get_name())).collect();
        std::iter::once(own).chain(nested).collect::<Vec<_>>()
    };
    command.get_subcommands().flat_map(below).collect()
}

#[test]
fn every_verb_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    logdrive(&["man", dir.path().to_str().unwrap()]);
    let verbs = verbs();
    assert!(verbs.len() > 8, "{verbs:?}");
    for verb in &verbs {
        let page = fs::read_to_string(dir.path().join(format!("logdrive-{verb}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{verb}:\n{page}");
    }
    assert!(dir.path().join("logdrive.1").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), verbs.len() + 1);

    let refused =
        Command::new(env!("CARGO_BIN_EXE_logdrive")).args(["man", "/nowhere/at/all"]).output().unwrap();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && why.contains("/nowhere/at/all") && why.lines().count() == 1,
        "{why}"
    );
}

#[test]
fn every_shell_knows_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = logdrive(&["completions", shell]);
        for verb in verbs() {
            let last = verb.rsplit('-').next().unwrap();
            assert!(script.contains(last), "{shell} does not know {verb}");
        }
        assert!(script.contains("brokers"), "{shell} does not know flags");
    }
}

#[test]
fn the_packaged_configuration_is_valid_with_and_without_what_is_switched_off() {
    let host = Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") };
    let text = read("packaging/logdrive.toml");
    // Files with passwords and certificates are not there.
    let without_files =
        |line: &&str| !line.contains("/etc/logdrive/ca") && !line.contains("sasl") && !line.contains("SCRAM");
    let on: Vec<&str> = text
        .lines()
        .filter(without_files)
        .filter(|line| !line.contains("username") && !line.contains("password"))
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    for (text, items) in [(text.clone(), 1), (on.join("\n"), 3)] {
        let plan = plan_of("logdrive.toml", Some(text.as_bytes()), &Typed::default(), &host);
        let plan = plan.unwrap_or_else(|refused| panic!("{refused}\n{text}"));
        assert_eq!(plan.items.len(), items);
        assert_eq!(plan.warnings, [""; 0]);
    }
}

/// The last value of a setting of the unit.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let line = unit.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("the unit has no {name}="))
}

#[test]
fn the_unit_agrees_with_the_agent() {
    let unit = read("packaging/systemd/logdrive.service");
    let config = read("packaging/logdrive.toml");
    let host = Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") };
    let plan = plan_of("logdrive.toml", Some(config.as_bytes()), &Typed::default(), &host).unwrap();

    let stop =
        setting(&unit, "TimeoutStopSec").strip_suffix('s').unwrap().parse().map(Duration::from_secs).unwrap();
    assert!(stop >= plan.shutdown_timeout + Duration::from_secs(5), "systemd kills what still waits");
    assert_eq!(plan.state.dir, Path::new("/var/lib").join(setting(&unit, "StateDirectory")));
    assert_eq!(setting(&unit, "RestartPreventExitStatus"), logdrive::config::EXIT_CONFIG.to_string());

    let mut words = setting(&unit, "ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/bin/logdrive"));
    Arguments::read(std::iter::once("logdrive").chain(words)).unwrap();
}

/// The metrics of the reference, under the names by which they are asked for, with their labels.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let reference = read("docs/metrics.md");
    let ticked = Regex::new("`([a-z_]+)`").unwrap();
    let mut known = BTreeMap::new();
    for line in reference.lines().filter(|line| line.starts_with("| `logdrive_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        let labels: BTreeSet<String> =
            ticked.captures_iter(cells[2]).map(|found| found[1].to_owned()).collect();
        if cells[1] == "histogram" {
            let with_le = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{name}_bucket"), with_le);
            known.insert(format!("{name}_sum"), labels.clone());
            known.insert(format!("{name}_count"), labels);
        } else {
            known.insert(name, labels);
        }
    }
    known
}

/// What is wrong with a query: metrics and labels that do not exist.
fn wrongs(query: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let selector = Regex::new(r"\b(logdrive_[a-z_]+|up)\b(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)\s*""#).unwrap();
    let grouping = Regex::new(r"\b(?:by|without)\s*\(([^)]*)\)").unwrap();
    // What Prometheus adds to everything that it scrapes.
    let scraped = ["job", "instance"];
    let mut wrongs = Vec::new();
    let mut labels_of_query: BTreeSet<&str> = scraped.into();
    for found in selector.captures_iter(query) {
        let name = &found[1];
        let labels = match known.get(name) {
            Some(labels) => labels.iter().map(String::as_str).collect::<BTreeSet<&str>>(),
            None if name == "up" => BTreeSet::new(),
            None => {
                wrongs.push(format!("no metric {name}"));
                continue;
            }
        };
        for label in matcher.captures_iter(found.get(2).map_or("", |inner| inner.as_str())) {
            if !labels.contains(&label[1]) && !scraped.contains(&&label[1]) {
                wrongs.push(format!("{name} has no label {}", &label[1]));
            }
        }
        labels_of_query.extend(labels);
    }
    for group in grouping.captures_iter(query) {
        for label in group[1].split(',').map(str::trim).filter(|label| !label.is_empty()) {
            if !labels_of_query.contains(label) {
                wrongs.push(format!("nothing in {query} has a label {label}"));
            }
        }
    }
    wrongs
}

#[test]
fn a_metric_that_does_not_exist_is_found() {
    let known = metrics();
    assert!(known.len() > 30, "{known:?}");
    for (query, expected) in [
        ("sum by (item) (rate(logdrive_lines_read_total{item=~\"a\", job=\"x\"}[5m]))", ""),
        ("histogram_quantile(0.9, sum by (le) (rate(logdrive_read_to_ack_seconds_bucket[5m])))", ""),
        ("up{job=\"logdrive\"} == 0", ""),
        ("logdrive_lines_written_total", "no metric logdrive_lines_written_total"),
        ("logdrive_file_lag_bytes{item=\"a\"}", "logdrive_file_lag_bytes has no label item"),
        (
            "sum by (path) (logdrive_files_open)",
            "nothing in sum by (path) (logdrive_files_open) has a label path",
        ),
    ] {
        assert_eq!(wrongs(query, &known).join("; "), expected);
    }
}

/// Every value under one of the keys, anywhere.
fn texts<'a>(value: &'a Value, keys: &[&str], found: &mut Vec<&'a str>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, keys, found)),
        Value::Object(entries) => {
            for (name, value) in entries {
                if keys.contains(&&name[..]) {
                    found.extend(value.as_str());
                }
                texts(value, keys, found);
            }
        }
        _ => {}
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let known = metrics();
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/logdrive.json")).unwrap();
    let mut queries = Vec::new();
    texts(&dashboard, &["expr", "query"], &mut queries);
    assert!(queries.len() > 30, "{}", queries.len());
    let mut unused: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    for query in &queries {
        assert_eq!(wrongs(query, &known), [""; 0]);
        unused.retain(|name| !query.contains(name));
    }

    // The file is ours and flat: an expression is what stands between `expr:` and the next key.
    let rules = read("packaging/prometheus/logdrive.rules.yml");
    let expressions: Vec<&str> = rules
        .split("expr:")
        .skip(1)
        .map(|rest| &rest[..rest.find("for:").into_iter().chain(rest.find("labels:")).min().unwrap()])
        .collect();
    assert_eq!(expressions.len(), rules.matches("- alert:").count());
    for expression in expressions {
        assert_eq!(wrongs(expression, &known), [""; 0]);
        assert!(expression.contains("logdrive_") || expression.contains("up{"), "{expression}");
    }
    let operations = read("docs/operations.md").to_lowercase();
    for runbook in rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: \"operations.md: ")) {
        let section = runbook.trim_end_matches('"').to_lowercase();
        assert!(
            operations.contains(&format!("\n### {section}\n")),
            "docs/operations.md has no section {section}"
        );
    }
}

#[test]
fn the_container_is_built_from_what_is_there_and_is_not_root() {
    let file = read("packaging/Containerfile").replace("\\\n", " ");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let after = |word: &str| -> Vec<Vec<&str>> {
        let found = lines.iter().filter_map(|line| line.strip_prefix(word));
        found.map(|rest| rest.split_whitespace().collect()).collect()
    };
    let mut copied = 0;
    for words in after("COPY ") {
        if words[0].starts_with("--from=build") {
            continue;
        }
        for source in &words[..words.len() - 1] {
            assert!(workspace().join(source).exists(), "COPY {source}");
            copied += 1;
        }
    }
    assert!(copied > 4);
    // What cargo needs to build the agent: the members of the workspace but the fuzz targets lie within these.
    for member in ["engine", "load-gen", "bench-harness"] {
        assert!(after("COPY ").iter().any(|words| words[0] == member), "{member}");
    }
    let images: Vec<&str> = after("FROM ").iter().map(|words| words[0]).collect();
    assert_eq!(images.len(), 2);
    for image in images {
        assert!(image.contains(':') && !image.ends_with(":latest"), "{image}");
    }
    let user = after("USER ").last().unwrap()[0];
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(uid.parse::<u32>().unwrap() > 0 && gid.parse::<u32>().unwrap() > 0, "{user}");
    assert!(file.contains(&format!("-o {uid} -g {gid} /var/lib/logdrive")));

    let toolchain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(lines.contains(&&format!("ARG RUST={channel}")[..]), "the toolchain is {channel}");

    let command = file.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    Arguments::read(std::iter::once("logdrive".to_owned()).chain(words)).unwrap();
}
