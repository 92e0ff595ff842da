//! Holds `docs/configuration.md` and the example file against the table of keys.

use std::path::{Path, PathBuf};

use logdrive::config::keys::{Fallback, KEYS, Key};
use logdrive::config::{Host, Setting, Typed, plan_of};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(path).expect("the documents are there")
}

fn host() -> Host {
    Host { descriptors_max: 1024, state_dir: PathBuf::from("/var/lib/logdrive") }
}

/// Path and text of every section "### `path`".
fn sections(reference: &str) -> Vec<(&str, &str)> {
    let parts = reference.split("\n### `").skip(1);
    parts
        .map(|part| {
            let (path, body) = part.split_once("`\n").expect("a heading with a key");
            (path, body.split("\n## ").next().expect("at least one part"))
        })
        .collect()
}

/// What the section of a key begins with.
fn head(key: &Key) -> String {
    let default = match key.fallback {
        Fallback::Required => "none: it must be written".to_owned(),
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Absent(meaning) => meaning.to_owned(),
    };
    format!("\n- Type: {}\n- Default: {default}\n\n{}", key.kind.describe(), key.doc)
}

fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence[..]).skip(1).map(|rest| rest.split("```").next().expect("at least one part")).collect()
}

#[test]
fn every_key_is_documented_in_order_with_its_type_and_default() {
    let reference = document("configuration.md");
    let sections = sections(&reference);
    for key in KEYS {
        let Some((_, body)) = sections.iter().find(|(path, _)| *path == key.path) else {
            panic!("docs/configuration.md has no section for this key:\n### `{}`\n{}", key.path, head(key));
        };
        assert!(
            body.starts_with(&head(key)),
            "the section of `{}` must begin with:\n{}",
            key.path,
            head(key)
        );
        let examples = blocks(body, "toml");
        assert!(
            examples.iter().any(|example| example.contains(key.name())),
            "the section of `{}` has no example that shows it",
            key.path
        );
    }
    let documented: Vec<&str> = sections.iter().map(|(path, _)| *path).collect();
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(documented, known, "the reference and the table of keys, in their order");
}

/// What an example leaves out because it is not its subject.
fn filled_up(example: &str) -> Typed {
    let mut typed = Typed::default();
    let mut add = |path: &str, text: &str| {
        typed.settings.push(Setting {
            flag: "--set".to_owned(),
            path: path.to_owned(),
            text: text.to_owned(),
        });
    };
    if !example.contains("brokers =") {
        add("kafka.brokers", "localhost:9092");
    }
    if example.contains("[etcd") {
        for (key, value) in
            [("endpoints", "h:2379"), ("allow_paths", "['/var/log']"), ("allow_topics", "['*_log']")]
        {
            if !example.contains(&format!("{key} =")) {
                add(&format!("etcd.{key}"), value);
            }
        }
    }
    if example.contains("[[item]]") {
        if !example.contains("include =") {
            add("item.include", "['/var/log/*.log']");
        }
        if !example.contains("topic =") {
            add("item.topic", "logs");
        }
    } else {
        typed.include = vec!["/var/log/*.log".to_owned()];
        typed.topic = Some("logs".to_owned());
    }
    typed
}

#[test]
fn every_example_is_accepted() {
    let reference = document("configuration.md");
    let examples = blocks(&reference, "toml");
    assert!(examples.len() > KEYS.len() / 2);
    for example in examples {
        let Err(refused) = plan_of("example", Some(example.as_bytes()), &filled_up(example), &host()) else {
            continue;
        };
        // Certificates and passwords of the examples are not on this machine.
        for line in refused.to_string().lines() {
            let absent = line.contains("cannot read /etc/logdrive/")
                || line.contains("is set in the agent's environment");
            assert!(absent, "{line}\n{example}");
        }
    }
}

#[test]
fn the_example_file_is_accepted_as_it_is() {
    let example = document("logdrive.example.toml");
    let plan = plan_of("logdrive.example.toml", Some(example.as_bytes()), &Typed::default(), &host());
    let plan = plan.unwrap_or_else(|refused| panic!("{refused}"));
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    assert!(plan.items.len() > 1);
}

/// Lines of the example file that are switched off must be right as well: somebody will switch them on.
#[test]
fn what_the_example_file_leaves_out_is_accepted_when_it_is_put_in() {
    let example = document("logdrive.example.toml");
    let whole: String = example
        .lines()
        .map(|line| {
            format!("{}\n", line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        })
        .collect();
    assert_ne!(example, whole);
    if let Err(refused) = plan_of("example", Some(whole.as_bytes()), &Typed::default(), &host()) {
        for line in refused.to_string().lines() {
            assert!(line.contains("cannot read /etc/logdrive/"), "{line}\n{whole}");
        }
    }
}

#[test]
fn every_flag_of_the_reference_is_one_of_run() {
    use clap::CommandFactory;
    let command = logdrive::args::Arguments::command();
    let run = command.find_subcommand("run").unwrap();
    let flags: Vec<String> = run
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .map(|long| format!("--{long}"))
        .collect();
    let reference = document("configuration.md");
    let table = reference.split("\n## The command line\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `--")?.split(['`', ' ']).next()).collect();
    let rows: Vec<String> = rows.iter().map(|flag| format!("--{flag}")).collect();
    assert_eq!(rows, flags, "the table of flags, in the order of the help");
}
