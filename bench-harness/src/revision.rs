//! A git revision becomes a logdrive binary, or instruction counts, without touching the user's checkout.
//!
//! All revisions are built in one worktree below `.cache/regress` and with one target folder, one after the
//! other: what they have in common is compiled once, and since the path is the same, equal sources give equal
//! programs. Binaries are kept by commit, so the base of a comparison is built only the first time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::counts::{Counting, Counts};
use crate::process::Child;
use crate::setup::progress;

/// librdkafka and everything else from scratch on a slow machine.
const BUILD_PATIENCE: Duration = Duration::from_secs(3600);

/// Where revisions are checked out and built.
pub(crate) struct Workshop {
    /// The user's checkout.
    root: PathBuf,
    folder: PathBuf,
}

/// A commit that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Commit {
    /// As it was asked for.
    pub(crate) name: String,
    hash: String,
}

impl Workshop {
    /// In the checkout that holds the current folder.
    pub(crate) fn open() -> Result<Workshop> {
        let here = std::env::current_dir().context("cannot find the current folder")?;
        let root = git(&here, &["rev-parse", "--show-toplevel"]).context("revisions need a git checkout")?;
        let root = PathBuf::from(root);
        let folder = root.join(".cache/regress");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Workshop { root, folder })
    }

    pub(crate) fn resolve(&self, name: &str) -> Result<Commit> {
        let wanted = format!("{name}^{{commit}}");
        match git(&self.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]) {
            Ok(hash) => Ok(Commit { name: name.to_owned(), hash }),
            Err(_) => bail!(
                "there is no revision `{name}` here; a shallow clone has only the newest \
                 (`git fetch --unshallow`, or fetch-depth 0 in CI)"
            ),
        }
    }

    /// The logdrive binary of a commit.
    pub(crate) fn binary(&self, commit: &Commit) -> Result<PathBuf> {
        let binary = self.folder.join("bin").join(&commit.hash).join("logdrive");
        if binary.is_file() {
            return Ok(binary);
        }
        let tree = self.check_out(commit)?;
        progress(format!("building {commit}"));
        let log = self.folder.join("build.log");
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&tree).args([
            "build",
            "--release",
            "--locked",
            "-p",
            "logdrive",
            "--bin",
            "logdrive",
        ]);
        cargo.env("CARGO_TARGET_DIR", self.target());
        Child::spawn("cargo build", &mut cargo, &log)?
            .finish(BUILD_PATIENCE)
            .with_context(|| format!("revision {commit} does not build"))?;
        // Under its name only when it is whole.
        let unfinished = binary.with_extension("unfinished");
        std::fs::create_dir_all(binary.parent().expect("a path of several parts"))
            .and_then(|()| std::fs::copy(self.target().join("release/logdrive"), &unfinished))
            .and_then(|_| std::fs::rename(&unfinished, &binary))
            .with_context(|| format!("cannot keep {}", binary.display()))?;
        Ok(binary)
    }

    /// The instruction counts of a commit.
    pub(crate) fn counts(&self, commit: &Commit) -> Result<Counts> {
        let tree = self.check_out(commit)?;
        progress(format!("counting instructions of {commit}"));
        let counting = Counting {
            checkout: &tree,
            target: Some(&self.target()),
            tools_of: &self.root,
            work: &self.folder.join("callgrind"),
            extra_percent: 0,
            log: &self.folder.join("count.log"),
        };
        counting.count().with_context(|| format!("revision {commit}"))
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    fn check_out(&self, commit: &Commit) -> Result<PathBuf> {
        let tree = self.folder.join("tree");
        let path = tree.to_string_lossy();
        if tree.join(".git").exists() {
            git(&tree, &["checkout", "--quiet", "--force", "--detach", &commit.hash])?;
        } else {
            // Forced, since git may remember a worktree here that somebody has deleted.
            git(&self.root, &["worktree", "add", "--quiet", "--force", "--detach", &path, &commit.hash])?;
        }
        let now = git(&tree, &["rev-parse", "HEAD"])?;
        ensure!(now == commit.hash, "{path} is not at {commit}; remove that folder and try again");
        Ok(tree)
    }
}

impl std::fmt::Display for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = &self.hash[..self.hash.len().min(12)];
        if self.name == self.hash { f.write_str(short) } else { write!(f, "{} ({short})", self.name) }
    }
}

/// Runs git in `folder`; its answer without the last newline.
fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new("git").arg("-C").arg(folder).args(arguments).output().context("cannot run git")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        bail!("git {} fails: {complaint}", arguments.first().unwrap_or(&""));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workshop(folder: &Path) -> Workshop {
        let run = |arguments: &[&str]| git(folder, arguments).unwrap();
        run(&["init", "--quiet"]);
        for content in ["one", "two"] {
            std::fs::write(folder.join("file"), content).unwrap();
            run(&["add", "file"]);
            let author = ["-c", "user.name=n", "-c", "user.email=e@example.org"];
            run(&[&author[..], &["commit", "--quiet", "-m", content]].concat());
        }
        let root = folder.to_owned();
        Workshop { folder: root.join(".cache/regress"), root }
    }

    #[test]
    fn revisions_take_turns_in_one_worktree() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = workshop(folder.path());
        for (name, content) in [("HEAD", "two"), ("HEAD~1", "one"), ("HEAD", "two")] {
            let tree = workshop.check_out(&workshop.resolve(name).unwrap()).unwrap();
            assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), content);
        }
        std::fs::remove_dir_all(workshop.folder.join("tree")).unwrap();
        workshop.check_out(&workshop.resolve("HEAD~1").unwrap()).unwrap();
        assert_eq!(
            std::fs::read_to_string(folder.path().join("file")).unwrap(),
            "two",
            "the user's is as it was"
        );
    }

    #[test]
    fn a_revision_that_does_not_exist_is_one_clear_line() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = workshop(folder.path());
        for name in ["nowhere", "--help", "HEAD:file"] {
            let error = workshop.resolve(name).unwrap_err().to_string();
            assert!(error.contains(&format!("no revision `{name}`")) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_does_not_build_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = workshop(folder.path());
        let error = workshop.binary(&workshop.resolve("HEAD").unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("revision HEAD ("), "{error}");
        assert!(error.to_string().ends_with("does not build"), "{error}");
    }
}
