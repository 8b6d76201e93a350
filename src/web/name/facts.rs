//! The facts that a node knows about itself and its machine. An unknown fact is absent, never guessed.

use std::fs;
use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderValue};

use crate::cluster::api::{FactsReport, Power, Schema};
use crate::cluster::hop;
use crate::cluster::node::printable;
use crate::cluster::pi::Pi;
use crate::cluster::protocol::HOP_HEADER;
use crate::web::node::WebNode;

/// Gathers the facts for a request with these headers that arrived at `local`.
pub(super) fn gather(
    node: &WebNode,
    local: Option<SocketAddr>,
    headers: &HeaderMap,
) -> FactsReport {
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
        via: balancer(headers),
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

/// The balancer that the request came through: its name in `Forwarded`, the characters that stand for it
/// in `X-Picluster-Hop`, or another proxy's name in `Via`.
fn balancer(headers: &HeaderMap) -> Option<String> {
    let last = |name: &str| headers.get_all(name).iter().next_back();
    let named = || last("forwarded").and_then(|value| hop::last_balancer(value.as_bytes()));
    let short = || last(HOP_HEADER).map(HeaderValue::as_bytes);
    let via = || last("via").and_then(|value| pseudonym(value.as_bytes()));
    let name = named().or_else(short).or_else(via)?;
    Some(printable(str::from_utf8(name).ok()?, 63)).filter(|name| !name.is_empty())
}

/// The last proxy of a `Via` header: `1.1 proxy (comment), ...`.
fn pseudonym(via: &[u8]) -> Option<&[u8]> {
    let last = via.rsplit(|&b| b == b',').next()?.trim_ascii();
    last.split(u8::is_ascii_whitespace).nth(1)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

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
        let named = |name: &'static str, value: &'static [u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            balancer(&[(HeaderName::from_static(name), value)].into_iter().collect())
        };
        let forwarded = b"for=a;by=_pc0_ada-lb, for=b;host=\"c\";by=_pc1_bob-lb";
        assert_eq!(named("forwarded", forwarded).as_deref(), Some("bob-lb"));
        assert_eq!(named("forwarded", b"for=a;by=b"), None);
        assert_eq!(named("x-picluster-hop", b"0a1b2c30").as_deref(), Some("0a1b2c30"));
        assert_eq!(named("via", b"1.1 pc-abc-lb").as_deref(), Some("pc-abc-lb"));
        assert_eq!(named("via", b"1.0 a, 1.1 b.example (x)").as_deref(), Some("b.example"));
        assert_eq!(named("via", b"1.1 <b>\t"), Some("<b>".to_owned()));
        assert_eq!(named("via", b"1.1 \xff"), None);
        assert_eq!(named("via", b"rubbish"), None);
        assert_eq!(named("via", b""), None);
    }

    #[test]
    fn uptime_is_cut_to_seconds() {
        assert_eq!(whole_seconds("350735.47 234388.90"), Some(350_735));
    }
}
