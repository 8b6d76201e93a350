//! The slow tier: faults that show only after minutes. These tests wait rather than compute, so
//! they run side by side: `cargo test --test it -- --ignored --test-threads=6`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::hostile::{bad_adverts, count_bad_dials, three_nodes_under_load, unharmed};
use crate::lab::{Advert, Balancer, Lab, Load, Process, Program, RENAMED};

/// A load that other labs do not feel: five more run beside it for minutes.
fn light_load(lab: &Lab, lb: &Balancer) -> Load {
    lab.client().load(&lb.url()).clients(4).pausing(Duration::from_millis(50)).start()
}

/// The longest return of a node after two and a half minutes; the bar is 5 s.
const BACK_MAX: Duration = Duration::from_secs(8);

#[test]
#[ignore = "slow tier: takes minutes"]
fn twenty_clones_are_still_twenty_after_their_records_have_expired() {
    let Some(lab) = Lab::slow("clones-260") else { return };
    let lb = lab.lb();
    let pis: Vec<_> = (1..=20).map(|n| lab.pi(&format!("pi{n}"))).collect();
    let clones: Vec<_> = pis.iter().map(|pi| pi.web().start()).collect();
    let ids = |nodes: &[crate::lab::Node]| -> BTreeSet<String> {
        nodes.iter().map(|node| node.id.clone()).collect()
    };
    let first = ids(&lb.wait_for_nodes(20));
    let load = light_load(&lab, &lb);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(260) {
        load.keep_on(Duration::from_secs(5));
        let nodes = lb.nodes();
        assert_eq!(nodes.iter().filter(|node| node.is_up()).count(), 20, "{nodes:#?}");
    }
    assert_eq!(ids(&lb.nodes()), first);
    load.stop_with_no_failure();
    assert!(clones.iter().all(|clone| clone.log_lines_with(RENAMED) == 0));
}

#[test]
#[ignore = "slow tier: takes minutes"]
fn a_silent_partition_past_the_records_ttl_heals() {
    let Some(lab) = Lab::slow("partition-150") else { return };
    let lb = lab.lb();
    let ada = lab.pi("ada").web().start();
    lab.pi("bob").web().start();
    lb.wait_for_nodes(2);
    let load = light_load(&lab, &lb);
    let kim = lab.pi("kim");
    ada.pi().partition();
    kim.partition();
    // The balancer has never heard of this node.
    let unknown = kim.web().start();
    lb.wait_until_out(&ada, BACK_MAX);
    load.keep_on(Duration::from_secs(150));
    assert!(lb.node(&unknown).is_none());
    ada.pi().heal();
    kim.heal();
    let healed = Instant::now();
    let known = lb.wait_until_up(&ada, Duration::from_secs(60));
    lb.wait_until_up(&unknown, Duration::from_secs(90));
    let unknown = healed.elapsed();
    lab.figure("healed to up, a known node", format!("{known:?}"), "5 s");
    lab.figure("healed to up, an unknown node", format!("{unknown:?}"), "35 s");
    assert!(known <= BACK_MAX && unknown <= Duration::from_secs(40), "{known:?} {unknown:?}");
    load.stop_with_no_failure();
}

#[test]
#[ignore = "slow tier: takes minutes"]
fn a_balancer_cut_off_past_the_records_ttl_finds_its_nodes_again() {
    let Some(lab) = Lab::slow("lb-partition-150") else { return };
    let lb = lab.lb();
    let nodes: Vec<Process> = ["ada", "bob"].map(|name| lab.pi(name).web().start()).into();
    lb.wait_for_nodes(2);
    lb.pi().partition();
    crate::lab::pause(Duration::from_secs(150));
    lb.pi().heal();
    let healed = Instant::now();
    for node in &nodes {
        lb.wait_until_up(node, Duration::from_secs(60));
    }
    lab.figure("healed to all up", format!("{:?}", healed.elapsed()), "5 s");
    assert!(healed.elapsed() <= BACK_MAX, "{:?}", healed.elapsed());
}

#[test]
#[ignore = "slow tier: takes minutes"]
fn five_minutes_without_multicast_lose_no_node_and_no_request() {
    let Some(lab) = Lab::slow("no-multicast") else { return };
    if !lab.has("nft") {
        return;
    }
    let (lb, load) = three_nodes_under_load(&lab);
    lab.kill_multicast();
    for _ in 0..60 {
        load.keep_on(Duration::from_secs(5));
        let nodes = lb.nodes();
        assert_eq!(nodes.iter().filter(|node| node.is_up()).count(), 3, "{nodes:#?}");
    }
    unharmed(load, &[]);
}

#[test]
#[ignore = "slow tier: takes minutes"]
fn no_node_leaves_in_ten_minutes_of_thirty_percent_loss() {
    let Some(lab) = Lab::slow("loss") else { return };
    if !lab.has("nft") {
        return;
    }
    lab.lose_mdns(30);
    let lb = lab.lb();
    let mut joins = Vec::new();
    for n in 1..=20 {
        let node = lab.pi(&format!("pi{n}")).web().start();
        let began = Instant::now();
        lb.wait_until_up(&node, Duration::from_secs(40));
        joins.push(began.elapsed());
    }
    joins.sort();
    let p95 = joins[joins.len() * 95 / 100 - 1];
    lab.figure("joins at 30 % loss, p95", format!("{p95:?}"), "6 s");
    assert!(p95 <= Duration::from_secs(8), "{joins:?}");
    let load = light_load(&lab, &lb);
    for _ in 0..120 {
        load.keep_on(Duration::from_secs(5));
        // Unicast passes, so no node goes down for the loss. But twenty nodes on two busy cores may
        // miss a probe, which is not the subject of this test.
        assert_eq!(lb.nodes().len(), 20, "{:#?}", lb.nodes());
    }
    for gone in ["node left", "node forgotten", RENAMED] {
        assert_eq!(lb.log_lines_with(gone), 0, "{gone}");
    }
    lab.figure(
        "missed two probes in 10 min",
        lb.log_lines_with("node lost"),
        "0 on an idle machine",
    );
    lb.wait_for_nodes(20);
    load.stop_with_no_failure();
}

#[test]
#[ignore = "slow tier: takes minutes"]
fn a_flood_of_new_instances_loses_no_node_and_fills_no_memory() {
    let Some(lab) = Lab::slow("flood") else { return };
    let (lb, load) = three_nodes_under_load(&lab);
    let dials = count_bad_dials(&lab, &lb);
    let before = lb.resident_kib();
    // Half of them are on the LAN at addresses of nobody, half at bad addresses.
    let mut adverts = bad_adverts(&lb);
    adverts.extend((60..68).map(|n| Advert::new("rogue", [10, 77, 0, n].into(), 80)));
    let flood = lab.pi("mallory").attack(&Program::Flood { per_second: 2_000, adverts });
    let mut highest = 0;
    for _ in 0..30 {
        load.keep_on(Duration::from_secs(4));
        highest = highest.max(lb.resident_kib());
        let nodes = lb.nodes();
        assert!(nodes.len() <= 3 + 256, "{} nodes", nodes.len());
    }
    lab.figure("resident KiB before and at most", format!("{before}, {highest}"), "bounded");
    assert!(highest < before + 64 * 1024, "{before} KiB grew to {highest} KiB");

    // A node that comes during the flood is not locked out for ever, and a goodbye gets through.
    // Chance decides which of 2,000 packets a second is heard (22 s and 164 s were seen). So the
    // flood ends after two minutes, and then the next announcement has to be enough.
    let late = lab.pi("late").web().start();
    let since = Instant::now();
    let joined = || lb.node(&late).is_some_and(|node| node.is_up());
    while !joined() && since.elapsed() < Duration::from_secs(120) {
        load.keep_on(Duration::from_secs(1));
    }
    let in_the_flood = joined();
    let told = flood.log_lines_with("flooded");
    if !in_the_flood {
        flood.kill9();
    }
    lb.wait_until_up(&late, Duration::from_secs(90));
    let join = format!("{:?}, in the flood: {in_the_flood}", since.elapsed());
    lab.figure("a join in the flood", join, "none");
    let (exit, took) = late.sigterm();
    lab.figure("SIGTERM to exit in the flood", format!("{took:?}"), "5 s");
    assert_eq!(exit.code, 0);
    assert!(told >= 20, "the flood itself was slow: {told} x 10,000 packets in two minutes");
    if in_the_flood {
        flood.kill9();
    }
    let report = load.stop_with_no_failure();
    assert_eq!(report.nodes.len(), 4, "{report:?}");
    assert!(dials.iter().all(|(_, dials)| dials.count() == 0), "bad addresses were dialled");
}
