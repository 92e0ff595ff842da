//! The verbs beside a running agent: `status`, `top`, `reload`, `explain`; and the configuration file that is
//! followed.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use rustix::termios::Winsize;

use crate::control::pseudo_terminal;
use crate::process::{Agent, Exit, Launch, free_ports};
use crate::site::{NOBODY, Site, is_root};
use crate::wait::until_true;

const ITEM: &str =
    "[[item]]\nname = \"web\"\ninclude = [\"LOGS/*.log\"]\ntopic = \"logs\"\nread_from = \"beginning\"\n";

/// A verb that asks this agent.
fn ask(agent: &Agent, verb: &str) -> Launch {
    let (host, port) = agent.address();
    Launch::verb(verb).arg("--http").arg(format!("{host}:{port}"))
}

fn configured(site: &Site) -> Agent {
    let agent = Launch::run().arg("--config").arg(site.root().join("logdrive.toml")).start();
    agent.await_ready();
    agent
}

/// One line, and none of them can move the cursor.
#[track_caller]
fn assert_plain(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{}", text.escape_debug());
}

#[test]
fn the_status_is_a_page_or_a_document() {
    let site = Site::new();
    site.append("a\n\u{1b}[2J\u{9b}31m.log", "one\ntwo\n");
    site.append("app.log", "one\ntwo\nthree\n");
    let agent = site.agent().start();
    site.topic.await_count(5);
    until_true("all is acknowledged", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    let page = ask(&agent, "status").finish().with_code(0).stdout;
    assert_plain(&page);
    let path = site.log("app.log");
    let row = page.lines().find(|line| line.ends_with(path.to_str().unwrap())).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..2], ["0", "B"], "the lag: {row}");
    assert_eq!(words[3..8], ["14"; 5], "the positions: {row}");
    assert!(page.contains("\\n\\u{1b}[2J\\u{9b}31m.log"), "{page}");

    let one = ask(&agent, "status").args("--files 1").finish().with_code(0).stdout;
    assert!(one.contains("... and 1 more files"), "{one}");

    let document = ask(&agent, "status").arg("--json").finish().with_code(0).stdout;
    assert_plain(&document);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["files"].as_array().unwrap().len(), 2);
    assert_eq!(document["pid"], agent.pid().as_raw_nonzero().get());
    assert_eq!(document["items"][0]["bytes_acked"], 22);
    agent.stop();
}

#[test]
fn without_an_agent_there_is_one_line() {
    let site = Site::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let refused = |exit: Exit, words: &[&str]| {
        let exit = exit.with_code(1).saying(words);
        assert_eq!((exit.stderr.lines().count(), exit.stdout.as_str()), (1, ""), "{}", exit.stderr);
    };
    refused(Launch::verb("status").arg("--http").arg(&free).finish(), &["no agent answers at", &free]);
    let path = site.configure(&format!("http.listen = \"off\"\n{ITEM}"));
    refused(Launch::verb("status").arg("--config").arg(&path).finish(), &["\"off\""]);
    fs::create_dir(site.state()).unwrap();
    let reload = || Launch::verb("reload").arg("--config").arg(&path).finish();
    refused(reload(), &["no agent has ever used it", "--state-dir"]);
    // An agent that is no more does not hold the folder, whatever the folder says.
    let gone = site.agent().start();
    gone.await_ready();
    let pid = format!("pid {}", gone.pid().as_raw_nonzero());
    gone.kill();
    refused(reload(), &["no running agent", &pid]);
    Launch::verb("status").args("--http 192.0.2.1:80").finish().with_code(78).saying(&["--http", "loopback"]);
    Launch::verb("status").args("--config /no/such/file").finish().with_code(78).saying(&["/no/such/file"]);
}

#[test]
fn g04_a_reload_says_whether_it_is_in_force() {
    let site = Site::new();
    let path = site.configure(ITEM);
    let agent = configured(&site);
    let reload = |agent: &Agent| ask(agent, "reload").arg("--config").arg(&path).finish();
    let done = reload(&agent).with_code(0).stdout;
    assert!(done.starts_with(&format!("process {} has reloaded", agent.pid().as_raw_nonzero())), "{done}");

    site.configure(&ITEM.replace("include", "inklude"));
    reload(&agent).with_code(78).saying(&["logdrive.toml:5:1", "inklude", "stays in force"]);

    site.configure(&format!("io = \"blocking\"\nlimits.files_max = 7\n{ITEM}"));
    for _ in 0..2 {
        let done = reload(&agent).with_code(0).stdout;
        assert!(done.contains("io, limits") && done.contains("next start"), "{done}");
    }
    // Whoever does not know where it answers is told to look into the log.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = Launch::verb("reload").arg("--config").arg(&path).arg("--http").arg(&free).finish();
    let told = told.with_code(0).stdout;
    assert!(told.contains("its log") && told.contains(&free), "{told}");
    until_true("it is reloaded", || agent.status()["reloads"]["accepted"] == 4);
    agent.stop();
}

#[test]
fn g05_an_edited_file_is_put_in_force_by_itself() {
    let site = Site::new();
    let watched = format!("watch.config = true\n{ITEM}");
    site.configure(&watched);
    let path = site.root().join("logdrive.toml");
    let mut agent = Launch::run().arg("--config").arg(&path).args("--log-level debug").start();
    agent.await_ready();
    site.append("app.txt", "one\n");

    site.configure(&format!("# nothing else\n{watched}"));
    agent.await_log(&["edited", "means the same"]);

    site.configure(&watched.replace("*.log", "*.txt"));
    site.topic.await_value(b"one");

    site.configure(&watched.replace("*.txt", "*.*").replace("read_from", "reed_from"));
    agent.await_log(&["stays in force"]);
    // In place, and again something that holds.
    let text = fs::read_to_string(&path).unwrap().replace("reed_from", "read_from");
    fs::write(&path, text).unwrap();
    until_true("it is in force", || agent.status()["reloads"]["accepted"] == 2);
    assert_eq!(agent.status()["reloads"]["refused"], 1);

    // From now on nobody looks.
    site.configure(ITEM);
    until_true("it is in force", || agent.status()["reloads"]["accepted"] == 3);
    // Which its thread finds when it wakes up.
    site.configure(ITEM);
    until_true("nobody follows the file any more", || !thread_names(&agent).contains(&"config".to_owned()));
    agent.stop();
}

/// What has been written to a terminal, until it holds these words.
fn await_screen(terminal: &OwnedFd, shown: &mut String, words: &str) {
    until_true(&format!("{words:?} on the terminal"), || {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(terminal, &mut buffer).unwrap_or(0);
        shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        shown.contains(words)
    });
}

#[test]
fn top_shows_an_agent_and_leaves_the_terminal_as_it_was() {
    const LEAVES: &str = "\u{1b}[?1049l";
    let site = Site::new();
    site.append("app.log", "one\n");
    let agent = site.agent().start();
    site.topic.await_count(1);
    let modes = |side: &OwnedFd| {
        let modes = rustix::termios::tcgetattr(side).unwrap();
        (modes.input_modes, modes.output_modes, modes.local_modes, modes.control_modes)
    };
    for quit in [None, Some(Signal::TERM)] {
        let (terminal, side) = pseudo_terminal();
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&side, size).unwrap();
        let before = modes(&side);
        let top = ask(&agent, "top").start_at(&side);
        let mut shown = String::new();
        await_screen(&terminal, &mut shown, "app.log");
        assert!(!shown.contains(LEAVES));
        match quit {
            Some(signal) => top.signal(signal),
            None => drop(rustix::io::write(&terminal, b"q").unwrap()),
        }
        await_screen(&terminal, &mut shown, LEAVES);
        top.exit().with_code(0);
        assert_eq!(modes(&side), before, "{quit:?}");
    }
    // Where nobody sits there is nothing to show.
    ask(&agent, "top").finish().with_code(1).saying(&["terminal", "logdrive status"]);
    agent.stop();
}

#[test]
fn an_explanation_asks_the_running_agent() {
    let site = Site::new();
    let item = format!("{ITEM}ignore_older = \"1d\"\n");
    let port = free_ports(1);
    let path = site.configure(&format!("http.listen = \"127.0.0.1:{port}\"\n{item}"));
    site.append("app.log", "one\nunfinished");
    site.append("old.log", "old\n");
    let old = SystemTime::now() - Duration::from_secs(200_000);
    fs::File::options().append(true).open(site.log("old.log")).unwrap().set_modified(old).unwrap();
    let explain = |name: &str| {
        let launch = Launch::verb("explain").arg(site.log(name)).arg("--config").arg(&path);
        let text = launch.finish().with_code(0).stdout;
        (text.lines().last().unwrap().to_owned(), text)
    };
    let (answer, text) = explain("app.log");
    assert!(answer.contains("no agent of this configuration answers"), "{text}");
    let (answer, text) = explain("old.log");
    assert!(answer.contains("not modified for 2d 07h") && answer.contains("`ignore_older` is 1d"), "{text}");

    let agent = Launch::verb("run").arg("--config").arg(&path).start();
    site.topic.await_count(1);
    until_true("it is at its end", || explain("app.log").0.contains("read to its end"));
    let (answer, text) = explain("app.log");
    assert!(answer.contains("10 bytes are a line without its newline"), "{text}");
    assert!(text.contains("acked 4 <= produced 4 <= framed 4 <= read 14 <= size 14"), "{text}");
    assert!(text.contains(&format!("process {}", agent.pid().as_raw_nonzero())), "{text}");
    let (answer, text) = explain("old.log");
    assert!(answer.contains("`ignore_older` is 1d"), "{text}");

    // What the agent was not told of yet.
    let more = item.replace("*.log", "*.txt").replace("\"web\"", "\"new\"");
    site.configure(&format!("http.listen = \"127.0.0.1:{port}\"\n{item}{more}"));
    site.append("new.txt", "one\n");
    let (answer, text) = explain("new.txt");
    assert!(answer.contains("has no item `new`") && answer.contains("logdrive reload"), "{text}");
    agent.stop();
}

#[test]
fn an_explanation_names_what_the_agents_user_may_not_read() {
    if !is_root("another user's agent") {
        return;
    }
    let (site, _) = Site::beside_a_secret();
    let port = free_ports(1);
    let path = site.configure(&format!("http.listen = \"127.0.0.1:{port}\"\n{ITEM}"));
    fs::set_permissions(site.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(site.state()).unwrap();
    chown(site.state(), Some(NOBODY), Some(NOBODY)).unwrap();
    site.append("app.log", "one\n");
    fs::set_permissions(site.log("app.log"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut agent = Launch::verb("run").arg("--config").arg(&path).user(NOBODY).start();
    agent.await_log(&["app.log", "Permission denied"]);
    let launch = Launch::verb("explain").arg(site.log("app.log")).arg("--config").arg(&path);
    let text = launch.finish().with_code(0).stdout;
    let answer = text.lines().last().unwrap();
    for words in
        ["not read: cannot open", "the agent's user 65534:65534 may not read", "mode 0600, owner 0:0"]
    {
        assert!(answer.contains(words), "{text}");
    }
    agent.stop();
}

fn thread_names(agent: &Agent) -> Vec<String> {
    let tasks = fs::read_dir(agent.proc("task")).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}
