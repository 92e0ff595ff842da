//! Names that strangers choose: no byte of them forges a log line or stops a read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::lines::{append, values};
use crate::site::Site;

const HOSTILE: &[u8] =
    b"a\n2026-01-02T03:04:05Z ERROR forged: all is lost\r\x1b[2J\x1b]0;t\x07\xe2\x80\xae\xff.log";

#[test]
fn x05_a_hostile_file_name_forges_no_log_line() {
    for format in ["text", "json"] {
        let site = Site::with_partitions(1);
        let mut agent = site.agent().args("--log-level debug --log-format").arg(format).start();
        let path = site.log("").join(OsStr::from_bytes(HOSTILE));
        append(&path, "one\n");
        site.topic.await_value(b"one");
        let fifo = site.log("").join(OsStr::from_bytes(&[b"fifo", HOSTILE].concat()));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        agent.await_log(&["fifo", "only regular files"]);
        let status = agent.status();
        assert_eq!(status["files"].as_array().unwrap().len(), 1, "{status}");
        let exit = agent.stop();
        for line in exit.stderr.split_terminator('\n') {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
            let level = line.split_whitespace().nth(1);
            assert!(format == "json" || matches!(level, Some("DEBUG" | "INFO" | "WARN")), "{line:?}");
            assert!(format == "text" || serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
        }
        assert!(!exit.stderr.lines().any(|line| line.starts_with("2026-01-02T03:04:05Z")), "{}", exit.stderr);
        assert_eq!(values(&site.whole()), ["one"]);
    }
}

#[test]
fn names_that_are_no_text_are_read_and_remembered() {
    let site = Site::with_partitions(1);
    let path = site.log("").join(OsStr::from_bytes(HOSTILE));
    append(&path, "one\n");
    let agent = site.agent().start();
    site.topic.await_count(1);
    agent.stop();
    append(&path, "two\n");
    let agent = site.agent().start();
    site.topic.await_count(2);
    agent.stop();
    assert_eq!(values(&site.whole()), ["one", "two"]);
}
