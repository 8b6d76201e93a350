//! Members of a pool, made by hand for tests and benchmarks without a table of nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use picluster::cluster::health::Health;
use picluster::cluster::node::{Boot, Node, NodeId, Source};
use picluster::cluster::pool::{Member, Share};

/// A member that is up and has its whole share, called `node1` if its epoch is 1.
pub(crate) fn member(epoch: u64, endpoint: SocketAddr) -> Member {
    let name = format!("node{epoch}");
    Member {
        node: Node {
            id: NodeId::new(&name).expect("letters and digits are legal"),
            name,
            hostname: "raspberrypi".to_owned(),
            endpoint,
            boot: Some(Boot(epoch)),
            source: Source::Mdns,
            offer: Arc::default(),
        },
        health: Health::Up,
        why: "answered the last probe".to_owned(),
        since: Duration::ZERO,
        advertised: true,
        last_resort: false,
        silent: false,
        left_silent: None,
        share: Share::WHOLE,
        epoch,
        counters: Arc::default(),
        pi: Arc::default(),
    }
}
