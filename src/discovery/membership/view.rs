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

/// What one holder is shown as.
struct Given {
    /// The claim, and which of its holders.
    key: NodeId,
    at: usize,
    id: NodeId,
    name: String,
}

impl Membership {
    /// The members, if anything that routes or is shown has changed since the last call.
    pub fn view(&mut self) -> Option<Vec<Member>> {
        if !std::mem::take(&mut self.ledger.changed) {
            return None;
        }
        let given = self.give_names();
        let member = |given: Given| {
            let claim = &self.claims[&given.key];
            member(claim, &claim.holders[given.at], given.id, given.name)
        };
        Some(given.into_iter().filter_map(member).collect())
    }

    /// What has happened since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let mut names = BTreeMap::new();
        if self.ledger.has_news() {
            self.give_names();
            let holders = self.claims.values().flat_map(|claim| &claim.holders);
            names.extend(holders.filter_map(|h| Some((h.born, h.name.as_deref()?))));
        }
        self.ledger.take(&names)
    }

    /// Gives everyone that is shown an id and a name of its own. Only a node that has proved itself
    /// keeps its name and is warned of: a candidate may be anything.
    fn give_names(&mut self) -> Vec<Given> {
        let mut taken = BTreeSet::new();
        let mut all = Vec::new();
        for (key, at, id, suffix) in self.give_ids() {
            let claim = self.claims.get_mut(&key).expect("listed a moment ago");
            let holder = &mut claim.holders[at];
            holder.drained_here = self.drained_here.contains(&id);
            let wanted = match &suffix {
                Some(suffix) => names::suffixed(&holder.wanted, suffix),
                None => holder.wanted.clone(),
            };
            let name = names::unique(&wanted, &id, &mut taken);
            if holder.proven && holder.name.as_ref() != Some(&name) {
                holder.name = Some(name.clone());
                if name != wanted {
                    let detail =
                        format!("another node is called {wanted} too; give it its own --name");
                    self.ledger.tell(EventKind::Renamed, holder, None, detail);
                }
            }
            all.push(Given { key, at, id, name });
        }
        all
    }

    /// Everyone that is shown, with an id of its own and the suffix that a clone's name gets too.
    /// Who proved itself first comes first.
    pub(super) fn give_ids(&self) -> Vec<(NodeId, usize, NodeId, Option<String>)> {
        let candidates = self.claims.values().filter(|claim| claim.is_candidate()).count();
        let shown = |claim: &&Entry| !claim.is_candidate() || candidates <= STARTING_SHOWN_MAX;
        let mut given: BTreeSet<NodeId> = BTreeSet::new();
        let mut ids = Vec::new();
        for claim in self.claims.values().filter(shown) {
            for (at, holder) in claim.holders.iter().enumerate() {
                let taken = |id: &NodeId| self.claims.contains_key(id) || given.contains(id);
                let (id, suffix) = match at {
                    0 => (claim.id.clone(), None),
                    _ => {
                        let (id, suffix) = names::clone_id(&claim.id, taken);
                        given.insert(id.clone());
                        (id, Some(suffix))
                    }
                };
                ids.push(((!holder.proven, holder.born), (claim.id.clone(), at, id, suffix)));
            }
        }
        ids.sort_unstable();
        ids.into_iter().map(|(_, given)| given).collect()
    }
}

fn member(claim: &Entry, holder: &Machine, id: NodeId, name: String) -> Option<Member> {
    let way: &Address = claim.way(holder.active)?;
    let suspect = holder.shown == Health::Suspect;
    let (health, why) = holder.said(way);
    Some(Member {
        node: Node {
            id,
            name,
            hostname: way.hostname.clone(),
            endpoint: way.target.endpoint,
            boot: holder.boot,
            source: claim.source,
            offer: Arc::clone(&holder.offer),
        },
        health,
        why,
        since: holder.since,
        advertised: holder.advertised,
        last_resort: holder.proven
            && (way.last_resort
                || suspect
                || (holder.drained_here && holder.shown == Health::Up)
                || holder.standing.is_out(holder.shown)),
        silent: (holder.shown == Health::Down || suspect) && way.silent,
        left_silent: holder.left_silent,
        share: holder.standing.share(holder.shown),
        epoch: holder.epoch,
        counters: Arc::clone(&holder.counters),
        pi: Arc::clone(&holder.pi),
    })
}
