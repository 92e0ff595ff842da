//! G06 and G12 with a real etcd that wants TLS and a login: right ones, wrong ones, and that none is shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::certificates::{Authority, Holds, Pair};
use crate::lines::{append, values};
use crate::member::Member;
use crate::process::Launch;
use crate::site::{Site, TOPIC};
use crate::wait::until_true;

/// What must never be shown.
const CANARY: &str = "canary-91e5b";

/// An etcd that wants TLS and a login.
struct World {
    site: Site,
    etcd: Member,
    authority: Authority,
    other: Authority,
    _pair: Pair,
}

impl World {
    fn new() -> World {
        let (authority, other) = (Authority::new("right"), Authority::new("wrong"));
        let pair = authority.issue("etcd", "DNS:localhost,IP:127.0.0.1", Holds::Now);
        let (site, etcd) = (Site::with_partitions(1), Member::start_with_tls(&pair));
        etcd.put_item("a", &site.log("a.log"), TOPIC);
        append(site.log("a.log"), "one\n");
        let ctl = |words: &str| {
            etcd.control(&[&["ctl"][..], &words.split(' ').collect::<Vec<_>>()].concat());
        };
        ctl(&format!("user add root:{CANARY}-root"));
        ctl("user grant-role root root");
        ctl(&format!("user add agent:{CANARY}"));
        ctl("role add web");
        ctl("role grant-permission web --prefix=true read /logdrive/items/web/");
        ctl("role grant-permission web --prefix=true read /logdrive/items/host:h1/");
        ctl("role grant-permission web --prefix=true readwrite /logdrive/agents/h1");
        ctl("user grant-role agent web");
        ctl("auth enable");
        World { site, etcd, authority, other, _pair: pair }
    }

    /// A private file with a password.
    fn password(&self, name: &str, text: &str) -> PathBuf {
        let path = self.site.root().join(name);
        fs::write(&path, format!("{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The lines of `[etcd]`.
    fn etcd(&self, endpoint: &str, ca: Option<&Path>, login: &str) -> String {
        let root = self.site.root();
        let tls = ca.map(|ca| format!("[etcd.tls]\nca = {ca:?}\n")).unwrap_or_default();
        format!(
            "[etcd]\nendpoints = {endpoint:?}\nhost = 'h1'\ngroups = ['web']\nallow_paths = [{root:?}]\n\
             allow_topics = ['{TOPIC}']\n{login}\n{tls}"
        )
    }

    fn agent(&self, endpoint: &str, ca: Option<&Path>, login: &str) -> Launch {
        let file = self.site.configure(&self.etcd(endpoint, ca, login));
        Launch::run().arg("--config").arg(file).args("--log-level trace")
    }
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_g12_tls_and_login_to_etcd_right_and_wrong_and_nowhere_to_be_seen() {
    let world = World::new();
    let (tls, plain) = (world.etcd.tls_endpoint(), world.etcd.endpoint());
    let (right_ca, wrong_ca) = (world.authority.ca(), world.other.ca());
    let login = |password: &Path| format!("username = 'agent'\npassword_file = {password:?}");
    let wrong_login = login(&world.password("wrong", &format!("{CANARY}-wrong")));
    let login = login(&world.password("right", CANARY));
    let cases: [(&str, Option<&Path>, String, &[&str]); 5] = [
        (&tls, Some(&wrong_ca), login.clone(), &["no TLS connection to etcd", "certificate verify failed"]),
        (&tls, Some(&right_ca), wrong_login, &["refuses the login of", "authentication failed"]),
        (&tls, Some(&right_ca), String::new(), &["etcd refuses to list items", "it wants a login"]),
        (&tls, None, login.clone(), &["the connection to etcd at", "with TLS or without"]),
        (&plain, Some(&right_ca), login.clone(), &["no TLS connection to etcd"]),
    ];
    for (endpoint, ca, login, words) in cases {
        let mut agent = world.agent(endpoint, ca, &login).start();
        agent.await_log(words);
        let exit = agent.stop();
        assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
    }
    // The right ones.
    let mut agent = world.agent(&tls, Some(&right_ca), &login).start();
    agent.await_log(&["connected to etcd"]);
    world.site.topic.await_value(b"one");
    until_true("its state is written", || agent.metric("logdrive_etcd_status_writes_total") >= 1.0);
    for path in ["/metrics", "/status"] {
        let (_, body) = agent.http(path).unwrap();
        assert!(!body.contains(CANARY), "{path}: {body}");
    }
    let config = world.site.root().join("logdrive.toml");
    let seen = Launch::verb("item").args("list --group web --config").arg(&config).finish().with_code(0);
    assert!(seen.stdout.contains("web  a") && !seen.stdout.contains(CANARY), "{}", seen.stdout);
    let put = site_item(&world.site);
    let denied =
        Launch::verb("item").args("put b").arg(put).args("--group web --config").arg(&config).finish();
    let denied = denied.with_code(1).saying(&["permission denied", "needs a role"]);
    assert!(!denied.stderr.contains(CANARY));
    let kept = fs::read_to_string(world.site.state().join("etcd-items.json")).unwrap();
    assert!(!kept.contains(CANARY));
    let exit = agent.stop();
    assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
    assert_eq!(values(&world.site.whole()), ["one"]);
}

fn site_item(site: &Site) -> PathBuf {
    let path = site.root().join("b.toml");
    fs::write(&path, format!("include = [{:?}]\ntopic = '{TOPIC}'\n", site.log("b.log"))).unwrap();
    path
}
