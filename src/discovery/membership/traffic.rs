//! What requests say of nodes: what one alone decides, and what only a look at its peers does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Membership;
use super::entry::{Context, Entry};
use super::event::Ejection;
use super::machine::Machine;
use crate::cluster::health::{Health, Outcome};
use crate::cluster::node::{NodeId, Offer};

impl Membership {
    /// Takes traffic's word about the member of this epoch. A refused connection and a draining
    /// answer count at once; anything else bad only asks for a probe at once, unless the node is on
    /// trial. An answer ends a doubt and a trial; not every one has to be told.
    pub fn observed(&mut self, epoch: u64, outcome: Outcome, now: Duration) {
        let found = self.claims.iter().find_map(|(id, claim)| {
            let at = claim.holders.iter().position(|holder| holder.epoch == epoch)?;
            let holder = &claim.holders[at];
            holder.proven.then(|| (id.clone(), at, holder))
        });
        let Some((id, at, holder)) = found else { return };
        let wrong = matches!(outcome, Outcome::Erring | Outcome::Breaking);
        let (alone, active) = (wrong && self.errs_alone(holder), holder.active);
        self.with(&id, now, |claim, cx| {
            claim.tried(at, outcome, alone, cx);
            claim.observed(active, outcome, cx);
        });
    }

    /// Whether a node may be ejected for what goes wrong with it. Not when half of its peers have just
    /// done wrong too, because then it is the application; and never more than half of the nodes,
    /// so never the last one. The nodes are those of its service.
    fn errs_alone(&self, node: &Machine) -> bool {
        let (mut peers, mut alike, mut out, mut all) = (0, 0, 0, 0);
        let is_peer =
            |holder: &Machine| !holder.drained_here && holder.offer.service == node.offer.service;
        for holder in self.holders().filter(|holder| is_peer(holder)) {
            let is_out = holder.standing.is_out(holder.shown);
            out += usize::from(is_out);
            all += usize::from(is_out || holder.shown == Health::Up);
            if holder.epoch != node.epoch && holder.has_share() {
                peers += 1;
                alike += usize::from(holder.counters.errors.load(Ordering::Relaxed) > 0);
            }
        }
        alike * 2 < peers && (out + 1) * 2 <= all
    }

    fn holders(&self) -> impl Iterator<Item = &Machine> {
        self.claims.values().flat_map(|claim| &claim.holders).filter(|holder| holder.proven)
    }

    /// What the nodes offer that have a share of the requests.
    pub(super) fn usable(&self) -> Vec<Arc<Offer>> {
        let usable = self.holders().filter(|holder| holder.has_share());
        usable.map(|holder| Arc::clone(&holder.offer)).collect()
    }

    /// When time alone changes what a node gets.
    pub(super) fn next_step(&self) -> Option<Duration> {
        self.holders().filter_map(|holder| holder.standing.next_step(holder.shown)).min()
    }

    /// Time has passed.
    pub(super) fn advance(&mut self, now: Duration) {
        let due = |claim: &&Entry| {
            let steps = claim.holders.iter().filter(|holder| holder.proven);
            steps.filter_map(|h| h.standing.next_step(h.shown)).any(|at| at <= now)
        };
        let due: Vec<NodeId> =
            self.claims.values().filter(due).map(|claim| claim.id.clone()).collect();
        for id in due {
            self.with(&id, now, Entry::advance);
        }
    }
}

impl Entry {
    /// What a request's outcome does to the standing of a holder. `alone`: requests go wrong here, and
    /// not at its peers.
    fn tried(&mut self, at: usize, outcome: Outcome, alone: bool, cx: &mut Context<'_>) {
        let holder = &mut self.holders[at];
        let way = self.ways.iter().find(|way| way.key == holder.active);
        let well = way.and_then(|way| way.answer.filter(|_| way.record.failed() == 0));
        let usable = cx.usable(&holder.offer);
        let (shown, standing) = (holder.shown, &mut holder.standing);
        let moved = match outcome {
            Outcome::Answered => standing.passed(shown, usable, cx.now),
            Outcome::Broken => standing.broke(shown, usable, cx.now),
            Outcome::Erring if alone && shown == Health::Up => {
                standing.erred(Ejection::Errors, cx.now);
                true
            }
            Outcome::Breaking if alone && shown == Health::Up => {
                standing.breaks_off(well.map(|answer| answer.asked), cx.now)
            }
            _ => false,
        };
        if moved && alone {
            holder.counters.errors.store(0, Ordering::Relaxed);
        }
        if moved {
            cx.ledger.changed = true;
            self.settle(cx);
        }
    }
}
