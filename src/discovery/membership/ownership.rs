//! Who gets the seat: an address has just proved which machine, in which start, is there.
//!
//! The holders of an id are told apart by their boots. A known boot is one more way to a known
//! machine; a new boot at a known way is a restart; a new boot by a new way takes the seat of a
//! holder that no longer answers, and has to be told from a clone if all of them do.

use std::time::Duration;

use super::address::Address;
use super::entry::{Context, Entry};
use super::event::EventKind;
use super::machine::Machine;
use super::probe::Proof;
use crate::cluster::health::{Health, Outcome};
use crate::cluster::node::Boot;

impl Entry {
    /// Finds the holder for a way that has just proved who is there.
    pub(super) fn seat(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let of_boot = |holder: &Machine| holder.proven && holder.boot == proof.boot;
        if let Some(at) = self.holders.iter().position(|h| h.proven && h.active == key) {
            let other = self.holders.iter().position(|h| of_boot(h) && h.active != key);
            match other {
                // Another holder turned out to be this very machine.
                Some(_) => {
                    self.holders.remove(at);
                    cx.ledger.changed = true;
                }
                None if self.holders[at].boot != proof.boot => self.restart(at, proof.boot, cx),
                None => {}
            }
        } else if self.holders.iter().any(of_boot) {
            // One more way to a known machine: a stand-by.
            if let Some(way) = self.way_mut(key) {
                way.disputed = None;
            }
        } else if let Some(at) = self.holders.iter().position(|h| self.gives_way(h, key)) {
            self.hand_over(at, key, proof.boot, cx);
        } else {
            self.dispute(key, proof, cx);
        }
    }

    fn restart(&mut self, at: usize, boot: Option<Boot>, cx: &mut Context<'_>) {
        let holder = &mut self.holders[at];
        let endpoint = self.ways.iter().find(|way| way.key == holder.active);
        let endpoint = endpoint.map(|way| way.target.endpoint);
        cx.ledger.tell(EventKind::Restarted, holder, endpoint, "");
        let active = holder.active;
        holder.renew(boot, active, cx);
        holder.since = cx.now;
        self.ask_stand_bys(active, cx.now);
    }

    /// Whether a holder leaves its seat to whoever answers by this way. One that serves does not.
    fn gives_way(&self, holder: &Machine, key: u64) -> bool {
        let merit = |key| self.way(key).map(Address::merit);
        !holder.proven || merit(key) > merit(holder.active)
    }

    pub(super) fn hand_over(
        &mut self,
        at: usize,
        key: u64,
        boot: Option<Boot>,
        cx: &mut Context<'_>,
    ) {
        let Some(endpoint) = self.way(key).map(|way| way.target.endpoint) else { return };
        let left = self.way(self.holders[at].active).is_some_and(|way| way.silent);
        let holder = &mut self.holders[at];
        holder.left_silent = Some(holder.epoch).filter(|_| left && holder.proven);
        if holder.proven {
            cx.ledger.tell(EventKind::Moved, holder, Some(endpoint), "");
        } else if !cx.room {
            cx.ledger.refuse(self.label.clone(), "the table of nodes is full", cx.now);
            return self.ways.clear();
        }
        holder.renew(boot, key, cx);
        if let Some(way) = self.way_mut(key) {
            // It was asked as seldom as a stand-by is.
            way.ask(cx.now);
        }
    }

    /// A second machine answers as this id while the first one goes on to answer. That two are
    /// there is certain only once they have answered in turn: the newcomer, then the holders, then
    /// the newcomer again; a restart seen over two ways cannot look like that.
    fn dispute(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let Some(way) = self.way_mut(key) else { return };
        let (Some(answer), Health::Up) = (way.answer, way.health()) else { return };
        let first = *way.disputed.get_or_insert(cx.now);
        let endpoint = way.target.endpoint;
        let in_turn = |holder: &Machine| {
            let held = self.way(holder.active).and_then(|way| way.answer);
            held.is_some_and(|held| held.asked >= first && held.received <= answer.asked)
        };
        if !self.holders.iter().all(in_turn) {
            let actives: Vec<u64> = self.holders.iter().map(|holder| holder.active).collect();
            let pending = |way: &&mut Address| {
                actives.contains(&way.key) && way.answer.is_none_or(|held| held.asked < first)
            };
            self.ways.iter_mut().filter(pending).for_each(|way| way.ask(cx.now));
        } else if cx.room {
            let first = &self.holders[0];
            let beside = self.way(first.active).map_or(endpoint, |way| way.target.endpoint);
            let detail = format!(
                "also {} on {beside}, id {}: a copied PICLUSTER_ID or one hardware id twice; \
                 give each machine a PICLUSTER_ID of its own",
                first.known_as(),
                self.id
            );
            let mut holder = Machine::new(first.wanted.clone(), key, cx);
            holder.renew(proof.boot, key, cx);
            cx.ledger.tell(EventKind::Cloned, &holder, Some(endpoint), detail);
            self.holders.push(holder);
            if let Some(way) = self.way_mut(key) {
                way.disputed = None;
            }
        }
    }

    /// What the machine itself says: its name, and whether it is about to go.
    pub(super) fn hear(
        &mut self,
        proof: &Proof,
        outcome: Outcome,
        asked: Duration,
        cx: &mut Context<'_>,
    ) {
        let Some(holder) = self.holders.iter_mut().find(|h| h.proven && h.boot == proof.boot)
        else {
            return;
        };
        if let Some(name) = proof.name.as_ref().filter(|name| **name != holder.wanted) {
            holder.wanted.clone_from(name);
            cx.ledger.changed = true;
        }
        holder.hear_of_its_board(proof.pi.as_ref(), cx);
        match outcome {
            Outcome::Draining => holder.drained = true,
            Outcome::Healthy => {
                holder.drained = false;
                if holder.farewell.take_if(|farewell| asked >= farewell.at).is_some() {
                    let detail = "forged, or the advertisement was lost: it stays";
                    cx.ledger.tell(EventKind::FalseGoodbye, holder, None, detail);
                }
            }
            _ => {}
        }
    }

    /// The stand-by that a holder should be reached by instead. Its first failure
    /// is enough if the active way is no longer advertised: the node has moved. A suspect one is left
    /// for one that answers.
    pub(super) fn replacement(&self, holder: &Machine) -> Option<u64> {
        let active = self.way(holder.active)?;
        let moved = active.instance.is_none() && active.record.failed() > 0;
        let since = active.record.failing_since().unwrap_or(active.record.since());
        let better = |way: &&Address| {
            let fresh = way.answer.is_some_and(|answer| answer.asked >= since);
            let whole = way.health() == Health::Up
                && (active.health() == Health::Suspect || (moved && way.instance.is_some()));
            way.key != active.key && fresh && (way.merit() > active.merit() || whole)
        };
        let mut stand_bys = self.ways.iter().filter(|way| way.is_of(holder.boot));
        stand_bys.find(|way| holder.proven && better(way)).map(|way| way.key)
    }
}
