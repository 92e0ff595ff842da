//! What many items cost an agent, many agents etcd, and what load notices of both. Times are printed, and counts
//! are judged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use logdrive::bell::Bell;
use logdrive::config::ItemLimits;
use logdrive::etcd::{Etcd, ItemView, Speaker, Terms, View};

use crate::lines::{Family, append, assert_complete};
use crate::load::Load;
use crate::member::Member;
use crate::process::Launch;
use crate::real::Real;
use crate::site::{Site, TOPIC};
use crate::wait::{is_long, until_true};

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g05_a_thousand_items_for_ten_thousand_files_and_one_that_changes() {
    const ITEMS: usize = 1000;
    const FILES: usize = 10;
    let (site, etcd) = (Site::new(), Member::start());
    let directory = |item: usize| site.log(&format!("app-{item:04}"));
    for item in 0..ITEMS {
        std::fs::create_dir(directory(item)).unwrap();
        for file in 0..FILES {
            let line = if file == 0 { "one\n" } else { "" };
            std::fs::write(directory(item).join(format!("{file}.log")), line).unwrap();
        }
    }
    let root = site.root();
    let config = format!(
        "[etcd]\nendpoints = {:?}\nhost = 'h1'\ngroups = ['web']\nallow_paths = [{root:?}]\nallow_topics = ['{TOPIC}']\n\
         [watch]\nreconcile = '1h'\n",
        etcd.endpoint()
    );
    let mut agent = Launch::run().arg("--config").arg(site.configure(&config)).start();
    agent.await_log(&["connected to etcd"]);
    etcd.ask(async |etcd| {
        for item in 0..ITEMS {
            let include = site.log(&format!("app-{item:04}/*.log"));
            let value = format!("include = [{include:?}]\ntopic = {TOPIC:?}\nread_from = 'beginning'\n");
            etcd.put(&format!("/logdrive/items/web/app-{item:04}"), value.as_bytes(), None).await?;
        }
        Ok(())
    });
    let begun = Instant::now();
    site.topic.await_count(ITEMS);
    eprintln!(
        "{ITEMS} items for {} files: {:?} until a line of each is in kafka",
        ITEMS * FILES,
        begun.elapsed()
    );
    until_true("all files are known", || agent.metric("logdrive_files_known") == (ITEMS * FILES) as f64);
    // One more file for one item, and nothing but that item is touched.
    let generations = |agent: &crate::process::Agent| -> BTreeSet<String> {
        let status = agent.status();
        let files = status["files"].as_array().unwrap();
        files.iter().map(|file| file["generation"].as_str().unwrap().to_owned()).collect()
    };
    let before = generations(&agent);
    let begun = Instant::now();
    append(site.log("app-new.log"), "new\n");
    let include = [directory(7).join("*.log"), site.log("app-new.log")];
    etcd.put("app-0007", format!("include = {include:?}\ntopic = {TOPIC:?}\nread_from = 'beginning'\n"));
    site.topic.await_value(b"new");
    eprintln!("one item that changes: {:?} until the line of its new file is in kafka", begun.elapsed());
    // What is given again for a while is asked for until it is new.
    until_true("the new file is there, and no other is new", || {
        let after = generations(&agent);
        after.len() == ITEMS * FILES + 1 && before.is_subset(&after)
    });
    agent.stop();
    assert_eq!(site.whole().len(), ITEMS + 1);
}

/// What an agent tells `seconds` after the first time.
fn view(begin: Instant, seconds: u64, lines: u64) -> View {
    let item = ItemView {
        name: "web".to_owned(),
        topic: "web_log".to_owned(),
        from_etcd: true,
        files: 3,
        lag_bytes: lines,
        lines_acked: lines,
        bytes_acked: lines * 100,
        error: None,
    };
    let at = begin + Duration::from_secs(seconds);
    View { at, revision: 1, ready: true, reason: String::new(), items: vec![item] }
}

#[test]
#[ignore = "needs etcd: run scripts/test"]
fn g06_many_agents_cost_etcd_one_write_each_for_each_news() {
    let count: u64 = if is_long() { 1000 } else { 100 };
    let etcd = Member::start();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let agents: Vec<Etcd> = (0..count)
        .map(|agent| {
            let host = format!("h{agent}");
            let state = dir.path().join(&host);
            std::fs::create_dir(&state).unwrap();
            let plan = logdrive::config::EtcdPlan { host: host.clone(), ..etcd.plan() };
            let limits = ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 };
            let terms = Terms { plan, limits, taken: BTreeSet::new() };
            let speaker = Speaker { host, instance: format!("i{agent}"), version: "1", started: 0 };
            Etcd::start(terms, &state, speaker, Bell::default(), None).unwrap()
        })
        .collect();
    until_true("all are connected", || agents.iter().all(|agent| agent.look(|status| status.connected)));
    let writes = || agents.iter().map(|agent| agent.look(|status| status.writes)).sum::<u64>();
    let mut revision = etcd.put("revision", "");
    let begin = Instant::now();
    // Every five seconds something new; the last time, that the rate is 0.
    for (round, lines) in [(1, 10), (2, 20), (3, 20)] {
        agents.iter().for_each(|agent| agent.tell(view(begin, 5 * round, lines)));
        until_true("all have written", || writes() == round * count);
        let now = etcd.put("revision", "");
        assert_eq!(now - revision, count + 1, "round {round}: a write for each agent, and that of this test");
        revision = now;
    }
    let bytes: usize = etcd.reports().iter().map(|report| serde_json::to_vec(report).unwrap().len()).sum();
    eprintln!("{count} agents: one write each for each news, of {} bytes on average", bytes as u64 / count);
    assert!(bytes as u64 / count < 1024);
    agents.into_iter().for_each(|agent| agent.close(Duration::from_secs(10)));
    until_true("all are gone", || etcd.reports().is_empty());
}

#[test]
#[ignore = "needs a broker and etcd: run scripts/test"]
fn g06_items_come_under_load_to_a_real_kafka_while_etcd_is_killed_restarted_and_compacted() {
    let (real, etcd) = (Real::new(), Member::start());
    let topic = real.create_topic(&[]);
    std::fs::create_dir(real.log("more")).unwrap();
    let allowed = real.log("more");
    let mut agent = real
        .agent()
        .set(format!("etcd.endpoints={}", etcd.endpoint()))
        .set("etcd.host=h1")
        .set("etcd.groups=['web']")
        .set(format!("etcd.allow_paths=[{allowed:?}]"))
        .set(format!("etcd.allow_topics=[{:?}]", real.topic))
        .start();
    agent.await_log(&["connected to etcd"]);
    let files = (0..2).map(|at| Family::create(real.log(&format!("own{at}.log")))).collect();
    let load = Load::on(files, 5);
    let mut families = Vec::new();
    for round in 0..3 {
        let mut new = Family::create(real.log(&format!("more/new{round}.log")));
        new.write(100);
        let begun = Instant::now();
        let revision =
            etcd.put_item(&format!("new{round}"), &real.log(&format!("more/new{round}.log*")), &real.topic);
        topic.await_value(new.last());
        eprintln!("from the item in etcd to the last line of its file in kafka: {:?}", begun.elapsed());
        families.push(new);
        etcd.control(&["kill"]);
        load.await_more(200);
        etcd.control(&["start"]);
        etcd.control(&["ctl", "compact", &revision.to_string()]);
    }
    families.extend(load.end());
    assert!(agent.is_alive());
    agent.stop();
    assert_complete(&topic.whole(), &families.iter().collect::<Vec<_>>());
}
