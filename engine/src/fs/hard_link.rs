//! Whether a file may have been linked to where it is by somebody who may not read it.
//!
//! A hard link has no owner: every name of a file is as good as the others, and only the directory in which
//! a name lies tells who can have made it. Linux keeps users from linking files of others
//! (`fs.protected_hardlinks`, set by every distribution), but not on every host, and a link that was made
//! elsewhere comes along with its disk. So the agent, which may read more than those who write into log
//! directories, judges for itself.
//!
//! Once the original is removed, its link looks like any other file. Where the kernel does not protect
//! hard links, therefore, a single name proves nothing.

use rustix::fs::{Mode, Statx};

use super::error::Refusal;

/// Judges a file by what is known of it and of the directory of its name. `are_protected` is asked only if
/// it matters.
pub(super) fn judge(
    file: &Statx,
    directory: &Statx,
    are_protected: impl FnOnce() -> bool,
) -> Result<(), Refusal> {
    let everybody = Mode::RGRP | Mode::ROTH;
    if mode(file).contains(everybody) {
        return Ok(());
    }
    // Root and the owner of the file may read it anyway.
    let owner = directory.stx_uid == 0 || directory.stx_uid == file.stx_uid;
    if owner && !mode(directory).intersects(Mode::WGRP | Mode::WOTH) {
        return Ok(());
    }
    if file.stx_nlink == 1 && are_protected() {
        return Ok(());
    }
    Err(Refusal::HardLink { file: file.stx_uid, directory: directory.stx_uid })
}

fn mode(facts: &Statx) -> Mode {
    Mode::from_raw_mode(facts.stx_mode.into())
}

/// Whether the kernel keeps users from linking files that they cannot read and write. Not known is no.
pub(super) fn are_protected() -> bool {
    std::fs::read("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.starts_with(b"1"))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{AtFlags, CWD, StatxFlags};

    use super::*;

    /// (owner, mode, names) of a file in a directory of (owner, mode).
    fn is_read(protected: bool, file: (u32, u16, u32), directory: (u32, u16)) -> bool {
        let facts = |(uid, mode, links)| {
            let root = rustix::fs::statx(CWD, c"/", AtFlags::empty(), StatxFlags::BASIC_STATS);
            let mut facts = root.expect("there is a root directory");
            (facts.stx_uid, facts.stx_mode, facts.stx_nlink) = (uid, mode, links);
            facts
        };
        judge(&facts(file), &facts((directory.0, directory.1, 2)), || protected).is_ok()
    }

    const ROOT: u32 = 0;
    const APP: u32 = 1000;

    #[test]
    fn x08_what_everybody_may_read_gives_nothing_away() {
        for protected in [false, true] {
            assert!(is_read(protected, (ROOT, 0o644, 2), (APP, 0o777)));
            assert!(!is_read(protected, (ROOT, 0o604, 2), (APP, 0o777)), "the group may not");
        }
    }

    #[test]
    fn x08_a_name_that_only_root_or_the_owner_of_the_file_can_have_made_is_as_good_as_the_first() {
        for protected in [false, true] {
            assert!(is_read(protected, (APP, 0o600, 2), (APP, 0o755)));
            assert!(is_read(protected, (APP, 0o600, 2), (ROOT, 0o755)));
            assert!(!is_read(protected, (ROOT, 0o600, 2), (APP, 0o755)));
            assert!(!is_read(protected, (APP, 0o600, 2), (APP, 0o775)), "its group can");
            assert!(!is_read(protected, (ROOT, 0o600, 2), (ROOT, 0o1777)), "everybody can");
        }
    }

    #[test]
    fn x08_a_single_name_is_the_first_one_only_where_the_kernel_says_so() {
        for directory in [(APP, 0o755), (ROOT, 0o1777), (ROOT, 0o775)] {
            assert!(is_read(true, (ROOT, 0o600, 1), directory));
            assert!(!is_read(false, (ROOT, 0o600, 1), directory), "the original may be gone");
        }
    }
}
