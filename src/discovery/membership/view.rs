//! What the table shows: the members of the next pool, each with an id and a name of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::claim::Claim;
use super::event::What;
use super::holder::Holder;
use super::way::Way;
use super::{Membership, names};
use crate::health::Health;
use crate::node::{Node, NodeId};
use crate::pool::Member;

/// Candidates are shown as `starting` while there are no more than these: a few are news, a flood
/// of them must not fill the page.
const STARTING_SHOWN_MAX: usize = 16;

impl Membership {
    /// The members, if anything that routes or is shown has changed since the last call.
    pub fn view(&mut self) -> Option<Vec<Member>> {
        if !std::mem::take(&mut self.ledger.changed) {
            return None;
        }
        let candidates = self.claims.values().filter(|claim| claim.is_candidate()).count();
        let shown = |claim: &Claim| !claim.is_candidate() || candidates <= STARTING_SHOWN_MAX;
        let mut ids = Vec::new();
        let mut given: BTreeSet<NodeId> = BTreeSet::new();
        for claim in self.claims.values().filter(|claim| shown(claim)) {
            for at in 0..claim.holders.len() {
                let taken = |id: &NodeId| self.claims.contains_key(id) || given.contains(id);
                let (id, suffix) = match at {
                    0 => (claim.id.clone(), None),
                    _ => {
                        let (id, suffix) = names::clone_id(&claim.id, taken);
                        (id, Some(suffix))
                    }
                };
                given.insert(id.clone());
                let holder = &claim.holders[at];
                ids.push(((!holder.proven, holder.born), claim.id.clone(), at, id, suffix));
            }
        }
        // Who proved itself first keeps the name that two would have.
        ids.sort();
        let mut taken = BTreeSet::new();
        let mut members = Vec::with_capacity(ids.len());
        for (_, key, at, id, suffix) in ids {
            let claim = self.claims.get_mut(&key).expect("listed a moment ago");
            let holder = &mut claim.holders[at];
            let wanted = match &suffix {
                Some(suffix) => names::suffixed(&holder.wanted, suffix),
                None => holder.wanted.clone(),
            };
            let name = names::unique(&wanted, &id, &mut taken);
            if name != wanted && holder.name.as_ref() != Some(&name) {
                let detail = format!("another node is called {wanted} too; give it its own --name");
                self.ledger.tell(What::Renamed, &name, None, detail);
            }
            holder.name = Some(name.clone());
            members.extend(member(claim, &claim.holders[at], id, name));
        }
        Some(members)
    }
}

fn member(claim: &Claim, holder: &Holder, id: NodeId, name: String) -> Option<Member> {
    let way: &Way = claim.way(holder.active)?;
    let goodbye = holder.farewell.is_some() && holder.shown == Health::Draining;
    Some(Member {
        node: Node {
            id,
            name,
            hostname: way.hostname.clone(),
            endpoint: way.target.endpoint,
            boot: holder.boot,
            source: claim.source,
        },
        health: holder.shown,
        why: if goodbye { "said goodbye and is draining".to_owned() } else { way.why.clone() },
        since: holder.since,
        advertised: holder.advertised,
        last_resort: holder.proven && way.last_resort,
        epoch: holder.epoch,
        counters: Arc::clone(&holder.counters),
    })
}
