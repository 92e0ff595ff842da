//! The agent as a process: started, asked, signalled, and never left behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::{until, until_true};

/// The binary under test.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_logdrive");

/// A command line that is not running yet.
#[derive(Debug)]
pub(crate) struct Launch {
    under: Vec<OsString>,
    arguments: Vec<OsString>,
    user: Option<u32>,
    http: Option<u16>,
}

impl Launch {
    /// `logdrive VERB`.
    pub(crate) fn verb(verb: &str) -> Launch {
        Launch { under: Vec::new(), arguments: vec![verb.into()], user: None, http: None }
    }

    /// `logdrive run` with its status at a free port.
    pub(crate) fn run() -> Launch {
        let port = free_port();
        let launch = Launch::verb("run").arg("--http").arg(format!("127.0.0.1:{port}"));
        Launch { http: Some(port), ..launch }
    }

    /// One more word.
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Launch {
        self.arguments.push(word.as_ref().into());
        self
    }

    /// More words, at blanks.
    pub(crate) fn args(self, words: &str) -> Launch {
        words.split_whitespace().fold(self, Launch::arg)
    }

    /// `--set KEY=VALUE`.
    pub(crate) fn set(self, setting: impl AsRef<OsStr>) -> Launch {
        self.arg("--set").arg(setting)
    }

    /// The whole command is run by another one that executes its arguments in its own process.
    pub(crate) fn under(mut self, command: &[&str]) -> Launch {
        let words: Vec<OsString> = command.iter().map(OsString::from).collect();
        self.under.splice(0..0, words);
        self
    }

    /// As another user; for tests that run as root.
    pub(crate) fn user(mut self, id: u32) -> Launch {
        self.user = Some(id);
        self
    }

    /// System calls of the agent fail as `strace -e inject=...` says. Each thread counts its own calls.
    pub(crate) fn injecting(self, rule: &str) -> Launch {
        self.injecting_at(&[], &[rule])
    }

    /// [`Launch::injecting`], several rules, and only for calls that concern these paths (or files in them, when
    /// they are named relative to a descriptor), if there are any.
    pub(crate) fn injecting_at(self, paths: &[PathBuf], rules: &[&str]) -> Launch {
        let calls: Vec<&str> = rules.iter().filter_map(|rule| rule.split(':').next()).collect();
        // The tracer is a grandchild, so that the agent keeps the process id that the test knows.
        let mut words: Vec<String> =
            ["strace", "-D", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned).into();
        words.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
        words.extend(rules.iter().flat_map(|rule| ["-e".to_owned(), format!("inject={rule}")]));
        let named = paths.iter().map(|path| path.to_str().expect("a plain path").to_owned());
        words.extend(named.flat_map(|path| ["-P".to_owned(), path]));
        self.under(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn command(&self) -> Command {
        let mut words =
            self.under.iter().cloned().chain([AGENT.into()]).chain(self.arguments.iter().cloned());
        let mut command = Command::new(words.next().expect("the agent's name at least"));
        command.args(words).stdin(Stdio::null()).stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Starts it.
    pub(crate) fn start(self) -> Agent {
        self.start_writing_to(Stdio::piped())
    }

    /// Starts it with another standard output than a pipe.
    pub(crate) fn start_writing_to(self, stdout: Stdio) -> Agent {
        let mut command = self.command();
        command.stdout(stdout);
        let mut child = spawn(&mut command);
        let stderr = Capture::of(child.stderr.take().expect("piped"));
        let stdout = child.stdout.take().map(Capture::of);
        Agent { child, stderr, stdout, http: self.http, over: false }
    }

    /// Starts it on a terminal, as somebody who sits there does.
    pub(crate) fn start_at(self, terminal: &OwnedFd) -> Agent {
        let mut command = self.command();
        let side = || terminal.try_clone().expect("descriptors are left");
        command.stdin(side()).stdout(side());
        let mut child = spawn(&mut command);
        let stderr = Capture::of(child.stderr.take().expect("piped"));
        Agent { child, stderr, stdout: None, http: self.http, over: false }
    }

    /// Runs it to its end, which has to come by itself.
    pub(crate) fn finish(self) -> Exit {
        self.start().exit()
    }
}

/// Between its birth and its exec a process holds what its parent had open, also the mock clusters'
/// sockets; one of them cannot listen again on its port meanwhile.
static BIRTHS: Mutex<()> = Mutex::new(());

/// Starts a process that holds nothing of this one.
pub(crate) fn spawn(command: &mut Command) -> Child {
    try_spawn(command).unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn try_spawn(command: &mut Command) -> std::io::Result<Child> {
    // SAFETY: two system calls, which touch no memory of this process.
    unsafe { command.pre_exec(be_on_its_own) };
    let _birth = BIRTHS.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Runs a program to its end, which must be a good one, and returns what it wrote.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    attempt(program, arguments).unwrap()
}

/// Runs a program to its end and returns what it wrote, or why that was no good one.
pub(crate) fn attempt(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = try_spawn(command).map_err(|error| format!("{program}: {error}"))?;
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(format!("{program} {arguments:?}: {output:?}")),
    }
}

/// Does something while no process is being born.
pub(crate) fn between_births<T>(act: impl FnOnce() -> T) -> T {
    let _none = BIRTHS.lock().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// The mock cluster's sockets and pipes are not closed on exec: an agent that held them would keep
/// connections open that the cluster has closed. And an agent does not outlive its test.
fn be_on_its_own() -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
    // SAFETY: the call marks descriptors of this process to be closed on exec, and no more.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A port that nobody has.
fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many neighbouring ports, below those that the kernel hands out, so that nobody gets them
/// in between.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 9_000) as u16;
    until("free ports", || {
        let port = first + NEXT.fetch_add(count, Ordering::Relaxed) % 9_000;
        (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()).then_some(port)
    })
}

/// What a process writes, as it comes.
#[derive(Debug)]
struct Capture {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Capture {
        let text = Arc::new(Mutex::new(Vec::new()));
        let filled = text.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                filled.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Capture { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Exit {
    /// It ended by itself with this code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Exit {
        assert_eq!(self.status.code(), Some(code), "{:?}\n{}{}", self.status, self.stdout, self.stderr);
        self
    }

    /// It said so on standard error.
    #[track_caller]
    pub(crate) fn saying(self, words: &[&str]) -> Exit {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in:\n{}", self.stderr);
        }
        self
    }
}

/// A running agent. Killed when dropped, and then its log is shown if the test has failed.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    stderr: Capture,
    stdout: Option<Capture>,
    http: Option<u16>,
    over: bool,
}

impl Agent {
    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// A file of `/proc` about it.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn exit(mut self) -> Exit {
        let child = &mut self.child;
        let status = until("the agent's end", || child.try_wait().unwrap());
        self.over = true;
        Exit {
            status,
            stdout: self.stdout.as_mut().map(Capture::whole).unwrap_or_default(),
            stderr: self.stderr.whole(),
        }
    }

    /// Whether it is still running.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM: drains, and ends with code 0.
    pub(crate) fn stop(self) -> Exit {
        self.signal(Signal::TERM);
        self.exit().with_code(0)
    }

    /// SIGKILL.
    pub(crate) fn kill(self) -> Exit {
        self.signal(Signal::KILL);
        let exit = self.exit();
        assert_eq!(exit.status.signal(), Some(9), "{exit:?}");
        exit
    }

    /// Stops it as a debugger or a paused machine would, until [`Paused::resume`].
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.signal(Signal::STOP);
        until_true("the agent is stopped", || {
            let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        });
        Paused(self)
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until a line of its log holds all these words.
    pub(crate) fn await_log(&mut self, words: &[&str]) -> String {
        let (stderr, child) = (&self.stderr, &mut self.child);
        until(&format!("a log line with {words:?}"), || {
            let line = find_line(&stderr.so_far(), words);
            if line.is_none()
                && let Some(status) = child.try_wait().unwrap()
            {
                panic!("the agent has ended with {status}:\n{}", stderr.so_far());
            }
            line
        })
    }

    /// How many lines of its log hold all these words.
    pub(crate) fn count_log(&self, words: &[&str]) -> usize {
        self.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Where its HTTP server is.
    pub(crate) fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.http.expect("it serves"))
    }

    /// What a path of its HTTP server answers: status and body.
    pub(crate) fn http(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http?)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, body.to_owned()))
    }

    /// Waits until it is ready: it has looked at every directory and Kafka answers.
    pub(crate) fn await_ready(&self) {
        until_true("/readyz says yes", || self.http("/readyz").is_some_and(|(code, _)| code == 200));
    }

    /// `/status`.
    pub(crate) fn status(&self) -> serde_json::Value {
        let (_, body) = until("/status", || self.http("/status").filter(|(code, _)| *code == 200));
        serde_json::from_str(&body).unwrap()
    }

    /// `/metrics`: the value of each series.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, body) = until("/metrics", || self.http("/metrics").filter(|(code, _)| *code == 200));
        let series = body.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// The sum of all series of one metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let of = |series: &str| series.split('{').next() == Some(name);
        self.metrics().iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// [`Agent::metric`] of an agent that may be gone.
    pub(crate) fn metric_now(&self, name: &str) -> Option<f64> {
        let (_, body) = self.http("/metrics")?;
        let of = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        Some(body.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What its descriptors lead to.
    pub(crate) fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.proc("fd")).unwrap().flatten();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }

    /// The most memory it had resident so far, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a running process");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let status = std::thread::panicking().then(|| self.http("/status")).flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (_, status) = status.unwrap_or_default();
            eprintln!("---- its status was:\n{}", &status[..status.len().min(60_000)]);
            eprintln!("---- the agent said:\n{}----", self.stderr.whole());
        }
    }
}

/// An agent that does not run for a while.
#[derive(Debug)]
pub(crate) struct Paused<'a>(&'a Agent);

impl Paused<'_> {
    /// Lets it run again.
    pub(crate) fn resume(self) {
        self.0.signal(Signal::CONT);
    }
}

/// The first line that holds all words.
pub(crate) fn find_line(text: &str, words: &[&str]) -> Option<String> {
    text.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
}
