//! What anybody may send to the HTTP server, over a real connection.
//!
//! Input: one byte that says into how many pieces the rest is cut for writing (they may arrive together),
//! then the bytes of a connection, which is closed for writing behind them.
//!
//! What is judged: answers that are complete, each as HTTP says, with a status that the server may give,
//! and nothing between or behind them; or the connection is closed. The server's thread does not panic.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use logdrive::http::{HttpLimits, HttpServer};
use logdrive::metrics::Metrics;

#[path = "../../tests/http_driver/mod.rs"]
mod http_driver;

/// The server closes every connection before.
const PATIENCE: Duration = Duration::from_secs(60);

static PANICS: AtomicUsize = AtomicUsize::new(0);

static SERVER: LazyLock<HttpServer> = LazyLock::new(|| {
    // A panic would only end the connection, which is no more than a client may expect.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(usize::from(std::thread::current().name() == Some("http")), Ordering::SeqCst);
        before(panic);
    }));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let metrics = Arc::new(Metrics::new("1.2.3"));
    HttpServer::start(listen, HttpLimits::default(), metrics, http_driver::driver("")).expect("a free port")
});

/// Runs one input.
///
/// # Panics
/// If the server panics, or answers with what is no HTTP.
pub fn run(input: &[u8]) {
    let Some((&pieces, request)) = input.split_first() else { return };
    let (answer, whole) = exchange(request, usize::from(pieces % 4) + 1);
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "the server panicked");
    if let Err(wrong) = judge(&answer, whole) {
        panic!("{wrong}: {:?}", String::from_utf8_lossy(&answer));
    }
}

/// Sends the bytes; what comes back, and whether that is all of it.
fn exchange(request: &[u8], pieces: usize) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(SERVER.address()).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("a socket");
    for piece in request.chunks(request.len().div_ceil(pieces).max(1)) {
        // It may have answered and closed before it was all written.
        let _cut = stream.write_all(piece);
    }
    let _cut = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => (answer, true),
        // Closed with bytes of ours unread, which may cost the end of the answer.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (answer, false),
        Err(error) => panic!("the connection stays open: {error}"),
    }
}

/// The status of each answer, or what is wrong with them. What is not `whole` may end anywhere.
///
/// # Errors
/// What is wrong.
pub fn judge(answers: &[u8], whole: bool) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    let mut rest = answers;
    while !rest.is_empty() {
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if whole {
                Err("an answer without the end of its header".to_owned())
            } else {
                Ok(statuses)
            };
        };
        let head = std::str::from_utf8(&rest[..end]).map_err(|_| "a header that is no text")?;
        rest = &rest[end + 4..];
        let (status, length) = header(head)?;
        statuses.push(status);
        // The answer to HEAD tells a length and has no body. No body of ours begins like an answer.
        if !rest.is_empty() && !rest.starts_with(b"HTTP/1.") {
            if rest.len() < length && whole {
                return Err(format!("a body of {} bytes, where {length} are told", rest.len()));
            }
            rest = &rest[length.min(rest.len())..];
        }
    }
    Ok(statuses)
}

/// Status and length of one answer.
fn header(head: &str) -> Result<(u16, usize), String> {
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").or_else(|| status_line.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let status = status.ok_or_else(|| format!("no status: {status_line:?}"))?;
    if !matches!(status, 200 | 400..=499) {
        return Err(format!("status {status}"));
    }
    let (mut length, mut safe) = (0, 0);
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no header: {line:?}"))?;
        match (name, value) {
            ("content-length", length_told) => {
                length = length_told.parse().map_err(|_| format!("no length: {line:?}"))?;
            }
            ("transfer-encoding", _) => return Err("an encoding that the server does not use".to_owned()),
            ("x-content-type-options", "nosniff") | ("cache-control", "no-store") => safe += 1,
            _ => {}
        }
    }
    if status == 200 && safe != 2 {
        return Err("a page without its protection".to_owned());
    }
    Ok((status, length))
}
