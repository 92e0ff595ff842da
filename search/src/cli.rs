//! The command line: from what was typed to an exit code. Errors are printed as the agent prints its own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use logdrive::cli::{conclude, hide_memory};
use logdrive::config::{Setting, Typed};
use logdrive::logging;
use tracing::warn;

use crate::config::{self, Configured};
use crate::{index, serve};

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
    /// Serve the web page to search with, until stopped.
    #[command(
        after_help = "Example: logdrive-search serve --url http://localhost:9200 --brokers localhost:9092 --topic web_log"
    )]
    Serve(ServeArguments),
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

/// The configuration: a file, flags, or both.
#[derive(Args, Debug)]
struct ServeArguments {
    /// Configuration file (TOML); the same as that of `index`.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the page is served [default: 127.0.0.1:9182].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// OpenSearch server to ask, like http://localhost:9200; repeatable.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// Brokers to read live lines from, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Topic whose lines are shown live; repeatable; one that begins with ^ is a pattern.
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// Members of etcd to ask for agents and items, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    etcd: Option<String>,
    /// Any other key, like serve.timeout=5s; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it wants KEY=VALUE, like index.requests=4")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl IndexArguments {
    fn typed(&self) -> Typed {
        let texts = [
            ("--brokers", "kafka.brokers", &self.brokers),
            ("--dead-letter-topic", "index.dead_letter_topic", &self.dead_letter_topic),
            ("--group", "index.group", &self.group),
            ("--http", "http.listen", &self.http),
        ];
        let lists = [("--topic", "index.topics", &self.topic), ("--url", "opensearch.urls", &self.url)];
        Typed {
            config: self.config.clone(),
            settings: settings(&self.set, &texts, &lists),
            ..Typed::default()
        }
    }
}

impl ServeArguments {
    fn typed(&self) -> Typed {
        let texts = [
            ("--listen", "serve.listen", &self.listen),
            ("--brokers", "kafka.brokers", &self.brokers),
            ("--etcd", "etcd.endpoints", &self.etcd),
        ];
        let lists = [("--topic", "serve.topics", &self.topic), ("--url", "opensearch.urls", &self.url)];
        Typed {
            config: self.config.clone(),
            settings: settings(&self.set, &texts, &lists),
            ..Typed::default()
        }
    }
}

/// What flags set: any keys, then single ones and lists, each with its flag and its path.
fn settings(
    set: &[(String, String)],
    texts: &[(&str, &str, &Option<String>)],
    lists: &[(&str, &str, &Vec<String>)],
) -> Vec<Setting> {
    let setting =
        |flag: &str, path: &str, text: String| Setting { flag: flag.to_owned(), path: path.to_owned(), text };
    let any = set.iter().map(|(key, value)| setting(&format!("--set {key}"), key, value.clone()));
    let single =
        texts.iter().filter_map(|(flag, path, text)| Some(setting(flag, path, text.as_ref()?.clone())));
    let several = lists.iter().filter(|(.., list)| !list.is_empty());
    let several = several.map(|(flag, path, list)| setting(flag, path, array(list)));
    any.chain(single).chain(several).collect()
}

/// Strings as an array of TOML, which takes every string that JSON writes.
fn array(texts: &[String]) -> String {
    serde_json::to_string(texts).expect("strings always serialise")
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    conclude(match Arguments::parse().verb {
        Verb::Index(arguments) => run(&arguments),
        Verb::Validate(arguments) => validate(&arguments),
        Verb::Serve(arguments) => serve(&arguments),
    })
}

/// From the first secret on, no other process of this user can look into this one's memory, and it leaves no core dump.
fn hidden<T>(configured: Configured<T>) -> Configured<T> {
    if configured.holds_secrets {
        hide_memory();
    }
    configured
}

/// What every verb does before its work: secrets are hidden, and what is unwise is said.
fn begin<T>(configured: Configured<T>) -> Result<T> {
    let configured = hidden(configured);
    logging::start(configured.log.format, configured.log.level)?;
    for warning in &configured.warnings {
        warn!("{warning}");
    }
    Ok(configured.plan)
}

fn run(arguments: &IndexArguments) -> Result<ExitCode> {
    index::run(&begin(config::index(&arguments.typed())?)?).map(|()| ExitCode::SUCCESS)
}

fn serve(arguments: &ServeArguments) -> Result<ExitCode> {
    serve::run(begin(config::serve(&arguments.typed())?)?).map(|()| ExitCode::SUCCESS)
}

fn validate(arguments: &IndexArguments) -> Result<ExitCode> {
    let configured = hidden(config::index(&arguments.typed())?);
    for warning in &configured.warnings {
        eprintln!("warning: {warning}");
    }
    println!("the configuration is valid");
    Ok(ExitCode::SUCCESS)
}
