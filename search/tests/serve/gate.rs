//! Who is answered, what an answer allows, and what a client can use up. No other server is needed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine as _;
use logdrive_search::config;
use logdrive_search::serve::Limits;

use crate::site::{Site, secret, typed};
use crate::wait::until_true;

/// A server whose OpenSearch is nobody.
const NOBODY: (&str, &str) = ("opensearch.urls", "[\"http://127.0.0.1:1\"]");

fn refused(settings: &[(&str, &str)]) -> String {
    match config::serve(&typed(settings)) {
        Ok(_) => String::new(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn x01_other_hosts_reach_it_only_with_tls_and_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let token = secret(dir.path(), "token", "s3cret");
    let (cert, key) = certificate(dir.path());
    let token = ("serve.token_file", &token[..]);
    let tls = [("serve.tls.cert", &cert[..]), ("serve.tls.key", &key[..])];
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9182"] {
        let open = [NOBODY, ("serve.listen", listen)];
        let says = |more: &[(&str, &str)]| refused(&[&open[..], more].concat());
        assert!(says(&[]).contains("needs `[serve.tls]` and a login"), "{}", says(&[]));
        assert!(says(&[token]).contains("needs `[serve.tls]` in"), "{}", says(&[token]));
        assert!(says(&tls).contains("needs a login (`username` or `token_file`)"), "{}", says(&tls));
        assert_eq!(says(&[tls[0], tls[1], token]), "");
    }
    for listen in ["127.0.0.1:0", "localhost:1", "[::1]:5"] {
        assert_eq!(refused(&[NOBODY, ("serve.listen", listen)]), "");
    }
}

#[test]
fn x01_what_is_half_configured_is_refused() {
    for (settings, words) in [
        (&[("serve.username", "me")][..], "missing key `password_file` (or `password_env`) in `[serve]`"),
        (&[("serve.password_env", "HOME")], "`password_env` has no effect without `username`"),
        (&[("serve.username", "a:b"), ("serve.password_env", "HOME")], "`username` holds a colon"),
        (&[("serve.token_file", "/absent")], "cannot read /absent"),
        (&[("serve.listen", "somewhere")], "`listen` is \"somewhere\""),
        (&[("serve.hosts", "[\"a:1\"]")], "`hosts` holds \"a:1\""),
        (&[("serve.topics", "[\"t\"]")], "`topics` has no effect without `brokers`"),
        (&[("serve.tls.cert", "/etc/hostname")], "missing key `key` in `[serve.tls]`"),
        (&[("serve.export_lines_max", "0")], "`export_lines_max` is 0"),
        (&[("etcd.prefix", "/x")], "missing key `endpoints` in `[etcd]`"),
        (&[("serve.lisen", "x")], "unknown key"),
    ] {
        let said = refused(&[&[NOBODY], settings].concat());
        assert!(said.contains(words), "{settings:?}: {said}");
    }
    assert!(refused(&[]).contains("missing key `urls` in `[opensearch]`"));
}

/// A certificate for `localhost`, and its key.
fn certificate(dir: &std::path::Path) -> (String, String) {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    [cert, key].map(|path| path.to_str().unwrap().to_owned()).into()
}

#[test]
fn x01_with_a_certificate_it_speaks_tls_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let site = Site::start(&[NOBODY, ("serve.tls.cert", &cert), ("serve.tls.key", &key)]);
    let mut builder = openssl::ssl::SslConnector::builder(openssl::ssl::SslMethod::tls_client()).unwrap();
    builder.set_ca_file(&cert).unwrap();
    let mut stream = builder.build().connect("localhost", site.connect()).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // It is closed without a farewell by whoever does not wait for one.
    let _closed = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    let mut plain = site.connect();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _closed = plain.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("200"), "{heard:?}");
}

#[test]
fn x05_every_answer_says_what_may_run_in_it() {
    let site = Site::start(&[NOBODY]);
    for path in ["/", "/web/app.js", "/api/about", "/api/search", "/absent", "/healthz", "/api/search?q=*x"] {
        let answer = site.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn x05_what_is_typed_comes_back_as_json_only() {
    let site = Site::start(&[NOBODY]);
    for text in [
        "<script>alert(1)</script>:",
        "\"><img src=x onerror=alert(1)>",
        "javascript:alert(1) (",
        "\u{202e}\u{1b}[2J(",
        "*</title><svg onload=alert(1)>",
    ] {
        let answer = site.asked("/api/search", &[("q", text), ("f", text), ("from", text)]);
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")), "{text}");
        assert!(answer.json()["error"]["text"].is_string());
    }
}

#[test]
fn x04_there_are_no_files_but_those_of_the_page() {
    let site = Site::start(&[NOBODY]);
    for path in [
        "/../etc/passwd",
        "/web/../../etc/passwd",
        "/web/%2e%2e/%2e%2e/etc/passwd",
        "/web/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/web/",
        "/web/app.js%00.txt",
        "/index.html",
        "/.git/config",
    ] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
    for path in ["/a\0b", "/ä", "relative", ""] {
        let answer =
            site.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert!(matches!(answer.status, 400 | 404), "{path:?}: {answer:?}");
    }
}

#[test]
fn files_are_asked_for_again_and_mostly_unchanged() {
    let site = Site::start(&[NOBODY]);
    let page = site.get("/");
    let tag = page.header("etag").unwrap().to_owned();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let again = |known: &str| site.request("GET", "/", &[&format!("If-None-Match: {known}")], "");
    assert_eq!((again(&tag).status, &again(&tag).body[..]), (304, ""));
    assert_eq!(again(&format!("\"x\", W/{tag}")).status, 304);
    assert_eq!(again("\"x\"").status, 200);
    assert_eq!(site.request("HEAD", "/", &[], "").body, "");
    assert_eq!(site.request("POST", "/", &[], "").status, 403);
}

#[test]
fn x13_a_foreign_name_does_not_lead_here() {
    let site = Site::start(&[NOBODY, ("serve.hosts", "[\"logs.example.org\"]")]);
    for (host, status) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:9182", 200),
        ("localhost:1", 200),
        ("[::1]:9182", 200),
        ("logs.example.org", 200),
        ("LOGS.example.org:443", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("logs.example.org.evil.example", 403),
        ("localhost.evil.example:9182", 403),
        ("", 403),
    ] {
        let answer = site.request("GET", "/api/about", &[&format!("Host: {host}")], "");
        assert_eq!(answer.status, status, "{host}: {}", answer.body);
        assert!(status == 200 || !answer.body.contains("\"token\":\""), "{host}");
    }
    let twice = site.request("GET", "/api/about", &["Host: localhost", "Host: evil.example"], "");
    assert_eq!((twice.status, &twice.code()[..]), (400, "host"));
    let none = site.say("GET /api/about HTTP/1.0\r\n\r\n");
    assert_eq!(none.status, 400);
}

#[test]
fn x13_changes_come_from_our_own_page_with_its_word() {
    let site = Site::start(&[NOBODY]);
    let word = site.get("/api/about").json()["token"].as_str().unwrap().to_owned();
    let own = format!("Origin: http://{}", site.address);
    let word = format!("X-Logdrive-Token: {word}");
    let ways: [(&[&str], &str); 8] = [
        (&[], "origin"),
        (&[&word], "origin"),
        (&[&own], "token"),
        (&[&own, "X-Logdrive-Token: 00000000000000000000000000000000"], "token"),
        (&["Origin: http://evil.example", &word], "origin"),
        (&["Origin: null", &word], "origin"),
        (&[&own, &own, &word], "origin"),
        // Through the gate, and then there is no etcd.
        (&[&own, &word], "no_fleet"),
    ];
    for (head, code) in ways {
        let answer = site.request("POST", "/api/fleet/lint", head, "{\"name\":\"a\",\"group\":\"g\"}");
        assert_eq!(answer.code(), code, "{head:?}");
    }
    for method in ["PUT", "DELETE"] {
        assert_eq!(site.request(method, "/api/fleet/item", &[&own], "{}").code(), "token");
        // Nobody has logged in, so nothing is changed.
        assert_eq!(site.request(method, "/api/fleet/item", &[&own, &word], "{}").code(), "read_only");
    }
}

#[test]
fn x01_a_login_is_wanted_of_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let (password, token) = (secret(dir.path(), "p", "pass:word\n"), secret(dir.path(), "t", "s3cret\n"));
    let site = Site::start(&[
        NOBODY,
        ("serve.username", "ännä"),
        ("serve.password_file", &password),
        ("serve.token_file", &token),
    ]);
    let basic = |text: &str| {
        format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    for path in ["/", "/web/app.js", "/api/about", "/api/search", "/api/tail", "/absent"] {
        let answer = site.get(path);
        assert_eq!((answer.status, &answer.code()[..]), (401, "login"), "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    }
    assert_eq!(site.get("/healthz").status, 200, "that it lives is no secret");
    let status = |login: &str| site.request("GET", "/api/about", &[login], "").status;
    for good in [basic("ännä:pass:word"), basic("token:s3cret"), "Authorization: bearer s3cret".to_owned()]
    {
        assert_eq!(status(&good), 200, "{good}");
    }
    for bad in [
        basic("ännä:pass"),
        basic("other:pass:word"),
        basic("token:"),
        basic("ännä:s3cret"),
        basic("ännä"),
        "Authorization: Bearer pass:word".to_owned(),
        "Authorization: Basic !!!".to_owned(),
        "Authorization: s3cret".to_owned(),
    ] {
        assert_eq!(status(&bad), 401, "{bad}");
    }
    // Another password is one at once.
    secret(dir.path(), "t", "changed");
    assert_eq!((status("Authorization: Bearer s3cret"), status("Authorization: Bearer changed")), (401, 200));
}

const QUICK: Limits = Limits {
    head_timeout: Duration::from_millis(200),
    body_timeout: Duration::from_millis(200),
    write_timeout: Duration::from_millis(300),
    connections_max: 8,
};

#[test]
fn x03_who_says_nothing_or_half_of_it_is_closed() {
    let site = Site::with_limits(&[NOBODY], QUICK);
    let own = format!("Origin: http://{}", site.address);
    let word = site.get("/api/about").json()["token"].as_str().unwrap().to_owned();
    let halves = [
        String::new(),
        "GET / HTTP/1.1\r\nHost: local".to_owned(),
        format!(
            "POST /api/fleet/lint HTTP/1.1\r\nHost: {}\r\n{own}\r\nX-Logdrive-Token: {word}\r\nContent-Length: 100\r\n\r\n{{",
            site.address
        ),
    ];
    for half in halves {
        let mut stream = site.connect();
        stream.write_all(half.as_bytes()).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408"), "{half:?}: {heard}");
    }
}

#[test]
fn x03_a_thousand_silent_clients_keep_nobody_out() {
    let limits = Limits { connections_max: 32, ..Limits::default() };
    let site = Site::with_limits(&[NOBODY], limits);
    let mut silent = Vec::new();
    for _ in 0..1000 {
        let mut stream = site.connect();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        silent.push(stream);
    }
    assert_eq!(site.get("/healthz").body, "ok\n");
    let mut first = silent.swap_remove(0);
    let mut heard = Vec::new();
    let closed = first.read_to_end(&mut heard);
    assert!(closed.is_err() || heard.is_empty(), "the oldest had to go: {heard:?}");
}

#[test]
fn x02_a_head_or_body_without_end_is_refused() {
    let site = Site::start(&[NOBODY]);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let mut stream = site.connect();
    let _maybe_closed = stream.write_all(long.as_bytes());
    let mut heard = String::new();
    let _reset = stream.read_to_string(&mut heard);
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431"), "{heard}");
    let own = format!("Origin: http://{}", site.address);
    let word = format!("X-Logdrive-Token: {}", site.get("/api/about").json()["token"].as_str().unwrap());
    let answer = site.request("POST", "/api/fleet/lint", &[&own, &word], &"a".repeat(300_000));
    assert_eq!((answer.status, &answer.code()[..]), (413, "body"));
    for text in
        ["\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "{\"a\":1}\r\n\r\n"]
    {
        let mut stream = site.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400"), "{text:?}: {heard}");
    }
    assert_eq!(site.get("/healthz").status, 200);
}

#[test]
fn i04_an_opensearch_that_is_away_is_one_clear_line() {
    let site = Site::start(&[NOBODY]);
    for path in ["/api/search", "/api/counts", "/api/context?id=a", "/api/export"] {
        let answer = site.get(path);
        assert_eq!((answer.status, &answer.code()[..]), (502, "opensearch"), "{path}");
        let text = answer.json()["error"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("127.0.0.1:1: cannot connect") && !text.contains('\n'), "{text}");
    }
    assert_eq!(site.get("/api/tail").code(), "no_tail");
    assert_eq!(site.get("/api/fleet").code(), "no_fleet");
}

/// A socket that takes requests and answers none, as a server that is overloaded.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = format!("[\"http://{}\"]", listener.local_addr().unwrap());
    (listener, urls)
}

#[test]
fn a_search_that_nobody_waits_for_is_given_up() {
    let (listener, urls) = silence();
    let site = Site::start(&[("opensearch.urls", &urls), ("serve.timeout", "10m")]);
    let mut browser = site.connect();
    write!(browser, "GET /api/search HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut opensearch, _) = listener.accept().unwrap();
    let mut asked = [0; 16];
    opensearch.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"POST /logdrive-*");
    drop(browser);
    // At the end of its connection OpenSearch stops working on a search.
    let mut rest = Vec::new();
    opensearch.read_to_end(&mut rest).unwrap();
}

#[test]
fn an_opensearch_that_does_not_answer_is_one_clear_line() {
    let (_listener, urls) = silence();
    let site = Site::start(&[("opensearch.urls", &urls), ("serve.timeout", "100ms")]);
    let begun = Instant::now();
    let answer = site.get("/api/search");
    assert_eq!((answer.status, &answer.code()[..]), (504, "slow"), "after {:?}", begun.elapsed());
}

#[test]
fn x03_who_takes_nothing_of_an_answer_is_gone() {
    let (listener, urls) = silence();
    // There is room for one, and nobody who is being answered has to go.
    let limits =
        Limits { write_timeout: Duration::from_millis(200), connections_max: 1, ..Limits::default() };
    let site = Site::with_limits(&[("opensearch.urls", &urls), ("serve.timeout", "10m")], limits);
    let mut browser = site.connect();
    write!(browser, "GET /api/export?format=jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut opensearch, _) = listener.accept().unwrap();
    let answering = std::thread::spawn(move || {
        let line = "x".repeat(1 << 20);
        let hit = |n| format!(r#"{{"_id":"{n}","_source":{{"message":"{line}"}},"sort":[{n},"t",0,{n}]}}"#);
        let hits: Vec<String> = (0..32).map(hit).collect();
        let shards = r#""took":1,"timed_out":false,"_shards":{"total":1,"failed":0}"#;
        let body = format!(r#"{{{shards},"hits":{{"hits":[{}]}}}}"#, hits.join(","));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut seen = [0; 4096];
        while opensearch.read(&mut seen).is_ok_and(|bytes| bytes > 0) {
            if opensearch
                .write_all(head.as_bytes())
                .and_then(|()| opensearch.write_all(body.as_bytes()))
                .is_err()
            {
                break;
            }
        }
    });
    until_true("there is room again", || {
        let mut other = site.connect();
        let asked = other.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut heard = String::new();
        asked.and_then(|()| other.read_to_string(&mut heard)).is_ok() && heard.ends_with("ok\n")
    });
    drop(site);
    answering.join().unwrap();
}
