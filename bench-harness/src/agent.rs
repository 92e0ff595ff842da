//! The agent under test: any program that can be told on its command line what to ship where.
//!
//! Logdrive is one of them; the others are known by name ([`profile`]) or given as a command. A command is a
//! template of words with placeholders, run without a shell, so that its process id is the agent's and not a
//! shell's; the word `|` makes the command before it the feeder of the one after it. What the harness knows of
//! an agent is what every agent has: it starts, it may be asked to end with SIGTERM, it may be killed.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use logdrive_bench::verify::Framing;

use crate::process::{self, Child};
use crate::profile::{self, Profile};

/// Patience for a metrics page of an agent that is about to be killed.
const SCRAPE_TIMEOUT: Duration = Duration::from_millis(200);

/// Which agent to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// logdrive, rsyslog, syslog-ng, fluent-bit, otelcol, vector or kcat
    #[arg(long, value_name = "NAME", default_value = profile::LOGDRIVE, value_parser = profile::find)]
    agent: &'static Profile,
    /// The agent's program; by default logdrive beside this binary, any other from PATH
    #[arg(long, value_name = "PATH", conflicts_with = "agent_command")]
    agent_path: Option<PathBuf>,
    /// More arguments for the agent, separated by blanks
    #[arg(long, value_name = "WORDS", conflicts_with = "agent_command", allow_hyphen_values = true)]
    agent_args: Option<String>,
    /// Another agent: a command with {files} (glob), {file}, {topic}, {brokers} and {state} in it
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "agent")]
    agent_command: Option<String>,
}

/// An agent that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    name: &'static str,
    /// The command, after its feeder if it has one.
    commands: Vec<Vec<String>>,
    program: Option<PathBuf>,
    profile: Option<&'static Profile>,
}

/// What one start of the agent is to do.
pub(crate) struct Job<'a> {
    /// Glob of the files to ship.
    pub(crate) files: &'a Path,
    /// The single file, or the first one, for agents that know no globs.
    pub(crate) file: &'a Path,
    pub(crate) topic: &'a str,
    pub(crate) brokers: &'a str,
    /// Folder of the agent's state.
    pub(crate) state: &'a Path,
    /// Where to serve metrics, if at all.
    pub(crate) http: Option<SocketAddr>,
}

impl Agent {
    pub(crate) fn choose(args: &AgentArgs) -> Result<Agent> {
        let Some(template) = &args.agent_command else {
            return Agent::known(args.agent, args.agent_path.as_deref(), args.agent_args.as_deref());
        };
        let commands = split_commands(template)?;
        // Said before a broker is started, and not after.
        commands.iter().try_for_each(|words| process::expect_installed(&words[0]))?;
        Ok(Agent { name: "command", commands, program: None, profile: None })
    }

    /// The agent of a profile: its program at `path`, else where it is installed.
    pub(crate) fn known(profile: &'static Profile, path: Option<&Path>, more: Option<&str>) -> Result<Agent> {
        let program = if profile.name == profile::LOGDRIVE || path.is_some() {
            process::program(path, profile.programs[0])?
        } else {
            process::in_path(profile.programs).with_context(|| {
                let names = profile.programs.join(" or ");
                format!("{} is not installed: no {names} in PATH; name it with --agent-path", profile.name)
            })?
        };
        let mut commands = split_commands(profile.command)?;
        let last = commands.last_mut().expect("a template has a command");
        last.extend(split_words(more.unwrap_or_default())?);
        Ok(Agent { name: profile.name, commands, program: Some(program), profile: Some(profile) })
    }

    /// Its name in tables.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is somebody else's agent that is known by name: what it loses is a result, and no failure.
    pub(crate) fn is_peer(&self) -> bool {
        self.profile.is_some_and(|profile| profile.name != profile::LOGDRIVE)
    }

    /// The same agent, told what to do by a configuration file of the caller's; only of this project's own. `None`
    /// for any other.
    pub(crate) fn configured_by(&self, path: &Path) -> Option<Agent> {
        let own = self.profile.is_some_and(|profile| profile.name == profile::LOGDRIVE);
        let words = ["{agent}", "run", "--config", path.to_str()?].map(str::to_owned);
        own.then(|| Agent { commands: vec![words.to_vec()], ..self.clone() })
    }

    /// What a record of it holds.
    pub(crate) fn framing(&self) -> Framing {
        self.profile.map_or(Framing::Line, |profile| profile.framing)
    }

    /// What it cannot do, where a reader of a table must know it.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        self.profile.and_then(|profile| profile.limit)
    }

    /// Starts the agent; its output goes to `log`.
    pub(crate) fn start(&self, job: &Job<'_>, log: &Path) -> Result<Child> {
        std::fs::create_dir_all(job.state)
            .with_context(|| format!("cannot create {}", job.state.display()))?;
        if let Some(template) = self.profile.and_then(|profile| profile.configuration) {
            let path = configuration_path(job);
            std::fs::write(&path, self.fill(template, job))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut commands = self.commands.iter().map(|words| self.command(words, job));
        match (commands.next(), commands.next()) {
            (Some(feeder), Some(command)) => Child::spawn_fed("the agent", feeder, command, log),
            (command, _) => Child::spawn("the agent", &mut command.expect("a template has a command"), log),
        }
    }

    /// Whether it is told where to serve metrics.
    pub(crate) fn serves_metrics(&self) -> bool {
        self.commands.iter().flatten().any(|word| word.contains("{http}"))
    }

    /// The template, to be reported.
    pub(crate) fn template(&self) -> String {
        let commands: Vec<String> = self.commands.iter().map(|words| words.join(" ")).collect();
        commands.join(" | ")
    }

    /// The name of a known agent, and the version that its program says it has.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(self.program.as_ref()?).arg(self.profile?.version_option).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(format!("{} {}", self.name, version_number(&text)?))
    }

    fn command(&self, words: &[String], job: &Job<'_>) -> Command {
        let mut words = words.iter().map(|word| self.fill(word, job));
        let mut command = Command::new(words.next().expect("a template has a first word"));
        command.args(words);
        command
    }

    fn fill(&self, text: &str, job: &Job<'_>) -> String {
        let agent = self.program.as_deref().unwrap_or(Path::new("")).to_string_lossy();
        let http = job.http.map_or_else(|| "off".to_owned(), |address| address.to_string());
        let folder = job.files.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let pattern = job.files.file_name().unwrap_or_default().to_string_lossy();
        text.replace("{agent}", &agent)
            .replace("{config}", &configuration_path(job).to_string_lossy())
            .replace("{files}", &job.files.to_string_lossy())
            .replace("{file}", &job.file.to_string_lossy())
            .replace("{folder}", &folder)
            .replace("{pattern}", &pattern)
            .replace("{topic}", job.topic)
            .replace("{brokers}", job.brokers)
            .replace("{state}", &job.state.to_string_lossy())
            .replace("{http}", &http)
    }
}

/// The first word that has a point between digits.
fn version_number(text: &str) -> Option<&str> {
    let is_number = |word: &&str| {
        word.as_bytes().windows(3).any(|three| matches!(three, [b'0'..=b'9', b'.', b'0'..=b'9']))
    };
    text.split(|letter: char| letter.is_whitespace() || "(),".contains(letter)).find(is_number)
}

/// Where the configuration of a known agent is written.
fn configuration_path(job: &Job<'_>) -> PathBuf {
    job.state.join("agent.conf")
}

/// The value of a metric without labels on the agent's metrics page; `None` when it cannot be had.
pub(crate) fn scrape(address: SocketAddr, metric: &str) -> Option<f64> {
    metric_value(&metrics_page(address)?, metric)
}

/// The agent's metrics page; `None` when it cannot be had.
pub(crate) fn metrics_page(address: SocketAddr) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&address, SCRAPE_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}

pub(crate) fn metric_value(page: &str, metric: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A command, or a feeder and a command with the word `|` between them.
fn split_commands(template: &str) -> Result<Vec<Vec<String>>> {
    let words = split_words(template)?;
    let commands: Vec<Vec<String>> = words.split(|word| word == "|").map(<[String]>::to_vec).collect();
    ensure!(commands.len() <= 2, "one `|` at most, between a feeder and the agent: {template}");
    if commands.iter().any(Vec::is_empty) {
        bail!("the agent's command is empty: `{template}`");
    }
    Ok(commands)
}

/// Splits at blanks; single or double quotes keep blanks, and there is nothing else to know.
fn split_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in text.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            None if character == '\'' || character == '"' => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            None if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if let Some(open) = quote {
        bail!("a quote ({open}) is not closed in: {text}");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let words = |text: &str| split_words(text).unwrap();
        assert_eq!(words("kcat -P  -l {file}"), ["kcat", "-P", "-l", "{file}"]);
        assert_eq!(words(r#"a 'b c' "d 'e'" f''g "" "#), ["a", "b c", "d 'e'", "fg", ""]);
        assert!(words("  ").is_empty());
        assert!(split_words("a 'b").is_err());
    }

    fn job(state: &Path) -> Job<'_> {
        Job {
            files: Path::new("/var/my logs/*.log"),
            file: Path::new("/var/my logs/a.log"),
            topic: "t",
            brokers: "b:1",
            state,
            http: None,
        }
    }

    #[test]
    fn placeholders_are_filled_after_splitting_so_that_paths_may_hold_blanks() {
        let commands =
            split_commands("ship --from={files} -t {topic} {brokers} {state} {http} {file} {pattern}");
        let agent = Agent { name: "command", commands: commands.unwrap(), program: None, profile: None };
        let filled: Vec<String> =
            agent.commands[0].iter().map(|word| agent.fill(word, &job(Path::new("/s")))).collect();
        let expected = [
            "ship",
            "--from=/var/my logs/*.log",
            "-t",
            "t",
            "b:1",
            "/s",
            "off",
            "/var/my logs/a.log",
            "*.log",
        ];
        assert_eq!(filled, expected);
    }

    #[test]
    fn a_bar_between_two_commands_makes_the_first_one_feed_the_second() {
        let commands = split_commands("tail -F {file} | kcat -P").unwrap();
        assert_eq!(commands, [["tail", "-F", "{file}"].as_slice(), &["kcat", "-P"]]);
        for wrong in ["", "a |", "| b", "a | b | c"] {
            assert!(split_commands(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_known_agent_that_is_not_installed_is_named() {
        let profile = Profile { name: "shipper", programs: &["no-such-program"], ..PROFILE };
        let error = Agent::known(Box::leak(Box::new(profile)), None, None).unwrap_err().to_string();
        assert!(error.contains("shipper is not installed") && error.contains("no-such-program"), "{error}");
    }

    #[test]
    fn a_configuration_is_written_where_the_command_line_says() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile {
            command: "cat {config}",
            configuration: Some("ship {folder} to {topic}"),
            programs: &["cat"],
            ..PROFILE
        };
        let agent = Agent::known(Box::leak(Box::new(profile)), None, Some("-")).unwrap();
        let log = folder.path().join("log");
        let mut child = agent.start(&job(&folder.path().join("state")), &log).unwrap();
        child.finish(Duration::from_secs(60)).unwrap();
        assert_eq!(std::fs::read_to_string(log).unwrap(), "ship /var/my logs to t");
    }

    const PROFILE: Profile = Profile {
        name: "shipper",
        programs: &[],
        command: "{agent}",
        configuration: None,
        version_option: "-V",
        framing: Framing::Line,
        limit: None,
    };

    #[test]
    fn versions_are_found_wherever_a_program_puts_them() {
        for (said, version) in [
            ("logdrive 0.1.0\n", Some("0.1.0")),
            ("syslog-ng 3 (3.38.1)\nConfig version: 3.35\n", Some("3.38.1")),
            ("kcat - a tool\nCopyright (c) 2014-2021, Somebody\nVersion 1.7.1 (JSON)\n", Some("1.7.1")),
            ("usage: shipper FILE\n", None),
        ] {
            assert_eq!(version_number(said), version, "{said}");
        }
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# HELP logdrive_in_flight_lines x\n# TYPE logdrive_in_flight_lines gauge\n\
                    logdrive_in_flight_lines_max 9\nlogdrive_in_flight_lines 1234\n# EOF\n";
        assert_eq!(metric_value(page, "logdrive_in_flight_lines"), Some(1234.0));
        assert_eq!(metric_value(page, "logdrive_in_flight"), None);
    }
}
