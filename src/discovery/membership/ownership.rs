//! Who gets the seat: an address has just proved which machine, in which start, is there.
//!
//! The machines of an id are told apart by their boots. A known boot is one more way to a known
//! machine; a new boot at a known way is a restart; a new boot by a new way takes the seat of a
//! machine that no longer answers, and has to be told from a clone if all of them do.

use std::time::Duration;

use super::address::Address;
use super::entry::{Context, Entry};
use super::event::EventKind;
use super::machine::Machine;
use super::probe::Proof;
use crate::cluster::health::{Health, Outcome};
use crate::cluster::node::Boot;

impl Entry {
    /// Finds the machine for a way that has just proved who is there.
    pub(super) fn seat(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let of_boot = |machine: &Machine| machine.proven && machine.boot == proof.boot;
        if let Some(at) = self.machines.iter().position(|h| h.proven && h.active == key) {
            let other = self.machines.iter().position(|h| of_boot(h) && h.active != key);
            match other {
                // Another machine turned out to be this very machine.
                Some(_) => {
                    self.machines.remove(at);
                    cx.log.changed = true;
                }
                None if self.machines[at].boot != proof.boot => self.restart(at, proof.boot, cx),
                None => {}
            }
        } else if self.machines.iter().any(of_boot) {
            // One more way to a known machine: a stand-by.
            if let Some(address) = self.address_mut(key) {
                address.disputed = None;
            }
        } else if let Some(at) = self.machines.iter().position(|h| self.gives_way(h, key)) {
            self.hand_over(at, key, proof.boot, cx);
        } else {
            self.dispute(key, proof, cx);
        }
    }

    fn restart(&mut self, at: usize, boot: Option<Boot>, cx: &mut Context<'_>) {
        let machine = &mut self.machines[at];
        let endpoint = self.addresses.iter().find(|address| address.key == machine.active);
        let endpoint = endpoint.map(|address| address.target.endpoint);
        cx.log.tell(EventKind::Restarted, machine, endpoint, "");
        let active = machine.active;
        machine.renew(boot, active, cx);
        machine.since = cx.now;
        self.ask_stand_bys(active, cx.now);
    }

    /// Whether a machine leaves its seat to whoever answers by this way. One that serves does not.
    fn gives_way(&self, machine: &Machine, key: u64) -> bool {
        let merit = |key| self.address(key).map(Address::merit);
        !machine.proven || merit(key) > merit(machine.active)
    }

    pub(super) fn hand_over(
        &mut self,
        at: usize,
        key: u64,
        boot: Option<Boot>,
        cx: &mut Context<'_>,
    ) {
        let Some(endpoint) = self.address(key).map(|address| address.target.endpoint) else {
            return;
        };
        let left = self.address(self.machines[at].active).is_some_and(|address| address.silent);
        let machine = &mut self.machines[at];
        machine.left_silent = Some(machine.epoch).filter(|_| left && machine.proven);
        if machine.proven {
            cx.log.tell(EventKind::Moved, machine, Some(endpoint), "");
        } else if !cx.room {
            cx.log.refuse(self.label.clone(), "the table of nodes is full", cx.now);
            return self.addresses.clear();
        }
        machine.renew(boot, key, cx);
        if let Some(address) = self.address_mut(key) {
            // It was asked as seldom as a stand-by is.
            address.ask(cx.now);
        }
    }

    /// A second machine answers as this id while the first one goes on to answer. That two are
    /// there is certain only once they have answered in turn: the newcomer, then the machines, then
    /// the newcomer again; a restart seen over two ways cannot look like that.
    fn dispute(&mut self, key: u64, proof: &Proof, cx: &mut Context<'_>) {
        let Some(address) = self.address_mut(key) else { return };
        let (Some(answer), Health::Up) = (address.answer, address.health()) else { return };
        let first = *address.disputed.get_or_insert(cx.now);
        let endpoint = address.target.endpoint;
        let in_turn = |machine: &Machine| {
            let held = self.address(machine.active).and_then(|address| address.answer);
            held.is_some_and(|held| held.asked >= first && held.received <= answer.asked)
        };
        if !self.machines.iter().all(in_turn) {
            let actives: Vec<u64> = self.machines.iter().map(|machine| machine.active).collect();
            let pending = |address: &&mut Address| {
                actives.contains(&address.key)
                    && address.answer.is_none_or(|held| held.asked < first)
            };
            self.addresses.iter_mut().filter(pending).for_each(|address| address.ask(cx.now));
        } else if cx.room {
            let first = &self.machines[0];
            let beside =
                self.address(first.active).map_or(endpoint, |address| address.target.endpoint);
            let detail = format!(
                "also {} on {beside}, id {}: a copied PICLUSTER_ID or one hardware id twice; \
                 give each machine a PICLUSTER_ID of its own",
                first.known_as(),
                self.id
            );
            let mut machine = Machine::new(first.wanted.clone(), key, cx);
            machine.renew(proof.boot, key, cx);
            cx.log.tell(EventKind::Cloned, &machine, Some(endpoint), detail);
            self.machines.push(machine);
            if let Some(address) = self.address_mut(key) {
                address.disputed = None;
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
        let Some(machine) = self.machines.iter_mut().find(|h| h.proven && h.boot == proof.boot)
        else {
            return;
        };
        if let Some(name) = proof.name.as_ref().filter(|name| **name != machine.wanted) {
            machine.wanted.clone_from(name);
            cx.log.changed = true;
        }
        machine.hear_of_its_board(proof.pi.as_ref(), cx);
        match outcome {
            Outcome::Draining => machine.drained = true,
            Outcome::Healthy => {
                machine.drained = false;
                if machine.goodbye.take_if(|goodbye| asked >= goodbye.at).is_some() {
                    let detail = "forged, or the advertisement was lost: it stays";
                    cx.log.tell(EventKind::FalseGoodbye, machine, None, detail);
                }
            }
            _ => {}
        }
    }

    /// The stand-by that a machine should be reached by instead. Its first failure
    /// is enough if the active way is no longer advertised: the node has moved. A suspect one is left
    /// for one that answers.
    pub(super) fn replacement(&self, machine: &Machine) -> Option<u64> {
        let active = self.address(machine.active)?;
        let moved = active.instance.is_none() && active.record.failed() > 0;
        let since = active.record.failing_since().unwrap_or(active.record.since());
        let better = |address: &&Address| {
            let fresh = address.answer.is_some_and(|answer| answer.asked >= since);
            let whole = address.health() == Health::Up
                && (active.health() == Health::Suspect || (moved && address.instance.is_some()));
            address.key != active.key && fresh && (address.merit() > active.merit() || whole)
        };
        let mut stand_bys = self.addresses.iter().filter(|address| address.is_of(machine.boot));
        stand_bys.find(|address| machine.proven && better(address)).map(|address| address.key)
    }
}
