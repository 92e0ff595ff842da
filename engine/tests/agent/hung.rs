//! F11: a file system whose server does not answer, made of the kernel's FUSE and a few lines.
//!
//! The server speaks the protocol of `linux/fuse.h` over `/dev/fuse` itself: one directory, one file.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;

use crate::lines::{Family, assert_complete, values};
use crate::site::{Site, is_root};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const ROOT: u64 = 1;
const FILE: u64 = 2;
const NAME: &[u8] = b"far.log";
/// Length, operation, request, node, user, group, process.
const HEADER_BYTES: usize = 40;
/// How the server wants its file to be read: through the page cache, or each read asked of it.
const CACHED: u32 = 0;
const DIRECT_IO: u32 = 1;
/// Of [`INIT`]: reads ahead are not waited for.
const ASYNC_READ: u32 = 1;

/// How the server serves.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Mood {
    Serving,
    /// It does not even take requests.
    Stopped,
    /// It takes reads of the file, and does not answer them.
    HoldingReads,
    Over,
}

struct Served {
    mood: Mood,
    content: Vec<u8>,
    held: Vec<Vec<u8>>,
}

/// A mounted file system with one log file in it.
struct FarLog {
    directory: PathBuf,
    served: Arc<Mutex<Served>>,
    thread: Option<JoinHandle<()>>,
}

impl FarLog {
    fn mount(directory: &Path, flags: u32) -> FarLog {
        let device =
            rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        let device = device.unwrap();
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        let no_traps = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("far", directory, "fuse", no_traps, options.as_c_str()).unwrap();
        let served = Served { mood: Mood::Serving, content: Vec::new(), held: Vec::new() };
        let served = Arc::new(Mutex::new(served));
        let shared = served.clone();
        let thread = std::thread::spawn(move || serve(&device, &shared, flags));
        FarLog { directory: directory.into(), served, thread: Some(thread) }
    }

    fn mood(&self, mood: Mood) {
        self.served.lock().unwrap().mood = mood;
    }

    fn append(&self, line: &str) {
        self.served.lock().unwrap().content.extend_from_slice(line.as_bytes());
    }
}

impl Drop for FarLog {
    fn drop(&mut self) {
        // The server's end of the device is closed first: whoever waits for it gets an error.
        self.mood(Mood::Over);
        let _ = self.thread.take().expect("dropped once").join();
        let _ = rustix::mount::unmount(&self.directory, UnmountFlags::DETACH);
    }
}

fn serve(device: &OwnedFd, served: &Mutex<Served>, flags: u32) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let mut now = served.lock().unwrap();
        match now.mood {
            Mood::Over => return,
            Mood::Stopped => {}
            mood => {
                if mood == Mood::Serving {
                    for request in std::mem::take(&mut now.held) {
                        answer(device, &request, &now.content, flags);
                    }
                }
                match rustix::io::read(device, &mut buffer) {
                    Ok(count) if mood == Mood::HoldingReads && number(&buffer, 4) == u64::from(READ) => {
                        now.held.push(buffer[..count].to_vec());
                    }
                    Ok(count) => answer(device, &buffer[..count], &now.content, flags),
                    Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => {}
                    Err(_) => return,
                }
            }
        }
        let stopped = now.mood == Mood::Stopped;
        drop(now);
        let wait = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        // Requests that nobody will take would end the wait at once.
        let device = device.as_fd();
        let device = (!stopped).then(|| PollFd::new(&device, PollFlags::IN));
        let _ = poll(device.into_iter().collect::<Vec<_>>().as_mut_slice(), Some(&wait));
    }
}

/// A number of 4 bytes.
fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn answer(device: &OwnedFd, request: &[u8], content: &[u8], flags: u32) {
    let (operation, node, body) = (number(request, 4) as u32, long(request, 16), &request[HEADER_BYTES..]);
    let (error, reply) = match operation {
        FORGET | BATCH_FORGET | INTERRUPT => return,
        INIT => (0, init()),
        LOOKUP if body.strip_suffix(b"\0") == Some(NAME) => (0, entry(content.len())),
        LOOKUP => (-Errno::NOENT.raw_os_error(), Vec::new()),
        // No time for which the attributes hold, then the attributes.
        GETATTR => (0, [vec![0; 16], attributes(node, content.len())].concat()),
        OPEN | OPENDIR => {
            let flags = if operation == OPEN { flags } else { 0 };
            (0, [vec![0; 8], flags.to_ne_bytes().to_vec(), vec![0; 4]].concat())
        }
        READDIR if long(body, 8) == 0 => (0, directory()),
        READDIR | FLUSH | RELEASE | RELEASEDIR => (0, Vec::new()),
        READ => {
            let from = content.len().min(long(body, 8) as usize);
            let to = content.len().min(from + number(body, 16) as usize);
            (0, content[from..to].to_vec())
        }
        _ => (-Errno::NOSYS.raw_os_error(), Vec::new()),
    };
    let mut out = Vec::with_capacity(16 + reply.len());
    out.extend_from_slice(&(16 + reply.len() as u32).to_ne_bytes());
    out.extend_from_slice(&error.to_ne_bytes());
    out.extend_from_slice(&request[8..16]);
    out.extend_from_slice(&reply);
    // The asker may be gone by now.
    let _ = rustix::io::write(device, &out);
}

/// Version 7.31, and nothing that is optional.
fn init() -> Vec<u8> {
    let mut reply = vec![0; 64];
    reply[..4].copy_from_slice(&7u32.to_ne_bytes());
    reply[4..8].copy_from_slice(&31u32.to_ne_bytes());
    reply[12..16].copy_from_slice(&ASYNC_READ.to_ne_bytes());
    reply[20..24].copy_from_slice(&65_536u32.to_ne_bytes());
    reply
}

fn entry(size: usize) -> Vec<u8> {
    let mut reply = FILE.to_ne_bytes().to_vec();
    reply.resize(40, 0);
    reply.extend(attributes(FILE, size));
    reply
}

fn attributes(node: u64, size: usize) -> Vec<u8> {
    let (mode, size) = if node == ROOT { (0o040_755u32, 0) } else { (0o100_644u32, size as u64) };
    let mut reply = [node.to_ne_bytes(), size.to_ne_bytes()].concat();
    reply.resize(60, 0);
    reply.extend_from_slice(&mode.to_ne_bytes());
    reply.extend_from_slice(&1u32.to_ne_bytes());
    reply.resize(88, 0);
    reply
}

fn directory() -> Vec<u8> {
    let mut reply = [FILE.to_ne_bytes(), 1u64.to_ne_bytes()].concat();
    reply.extend_from_slice(&(NAME.len() as u32).to_ne_bytes());
    reply.extend_from_slice(&8u32.to_ne_bytes());
    reply.extend_from_slice(NAME);
    reply.resize(reply.len().next_multiple_of(8), 0);
    reply
}

/// A site with a far directory beside its own, and what reads both. The file system has to go before an
/// agent that may be waiting for it in the kernel.
fn with_far_log(site: &Site, io: &str, flags: u32) -> (crate::process::Agent, FarLog) {
    let directory = site.root().join("far");
    std::fs::create_dir(&directory).unwrap();
    let far = FarLog::mount(&directory, flags);
    far.append("far 1\n");
    let agent = site.agent().arg("--include").arg(directory.join("*.log"));
    let agent = agent.arg("--io").arg(io).set("watch.reconcile=100ms").start();
    site.topic.await_value(b"far 1");
    (agent, far)
}

/// Every way to read, of every kind of file.
const WAYS: [(&str, u32); 4] =
    [("uring", CACHED), ("uring", DIRECT_IO), ("blocking", CACHED), ("blocking", DIRECT_IO)];

#[test]
fn f11_a_file_system_that_does_not_answer_holds_up_nobody_else() {
    if !is_root("mounting FUSE") {
        return;
    }
    for (io, flags) in WAYS {
        for mood in [Mood::Stopped, Mood::HoldingReads] {
            let site = Site::new();
            let (agent, far) = with_far_log(&site, io, flags);
            let mut near = Family::create(site.log("near.log"));
            far.mood(mood);
            far.append("far 2\n");
            for _ in 0..50 {
                near.write(10);
                site.topic.await_value(near.last());
            }
            far.mood(Mood::Serving);
            site.topic.await_value(b"far 2");
            agent.stop();
            let (far, rest): (Vec<_>, Vec<_>) =
                site.whole().into_iter().partition(|record| record.value.starts_with(b"far "));
            assert_eq!(values(&far), ["far 1", "far 2"], "{io} {flags}");
            assert_complete(&rest, &[&near]);
        }
    }
}

#[test]
fn f11_a_stop_does_not_wait_for_a_file_system_that_does_not_answer() {
    if !is_root("mounting FUSE") {
        return;
    }
    for (io, flags) in WAYS {
        let site = Site::new();
        let (mut agent, far) = with_far_log(&site, io, flags);
        let mut near = Family::create(site.log("near.log"));
        far.mood(Mood::Stopped);
        far.append("far 2\n");
        near.write(10);
        site.topic.await_value(near.last());
        agent.signal(Signal::TERM);
        agent.await_log(&["stopped", "acknowledged"]);
        // All that is left is the kernel's, which tells the server of each file that is closed.
        drop(far);
        agent.exit().with_code(0);
    }
}
