//! `[etcd]`: where more items come from, and what they may want.

use std::path::PathBuf;
use std::time::Duration;

use super::kafka::{hosts, plain};
use super::{Judge, absolute, credentials, legal_name};
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
    let connection = connection(top, judge);
    let host = top.text("etcd.host").unwrap_or_else(own_name);
    let host = judge.accept(top, "etcd.host", legal_name("host", &host).map(|()| host.clone()));
    let array_key = match top.text("etcd.array_key") {
        Some(key) => {
            let key = plain("array_key", key.replace(HOST, host.as_deref().unwrap_or_default()));
            judge.accept(top, "etcd.array_key", key.and_then(bounded)).map(Some)
        }
        None => Some(None),
    };
    Some(EtcdPlan {
        groups: groups(top, judge)?,
        allow_paths: allow_paths(top, judge)?,
        allow_topics: allow_topics(top, judge)?,
        relist: top.duration("etcd.relist"),
        host: host?,
        array_key: array_key?,
        ..connection?
    })
}

/// Whom to ask and how, for whoever collects nothing: no groups, and nothing is allowed.
pub(super) fn connection(top: &Section, judge: &mut Judge<'_>) -> Option<EtcdPlan> {
    let endpoints = top.text("etcd.endpoints").map(|text| hosts(&text, "endpoints", "etcd"));
    let endpoints = endpoints.and_then(|result| judge.accept(top, "etcd.endpoints", result));
    let prefix = top.text("etcd.prefix").map(|text| prefix(&text));
    let prefix = prefix.and_then(|result| judge.accept(top, "etcd.prefix", result));
    let tls = judge.tls(top, "etcd.tls");
    let login = login(top, judge);
    if let (Some(Some(_)), Some(None)) = (&login, &tls) {
        judge.warn("[etcd] username without [etcd.tls]: the password crosses the network in the clear");
    }
    Some(EtcdPlan {
        groups: Vec::new(),
        allow_paths: Vec::new(),
        allow_topics: Vec::new(),
        relist: Duration::ZERO,
        endpoints: endpoints?.split(',').map(with_port).collect(),
        prefix: prefix?,
        host: own_name(),
        array_key: None,
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::config::{EtcdPlan, Host, Typed, plan_of};

    const ALLOW: &str = "allow_paths = ['/var/log']\nallow_topics = ['*_log']\n";

    fn read(etcd: &str) -> Result<EtcdPlan, String> {
        let host = Host { descriptors_max: 1024, state_dir: "/s".into() };
        let text = format!("kafka.brokers = 'k'\n[etcd]\n{etcd}");
        let plan = plan_of("a", Some(text.as_bytes()), &Typed::default(), &host);
        plan.map(|plan| plan.etcd.expect("it is written")).map_err(|refused| refused.to_string())
    }

    fn check(etcd: &str, expected: Expect) {
        expected.assert_eq(&read(etcd).unwrap_err());
    }

    #[test]
    fn a_file_without_items_is_valid_with_etcd() {
        let plan = read(&format!("endpoints = 'a, b:1, [::1], [::1]:2'\nhost = 'h'\n{ALLOW}")).unwrap();
        assert_eq!(plan.endpoints, ["a:2379", "b:1", "[::1]:2379", "[::1]:2"]);
        assert_eq!((&plan.prefix[..], &plan.host[..], plan.relist.as_secs()), ("/logdrive", "h", 300));
        let more = "groups = ['web', 'web', 'all']\narray_key = '/x/{host}/conf'\nprefix = '/p/'\n";
        let plan = read(&format!("endpoints = 'a'\nhost = 'h'\n{more}{ALLOW}")).unwrap();
        assert_eq!(
            (plan.groups, plan.array_key.as_deref()),
            (vec!["web".into(), "all".into()], Some("/x/h/conf"))
        );
        assert_eq!(plan.prefix, "/p");
    }

    #[test]
    fn g10_what_etcd_may_want_must_be_written() {
        check(
            "endpoints = 'a'\n",
            expect![[r#"
                error: a:2:2: missing key `allow_paths` in `[etcd]`: The directories in which items of etcd may read, with everything below them.
                error: a:2:2: missing key `allow_topics` in `[etcd]`: The topics that items of etcd may send to."#]],
        );
        assert!(read("endpoints = 'a'\nallow_paths = []\nallow_topics = []\n").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_in_its_place() {
        for (line, words) in [
            ("endpoints = 'http://a:2379'", "has a scheme (encryption is `[etcd.tls]`)"),
            ("endpoints = 'me:secret@a'", "to log in, see `username`"),
            ("endpoints = 'a'\nprefix = 'logdrive'", "it begins with a slash"),
            ("endpoints = 'a'\nprefix = '/'", "it begins with a slash"),
            ("endpoints = 'a'\ngroups = ['a/b']", "`groups` is \"a/b\""),
            ("endpoints = 'a'\ngroups = ['host:x']", "`groups` is \"host:x\""),
            ("endpoints = 'a'\nhost = 'a/b'", "`host` is \"a/b\""),
            (
                "endpoints = 'a'\nusername = 'me'",
                "missing key `password_file` (or `password_env`) in `[etcd]`",
            ),
            ("endpoints = 'a'\npassword_env = 'HOME'", "`password_env` has no effect without `username`"),
            ("endpoints = 'a'\npassword = 'canary'", "`password` is refused"),
            ("endpoints = 'a'\nrelist = '1ms'", "`relist` is 1ms"),
            ("endpoints = 'a'\ntls.cert = '/c'", "`cert` has no effect without `key`"),
        ] {
            let refused = read(&format!("{line}\n{ALLOW}")).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("canary"), "{line}: {refused}");
            assert!(!refused.contains("secret@"), "{refused}");
        }
        for (allow, words) in [
            ("allow_paths = ['log']\nallow_topics = []", "is not an absolute path"),
            ("allow_paths = ['/var/../etc']\nallow_topics = []", "holds `.` or `..`"),
            ("allow_paths = ['/var/log/*']\nallow_topics = []", "holds a wildcard"),
            ("allow_paths = []\nallow_topics = ['[']", "is no valid glob"),
        ] {
            let refused = read(&format!("endpoints = 'a'\n{allow}\n")).unwrap_err();
            assert!(refused.contains(words), "{allow}: {refused}");
        }
    }
}
