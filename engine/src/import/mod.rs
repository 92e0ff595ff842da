//! `logdrive import`: the configuration of another agent becomes one of ours.
//!
//! Filebeat, Fluent Bit and Vector say the same things in three languages. What they write is read into one tree
//! (`yaml`, `toml_tree`, `classic`), a module for each product carries it into one draft, and everything in between is
//! shared: references to variables, patterns, properties of librdkafka. Whatever the tree holds ends up in the report:
//! carried over, changed, left out and why. Secrets are not copied.
//!
//! Not here: positions. What the other agent has sent is not known here; `docs/migration.md` says how to change over.

mod classic;
mod draft;
mod filebeat;
mod fluent_bit;
mod form;
mod librdkafka;
mod pattern;
mod references;
mod report;
mod toml_tree;
mod transfer;
mod tree;
mod vector;
mod yaml;

pub use report::{Fate, Report};

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::config::problem::{At, Problem};
use crate::config::{Host, Refused, Typed, line_bytes_most, plan_of};
use draft::{Draft, Section};
use references::{References, Style};
use transfer::Transfer;
use tree::Node;

/// A product whose configuration can be imported.
#[derive(Copy, Clone, Eq, PartialEq, Debug, ValueEnum)]
pub enum Product {
    /// Filebeat (YAML).
    Filebeat,
    /// Fluent Bit (its own syntax, or YAML).
    FluentBit,
    /// Vector (TOML, YAML or JSON).
    Vector,
}

/// What the user says beside the file.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The product, if it shall not be recognised.
    pub from: Option<Product>,
    /// Brokers in place of those of the file.
    pub brokers: Option<String>,
    /// The topic of whatever has none.
    pub topic: Option<String>,
}

/// What came of an import.
#[derive(Debug)]
pub struct Outcome {
    /// What became of each setting.
    pub report: Report,
    /// The new configuration (TOML), or why there is none.
    pub configuration: Result<String, Refused>,
}

impl Product {
    fn name(self) -> &'static str {
        match self {
            Product::Filebeat => "Filebeat",
            Product::FluentBit => "Fluent Bit",
            Product::Vector => "Vector",
        }
    }

    fn references(self) -> Style {
        match self {
            Product::Filebeat => Style::Filebeat,
            Product::FluentBit => Style::FluentBit,
            Product::Vector => Style::Vector,
        }
    }
}

/// How a text is written.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Syntax {
    Yaml,
    Toml,
    /// Fluent Bit's own.
    Classic,
}

/// Reads the text of a foreign configuration; `name` is what problems call it.
#[must_use]
pub fn import(name: &str, text: &[u8], wanted: &Wanted) -> Outcome {
    let mut report = Report::new(name);
    let configuration = read(name, text, wanted.from).and_then(|(tree, product)| {
        let references = References { style: product.references(), known: BTreeMap::new() };
        let mut transfer = Transfer { report: Report::new(name), references };
        let draft = match product {
            Product::Filebeat => filebeat::draft(&tree, &mut transfer),
            Product::FluentBit => fluent_bit::draft(&tree, &mut transfer),
            Product::Vector => vector::draft(&tree, &mut transfer),
        };
        transfer.leave_rest(&tree);
        let finished = finish(draft, wanted, &mut transfer).map(|draft| {
            let text = draft.write(name, product.name());
            left_to_do(&text, &mut transfer);
            text
        });
        report = transfer.report;
        finished
    });
    Outcome { report, configuration: configuration.map_err(|problems| Refused::new(name, problems)) }
}

/// The tree of the text, and whose it is.
fn read(name: &str, bytes: &[u8], from: Option<Product>) -> Result<(Node, Product), Vec<Problem>> {
    let text = crate::config::text_of(bytes).map_err(|problem| vec![problem])?;
    let syntax = syntax(name, text);
    let tree = match syntax {
        Syntax::Yaml => yaml::read(text),
        Syntax::Toml => toml_tree::read(text),
        Syntax::Classic => classic::read(text),
    };
    let tree = tree.map_err(|problem| vec![problem])?;
    let product = from.or_else(|| recognised(&tree)).ok_or_else(|| {
        let what = "not recognised as a configuration of Filebeat, Fluent Bit or Vector; say whose it is with --from";
        vec![Problem::new(&At::Whole, what)]
    })?;
    let tree = match product {
        Product::Filebeat => tree.without_dots().map_err(|problem| vec![problem])?,
        Product::FluentBit | Product::Vector => tree,
    };
    Ok((tree, product))
}

/// How the text is written, by its headings: file names lie more often.
fn syntax(name: &str, text: &str) -> Syntax {
    let headings = || text.lines().map(str::trim).filter(|line| line.starts_with('['));
    if headings().any(classic::is_heading) {
        return Syntax::Classic;
    }
    let is_table =
        |line: &str| ["[sources.", "[sinks.", "[transforms."].iter().any(|start| line.starts_with(start));
    if name.ends_with(".toml") || headings().any(is_table) { Syntax::Toml } else { Syntax::Yaml }
}

/// Whose configuration it is, by names that only one of them has.
fn recognised(tree: &Node) -> Option<Product> {
    let has = |names: &[&str]| {
        tree.entries().iter().any(|entry| {
            names.iter().any(|name| entry.name == *name || entry.name.starts_with(&format!("{name}.")))
        })
    };
    if has(&["filebeat", "output"]) {
        Some(Product::Filebeat)
    } else if has(&["pipeline"]) {
        Some(Product::FluentBit)
    } else if has(&["sources", "sinks"]) {
        Some(Product::Vector)
    } else {
        None
    }
}

/// What holds for the whole, whoever wrote it: brokers, topics, names, and records that brokers take.
fn finish(mut draft: Draft, wanted: &Wanted, transfer: &mut Transfer) -> Result<Draft, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Some(brokers) = &wanted.brokers
        && let Err(why) = draft.kafka.set("kafka.brokers", brokers.clone())
    {
        problems.push(Problem::new(&At::Flag("--brokers".to_owned()), why));
    }
    if !draft.kafka.has("kafka.brokers") {
        let what = "it sends to no Kafka, or its brokers could not be carried over; name them with --brokers";
        problems.push(Problem::new(&At::Whole, what));
    }
    draft.items.retain(|item| item.has("item.include"));
    if draft.items.is_empty() {
        problems.push(Problem::new(&At::Whole, "it reads no files, or none that could be carried over"));
    }
    for item in &mut draft.items {
        if let Some(topic) = wanted.topic.as_ref().filter(|_| !item.has("item.topic"))
            && let Err(why) = item.set("item.topic", topic.clone())
        {
            problems.push(Problem::new(&At::Flag("--topic".to_owned()), why));
        }
        if !item.has("item.topic") {
            let what = "no topic for these files could be carried over; name one with --topic";
            problems.push(Problem::new(&item.at, what));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    draft.name_items();
    fit(&mut draft, transfer);
    Ok(draft)
}

/// Lowers what would become a record that the brokers refuse.
fn fit(draft: &mut Draft, transfer: &mut Transfer) {
    let bytes = |section: &Section, path| {
        section.value(path).and_then(toml::Value::as_integer).map(i64::unsigned_abs)
    };
    let default = |path| match crate::config::keys::key(path).map(|key| key.fallback) {
        Some(crate::config::keys::Fallback::Value(text)) => text.parse().expect("a number of bytes"),
        _ => unreachable!("it has a default"),
    };
    let record =
        bytes(&draft.kafka, "kafka.message_bytes_max").unwrap_or_else(|| default("kafka.message_bytes_max"));
    let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    // Without the key it is 1 MB.
    if bytes(&draft.kafka, "kafka.batch_bytes").unwrap_or(1_000_000) > record {
        let _ = draft.kafka.set("kafka.batch_bytes", whole(record));
        let what =
            format!("kafka.batch_bytes is {record}: a larger batch is refused (kafka.message_bytes_max)");
        transfer.report.add(&At::Whole, Fate::Changed, what);
    }
    for item in &mut draft.items {
        let is_document = item.text("item.format") == Some("ecs");
        let fields = item.value("item.fields").and_then(toml::Value::as_table);
        let fields = fields.into_iter().flatten();
        let fields =
            fields.map(|(name, value)| (name.len() + value.as_str().map_or(0, str::len) + 6) as u64).sum();
        let most = line_bytes_most(record, is_document.then_some(fields));
        // Those without the key are 1 MB, 160 kB in a document, and 128 KiB where they are copied.
        let is_copied = item.has("item.container") || item.has("item.encoding");
        let written = bytes(item, "item.line_bytes_max").unwrap_or(match is_document {
            _ if is_copied => 128 * 1024,
            true => 160_000,
            false => 1_000_000,
        });
        if written > most {
            let _ = item.set("item.line_bytes_max", whole(most));
            let what = format!(
                "line_bytes_max is {most}: a longer line could become a record of more than {record} bytes \
                 (kafka.message_bytes_max)"
            );
            transfer.report.add(&item.at, Fate::Changed, what);
        }
    }
}

/// What `validate` would still refuse on this host, like a file with a password that is not there yet.
fn left_to_do(text: &str, transfer: &mut Transfer) {
    let Err(refused) = plan_of("", Some(text.as_bytes()), &Typed::default(), &Host::here(false)) else {
        return;
    };
    for problem in refused.problems() {
        let place = match problem.at {
            At::File { line, .. } => format!("line {line} of the new configuration: "),
            At::Whole | At::Flag(_) => String::new(),
        };
        transfer.report.add(&At::Whole, Fate::ToDo, format!("{place}{}", problem.message));
    }
}
