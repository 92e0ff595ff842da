//! Lines as programs write them, and what each says of itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logdrive_line_time::{HEAD_BYTES_MAX, LineTime, level};

/// An hour ahead of UTC, two in summer: where lines name no zone.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn nanos(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_nanosecond().try_into().unwrap()
}

fn line_time(reference: &str) -> LineTime {
    LineTime::new(TimeZone::posix(BERLIN).unwrap(), nanos(reference))
}

/// Time and level in words, `-` for none.
fn said(line_time: &LineTime, line: &[u8]) -> String {
    let time = line_time
        .of(line)
        .map_or("-".to_owned(), |ns| Timestamp::from_nanosecond(ns.into()).unwrap().to_string());
    let level = level(line).map_or("-", |level| level.as_str());
    format!("{time} {level}")
}

/// Each line with what it says, read in the evening of a day in November.
#[track_caller]
fn check(rows: &[(&str, &str)]) {
    let line_time = line_time("2026-11-26T20:00:00Z");
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(line, expected)| {
            let found = said(&line_time, line.as_bytes());
            (found != *expected).then(|| format!("{line}\n  is    {expected}\n  found {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rfc_3339_and_iso_8601() {
    check(&[
        ("2026-11-26T10:11:12Z", "2026-11-26T10:11:12Z -"),
        ("2026-11-26T10:11:12z started", "2026-11-26T10:11:12Z -"),
        ("2026-11-26T10:11:12.345+01:00 started", "2026-11-26T09:11:12.345Z -"),
        ("2026-11-26T10:11:12.345678-0530 started", "2026-11-26T15:41:12.345678Z -"),
        ("2026-11-26T10:11:12.345678901Z started", "2026-11-26T10:11:12.345678901Z -"),
        ("2026-11-26T10:11:12.3456789019Z started", "2026-11-26T10:11:12.345678901Z -"),
        ("2026-11-26t10:11:12,345 started", "2026-11-26T09:11:12.345Z -"),
        ("2026-11-26 10:11:12 started", "2026-11-26T09:11:12Z -"),
        ("2026-07-26 10:11:12 in summer", "2026-07-26T08:11:12Z -"),
        ("2026-11-26 10:11:12+01 started", "2026-11-26T09:11:12Z -"),
        ("2026-11-26 10:11:12 +0530 started", "2026-11-26T04:41:12Z -"),
        ("2026-11-26 10:11:12 GMT started", "2026-11-26T10:11:12Z -"),
        ("\u{feff}2026-11-26T10:11:12Z behind a mark", "2026-11-26T10:11:12Z -"),
        // A number behind a space is the message.
        ("2026-11-26 10:11:12 -5 degrees", "2026-11-26T09:11:12Z -"),
        ("2026-11-26 10:11:12. Then", "2026-11-26T09:11:12Z -"),
    ]);
}

#[test]
fn java_with_logback_log4j_spring_kafka_elasticsearch_cassandra_and_tomcat() {
    check(&[
        ("2026-11-26 10:11:12,345 INFO  [main] o.e.shop.Cart - 3 items", "2026-11-26T09:11:12.345Z info"),
        (
            "2026-11-26 10:11:12.345 [http-nio-8080-exec-1] WARN  o.e.shop.Cart - slow",
            "2026-11-26T09:11:12.345Z warn",
        ),
        (
            "2026-11-26T10:11:12.345+01:00  INFO 12345 --- [shop] [main] o.e.shop.Application : Started",
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            "2026-11-26 10:11:12.345 ERROR 1 --- [           main] o.s.boot.SpringApplication : failed",
            "2026-11-26T09:11:12.345Z error",
        ),
        (
            "[2026-11-26 10:11:12,345] INFO [Broker id=1] started (kafka.server.KafkaServer)",
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            "[2026-11-26T10:11:12,345][DEBUG][o.e.n.Node              ] [node-1] starting ...",
            "2026-11-26T09:11:12.345Z debug",
        ),
        (
            "[2026-11-26T10:11:12,345][WARN ][o.e.d.z.ZenDiscovery    ] [node-1] alone",
            "2026-11-26T09:11:12.345Z warn",
        ),
        (
            "INFO  [main] 2026-11-26 10:11:12,345 StorageService.java:1234 - Startup complete",
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            "2026-11-26 10:11:12,345 [myid:1] - INFO  [main:QuorumPeer@1234] - LOOKING",
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            "26-Nov-2026 10:11:12.345 SEVERE [main] org.apache.catalina.startup.Catalina.start",
            "2026-11-26T09:11:12.345Z error",
        ),
        ("2026-11-26 10:11:12 TRACE query", "2026-11-26T09:11:12Z trace"),
        ("2026-11-26 10:11:12,345 | FATAL | main | broker | out of memory", "2026-11-26T09:11:12.345Z fatal"),
    ]);
}

#[test]
fn python_ruby_php_rust_and_dotnet() {
    check(&[
        ("2026-11-26 10:11:12,345 - shop.cart - INFO - 3 items", "2026-11-26T09:11:12.345Z info"),
        ("2026-11-26 10:11:12,345 WARNING 3 items", "2026-11-26T09:11:12.345Z warn"),
        ("INFO:root:3 items", "- info"),
        ("CRITICAL 2026-11-26 10:11:12,345 cart 17 3 items", "2026-11-26T09:11:12.345Z fatal"),
        (
            "[2026-11-26 10:11:12 +0000] [1234] [INFO] Listening at: http://127.0.0.1:8000",
            "2026-11-26T10:11:12Z info",
        ),
        ("[2026-11-26 10:11:12,345: ERROR/MainProcess] Task failed", "2026-11-26T09:11:12.345Z -"),
        ("2026-11-26 10:11:12.345 | DEBUG    | shop.cart:add:12 - 3 items", "2026-11-26T09:11:12.345Z debug"),
        (
            "E, [2026-11-26T10:11:12.345678 #1234] ERROR -- : no such item",
            "2026-11-26T09:11:12.345678Z error",
        ),
        (
            "[2026-11-26T10:11:12.345678+00:00] app.NOTICE: 3 items {\"a\":1} []",
            "2026-11-26T10:11:12.345678Z notice",
        ),
        ("[26-Nov-2026 10:11:12 UTC] PHP Warning:  Undefined variable", "2026-11-26T10:11:12Z -"),
        ("2026-11-26T10:11:12.345678Z  INFO shop::cart: 3 items", "2026-11-26T10:11:12.345678Z info"),
        (
            "\x1b[2m2026-11-26T10:11:12.345678Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[2mshop\x1b[0m: slow",
            "2026-11-26T10:11:12.345678Z warn",
        ),
        ("[2026-11-26T10:11:12Z DEBUG shop::cart] 3 items", "2026-11-26T10:11:12Z debug"),
        ("2026-11-26 10:11:12.345 +01:00 [INF] 3 items", "2026-11-26T09:11:12.345Z info"),
        ("[ERROR] 2026-11-26T10:11:12.345Z 0b5c4b5e-5f1b Task timed out", "2026-11-26T10:11:12.345Z error"),
    ]);
}

#[test]
fn go_with_its_log_zap_zerolog_logrus_slog_and_klog() {
    check(&[
        ("2026/11/26 10:11:12 listening on :8080", "2026-11-26T09:11:12Z -"),
        ("2026/11/26 10:11:12.345678 main.go:23: listening", "2026-11-26T09:11:12.345678Z -"),
        ("2026/11/26 10:11:12 INFO listening port=8080", "2026-11-26T09:11:12Z info"),
        // The message of Go's own log, which knows no levels.
        ("2026/11/26 10:11:12 error opening file", "2026-11-26T09:11:12Z -"),
        (
            r#"{"level":"info","ts":1795687872.345678,"caller":"main.go:23","msg":"listening"}"#,
            "2026-11-26T10:11:12.345678Z info",
        ),
        (r#"{"level":"warn","time":1795687872,"message":"slow"}"#, "2026-11-26T10:11:12Z warn"),
        (
            r#"{"time":"2026-11-26T10:11:12.345678901Z","level":"ERROR","msg":"failed"}"#,
            "2026-11-26T10:11:12.345678901Z error",
        ),
        (
            "2026-11-26T10:11:12.345+0100\tinfo\tserver\tmain.go:23\tlistening",
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            "1.795687872345678e+09\tINFO\tcontroller-runtime.metrics\tlistening",
            "2026-11-26T10:11:12.345678Z info",
        ),
        (
            r#"time="2026-11-26T10:11:12+01:00" level=warning msg="time=\"2020\" level=debug""#,
            "2026-11-26T09:11:12Z warn",
        ),
        (
            "ts=2026-11-26T10:11:12.345Z caller=main.go:23 level=info msg=listening",
            "2026-11-26T10:11:12.345Z info",
        ),
        ("level=error ts=1795687872345 msg=failed", "2026-11-26T10:11:12.345Z error"),
        ("INFO[0012] listening", "- info"),
        ("WARN[2026-11-26T10:11:12+01:00] slow", "2026-11-26T09:11:12Z warn"),
        ("I1126 10:11:12.345678    1234 server.go:23] listening", "2026-11-26T09:11:12.345678Z info"),
        ("E1126 10:11:12.345678       1 reflector.go:138] failed", "2026-11-26T09:11:12.345678Z error"),
        ("W20261126 10:11:12.345678  1234 server.cc:23] slow", "2026-11-26T09:11:12.345678Z warn"),
        ("2026-11-26T10:11:12Z INF listening port=8080", "2026-11-26T10:11:12Z info"),
    ]);
}

#[test]
fn json_of_other_languages_and_of_containers() {
    check(&[
        (
            r#"{"level":30,"time":1795687872345,"pid":1,"hostname":"h","msg":"listening"}"#,
            "2026-11-26T10:11:12.345Z info",
        ),
        (
            r#"{"name":"a","hostname":"h","pid":1,"level":50,"msg":"failed","time":"2026-11-26T10:11:12.345Z","v":0}"#,
            "2026-11-26T10:11:12.345Z error",
        ),
        (
            r#"{"@timestamp":"2026-11-26T10:11:12.345Z","log.level":"WARN","message":"slow","ecs.version":"1.2.0"}"#,
            "2026-11-26T10:11:12.345Z warn",
        ),
        (
            r#"{ "timestamp" : "2026-11-26 10:11:12,345" , "severity" : "NOTICE" }"#,
            "2026-11-26T09:11:12.345Z notice",
        ),
        (
            r#"{"@t":"2026-11-26T10:11:12.3456789Z","@mt":"3 items","@l":"Fatal"}"#,
            "2026-11-26T10:11:12.3456789Z fatal",
        ),
        (
            r#"{"Timestamp":"2026-11-26T10:11:12.345+01:00","Level":"Information"}"#,
            "2026-11-26T09:11:12.345Z info",
        ),
        (
            r#"{"asctime": "2026-11-26 10:11:12,345", "levelname": "CRITICAL", "message": "x"}"#,
            "2026-11-26T09:11:12.345Z fatal",
        ),
        (
            r#"{"message":"x","level":400,"level_name":"ERROR","datetime":"2026-11-26T10:11:12.345678+00:00"}"#,
            "2026-11-26T10:11:12.345678Z error",
        ),
        (
            r#"{"version":"1.1","host":"h","timestamp":1795687872.3072,"level":3}"#,
            "2026-11-26T10:11:12.3072Z error",
        ),
        (r#"{"ts":1795687872345678,"level":"trace"}"#, "2026-11-26T10:11:12.345678Z trace"),
        (r#"{"ts":1795687872345678901}"#, "2026-11-26T10:11:12.345678901Z -"),
        (r#"{"ts":"1795687872"}"#, "2026-11-26T10:11:12Z -"),
        // What is inside of strings and of other objects is not of the line.
        (
            r#"{"log":"{\"time\":\"2020-01-01T00:00:00Z\",\"level\":\"error\"}\n","stream":"stdout","time":"2026-11-26T10:11:12.345678901Z"}"#,
            "2026-11-26T10:11:12.345678901Z -",
        ),
        (
            r#"{"request":{"time":"2020-01-01T00:00:00Z","a":[{"b":"}]"}]},"time":"2026-11-26T10:11:12Z","level":"info"}"#,
            "2026-11-26T10:11:12Z info",
        ),
        // A time that took is none at which something was.
        (r#"{"time":12.5,"ts":"2026-11-26T10:11:12Z"}"#, "2026-11-26T10:11:12Z -"),
        (
            "2026-11-26T10:11:12.345678901Z stdout F {\"time\":\"2020-01-01T00:00:00Z\"}",
            "2026-11-26T10:11:12.345678901Z -",
        ),
        ("2026-11-26T10:11:12.345678901+01:00 stderr P 2020-01-01", "2026-11-26T09:11:12.345678901Z -"),
    ]);
}

#[test]
fn servers() {
    check(&[
        (
            r#"10.0.0.1 - - [26/Nov/2026:10:11:12 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8.5""#,
            "2026-11-26T10:11:12Z -",
        ),
        (
            r#"2001:db8::1 - alice [26/Nov/2026:10:11:12 -0500] "GET / HTTP/1.1" 200 612"#,
            "2026-11-26T15:11:12Z -",
        ),
        (
            r#"shop.example:443 10.0.0.1 - - [26/Nov/2026:10:11:12 +0100] "GET / HTTP/2.0" 200 1"#,
            "2026-11-26T09:11:12Z -",
        ),
        (
            "2026/11/26 10:11:12 [error] 1234#1234: *1 open() failed (2: No such file or directory)",
            "2026-11-26T09:11:12Z error",
        ),
        ("2026/11/26 10:11:12 [emerg] 1#1: bind() to 0.0.0.0:80 failed", "2026-11-26T09:11:12Z fatal"),
        (
            "[Thu Nov 26 10:11:12.345678 2026] [core:error] [pid 1:tid 2] AH00126: Invalid URI",
            "2026-11-26T09:11:12.345678Z error",
        ),
        ("[Thu Nov 26 10:11:12 2026] [notice] Apache/2.2 configured", "2026-11-26T09:11:12Z notice"),
        (
            "2026-11-26 10:11:12.345 UTC [1234] LOG:  checkpoint starting: time",
            "2026-11-26T10:11:12.345Z info",
        ),
        (
            "2026-11-26 10:11:12.345 CET [1234] shop@db ERROR:  relation \"cart\" does not exist",
            "2026-11-26T09:11:12.345Z error",
        ),
        (
            "2026-11-26 10:11:12.345 UTC [1234] FATAL:  the database system is starting up",
            "2026-11-26T10:11:12.345Z fatal",
        ),
        (
            "2026-11-26T10:11:12.345678Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.",
            "2026-11-26T10:11:12.345678Z warn",
        ),
        ("2026-11-26 10:11:12 0 [Note] InnoDB: started", "2026-11-26T09:11:12Z notice"),
        (
            "2026-11-26 10:11:12.345678+00:00 [info] <0.230.0> accepting AMQP connection",
            "2026-11-26T10:11:12.345678Z info",
        ),
        (
            "2026.11.26 10:11:12.345678 [ 1234 ] {} <Information> Application: Ready",
            "2026-11-26T09:11:12.345678Z info",
        ),
        (
            "1795687872.345    123 10.0.0.1 TCP_MISS/200 1234 GET http://a/ - DIRECT/- text/html",
            "2026-11-26T10:11:12.345Z -",
        ),
        (
            "26-Nov-2026 10:11:12.345 general: info: zone example/IN: loaded serial 1",
            "2026-11-26T09:11:12.345Z -",
        ),
        ("2026-11-26 10:11:12 status installed libc6:amd64 2.36-9", "2026-11-26T09:11:12Z -"),
    ]);
}

#[test]
fn syslog() {
    check(&[
        ("Nov 26 10:11:12 host sshd[1234]: Accepted publickey for alice", "2026-11-26T09:11:12Z -"),
        ("Nov  6 10:11:12 host CRON[1]: (root) CMD (x)", "2026-11-06T09:11:12Z -"),
        ("Nov 6 10:11:12 host a: b", "2026-11-06T09:11:12Z -"),
        ("Nov 26 10:11:12.345 host a: b", "2026-11-26T09:11:12.345Z -"),
        ("Nov 26 2025 10:11:12 asa : %ASA-6-302013: Built", "2025-11-26T09:11:12Z -"),
        ("<34>Nov 26 10:11:12 host su: 'su root' failed for alice", "2026-11-26T09:11:12Z fatal"),
        ("<165>1 2026-11-26T10:11:12.003Z host app - ID47 - started", "2026-11-26T10:11:12.003Z notice"),
        (
            "<30>2026-11-26T10:11:12.345678+01:00 host systemd[1]: Started x",
            "2026-11-26T09:11:12.345678Z info",
        ),
        ("2026-11-26T10:11:12.345678+01:00 host kernel: ERROR of nobody", "2026-11-26T09:11:12.345678Z -"),
        ("<192>Nov 26 10:11:12 host a: no such priority", "- -"),
    ]);
}

#[test]
fn lines_that_say_nothing_of_themselves() {
    check(&[
        ("", "- -"),
        ("\tat org.example.Cart.add(Cart.java:12)", "- -"),
        ("  File \"cart.py\", line 12, in add", "- -"),
        (" 2026-11-26 10:11:12 quoted", "- -"),
        ("Caused by: java.io.IOException: error at 2026-11-26 10:11:12", "- -"),
        ("ValueError: 2026-11-26 10:11:12", "- -"),
        ("an ERROR in the middle", "- -"),
        ("error: in the message", "- -"),
        ("Error: Cannot find module 'x'", "- -"),
        ("Novel 26 10:11:12", "- -"),
        ("2026-11-26", "- -"),
        ("2026-11-26 at noon", "- -"),
        ("10:11:12 only a clock", "- -"),
        ("12345 items", "- -"),
        ("9999999999 is a number", "- -"),
        ("17956878720 has eleven digits", "- -"),
        ("[   12.345678] usb 1-1: new high-speed USB device", "- -"),
        ("Nov 26, 2026 10:11:12 PM org.example.Cart add", "- -"),
        ("2026-11-26 10:11:12 PM shutting down", "- -"),
        ("2026-11-26 10:11:12AM", "- -"),
        (r#"["2026-11-26T10:11:12Z"]"#, "- -"),
        (r#"{"time":{"a":"2026-11-26T10:11:12Z"}}"#, "- -"),
        (r#"{"time":"2026-11-26T10:11:12Z"#, "- -"),
        (r#"{"msg":"a \"time\":\"2026-11-26T10:11:12Z\""}"#, "- -"),
        ("{time: 1795687872}", "- -"),
        ("time elapsed=3", "- -"),
    ]);
}

#[test]
fn what_cannot_be_is_no_time() {
    check(&[
        ("2026-02-29 10:11:12 x", "- -"),
        ("2028-02-29 10:11:12 x", "2028-02-29T09:11:12Z -"),
        ("1900-02-29 10:11:12 x", "- -"),
        ("2000-02-29 10:11:12 x", "2000-02-29T09:11:12Z -"),
        ("2026-04-31 10:11:12 x", "- -"),
        ("2026-13-01 10:11:12 x", "- -"),
        ("2026-00-01 10:11:12 x", "- -"),
        ("2026-11-00 10:11:12 x", "- -"),
        ("0000-01-01 10:11:12 x", "- -"),
        ("2026-11-26 24:00:00 x", "- -"),
        ("2026-11-26 10:60:12 x", "- -"),
        ("2026-11-26 10:11:61 x", "- -"),
        // A zone that cannot be is none.
        ("2026-11-26 10:11:12 +2500 x", "2026-11-26T09:11:12Z -"),
        ("Feb 30 10:11:12 host x", "- -"),
        ("I1301 10:11:12.345678 1 a.go:1] x", "- -"),
        ("31/Nov/2026:10:11:12 +0000", "- -"),
        // Nanoseconds of 64 bits end in the year 2262.
        ("2400-01-01 00:00:00 x", "- -"),
        ("1969-12-31 23:59:59Z x", "1969-12-31T23:59:59Z -"),
    ]);
}

#[test]
fn a_leap_second_is_the_one_after_it() {
    check(&[
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z -"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z -"),
        ("2017-01-01 05:29:60 +0530 x", "2017-01-01T00:00:00Z -"),
    ]);
}

#[test]
fn the_year_that_is_left_out_is_the_last_that_can_be_meant() {
    let said = |reference, line: &str| said(&line_time(reference), line.as_bytes());
    // Around New Year.
    assert_eq!(said("2027-01-01T00:00:05Z", "Dec 31 23:59:59 h a: b"), "2026-12-31T22:59:59Z -");
    assert_eq!(said("2026-12-31T23:30:00Z", "Jan  1 00:30:00 h a: b"), "2026-12-31T23:30:00Z -");
    // A clock that is ahead, by minutes and by a week.
    assert_eq!(said("2026-12-31T22:59:00Z", "Jan  1 00:00:01 h a: b"), "2026-12-31T23:00:01Z -");
    assert_eq!(said("2026-11-26T00:00:00Z", "Dec  2 10:00:00 h a: b"), "2026-12-02T09:00:00Z -");
    assert_eq!(said("2026-11-26T00:00:00Z", "Dec  5 10:00:00 h a: b"), "2025-12-05T09:00:00Z -");
    // A file that was ten months in the making.
    assert_eq!(said("2026-11-26T00:00:00Z", "Feb  3 10:00:00 h a: b"), "2026-02-03T09:00:00Z -");
    assert_eq!(said("2026-11-26T00:00:00Z", "I0203 10:00:00.5 1 a.go:1] b"), "2026-02-03T09:00:00.5Z info");
    // A day that few years have.
    assert_eq!(said("2027-03-01T00:00:00Z", "Feb 29 10:00:00 h a: b"), "2024-02-29T09:00:00Z -");
    assert_eq!(said("1903-03-01T00:00:00Z", "Feb 29 10:00:00 h a: b"), "1896-02-29T09:00:00Z -");
    // As far as nanoseconds go.
    assert_eq!(said("2262-04-11T00:00:00Z", "Apr 11 00:00:00 h a: b"), "2262-04-10T22:00:00Z -");
    assert_eq!(said("1677-09-22T00:00:00Z", "Sep 22 00:00:00 h a: b"), "1677-09-21T22:00:00Z -");
}

#[test]
fn an_hour_that_is_there_twice_is_the_second_one() {
    check(&[
        ("2026-10-25 02:30:00 x", "2026-10-25T01:30:00Z -"),
        ("2026-10-25 01:59:59 x", "2026-10-24T23:59:59Z -"),
        // And one that is not there.
        ("2026-03-29 02:30:00 x", "2026-03-29T01:30:00Z -"),
    ]);
}

#[test]
fn only_the_head_of_a_line_is_looked_at_unless_it_is_an_object() {
    let line_time = line_time("2026-11-26T20:00:00Z");
    let far = "u".repeat(HEAD_BYTES_MAX);
    let access = format!("10.0.0.1 - {far} [26/Nov/2026:10:11:12 +0000] \"GET / HTTP/1.1\"");
    assert_eq!(said(&line_time, access.as_bytes()), "- -");
    let logfmt = format!("a={far} time=2026-11-26T10:11:12Z level=info");
    assert_eq!(said(&line_time, logfmt.as_bytes()), "- -");
    let object = format!(r#"{{"log":"{far}","time":"2026-11-26T10:11:12Z","level":"info"}}"#);
    assert_eq!(said(&line_time, object.as_bytes()), "2026-11-26T10:11:12Z info");
}
