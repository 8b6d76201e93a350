//! The view of the table: the members of the next pool, each with an id and a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::drain::DrainedHere;
use super::entries::Entries;
use super::entry::Entry;
use super::event::EventKind;
use super::event_log::EventLog;
use super::machine::Machine;
use super::names;
use crate::cluster::health::Health;
use crate::cluster::node::{Node, NodeId};
use crate::cluster::pool::Member;

/// A machine that is shown, with an id of its own.
pub(super) struct Shown {
    /// The id of its entry, and its position there.
    pub(super) entry: NodeId,
    pub(super) at: usize,
    /// The id it is shown under.
    pub(super) id: NodeId,
    /// The suffix by which the id and the name of a clone differ from those of the first machine.
    suffix: Option<String>,
}

/// The machines that are shown, those that proved themselves first at the front.
pub(super) fn shown(entries: &Entries) -> Vec<Shown> {
    let mut given: BTreeSet<NodeId> = BTreeSet::new();
    let mut shown = Vec::new();
    for entry in entries.shown() {
        for (at, machine) in entry.machines.iter().enumerate() {
            let (id, suffix) = if at == 0 {
                (entry.id.clone(), None)
            } else {
                let is_taken = |id: &NodeId| entries.get(id).is_some() || given.contains(id);
                let (id, suffix) = names::clone_id(&entry.id, is_taken);
                given.insert(id.clone());
                (id, Some(suffix))
            };
            let place = (!machine.proven, machine.born);
            shown.push((place, Shown { entry: entry.id.clone(), at, id, suffix }));
        }
    }
    shown.sort_unstable_by_key(|(place, _)| *place);
    shown.into_iter().map(|(_, shown)| shown).collect()
}

/// The members of the next pool.
pub(super) fn members(
    entries: &mut Entries,
    drained_here: &DrainedHere,
    log: &mut EventLog,
) -> Vec<Member> {
    let named = give_names(entries, drained_here, log);
    let member = |(shown, name): (Shown, String)| {
        let entry = entries.get(&shown.entry)?;
        member(entry, &entry.machines[shown.at], shown.id, name)
    };
    named.into_iter().filter_map(member).collect()
}

/// The present name of each node that has one, by the number it drew when it proved itself.
pub(super) fn names(entries: &Entries) -> BTreeMap<u64, &str> {
    let machines = entries.iter().flat_map(|entry| &entry.machines);
    machines.filter_map(|machine| Some((machine.born, machine.name.as_deref()?))).collect()
}

/// Gives each machine that is shown a name of its own. Only a node that has proved itself keeps its
/// name and gets a warning: a candidate may be anything.
pub(super) fn give_names(
    entries: &mut Entries,
    drained_here: &DrainedHere,
    log: &mut EventLog,
) -> Vec<(Shown, String)> {
    let mut taken = BTreeSet::new();
    let mut named = Vec::new();
    for shown in shown(entries) {
        let entry = entries.get_mut(&shown.entry).expect("listed a moment ago");
        let machine = &mut entry.machines[shown.at];
        machine.drained_here = drained_here.contains(&shown.id);
        let wanted = match &shown.suffix {
            Some(suffix) => names::suffixed(&machine.wanted, suffix),
            None => machine.wanted.clone(),
        };
        let name = names::unique(&wanted, &shown.id, &mut taken);
        if machine.proven && machine.name.as_ref() != Some(&name) {
            machine.name = Some(name.clone());
            if name != wanted {
                let detail = format!("another node is called {wanted} too; give it its own --name");
                log.record(EventKind::Renamed, machine.subject(), None, detail);
            }
        }
        named.push((shown, name));
    }
    named
}

fn member(entry: &Entry, machine: &Machine, id: NodeId, name: String) -> Option<Member> {
    let address = entry.address(machine.active)?;
    let (health, why) = machine.shown_health(address);
    let is_gone = matches!(machine.shown, Health::Down | Health::Suspect);
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
        last_resort: machine.is_last_resort(address),
        silent: is_gone && address.silent,
        left_silent: machine.left_silent,
        share: machine.outlier.share(machine.shown),
        epoch: machine.epoch,
        counters: Arc::clone(&machine.counters),
        pi: Arc::clone(&machine.pi),
    })
}
