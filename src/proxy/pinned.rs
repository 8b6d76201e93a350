//! Connections to nodes that serve one client alone, because a login is bound to them (NTLM, Negotiate).
//!
//! A node remembers the user of such a connection: the next request on it needs no login. If it were
//! that of another client, that client would get this user's answers. So the connection stays with its
//! client, and both end together. nginx and HAProxy do the same (`ntlm`, private connections).

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::cluster::health::Health;
use crate::proxy::io::is_quiet;
use crate::proxy::pins::{Pins, Seat};
use crate::proxy::shared::Shared;

/// A connection to a node that serves one client alone.
pub(super) struct Pinned {
    /// `None` while a request runs on it.
    stream: Option<TcpStream>,
    epoch: u64,
    seat: Arc<Seat>,
    pins: Arc<Pins>,
}

impl Pinned {
    /// Keeps the connection to the node of this epoch after a request: in its place, if it had one and
    /// has not lost it, else in a new one. `None` if there is no place.
    pub(super) fn again(
        shared: &Shared,
        before: Option<Box<Self>>,
        epoch: u64,
        stream: TcpStream,
    ) -> Option<Box<Self>> {
        let mut pinned = match before.filter(|before| before.epoch == epoch) {
            Some(before) if before.seat.is_lost() => return None,
            Some(before) => before,
            None => {
                let pins = Arc::clone(&shared.settings.pins);
                Box::new(Self { stream: None, epoch, seat: pins.sit(epoch)?, pins })
            }
        };
        pinned.stream = Some(stream);
        pinned.seat.is_idle(shared.now());
        Some(pinned)
    }

    /// The epoch of its node.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes the connection for the next request, if that goes to the node of this epoch and the
    /// connection lives.
    pub(super) fn take(&mut self, epoch: u64) -> Option<TcpStream> {
        self.seat.is_busy();
        self.stream.take().filter(|stream| self.epoch == epoch && is_quiet(stream))
    }

    /// Completes when the connection has to end, and its client's with it: its place is lost, or its
    /// node drains or has left.
    pub(super) async fn over(&self, shared: &Shared) {
        let stays = || {
            let pool = shared.pool();
            pool.member(self.epoch).is_some_and(|member| member.health != Health::Draining)
        };
        loop {
            let published = shared.published();
            if !stays() {
                return;
            }
            tokio::select! {
                () = published => {}
                () = self.seat.lost() => return,
            }
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.pins.leave(self.epoch, &self.seat);
    }
}
