//! Which worker serves a new connection.
//!
//! The kernel spreads handshakes over the listeners by a hash of their addresses. Of many connections
//! that is fair, of few it is not: of 8 over 4 workers, in three cases of eight some worker gets
//! none, and what waits for one core could be served by another. So a worker that has clearly more
//! connections than another one hands it those it accepts (as HAProxy does, by
//! `tune.listener.multi-queue`).

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Connections that wait to be taken by the worker they were handed to. Beyond that whoever accepts
/// serves.
const HANDED_MAX: usize = 64;

/// A connection that another worker accepted.
pub(super) type Handed = (TcpStream, SocketAddr);

/// How many connections each worker has, and where it is handed more. Shared by all of them; touched
/// at the beginning and the end of a connection, never by a request.
#[derive(Debug)]
pub(super) struct Spread(Box<[Share]>);

#[derive(Debug)]
struct Share {
    /// Counted by whoever assigns a connection, taken back by the worker that had it.
    connections: AtomicUsize,
    inbox: mpsc::Sender<Handed>,
}

impl Spread {
    /// Of so many workers, each with its end of what it is handed.
    pub(super) fn over(workers: usize) -> (Self, Vec<mpsc::Receiver<Handed>>) {
        let shares = (0..workers).map(|_| {
            let (inbox, handed) = mpsc::channel(HANDED_MAX);
            (Share { connections: AtomicUsize::new(0), inbox }, handed)
        });
        let (shares, handed): (Vec<_>, Vec<_>) = shares.unzip();
        (Self(shares.into()), handed)
    }

    /// A connection is this worker's.
    pub(super) fn entered(&self, worker: usize) {
        self.0[worker].connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this worker has ended.
    pub(super) fn left(&self, worker: usize) {
        self.0[worker].connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A place in the hands of another worker that has clearly fewer connections than this one.
    pub(super) fn elsewhere(&self, worker: usize) -> Option<Place<'_>> {
        let count = |share: &Share| share.connections.load(Ordering::Relaxed);
        let own = count(&self.0[worker]);
        let (at, share) = self.0.iter().enumerate().min_by_key(|(_, share)| count(share))?;
        if own < count(share) + 2 + own / 8 {
            return None;
        }
        let place = share.inbox.try_reserve().ok()?;
        Some(Place { spread: self, worker: at, place })
    }
}

/// See [`Spread::elsewhere`].
pub(super) struct Place<'a> {
    spread: &'a Spread,
    worker: usize,
    place: mpsc::Permit<'a, Handed>,
}

impl Place<'_> {
    /// Hands the connection over.
    pub(super) fn hand(self, connection: Handed) {
        // Now, so that a rush is not handed to one worker as a whole.
        self.spread.entered(self.worker);
        self.place.send(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the next connection goes if the worker with the first of these counts accepts it.
    fn goes_to(counts: &[usize]) -> usize {
        let (spread, _handed) = Spread::over(counts.len());
        for (worker, count) in counts.iter().enumerate() {
            (0..*count).for_each(|_| spread.entered(worker));
        }
        spread.elsewhere(0).map_or(0, |place| place.worker)
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
    fn a_worker_that_takes_nothing_is_handed_no_more_than_it_may_have_waiting() {
        let (spread, _handed) = Spread::over(2);
        (0..1000).for_each(|_| spread.entered(0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let mut handed = 0;
        while let Some(place) = spread.elsewhere(0) {
            place.hand((TcpStream::connect(peer).unwrap(), peer));
            handed += 1;
            assert!(handed <= HANDED_MAX, "it is handed more than it may have waiting");
        }
        assert_eq!(handed, HANDED_MAX);
    }
}
