//! The state that all handlers of the admin port share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::live::Live;
use crate::cluster::counts::Counts;
use crate::cluster::pool;
use crate::discovery::Order;
use crate::os::shutdown::Shutdown;
use crate::telemetry::journal::Journal;

/// The sources of what the admin port shows, and the receiver of its orders. Clones share all of it.
#[derive(Clone)]
pub struct Admin {
    /// The newest pool.
    pub pool: pool::Watch,
    /// The name of the cluster that the balancer serves.
    pub cluster: String,
    /// The start of the process: `Member::since` counts from it.
    pub started: Instant,
    /// Requested while the balancer drains; `/readyz` is 503 from then on.
    pub shutdown: Shutdown,
    /// Takes the orders to drain and to undrain a node. The discovery line carries them out.
    pub orders: mpsc::Sender<Order>,
    /// Everything that goes wrong, counted by cause.
    pub counts: Arc<Counts>,
    /// The latest events of nodes.
    pub journal: Journal,
    /// The samples of the last minute and the watchers; filled by [`sample`](super::sample).
    pub live: Live,
}

impl Admin {
    /// Time since the process started: the clock of every time in the pool.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
