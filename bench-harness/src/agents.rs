//! Several agents in one run: which ones, where their programs are, and who comes when.

use std::path::PathBuf;

use anyhow::Result;

use crate::agent::Agent;
use crate::profile::{self, LOGDRIVE, PROFILES, Profile};
use crate::setup::progress;

/// Which agents to run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct AgentsArgs {
    /// Which agents, separated by commas [default: every one that is installed]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = profile::find)]
    agents: Vec<&'static Profile>,
    /// Where an agent's program is, when it is not in PATH; repeatable
    #[arg(long = "agent-path", value_name = "NAME=PATH", value_parser = parse_path)]
    agent_paths: Vec<(&'static Profile, PathBuf)>,
}

fn parse_path(text: &str) -> Result<(&'static Profile, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=PATH"))?;
    Ok((profile::find(name)?, PathBuf::from(path)))
}

impl AgentsArgs {
    /// The agents that were asked for, all of which must be there, or all that are there.
    pub(crate) fn chosen(&self) -> Result<Vec<Agent>> {
        let path = |profile: &Profile| {
            self.agent_paths.iter().find(|(of, _)| *of == profile).map(|(_, path)| path.as_path())
        };
        if !self.agents.is_empty() {
            return self.agents.iter().map(|profile| Agent::known(profile, path(profile), None)).collect();
        }
        let mut found = Vec::new();
        for profile in PROFILES {
            match Agent::known(profile, path(profile), None) {
                Ok(agent) => found.push(agent),
                Err(error) if profile.name == LOGDRIVE || path(profile).is_some() => return Err(error),
                Err(error) => progress(format!("left out: {error}")),
            }
        }
        Ok(found)
    }
}

/// Forwards in odd rounds, backwards in even ones.
pub(crate) fn order_of(round: u32, agents: usize) -> Vec<usize> {
    if round % 2 == 1 { (0..agents).collect() } else { (0..agents).rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_goes_backwards() {
        assert_eq!([order_of(1, 3), order_of(2, 3), order_of(3, 3)].concat(), [0, 1, 2, 2, 1, 0, 0, 1, 2]);
    }

    #[test]
    fn paths_are_given_by_name() {
        let (profile, path) = parse_path("rsyslog=/opt/rsyslogd").unwrap();
        assert_eq!((profile.name, path), ("rsyslog", PathBuf::from("/opt/rsyslogd")));
        assert!(parse_path("/opt/rsyslogd").is_err() && parse_path("nobody=/x").is_err());
    }
}
