//! Nodes that somebody on this machine takes out of the rotation, whatever they say of themselves.
//!
//! It goes by the id that is shown, so that it outlasts the node's restart and its absence; it ends
//! when it is taken back, or with this process.

use std::time::Duration;

use super::Membership;
use super::event::EventKind;
use super::machine::DRAINED_HERE;
use crate::cluster::config::NODES_MAX;
use crate::cluster::health::Health;
use crate::cluster::node::NodeId;

impl Membership {
    /// Drains the node that is shown under this id, or ends that. Doing it twice changes nothing.
    pub fn drain(&mut self, id: &NodeId, drain: bool, now: Duration) {
        let changes = drain != self.drained_here.contains(id);
        if drain && changes {
            self.forget_absent_drains();
            self.drained_here.insert(id.clone());
        } else if changes {
            self.drained_here.remove(id);
        }
        let shown = self.give_ids().into_iter().find(|(_, _, shown, _)| shown == id);
        let Some((key, at, ..)) = shown.filter(|_| changes) else { return };
        let Some(claim) = self.claims.get_mut(&key) else { return };
        let holder = &mut claim.holders[at];
        holder.drained_here = drain;
        self.ledger.changed = true;
        // Nothing else changes for a node that would not serve anyway.
        if holder.shown == Health::Up {
            holder.since = now;
            let endpoint =
                claim.ways.iter().find(|way| way.key == holder.active).map(|w| w.target.endpoint);
            let (what, detail) = if drain {
                (EventKind::Draining, DRAINED_HERE)
            } else {
                (EventKind::Back, "no longer drained here")
            };
            self.ledger.tell(what, holder, endpoint, detail);
        }
    }

    /// Makes room, should so many have been drained that nobody shows any more.
    fn forget_absent_drains(&mut self) {
        if self.drained_here.len() >= NODES_MAX {
            let shown = self.give_ids();
            self.drained_here.retain(|id| shown.iter().any(|(_, _, shown, _)| shown == id));
        }
    }
}
