//! G06 to G10 with a real etcd: items that come from there, and what can go wrong with it.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::lines::{Family, append, assert_complete, values};
use crate::member::Member;
use crate::process::{Agent, Launch};
use crate::proxy::{Proxy, Way, Weather};
use crate::site::{Site, TOPIC};
use crate::wait::{until, until_true};

/// A configuration that takes items from this etcd, into all directories of the site.
fn configuration(site: &Site, endpoint: &str, more: &str) -> String {
    let root = site.root();
    format!(
        "[etcd]\nendpoints = {endpoint:?}\nhost = 'h1'\ngroups = ['web']\nallow_paths = [{root:?}]\n\
         allow_topics = ['{TOPIC}', '*_log']\n{more}\n"
    )
}

/// An agent with an item of its own (`own*.log`) and those of etcd.
fn agent(site: &Site, etcd: &Member) -> Agent {
    agent_with(site, &etcd.endpoint(), "").start()
}

fn agent_with(site: &Site, endpoint: &str, more: &str) -> Launch {
    let own = format!(
        "[[item]]\nname = 'own'\ninclude = ['LOGS/own*.log']\ntopic = '{TOPIC}'\nread_from = 'beginning'\n"
    );
    let file = site.configure(&(configuration(site, endpoint, more) + &own));
    Launch::run().arg("--config").arg(file)
}

/// What the agent says of a file: its generation, and how far it is acknowledged.
fn of_file(agent: &Agent, name: &str) -> Option<(String, u64)> {
    let status = agent.status();
    let files = status["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"].as_str().unwrap().ends_with(name))?;
    Some((file["generation"].as_str()?.to_owned(), file["positions"]["acked"].as_u64()?))
}

fn descriptor_of(agent: &Agent, name: &str) -> String {
    let fds = std::fs::read_dir(agent.proc("fd")).unwrap().flatten();
    let mut links = fds.filter_map(|fd| Some((fd.file_name(), std::fs::read_link(fd.path()).ok()?)));
    let (fd, _) = links.find(|(_, to)| to.to_string_lossy().ends_with(name)).expect("it is open");
    fd.to_string_lossy().into_owned()
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_an_item_is_put_and_deleted_and_put_again_and_nobody_else_notices() {
    let (site, etcd) = (Site::new(), Member::start());
    let (mut own, mut new) = (Family::create(site.log("own.log")), Family::create(site.log("new.log")));
    let agent = agent(&site, &etcd);
    own.write(100);
    new.write(50);
    site.topic.await_count(100);
    let before = (of_file(&agent, "own.log").unwrap().0, descriptor_of(&agent, "own.log"));
    // As a person does it, from another host.
    let item = site.root().join("new.toml");
    std::fs::write(
        &item,
        format!("include = [{:?}]\ntopic = '{TOPIC}'\nread_from = 'beginning'\n", site.log("new.log")),
    )
    .unwrap();
    let verb = |words: &str| Launch::verb("item").args(words).arg("--endpoints").arg(etcd.endpoint());
    let put = verb("put new").arg(&item).args("--group web").finish().with_code(0);
    assert!(put.stdout.contains("/logdrive/items/web/new is put, at revision"), "{}", put.stdout);
    site.topic.await_count(150);
    own.write(100);
    site.topic.await_count(250);
    verb("delete new --group web").finish().with_code(0);
    until_true("it is let go", || of_file(&agent, "new.log").is_none());
    new.write(50);
    own.write(1);
    site.topic.await_value(own.last());
    // It comes back, and goes on where it was.
    verb("put new").arg(&item).args("--group web").finish().with_code(0);
    site.topic.await_value(new.last());
    let after = (of_file(&agent, "own.log").unwrap().0, descriptor_of(&agent, "own.log"));
    assert_eq!(before, after, "the other file was not opened again");
    let report = etcd.await_report("it is seen from elsewhere", |report| {
        report.items.iter().any(|item| item.name == "new" && item.from_etcd && item.files == 1)
    });
    assert_eq!((report.host.as_str(), report.items_total, report.rival), ("h1", 2, None));
    let explain = Launch::verb("explain").arg(site.log("new.log")).arg("--config");
    let explained = explain.arg(site.root().join("logdrive.toml")).finish().with_code(0);
    assert!(explained.stdout.contains("item `new`: takes it by"), "{}", explained.stdout);
    agent.stop();
    assert!(etcd.reports().is_empty(), "an agent that is stopped is gone at once");
    assert_complete(&site.whole(), &[&own, &new]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_etcd_is_killed_and_comes_back_while_lines_flow_and_is_away_at_a_start() {
    let (site, etcd) = (Site::new(), Member::start());
    let mut a = Family::create(site.log("a.log"));
    etcd.put_item("a", &site.log("a.log"), TOPIC);
    let mut first = agent(&site, &etcd);
    a.write(100);
    site.topic.await_count(100);
    etcd.control(&["kill"]);
    first.await_log(&["etcd", "its items as they were stay in force"]);
    a.write(100);
    site.topic.await_count(200);
    etcd.control(&["start"]);
    let mut b = Family::create(site.log("b.log"));
    b.write(10);
    etcd.put_item("b", &site.log("b.log"), TOPIC);
    site.topic.await_count(210);
    until_true("it is counted", || first.metric("logdrive_etcd_connects_total") >= 2.0);
    first.stop();
    etcd.control(&["kill"]);
    // What was in force is so again without it.
    let mut second = agent(&site, &etcd);
    second.await_log(&["cannot connect to etcd"]);
    a.write(100);
    b.write(100);
    site.topic.await_count(410);
    assert_eq!(second.metric("logdrive_etcd_connected"), 0.0);
    etcd.control(&["start"]);
    second.await_log(&["connected to etcd"]);
    etcd.delete("b");
    until_true("what is deleted is let go", || of_file(&second, "b.log").is_none());
    second.stop();
    assert_complete(&site.whole(), &[&a, &b]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_etcd_is_slow_or_silent_or_cut_off_within_an_answer_and_lines_flow() {
    let (site, etcd) = (Site::new(), Member::start());
    let proxy = Proxy::to(etcd.port());
    let (mut own, mut new) = (Family::create(site.log("own.log")), Family::create(site.log("new.log")));
    own.write(10);
    // A few bytes at a time are still an answer.
    proxy.turn(Weather::Trickle { piece: 50, every: Duration::from_millis(5) });
    let mut agent = agent_with(&site, &proxy.address(), "").start();
    agent.await_log(&["connected to etcd"]);
    etcd.put_item("new", &site.log("new.log"), TOPIC);
    new.write(10);
    site.topic.await_count(20);
    // No answer at all, on a connection that stands: it is given up, and what was in force stays so.
    proxy.turn(Weather::Still);
    agent.await_log(&["etcd", "its items as they were stay in force"]);
    own.write(100);
    new.write(100);
    site.topic.await_count(220);
    etcd.delete("new");
    // The answer that lists everything is cut; the next one says what was missed.
    proxy.cut_after(Way::Down, 200);
    proxy.turn(Weather::Clear);
    until_true("what was deleted meanwhile is let go", || of_file(&agent, "new.log").is_none());
    assert_eq!(proxy.cuts(), 1, "an answer was cut");
    own.write(100);
    site.topic.await_count(320);
    agent.stop();
    assert_complete(&site.whole(), &[&own, &new]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_etcd_comes_back_without_its_data() {
    let (site, etcd) = (Site::new(), Member::start());
    let mut a = Family::create(site.log("a.log"));
    for _ in 0..5 {
        etcd.put_item("a", &site.log("a.log"), TOPIC);
    }
    let mut agent = agent_with(&site, &etcd.endpoint(), "relist = '1s'").start();
    a.write(100);
    site.topic.await_count(100);
    for verb in ["kill", "clean", "start"] {
        etcd.control(&[verb]);
    }
    agent.await_log(&["etcd has lost what it had", "stay in force"]);
    a.write(100);
    site.topic.await_count(200);
    let lists = agent.metric("logdrive_etcd_lists_total");
    until_true("listed again", || agent.metric("logdrive_etcd_lists_total") >= lists + 2.0);
    assert_eq!(agent.metric("logdrive_etcd_holding"), 1.0);
    etcd.await_report("it is seen from elsewhere", |report| report.holding && report.items_total == 2);
    let mut b = Family::create(site.log("b.log"));
    b.write(10);
    etcd.put_item("b", &site.log("b.log"), TOPIC);
    agent.await_log(&["etcd has items for this host again"]);
    site.topic.await_count(210);
    until_true("what etcd does not have is let go", || of_file(&agent, "a.log").is_none());
    agent.stop();
    assert_complete(&site.whole(), &[&a, &b]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g07_what_was_missed_is_compacted() {
    let (site, etcd) = (Site::new(), Member::start());
    let mut b = Family::create(site.log("b.log"));
    b.write(10);
    let a = site.log("a.log");
    append(&a, "a\n");
    etcd.put_item("a", &a, TOPIC);
    let mut agent = agent(&site, &etcd);
    site.topic.await_count(1);
    let paused = agent.pause();
    etcd.control(&["kill"]);
    etcd.control(&["start"]);
    etcd.delete("a");
    let revision = etcd.put_item("b", &site.log("b.log"), TOPIC);
    etcd.control(&["ctl", "compact", &revision.to_string()]);
    paused.resume();
    site.topic.await_count(11);
    until_true("what is deleted is let go", || of_file(&agent, "a.log").is_none());
    agent.await_log(&["connected to etcd"]);
    agent.stop();
    // A watch from before that revision is told so, and not just silent.
    let news = etcd.ask(async |etcd| {
        let mut watch = etcd.watch(&[("/logdrive/items/web/a".to_owned(), None)], 1).await?;
        loop {
            match watch.next().await? {
                logdrive::etcd::News::Compacted => return Ok("compacted"),
                logdrive::etcd::News::Events(events) => assert!(events.is_empty(), "{events:?}"),
            }
        }
    });
    assert_eq!(news, "compacted");
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g08_everything_is_listed_again_and_that_disturbs_nothing() {
    let (site, etcd) = (Site::new(), Member::start());
    let mut a = Family::create(site.log("a.log"));
    etcd.put_item("a", &site.log("a.log"), TOPIC);
    let mut agent = agent_with(&site, &etcd.endpoint(), "relist = '1s'").start();
    a.write(100);
    site.topic.await_count(100);
    let before = (of_file(&agent, "a.log").unwrap().0, descriptor_of(&agent, "a.log"));
    let lists = agent.metric("logdrive_etcd_lists_total");
    until_true("listed again", || agent.metric("logdrive_etcd_lists_total") >= lists + 2.0);
    a.write(100);
    site.topic.await_count(200);
    // Nor does a file that is read again, whatever it says of etcd.
    agent.signal(Signal::HUP);
    agent.await_log(&["configuration reloaded"]);
    agent_with(&site, &etcd.endpoint(), "relist = '2s'");
    agent.signal(Signal::HUP);
    until_true("reloaded again", || agent.count_log(&["configuration reloaded"]) == 2);
    until_true("etcd is asked anew", || agent.count_log(&["connected to etcd"]) == 2);
    a.write(100);
    site.topic.await_count(300);
    assert_eq!(before, (of_file(&agent, "a.log").unwrap().0, descriptor_of(&agent, "a.log")));
    agent.stop();
    assert_complete(&site.whole(), &[&a]);
}

/// Values that no host takes, and a word of the reason.
fn hostile(site: &Site) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let logs = site.log("*.log");
    let item = |include: &Path, topic: &str, more: &str| {
        format!("include = [{include:?}]\ntopic = {topic:?}\nread_from = 'beginning'\n{more}").into_bytes()
    };
    let deep = format!("{{\"include\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    vec![
        ("shadow", item(Path::new("/etc/shadow"), TOPIC, ""), "allow_paths"),
        ("everything", item(Path::new("/**"), TOPIC, ""), "allow_paths"),
        ("topic", item(&logs, "other", ""), "allow_topics"),
        ("brokers", item(&logs, TOPIC, "[kafka]\nbrokers = 'evil:9092'\n"), "kafka"),
        ("follow", item(&logs, TOPIC, "symlinks = 'follow'\n"), "symlinks"),
        ("own", item(&logs, TOPIC, ""), "goes before"),
        ("large", vec![b'#'; 1_400_000], "1400000 bytes"),
        ("bytes", b"include = ['\xff']".to_vec(), "not UTF-8"),
        ("deep", deep.into_bytes(), "recursion limit"),
        ("broken", b"include = [".to_vec(), "broken TOML"),
        ("null", b"{\"include\":null}".to_vec(), "null"),
    ]
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g10_hostile_items_are_refused_alone_and_the_reason_is_written_back() {
    let (site, etcd) = (Site::new(), Member::start());
    let mut a = Family::create(site.log("a.log"));
    etcd.put_item("a", &site.log("a.log"), TOPIC);
    let agent = agent(&site, &etcd);
    a.write(10);
    site.topic.await_count(10);
    let hostile = hostile(&site);
    for (name, value, _) in &hostile {
        etcd.put(name, value);
    }
    // A bad value of a good item leaves the one before in force.
    etcd.put("a", "topic = 7");
    let report = etcd.await_report("all are refused", |report| report.refused_total == hostile.len() + 1);
    for (name, _, word) in &hostile {
        let refused = report.refused.iter().find(|refusal| refusal.key.ends_with(&format!("/{name}")));
        let refused = refused.unwrap_or_else(|| panic!("{name} is not refused: {report:?}"));
        assert!(refused.reason.contains(word) && !refused.earlier_in_force, "{name}: {refused:?}");
    }
    let bad = report.refused.iter().find(|refusal| refusal.key.ends_with("/a")).unwrap();
    assert!(bad.earlier_in_force && bad.reason.contains("`topic`"), "{bad:?}");
    let table = Launch::verb("agents").arg("--endpoints").arg(etcd.endpoint()).finish().with_code(0);
    assert!(table.stdout.contains("item shadow refused: it may not read in /etc"), "{}", table.stdout);
    a.write(10);
    site.topic.await_count(20);
    assert_eq!(agent.metric("logdrive_etcd_items_refused"), (hostile.len() + 1) as f64);
    agent.stop();
    assert_complete(&site.whole(), &[&a]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g10_a_link_that_somebody_made_does_not_lead_an_item_out_of_what_is_allowed() {
    let (site, etcd) = (Site::new(), Member::start());
    let outside = tempfile::tempdir().unwrap();
    append(outside.path().join("secret.log"), "secret\n");
    std::os::unix::fs::symlink(outside.path(), site.log("way")).unwrap();
    etcd.put_item("way", &site.log("way/*.log"), TOPIC);
    etcd.put_item("name", &site.log("way/secret.log"), TOPIC);
    etcd.put_item("good", &site.log("good.log"), TOPIC);
    append(site.log("good.log"), "good\n");
    let agent = agent(&site, &etcd);
    site.topic.await_value(b"good");
    until_true("the way is refused", || agent.metric("logdrive_file_errors_total") >= 1.0);
    agent.await_ready();
    agent.stop();
    assert_eq!(values(&site.whole()), ["good"]);
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_two_hosts_with_one_name_are_told_so_and_do_not_fight() {
    let (site, etcd) = (Site::new(), Member::start());
    let config = |state: &str| {
        let state = site.root().join(state);
        let file = site.root().join(format!("{}.toml", state.file_name().unwrap().display()));
        let text = format!("kafka.brokers = {:?}\nstate.dir = {state:?}\n", site.brokers());
        std::fs::write(&file, text + &configuration(&site, &etcd.endpoint(), "")).unwrap();
        Launch::run().arg("--config").arg(file)
    };
    let mut first = config("first").start();
    etcd.await_report("the first one reports", |report| report.rival.is_none());
    let mut second = config("second").start();
    second.await_log(&["another agent goes by the name of this host", "[etcd] `host`"]);
    first.await_log(&["another agent goes by the name of this host", "[etcd] `host`"]);
    let reports = until("both are seen", || Some(etcd.reports()).filter(|reports| reports.len() == 2));
    assert_ne!(reports[0].instance, reports[1].instance);
    assert_eq!(first.count_log(&["another agent goes by"]), 1, "it is said once");
    first.stop();
    second.await_log(&["the other agent with the name of this host is gone"]);
    etcd.await_report("the second one speaks for the host", |report| report.rival.is_none());
    assert_eq!(etcd.reports().len(), 1);
    // Killed and started again, it finds its own key, and is not taken for another one.
    second.kill();
    let mut again = config("second").start();
    again.await_log(&["connected to etcd"]);
    until_true("it has written", || again.metric("logdrive_etcd_status_writes_total") >= 1.0);
    assert_eq!(again.count_log(&["another agent goes by"]), 0);
    again.stop();
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_the_array_of_a_small_agent_is_understood() {
    let (site, etcd) = (Site::new(), Member::start());
    let (mut a, mut b) = (Family::create(site.log("a.log")), Family::create(site.log("b.log")));
    let agent = agent_with(&site, &etcd.endpoint(), "array_key = '/logagent/{host}/conf'").start();
    agent.await_ready();
    let entry = |family: &Family, path: &str| {
        format!("{{{path:?}: {:?}, \"topic\": {TOPIC:?}, \"read_from\": \"beginning\"}}", family.path())
    };
    let array = format!("[{}, {}]", entry(&a, "path"), entry(&b, "log_path"));
    etcd.ask(async |etcd| etcd.put("/logagent/h1/conf", array.as_bytes(), None).await);
    a.write(10);
    b.write(10);
    site.topic.await_count(20);
    let status = agent.status();
    let items: Vec<&Value> = status["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(items, ["own", TOPIC]);
    agent.stop();
    assert_complete(&site.whole(), &[&a, &b]);
}
