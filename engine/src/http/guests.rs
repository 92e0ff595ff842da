//! Who may be connected: a bounded number, of whom the oldest that nobody answers makes room for the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Pause after a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One open connection, as the acceptor sees it.
struct Guest {
    /// Requests being answered: 0 or 1.
    answering: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// Takes connections for as long as it is polled, and has each served by a task of its own; `serve` counts up while it
/// answers a request and down again when it has.
pub async fn accept<F>(
    listener: &TcpListener,
    connections_max: usize,
    mut serve: impl FnMut(TcpStream, Arc<AtomicUsize>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut guests: VecDeque<Guest> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept an http connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        guests.retain(|guest| !guest.task.is_finished());
        if guests.len() >= connections_max {
            let idle = guests.iter().position(|guest| guest.answering.load(Ordering::Relaxed) == 0);
            // If all are being answered it is the new one that has to go.
            let Some(guest) = idle.and_then(|at| guests.remove(at)) else { continue };
            guest.task.abort();
            // Its socket is closed before the next one is accepted, however many knock.
            tokio::task::yield_now().await;
        }
        let answering = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(stream, Arc::clone(&answering)));
        guests.push_back(Guest { answering, task: task.abort_handle() });
    }
}
