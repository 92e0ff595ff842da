//! The configuration: one file for all verbs, in the manner of the agent's, and what it means.
//!
//! Reading, kinds of values and their refusals are the agent's own; here are the keys and the rules between them.

pub mod keys;
mod serve;

use jiff::tz::TimeZone;
use logdrive::config::{At, Judge, LogPlan, Placed, Refused, Secret, Section, TlsPlan, Typed, load_for};

use crate::group::{DECIDED, KafkaPlan, PROMISED, Subscription};
use crate::index::IndexPlan;
pub use serve::serve;

use crate::opensearch::{Login, OpenSearchPlan, Template, endpoint};

/// The longest name of an index is 255 bytes; a dash and a date follow.
const PREFIX_BYTES_MAX: usize = 200;

/// What was configured, for one verb.
#[derive(Clone, Debug)]
pub struct Configured<T> {
    /// What the verb is to do.
    pub plan: T,
    /// How it says what it does.
    pub log: LogPlan,
    /// What is unwise, each in one line.
    pub warnings: Vec<String>,
    /// Whether there are passwords or keys in it.
    pub holds_secrets: bool,
}

/// Reads what `index` is to do.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn index(typed: &Typed) -> Result<Configured<IndexPlan>, Refused> {
    let is_needed = |section: &str| !section.starts_with("serve") && !section.starts_with("etcd");
    let meaning = |top: &Section, judge: &mut Judge<'_>| Some((index_plan(top, judge)?, LogPlan::of(top)));
    let ((plan, log), warnings) = load_for(&keys::TABLE, typed, is_needed, meaning)?;
    let holds_key = |tls: &Option<TlsPlan>| tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    let holds_secrets = plan.kafka.sasl.is_some()
        || holds_key(&plan.kafka.tls)
        || holds_key(&plan.opensearch.tls)
        || !matches!(plan.opensearch.login, Login::None);
    Ok(Configured { plan, log, warnings, holds_secrets })
}

fn index_plan(top: &Section, judge: &mut Judge<'_>) -> Option<IndexPlan> {
    let kafka = kafka(top, judge);
    let opensearch = opensearch(top, judge);
    let topics = topics(top, "index.topics", judge);
    let group = judge.plain(top, "index.group");
    let dead_letter_topic = judge.topic(top, "index.dead_letter_topic");
    if let (Some(topics), Some(dead)) = (&topics, &dead_letter_topic)
        && topics.contains(dead)
    {
        let why = format!(
            "`dead_letter_topic` is {dead:?}, which is indexed: what is refused would be refused again"
        );
        judge.refuse(&top.at("index.dead_letter_topic"), why);
    }
    let prefix = prefix(top, judge);
    let time_zone = time_zone(top, judge);
    let http = judge.http(top);
    for path in ["index.shards", "index.replicas"] {
        judge.needs(top, path, top.flag("index.template"), "`template`");
    }
    let number = |path: &str| top.count(path).and_then(|count| u32::try_from(count).ok());
    let prefix = prefix?;
    let template = Template {
        prefix: prefix.clone(),
        shards: number("index.shards"),
        replicas: number("index.replicas"),
    };
    Some(IndexPlan {
        kafka: kafka?,
        subscription: Subscription {
            topics: topics?,
            group: group?,
            from_beginning: top.word("index.read_from") == "beginning",
        },
        opensearch: opensearch?,
        template: top.flag("index.template").then_some(template),
        prefix,
        time_zone: time_zone?,
        dead_letter_topic: dead_letter_topic?,
        requests: top.number("index.requests"),
        batch_bytes_max: usize::try_from(top.size("index.batch_bytes_max")).unwrap_or(usize::MAX),
        linger: top.duration("index.linger"),
        shutdown_timeout: top.duration("shutdown_timeout"),
        http: http?,
    })
}

/// That of lines whose times name none. Whoever shows lines live needs it as well as whoever indexes them.
fn time_zone(top: &Section, judge: &mut Judge<'_>) -> Option<TimeZone> {
    let name = top.text("index.time_zone")?;
    let zone = TimeZone::get(&name).map_err(|_| {
        format!(
            "`time_zone` is {name:?}, which this system does not know; as `Europe/Berlin`; is tzdata installed?"
        )
    });
    judge.accept(top, "index.time_zone", zone)
}

fn kafka(top: &Section, judge: &mut Judge<'_>) -> Option<KafkaPlan> {
    let brokers = judge.hosts(top, "kafka", "brokers");
    let client_id = judge.plain(top, "kafka.client_id");
    let tls = judge.tls(top, "kafka.tls");
    let sasl = judge.sasl(top, matches!(tls, Some(Some(_))));
    let options = judge.kafka_options(top, DECIDED, PROMISED);
    Some(KafkaPlan { brokers: brokers?, client_id: client_id?, tls: tls?, sasl: sasl?, options })
}

fn opensearch(top: &Section, judge: &mut Judge<'_>) -> Option<OpenSearchPlan> {
    let urls = top.texts("opensearch.urls");
    if urls.is_empty() && top.has("opensearch.urls") {
        judge.refuse(&top.at("opensearch.urls"), "`urls` is empty: name at least one server");
    }
    let mut endpoints = Vec::new();
    let mut schemes = Vec::new();
    for Placed { value, at } in &urls {
        match endpoint(value).map_err(|why| format!("`urls` holds {why}")) {
            Ok((is_encrypted, endpoint)) => {
                endpoints.push(endpoint);
                schemes.push((is_encrypted, at.clone()));
            }
            Err(why) => judge.refuse(at, why),
        }
    }
    let is_encrypted = schemes.first().is_some_and(|(is_encrypted, _)| *is_encrypted);
    if let Some((_, at)) = schemes.iter().find(|(other, _)| *other != is_encrypted) {
        judge.refuse(at, "`urls` mixes http and https: all servers are reached in the same way");
    }
    let tls = judge.tls(top, "opensearch.tls")?;
    if let (Some(_), false, false) = (&tls, is_encrypted, schemes.is_empty()) {
        let at: At = top.table("opensearch.tls").cloned().unwrap_or(At::Whole);
        judge.refuse(&at, "`[opensearch.tls]` has no effect: `urls` begin with http, not https");
    }
    let login = login(top, is_encrypted, judge)?;
    let tls = match is_encrypted {
        true => Some(tls.unwrap_or(TlsPlan { ca: None, certificate: None })),
        false => None,
    };
    Some(OpenSearchPlan { endpoints, tls, login, timeout: top.duration("opensearch.timeout") })
}

/// The name and password that a section asks for; `Some(None)` if it asks for none.
fn user(top: &Section, section: &str, judge: &mut Judge<'_>) -> Option<Option<(String, Secret)>> {
    let path = |key: &str| format!("{section}.{key}");
    if !top.has(&path("username")) {
        for key in ["password_file", "password_env"] {
            judge.needs(top, &path(key), false, "`username`");
        }
        return Some(None);
    }
    let password = judge.password(top, section);
    let username = judge.plain(top, &path("username"))?;
    if username.contains(':') {
        judge.refuse(&top.at(&path("username")), "`username` holds a colon, which no login over HTTP can");
    }
    Some(Some((username, password?)))
}

fn login(top: &Section, is_encrypted: bool, judge: &mut Judge<'_>) -> Option<Login> {
    let has_key = top.has("opensearch.api_key_file");
    if has_key && top.has("opensearch.username") {
        judge.refuse(
            &top.at("opensearch.api_key_file"),
            "`api_key_file` and `username` cannot both be the login",
        );
        return None;
    }
    let login = match user(top, "opensearch", judge)? {
        Some((username, password)) => Login::Basic { username, password },
        None if has_key => Login::ApiKey(judge.secret_file(top, "opensearch.api_key_file")?),
        None => Login::None,
    };
    if !is_encrypted && !matches!(login, Login::None) {
        judge
            .warn("[opensearch] a login over http: the password crosses the network in the clear; use https");
    }
    Some(login)
}

fn topics(top: &Section, path: &str, judge: &mut Judge<'_>) -> Option<Vec<String>> {
    let texts = top.texts(path);
    if texts.is_empty() && top.has(path) {
        judge.refuse(&top.at(path), "`topics` is empty: name at least one");
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut topics = Vec::new();
    for Placed { value, at } in texts {
        if value.is_empty() || (!value.starts_with('^') && !value.chars().all(legal)) {
            let why = format!(
                "`topics` holds {value:?}; allowed: letters, digits, `.`, `_` and `-`, or a pattern after `^`"
            );
            judge.refuse(&at, why);
        }
        topics.push(value);
    }
    (!topics.is_empty()).then_some(topics)
}

/// What the names of indexes begin with.
fn prefix(top: &Section, judge: &mut Judge<'_>) -> Option<String> {
    let prefix = top.text("index.prefix").map(legal_prefix)?;
    judge.accept(top, "index.prefix", prefix)
}

/// As OpenSearch wants names of indexes to begin.
fn legal_prefix(text: String) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    match begins && text.len() <= PREFIX_BYTES_MAX && text.chars().all(legal) {
        true => Ok(text),
        false => Err(format!(
            "`prefix` is {text:?}; allowed: up to {PREFIX_BYTES_MAX} lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use logdrive::config::keys::Fallback;

    use super::*;

    const GOOD: &str = "kafka.brokers = 'k'\nopensearch.urls = ['http://o']\nindex.topics = ['a']\n\
                        index.dead_letter_topic = 'd'\n";

    fn read(text: &str) -> Result<Configured<IndexPlan>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let typed = Typed { config: Some(path.clone()), ..Typed::default() };
        let shown = format!("{}:", path.display());
        index(&typed).map_err(|refused| refused.to_string().replace(&shown, "s.toml:"))
    }

    fn secret(dir: &Path, name: &str, mode: u32) -> String {
        let path = dir.join(name);
        std::fs::write(&path, "canary\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_page_has_every_key_in_its_order_with_type_and_default() {
        let page = include_str!("../../../docs/search.md");
        let documented: Vec<&str> = page
            .split("| key | type | default | meaning |\n|---|---|---|---|\n")
            .nth(1)
            .unwrap()
            .lines()
            .take_while(|line| line.starts_with("| "))
            .collect();
        let row = |key: &logdrive::config::keys::Key| {
            let default = match key.fallback {
                Fallback::Required => "none: it must be written".to_owned(),
                Fallback::Value(text) => format!("`{text}`"),
                Fallback::Absent(meaning) => meaning.to_owned(),
            };
            format!("| `{}` | {} | {default} | {} |", key.path, key.kind.describe(), key.doc)
        };
        assert_eq!(documented, keys::TABLE.keys.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn every_default_is_of_its_kind() {
        let plan = read(GOOD).unwrap().plan;
        assert_eq!(plan.opensearch.endpoints, ["o:9200"]);
        assert_eq!((plan.requests, plan.batch_bytes_max, plan.linger.as_millis()), (2, 4 << 20, 200));
        assert_eq!((plan.prefix.as_str(), plan.subscription.from_beginning), ("logdrive", true));
        let template = plan.template.unwrap();
        assert_eq!((template.shards, template.replicas), (None, None));
        assert_eq!(plan.http.unwrap().port(), 9181);
    }

    #[test]
    fn what_is_wrong_is_said_in_its_place() {
        for (line, words) in [
            ("index.toppic = 'a'", "s.toml:5:7: unknown key `toppic` (did you mean `topics`?)"),
            ("index.requests = 0", "`requests` is 0; allowed: whole number, 1 to 64"),
            ("index.prefix = 'Logs'", "`prefix` is \"Logs\""),
            ("index.prefix = '_logs'", "`prefix` is \"_logs\""),
            ("index.template = false\nindex.shards = 3", "`shards` has no effect without `template`"),
            ("opensearch.tls.ca = '/etc/hosts'", "`[opensearch.tls]` has no effect"),
            (
                "opensearch.username = 'me'",
                "missing key `password_file` (or `password_env`) in `[opensearch]`",
            ),
            ("opensearch.password = 'canary'", "`password` is refused"),
            ("opensearch.api_key = 'canary'", "`api_key` is refused"),
            ("opensearch.password_env = 'HOME'", "`password_env` has no effect without `username`"),
            ("kafka.options.'group.id' = 'x'", "`group.id` is decided by the `group` of the verb"),
            (
                "kafka.options.'enable.auto.commit' = true",
                "`enable.auto.commit` cannot be set: offsets are committed when",
            ),
            ("kafka.options.'sasl.password' = 'canary'", "`sasl.password` is a secret"),
            ("kafka.options.'no.such' = 1", "librdkafka refuses `no.such`"),
            ("http.listen = '0.0.0.0:1'", "which other hosts can reach"),
            ("[[item]]", "unknown"),
        ] {
            let refused = read(&format!("{GOOD}{line}\n")).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("canary"), "{line}: {refused}");
        }
        for (from, to, words) in [
            ("['http://o']", "['http://o', 'https://p']", "`urls` mixes http and https"),
            ("['http://o']", "[]", "`urls` is empty"),
            ("['http://o']", "['http://me:canary@o']", "before an `@`"),
            ("['a']", "['a b']", "`topics` holds \"a b\""),
            ("['a']", "['d']", "what is refused would be refused again"),
            ("kafka.brokers = 'k'\n", "", "missing key `brokers` in `[kafka]`"),
            ("index.dead_letter_topic = 'd'\n", "", "missing key `dead_letter_topic` in `[index]`"),
        ] {
            let refused = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("canary"), "{to}: {refused}");
        }
    }

    #[test]
    fn g13_secrets_come_from_private_files_and_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let login = |file: &str| {
            read(&format!("{GOOD}opensearch.username = 'me'\nopensearch.password_file = '{file}'\n"))
        };
        let good = login(&secret(dir.path(), "private", 0o600)).unwrap();
        assert!(good.holds_secrets && !format!("{good:?}").contains("canary"));
        assert!(good.warnings.iter().any(|warning| warning.contains("in the clear")), "{:?}", good.warnings);
        let refused = login(&secret(dir.path(), "public", 0o644)).unwrap_err();
        assert!(refused.contains("lets others in") && !refused.contains("canary"), "{refused}");
        let key = secret(dir.path(), "key", 0o600);
        let both = read(&format!("{GOOD}opensearch.username = 'me'\nopensearch.api_key_file = '{key}'\n"))
            .unwrap_err();
        assert!(both.contains("cannot both be the login"), "{both}");
        assert!(read(&format!("{GOOD}opensearch.api_key_file = '{key}'\n")).unwrap().holds_secrets);
        assert!(!read(GOOD).unwrap().holds_secrets);
    }
}
