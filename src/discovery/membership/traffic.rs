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
        let found = self.entries.iter().find_map(|(id, entry)| {
            let at = entry.machines.iter().position(|machine| machine.epoch == epoch)?;
            let machine = &entry.machines[at];
            machine.proven.then(|| (id.clone(), at, machine))
        });
        let Some((id, at, machine)) = found else { return };
        let wrong = matches!(outcome, Outcome::Erring | Outcome::Breaking);
        let (alone, active) = (wrong && self.errs_alone(machine), machine.active);
        self.with(&id, now, |entry, cx| {
            entry.tried(at, outcome, alone, cx);
            entry.observed(active, outcome, cx);
        });
    }

    /// Whether a node may be ejected for what goes wrong with it. Not when half of its peers have just
    /// done wrong too, because then it is the application; and never more than half of the nodes,
    /// so never the last one. The nodes are those of its service.
    fn errs_alone(&self, node: &Machine) -> bool {
        let (mut peers, mut alike, mut out, mut all) = (0, 0, 0, 0);
        let is_peer = |machine: &Machine| {
            !machine.drained_here && machine.offer.service == node.offer.service
        };
        for machine in self.machines().filter(|machine| is_peer(machine)) {
            let is_out = machine.outlier.is_out(machine.shown);
            out += usize::from(is_out);
            all += usize::from(is_out || machine.shown == Health::Up);
            if machine.epoch != node.epoch && machine.has_share() {
                peers += 1;
                alike += usize::from(machine.counters.errors.load(Ordering::Relaxed) > 0);
            }
        }
        alike * 2 < peers && (out + 1) * 2 <= all
    }

    fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.entries.values().flat_map(|entry| &entry.machines).filter(|machine| machine.proven)
    }

    /// What the nodes offer that have a share of the requests.
    pub(super) fn usable(&self) -> Vec<Arc<Offer>> {
        let usable = self.machines().filter(|machine| machine.has_share());
        usable.map(|machine| Arc::clone(&machine.offer)).collect()
    }

    /// When time alone changes what a node gets.
    pub(super) fn next_step(&self) -> Option<Duration> {
        self.machines().filter_map(|machine| machine.outlier.next_step(machine.shown)).min()
    }

    /// Time has passed.
    pub(super) fn advance(&mut self, now: Duration) {
        let due = |entry: &&Entry| {
            let steps = entry.machines.iter().filter(|machine| machine.proven);
            steps.filter_map(|h| h.outlier.next_step(h.shown)).any(|at| at <= now)
        };
        let due: Vec<NodeId> =
            self.entries.values().filter(due).map(|entry| entry.id.clone()).collect();
        for id in due {
            self.with(&id, now, Entry::advance);
        }
    }
}

impl Entry {
    /// What a request's outcome does to the outlier of a machine. `alone`: requests go wrong here, and
    /// not at its peers.
    fn tried(&mut self, at: usize, outcome: Outcome, alone: bool, cx: &mut Context<'_>) {
        let machine = &mut self.machines[at];
        let address = self.addresses.iter().find(|address| address.key == machine.active);
        let well =
            address.and_then(|address| address.answer.filter(|_| address.record.failed() == 0));
        let usable = cx.usable(&machine.offer);
        let (shown, outlier) = (machine.shown, &mut machine.outlier);
        let moved = match outcome {
            Outcome::Answered => outlier.passed(shown, usable, cx.now),
            Outcome::Broken => outlier.broke(shown, usable, cx.now),
            Outcome::Erring if alone && shown == Health::Up => {
                outlier.erred(Ejection::Errors, cx.now);
                true
            }
            Outcome::Breaking if alone && shown == Health::Up => {
                outlier.breaks_off(well.map(|answer| answer.asked), cx.now)
            }
            _ => false,
        };
        if moved && alone {
            machine.counters.errors.store(0, Ordering::Relaxed);
        }
        if moved {
            cx.log.changed = true;
            self.settle(cx);
        }
    }
}
