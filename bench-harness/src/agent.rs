//! The agent under test: any program that can be told on its command line what to ship where.
//!
//! Logdrive is one of them. A command is a template of words with placeholders, run without a shell, so
//! that its process id is the agent's and not a shell's. What the harness knows of an agent is what every
//! agent has: it starts, it may be asked to end with SIGTERM, it may be killed.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Child};

/// How Logdrive is run: every default as it is.
const LOGDRIVE: &str = "{agent} run --include {files} --topic {topic} --brokers {brokers} \
                        --state-dir {state} --read-from beginning --http {http}";

/// Patience for a metrics page of an agent that is about to be killed.
const SCRAPE_TIMEOUT: Duration = Duration::from_millis(200);

/// Which agent to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    /// The logdrive binary; by default the one beside this binary
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// More arguments for logdrive, separated by blanks
    #[arg(long, value_name = "WORDS", conflicts_with = "agent_command", allow_hyphen_values = true)]
    agent_args: Option<String>,
    /// Another agent: a command with {files} (glob), {file}, {topic}, {brokers} and {state} in it
    #[arg(long, value_name = "TEMPLATE")]
    agent_command: Option<String>,
}

impl AgentArgs {
    /// Whether the command line names an agent, as not every command wants.
    pub(crate) fn names_agent(&self) -> bool {
        self.agent.is_some() || self.agent_command.is_some()
    }

    /// The same with the binary that a command found by itself.
    pub(crate) fn with_agent(&self, program: &Path) -> AgentArgs {
        AgentArgs { agent: Some(program.to_owned()), ..self.clone() }
    }
}

/// An agent that can be started.
pub(crate) struct Agent {
    words: Vec<String>,
    program: Option<PathBuf>,
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
        if let Some(template) = &args.agent_command {
            let words = split_words(template)?;
            if words.is_empty() {
                bail!("--agent-command is empty");
            }
            return Ok(Agent { words, program: None });
        }
        let program = process::program(args.agent.as_deref(), "logdrive")?;
        let mut words = split_words(LOGDRIVE)?;
        words.extend(split_words(args.agent_args.as_deref().unwrap_or_default())?);
        Ok(Agent { words, program: Some(program) })
    }

    /// The same command with another binary of logdrive.
    pub(crate) fn with_program(&self, program: &Path) -> Agent {
        Agent { words: self.words.clone(), program: Some(program.to_owned()) }
    }

    /// Starts the agent; its output goes to `log`.
    pub(crate) fn start(&self, job: &Job<'_>, log: &Path) -> Result<Child> {
        std::fs::create_dir_all(job.state)
            .with_context(|| format!("cannot create {}", job.state.display()))?;
        let mut words = self.words.iter().map(|word| self.fill(word, job));
        let mut command = Command::new(words.next().expect("a template has a first word"));
        command.args(words);
        Child::spawn("the agent", &mut command, log)
    }

    /// The template, to be reported.
    pub(crate) fn template(&self) -> String {
        self.words.join(" ")
    }

    /// What the agent says of its version; only Logdrive is asked.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(self.program.as_ref()?).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn fill(&self, word: &str, job: &Job<'_>) -> String {
        let agent = self.program.as_deref().unwrap_or(Path::new("")).to_string_lossy();
        let http = job.http.map_or_else(|| "off".to_owned(), |address| address.to_string());
        word.replace("{agent}", &agent)
            .replace("{files}", &job.files.to_string_lossy())
            .replace("{file}", &job.file.to_string_lossy())
            .replace("{topic}", job.topic)
            .replace("{brokers}", job.brokers)
            .replace("{state}", &job.state.to_string_lossy())
            .replace("{http}", &http)
    }
}

/// The value of a metric without labels on the agent's metrics page; `None` when it cannot be had.
pub(crate) fn scrape(address: SocketAddr, metric: &str) -> Option<f64> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&address, SCRAPE_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    metric_value(&page, metric)
}

fn metric_value(page: &str, metric: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.trim().parse().ok())
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

    #[test]
    fn placeholders_are_filled_after_splitting_so_that_paths_may_hold_blanks() {
        let args = AgentArgs {
            agent: None,
            agent_args: None,
            agent_command: Some("ship --from={files} -t {topic} {brokers} {state} {http} {file}".to_owned()),
        };
        let agent = Agent::choose(&args).unwrap();
        let job = Job {
            files: Path::new("/var/my logs/*.log"),
            file: Path::new("/var/my logs/a.log"),
            topic: "t",
            brokers: "b:1",
            state: Path::new("/s"),
            http: None,
        };
        let filled: Vec<String> = agent.words.iter().map(|word| agent.fill(word, &job)).collect();
        assert_eq!(
            filled,
            ["ship", "--from=/var/my logs/*.log", "-t", "t", "b:1", "/s", "off", "/var/my logs/a.log"]
        );
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# HELP logdrive_in_flight_lines x\n# TYPE logdrive_in_flight_lines gauge\n\
                    logdrive_in_flight_lines_max 9\nlogdrive_in_flight_lines 1234\n# EOF\n";
        assert_eq!(metric_value(page, "logdrive_in_flight_lines"), Some(1234.0));
        assert_eq!(metric_value(page, "logdrive_in_flight"), None);
    }
}
