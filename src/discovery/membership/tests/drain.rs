//! Nodes that are drained on this machine.

use super::*;

const ADA: &str = "a";

fn drain(lab: &mut Lab, drain: bool) {
    lab.table.drain(&NodeId::new(ADA).unwrap(), drain, lab.now);
    lab.pass(1);
}

fn with_ada() -> Lab {
    let mut lab = Lab::new();
    lab.joined(ADA, 1, 1);
    lab.joined("b", 1, 2);
    lab
}

fn shown(lab: &Lab) -> (Health, &str, bool) {
    let member = lab.members.iter().find(|member| member.node.id.as_str() == ADA).unwrap();
    (member.health, &member.why, member.last_resort)
}

#[test]
fn a_node_that_is_drained_here_is_a_last_resort_until_that_ends() {
    let mut lab = with_ada();
    for _ in 0..2 {
        drain(&mut lab, true);
        assert_eq!(shown(&lab), (Health::Draining, "drained here", true));
    }
    lab.pass(50);
    assert_eq!(shown(&lab).0, Health::Draining, "good probes change nothing");
    for _ in 0..2 {
        drain(&mut lab, false);
        assert_eq!(shown(&lab), (Health::Up, "answered the last probe", false));
    }
    let of_it = lab.events.iter().filter(|event| event.detail.contains("drained here"));
    let kinds: Vec<EventKind> = of_it.map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Draining, EventKind::Back], "one event each");
}

#[test]
fn a_drain_outlasts_a_restart_and_an_absence() {
    let mut lab = with_ada();
    drain(&mut lab, true);
    lab.answers.insert(at(1), up(ADA, 2));
    lab.pass(30);
    assert_eq!(shown(&lab).1, "drained here", "a new start");
    lab.answers.insert(at(1), node(ADA, "pi", 2, NodeState::Draining));
    lab.left("pc-a");
    lab.pass(15);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(150);
    assert!(lab.shown_at(1).is_none(), "{:?}", lab.shown());
    lab.joined(ADA, 3, 1);
    assert_eq!(shown(&lab), (Health::Draining, "drained here", true));
}

#[test]
fn a_drained_node_that_is_dead_is_shown_as_dead_and_used_by_nobody() {
    let mut lab = with_ada();
    drain(&mut lab, true);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(50);
    let (health, why, last_resort) = shown(&lab);
    assert_eq!((health, last_resort), (Health::Down, false));
    assert!(why.starts_with("connection refused") && why.ends_with("; drained here"), "{why}");
}

#[test]
fn a_drained_node_is_no_peer_that_lets_the_last_one_be_ejected() {
    let mut lab = with_ada();
    drain(&mut lab, true);
    let bob = lab.members.iter().find(|member| member.node.id.as_str() == "b").unwrap();
    let epoch = bob.epoch;
    bob.counters.errors.store(5, std::sync::atomic::Ordering::Relaxed);
    lab.table.observed(epoch, Outcome::Erring, lab.now);
    lab.pass(5);
    assert_eq!(lab.shown_at(2).unwrap().1, Health::Up);
}

#[test]
fn ids_that_were_drained_and_are_gone_fill_no_memory() {
    let mut lab = with_ada();
    drain(&mut lab, true);
    for n in 0..3 * NODES_MAX {
        lab.table.drain(&NodeId::new(&format!("gone-{n}")).unwrap(), true, lab.now);
    }
    assert!(lab.table.drained_here.len() <= NODES_MAX);
    lab.pass(1);
    assert_eq!(shown(&lab).1, "drained here");
}
