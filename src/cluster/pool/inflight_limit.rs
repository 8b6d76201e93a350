//! The bound on the requests that a node may have at once, and the requests that wait for one of
//! them to end. The number of each node is a counter of its [`Member`](super::Member), not ours.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The bound, and the queue of the requests that wait. All nodes and workers share one: when any
/// node has room again, the request that has waited longest hears of it.
#[derive(Debug)]
pub(crate) struct InflightLimit {
    inflight_max: u32,
    waiters: AtomicUsize,
    /// The number of requests that have ended while others waited.
    ended: AtomicU64,
    one_ended: Notify,
}

impl InflightLimit {
    pub(super) fn new(inflight_max: u32) -> Self {
        Self { inflight_max, waiters: 0.into(), ended: 0.into(), one_ended: Notify::new() }
    }

    /// The most requests of one node at once.
    pub(crate) fn inflight_max(&self) -> u32 {
        self.inflight_max
    }

    /// Counts one more request of a node, unless it has as many as it may. Returns whether it
    /// counted.
    pub(crate) fn try_enter(&self, inflight: &AtomicU32) -> bool {
        let one_more = |count| (count < self.inflight_max).then_some(count + 1);
        inflight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A request has ended. While nobody waits, this is one look at a counter.
    pub(crate) fn leave(&self) {
        // The twin of the fence in `wait`: either this call sees the waiter, or the waiter, who
        // looks for room after it has counted itself, sees the room.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.one_ended.notify_one();
        }
    }

    /// A request begins to wait, until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiter<'_> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiter { limit: self, ended_seen: None }
    }
}

/// A request that waits; it counts as one until this guard is dropped.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    limit: &'a InflightLimit,
    /// Completion count at the last unsuccessful look.
    ended_seen: Option<u64>,
}

impl<'a> Waiter<'a> {
    /// Completes when a request has ended and nobody has waited longer. `enable` it before looking
    /// for room and await it after that, so that no completion is missed in between.
    pub(crate) fn next(&self) -> Notified<'a> {
        self.limit.one_ended.notified()
    }

    /// The waiter has looked and found no room. The completion that woke it may be of use to the
    /// next one in the queue, because this request has tried that node before, or insists on
    /// another. Each waiter passes on one completion at most once, so that a round of wake-ups
    /// ends.
    pub(crate) fn pass_on(&mut self) {
        let ended = self.limit.ended.load(Ordering::Relaxed);
        if self.ended_seen.replace(ended).is_some_and(|seen| seen != ended) {
            self.limit.one_ended.notify_one();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.limit.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_complete(next: std::pin::Pin<&mut Notified<'_>>) -> bool {
        next.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_node_gets_no_more_requests_than_it_may() {
        let (limit, inflight) = (InflightLimit::new(2), AtomicU32::new(0));
        assert_eq!([(); 3].map(|()| limit.try_enter(&inflight)), [true, true, false]);
        assert_eq!(inflight.into_inner(), 2);
    }

    #[test]
    fn an_ended_request_wakes_one_waiter_that_may_pass_it_to_the_next() {
        let limit = InflightLimit::new(1);
        let (mut ada, mut bob) = (limit.wait(), limit.wait());
        let (mut ada_next, mut bob_next) = (pin!(ada.next()), pin!(bob.next()));
        ada_next.as_mut().enable();
        bob_next.as_mut().enable();
        ada.pass_on();
        bob.pass_on();
        assert!(
            !is_complete(ada_next.as_mut()) && !is_complete(bob_next.as_mut()),
            "nothing has ended"
        );
        limit.leave();
        assert!(is_complete(ada_next.as_mut()) && !is_complete(bob_next.as_mut()));
        ada_next.set(ada.next());
        ada_next.as_mut().enable();
        ada.pass_on();
        assert!(is_complete(bob_next.as_mut()));
        bob_next.set(bob.next());
        bob_next.as_mut().enable();
        bob.pass_on();
        // Ada is woken once more, and it ends there.
        assert!(is_complete(ada_next.as_mut()));
        ada_next.set(ada.next());
        ada_next.as_mut().enable();
        ada.pass_on();
        assert!(!is_complete(ada_next.as_mut()) && !is_complete(bob_next.as_mut()));
    }

    #[test]
    fn an_end_before_anybody_waits_wakes_nobody() {
        let limit = InflightLimit::new(1);
        limit.leave();
        let mut next = pin!(limit.wait().next());
        assert!(!is_complete(next.as_mut()));
    }
}
