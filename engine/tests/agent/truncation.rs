//! Faults R: a file that is copied and truncated, or rewritten under its reader. What is read anew is read from its
//! beginning, and what a copy holds is not sent twice.

use std::fs;

use crate::lines::{Family, assert_complete};
use crate::site::Site;
use crate::topic::Record;

#[test]
fn r05_copied_and_truncated_when_caught_up() {
    let site = Site::new();
    let agent = site.reading("app.log*").start();
    let mut family = Family::create(site.log("app.log"));
    for round in 1..=5 {
        family.write(200);
        site.topic.await_value(family.last());
        fs::copy(family.path(), family.beside(&format!("{round}"))).unwrap();
        family.truncate();
        family.write(3);
        site.topic.await_value(family.last());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r06_lines_between_copy_and_truncation_are_the_only_loss() {
    let site = Site::new();
    let agent = site.reading("app.log*").start();
    let mut family = Family::create(site.log("app.log"));
    family.write(500);
    site.topic.await_count(500);
    fs::copy(family.path(), family.beside("1")).unwrap();
    let mut between = Family::named("between", family.path());
    between.write(20);
    family.truncate();
    family.write(300);
    site.topic.await_value(family.last());
    agent.stop();
    let of_between = |record: &Record| record.value.starts_with(b"between ");
    let (window, rest): (Vec<Record>, Vec<Record>) = site.whole().into_iter().partition(of_between);
    assert_complete(&rest, &[&family]);
    between.lines.truncate(window.len());
    assert_complete(&window, &[&between]);
}

#[test]
fn r06_a_copy_that_was_made_before_the_last_lines_is_not_sent_again() {
    let site = Site::new();
    let agent = site.reading("app.log*").start();
    let mut family = Family::create(site.log("app.log"));
    for round in 1..=3 {
        family.write(500);
        site.topic.await_value(family.last());
        fs::copy(family.path(), family.beside(&format!("{round}"))).unwrap();
        // Read before the truncation: more is known to be sent than the copy holds.
        family.write(20);
        site.topic.await_value(family.last());
        family.truncate();
        family.write(3);
        site.topic.await_value(family.last());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r06_what_only_the_copy_holds_is_read_from_the_copy() {
    let site = Site::new();
    let agent = site.reading("app.log*").start();
    let mut family = Family::create(site.log("app.log"));
    family.write(500);
    site.topic.await_count(500);
    let paused = agent.pause();
    family.write(100);
    fs::copy(family.path(), family.beside("1")).unwrap();
    family.truncate();
    let mut next = Family::named("next", family.path());
    next.write(50);
    paused.resume();
    site.topic.await_count(650);
    agent.stop();
    assert_complete(&site.whole(), &[&family, &next]);
}

#[test]
fn r07_truncate_then_regrow_past_the_offset() {
    let site = Site::new();
    let agent = site.agent().start();
    let mut family = Family::create(site.log("app.log"));
    for _ in 0..5 {
        family.write(100);
        site.topic.await_value(family.last());
        let paused = agent.pause();
        family.truncate();
        family.write(250);
        paused.resume();
        site.topic.await_value(family.last());
    }
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r07_truncate_then_regrow_past_the_offset_while_down() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = site.agent().start();
    site.topic.await_count(100);
    agent.kill();
    family.truncate();
    family.write(300);
    let agent = site.agent().start();
    site.topic.await_count(400);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r09_rewritten_while_its_reader_is_paused() {
    let site = Site::with_partitions(1);
    let mut old = Family::named("old", site.log("app.log"));
    old.write_wide(100_000, 300);
    let agent = site.agent().set("limits.in_flight=8MiB").set("item.rate_limit=20000").start();
    site.topic.await_count(1000);
    let paused = agent.pause();
    old.truncate();
    let mut new = Family::named("new", site.log("app.log"));
    new.write(5_000);
    paused.resume();
    site.topic.await_value(new.last());
    agent.stop();
    let of_new = |record: &Record| record.value.starts_with(b"new ");
    let (after, before): (Vec<Record>, Vec<Record>) = site.whole().into_iter().partition(of_new);
    assert_complete(&after, &[&new]);
    assert!(before.len() < 100_000, "the old content was to be cut off");
    old.lines.truncate(before.len());
    assert_complete(&before, &[&old]);
}
