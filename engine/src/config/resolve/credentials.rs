//! Certificates, keys and passwords: the same keys in every section that names a server.

use std::path::Path;

use super::Judge;
use crate::config::plan::{Certificate, TlsPlan};
use crate::config::problem::shown;
use crate::config::secret::{Secret, open_private};
use crate::config::written::Section;

/// The table of TLS at `path`, which is there.
pub(super) fn tls(top: &Section, path: &str, judge: &mut Judge<'_>) -> Option<TlsPlan> {
    let ca_path = format!("{path}.ca");
    let ca = judge.path(top, &ca_path);
    if let Some(file) = &ca {
        judge.accept(top, &ca_path, readable(file));
    }
    Some(TlsPlan { ca, certificate: certificate(top, path, judge)? })
}

/// Our own certificate in the table of TLS at `path`; `Some(None)` if there is none.
pub(super) fn certificate(top: &Section, path: &str, judge: &mut Judge<'_>) -> Option<Option<Certificate>> {
    let of = |name: &str| format!("{path}.{name}");
    let [cert, key] = ["cert", "key"].map(|name| judge.path(top, &of(name)));
    if let Some(file) = &cert {
        judge.accept(top, &of("cert"), readable(file));
    }
    if let Some(file) = &key {
        judge.accept(top, &of("key"), open_private(file));
    }
    judge.needs(top, &of("key"), top.has(&of("cert")), "`cert`");
    judge.needs(top, &of("cert"), top.has(&of("key")), "`key`");
    judge.needs(top, &of("key_password_file"), top.has(&of("key")), "`key`");
    let key_password = match judge.path(top, &of("key_password_file")) {
        Some(file) => Some(judge.accept(top, &of("key_password_file"), Secret::from_file(&file))?),
        None => None,
    };
    Some(cert.zip(key).map(|(cert, key)| Certificate { cert, key, key_password }))
}

/// The password of the section `path`, which wants one: from a file or from the environment.
pub(super) fn password(top: &Section, path: &str, judge: &mut Judge<'_>) -> Option<Secret> {
    let (file, env) = (format!("{path}.password_file"), format!("{path}.password_env"));
    match (top.has(&file), top.has(&env)) {
        (true, true) => {
            judge.refuse(&top.at(&env), "`password_file` and `password_env` cannot both hold the password");
            None
        }
        (false, false) => {
            let missing = format!("missing key `password_file` (or `password_env`) in `[{path}]`");
            judge.refuse(&top.at(&file), missing);
            None
        }
        (true, false) => {
            let path = judge.path(top, &file)?;
            judge.accept(top, &file, Secret::from_file(&path))
        }
        (false, true) => judge.accept(top, &env, Secret::from_env(&top.text(&env)?)),
    }
}

fn readable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path).and_then(|metadata| std::fs::File::open(path).map(|_| metadata.is_file())) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{} is no regular file", shown(path))),
        Err(error) => Err(format!("cannot read {}: {error}", shown(path))),
    }
}
