//! Changes that a source's word makes to one entry.
//!
//! A source proposes and never decides: its word adds addresses and asks for probes, and it changes
//! no address that has answered.

use std::net::SocketAddr;

use super::address::{Address, Target};
use super::context::Context;
use super::entry::Entry;
use super::machine::Goodbye;
use super::ownership::settle;
use crate::cluster::config::ENDPOINTS_MAX;
use crate::cluster::node::{Advertisement, Boot, Sighting, printable};
use crate::cluster::protocol::HEALTH_PATH;

/// Takes in a sighting: adds the addresses that are new, and asks those that do not answer.
pub(super) fn sighted(entry: &mut Entry, sighting: &Sighting, cx: &mut Context<'_>) {
    let targets = targets(sighting, entry.foreign);
    for target in &targets {
        let known = entry.addresses.iter().position(|address| address.target == *target);
        let Some(at) = known.or_else(|| add_address(entry, target, cx)) else { continue };
        let address = &mut entry.addresses[at];
        address.hostname = hostname(sighting);
        // Only the instance that advertised it first may withdraw it.
        address.instance.get_or_insert_with(|| sighting.instance.clone());
        if !address.health().answers() {
            address.ask(cx.now);
        }
        for machine in entry.machines.iter_mut().filter(|m| m.is_reached_by(address)) {
            machine.goodbye = None;
        }
    }
    for address in &mut entry.addresses {
        let ours = address.instance.as_deref() == Some(sighting.instance.as_str());
        if ours && !targets.contains(&address.target) {
            address.instance = None;
            address.ask(cx.now);
        }
    }
    let Advertisement { boot, offer, .. } = &sighting.advertisement;
    let is_proven = |boot: Option<Boot>| entry.machines.iter().any(|m| m.proven && m.boot == boot);
    entry.offers.advertised(*boot, offer, is_proven);
    drop_unproven_absent(entry);
    settle(entry, cx);
}

/// Takes in that a source no longer hears of this instance: asks the node itself. `doubted` is put
/// down with the goodbye. True if the instance led to a proven machine.
pub(super) fn withdrawn(
    entry: &mut Entry,
    instance: &str,
    doubted: bool,
    cx: &mut Context<'_>,
) -> bool {
    let mut meant_a_node = false;
    for address in &mut entry.addresses {
        if address.instance.as_deref() != Some(instance) {
            continue;
        }
        address.instance = None;
        address.ask(cx.now);
        for machine in entry.machines.iter_mut().filter(|m| m.proven && m.is_reached_by(address)) {
            meant_a_node = true;
            // The advertisement of a node that was gone before has only expired: that is no goodbye.
            if machine.shown.answers() {
                machine.goodbye = Some(Goodbye { at: cx.now, doubted });
                cx.changed = true;
            }
        }
    }
    drop_unproven_absent(entry);
    settle(entry, cx);
    meant_a_node
}

/// Enters a new address, in the place of one that may be replaced if the entry is full. Returns its
/// position, or `None` if there is no place.
fn add_address(entry: &mut Entry, target: &Target, cx: &mut Context<'_>) -> Option<usize> {
    if entry.addresses.len() >= ENDPOINTS_MAX {
        let idle = |address: &Address| address.may_be_replaced() && !entry.is_active(address.key);
        let oldest = entry.addresses.iter().position(idle)?;
        entry.addresses.remove(oldest);
    }
    entry.addresses.push(Address::new(cx.numbers.draw(), target.clone(), cx.now));
    Some(entry.addresses.len() - 1)
}

/// Drops the addresses that are no longer advertised and never proved a machine.
fn drop_unproven_absent(entry: &mut Entry) {
    let machines = &entry.machines;
    entry.addresses.retain(|address| {
        let active = machines.iter().any(|machine| machine.proven && machine.active == address.key);
        address.instance.is_some() || address.proof.is_some() || active
    });
}

/// The targets that a sighting proposes: at most [`ENDPOINTS_MAX`], none twice.
fn targets(sighting: &Sighting, foreign: bool) -> Vec<Target> {
    let advertisement = &sighting.advertisement;
    let path = match &advertisement.health {
        Some(path) if foreign => path.clone(),
        None if foreign => "/".to_owned(),
        _ => HEALTH_PATH.to_owned(),
    };
    let target = |endpoint: &SocketAddr| Target {
        endpoint: *endpoint,
        health_port: advertisement.ctl.filter(|_| !foreign).unwrap_or(endpoint.port()),
        path: path.clone(),
    };
    let mut targets: Vec<Target> = Vec::with_capacity(ENDPOINTS_MAX);
    for target in sighting.endpoints.iter().take(ENDPOINTS_MAX).map(target) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// The hostname that a node advertises; of a foreign device the one that its record points to.
fn hostname(sighting: &Sighting) -> String {
    let own = sighting.advertisement.hostname.as_ref();
    let own = own.filter(|_| sighting.advertisement.id.is_some());
    printable(own.unwrap_or(&sighting.target), 63)
}
