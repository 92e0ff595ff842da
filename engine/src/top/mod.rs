//! `logdrive top`: a running agent, live on a terminal.
//!
//! `board` is what is known and how it is looked at: keys and answers go in, with their time. `view` draws it, and
//! nothing else. Here they meet the world: a terminal, signals, and an agent that is asked about once a second,
//! and less often when it has so much to tell that this would cost it something.

mod board;
mod palette;
mod view;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use self::board::{Board, Next};
use self::palette::Palette;
use crate::ask;
use crate::status::StatusReport;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// An answer that took long is a long one: the agent is left alone for so many times as long.
const REST_SHARE: u32 = 20;

/// What happens besides signals.
enum Happening {
    Terminal(Event),
    Answer(Result<Box<StatusReport>, String>),
}

/// Shows the agent at this address until told to stop. The terminal is as it was before when this returns, and when
/// it panics.
///
/// # Errors
/// There is no terminal, or it is gone.
pub fn top(address: SocketAddr) -> Result<ExitCode> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("top needs a terminal; `logdrive status` prints the same once");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminal = ratatui::try_init().context("cannot prepare the terminal")?;
    let shown = runtime.block_on(show(&mut terminal, address));
    ratatui::restore();
    shown.context("the terminal is gone")?;
    // The thread that waits for keys would be waited for by the runtime.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn show(terminal: &mut DefaultTerminal, address: SocketAddr) -> io::Result<()> {
    let begun = Instant::now();
    let mut board = Board::new(address);
    let palette = Palette::of(std::env::var_os("NO_COLOR"));
    let (happens, mut happenings) = mpsc::channel(8);
    let (paused, pause) = watch::channel(false);
    tokio::spawn(ask_again_and_again(address, happens.clone(), pause));
    read_keys(happens);
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [terminate, interrupt, hangup] = &mut signals;
    let (terminate, interrupt, hangup) = (sound(terminate)?, sound(interrupt)?, sound(hangup)?);
    loop {
        terminal.draw(|frame| view::draw(frame, &board, palette))?;
        let happening = tokio::select! {
            happening = happenings.recv() => happening,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        };
        match happening {
            Some(Happening::Answer(answer)) => board.take(answer.map(|report| *report), begun.elapsed()),
            Some(Happening::Terminal(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                match board.press(key) {
                    Next::Go => {}
                    Next::Quit => return Ok(()),
                }
                paused.send_replace(board.is_paused());
            }
            // It has another size, perhaps.
            Some(Happening::Terminal(_)) => {}
            None => return Ok(()),
        }
    }
}

fn sound<T>(signal: &mut io::Result<T>) -> io::Result<&mut T> {
    signal.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

/// Asks until nobody listens, and not while it is paused.
async fn ask_again_and_again(
    address: SocketAddr,
    happens: mpsc::Sender<Happening>,
    mut paused: watch::Receiver<bool>,
) {
    loop {
        if paused.wait_for(|paused| !paused).await.is_err() {
            return;
        }
        let asked_at = Instant::now();
        let answer = ask::status(address).await;
        let took = asked_at.elapsed();
        let answer = answer.map(|answer| Box::new(answer.report)).map_err(|error| error.to_string());
        if happens.send(Happening::Answer(answer)).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE.max(took * REST_SHARE)).await;
    }
}

/// Keys come from a thread that waits for them; it ends with the process.
fn read_keys(happens: mpsc::Sender<Happening>) {
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if happens.blocking_send(Happening::Terminal(event)).is_err() {
                return;
            }
        }
    });
}
