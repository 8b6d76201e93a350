//! Devices without picluster: they cannot prove their id, so an address is all they have.

use super::*;

#[test]
fn a_foreign_device_is_probed_at_its_path_and_named_by_its_label() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), ProbeResult::Status(404));
    lab.seen("Büro NAS", None, &[1]);
    let probe = lab.table.due(lab.now, &mut lab.rng).remove(0);
    assert_eq!((probe.path.as_str(), probe.foreign, probe.fresh_connection), ("/", true, true));
    lab.table.probed(probe.ticket, &ProbeResult::Status(404), lab.now);
    lab.pass(1);
    let node = &lab.members[0].node;
    assert_eq!((node.name.as_str(), node.hostname.as_str(), node.boot), ("B-ro-NAS", "host", None));
    lab.seen("Twin", None, &[1]);
    lab.pass(20);
    assert_eq!(lab.members.len(), 1, "one machine under two names");
}

#[test]
fn a_foreign_device_yields_the_contested_address_and_keeps_its_other_one() {
    let mut lab = Lab::new();
    lab.answers.extend([(at(1), ProbeResult::Status(200)), (at(2), ProbeResult::Status(200))]);
    lab.seen("NAS", None, &[1, 2]);
    lab.pass(20);
    assert_eq!(lab.shown_at(1), Some(("NAS", Health::Up)));
    let counters = lab.members[0].counters.clone();
    // The address was leased to a node, which answers the device's probes too.
    lab.joined("b", 1, 1);
    lab.pass(10);
    assert_eq!(lab.shown_at(1), Some(("pi", Health::Up)));
    assert_eq!(lab.shown_at(2), Some(("NAS", Health::Up)));
    assert!(lab.members.iter().any(|m| Arc::ptr_eq(&m.counters, &counters)));
    assert_eq!(lab.kinds(), [EventKind::Joined, EventKind::Joined, EventKind::Moved]);
}

#[test]
fn a_foreign_device_with_only_the_contested_address_is_forgotten_aloud() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), ProbeResult::Status(200));
    lab.seen("NAS", None, &[1]);
    lab.pass(20);
    lab.joined("b", 1, 1);
    lab.pass(10);
    assert_eq!(lab.shown(), [("b".to_owned(), Health::Up)]);
    let lines = lab.lines(EventKind::Forgotten);
    assert_eq!(lines, ["node forgotten: NAS on 10.0.0.1:8080 (another node answers there now)"]);
}

/// Found by the simulation's seed 17214: the device stayed, because nothing changed for the other
/// one when this one was withdrawn.
#[test]
fn a_withdrawn_device_yields_to_the_one_that_its_address_was_leased_to() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), ProbeResult::Status(200));
    lab.seen("Old", None, &[1]);
    lab.pass(20);
    lab.answers.clear();
    lab.pass(60);
    assert_eq!(lab.shown_at(1), Some(("Old", Health::Down)));
    lab.answers.insert(at(1), ProbeResult::Status(200));
    lab.seen("New", None, &[1]);
    lab.pass(60);
    lab.left("Old");
    lab.pass(10);
    assert_eq!((lab.members.len(), lab.shown_at(1)), (1, Some(("New", Health::Up))));
}

/// Found by the simulation's seed 29712: the advertised address was dropped for its silence, and
/// the node was taken for absent because of the other one.
#[test]
fn a_device_dead_at_an_old_address_is_kept_while_advertised_at_another() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), ProbeResult::Status(200));
    lab.seen("NAS", None, &[1]);
    lab.pass(20);
    let mut other = sighting("NAS", None, &[at(1)]);
    other.advertisement.health = Some("/other".to_owned());
    lab.table.change(&Change::Seen(Source::Mdns, other), lab.now);
    lab.pass(20);
    lab.answers.insert(at(1), ProbeResult::Status(503));
    lab.pass(30);
    lab.seen("NAS", None, &[1]);
    lab.pass(7000);
    assert_eq!(lab.shown_at(1), Some(("NAS", Health::Down)), "{:?}", lab.kinds());
}
