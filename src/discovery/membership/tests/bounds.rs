//! What no flood, no crowd and no stall of our own may do.

use super::*;
use crate::config::{ENDPOINTS_MAX, PROBES_MAX};

#[test]
fn a_flood_of_candidates_is_bounded_and_leaves_the_nodes_alone() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    for n in 0..20_000_u32 {
        let id = format!("rogue{n}");
        let [_, high, mid, low] = n.to_be_bytes();
        let endpoints = [SocketAddr::from(([10, 66 + high, mid, low], 80))];
        let rogue = sighting(&id, Some(&id), &endpoints);
        lab.table.change(&Change::Seen(Source::Mdns, rogue), lab.now);
        lab.seen("pc-a", Some("a"), &[u8::try_from(n % 200).unwrap() + 20]);
        if n % 200 == 0 {
            lab.pass(1);
        }
        assert!(lab.table.claims.len() <= CANDIDATES_MAX + 1);
        assert!(lab.table.claims.values().all(|claim| claim.ways.len() <= ENDPOINTS_MAX));
    }
    assert_eq!((lab.members.len(), lab.members[0].health), (1, Health::Up));
}

#[test]
fn unanswered_candidates_never_take_the_places_of_nodes() {
    let mut lab = Lab::new();
    (1..=8).for_each(|host| lab.joined(&format!("n{host}"), 1, host));
    for n in 0..60_u8 {
        lab.seen(&format!("r{n}"), Some(&format!("r{n}")), &[100 + n]);
    }
    let first = lab.table.due(lab.now + Duration::from_millis(10), &mut lab.rng);
    let rogues = first.iter().filter(|probe| probe.endpoint.ip() >= at(100).ip()).count();
    assert_eq!(rogues, PROBES_MAX / 2);
    let second = lab.table.due(lab.now + Duration::from_secs(1), &mut lab.rng);
    let nodes =
        first.iter().chain(&second).filter(|probe| probe.endpoint.ip() < at(100).ip()).count();
    assert_eq!((nodes, first.len() + second.len() <= PROBES_MAX), (8, true));
}
