//! The command line: what was typed, not what it means.
//!
//! Values are kept as text where a configuration key takes them too: the key's own kind checks them
//! later, so that a flag and a file are refused in the same words.

mod etcd;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{Setting, Typed};
use crate::import::{Product, Wanted};
pub use etcd::{AgentsArguments, EtcdArguments, ItemArguments, ItemVerb, ScopeArguments};

/// Moves log lines from files into Kafka: at least once, in order, and never forgotten before Kafka has them.
#[derive(Parser, Debug)]
#[command(name = "logdrive", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Collect files and send them to Kafka, until stopped.
    #[command(
        after_help = "Example: logdrive run --include '/var/log/nginx/*.log' --topic web_log --brokers localhost:9092"
    )]
    Run(RunArguments),
    /// Check a configuration; every problem is named with file:line:column, and the exit code is 78.
    Validate(ConfigArguments),
    /// Say for one file which item takes it, what it is, how far it is read, and why it is or is not read.
    Explain(ExplainArguments),
    /// Say how a running agent does: items, the files that are furthest behind, Kafka, errors.
    Status(StatusArguments),
    /// Show how a running agent does, live; needs a terminal.
    Top(AgentArguments),
    /// Tell the running agent to read its configuration again, and say whether it is in force now.
    Reload(ReloadArguments),
    /// Look at or change what is remembered about files; stop the agent before a change.
    State(StateArguments),
    /// See, put, delete, check and compare the collection items that stand in etcd.
    Item(ItemArguments),
    /// Show all agents that report to etcd: their items, lag and errors.
    Agents(AgentsArguments),
    /// Turn a configuration of Filebeat, Fluent Bit or Vector into one of Logdrive, with a report of what it lost.
    #[command(after_help = "Example: logdrive import /etc/filebeat/filebeat.yml >logdrive.toml")]
    Import(ImportArguments),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, one for each verb.
    Man {
        /// The directory that they are written into; it must exist.
        dir: PathBuf,
    },
}

/// The configuration: a file, flags, or both.
#[derive(Args, Debug, Default)]
pub struct ConfigArguments {
    /// Configuration file (TOML).
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Files to read (glob, quoted); repeatable; makes an item that comes before those of the file.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Files to leave out of --include; repeatable; without a slash: a file name in any directory.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Topic that the files of --include go to.
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Brokers to ask first, separated by commas.
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Where to begin in files that are there at first: beginning, end, or a time like -24h [default: end].
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub read_from: Option<String>,
    /// Folder that remembers positions [default: /var/lib/logdrive].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Any other key, like kafka.linger=5ms or item.headers=true (for all items); repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

/// `run`.
#[derive(Args, Debug, Default)]
pub struct RunArguments {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// How files are read: auto, uring, blocking [default: auto].
    #[arg(long, value_name = "HOW")]
    pub io: Option<String>,
    /// Where metrics and status are served: a loopback address with port, or off [default: 127.0.0.1:9180].
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// Compression of batches: none, lz4, zstd, snappy, gzip [default: lz4].
    #[arg(long, value_name = "CODEC")]
    pub compression: Option<String>,
    /// Brokers that must have a record before it counts: all, 1, 0 [default: all].
    #[arg(long, value_name = "ACKS")]
    pub acks: Option<String>,
    /// How the agent's own log lines look: text, json, auto [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// How much the agent says of itself: error, warn, info, debug, trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// `explain`.
#[derive(Args, Debug)]
pub struct ExplainArguments {
    /// The file in question.
    pub path: PathBuf,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArguments,
}

/// Where a running agent answers.
#[derive(Args, Debug, Default)]
pub struct AgentArguments {
    /// Where the agent serves its status [default: 127.0.0.1:9180].
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// The agent's configuration file (TOML), which says where.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The agent.
    #[command(flatten)]
    pub agent: AgentArguments,
    /// The whole status as a JSON document.
    #[arg(long)]
    pub json: bool,
    /// How many files are shown: those that are furthest behind.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "json")]
    pub files: usize,
}

/// `reload`.
#[derive(Args, Debug)]
pub struct ReloadArguments {
    /// Where the agent answers.
    #[command(flatten)]
    pub agent: AgentArguments,
    /// The agent's folder of positions, which names its process [default: /var/lib/logdrive].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// `state`.
#[derive(Args, Debug)]
pub struct StateArguments {
    /// What to do with the state.
    #[command(subcommand)]
    pub verb: StateVerb,
    /// Configuration file (TOML) that names the folder.
    #[arg(long, short, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Folder that remembers positions [default: /var/lib/logdrive].
    #[arg(long, value_name = "DIR", global = true)]
    pub state_dir: Option<String>,
}

/// What to do with the state.
#[derive(Subcommand, Debug)]
pub enum StateVerb {
    /// List every file that is remembered, with its id and position.
    List,
    /// Show all that is remembered about one file.
    Show {
        /// Id as `state list` prints it.
        id: String,
    },
    /// Set the position of one file, in bytes from its start: what lies before is not read again.
    Set {
        /// Id as `state list` prints it.
        id: String,
        /// Position in bytes.
        position: u64,
    },
    /// Forget one file: it is read again as if it had never been seen.
    Forget {
        /// Id as `state list` prints it.
        id: String,
    },
}

/// `import`.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// The foreign configuration; the new one goes to standard output, the report to standard error.
    pub file: PathBuf,
    /// Whose it is, if it is not recognised.
    #[arg(long, value_name = "PRODUCT")]
    pub from: Option<Product>,
    /// Brokers in place of those of the file.
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Topic of whatever the file gives none.
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, like kafka.linger=5ms".to_owned()),
    }
}

/// Flags that stand for one key each, in the order in which they override.
fn settings<const N: usize>(flags: [(&str, &str, &Option<String>); N]) -> impl Iterator<Item = Setting> {
    flags.into_iter().filter_map(|(flag, path, text)| {
        Some(Setting { flag: flag.to_owned(), path: path.to_owned(), text: text.clone()? })
    })
}

impl ConfigArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let flags = settings([
            ("--brokers", "kafka.brokers", &self.brokers),
            ("--read-from", "item.read_from", &self.read_from),
            ("--state-dir", "state.dir", &self.state_dir),
        ]);
        Typed {
            config: self.config.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            topic: self.topic.clone(),
            settings: flags.chain(set(&self.set)).collect(),
        }
    }
}

impl RunArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let mut typed = self.config.typed();
        typed.settings.extend(settings([
            ("--io", "io", &self.io),
            ("--http", "http.listen", &self.http),
            ("--compression", "kafka.compression", &self.compression),
            ("--acks", "kafka.acks", &self.acks),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ]));
        typed
    }
}

impl AgentArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let settings = settings([("--http", "http.listen", &self.http)]).collect();
        Typed { config: self.config.clone(), settings, ..Typed::default() }
    }
}

impl ReloadArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let mut typed = self.agent.typed();
        typed.settings.extend(settings([("--state-dir", "state.dir", &self.state_dir)]));
        typed
    }
}

impl StateArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let settings = settings([("--state-dir", "state.dir", &self.state_dir)]).collect();
        Typed { config: self.config.clone(), settings, ..Typed::default() }
    }
}

/// The keys of `--set`.
fn set(pairs: &[(String, String)]) -> impl Iterator<Item = Setting> {
    pairs.iter().map(|(path, text)| Setting {
        flag: format!("--set {path}"),
        path: path.clone(),
        text: text.clone(),
    })
}

impl ImportArguments {
    /// What the user says beside the file.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted { from: self.from, brokers: self.brokers.clone(), topic: self.topic.clone() }
    }
}

impl Arguments {
    /// Reads a command line; the error is for the user, with usage, and knows its exit code.
    pub fn read<I>(words: I) -> Result<Arguments, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        Arguments::try_parse_from(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use expect_test::expect;

    fn run(words: &str) -> RunArguments {
        let words = ["logdrive", "run"].into_iter().chain(words.split_whitespace());
        match Arguments::read(words).unwrap().verb {
            Verb::Run(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_reaches_its_key() {
        let typed =
            run("--config /c.toml --include /a/*.log --include /b --exclude *.gz --topic t --brokers h:1 \
             --state-dir /s --read-from beginning --io uring --http off --log-format json --log-level debug \
             --compression zstd --acks 1 --set kafka.linger=5ms --set item.fields={a=\"b=c\"}")
            .typed();
        let settings: String =
            typed.settings.iter().map(|s| format!("{} {} {}\n", s.flag, s.path, s.text)).collect();
        expect![[r#"
            --brokers kafka.brokers h:1
            --read-from item.read_from beginning
            --state-dir state.dir /s
            --set kafka.linger kafka.linger 5ms
            --set item.fields item.fields {a="b=c"}
            --io io uring
            --http http.listen off
            --compression kafka.compression zstd
            --acks kafka.acks 1
            --log-format log.format json
            --log-level log.level debug
        "#]]
        .assert_eq(&settings);
        assert_eq!(typed.include, ["/a/*.log", "/b"]);
        assert_eq!((typed.exclude, typed.topic), (vec!["*.gz".to_owned()], Some("t".to_owned())));
        assert!(typed.settings.iter().all(|setting| crate::config::keys::key(&setting.path).is_some()));
    }

    #[test]
    fn the_other_verbs_are_read() {
        for words in [
            "validate --config /c",
            "explain /var/log/a --config /c",
            "explain /var/log/a --include /var/log/* --topic t --brokers h",
            "status",
            "top --http localhost:9180",
            "status --http 127.0.0.1:9180 --files 100",
            "status --config /c --json",
            "reload",
            "reload --config /c --state-dir /s --http localhost:9180",
            "state list --state-dir /s",
            "state --state-dir /s list",
            "state show 00ff",
            "state set 00ff 17 --config /c",
            "state forget 00ff",
            "item list --endpoints h:2379",
            "item list --group web --config /c",
            "item put nginx f.toml --group web --prefix /p",
            "item --endpoints h put nginx - --host h1",
            "item delete nginx --host h1 --set etcd.username=me",
            "item lint a.toml b.json",
            "item diff dir --group web",
            "agents --json --endpoints h:2379",
            "import /f.yml --from fluent-bit --brokers h --topic t",
            "completions zsh",
            "man /d",
        ] {
            let read = Arguments::read(["logdrive"].into_iter().chain(words.split_whitespace()));
            assert!(read.is_ok(), "{words}: {}", read.unwrap_err());
        }
        for words in [
            "",
            "runn",
            "state set 00ff",
            "state set 00ff -1",
            "run --set x",
            "explain",
            "run extra",
            "item put a f",
            "item lint",
            "item put a f --group g --host h",
            "agents x",
            "import",
            "man",
        ] {
            let read = Arguments::read(["logdrive"].into_iter().chain(words.split_whitespace()));
            assert!(read.is_err(), "{words}");
        }
    }

    #[test]
    fn help_names_every_flag_on_one_line() {
        let mut command = Arguments::command().term_width(200);
        let run = command.find_subcommand_mut("run").unwrap();
        expect![[r#"
            Collect files and send them to Kafka, until stopped

            Usage: run [OPTIONS]

            Options:
              -c, --config <FILE>        Configuration file (TOML)
                  --include <GLOB>       Files to read (glob, quoted); repeatable; makes an item that comes
                                         before those of the file
                  --exclude <GLOB>       Files to leave out of --include; repeatable; without a slash: a file
                                         name in any directory
                  --topic <NAME>         Topic that the files of --include go to
                  --brokers <HOST:PORT>  Brokers to ask first, separated by commas
                  --read-from <WHERE>    Where to begin in files that are there at first: beginning, end, or a
                                         time like -24h [default: end]
                  --state-dir <DIR>      Folder that remembers positions [default: /var/lib/logdrive]
                  --set <KEY=VALUE>      Any other key, like kafka.linger=5ms or item.headers=true (for all
                                         items); repeatable
                  --io <HOW>             How files are read: auto, uring, blocking [default: auto]
                  --http <ADDRESS>       Where metrics and status are served: a loopback address with port, or
                                         off [default: 127.0.0.1:9180]
                  --compression <CODEC>  Compression of batches: none, lz4, zstd, snappy, gzip [default: lz4]
                  --acks <ACKS>          Brokers that must have a record before it counts: all, 1, 0 [default:
                                         all]
                  --log-format <FORMAT>  How the agent's own log lines look: text, json, auto [default: text]
                  --log-level <LEVEL>    How much the agent says of itself: error, warn, info, debug, trace
                                         [default: info]
              -h, --help                 Print help

            Example: logdrive run --include '/var/log/nginx/*.log' --topic web_log --brokers localhost:9092
        "#]]
        .assert_eq(&run.render_help().to_string());
    }

    #[test]
    fn defaults_in_the_help_are_those_of_the_keys() {
        let command = Arguments::command();
        let run = command.find_subcommand("run").unwrap();
        let mut compared = 0;
        for argument in run.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let Some((_, default)) = help.split_once("[default: ") else { continue };
            let flag = format!("--{}", argument.get_long().unwrap());
            let every = RunArguments {
                config: ConfigArguments {
                    read_from: Some(String::new()),
                    state_dir: Some(String::new()),
                    ..ConfigArguments::default()
                },
                io: Some(String::new()),
                http: Some(String::new()),
                compression: Some(String::new()),
                acks: Some(String::new()),
                log_format: Some(String::new()),
                log_level: Some(String::new()),
            };
            let setting = every.typed().settings.into_iter().find(|setting| setting.flag == flag).unwrap();
            let key = crate::config::keys::key(&setting.path).unwrap();
            let crate::config::keys::Fallback::Value(value) = key.fallback else { panic!("{flag}") };
            assert_eq!(value, format!("{:?}", default.trim_end_matches([']', '.'])), "{flag}");
            compared += 1;
        }
        assert_eq!(compared, 8);
    }
}
