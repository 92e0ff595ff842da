//! Whether the agent's user may read a file, by the modes on the way to it. Whoever asks is often root, who may
//! read everything, and so does not see what the agent meets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`: either reads what modes forbid.
const READS_EVERYTHING: u64 = (1 << 1) | (1 << 2);

const READ: u32 = 4;
const SEARCH: u32 = 1;

/// Who a process is for the file system.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    reads_everything: bool,
}

impl User {
    /// That of a running process; `None` if it cannot be seen.
    pub(super) fn of_process(pid: u32) -> Option<User> {
        User::read(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// From the text of `/proc/PID/status`.
    fn read(status: &str) -> Option<User> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::split_whitespace)
        };
        // Real, effective, saved, and the one that counts for files.
        let for_files = |name| field(name)?.nth(3)?.parse().ok();
        let capabilities = u64::from_str_radix(field("CapEff")?.next()?, 16).ok()?;
        Some(User {
            uid: for_files("Uid")?,
            gid: for_files("Gid")?,
            groups: field("Groups")?.filter_map(|group| group.parse().ok()).collect(),
            reads_everything: capabilities & READS_EVERYTHING != 0,
        })
    }

    fn may(&self, want: u32, file: &fs::Metadata) -> bool {
        let mode = file.permissions().mode();
        // Only the first class that fits counts, also when a later one is allowed more.
        let granted = if self.uid == file.uid() {
            mode >> 6
        } else if self.gid == file.gid() || self.groups.contains(&file.gid()) {
            mode >> 3
        } else {
            mode
        };
        self.reads_everything || granted & want == want
    }

    /// The first thing on the way to a file that this user may not pass, in words; `None` if modes let it through.
    pub(super) fn barrier(&self, file: &Path) -> Option<String> {
        let real = fs::canonicalize(file).ok()?;
        let mut way: Vec<&Path> = real.ancestors().collect();
        way.reverse();
        way.into_iter().find_map(|step| {
            let found = fs::metadata(step).ok()?;
            let (want, verb) = if found.is_dir() { (SEARCH, "enter") } else { (READ, "read") };
            (!self.may(want, &found)).then(|| {
                format!(
                    "the agent's user {}:{} may not {verb} {}: mode {:04o}, owner {}:{}, and no group in common \
                     that may (unless an access control list says otherwise)",
                    self.uid,
                    self.gid,
                    step.display(),
                    found.permissions().mode() & 0o7777,
                    found.uid(),
                    found.gid(),
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, gid: u32, groups: &[u32]) -> User {
        User { uid, gid, groups: groups.to_vec(), reads_everything: false }
    }

    #[test]
    fn a_user_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tlogdrive\nUid:\t998\t998\t998\t997\nGid:\t4\t4\t4\t5\nGroups:\t4 27 \n\
                      CapEff:\t0000000000000004\n";
        assert_eq!(
            User::read(status),
            Some(User { uid: 997, gid: 5, groups: vec![4, 27], reads_everything: true })
        );
        assert!(!User::read(&status.replace("04\n", "00\n")).unwrap().reads_everything);
        assert_eq!(User::read("Name:\tx\n"), None);
        assert!(User::of_process(std::process::id()).is_some());
    }

    #[test]
    fn the_first_step_that_is_refused_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("logs/a.log");
        fs::create_dir(root.path().join("logs")).unwrap();
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let owner = fs::metadata(&file).unwrap();
        let (stranger, same_group) = (user(12_345, 12_345, &[]), user(12_345, 1, &[owner.gid()]));
        set(root.path(), 0o755);
        for (directory, mode, of_stranger, of_group) in [
            (0o755, 0o644, "", ""),
            (0o750, 0o644, "enter", ""),
            (0o755, 0o640, "read", ""),
            (0o755, 0o604, "", "read"),
            (0o700, 0o644, "enter", "enter"),
        ] {
            set(&root.path().join("logs"), directory);
            set(&file, mode);
            for (user, word) in [(&stranger, of_stranger), (&same_group, of_group)] {
                match user.barrier(&file) {
                    Some(barrier) => assert!(!word.is_empty() && barrier.contains(word), "{barrier}"),
                    None => assert_eq!(word, "", "{directory:o} {mode:o} {user:?}"),
                }
            }
            assert_eq!(User { reads_everything: true, ..stranger.clone() }.barrier(&file), None);
        }
    }
}
