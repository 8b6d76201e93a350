//! The places of the connections to nodes that serve one client alone: few for each node, all workers
//! together. See [`pinned`](super::pinned).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The most pinned connections to one node, all workers together.
const PINNED_MAX: usize = 64;

/// The value of [`Seat::idle_since_ms`] while a request runs.
const BUSY: u64 = u64::MAX;

/// The pinned connections of all workers, by the epoch of their node.
#[derive(Debug, Default)]
pub struct Pins(Mutex<BTreeMap<u64, Vec<Arc<Seat>>>>);

/// The place of one connection among those of its node.
#[derive(Debug)]
pub(super) struct Seat {
    /// The end of its last request, in milliseconds since the process started.
    idle_since_ms: AtomicU64,
    /// Another client has its place now.
    lost: AtomicBool,
    /// Rings when the place is lost.
    rings: Notify,
}

impl Seat {
    fn new() -> Self {
        Self {
            idle_since_ms: AtomicU64::new(BUSY),
            lost: AtomicBool::new(false),
            rings: Notify::new(),
        }
    }

    /// A request begins on its connection, which therefore keeps its place.
    pub(super) fn is_busy(&self) {
        self.idle_since_ms.store(BUSY, Ordering::Relaxed);
    }

    /// The request has ended, at this time since the process started.
    pub(super) fn is_idle(&self, since: Duration) {
        let millis = u64::try_from(since.as_millis()).unwrap_or(BUSY - 1);
        self.idle_since_ms.store(millis, Ordering::Relaxed);
    }

    /// Returns whether another client has its place now.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Completes when the place is lost.
    ///
    /// ## Cancel safety
    /// The next call completes too.
    pub(super) async fn lost(&self) {
        if !self.is_lost() {
            self.rings.notified().await;
        }
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.rings.notify_one();
    }

    fn since(&self) -> u64 {
        self.idle_since_ms.load(Ordering::Relaxed)
    }
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Arc<Seat>>>> {
        // No panic can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the connections to a node. If there is none, the connection that has been
    /// idle for the longest loses its own. `None` if a request runs on each of them.
    pub(super) fn sit(&self, epoch: u64) -> Option<Arc<Seat>> {
        let mut nodes = self.lock();
        let seats = nodes.entry(epoch).or_default();
        if seats.len() >= PINNED_MAX {
            let idle = seats.iter().enumerate().filter(|(_, seat)| seat.since() != BUSY);
            let (longest, _) = idle.min_by_key(|(_, seat)| seat.since())?;
            seats.swap_remove(longest).lose();
        }
        let seat = Arc::new(Seat::new());
        seats.push(Arc::clone(&seat));
        Some(seat)
    }

    pub(super) fn leave(&self, epoch: u64, seat: &Arc<Seat>) {
        let mut nodes = self.lock();
        if let Some(seats) = nodes.get_mut(&epoch) {
            seats.retain(|other| !Arc::ptr_eq(other, seat));
            if seats.is_empty() {
                nodes.remove(&epoch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_one_loses_its_place_and_a_busy_one_never() {
        let pins = Pins::default();
        let seats: Vec<_> = (0..PINNED_MAX).map(|_| pins.sit(1).expect("a place")).collect();
        assert!(pins.sit(1).is_none(), "a request runs on each");
        assert!(pins.sit(2).is_some(), "each node has as many");
        seats[7].is_idle(Duration::from_millis(5));
        seats[9].is_idle(Duration::from_millis(4));
        assert!(pins.sit(1).is_some());
        let lost = |n: usize| seats[n].is_lost();
        assert!(lost(9) && !lost(7));
        assert!(pins.sit(1).is_some());
        assert!(lost(7));
        assert!(pins.sit(1).is_none());
        for seat in &seats {
            pins.leave(1, seat);
        }
        assert_eq!(pins.lock()[&1].len(), 2, "those that took the places");
    }
}
