//! The choice of the worker that serves a new connection.
//!
//! The kernel spreads handshakes over the listeners by a hash of their addresses. Of many connections
//! that is fair, of few it is not: of 8 over 4 workers, in three cases of eight some worker gets
//! none, and requests wait for one core while another is free. So a worker that has clearly more
//! connections than another one hands it the connections it accepts (as HAProxy does, by
//! `tune.listener.multi-queue`).

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// The most connections that wait for the worker they were handed to. Beyond that, the worker that
/// accepts a connection serves it.
const HANDED_MAX: usize = 64;

/// A connection that another worker accepted.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// The number of connections of each worker, and the channel on which it takes more. Shared by all
/// workers; touched at the beginning and the end of a connection, never by a request.
#[derive(Debug)]
pub(super) struct Handoff(Box<[Share]>);

#[derive(Debug)]
struct Share {
    /// Incremented by the worker that assigns a connection, decremented by the one that served it.
    connections: AtomicUsize,
    inbox: mpsc::Sender<Accepted>,
}

impl Handoff {
    /// For this number of workers, with the receiving end of each.
    pub(super) fn over(workers: usize) -> (Self, Vec<mpsc::Receiver<Accepted>>) {
        let shares = (0..workers).map(|_| {
            let (inbox, handed) = mpsc::channel(HANDED_MAX);
            (Share { connections: AtomicUsize::new(0), inbox }, handed)
        });
        let (shares, handed): (Vec<_>, Vec<_>) = shares.unzip();
        (Self(shares.into()), handed)
    }

    /// Counts a connection of this worker.
    pub(super) fn entered(&self, worker: usize) {
        self.0[worker].connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection of this worker.
    pub(super) fn left(&self, worker: usize) {
        self.0[worker].connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Reserves a slot at the worker with the fewest connections, if it has clearly fewer than this one.
    pub(super) fn elsewhere(&self, worker: usize) -> Option<HandoffSlot<'_>> {
        let count = |share: &Share| share.connections.load(Ordering::Relaxed);
        let own = count(&self.0[worker]);
        let (at, share) = self.0.iter().enumerate().min_by_key(|(_, share)| count(share))?;
        if own < count(share) + 2 + own / 8 {
            return None;
        }
        let place = share.inbox.try_reserve().ok()?;
        Some(HandoffSlot { handoff: self, worker: at, place })
    }
}

/// See [`Handoff::elsewhere`].
pub(super) struct HandoffSlot<'a> {
    handoff: &'a Handoff,
    worker: usize,
    place: mpsc::Permit<'a, Accepted>,
}

impl HandoffSlot<'_> {
    /// Hands the connection over.
    pub(super) fn hand(self, connection: Accepted) {
        // Counted now and not when it is taken, so that one worker does not get a whole rush.
        self.handoff.entered(self.worker);
        self.place.send(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worker that gets the next connection when the worker with the first of these counts accepts it.
    fn goes_to(counts: &[usize]) -> usize {
        let (handoff, _handed) = Handoff::over(counts.len());
        for (worker, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| handoff.entered(worker));
        }
        handoff.elsewhere(0).map_or(0, |place| place.worker)
    }

    #[test]
    fn a_worker_with_clearly_more_hands_on_to_the_one_with_least() {
        for (counts, worker) in [
            (&[0][..], 0),
            (&[9], 0),
            (&[0, 0], 0),
            (&[1, 0], 0),
            (&[2, 0], 1),
            (&[3, 2, 1], 2),
            (&[3, 2, 2], 0),
            (&[100, 90], 0),
            (&[100, 80], 1),
            (&[0, 9], 0),
        ] {
            assert_eq!(goes_to(counts), worker, "{counts:?}");
        }
    }

    #[test]
    fn a_worker_that_takes_nothing_gets_no_more_than_its_queue_holds() {
        let (handoff, _handed) = Handoff::over(2);
        (0..1000).for_each(|_| handoff.entered(0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let mut handed = 0;
        while let Some(place) = handoff.elsewhere(0) {
            place.hand((TcpStream::connect(peer).unwrap(), peer));
            handed += 1;
            assert!(handed <= HANDED_MAX, "it is handed more than it may have waiting");
        }
        assert_eq!(handed, HANDED_MAX);
    }
}
