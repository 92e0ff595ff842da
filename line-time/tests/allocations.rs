//! Reading a line allocates nothing, whatever the line is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../engine/core/tests/counting/mod.rs"]
mod counting;

use std::sync::atomic::Ordering;

use counting::ALLOCATIONS;
use jiff::tz::TimeZone;
use logdrive_line_time::{LineTime, level};

#[test]
fn nothing_is_allocated() {
    let line_time =
        LineTime::new(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(), 1_795_687_872_000_000_000);
    let lines: [&[u8]; 12] = [
        b"2026-11-26 10:11:12,345 INFO  [main] o.e.shop.Cart - 3 items",
        b"2026-03-29 02:30:00 an hour that is not there",
        b"2026-02-30 10:11:12 a day that is not there",
        b"9999-12-31 23:59:60 a time beyond nanoseconds",
        b"Feb 29 10:11:12 host a[1]: b",
        b"Feb 30 10:11:12 host a[1]: b",
        b"10.0.0.1 - - [26/Nov/2026:10:11:12 +0000] \"GET / HTTP/1.1\" 200 1",
        b"{\"log\":\"a\\\"b\",\"stream\":\"stdout\",\"time\":\"2026-11-26T10:11:12.345678901Z\"}",
        b"{\"level\":30,\"time\":1795687872345,\"msg\":\"x\"}",
        b"time=\"2026-11-26T10:11:12Z\" level=info msg=x",
        b"1.795687872345678e+09\tINFO\tx",
        b"Caused by: java.io.IOException: no such file",
    ];
    let read = || lines.iter().filter(|line| line_time.of(line).is_some() | level(line).is_some()).count();
    assert_eq!(read(), 8);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let found = read();
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!((found, after - before), (8, 0));
}
