//! `[etcd]`: where more items come from, and what they may want.

use std::path::PathBuf;

use super::item::legal_name;
use super::kafka::{hosts, plain};
use super::{Judge, absolute, credentials};
use crate::config::plan::{EtcdLogin, EtcdPlan};
use crate::config::problem::Placed;
use crate::config::written::Section;

/// Each is one more range in every request; etcd takes 128 of them.
const GROUPS_MAX: usize = 64;

/// A key is part of every watch and every line about it.
const KEY_BYTES_MAX: usize = 512;

/// The port of a member that is named without one.
const PORT: u16 = 2379;

/// What stands for the name of the host in `array_key`.
const HOST: &str = "{host}";

pub(super) fn plan(top: &Section, judge: &mut Judge<'_>) -> Option<EtcdPlan> {
    let endpoints = top.text("etcd.endpoints").map(|text| hosts(&text, "endpoints", "etcd"));
    let endpoints = endpoints.and_then(|result| judge.accept(top, "etcd.endpoints", result));
    let prefix = top.text("etcd.prefix").map(|text| prefix(&text));
    let prefix = prefix.and_then(|result| judge.accept(top, "etcd.prefix", result));
    let host = top.text("etcd.host").unwrap_or_else(own_name);
    let host = judge.accept(top, "etcd.host", legal_name("host", &host).map(|()| host.clone()));
    let array_key = match top.text("etcd.array_key") {
        Some(key) => {
            let key = plain("array_key", key.replace(HOST, host.as_deref().unwrap_or_default()));
            judge.accept(top, "etcd.array_key", key.and_then(bounded)).map(Some)
        }
        None => Some(None),
    };
    let tls = match top.table("etcd.tls") {
        Some(_) => credentials::tls(top, "etcd.tls", judge).map(Some),
        None => Some(None),
    };
    let login = login(top, judge);
    if let (Some(Some(_)), Some(None)) = (&login, &tls) {
        judge.warn("[etcd] username without [etcd.tls]: the password crosses the network in the clear");
    }
    Some(EtcdPlan {
        groups: groups(top, judge)?,
        allow_paths: allow_paths(top, judge)?,
        allow_topics: allow_topics(top, judge)?,
        relist: top.duration("etcd.relist"),
        endpoints: endpoints?.split(',').map(with_port).collect(),
        prefix: prefix?,
        host: host?,
        array_key: array_key?,
        tls: tls?,
        login: login?,
    })
}

fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn with_port(endpoint: &str) -> String {
    let has_port =
        endpoint.rsplit_once(':').is_some_and(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    if has_port { endpoint.to_owned() } else { format!("{endpoint}:{PORT}") }
}

fn bounded(key: String) -> Result<String, String> {
    match key.len() {
        ..=KEY_BYTES_MAX => Ok(key),
        _ => Err(format!("longer than {KEY_BYTES_MAX} bytes")),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let text = bounded(plain("prefix", text.trim_end_matches('/').to_owned())?)?;
    if !text.starts_with('/') {
        return Err(format!(
            "`prefix` is {text:?}; it begins with a slash and names something, like \"/logdrive\""
        ));
    }
    Ok(text)
}

fn groups(top: &Section, judge: &mut Judge<'_>) -> Option<Vec<String>> {
    let texts = top.texts("etcd.groups");
    if texts.len() > GROUPS_MAX {
        judge.refuse(&top.at("etcd.groups"), format!("more than {GROUPS_MAX} groups"));
        return None;
    }
    let mut names: Vec<String> = Vec::with_capacity(texts.len());
    for Placed { value, at } in texts {
        if let Err(why) = legal_name("groups", &value) {
            judge.refuse(&at, why);
            return None;
        }
        if !names.contains(&value) {
            names.push(value);
        }
    }
    Some(names)
}

fn allow_paths(top: &Section, judge: &mut Judge<'_>) -> Option<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for Placed { value, at } in top.texts("etcd.allow_paths") {
        let dots = value.split('/').any(|name| name == "." || name == "..");
        let path = match absolute(&value) {
            _ if dots => Err(format!("{value:?} holds `.` or `..`; write the path without it")),
            _ if value.contains(['*', '?', '[', '{']) => Err(format!(
                "{value:?} holds a wildcard; name a directory, with which everything below it is allowed"
            )),
            path => path,
        };
        match path {
            Ok(path) => paths.push(path),
            Err(why) => {
                judge.refuse(&at, why);
                return None;
            }
        }
    }
    Some(paths)
}

fn allow_topics(top: &Section, judge: &mut Judge<'_>) -> Option<Vec<String>> {
    let mut globs = Vec::new();
    for Placed { value, at } in top.texts("etcd.allow_topics") {
        if let Err(error) = globset::Glob::new(&value) {
            judge.refuse(&at, format!("{value:?} is no valid glob: {}", error.kind()));
            return None;
        }
        globs.push(value);
    }
    Some(globs)
}

/// `Some(None)`: no login is wanted.
fn login(top: &Section, judge: &mut Judge<'_>) -> Option<Option<EtcdLogin>> {
    let Some(username) = top.text("etcd.username") else {
        for path in ["etcd.password_file", "etcd.password_env"] {
            judge.needs(top, path, false, "`username`");
        }
        return Some(None);
    };
    let password = credentials::password(top, "etcd", judge);
    let username = judge.accept(top, "etcd.username", plain("username", username));
    Some(Some(EtcdLogin { username: username?, password: password? }))
}
