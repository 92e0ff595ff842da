//! The fleet: what agents say of themselves in etcd, and the collection items that stand there.
//!
//! An item is changed only if it still is what was seen: each change names the revision that it is based on, and
//! etcd compares. So of two people who edit the same item one is told, and nothing of the other's is overwritten.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use logdrive::config::{ItemPlan, legal_name};
use logdrive::etcd::definition::VALUE_BYTES_MAX;
use logdrive::etcd::verbs::{Remote, Scope};
use logdrive::etcd::{EtcdError, Gateway, KeyValue, Report, Written, keyspace};
use logdrive::logging::plain;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Site;
use super::answer::{Failure, document};
use super::range::now_ms;

type Answer = Result<Response<Body>, Failure>;

/// What the prefix of a host's own items begins with, where else the name of a group stands.
const HOST: &str = "host:";

impl From<EtcdError> for Failure {
    fn from(error: EtcdError) -> Failure {
        Failure::new(StatusCode::BAD_GATEWAY, "etcd", plain(&error.to_string()))
    }
}

/// What is asked about one item.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    group: Option<String>,
    host: Option<String>,
    name: String,
    #[serde(default)]
    text: String,
    /// The revision that it is based on; 0 for an item that is new.
    #[serde(default)]
    revision: u64,
}

impl Wish {
    fn read(body: &Bytes) -> Result<Wish, Failure> {
        serde_json::from_slice(body).map_err(|error| Failure::bad("parameter", format!("no item: {error}")))
    }

    fn scope(&self) -> Result<Scope, Failure> {
        let legal = |key: &str, name: &String| {
            legal_name(key, name).map_err(|why| Failure::bad("item", why)).map(|()| name.clone())
        };
        match (&self.group, &self.host) {
            (Some(group), None) => Ok(Scope::Group(legal("group", group)?)),
            (None, Some(host)) => Ok(Scope::Host(legal("host", host)?)),
            _ => Err(Failure::bad("item", "an item is for a group or for a host".to_owned())),
        }
    }

    /// The item, if it is one.
    fn judged(&self, remote: &Remote) -> Result<ItemPlan, Failure> {
        if self.text.len() > VALUE_BYTES_MAX {
            return Err(Failure::bad("item", format!("it is longer than {VALUE_BYTES_MAX} bytes")));
        }
        remote.judge(&self.name, self.text.as_bytes()).map_err(|why| Failure::bad("item", why))
    }
}

fn remote(site: &Site) -> Result<&Remote, Failure> {
    site.fleet.as_ref().ok_or_else(|| {
        let text = "the fleet is seen through etcd: set `endpoints` in [etcd]".to_owned();
        Failure::new(StatusCode::NOT_FOUND, "no_fleet", text)
    })
}

/// `/api/fleet`: agents and items.
pub(super) async fn fleet(State(site): State<Arc<Site>>) -> Answer {
    let remote = remote(&site)?;
    let mut etcd = remote.open().await?;
    let (agents, items) = (keyspace::agents(&remote.plan.prefix), keyspace::items(&remote.plan.prefix));
    let agents = etcd.below(&agents).await?.iter().map(report).collect::<Vec<_>>();
    let items = etcd.below(&items).await?.iter().map(|one| item(remote, &items, one)).collect::<Vec<_>>();
    let answer = json!({ "now": now_ms() / 1000, "agents": agents, "items": items, "edit": site.may_edit() });
    Ok(document(StatusCode::OK, &answer))
}

fn report(found: &KeyValue) -> Value {
    match serde_json::from_slice::<Report>(&found.value) {
        Ok(report) => json!(report),
        Err(error) => {
            json!({ "host": found.key, "ready": false, "reason": format!("what it says is not understood: {error}") })
        }
    }
}

fn item(remote: &Remote, all: &str, found: &KeyValue) -> Value {
    let place = found.key.strip_prefix(all).unwrap_or(&found.key);
    let (whose, name) = place.split_once('/').unwrap_or(("", place));
    let (kind, whose) = whose.strip_prefix(HOST).map_or(("group", whose), |host| ("host", host));
    let judged = remote.judge(name, &found.value);
    let (topic, include) = match &judged {
        Ok(item) => (Some(&item.topic), Some(&item.include)),
        Err(_) => (None, None),
    };
    json!({
        "kind": kind,
        "whose": whose,
        "name": name,
        "revision": found.mod_revision,
        "text": std::str::from_utf8(&found.value).ok(),
        "topic": topic,
        "include": include,
        "error": judged.as_ref().err(),
    })
}

/// `/api/fleet/lint`: whether it is an item.
pub(super) async fn lint(State(site): State<Arc<Site>>, body: Bytes) -> Answer {
    let wish = Wish::read(&body)?;
    let item = wish.judged(remote(&site)?)?;
    Ok(document(StatusCode::OK, &json!({ "topic": item.topic, "include": item.include })))
}

/// `PUT /api/fleet/item`: puts an item, if nobody else has changed it meanwhile.
pub(super) async fn put(State(site): State<Arc<Site>>, body: Bytes) -> Answer {
    let (wish, mut etcd, key) = edit(&site, &body).await?;
    wish.judged(remote(&site)?)?;
    let written = etcd.put_if(&key, wish.revision, wish.text.as_bytes(), None).await?;
    settled(&wish, &written)
}

/// `DELETE /api/fleet/item`: deletes an item, if nobody else has changed it meanwhile.
pub(super) async fn delete(State(site): State<Arc<Site>>, body: Bytes) -> Answer {
    let (wish, mut etcd, key) = edit(&site, &body).await?;
    let written = etcd.delete_if(&key, wish.revision).await?;
    settled(&wish, &written)
}

/// What is to be changed, by whoever may.
async fn edit(site: &Site, body: &Bytes) -> Result<(Wish, Gateway, String), Failure> {
    if !site.may_edit() {
        let text = "items are changed by whoever has logged in: set `username` or `token_file` in [serve]";
        return Err(Failure::new(StatusCode::FORBIDDEN, "read_only", text.to_owned()));
    }
    let wish = Wish::read(body)?;
    let remote = remote(site)?;
    let scope = wish.scope()?;
    // An item that is deleted may have been put under any name by somebody else.
    if wish.name.is_empty() || wish.name.contains(char::is_control) {
        return Err(Failure::bad("item", "an item has a name".to_owned()));
    }
    let key = scope.prefix(&remote.plan) + &wish.name;
    Ok((wish, remote.open().await?, key))
}

fn settled(wish: &Wish, written: &Written) -> Answer {
    match written {
        Written::At(revision) => {
            tracing::info!(name = %plain(&wish.name), revision, "an item was changed in the browser");
            Ok(document(StatusCode::OK, &json!({ "revision": revision })))
        }
        Written::Other(there) => Err(Failure {
            status: StatusCode::CONFLICT,
            document: json!({
                "code": "conflict",
                "text": "somebody else has changed this item meanwhile: nothing was written",
                "there": String::from_utf8_lossy(&there.value),
                "revision": there.mod_revision,
            }),
        }),
        Written::Gone => {
            let text = "somebody else has deleted this item meanwhile: nothing was written".to_owned();
            Err(Failure::new(StatusCode::CONFLICT, "gone", text))
        }
    }
}
