//! How many requests a node may have at once, and who waits for one of them to end.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The bound, and the line of those that wait. There is one for all nodes and workers: a node that
/// has room again is news for whoever has waited longest.
#[derive(Debug)]
pub(crate) struct InflightLimit {
    inflight_max: u32,
    waiting: AtomicUsize,
    /// Requests that have ended while others waited.
    ended: AtomicU64,
    one_ended: Notify,
}

impl InflightLimit {
    pub(super) fn new(inflight_max: u32) -> Self {
        Self { inflight_max, waiting: 0.into(), ended: 0.into(), one_ended: Notify::new() }
    }

    /// The most requests of one node.
    pub(crate) fn inflight_max(&self) -> u32 {
        self.inflight_max
    }

    /// Counts one more of a node, unless it has as many as it may.
    pub(crate) fn enter(&self, inflight: &AtomicU32) -> bool {
        let one_more = |count| (count < self.inflight_max).then_some(count + 1);
        inflight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A request has ended. Nobody is told as long as nobody waits.
    pub(crate) fn leave(&self) {
        // Either who waits is seen here, or what has ended is seen by who waits.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.one_ended.notify_one();
        }
    }

    /// Somebody begins to wait.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Waiting { room: self, shown: None }
    }
}

/// Somebody who waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    room: &'a InflightLimit,
    /// What had ended when it last looked in vain.
    shown: Option<u64>,
}

impl<'a> Waiting<'a> {
    /// Rings when a request has ended and nobody has waited longer. `enable` it before looking for
    /// room and await it after that, so that nothing is missed in between.
    pub(crate) fn next(&self) -> Notified<'a> {
        self.room.one_ended.notified()
    }

    /// It has looked in vain. What ended may be of use to the next in line: another node was tried
    /// there, or another is insisted on. Each is shown it once.
    pub(crate) fn pass_on(&mut self) {
        let ended = self.room.ended.load(Ordering::Relaxed);
        if self.shown.replace(ended).is_some_and(|shown| shown != ended) {
            self.room.one_ended.notify_one();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn rings(next: std::pin::Pin<&mut Notified<'_>>) -> bool {
        next.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn a_node_gets_no_more_than_it_may() {
        let (room, inflight) = (InflightLimit::new(2), AtomicU32::new(0));
        assert_eq!([(); 3].map(|()| room.enter(&inflight)), [true, true, false]);
        assert_eq!(inflight.into_inner(), 2);
    }

    #[test]
    fn an_ended_request_wakes_one_waiter_that_may_pass_it_to_the_next() {
        let room = InflightLimit::new(1);
        let (mut ada, mut bob) = (room.wait(), room.wait());
        let (mut ada_next, mut bob_next) = (pin!(ada.next()), pin!(bob.next()));
        ada_next.as_mut().enable();
        bob_next.as_mut().enable();
        ada.pass_on();
        bob.pass_on();
        assert!(!rings(ada_next.as_mut()) && !rings(bob_next.as_mut()), "nothing has ended");
        room.leave();
        assert!(rings(ada_next.as_mut()) && !rings(bob_next.as_mut()));
        ada_next.set(ada.next());
        ada_next.as_mut().enable();
        ada.pass_on();
        assert!(rings(bob_next.as_mut()));
        bob_next.set(bob.next());
        bob_next.as_mut().enable();
        bob.pass_on();
        // Ada is woken once more, and it ends there.
        assert!(rings(ada_next.as_mut()));
        ada_next.set(ada.next());
        ada_next.as_mut().enable();
        ada.pass_on();
        assert!(!rings(ada_next.as_mut()) && !rings(bob_next.as_mut()));
    }

    #[test]
    fn an_end_before_anybody_waits_wakes_nobody() {
        let room = InflightLimit::new(1);
        room.leave();
        let mut next = pin!(room.wait().next());
        assert!(!rings(next.as_mut()));
    }
}
