//! Faults X: traps for an agent that may read more than those who lay them, and kernels that forbid the
//! ring.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{chown, symlink};

use crate::lines::{Family, append, assert_complete, values};
use crate::site::{Site, is_root};

#[test]
fn x01_only_loopback_is_listened_to() {
    let site = Site::new();
    for address in ["0.0.0.0:9180", "[::]:9180", "192.0.2.1:9180"] {
        let refused = site.agent_serving_at(address).finish();
        refused.with_code(78).saying(&["--http", "only loopback"]);
    }
}

#[test]
fn x02_what_is_no_http_is_answered_or_closed() {
    let site = Site::new();
    let agent = site.agent().start();
    agent.await_ready();
    for noise in [
        &b"\0\0\0\0"[..],
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        &[b'A'; 100_000],
    ] {
        let mut stream = TcpStream::connect(agent.address()).unwrap();
        let _ = stream.write_all(noise);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", answer.escape_ascii());
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
    for path in ["/../../etc/passwd", "/%2e%2e/etc/passwd", "/metrics%00", "//etc/passwd"] {
        let (code, body) = agent.http(path).unwrap();
        assert!((400..500).contains(&code) && !body.contains("root:"), "{path}: {code} {body}");
    }
    assert_eq!(agent.http("/healthz").unwrap().0, 200);
    agent.stop();
}

#[test]
fn x08_a_link_in_a_directory_of_everybody_does_not_leak_a_secret() {
    if !is_root("files of other users") {
        return;
    }
    let (site, secret) = Site::beside_a_secret();
    // The link of a stranger, to a file that he may not read.
    symlink(&secret, site.log("x.log")).unwrap();
    std::os::unix::fs::lchown(site.log("x.log"), Some(65_534), Some(65_534)).unwrap();
    // A directory of his on the way is no better.
    symlink(site.root(), site.log("dir")).unwrap();
    std::os::unix::fs::lchown(site.log("dir"), Some(65_534), Some(65_534)).unwrap();
    for pattern in ["*.log", "*/*", "**/shadow"] {
        let mut agent = site
            .connected(crate::process::Launch::run())
            .args("--read-from beginning --topic logs --include")
            .arg(site.log(pattern))
            .arg("--include")
            .arg(site.log("own.txt"))
            .set("watch.reconcile=100ms")
            .start();
        if pattern == "*.log" {
            agent.await_log(&["x.log", "symbolic link"]);
        }
        let line = format!("own {pattern}");
        append(site.log("own.txt"), format!("{line}\n"));
        site.topic.await_value(line.as_bytes());
        agent.await_ready();
        agent.stop();
    }
    assert_eq!(values(&site.whole()), ["own *.log", "own */*", "own **/shadow"]);
}

#[test]
fn x08_the_link_of_who_owns_the_target_is_followed() {
    if !is_root("files of other users") {
        return;
    }
    let site = Site::with_partitions(1);
    let target = site.root().join("target");
    append(&target, "mine\n");
    chown(&target, Some(65_534), Some(65_534)).unwrap();
    symlink(&target, site.log("x.log")).unwrap();
    std::os::unix::fs::lchown(site.log("x.log"), Some(65_534), Some(65_534)).unwrap();
    chown(site.log(""), Some(65_534), Some(65_534)).unwrap();
    let agent = site.agent().start();
    site.topic.await_value(b"mine");
    agent.stop();
}

#[test]
fn x09_a_leaf_that_is_swapped_all_the_time_leaks_nothing() {
    if !is_root("files of other users") {
        return;
    }
    let (site, secret) = Site::beside_a_secret();
    let agent = site.agent().set("watch.reconcile=100ms").start();
    for round in 0..2000 {
        append(site.log("plain"), format!("plain {round}\n"));
        symlink(&secret, site.log("link")).unwrap();
        std::os::unix::fs::lchown(site.log("link"), Some(65_534), Some(65_534)).unwrap();
        fs::rename(site.log("plain"), site.log("x.log")).unwrap();
        fs::rename(site.log("link"), site.log("x.log")).unwrap();
    }
    site.append("last.log", "last\n");
    site.topic.await_value(b"last");
    agent.stop();
    let arrived = values(&site.whole());
    assert!(!arrived.iter().any(|value| value.contains("secret")), "{arrived:?}");
}

#[test]
fn x08_a_kernel_that_forbids_openat2() {
    for error in ["ENOSYS", "EPERM"] {
        let site = Site::with_partitions(1);
        fs::create_dir_all(site.log("app/deep")).unwrap();
        site.append("app/deep/x.log", "one\n");
        append(site.root().join("y.log"), "not for us\n");
        symlink(site.root(), site.log("trap")).unwrap();
        let agent = site.reading("**/*.log").injecting(&format!("openat2:error={error}")).start();
        site.topic.await_value(b"one");
        site.append("app/deep/x.log", "two\n");
        site.topic.await_value(b"two");
        agent.await_ready();
        let said = agent.log().lines().filter(|line| line.contains("openat2")).count();
        assert_eq!(said, 1, "one clear line:\n{}", agent.log());
        agent.stop();
        assert_eq!(values(&site.whole()), ["one", "two"]);
    }
}

#[test]
fn x14_a_kernel_that_forbids_the_ring() {
    for error in ["EPERM", "ENOSYS", "ENOMEM"] {
        let site = Site::new();
        let rule = format!("io_uring_setup:error={error}");
        let refused = site.agent().args("--io uring").injecting(&rule).finish();
        assert!(refused.status.code().is_some_and(|code| code != 0), "{refused:?}");
        let lines: Vec<&str> = refused.stderr.lines().filter(|line| line.contains("io_uring")).collect();
        assert_eq!(lines.len(), 1, "one clear line:\n{}", refused.stderr);
        assert!(lines[0].contains("blocking"), "it names the way out: {}", lines[0]);
        assert_eq!(lines[0].matches("os error").count(), 1, "{}", lines[0]);

        let mut family = Family::create(site.log("app.log"));
        family.write(1000);
        let agent = site.agent().args("--io auto").injecting(&rule).start();
        site.topic.await_count(1000);
        family.write(1000);
        site.topic.await_count(2000);
        assert_eq!(agent.count_log(&["io_uring"]), 1, "said once:\n{}", agent.log());
        agent.stop();
        assert_complete(&site.whole(), &[&family]);
    }
}

#[test]
fn x14_both_ways_of_reading_deliver_the_same() {
    for io in ["uring", "blocking"] {
        let site = Site::new();
        let mut families: Vec<Family> =
            (0..20).map(|at| Family::create(site.log(&format!("f{at}.log")))).collect();
        let agent = site.reading("*.log*").arg("--io").arg(io).start();
        for round in 0..10 {
            for family in &mut families {
                family.write(100);
                family.rotate(&family.beside(&format!("{}", 100 + round)));
                family.write(100);
            }
            site.topic.await_count((round + 1) * 20 * 200);
        }
        agent.stop();
        assert_complete(&site.whole(), &families.iter().collect::<Vec<_>>());
    }
}
