//! The ways in which nodes come: at once, in a crowd of clones, late, moved; and the nodes that do
//! not.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lab::{Balancer, Lab, PATIENCE, Program, RENAMED, Report, now_ms};

/// The bar itself, without an allowance for the other labs: a node announces itself in its first
/// second and one good probe proves it, so the machine has two seconds left to be busy.
const JOIN_MAX: Duration = Duration::from_secs(3);

#[test]
fn a_node_serves_within_three_seconds_of_its_start() {
    let Some(lab) = Lab::busy("join") else { return };
    let lb = lab.lb();
    lab.pi("first").web().start();
    lb.wait_for_nodes(1);
    let load = lab.load(&lb, 2);
    let mut joins = Vec::new();
    for name in ["ada", "bob", "eve", "kim", "max"] {
        let node = lab.pi(name).web().start();
        let answered_ms = load.wait_for_answer_of(&lb.name_of(&node));
        joins.push(Duration::from_millis(answered_ms.saturating_sub(node.started_ms())));
    }
    joins.sort();
    lab.figure("process start to first proxied request", format!("{joins:?}"), "p95 2 s, max 3 s");
    assert!(*joins.last().expect("five joined") <= JOIN_MAX, "{joins:?}");
    load.stop_with_no_failure();
}

#[test]
fn twenty_clones_of_one_card_started_at_once_are_twenty_nodes() {
    let Some(lab) = Lab::busy("clones") else { return };
    let lb = lab.lb();
    let pis: Vec<_> = (1..=20).map(|n| lab.pi(&format!("pi{n}"))).collect();
    lb.wait_until_it_answers();
    let early = lab.load(&lb, 4);
    let began_ms = now_ms();
    let clones: Vec<_> = pis.iter().map(|pi| pi.web().start()).collect();
    let nodes = lb.wait_for_nodes(20);
    let ids: BTreeSet<_> = nodes.iter().map(|node| &node.id).collect();
    let names: BTreeSet<_> = nodes.iter().map(|node| &node.name).collect();
    assert_eq!((ids.len(), names.len()), (20, 20), "{nodes:#?}");
    assert!(names.iter().all(|name| name.starts_with("raspberrypi-")), "{names:?}");

    let all = |report: &Report| names.iter().all(|name| report.nodes.contains_key(*name));
    let report = early.wait_until("answers of all twenty", all);
    let all_ms = report.nodes.values().map(|answers| answers.first_ms).max().unwrap_or(0);
    let took = Duration::from_millis(all_ms.saturating_sub(began_ms));
    lab.figure("20 started to all 20 serving", format!("{took:?}"), "3 s");
    assert!(took <= Duration::from_secs(6), "{took:?}");

    // The early clients got a 503, because there was no node. From here on no client does.
    early.stop();
    let load = lab.load(&lb, 4);
    load.wait_for_answers(500);
    load.stop_with_no_failure();
    assert!(clones.iter().all(|clone| clone.log_lines_with(RENAMED) == 0));
}

#[test]
fn a_node_with_a_new_address_is_served_there_and_never_at_the_old_one() {
    let Some(lab) = Lab::under_load("dhcp") else { return };
    let lb = lab.lb();
    let ada = lab.pi("ada").web().start();
    lab.pi("bob").web().start();
    lb.wait_for_nodes(2);
    let id = lb.node(&ada).expect("it is up").id;
    let name = lb.name_of(&ada);
    let load = lab.load(&lb, 4);
    load.wait_for_answer_of(&name);
    let old = ada.pi().address();
    ada.pi().move_to_new_address();
    let took = lb.wait_until_up(&ada, Duration::from_secs(10));
    lab.figure("new address to up", format!("{took:?}"), "5 s");
    assert!(took <= Duration::from_secs(7), "{took:?}");
    assert_eq!(lb.node(&ada).expect("it is up").id, id, "the same node, swapped in place");
    assert_eq!(lb.wait_for_nodes(2).len(), 2);
    load.wait_for_new_answer_of(&name);

    if lab.has("nft") {
        // The old address belongs to nobody now, and a connection to it would wait for nothing. A
        // probe may still go there once or twice while mDNS has the record; of the requests a third
        // would.
        let dials = lb.pi().count_dials(&format!("{old}/32"));
        load.wait_for_more(1_000);
        let dialled = dials.count();
        assert!(dialled <= 2, "{dialled} connections to the old address");
    }
    load.stop_with_no_failure();
}

#[test]
fn a_node_started_before_the_network_joins_when_it_comes() {
    let Some(lab) = Lab::new("early") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    ada.unplug();
    ada.lose_address();
    let node = ada.web().start();
    let lb = front.lb().start();
    // Another node joins and serves meanwhile: enough time for ada to have given up.
    lab.pi("bob").web().start();
    lb.wait_for_nodes(1);
    assert!(node.is_running(), "it must not end because the network is missing");
    ada.plug();
    ada.take_address();
    let took = lb.wait_until_up(&node, PATIENCE);
    lab.figure("address to up, started before the network", format!("{took:?}"), "4 s");
    assert!(took <= Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_balancer_started_before_the_network_finds_its_nodes_when_it_comes() {
    let Some(lab) = Lab::new("early-lb") else { return };
    let front = lab.pi("front");
    front.unplug();
    front.lose_address();
    let lb = front.lb().start();
    let ada = lab.pi("ada").web().start();
    front.plug();
    front.take_address();
    let took = lb.wait_until_up(&ada, PATIENCE);
    lab.figure("the balancer's address to its first node up", format!("{took:?}"), "4 s");
    assert!(lb.is_running());
}

#[test]
fn a_pi_with_wifi_and_docker_is_one_node_and_no_bridge_is_dialled() {
    let Some(lab) = Lab::under_load("docker") else { return };
    let (front, ada) = (lab.pi("front"), lab.pi("ada"));
    for pi in [&front, &ada] {
        pi.add_docker0();
        pi.add_wlan0();
    }
    let dials = lab.has("nft").then(|| front.count_dials("172.17.0.0/16"));
    let lb = front.lb().start();
    ada.web().start();
    lab.pi("bob").web().start();
    let nodes = lb.wait_for_nodes(2);
    assert!(nodes.iter().all(|node| node.endpoint.starts_with("10.77.0.")), "{nodes:#?}");
    let load = lab.load(&lb, 4);
    let report = load.wait_for_answers(1_000);
    assert_eq!(report.nodes.len(), 2, "{report:?}");
    assert_eq!(lb.nodes().len(), 2);
    assert_eq!(dials.map_or(0, |dials| dials.count()), 0, "connections to docker bridges");
    load.stop_with_no_failure();
}

#[test]
fn a_node_of_another_cluster_is_not_served() {
    let Some(lab) = Lab::under_load("clusters") else { return };
    let house = lab.pi("house").lb().start();
    let garden = lab.pi("garden").lb().cluster("garden").start();
    let gnome = lab.pi("gnome").web().cluster("garden").start();
    let (ada, bob) = (lab.pi("ada").web().start(), lab.pi("bob").web().start());
    garden.wait_for_nodes(1);
    house.wait_for_nodes(2);
    assert!(garden.node(&gnome).is_some());
    assert!(house.node(&ada).is_some() && house.node(&bob).is_some());
    let load = lab.client().load(&house.url()).clients(4).start();
    let report = load.wait_for_answers(500);
    assert_eq!(report.nodes.len(), 2, "{report:?}");
    load.stop_with_no_failure();
}

#[test]
fn two_nodes_of_one_copied_name_are_distinguished() {
    let Some(lab) = Lab::new("names") else { return };
    let lb = lab.lb();
    for name in ["ada", "bob"] {
        lab.pi(name).web().args(&["--name", "kitchen"]).start();
    }
    let mut nodes = lb.wait_for_nodes(2);
    nodes.sort_by_key(|node| node.name.len());
    assert_eq!(nodes[0].name, "kitchen");
    assert_eq!(nodes[1].name, format!("kitchen-{}", &nodes[1].id[..6]));
}

#[test]
fn a_balancer_without_nodes_says_what_to_do_next() {
    let Some(lab) = Lab::new("empty") else { return };
    let lb = lab.lb();
    lb.wait_until_it_answers();
    let answer = lab.get_with(&lb.url(), &[("accept", "text/html")]).expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("picluster web"), "{}", answer.body);
    assert_eq!(lab.get(&lb.admin("/readyz")).expect("an answer").status, 503);
    let ada = lab.pi("ada").web().start();
    lb.wait_until_up(&ada, PATIENCE);
    let answer = lab.get(&lb.url()).expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "raspberrypi\n"));
    assert_eq!(lab.get(&lb.admin("/readyz")).expect("an answer").status, 200);
}

#[test]
fn without_ipv6_the_default_listeners_serve_by_ipv4() {
    let Some(lab) = Lab::new("no-ipv6") else { return };
    let lb = lab.pi("front").without_ipv6().lb().start();
    let ada = lab.pi("ada").without_ipv6().web().start();
    lb.wait_until_up(&ada, PATIENCE);
    assert_eq!(lab.get(&lb.url()).expect("an answer").status, 200);
}

#[test]
fn a_node_whose_port_is_taken_exits_69_and_advertises_nothing() {
    let Some(lab) = Lab::new("taken") else { return };
    let ears = lab.pi("listener").attack(&Program::Ears);
    ears.wait_for_log("ears listen");
    let ada = lab.pi("ada");
    ada.greeter(8080, "I was here first");
    let node = ada.web().start();
    assert_eq!(node.wait_exit(PATIENCE).code, 69);
    assert!(node.log_lines_with("--listen") > 0, "it must name the fix");

    // Another node is heard, so ada would have been heard too.
    let bob = lab.pi("bob").web().start();
    ears.wait_for_log(&format!("heard {}", bob.pi().address()));
    assert_eq!(ears.log_lines_with(&format!("heard {}:", ada.address())), 0);
}

/// A listener on one address is advertised with that address alone. On a loopback address it is a
/// node for the balancer of its own machine, and for no other.
#[test]
fn a_node_on_a_loopback_address_is_found_on_its_own_machine_alone() {
    let Some(lab) = Lab::new("own") else { return };
    let front = lab.pi("front");
    let (lb, far) = (front.lb().start(), lab.pi("far").lb().start());
    let listen = format!("{}:8083", front.address());
    for listen in ["127.0.0.1:8081", "127.0.0.2:8082", &listen] {
        front.web().args(&["--listen", listen]).start();
    }
    let endpoints = |lb: &Balancer| {
        let mut all: Vec<_> = lb.nodes().into_iter().map(|node| node.endpoint).collect();
        all.sort();
        all
    };
    lb.wait_for_nodes(3);
    assert_eq!(endpoints(&lb), ["10.77.0.1:8083", "127.0.0.1:8081", "127.0.0.2:8082"]);
    far.wait_for_nodes(1);
    assert_eq!(endpoints(&far), [listen]);
}

/// Its id and its address stay the same, and after a crash there is no goodbye. So the cluster in
/// its health answer counts.
#[test]
fn a_node_that_comes_back_in_another_cluster_is_let_go() {
    let Some(lab) = Lab::new("moved-on") else { return };
    let house = lab.pi("house").lb().start();
    let ada = lab.pi("ada").web().start();
    house.wait_until_up(&ada, PATIENCE);
    ada.kill9();
    let ada = lab.pi("ada").web().cluster("garden").start();
    let garden = lab.pi("garden").lb().cluster("garden").start();
    garden.wait_until_up(&ada, PATIENCE);
    house.wait_until_out(&ada, PATIENCE);
    assert_eq!(lab.get(&house.url()).expect("an answer").status, 503);
}
