//! A LAN with a machine that lies.

use std::time::Duration;

use crate::lab::{Advert, Balancer, Dials, Lab, Load, Program, goodbye};

/// Addresses that no request may go to, although somebody advertises them: loopback, unspecified,
/// multicast, a cloud's metadata service, a docker bridge, and networks other than this LAN.
pub(crate) const BAD_ADDRESSES: [&str; 7] = [
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.5",
    "169.254.169.254",
    "172.17.0.9",
    "203.0.113.7",
    "192.168.0.10",
];

#[test]
fn bad_addresses_and_forged_goodbyes_change_nothing() {
    let Some(lab) = Lab::busy("hostile") else { return };
    let (lb, load) = three_nodes_under_load(&lab);
    let dials = count_bad_dials(&lab, &lb);
    let mut packets: Vec<_> = bad_adverts(&lb).iter().map(Advert::packet).collect();
    packets.extend(lb.nodes().iter().map(|node| goodbye(&format!("pc-{}", node.id))));
    // Each goodbye leaves a record one more second, so they come further apart than that.
    let attack = Program::Shout { packets, every_ms: 1_500 };
    let attacker = lab.pi("mallory").attack(&attack);
    attacker.wait_for_log("shouted");
    load.keep_on(Duration::from_secs(8));
    let nodes = lb.nodes();
    assert_eq!(nodes.iter().filter(|node| node.is_up()).count(), 3, "{nodes:#?}");
    unharmed(load, &dials);
}

/// A balancer, its three nodes, and clients that have had answers of all three.
pub(crate) fn three_nodes_under_load(lab: &Lab) -> (Balancer, Load) {
    let lb = lab.lb();
    for name in ["ada", "bob", "eve"] {
        lab.pi(name).web().start();
    }
    lb.wait_for_nodes(3);
    let load = lab.load(&lb, 8);
    load.wait_for_nodes(3);
    (lb, load)
}

/// Each bad address as a foreign device, and the balancer's own listener as another.
pub(crate) fn bad_adverts(lb: &Balancer) -> Vec<Advert> {
    let bad = BAD_ADDRESSES.iter().enumerate().map(|(n, address)| {
        Advert::new(&format!("bad-{n}"), address.parse().expect("an address"), 80)
    });
    bad.chain([Advert::new("bad-self", lb.pi().address(), 80)]).collect()
}

/// Counts the connections to the bad addresses from now on. Without `nft` it counts none.
pub(crate) fn count_bad_dials(lab: &Lab, lb: &Balancer) -> Vec<(String, Dials)> {
    if !lab.has("nft") {
        return Vec::new();
    }
    let own = lb.pi().address().to_string();
    let addresses = BAD_ADDRESSES.iter().map(ToString::to_string).chain([own]);
    let count = |address: String| {
        let dials = lb.pi().count_dials(&format!("{address}/32"));
        (address, dials)
    };
    addresses.map(count).collect()
}

/// No request failed, none went to a fourth node, and nobody connected to a bad address.
pub(crate) fn unharmed(load: Load, dials: &[(String, Dials)]) {
    let report = load.stop_with_no_failure();
    assert_eq!(report.nodes.len(), 3, "{report:?}");
    for (address, dials) in dials {
        assert_eq!(dials.count(), 0, "connections to {address}");
    }
}
