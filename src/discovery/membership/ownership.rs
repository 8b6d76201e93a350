//! The rules that decide which machine holds an id, and which address leads to it.
//!
//! The machines of an id differ in their boots. A known boot at a new address is one more
//! address of a known machine. A new boot at a known address is a restart. A new boot at a new address
//! takes over from a machine that no longer answers; if all of them do, it may be a clone.

use std::net::SocketAddr;
use std::sync::Arc;

use super::address::Address;
use super::context::Context;
use super::entry::Entry;
use super::event::EventKind;
use super::machine::Machine;
use super::verdict::Proof;
use crate::cluster::health::Health;
use crate::cluster::node::Boot;

/// Finds the machine for an address that has just proved which one is there.
pub(super) fn assign(entry: &mut Entry, key: u64, proof: &Proof, cx: &mut Context<'_>) {
    let is_it = |machine: &Machine| machine.proven && machine.boot == proof.boot;
    if let Some(at) = entry.machines.iter().position(|m| m.proven && m.active == key) {
        if entry.machines.iter().any(|m| is_it(m) && m.active != key) {
            // Another machine of this id turned out to be this very one.
            entry.machines.remove(at);
            cx.changed = true;
        } else if entry.machines[at].boot != proof.boot {
            restart(entry, at, proof.boot, cx);
        }
    } else if entry.machines.iter().any(is_it) {
        // One more address of a known machine: a stand-by.
        if let Some(address) = entry.address_mut(key) {
            address.disputed = None;
        }
    } else if let Some(at) = entry.machines.iter().position(|m| gives_way(entry, m, key)) {
        hand_over(entry, at, key, proof.boot, cx);
    } else {
        detect_clone(entry, key, proof.boot, cx);
    }
}

fn restart(entry: &mut Entry, at: usize, boot: Option<Boot>, cx: &mut Context<'_>) {
    let active = entry.machines[at].active;
    let endpoint = entry.address(active).map(|address| address.target.endpoint);
    let machine = &mut entry.machines[at];
    cx.log.record(EventKind::Restarted, machine.subject(), endpoint, "");
    machine.renew(boot, active, cx);
    machine.since = cx.now;
    entry.ask_stand_bys(active, cx.now);
}

/// True if a machine leaves its place to the one that answers at this address. A machine that serves
/// does not.
fn gives_way(entry: &Entry, machine: &Machine, key: u64) -> bool {
    let merit = |key| entry.address(key).map(Address::merit);
    !machine.proven || merit(key) > merit(machine.active)
}

/// Lets the machine at this position go on at another address, in this start.
pub(super) fn hand_over(
    entry: &mut Entry,
    at: usize,
    key: u64,
    boot: Option<Boot>,
    cx: &mut Context<'_>,
) {
    let Some(endpoint) = entry.address(key).map(|address| address.target.endpoint) else { return };
    let silent = entry.address(entry.machines[at].active).is_some_and(|address| address.silent);
    let machine = &mut entry.machines[at];
    machine.left_silent = Some(machine.epoch).filter(|_| silent && machine.proven);
    if machine.proven {
        cx.log.record(EventKind::Moved, machine.subject(), Some(endpoint), "");
    } else if !cx.has_room {
        cx.log.record_refused(entry.label.clone(), "the table of nodes is full", cx.now);
        return entry.addresses.clear();
    }
    machine.renew(boot, key, cx);
    if let Some(address) = entry.address_mut(key) {
        // Until now it was asked as seldom as a stand-by is.
        address.ask(cx.now);
    }
}

/// A second machine answers as this id while the first one goes on to answer. There are certainly two
/// only once they have answered in turn: the newcomer, then the machines that hold the id, then the
/// newcomer again. A restart that is seen over two addresses cannot look like that.
fn detect_clone(entry: &mut Entry, key: u64, boot: Option<Boot>, cx: &mut Context<'_>) {
    let Some(address) = entry.address_mut(key) else { return };
    let (Some(newcomer), Health::Up) = (address.proof, address.health()) else { return };
    let first = *address.disputed.get_or_insert(cx.now);
    let endpoint = address.target.endpoint;
    let answered_between = |machine: &Machine| {
        let known = entry.address(machine.active).and_then(|address| address.proof);
        known.is_some_and(|known| known.asked >= first && known.received <= newcomer.asked)
    };
    if entry.machines.iter().all(answered_between) {
        if cx.has_room {
            add_clone(entry, key, endpoint, boot, cx);
        }
        return;
    }
    let actives: Vec<u64> = entry.machines.iter().map(|machine| machine.active).collect();
    let is_pending = |address: &&mut Address| {
        actives.contains(&address.key) && address.proof.is_none_or(|proof| proof.asked < first)
    };
    entry.addresses.iter_mut().filter(is_pending).for_each(|address| address.ask(cx.now));
}

fn add_clone(
    entry: &mut Entry,
    key: u64,
    endpoint: SocketAddr,
    boot: Option<Boot>,
    cx: &mut Context<'_>,
) {
    let first = &entry.machines[0];
    let beside = entry.address(first.active).map_or(endpoint, |address| address.target.endpoint);
    let detail = format!(
        "also {} on {beside}, id {}: a copied PICLUSTER_ID or one hardware id twice; \
         give each machine a PICLUSTER_ID of its own",
        first.known_as(),
        entry.id
    );
    let mut machine = Machine::new(first.wanted.clone(), key, cx);
    machine.renew(boot, key, cx);
    cx.log.record(EventKind::Cloned, machine.subject(), Some(endpoint), detail);
    entry.machines.push(machine);
    if let Some(address) = entry.address_mut(key) {
        address.disputed = None;
    }
}

/// The stand-by by which a machine is better reached than by its active address. A suspect address is
/// left for one that answers. An address that is no longer advertised is left at its first failure: the
/// node has moved.
fn replacement(entry: &Entry, machine: &Machine) -> Option<u64> {
    let active = entry.address(machine.active)?;
    let moved = active.instance.is_none() && active.record.failed() > 0;
    let since = active.record.failing_since().unwrap_or(active.record.since());
    let is_better = |address: &&Address| {
        let fresh = address.proof.is_some_and(|proof| proof.asked >= since);
        let whole = address.health() == Health::Up
            && (active.health() == Health::Suspect || (moved && address.instance.is_some()));
        address.key != active.key && fresh && (address.merit() > active.merit() || whole)
    };
    let mut stand_bys = entry.addresses.iter().filter(|address| address.is_of(machine.boot));
    stand_bys.find(|address| machine.proven && is_better(address)).map(|address| address.key)
}

/// Brings the machines in line with their addresses: a machine that has lost its address takes a
/// stand-by, one that has none left is dropped, and each change is recorded.
pub(super) fn settle(entry: &mut Entry, cx: &mut Context<'_>) {
    if let (true, Some(first)) = (entry.machines.is_empty(), entry.addresses.first()) {
        entry.machines.push(Machine::new(entry.candidate_name(), first.key, cx));
    }
    for at in 0..entry.machines.len() {
        if let Some(key) = replacement(entry, &entry.machines[at]) {
            let boot = entry.machines[at].boot;
            hand_over(entry, at, key, boot, cx);
        }
    }
    let offers = &entry.offers;
    for machine in &mut entry.machines {
        let offer = if machine.proven { offers.of_start(machine.boot) } else { offers.newest() };
        if let Some(offer) = offer.filter(|offer| **offer != machine.offer) {
            machine.offer = Arc::clone(offer);
            cx.changed = true;
        }
    }
    let leads_to_none =
        |address: &Address| !entry.machines.iter().any(|m| m.is_reached_by(address));
    let unclaimed = entry.addresses.iter().any(|a| a.instance.is_some() && leads_to_none(a));
    let (addresses, foreign) = (&entry.addresses, entry.foreign);
    entry.machines.retain_mut(|machine| machine.refresh(addresses, unclaimed, foreign, cx));
}
