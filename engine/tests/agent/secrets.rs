//! Fault G12: passwords and keys are never shown, wherever they come from and whatever goes wrong; and what the
//! agent keeps is its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::lines::{Family, assert_complete};
use crate::process::{Agent, Launch, run};
use crate::site::{NOBODY, Site, is_root};
use crate::wait::{until, until_true};

/// What must never be shown.
const CANARY: &str = "canary-4f1d9";

fn private(site: &Site, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = site.root().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// An agent that logs in by this mechanism, and says all that it can say.
fn logging_in(site: &Site, mechanism: &str, password: &str) -> Launch {
    site.agent()
        .set(format!("kafka.sasl.mechanism={mechanism}"))
        .set("kafka.sasl.username=me")
        .set(password)
        .set("kafka.options={debug=\"all\"}")
        .args("--log-level trace")
}

/// Nothing that the agent shows has the canary, and its log neither when it is over.
fn assert_silent(agent: Agent) {
    for path in ["/metrics", "/status", "/readyz", "/healthz"] {
        let (_, body) = until(path, || agent.http(path));
        assert!(!body.contains(CANARY), "{path}: {body}");
    }
    let arguments = fs::read(agent.proc("cmdline")).unwrap();
    assert!(!arguments.escape_ascii().to_string().contains(CANARY));
    agent.signal(Signal::TERM);
    let exit = agent.exit();
    assert!(!exit.stderr.contains(CANARY) && !exit.stdout.contains(CANARY), "{}", exit.stderr);
}

#[test]
fn g12_a_password_is_nowhere_to_be_seen() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let file = private(&site, "password", format!("{CANARY}\n"));
    let file = format!("kafka.sasl.password_file={}", file.display());
    let variable = "kafka.sasl.password_env=KAFKA_PASSWORD";
    for (mechanism, password) in [("PLAIN", &file[..]), ("PLAIN", variable), ("SCRAM-SHA-512", &file)] {
        let launch = logging_in(&site, mechanism, password);
        let mut agent = launch.under(&["env", &format!("KAFKA_PASSWORD={CANARY}")]).start();
        // The mock cluster knows no logins: this one goes wrong, with all that is said then.
        agent.await_log(&["SASL"]);
        assert_silent(agent);
    }
}

#[test]
fn g12_the_password_of_a_key_is_nowhere_to_be_seen() {
    let site = Site::new();
    site.append("app.log", "one\n");
    let (key, cert) = (site.root().join("key"), site.root().join("cert"));
    let (key_text, cert_text) = (key.to_str().unwrap(), cert.to_str().unwrap());
    let pass = format!("pass:{CANARY}");
    run("openssl", &["genpkey", "-algorithm", "RSA", "-aes256", "-pass", &pass, "-out", key_text]);
    run(
        "openssl",
        &["req", "-x509", "-key", key_text, "-passin", &pass, "-subj", "/CN=agent", "-out", cert_text],
    );
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let launch = |password: &str| {
        let password = private(&site, "password", password);
        site.agent()
            .set(format!("kafka.tls.key={key_text}"))
            .set(format!("kafka.tls.cert={cert_text}"))
            .set(format!("kafka.tls.key_password_file={}", password.display()))
            .set("kafka.options={debug=\"all\"}")
            .args("--log-level trace")
    };
    let mut agent = launch(CANARY).start();
    // The mock cluster does not speak TLS.
    agent.await_log(&["SSL"]);
    assert_silent(agent);
    let wrong = launch(&format!("{CANARY}-wrong")).finish().with_code(1).saying(&["ssl.key"]);
    assert!(!wrong.stderr.contains(CANARY), "{}", wrong.stderr);
}

/// Where a password may get by mistake.
fn mistakes(site: &Site) -> Vec<String> {
    let login = "[kafka.sasl]\nmechanism = \"PLAIN\"\nusername = \"me\"\n";
    let open = private(site, "open", CANARY);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let two_lines = private(site, "two-lines", format!("{CANARY}\n{CANARY}\n"));
    let no_text = private(site, "no-text", [CANARY.as_bytes(), b"\xff"].concat());
    let mut mistakes = vec![
        format!("{login}password = \"{CANARY}\"\n"),
        format!("{login}password = \"{CANARY}\n"),
        format!("{login}password_file = \"{CANARY}\"\n"),
        format!("{login}password_file = [\"{CANARY}\"]\n"),
        format!("{login}password_env = \"{CANARY}\"\n"),
        format!("{login}password_env = \"A={CANARY}\"\n"),
        format!("[kafka]\nsasl = \"{CANARY}\"\n"),
        format!("[etcd]\npassword = \"{CANARY}\"\n"),
        format!("[etcd]\nendpoints = \"me:{CANARY}@localhost:2379\"\n"),
        format!("[etcd]\nusername = \"me\"\npassword_file = \"{CANARY}\"\n"),
        format!("[etcd]\nusername = \"me\"\npassword_env = \"{CANARY}\"\n"),
        format!("[kafka.tls]\nkey_password = \"{CANARY}\"\n"),
        format!("[kafka.tls]\ncert = \"/c\"\nkey = \"/k\"\nkey_password_file = \"{CANARY}\"\n"),
    ];
    for file in [open, two_lines, no_text] {
        mistakes.push(format!("{login}password_file = {file:?}\n"));
    }
    for option in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
        mistakes.push(format!("[kafka.options]\n\"{option}\" = \"{CANARY}\"\n"));
    }
    mistakes
}

#[test]
fn g12_a_secret_in_the_wrong_place_is_refused_and_not_shown() {
    let site = Site::new();
    let item = "[[item]]\ninclude = [\"LOGS/*.log\"]\ntopic = \"logs\"\n";
    let config = site.root().join("logdrive.toml");
    let verbs = || {
        let log = site.log("app.log");
        [
            Launch::verb("validate").arg("--config").arg(&config),
            Launch::verb("explain").arg(log).arg("--config").arg(&config),
            Launch::run().arg("--config").arg(&config),
        ]
    };
    let mistakes = mistakes(&site);
    for mistake in &mistakes {
        site.configure(&format!("{item}{mistake}"));
        for launch in verbs() {
            let exit = launch.finish().with_code(78);
            let said = exit.stdout + &exit.stderr;
            assert!(!said.contains(CANARY) && !said.is_empty(), "{mistake}: {said}");
        }
    }
    for typed in [
        &format!("kafka.sasl.password={CANARY}")[..],
        &format!("kafka.tls.key_password={CANARY}"),
        &format!("kafka.options={{\"sasl.password\"=\"{CANARY}\"}}"),
        &format!("kafka.brokers=me:{CANARY}@localhost:9092"),
        &format!("kafka.sasl={{password=\"{CANARY}\"}}"),
    ] {
        let exit = site.agent().set(typed).finish().with_code(78);
        assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
    }
    // A running agent that is to take such a configuration.
    site.configure(item);
    let mut agent = Launch::run().arg("--config").arg(&config).args("--log-level trace").start();
    agent.await_ready();
    for (count, mistake) in (1..).zip(&mistakes) {
        site.configure(&format!("{item}{mistake}"));
        agent.signal(Signal::HUP);
        until_true("the reload is refused", || agent.count_log(&["not reloaded"]) == count);
    }
    agent.await_log(&["not reloaded"]);
    assert_silent(agent);
}

#[test]
fn g12_a_process_with_a_password_leaves_no_dump_and_cannot_be_looked_into() {
    if !is_root("an agent of another user") {
        return;
    }
    let site = Site::new();
    fs::create_dir(site.state()).unwrap();
    chown(site.state(), Some(NOBODY), Some(NOBODY)).unwrap();
    for (path, mode) in [(site.state(), 0o700), (site.root().into(), 0o755), (site.log(""), 0o755)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    site.append("app.log", "one\n");
    // The kernel gives the files of a process that must not be dumped to root.
    let owner = |agent: &Agent| fs::metadata(agent.proc("environ")).unwrap().uid();
    let agent = site.agent().user(NOBODY).start();
    site.topic.await_count(1);
    assert_eq!(owner(&agent), NOBODY, "without a secret it can be examined");
    agent.stop();
    let agent = logging_in(&site, "PLAIN", "kafka.sasl.password_env=KAFKA_PASSWORD")
        .under(&["env", &format!("KAFKA_PASSWORD={CANARY}")])
        .set("watch.reconcile=1h")
        .user(NOBODY)
        .start();
    until_true("the file is open", || agent.metric("logdrive_files_open") == 1.0);
    assert_eq!(owner(&agent), 0);
    // It still finds its own descriptors under /proc, through which it opens and watches.
    site.append("other.log", "one\n");
    until_true("the other one is open", || agent.metric("logdrive_files_open") == 2.0);
    site.append("other.log", "two\n");
    until_true("the line is read", || agent.metric("logdrive_lines_read_total") >= 2.0);
    agent.kill();
}

/// The modes of a folder and of all files in it.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    let mut modes = vec![(".".to_owned(), mode(folder))];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        modes.push((entry.file_name().into_string().unwrap(), mode(&entry.path())));
    }
    modes
}

fn assert_private(folder: &Path) {
    let modes = modes(folder);
    assert!(modes.len() >= 4, "{modes:?}");
    for (name, mode) in &modes {
        assert_eq!(mode & 0o077, 0, "{name} of {modes:?}");
    }
}

#[test]
fn s09_the_state_is_private_whatever_the_umask_is() {
    let site = Site::new();
    let umask = |launch: Launch| launch.under(&["sh", "-c", "umask 000; exec \"$@\"", "sh"]);
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = umask(site.reading("app.log*")).start();
    site.topic.await_count(100);
    family.rotate(&family.beside("1"));
    family.write(100);
    site.topic.await_count(200);
    assert_private(&site.state());
    agent.stop();
    assert_private(&site.state());
    let forget = Launch::verb("state").arg("forget").arg(family.beside("1")).arg("--state-dir");
    umask(forget.arg(site.state())).finish().with_code(0);
    assert_private(&site.state());
    // Somebody has copied it here without its modes.
    for entry in fs::read_dir(site.state()).unwrap() {
        fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o666)).unwrap();
    }
    let agent = umask(site.agent()).start();
    family.write(100);
    site.topic.await_count(300);
    assert_private(&site.state());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}
