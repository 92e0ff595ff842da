//! A server with a page, and a client that says exactly what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use logdrive::config::{Setting, Typed};
use logdrive_search::config;
use logdrive_search::serve::{Limits, Serving};
use serde_json::Value;
use tokio::sync::oneshot;

/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It ends when this is dropped.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Settings for the command line.
pub(crate) fn typed(settings: &[(&str, &str)]) -> Typed {
    let setting = |(path, text): &(&str, &str)| Setting {
        flag: format!("--set {path}"),
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    Typed { settings: settings.iter().map(setting).collect(), ..Typed::default() }
}

impl Site {
    /// Serves with these settings, on a port of its own.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Site {
        Site::with_limits(settings, Limits::default())
    }

    /// The same with other bounds.
    pub(crate) fn with_limits(settings: &[(&str, &str)], limits: Limits) -> Site {
        let settings: Vec<_> = [("serve.listen", "127.0.0.1:0")].iter().chain(settings).copied().collect();
        let mut plan = config::serve(&typed(&settings)).unwrap_or_else(|refused| panic!("{refused}")).plan;
        plan.limits = limits;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving = Serving::start(plan).await.unwrap();
                tell.send(serving.address()).unwrap();
                tokio::select! {
                    () = serving.run() => {}
                    _ = stopped => {}
                }
            });
        });
        Site { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// A connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Says something and hears the whole answer; the connection must be closed at its end.
    pub(crate) fn say(&self, text: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::of(&answer)
    }

    /// Sends a request with these lines in its head.
    pub(crate) fn request(&self, method: &str, path: &str, head: &[&str], body: &str) -> Answer {
        let host = if head.iter().any(|line| line.to_lowercase().starts_with("host:")) {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.say(&format!("{method} {path} HTTP/1.1\r\n{host}{head}{length}Connection: close\r\n\r\n{body}"))
    }

    /// Gets something.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    /// What a question is answered; it must be.
    pub(crate) fn ask(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let answer = self.asked(path, params);
        assert_eq!(answer.status, 200, "{path} {params:?}: {}", answer.body);
        answer.json()
    }

    /// What a question is answered.
    pub(crate) fn asked(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        self.get(&format!("{path}?{query}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server has panicked");
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
        let text = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = text.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let head: Vec<_> = lines
            .map(|line| {
                line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap()
            })
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if head.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunked(&body);
        }
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// A line of its head.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }

    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of a failure.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no failure: {}", self.body))
            .to_owned()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n").expect("the length of a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let start = end + 2;
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
}

/// A file that only its owner can read.
pub(crate) fn secret(dir: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}
