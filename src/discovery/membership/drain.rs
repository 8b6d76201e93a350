//! Nodes that somebody on this machine takes out of the rotation, whatever they report of themselves.
//!
//! A drain goes by the id that is shown, so that it outlasts the node's restart and its absence. It
//! ends when it is taken back, or with this process.

use std::collections::BTreeSet;

use crate::cluster::config::NODES_MAX;
use crate::cluster::node::NodeId;

/// The ids that are drained here; about [`NODES_MAX`] at most.
#[derive(Debug, Default)]
pub(super) struct DrainedHere(BTreeSet<NodeId>);

impl DrainedHere {
    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.0.contains(id)
    }

    /// Drains an id, or ends that. True if it changes anything. If too many ids are drained, those for
    /// which `is_shown` is false make room.
    pub(super) fn set(
        &mut self,
        id: &NodeId,
        drain: bool,
        is_shown: impl Fn(&NodeId) -> bool,
    ) -> bool {
        if !drain {
            return self.0.remove(id);
        }
        if self.0.contains(id) {
            return false;
        }
        if self.0.len() >= NODES_MAX {
            self.0.retain(is_shown);
        }
        self.0.insert(id.clone())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
