//! The address filter: it decides which addresses of a stranger's packet may be connected to. It is
//! pure, so that one table in the tests shows every rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::interfaces::Link;
use crate::cluster::config::ENDPOINTS_MAX;

/// The addresses that the balancer accepts before it connects to one.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Accept addresses that are in no subnet of a local interface (`--allow-off-link`).
    pub allow_off_link: bool,
    /// Accept loopback addresses from anybody (`demo`).
    pub loopback: bool,
    /// Accept IPv6 beside IPv4. Without this, IPv6 is accepted only from a node that has no IPv4.
    pub ipv6: bool,
    /// The addresses we listen on ourselves. They are never a node, or a request would go round in
    /// circles. An unspecified address stands for every address of this machine.
    pub listeners: Vec<SocketAddr>,
}

/// An address as it was heard, with the interfaces whose packets named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) ip: IpAddr,
    /// Interface indexes.
    pub(super) on: Vec<u32>,
}

/// The reason why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is unspecified, multicast, broadcast, reserved, or IPv4 written as IPv6: no host has it.
    NoHost,
    /// It is a cloud's metadata service: a program that can be tricked into asking it gives away
    /// secrets.
    Metadata,
    /// It is loopback, which is this machine, and the sender did not prove to be a node of this
    /// machine.
    Loopback,
    /// It is self-assigned, and was heard on an interface where we have no such address ourselves.
    SelfAssigned,
    /// It is our own listener.
    Ourselves,
    /// It is in no subnet of the interfaces it was heard on.
    OffLink,
}

impl Refusal {
    /// Returns the label under which the refusal is counted.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoHost => "no_host",
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::SelfAssigned => "self_assigned",
            Self::Ourselves => "ourselves",
            Self::OffLink => "off_link",
        }
    }
}

/// Returns the endpoints at `port` that may be tried, the best one first, at most
/// [`ENDPOINTS_MAX`]. With `own`, the advertised id belongs to a node of this machine.
pub(super) fn endpoints(
    trust: &Trust,
    links: &[Link],
    heard: &[Heard],
    port: u16,
    own: bool,
) -> Vec<SocketAddr> {
    let mut passed: Vec<_> = heard
        .iter()
        .filter(|heard| judge(trust, links, heard, port, own).is_ok())
        .map(|heard| (rank(heard.ip), endpoint(heard, links, port)))
        .collect();
    let any_ipv4 = passed.iter().any(|(_, endpoint)| endpoint.is_ipv4());
    passed.retain(|(_, endpoint)| endpoint.is_ipv4() || trust.ipv6 || !any_ipv4);
    passed.sort_unstable();
    passed.dedup();
    passed.into_iter().map(|(_, endpoint)| endpoint).take(ENDPOINTS_MAX).collect()
}

/// Decides whether `heard` at `port` may be connected to; `own` as in [`endpoints`].
///
/// # Errors
///
/// The first reason against it.
pub(super) fn judge(
    trust: &Trust,
    links: &[Link],
    heard: &Heard,
    port: u16,
    own: bool,
) -> Result<(), Refusal> {
    let ip = heard.ip;
    let mut here = links.iter().filter(|link| heard.on.contains(&link.index));
    if port == 0 || is_no_host(ip) || here.clone().any(|link| link.is_end(ip)) {
        return Err(Refusal::NoHost);
    }
    if is_metadata(ip) {
        return Err(Refusal::Metadata);
    }
    if is_listener(trust, links, ip, port) {
        return Err(Refusal::Ourselves);
    }
    if ip.is_loopback() {
        return if own || trust.loopback { Ok(()) } else { Err(Refusal::Loopback) };
    }
    if is_self_assigned(ip) && !here.clone().any(|link| is_self_assigned(link.ip)) {
        return Err(Refusal::SelfAssigned);
    }
    if trust.allow_off_link || here.any(|link| link.contains(ip)) {
        return Ok(());
    }
    Err(Refusal::OffLink)
}

fn is_no_host(ip: IpAddr) -> bool {
    match ip {
        // 0/8 is "this host"; 240/4 is reserved and ends with the broadcast address.
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240 || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.to_ipv4_mapped().is_some(),
    }
}

fn is_metadata(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))
        || ip == IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))
}

fn is_self_assigned(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_link_local())
}

fn is_listener(trust: &Trust, links: &[Link], ip: IpAddr, port: u16) -> bool {
    let here = || ip.is_loopback() || links.iter().any(|link| link.ip == ip);
    trust.listeners.iter().any(|listener| {
        listener.port() == port
            && (listener.ip() == ip || (listener.ip().is_unspecified() && here()))
    })
}

/// Puts IPv4 before IPv6, and lasting addresses before those that a host gave itself.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) => u8::from(v4.is_link_local()),
        IpAddr::V6(v6) => 2 + u8::from(v6.is_unicast_link_local()),
    }
}

/// Returns the endpoint to connect to. A link-local IPv6 address gets the interface it was heard
/// on, because it means nothing without.
fn endpoint(heard: &Heard, links: &[Link], port: u16) -> SocketAddr {
    match heard.ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            let known = |index: &&u32| links.iter().any(|link| link.index == **index);
            let scope = heard.on.iter().find(known).copied().unwrap_or(0);
            SocketAddrV6::new(v6, port, 0, scope).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}

#[cfg(test)]
mod tests {
    use super::super::interfaces::link;
    use super::*;

    const ETH: u32 = 2;
    const SELF_ASSIGNED: u32 = 3;

    fn links() -> Vec<Link> {
        vec![
            link("lo", 1, "127.0.0.1/8"),
            link("eth0", ETH, "192.168.1.5/24"),
            link("eth0", ETH, "fe80::5/64"),
            link("eth0", ETH, "2001:db8::5/64"),
            link("wlan0", SELF_ASSIGNED, "169.254.7.7/16"),
        ]
    }

    fn heard(ip: &str, on: &[u32]) -> Heard {
        Heard { ip: ip.parse().unwrap(), on: on.to_vec() }
    }

    #[test]
    fn only_addresses_of_hosts_on_the_link_they_were_heard_on_pass() {
        let table: &[(&str, u32, Result<(), Refusal>)] = &[
            ("192.168.1.31", ETH, Ok(())),
            ("192.168.1.5", ETH, Ok(())),
            ("192.168.1.31", SELF_ASSIGNED, Err(Refusal::OffLink)),
            ("192.168.1.31", 99, Err(Refusal::OffLink)),
            ("192.168.1.255", ETH, Err(Refusal::NoHost)),
            ("192.168.2.31", ETH, Err(Refusal::OffLink)),
            ("8.8.8.8", ETH, Err(Refusal::OffLink)),
            ("127.0.0.1", ETH, Err(Refusal::Loopback)),
            ("127.0.0.1", 1, Err(Refusal::Loopback)),
            ("127.3.3.3", 1, Err(Refusal::Loopback)),
            ("0.0.0.0", ETH, Err(Refusal::NoHost)),
            ("0.1.2.3", ETH, Err(Refusal::NoHost)),
            ("224.0.0.251", ETH, Err(Refusal::NoHost)),
            ("255.255.255.255", ETH, Err(Refusal::NoHost)),
            ("169.254.169.254", SELF_ASSIGNED, Err(Refusal::Metadata)),
            ("169.254.1.1", ETH, Err(Refusal::SelfAssigned)),
            ("169.254.1.1", SELF_ASSIGNED, Ok(())),
            ("::", ETH, Err(Refusal::NoHost)),
            ("::1", ETH, Err(Refusal::Loopback)),
            ("ff02::1", ETH, Err(Refusal::NoHost)),
            ("::ffff:127.0.0.1", ETH, Err(Refusal::NoHost)),
            ("::ffff:192.168.1.31", ETH, Err(Refusal::NoHost)),
            ("fd00:ec2::254", ETH, Err(Refusal::Metadata)),
            ("2001:db8::31", ETH, Ok(())),
            ("2001:db9::31", ETH, Err(Refusal::OffLink)),
            ("fe80::31", ETH, Ok(())),
            ("fe80::31", SELF_ASSIGNED, Err(Refusal::OffLink)),
        ];
        for (ip, on, expected) in table {
            let verdict = judge(&Trust::default(), &links(), &heard(ip, &[*on]), 8080, false);
            assert_eq!(verdict, *expected, "{ip} on {on}");
        }
    }

    #[test]
    fn an_off_link_address_passes_when_allowed_and_no_other_does() {
        let trust = Trust { allow_off_link: true, ..Trust::default() };
        let table: &[(&str, Result<(), Refusal>)] = &[
            ("10.9.9.9", Ok(())),
            ("127.0.0.1", Err(Refusal::Loopback)),
            ("169.254.169.254", Err(Refusal::Metadata)),
            ("169.254.1.1", Err(Refusal::SelfAssigned)),
            ("224.0.0.1", Err(Refusal::NoHost)),
        ];
        for (ip, expected) in table {
            let verdict = judge(&trust, &links(), &heard(ip, &[ETH]), 8080, false);
            assert_eq!(verdict, *expected, "{ip}");
        }
    }

    #[test]
    fn a_loopback_address_passes_for_own_nodes_and_for_demo() {
        let demo = Trust { loopback: true, ..Trust::default() };
        for (trust, own) in [(Trust::default(), true), (demo, false)] {
            assert_eq!(judge(&trust, &links(), &heard("127.0.0.1", &[1]), 8080, own), Ok(()));
        }
    }

    #[test]
    fn our_own_listener_is_no_node() {
        let refused = |listener: &str, ip, port| {
            let trust = Trust { listeners: vec![listener.parse().unwrap()], ..Trust::default() };
            judge(&trust, &links(), &heard(ip, &[ETH]), port, true) == Err(Refusal::Ourselves)
        };
        assert!(refused("[::]:80", "192.168.1.5", 80));
        assert!(refused("0.0.0.0:80", "127.0.0.1", 80));
        assert!(refused("192.168.1.5:80", "192.168.1.5", 80));
        assert!(!refused("192.168.1.5:80", "127.0.0.1", 80));
        assert!(!refused("[::]:80", "192.168.1.5", 8080));
        assert!(!refused("[::]:80", "192.168.1.31", 80));
    }

    fn best(trust: &Trust, ips: &[&str]) -> Vec<String> {
        let heard: Vec<_> = ips.iter().map(|ip| heard(ip, &[ETH, SELF_ASSIGNED])).collect();
        let endpoints = endpoints(trust, &links(), &heard, 80, false);
        endpoints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ipv4_comes_first_and_alone_unless_ipv6_was_asked_for() {
        let all = ["fe80::31", "2001:db8::31", "169.254.1.1", "192.168.1.31", "8.8.8.8"];
        assert_eq!(best(&Trust::default(), &all), ["192.168.1.31:80", "169.254.1.1:80"]);
        let both = Trust { ipv6: true, ..Trust::default() };
        assert_eq!(
            best(&both, &all),
            ["192.168.1.31:80", "169.254.1.1:80", "[2001:db8::31]:80", "[fe80::31%2]:80"]
        );
        assert_eq!(best(&Trust::default(), &all[..1]), ["[fe80::31%2]:80"]);
    }

    #[test]
    fn at_most_four_addresses_are_taken() {
        let many: Vec<String> = (10..30).map(|n| format!("192.168.1.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(best(&Trust::default(), &many).len(), ENDPOINTS_MAX);
    }
}
