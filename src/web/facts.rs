//! What a node knows of itself and its machine. What is unknown is absent, never guessed.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::Node;
use crate::cluster::node::printable;
use crate::cluster::pi::Pi;
use crate::cluster::protocol::SCHEMA;

/// The facts of one moment, as the page shows them and `Accept: application/json` gets them.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) schema: &'static str,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hostname: String,
    pub(super) boot: String,
    /// The board, like `Raspberry Pi 4 Model B Rev 1.4`.
    pub(super) model: Option<String>,
    /// Where this request arrived.
    pub(super) address: Option<SocketAddr>,
    /// Since the machine started.
    pub(super) uptime_s: Option<u64>,
    /// Since the node started.
    pub(super) serving_s: u64,
    pub(super) temperature_c: Option<f32>,
    pub(super) power: Option<Power>,
    /// Requests answered since the node started, this one included.
    pub(super) requests: u64,
    /// The balancer this request came through.
    pub(super) via: Option<String>,
}

/// What the firmware says of the supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Power {
    /// No fault since the machine started.
    Good,
    /// Under-voltage at some time since the machine started.
    WasLow,
    /// Under-voltage now.
    Low,
}

impl Facts {
    pub(super) fn gather(node: &Node, local: Option<SocketAddr>, via: Option<&str>) -> Self {
        let identity = &node.identity;
        let pi = node.board.health();
        Self {
            schema: SCHEMA,
            id: identity.id.to_string(),
            name: identity.name.clone(),
            hostname: identity.hostname.clone(),
            boot: identity.boot.to_string(),
            power: Power::of(&pi),
            model: pi.model,
            address: local.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            uptime_s: fs::read_to_string("/proc/uptime").ok().as_deref().and_then(whole_seconds),
            serving_s: node.started.elapsed().as_secs(),
            temperature_c: pi.temperature_c,
            requests: node.served.load(Ordering::Relaxed),
            via: via.and_then(balancer),
        }
    }
}

fn whole_seconds(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

impl Power {
    /// Only what is known to be weak, or to be well, is said.
    fn of(pi: &Pi) -> Option<Self> {
        match (pi.under_voltage, pi.under_voltage_since_boot) {
            (Some(true), _) => Some(Self::Low),
            (_, Some(true)) => Some(Self::WasLow),
            (Some(false), _) => Some(Self::Good),
            (None, _) => None,
        }
    }
}

/// The last proxy of a `Via` header: `1.1 picluster-lb (comment), ...`.
fn balancer(via: &str) -> Option<String> {
    let mut words = via.rsplit(',').next()?.split_ascii_whitespace();
    let (_protocol, name) = (words.next()?, words.next()?);
    Some(printable(name, 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supply_of_which_nothing_is_known_is_not_called_good() {
        let power = |under_voltage, under_voltage_since_boot| {
            Power::of(&Pi { under_voltage, under_voltage_since_boot, ..Pi::default() })
        };
        assert_eq!(power(Some(false), Some(false)), Some(Power::Good));
        assert_eq!(power(Some(true), Some(true)), Some(Power::Low));
        assert_eq!(power(Some(false), Some(true)), Some(Power::WasLow));
        assert_eq!(power(None, None), None);
    }

    #[test]
    fn the_nearest_proxy_is_the_balancer() {
        assert_eq!(balancer("1.1 pc-abc-lb").as_deref(), Some("pc-abc-lb"));
        assert_eq!(balancer("1.0 a, 1.1 b.example (x)").as_deref(), Some("b.example"));
        assert_eq!(balancer("1.1 <b>\u{7}").as_deref(), Some("<b>-"));
        assert_eq!(balancer("rubbish"), None);
        assert_eq!(balancer(""), None);
    }

    #[test]
    fn uptime_is_cut_to_seconds() {
        assert_eq!(whole_seconds("350735.47 234388.90"), Some(350_735));
    }
}
