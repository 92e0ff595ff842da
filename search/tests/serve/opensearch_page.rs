//! What the page is answered, of lines that an indexer has put into a real OpenSearch.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::site::Site;
use crate::stage::Stage;
use crate::wait::until_true;

/// Lines of each file.
const LINES: u64 = 1000;
/// Hosts, each with one file.
pub(crate) const HOSTS: [&str; 3] = ["web-1", "web-2", "db-1"];
/// Where the files are.
const PATH: &str = "/var/log/app/server.log";

/// Lines that somebody would rather not have in a page.
pub(crate) const HOSTILE: [&str; 7] = [
    "<script>document.title='taken'</script> hostile",
    "\"><img src=x onerror=\"document.title='taken'\"> hostile",
    "<a href=\"javascript:document.title='taken'\">click</a> hostile",
    "hostile \u{1b}[31mred\u{1b}[0m \u{7}bell \u{8}back",
    "hostile \u{202e}gnp.exe\u{202c} \u{2066}isolated\u{2069} \u{200b}nothing",
    "hostile </mark></span><style>*{display:none}</style>",
    "hostile Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: 连接被拒绝",
];

/// Sends lines as an agent with headers does.
pub(crate) struct Sender {
    producer: BaseProducer,
    topic: String,
    offsets: [u64; HOSTS.len()],
}

impl Sender {
    pub(crate) fn new(stage: &Stage) -> Sender {
        let producer = ClientConfig::new().set("bootstrap.servers", &stage.brokers).create().unwrap();
        Sender { producer, topic: stage.topic.clone(), offsets: [0; HOSTS.len()] }
    }

    /// A line of one host's file, as written so many milliseconds ago.
    pub(crate) fn line(&mut self, host: usize, text: &str, ago_ms: i64) {
        let offset = self.offsets[host];
        self.offsets[host] += text.len() as u64 + 1;
        let (generation, offset) = (format!("{:016x}", host + 1), offset.to_string());
        let header = |key, value| Header { key, value: Some(value) };
        let headers = OwnedHeaders::new()
            .insert(header("host", HOSTS[host]))
            .insert(header("path", PATH))
            .insert(header("generation", &generation))
            .insert(header("offset", &offset));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let record: BaseRecord<'_, (), str> = BaseRecord::to(&self.topic)
            .partition(i32::try_from(host).unwrap() % 2)
            .payload(text)
            .headers(headers)
            .timestamp(i64::try_from(now.as_millis()).unwrap() - ago_ms);
        let mut record = record;
        while let Err((_full, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }
}

/// The lines of a quarter of an hour, one after the other: some of them tell of trouble.
fn story(n: u64) -> String {
    match n % 50 {
        0 => format!(
            "ERROR [pool-{}] c.example.shop.Cart - connection refused by 10.0.0.{}:5432 after {n} ms",
            n % 7,
            n % 250
        ),
        10 | 30 => {
            format!("WARN [pool-{}] c.example.shop.Cart - slow query: {n} ms for user_id={}", n % 7, n % 90)
        }
        20 => format!("DEBUG cache miss for key session:{n:08x}"),
        _ => format!("INFO GET /api/v1/items/{} 200 {}ms", n % 400, n % 180),
    }
}

/// A stage with lines in its index; and who sends more.
pub(crate) fn staged() -> (Stage, Sender) {
    let stage = Stage::new(2);
    let mut sender = Sender::new(&stage);
    for n in 0..LINES {
        for host in 0..HOSTS.len() {
            sender.line(host, &story(n + host as u64 * 17), (LINES - n) as i64 * 800 + 3000);
        }
    }
    for text in HOSTILE {
        sender.line(1, text, 2000);
    }
    sender.flush();
    let all = LINES * HOSTS.len() as u64 + HOSTILE.len() as u64;
    let member = stage.member();
    until_true("every line can be found", || stage.count() == all);
    member.stop();
    (stage, sender)
}

/// A page over the indexes and topics of a stage.
pub(crate) fn site(stage: &Stage, more: &[(&str, &str)]) -> Site {
    let urls = format!("[\"http://{}\"]", stage.opensearch);
    let topics = format!("[\"{}\"]", stage.topic);
    let own = [
        ("opensearch.urls", &urls[..]),
        ("index.prefix", &stage.prefix),
        ("kafka.brokers", &stage.brokers),
        ("serve.topics", &topics),
    ];
    Site::start(&[&own, more].concat())
}

fn messages(lines: &Value) -> Vec<String> {
    let text = |line: &Value| {
        line["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect::<String>()
    };
    lines.as_array().unwrap().iter().map(text).collect()
}

#[test]
#[ignore = "needs a Kafka and an OpenSearch"]
fn opensearch_lines_are_found_counted_and_put_in_their_place() {
    let (stage, _sender) = staged();
    let site = site(&stage, &[]);
    finds_lines(&site);
    pages_through_all(&site);
    counts(&site);
    shows_surroundings(&site);
    exports(&site);
    refuses_in_words(&site);
}

fn finds_lines(site: &Site) {
    let total = |q: &str, f: &[&str]| {
        let mut params = vec![("q", q), ("from", "now-1h"), ("to", "now")];
        params.extend(f.iter().map(|filter| ("f", *filter)));
        let found = site.ask("/api/search", &params);
        assert_eq!(found["warnings"], json!([]), "{q}");
        found["total"]["value"].as_u64().unwrap()
    };
    let all = LINES * 3 + HOSTILE.len() as u64;
    assert_eq!(total("", &[]), all);
    assert_eq!(total("*", &[]), all);
    assert_eq!(total("\"connection refused\"", &[]), 60);
    assert_eq!(total("refused connection", &[]), 60);
    assert_eq!(total("\"refused connection\"", &[]), 0);
    assert_eq!(total("CONNECTION refus*", &[]), 60);
    assert_eq!(total("refu?ed", &[]), 60);
    assert_eq!(total("example.shop.Ca*t", &[]), 180);
    assert_eq!(total("host:web-*", &[]), LINES * 2 + HOSTILE.len() as u64);
    assert_eq!(total("host:db-1 refused", &[]), 20);
    assert_eq!(total("refused OR slow -host:web-1", &[]), 60 + 80, "NOT binds to what stands beside it");
    assert_eq!(total("(refused OR slow) -host:web-1", &[]), 40 + 80);
    assert_eq!(total("-host:*", &[]), 0);
    assert_eq!(total("offset:0", &[]), 3);
    assert_eq!(total("offset:[0 TO 10]", &[]), 3);
    assert_eq!(total("absent_field:*", &[]), 0);
    assert_eq!(total("absent_field:x OR kafka.partition:>0", &[]), LINES + HOSTILE.len() as u64);
    assert_eq!(total("file:/var/log/*.log", &[]), all);
    assert_eq!(total("连接被拒绝", &[]), 1);
    assert_eq!(total("", &["host:web-1"]), LINES);
    assert_eq!(total("", &["host:web-1", "host:db-1"]), LINES * 2);
    assert_eq!(total("refused", &["-host:web-1"]), 40);
    assert_eq!(total("", &["host:"]), 0);
    let found =
        site.ask("/api/search", &[("q", "\"connection refused\""), ("from", "now-1h"), ("size", "3")]);
    assert_eq!(found["lines"][0]["parts"][1], "connection refused", "what was looked for is marked");
    assert_eq!(found["lines"][0]["fields"]["log.file.path"], PATH);
}

fn pages_through_all(site: &Site) {
    let mut seen = std::collections::BTreeSet::new();
    let mut times = Vec::new();
    let mut after = String::new();
    let to = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    loop {
        let params = [("from", "now-1h"), ("to", &to), ("size", "500"), ("after", &after)];
        let found = site.ask("/api/search", &params);
        let lines = found["lines"].as_array().unwrap();
        if lines.is_empty() {
            break;
        }
        for line in lines {
            assert!(seen.insert(line["id"].as_str().unwrap().to_owned()), "twice: {line}");
            times.push(line["time"].as_i64().unwrap());
        }
        after = found["next"].to_string();
    }
    assert_eq!(seen.len() as u64, LINES * 3 + HOSTILE.len() as u64);
    assert!(times.is_sorted_by(|a, b| a >= b), "the newest first");
}

fn counts(site: &Site) {
    let counted = site.ask("/api/counts", &[("q", "refused"), ("from", "now-1h")]);
    let bars = counted["bars"].as_array().unwrap();
    let sum: u64 = bars.iter().map(|bar| bar[2].as_u64().unwrap()).sum();
    assert_eq!((sum, &counted["total"]), (60, &json!({ "value": 60, "exact": true })));
    assert!(bars.len() > 5 && counted["bar_ms"] == 60_000, "{counted}");
    let facet = |name: &str| {
        let facets = counted["facets"].as_array().unwrap();
        facets.iter().find(|facet| facet["field"] == name).unwrap().clone()
    };
    let mut hosts = facet("host")["values"].as_array().unwrap().clone();
    hosts.sort_by_key(|value| value[0].to_string());
    assert_eq!(hosts, [json!(["db-1", 20]), json!(["web-1", 20]), json!(["web-2", 20])]);
    assert_eq!(facet("file")["values"], json!([[PATH, 60]]));
    let level = facet("level");
    let known: u64 = level["values"].as_array().unwrap().iter().map(|value| value[1].as_u64().unwrap()).sum();
    assert_eq!(known + level["none"].as_u64().unwrap(), 60);
}

fn shows_surroundings(site: &Site) {
    let found =
        site.ask("/api/search", &[("q", "host:web-2 offset:>0 \"connection refused\""), ("from", "now-1h")]);
    let line = &found["lines"][10];
    let id = line["id"].as_str().unwrap();
    let around = site.ask("/api/context", &[("id", id), ("before", "5"), ("after", "5")]);
    assert_eq!((&around["kind"], &around["line"]["id"]), (&json!("file"), &line["id"]));
    let offset = |line: &Value| line["fields"]["log.offset"].as_str().unwrap().parse::<u64>().unwrap();
    let all: Vec<&Value> = [&around["before"], &json!([around["line"]]), &around["after"]]
        .into_iter()
        .flat_map(|lines| lines.as_array().unwrap().clone())
        .map(|line| &*Box::leak(Box::new(line)))
        .collect();
    assert_eq!(all.len(), 11);
    for pair in all.windows(2) {
        let length = messages(&json!([pair[0]]))[0].len() as u64 + 1;
        assert_eq!(offset(pair[1]), offset(pair[0]) + length, "each line begins where the one before ends");
        assert_eq!(pair[1]["fields"]["host.name"], "web-2");
    }
    let first = site.ask("/api/search", &[("q", "host:web-2 offset:0"), ("from", "now-1h")]);
    let id = first["lines"][0]["id"].as_str().unwrap();
    let around = site.ask("/api/context", &[("id", id), ("after", "3")]);
    assert_eq!((around["is_first"].clone(), around["is_last"].clone()), (json!(true), json!(false)));
    assert_eq!(site.asked("/api/context", &[("id", "nobody/1/2/3")]).code(), "no_line");
}

fn exports(site: &Site) {
    let params = [("q", "host:web-1"), ("from", "now-1h"), ("format", "text")];
    let answer = site.asked("/api/export", &params);
    assert!(answer.header("content-disposition").unwrap().starts_with("attachment"));
    let expected: Vec<String> = (0..LINES).map(story).collect();
    assert_eq!(answer.body.lines().collect::<Vec<_>>(), expected, "as they were written, and in their order");
    let answer = site.asked("/api/export", &[("q", "hostile"), ("from", "now-1h"), ("format", "jsonl")]);
    let documents: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = documents.iter().map(|document| document["message"].as_str().unwrap()).collect();
    assert_eq!(told, HOSTILE);
    let few = site.asked("/api/export", &[("from", "now-1h"), ("lines", "1234"), ("format", "jsonl")]);
    assert_eq!(few.body.lines().count(), 1234);
}

fn refuses_in_words(site: &Site) {
    // OpenSearch itself refuses some of what is written rightly: a number field has no words.
    let answer =
        site.asked("/api/search", &[("q", "kafka.offset:[1 TO 5] log.offset:7 wide:>1"), ("from", "now-1h")]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let vague = "aa* bb* ".repeat(3);
    assert_eq!(site.asked("/api/search", &[("q", &vague), ("from", "now-1h")]).status, 200);
    let answer = site.asked("/api/search", &[("from", "now"), ("to", "now-1h")]);
    assert_eq!((answer.status, &answer.code()[..]), (400, "range"));
}

#[test]
#[ignore = "needs a Kafka and an OpenSearch"]
fn opensearch_without_an_index_is_one_clear_line() {
    let stage = Stage::new(1);
    let site = site(&stage, &[]);
    let found = site.ask("/api/search", &[]);
    assert_eq!((&found["lines"], &found["warnings"][0]["code"]), (&json!([]), &json!("no_index")));
    let counted = site.ask("/api/counts", &[]);
    assert_eq!((&counted["bars"], &counted["warnings"][0]["code"]), (&json!([]), &json!("no_index")));
    assert_eq!(site.asked("/api/export", &[]).body, "");
}

/// The events of a stream, as they come.
struct Events(BufReader<std::net::TcpStream>);

impl Events {
    fn of(site: &Site, query: &str) -> Events {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let mut stream = site.connect();
        write!(stream, "GET /api/tail?q={query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Events(BufReader::new(stream))
    }

    /// The data of the next event of this name.
    fn next(&mut self, name: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if line.trim_end() != format!("event: {name}") {
                continue;
            }
            line.clear();
            self.0.read_line(&mut line).unwrap();
            return serde_json::from_str(line.trim_end().strip_prefix("data: ").unwrap()).unwrap();
        }
    }

    fn until_live(&mut self) {
        while self.next("state")["state"] != "live" {}
    }
}

#[test]
#[ignore = "needs a Kafka and an OpenSearch"]
fn opensearch_is_not_asked_for_lines_that_come_live() {
    let stage = Stage::new(2);
    let mut sender = Sender::new(&stage);
    sender.line(0, "refused before anybody looked", 0);
    sender.flush();
    let site = site(&stage, &[]);
    let mut some = Events::of(&site, "refused host:web-*");
    let mut all = Events::of(&site, "");
    some.until_live();
    all.until_live();
    for (host, text) in [(0, "all is well"), (1, "connection refused"), (2, "refused elsewhere")] {
        sender.line(host, text, 0);
    }
    sender.flush();
    let lines = some.next("lines");
    assert_eq!(
        (messages(&lines["lines"]), &lines["skipped"]),
        (vec!["connection refused".to_owned()], &json!(0))
    );
    assert_eq!(lines["lines"][0]["parts"], json!(["connection ", "refused", ""]));
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(messages(&all.next("lines")["lines"]));
    }
    heard.sort();
    assert_eq!(heard, ["all is well", "connection refused", "refused elsewhere"]);
    // What came live has the name that it has in the index.
    let member = stage.member();
    until_true("the lines can be found", || stage.count() == 4);
    member.stop();
    let id = lines["lines"][0]["id"].as_str().unwrap();
    assert_eq!(messages(&json!([site.ask("/api/context", &[("id", id)])["line"]])), ["connection refused"]);
}
