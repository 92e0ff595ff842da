//! The formats of generated records: what a reader of each expects, and where a stamp is nothing odd in it.
//!
//! A draft is one record of an exact length with room left for the time and the stamp. Everything else
//! in it is made up once, when the pool is prepared. Values need no escaping in any of the formats.

use std::fmt::{self, Write as _};

use crate::civil::{Face, Style};
use crate::payload::GROUP_RECORDS;
use crate::random::Random;
use crate::stamp::STAMP_BYTES;

/// What records look like.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Format {
    /// The stamp, then the text of an access log without a time.
    Plain,
    /// nginx's `combined`, and the stamp as one more quoted field.
    Nginx,
    /// An object a line, the stamp its last member.
    Json,
    /// RFC 5424 without an octet count, the stamp a parameter of its structured data.
    Syslog,
    /// An error of a Java application with its stack trace: one record of several lines, the stamp at the
    /// end of the first.
    Java,
    /// What Kubernetes' container runtimes write, the stamp at the end of the message.
    Cri,
}

/// One record before its time and stamp are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    /// Without a line end.
    pub(crate) text: String,
    pub(crate) time_at: Option<usize>,
    pub(crate) stamp_at: usize,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] =
        [Format::Plain, Format::Nginx, Format::Json, Format::Syslog, Format::Java, Format::Cri];

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Nginx => "nginx",
            Format::Json => "json",
            Format::Syslog => "syslog",
            Format::Java => "java",
            Format::Cri => "cri",
        }
    }

    /// The lengths of records if nobody asks for others.
    #[must_use]
    pub fn line_bytes(self) -> &'static str {
        match self {
            Format::Plain => "100..300",
            Format::Nginx | Format::Syslog | Format::Cri => "200..400",
            Format::Json => "300..500",
            Format::Java => "600..3000",
        }
    }

    /// The shortest record.
    #[must_use]
    pub fn bytes_min(self) -> usize {
        self.composed(&mut Words { random: Random::new(0), terse: true }, 0, 0).text.len()
    }

    /// What writes its times.
    #[must_use]
    pub fn face(self) -> Face {
        Face::new(self.style())
    }

    /// How its times are written; plain records have none.
    fn style(self) -> Style {
        match self {
            Format::Nginx => Style::Access,
            Format::Plain | Format::Json => Style::Rfc3339 { digits: 3 },
            Format::Syslog => Style::Rfc3339 { digits: 6 },
            Format::Java => Style::Java,
            Format::Cri => Style::Rfc3339 { digits: 9 },
        }
    }

    /// A record of exactly `length` bytes, at least [`Format::bytes_min`], at this place of the pool.
    pub(crate) fn draft(self, random: &mut Random, at: usize, length: usize) -> Draft {
        // Once at random; a record that would be too long is made of the shortest words instead.
        for terse in [false, true] {
            let words = Words { random: Random::new(random.draw()), terse };
            let bytes = self.composed(&mut words.clone(), at, 0).text.len();
            if bytes <= length {
                return self.composed(&mut words.clone(), at, length - bytes);
            }
        }
        unreachable!("the shortest words fit into the shortest record")
    }

    /// A record whose variable part has this length. Everything is drawn before that part is, so that the
    /// same words with another length differ in nothing else.
    fn composed(self, words: &mut Words, at: usize, more: usize) -> Draft {
        let mut draft = Draft::default();
        match self {
            Format::Plain => plain(&mut draft, words, more),
            Format::Nginx => nginx(&mut draft, words, more),
            Format::Json => json(&mut draft, words, more),
            Format::Syslog => syslog(&mut draft, words, more),
            Format::Java => java(&mut draft, words, more),
            Format::Cri => cri(&mut draft, words, at, more),
        }
        draft
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Draft {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a String takes any text");
    }

    fn put_time(&mut self, format: Format) {
        self.time_at = Some(self.text.len());
        self.blank(format.style().bytes());
    }

    fn put_stamp(&mut self) {
        self.stamp_at = self.text.len();
        self.blank(STAMP_BYTES);
    }

    fn blank(&mut self, bytes: usize) {
        self.text.extend(std::iter::repeat_n(' ', bytes));
    }
}

fn plain(draft: &mut Draft, words: &mut Words, more: usize) {
    draft.put_stamp();
    draft.put(format_args!(" "));
    let mut text = String::new();
    while text.len() < more {
        if !text.is_empty() {
            text.push(' ');
        }
        let (client, request) = (words.below(1 << 7), words.pick(REQUESTS));
        let (id, status, bytes) = (words.below(1000), words.pick(STATUSES), words.below(1 << 8) * 16);
        let (ms, origin) = (words.below(100), words.pick(ORIGINS));
        let (net, host) = (client % 8, 100 + client);
        write!(text, "10.0.{net}.{host} {request}{id} {status} {bytes} {ms}ms {origin}")
            .expect("a String takes any text");
    }
    draft.put(format_args!("{}", &text[..more]));
}

fn nginx(draft: &mut Draft, words: &mut Words, more: usize) {
    let (client, request, id) = (words.below(1 << 7), words.pick(REQUESTS), words.below(1000));
    let (status, bytes, origin) = (words.pick(STATUSES), words.below(1 << 8) * 16, words.pick(ORIGINS));
    draft.put(format_args!("10.0.{}.{} - - [", client % 8, 100 + client));
    draft.put_time(Format::Nginx);
    let query = words.text("?q=", '+', more);
    draft.put(format_args!("] \"{request}{id}{query} HTTP/1.1\" {status} {bytes} {origin} \""));
    draft.put_stamp();
    draft.put(format_args!("\""));
}

fn json(draft: &mut Draft, words: &mut Words, more: usize) {
    let (level, service, ms) = (words.pick(LEVELS), words.pick(SERVICES), words.below(1000));
    let (trace, status) = (words.random.draw(), words.pick(STATUSES));
    draft.put(format_args!("{{\"time\":\""));
    draft.put_time(Format::Json);
    let message = words.text("", ' ', more);
    draft.put(format_args!(
        "\",\"level\":\"{level}\",\"service\":\"{service}\",\"trace\":\"{trace:016x}\",\
         \"message\":\"{message}\",\"status\":{status},\"ms\":{ms},\"stamp\":\""
    ));
    draft.put_stamp();
    draft.put(format_args!("\"}}"));
}

fn syslog(draft: &mut Draft, words: &mut Words, more: usize) {
    let (host, service) = (words.below(8), words.pick(SERVICES));
    let (process, id, priority) = (words.below(30_000) + 100, words.below(90) + 10, words.below(8));
    // Facility local0, severity as drawn.
    draft.put(format_args!("<{}>1 ", 16 * 8 + priority));
    draft.put_time(Format::Syslog);
    draft.put(format_args!(" web-{host}.example.com {service} {process} ID{id} [load@32473 stamp=\""));
    draft.put_stamp();
    let message = words.text("", ' ', more);
    draft.put(format_args!("\"] {message}"));
}

fn java(draft: &mut Draft, words: &mut Words, more: usize) {
    let (thread, id) = (words.below(16), words.below(1000));
    let (class, exception) = (words.pick(CLASSES), words.pick(EXCEPTIONS));
    let (mut frames, mut rest) = (String::new(), more);
    loop {
        let frame = words.frame();
        let Some(left) = rest.checked_sub(frame.len()) else { break };
        rest = left;
        frames.push_str(&frame);
    }
    draft.put_time(Format::Java);
    // What is too short for a frame goes to the message.
    let message = words.text(" ", ' ', rest);
    draft.put(format_args!(" ERROR [worker-{thread}] {class} - request {id} failed{message} [stamp="));
    draft.put_stamp();
    draft.put(format_args!("]\n{exception}: order {id}{frames}"));
}

fn cri(draft: &mut Draft, words: &mut Words, at: usize, more: usize) {
    // Of each group one message is in two parts, and of every fourth group all go to the other stream.
    let part = if at % GROUP_RECORDS == GROUP_RECORDS / 2 { 'P' } else { 'F' };
    let stream = if at / GROUP_RECORDS % 4 == 3 { "stderr" } else { "stdout" };
    let (stream, level) = (if words.terse { "stdout" } else { stream }, words.pick(LEVELS));
    let (service, ms) = (words.pick(SERVICES), words.below(1000));
    draft.put_time(Format::Cri);
    let message = words.text("", ' ', more);
    draft.put(format_args!(
        " {stream} {part} level={level} service={service} ms={ms} msg=\"{message}\" stamp=\""
    ));
    draft.put_stamp();
    draft.put(format_args!("\""));
}

/// Draws what records are made of. Terse words are the shortest there are.
#[derive(Clone)]
struct Words {
    random: Random,
    terse: bool,
}

impl Words {
    /// A number in `0..bound`.
    fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.random.below(bound);
        if self.terse { 0 } else { drawn }
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let drawn = choices[self.random.below(choices.len() as u64) as usize];
        let shortest = choices.iter().min_by_key(|choice| choice.len()).copied().unwrap_or(drawn);
        if self.terse { shortest } else { drawn }
    }

    /// Exactly so many bytes: what they begin with, and words from there on.
    fn text(&mut self, begin: &str, between: char, bytes: usize) -> String {
        let mut text = String::from(begin);
        while text.len() < bytes {
            let (word, number) = (self.random.below(TEXT.len() as u64), self.random.below(40));
            text.push_str(TEXT[word as usize]);
            text.push(between);
            if number < 10 {
                write!(text, "{number}{between}").expect("a String takes any text");
            }
        }
        text.truncate(bytes);
        text
    }

    /// A line of a stack trace, with the line end before it.
    fn frame(&mut self) -> String {
        let class = CLASSES[self.random.below(CLASSES.len() as u64) as usize];
        let method = METHODS[self.random.below(METHODS.len() as u64) as usize];
        let file = class.rsplit('.').next().unwrap_or(class);
        format!("\n\tat {class}.{method}({file}.java:{})", 10 + self.random.below(290))
    }
}

const REQUESTS: &[&str] = &[
    "GET /api/v2/orders/",
    "GET /api/v2/items/",
    "GET /shop/basket/",
    "GET /shop/catalog/",
    "GET /search/stock/",
    "GET /images/picture/",
    "GET /account/profile/",
    "GET /account/invoice/",
    "POST /api/v2/orders/",
    "POST /api/v2/payment/",
    "POST /account/session/",
    "PUT /shop/voucher/",
    "HEAD /images/picture/",
    "DELETE /shop/basket/",
];
const STATUSES: &[&str] = &["200", "200", "200", "200", "200", "200", "304", "302", "404", "503"];
const ORIGINS: &[&str] = &[
    "\"https://www.example.com/catalog\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
    "\"https://shop.example.com/basket\" \"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/127.0\"",
    "\"https://shop.example.com/search\" \"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148\"",
    "\"https://m.example.com/\" \"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/127.0 Mobile\"",
    "\"-\" \"okhttp/4.12.0\"",
    "\"-\" \"curl/8.9.1\"",
];
const LEVELS: &[&str] = &["info", "info", "info", "info", "debug", "warn", "error"];
const SERVICES: &[&str] = &["orders", "payment", "basket", "catalog", "search", "session"];
const CLASSES: &[&str] = &[
    "com.example.shop.OrderService",
    "com.example.shop.BasketStore",
    "com.example.pay.PaymentClient",
    "com.example.web.RequestFilter",
    "com.example.data.ConnectionPool",
    "java.util.concurrent.ThreadPoolExecutor",
    "java.util.HashMap",
    "java.lang.Thread",
];
const METHODS: &[&str] = &["run", "execute", "submit", "accept", "doFilter", "findOrder", "lambda$send$0"];
const EXCEPTIONS: &[&str] = &[
    "java.lang.IllegalStateException",
    "java.lang.NullPointerException",
    "java.net.SocketTimeoutException",
    "com.example.pay.PaymentRefusedException",
];
const TEXT: &[&str] = &[
    "order", "accepted", "for", "customer", "basket", "with", "items", "payment", "by", "card", "was",
    "sent", "stock", "reserved", "in", "store", "price", "of", "voucher", "applied", "to", "session",
    "after", "login",
];

#[cfg(test)]
mod tests;
