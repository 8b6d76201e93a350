//! Everything that goes under one id: the addresses that were advertised for it, and the machines
//! that hold it.
//!
//! As a rule one machine holds an id, and any of the addresses leads to it. While clones of one card
//! answer at once there are several; then each is a [`Machine`] with an address of its own. An id that
//! no machine has proved to hold yet is a candidate: it has one machine that is not `proven`.
//!
//! This file holds the data and the look-ups. The rules that change an entry are in `sources`,
//! `probing`, `traffic`, `ownership`, `foreign` and `departure`.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::Address;
use super::machine::Machine;
use super::names;
use super::offers::Offers;
use crate::cluster::node::{NodeId, Source, printable};

/// One id, with all that is known under it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: NodeId,
    /// A device without picluster, which cannot name its id itself.
    pub(super) foreign: bool,
    pub(super) source: Source,
    /// The instance label that proposed it first, made printable: a foreign device's name.
    pub(super) label: String,
    /// When it was first proposed.
    pub(super) added: Duration,
    pub(super) addresses: Vec<Address>,
    /// In the order in which they came: the first one is shown under the id itself. Without a machine
    /// the table drops the entry.
    pub(super) machines: Vec<Machine>,
    pub(super) offers: Offers,
}

impl Entry {
    pub(super) fn new(
        id: NodeId,
        foreign: bool,
        source: Source,
        label: &str,
        now: Duration,
    ) -> Self {
        let label = if label.is_empty() { id.to_string() } else { printable(label, 63) };
        Self {
            id,
            foreign,
            source,
            label,
            added: now,
            addresses: Vec::new(),
            machines: Vec::new(),
            offers: Offers::default(),
        }
    }

    /// True if no machine has proved to hold this id yet.
    pub(super) fn is_candidate(&self) -> bool {
        !self.machines.iter().any(|machine| machine.proven)
    }

    /// The name under which a candidate is shown.
    pub(super) fn candidate_name(&self) -> String {
        match self.addresses.first().filter(|_| !self.foreign) {
            Some(address) => names::suffixed(&address.hostname, self.id.short()),
            None => self.label.clone(),
        }
    }

    pub(super) fn address(&self, key: u64) -> Option<&Address> {
        self.addresses.iter().find(|address| address.key == key)
    }

    pub(super) fn address_mut(&mut self, key: u64) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|address| address.key == key)
    }

    /// True if requests to a proven machine go to this address now.
    pub(super) fn is_active(&self, key: u64) -> bool {
        self.machines.iter().any(|machine| machine.proven && machine.active == key)
    }

    /// The endpoints at which this id answers now, so that no other node can be there. A foreign
    /// device holds an endpoint only as long as it is advertised there.
    pub(super) fn answering(&self) -> impl Iterator<Item = SocketAddr> {
        let is_held = |address: &&Address| {
            address.health().answers() && (!self.foreign || address.instance.is_some())
        };
        self.addresses.iter().filter(is_held).map(|address| address.target.endpoint)
    }

    /// Asks the other addresses that have proved a machine once. Those in use by a clone are left out:
    /// they would ask this one in turn.
    pub(super) fn ask_stand_bys(&mut self, key: u64, now: Duration) {
        let machines = &self.machines;
        let is_stand_by = |address: &&mut Address| {
            let used = machines.iter().any(|machine| machine.active == address.key);
            address.key != key && address.proof.is_some() && !used
        };
        self.addresses.iter_mut().filter(is_stand_by).for_each(|address| address.ask(now));
    }
}
