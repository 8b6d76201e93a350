//! The identity of a web node: its id, its names and its boot. It is read once, before the node serves.

use crate::cluster::config::WebConfig;
use crate::cluster::node::{Boot, NodeId};
use crate::os::identity::{self, Hardware, Role};

/// The identity of this node. It does not change while the node runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id, made from this machine, the role and the port.
    pub id: NodeId,
    /// The name that people see: `--name`, else `<hostname>-<first 6 of id>`. It fits a header.
    pub name: String,
    /// The machine's hostname.
    pub hostname: String,
    /// The name that the page and `curl` show: `--name`, else the hostname.
    pub title: String,
    /// This start of the node.
    pub boot: Boot,
}

impl Identity {
    /// The identity of the node that takes requests at `port`.
    pub(super) fn new(config: &WebConfig, port: u16) -> Self {
        let hostname = identity::hostname();
        let id = identity::node_id(&Hardware::find(), config.id.as_ref(), Role::Web, port);
        Self {
            name: config.name.clone().unwrap_or_else(|| identity::default_name(&hostname, &id)),
            title: config.name.clone().unwrap_or_else(|| hostname.clone()),
            boot: identity::boot(),
            hostname,
            id,
        }
    }
}
