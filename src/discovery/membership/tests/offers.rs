//! The application that a node offers, and the packets that count for it.

use super::*;
use crate::cluster::node::Offer;

/// Advertises this start of node `a` at host 1, with this service.
fn advertise(lab: &mut Lab, boot: u64, service: &str) {
    let mut sighting = sighting("pc-a", Some("a"), &[at(1)]);
    sighting.advertisement.boot = Some(Boot(boot));
    let offer = Offer { service: service.to_owned(), ..Offer::default() };
    sighting.advertisement.offer = Arc::new(offer);
    lab.table.change(&Change::Seen(Source::Mdns, sighting), lab.now);
    lab.pass(3);
}

fn service(lab: &Lab) -> &str {
    &lab.members[0].node.offer.service
}

#[test]
fn an_offer_counts_once_its_start_answers_and_no_packet_changes_it_later() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), up("a", 1));
    advertise(&mut lab, 1, "blog");
    assert_eq!(service(&lab), "blog");
    advertise(&mut lab, 1, "forged");
    advertise(&mut lab, 2, "shop");
    assert_eq!(service(&lab), "blog", "that start has not answered");
    lab.answers.insert(at(1), up("a", 2));
    lab.pass(20);
    assert_eq!(service(&lab), "shop");
    for boot in 3..100 {
        advertise(&mut lab, boot, "forged");
    }
    assert_eq!(service(&lab), "shop");
}

#[test]
fn a_start_seen_before_it_is_heard_of_keeps_its_service_until_then() {
    let mut lab = Lab::new();
    lab.answers.insert(at(1), up("a", 1));
    advertise(&mut lab, 1, "blog");
    lab.answers.insert(at(1), up("a", 2));
    lab.pass(20);
    assert_eq!(service(&lab), "blog");
    advertise(&mut lab, 2, "shop");
    assert_eq!(service(&lab), "shop");
}

#[test]
fn slow_starts_and_ejections_look_at_the_nodes_of_one_service_alone() {
    let mut lab = Lab::new();
    lab.joined("b", 1, 2);
    lab.answers.insert(at(1), up("a", 1));
    advertise(&mut lab, 1, "blog");
    let blog = |lab: &Lab| lab.members.iter().find(|m| m.node.endpoint == at(1)).unwrap().epoch;
    // The last node of its service is not ejected for its errors, whatever other nodes are there.
    let epoch = blog(&lab);
    lab.table.observed(epoch, Outcome::Erring, lab.now);
    lab.pass(1);
    assert_eq!(lab.shown_at(1).unwrap().1, Health::Up);
}
