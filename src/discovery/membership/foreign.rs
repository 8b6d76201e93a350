//! Devices without picluster, which nothing but their addresses identifies.
//!
//! A foreign device cannot prove that it is the one that answers at an address. So it yields the
//! address to a picluster node that does answer there. If it is no longer advertised there, it also
//! yields to a device that is: addresses are leased again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::address::Address;
use super::context::Context;
use super::entries::Entries;
use super::entry::Entry;
use super::event::EventKind;
use super::machine::Machine;
use super::ownership::{hand_over, settle};
use crate::cluster::node::{NodeId, Sighting};

/// True if another entry answers where this foreign device was seen: one machine under two names
/// would get twice its share, and a device that cannot say which one it is could be forged.
pub(super) fn is_taken(entries: &Entries, sighting: &Sighting, id: &NodeId) -> bool {
    let is_there =
        |entry: &Entry| entry.answering().any(|endpoint| sighting.endpoints.contains(&endpoint));
    entries.iter().any(|entry| entry.id != *id && is_there(entry))
}

/// The addresses that each foreign device has to yield, by their keys.
pub(super) fn contested(entries: &Entries) -> Vec<(NodeId, Vec<u64>)> {
    let (devices, nodes): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|e| e.foreign);
    if devices.is_empty() {
        return Vec::new();
    }
    let by_node: BTreeSet<SocketAddr> = nodes.iter().flat_map(|node| node.answering()).collect();
    let by_device: BTreeMap<SocketAddr, &NodeId> = devices
        .iter()
        .flat_map(|device| device.answering().map(|endpoint| (endpoint, &device.id)))
        .collect();
    let yields = |device: &Entry, address: &Address| {
        let endpoint = &address.target.endpoint;
        let leased = by_device.get(endpoint).is_some_and(|id| **id != device.id);
        by_node.contains(endpoint) || (leased && address.instance.is_none())
    };
    let contested = devices.iter().map(|device| {
        let addresses = device.addresses.iter().filter(|address| yields(device, address));
        (device.id.clone(), addresses.map(|address| address.key).collect())
    });
    contested.filter(|(_, keys): &(_, Vec<u64>)| !keys.is_empty()).collect()
}

/// Gives up these addresses, at which another node answers. A device that was reached by one goes on
/// by another that has answered, if there is one.
pub(super) fn give_up(entry: &mut Entry, keys: &[u64], cx: &mut Context<'_>) {
    let (lost, kept) = std::mem::take(&mut entry.addresses)
        .into_iter()
        .partition::<Vec<Address>, _>(|address| keys.contains(&address.key));
    entry.addresses = kept;
    for at in 0..entry.machines.len() {
        let Machine { active, boot, proven, .. } = entry.machines[at];
        let known = entry.addresses.iter().filter(|address| address.is_of(boot));
        let best = known.max_by_key(|address| address.merit()).map(|address| address.key);
        if let Some(key) = best.filter(|_| proven && keys.contains(&active)) {
            hand_over(entry, at, key, boot, cx);
        }
    }
    entry.machines.retain(|machine| {
        let left = lost.iter().find(|address| address.key == machine.active);
        let Some(address) = left else { return true };
        if machine.proven {
            let (endpoint, detail) = (address.target.endpoint, "another node answers there now");
            cx.log.record(EventKind::Forgotten, machine.subject(), Some(endpoint), detail);
        }
        false
    });
    cx.changed = true;
    settle(entry, cx);
}
