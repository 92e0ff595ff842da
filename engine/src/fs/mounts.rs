//! Which mount a path lies on, without asking the file system that may be dead.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The network or FUSE mount that `path` lies on, if it does, by a text like `/proc/self/mountinfo`.
///
/// Only such a mount can be dead as a whole; a slow directory of a local disk says nothing about
/// the others.
pub(super) fn remote_mount_of(path: &Path, mountinfo: &str) -> Option<PathBuf> {
    // The longest mount point that is a prefix counts, and of equals the last, which covers the others.
    let mounts = mountinfo.lines().filter_map(mount_of_line);
    let (point, kind) = mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.as_os_str().len())?;
    is_remote(kind).then_some(point)
}

/// `36 35 98:0 /root /point options optional... - type source options`
fn mount_of_line(line: &str) -> Option<(PathBuf, &str)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let point = mount.split(' ').nth(4)?;
    Some((unescaped(point), file_system.split(' ').next()?))
}

/// Spaces, tabs, newlines and backslashes are written as `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn is_remote(kind: &str) -> bool {
    let remote = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gfs2",
        "ocfs2",
        "virtiofs",
        "beegfs",
        "gpfs",
    ];
    remote.contains(&kind) || kind == "fuse" || kind.starts_with("fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_a_path_lies_on_the_longest_mount_point_and_only_remote_ones_count() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            30 22 0:40 / /mnt/logs rw shared:7 master:2 - nfs4 server:/export rw,hard\n\
            31 30 8:2 / /mnt/logs/local rw - xfs /dev/sdb rw\n\
            32 22 0:41 / /mnt/with\\040space rw - fuse.sshfs host: rw\n\
            33 22 0:42 / /run rw - tmpfs tmpfs rw\n\
            garbage\n";
        for (path, mount) in [
            ("/mnt/logs/app/a.log", Some("/mnt/logs")),
            ("/mnt/logs", Some("/mnt/logs")),
            ("/mnt/logs/local/a.log", None),
            ("/mnt/logs-of-others/a.log", None),
            ("/mnt/with space/a", Some("/mnt/with space")),
            ("/run/a.log", None),
            ("/var/log", None),
        ] {
            assert_eq!(remote_mount_of(Path::new(path), mounts).as_deref(), mount.map(Path::new), "{path}");
        }
        assert_eq!(remote_mount_of(Path::new("/a"), ""), None);
    }
}
