//! The requests that a node counts. Those for its health and its metrics are not counted.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::telemetry::counters::StatusClasses;

/// The counters of a node. Its handlers write them; the page, the status line and the metrics read them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: AtomicU64,
    /// Answers, by the class of their status.
    pub(super) answered: StatusClasses,
    in_flight: AtomicU32,
}

impl Requests {
    /// Counts a request. It is in flight until the guard is dropped, because a client may leave before
    /// its answer.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.begun.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// The requests that have begun, answered or not.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// The requests that are not answered yet.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }
}

/// A request that is not answered yet.
pub(super) struct InFlight<'a>(&'a Requests);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let requests = Requests::default();
        let guard = requests.begin();
        assert_eq!(requests.in_flight(), 1);
        drop(guard);
        assert_eq!(requests.in_flight(), 0);
    }
}
