//! The rules by which members share the requests: the policy, and the bound on the requests of
//! each.

use std::sync::Arc;

use super::inflight_limit::InflightLimit;
use super::member::Member;
use crate::cluster::balance::Balance;
use crate::cluster::health::Health;

/// The rules by which members share the requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing {
    pub(super) balance: Balance,
    /// The bound on the requests of each member; `None` is no bound.
    pub(super) inflight_limit: Option<Arc<InflightLimit>>,
}

impl Sharing {
    /// The same for these members, with the policy that they ask for. Of those that name a policy,
    /// the one that joined first decides. A member that has not proved itself has no say.
    pub(super) fn among(&self, members: &[Arc<Member>]) -> Self {
        let proven = members.iter().filter(|member| member.health != Health::Starting);
        let wanted =
            proven.filter_map(|member| Some((member.epoch, member.node.offer.balance.as_ref()?)));
        let first = wanted.min_by_key(|(epoch, _)| *epoch);
        let balance = first.map_or(&self.balance, |(_, balance)| balance).clone();
        Self { balance, inflight_limit: self.inflight_limit.clone() }
    }
}
