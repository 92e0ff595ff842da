//! Agents and their items, through a real etcd.

use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::site::{Answer, Site, secret};

const GOOD: &str = "include = [\"/var/log/nginx/*.log\"]\ntopic = \"web_log\"\n";

/// Somebody who has the page open, and has logged in.
pub(crate) struct Editor<'a> {
    site: &'a Site,
    head: [String; 3],
}

impl Editor<'_> {
    pub(crate) fn of(site: &Site) -> Editor<'_> {
        let login = "Authorization: Bearer s3cret".to_owned();
        let about = site.request("GET", "/api/about", &[&login], "").json();
        assert_eq!((&about["fleet"], &about["edit"]), (&json!(true), &json!(true)));
        let word = format!("X-Logdrive-Token: {}", about["token"].as_str().unwrap());
        Editor { site, head: [login, word, format!("Origin: http://{}", site.address)] }
    }

    fn send(&self, method: &str, path: &str, wish: &Value) -> Answer {
        let head: Vec<&str> = self.head.iter().map(String::as_str).collect();
        let body = if wish.is_null() { String::new() } else { wish.to_string() };
        self.site.request(method, path, &head, &body)
    }

    fn put(&self, name: &str, text: &str, revision: u64) -> Answer {
        let wish = json!({ "group": "web", "name": name, "text": text, "revision": revision });
        self.send("PUT", "/api/fleet/item", &wish)
    }

    fn delete(&self, name: &str, revision: u64) -> Answer {
        self.send("DELETE", "/api/fleet/item", &json!({ "group": "web", "name": name, "revision": revision }))
    }

    fn fleet(&self) -> Value {
        let answer = self.send("GET", "/api/fleet", &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

/// A page over an etcd, with a login.
pub(crate) fn site(etcd: &Etcd, dir: &tempfile::TempDir) -> Site {
    let token = secret(dir.path(), "token", "s3cret");
    Site::start(&[
        ("opensearch.urls", "[\"http://127.0.0.1:1\"]"),
        ("etcd.endpoints", &etcd.endpoint()),
        ("serve.token_file", &token),
    ])
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g09_items_are_changed_by_one_at_a_time() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let site = site(&etcd, &dir);
    let (anna, bert) = (Editor::of(&site), Editor::of(&site));
    assert_eq!(anna.fleet()["items"], json!([]));
    let first = anna.put("nginx", GOOD, 0);
    assert_eq!(first.status, 200, "{}", first.body);
    let seen = bert.fleet()["items"][0].clone();
    assert_eq!(
        (&seen["kind"], &seen["whose"], &seen["name"], &seen["topic"], &seen["text"], &seen["error"]),
        (&json!("group"), &json!("web"), &json!("nginx"), &json!("web_log"), &json!(GOOD), &Value::Null)
    );
    let revision = seen["revision"].as_u64().unwrap();
    assert_eq!(first.json()["revision"], revision);
    // Who makes the same item anew, and who is late, overwrite nothing.
    let again = bert.put("nginx", GOOD, 0);
    assert_eq!((again.status, &again.code()[..]), (409, "conflict"));
    let second = anna.put("nginx", &GOOD.replace("web_log", "other_log"), revision);
    assert_eq!(second.status, 200);
    let late = bert.put("nginx", GOOD, revision);
    assert_eq!((late.status, &late.code()[..]), (409, "conflict"));
    assert!(late.json()["error"]["there"].as_str().unwrap().contains("other_log"));
    assert_eq!(bert.delete("nginx", revision).code(), "conflict");
    assert_eq!(anna.fleet()["items"][0]["topic"], "other_log");
    let revision = second.json()["revision"].as_u64().unwrap();
    assert_eq!(bert.delete("nginx", revision).status, 200);
    assert_eq!(anna.put("nginx", GOOD, revision).code(), "gone");
    assert_eq!(anna.fleet()["items"], json!([]));
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g09_what_no_host_would_take_is_not_put() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let site = site(&etcd, &dir);
    let anna = Editor::of(&site);
    for (text, words) in [
        ("", "missing key `include`"),
        ("include = 5\ntopic = 't'", "`include`"),
        ("{\"include\":[\"/a\"],\"topic\":\"<script>\"}", "`topic` is"),
        ("include = ['/a']\ntopic = 't'\nsymlinks = 'follow'", "symlinks"),
        (&"x".repeat(70_000), "longer than 65536 bytes"),
    ] {
        let answer = anna.put("a", text, 0);
        assert_eq!((answer.status, &answer.code()[..]), (400, "item"), "{text:.40}");
        assert!(answer.json()["error"]["text"].as_str().unwrap().contains(words), "{}", answer.body);
        let wish = json!({ "group": "web", "name": "a", "text": text });
        assert_eq!(anna.send("POST", "/api/fleet/lint", &wish).code(), "item");
    }
    for wish in [
        json!({ "group": "a/b", "name": "a", "text": GOOD }),
        json!({ "group": "host:x", "name": "a", "text": GOOD }),
        json!({ "group": "", "name": "a", "text": GOOD }),
        json!({ "group": "web", "host": "h", "name": "a", "text": GOOD }),
        json!({ "name": "a", "text": GOOD }),
        json!({ "group": "web", "name": "a/b", "text": GOOD }),
        json!({ "group": "web", "name": "", "text": GOOD }),
        json!({ "group": "web", "name": "a", "text": GOOD, "lease": 5 }),
        json!("x"),
    ] {
        let answer = anna.send("PUT", "/api/fleet/item", &wish);
        assert_eq!(answer.status, 400, "{wish}: {}", answer.body);
    }
    assert_eq!(anna.fleet()["items"], json!([]));
    let good = anna.send("POST", "/api/fleet/lint", &json!({ "host": "h", "name": "a", "text": GOOD }));
    assert_eq!(good.json(), json!({ "topic": "web_log", "include": ["/var/log/nginx/*.log"] }));
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn agents_are_seen_as_they_say_they_are_whatever_that_is() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().unwrap());
    let site = site(&etcd, &dir);
    let anna = Editor::of(&site);
    let report = json!({ "host": "web-1", "ready": true, "lag_bytes": 7, "items": [{ "name": "a", "error": "denied" }] });
    etcd.put("/logdrive/agents/web-1", &report.to_string());
    etcd.put("/logdrive/agents/web-2", "\u{1b}]0;x<script>");
    etcd.put("/logdrive/items/host:web-1/broken", "include = [");
    let fleet = anna.fleet();
    assert_eq!((&fleet["agents"][0]["host"], &fleet["agents"][0]["lag_bytes"]), (&json!("web-1"), &json!(7)));
    assert_eq!(fleet["agents"][1]["ready"], false);
    assert!(fleet["agents"][1]["reason"].as_str().unwrap().contains("is not understood"));
    let item = &fleet["items"][0];
    assert_eq!(
        (&item["kind"], &item["whose"], &item["topic"]),
        (&json!("host"), &json!("web-1"), &Value::Null)
    );
    assert!(item["error"].as_str().unwrap().contains("broken TOML"), "{item}");
    etcd.control("kill");
    let answer = anna.send("GET", "/api/fleet", &Value::Null);
    assert_eq!((answer.status, &answer.code()[..]), (502, "etcd"));
    assert!(answer.body.contains("cannot connect to etcd"), "{}", answer.body);
}
