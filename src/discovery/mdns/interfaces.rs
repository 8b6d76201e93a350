//! The interfaces that mDNS uses, and their addresses. The rules are pure functions of names and
//! addresses; one place asks the operating system, at most five times a second.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::config::DiscoveryConfig;

/// The beginnings of the names of bridges, containers and tunnels: behind them is no Pi of ours,
/// and their addresses mean something else to other machines.
const VIRTUAL: [&str; 12] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "cni",
    "flannel",
    "cali",
    "tailscale",
    "wg",
    "tun",
    "tap",
    "zt",
];

/// The greatest age of our knowledge of the interfaces. It bounds the system calls that a flood of
/// packets causes, and is short beside the second after which mdns-sd itself sees a new address.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(200);

/// One address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    /// Bits of the network part.
    pub(super) prefix: u8,
}

impl Link {
    /// Returns whether `ip` lies in this link's subnet.
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
                u32::from(own) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
                u128::from(own) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }

    /// Returns whether `ip` is the first or the last address of this link's IPv4 subnet. Those two
    /// mean the subnet and everybody in it, and no host has them.
    pub(super) fn is_end(&self, ip: IpAddr) -> bool {
        let (IpAddr::V4(_), IpAddr::V4(v4)) = (self.ip, ip) else {
            return false;
        };
        let host = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        let number = u32::from(v4) & host;
        self.prefix < 31 && self.contains(ip) && (number == host || number == 0)
    }
}

/// The purpose for which interfaces are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To hear others. IPv6 and loopback are used too: to listen costs little, and a node may have
    /// nothing else, or serve this machine alone.
    Hear,
    /// To be found, at the addresses where a listener on this address can be reached. A dual-stack
    /// listener publishes IPv6 only where the interface has no IPv4: others connect to what is
    /// published.
    BeFound(IpAddr),
}

/// The rule that picks interfaces.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The interfaces that `--interface` names; none means that the rule chooses.
    named: Vec<String>,
    /// True if loopback alone is used (`demo`).
    loopback: bool,
    /// True if IPv6 is published beside IPv4.
    ipv6: bool,
    purpose: Purpose,
}

impl Rule {
    pub(super) fn new(config: &DiscoveryConfig, purpose: Purpose) -> Self {
        let DiscoveryConfig { loopback, ipv6, .. } = *config;
        Self { named: config.interfaces.clone(), loopback, ipv6, purpose }
    }

    /// Returns whether mDNS uses `link`, one of `all`.
    pub(super) fn picks(&self, link: &Link, all: &[Link]) -> bool {
        match self.purpose {
            Purpose::Hear => link.ip.is_loopback() || self.is_chosen(link, all),
            // Such a listener is found on this machine and nowhere else.
            Purpose::BeFound(bound) if bound.is_loopback() => {
                link.ip.is_loopback() && link.ip.is_ipv4() == bound.is_ipv4()
            }
            Purpose::BeFound(bound) if !bound.is_unspecified() => link.ip == bound,
            Purpose::BeFound(bound) => {
                let wanted = self.ipv6 || !has_ipv4(link.index, all);
                let reachable = link.ip.is_ipv4() || (bound.is_ipv6() && wanted);
                reachable && self.is_chosen(link, all)
            }
        }
    }

    /// Loopback serves for `demo`, or when the machine has no other address, so that a node and a
    /// balancer on one laptop still find each other. A real interface takes its place once it has
    /// an address.
    fn is_chosen(&self, link: &Link, all: &[Link]) -> bool {
        if self.loopback {
            link.ip.is_loopback()
        } else if !self.named.is_empty() {
            self.named.contains(&link.name)
        } else if link.ip.is_loopback() {
            all.iter().all(|other| other.ip.is_loopback())
        } else {
            !is_virtual(&link.name)
                || all.iter().all(|other| other.ip.is_loopback() || is_virtual(&other.name))
        }
    }

    /// Returns the reason why nobody on the network can hear us with these addresses, and the fix.
    /// It also reports a named interface that does not exist, even if another one serves.
    /// `existing` are the names of all interfaces, including those without an address.
    fn obstacle(&self, all: &[Link], existing: &[String]) -> Option<String> {
        let used: Vec<_> = all.iter().filter(|link| self.picks(link, all)).collect();
        if self.loopback || matches!(self.purpose, Purpose::BeFound(ip) if ip.is_loopback()) {
            let fix = "the loopback interface is down, so nothing here finds anything else: bring it \
                       up with `sudo ip link set lo up`";
            return used.is_empty().then(|| fix.to_owned());
        }
        let missing: Vec<_> = self.named.iter().filter(|name| !existing.contains(name)).collect();
        if let Some(missing) = missing.first() {
            return Some(format!(
                "there is no interface {missing}, which --interface names; there are {}: correct \
                 --interface (or PICLUSTER_INTERFACE), or plug it in; it is used once it is there",
                existing.join(", ")
            ));
        }
        if used.iter().any(|link| self.named.contains(&link.name) || !link.ip.is_loopback()) {
            return None;
        }
        let no_interface_has = match (self.named.as_slice(), self.purpose) {
            (_, Purpose::BeFound(ip)) if !ip.is_unspecified() => {
                format!("no interface has {ip} as")
            }
            ([], _) => "no interface has".to_owned(),
            (named, _) => format!("{} is not up or has not", named.join(", ")),
        };
        Some(format!(
            "no network yet: {no_interface_has} an address, so no other machine finds this one; \
             plug in the cable, join the wi-fi or check the dhcp server; no restart is needed"
        ))
    }
}

fn is_virtual(name: &str) -> bool {
    VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

fn has_ipv4(index: u32, all: &[Link]) -> bool {
    all.iter().any(|other| other.index == index && other.ip.is_ipv4())
}

/// Our knowledge of the interfaces now.
pub(super) struct Interfaces {
    rule: Rule,
    /// The links and the time when they were read. A lock guards them because the daemon's thread
    /// reads them too; it is held for one system call.
    known: Mutex<Option<(Instant, Arc<[Link]>)>>,
}

impl Interfaces {
    pub(super) fn new(rule: Rule) -> Arc<Self> {
        Arc::new(Self { rule, known: Mutex::new(None) })
    }

    /// Returns all addresses of interfaces that are up, used or not, at most [`SNAPSHOT_AGE_MAX`]
    /// old.
    pub(super) fn links(&self) -> Arc<[Link]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, links)) if at.elapsed() < SNAPSHOT_AGE_MAX => Arc::clone(links),
            _ => {
                let links: Arc<[Link]> = read_links().into();
                *known = Some((Instant::now(), Arc::clone(&links)));
                links
            }
        }
    }

    /// Forgets the known links, because an address came or went.
    pub(super) fn refresh(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns the addresses that mDNS uses.
    pub(super) fn used(&self) -> Vec<Link> {
        let all = self.links();
        all.iter().filter(|link| self.rule.picks(link, &all)).cloned().collect()
    }

    /// Returns the reason why nobody on the network can hear us, as a sentence with the fix; `None`
    /// if somebody can.
    pub(super) fn obstacle(&self) -> Option<String> {
        let all = self.links();
        self.rule.obstacle(&all, &interface_names(&all))
    }

    /// Returns whether the address `ip` of the interface `name` is used.
    pub(super) fn uses(&self, name: &str, index: u32, ip: IpAddr) -> bool {
        let link = Link { name: name.to_owned(), index, ip, prefix: 0 };
        self.rule.picks(&link, &self.links())
    }
}

/// Reads the links from the operating system. An interface without a carrier has no `IFF_RUNNING`
/// and counts as absent, as it does in mdns-sd.
fn read_links() -> Vec<Link> {
    let up = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    up.filter(|interface| interface.is_oper_up() && !interface.is_p2p())
        .map(|interface| Link {
            index: interface.index.unwrap_or(0),
            ip: interface.ip(),
            prefix: match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            },
            name: interface.name,
        })
        .collect()
}

/// Returns the names of all interfaces, including those without an address. If the table of the
/// kernel cannot be read, only the interfaces with an address are known.
fn interface_names(links: &[Link]) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let mut names: Vec<String> = table
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
        .chain(links.iter().map(|link| link.name.clone()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
pub(super) fn link(name: &str, index: u32, cidr: &str) -> Link {
    let (ip, prefix) = cidr.split_once('/').unwrap();
    let (ip, prefix) = (ip.parse().unwrap(), prefix.parse().unwrap());
    Link { name: name.to_owned(), index, ip, prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Purpose = Purpose::BeFound(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));

    fn rule(named: &[&str], loopback: bool, purpose: Purpose) -> Rule {
        let named = named.iter().map(|&n| n.to_owned()).collect();
        Rule { named, loopback, ipv6: false, purpose }
    }

    fn bound(ip: &str) -> Rule {
        rule(&[], false, Purpose::BeFound(ip.parse().unwrap()))
    }

    fn picked(rule: &Rule, all: &[Link]) -> Vec<String> {
        let picked = all.iter().filter(|link| rule.picks(link, all));
        picked.map(|link| format!("{} {}", link.name, link.ip)).collect()
    }

    fn machine() -> Vec<Link> {
        vec![
            link("lo", 1, "127.0.0.1/8"),
            link("lo", 1, "::1/128"),
            link("eth0", 2, "192.168.1.5/24"),
            link("eth0", 2, "fe80::5/64"),
            link("wlan0", 3, "fe80::6/64"),
            link("docker0", 4, "172.17.0.1/16"),
            link("zt5u4y6", 5, "10.147.0.3/24"),
        ]
    }

    #[test]
    fn bridges_and_tunnels_are_not_used_and_loopback_only_to_hear() {
        let default = rule(&[], false, ANY);
        assert_eq!(picked(&default, &machine()), ["eth0 192.168.1.5", "wlan0 fe80::6"]);
        let listening = rule(&[], false, Purpose::Hear);
        assert_eq!(
            picked(&listening, &machine()),
            ["lo 127.0.0.1", "lo ::1", "eth0 192.168.1.5", "eth0 fe80::5", "wlan0 fe80::6"]
        );
    }

    #[test]
    fn a_listener_is_found_where_it_is_bound_and_nowhere_else() {
        for (ip, expected) in [
            ("127.0.0.1", vec!["lo 127.0.0.1"]),
            ("127.0.0.2", vec!["lo 127.0.0.1"]),
            ("::1", vec!["lo ::1"]),
            ("192.168.1.5", vec!["eth0 192.168.1.5"]),
            ("172.17.0.1", vec!["docker0 172.17.0.1"]),
            ("10.9.9.9", vec![]),
            ("0.0.0.0", vec!["eth0 192.168.1.5"]),
            ("::", vec!["eth0 192.168.1.5", "wlan0 fe80::6"]),
        ] {
            assert_eq!(picked(&bound(ip), &machine()), expected, "{ip}");
        }
    }

    #[test]
    fn a_named_interface_is_used_whatever_it_is_and_no_other() {
        let named = rule(&["docker0"], false, ANY);
        assert_eq!(picked(&named, &machine()), ["docker0 172.17.0.1"]);
    }

    #[test]
    fn a_bridge_is_used_when_nothing_else_has_an_address() {
        let all = [link("lo", 1, "127.0.0.1/8"), link("docker0", 4, "172.17.0.1/16")];
        assert_eq!(picked(&rule(&[], false, ANY), &all), ["docker0 172.17.0.1"]);
    }

    #[test]
    fn loopback_is_used_when_there_is_nothing_else_and_for_demo() {
        let alone = [link("lo", 1, "127.0.0.1/8"), link("lo", 1, "::1/128")];
        assert_eq!(picked(&rule(&[], false, ANY), &alone), ["lo 127.0.0.1"]);
        assert_eq!(picked(&rule(&[], true, ANY), &machine()), ["lo 127.0.0.1"]);
    }

    #[test]
    fn a_subnet_contains_its_own() {
        let lan = link("eth0", 2, "192.168.1.5/24");
        for (ip, inside) in [("192.168.1.200", true), ("192.168.2.1", false), ("::1", false)] {
            assert_eq!(lan.contains(ip.parse().unwrap()), inside, "{ip}");
        }
        assert!(link("eth0", 2, "10.0.0.1/0").contains("8.8.8.8".parse().unwrap()));
        assert!(!link("eth0", 2, "10.0.0.1/32").contains("10.0.0.2".parse().unwrap()));
        assert!(link("eth0", 2, "fe80::1/64").contains("fe80::2".parse().unwrap()));
        assert!(lan.is_end("192.168.1.255".parse().unwrap()));
        assert!(lan.is_end("192.168.1.0".parse().unwrap()));
        assert!(!link("eth0", 2, "10.0.0.0/31").is_end("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_node_that_nobody_can_hear_gets_the_reason_and_the_remedy() {
        let existing = ["eth0", "lo", "wlan0"].map(str::to_owned);
        let lo = || link("lo", 1, "127.0.0.1/8");
        let eth = || link("eth0", 2, "10.0.0.1/24");
        let table: [(&[&str], Vec<Link>, Option<&str>); 8] = [
            (&[], vec![lo(), eth()], None),
            (&[], vec![lo()], Some("no interface has an address")),
            (&[], vec![], Some("no interface has an address")),
            (&["eth0"], vec![lo(), eth()], None),
            (&["eth0"], vec![lo()], Some("eth0 is not up or has not an address")),
            (&["lo"], vec![lo()], None),
            (&["usb0"], vec![lo(), eth()], Some("no interface usb0, which --interface names")),
            (&["eth0", "usb0"], vec![lo(), eth()], Some("there are eth0, lo, wlan0")),
        ];
        for (named, all, expected) in table {
            let obstacle = rule(named, false, ANY).obstacle(&all, &existing);
            match expected {
                None => assert_eq!(obstacle, None, "{named:?} {all:?}"),
                Some(part) => assert!(obstacle.unwrap().contains(part), "{named:?} {all:?}"),
            }
        }
        let obstacle = |ip, all: &[Link]| bound(ip).obstacle(all, &existing);
        assert_eq!(obstacle("127.0.0.1", &[lo(), eth()]), None);
        assert!(obstacle("127.0.0.1", &[]).unwrap().contains("ip link set lo up"));
        assert_eq!(obstacle("10.0.0.1", &[lo(), eth()]), None);
        assert!(obstacle("10.0.0.1", &[lo()]).unwrap().contains("no interface has 10.0.0.1 as"));
    }
}
