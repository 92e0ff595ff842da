//! What was typed after `item` and `agents`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{key_and_value, set, settings};
use crate::config::Typed;

/// Where etcd is.
#[derive(Args, Debug, Default)]
pub struct EtcdArguments {
    /// Configuration file (TOML) whose section of etcd says where that is.
    #[arg(long, short, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Members of etcd to ask, separated by commas.
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub endpoints: Option<String>,
    /// What all keys begin with [default: /logdrive].
    #[arg(long, value_name = "PREFIX", global = true)]
    pub prefix: Option<String>,
    /// Any other key, like etcd.username=me; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    pub set: Vec<(String, String)>,
}

/// `item`.
#[derive(Args, Debug)]
pub struct ItemArguments {
    /// What to do with items.
    #[command(subcommand)]
    pub verb: ItemVerb,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdArguments,
}

/// Whose items.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct ScopeArguments {
    /// The items of every host in this group.
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// The items of this host alone.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
}

/// What to do with items.
#[derive(Subcommand, Debug)]
pub enum ItemVerb {
    /// List what stands in etcd.
    List {
        /// Only those of this group.
        #[arg(long, value_name = "NAME", conflicts_with = "host")]
        group: Option<String>,
        /// Only those of this host alone.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
    },
    /// Put an item, in place of one of the same name; it is checked before.
    Put {
        /// Its name.
        name: String,
        /// The keys of an item as TOML or JSON; - is standard input.
        file: PathBuf,
        /// Whose it is.
        #[command(flatten)]
        scope: ScopeArguments,
    },
    /// Delete an item; agents keep the positions of its files.
    Delete {
        /// Its name.
        name: String,
        /// Whose it is.
        #[command(flatten)]
        scope: ScopeArguments,
    },
    /// Check items in files without etcd; each is named after its file; the exit code is 78.
    Lint {
        /// Files, each with the keys of an item as TOML or JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Compare a file, or all of a directory, with etcd; the exit code is 1 if they differ.
    Diff {
        /// A file, or a directory of them; each item is named after its file.
        path: PathBuf,
        /// Whose they are.
        #[command(flatten)]
        scope: ScopeArguments,
    },
}

/// `agents`.
#[derive(Args, Debug)]
pub struct AgentsArguments {
    /// Print all that they say, as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdArguments,
}

impl EtcdArguments {
    /// What was typed, as the configuration takes it.
    #[must_use]
    pub fn typed(&self) -> Typed {
        let flags = settings([
            ("--endpoints", "etcd.endpoints", &self.endpoints),
            ("--prefix", "etcd.prefix", &self.prefix),
        ]);
        let settings = flags.chain(set(&self.set)).collect();
        Typed { config: self.config.clone(), settings, ..Typed::default() }
    }
}
