//! Changes as etcd tells them: one stream for each range of keys.
//!
//! One request could ask for several ranges, one after the other in its body. But the gateway is an HTTP/1 server
//! of Go's: with the first line of its answer it throws away what has not arrived of the request, so on a slow
//! network all ranges but the first would be forgotten without a word.

use std::future::{Future as _, poll_fn};
use std::pin::pin;

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::error::EtcdError;
use super::gateway::ANSWER_BYTES_MAX;
use super::mirror::Event;
use super::wire::{Failure, Line, Watched, WireEvent};
use crate::connection::Connection;

/// What a watch has to tell.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum News {
    /// Something has changed; or nothing, and it only says that it watches.
    Events(Vec<Event>),
    /// What came next is no longer there: everything is to be listed again.
    Compacted,
}

/// Changes in some ranges of keys, those of one range in their order. It ends with an error.
#[derive(Debug)]
pub struct Watch {
    streams: Vec<Stream>,
}

impl Watch {
    pub(super) fn of(streams: Vec<Stream>) -> Watch {
        Watch { streams }
    }

    /// Waits for news. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// A stream has ended, or etcd has ended its watch.
    pub async fn next(&mut self) -> Result<News, EtcdError> {
        poll_fn(|context| {
            // What a stream has received it keeps, so it may be asked anew each time.
            let mut polls = self.streams.iter_mut().map(|stream| pin!(stream.next()).poll(context));
            polls.find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
        })
        .await
    }
}

/// The changes in one range of keys.
#[derive(Debug)]
pub(super) struct Stream {
    endpoint: String,
    body: Incoming,
    /// The beginning of a line whose end has not come yet.
    unread: Vec<u8>,
    /// The stream ends with it.
    _connection: Connection,
}

impl Stream {
    pub(super) fn new(endpoint: String, body: Incoming, connection: Connection) -> Stream {
        Stream { endpoint, body, unread: Vec::new(), _connection: connection }
    }

    async fn next(&mut self) -> Result<News, EtcdError> {
        let broken = |reason: String| EtcdError::Broken { endpoint: self.endpoint.clone(), reason };
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return self.news(&line);
            }
            if self.unread.len() > ANSWER_BYTES_MAX {
                return Err(broken("an endless line".to_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.unread.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
                }
                Some(Err(error)) => return Err(broken(error.to_string())),
                None => return Err(broken("it was closed".to_owned())),
            }
        }
    }

    fn news(&self, line: &[u8]) -> Result<News, EtcdError> {
        let unclear = |error: serde_json::Error| EtcdError::Unclear {
            endpoint: self.endpoint.clone(),
            reason: error.to_string(),
        };
        let refused = |reason| Err(EtcdError::Refused { what: "watch items", reason });
        match serde_json::from_slice(line).map_err(unclear)? {
            Line::Error(Failure { message }) => refused(message),
            Line::Result(Watched { compact_revision, .. }) if compact_revision > 0 => Ok(News::Compacted),
            Line::Result(Watched { canceled: true, cancel_reason, .. }) => refused(cancel_reason),
            Line::Result(Watched { events, .. }) => {
                Ok(News::Events(events.into_iter().filter_map(WireEvent::into_event).collect()))
            }
        }
    }
}
