//! A chosen member, counted in flight; or the reason why there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::cluster::pool::inflight_limit::InflightLimit;
use crate::cluster::pool::{Member, Pool, Share};

/// A chosen member. It counts as one request in flight there until this guard is dropped: when the
/// body of the answer has ended or the attempt has failed.
#[derive(Debug)]
pub struct Pick {
    member: Arc<Member>,
    /// True if this guard holds the flag of the member's trial.
    on_trial: bool,
    /// The bound of the pool, whose waiters have to hear of the end; `None` is no bound.
    limit: Option<Arc<InflightLimit>>,
}

impl Pick {
    /// `None` if the member has as many requests as it may.
    pub(super) fn new(pool: &Pool, member: &Arc<Member>) -> Option<Self> {
        let (inflight, limit) = (&member.counters.inflight, pool.inflight_limit());
        match limit {
            None => drop(inflight.fetch_add(1, Ordering::Relaxed)),
            Some(limit) if limit.try_enter(inflight) => {}
            Some(_) => return None,
        }
        Some(Self { member: Arc::clone(member), on_trial: false, limit: limit.cloned() })
    }

    /// The one request that a member on trial may have. `None` if it has that already, or as many
    /// requests as it may.
    pub(super) fn on_trial(pool: &Pool, member: &Arc<Member>) -> Option<Self> {
        let Share::Trial(taken) = &member.share else { return None };
        if taken.compare_exchange(false, true, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return None;
        }
        let Some(mut pick) = Self::new(pool, member) else {
            taken.store(false, Ordering::Relaxed);
            return None;
        };
        pick.on_trial = true;
        Some(pick)
    }

    /// Returns whether this is the one request of a member on trial.
    pub fn is_trial(&self) -> bool {
        self.on_trial
    }

    /// The member that was chosen.
    pub fn member(&self) -> &Member {
        &self.member
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.member.counters.inflight.fetch_sub(1, Ordering::Relaxed);
        if let Share::Trial(taken) = &self.member.share
            && self.on_trial
        {
            taken.store(false, Ordering::Relaxed);
        }
        if let Some(limit) = &self.limit {
            limit.leave();
        }
    }
}

/// The reason why there is nothing to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPick {
    /// No node is known at all.
    NoneKnown,
    /// Nodes are known; none takes requests now.
    NoneUsable,
    /// Every node that takes requests was tried for this request.
    AllTried,
    /// Every node that was not tried, or the one that the client sticks to, has as many requests as
    /// it may.
    AllBusy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::health::Health;
    use crate::cluster::picker::samples::{balanced, member, on_trial, published};
    use crate::cluster::picker::{pick, pick_trial};

    #[test]
    fn a_pick_counts_in_flight_until_it_is_dropped() {
        let watch = published(vec![member(1, Health::Up, false)]);
        let pool = watch.borrow();
        let inflight = || pool.members()[0].counters.inflight.load(Ordering::Relaxed);
        let first = pick(&pool, &[]).expect("a node is up");
        let second = pick(&pool, &[]).expect("a node is up");
        assert_eq!(inflight(), 2);
        drop((first, second));
        assert_eq!(inflight(), 0);
    }

    #[test]
    fn a_node_on_trial_has_one_request_at_a_time_and_no_turn() {
        let watch = published(vec![on_trial(1), member(2, Health::Up, false), on_trial(3)]);
        let pool = watch.borrow();
        for _ in 0..4 {
            assert_eq!(pick(&pool, &[]).expect("a node is up").member().epoch, 2);
        }
        let first = pick_trial(&pool, &[]).expect("it is free");
        let second = pick_trial(&pool, &[]).expect("so is the other");
        assert_eq!((first.member().epoch, second.member().epoch), (1, 3));
        assert!(pick_trial(&pool, &[]).is_none());
        drop(first);
        assert!(pick_trial(&pool, &[1]).is_none(), "it was tried");
        assert_eq!(pick_trial(&pool, &[]).expect("free again").member().epoch, 1);
    }

    #[test]
    fn a_trial_counts_among_the_requests_that_a_node_may_have() {
        let watch = balanced("p2c", Some(1), vec![on_trial(1), member(2, Health::Up, false)]);
        let pool = watch.borrow();
        let old = pool.trials()[0].counters.inflight.fetch_add(1, Ordering::Relaxed);
        assert!(pick_trial(&pool, &[]).is_none());
        pool.trials()[0].counters.inflight.store(old, Ordering::Relaxed);
        assert!(pick_trial(&pool, &[]).is_some());
    }
}
