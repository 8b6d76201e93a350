//! Texts for people: the names that nodes are shown under, and the events about them.

use super::*;

#[test]
fn equal_names_are_distinguished_and_the_first_keeps_its_own() {
    let mut lab = Lab::new();
    lab.joined("abcdefgh", 1, 1);
    lab.joined("0bcdefgh", 2, 2);
    assert_eq!(lab.shown_at(1), Some(("pi", Health::Up)));
    assert_eq!(lab.shown_at(2), Some(("pi-0bcdef", Health::Up)));
}

#[test]
fn the_first_to_prove_itself_keeps_the_name_though_it_was_proposed_later() {
    let mut lab = Lab::new();
    lab.seen("pc-0bcdefgh", Some("0bcdefgh"), &[2]);
    lab.pass(10);
    lab.joined("abcdefgh", 1, 1);
    lab.answers.insert(at(2), up("0bcdefgh", 2));
    lab.pass(30);
    assert_eq!(lab.shown_at(1), Some(("pi", Health::Up)));
    assert_eq!(lab.shown_at(2), Some(("pi-0bcdef", Health::Up)));
}

#[test]
fn a_node_joins_under_the_name_it_says_not_the_one_it_was_proposed_under() {
    let mut lab = Lab::new();
    lab.seen("pc-a", Some("a"), &[1]);
    lab.pass(10);
    assert_eq!(lab.shown_at(1), Some(("host-a", Health::Starting)));
    lab.answers.insert(at(1), node("a", "ada", 1, NodeState::Up));
    lab.pass(20);
    assert_eq!(lab.lines(EventKind::Joined), ["node joined: ada on 10.0.0.1:8080"]);
    assert_eq!(lab.shown_at(1), Some(("ada", Health::Up)));
}

#[test]
fn every_event_says_the_name_that_is_shown() {
    let mut lab = Lab::new();
    lab.joined("abcdefgh", 1, 1);
    lab.joined("0bcdefgh", 2, 2);
    lab.answers.remove(&at(2));
    lab.pass(25);
    // It was started again, under a name of its own.
    lab.answers.insert(at(2), node("0bcdefgh", "bob", 3, NodeState::Up));
    lab.pass(30);
    let of_second: Vec<String> = lab
        .events
        .iter()
        .filter(|event| event.endpoint == Some(at(2)))
        .map(|event| format!("{:?} {}", event.kind, event.node))
        .collect();
    assert_eq!(of_second[..2], ["Joined pi-0bcdef", "Lost pi-0bcdef"]);
    assert!(of_second[2..].contains(&"Restarted bob".to_owned()), "{of_second:?}");
    assert!(of_second[2..].iter().all(|line| line.ends_with(" bob")), "{of_second:?}");
}

#[test]
fn an_event_of_a_node_that_is_gone_says_the_name_it_had() {
    let mut lab = Lab::new();
    lab.joined("abcdefgh", 1, 1);
    lab.joined("0bcdefgh", 2, 2);
    lab.answers.insert(at(2), node("0bcdefgh", "pi", 2, NodeState::Draining));
    lab.left("pc-0bcdefgh");
    lab.pass(3);
    lab.answers.insert(at(2), ProbeResult::Refused);
    lab.pass(10);
    assert_eq!(lab.lines(EventKind::Left), ["node left: goodbye: pi-0bcdef"]);
}

#[test]
fn two_machines_of_one_id_are_reported_with_both_names_and_addresses() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(2), up("a", 2));
    lab.seen("pc-a-x", Some("a"), &[2]);
    lab.pass(30);
    assert_eq!(
        lab.lines(EventKind::Cloned),
        ["two machines have one id: pi-2 on 10.0.0.2:8080 (also pi on 10.0.0.1:8080, id a: a \
          copied PICLUSTER_ID or one hardware id twice; give each machine a PICLUSTER_ID of its \
          own)"]
    );
    assert_eq!(lab.shown_at(2), Some(("pi-2", Health::Up)));
    assert!(lab.lines(EventKind::Joined)[1].starts_with("node joined: pi-2 on 10.0.0.2:8080"));
}

#[test]
fn a_second_node_of_a_name_is_warned_of_once_after_it_has_proved_itself() {
    let mut lab = Lab::new();
    lab.joined("abcdefgh", 1, 1);
    for n in 0..10_u8 {
        let mut rogue = sighting(&format!("r{n}"), Some(&format!("{n}rogue77")), &[at(100 + n)]);
        rogue.advertisement.hostname = Some("same".to_owned());
        lab.table.change(&Change::Seen(Source::Mdns, rogue), lab.now);
        lab.seen("Same label!", None, &[150 + n]);
    }
    lab.seen("pi", None, &[200]);
    lab.pass(100);
    assert!(lab.members.len() > 1, "candidates are shown");
    assert!(!lab.events.iter().any(|event| event.kind.is_warning()), "{:?}", lab.events);
    lab.answers.insert(at(200), ProbeResult::Status(200));
    lab.seen("pi", None, &[200]);
    lab.pass(100);
    let lines = lab.lines(EventKind::Renamed);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("another node is called pi too; give it its own --name"),
        "{lines:?}"
    );
}
