//! The effects of requests on nodes: trials, growing shares, ejections for errors, and suspicion.

use std::sync::atomic::Ordering;

use super::*;
use crate::cluster::health::ERRORS_IN_A_ROW;
use crate::cluster::pool::Share;

impl Lab {
    /// A lab with this many nodes, all up: n1 at host 1 and so on.
    fn with_nodes(count: u8) -> Self {
        let mut lab = Self::new();
        (1..=count).for_each(|host| lab.joined(&format!("n{host}"), 1, host));
        lab
    }

    fn member(&self, host: u8) -> &Member {
        self.members.iter().find(|m| m.node.endpoint == at(host)).expect("it is shown")
    }

    fn observe(&mut self, host: u8, outcome: Outcome) {
        self.table.observed(self.member(host).epoch, outcome, self.now);
        self.look();
    }

    fn look(&mut self) {
        self.members = self.table.view().unwrap_or_else(|| std::mem::take(&mut self.members));
    }

    /// This node answers this many requests with an error.
    fn err(&mut self, host: u8, times: u32) {
        for _ in 0..times {
            if let Some(outcome) = self.member(host).note_head(500) {
                self.observe(host, outcome);
            }
        }
    }

    /// This many requests break off at this node.
    fn break_off(&mut self, host: u8, times: u32) {
        for _ in 0..times {
            if let Some(outcome) = self.member(host).note_break() {
                self.observe(host, outcome);
            }
        }
    }

    fn state(&self, host: u8) -> (Health, f64) {
        let member = self.member(host);
        (member.health, member.share.weight())
    }

    /// The node refuses a connection and answers the next probe.
    fn falls_and_comes_back(&mut self, host: u8) {
        self.observe(host, Outcome::Refused);
        assert_eq!(self.member(host).health, Health::Ejected);
        self.pass(3);
    }

    /// Lets time pass until the state of this node changes. Returns the tenths of a second.
    fn until_changed(&mut self, host: u8, most: u32) -> u32 {
        let before = self.state(host);
        (1..=most)
            .find(|_| {
                self.pass(1);
                self.state(host) != before
            })
            .expect("it changes")
    }
}

#[test]
fn a_node_that_was_out_gets_one_request_and_then_grows_in_quarters() {
    let mut lab = Lab::with_nodes(2);
    lab.falls_and_comes_back(1);
    assert_eq!(lab.state(1), (Health::Up, 0.0));
    assert!(lab.member(1).share.is_trial() && lab.member(1).why.contains("one request at a time"));
    lab.observe(1, lab.member(1).note_head(204).expect("a trial's answer is reported"));
    assert_eq!(lab.state(1), (Health::Up, 0.25));
    assert_eq!(lab.member(1).note_head(204), None);
    let began = lab.now;
    for weight in [0.5, 0.75, 1.0] {
        let tenths = lab.until_changed(1, 60);
        assert_eq!(lab.state(1), (Health::Up, weight));
        assert!((30..=40).contains(&tenths), "{tenths}");
    }
    let took = lab.now - began;
    assert!((100..=111).contains(&(took.as_millis() / 100)), "{took:?}");
    assert_eq!(lab.member(1).why, "answered the last probe");
}

#[test]
fn growing_shares_are_published_together_and_only_when_they_change() {
    let mut lab = Lab::with_nodes(3);
    lab.falls_and_comes_back(1);
    lab.observe(1, Outcome::Answered);
    lab.observe(2, Outcome::Refused);
    lab.pass(3);
    lab.observe(2, Outcome::Answered);
    let mut views = 0;
    for _ in 0..120 {
        lab.settle();
        if let Some(members) = lab.table.view() {
            views += 1;
            lab.members = members;
        }
        lab.now += Duration::from_millis(100);
    }
    assert_eq!((lab.state(1), lab.state(2)), ((Health::Up, 1.0), (Health::Up, 1.0)));
    assert!((3..=6).contains(&views), "{views}");
}

#[test]
fn a_node_that_joins_or_said_goodbye_or_is_alone_gets_its_share_at_once() {
    let mut lab = Lab::with_nodes(2);
    assert_eq!(lab.state(2), (Health::Up, 1.0));
    // A goodbye, and a new start so soon that the node never left the list.
    lab.answers.insert(at(1), node("n1", "pi", 1, NodeState::Draining));
    lab.pass(12);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(12);
    assert_eq!(lab.member(1).health, Health::Down);
    lab.answers.insert(at(1), up("n1", 2));
    lab.pass(30);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    // Alone: its first answer is proof enough.
    let mut lab = Lab::with_nodes(1);
    lab.falls_and_comes_back(1);
    lab.observe(1, Outcome::Answered);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
}

#[test]
fn a_crash_that_was_noticed_is_no_goodbye() {
    let mut lab = Lab::with_nodes(2);
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(12);
    lab.answers.insert(at(1), up("n1", 2));
    lab.pass(30);
    assert_eq!(lab.state(1), (Health::Up, 0.0));
}

#[test]
fn a_trial_for_which_no_request_comes_ends_well() {
    let mut lab = Lab::with_nodes(2);
    lab.falls_and_comes_back(1);
    let tenths = lab.until_changed(1, 100);
    assert!((45..=52).contains(&tenths), "{tenths}");
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    assert_eq!(lab.member(1).why, "answers probes again; no request came to try it with");
}

#[test]
fn a_trial_goes_on_while_its_request_does() {
    let mut lab = Lab::with_nodes(2);
    lab.falls_and_comes_back(1);
    let Share::Trial(taken) = lab.member(1).share.clone() else { panic!("on trial") };
    taken.store(true, Ordering::Relaxed);
    lab.pass(200);
    assert_eq!(lab.state(1), (Health::Up, 0.0));
    taken.store(false, Ordering::Relaxed);
    lab.pass(15);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
}

#[test]
fn a_trial_request_that_dies_ejects_for_longer_each_time() {
    let mut lab = Lab::with_nodes(2);
    lab.falls_and_comes_back(1);
    for seconds in [1, 2, 3] {
        lab.observe(1, Outcome::Broken);
        let member = lab.member(1);
        assert_eq!((member.health, member.last_resort), (Health::Ejected, true));
        assert!(member.why.contains("trial request died"), "{}", member.why);
        let tenths = lab.until_changed(1, 100);
        assert!((seconds * 10..=seconds * 10 + 1).contains(&tenths), "{tenths}");
        assert_eq!(lab.state(1), (Health::Up, 0.0), "on trial again");
    }
    lab.observe(1, Outcome::Answered);
    assert_eq!(lab.state(1), (Health::Up, 0.25));
    lab.observe(1, Outcome::Broken);
    assert_eq!(lab.state(1), (Health::Up, 0.25), "the trial is over");
}

#[test]
fn five_errors_in_a_row_eject_and_no_probe_brings_back_before_the_time() {
    let mut lab = Lab::with_nodes(3);
    lab.err(1, ERRORS_IN_A_ROW - 1);
    // One good answer, and it begins anew.
    lab.member(1).note_end(200);
    lab.err(1, ERRORS_IN_A_ROW - 1);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    for seconds in [30, 60, 90] {
        lab.err(1, ERRORS_IN_A_ROW);
        let member = lab.member(1);
        assert_eq!((member.health, member.last_resort), (Health::Ejected, true));
        assert_eq!(
            member.why,
            format!("the last 5 requests were answered with a 5xx; out for {seconds} s")
        );
        let tenths = lab.until_changed(1, 4000);
        assert!((seconds * 10..=seconds * 10 + 1).contains(&tenths), "{tenths}");
        assert_eq!(lab.state(1), (Health::Up, 0.0), "on trial");
        lab.observe(1, Outcome::Answered);
    }
    // Quiet for twice as long as it takes to be forgiven once: of three ejections one is left.
    lab.pass(6010);
    lab.err(1, ERRORS_IN_A_ROW);
    assert!(lab.member(1).why.ends_with("out for 60 s"), "{}", lab.member(1).why);
}

#[test]
fn an_ejection_for_errors_lasts_five_minutes_at_most() {
    let mut lab = Lab::with_nodes(3);
    for _ in 0..12 {
        lab.err(1, ERRORS_IN_A_ROW);
        lab.until_changed(1, 4000);
        lab.observe(1, Outcome::Answered);
    }
    lab.err(1, ERRORS_IN_A_ROW);
    assert!(lab.member(1).why.ends_with("out for 300 s"), "{}", lab.member(1).why);
}

#[test]
fn requests_that_go_on_to_break_off_after_a_good_probe_eject() {
    let mut lab = Lab::with_nodes(3);
    lab.break_off(1, 20 * ERRORS_IN_A_ROW);
    assert_eq!(lab.state(1), (Health::Up, 1.0), "its process may just have ended");
    lab.pass(3);
    lab.break_off(1, ERRORS_IN_A_ROW - 1);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    lab.break_off(1, 1);
    let member = lab.member(1);
    assert_eq!((member.health, member.last_resort), (Health::Ejected, true));
    assert_eq!(member.why, "the last 5 requests broke off; out for 30 s");
    // Its peers, of which one is enough to serve, are no better.
    lab.break_off(2, ERRORS_IN_A_ROW);
    lab.pass(3);
    lab.break_off(2, ERRORS_IN_A_ROW);
    assert_eq!(lab.state(2), (Health::Up, 1.0), "never more than half");
}

#[test]
fn requests_that_break_off_now_and_then_or_at_a_restart_eject_nobody() {
    let mut lab = Lab::with_nodes(3);
    for _ in 0..5 {
        lab.break_off(1, ERRORS_IN_A_ROW);
        lab.pass(101);
    }
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    lab.break_off(1, ERRORS_IN_A_ROW);
    lab.answers.insert(at(1), up("n1", 2));
    lab.pass(12);
    lab.break_off(1, ERRORS_IN_A_ROW);
    assert_eq!(
        lab.member(1).health,
        Health::Up,
        "the errors of the start before do not count for a new one"
    );
}

#[test]
fn a_new_start_ends_an_ejection_for_errors() {
    let mut lab = Lab::with_nodes(3);
    lab.err(1, ERRORS_IN_A_ROW);
    lab.answers.insert(at(1), up("n1", 2));
    lab.pass(12);
    assert_eq!(lab.state(1), (Health::Up, 0.0));
}

#[test]
fn nobody_is_ejected_for_errors_that_half_of_its_peers_make_too() {
    let mut lab = Lab::with_nodes(3);
    lab.err(2, 1);
    lab.err(1, 10 * ERRORS_IN_A_ROW);
    assert_eq!(lab.state(1), (Health::Up, 1.0));
    // The peer is well again, the node is not.
    lab.member(2).note_end(200);
    lab.err(1, ERRORS_IN_A_ROW);
    assert_eq!(lab.member(1).health, Health::Ejected);
}

#[test]
fn errors_eject_at_most_half_of_the_nodes_and_never_the_last_one() {
    for (count, out) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9, 4)] {
        let mut lab = Lab::with_nodes(count);
        for host in 1..=count {
            lab.err(host, ERRORS_IN_A_ROW);
            // So that none is spared because its peers err too.
            lab.member(host).note_end(200);
        }
        let ejected = lab.members.iter().filter(|m| m.health == Health::Ejected).count();
        assert_eq!(ejected, out, "of {count}");
    }
}

#[test]
fn a_node_that_drains_while_it_is_ejected_for_errors_leaves_as_it_should() {
    let mut lab = Lab::with_nodes(3);
    lab.err(1, ERRORS_IN_A_ROW);
    lab.answers.insert(at(1), node("n1", "pi", 1, NodeState::Draining));
    lab.pass(12);
    assert_eq!(lab.member(1).health, Health::Draining);
    lab.left("pc-n1");
    lab.answers.insert(at(1), ProbeResult::Refused);
    lab.pass(12);
    assert_eq!(lab.shown().len(), 2);
}

/// Leaves each probe of host 1 unanswered until its timeout. Returns the time until it was suspected.
fn suspected_after(lab: &mut Lab) -> Duration {
    let began = lab.now;
    let mut waiting: Vec<(Duration, ProbeTicket)> = Vec::new();
    while lab.member(1).health == Health::Up {
        assert!(lab.now < began + Duration::from_secs(3));
        for probe in lab.table.due(lab.now, &mut lab.rng) {
            match lab.answers.get(&probe.endpoint).cloned() {
                Some(answer) => lab.table.probed(probe.ticket, &answer, lab.now),
                None => waiting.push((lab.now + probe.timeout, probe.ticket)),
            }
        }
        for (_, ticket) in waiting.extract_if(.., |(at, _)| *at <= lab.now) {
            lab.table.probed(ticket, &ProbeResult::TimedOut, lab.now);
        }
        lab.look();
        lab.now += Duration::from_millis(1);
    }
    lab.now - began
}

#[test]
fn a_silent_request_and_two_quick_probes_make_a_suspect_in_half_a_second() {
    for silent_for_ms in [0, 130, 480, 730, 940] {
        let mut lab = Lab::with_nodes(2);
        lab.pass(20);
        lab.now += Duration::from_millis(silent_for_ms);
        lab.settle();
        lab.answers.remove(&at(1));
        lab.observe(1, Outcome::Silent);
        assert_eq!(lab.member(1).health, Health::Up);
        let took = suspected_after(&mut lab);
        // One more gap between two probes if one was just answered.
        assert!(took <= Duration::from_millis(602), "{took:?}");
        let member = lab.member(1);
        assert_eq!(member.health, Health::Suspect);
        assert!(member.silent && member.last_resort, "{member:?}");
        assert_eq!(member.why, "no answer in time from 10.0.0.1:8080, 2 tries");
        lab.pass(10);
        assert_eq!(lab.member(1).health, Health::Down);
    }
}

#[test]
fn a_good_probe_brings_a_suspect_back_at_once_and_slowly() {
    let mut lab = Lab::with_nodes(2);
    let answer = lab.answers.remove(&at(1)).unwrap();
    lab.observe(1, Outcome::Silent);
    suspected_after(&mut lab);
    lab.answers.insert(at(1), answer);
    lab.pass(6);
    assert_eq!(lab.state(1), (Health::Up, 0.25));
}

#[test]
fn a_slow_application_is_no_suspect_while_its_node_answers_probes() {
    let mut lab = Lab::with_nodes(2);
    for _ in 0..50 {
        lab.observe(1, Outcome::Silent);
        lab.pass(2);
        assert_eq!(lab.state(1), (Health::Up, 1.0));
    }
}

#[test]
fn requests_at_a_vanished_address_learn_that_the_node_has_another_one() {
    let mut lab = Lab::new();
    lab.answers.extend([(at(1), up("a", 1)), (at(2), up("a", 1))]);
    lab.seen("pc-a", Some("a"), &[1, 2]);
    lab.joined("b", 1, 3);
    lab.pass(20);
    let epoch = lab.member(1).epoch;
    // The cable is pulled; the node still answers over Wi-Fi.
    lab.answers.remove(&at(1));
    lab.observe(1, Outcome::Silent);
    lab.pass(6);
    let member = lab.member(2);
    assert_eq!((member.health, member.left_silent), (Health::Up, Some(epoch)));
    let (publisher, watch) = crate::cluster::pool::channel();
    publisher.publish(std::mem::take(&mut lab.members), lab.now);
    assert!(watch.borrow().is_silent(epoch), "its requests go elsewhere");
}

#[test]
fn an_ejection_is_reported_once_with_its_cause() {
    let causes = |happens: &dyn Fn(&mut Lab)| -> Vec<_> {
        let mut lab = Lab::with_nodes(3);
        happens(&mut lab);
        lab.pass(3);
        let cause = |kind| if let EventKind::Ejected(cause) = kind { Some(cause) } else { None };
        lab.kinds().into_iter().filter_map(cause).collect()
    };
    let falls = |lab: &mut Lab| lab.falls_and_comes_back(1);
    assert_eq!(causes(&falls), [Ejection::Refused]);
    let dies_on_trial = |lab: &mut Lab| {
        falls(lab);
        lab.observe(1, Outcome::Broken);
    };
    assert_eq!(causes(&dies_on_trial), [Ejection::Refused, Ejection::Trial]);
    let errs = |lab: &mut Lab| lab.err(1, ERRORS_IN_A_ROW);
    assert_eq!(causes(&errs), [Ejection::Errors]);
    let breaks_off = |lab: &mut Lab| {
        lab.break_off(1, ERRORS_IN_A_ROW);
        lab.pass(3);
        lab.break_off(1, ERRORS_IN_A_ROW);
    };
    assert_eq!(causes(&breaks_off), [Ejection::BrokeOff]);
}
