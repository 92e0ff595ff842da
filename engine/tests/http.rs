//! The HTTP server against real sockets: what it answers, and what bad clients can not do.

#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_driver::{driver, report};
use logdrive::http::{Ask, HttpLimits, HttpServer};
use logdrive::metrics::Metrics;
use logdrive::status::{Question, StatusReport, Told};

mod http_driver;

/// A test that would wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(limits: HttpLimits, ask: Ask) -> HttpServer {
    let metrics = Arc::new(Metrics::new("1.2.3"));
    HttpServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), limits, metrics, ask).unwrap()
}

fn connect(server: &HttpServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that comes back until the server closes the connection.
fn exchange(server: &HttpServer, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    ending(&mut stream)
}

fn ending(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // Closed with bytes of ours unread, which is as good an end.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(answer).unwrap()
}

fn request(server: &HttpServer, method: &str, path: &str, host: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    exchange(server, request.as_bytes())
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[test]
fn the_four_pages_answer_and_nothing_else_does() {
    let server = start(HttpLimits::default(), driver(""));
    let get = |path| request(&server, "GET", path, "localhost:9180");
    let metrics = get("/metrics?x=1");
    assert_eq!(status(&metrics), "200");
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
    assert!(get("/readyz").ends_with("\r\n\r\nready\n"));
    let report = get("/status");
    assert!(report.contains("x-content-type-options: nosniff"), "{report}");
    let json: serde_json::Value = serde_json::from_str(report.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["files"][0]["positions"]["framed"], 4);
    assert_eq!(json["files"][0]["path"], "/l/<script>\n");
    assert_eq!(json["items"][0]["topic"], "web_log");
    for path in ["/", "/metrics/", "/../etc/passwd", "/%2e%2e/metrics", "/metrics%00"] {
        assert_eq!(status(&get(path)), "404", "{path}");
    }
    assert_eq!(status(&request(&server, "POST", "/status", "localhost")), "405");
    assert!(request(&server, "HEAD", "/healthz", "localhost").ends_with("\r\n\r\n"));
}

#[test]
fn a_driver_that_is_not_ready_gone_or_hanging_is_told_apart() {
    let server = start(HttpLimits::default(), driver("no broker answers"));
    let answer = request(&server, "GET", "/readyz", "localhost");
    assert_eq!(status(&answer), "503");
    assert!(answer.ends_with("no broker answers\n"));
    assert_eq!(status(&request(&server, "GET", "/healthz", "localhost")), "200");

    let gone = start(HttpLimits::default(), Arc::new(drop));
    let held: Arc<Mutex<Vec<Question>>> = Arc::default();
    let limits = HttpLimits { answer_timeout: Duration::from_millis(20), ..HttpLimits::default() };
    let hanging = start(limits, Arc::new(move |question| held.lock().unwrap().push(question)));
    for server in [gone, hanging] {
        for path in ["/healthz", "/readyz", "/status"] {
            let answer = request(&server, "GET", path, "localhost");
            assert_eq!(status(&answer), "503");
            assert!(answer.ends_with("the agent does not respond\n"), "{answer}");
        }
        assert_eq!(status(&request(&server, "GET", "/metrics", "localhost")), "200");
    }
}

#[test]
fn x13_a_name_that_is_not_this_host_is_refused() {
    let server = start(HttpLimits::default(), driver(""));
    for host in
        ["localhost", "LOCALHOST:9180", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:9180", "10.0.0.7"]
    {
        assert_eq!(status(&request(&server, "GET", "/status", host)), "200", "{host}");
    }
    for host in
        ["evil.example", "evil.example:9180", "localhost.evil.example", "127.0.0.1.evil.example:80", ""]
    {
        assert_eq!(status(&request(&server, "GET", "/status", host)), "403", "{host}");
    }
}

#[test]
fn x02_malformed_requests_are_answered_with_an_error_or_closed() {
    let server = start(HttpLimits::default(), driver(""));
    let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2000));
    let broken: [&[u8]; 9] = [
        b"\r\n\r\n\r\n\r\n\0\0",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzzz",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in broken {
        let mut stream = connect(&server);
        // The server may have answered and closed before it was all written.
        let _cut = stream.write_all(bytes);
        let _cut = stream.shutdown(std::net::Shutdown::Write);
        let answer = ending(&mut stream);
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(answer.is_empty() || status(&answer).starts_with('4'), "{start:?}: {answer}");
    }
    let body = b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n{";
    assert_eq!(status(&exchange(&server, body)), "413");
    assert_eq!(status(&request(&server, "GET", "/metrics", "localhost")), "200");
}

#[test]
fn x03_a_thousand_silent_or_slow_clients_are_closed_and_metrics_are_still_served() {
    let limits = HttpLimits {
        header_timeout: Duration::from_millis(300),
        connection_timeout: Duration::from_millis(600),
        ..HttpLimits::default()
    };
    let server = start(limits, driver(""));
    let starts: [&[u8]; 4] = [
        b"",
        b"GET /metrics HTT",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow",
        // A first request that is complete, then silence.
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    let mut streams = Vec::new();
    for start in starts.iter().cycle().take(1000) {
        let mut stream = connect(&server);
        let _made_room = stream.write_all(start);
        streams.push(stream);
        if streams.len() % 100 == 0 {
            let answer = request(&server, "GET", "/metrics", "localhost");
            assert_eq!(status(&answer), "200", "after {} clients", streams.len());
        }
    }
    for mut stream in streams {
        let answer = ending(&mut stream);
        assert!(answer.is_empty() || ["200", "408"].contains(&status(&answer)), "{answer}");
    }
}

#[test]
fn x03_the_default_limits_close_every_connection_within_ten_seconds() {
    let limits = HttpLimits::default();
    assert!(limits.connection_timeout <= Duration::from_secs(10));
    assert!(limits.header_timeout <= limits.connection_timeout);
    assert!(limits.answer_timeout < limits.connection_timeout);
}

#[test]
fn a_taken_address_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new("1"));
    let error = HttpServer::start(address, HttpLimits::default(), metrics, driver("")).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with(&format!("cannot listen on {address}: ")), "{message}");
    assert!(message.contains("[http]"), "{message}");
}

/// A report that no socket buffer holds.
fn long_report() -> StatusReport {
    let mut report = report();
    report.files = vec![report.files[0].clone(); 20_000];
    report
}

#[test]
fn x03_clients_that_never_read_are_closed_and_others_are_answered() {
    let limits = HttpLimits { connection_timeout: Duration::from_millis(600), ..HttpLimits::default() };
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let ask: Ask = Arc::new(move |question| match question {
        Question::Status(reply) => {
            *counted.lock().unwrap() += 1;
            // As long as it takes a driver of so many files.
            let took = Duration::from_millis(5);
            let _left = reply.send(Told { answer: long_report(), took });
        }
        other => driver("")(other),
    });
    let server = start(limits, ask);
    let mut streams = Vec::new();
    for at in 0..300 {
        let mut stream = connect(&server);
        // Many questions in one go; not one of the answers is taken.
        let questions =
            "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(if at % 2 == 0 { 1 } else { 200 });
        let _made_room = stream.write_all(questions.as_bytes());
        streams.push(stream);
        if at % 50 == 0 {
            assert_eq!(
                status(&request(&server, "GET", "/metrics", "localhost")),
                "200",
                "after {at} clients"
            );
        }
    }
    let begun = *asked.lock().unwrap();
    for mut stream in streams {
        let answer = ending(&mut stream);
        assert!(answer.is_empty() || status(&answer) == "200");
    }
    assert!(begun < 300, "the driver was asked {begun} times");
    assert_eq!(status(&request(&server, "GET", "/status", "localhost")), "200");
}

#[test]
fn x03_a_flood_of_questions_in_one_connection_ends_with_it() {
    let limits = HttpLimits { connection_timeout: Duration::from_millis(600), ..HttpLimits::default() };
    let server = start(limits, driver(""));
    let mut stream = connect(&server);
    std::thread::scope(|scope| {
        let mut asking = stream.try_clone().unwrap();
        // Ends when the server has closed the connection.
        scope.spawn(
            move || while asking.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok() {},
        );
        let answers = ending(&mut stream);
        assert!(answers.starts_with("HTTP/1.1 200"));
    });
    assert_eq!(status(&request(&server, "GET", "/metrics", "localhost")), "200");
}
