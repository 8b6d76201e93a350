//! The effect of the board that a node reports.

use super::*;
use crate::cluster::pi::Pi;

/// A node that reports the state of its board.
fn with_board(boot: u64, throttled: bool, speed: f32) -> ProbeResult {
    let pi = Pi { throttled: Some(throttled), speed: Some(speed), ..Pi::default() };
    match up("a", boot) {
        ProbeResult::Node { id, name, boot, state, .. } => {
            ProbeResult::Node { id, name, boot, state, pi: Some(pi) }
        }
        other => other,
    }
}

fn weight(lab: &Lab) -> f64 {
    lab.members.iter().find(|m| m.node.endpoint == at(1)).unwrap().share.weight()
}

#[test]
fn a_throttled_board_gets_its_part_of_a_share_and_says_why() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(1), with_board(1, true, 0.5));
    lab.pass(12);
    assert_eq!((weight(&lab), lab.shown()), (0.5, vec![("a".to_owned(), Health::Up)]));
    assert_eq!(lab.members[0].why, "up; throttled, so it gets half of a share");
    // Even a speed of zero does not take it out of the rotation.
    lab.answers.insert(at(1), with_board(1, true, 0.0));
    lab.pass(12);
    assert_eq!(weight(&lab), 0.25);
    lab.answers.insert(at(1), up("a", 1));
    lab.pass(12);
    assert_eq!((weight(&lab), lab.members[0].why.as_str()), (1.0, "answered the last probe"));
}

#[test]
fn the_board_of_a_node_that_says_nothing_is_unknown() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(1), with_board(1, true, 0.5));
    lab.pass(12);
    assert!(lab.members[0].pi.lock().unwrap().is_some());
    lab.answers.insert(at(1), ProbeResult::TimedOut);
    lab.pass(40);
    assert_eq!(lab.members[0].health, Health::Down);
    assert!(lab.members[0].pi.lock().unwrap().is_none());
}

#[test]
fn a_board_that_gets_warmer_makes_no_new_pool() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(1), with_board(1, true, 0.5));
    lab.pass(12);
    let pi = Arc::clone(&lab.members[0].pi);
    lab.answers.insert(at(1), with_board(1, true, 0.45));
    lab.now += Duration::from_secs(2);
    lab.settle();
    assert!(lab.table.view().is_none());
    assert_eq!(pi.lock().unwrap().as_ref().unwrap().speed, Some(0.45));
}

#[test]
fn a_node_that_starts_slowly_on_a_throttled_board_gets_the_lesser_part() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.joined("b", 2, 2);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(12);
    lab.answers.insert(at(1), with_board(1, true, 0.5));
    lab.pass(12);
    let epoch = lab.members.iter().find(|m| m.node.endpoint == at(1)).unwrap().epoch;
    lab.table.observed(epoch, Outcome::Answered, lab.now);
    let mut weights = Vec::new();
    for _ in 0..120 {
        lab.pass(1);
        weights.push(weight(&lab));
    }
    weights.dedup();
    assert_eq!(weights, [0.25, 0.5]);
}

#[test]
fn a_flickering_supply_is_reported_once_a_minute() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    for n in 0..60 {
        lab.answers.insert(at(1), with_board(1, n % 2 == 0, 0.5));
        lab.pass(30);
    }
    assert!(lab.kinds().contains(&EventKind::BoardWell));
    let of_board = lab.kinds().iter().filter(|kind| **kind != EventKind::Joined).count();
    assert!((2..=4).contains(&of_board), "{:?}", lab.kinds());
    assert_eq!(lab.lines(EventKind::BoardTrouble)[0], "node's board is in trouble: pi (throttled)");
}
