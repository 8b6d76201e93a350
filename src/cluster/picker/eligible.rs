//! The members that a policy may choose for one attempt: the input of every policy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::guard::NoPick;
use crate::cluster::pool::{Member, Pool};

/// The members of a pool that may be chosen for one attempt: they take requests, were not tried for
/// this request, and have fewer requests than they may.
pub(super) struct Eligible<'a> {
    pub(super) pool: &'a Pool,
    /// The epochs of the members that were tried.
    pub(super) tried: &'a [u64],
}

impl<'a> Eligible<'a> {
    /// All members that take requests, the tried and the full ones included.
    pub(super) fn all(&self) -> &'a [Arc<Member>] {
        self.pool.eligible()
    }

    /// Returns whether a member of [`Self::all`] may be chosen.
    pub(super) fn has(&self, member: &Member) -> bool {
        let inflight_max = self.pool.inflight_limit().map(|limit| limit.inflight_max());
        !self.tried.contains(&member.epoch) && inflight_max.is_none_or(|max| inflight(member) < max)
    }

    /// The members that may be chosen, in the order of their names.
    pub(super) fn members(&self) -> impl Iterator<Item = &'a Arc<Member>> {
        self.all().iter().filter(|member| self.has(member))
    }

    /// The reason why there is none.
    pub(super) fn why_none(&self) -> NoPick {
        let (all, tried) = (self.all(), self.tried);
        match (all.is_empty(), self.pool.members().is_empty()) {
            (true, true) => NoPick::NoneKnown,
            (true, false) => NoPick::NoneUsable,
            (false, _) if all.iter().all(|m| tried.contains(&m.epoch)) => NoPick::AllTried,
            (false, _) => NoPick::AllBusy,
        }
    }
}

/// The number of requests that a member has now.
pub(super) fn inflight(member: &Member) -> u32 {
    member.counters.inflight.load(Ordering::Relaxed)
}
