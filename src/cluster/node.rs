//! A node: its identity, its advertisement, and what a source of nodes reports of it. Plain values:
//! nothing here knows the network or the clock.

use std::net::SocketAddr;
use std::sync::Arc;

pub use self::advertisement::{Advertisement, DEFAULT_CLUSTER, LB_SERVICE, SERVICE};
pub use self::id::{Boot, NodeId, StickyKey};
pub use self::offer::{ForwardFields, Offer};
pub(crate) use self::txt::is_path;
pub use self::txt::{TxtError, is_cluster_name, is_node_name, printable};

mod advertisement;
mod id;
pub mod offer;
mod txt;

/// The source that reported a node. Every change and every node in the API carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Multicast DNS on the local link.
    Mdns,
}

impl Source {
    /// The word of the API and the log for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
        }
    }
}

/// One node as the request path and the API see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The key of the table.
    pub id: NodeId,
    /// The name that people see; unique in the pool, 1 to 63 characters of visible ASCII.
    pub name: String,
    /// The machine's own hostname (a foreign device's: its SRV target without `.local`).
    pub hostname: String,
    /// The one active address that takes requests.
    pub endpoint: SocketAddr,
    /// This start of the node; `None` for a foreign device, which advertises none.
    pub boot: Option<Boot>,
    /// The source that proposed it.
    pub source: Source,
    /// The application that it serves, and the requests that it takes.
    pub offer: Arc<Offer>,
}

impl Node {
    /// Returns whether it runs picluster; else it is a foreign device, which advertises no start.
    pub fn is_picluster(&self) -> bool {
        self.boot.is_some()
    }
}

/// The data of one advertised instance, as a source has seen them. Sources repeat themselves (mDNS
/// resolves a node once for each address family, and again on each refresh), so a sighting replaces
/// the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The DNS-SD instance label, unescaped; unique per source.
    pub instance: String,
    /// The SRV target without `.local.`
    pub target: String,
    /// The addresses that passed the source's filter, best first, at most four.
    pub endpoints: Vec<SocketAddr>,
    /// The checked TXT record.
    pub advertisement: Advertisement,
}

/// One report of a source. There is no separate "joined" and "updated": a source cannot distinguish
/// them, the table can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The instance is there, with these data.
    Seen(Source, Sighting),
    /// The source no longer hears of the instance with this label: a goodbye or an expiry.
    Left(Source, String),
    /// This machine lost an address or a link: a node that leaves now may leave by our own fault.
    Disturbed(Source),
}
