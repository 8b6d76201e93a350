//! The values that the parts of the balancer are made from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::cluster::config::LbConfig;
use crate::cluster::counts::Counts;
use crate::cluster::node::NodeId;
use crate::cluster::pool;
use crate::os::identity;
use crate::os::systemd::Pulses;
use crate::telemetry::journal::Journal;

/// The values that the parts of a balancer share. Each part takes copies when it is made.
pub(super) struct Shared {
    pub(super) config: LbConfig,
    pub(super) id: NodeId,
    /// The hostname of this machine.
    pub(super) hostname: String,
    /// The name of the balancer: in its mark, in `Via`, and in the log.
    pub(super) name: String,
    /// The address where clients connect, with the real port.
    pub(super) addr: SocketAddr,
    /// The address of the page and the API, with the real port.
    pub(super) admin_addr: SocketAddr,
    /// The zero of all times in the table and the pool.
    pub(super) started: Instant,
    /// The newest pool, published by the discovery line.
    pub(super) pool: pool::Watch,
    /// The failures, counted by every part and shown on the admin port.
    pub(super) counts: Arc<Counts>,
    /// The latest events, written by the discovery line and shown on the admin port.
    pub(super) journal: Journal,
    /// The parts that must go on, for the watchdog.
    pub(super) pulses: Pulses,
}

impl Shared {
    /// The values of a balancer that starts now.
    pub(super) fn new(
        config: LbConfig,
        id: NodeId,
        addr: SocketAddr,
        admin_addr: SocketAddr,
        pool: pool::Watch,
    ) -> Self {
        let hostname = identity::hostname();
        let name = identity::default_name(&hostname, &id);
        Self {
            config,
            id,
            hostname,
            name,
            addr,
            admin_addr,
            started: Instant::now(),
            pool,
            counts: Arc::new(Counts::default()),
            journal: Journal::default(),
            pulses: Pulses::default(),
        }
    }
}
