//! Members and pools for the tests of the policies.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::balance::Balance;
use crate::cluster::health::Health;
use crate::cluster::pool::{self, Member, Share};

/// Every policy, as flags and TXT records name it.
pub(super) const POLICIES: [&str; 5] = ["round-robin", "least-requests", "p2c", "hash", "first"];

pub(super) fn member(epoch: u64, health: Health, last_resort: bool) -> Member {
    Member { health, last_resort, ..Member::sample(epoch) }
}

/// Members that are up, with the epochs from 1 to `count`.
pub(super) fn up(count: u64) -> Vec<Member> {
    (1..=count).map(|epoch| member(epoch, Health::Up, false)).collect()
}

pub(super) fn with_share(epoch: u64, share: Share) -> Member {
    Member { share, ..member(epoch, Health::Up, false) }
}

pub(super) fn on_trial(epoch: u64) -> Member {
    with_share(epoch, Share::Trial(Arc::default()))
}

/// These members, published under round robin.
pub(super) fn published(members: Vec<Member>) -> pool::Watch {
    balanced("round-robin", None, members)
}

/// These members, published under this policy.
pub(super) fn balanced(
    balance: &str,
    inflight_max: Option<u32>,
    members: Vec<Member>,
) -> pool::Watch {
    let (publisher, watch) = pool::channel();
    let balance = Balance::parse(balance).expect("a known policy");
    publisher.balancing(balance, inflight_max).publish(members, Duration::ZERO);
    watch
}
