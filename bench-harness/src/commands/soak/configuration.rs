//! The agent's configuration in a soak: one that holds, changes of it that change nothing of what is shipped, and
//! texts that are none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::report::write_whole;
use crate::stats::Rng;

/// The memory that the agent may fill with lines in flight; small, so that it is soon as full as it gets.
const IN_FLIGHT_BYTES: u64 = 16 << 20;

/// Rotated files are given back before they are deleted, so that their number is soon what it stays.
const CLOSE_AFTER: &str = "5s";

/// The most lines of so many bytes, their end included, that can be in flight.
pub(super) fn in_flight_lines_max(line_bytes: u64) -> u64 {
    IN_FLIGHT_BYTES / line_bytes
}

/// What the agent is to do; the fields beyond the first are what a change changes.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) path: PathBuf,
    pub(super) brokers: String,
    pub(super) topic: String,
    /// Glob of the files.
    pub(super) files: PathBuf,
    pub(super) state: PathBuf,
    headers: bool,
    rate_limit: bool,
    /// An item without files, which comes and goes.
    another_item: bool,
}

impl Configuration {
    pub(super) fn new(
        path: PathBuf,
        brokers: &str,
        topic: &str,
        files: &Path,
        state: &Path,
    ) -> Configuration {
        Configuration {
            path,
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            files: files.to_owned(),
            state: state.to_owned(),
            headers: false,
            rate_limit: false,
            another_item: false,
        }
    }

    /// Changes one thing that a reload can change.
    pub(super) fn change(&mut self, rng: &mut Rng) {
        let flag = match rng.below(3) {
            0 => &mut self.headers,
            1 => &mut self.rate_limit,
            _ => &mut self.another_item,
        };
        *flag = !*flag;
    }

    pub(super) fn write(&self, http: SocketAddr) -> Result<()> {
        write_whole(&self.path, self.text(http).as_bytes())
    }

    /// Writes what must be refused instead.
    pub(super) fn write_invalid(&self, http: SocketAddr, rng: &mut Rng) -> Result<()> {
        let text = self.text(http);
        let invalid = match rng.below(4) {
            0 => text.replace("[[item]]", "[[item]"),
            1 => text.replace("include", "inclde"),
            2 => text.replace("topic =", "topic = 7 #"),
            _ => String::new(),
        };
        write_whole(&self.path, invalid.as_bytes())
    }

    fn text(&self, http: SocketAddr) -> String {
        let Configuration { brokers, topic, files, state, .. } = self;
        let mut text = format!(
            "[kafka]\nbrokers = {brokers:?}\n[state]\ndir = {state:?}\n[http]\nlisten = \"{http}\"\n[limits]\nin_flight = {IN_FLIGHT_BYTES}\n\
             [[item]]\nname = \"soak\"\ninclude = [{files:?}]\ntopic = {topic:?}\nread_from = \"beginning\"\nclose_after = \"{CLOSE_AFTER}\"\n",
        );
        let optional = [(self.headers, "headers = true\n"), (self.rate_limit, "rate_limit = 100000000\n")];
        optional.into_iter().filter(|(on, _)| *on).for_each(|(_, line)| text += line);
        if self.another_item {
            let nothing = state.with_file_name("no-files").join("*.log");
            text += &format!("[[item]]\nname = \"other\"\ninclude = [{nothing:?}]\ntopic = {topic:?}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> (tempfile::TempDir, Configuration) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let configuration =
            Configuration::new(at("agent.toml"), "b:1", "t", &at("files/*.log*"), &at("state"));
        (folder, configuration)
    }

    #[test]
    fn a_change_changes_the_text_and_another_may_change_it_back() {
        let (_folder, mut configuration) = configuration();
        let (http, mut rng) = (SocketAddr::from(([127, 0, 0, 1], 1)), Rng::seeded(1));
        for _ in 0..50 {
            let before = configuration.text(http);
            configuration.change(&mut rng);
            assert_ne!(configuration.text(http), before);
        }
    }

    #[test]
    fn every_invalid_text_differs_from_the_valid_one() {
        let (_folder, configuration) = configuration();
        let (http, mut rng) = (SocketAddr::from(([127, 0, 0, 1], 1)), Rng::seeded(1));
        configuration.write(http).unwrap();
        let valid = std::fs::read_to_string(&configuration.path).unwrap();
        for _ in 0..20 {
            configuration.write_invalid(http, &mut rng).unwrap();
            assert_ne!(std::fs::read_to_string(&configuration.path).unwrap(), valid);
        }
    }
}
