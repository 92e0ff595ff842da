//! A headless Chromium, told what to do over its DevTools protocol: JSON through two pipes, each message ended by a NUL.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::wait::until;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One browser with one page. Killed when dropped.
pub(crate) struct Chromium {
    child: Child,
    to: File,
    from: Receiver<Value>,
    session: Option<String>,
    id: u64,
    /// What the page and the browser complain about.
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts the Chromium of `LOGDRIVE_CHROMIUM`.
    pub(crate) fn start() -> Chromium {
        let program =
            std::env::var("LOGDRIVE_CHROMIUM").expect("LOGDRIVE_CHROMIUM is the path of a Chromium");
        let profile = tempfile::Builder::new().prefix("logdrive-").tempdir().unwrap();
        let [to, from] = ["to", "from"].map(|name| profile.path().join(name));
        for pipe in [&to, &from] {
            rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }
        let mut command = Command::new("/bin/sh");
        // It reads from descriptor 3 and writes to 4.
        command.args(["-c", "exec \"$0\" \"$@\" 3<\"$TO\" 4>\"$FROM\""]).arg(program).args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--lang=en-US",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        command.env("TO", &to).env("FROM", &from);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        // Each of these waits for the other side, in the order of the shell.
        let to = File::options().write(true).open(&to).unwrap();
        let from = File::open(&from).unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Chromium {
            child,
            to,
            from: receiver,
            session: None,
            id: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({}));
        }
        browser.size(1360, 900);
        browser
    }

    /// Does something, and hears what comes of it.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let mut message = json!({ "id": self.id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let message = self.from.recv_timeout(PATIENCE).expect("Chromium answers");
            if message["id"] == self.id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    /// What was complained about since this was asked last.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.eval("0");
        std::mem::take(&mut self.complaints)
    }

    /// Goes somewhere.
    pub(crate) fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression, waited for if it is a promise.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let outcome = self.call("Runtime.evaluate", params);
        assert!(outcome["exceptionDetails"].is_null(), "{expression}: {}", outcome["exceptionDetails"]);
        outcome["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        until(expression, || {
            let params = json!({ "expression": expression, "returnByValue": true });
            // While a page is being left there is nothing to ask.
            let outcome = self.call("Runtime.evaluate", params);
            let value = &outcome["result"]["value"];
            (!matches!(value, Value::Null | Value::Bool(false)) && *value != "" && *value != 0).then_some(())
        });
    }

    /// The text of the first element of a kind.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let expression = format!("document.querySelector({selector:?})?.innerText ?? ''");
        self.eval(&expression).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the first element of a kind, as its owner would.
    pub(crate) fn click(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Presses a key, or types a character.
    pub(crate) fn key(&mut self, key: &str) {
        let mut event = json!({ "type": "keyDown", "key": key });
        match key {
            "Enter" => {
                event["text"] = "\r".into();
                event["windowsVirtualKeyCode"] = 13.into();
            }
            // The browser itself closes dialogs by it, and goes by its code.
            "Escape" => event["windowsVirtualKeyCode"] = 27.into(),
            _ if key.chars().count() == 1 => event["text"] = key.into(),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Types into the search box, and searches.
    pub(crate) fn search(&mut self, query: &str) {
        self.eval("document.getElementById('q').focus(), document.getElementById('q').select()");
        match query {
            "" => self.eval("document.getElementById('q').value = ''"),
            _ => self.call("Input.insertText", json!({ "text": query })),
        };
        self.key("Enter");
    }

    /// Drags with the mouse, in pixels of the page.
    pub(crate) fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let mut mouse = |kind: &str, (x, y): (f64, f64), buttons: u32| {
            let button = if kind == "mouseMoved" && buttons == 0 { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        };
        mouse("mouseMoved", from, 0);
        mouse("mousePressed", from, 1);
        mouse("mouseMoved", ((from.0 + to.0) / 2.0, to.1), 1);
        mouse("mouseMoved", to, 1);
        mouse("mouseReleased", to, 0);
    }

    /// The size of the window, in its pixels.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Whether its user likes it dark.
    pub(crate) fn dark(&mut self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of what is seen.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = pictures() else { return };
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }
}

/// Where pictures are put: the folder that `LOGDRIVE_PICTURES` names, if it does.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("LOGDRIVE_PICTURES").map(|folder| Path::new(&folder).to_owned())
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its children go with it.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
