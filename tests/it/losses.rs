//! The ways in which nodes go; no client of the balancer notices.

use std::time::Duration;

use crate::lab::{Balancer, Lab, Load, Process, say};

/// The time until a node is out of the rotation: the bar is 2 s; here several labs share one small
/// machine.
const OUT_MAX: Duration = Duration::from_secs(4);

/// The time until a node is back in the rotation: the bar is 5 s.
const BACK_MAX: Duration = Duration::from_secs(7);

/// The longest wait of a GET: the bar is 1 s.
const WAIT_MAX_MS: u64 = 3_000;

/// A balancer with three nodes, all of which have answered the 32 clients that GET.
struct Cluster {
    lb: Balancer,
    ada: Process,
    ada_name: String,
    gets: Load,
}

fn cluster(lab: &Lab) -> Cluster {
    let lb = lab.lb();
    let ada = lab.pi("ada").web().start();
    lab.pi("bob").web().start();
    lab.pi("eve").web().start();
    lb.wait_for_nodes(3);
    let gets = lab.load(&lb, 32);
    gets.wait_for_nodes(3);
    let ada_name = lb.name_of(&ada);
    Cluster { lb, ada, ada_name, gets }
}

#[test]
fn a_stopped_node_costs_no_request_and_exits_within_five_seconds() {
    let Some(lab) = Lab::busy("sigterm") else { return };
    let Cluster { lb, ada, ada_name, gets } = cluster(&lab);
    let posts = lab.client().load(&lb.url()).clients(16).sending("POST", 1_000).start();
    let uploads = lab.client().load(&lb.url()).clients(4).sending("PUT", 200_000).start();
    posts.wait_for_answer_of(&ada_name);
    let (exit, took) = ada.sigterm();
    lab.figure("SIGTERM to exit under load", format!("{took:?}"), "5 s");
    assert_eq!(exit.code, 0);
    assert!(took <= Duration::from_secs(6), "{took:?}");
    lb.wait_until_out(&ada, OUT_MAX);
    posts.wait_for_more(500);
    for (method, load) in [("GET", gets), ("POST", posts), ("PUT", uploads)] {
        say(&format!("lab sigterm: {method}"));
        load.stop_with_no_failure();
    }

    let ada = ada.restart();
    lb.wait_until_up(&ada, BACK_MAX);
}

#[test]
fn a_killed_node_costs_no_get_and_is_back_five_seconds_after_its_return() {
    let Some(lab) = Lab::busy("kill") else { return };
    let Cluster { lb, ada, ada_name, gets } = cluster(&lab);
    ada.kill9();
    let out = lb.wait_until_out(&ada, OUT_MAX);
    lab.figure("kill -9 to out of the rotation", format!("{out:?}"), "2 s");
    gets.keep_on(Duration::from_secs(2));
    let ada = ada.restart();
    let back = gets.wait_for_new_answer_of(&ada_name);
    back_in_time(&lab, &lb, &ada, back.saturating_sub(ada.started_ms()));
    let events = ["node joined", "node restarted"].map(|word| lb.count("node_events", word));
    assert_eq!(events, [3, 1]);
    let ejected = lb.count("node_events", "node ejected");
    assert_eq!(lb.count("ejections", "connect_refused"), ejected);
    no_get_was_lost(&lab, gets);
}

#[test]
fn a_pulled_cable_costs_no_get_and_the_node_is_back_within_five_seconds() {
    let Some(lab) = Lab::busy("cable") else { return };
    let cluster = cluster(&lab);
    let pi = cluster.ada.pi().clone();
    lost_and_back(&lab, cluster, || pi.unplug(), || pi.plug());
}

#[test]
fn a_silently_cut_off_node_costs_no_get_and_is_back_within_five_seconds() {
    let Some(lab) = Lab::busy("partition") else { return };
    let cluster = cluster(&lab);
    let pi = cluster.ada.pi().clone();
    lost_and_back(&lab, cluster, || pi.partition(), || pi.heal());
}

#[test]
fn a_frozen_node_costs_no_get_and_is_back_within_five_seconds() {
    let Some(lab) = Lab::busy("freeze") else { return };
    let cluster = cluster(&lab);
    let ada = cluster.ada.clone();
    lost_and_back(&lab, cluster, || ada.freeze(), || ada.thaw());
}

/// Takes the node away without a goodbye, and brings it back.
fn lost_and_back(lab: &Lab, cluster: Cluster, lose: impl FnOnce(), come_back: impl FnOnce()) {
    let Cluster { lb, ada, ada_name, gets } = cluster;
    lose();
    let out = lb.wait_until_out(&ada, OUT_MAX);
    lab.figure("gone to out of the rotation", format!("{out:?}"), "2 s");
    if let Some(node) = lb.node(&ada) {
        assert!(!node.why.is_empty(), "people are told why: {node:?}");
        say(&format!("lab: {} is {}: {}", node.name, node.state, node.why));
    }
    let before = gets.so_far();
    gets.keep_on(Duration::from_secs(3));
    let after = gets.so_far();
    assert!(after.ok > before.ok, "the other two serve: {after:?}");
    let answered_by_ada = |report: &crate::lab::Report| report.nodes[&ada_name].count;
    assert_eq!(answered_by_ada(&after), answered_by_ada(&before), "from beyond the grave");
    let came_back = crate::lab::now_ms();
    come_back();
    let back = gets.wait_for_new_answer_of(&ada_name);
    back_in_time(lab, &lb, &ada, back.saturating_sub(came_back));
    no_get_was_lost(lab, gets);
}

fn back_in_time(lab: &Lab, lb: &Balancer, ada: &Process, took_ms: u64) {
    let took = Duration::from_millis(took_ms);
    lab.figure("return to first answer", format!("{took:?}"), "5 s");
    assert!(took <= BACK_MAX, "{took:?}");
    lb.wait_until_up(ada, BACK_MAX);
    assert_eq!(lb.wait_for_nodes(3).len(), 3, "a restart is no new node");
}

fn no_get_was_lost(lab: &Lab, gets: Load) {
    let report = gets.stop();
    let figure = format!("{} failed, worst wait {} ms", report.failed, report.worst_ms);
    lab.figure(&format!("{} GETs:", report.ok), figure, "0 failed, 1 s");
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.worst_ms <= WAIT_MAX_MS, "{report:?}");
}
