//! A bad network between an agent and a broker: slow, trickling, silent, cut in the middle of a request,
//! or with one end that does not know that the other is gone.
//!
//! Bytes are only delayed, withheld or thrown away with their connection, never changed. Each direction of
//! a connection has a thread that reads and one that writes, so that a delay costs no throughput.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What happens to bytes on their way.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Weather {
    /// They pass.
    Clear,
    /// They arrive so much later, in each direction.
    Late(Duration),
    /// They arrive in pieces of so many, one piece each time.
    Trickle { piece: usize, every: Duration },
    /// They are kept back, until the weather changes. Connections are taken all the same.
    Still,
}

/// Which way bytes go.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// From the agent to the broker: requests.
    Up,
    /// From the broker to the agent: answers.
    Down,
}

/// The proxy. Its connections end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    weather: Mutex<Weather>,
    changed: Condvar,
    /// The connection whose bytes that way make it up is cut when so many have passed.
    cut: Mutex<Option<(Way, usize)>>,
    connections: Mutex<Vec<Arc<Connection>>>,
    accepted: AtomicU64,
    cuts: AtomicU64,
    over: AtomicBool,
}

#[derive(Debug)]
struct Connection {
    agent: TcpStream,
    broker: TcpStream,
    /// The broker has forgotten it, and the agent is not told.
    half_open: AtomicBool,
}

impl Proxy {
    /// Listens at a port of its own, and connects to this one for everybody who comes.
    pub(crate) fn to(broker: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            weather: Mutex::new(Weather::Clear),
            changed: Condvar::new(),
            cut: Mutex::new(None),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let theirs = shared.clone();
        std::thread::spawn(move || accept(&listener, broker, &theirs));
        Proxy { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Changes the weather, also for what is on its way.
    pub(crate) fn turn(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
        self.shared.changed.notify_all();
    }

    /// When so many more bytes have passed that way, their connection is cut, once.
    pub(crate) fn cut_after(&self, way: Way, bytes: usize) {
        *self.shared.cut.lock().unwrap() = Some((way, bytes));
    }

    /// How many connections were cut so far.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// How many connections were taken so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Every connection of now is forgotten by the broker; agents are not told, and hear nothing any more.
    pub(crate) fn forget_connections(&self) {
        for connection in self.shared.connections.lock().unwrap().iter() {
            connection.half_open.store(true, Ordering::SeqCst);
            let _ = connection.broker.shutdown(Shutdown::Both);
        }
    }

    /// Ends every connection of now, on both sides.
    pub(crate) fn cut_all(&self) {
        self.shared.connections.lock().unwrap().iter().for_each(|connection| connection.end());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.turn(Weather::Clear);
        self.cut_all();
        // The one that waits for connections gets its last.
        let _ = TcpStream::connect(self.address());
    }
}

impl Connection {
    fn end(&self) {
        let _ = self.agent.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, broker: u16, shared: &Arc<Shared>) {
    for agent in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(agent) = agent else { continue };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        // A broker that is down answers like one that hangs up.
        let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
        let sides = [&agent, &broker];
        sides.iter().for_each(|side| side.set_nodelay(true).unwrap());
        let (from_agent, to_broker) = (agent.try_clone().unwrap(), broker.try_clone().unwrap());
        let (from_broker, to_agent) = (broker.try_clone().unwrap(), agent.try_clone().unwrap());
        let connection = Arc::new(Connection { agent, broker, half_open: AtomicBool::new(false) });
        shared.connections.lock().unwrap().push(connection.clone());
        carry(Way::Up, (from_agent, to_broker), &connection, shared);
        carry(Way::Down, (from_broker, to_agent), &connection, shared);
    }
}

type Piece = (Instant, Vec<u8>);

/// Starts both threads of one direction.
fn carry(way: Way, ends: (TcpStream, TcpStream), connection: &Arc<Connection>, shared: &Arc<Shared>) {
    let (mut from, to) = ends;
    let (sender, receiver): (SyncSender<Piece>, _) = sync_channel(64);
    let theirs = shared.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let delay = match *theirs.weather.lock().unwrap() {
                Weather::Late(delay) => delay,
                _ => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    let (shared, connection) = (shared.clone(), connection.clone());
    std::thread::spawn(move || deliver(way, to, &receiver, &connection, &shared));
}

fn deliver(way: Way, mut to: TcpStream, pieces: &Receiver<Piece>, connection: &Connection, shared: &Shared) {
    for (at, bytes) in pieces {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let (bytes, cut) = up_to_the_cut(way, &bytes, shared);
        let arrived = write(&mut to, bytes, shared);
        if cut {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
        }
        let forgotten = connection.half_open.load(Ordering::SeqCst);
        if (cut || arrived.is_err()) && !forgotten {
            return connection.end();
        }
        if forgotten && way == Way::Down {
            return;
        }
    }
    if !connection.half_open.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// What of these bytes passes before a cut, and whether there is one.
fn up_to_the_cut<'a>(way: Way, bytes: &'a [u8], shared: &Shared) -> (&'a [u8], bool) {
    let mut cut = shared.cut.lock().unwrap();
    match &mut *cut {
        Some((on, left)) if *on == way => {
            if bytes.len() >= *left {
                let passing = &bytes[..*left];
                *cut = None;
                return (passing, true);
            }
            *left -= bytes.len();
            (bytes, false)
        }
        _ => (bytes, false),
    }
}

/// Writes as the weather is, piece by piece, for it may change in between.
fn write(to: &mut TcpStream, mut bytes: &[u8], shared: &Shared) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let weather = shared.weather.lock().unwrap();
        let weather = *shared.changed.wait_while(weather, |now| *now == Weather::Still).unwrap();
        let piece = match weather {
            Weather::Trickle { piece, every } => {
                std::thread::sleep(every);
                piece.min(bytes.len())
            }
            _ => bytes.len(),
        };
        to.write_all(&bytes[..piece])?;
        bytes = &bytes[piece..];
    }
    Ok(())
}
