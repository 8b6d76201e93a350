//! The state that the sampler and the watchers of the cluster share: the last minute of each node, and
//! the newest event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use tokio::sync::watch;

use super::minute::Minutes;

/// The handle to it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Written by the sampler, read by the page and the API; the request path does not know of it.
    minutes: Mutex<Minutes>,
    /// The newest event, as it goes over the wire. Written by the sampler, read by the watchers.
    newest: watch::Sender<Bytes>,
    /// The number of events rendered so far.
    rendered: AtomicU64,
    watchers_max: usize,
}

impl Live {
    /// For a port that holds at most `connections`. Watchers stay, so an eighth of the connections is
    /// kept free of them: a client that wants to drain a node, or asks for readiness, must get in.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Inner {
            minutes: Mutex::default(),
            newest: watch::Sender::new(Bytes::new()),
            rendered: AtomicU64::new(0),
            watchers_max: (connections / 8 * 7).max(1),
        }))
    }

    pub(super) fn minutes(&self) -> MutexGuard<'_, Minutes> {
        self.0.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next event, from 1.
    pub(super) fn next_number(&self) -> u64 {
        self.0.rendered.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn is_watched(&self) -> bool {
        self.0.newest.receiver_count() > 0
    }

    /// Gives the watchers a new event in place of the one before.
    pub(super) fn publish(&self, event: Bytes) {
        self.0.newest.send_replace(event);
    }

    /// A watcher's receiver; `None` if there are as many watchers as there may be.
    pub(super) fn watch(&self) -> Option<watch::Receiver<Bytes>> {
        let has_room = self.0.newest.receiver_count() < self.0.watchers_max;
        has_room.then(|| self.0.newest.subscribe())
    }
}
