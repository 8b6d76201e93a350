//! The cost of each way to fail: the quick and certain rows of `benches/faults`, without their
//! times.
//!
//! There are three nodes, a balancer, clients that never repeat a request by themselves, and on
//! each node's cable a recorder that sees whether a request arrives twice.

mod company;
#[expect(dead_code, reason = "some rows take too long for a test; the benchmark has all")]
mod fault;
#[expect(dead_code, reason = "other balancers are the benchmark's matter")]
mod ground;
#[expect(dead_code, reason = "some figures are for people; the benchmark prints them")]
mod trial;

use std::time::Duration;

use crate::lab::{DEATH_PATH, Lab, PATIENCE, pause, wait_until};
use company::Company;
use fault::Fault;
use ground::Ground;
use trial::{Clients, Met, Spans};

/// Long enough for two missed probes, and afterwards for two good ones.
const SPANS: Spans = Spans {
    before: Duration::from_millis(300),
    sick: Duration::from_millis(2_500),
    back_max: PATIENCE,
    after: Duration::from_millis(500),
};

/// A few of each kind, because two of these labs share a small machine.
fn kept(method: &'static str) -> Clients {
    Clients { count: 8, ..Clients::new(method, false) }
}

fn new(method: &'static str) -> Clients {
    Clients { count: 8, ..Clients::new(method, true) }
}

/// Runs a trial and checks the rules of all trials: no POST arrives twice, and the node is back at
/// the end.
fn under(fault: Fault, groups: &[Clients]) -> Option<Vec<Met>> {
    let lab = Lab::busy(fault.title())?;
    let ground = Ground::of_picluster(&lab, fault.is_a_mood());
    // Errors of requests alone eject a node for 30 s. To wait for its return with all clients at work
    // would need more of the machine than all other trials together. Nothing here depends on the
    // return; the simulation checks it.
    let is_out_for_long =
        [Fault::Storm, Fault::Resets, Fault::ResetsInBody, Fault::HalfHead].contains(&fault);
    let back_max = if is_out_for_long { Duration::ZERO } else { SPANS.back_max };
    let met = trial::run(ground, fault, groups, Spans { back_max, ..SPANS });
    for met in &met {
        let what = format!("{}: {:#?}", met.clients.method, met.report);
        let twice = &met.twice;
        assert!(met.clients.method != "POST" || twice.is_empty(), "{twice:#?}, {what}");
        assert!(met.back.is_some() || is_out_for_long, "not back: {what}");
    }
    Some(met)
}

#[track_caller]
fn none_failed(met: &Met) {
    assert_eq!(met.report.failed, 0, "{}: {:#?}", met.clients.method, met.report);
}

/// A request that may not be repeated is answered with a 502, and each client meets at most one.
#[track_caller]
fn one_502_a_client_at_most(met: &Met) {
    let reasons = met.report.reasons.keys();
    assert!(reasons.into_iter().all(|reason| reason.starts_with("502 ")), "{:#?}", met.report);
    assert!(met.most_of_a_client() <= 1, "{:#?}", met.report);
}

#[test]
fn a_killed_node_costs_no_put_and_of_posts_only_those_under_way() {
    let groups = [kept("PUT"), kept("POST"), new("GET")];
    let Some(met) = under(Fault::Kill, &groups) else { return };
    none_failed(&met[0]);
    none_failed(&met[2]);
    one_502_a_client_at_most(&met[1]);
    let late: Vec<_> = met[1].sent_after_the_fault().collect();
    assert!(late.is_empty(), "sent when nobody listened any more: {late:#?}");
}

#[test]
fn a_pulled_cable_costs_no_put_and_one_post_a_client_at_most() {
    let groups = [kept("PUT"), kept("POST"), new("GET")];
    let Some(met) = under(Fault::Cable, &groups) else { return };
    none_failed(&met[0]);
    none_failed(&met[2]);
    one_502_a_client_at_most(&met[1]);
}

#[test]
fn a_silent_drop_costs_no_put_and_one_post_a_client_at_most() {
    let Some(met) = under(Fault::Drop, &[kept("PUT"), new("POST")]) else { return };
    none_failed(&met[0]);
    one_502_a_client_at_most(&met[1]);
}

#[test]
fn a_frozen_node_costs_no_put_and_one_post_a_client_at_most() {
    let Some(met) = under(Fault::Freeze, &[kept("PUT"), kept("POST")]) else { return };
    none_failed(&met[0]);
    one_502_a_client_at_most(&met[1]);
}

#[test]
fn a_restarted_node_costs_no_request_of_any_method_or_connection() {
    let groups = [kept("GET"), new("GET"), kept("PUT"), kept("POST"), new("POST")];
    let Some(met) = under(Fault::Restart, &groups) else { return };
    met.iter().for_each(none_failed);
}

#[test]
fn a_node_that_resets_after_the_head_costs_no_get_and_only_a_few_posts() {
    let groups = [kept("GET"), kept("PUT"), kept("POST")];
    let Some(met) = under(Fault::Resets, &groups) else { return };
    none_failed(&met[0]);
    none_failed(&met[1]);
    assert!(!met[0].twice.is_empty(), "no GET met the fault, so that none was repeated");
    assert!((1..100).contains(&met[2].report.failed), "{:#?}", met[2].report);
    let reasons = met[2].report.reasons.keys();
    assert!(reasons.into_iter().all(|reason| reason.starts_with("502 ")), "{:#?}", met[2].report);
}

#[test]
fn a_node_that_sends_half_a_head_costs_no_get() {
    let Some(met) = under(Fault::HalfHead, &[kept("GET"), new("PUT")]) else { return };
    met.iter().for_each(none_failed);
    assert!(!met[0].twice.is_empty(), "no GET met the fault, so that none was repeated");
}

#[test]
fn an_answer_that_breaks_off_looks_broken_and_is_not_requested_again() {
    let Some(met) = under(Fault::ResetsInBody, &[kept("GET"), kept("POST")]) else { return };
    for met in met {
        assert!((1..100).contains(&met.report.failed), "{:#?}", met.report);
        assert!(met.twice.is_empty(), "asked for after its head had gone down: {:?}", met.twice);
        let mut reasons = met.report.reasons.keys();
        let visible = |reason: &String| ["reset", "closed early"].contains(&reason.as_str());
        assert!(reasons.all(visible), "{:#?}", met.report);
    }
}

#[test]
fn a_node_that_says_nothing_costs_no_get_and_one_post_a_client_at_most() {
    let Some(met) = under(Fault::Mute, &[kept("GET"), kept("POST")]) else { return };
    none_failed(&met[0]);
    one_502_a_client_at_most(&met[1]);
}

#[test]
fn a_500_of_a_node_is_passed_on_unrepeated_and_a_few_in_a_row_eject_it() {
    let Some(met) = under(Fault::Storm, &[kept("GET"), kept("POST")]) else { return };
    for met in met {
        assert!((1..100).contains(&met.report.failed), "{:#?}", met.report);
        assert!(met.twice.is_empty(), "{:?}", met.twice);
        let reasons: Vec<_> = met.report.reasons.keys().collect();
        assert_eq!(reasons, ["status 500 of a node"]);
    }
}

#[test]
fn a_slow_node_whose_health_is_good_is_left_in_peace() {
    let Some(met) = under(Fault::Slow, &[kept("GET"), kept("POST")]) else { return };
    for met in met {
        none_failed(&met);
        assert!(met.twice.is_empty() && met.out.is_none(), "{:?} {:?}", met.twice, met.out);
        assert!(met.report.worst_ms >= 2_000, "no request met the fault");
    }
}

#[test]
fn a_node_that_moves_to_another_address_costs_no_get() {
    let Some(met) = under(Fault::Moved, &[kept("GET"), new("PUT")]) else { return };
    met.iter().for_each(none_failed);
}

#[test]
fn a_request_that_kills_its_node_kills_two_at_most() {
    let Some(lab) = Lab::new("death") else { return };
    let ground = Ground::of_picluster(&lab, true);
    let answer = lab.get(&format!("{}{}", ground.url, &DEATH_PATH[1..])).expect("an answer");
    assert_eq!(answer.status, 502);
    let dead = || ground.nodes.iter().filter(|node| !node.process().is_running()).count();
    wait_until("two nodes to end", || dead() >= 2);
    pause(Duration::from_millis(500));
    assert_eq!(dead(), 2);
    assert_eq!(lab.get(&ground.url).expect("the third is there").status, 200);
}

#[test]
fn a_rolling_restart_costs_no_request_and_no_tunnel() {
    let Some(lab) = Lab::busy("rolling") else { return };
    let Company { lb, nodes, loads, tunnels, kim: _kim } = Company::start(&lab, &[]);
    for node in nodes {
        node.sigterm();
        lb.wait_until_up(&node.restart(), PATIENCE);
    }
    for (_, load) in loads {
        load.stop_with_no_failure();
    }
    let tunnels = tunnels.stop();
    let whole = tunnels.iter().filter(|tunnel| tunnel.broke_ms.is_none() && tunnel.echoes > 0);
    assert_eq!(whole.count(), company::TUNNELS, "{tunnels:?}");
}

#[test]
fn a_stopped_balancer_resets_no_connection_or_tunnel_before_the_deadline() {
    let Some(lab) = Lab::busy("stopped") else { return };
    let company = Company::start(&lab, &["--drain", "3s"]);
    pause(Duration::from_millis(300));
    let stopped = company.stop_the_balancer();
    for (clients, report) in stopped.reports {
        assert_eq!(report.failed, 0, "{clients}: {report:#?}");
    }
    assert_eq!(stopped.exit_code, 0);
    assert!(stopped.took < PATIENCE, "{:?}", stopped.took);
    assert!(stopped.echoes > 0 && stopped.tunnels >= Duration::from_millis(2_800));
}

#[test]
fn requests_wait_for_the_first_node_that_comes_back() {
    let Some(lab) = Lab::busy("held") else { return };
    let ground = Ground::of_picluster(&lab, false);
    let loads = [kept("GET"), kept("POST"), new("GET")].map(|clients| clients.start(&ground));
    for node in &ground.nodes {
        node.process().signal("TERM");
    }
    for node in &ground.nodes {
        node.process().wait_exit(PATIENCE);
    }
    pause(Duration::from_millis(500));
    ground.nodes[0].process().restart();
    for load in loads {
        load.wait_for_new_answer_of("ada");
        load.stop_with_no_failure();
    }
}
