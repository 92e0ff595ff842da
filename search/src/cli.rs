//! The command line: from what was typed to an exit code. Errors are printed here, and nowhere else.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use logdrive::cli::{hide_memory, one_line};
use logdrive::config::{EXIT_CONFIG, Refused, Setting, Typed};
use logdrive::logging;
use tracing::warn;

use crate::config::{self, Configured};
use crate::index::{self, IndexPlan};

/// From Kafka to the reader: log lines that agents have sent are made searchable.
#[derive(Parser, Debug)]
#[command(name = "logdrive-search", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Write lines to OpenSearch or Elasticsearch, as a member of a consumer group, until stopped.
    #[command(
        after_help = "Example: logdrive-search index --brokers localhost:9092 --topic web_log --dead-letter-topic web_dead --url http://localhost:9200"
    )]
    Index(IndexArguments),
    /// Check a configuration for `index`; every problem is named with file:line:column, and the exit code is 78.
    Validate(IndexArguments),
}

/// The configuration: a file, flags, or both.
#[derive(Args, Debug)]
struct IndexArguments {
    /// Configuration file (TOML).
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Brokers to ask first, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Topic to index; repeatable; one that begins with ^ is a pattern.
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// Topic for records that the index refuses for good.
    #[arg(long, value_name = "NAME")]
    dead_letter_topic: Option<String>,
    /// Server to ask, like http://localhost:9200; repeatable.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Consumer group [default: logdrive-index].
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Where metrics and status are served: a loopback address with port, or off [default: 127.0.0.1:9181].
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Any other key, like index.requests=4; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it wants KEY=VALUE, like index.requests=4")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl IndexArguments {
    fn typed(&self) -> Typed {
        let mut settings = Vec::new();
        let mut add = |flag: &str, path: &str, text: String| {
            settings.push(Setting { flag: flag.to_owned(), path: path.to_owned(), text });
        };
        for (key, value) in &self.set {
            add(&format!("--set {key}"), key, value.clone());
        }
        for (flag, path, text) in [
            ("--brokers", "kafka.brokers", &self.brokers),
            ("--dead-letter-topic", "index.dead_letter_topic", &self.dead_letter_topic),
            ("--group", "index.group", &self.group),
            ("--http", "http.listen", &self.http),
        ] {
            if let Some(text) = text {
                add(flag, path, text.clone());
            }
        }
        for (flag, path, texts) in
            [("--topic", "index.topics", &self.topic), ("--url", "opensearch.urls", &self.url)]
        {
            if !texts.is_empty() {
                add(flag, path, array(texts));
            }
        }
        Typed { config: self.config.clone(), settings, ..Typed::default() }
    }
}

/// Strings as an array of TOML, which takes every string that JSON writes.
fn array(texts: &[String]) -> String {
    serde_json::to_string(texts).expect("strings always serialise")
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Index(arguments) => run(&arguments),
        Verb::Validate(arguments) => validate(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            eprintln!("{refused}");
            return ExitCode::from(EXIT_CONFIG);
        }
        eprintln!("error: {}", logging::plain(&one_line(&error)));
        ExitCode::FAILURE
    })
}

/// Reads the configuration. From the first secret in it on, no other process of this user can look into this one's
/// memory, and it leaves no core dump.
fn load(arguments: &IndexArguments) -> Result<Configured<IndexPlan>, Refused> {
    let configured = config::index(&arguments.typed())?;
    if configured.holds_secrets {
        hide_memory();
    }
    Ok(configured)
}

fn run(arguments: &IndexArguments) -> Result<ExitCode> {
    let configured = load(arguments)?;
    logging::start(configured.log.format, configured.log.level)?;
    for warning in &configured.warnings {
        warn!("{warning}");
    }
    index::run(&configured.plan).map(|()| ExitCode::SUCCESS)
}

fn validate(arguments: &IndexArguments) -> Result<ExitCode> {
    let configured = load(arguments)?;
    for warning in &configured.warnings {
        eprintln!("warning: {warning}");
    }
    println!("the configuration is valid");
    Ok(ExitCode::SUCCESS)
}
