//! What the table shows: the members of the next pool, each with an id and a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::address::Address;
use super::entry::Entry;
use super::event::{Event, EventKind};
use super::machine::Machine;
use super::{Membership, STARTING_SHOWN_MAX, names};
use crate::cluster::health::Health;
use crate::cluster::node::{Node, NodeId};
use crate::cluster::pool::Member;

/// What one machine is shown as.
struct Given {
    /// The entry, and which of its machines.
    key: NodeId,
    at: usize,
    id: NodeId,
    name: String,
}

impl Membership {
    /// The members, if anything that routes or is shown has changed since the last call.
    pub fn view(&mut self) -> Option<Vec<Member>> {
        if !std::mem::take(&mut self.log.changed) {
            return None;
        }
        let given = self.give_names();
        let member = |given: Given| {
            let entry = &self.entries[&given.key];
            member(entry, &entry.machines[given.at], given.id, given.name)
        };
        Some(given.into_iter().filter_map(member).collect())
    }

    /// What has happened since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let mut names = BTreeMap::new();
        if self.log.has_news() {
            self.give_names();
            let machines = self.entries.values().flat_map(|entry| &entry.machines);
            names.extend(machines.filter_map(|h| Some((h.born, h.name.as_deref()?))));
        }
        self.log.take(&names)
    }

    /// Gives everyone that is shown an id and a name of its own. Only a node that has proved itself
    /// keeps its name and is warned of: a candidate may be anything.
    fn give_names(&mut self) -> Vec<Given> {
        let mut taken = BTreeSet::new();
        let mut all = Vec::new();
        for (key, at, id, suffix) in self.give_ids() {
            let entry = self.entries.get_mut(&key).expect("listed a moment ago");
            let machine = &mut entry.machines[at];
            machine.drained_here = self.drained_here.contains(&id);
            let wanted = match &suffix {
                Some(suffix) => names::suffixed(&machine.wanted, suffix),
                None => machine.wanted.clone(),
            };
            let name = names::unique(&wanted, &id, &mut taken);
            if machine.proven && machine.name.as_ref() != Some(&name) {
                machine.name = Some(name.clone());
                if name != wanted {
                    let detail =
                        format!("another node is called {wanted} too; give it its own --name");
                    self.log.tell(EventKind::Renamed, machine, None, detail);
                }
            }
            all.push(Given { key, at, id, name });
        }
        all
    }

    /// Everyone that is shown, with an id of its own and the suffix that a clone's name gets too.
    /// Who proved itself first comes first.
    pub(super) fn give_ids(&self) -> Vec<(NodeId, usize, NodeId, Option<String>)> {
        let candidates = self.entries.values().filter(|entry| entry.is_candidate()).count();
        let shown = |entry: &&Entry| !entry.is_candidate() || candidates <= STARTING_SHOWN_MAX;
        let mut given: BTreeSet<NodeId> = BTreeSet::new();
        let mut ids = Vec::new();
        for entry in self.entries.values().filter(shown) {
            for (at, machine) in entry.machines.iter().enumerate() {
                let taken = |id: &NodeId| self.entries.contains_key(id) || given.contains(id);
                let (id, suffix) = match at {
                    0 => (entry.id.clone(), None),
                    _ => {
                        let (id, suffix) = names::clone_id(&entry.id, taken);
                        given.insert(id.clone());
                        (id, Some(suffix))
                    }
                };
                ids.push(((!machine.proven, machine.born), (entry.id.clone(), at, id, suffix)));
            }
        }
        ids.sort_unstable();
        ids.into_iter().map(|(_, given)| given).collect()
    }
}

fn member(entry: &Entry, machine: &Machine, id: NodeId, name: String) -> Option<Member> {
    let address: &Address = entry.address(machine.active)?;
    let suspect = machine.shown == Health::Suspect;
    let (health, why) = machine.said(address);
    Some(Member {
        node: Node {
            id,
            name,
            hostname: address.hostname.clone(),
            endpoint: address.target.endpoint,
            boot: machine.boot,
            source: entry.source,
            offer: Arc::clone(&machine.offer),
        },
        health,
        why,
        since: machine.since,
        advertised: machine.advertised,
        last_resort: machine.proven
            && (address.last_resort
                || suspect
                || (machine.drained_here && machine.shown == Health::Up)
                || machine.outlier.is_out(machine.shown)),
        silent: (machine.shown == Health::Down || suspect) && address.silent,
        left_silent: machine.left_silent,
        share: machine.outlier.share(machine.shown),
        epoch: machine.epoch,
        counters: Arc::clone(&machine.counters),
        pi: Arc::clone(&machine.pi),
    })
}
