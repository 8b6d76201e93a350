//! The share of the files that this process may have open, for each kind of connection.

use tracing::warn;

use crate::cluster::config::LbConfig;
use crate::os::listen;
use crate::server::ConnectionLimits;

/// The most connections to the admin port at once.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// See [`ConnectionLimits::spare`]: enough for each of those refused to have tens of milliseconds while a
/// thousand come in a second.
const SPARE_CONNECTIONS_MAX: usize = 64;

/// Fewer client connections than this are worth a warning.
const CONNECTIONS_FEW: usize = 1024;

/// The most connections of each kind.
pub(super) struct FileBudget {
    /// The clients' connections, of all workers together.
    pub(super) clients: ConnectionLimits,
    /// The connections to the admin port.
    pub(super) admin_max: usize,
    /// The connections to nodes that each worker keeps while no request needs them.
    pub(super) idle_max: usize,
}

impl FileBudget {
    /// Shares the files out. A client's request opens one more file, to a node. So accepting stops before
    /// there are no more files, and no request fails for want of one.
    pub(super) fn share(config: &LbConfig) -> Self {
        let wanted = config.limits.connections;
        let room = listen::room(config.workers).unwrap_or(usize::MAX);
        let admin_max = (room / 8).clamp(1, ADMIN_CONNECTIONS_MAX);
        let spare = (room / 8 / (2 * config.workers + 1)).clamp(1, SPARE_CONNECTIONS_MAX);
        let left = room.saturating_sub(admin_max + spare * (2 * config.workers + 1));
        let idle_max = (left / 8 / config.workers).max(1);
        let connections = (left.saturating_sub(idle_max * config.workers) / 2).clamp(1, wanted);
        let advice = if connections < wanted {
            "few files may be open at once, so only so many clients are served at once; raise the limit \
             with `ulimit -n 32768` or LimitNOFILE= of the systemd unit"
        } else {
            "--max-connections allows more"
        };
        if connections < wanted.min(CONNECTIONS_FEW) {
            warn!(asked = wanted, connections, "{advice}");
        }
        let four_fifths = (connections / 5 * 4 + connections % 5 * 4 / 5).max(1);
        let per_client = config.limits.connections_per_client.unwrap_or(four_fifths);
        let per_client = per_client.min(connections);
        let clients =
            ConnectionLimits { connections, per_client, wait: config.hold, spare, advice };
        Self { clients, admin_max, idle_max }
    }
}
