//! Asks a running agent how it does: one `GET /status` on this host.
//!
//! The other end may be anything that listens there: what it sends is bounded in time and size, and only what
//! reads as a status is one. Not here: what is made of the answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::status::StatusReport;

/// An agent gives up on its own driver after 3 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// About 500 bytes for each file, and a million files.
const BODY_BYTES_MAX: usize = 512 << 20;
/// What is shown of an answer that is none.
const SHOWN_CHARS_MAX: usize = 80;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no agent answers at {address}: {cause}; is one running on this host, and is this its `[http] listen`? \
         try --http ADDRESS or --config FILE"
    )]
    Nobody {
        /// Where.
        address: SocketAddr,
        /// What the system says; part of the text.
        cause: std::io::Error,
    },
    /// Somebody listens, and that was all.
    #[error("no answer from {address} within {} s: the agent may be stopped or very busy", PATIENCE.as_secs())]
    Silence {
        /// Where.
        address: SocketAddr,
    },
    /// The agent says that it cannot.
    #[error("the agent at {address} cannot tell: {why}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// In its words.
        why: String,
    },
    /// What came is no status.
    #[error("what answers at {address} is no logdrive agent of this version: {why}")]
    Stranger {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        why: String,
    },
}

/// A status as it came.
#[derive(Debug)]
pub struct Answer {
    /// The JSON document.
    pub body: Bytes,
    /// What it says.
    pub report: StatusReport,
}

/// [`status`] for whoever has no runtime.
///
/// # Errors
/// As there, and when the system has no descriptors left.
pub fn status_now(address: SocketAddr) -> anyhow::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(status(address))?)
}

/// What the agent at this address says of itself.
///
/// # Errors
/// There is none, or it does not answer like one.
pub async fn status(address: SocketAddr) -> Result<Answer, AskError> {
    let exchange = tokio::time::timeout(PATIENCE, exchange(address)).await;
    let (code, body) = exchange.map_err(|_| AskError::Silence { address })??;
    let words = || {
        let text = String::from_utf8_lossy(&body);
        text.trim().chars().take(SHOWN_CHARS_MAX).collect::<String>()
    };
    match code {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => return Err(AskError::Refused { address, why: words() }),
        _ => return Err(AskError::Stranger { address, why: format!("{code}: {}", words()) }),
    }
    match serde_json::from_slice(&body) {
        Ok(report) => Ok(Answer { body, report }),
        Err(error) => Err(AskError::Stranger { address, why: error.to_string() }),
    }
}

async fn exchange(address: SocketAddr) -> Result<(StatusCode, Bytes), AskError> {
    let stranger = |error: &dyn std::fmt::Display| AskError::Stranger { address, why: error.to_string() };
    let stream = TcpStream::connect(address).await.map_err(|cause| AskError::Nobody { address, cause })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| stranger(&error))?;
    let request = Request::get("/status")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("constant but for an address");
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| stranger(&error))?;
        let code = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        Ok((code, body.map_err(|error| stranger(&error))?.to_bytes()))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection ends when all has come, or with an error that the answer tells as well.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is said of a server that answers so.
    fn asked(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            assert!(request.starts_with("get /status http/1.1\r\nhost: 127.0.0.1:"), "{request}");
            stream.write_all(answer).unwrap();
        });
        let error = status_now(address).unwrap_err().to_string();
        server.join().unwrap();
        error.replace(&address.to_string(), "ADDRESS")
    }

    #[test]
    fn whatever_answers_there_is_told_in_one_line() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = status_now(free).unwrap_err().to_string();
        assert!(nobody.contains("Connection refused") && nobody.contains("try --http"), "{nobody}");
        let cases: [(&'static [u8], &str); 6] = [
            (b"", "is no logdrive agent"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "is no logdrive agent"),
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone", "404 Not Found: none"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "missing field"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{", "is no logdrive agent"),
            (
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 30\r\n\r\nthe agent does not respond\r\n\r\n",
                "the agent at ADDRESS cannot tell: the agent does not respond",
            ),
        ];
        for (answer, words) in cases {
            let told = asked(answer);
            assert!(told.contains(words) && !told.contains('\n'), "{}: {told}", answer.escape_ascii());
        }
    }
}
