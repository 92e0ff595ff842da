//! The verbs: from what was typed to an exit code. Errors are printed here, and nowhere else.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use logdrive_core::position::Position;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::agent::{self, Origin};
use crate::args::{
    AgentArguments, AgentsArguments, Arguments, ConfigArguments, EtcdArguments, ExplainArguments,
    ImportArguments, ItemArguments, ItemVerb, ReloadArguments, RunArguments, ScopeArguments, StateArguments,
    StateVerb, StatusArguments, Verb,
};
use crate::ask;
use crate::config::{self, EXIT_CONFIG, Host, ItemLimits, Plan, Refused, Typed};
use crate::etcd::verbs::{self, Remote, Scope};
use crate::explain;
use crate::import;
use crate::logging;
use crate::overview;
use crate::reload::{self, Outcome};
use crate::state::{self, Selector};
use crate::top;
use crate::wanted::{LINE_BUFFER_MAX, with_remembered};

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match arguments.verb {
        Verb::Run(arguments) => run(&arguments),
        Verb::Validate(arguments) => validate(&arguments),
        Verb::Explain(arguments) => explain(&arguments),
        Verb::Status(arguments) => status(&arguments),
        Verb::Top(arguments) => address(&arguments).and_then(top::top),
        Verb::Reload(arguments) => reload(&arguments),
        Verb::State(arguments) => state(&arguments),
        Verb::Item(arguments) => item(&arguments),
        Verb::Agents(arguments) => agents(&arguments),
        Verb::Import(arguments) => import(&arguments),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "logdrive", &mut script);
            Ok(print(&String::from_utf8_lossy(&script)))
        }
        Verb::Man { dir } => clap_mangen::generate_to(Arguments::command(), &dir)
            .with_context(|| format!("cannot write manual pages into {}", dir.display()))
            .map(|()| ExitCode::SUCCESS),
    };
    conclude(outcome)
}

/// The exit code of a verb; its error is printed.
#[must_use]
pub fn conclude(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            eprintln!("{refused}");
            return ExitCode::from(EXIT_CONFIG);
        }
        eprintln!("error: {}", logging::plain(&one_line(&error)));
        ExitCode::FAILURE
    })
}

/// An error and what caused it, each said once: many of our errors name their source themselves.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Reads the configuration. From the first secret in it on, no other process of this user can look into
/// this one's memory or environment, and it leaves no core dump.
fn load(typed: &Typed) -> Result<Plan, Refused> {
    let plan = config::load(typed, &Host::here(typed.config.is_none()))?;
    if plan.holds_secrets() {
        hide_memory();
    }
    Ok(plan)
}

fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let mut typed = arguments.typed();
    // What is named relatively holds wherever the agent is when it reads it again.
    typed.config = typed.config.map(|path| std::path::absolute(&path).unwrap_or(path));
    let plan = load(&typed)?;
    logging::start(plan.log.format, plan.log.level)?;
    let file = typed.config.clone();
    let reread = Box::new(move || load(&typed).map_err(|refused| refused.to_string()));
    agent::run(plan, Origin { file, reread })
}

fn validate(arguments: &ConfigArguments) -> Result<ExitCode> {
    let plan = load(&arguments.typed())?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    let now_ms = crate::clock::wall_ns() / 1_000_000;
    for item in &plan.items {
        if let Some(warning) = item.read_from.warning(now_ms) {
            eprintln!("warning: item `{}`: {warning}", item.name);
        }
    }
    let items = plan.items.len();
    let more = if plan.etcd.is_some() { ", and those of etcd" } else { "" };
    Ok(print(&format!(
        "the configuration is valid: {items} item{}{more}\n",
        if items == 1 { "" } else { "s" }
    )))
}

fn explain(arguments: &ExplainArguments) -> Result<ExitCode> {
    let plan = with_remembered(load(&arguments.config.typed())?);
    let agent = match plan.http {
        Some(address) => {
            ask::status_now(address).map(|answer| answer.report).map_err(|error| one_line(&error))
        }
        None => Err("none can be asked: `listen` in [http] is \"off\"".to_owned()),
    };
    Ok(print(&explain::explain(&plan, &arguments.path, &agent)))
}

fn status(arguments: &StatusArguments) -> Result<ExitCode> {
    let answer = ask::status_now(address(&arguments.agent)?)?;
    if !arguments.json {
        return Ok(print(&overview::overview(&answer.report, arguments.files)));
    }
    let mut text = String::with_capacity(answer.body.len() + 1);
    for line in String::from_utf8_lossy(&answer.body).lines() {
        logging::escape_json(line, &mut text);
        text.push('\n');
    }
    Ok(print(&text))
}

/// Where a running agent answers.
fn address(agent: &AgentArguments) -> Result<SocketAddr> {
    match config::http(&agent.typed())? {
        Some(address) => Ok(address),
        None => bail!(
            "the agent of this configuration answers nobody: `listen` in [http] is \"off\"; set it to an address \
             like \"127.0.0.1:9180\" and start the agent anew"
        ),
    }
}

fn reload(arguments: &ReloadArguments) -> Result<ExitCode> {
    let typed = arguments.typed();
    let dir = config::state_dir(&typed, &Host::here(typed.config.is_none()))?;
    let http = config::http(&typed)?;
    let (outcome, pid) = reload::reload(&dir, http)?;
    Ok(match outcome {
        Outcome::Applied(at_next_start) if at_next_start.is_empty() => {
            print(&format!("process {pid} has reloaded its configuration\n"))
        }
        Outcome::Applied(at_next_start) => print(&format!(
            "process {pid} has reloaded its configuration, but for {}: that holds from the next start on\n",
            at_next_start.join(", ")
        )),
        Outcome::Told => print(&format!(
            "process {pid} was told to reload its configuration; its log says what became of that, since it does \
             not answer {}\n",
            http.map_or("over HTTP".to_owned(), |address| format!("at {address}"))
        )),
        Outcome::Refused(problems) => {
            for problem in problems.lines() {
                eprintln!("{}", logging::plain(problem));
            }
            eprintln!(
                "error: process {pid} has not reloaded its configuration: the one before stays in force"
            );
            ExitCode::from(EXIT_CONFIG)
        }
    })
}

fn state(arguments: &StateArguments) -> Result<ExitCode> {
    let typed = arguments.typed();
    let dir = config::state_dir(&typed, &Host::here(typed.config.is_none()))?;
    let wall_ms = crate::clock::wall_ns() / 1_000_000;
    let text = match &arguments.verb {
        StateVerb::List => state::inspect(&dir)?.table(),
        StateVerb::Show { id } => state::inspect(&dir)?.only(&Selector::new(id))?.details(),
        StateVerb::Set { id, position } => {
            let checkpoint = state::set(&dir, &Selector::new(id), Position(*position), wall_ms)?;
            format!("{:?} goes on at byte {position}\n", checkpoint.generation)
        }
        StateVerb::Forget { id } => {
            let forgotten = state::forget(&dir, &Selector::new(id), wall_ms)?;
            forgotten.iter().map(|gone| format!("{:?} forgotten\n", gone.generation)).collect()
        }
    };
    Ok(print(&text))
}

/// What an item is held against when nobody knows yet which host will collect it.
fn limits(arguments: &EtcdArguments) -> Result<ItemLimits, Refused> {
    let message_bytes_max = config::message_bytes_max(&arguments.typed())?;
    Ok(ItemLimits { message_bytes_max, line_buffer_max: LINE_BUFFER_MAX })
}

/// Passwords get into no core dump, and no other process of this user looks at them.
pub fn hide_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        // No kernel refuses this; a sandbox may.
        eprintln!("warning: passwords may get into core dumps: {error}");
    }
}

/// Where etcd is, from whatever of the configuration says so.
fn remote(arguments: &EtcdArguments) -> Result<Remote, Refused> {
    let remote = Remote { plan: config::etcd(&arguments.typed())?, limits: limits(arguments)? };
    hide_memory();
    Ok(remote)
}

impl ScopeArguments {
    fn scope(&self) -> Scope {
        match (&self.group, &self.host) {
            (Some(group), _) => Scope::Group(group.clone()),
            (None, host) => Scope::Host(host.clone().expect("the command line wants one of both")),
        }
    }
}

fn item(arguments: &ItemArguments) -> Result<ExitCode> {
    let remote = || remote(&arguments.etcd);
    let text = match &arguments.verb {
        ItemVerb::Lint { files } => return lint(&limits(&arguments.etcd)?, files),
        ItemVerb::List { group, host } => {
            let host = host.clone().map(Scope::Host);
            remote()?.list(group.clone().map(Scope::Group).or(host).as_ref())?
        }
        ItemVerb::Put { name, file, scope } => remote()?.put(&scope.scope(), name, file)?,
        ItemVerb::Delete { name, scope } => remote()?.delete(&scope.scope(), name)?,
        ItemVerb::Diff { path, scope } => {
            let difference = remote()?.diff(&scope.scope(), path)?;
            print(&difference.text);
            return Ok(if difference.is_empty { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    };
    Ok(print(&text))
}

/// Every file is named that is no item.
fn lint(limits: &ItemLimits, files: &[PathBuf]) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match verbs::lint(limits, file) {
            Ok(item) => {
                print(&format!("{}: item `{}` to topic `{}`\n", file.display(), item.name, item.topic));
            }
            Err(error) => {
                eprintln!("error: {}", logging::plain(&one_line(&error)));
                code = ExitCode::from(EXIT_CONFIG);
            }
        }
    }
    Ok(code)
}

fn agents(arguments: &AgentsArguments) -> Result<ExitCode> {
    let reports = remote(&arguments.etcd)?.agents()?;
    if arguments.json {
        return Ok(print(&(serde_json::to_string_pretty(&reports)? + "\n")));
    }
    let now = (crate::clock::wall_ns() / 1_000_000_000).unsigned_abs();
    Ok(print(&verbs::agents_table(&reports, now)))
}

fn import(arguments: &ImportArguments) -> Result<ExitCode> {
    let name = config::problem::shown(&arguments.file);
    let (text, _) = config::read(&arguments.file)?;
    let outcome = import::import(&name, &text, &arguments.wanted());
    eprint!("{}", outcome.report);
    Ok(print(&outcome.configuration?))
}

/// Prints what was asked for; a reader that has gone away is no error.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open /a: {source}; check its mode")]
    struct Named {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let named = || Named { source: rustix::io::Errno::ACCESS.into() };
        assert_eq!(
            one_line(&anyhow::Error::new(named())),
            "cannot open /a: Permission denied (os error 13); check its mode"
        );
        let wrapped = Err::<(), _>(named()).context("cannot start").unwrap_err();
        assert_eq!(
            one_line(&wrapped),
            "cannot start: cannot open /a: Permission denied (os error 13); check its mode"
        );
    }
}
