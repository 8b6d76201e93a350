//! The facts that a node knows about itself and its machine. An unknown fact is absent, never guessed.

use std::fs;
use std::net::SocketAddr;

use crate::cluster::api::{FactsReport, Power, Schema};
use crate::cluster::node::printable;
use crate::cluster::pi::Pi;
use crate::web::node::WebNode;

/// Gathers the facts for a request that arrived at `local` with this `Via` header.
pub(super) fn gather(node: &WebNode, local: Option<SocketAddr>, via: Option<&str>) -> FactsReport {
    let identity = &node.identity;
    let pi = node.board.health();
    FactsReport {
        schema: Schema,
        id: identity.id.to_string(),
        name: identity.name.clone(),
        hostname: identity.hostname.clone(),
        boot: identity.boot.to_string(),
        power: power(&pi),
        model: pi.model,
        address: local.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port())),
        uptime_s: fs::read_to_string("/proc/uptime").ok().as_deref().and_then(whole_seconds),
        serving_s: node.started.elapsed().as_secs(),
        temperature_c: pi.temperature_c,
        requests: node.requests.begun(),
        via: via.and_then(balancer),
    }
}

/// The first number of `/proc/uptime`, without its fraction.
fn whole_seconds(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// `None` if it is not known whether the supply is weak.
fn power(pi: &Pi) -> Option<Power> {
    match (pi.under_voltage, pi.under_voltage_since_boot) {
        (Some(true), _) => Some(Power::Low),
        (_, Some(true)) => Some(Power::WasLow),
        (Some(false), _) => Some(Power::Good),
        (None, _) => None,
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
    fn an_unknown_supply_is_not_called_good() {
        let power = |under_voltage, under_voltage_since_boot| {
            power(&Pi { under_voltage, under_voltage_since_boot, ..Pi::default() })
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
