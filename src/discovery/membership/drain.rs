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
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let machine = &mut entry.machines[at];
        machine.drained_here = drain;
        self.log.changed = true;
        // Nothing else changes for a node that would not serve anyway.
        if machine.shown == Health::Up {
            machine.since = now;
            let endpoint = entry
                .addresses
                .iter()
                .find(|address| address.key == machine.active)
                .map(|w| w.target.endpoint);
            let (what, detail) = if drain {
                (EventKind::Draining, DRAINED_HERE)
            } else {
                (EventKind::Back, "no longer drained here")
            };
            self.log.tell(what, machine, endpoint, detail);
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
