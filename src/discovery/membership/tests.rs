//! The rules of the table, each as a scenario. The simulation in `tests/it` looks for gaps between them.

mod board;
mod bounds;
mod drain;
mod foreign;
mod names;
mod offers;
mod traffic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::cluster::health::{Health, Outcome};
use crate::cluster::node::{Advertisement, Boot};
use crate::cluster::pool::Member;

/// A table, its clock, and the answers that its probes get.
/// Rounds of probes at one point in time. More than a few would mean that each answer makes the next
/// probe due at once.
const ROUNDS_MAX: usize = 100;

struct Lab {
    table: Membership,
    now: Duration,
    rng: fastrand::Rng,
    answers: BTreeMap<SocketAddr, ProbeResult>,
    members: Vec<Member>,
    events: Vec<Event>,
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 8080))
}

fn node(id: &str, name: &str, boot: u64, state: NodeState) -> ProbeResult {
    let id = NodeId::new(id).unwrap();
    ProbeResult::Node { id, name: name.to_owned(), boot: Boot(boot), state, pi: None }
}

fn up(id: &str, boot: u64) -> ProbeResult {
    node(id, "pi", boot, NodeState::Up)
}

fn sighting(instance: &str, id: Option<&str>, endpoints: &[SocketAddr]) -> Sighting {
    let advertisement = Advertisement {
        id: id.map(|id| NodeId::new(id).unwrap()),
        hostname: None,
        boot: None,
        cluster: "default".to_owned(),
        health: None,
        ctl: None,
        offer: Arc::default(),
    };
    let (instance, target) = (instance.to_owned(), "host".to_owned());
    Sighting { instance, target, endpoints: endpoints.to_vec(), advertisement }
}

impl Lab {
    fn new() -> Self {
        Self {
            table: Membership::new("default".to_owned(), Thresholds::default()),
            now: Duration::ZERO,
            rng: fastrand::Rng::with_seed(1),
            answers: BTreeMap::new(),
            members: Vec::new(),
            events: Vec::new(),
        }
    }

    fn seen(&mut self, instance: &str, id: Option<&str>, hosts: &[u8]) {
        let endpoints: Vec<_> = hosts.iter().copied().map(at).collect();
        let sighting = sighting(instance, id, &endpoints);
        self.table.change(&Change::Seen(Source::Mdns, sighting), self.now);
    }

    fn left(&mut self, instance: &str) {
        self.table.change(&Change::Left(Source::Mdns, instance.to_owned()), self.now);
    }

    /// Answers every probe that is due. True if there was one.
    fn round(&mut self) -> bool {
        let due = self.table.due(self.now, &mut self.rng);
        for probe in &due {
            let answer = self.answers.get(&probe.endpoint);
            let answer = answer.cloned().unwrap_or(ProbeResult::TimedOut);
            self.table.probed(probe.ticket, &answer, self.now);
        }
        !due.is_empty()
    }

    /// Answers all probes that are due now, and those that become due by these answers.
    fn settle(&mut self) {
        let is_settled = (0..ROUNDS_MAX).any(|_| !self.round());
        assert!(is_settled, "at {:?} there is always another probe due", self.now);
    }

    /// Lets this many tenths of a second pass; every probe is answered at once.
    fn pass(&mut self, tenths: u32) {
        for _ in 0..tenths {
            self.settle();
            self.members = self.table.view().unwrap_or_else(|| std::mem::take(&mut self.members));
            self.events.extend(self.table.events());
            self.now += Duration::from_millis(100);
        }
    }

    /// The kinds of all events, oldest first.
    fn kinds(&self) -> Vec<EventKind> {
        self.events.iter().map(|event| event.kind).collect()
    }

    /// The events of this kind, as lines.
    fn lines(&self, kind: EventKind) -> Vec<String> {
        let of_kind = self.events.iter().filter(|event| event.kind == kind);
        of_kind.map(ToString::to_string).collect()
    }

    /// The name and the health of the node that is shown at this host.
    fn shown_at(&self, host: u8) -> Option<(&str, Health)> {
        let found = self.members.iter().find(|m| m.node.endpoint == at(host));
        found.map(|m| (m.node.name.as_str(), m.health))
    }

    /// The ids that are shown, sorted, with their health.
    fn shown(&self) -> Vec<(String, Health)> {
        let member = |m: &Member| (m.node.id.to_string(), m.health);
        let mut shown: Vec<_> = self.members.iter().map(member).collect();
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        shown
    }

    /// A node of this id and boot at this host, advertised and up.
    fn joined(&mut self, id: &str, boot: u64, host: u8) {
        self.answers.insert(at(host), up(id, boot));
        self.seen(&format!("pc-{id}"), Some(id), &[host]);
        self.pass(2);
    }
}

#[test]
fn a_fresh_node_serves_after_one_good_probe() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Up)]);
    assert_eq!((lab.members[0].node.name.as_str(), lab.kinds()[0]), ("pi", EventKind::Joined));
}

#[test]
fn a_stall_of_our_own_gives_up_no_probe_under_way() {
    for stalled in [true, false] {
        let mut lab = Lab::new();
        lab.joined("a", 1, 1);
        lab.now += Duration::from_secs(2);
        assert_eq!(lab.table.due(lab.now, &mut lab.rng).len(), 1);
        lab.now += Duration::from_secs(5);
        if stalled {
            lab.table.stalled(lab.now);
        }
        lab.table.due(lab.now, &mut lab.rng);
        assert_eq!(lab.table.view().is_none(), stalled, "an unanswered probe is shown");
    }
}

#[test]
fn a_forged_goodbye_changes_nothing() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.left("pc-a");
    lab.pass(100);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Up)]);
    assert!(!lab.members[0].advertised);
    assert_eq!(lab.kinds(), [EventKind::Joined, EventKind::FalseGoodbye]);
}

#[test]
fn a_goodbye_of_the_start_before_is_no_forgery() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(1), node("a", "pi", 1, NodeState::Draining));
    lab.left("pc-a");
    lab.pass(12);
    lab.answers.insert(at(1), up("a", 2));
    lab.pass(12);
    assert_eq!(
        lab.kinds(),
        [EventKind::Joined, EventKind::Draining, EventKind::Restarted, EventKind::Back]
    );
}

#[test]
fn a_node_that_drained_and_said_goodbye_leaves_the_list_when_it_stops() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(1), node("a", "pi", 1, NodeState::Draining));
    lab.left("pc-a");
    lab.pass(3);
    assert_eq!(lab.members[0].why, "said goodbye and is draining");
    assert!(lab.members[0].last_resort);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(7);
    assert_eq!(
        (lab.shown(), lab.kinds()),
        (vec![], vec![EventKind::Joined, EventKind::Draining, EventKind::Left])
    );
}

#[test]
fn a_silent_node_stays_down_until_it_is_forgotten_with_its_counters() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    let counters = Arc::downgrade(&lab.members[0].counters);
    lab.answers.clear();
    lab.pass(25);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Down)]);
    lab.left("pc-a");
    lab.pass(5900);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Down)]);
    lab.pass(120);
    assert_eq!((lab.shown(), counters.strong_count()), (vec![], 0));
}

#[test]
fn all_withdrawn_at_once_with_a_lost_link_are_kept() {
    let mut lab = Lab::new();
    let ids = ["a", "b", "c", "d"];
    for (host, id) in (1..).zip(ids) {
        lab.joined(id, 1, host);
    }
    let answers = std::mem::take(&mut lab.answers);
    ids.iter().for_each(|id| lab.left(&format!("pc-{id}")));
    lab.pass(20);
    lab.table.change(&Change::Disturbed(Source::Mdns), lab.now);
    lab.pass(300);
    assert!(lab.shown().iter().all(|(_, health)| *health == Health::Down));
    lab.answers = answers;
    lab.pass(40);
    assert_eq!(lab.shown().iter().filter(|(_, health)| *health == Health::Up).count(), 4);
}

#[test]
fn a_new_address_and_a_new_boot_are_swapped_in_place() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    let (epoch, counters) = (lab.members[0].epoch, lab.members[0].counters.clone());
    lab.answers = BTreeMap::from([(at(2), up("a", 2))]);
    lab.seen("pc-a", Some("a"), &[2]);
    lab.pass(20);
    let member = &lab.members[0];
    assert_eq!((member.node.endpoint, member.health, lab.members.len()), (at(2), Health::Up, 1));
    assert!(member.epoch != epoch && Arc::ptr_eq(&member.counters, &counters));
    assert!(!lab.kinds().contains(&EventKind::Left) && lab.kinds().contains(&EventKind::Moved));
}

#[test]
fn a_healthy_address_is_not_replaced_by_a_forged_one() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(9), up("b", 7));
    lab.seen("pc-a", Some("a"), &[9]);
    lab.pass(50);
    assert_eq!((lab.members[0].node.endpoint, lab.members[0].health), (at(1), Health::Up));
    assert_eq!(lab.kinds(), [EventKind::Joined, EventKind::Faulty]);
}

#[test]
fn two_boots_at_once_are_two_clones_and_one_again_when_the_first_leaves() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.answers.insert(at(2), up("a", 2));
    lab.seen("pc-a-x", Some("a"), &[2]);
    lab.pass(30);
    let clones = [("a".to_owned(), Health::Up), ("a-2".to_owned(), Health::Up)];
    assert_eq!(lab.shown(), clones);
    assert!(lab.members.iter().any(|m| m.node.endpoint == at(2) && m.node.name == "pi-2"));
    assert_eq!(lab.kinds().iter().filter(|kind| **kind == EventKind::Cloned).count(), 1);
    lab.answers.remove(&at(1));
    lab.left("pc-a");
    lab.pass(60);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Up)]);
    assert_eq!(lab.members[0].node.endpoint, at(2));
}

#[test]
fn a_refused_request_ejects_at_once_and_a_good_probe_brings_back() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.table.observed(lab.members[0].epoch, Outcome::Broken, lab.now);
    assert!(lab.table.view().is_none(), "a reset only asks");
    lab.table.observed(lab.members[0].epoch, Outcome::Refused, lab.now);
    assert_eq!(lab.table.view().unwrap()[0].health, Health::Ejected);
    lab.pass(2);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Up)]);
}

#[test]
fn a_good_answer_from_before_a_refusal_brings_nobody_back() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    lab.now += Duration::from_secs(2);
    let probe = lab.table.due(lab.now, &mut lab.rng).remove(0);
    let refused = lab.now + Duration::from_millis(10);
    lab.table.observed(lab.members[0].epoch, Outcome::Refused, refused);
    lab.table.probed(probe.ticket, &up("a", 1), refused + Duration::from_millis(10));
    assert_eq!(lab.table.view().unwrap()[0].health, Health::Ejected);
}

#[test]
fn a_restart_seen_over_two_addresses_makes_no_clone() {
    let mut lab = Lab::new();
    lab.answers.extend([(at(1), up("a", 1)), (at(2), up("a", 1))]);
    lab.seen("pc-a", Some("a"), &[1, 2]);
    lab.pass(100);
    // The new start answers at the other address first.
    lab.answers.insert(at(2), up("a", 2));
    lab.seen("pc-a", Some("a"), &[1]);
    lab.round();
    lab.answers.insert(at(1), up("a", 2));
    lab.pass(50);
    assert_eq!(lab.shown(), [("a".to_owned(), Health::Up)]);
    assert_eq!(lab.kinds(), [EventKind::Joined, EventKind::Restarted]);
}

#[test]
fn a_node_whose_app_is_down_is_the_last_resort_while_that_answers() {
    let mut lab = Lab::new();
    lab.joined("a", 1, 1);
    let mut is_last_resort = |answers| {
        let why = "exited with code 1; next start in 4 s".to_owned();
        lab.answers.insert(at(1), node("a", "pi", 1, NodeState::AppDown { why, answers }));
        lab.pass(25);
        assert_eq!(lab.shown(), [("a".to_owned(), Health::Down)]);
        lab.members[0].last_resort
    };
    assert!(is_last_resort(true));
    assert!(!is_last_resort(false));
    let why = "says that its application is down (exited with code 1; next start in 4 s), ";
    assert!(lab.members[0].why.starts_with(why), "{}", lab.members[0].why);
}

#[test]
fn another_cluster_is_ignored_and_reported_once() {
    let mut lab = Lab::new();
    let mut other = sighting("pc-a", Some("a"), &[at(1)]);
    "other".clone_into(&mut other.advertisement.cluster);
    lab.table.change(&Change::Seen(Source::Mdns, other.clone()), lab.now);
    lab.table.change(&Change::Seen(Source::Mdns, other), lab.now);
    lab.pass(10);
    assert_eq!((lab.members.len(), lab.kinds()), (0, vec![EventKind::Refused]));
}
