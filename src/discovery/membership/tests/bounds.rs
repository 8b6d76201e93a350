//! The bounds that hold in a flood, in a crowd and after a stall of our own.

use super::*;
use crate::cluster::config::{ENDPOINTS_MAX, PROBES_MAX};

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
        assert!(lab.table.entries.iter().count() <= CANDIDATES_MAX + 1);
        assert!(lab.table.entries.iter().all(|entry| entry.addresses.len() <= ENDPOINTS_MAX));
    }
    assert_eq!((lab.members.len(), lab.members[0].health), (1, Health::Up));
}

#[test]
fn a_flood_of_names_from_few_addresses_leaves_room_for_a_new_node_at_once() {
    let mut lab = Lab::new();
    for n in 0..2000_u32 {
        let name = format!("rogue{n}");
        lab.seen(&name, Some(&name), &[60 + u8::try_from(n % 8).unwrap()]);
    }
    assert!(lab.table.entries.iter().count() < 64, "{}", lab.table.entries.iter().count());
    lab.joined("late", 1, 1);
    assert_eq!(lab.members.iter().filter(|member| member.health == Health::Up).count(), 1);
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

/// A node with an address of its own, advertised.
fn nth(lab: &mut Lab, n: usize) -> SocketAddr {
    let id = format!("node{n}");
    let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
    let endpoint = SocketAddr::from(([10, 1, high, low], 80));
    let advertised = sighting(&id, Some(&id), &[endpoint]);
    lab.table.change(&Change::Seen(Source::Mdns, advertised), lab.now);
    lab.answers.insert(endpoint, up(&id, 1));
    endpoint
}

#[test]
fn a_full_table_takes_no_more_nodes_until_one_is_gone() {
    let mut lab = Lab::new();
    for n in 0..NODES_MAX {
        nth(&mut lab, n);
        if n % 16 == 15 {
            lab.pass(5);
        }
    }
    lab.pass(10);
    assert_eq!(lab.members.len(), NODES_MAX);
    let late = nth(&mut lab, NODES_MAX);
    lab.pass(10);
    let is_in = |lab: &Lab, endpoint| lab.members.iter().any(|m| m.node.endpoint == endpoint);
    assert!(!is_in(&lab, late));
    assert_eq!(
        lab.lines(EventKind::Refused),
        ["candidate not taken: node256 (the table of nodes is full)"]
    );
    // No clone gets in either.
    lab.answers.insert(at(9), up("node7", 2));
    lab.seen("clone", Some("node7"), &[9]);
    lab.pass(50);
    assert!(!is_in(&lab, at(9)) && !lab.kinds().contains(&EventKind::Cloned));
    lab.answers.remove(&at(9));
    lab.left("clone");
    let gone = nth(&mut lab, 5);
    lab.left("node5");
    lab.answers.insert(gone, ProbeResult::Refused);
    lab.pass(50);
    nth(&mut lab, NODES_MAX);
    lab.pass(10);
    assert!(is_in(&lab, late) && !is_in(&lab, gone));
    assert_eq!(lab.members.len(), NODES_MAX);
}

/// A stall can end each probe that is under way, but no two in a row of one node: the next one
/// starts after it. So one stall loses nobody, however long it is.
#[test]
fn a_stall_of_our_own_loses_no_node() {
    let mut lab = Lab::new();
    (1..=20).for_each(|host| lab.joined(&format!("n{host}"), 1, host));
    for stall_ms in [300, 900, 1500, 6000, 60_000] {
        let mut caught = Vec::new();
        let began = lab.now;
        while caught.len() < 10 {
            assert!(
                lab.now < began + Duration::from_secs(10),
                "twenty nodes are probed each second"
            );
            caught.extend(lab.table.due(lab.now, &mut lab.rng));
            lab.now += Duration::from_millis(10);
        }
        lab.now += Duration::from_millis(stall_ms);
        for probe in caught {
            lab.table.probed(probe.ticket, &ProbeResult::TimedOut, lab.now);
        }
        lab.pass(50);
    }
    assert_eq!(lab.shown().iter().filter(|(_, health)| *health == Health::Up).count(), 20);
    assert!(!lab.kinds().contains(&EventKind::Lost));
}

#[test]
fn candidates_that_are_not_shown_make_no_view() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    let shown = |lab: &Lab| lab.members.len() - 1;
    for n in 0..16 {
        lab.seen(&format!("r{n}"), Some(&format!("r{n}")), &[100 + n]);
    }
    lab.pass(10);
    assert_eq!(shown(&lab), 16);
    for n in 16..60 {
        lab.seen(&format!("r{n}"), Some(&format!("r{n}")), &[100 + n]);
    }
    lab.pass(10);
    assert_eq!(shown(&lab), 0, "too many to be news");
    for n in 20..60 {
        lab.settle();
        lab.left(&format!("r{n}"));
        assert!(lab.table.view().is_none(), "r{n}");
        lab.now += Duration::from_millis(10);
    }
    (16..20).for_each(|n| lab.left(&format!("r{n}")));
    lab.pass(1);
    assert_eq!(shown(&lab), 16, "few again");
    // A node among them is seen to join.
    lab.now += Duration::from_secs(1);
    (20..60).for_each(|n| lab.seen(&format!("r{n}"), Some(&format!("r{n}")), &[100 + n]));
    lab.pass(1);
    assert_eq!(shown(&lab), 0);
    lab.answers.insert(at(2), up("b", 1));
    lab.seen("pc-b", Some("b"), &[2]);
    lab.pass(1);
    assert_eq!(lab.shown_at(2), Some(("pi-b", Health::Up)));
}
