//! Passwords: where they may come from, and that they are never shown.
//!
//! A secret comes from a file that only its owner can read, or from the environment; never from the
//! configuration itself or the command line, which others can read. Nothing prints one.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::problem::shown;

/// A longer file is not a password.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// A password. Its `Debug` does not show it, and it has no `Display`.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret {
    text: String,
    /// The file that it came from, and comes from again when that has changed.
    file: Option<PathBuf>,
}

impl Secret {
    /// The password itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The file that holds it.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads its file again; what came from the environment stays.
    ///
    /// # Errors
    /// Why the file cannot be read, or holds no password.
    pub fn read_again(&self) -> Result<Secret, String> {
        self.file.as_deref().map_or_else(|| Ok(self.clone()), Secret::from_file)
    }

    /// Reads a password from a private file, without the newline at its end.
    pub(crate) fn from_file(path: &Path) -> Result<Secret, String> {
        let file = open_private(path)?;
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot read {}: {error}", shown(path)))?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(format!("{} is too large for a password", shown(path)));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", shown(path)))?;
        let text = Secret::checked(text.strip_suffix('\n').unwrap_or(&text), &shown(path))?;
        Ok(Secret { text, file: Some(path.to_owned()) })
    }

    /// Takes a password from the environment. What is not found there is not shown: who takes the key for
    /// that of the password itself has written it there.
    pub(crate) fn from_env(variable: &str) -> Result<Secret, String> {
        let is_name = !variable.is_empty() && !variable.contains(['=', '\0']);
        let found = is_name.then(|| std::env::var_os(variable)).flatten();
        let found = found.ok_or("no variable of this name is set in the agent's environment")?;
        let text = found.into_string().map_err(|_| format!("the variable {variable} is not UTF-8"))?;
        let text = Secret::checked(&text, &format!("the variable {variable}"))?;
        Ok(Secret { text, file: None })
    }

    fn checked(text: &str, place: &str) -> Result<String, String> {
        match text {
            "" => Err(format!("{place} is empty")),
            _ if text.contains(['\0', '\n']) => Err(format!("{place} holds more than one line, or a NUL")),
            _ => Ok(text.to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Opens a file that holds a secret; refuses one that others than its owner can read or change.
pub(crate) fn open_private(path: &Path) -> Result<std::fs::File, String> {
    let cannot = |error| format!("cannot read {}: {error}", shown(path));
    // A FIFO would block the start until somebody writes into it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("{} is no regular file", shown(path)));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let path = shown(path);
        return Err(format!(
            "{path} holds a secret, but its mode {mode:04o} lets others in; try: chmod 600 {path}"
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(dir: &Path, name: &str, mode: u32, content: &[u8]) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn g13_a_secret_that_others_can_read_or_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, allowed) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o602, false),
            (0o610, false),
        ] {
            let path = file(dir.path(), &format!("{mode:o}"), mode, b"word\n");
            let read = Secret::from_file(&path);
            assert_eq!(read.is_ok(), allowed, "{mode:o}: {read:?}");
            if let Err(why) = read {
                assert!(why.contains("lets others in") && !why.contains("word"), "{why}");
            }
        }
    }

    #[test]
    fn only_one_line_of_text_is_a_password() {
        let dir = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| Secret::from_file(&file(dir.path(), "s", 0o600, content));
        assert_eq!(read(b"a b \n").unwrap().expose(), "a b ");
        assert_eq!(read(b"\xc3\xbc").unwrap().expose(), "\u{fc}");
        for content in [&b""[..], b"\n", b"a\nb", b"a\0b", b"\xff"] {
            assert!(read(content).is_err(), "{content:?}");
        }
        assert!(read(&vec![b'x'; 70_000]).is_err());
        assert!(Secret::from_file(dir.path()).unwrap_err().contains("no regular file"));
        assert!(Secret::from_file(&dir.path().join("absent")).unwrap_err().starts_with("cannot read"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let secret = Secret::from_file(&file(dir.path(), "s", 0o600, b"canary")).unwrap();
        assert!(!format!("{secret:?} {secret:#?}").contains("canary"));
    }

    #[test]
    fn a_variable_must_exist() {
        assert!(!Secret::from_env("CARGO_MANIFEST_DIR").unwrap().expose().is_empty());
        for name in ["LOGDRIVE_TEST_NO_SUCH_VARIABLE", "", "a=b"] {
            let why = Secret::from_env(name).unwrap_err();
            assert!(name.is_empty() || !why.contains(name), "{why}");
        }
    }
}
