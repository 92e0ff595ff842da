//! What `serve` is to do. It shares with `index` how Kafka and OpenSearch are reached, and what the indexes are called.

use std::net::SocketAddr;

use logdrive::config::{Certificate, ItemLimits, Judge, LogPlan, Refused, Section, Typed, load_for};
use logdrive::etcd::verbs::Remote;
use logdrive::wanted::LINE_BUFFER_MAX;

use super::{Configured, kafka, keys, opensearch, prefix, time_zone, topics, user};
use crate::opensearch::Login;
use crate::serve::{Limits, LoginPlan, ServePlan, TailPlan};

/// The agents' own default of the largest record: what is put here is judged again on each host.
const MESSAGE_BYTES_MAX: u64 = 1_048_588;
/// Sections that another verb needs, or that may be left out: what of them is missing is said here where it matters.
const OTHERS: [&str; 2] = ["index", "kafka"];

/// Reads what `serve` is to do.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn serve(typed: &Typed) -> Result<Configured<ServePlan>, Refused> {
    let is_needed = |section: &str| !OTHERS.contains(&section);
    let meaning = |top: &Section, judge: &mut Judge<'_>| Some((plan(top, judge)?, LogPlan::of(top)));
    let ((plan, log), warnings) = load_for(&keys::TABLE, typed, is_needed, meaning)?;
    let holds_secrets = plan.login.is_wanted()
        || plan.certificate.is_some()
        || plan.tail.as_ref().is_some_and(|tail| tail.kafka.sasl.is_some())
        || plan.fleet.as_ref().is_some_and(|remote| remote.plan.login.is_some())
        || !matches!(plan.opensearch.login, Login::None);
    Ok(Configured { plan, log, warnings, holds_secrets })
}

fn plan(top: &Section, judge: &mut Judge<'_>) -> Option<ServePlan> {
    let opensearch = opensearch(top, judge);
    let prefix = prefix(top, judge);
    let login = login(top, judge);
    let certificate = certificate(top, judge);
    let listen = listen(top, judge);
    let hosts = hosts(top, judge);
    let tail = tail(top, judge);
    let fleet = judge.etcd(top);
    let (login, certificate, listen) = (login?, certificate?, listen?);
    if !listen.ip().is_loopback() {
        let missing = match (certificate.is_some(), login.is_wanted()) {
            (true, true) => None,
            (false, false) => Some("`[serve.tls]` and a login (`username` or `token_file`)"),
            (false, true) => Some("`[serve.tls]`"),
            (true, false) => Some("a login (`username` or `token_file`)"),
        };
        if let Some(missing) = missing {
            let why =
                format!("`listen` is {listen}, which other hosts can reach: that needs {missing} in [serve]");
            judge.refuse(&top.at("serve.listen"), why);
        }
    }
    let limits = ItemLimits { message_bytes_max: MESSAGE_BYTES_MAX, line_buffer_max: LINE_BUFFER_MAX };
    Some(ServePlan {
        listen,
        hosts: hosts?,
        certificate,
        login,
        opensearch: opensearch?,
        prefix: prefix?,
        timeout: top.duration("serve.timeout"),
        export_lines_max: top.number("serve.export_lines_max"),
        tail: tail?,
        fleet: fleet?.map(|plan| Remote { plan, limits }),
        limits: Limits::default(),
    })
}

fn listen(top: &Section, judge: &mut Judge<'_>) -> Option<SocketAddr> {
    let text = top.text("serve.listen")?;
    let address = text.replacen("localhost:", "127.0.0.1:", 1).parse().map_err(|_| {
        format!("`listen` is {text:?}; allowed: an address with a port like \"127.0.0.1:9182\"")
    });
    judge.accept(top, "serve.listen", address)
}

fn hosts(top: &Section, judge: &mut Judge<'_>) -> Option<Vec<String>> {
    let mut hosts = Vec::new();
    for name in top.texts("serve.hosts") {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.value.is_empty() || !name.value.chars().all(legal) {
            let why = format!(
                "`hosts` holds {:?}; write a name like \"logs.example.org\", without a port",
                name.value
            );
            judge.refuse(&name.at, why);
            return None;
        }
        hosts.push(name.value);
    }
    Some(hosts)
}

fn login(top: &Section, judge: &mut Judge<'_>) -> Option<LoginPlan> {
    let user = user(top, "serve", judge)?;
    let token = match top.has("serve.token_file") {
        true => Some(judge.secret_file(top, "serve.token_file")?),
        false => None,
    };
    Some(LoginPlan { user, token })
}

/// `Some(None)`: nothing is encrypted.
fn certificate(top: &Section, judge: &mut Judge<'_>) -> Option<Option<Certificate>> {
    match top.table("serve.tls") {
        Some(_) => judge.certificate(top, "serve.tls").map(Some),
        None => Some(None),
    }
}

/// `Some(None)`: there are no live lines, for want of brokers or topics.
fn tail(top: &Section, judge: &mut Judge<'_>) -> Option<Option<TailPlan>> {
    let path = if top.has("serve.topics") { "serve.topics" } else { "index.topics" };
    if !top.has(path) {
        return Some(None);
    }
    if !top.has("kafka.brokers") {
        judge.needs(top, "serve.topics", false, "`brokers` in `[kafka]`");
        return Some(None);
    }
    Some(Some(TailPlan {
        kafka: kafka(top, judge)?,
        topics: topics(top, path, judge)?,
        time_zone: time_zone(top, judge)?,
    }))
}
