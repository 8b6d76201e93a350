//! The immutable view of the cluster that workers read: its members by their use, and the services
//! among which they are divided.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::inflight_limit::InflightLimit;
use super::member::Member;
use super::rotation::{self, Round};
use super::services::{Destination, Service, Services};
use super::sharing::Sharing;
use crate::cluster::balance::Balance;
use crate::cluster::health::Health;

/// An immutable view of the cluster, or of the members of one service in it.
#[derive(Debug, Default)]
pub struct Pool {
    /// In the order of their names.
    members: Vec<Arc<Member>>,
    usable: Vec<Arc<Member>>,
    trials: Vec<Arc<Member>>,
    last_resort: Vec<Arc<Member>>,
    /// One round of the rotation, as indices into `usable`; empty when each has one turn.
    rotation: Vec<u16>,
    /// The number of the next turn. Workers count it up; each pool hands it on to the next.
    next_turn: Arc<AtomicUsize>,
    last_usable: Option<Duration>,
    sharing: Sharing,
    /// Empty in the pool of a service, like `by_service`.
    services: Services,
    /// The pools of the services, in their order; empty while the whole cluster is one service.
    by_service: Vec<Self>,
}

impl Pool {
    /// The view that follows this one.
    ///
    /// - `members`: all members of the cluster, in any order.
    /// - `now`: time since the process started.
    pub(super) fn next(&self, mut members: Vec<Member>, sharing: &Sharing, now: Duration) -> Self {
        members.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        let members: Vec<_> = members.into_iter().map(Arc::new).collect();
        let services = self.services.next(&members, now);
        let by_service = services.divided().iter().map(|service| {
            let is_of = |member: &&Arc<Member>| service.has(member);
            let members = members.iter().filter(is_of).cloned().collect();
            let Service { next_turn, last_usable, .. } = service;
            Self::new(members, Arc::clone(next_turn), *last_usable, sharing)
        });
        let by_service = by_service.collect();
        let is_usable = members.iter().any(|member| member.health == Health::Up);
        let last_usable =
            if is_usable || !self.usable.is_empty() { Some(now) } else { self.last_usable };
        let whole = Self::new(members, Arc::clone(&self.next_turn), last_usable, sharing);
        Self { services, by_service, ..whole }
    }

    /// Sorts these members by their use.
    fn new(
        members: Vec<Arc<Member>>,
        next_turn: Arc<AtomicUsize>,
        last_usable: Option<Duration>,
        sharing: &Sharing,
    ) -> Self {
        let those = |test: &dyn Fn(&Member) -> bool| -> Vec<_> {
            members.iter().filter(|member| test(member)).cloned().collect()
        };
        let mut usable =
            those(&|member: &Member| member.health == Health::Up && !member.share.is_trial());
        let mut trials =
            those(&|member: &Member| member.health == Health::Up && member.share.is_trial());
        if usable.is_empty() {
            std::mem::swap(&mut usable, &mut trials);
        }
        let spare = |member: &Member| member.last_resort && member.health != Health::Up;
        let mut last_resort =
            those(&|member: &Member| spare(member) && member.health != Health::Suspect);
        if last_resort.is_empty() {
            last_resort = those(&spare);
        }
        Self {
            rotation: rotation::of(&usable),
            sharing: sharing.among(&members),
            members,
            usable,
            trials,
            last_resort,
            next_turn,
            last_usable,
            services: Services::default(),
            by_service: Vec::new(),
        }
    }

    /// The services of the cluster.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The service for a request with this host and target; `None` if no route takes it. A cluster
    /// with one service that takes everything looks at neither.
    pub fn route(&self, host: &str, target: &str) -> Option<Destination> {
        self.services.route(host, target)
    }

    /// The members for a request, as a pool of their own. `None` if the service is gone, or was not
    /// known when the request came: then the request has to be routed again.
    pub fn of(&self, to: Destination) -> Option<&Self> {
        if self.services.is_only(to) {
            Some(self)
        } else {
            self.by_service.get(self.services.index_of(to)?)
        }
    }

    /// The pools among which the members are divided: one for each service.
    fn parts(&self) -> impl Iterator<Item = &Self> {
        let whole = self.services.is_one().then_some(self);
        whole.into_iter().chain(&self.by_service)
    }

    /// All members, in the order of their names.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The member of this epoch, if it is there still.
    pub fn member(&self, epoch: u64) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.epoch == epoch)
    }

    /// The members that take requests.
    pub fn usable(&self) -> &[Arc<Member>] {
        &self.usable
    }

    /// The members that may have one request each; empty as a rule. When no other member is usable,
    /// they are usable instead and take all requests.
    pub fn trials(&self) -> &[Arc<Member>] {
        &self.trials
    }

    /// The members that take requests when no usable one is left: those that answer or, if there
    /// are none, those that are suspected.
    pub fn last_resort(&self) -> &[Arc<Member>] {
        &self.last_resort
    }

    /// The members that take requests now: the usable ones or, without any, those of last resort.
    pub(crate) fn eligible(&self) -> &[Arc<Member>] {
        if self.usable.is_empty() { &self.last_resort } else { &self.usable }
    }

    /// Returns whether the node still stands in this pool at the same epoch and is usable.
    pub fn is_usable(&self, epoch: u64) -> bool {
        let has = |part: &Self| part.usable.iter().any(|member| member.epoch == epoch);
        self.parts().any(has)
    }

    /// Returns whether the member of this epoch vanished: see [`Member::silent`]. A vanished member
    /// that takes requests all the same, because no other one does, is not reported: its answer is
    /// awaited.
    pub fn is_silent(&self, epoch: u64) -> bool {
        let of = |member: &Arc<Member>| member.epoch == epoch && member.silent;
        let left = self.members.iter().any(|member| member.left_silent == Some(epoch));
        left || self
            .parts()
            .any(|part| part.members.iter().any(of) && !part.eligible().iter().any(of))
    }

    /// Returns whether no member takes requests, and a member other than `these` epochs has fallen
    /// since `since` (time since the process started) because nobody listens there any more.
    pub fn fell_with_others(&self, these: &[u64], since: Duration) -> bool {
        self.eligible().is_empty()
            && self.members.iter().any(|member| {
                let fell = member.health == Health::Ejected && member.since >= since;
                fell && !these.contains(&member.epoch)
            })
    }

    /// When a member was last usable, as time since the process started; `None` if none ever was.
    /// While one is usable, this is the time of the publication.
    pub fn last_usable(&self) -> Option<Duration> {
        self.last_usable
    }

    /// One round of the rotation over [`Self::eligible`].
    pub(crate) fn round(&self) -> Round<'_> {
        // The order was computed for the usable members. Those of last resort have one turn each.
        Round::new(self.eligible(), &self.rotation)
    }

    /// The next turn of the rotation that all workers share: one relaxed atomic, so that requests
    /// in sequence visit the members in order, whatever connections they come over.
    pub(crate) fn next_turn(&self) -> usize {
        self.next_turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The policy by which the members share the requests.
    pub fn balance(&self) -> &Balance {
        &self.sharing.balance
    }

    /// The bound on the requests of each member; `None` is no bound.
    pub(crate) fn inflight_limit(&self) -> Option<&Arc<InflightLimit>> {
        self.sharing.inflight_limit.as_ref()
    }
}
