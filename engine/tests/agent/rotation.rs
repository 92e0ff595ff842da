//! Faults R: rotation and identity. Whatever happens to its name, a generation is read once, whole and in
//! order.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::lines::{Family, append, assert_complete, assert_no_loss, values};
use crate::process::run;
use crate::site::Site;
use crate::wait::{is_long, until_true};

/// Rotated files of one test differ in age by whole seconds, as those of a real host do.
fn age(path: &Path, seconds: u64) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

#[test]
fn r01_files_renamed_at_full_speed_within_the_glob() {
    let site = Site::new();
    let agent = site.reading("*.log*").start();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let paths: Vec<_> = (0..25).map(|file| site.log(&format!("w{writer}f{file}.log"))).collect();
            std::thread::spawn(move || {
                let mut written = Vec::new();
                for generation in 0..20 {
                    for (at, path) in paths.iter().enumerate() {
                        let mut family = Family::named(&format!("w{writer}f{at}g{generation}"), path);
                        (0..5).for_each(|_| family.write(10));
                        if generation < 19 {
                            fs::rename(path, family.beside(&format!("{}", 100 + generation))).unwrap();
                        }
                        written.push(family);
                    }
                }
                written
            })
        })
        .collect();
    let families: Vec<Family> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    site.topic.await_count(4 * 25 * 20 * 50);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

/// As logrotate does it: all files at once, old generations removed. A round begins when what was written has
/// arrived: what is renamed and removed before it was ever seen nobody can read, or put in order.
#[test]
fn r01_many_files_renamed_many_times_and_the_oldest_removed() {
    let (files, rounds) = if is_long() { (1000, 100) } else { (200, 6) };
    let site = Site::new();
    let agent = site.reading("*.log*").start();
    let mut families: Vec<Family> =
        (0..files).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
    for round in 0..rounds {
        families.iter_mut().for_each(|family| family.write(5));
        site.topic.await_count(families.iter().map(|family| family.lines.len()).sum());
        for family in &mut families {
            let _none_yet = fs::remove_file(family.beside("2"));
            if round > 0 {
                fs::rename(family.beside("1"), family.beside("2")).unwrap();
            }
            family.rename(&family.beside("1"));
            // The writer has not noticed yet.
            family.write(5);
            family.reopen();
        }
    }
    site.topic.await_count(files * rounds * 10);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn r01_files_renamed_out_of_the_glob_are_drained_before_their_successors() {
    let site = Site::new();
    let agent = site.agent().start();
    let mut families: Vec<Family> =
        (0..10).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
    for round in 0..20 {
        for (at, family) in families.iter_mut().enumerate() {
            family.write(1 + at);
        }
        for family in &families {
            site.topic.await_value(family.last());
        }
        for family in &mut families {
            family.rename(&family.beside(&format!("{round}")));
            // The writer has not noticed yet.
            family.write(100);
            family.reopen();
            family.write(100);
        }
    }
    site.topic.await_count(families.iter().map(|family| family.lines.len()).sum());
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

/// A file read in part by an agent that was then stopped, and rotated three times since.
fn rotated_three_times_while_down(site: &Site, pattern: &str) -> Family {
    let mut family = Family::create(site.log("app.log"));
    family.write(1000);
    let agent = site.reading(pattern).start();
    site.topic.await_count(1000);
    agent.kill();
    for generation in (1..=3).rev() {
        family.write(500);
        for number in (1..=3 - generation).rev() {
            fs::rename(family.beside(&format!("{number}")), family.beside(&format!("{}", number + 1)))
                .unwrap();
        }
        family.rotate(&family.beside("1"));
    }
    family.write(500);
    for number in 1..=3 {
        age(&family.beside(&format!("{number}")), number * 10);
    }
    family
}

#[test]
fn r02_rotated_three_times_while_down_and_resumed_by_identity() {
    let site = Site::new();
    let family = rotated_three_times_while_down(&site, "app.log*");
    let agent = site.reading("app.log*").start();
    site.topic.await_count(family.lines.len());
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r03_rotated_out_of_the_glob_while_down_and_found_by_identity() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(1000);
    let agent = site.agent().start();
    site.topic.await_count(1000);
    agent.kill();
    family.write(500);
    family.rotate(&family.beside("1"));
    age(&family.beside("1"), 10);
    family.write(500);
    let agent = site.agent().start();
    site.topic.await_count(2000);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r03_a_rotated_file_that_is_gone_after_a_restart_is_named() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(100);
    let agent = site.agent().start();
    site.topic.await_count(100);
    agent.stop();
    family.write(50);
    family.rotate(&family.beside("1"));
    let lost = family.lines.split_off(100);
    fs::remove_file(family.beside("1")).unwrap();
    family.write(10);
    let mut agent = site.agent().set("watch.reconcile=100ms").start();
    agent.await_log(&["app.log", "gone while the agent was stopped"]);
    site.topic.await_count(110);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
    assert_eq!(lost.len(), 50, "the lines that nobody can read any more");
}

#[test]
fn r04_rotated_compressed_and_unlinked_before_it_is_drained() {
    let site = Site::with_partitions(1);
    let agent = site.agent().set("limits.in_flight=8MiB").start();
    let mut family = Family::create(site.log("app.log"));
    family.write(1);
    site.topic.await_count(1);
    site.kafka.broker_round_trip_time(-1, Duration::from_secs(3)).unwrap();
    family.write_wide(40_000, 300);
    family.rotate(&family.beside("1"));
    run("gzip", &[family.beside("1").to_str().unwrap()]);
    assert!(!family.beside("1").exists());
    assert!(site.topic.count() < 40_000, "the broker was to be slow");
    family.write(100);
    site.kafka.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    site.topic.await_count(40_101);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r04_at_the_cap_an_undrained_deleted_file_is_given_up_and_counted() {
    let site = Site::with_partitions(1);
    let mut agent = site
        .agent()
        .set("limits.in_flight=8MiB")
        .set("item.rotated_hold_bytes=1MiB")
        .set("watch.reconcile=100ms")
        .start();
    site.append("app.log", "one\n");
    site.topic.await_count(1);
    site.broker_down();
    let line = [b"y".repeat(999), b"\n".to_vec()].concat();
    append(site.log("app.log"), line.repeat(30_000));
    fs::remove_file(site.log("app.log")).unwrap();
    let lost = agent.await_log(&["app.log", "deleted before it was read to its end"]);
    assert!(lost.contains("lost_bytes="), "{lost}");
    site.broker_up();
    site.append("app.log", "two\n");
    site.topic.await_value(b"two");
    let status = agent.metrics();
    let gone = agent.metric("logdrive_bytes_gone_total");
    assert!((20_000_000.0..30_000_000.0).contains(&gone), "{gone} bytes were counted: {status:#?}");
    agent.stop();
    let arrived = site.whole().len() as f64 - 2.0;
    assert_eq!(arrived * 1000.0 + gone, 30_000_000.0, "each byte arrived or was counted");
}

#[test]
fn r10_files_that_begin_alike_are_read_in_full() {
    let site = Site::new();
    let head = "the same first line in all of them\n".repeat(120);
    assert!(head.len() > 4096);
    let names = ["a.log", "b.log", "app.log", "app.log.1"];
    for name in names {
        site.append(name, &head);
        site.append(name, format!("and then {name}\n"));
    }
    let agent = site.reading("*.log*").start();
    site.topic.await_count(4 * 121);
    for name in names {
        site.append(name, format!("{name} goes on\n"));
        site.topic.await_value(format!("{name} goes on").as_bytes());
    }
    agent.stop();
    let mut arrived = values(&site.whole());
    let mut written: Vec<String> =
        head.lines().flat_map(|line| std::iter::repeat_n(line.to_owned(), 4)).collect();
    written.extend(names.iter().flat_map(|name| [format!("and then {name}"), format!("{name} goes on")]));
    arrived.sort();
    written.sort();
    assert_eq!(arrived, written);
}

#[test]
fn r10_empty_files_are_many_files() {
    let site = Site::new();
    let mut families: Vec<Family> =
        (0..100).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
    let agent = site.agent().start();
    agent.await_ready();
    families.iter_mut().for_each(|family| family.write(1));
    site.topic.await_count(100);
    families.iter_mut().for_each(|family| family.write(1));
    site.topic.await_count(200);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn r11_removed_and_created_again_many_times() {
    let site = Site::new();
    let agent = site.agent().set("watch.reconcile=1s").start();
    // Shows that the file system is there, and the others are gone.
    let mut lasting = Family::create(site.log("lasting.log"));
    lasting.write(75);
    site.topic.await_count(75);
    let mut families = vec![lasting];
    for round in 0..if is_long() { 400 } else { 40 } {
        let now: Vec<Family> = (0..25)
            .map(|at| {
                let mut family = Family::named(&format!("f{at}r{round}"), site.log(&format!("f{at}.log")));
                family.write(3);
                family
            })
            .collect();
        site.topic.await_count((round + 2) * 75);
        now.iter().for_each(|family| fs::remove_file(family.path()).unwrap());
        families.extend(now);
    }
    until_true("all other slots are free again", || agent.status()["state"]["generations"] == 1);
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn r11_inode_numbers_in_use_again_are_other_files() {
    let site = Site::new();
    let agent = site.agent().set("item.close_after=1s").start();
    let mut families = Vec::new();
    for round in 0..4 {
        let now: Vec<Family> = (0..50)
            .map(|at| {
                let mut family = Family::named(&format!("f{at}r{round}"), site.log(&format!("f{at}.log")));
                family.write(3 + round);
                family
            })
            .collect();
        let total = families.iter().chain(&now).map(|family: &Family| family.lines.len()).sum();
        site.topic.await_count(total);
        // An open file keeps its number: only one that nobody holds can hand it on.
        until_true("the quiet files are closed", || {
            !agent.descriptors().iter().any(|target| target.contains("/logs/f"))
        });
        for mut family in now {
            fs::remove_file(family.path()).unwrap();
            family.close();
            families.push(family);
        }
    }
    agent.stop();
    assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
}

#[test]
fn r13_deleted_while_the_writer_goes_on_and_released_after() {
    let site = Site::new();
    let agent = site.agent().start();
    let mut family = Family::create(site.log("app.log"));
    family.write(10);
    site.topic.await_count(10);
    fs::remove_file(family.path()).unwrap();
    for _ in 0..20 {
        family.write(50);
        site.topic.await_value(family.last());
    }
    family.close();
    until_true("the deleted file is released", || {
        !agent.descriptors().iter().any(|target| target.contains("app.log"))
    });
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r14_two_names_of_one_file_are_read_once() {
    let site = Site::new();
    let agent = site.agent().start();
    let mut family = Family::create(site.log("a.log"));
    family.write(100);
    fs::hard_link(site.log("a.log"), site.log("b.log")).unwrap();
    site.topic.await_count(100);
    family.write(100);
    site.topic.await_count(200);
    fs::remove_file(site.log("a.log")).unwrap();
    family.write(100);
    site.topic.await_count(300);
    agent.stop();
    // Under its other name it is still the same file after a restart.
    let agent = site.agent().start();
    family.write(100);
    site.topic.await_count(400);
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn r15_a_link_whose_target_is_switched() {
    for policy in ["owner", "follow"] {
        let site = Site::with_partitions(1);
        let targets = site.root().join("targets");
        fs::create_dir(&targets).unwrap();
        let switch = |to: &Family| {
            symlink(to.path(), site.log("aside")).unwrap();
            fs::rename(site.log("aside"), site.log("current.log")).unwrap();
        };
        let mut families = vec![Family::create(targets.join("day0"))];
        families[0].write(100);
        switch(&families[0]);
        let agent = site.agent().set(format!("item.symlinks={policy}")).start();
        site.topic.await_value(families[0].last());
        for day in 1..5 {
            let mut next = Family::create(targets.join(format!("day{day}")));
            next.write(30);
            let last = families.last_mut().expect("there is one");
            // Written just before the switch, and just after it by a writer that has not noticed.
            last.write(200);
            switch(&next);
            last.write(50);
            families.push(next);
            for family in &families {
                site.topic.await_value(family.last());
            }
        }
        agent.stop();
        assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
    }
}

#[test]
fn r15_links_are_left_alone_when_so_configured() {
    let site = Site::new();
    let target = site.root().join("target");
    fs::write(&target, "not for us\n").unwrap();
    symlink(&target, site.log("link.log")).unwrap();
    let mut agent = site.agent().set("item.symlinks=never").start();
    agent.await_log(&["link.log", "symbolic link"]);
    site.append("plain.log", "one\n");
    site.topic.await_value(b"one");
    agent.stop();
    assert_eq!(values(&site.whole()), ["one"]);
}

#[test]
fn r18_rotated_while_down_and_not_read_again_by_later_starts() {
    let site = Site::new();
    let mut family = Family::create(site.log("app.log"));
    family.write(200);
    for round in 0..4 {
        let agent = site.reading("app.log*").set("watch.reconcile=100ms").start();
        site.topic.await_count(family.lines.len());
        agent.stop();
        family.rotate(&family.beside(&format!("{round}")));
        age(&family.beside(&format!("{round}")), 100 - round);
        family.write(10);
    }
    let agent = site.reading("app.log*").start();
    site.topic.await_count(family.lines.len());
    agent.stop();
    let records = site.whole();
    assert_eq!(assert_no_loss(&records, &[&family]), 0);
    assert_complete(&records, &[&family]);
}
