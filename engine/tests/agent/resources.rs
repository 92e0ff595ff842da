//! Descriptors run out: files take turns, nothing is given up, and Kafka and the state keep theirs.

use rustix::process::{Resource, Rlimit};

use crate::lines::{Family, assert_complete};
use crate::process::Agent;
use crate::site::Site;
use crate::wait::until_true;

fn limit_descriptors(agent: &Agent, soft: u64) -> Rlimit {
    let limit = rustix::process::prlimit(
        Some(agent.pid()),
        Resource::Nofile,
        Rlimit { current: Some(soft), maximum: Some(20_000) },
    );
    limit.unwrap()
}

#[test]
fn f03_descriptors_run_out_for_a_while() {
    let site = Site::new();
    let mut agent = site.agent().under(&["prlimit", "--nofile=1024:20000"]).start();
    let mut families = vec![Family::create(site.log("before.log"))];
    families[0].write(10);
    site.topic.await_count(10);
    agent.await_ready();
    // From now on every open fails, though the agent was told another limit at its start.
    limit_descriptors(&agent, 3);
    for at in 0..50 {
        let mut family = Family::create(site.log(&format!("during{at}.log")));
        family.write(10);
        families.push(family);
    }
    agent.await_log(&["LimitNOFILE"]);
    // The file that is open goes on.
    families[0].write(10);
    site.topic.await_value(families[0].last());
    assert!(agent.count_log(&["LimitNOFILE"]) < 60, "a flood:\n{}", agent.log());
    limit_descriptors(&agent, 1024);
    site.topic.await_count(10 * 52);
    until_true("every file is read to its end", || agent.metric("logdrive_file_lag_bytes") == 0.0);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}
